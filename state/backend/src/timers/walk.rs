//! Snapshots of timers while they are registered, deleted and fired: a flip, then a walk in slices.
//!
//! ```text
//!   groups:  0 ── walked ──▶ ┌ cursor ┐ ── not walked ──▶ end
//!                            └────┬───┘
//!   a group:  its timers in order, those made behind the flip passed over  ─▶  what was taken away before they were passed
//!                                                                              (fired, deleted: its undo log)
//! ```
//!
//! # What is always true
//!
//! 1. The walk of a flip gives exactly the timers of the flip, each once, whatever is registered, deleted and fired meanwhile.
//! 2. A flip costs the same for any number of timers. A slice of the walk costs its budget and at most two timers more.
//! 3. What is kept for a walk is what was taken away since the flip and is not given yet. Registering costs a walk nothing: a
//!    timer knows how many flips there were before it.
//! 4. A walk that nobody wants keeps nothing more, and frees what it has kept in slices as well.
//!
//! Why 1: a timer of the flip leaves the set of its group only through `keep`, which puts it into the undo log unless the
//! cursor has passed it. So at any time the timers of the flip that are not given are those in the log and those in the sets
//! behind the cursor that were made before the flip. A timer that is registered again is a new one, made behind the flip.

use std::{cmp::Ordering, ops::Bound};

use wiesel_core::{KeyGroup, Mutant};

use super::{
    TimerQueue,
    format::{begin_group, finish_group, write_timer},
    timer::{HasParts, Timer},
};
use crate::{Piece, Progress, TableError};

/// What a walk counts for a group, also if it has no timers.
const GROUP_COST_BYTES: usize = 64;

/// What a walk counts for a timer beside its bytes: lines that nobody has had of late. To pass a million took 130 ns each, as long
/// as a table takes for as many bytes.
const TIMER_COST_BYTES: usize = 96;

#[derive(Debug)]
pub(super) struct Walk {
    /// The index of the group at hand.
    group: usize,
    /// How far it has come within this group.
    cursor: Cursor,
    /// Nobody wants the rest.
    is_discarded: bool,
}

#[derive(Debug)]
enum Cursor {
    /// Nothing of the group is given.
    Start,
    /// The timers up to this one are passed.
    Passed(Timer),
    /// All are: the undo log is given.
    Undo,
}

impl Walk {
    /// Whether a timer of the flip that is in the set of a group is still to be given.
    fn wants(&self, group: usize, timer: &Timer) -> bool {
        let is_ahead = match group.cmp(&self.group) {
            Ordering::Less => false,
            Ordering::Greater => true,
            Ordering::Equal => match &self.cursor {
                Cursor::Start => true,
                Cursor::Passed(last) => timer > last,
                Cursor::Undo => false,
            },
        };
        is_ahead && !self.is_discarded
    }
}

impl TimerQueue {
    /// Whether the last flip's walk is unfinished.
    pub fn is_walking(&self) -> bool {
        self.walk.is_some()
    }

    /// The barrier: the timers of this moment are kept for [`TimerQueue::walk_pieces`].
    ///
    /// # Errors
    ///
    /// If the last walk is not done.
    pub fn flip(&mut self) -> Result<(), TableError> {
        if self.walk.is_some() {
            return Err(TableError::WalkUnfinished { epoch: self.flips });
        }
        self.flips += 1;
        self.walk = Some(Walk { group: 0, cursor: Cursor::Start, is_discarded: false });
        Ok(())
    }

    /// Nobody wants the snapshot of the last flip: the rest of its walk gives nothing, and costs little.
    pub fn discard_walk(&mut self) {
        if let Some(walk) = &mut self.walk {
            walk.is_discarded = true;
        }
    }

