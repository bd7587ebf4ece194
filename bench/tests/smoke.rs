//! The benchmark on a small input: it gives the results that it should, in the shape that it promises.

use std::process::{Command, Output};

fn bench(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wiesel-bench")).args(args).output().expect("it was just built")
}

#[test]
fn chain_gives_what_the_loop_by_hand_gives_and_allocates_nothing() {
    let run = bench(&["chain", "--compare", "bare", "--quick", "--output", "json"]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let json: serde_json::Value = serde_json::from_slice(&run.stdout).expect("one object");
    assert_eq!(json["workload"], "chain");
    assert_eq!(json["compare"], "bare");
    assert_eq!(json["pairs"], 3);
    assert_eq!(json["allocations_per_event"], 0.0);
    assert!(json["total_cpu_ratio"].as_f64().is_some_and(|ratio| ratio > 0.0));
    // 20,000 bids of seed 42: a change of the chain, the views or the frames shows here.
    assert_eq!(json["out"].as_u64(), Some(OUT));
    assert_eq!(json["sum"], SUM);
}

const OUT: u64 = 84_980;
const SUM: &str = "0000000072e8be58";

#[test]
fn a_wrong_command_line_says_what_is_right() {
    for (args, expected) in [
        (&[][..], "which workload?"),
        (&["q99"], "`q99` is not a workload"),
        (&["chain", "--compare", "renoir"], "`renoir` cannot be compared yet"),
        (&["chain", "--output", "xml"], "`xml` is not json or table"),
        (&["chain", "--runs", "1"], "--runs must be at least 3"),
        (&["chain", "--fast"], "invalid option '--fast'"),
    ] {
        let run = bench(args);
        let stderr = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(expected), "{args:?}: {stderr}");
        assert!(run.stdout.is_empty(), "{args:?}");
    }
}
