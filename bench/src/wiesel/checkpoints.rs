//! `checkpoint`: what checkpoints cost a job that counts keys. `state`: how fast its state is updated.
//!
//! ```text
//!   every key once ─▶ some keys again and again ─▶ key_by ─▶ running count ─▶ CheckSink
//!                  └ from here on it is measured, with checkpoints and without, run after run
//! ```
//!
//! # What is always true
//!
//! 1. Every result is checked against the same sums in a loop.
//! 2. CPU is that of the process, helper threads and the writing of files included, from when every key is there.

#![allow(clippy::disallowed_methods, reason = "it measures, and looks at jobs from outside")]

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use std::{thread, time::Duration};

use serde_json::json;
use tempfile::TempDir;
use wiesel::{CheckpointStats, Configuration, JobStatus, prelude::*};

use super::{check_sink::Total, events::Keys, jobs::check};
use crate::{
    generator::{Check, keyed_x},
    measure::{Outcome, Run, Usage, cpu_so_far, measured, stats},
};

/// Between two looks at a job from outside.
const LOOK: Duration = Duration::from_millis(5);

/// The key of a record: first every key, then the first so many in an order that no cache likes.
fn key_of(number: u64, keys: u64, dirty: u64) -> u64 {
    if number < keys { number } else { number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % dirty }
}

/// What the outputs have to be.
fn expected(run: &Run) -> Check {
    let mut counts = vec![0_u64; run.state.keys as usize];
    let mut check = Check::default();
    for number in 0..run.state.keys + run.events {
        let key = key_of(number, run.state.keys, run.state.dirty);
        counts[key as usize] += 1;
        check.add(keyed_x(key, counts[key as usize]));
    }
    check
}

/// One run of the job.
struct Measured {
    usage: Usage,
    /// From when every key was there.
    cpu: Duration,
    elapsed: Duration,
    /// Of checkpoints from then on.
    before: CheckpointStats,
    after: CheckpointStats,
}

fn count_keys(run: &Run, takes_checkpoints: bool) -> Result<Measured, String> {
    let said = |error: wiesel::Error| error.to_string();
    let folder = TempDir::new().map_err(|error| format!("a temporary folder: {error}"))?;
    let mut env = StreamExecutionEnvironment::new(Configuration::new());
    env.set_parallelism(run.parallelism).map_err(said)?;
    if takes_checkpoints {
        env.enable_checkpointing(Duration::from_millis(run.state.interval_ms)).map_err(said)?;
        let text = folder.path().display().to_string();
        env.set("execution.checkpointing.dir", &text).map_err(said)?;
        env.set("execution.checkpointing.incremental", &(!run.state.full).to_string())
            .map_err(said)?;
        env.set("execution.checkpointing.tolerable-failed-checkpoints", "1000").map_err(said)?;
    }
    // The CPU time and the time when every key was there, in nanoseconds.
    let filled: Arc<[AtomicU64; 2]> = Arc::default();
    let (keys, dirty, noted) = (run.state.keys, run.state.dirty, Arc::clone(&filled));
    let started = std::time::Instant::now();
    let key = move |number| {
        if number == keys {
            noted[1].store(started.elapsed().as_nanos() as u64, Ordering::Relaxed);
            noted[0].store(cpu_so_far().as_nanos() as u64, Ordering::Release);
        }
        key_of(number, keys, dirty)
    };
    let records = env.source(Keys::source(key, run.state.keys + run.events)).uid("keys");
    let counts = records.key_by::<u64>(|(key, _)| key).count().uid("counts");
    let total: Total = check(counts, |counted| keyed_x(counted.key, counted.count));
    let mut before = CheckpointStats::default();
    let (result, usage) = measured(|| {
        let client = env.execute_async("checkpoint")?;
        let mut is_filled = false;
        while !client.status().is_terminal() {
            thread::sleep(LOOK);
            if !is_filled && filled[0].load(Ordering::Acquire) != 0 {
                is_filled = true;
                let progress = client.progress();
                before = progress.and_then(|progress| progress.checkpoints).unwrap_or_default();
            }
        }
        Ok(client.wait())
    });
    let result = result.map_err(said)?;
    if result.status != JobStatus::Finished {
        return Err(format!("the job is {}: {:?}", result.status, result.failure));
    }
    let (expected, found) = (expected(run), total.get());
    if found != expected {
        let sums = (found.sum_text(), expected.sum_text());
        return Err(format!(
            "{} outputs, sum {}; right are {}, sum {}",
            found.out, sums.0, expected.out, sums.1
        ));
    }
    let since = |noted: &AtomicU64| Duration::from_nanos(noted.load(Ordering::Relaxed));
    Ok(Measured {
        usage,
        cpu: cpu_so_far().saturating_sub(since(&filled[0])),
        elapsed: usage.elapsed.saturating_sub(since(&filled[1])),
        before,
        after: result.progress.checkpoints.unwrap_or_default(),
    })
}

