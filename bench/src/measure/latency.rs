//! Latencies, and what of them is the machine's doing.
//!
//! ```text
//!   due ──────────── the record is sent ──── … ──── it is seen     latency = seen - due, whoever was late
//!
//!   readings of a shard's clock:  | | | | |      gap      | | |     above 50 us: it was off its core
//!                                         └── disturbed ────┘ until it sends on time again
//! ```
//!
//! # What is always true
//!
//! 1. Every record counts in the raw distribution, from when it was due: a shard that stands still is not forgiven what
//!    piled up meanwhile.
//! 2. *Attributable* is what is left without the records whose time between due and seen met a disturbed span of the
//!    shard that sent them or of the one that saw them. How many those are is said with it.
//! 3. The hiccup meter does nothing but look at the clock: what it would have seen of records sent at the same rate is
//!    the machine alone.

use std::{cell::RefCell, hint::spin_loop, mem};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::histogram;

/// A shard that spins reads its clock every microsecond: one that has not for so long was not running.
const GAP_NS: u64 = 50_000;

/// A record that is sent within this of when it was due is on time.
const ON_TIME_NS: u64 = 2_000;

/// Latencies up to this are not looked at one by one: they cannot have met a gap and its backlog.
const SLOW_NS: u64 = 3_000;

/// Slow records that a shard keeps, at most: as many as a stand-still of four seconds at a million a second delays.
const SLOW_MAX: usize = 1 << 22;

/// What one shard (or thread) saw.
#[derive(Debug)]
pub struct Watch {
    last_ns: u64,
    /// Where the span that is under way began.
    disturbed_since: Option<u64>,
    disturbed: Vec<(u64, u64)>,
    latencies: Histogram<u64>,
    slow: Vec<Slow>,
    /// Slow records that were not kept: they stay in both distributions.
    slow_lost: u64,
}

/// A record that took long.
#[derive(Clone, Copy, Debug)]
struct Slow {
    due_ns: u64,
    seen_ns: u64,
    sender: u32,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            last_ns: 0,
            disturbed_since: None,
            disturbed: Vec::new(),
            latencies: histogram(),
            slow: Vec::new(),
            slow_lost: 0,
        }
    }
}

thread_local! {
    static WATCH: RefCell<Watch> = RefCell::default();
}

/// Looks through the watch of this thread.
pub fn watch<R>(look: impl FnOnce(&mut Watch) -> R) -> R {
    WATCH.with_borrow_mut(look)
}

impl Watch {
    /// Starts anew, with memory for what is to come, so that none of it faults while it is measured.
    pub fn start(&mut self, slow: usize) {
        *self = Self::default();
        self.slow = vec![Slow { due_ns: 0, seen_ns: 0, sender: 0 }; slow.min(SLOW_MAX)];
        self.slow.clear();
        self.disturbed.reserve(1 << 12);
    }

    /// The clock was read on this shard.
    #[inline]
    pub fn reading(&mut self, now_ns: u64) {
        if now_ns.saturating_sub(self.last_ns) > GAP_NS && self.last_ns != 0 {
            self.disturbed_since.get_or_insert(self.last_ns);
        }
        self.last_ns = now_ns;
    }

    /// A record was sent that was due at `due_ns`.
    #[inline]
    pub fn sent(&mut self, due_ns: u64, now_ns: u64) {
        self.reading(now_ns);
        if now_ns.saturating_sub(due_ns) <= ON_TIME_NS
            && let Some(since) = self.disturbed_since.take()
        {
            self.disturbed.push((since, now_ns));
        }
    }

    /// A record was seen that was due at `due_ns` on the shard `sender`.
    #[inline]
    pub fn seen(&mut self, due_ns: u64, now_ns: u64, sender: u32) {
        self.reading(now_ns);
        let latency_ns = now_ns.saturating_sub(due_ns).max(1);
        self.latencies.saturating_record(latency_ns);
        if latency_ns > SLOW_NS {
            if self.slow.len() < self.slow.capacity() {
                self.slow.push(Slow { due_ns, seen_ns: now_ns, sender });
            } else {
                self.slow_lost += 1;
            }
        }
    }

    /// Takes what was seen.
    pub fn take(&mut self) -> Self {
        if let Some(since) = self.disturbed_since.take() {
            self.disturbed.push((since, u64::MAX));
        }
        mem::take(self)
    }
}

/// What all shards saw.
#[derive(Debug)]
pub struct Latencies {
    raw: Histogram<u64>,
    attributable: Histogram<u64>,
    removed: u64,
    disturbed_ns: u64,
    off_core_gaps: usize,
}

