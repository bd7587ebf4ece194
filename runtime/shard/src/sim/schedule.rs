//! Who gets the next turn: several policies, since each finds other bugs.

use crate::random::Random;

/// How the next shard is chosen among those that can run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Another policy every now and then.
    #[default]
    Mixed,
    /// Any, each as likely.
    Random,
    /// One after the other.
    RoundRobin,
    /// One of them gets no turn for a while, unless it is the only one.
    Starve,
    /// One gets many turns in a row.
    Burst,
    /// The one with the highest priority; priorities change now and then.
    Priority,
}

/// A policy at work.
pub(super) struct Schedule {
    mixed: bool,
    policy: Policy,
    /// Steps until the policy, the victim, the favourite or the priorities change.
    policy_for: u64,
    chosen_for: u64,
    /// The victim or the favourite; the last one in turn.
    chosen: usize,
    salt: u64,
}

impl Schedule {
    pub(super) fn new(policy: Policy) -> Self {
        let mixed = policy == Policy::Mixed;
        let policy = if mixed { Policy::Random } else { policy };
        Self { mixed, policy, policy_for: 0, chosen_for: 0, chosen: 0, salt: 0 }
    }

    /// One of `runnable`, which are indices in rising order, not none.
    pub(super) fn choose(&mut self, runnable: &[usize], draws: &Random) -> usize {
        const ALL: [Policy; 5] =
            [Policy::Random, Policy::RoundRobin, Policy::Starve, Policy::Burst, Policy::Priority];
        if self.mixed && self.policy_for == 0 {
            self.policy = ALL[draws.below(ALL.len() as u64) as usize];
            self.policy_for = draws.spread(16, 2_048);
            self.chosen_for = 0;
        }
        self.policy_for = self.policy_for.saturating_sub(1);
        let any = |from: &[usize]| from[draws.below(from.len() as u64) as usize];
        let changes = self.chosen_for == 0;
        self.chosen_for = self.chosen_for.saturating_sub(1);
        match self.policy {
            Policy::Mixed | Policy::Random => any(runnable),
            Policy::RoundRobin => {
                let after = runnable.iter().find(|index| **index > self.chosen);
                self.chosen = *after.unwrap_or(&runnable[0]);
                self.chosen
            }
            Policy::Starve => {
                if changes {
                    self.chosen = any(runnable);
                    self.chosen_for = draws.spread(16, 1_024);
                }
                let others = runnable.iter().copied().filter(|index| *index != self.chosen);
                let others = others.collect::<Vec<_>>();
                if others.is_empty() { self.chosen } else { any(&others) }
            }
            Policy::Burst => {
                if changes || !runnable.contains(&self.chosen) {
                    self.chosen = any(runnable);
                    self.chosen_for = draws.spread(2, 128);
                }
                self.chosen
            }
            Policy::Priority => {
                if changes {
                    self.salt = draws.next();
                    self.chosen_for = draws.spread(8, 256);
                }
                let priority = |index: &&usize| crate::random::mix(self.salt ^ **index as u64);
                *runnable.iter().max_by_key(priority).expect("one of them can run")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_gives_everybody_turns() {
        use Policy::{Burst, Mixed, Priority, Random as Any, RoundRobin, Starve};
        for policy in [Mixed, Any, RoundRobin, Starve, Burst, Priority] {
            let (mut schedule, draws) = (Schedule::new(policy), Random::new(7));
            let mut turns = [0_u32; 5];
            for _ in 0..20_000 {
                turns[schedule.choose(&[0, 2, 3, 4], &draws)] += 1;
            }
            assert_eq!(turns[1], 0, "{policy:?}");
            assert!(
                [0, 2, 3, 4].iter().all(|index| turns[*index] > 1_000),
                "{policy:?}: {turns:?}"
            );
        }
    }

    #[test]
    fn round_robin_goes_round() {
        let (mut schedule, draws) = (Schedule::new(Policy::RoundRobin), Random::new(7));
        let seen = (0..5).map(|_| schedule.choose(&[0, 2, 3], &draws)).collect::<Vec<_>>();
        assert_eq!(seen, [2, 3, 0, 2, 3]);
    }
}
