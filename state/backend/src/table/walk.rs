//! Snapshots while the table is written: a flip, then a walk in slices.
//!
//! ```text
//!   spots:   0 ────── walked ──────▶ cursor ────── not walked ──────▶ end
//!                                      │ first write: old row to the group's undo log, mark "touched"
//!   a group: removed keys, then each segment's rows but the touched ones, then the undo log
//! ```
//!
//! # What is always true
//!
//! 1. The walk of a flip gives exactly the rows of the flip (all, or the dirty ones), whatever is written,
//!    removed, split or grown meanwhile: each once, and after the removed keys of its group.
//! 2. A flip costs nothing that grows with the rows. A slice of the walk costs its budget and at most the copy of a
//!    segment more, or one segment of rows with blocks.
//! 3. The cursor is at the start of a segment: rows before it are walked, and a split cannot straddle it.
//! 4. Outside a walk no mark says "touched". A walked row that was touched since is dirty for the next
//!    increment: the walker moves the one bit into the other's place.
//!
//! A row that was made after the flip is marked touched and not logged; so the log needs no "absent", and
//! no entry is ever searched for. The log is the group's and not the segment's: a split leaves it alone.
//! A segment of which all or many rows are wanted is copied first, at the speed of memory, and given from the copy; but
//! not rows with blocks, which the copy would have to hold.
//!
//! `unsafe`: see `table.rs`.

mod copied;

use std::collections::BTreeSet;

use copied::Copied;
use wiesel_core::Mutant;

use super::*;
use crate::{TableError, segment::ROWS};

/// A bit for each row of a group. In a mark they say "dirty", and above them "touched".
const ALL_ROWS: u8 = (1 << ROWS) - 1;

/// Marks are looked at eight at a time.
const EIGHT: usize = 8;

/// A walk counts what it gives in bytes, and they are written at some 1 GB/s. Of the marks of groups that it passes it counts
/// a byte for so many: they are read at 10 GB/s.
const GROUPS_PER_BYTE: usize = 8;

/// And one for so many bytes that are copied.
const COPIED_PER_BYTE: usize = 10;

/// What a walk counts for a group that it looks at for the sake of some of its rows: a line that nobody has had of late.
const GROUP_COST_BYTES: usize = 64;

/// A segment with so many groups that have a dirty row is copied before they are given.
const COPIED_GROUPS: usize = 128;

/// Groups that are sought this far ahead of those that are given.
const SOUGHT_AHEAD: usize = 4 * EIGHT;

/// What a walk is to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All rows, and the next increment is what it would have been: savepoints, full checkpoints.
    Full,
    /// All rows, and increments are relative to it from now on.
    Base,
    /// What changed since the last base or increment. A group of which [`Table::rebase`] was asked gives all
    /// its rows instead.
    Increment,
}

/// One thing of a snapshot.
#[derive(Clone, Copy)]
pub enum RowEvent<'t> {
    /// All that follows in this group replaces what earlier snapshots say of it. Once, before the group's
    /// rows, in full and base walks and for rebased groups; also if no rows follow.
    Whole,
    /// The key was removed since the last increment. It may have come back: then its row follows.
    Removed(&'t [u8]),
    /// A row at the flip.
    Row(Row<'t>),
}

/// Whether a walk has more to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Call again.
    More,
    /// The snapshot is complete.
    Done,
}

pub(super) struct Walk {
    scope: Scope,
    /// The group's index.
    group: usize,
    step: Step,
    /// Keys removed before the flip.
    removed: Option<Box<Table>>,
    rebase: BTreeSet<u16>,
    /// Nobody wants it any more: only its marks are still to be wiped.
    is_discarded: bool,
    copied: Copied,
}

#[derive(Clone, Copy)]
enum Step {
    /// Nothing of the group is given yet.
    Start,
    /// Removed keys, from this spot of their table on.
    Removed(u64),
    /// Segments, from the table's cursor on.
    Rows,
    /// The undo log, from this entry of its first piece on.
    Undo(usize),
}

impl Walk {
    /// Whether all rows of the group are given.
    fn is_whole(&self, group: KeyGroup) -> bool {
        self.scope != Scope::Increment || self.rebase.contains(&group.0)
    }

    /// Whether a row of the group is given that is about to be written.
    pub(super) fn wants(&self, group: KeyGroup, is_dirty: bool) -> bool {
        !self.is_discarded && (is_dirty || self.is_whole(group))
    }

