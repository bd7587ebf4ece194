//! Small runs with known results, for the tests of every peer: a workload that rots or changes meaning fails there.
//!
//! The results are those of the specification's own generator; larger runs are in its table of reference sums.

use std::process::{Command, Output};

use serde_json::Value;

/// Workload and its options, events, outputs and their sum.
const RESULTS: [(&str, u64, u64, &str); 13] = [
    ("q0", 100_000, 92_000, "ec141693cc625e3b"),
    ("q1", 100_000, 92_000, "ae72d0589c89fbec"),
    ("q2", 100_000, 372, "6c85a5aaa91aa5ba"),
    ("q3", 100_000, 731, "bbc4587b96973427"),
    ("q5 --event-rate 10000", 100_000, 13, "b4008be8c6ea7a40"),
    ("q7 --event-rate 4000", 100_000, 3, "dac84aa7b7dc2293"),
    ("q8 --event-rate 4000", 100_000, 5_417, "84b2405180f42b57"),
    ("trending --event-rate 5000", 20_000, 40, "42b7415c776df513"),
    ("q0shuffle", 100_000, 92_000, "ec141693cc625e3b"),
    ("q0shuffle_ptr", 100_000, 92_000, "ec141693cc625e3b"),
    ("keyed", 50_000, 50_000, "f98c4eb958988deb"),
    ("keyed_skew", 50_000, 50_000, "e6ba4cf54811c451"),
    ("wordcount", 5_000, 40_000, "9cc3bae8ac0f6015"),
];

fn output(binary: &str, line: &str) -> Output {
    Command::new(binary).args(line.split_whitespace()).output().expect("the peer was built")
}

/// The one object of a run that must succeed.
fn object(binary: &str, line: &str) -> Value {
    let output = output(binary, line);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.lines().count(), 1, "{line}: {text}");
    serde_json::from_str(&text).expect("a line is an object")
}

/// Every workload has its result, however many subtasks share it.
pub fn results_are_right(binary: &str) {
    for (workload, events, out, sum) in RESULTS {
        for parallelism in 1..=3 {
            let line = format!("{workload} --events {events} --parallelism {parallelism}");
            let object = object(binary, &line);
            assert_eq!((&object["out"], &object["sum"]), (&out.into(), &sum.into()), "{line}");
        }
    }
}

/// A latency run outputs what `keyed` does, and times the second half of its records.
pub fn latencies_are_recorded(binary: &str) {
    let keyed = object(binary, "keyed --events 1000 --parallelism 2");
    for mode in ["spin", "park"] {
        let line = format!("latency --events 1000 --parallelism 2 --rate 10000 --mode {mode}");
        let object = object(binary, &line);
        assert_eq!((&object["out"], &object["sum"]), (&keyed["out"], &keyed["sum"]), "{line}");
        assert_eq!(object["samples"], 500, "{line}");
        let at = |name: &str| object[name].as_u64().expect("a latency is a number");
        assert!(0 < at("p50_ns") && at("p50_ns") <= at("max_ns"), "{line}: {object}");
    }
}

/// What cannot be run is refused in one line, with exit code 2.
pub fn nonsense_is_refused(binary: &str) {
    for line in [
        "",
        "q99 --events 1 --parallelism 1",
        "q0 --events 1",
        "q0 --events 1 --parallelism 1 --fast",
        "latency --parallelism 1 --mode never",
    ] {
        let output = output(binary, line);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), text.lines().count()), (Some(2), 1), "{line}: {text}");
        assert!(output.stdout.is_empty(), "{line}");
    }
}
