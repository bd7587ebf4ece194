//! What the loop does after a turn: go on, let the reactor look, or park. Pure.

use std::time::Duration;

use wiesel_core::Nanos;

use crate::Next;

/// How often an awake shard lets its reactor look. Nothing but the bell's read is ever outstanding there, and nobody
/// rings a shard that is awake. One look takes 5 us, or 45 us where a timer of the kernel is slow: every 10 ms, it was
/// what most of the slowest hundredth of records had waited for.
pub(super) const PASS_EVERY: Duration = Duration::from_millis(100);

/// How long before its time a shard that may spin is woken: about what waking up takes (20 to 60 us), so that it is there
/// in time. What is left it spins.
pub(super) const WOKEN_EARLY: Duration = Duration::from_micros(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The next turn at once.
    Turn,
    /// Let the reactor look, then the next turn.
    Pass,
    /// Go to sleep by the door's protocol.
    Park,
    /// No more turns.
    End,
}

pub(super) struct Pace {
    spin: Duration,
    idle_since: Option<Nanos>,
    passed: Nanos,
}

impl Pace {
    pub(super) const fn new(spin: Duration, now: Nanos) -> Self {
        Self { spin, idle_since: None, passed: now }
    }

    /// After a turn that ended at `now`.
    pub(super) fn step(&mut self, next: Next, now: Nanos) -> Step {
        let due = now.since(self.passed) >= PASS_EVERY;
        match next {
            Next::Done => Step::End,
            Next::Again => {
                self.idle_since = None;
                if due { Step::Pass } else { Step::Turn }
            }
            // Its time has come, or will before a sleep is over: as good as work.
            Next::Idle { until: Some(until) } if until.since(now) <= self.early() => {
                if due {
                    Step::Pass
                } else {
                    Step::Turn
                }
            }
            Next::Idle { .. } => {
                let since = *self.idle_since.get_or_insert(now);
                if now.since(since) >= self.spin {
                    Step::Park
                } else if due {
                    Step::Pass
                } else {
                    Step::Turn
                }
            }
        }
    }

    /// How long before its time a sleep has to end.
    pub(super) fn early(&self) -> Duration {
        if self.spin.is_zero() { Duration::ZERO } else { WOKEN_EARLY }
    }

    /// The reactor has looked.
    pub(super) const fn passed(&mut self, now: Nanos) {
        self.passed = now;
    }

    /// A sleep is over: the reactor has looked, and spinning starts anew.
    pub(super) const fn woken(&mut self, now: Nanos) {
        self.passed = now;
        self.idle_since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `script`: turns as (what the program said, when the turn ended in us); the steps as letters.
    fn check(spin_us: u64, script: &[(Next, u64)], expected: &str) {
        let mut pace = Pace::new(Duration::from_micros(spin_us), Nanos(0));
        let mut steps = String::new();
        for (next, at_us) in script {
            let now = Nanos(at_us * 1_000);
            let step = pace.step(*next, now);
            match step {
                Step::Pass => pace.passed(now),
                Step::Park => pace.woken(now),
                _ => {}
            }
            steps.push(match step {
                Step::Turn => 't',
                Step::Pass => 'P',
                Step::Park => 'Z',
                Step::End => 'E',
            });
        }
        assert_eq!(steps, expected, "spin {spin_us} us: {script:?}");
    }

    #[test]
    fn the_loop_spins_then_parks_and_looks_at_the_reactor_in_time() {
        use Next::{Again, Done};
        let idle = Next::IDLE;
        let until = |us: u64| Next::Idle { until: Some(Nanos(us * 1_000)) };
        check(
            50,
            &[(Again, 1), (idle, 10), (idle, 40), (idle, 60), (idle, 61), (idle, 111)],
            "tttZtZ",
        );
        check(50, &[(idle, 10), (Again, 40), (idle, 50), (idle, 99), (idle, 100)], "ttttZ");
        check(0, &[(Again, 1), (idle, 2), (idle, 3), (Done, 4)], "tZZE");
        check(0, &[(until(5), 1), (until(5), 5), (until(5), 9)], "Ztt");
        // One that may spin does not sleep when its time is near.
        check(9, &[(until(100), 1), (until(100), 10), (until(100), 49), (until(100), 50)], "tZtt");
        check(0, &[(Again, 99_999), (Again, 100_000), (Again, 100_001), (Again, 200_000)], "tPtP");
        check(999_999, &[(idle, 99_999), (idle, 100_000), (idle, 100_001)], "tPt");
        check(
            0,
            &[(until(1), 100_000), (idle, 100_001), (Again, 200_000), (Again, 200_001)],
            "PZtP",
        );
    }
}
