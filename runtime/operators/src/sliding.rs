//! Sliding event-time windows per key. What all windows over a time share is aggregated once.
//!
//! ```text
//!   aggregates that merge (count, sums, min, …)        others (fold, reduce, min_by, …)
//!   slices   [0 10)[10 20)[20 30)[30 40)               windows  [0      20)
//!               │     └──┬──┘                                      [10      30)
//!   a record    │     fires [10 30): merged by key                    [20      40)
//!   is put into one                                    a record is put into all that cover its time
//! ```
//!
//! What can also be taken out again (count, sums of integers) is not merged anew for each window: see `total`. The rest is,
//! slice by slice.
//!
//! # What is always true
//!
//! 1. The rules of `tumbling` hold for each window: it fires when the watermark has reached its last time, fires a key
//!    again for each record that comes within the allowed lateness, and windows fire in order of their ends.
//! 2. A record is late if every window that covers its time is over; one in a gap between windows, if a window that ended
//!    with it would be. Else it counts in those that are not.
//! 3. A span (a slice, or a window) is kept until the last window that reads it is over. Timers are per window.

mod firing;
mod taking;
mod total;

use std::{marker::PhantomData, ops::Range, sync::Arc};

use wiesel_core::{Blame, Meta, TaskFailure, Timestamp};
use wiesel_record::{Key, Record};
use wiesel_state::{RowLayout, Spot, StateDescriptor, Table};

use crate::{
    Folding, KeyedOperator, KeyedStart, Link, Located, OutputPort, Pace, Progress, Sliding,
    Snapshot, StateCell, Status, TablePart, TaskContext, TimeWindow, Tumbling, VisitTable,
    WindowOptions, descriptors,
    fired::{self, Fired},
    flat_map::Emit,
    keyed_table,
    late::LateRecords,
    rolling::{CACHE_BYTES, fold_into},
};

use self::{firing::Firing, total::Total};

/// The name of the accumulator in rows and of the parts in snapshots.
const STATE: &str = "sliding window";
const FIRED: &str = "sliding window.fired";

/// The accumulators of one slice, or of one window.
struct Span {
    span: TimeWindow,
    /// The first window that reads it.
    first: TimeWindow,
    table: Table,
    /// Whether it is in the total.
    is_in_total: bool,
}

/// In which order windows fire.
fn place_of(window: TimeWindow) -> (Timestamp, Timestamp) {
    (window.max_timestamp(), window.start)
}

/// Aggregates per key and sliding window.
pub struct SlidingWindows<A, K: Key, T: Record>
where
    A: Folding<K, T>,
{
    folding: A,
    options: WindowOptions<Sliding>,
    /// What the windows are made of.
    slices: Tumbling,
    layout: Arc<RowLayout>,
    cell: StateCell<A::Acc>,
    /// In order.
    spans: Vec<Span>,
    /// Of the spans that say so; if a window may have more than one.
    total: Option<Total<A, K, T>>,
    /// The span of the last record: its neighbours tend to share it.
    recent: usize,
    /// Nothing follows from a record of it but that it is taken in: asked once, and not for each record.
    is_quiet: bool,
    /// The one in whose table a block of keys was looked up. None if it may lie elsewhere by now.
    ahead: Option<usize>,
    /// An empty table with room for as many keys as the last span had.
    spare: Option<Table>,
    watermark: Timestamp,
    /// Windows up to this place have fired.
    fired: Option<(Timestamp, Timestamp)>,
    /// The last time of the next window that has not, of those that are not empty: no earlier watermark fires any.
    due: Timestamp,
    firing: Option<Firing>,
    late: LateRecords<T>,
    scratch: Vec<u8>,
    context: TaskContext,
    types: PhantomData<fn(T) -> K>,
}

/// Makes [`SlidingWindows`] per subtask.
#[derive(Clone)]
pub struct SlidingStart<A> {
    folding: A,
    options: WindowOptions<Sliding>,
}

