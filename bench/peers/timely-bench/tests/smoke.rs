//! The program, on small inputs.

use peer::smoke;

const BINARY: &str = env!("CARGO_BIN_EXE_timely-bench");

#[test]
fn results_are_right() {
    smoke::results_are_right(BINARY);
}

#[test]
fn latencies_are_recorded() {
    smoke::latencies_are_recorded(BINARY);
}

#[test]
fn nonsense_is_refused() {
    smoke::nonsense_is_refused(BINARY);
}
