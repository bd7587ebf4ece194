//! Bad input, signals, pipes: one clear line on standard error, and the exit code of the README.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // Processes and files, from outside.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::symlink,
    process::{Command, Stdio},
};

use common::*;

mod common;

/// Runs the trending hashtags with `arguments`: nothing on standard output, this on standard error, this code.
#[track_caller]
fn check(arguments: &[&str], code: i32, error: &str) {
    let ended = run(TRENDING, arguments);
    let expected = (Some(code), "", format!("Error: {error}\n"));
    assert_eq!((ended.code, ended.out.as_str(), ended.err), expected, "{arguments:?}");
}

#[test]
fn a_wrong_command_line_is_2() {
    check(&["--paralelism", "3"], 2, "unknown flag `--paralelism`: did you mean `--parallelism`?");
    check(
        &["--turbo"],
        2,
        "unknown flag `--turbo`: see `--help`; the program's own flags follow `--`",
    );
    check(&["-D"], 2, "missing argument for option `-D`; see `--help`");
    check(
        &["posts.jsonl"],
        2,
        "unexpected argument `posts.jsonl`: the program's own arguments follow `--`, as in `-- posts.jsonl`",
    );
}

#[test]
fn an_argument_that_the_program_does_not_take_is_2() {
    let takes = |count: &str| format!("unexpected argument `c`: the program takes {count}");
    check(&["--", "a", "c", "d"], 2, &takes("at most 1 argument"));
    let usage = "unexpected argument `c`; usage: generate_posts [FILE]".to_owned();
    let flag = "unexpected argument `--turbo`; usage: generate_posts [FILE]".to_owned();
    for (program, arguments, expected) in [
        (WORD_COUNT, &["--", "c"][..], takes("no arguments of its own")),
        (CHANGELOGS, &["--", "a", "c"], takes("at most 1 argument")),
        (TO_FILES, &["--", "a", "b", "1", "c"], takes("at most 3 arguments")),
        (GENERATE_POSTS, &["a", "c"], usage),
        (GENERATE_POSTS, &["--turbo"], flag),
    ] {
        let ended = run(program, arguments);
        let expected = (Some(2), "", format!("Error: {expected}\n"));
        assert_eq!((ended.code, ended.out.as_str(), ended.err), expected, "{program}");
    }
    let help = run(GENERATE_POSTS, &["--help"]);
    assert_eq!((help.code, help.out.as_str()), (Some(0), "usage: generate_posts [FILE]\n"));
}

#[test]
fn a_wrong_configuration_is_2() {
    check(
        &["--parallelism", "0"],
        2,
        "`parallelism.default` is `0` (from --parallelism on the command line): must be between 1 and 32768, for example `4`",
    );
    check(
        &["--parallelism", "many"],
        2,
        "`parallelism.default` is `many` (from --parallelism on the command line): must be a whole number or `auto`, for \
         example `4`",
    );
    check(
        &["-D", "paralelism.default=3"],
        2,
        "unknown key `paralelism.default` (from -D on the command line): did you mean `parallelism.default`?",
    );
    check(
        &["-D", "execution.checkpointing.interval=1s"],
        2,
        "job `trending hashtags` did not start: checkpoints need a folder: set `execution.checkpointing.dir`, as in -D \
         execution.checkpointing.dir=checkpoints",
    );
    check(
        &["-s", "nowhere", "-D", "execution.runtime-mode=batch"],
        2,
        "job `trending hashtags` did not start: a job in batch mode has no checkpoints and starts from none: leave out \
         `execution.state-recovery.path` (-s), or set `execution.runtime-mode` to `streaming`",
    );
    check(
        &["--config", "no-such.toml"],
        2,
        "cannot read the configuration (--config): read no-such.toml: No such file or directory (os error 2)",
    );
    check(
        &["-D", "taskmanager.numberOfTaskSlots=1", "--parallelism", "3"],
        2,
        "job `trending hashtags` needs 3 slots but there are 1: lower its parallelism or raise \
         `taskmanager.numberOfTaskSlots`",
    );
}

