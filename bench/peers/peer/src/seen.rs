//! What the sinks of a latency run see.

use hdrhistogram::Histogram;

use crate::{
    generator::{Check, keyed_x},
    schedule::Schedule,
    total::Sum,
};

/// Above this a latency is recorded as this: a hundred seconds.
const LATENCY_MAX_NS: u64 = 100_000_000_000;

/// The outputs, and how late they were.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The outputs.
    pub check: Check,
    /// Nanoseconds, to three digits.
    pub latencies: Histogram<u64>,
}

impl Seen {
    /// Takes in the count of a key that is output now, and the record it came from. A record of the warm-up is
    /// checked, but how late it is does not count.
    #[inline(always)]
    pub fn add(&mut self, schedule: &Schedule, key: u64, count: u64, number: u64, due_ns: u64) {
        self.check.add(keyed_x(key, count));
        if schedule.counts(number) {
            self.latencies.saturating_record(schedule.latency_ns(due_ns));
        }
    }
}

impl Sum for Seen {
    fn empty() -> Self {
        let latencies = Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3);
        Self {
            check: Check::default(),
            latencies: latencies.expect("1 is the least there is, and 3 digits are at most 5"),
        }
    }

    fn add_part(&mut self, part: &Self) {
        self.check.merge(part.check);
        self.latencies.add(&part.latencies).expect("both have the same bounds");
    }
}