    pub(super) fn bytes_used(&self) -> usize {
        let removed = self.removed.as_ref().map_or(0, |removed| removed.bytes_used());
        size_of::<Self>() + removed + self.copied.bytes_used()
    }
}

impl Table {
    /// The number of the last flip.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether the last flip's walk is unfinished.
    pub fn is_walking(&self) -> bool {
        self.walk.is_some()
    }

    /// The barrier: the rows of this moment are kept for [`Table::walk`]. Returns the new epoch.
    ///
    /// # Errors
    ///
    /// If the last walk is not done, or an increment has no base.
    pub fn flip(&mut self, scope: Scope) -> Result<u64, TableError> {
        if self.walk.is_some() {
            return Err(TableError::WalkUnfinished { epoch: self.epoch });
        }
        if scope == Scope::Increment && !self.tracking {
            return Err(TableError::NoBase);
        }
        self.undo.begin(self.range.len());
        let mut walk = Walk {
            scope,
            group: 0,
            step: Step::Start,
            removed: None,
            rebase: BTreeSet::new(),
            is_discarded: false,
            copied: Copied::default(),
        };
        if scope != Scope::Full {
            self.tracking = true;
            walk.removed = self.removed.take();
            walk.rebase = std::mem::take(&mut self.rebase);
        }
        self.walk = Some(Box::new(walk));
        self.marking = true;
        self.ahead.end();
        self.cursor = 0;
        self.epoch += 1;
        self.begin_hints();
        Ok(self.epoch)
    }

    /// Asks that the next increment gives all rows of a group: because its increments have grown larger than
    /// its base.
    pub fn rebase(&mut self, group: KeyGroup) {
        if self.range.contains(group) {
            self.rebase.insert(group.0);
        }
    }

    /// Nobody wants the snapshot of the last flip: the rest of its walk gives nothing, and costs little. What an increment
    /// would have been relative to is lost then, so that the next snapshot has to be a base (or full).
    pub fn discard_walk(&mut self) {
        let Some(walk) = &mut self.walk else { return };
        walk.is_discarded = true;
        walk.copied = Copied::default();
        if walk.scope != Scope::Full {
            walk.removed = None;
            self.stop_tracking();
        }
    }

    /// No increment follows: what it would need is not kept any more. The next snapshot is a base (or full).
    pub fn stop_tracking(&mut self) {
        self.tracking = false;
        self.removed = None;
        self.rebase.clear();
        self.ahead.end();
        self.marking = self.walk.is_some();
        self.judge_marks();
    }

    /// Whether increments may follow.
    pub fn is_tracking(&self) -> bool {
        self.tracking
    }

    /// The group whose rows the walk has begun to give, all of them; none within if that is not so; none at all without a
    /// walk.
    pub(super) fn is_giving_whole(&self) -> Option<Option<KeyGroup>> {
        let walk = self.walk.as_ref()?;
        if walk.group >= self.range.len() || matches!(walk.step, Step::Start) {
            return Some(None);
        }
        let group = KeyGroup(self.range.first + walk.group as u16);
        Some(walk.is_whole(group).then_some(group))
    }