#[test]
fn the_configuration_comes_from_a_file_the_environment_and_the_command_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.toml");
    fs::write(&file, "[parallelism]\ndefault = 3\n").expect("it can be written");
    let plan = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = command(TRENDING, &[arguments, &["--explain"]].concat());
        let ended = ended({
            command.envs(variables.iter().copied());
            command
        });
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        ended
            .out
            .lines()
            .find_map(|line| line.trim().strip_prefix("parallelism ").map(str::to_owned))
    };
    let path = file.to_str().expect("text");
    let conf_dir = ("WIESEL_CONF_DIR", folder.path().to_str().expect("text"));
    let variable = ("WIESEL__PARALLELISM__DEFAULT", "4");
    let is = |parallelism: u32| Some(format!("{parallelism} (at most 128)"));
    assert_eq!(plan(&["--config", path], &[]), is(3));
    assert_eq!(plan(&[], &[conf_dir]), is(3));
    assert_eq!(plan(&[], &[conf_dir, variable]), is(4));
    assert_eq!(plan(&["-D", "parallelism.default=5"], &[conf_dir, variable]), is(5));

    fs::write(&file, "parallelism.default = 2\nshard.sping = '1 us'\n").expect("it can be written");
    check(
        &["--config", path],
        2,
        &format!(
            "unknown key `shard.sping` (from the file {path}, line 2): did you mean `shard.spin`?"
        ),
    );
    let mut command = command(TRENDING, &[]);
    let ended = ended({
        command.env("WIESEL__SHARD__SPING", "0");
        command
    });
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.ends_with("did you mean `WIESEL__SHARD__SPIN`?\n"), "{}", ended.err);
}

#[test]
fn a_variable_with_one_underscore_is_ignored_and_named() {
    let mut command = command(TRENDING, &["--explain"]);
    command.env("WIESEL_LOG", "warn").env("WIESEL_PARALLELISM_DEFAULT", "3");
    let ended = ended(command);
    assert_eq!(ended.code, Some(0));
    let said = "the environment variable WIESEL_PARALLELISM_DEFAULT is ignored: did you mean `WIESEL__PARALLELISM__DEFAULT`?";
    assert!(ended.err.contains(said), "{}", ended.err);
}

#[test]
fn frames_that_do_not_fit_into_half_of_the_memory_are_refused() {
    let ended = run(TRENDING, &["--parallelism", "30000", "-D", "pipeline.max-parallelism=32768"]);
    let start = "Error: job `trending hashtags` did not start: the frames of the job's ";
    assert_eq!((ended.code, ended.out.as_str()), (Some(7), ""), "{}", ended.err);
    assert!(
        ended.err.starts_with(start) && ended.err.contains("lower the parallelism, which is 30000"),
        "{}",
        ended.err
    );
}

#[test]
fn input_that_is_not_there_or_cannot_be_read_is_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let start = "job `trending hashtags` did not start: could not read";
    let missing = path("missing.jsonl");
    check(
        &["--", &missing],
        1,
        &format!(
            "{start} {missing} (operator `posts`): find {missing}: No such file or directory (os error 2)"
        ),
    );
    let here = path("");
    check(
        &["--", &here],
        1,
        &format!(
            "{start} {here} (operator `posts`): it is a folder; for the files in it write {here}*"
        ),
    );
    // A file that nobody can read, whoever runs this: the memory of a process has no page 0.
    let unreadable = path("unreadable.jsonl.gz");
    symlink("/proc/self/mem", &unreadable).expect("a link can be made");
    check(
        &["--parallelism", "1", "--", &unreadable], // Of several subtasks either may get the split.
        1,
        &format!(
            "job `trending hashtags` failed: could not read {unreadable} (operator `posts`, subtask 0, at \
             {unreadable}): read {unreadable}: Input/output error (os error 5)"
        ),
    );
    let bad = path("bad.jsonl");
    let good = r#"{"at":1,"user":1,"text":"a"}"#;
    fs::write(&bad, format!("{good}\n{good}\nbad\n")).expect("it can be written");
    check(
        &["--parallelism", "1", "--", &bad],
        1,
        &format!(
            "job `trending hashtags` failed: could not read a line (operator `posts`, subtask 0, at {bad}, line 3, \
             byte 58): expected value (column 1) (to skip and count such lines use .bad_lines(BadLines::SkipAndCount))"
        ),
    );
}

#[test]
fn an_unfit_machine_is_7() {
    // `ulimit` is the shell's, and the limit stays with what it starts.
    let mut shell = command("/bin/sh", &["-c", "ulimit -l 16; exec \"$0\"", TRENDING]);
    let ended = ended({
        shell.stdin(Stdio::null());
        shell
    });
    assert_eq!((ended.code, ended.out.as_str()), (Some(7), ""));
    let start = "Error: job `trending hashtags` did not start: ";
    assert!(ended.err.starts_with(start) && ended.err.contains("ulimit -l "), "{}", ended.err);
}

#[test]
fn a_core_must_be_left() {
    let ended = run(TRENDING, &["-D", "taskmanager.cpu.reserved=1024"]);
    let start = "Error: job `trending hashtags` did not start: `taskmanager.cpu.reserved` is 1024, and there are ";
    assert_eq!((ended.code, ended.out.as_str()), (Some(7), ""));
    assert!(ended.err.starts_with(start) && ended.err.contains("reserve fewer"), "{}", ended.err);
}

