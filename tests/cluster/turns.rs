//! A turn ends within the quantum and one record, so that nothing waits long behind data.

use std::time::Duration;

use wiesel_cluster::SubmitOptions;
use wiesel_connectors::DataGen;
use wiesel_datastream::Environment;

use crate::{assert_sound, compute, config, run, submit, watched};

const RECORD: Duration = Duration::from_micros(10);
const QUANTUM: Duration = Duration::from_micros(50);

/// One task on each of `parallelism` shards, which takes 10 us for a record.
fn slow_map(records: u64) -> Environment {
    let environment = Environment::new();
    let numbers = environment.source(DataGen::new(|tick| tick.number).count(records));
    let slow = numbers.map(|number| {
        compute(RECORD);
        number
    });
    let _ = slow.filter(|_| false).collect();
    environment
}

/// Whatever else the machine does, it only makes turns longer, and so more of them.
#[test]
fn a_slow_function_does_not_lengthen_turns_beyond_a_record() {
    watched(|| {
        const RECORDS: u64 = 20_000;
        let environment = slow_map(RECORDS);
        let client = submit(&environment, 1, &config(&[]), SubmitOptions::default());
        let counters = client.counters()[0].clone();
        assert_sound(&client.wait());
        // 5 records use the quantum up, and the sixth may have begun.
        let (turns, least) = (counters.turn_ns.count(), RECORDS / 6);
        assert!(turns >= least, "{turns} turns for {RECORDS} records, at least {least}");
    });
}

#[test]
#[ignore = "needs a quiet machine: see the head of main.rs"]
fn nearly_all_turns_end_within_the_quantum_and_a_record() {
    watched(|| {
        let environment = slow_map(500_000);
        let client = submit(&environment, 1, &config(&[]), SubmitOptions::default());
        let counters = client.counters()[0].clone();
        assert_sound(&client.wait());
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|q| counters.turn_ns.quantile(q));
        println!("turns of 10 us a record: p50 {p50:?}, p99 {p99:?}, p99.9 {p999:?}");
        // The histogram rounds up by at most an eighth; looking around costs a few microseconds.
        let most = (QUANTUM + RECORD) * 9 / 8 + Duration::from_micros(5);
        assert!(p999 <= most, "p99.9 of turns is {p999:?}, at most {most:?}");
    });
}

#[test]
fn a_source_with_a_rate_gives_every_record_and_ends() {
    watched(|| {
        let environment = Environment::new();
        let rated = DataGen::new(|tick| tick.number).count(200).per_second(1_000);
        let numbers = environment.source(rated).collect();
        assert_sound(&run(&environment, 1, &config(&[])));
        assert_eq!(numbers.take(), Vec::from_iter(0..200));
    });
}
