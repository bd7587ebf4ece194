//! The watermarks of the splits that a task reads, and what they come to together.
//!
//! ```text
//!   split 0   ──▶ generator 0 ──▶ 17 ┐
//!   split 1   ──▶ generator 1 ──▶ 12 ├─ the least of those that are not idle ──▶ 12
//!   split 2   ──▶ generator 2   idle ┘
//! ```
//!
//! # What is always true
//!
//! 1. Only the split that is read has its generator at hand; a source that names no split has that one only, and pays
//!    for no other.
//! 2. A split that is paused by alignment, or whose task cannot write, is not becoming idle.
//! 3. Idle splits are left out. When all are, what counts is the greatest of their watermarks, so that it does not
//!    matter which became idle last.
//! 4. A split that has ended holds nothing back; when none is left the watermark stays.

use std::{collections::BTreeMap, time::Duration};

use wiesel_core::{Nanos, Timestamp};

use crate::{SplitChange, SplitId};

/// The records of a source that does not name its splits.
pub(crate) const UNNAMED: SplitId = SplitId(u32::MAX);

/// One split.
#[derive(Clone, Debug)]
pub(crate) struct Split<G> {
    pub(crate) generator: G,
    /// It had records since the last turn.
    pub(crate) seen: bool,
    last_seen: Nanos,
    is_idle: bool,
    was_paused: bool,
}

/// All splits of a task.
#[derive(Debug)]
pub(crate) struct Splits<G> {
    /// As every split starts.
    fresh: G,
    /// The one that is read.
    pub(crate) current: Split<G>,
    current_id: SplitId,
    /// The one that is read has not ended.
    is_current_open: bool,
    others: BTreeMap<SplitId, Split<G>>,
    /// Of the last turn, without the time in which the task could not write.
    free_time: Nanos,
    /// A split has come or gone since the last turn.
    has_changed: bool,
}

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticked {
    /// The common watermark may be another one.
    pub(crate) has_changed: bool,
    /// Every split is idle.
    pub(crate) are_all_idle: bool,
    /// In which time the next split becomes idle if it has no record.
    pub(crate) next_idle_in: Option<Duration>,
}

impl<G: Clone> Splits<G> {
    pub(crate) fn new(fresh: G) -> Self {
        let current = Split::starting(&fresh, Nanos(0));
        Self {
            fresh,
            current,
            current_id: UNNAMED,
            is_current_open: true,
            others: BTreeMap::new(),
            free_time: Nanos(0),
            has_changed: false,
        }
    }

    /// Time starts.
    pub(crate) fn start(&mut self, free_time: Nanos) {
        self.free_time = free_time;
        self.current.last_seen = free_time;
    }

    /// Another split is read, or one has ended.
    #[cold]
    pub(crate) fn change(&mut self, change: SplitChange) {
        self.has_changed = true;
        match change {
            SplitChange::Reads(id) if id == self.current_id && self.is_current_open => {}
            SplitChange::Reads(id) => {
                let fresh = || Split::starting(&self.fresh, self.free_time);
                let next = self.others.remove(&id).unwrap_or_else(fresh);
                let last = std::mem::replace(&mut self.current, next);
                let last_id = std::mem::replace(&mut self.current_id, id);
                // A source that names its splits has no unnamed one.
                if std::mem::replace(&mut self.is_current_open, true) && last_id != UNNAMED {
                    self.others.insert(last_id, last);
                }
            }
            SplitChange::Ended(id) if id == self.current_id => {
                self.is_current_open = false;
                self.current = Split::starting(&self.fresh, self.free_time);
            }
            SplitChange::Ended(id) => {
                self.others.remove(&id);
            }
        }
    }

    /// The splits that have not ended.
    fn open(&self) -> impl Iterator<Item = (SplitId, &Split<G>)> {
        let current = self.is_current_open.then_some((self.current_id, &self.current));
        current.into_iter().chain(self.others.iter().map(|(id, split)| (*id, split)))
    }

    /// The watermark of each split that has not ended.
    pub(crate) fn watermarks(
        &self,
        of: impl Fn(&G) -> Timestamp,
    ) -> impl Iterator<Item = (SplitId, Timestamp)> {
        self.open().map(move |(id, split)| (id, of(&split.generator)))
    }

    /// What the watermarks of all come to; `None` if no split is open.
    pub(crate) fn combined(&self, of: impl Fn(&G) -> Timestamp) -> Option<Timestamp> {
        if self.others.is_empty() {
            return self.is_current_open.then(|| of(&self.current.generator));
        }
        let active = self.open().filter(|(_, split)| split.seen || !split.is_idle);
        let least = active.map(|(_, split)| of(&split.generator)).min();
        least.or_else(|| self.open().map(|(_, split)| of(&split.generator)).max())
    }

    /// A turn has ended. `free_time` stands still while the task cannot write.
    pub(crate) fn tick(
        &mut self,
        free_time: Nanos,
        idle_after: Option<Duration>,
        is_paused: impl Fn(SplitId) -> bool,
    ) -> Ticked {
        self.free_time = free_time;
        let mut ticked = Ticked {
            has_changed: std::mem::take(&mut self.has_changed),
            are_all_idle: true,
            next_idle_in: None,
        };
        // The place of a split that has ended counts only if there is no other: for a source that waits for a split.
        if self.is_current_open || self.others.is_empty() {
            self.current.tick(
                free_time,
                idle_after,
                self.is_current_open && is_paused(self.current_id),
                &mut ticked,
            );
        }
        for (id, split) in &mut self.others {
            split.tick(free_time, idle_after, is_paused(*id), &mut ticked);
        }
        ticked
    }
}

impl<G: Clone> Split<G> {
    fn starting(fresh: &G, now: Nanos) -> Self {
        Self {
            generator: fresh.clone(),
            seen: false,
            last_seen: now,
            is_idle: false,
            was_paused: false,
        }
    }

    fn tick(
        &mut self,
        now: Nanos,
        idle_after: Option<Duration>,
        is_paused: bool,
        ticked: &mut Ticked,
    ) {
        let seen = std::mem::take(&mut self.seen);
        let was_paused = std::mem::replace(&mut self.was_paused, is_paused);
        ticked.has_changed |= seen;
        if seen || is_paused || was_paused {
            self.last_seen = now;
            self.is_idle &= !seen;
        }
        if let Some(idle_after) = idle_after
            && !self.is_idle
        {
            let quiet = now.since(self.last_seen);
            if quiet >= idle_after {
                self.is_idle = true;
                ticked.has_changed = true;
            } else {
                let left = idle_after.saturating_sub(quiet);
                ticked.next_idle_in = Some(ticked.next_idle_in.map_or(left, |n| n.min(left)));
            }
        }
        ticked.are_all_idle &= self.is_idle;
    }
}
