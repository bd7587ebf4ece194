//! How long a turn may last, asked after every record for less than a nanosecond.
//!
//! ```text
//!   records:  r r rr rrrr rrrrrrrr …            fast: four times as far from one clock reading to the next
//!   clock:     ^ ^  ^    ^        ^
//!   records:  RRRRRRRRRR R R R                   slow: back to every record
//!   clock:     ^ ^ ^ ^ ^ ^ ^ ^ ^
//! ```
//!
//! # What is always true
//!
//! 1. Between two readings lie at most [`STRIDE_MAX`] records, and records that together are expected (by the cost
//!    seen last) to take at most a quarter of the quantum and no longer than what is left of it. So with an even
//!    cost a turn ends within the quantum and one record; a sudden change costs at most `STRIDE_MAX` records.
//! 2. Once spent it stays spent.
//! 3. Every record is counted, by the same countdown: nothing else has to be kept per record.
//! 4. In simulation no clock is read: a seeded countdown ends turns at any record.

#[cfg(not(sim))]
use wiesel_core::Nanos;

/// Most records between two readings of the clock: about 40 ns a look / 256 = 0.16 ns a record.
pub const STRIDE_MAX: u32 = 256;

/// The time slice of one turn.
#[derive(Debug)]
pub struct Quantum {
    /// Records until the next look.
    countdown: u32,
    /// All that was ever counted down from.
    granted: u64,
    #[cfg(not(sim))]
    pace: Pace,
}

#[cfg(not(sim))]
impl Quantum {
    pub(crate) fn starting(now: Nanos, at_most_ns: u64) -> Self {
        Self { countdown: 1, granted: 1, pace: Pace::new(now, at_most_ns) }
    }

    /// Whether the slice is used up, behind a record for which [`Quantum::counts_down`] said yes.
    #[cold]
    #[inline(never)]
    pub fn look(&mut self) -> bool {
        let stride = self.pace.look(crate::backend::now());
        self.grant(stride.unwrap_or(1));
        stride.is_none()
    }
}

#[cfg(sim)]
impl Quantum {
    /// `records` records, at least one.
    pub(crate) fn of_records(records: u32) -> Self {
        Self { countdown: records.max(1), granted: u64::from(records.max(1)) }
    }

    /// Whether the slice is used up, behind a record for which [`Quantum::counts_down`] said yes: it is.
    pub fn look(&mut self) -> bool {
        self.grant(1);
        true
    }
}

impl Quantum {
    /// Whether the slice is used up. Called after every record.
    #[inline(always)]
    pub fn spent(&mut self) -> bool {
        self.counts_down() && self.look()
    }

    /// The first half of [`Quantum::spent`], for a loop that takes the record in between: counts it, and says whether
    /// [`Quantum::look`] is to be called behind it.
    #[inline(always)]
    pub fn counts_down(&mut self) -> bool {
        self.countdown -= 1;
        self.countdown == 0
    }

    /// Makes [`Quantum::counts_down`] say yes to the next record, and gives how many behind that one were to pass before.
    pub fn halt(&mut self) -> u32 {
        let left = std::mem::replace(&mut self.countdown, 1) - 1;
        self.granted -= u64::from(left);
        left
    }

    /// Lets `records` pass, as [`Quantum::halt`] gave them: says yes to the last of them.
    pub fn resume(&mut self, records: u32) {
        self.grant(records);
    }

    /// How many records were counted.
    pub fn counted(&self) -> u64 {
        self.granted - u64::from(self.countdown)
    }

    fn grant(&mut self, records: u32) {
        self.countdown = records;
        self.granted += u64::from(records);
    }
}

/// When to read the clock next; pure.
#[cfg(not(sim))]
#[derive(Debug)]
struct Pace {
    started: Nanos,
    last: Nanos,
    stride: u32,
    at_most_ns: u64,
}

#[cfg(not(sim))]
impl Pace {
    fn new(now: Nanos, at_most_ns: u64) -> Self {
        Self { started: now, last: now, stride: 1, at_most_ns }
    }

