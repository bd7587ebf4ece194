//! Results that change: what a query has said before is taken back or replaced.
//!
//! ```text
//!   +I row      a new row                     bids 1, 2 on auction 7, counted:   +I (7, 1)   -U (7, 1)   +U (7, 2)
//!   -U row      a row that is replaced …
//!   +U row      … by this one                 what a reader has in the end:       (7, 2)
//!   -D row      a row that is gone
//! ```
//!
//! The kinds are those of Flink's changelogs, and like there a row that is replaced is said first.
//!
//! # What is always true
//!
//! 1. The rows that a reader has, if it adds those of `+I` and `+U` and removes those of `-U` and `-D`, are the result.
//! 2. Changes of one key are in order; those of different keys are in none.

use wiesel::{
    Out,
    operators::{Chain, Start},
    prelude::*,
};

use crate::{
    generator::Check,
    wiesel::{check_sink::Total, jobs::check_with},
};

/// What happens to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Record)]
pub enum RowKind {
    /// `+I`: it is new.
    Insert,
    /// `-U`: it is replaced by the row that follows.
    UpdateBefore,
    /// `+U`: it replaces the row before.
    UpdateAfter,
    /// `-D`: it is gone.
    Delete,
}

/// A row, and what happens to it.
#[derive(Clone, Debug, PartialEq, Record)]
pub struct Change<T: Record> {
    pub kind: RowKind,
    pub row: T,
}

/// Says that `new` replaces `old`, or is the first.
#[inline]
pub fn replace<T: Record>(
    old: Option<T::View<'_>>,
    new: T::View<'_>,
    out: &mut dyn Out<Change<T>>,
) {
    let kind = match old {
        Some(old) => {
            out.emit(ChangeView { kind: RowKindView::UpdateBefore, row: T::shrink(old) });
            RowKindView::UpdateAfter
        }
        None => RowKindView::Insert,
    };
    out.emit(ChangeView { kind, row: T::shrink(new) });
}

/// Ends a stream of changes in the check sum of the rows that they leave.
pub fn check_rows<T, S, C, F>(changes: DataStream<Change<T>, S, C>, x_of: F) -> Total
where
    T: Record,
    S: Start,
    C: Chain<S::Out, Out = Change<T>>,
    F: for<'a> Fn(T::View<'a>) -> u64 + Clone + Send + 'static,
{
    check_with(changes, move |change: ChangeView<'_, T>, rows: &mut Check| match change.kind {
        RowKindView::Insert | RowKindView::UpdateAfter => rows.add(x_of(change.row)),
        RowKindView::UpdateBefore | RowKindView::Delete => rows.remove(x_of(change.row)),
    })
}
