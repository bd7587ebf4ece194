//! The benchmark's workloads on timely: becomes the program of one of them.

use std::process::ExitCode;

/// Those in `src/bin`.
const WORKLOADS: [&str; 14] = [
    "q0",
    "q1",
    "q2",
    "q3",
    "q5",
    "q7",
    "q8",
    "q0shuffle",
    "q0shuffle_ptr",
    "keyed",
    "keyed_skew",
    "wordcount",
    "trending",
    "latency",
];

fn main() -> ExitCode {
    peer::dispatch("timely", &WORKLOADS)
}
