//! Watermarks at their source: splits that are apart in time, sources that wait for each other, ingestion time.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use wiesel_connectors::{DataGen, Partitions};
use wiesel_core::{Timestamp, hours, millis, minutes, seconds};
use wiesel_datastream::Environment;
use wiesel_graph::GraphDefaults;
use wiesel_operators::{Tumbling, bounded_out_of_orderness, monotonous_timestamps, punctuated};

use crate::{assert_sound, config, run, watched};

/// Records of a partition, a second apart.
const RECORDS: i64 = 2_000;
const PARTITIONS: i64 = 5;

/// Each partition lies an hour behind the one before it, and what is read of it in a row is four minutes.
fn partitions() -> Partitions<(i64, i64)> {
    let partition = |partition: i64| {
        let at = move |number: i64| (partition, 3_600_000 * partition + number * 1_000);
        (0..RECORDS).map(at).collect()
    };
    Partitions::new((0..PARTITIONS).map(partition)).visit(240)
}

/// How many records of a partition a minute has.
fn expected() -> Vec<(i64, u64)> {
    let mut counts = BTreeMap::new();
    for partition in 0..PARTITIONS {
        for number in 0..RECORDS {
            let minute = partition * 60 + number / 60;
            *counts.entry((partition, minute)).or_insert(0_u64) += 1;
        }
    }
    let mut counts: Vec<_> =
        counts.into_iter().map(|((partition, _), count)| (partition, count)).collect();
    counts.sort_unstable();
    counts
}

#[test]
fn partitions_far_apart_in_time_have_no_late_records() {
    watched(|| {
        for parallelism in [1, 2, 3] {
            for is_aligned in [false, true] {
                let environment = Environment::new();
                let strategy = monotonous_timestamps().with_idleness(hours(1));
                let strategy = match is_aligned {
                    true => strategy.with_watermark_alignment("log", minutes(10), millis(1)),
                    false => strategy,
                };
                let counts = environment
                    .source(partitions())
                    .watermarks(strategy, |(_, at)| Timestamp::from_millis(at))
                    .key_by::<i64>(|(partition, _)| partition)
                    .window(Tumbling::event_time(minutes(1)))
                    .count()
                    .collect();
                assert_sound(&run(&environment, parallelism, &config(&[])));
                let mut counts: Vec<_> =
                    counts.take().iter().map(|count| (count.key, count.count)).collect();
                counts.sort_unstable();
                assert!(counts == expected(), "at {parallelism}, aligned: {is_aligned}");
            }
        }
    });
}

/// A record every millisecond of event time, read as fast as can be, and one every 100 ms, of which there are 1,000 a
/// second: alone the first source would be through before the second has begun.
#[test]
fn a_fast_source_waits_for_a_slow_one() {
    watched(|| {
        const END_MS: i64 = 100_000;
        let environment = Environment::new();
        let slow_at = Arc::new(AtomicI64::new(0));
        let lead = Arc::new(AtomicI64::new(0));
        let strategy =
            || monotonous_timestamps().with_watermark_alignment("both", seconds(5), millis(2));
        let (looked_at, greatest) = (Arc::clone(&slow_at), Arc::clone(&lead));
        let fast = environment
            .source(DataGen::new(|tick| tick.number as i64).count(END_MS as u64))
            .watermarks(strategy(), Timestamp::from_millis)
            .map(move |at| {
                let ahead = at - looked_at.load(Ordering::Relaxed);
                greatest.fetch_max(ahead, Ordering::Relaxed);
                // A turn is short, but a million records a second are 1,000 s of event time in it.
                std::hint::black_box((0..200).fold(at, |a, b: i64| a ^ b.wrapping_mul(a)));
                at
            });
        let slow = environment
            .source(DataGen::new(|tick| tick.number as i64 * 100).count(1_000).per_second(1_000))
            .watermarks(strategy(), Timestamp::from_millis)
            .map(move |at| {
                slow_at.fetch_max(at, Ordering::Relaxed);
                at
            });
        let counts =
            fast.union(slow).window_all(Tumbling::event_time(seconds(1))).count().collect();
        assert_sound(&run(&environment, 1, &config(&[])));
        let counts: Vec<u64> = counts.take().iter().map(|count| count.count).collect();
        assert_eq!(counts.len(), 100);
        assert_eq!(counts.iter().sum::<u64>(), END_MS as u64 + 1_000);
        let lead = lead.load(Ordering::Relaxed);
        assert!(lead < END_MS * 3 / 4, "it was {lead} ms ahead: it has not waited");
    });
}

#[test]
fn records_bring_their_watermarks() {
    watched(|| {
        for parallelism in [1, 2, 3] {
            let environment = Environment::new();
            // The last record of every thousand says so; those before it come in reverse.
            let at = |number: u64| {
                let (thousand, place) = (number / 1_000, number % 1_000);
                let is_last = place == 999;
                let at = if is_last { 999 } else { 998 - place };
                ((thousand * 1_000 + at) as i64, is_last)
            };
            let all: Vec<Vec<_>> = (0..3).map(|_| (0..20_000).map(at).collect()).collect();
            let counts = environment
                .source(Partitions::new(all).visit(17))
                .watermarks(
                    punctuated::<(i64, bool)>(|(_, is_last), time| is_last.then_some(time)),
                    |(at, _)| Timestamp::from_millis(at),
                )
                .window_all(Tumbling::event_time(seconds(1)))
                .count()
                .collect();
            assert_sound(&run(&environment, parallelism, &config(&[])));
            let counts: Vec<u64> = counts.take().iter().map(|count| count.count).collect();
            assert_eq!(counts, [3_000; 20], "at {parallelism}");
        }
    });
}

#[test]
fn ingestion_time_counts_every_record_once() {
    watched(|| {
        for parallelism in [1, 2, 3] {
            let environment = Environment::new();
            let counts = environment
                .source(DataGen::new(|tick| tick.number).count(20_000).per_second(100_000))
                .ingestion_time()
                .key_by::<u64>(|number| number % 10)
                .window(Tumbling::event_time(millis(20)))
                .count()
                .collect();
            assert_sound(&run(&environment, parallelism, &config(&[])));
            let counts = counts.take();
            assert_eq!(counts.iter().map(|count| count.count).sum::<u64>(), 20_000);
            // They took 200 ms to come: however slow the machine, that is more than one window of each key.
            assert!(counts.len() > 10, "{} windows", counts.len());
        }
    });
}

#[test]
fn alignment_behind_an_exchange_is_refused() {
    let strategy = bounded_out_of_orderness(seconds(1));
    let strategy = strategy.with_watermark_alignment("all", seconds(5), seconds(1));
    let environment = Environment::new();
    let numbers = environment.from_collection([1_i64]).rebalance();
    numbers.watermarks(strategy, Timestamp::from_millis).print();
    let graph = environment.job_graph("numbers", &GraphDefaults::from_config(&config(&[]), 1));
    let error = graph.map(|graph| graph.explain()).expect_err("it is no source's");
    assert!(
        error.to_string().contains("watermark alignment needs the vertex of a source"),
        "{error}"
    );
}
