//! The interval join: records of a key whose times are not further apart than two bounds say.
//!
//! ```text
//!   left   ────────────l───────────────▶
//!                ├──────┼────────┤          right times in [l + lower, l + upper]
//!   right  ──────r──────r────────r─────▶    each is a pair, with the later of both times
//!   slices [      )[      )[      )[  )     of each side; a record looks into those that its interval touches
//!   watermark ──────▲                       slices that nothing on time can reach are dropped whole
//! ```
//!
//! # What is always true
//!
//! 1. A record is late if its time is below the watermark: it goes to its side's side output, or is counted.
//! 2. Else it is joined with all of the other side that are within the bounds and were not over, and kept until it is.
//! 3. A left record is over when the watermark has reached its time, or `upper` behind it if that is later; a right one,
//!    its time, or `lower` before it if that is later. The rules are Flink's (`IntervalJoinOperator`), but for a record that
//!    comes when the watermark has reached that already: there it is kept until the next one, here it is over.
//! 4. There is no timer per key: one comparison per watermark and slice.

mod function;

use std::{
    ops::{ControlFlow, RangeInclusive},
    time::Duration,
};

use wiesel_core::{Meta, TaskFailure, Timestamp};
use wiesel_record::{Key, Record};
use wiesel_state::{Spot, StateDescriptor};

use crate::{
    KeyedCoOperator, KeyedCoStart, Link, Located, OutputPort, Pace, Progress, SideOutput, Snapshot,
    Stamped, Status, TaskContext, TimeWindow, Tumbling, VisitTable, descriptors,
    flat_map::Emit,
    keyed_table,
    late::LateRecords,
    rolling::CACHE_BYTES,
    row_list::{ListLayout, ListTable, RowList, damaged},
};

pub use function::{
    IntervalOptions, PairFunction, ProcessJoinContext, ProcessJoinFunction, TimeBound, after,
    before,
};

/// The name of the list in rows.
const LIST: &str = "side";

/// The names of the parts in snapshots, by side: of rows and of chunks.
const PARTS: [[&str; 2]; 2] = [
    ["interval join.left", "interval join.left.chunks"],
    ["interval join.right", "interval join.right.chunks"],
];

/// A side keeps about so many slices, beside those that are out of order.
const SLICES: i64 = 16;

/// Shorter slices have few rows each: a table costs some kilobytes.
const SLICE_MS_MIN: i64 = 100;

/// What one side keeps.
struct Side<T: Record> {
    layout: ListLayout,
    list: RowList<T, Stamped>,
    /// What its time is cut into.
    cut: Tumbling,
    /// How long behind its time a record is kept.
    keep_ms: i64,
    /// In order.
    slices: Vec<Slice>,
    /// The slice of the last record: its neighbours tend to share it.
    recent: usize,
    late: LateRecords<T>,
}

struct Slice {
    span: TimeWindow,
    table: ListTable,
}

impl<T: Record> Side<T> {
    /// A side whose records are kept for `keep_ms`, and looked for `wide_ms` at a time.
    fn new<K: Key>(
        keep_ms: i64,
        wide_ms: i64,
        late_slot: Option<usize>,
        context: &TaskContext,
    ) -> Result<Self, TaskFailure> {
        let layout = ListLayout::new::<K>(&[LIST])?;
        let width_ms = wide_ms.max(keep_ms / SLICES).max(SLICE_MS_MIN);
        Ok(Self {
            list: layout.list(LIST, 0)?,
            layout,
            cut: Tumbling::event_time(Duration::from_millis(width_ms.unsigned_abs())),
            keep_ms,
            slices: Vec::new(),
            recent: 0,
            late: LateRecords::new(late_slot, context),
        })
    }

    /// The place of a slice, made if it was not there.
    fn slice_at(&mut self, span: TimeWindow, context: &TaskContext) -> usize {
        let at = self.slices.partition_point(|slice| slice.span < span);
        if self.slices.get(at).is_none_or(|slice| slice.span != span) {
            self.slices.insert(at, Slice { span, table: self.layout.table(context) });
        }
        at
    }

