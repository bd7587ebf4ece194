//! `checkpoint`: what checkpoints cost a job that counts keys. `state`: how fast its state is updated.
//!
//! ```text
//!   every key once ─▶ some keys again and again ─▶ key_by ─▶ running count ─▶ CheckSink
//!                  │           │                       │
//!               filled      settled                  ending
//!                  └ the first whole snapshot, under load
//!                              └──── what is compared ─┘
//! ```
//!
//! # What is always true
//!
//! 1. Every result is checked against the same sums in a loop.
//! 2. CPU is that of the process, helper threads and the writing of files included; with checkpoints and without are two
//!    [processes that take turns](super::spells).
//! 3. What is compared begins when all keys are in a checkpoint, so that what follows are those that were updated since, and
//!    ends with the events.
//!
//! A stall is what a machine makes of it, too: beside it stands what two clocks saw in a loop that does nothing but look
//! at them, on as many cores, in as many spans of the same length.

#![allow(clippy::disallowed_methods, reason = "it measures, and looks at jobs from outside")]

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tempfile::TempDir;
use wiesel::{CheckpointStats, Configuration, JobStatus, prelude::*};

use super::{check_sink::Total, events::Keys, jobs::check, spells};
use crate::{
    generator::{Check, keyed_x},
    measure::{Outcome, Run, Usage, cpu_so_far, gaps, measured, stats::Ratio},
};

/// Between two looks at a job from outside.
const LOOK: Duration = Duration::from_millis(5);

/// So much of the events passes before anything is compared, also where there are no checkpoints.
const SETTLING: u64 = 8;

/// What is compared ends before the events do, which they do not on all shards at once.
const ENDING: u64 = 32;

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

/// A moment of a run, as its source saw it.
#[derive(Clone, Copy)]
struct Mark {
    number: u64,
    at: Instant,
    /// Of the process.
    cpu: Duration,
}

/// What the source notes: the first record whose number is not below what is asked for.
struct Marks {
    next: AtomicU64,
    taken: Mutex<Vec<Mark>>,
}

impl Marks {
    fn new(first: u64) -> Self {
        Self { next: AtomicU64::new(first), taken: Mutex::default() }
    }

    #[inline(always)]
    fn look(&self, number: u64) {
        let next = self.next.load(Ordering::Relaxed);
        if number >= next {
            self.note(number, next);
        }
    }

    #[cold]
    #[inline(never)]
    fn note(&self, number: u64, next: u64) {
        let swapped =
            self.next.compare_exchange(next, u64::MAX, Ordering::Relaxed, Ordering::Relaxed);
        if swapped.is_ok() {
            let mark = Mark { number, at: Instant::now(), cpu: cpu_so_far() };
            self.taken.lock().unwrap_or_else(PoisonError::into_inner).push(mark);
        }
    }

    fn ask(&self, number: u64) {
        self.next.store(number, Ordering::Relaxed);
    }

    /// Those that were taken so far.
    fn taken(&self) -> Vec<Mark> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One run of the job.
pub(super) struct Measured {
    usage: Usage,
    /// For an event, between the marks that are compared, in nanoseconds.
    pub(super) cpu_ns: f64,
    updates_per_second: f64,
    filled: CheckpointStats,
    settled: CheckpointStats,
    after: CheckpointStats,
}

pub(super) fn count_keys(run: &Run, takes_checkpoints: bool) -> Result<Measured, String> {
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
    let (keys, dirty) = (run.state.keys, run.state.dirty);
    let marks = Arc::new(Marks::new(keys));
    let noted = Arc::clone(&marks);
    let key = move |number| {
        noted.look(number);
        key_of(number, keys, dirty)
    };
    let records = env.source(Keys::source(key, keys + run.events)).uid("keys");
    let counts = records.key_by::<u64>(|(key, _)| key).count().uid("counts");
    let total: Total = check(counts, |counted| keyed_x(counted.key, counted.count));
    let mut stats = Vec::new();
    let (result, usage) = measured(|| {
        let client = env.execute_async("checkpoint")?;
        while !client.status().is_terminal() {
            thread::sleep(LOOK);
            let now = client.progress().and_then(|progress| progress.checkpoints);
            let now = now.unwrap_or_default();
            let filled = stats.first().map_or(0, |filled: &CheckpointStats| filled.completed);
            // The one that was under way then has not all keys; the next one has.
            let has_all = !takes_checkpoints || now.completed >= filled + 2;
            match (marks.taken().len(), stats.len()) {
                (1, 0) => stats.push(now),
                (1, 1) if has_all => marks.ask(keys + run.events / SETTLING),
                (2, 1) => {
                    stats.push(now);
                    marks.ask(keys + run.events - run.events / ENDING);
                }
                _ => {}
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
    let ([_, from, to], [filled, settled]) = (&marks.taken()[..], &stats[..]) else {
        return Err(format!(
            "{} events are over before a checkpoint has all {keys} keys: give more --events or a shorter \
             --interval-ms",
            run.events
        ));
    };
    let events = to.number.saturating_sub(from.number).max(1) as f64;
    Ok(Measured {
        usage,
        cpu_ns: to.cpu.saturating_sub(from.cpu).as_nanos() as f64 / events,
        updates_per_second: events / to.at.duration_since(from.at).as_secs_f64(),
        filled: *filled,
        settled: *settled,
        after: result.progress.checkpoints.unwrap_or_default(),
    })
}

/// What checkpoints cost: pairs of processes, with and without; then one run alone, for how long records are held up.
///
/// # Errors
///
/// If a job cannot run here, or its result is wrong.
pub fn run(run: &Run) -> Result<Outcome, String> {
    let ratios: Vec<f64> =
        (0..run.state.pairs).map(|pair| spells::ratio(run, pair)).collect::<Result<_, _>>()?;
    let with = count_keys(run, true)?;
    let Measured { filled, settled, after, .. } = with;
    let pauses = after.pauses.since(&settled.pauses);
    let running = after.running_pauses.since(&settled.running_pauses);
    let first = settled.running_pauses.since(&filled.running_pauses);
    let count = pauses.count().max(1);
    let duration = (after.durations - settled.durations).div_f64(count as f64);
    let floor = gaps::longest(run.parallelism, count, duration)?;
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
        ("stall_first_max_ns", json!(ns(first.quantile(1.0)))),
        ("floor_p50_ns", json!(floor.running.value_at_quantile(0.5))),
        ("floor_p999_ns", json!(floor.running.value_at_quantile(0.999))),
        ("floor_raw_p999_ns", json!(floor.elapsed.value_at_quantile(0.999))),
        ("checkpoint_bytes", json!((after.written_bytes - settled.written_bytes) / count)),
        ("duration_ms", json!(duration.as_secs_f64() * 1e3)),
        ("failed", json!(after.failed)),
        ("updates_per_second", json!(with.updates_per_second)),
    ];
    if !ratios.is_empty() {
        let ratio = Ratio::of(&ratios);
        outcome.extra.extend([
            ("cpu_ratio", json!(ratio.median)),
            ("cpu_ratio_low", json!(ratio.low)),
            ("cpu_ratio_high", json!(ratio.high)),
        ]);
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