impl Latencies {
    /// From the watches of all shards, by shard.
    pub fn of(watches: &[Watch]) -> Self {
        let (mut raw, mut attributable) = (histogram(), histogram());
        for watch in watches {
            // All have the same bounds.
            let _ = raw.add(&watch.latencies).and_then(|()| attributable.add(&watch.latencies));
        }
        let (mut removed, mut taken) = (0, histogram());
        for (at, watch) in watches.iter().enumerate() {
            for slow in &watch.slow {
                let sender = watches.get(slow.sender as usize).unwrap_or(watch);
                if meets(&sender.disturbed, slow) || meets(&watches[at].disturbed, slow) {
                    removed += 1;
                    let latency_ns = slow.seen_ns.saturating_sub(slow.due_ns).max(1);
                    taken.saturating_record(latency_ns);
                }
            }
        }
        // All that is taken away was put in.
        let _ = attributable.subtract(&taken);
        let spans = || watches.iter().flat_map(|watch| &watch.disturbed);
        let last = watches.iter().map(|watch| watch.last_ns).max().unwrap_or(0);
        let length = |(from, to): &(u64, u64)| to.min(&last).saturating_sub(*from);
        Self {
            raw,
            attributable,
            removed,
            disturbed_ns: spans().map(length).sum(),
            off_core_gaps: spans().count(),
        }
    }

    /// How many records were seen.
    pub fn len(&self) -> u64 {
        self.raw.len()
    }

    /// Fields of a report of shards that spin. `shard_ns` is the time that all of them ran, together.
    pub fn fields_attributed(&self, shard_ns: u64) -> Vec<(&'static str, Value)> {
        let mut fields = self.fields();
        let attributable = |quantile: f64| json!(self.attributable.value_at_quantile(quantile));
        fields.extend([
            ("attributable_p50_ns", attributable(0.5)),
            ("attributable_p99_ns", attributable(0.99)),
            ("attributable_p999_ns", attributable(0.999)),
            ("attributable_p9999_ns", attributable(0.9999)),
            ("removed_share", json!(self.removed as f64 / self.raw.len().max(1) as f64)),
            ("disturbed_share", json!(self.disturbed_ns as f64 / shard_ns.max(1) as f64)),
            ("off_core_gaps", json!(self.off_core_gaps)),
        ]);
        fields
    }

    /// Fields of a report: the raw distribution. A shard that sleeps has gaps of its own making.
    pub fn fields(&self) -> Vec<(&'static str, Value)> {
        let raw = |quantile: f64| json!(self.raw.value_at_quantile(quantile));
        vec![
            ("p50_ns", raw(0.5)),
            ("p90_ns", raw(0.9)),
            ("p99_ns", raw(0.99)),
            ("p999_ns", raw(0.999)),
            ("p9999_ns", raw(0.9999)),
            ("max_ns", json!(self.raw.max())),
        ]
    }
}

fn meets(disturbed: &[(u64, u64)], slow: &Slow) -> bool {
    // Spans are in order and do not overlap: the first that ends after the record was due is the one to look at.
    let at = disturbed.partition_point(|(_, to)| *to < slow.due_ns);
    disturbed.get(at).is_some_and(|(from, _)| *from <= slow.seen_ns)
}

/// What a thread that only looks at the clock would see of records that are due at `rate` a second, for `records` of
/// them: the delays of the machine.
pub fn hiccups(rate: u64, records: u64, now_ns: impl Fn() -> u64) -> Histogram<u64> {
    let mut delays = histogram();
    let start = now_ns();
    let due = |number: u64| start + (u128::from(number) * 1_000_000_000 / u128::from(rate)) as u64;
    let mut number = 0;
    while number < records {
        let now = now_ns();
        while number < records && due(number) <= now {
            delays.saturating_record((now - due(number)).max(1));
            number += 1;
        }
        spin_loop();
    }
    delays
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_met_a_gap_is_removed_and_the_rest_stays() {
        let mut watch = Watch::default();
        watch.start(1_000);
        let mut now = 1_000_000;
        for number in 0..1_000_u64 {
            let due = 1_000_000 + number * 1_000;
            if number == 500 {
                now += 200_000; // Off its core; then it catches up, a record every 100 ns.
            }
            now = (now + 100).max(due);
            watch.sent(due, now);
            watch.seen(due, now + 200, 0);
            now += 200;
        }
        let latencies = Latencies::of(&[watch.take()]);
        assert_eq!(latencies.len(), 1_000);
        assert_eq!(latencies.off_core_gaps, 1);
        assert!(latencies.raw.max() > 190_000);
        assert!(latencies.attributable.max() <= SLOW_NS + 8, "{}", latencies.attributable.max());
        assert_eq!(latencies.attributable.len() + latencies.removed, 1_000);
    }

    #[test]
    fn a_shard_that_is_slow_by_itself_is_not_forgiven() {
        let mut watch = Watch::default();
        watch.start(100);
        for number in 1..100_u64 {
            watch.seen(number * 40_000, number * 40_000 + 30_000, 0);
        }
        let latencies = Latencies::of(&[watch.take()]);
        assert_eq!((latencies.removed, latencies.attributable.len()), (0, 99));
    }
}