    /// Keeps a record.
    #[inline]
    fn push<K: Key>(
        &mut self,
        (key, at): (K::View<'_>, Located),
        (value, time): (T::View<'_>, Timestamp),
        scratch: &mut Vec<u8>,
        context: &TaskContext,
    ) -> Result<(), TaskFailure> {
        let is_recent = |slice: &Slice| slice.span.start <= time && time < slice.span.end;
        if !self.slices.get(self.recent).is_some_and(is_recent) {
            self.recent = self.slice_at(self.cut.window_of(time), context);
        }
        let ListTable { rows, chunks } = &mut self.slices[self.recent].table;
        let mut row = keyed_table::upsert::<K>(rows, at, key, scratch);
        self.list.push(&mut row, chunks, at.hash, value, time.as_millis())
    }

    /// Calls `read` with the records of a key whose times are `bounds` behind `time` and that are not over.
    #[inline]
    fn each(
        &mut self,
        (key, hash): (&[u8], u64),
        time: Timestamp,
        bounds: RangeInclusive<i64>,
        watermark: Timestamp,
        mut read: impl FnMut(T::View<'_>, Timestamp),
    ) {
        let at_ms = time.as_millis();
        let (from_ms, to_ms) =
            (at_ms.saturating_add(*bounds.start()), at_ms.saturating_add(*bounds.end()));
        // Wider, so that it does not overflow.
        let bounds = i128::from(*bounds.start())..=i128::from(*bounds.end());
        let first = self.slices.partition_point(|slice| {
            slice.span.end.as_millis() <= from_ms && slice.span.end != Timestamp::MAX
        });
        let keep_ms = self.keep_ms;
        for Slice { span, table } in &self.slices[first..] {
            if span.start.as_millis() > to_ms {
                break;
            }
            let Some(row) = table.rows.find(hash, key) else { continue };
            let _ = self.list.each(&row, &table.chunks, hash, |value, time_ms| {
                let is_over = time_ms.saturating_add(keep_ms) <= watermark.as_millis();
                let distance = i128::from(time_ms) - i128::from(at_ms);
                if bounds.contains(&distance) && !is_over {
                    read(value, Timestamp::from_millis(time_ms));
                }
                ControlFlow::<()>::Continue(())
            });
        }
    }

    /// Drops the slices that are over.
    fn drop_over(&mut self, watermark: Timestamp, parts: [&str; 2], context: &TaskContext) {
        let keep_ms = self.keep_ms;
        let is_over = |span: TimeWindow| {
            span.max_timestamp().as_millis().saturating_add(keep_ms) <= watermark.as_millis()
                // The last slice has the end of time in it.
                && (span.end != Timestamp::MAX || watermark == Timestamp::MAX)
        };
        for slice in self.slices.extract_if(.., |slice| is_over(slice.span)) {
            slice.table.retire(parts, &slice.span.header(), context);
        }
        self.recent = 0;
    }

    fn tables(&mut self, parts: [&str; 2], visit: &mut VisitTable<'_>) {
        for Slice { span, table } in &mut self.slices {
            table.visit(parts, &span.header(), visit);
        }
    }

    async fn restore<K: Key>(
        &mut self,
        parts: [&str; 2],
        context: &TaskContext,
        snapshot: &Snapshot,
    ) -> Result<(), TaskFailure> {
        for (is_chunks, part) in [(false, parts[0]), (true, parts[1])] {
            for bytes in snapshot.keyed(part, context.key_groups()) {
                let Some((span, rows)) = TimeWindow::split_from(bytes) else {
                    return Err(damaged("a slice ends within its header"));
                };
                if span != self.cut.window_of(span.start) {
                    return Err(damaged("its bounds are others: the program has changed"));
                }
                let at = self.slice_at(span, context);
                keyed_table::import(self.slices[at].table.table_mut(is_chunks), rows).await?;
            }
        }
        let Self { slices, list, .. } = self;
        for slice in slices {
            slice.table.check::<K>(|row, chunks, hash| list.check(row, chunks, hash)).await?;
        }
        Ok(())
    }
}

/// Joins two keyed streams by the distance of their times.
pub struct IntervalJoin<L: Record, R: Record, F: ProcessJoinFunction<L, R>> {
    function: F,
    options: IntervalOptions,
    left: Side<L>,
    right: Side<R>,
    side: Option<Box<dyn SideOutput<F::Side>>>,
    watermark: Timestamp,
    scratch: Vec<u8>,
    context: TaskContext,
}

/// Makes an [`IntervalJoin`] per subtask.
#[derive(Clone)]
pub struct IntervalJoinStart<F> {
    function: F,
    options: IntervalOptions,
    side_slot: Option<usize>,
}

impl<F> IntervalJoinStart<F> {
    /// Calls `function` with each pair; what it puts aside goes to the output in `side_slot`.
    pub fn new(function: F, options: IntervalOptions, side_slot: Option<usize>) -> Self {
        Self { function, options, side_slot }
    }
}

impl<L, R, K, F> KeyedCoStart<L, R, K> for IntervalJoinStart<F>
where
    L: Record,
    R: Record,
    K: Key,
    F: ProcessJoinFunction<L, R>,
{
    type Operator = IntervalJoin<L, R, F>;

    fn operator(self, context: &TaskContext) -> Result<Self::Operator, TaskFailure> {
        let IntervalOptions { lower_ms, upper_ms, late_slots } = self.options;
        let wide_ms = upper_ms.saturating_sub(lower_ms).saturating_add(1);
        let keep_right_ms = lower_ms.saturating_neg().max(0);
        Ok(IntervalJoin {
            function: self.function,
            options: self.options,
            left: Side::new::<K>(upper_ms.max(0), wide_ms, late_slots[0], context)?,
            right: Side::new::<K>(keep_right_ms, wide_ms, late_slots[1], context)?,
            side: self.side_slot.and_then(|slot| context.take_side::<F::Side>(slot)),
            watermark: Timestamp::MIN,
            scratch: Vec::new(),
            context: context.clone(),
        })
    }
}

/// A record of one side. `$pair` puts it and one of the other side, with their times, in their order.
macro_rules! apply {
    ($join:ident, $own:ident, $other:ident, $key:ident, $at:ident, $value:ident, $meta:ident, $next:ident,
     $bounds:expr, |$one:ident, $two:ident| $pair:expr) => {{
        let Self { function, $own: own, $other: other, side, watermark, scratch, context, .. } =
            $join;
        let Some(time) = $meta.time else {
            return context.fail_untimed("join a record by its time", "join");
        };
        if time < *watermark {
            own.late.take($value, $meta, 1);
            return;
        }
        let kept = own.push::<K>(($key, $at), ($value, time), scratch, context);
        if let Err(failure) = kept {
            context.fail(failure);
            return;
        }
        K::with_key_bytes($key, scratch, |key| {
            other.each((key, $at.hash), time, $bounds, *watermark, |value, other_time| {
                let ($one, $two) = (($value, time), (value, other_time));
                let ((left, left_time), (right, right_time)) = $pair;
                let mut join_context = ProcessJoinContext {
                    left: left_time,
                    right: right_time,
                    side: side.as_deref_mut(),
                };
                let meta = Meta::at(join_context.timestamp());
                let emit = &mut Emit { next: $next, meta };
                if let Err(error) = function.process(left, right, &mut join_context, emit) {
                    context.fail_user("process a pair", error);
                }
            });
        });
    }};
}

impl<L, R, K, F> KeyedCoOperator<L, R, K> for IntervalJoin<L, R, F>
where
    L: Record,
    R: Record,
    K: Key,
    F: ProcessJoinFunction<L, R>,
{
    type Out = F::Out;

    #[inline]
    fn prefetch(&self, input: usize, spot: Spot) {
        let own = if input == 0 { &self.left.slices } else { &self.right.slices };
        let at = if input == 0 { self.left.recent } else { self.right.recent };
        if let Some(slice) = own.get(at) {
            slice.table.rows.prefetch(spot);
        }
    }

    #[inline]
    fn wants_prefetch(&self, input: usize) -> bool {
        let own = if input == 0 { &self.left.slices } else { &self.right.slices };
        let at = if input == 0 { self.left.recent } else { self.right.recent };
        own.get(at).is_some_and(|slice| slice.table.bytes_used() > CACHE_BYTES)
    }

    #[inline]
    fn apply_first<D: Link<F::Out>>(
        &mut self,
        key: K::View<'_>,
        at: Located,
        value: L::View<'_>,
        meta: Meta,
        next: &mut D,
    ) {
        let bounds = self.options.lower_ms..=self.options.upper_ms;
        apply!(self, left, right, key, at, value, meta, next, bounds, |own, other| (own, other));
    }

    #[inline]
    fn apply_second<D: Link<F::Out>>(
        &mut self,
        key: K::View<'_>,
        at: Located,
        value: R::View<'_>,
        meta: Meta,
        next: &mut D,
    ) {
        let IntervalOptions { lower_ms, upper_ms, .. } = self.options;
        let bounds = upper_ms.saturating_neg()..=lower_ms.saturating_neg();
        apply!(self, right, left, key, at, value, meta, next, bounds, |own, other| (other, own));
    }

    fn watermark<D: Link<F::Out>>(
        &mut self,
        watermark: Timestamp,
        _next: &mut D,
        _pace: &mut Pace,
    ) -> Progress {
        assert!(watermark >= self.watermark, "watermark moved backwards");
        self.watermark = watermark;
        self.left.drop_over(watermark, PARTS[0], &self.context);
        self.right.drop_over(watermark, PARTS[1], &self.context);
        Progress::Done
    }

    fn end_key<D: Link<F::Out>>(&mut self, _next: &mut D, _pace: &mut Pace) -> Progress {
        self.left.drop_over(Timestamp::MAX, PARTS[0], &self.context);
        self.right.drop_over(Timestamp::MAX, PARTS[1], &self.context);
        Progress::Done // The watermark never came.
    }

    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        if let Some(side) = &mut self.side {
            visit(side.as_mut());
        }
        self.left.late.ports(visit);
        self.right.late.ports(visit);
    }

    fn forward_watermark(&mut self, watermark: Timestamp) {
        if let Some(side) = &mut self.side {
            side.watermark(watermark);
        }
        self.left.late.watermark(watermark);
        self.right.late.watermark(watermark);
    }

    fn forward_status(&mut self, status: Status) {
        if let Some(side) = &mut self.side {
            side.status(status);
        }
        self.left.late.status(status);
        self.right.late.status(status);
    }

    fn keeps() -> Vec<StateDescriptor> {
        vec![descriptors::records::<L>("left"), descriptors::records::<R>("right")]
    }

    fn tables(&mut self, visit: &mut VisitTable<'_>) {
        self.left.tables(PARTS[0], visit);
        self.right.tables(PARTS[1], visit);
    }

    async fn restore(&mut self, snapshot: &Snapshot) -> Result<(), TaskFailure> {
        self.left.restore::<K>(PARTS[0], &self.context, snapshot).await?;
        self.right.restore::<K>(PARTS[1], &self.context, snapshot).await
    }
}