#[test]
fn that_batch_mode_takes_no_checkpoints_is_said_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out").display().to_string();
    let batch = ["-D", "execution.runtime-mode=batch", "--", "examples/data/posts.jsonl", &out];
    let mut command = command(TO_FILES, &batch);
    command.env("WIESEL_LOG", "wiesel_cluster=warn");
    let ended = ended(command);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let said = ended.err.matches("no checkpoints are taken in batch mode").count();
    assert_eq!((said, ended.err.lines().count()), (1, 1), "{}", ended.err);
}

/// With ever more descriptors: at some number of them each step of the start is the one that gets none.
#[test]
fn too_few_descriptors_are_named() {
    let mut refused = 0;
    for limit in (6..100).step_by(3) {
        let limits = format!("ulimit -n {limit}; exec \"$0\" --parallelism 3");
        let Ended { code, err, .. } = ended(command("/bin/sh", &["-c", &limits, TRENDING]));
        match code {
            Some(7) => assert!(err.contains("ulimit -n"), "{limit}: {err}"),
            // The input could not be opened, or nothing was in the way any more.
            Some(1) => assert!(err.contains("Too many open files"), "{limit}: {err}"),
            _ => assert_eq!(code, Some(0), "{limit}: {err}"),
        }
        refused += u32::from(code == Some(7));
    }
    assert!(refused > 3, "{refused}");
}

#[test]
fn help_version_and_plans_go_to_standard_output() {
    let help = run(TRENDING, &["--help"]);
    assert_eq!((help.code, help.err.as_str()), (Some(0), ""));
    assert!(help.out.starts_with("usage: trending_hashtags [COMMAND] [FLAGS]"), "{}", help.out);
    let version = run(TRENDING, &["--version"]);
    let expected = format!("trending_hashtags, on wiesel {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((version.code, version.out), (Some(0), expected));
    let plan = run(TRENDING, &["--explain", "--parallelism", "2"]);
    let head = "job `trending hashtags`: 3 chains, 5 tasks, 2 slots, 1 region\n";
    assert!(plan.code == Some(0) && plan.out.starts_with(head), "{plan:?}");
    let plan = run(TRENDING, &["--explain=json", "--parallelism", "2"]);
    let json: serde_json::Value = serde_json::from_str(&plan.out).expect("it is JSON");
    assert_eq!((&json["slots"], &json["tasks"]), (&2.into(), &5.into()));
    // Even where there is no input: a plan touches nothing.
    assert_eq!(run(TRENDING, &["--explain", "--", "no-such-file"]).code, Some(0));
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let mut child = command(TRENDING, &[]).spawn().expect("the program was built");
    drop(child.stdout.take()); // Long before the first window is printed.
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(
        (output.status.code(), String::from_utf8_lossy(&output.stderr)),
        (Some(0), "".into())
    );
}

#[test]
fn a_closed_pipe_is_no_reason_to_start_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let checkpoints = format!("execution.checkpointing.dir={}", folder.path().display());
    let often = "execution.checkpointing.interval=5 ms";
    let with_checkpoints = [
        often,
        &checkpoints,
        "restart-strategy.exponential-delay.initial-backoff=1 ms",
        "restart-strategy.exponential-delay.attempts-before-reset-backoff=2",
    ];
    let without = ["restart-strategy.type=fixed-delay", "restart-strategy.fixed-delay.delay=1 ms"];
    for settings in [with_checkpoints.as_slice(), &without] {
        let flags: Vec<_> = settings.iter().flat_map(|setting| ["-D", setting]).collect();
        let mut command = command(TRENDING, &flags);
        command.env("WIESEL_LOG", "wiesel_cluster=info");
        let mut child = command.spawn().expect("the program was built");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{settings:?}: {err}");
        assert!(err.contains("RUNNING") && !err.contains("RESTARTING"), "{settings:?}: {err}");
    }
}

#[test]
fn a_signal_cancels_and_the_table_says_what_was_done() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut command = command(WORD_COUNT, &["--parallelism", "2"]);
        let mut child = command.stdin(Stdio::piped()).spawn().expect("the program was built");
        let mut stdin = child.stdin.take().expect("it is piped");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        stdin.write_all(b"weasel\n").expect("it is read");
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it is written"); // Low load: it does not wait for more.
        assert_eq!(line, "weasel 1\n");
        let kill = format!("kill -{signal} {}", child.id());
        assert!(Command::new("/bin/sh").args(["-c", &kill]).status().expect("sh").success());
        let output = child.wait_with_output().expect("it ends");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{err}");
        assert!(
            err.starts_with("word count: CANCELED\n  records read                  1\n"),
            "{err}"
        );
        drop(stdin); // It was open until the end: the input was not over.
    }
}
