//! What a machine does to whoever runs on it: the longest gap between two looks at a clock, of a loop that does nothing else.
//!
//! ```text
//!   each core:   look, look, look … ── a span ──┤ look, look …      of each span the longest gap of all cores
//! ```
//!
//! # What is always true
//!
//! 1. There are two clocks, as for what checkpoints hold up: the one on the wall, and the thread's own, which stands still
//!    while something else runs on its core. Interrupts count in both.
//! 2. A gap belongs to the span in which it ends.

use std::{
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};

use super::histogram;

/// However many are asked for.
const ELAPSED_MAX: Duration = Duration::from_secs(20);

/// The longest gaps of spans, in nanoseconds.
pub struct Gaps {
    /// By the clock on the wall.
    pub elapsed: Histogram<u64>,
    /// By the thread's own.
    pub running: Histogram<u64>,
}

/// Looks at clocks on `cores` cores for `spans` spans of a length, or for 20 s.
///
/// # Errors
///
/// If a thread cannot be made.
pub fn longest(cores: u32, spans: u64, length: Duration) -> Result<Gaps, String> {
    let length = length.max(Duration::from_micros(1));
    let spans = spans.min((ELAPSED_MAX.as_nanos() / length.as_nanos()) as u64).max(1);
    let start = Instant::now();
    let watched: Result<Vec<Vec<[u64; 2]>>, &str> = thread::scope(|scope| {
        let threads: Vec<_> = (0..cores as usize)
            .map(|core| scope.spawn(move || watch(core, spans as usize, start, length)))
            .collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a watch failed")).collect()
    });
    let watched = watched.map_err(str::to_owned)?;
    let mut gaps = Gaps { elapsed: histogram(), running: histogram() };
    for span in 0..spans as usize {
        let longest =
            |clock: usize| watched.iter().map(|core| core[span][clock]).max().unwrap_or(0);
        gaps.elapsed.saturating_record(longest(0).max(1));
        gaps.running.saturating_record(longest(1).max(1));
    }
    Ok(gaps)
}

/// The longest gap of each span, by both clocks.
fn watch(core: usize, spans: usize, start: Instant, length: Duration) -> Vec<[u64; 2]> {
    let mut cpus = CpuSet::new();
    // Where it may not be pinned it watches whatever core it is on.
    if cpus.set(core).is_ok() {
        sched_setaffinity(Pid::from_raw(0), &cpus).ok();
    }
    let mut longest = vec![[0; 2]; spans];
    let mut before = (start.elapsed(), running_time());
    loop {
        let now = (start.elapsed(), running_time());
        let span = (now.0.as_nanos() / length.as_nanos()) as usize;
        let Some(longest) = longest.get_mut(span) else { break };
        let gaps = [now.0.saturating_sub(before.0), now.1.saturating_sub(before.1)];
        for (longest, gap) in longest.iter_mut().zip(gaps) {
            *longest = (*longest).max(gap.as_nanos() as u64);
        }
        before = now;
    }
    longest
}

fn running_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_span_has_its_longest_gap() {
        let gaps = longest(2, 10, Duration::from_millis(2)).unwrap();
        assert_eq!((gaps.elapsed.len(), gaps.running.len()), (10, 10));
        assert!(gaps.elapsed.min() > 0, "no clock is looked at twice in a nanosecond");
    }

    #[test]
    fn however_many_spans_it_ends() {
        assert!(longest(1, 3, Duration::ZERO).is_ok_and(|gaps| gaps.elapsed.len() == 3));
    }
}
