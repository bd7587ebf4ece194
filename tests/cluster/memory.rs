//! Memory stays within pools, overdraft and one largest record, whatever the load.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use wiesel_cluster::{JobResult, SubmitOptions};
use wiesel_connectors::DataGen;
use wiesel_core::config::Configuration;
use wiesel_datastream::Environment;
use wiesel_jobmanager::JobStatus;

use crate::{assert_sound, compute, config, run, submit, watched};

const OVERDRAFT_BYTES_MAX: u64 = 128 << 10;
/// A shard of these jobs has at most this many tasks that write to channels.
const WRITERS: u64 = 2;

fn tight() -> Configuration {
    config(&[
        ("taskmanager.network.memory.buffers-per-channel", "2"),
        ("taskmanager.network.memory.max-overdraft-size", "128 kb"),
        ("taskmanager.network.record-bytes-max", "128 kb"),
    ])
}

/// A source as fast as it can, and a sink that takes a hundred times as long for a record.
fn slow_sink(environment: &Environment, records: u64) {
    let slow = environment
        .source(DataGen::new(|tick| (tick.number, "some text".to_owned())).count(records))
        .rebalance()
        .map(|(number, _)| {
            compute(Duration::from_micros(20));
            number
        });
    let _ = slow.filter(|_| false).collect();
}

/// One key gets all records, so one subtask has all the work.
fn one_key(environment: &Environment, records: u64) {
    let counts = environment
        .source(DataGen::new(|tick| tick.number).count(records))
        .key_by::<u64>(|_| 7)
        .count()
        .key_by::<u64>(|_| 7);
    let _ = counts.count().filter(|_| false).collect();
}

/// No pool ever stood for more than its frames and the overdraft of its tasks.
#[track_caller]
fn assert_bounded(result: &JobResult) {
    for pool in &result.pools {
        let most = pool.frames * (32 << 10) + WRITERS * OVERDRAFT_BYTES_MAX;
        assert!(pool.frames > 0 && pool.bytes_peak <= most, "{pool:?}, at most {most} bytes");
    }
}

#[test]
fn a_slow_sink_holds_the_source_back() {
    watched(|| {
        let environment = Environment::new();
        slow_sink(&environment, 30_000);
        let result = run(&environment, 2, &tight());
        assert_sound(&result);
        assert_bounded(&result);
    });
}

#[test]
fn one_key_with_all_records_takes_no_more_memory() {
    watched(|| {
        let environment = Environment::new();
        one_key(&environment, 300_000);
        let result = run(&environment, 2, &tight());
        assert_sound(&result);
        assert_bounded(&result);
    });
}

/// The resident set of this process, in KiB.
fn resident_kib() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok());
    pages.expect("the second number of statm") * 4.0
}

/// KiB per second of a line through the samples (seconds, KiB).
fn slope(samples: &[(f64, f64)]) -> f64 {
    let count = samples.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (at, kib) = (mean(|sample| sample.0), mean(|sample| sample.1));
    let over: f64 = samples.iter().map(|sample| (sample.0 - at) * (sample.1 - kib)).sum();
    over / samples.iter().map(|sample| (sample.0 - at).powi(2)).sum::<f64>()
}

/// Runs a job without an end for 24 s, and looks at the resident set from the twelfth on.
#[track_caller]
fn check_slope(name: &str, job: fn(&Environment, u64)) {
    const WARM: f64 = 12.0;
    const END: f64 = 24.0;
    let environment = Environment::new();
    job(&environment, u64::MAX);
    let (sender, samples) = mpsc::channel();
    let started = Instant::now();
    let options = SubmitOptions {
        observe_every: Duration::from_millis(50),
        observer: Some(Box::new(move |progress| {
            let _ = sender.send((
                started.elapsed().as_secs_f64(),
                resident_kib(),
                progress.records_read(),
            ));
        })),
        ..SubmitOptions::default()
    };
    let client = submit(&environment, 2, &tight(), options);
    let seen: Vec<_> = samples.iter().take_while(|(at, ..)| *at < END).collect();
    client.cancel();
    let result = client.wait();
    assert_eq!((result.status, &result.failure), (JobStatus::Canceled, &None));
    assert_bounded(&result);
    let warm: Vec<_> = seen.iter().filter(|(at, ..)| *at > WARM).map(|s| (s.0, s.1)).collect();
    let (slope, first, last) = (slope(&warm), warm[0].1, warm[warm.len() - 1].1);
    println!(
        "{name}: {} records read; resident {first} KiB at {WARM} s, {last} KiB at {END} s, slope {slope:.1} KiB/s",
        seen[seen.len() - 1].2
    );
    // Less than one frame a second: a leak of a frame per turn, of a byte per record, would be hundreds.
    assert!(slope < 32.0, "{name}: memory grows by {slope:.1} KiB/s");
}

#[test]
#[ignore = "48 s: see the head of main.rs"]
fn memory_has_no_slope() {
    watched(|| {
        check_slope("a sink 100 times slower than its source", slow_sink);
        check_slope("one key with all records", one_key);
    });
}
