//! What a worker says of its frames: written by its shard, read by whoever asks how the job ended.

use wiesel_core::metrics::Gauge;
use wiesel_wire::FramePool;

/// The frames of one shard, those of all regions. A job that finished has all of them home, and has lost none.
#[derive(Debug, Default)]
pub struct PoolMetrics {
    frames: Gauge,
    outstanding: Gauge,
    lost: Gauge,
    bytes_peak: Gauge,
}

/// [`PoolMetrics`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolReport {
    /// Frames of the pools, of 32 KiB each.
    pub frames: u64,
    /// Frames that are not home: ordinary, overdraft and jumbo.
    pub outstanding: u64,
    /// Frames that did not come home before their partition was gone.
    pub lost: u64,
    /// The most bytes that the pools ever stood for, each by itself: their frames, overdraft, and jumbo frames.
    pub bytes_peak: u64,
}

impl PoolMetrics {
    pub(crate) fn note<'p>(&self, pools: impl Iterator<Item = &'p FramePool>) {
        let mut all = PoolReport::default();
        for pool in pools {
            all.frames += pool.total() as u64;
            all.outstanding += pool.outstanding() as u64;
            all.lost += pool.lost();
            all.bytes_peak += pool.bytes_peak() as u64;
        }
        self.frames.set(all.frames as i64);
        self.outstanding.set(all.outstanding as i64);
        self.lost.set(all.lost as i64);
        self.bytes_peak.set(all.bytes_peak as i64);
    }

    /// What the worker noted last: at its latest heartbeat, or when it ended.
    pub fn read(&self) -> PoolReport {
        let value = |gauge: &Gauge| u64::try_from(gauge.get()).unwrap_or(0);
        PoolReport {
            frames: value(&self.frames),
            outstanding: value(&self.outstanding),
            lost: value(&self.lost),
            bytes_peak: value(&self.bytes_peak),
        }
    }
}
