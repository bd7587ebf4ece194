//! The kernels on small inputs: each runs, and checks its own result. What they cost is `make instructions`.

use std::process::{Command, Output};

fn kernels(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kernels")).args(args).output().expect("it was just built")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it prints text")
}

fn names() -> Vec<String> {
    let listed = text(&kernels(&["--list"]).stdout);
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

#[test]
fn every_kernel_checks_its_result() {
    for name in names() {
        // None, one, less than a frame, no whole number of rounds, several of them.
        for operations in ["0", "1", "63", "5000", "70000"] {
            let ran = kernels(&[&name, operations]);
            let said = (text(&ran.stdout), text(&ran.stderr));
            let expected = format!("{name}: {operations} operations, checked\n");
            assert_eq!(said, (expected, String::new()), "{name} {operations}");
            assert!(ran.status.success());
        }
    }
}

#[test]
fn every_kernel_has_a_baseline() {
    let committed = include_str!("../instructions.txt");
    let rows = committed.lines().filter(|line| !line.starts_with(['#']) && !line.is_empty());
    let mut baselines: Vec<&str> = rows
        .filter(|line| !line.starts_with("made with "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let mut names = names();
    names.sort_unstable();
    baselines.sort_unstable();
    assert_eq!(baselines, names, "make instructions-record");
}

#[test]
fn what_cannot_be_run_is_said() {
    for (args, expected) in [
        (&["polka", "7"][..], "kernels: `polka` is not a kernel; see --list"),
        (&["ring"], "kernels: missing argument"),
        (&["ring", "few"], "kernels: cannot parse argument \"few\""),
        (&["--gate"], "kernels: missing argument for option '--gate'"),
        (&["--list", "more"], "kernels: unexpected argument \"more\""),
    ] {
        let ran = kernels(args);
        assert_eq!(ran.status.code(), Some(2), "{args:?}");
        let said = text(&ran.stderr);
        assert!(said.starts_with(expected), "{said}");
    }
    let ran = kernels(&["--gate", "instructions.txt"]);
    let said = text(&ran.stderr);
    let refuses = "kernels: this is not a release build for x86-64-v3: make instructions\n";
    if cfg!(debug_assertions) {
        assert_eq!((ran.status.code(), said.as_str()), (Some(1), refuses));
    }
}
