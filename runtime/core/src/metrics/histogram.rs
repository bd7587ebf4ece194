//! How often which values came: cells that one writer fills.
//!
//! ```text
//!   value    0  1  …  63 │ 64..66  66..68  … │ 128..132  …      from 64 on, each power of two in 32 buckets of one width
//!   bucket   0  1  …  63 │   64      65    … │    96     …
//! ```
//!
//! # What is always true
//!
//! 1. A value is known to one part in 32; number, sum, least and greatest are exact.
//! 2. Nothing is allocated after it was made.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Counter;

/// Buckets of each power of two, as a power of two.
const BITS: u32 = 5;

/// How often which values came. One writer; any number of readers.
#[derive(Debug)]
pub struct Histogram {
    sum: Counter,
    least: AtomicU64,
    greatest: AtomicU64,
    buckets: Box<[Counter; Histogram::BUCKETS]>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            sum: Counter::new(),
            least: AtomicU64::new(u64::MAX),
            greatest: AtomicU64::new(0),
            buckets: Box::new([const { Counter::new() }; Self::BUCKETS]),
        }
    }
}

impl Histogram {
    /// How many buckets there are: 15 KiB.
    pub const BUCKETS: usize = ((64 - BITS as usize) + 1) << BITS;

    /// The bucket of a value.
    #[inline]
    pub const fn bucket_of(value: u64) -> usize {
        let Some(shift) = (u64::BITS - value.leading_zeros()).checked_sub(BITS + 1) else {
            return value as usize;
        };
        ((shift as usize) << BITS) + (value >> shift) as usize
    }

    /// The greatest value of a bucket.
    pub const fn greatest_of(bucket: usize) -> u64 {
        let Some(shift) = (bucket >> BITS).checked_sub(1) else { return bucket as u64 };
        let step = bucket - (shift << BITS);
        ((step as u64) << shift) + ((1 << shift) - 1)
    }

    /// Counts a value. Only the owning shard may call this.
    #[inline]
    pub fn record(&self, value: u64) {
        self.buckets[Self::bucket_of(value)].add(1);
        self.sum.add(value);
        if value < self.least.load(Ordering::Relaxed) {
            self.least.store(value, Ordering::Relaxed);
        }
        if value > self.greatest.load(Ordering::Relaxed) {
            self.greatest.store(value, Ordering::Relaxed);
        }
    }

    /// The sum of all values; it wraps.
    pub fn sum(&self) -> u64 {
        self.sum.get()
    }

    /// The least value; `u64::MAX` if there was none.
    pub fn least(&self) -> u64 {
        self.least.load(Ordering::Relaxed)
    }

    /// The greatest value; 0 if there was none.
    pub fn greatest(&self) -> u64 {
        self.greatest.load(Ordering::Relaxed)
    }

    /// The buckets that have values, in order, each with how many.
    pub fn buckets(&self) -> impl Iterator<Item = (usize, u64)> {
        let buckets = self.buckets.iter().map(Counter::get).enumerate();
        buckets.filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_no_wider_than_a_part_in_32_of_its_values() {
        assert_eq!(Histogram::bucket_of(u64::MAX), Histogram::BUCKETS - 1);
        assert_eq!(Histogram::greatest_of(Histogram::BUCKETS - 1), u64::MAX);
        let mut first = 0;
        for bucket in 0..Histogram::BUCKETS {
            let last = Histogram::greatest_of(bucket);
            assert_eq!([first, last].map(Histogram::bucket_of), [bucket; 2], "{first} to {last}");
            assert!(last - first <= first / 32, "{first} to {last}");
            first = last.wrapping_add(1);
        }
        assert_eq!(first, 0, "after the last value comes none");
    }

    #[test]
    fn values_are_counted_summed_and_bounded() {
        let histogram = Histogram::default();
        assert_eq!((histogram.buckets().count(), histogram.greatest()), (0, 0));
        [7, 0, 7, 1_000].into_iter().for_each(|value| histogram.record(value));
        assert_eq!((histogram.sum(), histogram.least(), histogram.greatest()), (1_014, 0, 1_000));
        let counted: Vec<_> = histogram.buckets().collect();
        assert_eq!(counted, [(0, 1), (7, 2), (Histogram::bucket_of(1_000), 1)]);
    }
}