    /// Gives the next part of the snapshot: until `budget_bytes` are counted, or the walk is done. Each group begins anew, those
    /// without timers too; the pieces of a group follow one another. `buffer` is memory for them.
    pub fn walk_pieces(
        &mut self,
        budget_bytes: usize,
        buffer: &mut Vec<u8>,
        out: &mut dyn FnMut(Piece<'_>),
    ) -> Progress {
        let Some(mut walk) = self.walk.take() else { return Progress::Done };
        let mut cost = 0;
        while walk.group < self.groups.len() {
            if cost >= budget_bytes {
                self.walk = Some(walk);
                return Progress::More;
            }
            cost += GROUP_COST_BYTES;
            cost += self.walk_group(&mut walk, budget_bytes.saturating_sub(cost), buffer, out);
        }
        Progress::Done
    }

    /// Goes on within the group at hand, by one timer at least if there is one; says what that counts.
    fn walk_group(
        &mut self,
        walk: &mut Walk,
        budget_bytes: usize,
        buffer: &mut Vec<u8>,
        out: &mut dyn FnMut(Piece<'_>),
    ) -> usize {
        let group = KeyGroup(self.range.first + walk.group as u16);
        let timers = &mut self.groups[walk.group];
        let begins = matches!(walk.cursor, Cursor::Start);
        buffer.clear();
        begin_group(self.max_parallelism, group, buffer);
        let (empty_bytes, mut number, mut passed) = (buffer.len(), 0, 0);
        // What `passed` timers cost, and what is written of them.
        let cost = |passed: usize, buffer: &Vec<u8>| {
            passed * TIMER_COST_BYTES + buffer.len() - empty_bytes
        };
        if walk.is_discarded {
            walk.cursor = Cursor::Undo;
        }
        if !matches!(walk.cursor, Cursor::Undo) {
            let from: Bound<&dyn HasParts> = match &walk.cursor {
                Cursor::Passed(last) => Bound::Excluded(last),
                _ => Bound::Unbounded,
            };
            let mut stopped_at = None;
            for timer in timers.set.range::<dyn HasParts, _>((from, Bound::Unbounded)) {
                passed += 1;
                if timer.made < self.flips {
                    write_timer(timer, buffer);
                    number += 1;
                }
                if cost(passed, buffer) >= budget_bytes {
                    stopped_at = Some(timer.clone());
                    break;
                }
            }
            walk.cursor = stopped_at.map_or(Cursor::Undo, Cursor::Passed);
        }
        if let Cursor::Undo = walk.cursor {
            while let Some(timer) = timers.undo.pop_first() {
                self.bytes_used -= timer.bytes_used();
                passed += 1;
                if !walk.is_discarded {
                    write_timer(&timer, buffer);
                    number += 1;
                }
                if cost(passed, buffer) >= budget_bytes {
                    break;
                }
            }
            if timers.undo.is_empty() {
                (walk.group, walk.cursor) = (walk.group + 1, Cursor::Start);
            }
        }
        let cost = cost(passed, buffer);
        if (begins || number > 0) && !walk.is_discarded {
            finish_group(number, buffer);
            let bytes = if number > 0 { buffer.as_slice() } else { &[] };
            out(Piece { group, begins, bytes });
        }
        cost
    }

    /// A timer has left the set of its group: it is kept if the walk has still to give it.
    pub(super) fn keep(&mut self, group: usize, timer: Timer) {
        if self.wants(group, &timer) {
            self.groups[group].undo.insert(timer);
        } else {
            self.bytes_used -= timer.bytes_used();
        }
    }

    /// As [`keep`](Self::keep), of one that somebody else has a use for.
    pub(super) fn keep_copy(&mut self, group: usize, timer: &Timer) {
        if self.wants(group, timer) && !Mutant::FiredTimerLost.is_chosen() {
            self.groups[group].undo.insert(timer.clone());
        } else {
            self.bytes_used -= timer.bytes_used();
        }
    }

    fn wants(&self, group: usize, timer: &Timer) -> bool {
        let is_of_flip = timer.made < self.flips;
        self.walk.as_ref().is_some_and(|walk| is_of_flip && walk.wants(group, timer))
    }
}
