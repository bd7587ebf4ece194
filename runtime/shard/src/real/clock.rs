//! The clocks. `unsafe` lives here: **reading the counter has no effect, and every process may that has not been
//! forbidden to (`PR_SET_TSC`); the kernel writes a time where it is told to.**
//!
//! ```text
//!   monotonic   counter of the processor ── × ns per tick, measured once ──▶ ns since the first reading   ~10 ns
//!               or, where the kernel does not trust the counter, its own clock                            ~40 ns
//! ```
//!
//! # What is always true
//!
//! 1. All threads of the process share one monotonic clock: one counter, one scale, fixed at the first reading.
//! 2. The counter is used only if the kernel itself uses it as its clock, which it does after it has seen that all cores
//!    agree.
//! 3. Against the kernel's clock it drifts by at most some ten parts in a million, the error of the measurement: a
//!    timer of an hour fires within 0.1 s.
//!
//! What it is not made for is a machine that is suspended under a job: its counter may start anew, and time then stands
//! still until it is where it was. Differences never go below zero.

use std::{
    fs,
    sync::OnceLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use wiesel_core::{Nanos, Timestamp};

/// How long the counter is measured against the kernel's clock, which is read to about 20 ns: ten in a million.
const MEASURED_FOR: Duration = Duration::from_millis(2);

/// Readings of both clocks of which the closest counts.
const TRIES: usize = 16;

/// The monotonic clock.
enum Clock {
    /// The processor's counter.
    Counter {
        start: u64,
        /// Nanoseconds per tick, in units of 2^-32.
        scale: u64,
    },
    /// The kernel's.
    Kernel { start: Instant },
}

/// How long the calling thread has run.
pub(crate) fn running_time() -> Nanos {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a time of ours. The clock is there on every Linux; if the call failed, time would stand still.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Nanos(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
}

static CLOCK: OnceLock<Clock> = OnceLock::new();

/// The monotonic clock, in nanoseconds since its first reading in this process.
#[inline]
pub(crate) fn now() -> Nanos {
    match CLOCK.get_or_init(Clock::start) {
        Clock::Counter { start, scale } => {
            // Two cores agree to some ticks: what is read before the start on another one is the start.
            let ticks = counter().saturating_sub(*start);
            Nanos(((u128::from(ticks) * u128::from(*scale)) >> 32) as u64)
        }
        Clock::Kernel { start } => kernel_since(*start),
    }
}

#[inline(never)]
fn kernel_since(start: Instant) -> Nanos {
    let since = start.elapsed();
    Nanos(since.as_secs() * 1_000_000_000 + u64::from(since.subsec_nanos()))
}

impl Clock {
    #[cold]
    fn start() -> Self {
        let start = Instant::now();
        if !kernel_uses_counter() {
            return Self::Kernel { start };
        }
        let (first_counter, first) = both();
        while start.elapsed() < MEASURED_FOR {
            std::hint::spin_loop();
        }
        let (last_counter, last) = both();
        let (ticks, ns) = (last_counter.saturating_sub(first_counter), (last - first).as_nanos());
        // Between 0.1 and 16 GHz: anything else is not a clock.
        match (ns << 32).checked_div(u128::from(ticks)) {
            Some(scale) if (1 << 28..=10 << 32).contains(&scale) => {
                Self::Counter { start: first_counter, scale: scale as u64 }
            }
            _ => Self::Kernel { start },
        }
    }
}

/// Both clocks at one moment: of several readings the one between whose ends the fewest ticks passed.
fn both() -> (u64, Instant) {
    let readings = (0..TRIES).map(|_| {
        let (before, now, after) = (counter(), Instant::now(), counter());
        (after.saturating_sub(before), before + (after.saturating_sub(before)) / 2, now)
    });
    let closest = readings.min_by_key(|(ticks, ..)| *ticks);
    closest.map_or_else(|| (counter(), Instant::now()), |(_, counter, now)| (counter, now))
}

fn kernel_uses_counter() -> bool {
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    cfg!(target_arch = "x86_64") && fs::read_to_string(path).is_ok_and(|name| name.trim() == "tsc")
}

#[inline(always)]
fn counter() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has the counter, and reading it has no effect.
    return unsafe { std::arch::x86_64::_rdtsc() };
    #[cfg(not(target_arch = "x86_64"))]
    0
}

/// The time of day.
pub(super) fn wall_time() -> Timestamp {
    let millis = |since: Duration| i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    let millis = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => millis(after),
        Err(before) => -millis(before.duration()),
    };
    Timestamp::from_millis(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_as_fast_as_the_kernels() {
        now(); // It is measured before the first of both readings.
        let (ours, kernel) = (now(), Instant::now());
        while kernel.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        let (ours, kernel) = (now().since(ours), kernel.elapsed());
        let apart = ours.abs_diff(kernel);
        // Between the two readings at either end a thread may lose its core.
        assert!(apart < kernel / 10, "{ours:?} by ours, {kernel:?} by the kernel's");
    }

    #[test]
    fn it_never_goes_back() {
        let mut last = now();
        for _ in 0..100_000 {
            let next = now();
            assert!(next >= last);
            last = next;
        }
    }
}