    /// Gives the next part of the snapshot: until `budget_bytes`, more than none, are passed, or the walk is done. A segment
    /// that is not copied first is given whole, so a call gives at most one (64 KiB and its blocks) more. A segment of which
    /// nothing is given counts as well: looking at its marks takes time.
    pub fn walk(
        &mut self,
        budget_bytes: usize,
        out: &mut dyn FnMut(KeyGroup, RowEvent<'_>),
    ) -> Progress {
        self.walk_with(budget_bytes, out)
    }

    /// As [`Table::walk`], made for `out`.
    pub(super) fn walk_with(
        &mut self,
        budget_bytes: usize,
        out: &mut (impl FnMut(KeyGroup, RowEvent<'_>) + ?Sized),
    ) -> Progress {
        let Some(mut walk) = self.walk.take() else { return Progress::Done };
        self.ahead.end();
        let mut given = 0;
        while walk.group < self.range.len() {
            if given >= budget_bytes {
                self.walk = Some(walk);
                return Progress::More;
            }
            // A step that gives nothing costs something, too.
            given += 64 + self.walk_step(&mut walk, budget_bytes - given, out);
        }
        self.cursor = u64::MAX;
        self.marking = self.tracking;
        self.judge_marks();
        Progress::Done
    }

    fn walk_step(
        &mut self,
        walk: &mut Walk,
        budget_bytes: usize,
        out: &mut (impl FnMut(KeyGroup, RowEvent<'_>) + ?Sized),
    ) -> usize {
        let group = KeyGroup(self.range.first + walk.group as u16);
        let whole = walk.is_whole(group);
        if walk.copied.has_more() {
            let out = &mut |row: Row<'_>| out(group, RowEvent::Row(row));
            return self.give_copied(&mut walk.copied, budget_bytes, out);
        }
        let start = (walk.group as u64) << 32;
        let mut given = 0;
        match walk.step {
            Step::Start if walk.is_discarded => walk.step = Step::Rows,
            Step::Start if whole => {
                out(group, RowEvent::Whole);
                walk.step = Step::Rows;
            }
            Step::Start => walk.step = Step::Removed(start),
            Step::Removed(spot) => {
                walk.step = Step::Rows;
                if let Some(removed) = &walk.removed {
                    let (segment, next) = removed.segment_and_next(spot);
                    let odd = removed.odd_of(next);
                    removed.visit(
                        segment,
                        odd,
                        |_| ALL_ROWS,
                        |row| {
                            given += row.bytes();
                            out(group, RowEvent::Removed(row.key()));
                        },
                    );
                    if next >> 32 == spot >> 32 {
                        walk.step = Step::Removed(next);
                    }
                }
            }
            Step::Rows => {
                let (segment, next) = self.segment_and_next(self.cursor);
                let odd = self.odd_of(next);
                self.prefetch_all_marks(next);
                if !walk.is_discarded {
                    let copies = !segment.is_none()
                        && !self.has_blocks()
                        && (whole || self.wanted_groups(segment) >= COPIED_GROUPS);
                    if copies {
                        walk.copied.is_whole = whole;
                        given += self.copy(segment, &mut walk.copied) / COPIED_PER_BYTE;
                    }
                    let segment = if copies { Segment::none() } else { segment };
                    let wanted = |mark| wanted_rows(mark, whole);
                    let groups = self.visit(segment, odd, wanted, |row| {
                        given += row.bytes();
                        out(group, RowEvent::Row(row));
                    });
                    given += if whole { 0 } else { groups * GROUP_COST_BYTES };
                }
                given += segment.groups() as usize / GROUPS_PER_BYTE;
                self.pass_marks(segment, walk.scope);
                odd.into_iter().for_each(|segment| self.pass_marks(segment, walk.scope));
                if self.sweeps_hints(walk.group) {
                    let swept =
                        self.sweep_hints(segment) + odd.map_or(0, |odd| self.sweep_hints(odd));
                    given += swept / COPIED_PER_BYTE;
                }
                self.cursor = next;
                if next >> 32 != start >> 32 {
                    walk.step = Step::Undo(0);
                }
            }
            Step::Undo(mut index) => {
                let is_over = {
                    let mut rows = self.kept_rows(walk.group, index);
                    while given < budget_bytes
                        && let Some(row) = rows.next()
                    {
                        if !walk.is_discarded {
                            out(group, RowEvent::Row(row));
                        }
                        given += row.bytes();
                        index += 1;
                    }
                    rows.len() == 0
                };
                walk.step = Step::Undo(index);
                if is_over {
                    self.release_kept(walk.group);
                    walk.step = Step::Undo(0);
                    if !self.has_kept(walk.group) {
                        (walk.group, walk.step) = (walk.group + 1, Step::Start);
                    }
                }
            }
        }
        given
    }

    /// Brings the marks of the segment that is looked at next closer.
    fn prefetch_all_marks(&self, spot: u64) {
        if spot < (self.range.len() as u64) << 32 {
            let (segment, _) = self.segment_and_next(spot);
            for at in (0..segment.groups()).step_by(LINE) {
                segment::prefetch(segment.mark(self.shape, at));
            }
        }
    }

    /// After a clear a group is one segment again. If the cursor stood inside of a group (invariant 3), all
    /// that it had before it is in the undo log now.
    pub(super) fn leave_split_group(&mut self) {
        if let Some(walk) = &mut self.walk
            && self.cursor << 32 != 0
        {
            self.cursor = (walk.group as u64 + 1) << 32;
            walk.step = Step::Undo(0);
        }
    }

    /// How many groups of a segment an increment wants rows of.
    fn wanted_groups(&self, segment: Segment) -> usize {
        // SAFETY: a segment of this table, which is borrowed.
        let marks = unsafe { segment.marks(self.shape) };
        marks.iter().filter(|mark| wanted_rows(**mark, false) != 0).count()
    }

    /// Calls back for the rows of a segment and of the odd one whose bits `wanted` has, given the mark of a group. Returns
    /// how many groups that were; no others are looked at.
    #[inline(always)]
    fn visit(
        &self,
        segment: Segment,
        odd: Option<Segment>,
        wanted: impl Fn(u8) -> u8,
        mut out: impl FnMut(Row<'_>),
    ) -> usize {
        let (mut groups, wanted) = (0, &wanted);
        for (segment, is_odd) in [(Some(segment), false), (odd, true)] {
            let Some(segment) = segment.filter(|segment| !segment.is_none()) else { continue };
            // SAFETY: a segment of this table, which is borrowed.
            let marks = &*unsafe { segment.marks(self.shape) };
            let sought_among = |from: usize| {
                let eight = marks.get(from..).unwrap_or_default();
                let eight = &eight[..eight.len().min(EIGHT)];
                let is_any = eight.iter().fold(0, |any, mark| any | wanted(*mark)) != 0;
                let rows = if is_any { eight } else { &[] }.iter().map(|mark| wanted(*mark));
                (from as u32..).zip(rows).filter(|(_, rows)| *rows != 0)
            };
            let fetch = |from: usize| {
                sought_among(from)
                    .for_each(|(at, _)| segment::prefetch(segment.group(self.shape, at)));
            };
            (0..SOUGHT_AHEAD).step_by(EIGHT).for_each(fetch);
            for from in (0..marks.len()).step_by(EIGHT) {
                fetch(from + SOUGHT_AHEAD);
                for (at, mut rows) in sought_among(from) {
                    groups += 1;
                    let group = segment.group(self.shape, at);
                    while rows != 0 {
                        let place = Place { group, at, row: rows.trailing_zeros(), found: true };
                        rows &= rows - 1;
                        // SAFETY: a row of a segment of this table, borrowed during the call.
                        unsafe {
                            let word = place.word() & segment.key_bits();
                            if word != EMPTY {
                                let word = if is_odd { EMPTY } else { word };
                                out(Row::new(&self.layout, word, place.area(self.shape)));
                            }
                        }
                    }
                }
            }
        }
        groups
    }

    /// The segment is walked: what was touched since the flip is dirty for the next increment.
    fn pass_marks(&mut self, segment: Segment, scope: Scope) {
        if segment.is_none() {
            return;
        }
        let touched = u64::from_ne_bytes([ALL_ROWS; EIGHT]);
        let kept = match scope {
            _ if !self.tracking || Mutant::MarkWiped.is_chosen() => {
                return self.wipe_marks(segment);
            }
            Scope::Full => touched,
            Scope::Base | Scope::Increment => 0,
        };
        let pass = |marks: u64| marks & kept | marks >> ROWS & touched;
        // SAFETY: a live segment of this table, which is borrowed for writing.
        let (eights, rest) = unsafe { segment.marks(self.shape) }.as_chunks_mut();
        // Most lines have no mark: they are not written.
        for eight in eights.iter_mut().filter(|eight| **eight != [0; EIGHT]) {
            *eight = pass(u64::from_ne_bytes(*eight)).to_ne_bytes();
        }
        rest.iter_mut().for_each(|mark| *mark = pass((*mark).into()) as u8);
    }

    fn wipe_marks(&mut self, segment: Segment) {
        // SAFETY: a live segment of this table, which is borrowed for writing.
        unsafe { segment.marks(self.shape) }.fill(0);
    }
}

/// The rows of a group that are given as they stand: all, or the dirty ones, but those that were touched since the flip.
#[inline(always)]
fn wanted_rows(mark: u8, all: bool) -> u8 {
    let touched = if Mutant::NewRowGiven.is_chosen() { 0 } else { mark >> ROWS };
    if all { ALL_ROWS & !touched } else { mark & ALL_ROWS & !touched }
}
