//! The benchmark on small inputs: it gives the results that it should, in the shape that it promises.

use std::process::{Command, Output};

use serde_json::Value;

fn bench(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wiesel-bench")).args(args).output().expect("it was just built")
}

/// The objects that a run with `--quick --output json` prints.
fn objects(args: &[&str]) -> Vec<Value> {
    let ran = bench(&[args, &["--quick", "--output", "json"]].concat());
    assert!(ran.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ran.stderr));
    let text = String::from_utf8(ran.stdout).expect("JSON is text");
    text.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect()
}

fn object(args: &[&str]) -> Value {
    let mut objects = objects(args);
    assert_eq!(objects.len(), 1, "{args:?}");
    objects.remove(0)
}

/// A workload and its options, and outputs and sums of as many events, as they were when the sums of full runs were the
/// specification's.
const EXPECTED: [(&str, &str, u64, &str); 18] = [
    ("q0", "100000", 92_000, Q0),
    ("q1", "100000", 92_000, Q1),
    ("q2", "100000", 372, Q2),
    ("q3", "100000", 731, "bbc4587b96973427"),
    ("q5 --event-rate 10000", "100000", 13, "b4008be8c6ea7a40"),
    ("q7 --event-rate 4000", "100000", 3, "dac84aa7b7dc2293"),
    ("q8 --event-rate 4000", "100000", 5_417, "84b2405180f42b57"),
    ("q0shuffle", "100000", 92_000, Q0),
    ("trending --event-rate 5000", "20000", 40, "42b7415c776df513"),
    ("tumbling --event-rate 1000", "100000", 19_793, "eb8fa67e4ff96204"),
    ("sliding --event-rate 1000 --slides 60", "100000", 1_400_755, "8178b3f2292132d6"),
    ("session --event-rate 3000", "100000", 12_944, "f9616fbbb1dba135"),
    ("session --event-rate 3000 --disorder 5", "100000", 12_976, "4e02d982462f7cea"),
    ("q11 --event-rate 1000", "100000", 2_871, "6e7619d10fa7ad25"),
    ("q11 --event-rate 1000 --disorder 5", "100000", 2_878, "0b6997ff5b259b24"),
    ("keyed", "100000", 100_000, KEYED),
    ("keyed_skew", "100000", 100_000, SKEW),
    ("wordcount", "1000", 8_000, WORDS),
];
const Q0: &str = "ec141693cc625e3b";
const Q1: &str = "ae72d0589c89fbec";
const Q2: &str = "6c85a5aaa91aa5ba";
const KEYED: &str = "445bf994867c3cfe";
const SKEW: &str = "79be428a2cdebfd6";
const WORDS: &str = "f3adc8d9ace9b8b3";

#[test]
fn jobs_and_loops_by_hand_give_the_same_at_every_parallelism() {
    for (workload, events, out, sum) in EXPECTED {
        for (engine, parallelism) in [
            ("wiesel", "1"),
            ("wiesel", "2"),
            ("wiesel", "3"),
            ("wiesel", "5"),
            ("bare", "1"),
            ("bare", "2"),
            ("bare", "3"),
            ("bare", "5"),
        ] {
            let of = ["--engine", engine, "--parallelism", parallelism, "--events", events];
            let line: Vec<&str> = workload.split(' ').chain(of).collect();
            let run = object(&line);
            let found = (run["out"].as_u64(), run["sum"].as_str());
            assert_eq!(found, (Some(out), Some(sum)), "{workload}, {engine}, {parallelism}");
            assert_eq!(run["engine"], engine);
            for field in ["seconds", "cpu_seconds", "events_per_second", "peak_rss_bytes"] {
                assert!(run[field].as_f64().is_some_and(|value| value > 0.0), "{run}: {field}");
            }
            assert!(run["allocations"].is_u64(), "{run}");
            assert_eq!(run["events"], events.parse::<u64>().expect("a number"));
        }
    }
}

#[test]
fn another_seed_is_another_input() {
    let sum = |seed| object(&["keyed", "--events", "1000", "--seed", seed])["sum"].clone();
    assert_eq!(sum("7"), sum("0x7"));
    assert_ne!(sum("7"), sum("8"));
}

#[test]
fn events_allocate_nothing() {
    // What a start and a second of heartbeats allocate does not grow with the events.
    for workload in ["q0", "q1", "q2", "q7", "keyed_skew"] {
        let allocations = |events| {
            object(&[workload, "--events", events])["allocations"].as_u64().expect("a count")
        };
        let (few, many) = (allocations("200000"), allocations("1200000"));
        assert!(many < few + 1_000, "{workload}: {few} for 200,000 events, {many} for 1,200,000");
    }
}

#[test]
#[ignore = "needs a JDK and pip, and downloads 330 MB the first time"]
fn flink_gives_what_ours_does() {
    for line in ["q11 --event-rate 1000 --disorder 5", "session --event-rate 3000", "wordcount"] {
        let of = ["--compare", "flink", "--parallelism", "2"];
        let ratios = object(&line.split(' ').chain(of).collect::<Vec<_>>());
        assert_eq!(ratios["compare"], "flink", "{line}");
        assert!(ratios["throughput_ratio"].as_f64().is_some_and(|ratio| ratio > 0.0), "{ratios}");
    }
}