impl<A> SlidingStart<A> {
    /// Aggregates with `folding` in windows by `options`.
    pub fn new(folding: A, options: WindowOptions<Sliding>) -> Self {
        Self { folding, options }
    }
}

impl<K: Key, T: Record, A: Folding<K, T>> KeyedStart<T, K> for SlidingStart<A> {
    type Operator = SlidingWindows<A, K, T>;

    fn operator(self, context: &TaskContext) -> Result<SlidingWindows<A, K, T>, TaskFailure> {
        let layout =
            keyed_table::layout::<K>(|layout| StateCell::<A::Acc>::declare(layout, STATE))?;
        let late = LateRecords::new(self.options.late_slot, context);
        let slices = self.options.windows.slices();
        let has_total = A::MERGES && slices.size_ms() < self.options.windows.size_ms();
        let total = has_total.then(|| Total::new(context)).transpose()?;
        Ok(SlidingWindows {
            total,
            folding: self.folding,
            slices,
            options: self.options,
            cell: StateCell::of(&layout, STATE)?,
            layout,
            spans: Vec::new(),
            recent: 0,
            is_quiet: false,
            ahead: None,
            spare: None,
            watermark: Timestamp::MIN,
            fired: None,
            due: Timestamp::MAX,
            firing: None,
            late,
            scratch: Vec::new(),
            context: context.clone(),
            types: PhantomData,
        })
    }
}

impl<A, K, T> SlidingWindows<A, K, T>
where
    A: Folding<K, T>,
    K: Key,
    T: Record,
{
    fn is_over(&self, window: TimeWindow) -> bool {
        self.options.over_at(window) <= self.watermark
    }

    fn has_fired(&self, window: TimeWindow) -> bool {
        Some(place_of(window)) <= self.fired
    }

    /// The windows that read a span, in the order in which they fire.
    fn readers(&self, span: TimeWindow) -> impl Iterator<Item = TimeWindow> + use<A, K, T> {
        // A slice lies in all windows over its first time, a window in itself.
        let (windows, one) = match A::MERGES {
            true => (Some(self.options.windows.windows_of(span.start)), None),
            false => (None, Some(span)),
        };
        windows.into_iter().flatten().chain(one)
    }

    /// The last of them.
    fn last_reader(&self, span: TimeWindow) -> TimeWindow {
        match A::MERGES {
            true => self.options.windows.windows_of(span.start).next_back().unwrap_or(span),
            false => span,
        }
    }

    /// The slice of a time, made if it is not there; none if all windows over it are over. What is kept has a window that
    /// is not.
    #[inline]
    fn slice_of(&mut self, time: Timestamp) -> Option<usize> {
        if let Some(Span { span, .. }) = self.spans.get(self.recent)
            && span.start <= time
            && time < span.end
        {
            return Some(self.recent);
        }
        let last = self.options.windows.windows_of(time).next_back()?;
        if self.is_over(last) {
            return None;
        }
        Some(self.span_at(self.slices.window_of(time)))
    }

    /// Where a span is, made if it is not there.
    fn span_at(&mut self, span: TimeWindow) -> usize {
        let at = self.spans.partition_point(|kept| kept.span < span);
        if self.spans.get(at).is_none_or(|kept| kept.span != span) {
            let first = self.readers(span).next().unwrap_or(span);
            // Of times in order: a late slice has few records.
            let before =
                self.spans.last().filter(|_| at == self.spans.len()).map(|last| &last.table);
            let new = || keyed_table::table_after(before, &self.layout, &self.context);
            let table = self.spare.take().unwrap_or_else(new);
            self.spans.insert(at, Span { span, first, table, is_in_total: false });
            self.ahead = None;
            if let Some(window) = self.readers(span).find(|window| !self.has_fired(*window)) {
                self.due = self.due.min(window.max_timestamp());
            }
        }
        self.recent = at;
        self.is_quiet = self.is_recent_quiet();
        at
    }

    /// The spans that a window reads.
    fn spans_of(&self, window: TimeWindow) -> Range<usize> {
        if !A::MERGES {
            let at = self.spans.partition_point(|kept| kept.span < window);
            let is_there = self.spans.get(at).is_some_and(|kept| kept.span == window);
            return at..at + usize::from(is_there);
        }
        let end = self.options.windows.end_of(window);
        let first = self.spans.partition_point(|kept| kept.span.start < window.start);
        let behind = |kept: &Span| i128::from(kept.span.start.as_millis()) < end;
        first..first + self.spans[first..].partition_point(behind)
    }

    /// The next window that is due.
    fn next_due(&mut self) -> Option<TimeWindow> {
        if self.due > self.watermark {
            return None;
        }
        // Spans are in the order of their last windows: those of which all have fired come first. An earlier one of the others
        // has an earlier window that has not.
        let has_fired = |kept: &Span| self.has_fired(self.last_reader(kept.span));
        let next = self
            .spans
            .get(self.spans.partition_point(has_fired))
            .and_then(|kept| self.readers(kept.span).find(|window| !self.has_fired(*window)));
        self.due = next.map_or(Timestamp::MAX, TimeWindow::max_timestamp);
        next.filter(|_| self.due <= self.watermark)
    }

    /// Drops the spans that nobody will read.
    fn drop_over(&mut self) {
        // In order, as their last readers are.
        let over = self.spans.partition_point(|kept| self.is_over(self.last_reader(kept.span)));
        if over > 0 {
            for Span { span, table, .. } in self.spans.drain(..over) {
                if table.is_empty() && !table.is_walking() {
                    self.spare = Some(table);
                } else {
                    self.context.retire(STATE, &span.header(), table);
                }
            }
            self.recent = 0;
            self.ahead = None;
        }
        if self.spans.is_empty() && !self.context.is_batch() {
            self.spare = None;
        }
    }
}

