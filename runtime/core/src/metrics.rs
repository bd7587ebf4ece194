//! Counter cells: one writer, any number of readers, no read-modify-write.
//!
//! A cell belongs to one subtask on one shard, which is its only writer; the progress line and later the
//! reporters read it. So an increment is a load and a store, not a locked instruction.

mod functions;
mod histogram;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

pub use functions::{FunctionMetric, FunctionMetrics, MetricCell};
pub use histogram::Histogram;

/// A count that only its owner raises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// A counter at zero.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds `count`. Only the owning shard may call this.
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// What has been counted.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A value that only its owner sets.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// A gauge at `value`.
    pub const fn new(value: i64) -> Self {
        Self(AtomicI64::new(value))
    }

    /// Replaces the value. Only the owning shard may call this.
    #[inline]
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The last value.
    #[inline]
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What every task counts, under Flink's leaf names.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct TaskMetrics {
    /// `numRecordsIn`: records read from gates, or by a source from its splits.
    pub records_in: Counter,
    /// `numRecordsOut`: records appended to result partitions.
    pub records_out: Counter,
    /// `numLateRecordsDropped`.
    pub late_records_dropped: Counter,
    /// Lines or records that could not be read and were skipped by choice.
    pub bad_records_skipped: Counter,
    /// Lines with bytes that are not UTF-8, which were replaced by choice.
    pub text_replaced: Counter,
    /// Nanoseconds spent in turns that did work (`busyTimeMsPerSecond` is its slope).
    pub busy_ns: Counter,
    /// Nanoseconds of turns that found nothing to do (`idleTimeMsPerSecond` counts sleep as well).
    pub idle_ns: Counter,
    /// Nanoseconds without a turn for data because an output had no frame (`backPressuredTimeMsPerSecond`).
    pub back_pressured_ns: Counter,
    /// Nanoseconds of turns before the first record: ports and gates are looked at.
    pub queue_ns: Counter,
    /// Nanoseconds of turns behind the last record: open frames leave, frames come home.
    pub flush_ns: Counter,
    /// Nanoseconds of turns spent on watermarks: what they fire, with what is pushed.
    pub watermark_ns: Counter,
    /// `currentInputWatermark`, in milliseconds.
    pub input_watermark_ms: Gauge,
    /// Where the time of records goes.
    pub stages: StageMetrics,
    /// What its functions count.
    pub functions: FunctionMetrics,
}

/// Where the time of records goes: of each stage how many records were looked at, and their nanoseconds. Those are few,
/// of a turn or a frame one, and each was timed alone: their proportions say where time goes, not what a record costs.
#[derive(Debug, Default)]
pub struct StageMetrics {
    /// Records seen while their source made them.
    pub source_count: Counter,
    /// Nanoseconds of that.
    pub source_ns: Counter,
    /// Records seen in operators without state.
    pub chain_count: Counter,
    /// Nanoseconds of that, with what is pushed.
    pub chain_ns: Counter,
    /// Records seen in keyed operators.
    pub state_count: Counter,
    /// Nanoseconds of that, with what is pushed.
    pub state_ns: Counter,
    /// Records seen while they were appended to a frame.
    pub serialise_count: Counter,
    /// Nanoseconds of that.
    pub serialise_ns: Counter,
}