#[test]
fn a_comparison_has_ratios_with_intervals() {
    for line in ["q0", "q5", "trending", "sliding --slides 60", "chain"] {
        let workload = line.split(' ').next().expect("a line begins with its workload");
        let of = ["--compare", "bare", "--events", "20000"];
        let ratios = object(&line.split(' ').chain(of).collect::<Vec<_>>());
        assert_eq!((&ratios["workload"], &ratios["compare"]), (&workload.into(), &"bare".into()));
        assert_eq!((ratios["parallelism"].as_u64(), ratios["pairs"].as_u64()), (Some(1), Some(3)));
        for field in ["throughput_ratio", "cpu_ratio", "total_cpu_ratio"] {
            let value = |suffix| ratios[format!("{field}{suffix}")].as_f64().expect("a number");
            assert!(
                0.0 < value("_low") && value("_low") <= value("") && value("") <= value("_high")
            );
        }
    }
}

#[test]
fn windows_say_what_updates_and_results_cost() {
    for workload in ["tumbling", "sliding", "session", "q11"] {
        let run = object(&[workload, "--events", "50000", "--event-rate", "3000"]);
        for field in ["update_ns_per_event", "emission_ns_per_result"] {
            assert!(run[field].as_f64().is_some_and(|ns| ns > 0.0), "{run}: {field}");
        }
    }
}

#[test]
fn shards_hand_over_every_record() {
    let handoff = object(&["handoff", "--events", "5000"]);
    assert_eq!(handoff["out"], 5_000);
    assert!(handoff["rtt_p50_ns"].as_u64() <= handoff["rtt_p99_ns"].as_u64(), "{handoff}");
    let exchange = object(&["exchange", "--events", "5000"]);
    assert_eq!(exchange["out"], 5_000);
    assert!(exchange["bytes_per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{exchange}");
}

#[test]
fn a_latency_is_a_distribution() {
    for (engine, mode) in [("wiesel", "spin"), ("wiesel", "park"), ("bare", "spin")] {
        let args =
            ["latency", "--rate", "20000", "--events", "4000", "--engine", engine, "--mode", mode];
        let latency = object(&args);
        assert_eq!((&latency["mode"], latency["rate"].as_u64()), (&mode.into(), Some(20_000)));
        assert_eq!(latency["out"], 4_000);
        let fields = ["p50_ns", "p90_ns", "p99_ns", "p999_ns", "p9999_ns", "max_ns"];
        let values = fields.map(|field| latency[field].as_u64().expect("a number"));
        assert!(values[0] > 0 && values.is_sorted(), "{latency}");
        assert!(latency["hiccup_p999_ns"].is_u64(), "{latency}");
    }
}

#[test]
fn a_wrong_command_line_says_what_is_right() {
    for (args, expected) in [
        (&[][..], "which workload? there are gen, gen_keys"),
        (&["flink"], "`flink` is not a workload: there are gen, gen_keys"),
        (&["kyed_skew"], "`kyed_skew` is not a workload: did you mean `keyed_skew`?"),
        (&["q0", "q1"], "unexpected argument `q1`: a run has one workload"),
        (&["q12", "--engine", "bare"], "q12 has no loop by hand"),
        (&["q19", "--compare", "timely"], "timely has no q19: leave it out"),
        (&["chain", "--compare", "renoir"], "renoir has no chain: leave it out"),
        (&["q3", "--compare", "bare,flink"], "flink has no q3: leave it out"),
        (&["q0", "--compare", "spark"], "`spark` is not a peer: there are bare, renoir"),
        (&["q0", "--compare", "bare,timly"], "`timly` is not a peer: did you mean `timely`?"),
        (&["q0", "--engine", "flink"], "`flink` is not an engine: there are wiesel, bare"),
        (&["q0", "--engine", "bare", "--compare", "bare"], "--engine is for runs"),
        (&["handoff", "--engine", "bare"], "handoff has no loop by hand"),
        (&["handoff", "--parallelism", "3"], "handoff runs on 2 shards"),
        (&["chain", "--parallelism", "2"], "chain runs on 1 shard: leave out --parallelism"),
        (&["latency", "--engine", "bare", "--mode", "park"], "the loop by hand spins"),
        (&["q7", "--disorder", "5"], "q7 has its events in order: leave out --disorder"),
        (&["session", "--disorder", "101"], "--disorder is of a hundred events, not 101"),
        (&["session", "--disorder", "-1"], "--disorder must be a whole number of at least 0"),
        (&["q0", "--parallelism", "0"], "--parallelism must be a whole number of at least 1"),
        (&["q0", "--parallelism", "129"], "at most 128"),
        (&["q0", "--parallelism", "5000000000"], "at most 128"),
        (&["q0", "--runs", "0"], "--runs must be a whole number of at least 1, not `0`"),
        (&["q0", "--events", "many"], "--events must be a whole number of at least 1, not `many`"),
        (&["q0", "--seed", "x"], "--seed must be a 64-bit number"),
        (&["latency", "--mode", "rest"], "`rest` is not a mode: there are spin, park"),
        (&["q0", "--output", "xml"], "`xml` is not an output: there are json, table"),
        (&["q0", "--compare", "bare", "--runs", "1"], "--runs must be at least 3 with --compare"),
        (&["q0", "--events"], "--events has no value: write `--events N`"),
        (&["q0", "--quick=yes"], "--quick takes no value: leave out `=yes`"),
        (&["chain", "--paralelism", "2"], "`--paralelism`: did you mean `--parallelism`?"),
        (&["q0", "--fast"], "unknown option `--fast`: see `wiesel-bench --help`"),
    ] {
        let run = bench(args);
        let stderr = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(expected), "{args:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
        assert!(run.stdout.is_empty(), "{args:?}");
    }
}
