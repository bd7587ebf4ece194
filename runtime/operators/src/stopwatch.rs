//! Where the time of records goes, measured on few of them and never in a loop over many.
//!
//! ```text
//!   source head   one record of a turn, behind a look:     │ made ── source ──▶│ pushed ── chain, with its outputs ──▶│
//!   frame head    the last record of a frame:                                  │ pushed ── chain, with its outputs ──▶│
//!   keyed head    the last record of a frame:              │ row found and changed, pushed ── state, with outputs ──▶│
//!   output        one record of a turn:                                             │ appended ── serialise ──▶│
//! ```
//!
//! # What is always true
//!
//! 1. The stopwatch is always on, and out of line and cold wherever it is read: a reading of the clock inlined into a loop
//!    over records costs that loop a quarter of its speed, even where it is never reached.
//! 2. What reading the clock takes is measured when the stopwatch is made, and taken off.

use std::{rc::Rc, sync::Arc, time::Duration};

use wiesel_core::{
    Nanos,
    metrics::{Counter, TaskMetrics},
};
use wiesel_shard::Shard;

/// Which record of a turn an output looks at: not one of the first, whose lines are not here yet. A source looks at one behind it.
pub const SAMPLED_RECORD: u64 = 24;

/// One per task, shared by its operators. Cheap to clone.
#[derive(Clone)]
pub struct Stopwatch(Rc<Inner>);

struct Inner {
    shard: Shard,
    metrics: Arc<TaskMetrics>,
    /// What a reading of the clock takes.
    reading: Duration,
}

/// What a part of a record's way counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A source makes it.
    Source,
    /// It is pushed through operators without state, and into the output behind them.
    Chain,
    /// A keyed operator looks up and changes its row, and pushes what comes of it.
    State,
    /// It is appended to a frame.
    Serialise,
}

impl Stopwatch {
    /// The stopwatch of a task.
    pub fn new(shard: &Shard, metrics: &Arc<TaskMetrics>) -> Self {
        let readings = (0..16).map(|_| {
            let first = shard.read_clock();
            shard.read_clock().since(first)
        });
        let reading = readings.min().unwrap_or_default();
        Self(Rc::new(Inner { shard: shard.clone(), metrics: Arc::clone(metrics), reading }))
    }

    /// Reads the clock.
    #[cold]
    #[inline(never)]
    pub fn read(&self) -> Nanos {
        self.0.shard.read_clock()
    }

    /// Counts the time since `started` to `stage`, and gives the time.
    #[cold]
    #[inline(never)]
    pub fn count_since(&self, started: Nanos, stage: Stage) -> Nanos {
        let now = self.0.shard.read_clock();
        self.count(now.since(started), stage);
        now
    }

    /// Counts `took`, in which the clock was read once, to `stage`.
    #[cold]
    #[inline(never)]
    pub fn count(&self, took: Duration, stage: Stage) {
        let stages = &self.0.metrics.stages;
        let (count, ns): (&Counter, &Counter) = match stage {
            Stage::Source => (&stages.source_count, &stages.source_ns),
            Stage::Chain => (&stages.chain_count, &stages.chain_ns),
            Stage::State => (&stages.state_count, &stages.state_ns),
            Stage::Serialise => (&stages.serialise_count, &stages.serialise_ns),
        };
        count.add(1);
        ns.add(took.saturating_sub(self.0.reading).as_nanos() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_counted_apart_and_readings_taken_off() {
        let (shard, metrics) = (Shard::detached(), Arc::<TaskMetrics>::default());
        let watch = Stopwatch::new(&shard, &metrics);
        let us = Duration::from_micros;
        for (took, stage) in
            [(us(20), Stage::Source), (us(40), Stage::Chain), (us(2), Stage::Chain)]
        {
            watch.count(took, stage);
        }
        watch.count(Duration::ZERO, Stage::Serialise);
        let stages = &metrics.stages;
        let counts = [&stages.source_count, &stages.chain_count, &stages.serialise_count];
        assert_eq!(counts.map(Counter::get), [1, 2, 1]);
        assert_eq!(stages.state_count.get(), 0);
        let reading = watch.0.reading.as_nanos() as u64;
        assert_eq!(stages.chain_ns.get() + 2 * reading, 42_000);
        assert_eq!(stages.serialise_ns.get(), 0);
        let before = watch.read();
        assert!(watch.count_since(before, Stage::State) >= before);
        assert_eq!(stages.state_count.get(), 1);
    }
}
