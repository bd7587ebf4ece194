//! Watermark alignment, as a task sees it: between its source, what makes its watermarks, and the JobMaster.
//!
//! ```text
//!   JobMaster ──limit──▶ ┌────────────────┐ ◀── watermark of each split ── AssignWatermarks
//!             ◀─report── │ SplitAlignment │ ──▶ is this split paused? ──▶ SourceHead, SourceReader
//!                        └────────────────┘
//! ```
//!
//! # What is always true
//!
//! 1. A split is paused while its watermark is greater than the limit; without a group none is. One without a watermark
//!    is read.
//! 2. A report is made when the watermark has changed, at most once per interval.
//! 3. Nothing here is looked at per record.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use wiesel_core::{AlignmentGroup, AlignmentReport, Nanos, Timestamp};

use crate::SplitId;

/// Which splits of a task wait for others.
#[derive(Debug)]
pub struct SplitAlignment {
    group: RefCell<Option<AlignmentGroup>>,
    limit: Cell<Timestamp>,
    watermarks: RefCell<BTreeMap<SplitId, Timestamp>>,
    are_all_paused: Cell<bool>,
    reported: Cell<Timestamp>,
    report_from: Cell<Nanos>,
    report: Cell<Option<Timestamp>>,
}

impl Default for SplitAlignment {
    fn default() -> Self {
        Self {
            group: RefCell::default(),
            limit: Cell::new(Timestamp::MAX),
            watermarks: RefCell::default(),
            are_all_paused: Cell::new(false),
            reported: Cell::new(Timestamp::MIN),
            report_from: Cell::new(Nanos(0)),
            report: Cell::new(None),
        }
    }
}

impl SplitAlignment {
    /// The splits of this task are aligned with those of `group`. Until the first limit is told they wait after their first
    /// records, or the fastest would be far ahead before the slowest has said where it is.
    pub(crate) fn join(&self, group: AlignmentGroup) {
        self.limit.set(Timestamp::MIN);
        *self.group.borrow_mut() = Some(group);
    }

    /// The JobMaster says how far the splits of the group may be.
    pub fn set_limit(&self, limit: Timestamp) {
        self.limit.set(limit);
        self.look();
    }

    /// Whether this split is to be left alone for now.
    pub fn is_paused(&self, split: SplitId) -> bool {
        let limit = self.limit.get();
        limit < Timestamp::MAX && self.watermarks.borrow().get(&split).is_some_and(|w| *w > limit)
    }

    /// Whether every split is: the reader need not be asked.
    #[inline]
    pub fn are_all_paused(&self) -> bool {
        self.are_all_paused.get()
    }

    /// What the JobMaster is to be told since the last call, if anything is.
    #[inline]
    pub fn take_report(&self) -> Option<AlignmentReport> {
        let watermark = self.report.take()?;
        self.group.borrow().clone().map(|group| AlignmentReport { group, watermark })
    }

    /// The watermarks of all splits, after a turn, and that of the task.
    pub(crate) fn note(
        &self,
        now: Nanos,
        splits: impl Iterator<Item = (SplitId, Timestamp)>,
        watermark: Timestamp,
    ) -> Option<Nanos> {
        let mut watermarks = self.watermarks.borrow_mut();
        watermarks.clear();
        watermarks.extend(splits);
        drop(watermarks);
        self.look();
        let interval = self.group.borrow().as_ref().map(|group| group.update_interval)?;
        if watermark == self.reported.get() {
            return None;
        }
        let from = self.report_from.get();
        if now < from {
            return Some(from);
        }
        self.report_from.set(now + interval);
        self.reported.set(watermark);
        self.report.set(Some(watermark));
        None
    }

    fn look(&self) {
        let (limit, watermarks) = (self.limit.get(), self.watermarks.borrow());
        let all = !watermarks.is_empty() && watermarks.values().all(|w| *w > limit);
        self.are_all_paused.set(all);
    }
}

#[cfg(test)]
mod tests {
    use wiesel_core::{millis, seconds};

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn aligned() -> SplitAlignment {
        let alignment = SplitAlignment::default();
        alignment.join(AlignmentGroup {
            name: "clicks".to_owned(),
            max_drift: seconds(1),
            update_interval: millis(10),
        });
        alignment
    }

    fn note(alignment: &SplitAlignment, now_ms: u64, splits: &[i64]) -> Option<Nanos> {
        let numbered = (0..).map(SplitId).zip(splits.iter().map(|ms| at(*ms)));
        let least = at(splits.iter().copied().min().unwrap_or(0));
        alignment.note(Nanos(0) + millis(now_ms), numbered, least)
    }

    #[test]
    fn splits_above_the_limit_are_paused() {
        let alignment = aligned();
        let paused = |alignment: &SplitAlignment| {
            let one = |split| alignment.is_paused(SplitId(split));
            (one(0), one(1), one(2), alignment.are_all_paused())
        };
        assert_eq!(paused(&alignment), (false, false, false, false));
        note(&alignment, 0, &[i64::MIN, i64::MIN]);
        assert_eq!(paused(&alignment), (false, false, false, false));
        note(&alignment, 0, &[5, 9]);
        assert_eq!(paused(&alignment), (true, true, false, true));
        alignment.set_limit(at(8));
        assert_eq!(paused(&alignment), (false, true, false, false));
        alignment.set_limit(at(4));
        assert_eq!(paused(&alignment), (true, true, false, true));
        alignment.set_limit(at(9));
        assert_eq!(paused(&alignment), (false, false, false, false));
        note(&alignment, 0, &[10, 9]);
        assert_eq!(paused(&alignment), (true, false, false, false));
        note(&alignment, 0, &[]);
        assert_eq!(paused(&alignment), (false, false, false, false));
    }

    #[test]
    fn a_change_is_reported_once_an_interval() {
        let alignment = aligned();
        assert_eq!(note(&alignment, 0, &[5]), None);
        let report = alignment.take_report().expect("the first is told at once");
        assert_eq!((report.watermark, report.group.name.as_str()), (at(5), "clicks"));
        assert_eq!(note(&alignment, 1, &[5]), None);
        assert_eq!(alignment.take_report(), None);
        // Too early, and it says when.
        assert_eq!(note(&alignment, 4, &[6]), Some(Nanos(0) + millis(10)));
        assert_eq!(alignment.take_report(), None);
        assert_eq!(note(&alignment, 10, &[7]), None);
        assert_eq!(alignment.take_report().map(|report| report.watermark), Some(at(7)));
    }

    #[test]
    fn without_a_group_nothing_is_told() {
        let alignment = SplitAlignment::default();
        assert_eq!(note(&alignment, 0, &[5]), None);
        assert_eq!(alignment.take_report(), None);
        assert!(!alignment.is_paused(SplitId(0)) && !alignment.are_all_paused());
    }
}