impl<A, K, T> KeyedOperator<T, K> for SlidingWindows<A, K, T>
where
    A: Folding<K, T>,
    K: Key,
    T: Record,
{
    type Out = A::Out;

    const FINDS_AHEAD: bool = A::MERGES && keyed_table::finds_ahead::<K>();

    #[inline]
    fn prefetch(&self, spot: Spot) {
        if let Some(kept) = self.spans.get(self.recent) {
            kept.table.prefetch(spot);
        }
    }

    #[inline]
    fn wants_prefetch(&self) -> bool {
        self.spans.get(self.recent).is_some_and(|kept| kept.table.bytes_used() > CACHE_BYTES)
    }

    #[inline]
    fn begin_ahead(&mut self) -> bool {
        let recent = self.spans.get_mut(self.recent);
        self.ahead = recent.is_some().then_some(self.recent);
        recent.is_some_and(|kept| kept.table.begin_ahead())
    }

    #[inline(always)]
    fn find_ahead(&mut self, index: usize, key: K::View<'_>, at: Located, marks: bool) {
        if let Some(kept) = self.ahead.and_then(|ahead| self.spans.get_mut(ahead)) {
            keyed_table::find_ahead::<K>(&mut kept.table, index, at, key, &mut self.scratch, marks);
        }
    }

    #[inline(always)]
    fn apply<D: Link<A::Out>>(
        &mut self,
        key: K::View<'_>,
        located: Located,
        value: T::View<'_>,
        meta: Meta,
        next: &mut D,
    ) {
        let Some(time) = meta.time else {
            return self.context.fail_untimed("assign a record to a window", "window");
        };
        match self.spans.get_mut(self.recent) {
            Some(Span { span, table, .. })
                if self.is_quiet && span.start <= time && time < span.end =>
            {
                let located = located.found_if(self.ahead == Some(self.recent));
                let mut row = keyed_table::upsert::<K>(table, located, key, &mut self.scratch);
                if let Err(failure) = fold_into(&self.folding, &mut self.cell, &mut row, value) {
                    self.context.fail(failure);
                }
            }
            _ => self.apply_elsewhere(key, located, value, (time, meta), next),
        }
    }

    fn watermark<D: Link<A::Out>>(
        &mut self,
        watermark: Timestamp,
        next: &mut D,
        pace: &mut Pace,
    ) -> Progress {
        assert!(watermark >= self.watermark, "watermark moved backwards");
        (self.watermark, self.is_quiet) = (watermark, false);
        loop {
            let firing = match self.firing.take() {
                None => self.next_due().map(|window| self.begin(window)),
                firing => firing,
            };
            let Some(firing) = firing else { break };
            if let Err(stopped) = self.fire(firing, next, pace) {
                self.firing = Some(stopped);
                return Progress::Stopped;
            }
            self.fired = Some(place_of(firing.window));
        }
        // Windows that nobody was in have fired too.
        self.fired = self.fired.max(Some((watermark, Timestamp::MAX)));
        self.drop_over();
        self.is_quiet = self.is_recent_quiet();
        Progress::Done
    }

    fn end_key<D: Link<A::Out>>(&mut self, next: &mut D, pace: &mut Pace) -> Progress {
        let progress = self.watermark(Timestamp::MAX, next, pace);
        if progress == Progress::Done {
            (self.watermark, self.fired, self.due) = (Timestamp::MIN, None, Timestamp::MAX);
            if let Some(total) = &mut self.total {
                total.clear();
            }
            self.is_quiet = self.is_recent_quiet();
        }
        progress
    }

    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        self.late.ports(visit);
    }

    fn forward_watermark(&mut self, watermark: Timestamp) {
        self.late.watermark(watermark);
    }

    fn forward_status(&mut self, status: Status) {
        self.late.status(status);
    }

    fn snapshot(&mut self, snapshot: &mut Snapshot) {
        assert!(self.firing.is_none(), "aligned barriers come behind the watermark at hand");
        if !self.spans.is_empty() {
            fired::put(snapshot, FIRED, self.context.key_groups(), self.fired);
        }
    }

    fn keeps() -> Vec<StateDescriptor> {
        vec![descriptors::accumulator::<A::Acc>(STATE)]
    }

    fn tables(&mut self, visit: &mut VisitTable<'_>) {
        for Span { span, table, .. } in &mut self.spans {
            visit(TablePart { name: STATE, header: &span.header(), table });
        }
    }

    async fn restore(&mut self, snapshot: &Snapshot) -> Result<(), TaskFailure> {
        let groups = self.context.key_groups();
        for part in snapshot.keyed(STATE, groups) {
            let Some((span, rows)) = TimeWindow::split_from(part) else {
                return Err(damaged("it ends within its header"));
            };
            let windows = self.options.windows;
            let is_ours = match A::MERGES {
                true => {
                    self.slices.window_of(span.start) == span
                        && windows.windows_of(span.start).next().is_some()
                }
                false => windows.windows_of(span.start).any(|window| window == span),
            };
            if !is_ours {
                let cause = "its windows have another size or slide: the program has changed";
                return Err(damaged(cause));
            }
            let at = self.span_at(span);
            let (table, cell) = (&mut self.spans[at].table, &self.cell);
            keyed_table::import_checked::<K>(table, rows, |row| cell.check(row)).await?;
        }
        let Some(fired) = Fired::read(snapshot, FIRED) else {
            return Err(damaged("how far its windows have fired cannot be read"));
        };
        let spans = &self.spans;
        let has_rows = |group| spans.iter().any(|kept| kept.table.group(group).next().is_some());
        self.fired = fired.up_to(groups, has_rows);
        self.due = Timestamp::MIN; // It is looked for with the first watermark.
        self.is_quiet = self.is_recent_quiet();
        Ok(())
    }
}

fn damaged(what: &str) -> TaskFailure {
    TaskFailure::new(Blame::Environment, "restore window state", what.to_owned())
}