    /// After `stride` records it is `now`: how many more until the next look, or none if the slice is used up.
    fn look(&mut self, now: Nanos) -> Option<u32> {
        let spent_ns = now.0.saturating_sub(self.started.0);
        let left_ns = self.at_most_ns.checked_sub(spent_ns).filter(|left| *left > 0)?;
        let since_ns = now.0.saturating_sub(self.last.0);
        let room_ns = (self.at_most_ns / 4).min(left_ns);
        self.stride = if since_ns.saturating_mul(4) <= room_ns {
            (self.stride * 4).min(STRIDE_MAX) // Even four times as many fit, whatever one costs.
        } else {
            let record_ns = (since_ns / u64::from(self.stride)).max(1);
            let fit = u32::try_from(room_ns / record_ns).unwrap_or(STRIDE_MAX);
            fit.clamp(1, STRIDE_MAX.min(self.stride * 4))
        };
        self.last = now;
        Some(self.stride)
    }
}

#[cfg(all(test, not(sim)))]
mod tests {
    use super::*;

    /// Runs records of `cost_ns(index)` under a quantum of `quantum_ns` on a clock that only they move.
    /// Returns (records, clock readings, time beyond the quantum).
    fn run(quantum_ns: u64, cost_ns: impl Fn(u32) -> u64) -> (u32, u32, u64) {
        let (mut now, mut records, mut readings) = (1_000, 0, 0);
        let mut pace = Pace::new(Nanos(now), quantum_ns);
        let mut stride = 1;
        loop {
            for _ in 0..stride {
                now += cost_ns(records);
                records += 1;
            }
            readings += 1;
            match pace.look(Nanos(now)) {
                Some(next) => stride = next,
                None => return (records, readings, now - 1_000 - quantum_ns),
            }
        }
    }

    #[test]
    fn a_turn_ends_within_the_quantum_and_one_record() {
        for quantum in [25_000, 50_000] {
            for cost in [1, 5, 40, 333, 1_000, 3_000, 10_000, 24_999, 60_000, 1_000_000] {
                let (records, _, beyond) = run(quantum, |_| cost);
                assert!(beyond <= cost, "{quantum} ns, {cost} ns a record: {beyond} ns beyond");
                assert!(u64::from(records) <= quantum / cost + 1, "{quantum}, {cost}: {records}");
            }
        }
    }

    #[test]
    fn fast_records_hardly_read_the_clock() {
        let (records, readings, _) = run(50_000, |_| 5);
        assert!(readings * (STRIDE_MAX / 2) < records, "{readings} readings, {records} records");
    }

    #[test]
    fn a_sudden_change_costs_at_most_one_stride() {
        let (_, _, beyond) = run(50_000, |index| if index < 1_000 { 5 } else { 10_000 });
        assert!(beyond <= u64::from(STRIDE_MAX) * 10_000);
        let (records, _, beyond) = run(50_000, |index| if index % 100 == 99 { 10_000 } else { 5 });
        assert!(records > 200 && beyond <= 10_000, "{records} records, {beyond} ns beyond");
    }

    #[test]
    fn a_halt_puts_one_look_in_between() {
        let mut quantum = Quantum::starting(crate::backend::now(), u64::MAX);
        let mut records = 0;
        for _ in 0..10 {
            while !quantum.counts_down() {
                records += 1;
            }
            records += 1;
            assert!(!quantum.look());
            let stride = quantum.countdown;
            let left = quantum.halt();
            assert!(quantum.counts_down());
            records += 1;
            assert_eq!((left, quantum.counted()), (stride - 1, records));
            match left {
                0 => assert!(!quantum.look()),
                _ => quantum.resume(left),
            }
            assert_eq!(quantum.counted(), records);
        }
        assert!(records > 100, "{records}");
    }

    #[test]
    fn spent_stays_spent() {
        let mut quantum = Quantum::starting(crate::backend::now(), 0);
        assert!(quantum.spent() && quantum.spent() && quantum.spent());
        let mut quantum = Quantum::starting(crate::backend::now(), u64::MAX);
        assert!((0..1_000).all(|_| !quantum.spent()));
    }
}
