//! The benchmark's workloads on renoir: becomes the program of one of them.

use std::process::ExitCode;

/// Those in `src/bin`.
const WORKLOADS: [&str; 16] = [
    "q0",
    "q1",
    "q2",
    "q0shuffle",
    "q0shuffle_ptr",
    "keyed",
    "keyed_skew",
    "wordcount",
    "wordcount_opt",
    "q3",
    "q5",
    "q5_opt",
    "q7",
    "q8",
    "trending",
    "latency",
];

fn main() -> ExitCode {
    peer::dispatch("renoir", &WORKLOADS)
}
