//! Keyed state as checkpoints see it: a table, or timers.
//!
//! ```text
//!   barrier ─▶ flip ─▶ walk_pieces, walk_pieces, … ─▶ done         between two calls it is written as ever
//!                             └─ discard_walk: the rest gives nothing
//! ```
//!
//! # What is always true
//!
//! 1. A walk gives the state of its flip, as pieces by key group; one walk at a time.
//! 2. A flip costs nothing that grows with what is kept; a step of a walk costs about its budget.
//! 3. State that does not track what changes gives all of itself whatever the scope of a flip.

use wiesel_core::{KeyGroup, KeyGroupRange};

use crate::{Piece, Progress, Scope, Table, TableError, TimerQueue};

/// Keyed state that is marked at a barrier, and written between turns. What the methods do is said by [`Table`].
pub trait WalkedState {
    /// Its key groups.
    fn range(&self) -> KeyGroupRange;

    /// Whether nothing is kept.
    fn is_empty(&self) -> bool;

    /// The barrier: what is kept at this moment is kept for the walk.
    ///
    /// # Errors
    ///
    /// If the last walk is not done, or an increment has no base.
    fn flip(&mut self, scope: Scope) -> Result<(), TableError>;

    /// Whether the last flip's walk is unfinished.
    fn is_walking(&self) -> bool;

    /// Gives the next part of the snapshot, in bytes. `buffer` is memory for them.
    fn walk_pieces(
        &mut self,
        budget_bytes: usize,
        buffer: &mut Vec<u8>,
        out: &mut dyn FnMut(Piece<'_>),
    ) -> Progress;

    /// Nobody wants the snapshot of the last flip: the rest of its walk gives nothing.
    fn discard_walk(&mut self);

    /// Gives each key group that has something, as bytes, at once.
    fn export(&self, out: &mut dyn FnMut(KeyGroup, &[u8]));

    /// Whether increments may follow.
    fn is_tracking(&self) -> bool {
        false
    }

    /// Asks that the next increment gives all of a group.
    fn rebase(&mut self, group: KeyGroup) {
        let _ = group;
    }
}

impl WalkedState for Table {
    fn range(&self) -> KeyGroupRange {
        self.range()
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
    }

    fn flip(&mut self, scope: Scope) -> Result<(), TableError> {
        self.flip(scope).map(|_| ())
    }

    fn is_walking(&self) -> bool {
        self.is_walking()
    }

    fn walk_pieces(
        &mut self,
        budget_bytes: usize,
        buffer: &mut Vec<u8>,
        out: &mut dyn FnMut(Piece<'_>),
    ) -> Progress {
        self.walk_pieces(budget_bytes, buffer, out)
    }

    fn discard_walk(&mut self) {
        self.discard_walk();
    }

    fn export(&self, out: &mut dyn FnMut(KeyGroup, &[u8])) {
        let mut bytes = Vec::new();
        for group in self.range().iter().filter(|group| self.group(*group).next().is_some()) {
            bytes.clear();
            self.export_group(group, &mut bytes);
            out(group, &bytes);
        }
    }

    fn is_tracking(&self) -> bool {
        self.is_tracking()
    }

    fn rebase(&mut self, group: KeyGroup) {
        self.rebase(group);
    }
}

impl WalkedState for TimerQueue {
    fn range(&self) -> KeyGroupRange {
        self.range()
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
    }

    fn flip(&mut self, _: Scope) -> Result<(), TableError> {
        self.flip()
    }

    fn is_walking(&self) -> bool {
        self.is_walking()
    }

    fn walk_pieces(
        &mut self,
        budget_bytes: usize,
        buffer: &mut Vec<u8>,
        out: &mut dyn FnMut(Piece<'_>),
    ) -> Progress {
        self.walk_pieces(budget_bytes, buffer, out)
    }

    fn discard_walk(&mut self) {
        self.discard_walk();
    }

    fn export(&self, out: &mut dyn FnMut(KeyGroup, &[u8])) {
        self.export(out);
    }
}
