//! How a record is taken into the slices or windows that it belongs to, where that is not just the slice of the record before.
//!
//! # What is always true
//!
//! 1. A record is in its slice, and in the total of a window under way exactly if its slice is.
//! 2. A record of a window that has fired, and is not over, fires it again for its key.
//! 3. A record all of whose windows are over is late: it is counted, or goes aside.

use wiesel_core::{Meta, Timestamp};
use wiesel_record::{Key, Record};

use super::*;

impl<A, K, T> SlidingWindows<A, K, T>
where
    A: Folding<K, T>,
    K: Key,
    T: Record,
{
    /// A record that is in no window that is not over: late, or in a gap.
    #[cold]
    fn take_unassigned(&mut self, time: Timestamp, value: T::View<'_>, meta: Meta) {
        let is_in_gap = self.options.windows.windows_of(time).next().is_none();
        if !is_in_gap || time + self.options.allowed_lateness <= self.watermark {
            self.late.take(value, meta, self.folding.weight(value));
        }
    }

    /// Whether a record of the span of the last one is taken into that, and nothing else follows from it.
    pub(super) fn is_recent_quiet(&self) -> bool {
        let is_quiet = |kept: &Span| !kept.is_in_total && !self.has_fired(kept.first);
        A::MERGES && self.spans.get(self.recent).is_some_and(is_quiet)
    }

    /// Takes a record into whatever spans it belongs to.
    #[inline(never)]
    pub(super) fn apply_elsewhere<D: Link<A::Out>>(
        &mut self,
        key: K::View<'_>,
        located: Located,
        value: T::View<'_>,
        (time, meta): (Timestamp, Meta),
        next: &mut D,
    ) {
        if A::MERGES {
            let Some(at) = self.slice_of(time) else {
                return self.take_unassigned(time, value, meta);
            };
            if self.add(at, key, located, value).is_some() && self.has_fired(self.spans[at].first) {
                self.fire_again(at, key, located.hash, next);
            }
            return;
        }
        let mut is_taken = false;
        for window in self.options.windows.windows_of(time) {
            if self.is_over(window) {
                continue;
            }
            is_taken = true;
            let at = self.span_at(window);
            let Some(acc) = self.add(at, key, located, value) else { return };
            if self.has_fired(window) {
                let emit = &mut Emit { next, meta: Meta::at(window.max_timestamp()) };
                self.folding.emit(key, window, acc.view(), emit);
            }
        }
        if !is_taken {
            self.take_unassigned(time, value, meta);
        }
    }

    /// Takes a record into a span, and into the total if the span is in it.
    #[inline(always)]
    fn add(
        &mut self,
        at: usize,
        key: K::View<'_>,
        located: Located,
        value: T::View<'_>,
    ) -> Option<A::Acc> {
        let located = located.found_if(self.ahead == Some(at));
        let Span { table, is_in_total, .. } = &mut self.spans[at];
        let mut row = keyed_table::upsert::<K>(table, located, key, &mut self.scratch);
        let is_new = row.inserted();
        let mut folded = fold_into(&self.folding, &mut self.cell, &mut row, value);
        if *is_in_total
            && let Some(total) = &mut self.total
            && folded.is_ok()
        {
            let (folding, hash) = (&self.folding, located.hash);
            let added = K::with_key_bytes(key, &mut self.scratch, |bytes| {
                total.add(folding, hash, bytes, value, is_new)
            });
            folded = added.and(folded);
        }
        match folded {
            Ok(acc) => Some(acc),
            Err(failure) => {
                self.context.fail(failure);
                None
            }
        }
    }
}
