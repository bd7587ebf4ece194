//! What needs a process of its own: limits and signals. The test program starts itself again, as one of its parts.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests of the seam")]
#![cfg(not(any(sim, loom)))]

use std::{
    env,
    io::{BufRead, BufReader},
    process::{self, Command, Stdio},
};

use wiesel_core::seconds;
use wiesel_shard::{
    Launch, Machine, Next, Shard, available_cores,
    probe::{self, ProbeSpec},
    signals,
};

const PART: &str = "WIESEL_TEST_PART";

/// This program again, started through `wrapper`, as `part`.
fn again(wrapper: &[&str], part: &str) -> Command {
    let this = env::current_exe().expect("this test's program");
    let mut command = match wrapper.split_first() {
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments).arg(this);
            command
        }
        None => Command::new(this),
    };
    command.args(["--exact", "plays_its_part", "--nocapture"]).env(PART, part);
    command
}

/// Alone, this test plays no part and checks only that.
#[test]
fn plays_its_part() {
    match env::var(PART).as_deref() {
        Ok("probe") => {
            let spec = ProbeSpec { shards: 2, cores: vec![0, 1] };
            println!(
                "probe: {}",
                probe::check(&spec).map_or_else(|e| e.to_string(), |()| "fit".into())
            );
        }
        Ok("polite") => wait_for_signal(true),
        Ok("stubborn") => wait_for_signal(false),
        other => assert!(other.is_err(), "an unknown part"),
    }
}

/// A control program that ends on a signal, if it is polite; the process says when it is ready.
fn wait_for_signal(polite: bool) {
    let mut launch = Launch::new(Vec::new()).expect("descriptors");
    signals::install(launch.control_door()).expect("handlers");
    launch.control(move |shard| {
        println!("ready");
        let limit = shard.now() + seconds(60);
        let mut said = false;
        Box::new(move |shard: &Shard| {
            assert!(shard.now() < limit, "no signal for a minute");
            match signals::raised() {
                Some(_) if polite => Next::Done,
                Some(_) if !said => {
                    said = true;
                    println!("once more");
                    Next::Again
                }
                _ => Next::IDLE,
            }
        })
    });
    Machine::start(launch).expect("a thread").join().outcome().expect("no panic");
    process::exit(128 + signals::raised().expect("it was raised"));
}

/// Starts `part`, sends `signal` at each line of `answers` that it prints, and returns its exit code.
fn signalled(part: &str, signal: &str, answers: &[&str]) -> Option<i32> {
    let mut child = again(&[], part).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    for answer in answers {
        assert!(lines.any(|line| line.is_ok_and(|line| line.ends_with(answer))), "no {answer:?}");
        let id = child.id().to_string();
        let sent = Command::new("kill").args([signal, id.as_str()]).status();
        assert!(sent.expect("kill").success());
    }
    child.wait().expect("it ends").code()
}

#[test]
fn the_first_signal_is_a_request_and_the_second_an_order() {
    assert_eq!(signalled("polite", "-INT", &["ready"]), Some(130));
    assert_eq!(signalled("polite", "-TERM", &["ready"]), Some(143));
    assert_eq!(signalled("stubborn", "-INT", &["ready", "once more"]), Some(130));
    assert_eq!(signalled("stubborn", "-TERM", &["ready", "once more"]), Some(143));
}

#[test]
fn the_probe_sees_the_limits_of_the_process() {
    let probed = |wrapper: &[&str]| {
        let output = again(wrapper, "probe").output().expect("it runs");
        let text = String::from_utf8(output.stdout).expect("text");
        let line = text.lines().find_map(|line| line.split_once("probe: ")).unwrap_or_default().1;
        line.to_owned()
    };
    let said = probed(&["prlimit", "--memlock=65536"]);
    assert_eq!(
        said,
        "2 shards lock 512 KiB of memory, and the limit is 64 KiB: ulimit -l 512 (or \
         LimitMEMLOCK=512K in the unit of systemd)"
    );
    if available_cores().starts_with(&[0, 1]) {
        assert_eq!(probed(&[]), "fit");
        let said = probed(&["taskset", "-c", "0"]);
        assert_eq!(
            said,
            "core 1 is not available to this process, which has 0: taskset -c 1 … or fewer shards"
        );
    }
}
