//! Who goes first on a shard: tasks that are behind, before sources. Pure.
//!
//! ```text
//!   round:           1  2  3 … 8  9  10
//!   behind:          y  y  y   y  y  n       a task stopped in the middle of a frame
//!   sources wait:    y  y  y   y  n  n
//! ```
//!
//! What a source makes while a consumer on its core has more than it can do would only wait. Passed over, it leaves
//! making records to the sources of other cores, which have splits to take; so a core with more than its share of the
//! keyed work has less of the sources'.
//!
//! # What is always true
//!
//! 1. Of any [`ROUNDS_MAX`] + 1 rounds one has turns for sources: they also carry the time. And so has every round in
//!    which nobody else did anything (the worker sees to that).

/// For how many rounds in a row sources wait at most.
const ROUNDS_MAX: u32 = 8;

/// Counts the rounds in which sources waited.
#[derive(Debug, Default)]
pub(crate) struct Precedence {
    waited: u32,
}

impl Precedence {
    /// Whether sources have no turn in the round that begins. `is_behind`: whether a task has more to do than it could
    /// in its last turn.
    pub(crate) fn sources_wait(&mut self, is_behind: bool) -> bool {
        let wait = is_behind && self.waited < ROUNDS_MAX;
        self.waited = if wait { self.waited + 1 } else { 0 };
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `rounds`: `b` is a round with a task that is behind; `expected`: `w` where sources wait.
    #[track_caller]
    fn check(rounds: &str, expected: &str) {
        let mut precedence = Precedence::default();
        let found: String = rounds
            .chars()
            .map(|round| if precedence.sources_wait(round == 'b') { 'w' } else { '.' })
            .collect();
        assert_eq!(found, expected, "{rounds}");
    }

    #[test]
    fn sources_wait_for_those_behind_but_not_for_ever() {
        check("....", "....");
        check("b.bb.", "w.ww.");
        check("bbbbbbbbbbbbbbbbbbb", "wwwwwwww.wwwwwwww.w");
        check("bbbbbbb.bbbbbbbbb", "wwwwwww.wwwwwwww.");
    }
}
