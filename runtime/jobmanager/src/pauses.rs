//! How long checkpoints have held up the records of a job: a count of pauses by length.
//!
//! ```text
//!   1 us ─┬─┬─┬─┬─ 2 us ─┬─┬─┬─┬─ 4 us …   four lengths to a doubling: what is read is at most 19 % too long
//! ```

use std::time::Duration;

/// Lengths to a doubling.
const STEPS: f64 = 4.0;

/// Up to 2^32 us.
const LENGTHS: usize = 128;

/// Pauses, by length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    counts: [u32; LENGTHS],
    longest: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { counts: [0; LENGTHS], longest: Duration::ZERO }
    }
}

impl Pauses {
    /// Adds one.
    pub fn note(&mut self, pause: Duration) {
        let us = (pause.as_nanos() as f64 / 1e3).max(1.0);
        let length = ((us.log2() * STEPS).ceil() as usize).min(LENGTHS - 1);
        self.counts[length] = self.counts[length].saturating_add(1);
        self.longest = self.longest.max(pause);
    }

    /// Those that were not there `before`. The longest is told by its length, if it came before.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut since = *self;
        for (count, before) in since.counts.iter_mut().zip(before.counts) {
            *count = count.saturating_sub(before);
        }
        if self.longest == before.longest {
            let length = since.counts.iter().rposition(|count| *count > 0).unwrap_or(0);
            since.longest = Self::at_most(length).min(self.longest);
        }
        since
    }

    /// The longest of a length.
    fn at_most(length: usize) -> Duration {
        Duration::from_nanos(((length as f64 / STEPS).exp2() * 1e3) as u64)
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    /// The longest.
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// A length that this share of the pauses did not pass: 0.999 for the 99.9th percentile. Zero if there were none.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wiesel_jobmanager::Pauses;
    ///
    /// let mut pauses = Pauses::default();
    /// (1..=1_000).for_each(|us| pauses.note(Duration::from_micros(us)));
    /// let median = pauses.quantile(0.5);
    /// assert!(median >= Duration::from_micros(500) && median < Duration::from_micros(600));
    /// assert_eq!(pauses.quantile(1.0), Duration::from_millis(1));
    /// ```
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = (self.count() as f64 * share).ceil() as u64;
        let mut below = 0;
        for (length, count) in self.counts.iter().enumerate() {
            below += u64::from(*count);
            if below >= rank.max(1) {
                return Self::at_most(length).min(self.longest);
            }
        }
        self.longest
    }
}
