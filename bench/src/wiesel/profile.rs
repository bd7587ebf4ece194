//! `--profile`: where the nanoseconds of an event go, from the counters that are always on.
//!
//! ```text
//!   source, chain, serialise, state   a task's busy time, shared out by what single records were seen to take
//!   queue, flush                      measured in every turn: before its first record, behind its last
//!   watermark                         measured: windows and timers that fire, with what is pushed
//!   idle                              the rest of the time of its shards
//! ```
//!
//! # What is always true
//!
//! 1. The rows above `idle` add up to the busy time of the tasks. A record that is timed alone takes longer than one in
//!    a loop, which overlaps with its neighbours: so only the proportions of what was seen are used.
//! 2. A sink is part of the chain or the keyed operator that it is fused to.

use std::fmt::Write as _;

use wiesel::{JobResult, TaskMetricsReport};

use crate::measure::Usage;

/// Nanoseconds by stage.
#[derive(Default)]
struct Stages {
    source: f64,
    chain: f64,
    serialise: f64,
    state: f64,
    queue: f64,
    flush: f64,
    watermark: f64,
}

impl Stages {
    /// Adds the busy time of a task.
    fn add(&mut self, metrics: &TaskMetricsReport) {
        let average =
            |(count, ns): (u64, u64)| if count == 0 { 0.0 } else { ns as f64 / count as f64 };
        let (stages, records_in) = (&metrics.stages, metrics.records_in as f64);
        let source = average(stages.source) * records_in;
        let serialise = average(stages.serialise) * metrics.records_out as f64;
        // These were timed with what they push into.
        let chain = (average(stages.chain) * records_in - serialise).max(0.0);
        let state = (average(stages.state) * records_in - serialise).max(0.0);
        let (queue, flush) = (metrics.queue_ns as f64, metrics.flush_ns as f64);
        let seen = source + chain + serialise + state;
        let watermark = metrics.watermark_ns as f64;
        let busy = (metrics.busy_ns as f64 - queue - flush - watermark).max(0.0);
        let scale = if seen > 0.0 { busy / seen } else { 0.0 };
        self.source += source * scale;
        self.chain += chain * scale;
        self.serialise += serialise * scale;
        self.state += state * scale;
        self.queue += queue;
        self.flush += flush;
        self.watermark += watermark;
    }
}

/// The table.
pub fn table(result: &JobResult, events: u64, usage: &Usage) -> String {
    let tasks = &result.progress.tasks;
    let mut stages = Stages::default();
    tasks.iter().filter_map(|task| task.metrics.as_ref()).for_each(|m| stages.add(m));
    let shards = result.progress.busy_by_shard();
    let busy: f64 = shards.iter().map(|(_, busy)| busy.as_nanos() as f64).sum();
    let idle = usage.elapsed.as_nanos() as f64 * shards.len() as f64 - busy;
    let per_event = |ns: f64| ns / events as f64;
    let mut text = format!(
        "where the nanoseconds of an event go: {events} events, {:.1} CPU ns each\n",
        per_event(usage.cpu.as_nanos() as f64)
    );
    for (name, ns) in [
        ("source", stages.source),
        ("chain", stages.chain),
        ("serialise", stages.serialise),
        ("queue", stages.queue),
        ("state", stages.state),
        ("watermark", stages.watermark),
        ("flush", stages.flush),
        ("idle", idle.max(0.0)),
    ] {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {name:<10} {:>8.2}", per_event(ns));
    }
    let share = |ns: u64| 1_000.0 * ns as f64 / usage.elapsed.as_nanos().max(1) as f64;
    for task in tasks {
        if let Some(metrics) = &task.metrics {
            let _ = writeln!(
                text,
                "  {}: numRecordsIn {} numRecordsOut {} busyTimeMsPerSecond {:.0} \
                 idleTimeMsPerSecond {:.0} backPressuredTimeMsPerSecond {:.0}",
                task.name,
                metrics.records_in,
                metrics.records_out,
                share(metrics.busy_ns),
                share(metrics.idle_ns),
                share(metrics.back_pressured_ns)
            );
        }
    }
    text
}