/// What checkpoints cost: pairs of runs, with and without.
///
/// # Errors
///
/// If a job cannot run here, or its result is wrong.
pub fn run(run: &Run) -> Result<Outcome, String> {
    let mut ratios = Vec::new();
    let mut last = None;
    for pair in 0..run.state.pairs {
        let with_first = pair % 2 == 0;
        let first = count_keys(run, with_first)?;
        let second = count_keys(run, !with_first)?;
        let (with, without) = if with_first { (first, second) } else { (second, first) };
        ratios.push(with.cpu.as_secs_f64() / without.cpu.as_secs_f64());
        last = Some(with);
    }
    let with = match last {
        Some(with) => with,
        None => count_keys(run, true)?,
    };
    let (before, after) = (with.before, with.after);
    let pauses = after.pauses.since(&before.pauses);
    let running = after.running_pauses.since(&before.running_pauses);
    let count = pauses.count().max(1);
    let ns = |pause: Duration| pause.as_nanos() as u64;
    let mut outcome = with.usage.outcome(run, "wiesel", expected(run));
    outcome.extra = vec![
        ("keys", json!(run.state.keys)),
        ("dirty", json!(run.state.dirty)),
        ("interval_ms", json!(run.state.interval_ms)),
        ("checkpoints", json!(pauses.count())),
        ("stall_p50_ns", json!(ns(running.quantile(0.5)))),
        ("stall_p999_ns", json!(ns(running.quantile(0.999)))),
        ("stall_max_ns", json!(ns(running.quantile(1.0)))),
        ("stall_raw_p999_ns", json!(ns(pauses.quantile(0.999)))),
        ("checkpoint_bytes", json!((after.written_bytes - before.written_bytes) / count)),
        (
            "duration_ms",
            json!((after.durations - before.durations).as_secs_f64() * 1e3 / count as f64),
        ),
        ("failed", json!(after.failed)),
        ("updates_per_second", json!(run.events as f64 / with.elapsed.as_secs_f64())),
    ];
    if !ratios.is_empty() {
        let ratio = stats::median(ratios);
        outcome.extra.push(("cpu_ratio", json!(ratio)));
    }
    Ok(outcome)
}

/// How fast state is updated: values of 32 bytes, read, changed and written.
///
/// # Errors
///
/// As [`run`].
pub fn state(run: &Run) -> Result<Outcome, String> {
    let said = |error: wiesel::Error| error.to_string();
    let mut env = StreamExecutionEnvironment::new(Configuration::new());
    env.set_parallelism(run.parallelism).map_err(said)?;
    let keys = run.state.keys;
    let key = move |number: u64| number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % keys;
    let records = env.source(Keys::source(key, run.events)).uid("keys");
    let values = records
        .key_by::<u64>(|(key, _)| key)
        .fold((0, 0, 0, 0), |value: &mut (u64, u64, u64, u64), (key, one)| {
            *value =
                (value.0 + one, value.1 ^ key, value.2.wrapping_add(key), value.3.max(value.0));
        })
        .uid("values");
    let total = check(values, |updated| {
        let (count, odd, sum, before) = updated.value;
        keyed_x(updated.key, count) ^ odd ^ sum ^ before
    });
    let (result, usage) = measured(|| env.execute("state"));
    result.map_err(said)?;
    let mut values = vec![(0_u64, 0_u64, 0_u64, 0_u64); keys as usize];
    let mut expected = Check::default();
    for number in 0..run.events {
        let key = key(number);
        let value = &mut values[key as usize];
        *value = (value.0 + 1, value.1 ^ key, value.2.wrapping_add(key), value.3.max(value.0));
        expected.add(keyed_x(key, value.0) ^ value.1 ^ value.2 ^ value.3);
    }
    if total.get() != expected {
        return Err("the values are wrong".to_owned());
    }
    let mut outcome = usage.outcome(run, "wiesel", total.get());
    let rate = run.events as f64 / usage.elapsed.as_secs_f64();
    outcome.extra = vec![
        ("backend", json!("memory")),
        ("keys", json!(keys)),
        ("updates_per_second", json!(rate)),
    ];
    Ok(outcome)
}
