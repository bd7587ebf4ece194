//! What a shard counts about itself: one writer, read by the watchdog, the progress line and tests.
//!
//! # What is always true
//!
//! 1. Only the shard writes its cells, but for `stalls`, which is the watchdog's.
//! 2. `turns` grows at least once per [`PARK_MAX`](crate::PARK_MAX) (the control program's: once a second) while the
//!    program runs and its turns are short: a shard whose `turns` stands still is stuck or in a long turn.

use std::{
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
    time::Duration,
};

use wiesel_core::metrics::Counter;

/// Counters of one shard. All but `stalls` are written by the shard itself.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ShardCounters {
    /// Turns given to the program.
    pub turns: Counter,
    /// Nanoseconds in turns that did work.
    pub busy_ns: Counter,
    /// Times that the shard went to sleep.
    pub parks: Counter,
    /// Times that a knock or a completed operation ended a sleep, and not its deadline.
    pub wakes: Counter,
    /// Looks at glommio's reactor while the shard was awake.
    pub passes: Counter,
    /// Operations of the shard's own ring that completed.
    pub completions: Counter,
    /// Times that the watchdog found no progress and rang the bell.
    pub stalls: Counter,
    /// How long turns that did work lasted.
    pub turn_ns: TurnHistogram,
    state: AtomicU8,
}

/// What became of a shard's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramState {
    /// It has not ended.
    Running,
    /// It said [`crate::Next::Done`].
    Done,
    /// It panicked.
    Panicked,
}

impl ShardCounters {
    /// What became of the program.
    pub fn state(&self) -> ProgramState {
        match self.state.load(Ordering::Acquire) {
            0 => ProgramState::Running,
            1 => ProgramState::Done,
            _ => ProgramState::Panicked,
        }
    }

    pub(crate) fn ended(&self, panicked: bool) {
        self.state.store(1 + u8::from(panicked), Ordering::Release);
    }
}

/// Eight buckets per power of two: quantiles to within an eighth. One writer, no allocation.
#[derive(Debug)]
pub struct TurnHistogram([AtomicU64; Self::BUCKETS]);

impl Default for TurnHistogram {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl TurnHistogram {
    /// 2^40 ns are 18 minutes; what is longer falls into the last bucket.
    const BUCKETS: usize = 8 * 38;

    #[inline]
    fn bucket(ns: u64) -> usize {
        if ns < 8 {
            return ns as usize;
        }
        let power = 63 - ns.leading_zeros();
        let eighth = (ns >> (power - 3)) & 7;
        ((power as usize - 2) * 8 + eighth as usize).min(Self::BUCKETS - 1)
    }

    /// The largest value of a bucket.
    fn upper(bucket: usize) -> u64 {
        if bucket < 8 {
            return bucket as u64;
        }
        let (power, eighth) = ((bucket / 8 + 2) as u32, (bucket % 8) as u64);
        ((8 + eighth + 1) << (power - 3)) - 1
    }

    #[inline]
    pub(crate) fn record(&self, ns: u64) {
        let cell = &self.0[Self::bucket(ns)];
        cell.store(cell.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// How many turns were recorded.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|cell| cell.load(Ordering::Relaxed)).sum()
    }

    /// The duration that a share of `quantile` (0 to 1) of all turns did not exceed; rounded up by at most an eighth.
    pub fn quantile(&self, quantile: f64) -> Duration {
        let rank = ((self.count() as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = self.0.iter().position(|cell| {
            seen += cell.load(Ordering::Relaxed);
            seen >= rank
        });
        Duration::from_nanos(bucket.map_or(0, Self::upper))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_values_to_an_eighth() {
        for ns in (0..64).chain([100, 999, 1_000, 25_000, 49_999, 1 << 20, (1 << 39) + 12_345]) {
            let upper = TurnHistogram::upper(TurnHistogram::bucket(ns));
            assert!(upper >= ns && upper - ns <= ns / 8, "{ns} -> {upper}");
        }
        assert_eq!(TurnHistogram::bucket(u64::MAX), TurnHistogram::BUCKETS - 1);
    }

    #[test]
    fn quantiles_count_from_below() {
        let histogram = TurnHistogram::default();
        assert_eq!((histogram.count(), histogram.quantile(0.5)), (0, Duration::ZERO));
        (1..=1_000).for_each(|ns| histogram.record(ns));
        for (quantile, at_least) in [(0.001, 1), (0.5, 500), (0.99, 990), (1.0, 1_000)] {
            let found = histogram.quantile(quantile).as_nanos();
            assert!((at_least..=at_least + at_least / 8).contains(&found), "{quantile}: {found}");
        }
    }
}
