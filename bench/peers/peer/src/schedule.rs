//! An open loop: when each record of a latency run is due, whatever the engine does.
//!
//! ```text
//!   start      origin + START_DELAY                    records
//!   ──┬──────────────┬─────┬─────┬─────┬─────┬───────────┬──▶ time
//!     clock = 0      0     1     2     3    …│           due, whether or not the one before has left
//!                                            └ the first half warms up and is not recorded
//! ```
//!
//! # What is always true
//!
//! 1. A latency counts from when the record was due, not from when the source got to it: a source that falls behind
//!    shows in the figures.
//! 2. A source neither skips a record nor sends one before it is due.
//! 3. A source that parks does so only until [`WOKEN_EARLY_NS`] before its next record is due, and spins the rest: how
//!    late the kernel wakes it is not what is measured.

use std::{
    hint::spin_loop,
    thread,
    time::{Duration, Instant},
};

use crate::{Args, Error, report::Timing, seen::Seen};

/// Threads start and allocate their first memory in this time.
const START_DELAY_NS: u64 = 200_000_000;

/// How long before its time a source is woken: about what waking up takes (20 to 60 us). A shard of Wiesel that waits for
/// its next record is woken as early.
pub const WOKEN_EARLY_NS: u64 = 50_000;

/// Records a run may have, so that `due_ns` stays in 64 bits: 2^64 nanoseconds at one record per nanosecond.
const RECORDS_MAX: u64 = 18_000_000_000;

/// When records are due.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    origin: Instant,
    rate: u64,
    records: u64,
}

impl Schedule {
    /// A schedule that starts soon. Threads started from here on wake up when they ask to.
    pub fn new(args: &Args) -> Result<Self, Error> {
        let limit = args.seconds.map_or(u64::MAX, |seconds| args.rate.saturating_mul(seconds));
        let records = args.events.min(limit);
        if records > RECORDS_MAX {
            let text = format!("more than {RECORDS_MAX} records: lower --seconds or --events");
            return Err(lexopt::Error::from(text).into());
        }
        wake_precisely();
        Ok(Self { origin: Instant::now(), rate: args.rate, records })
    }

    /// Records of all sources together.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Nanoseconds on the schedule's clock.
    #[inline(always)]
    pub fn now_ns(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    /// When record `number` is due.
    #[inline(always)]
    pub fn due_ns(&self, number: u64) -> u64 {
        START_DELAY_NS + number * 1_000_000_000 / self.rate
    }

    /// How long ago that was: at least a nanosecond, the least a histogram takes.
    #[inline(always)]
    pub fn latency_ns(&self, due_ns: u64) -> u64 {
        self.now_ns().saturating_sub(due_ns).max(1)
    }

    /// Whether the latency of record `number` counts.
    #[inline(always)]
    pub fn counts(&self, number: u64) -> bool {
        number >= self.records / 2
    }

    /// What is reported of what was seen, right after the engine has ended.
    pub fn timing(&self, mode: String, seen: Seen) -> Timing {
        let seconds = self.now_ns().saturating_sub(START_DELAY_NS) as f64 / 1e9;
        Timing { mode, achieved_rate: self.records as f64 / seconds, latencies: seen.latencies }
    }

    /// Returns as soon as a record is due.
    #[inline]
    pub fn wait_until(&self, due_ns: u64, wait: Wait) {
        loop {
            let now_ns = self.now_ns();
            if now_ns >= due_ns {
                return;
            }
            match wait.sleep(due_ns - now_ns) {
                Some(sleep) => thread::sleep(sleep),
                None => spin_loop(),
            }
        }
    }
}

/// What a thread does until a record is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// It looks at the clock again.
    Spin,
    /// It sleeps while that is long, then looks at the clock.
    Park,
}

impl Wait {
    /// What `--mode` says; to spin if it says nothing.
    pub fn of(args: &Args) -> Result<Self, Error> {
        match args.mode.as_deref() {
            None | Some("spin") => Ok(Self::Spin),
            Some("park") => Ok(Self::Park),
            Some(mode) => Err(Error::UnknownMode(mode.to_owned())),
        }
    }

    /// How long to sleep if a record is due in `left_ns`; none if there is no time to, or one is due.
    #[inline]
    pub fn sleep(self, left_ns: u64) -> Option<Duration> {
        let sleep_ns = left_ns.saturating_sub(WOKEN_EARLY_NS);
        (self == Self::Park && sleep_ns > 0).then(|| Duration::from_nanos(sleep_ns))
    }

    /// What `--mode` calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spin => "spin",
            Self::Park => "park",
        }
    }
}

/// Has the kernel wake the calling thread, and threads it starts, a microsecond late at most (it is allowed fifty).
fn wake_precisely() {
    if let Err(error) = nix::sys::prctl::set_timerslack(1_000) {
        eprintln!("the timer slack stays as it is: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_sleeps_only_while_it_would_wake_up_in_time() {
        for (wait, left_ns, expected_ns) in [
            (Wait::Park, 1_000_000, Some(950_000)),
            (Wait::Park, WOKEN_EARLY_NS + 1, Some(1)),
            (Wait::Park, WOKEN_EARLY_NS, None),
            (Wait::Park, 0, None),
            (Wait::Spin, 1_000_000, None),
        ] {
            assert_eq!(wait.sleep(left_ns), expected_ns.map(Duration::from_nanos), "{left_ns}");
        }
    }

    #[test]
    fn records_are_due_one_after_the_other_and_the_first_half_does_not_count() {
        let line = "latency --parallelism 1 --rate 4 --seconds 5";
        let args = Args::parse(lexopt::Parser::from_args(line.split_whitespace()))
            .expect("a command line");
        let schedule = Schedule::new(&args).expect("a short run");
        assert_eq!(schedule.records(), 20);
        assert_eq!(
            [0, 1, 2].map(|n| schedule.due_ns(n) - START_DELAY_NS),
            [0, 250_000_000, 500_000_000]
        );
        assert_eq!([0, 9, 10, 19].map(|n| schedule.counts(n)), [false, false, true, true]);
        let records = |line: &str| {
            let args = Args::parse(lexopt::Parser::from_args(line.split_whitespace()));
            args.and_then(|args| Schedule::new(&args)).map(|schedule| schedule.records()).ok()
        };
        for (line, expected) in [
            ("latency --parallelism 1 --rate 4", Some(40)),
            ("latency --parallelism 1 --rate 4 --events 400", Some(400)),
            ("latency --parallelism 1 --rate 4 --events 400 --seconds 5", Some(20)),
            ("latency --parallelism 1 --rate 4 --events 4 --seconds 5", Some(4)),
            ("latency --parallelism 1 --rate 40000000000", None),
        ] {
            assert_eq!(records(line), expected, "{line}");
        }
    }
}
