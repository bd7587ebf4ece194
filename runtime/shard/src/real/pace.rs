//! What the loop does after a turn: go on, let the reactor look, or park. Pure.

use std::time::Duration;

use wiesel_core::Nanos;

use crate::Next;

/// How often an awake shard lets its reactor look: one look costs 4–5 us, so this is 0.05 % of a core. Nothing but
/// the bell's read is ever outstanding there, and nobody rings a shard that is awake.
pub(super) const PASS_EVERY: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The next turn at once.
    Turn,
    /// The next turn at once, and nothing was done: tell the core so.
    Spin,
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
            // Its time has come: as good as work.
            Next::Idle { until: Some(until) } if until <= now => {
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
                    Step::Spin
                }
            }
        }
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
                Step::Spin => 's',
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
            "tssZsZ",
        );
        check(50, &[(idle, 10), (Again, 40), (idle, 50), (idle, 99), (idle, 100)], "stssZ");
        check(0, &[(Again, 1), (idle, 2), (idle, 3), (Done, 4)], "tZZE");
        check(0, &[(until(5), 1), (until(5), 5), (until(5), 9)], "Ztt");
        check(0, &[(Again, 9_999), (Again, 10_000), (Again, 10_001), (Again, 20_000)], "tPtP");
        check(99_999, &[(idle, 9_999), (idle, 10_000), (idle, 10_001)], "sPs");
        check(0, &[(until(1), 10_000), (idle, 10_001), (Again, 20_000), (Again, 20_001)], "PZtP");
    }
}
