//! The join of two keyed streams: every record with every record of its key that came on the other side.
//!
//! ```text
//!   left  ─▶ │ key │ left list │ right list │ ◀─ right      one row per key: found once per record
//!              a record is joined with the other side's list, and put at the end of its own
//! ```
//!
//! # What is always true
//!
//! 1. Each pair comes out once: when the later of its records arrives, with the time of that one.
//! 2. With a time to live a record is joined while the time of day is less than that after its arrival. Then it is
//!    dropped, at the latest a sixteenth of that time later, with its block.
//! 3. Every key that has records and a time to live is in exactly one slot of the wheel.

use std::{collections::BTreeMap, marker::PhantomData, ops::ControlFlow, time::Duration};

use wiesel_core::{Meta, TaskFailure, Timestamp};
use wiesel_record::{Key, Out, Record};
use wiesel_state::{KeyBatch, Spot, StateDescriptor};

use crate::{
    KeyedCoOperator, KeyedCoStart, Link, Located, Pace, Progress, Snapshot, Stamps, TaskContext,
    VisitTable, descriptors,
    flat_map::Emit,
    keyed_table,
    rolling::CACHE_BYTES,
    row_list::{ListLayout, ListTable, RowList},
};

/// The names of the lists in rows, without stamps and with them.
const LISTS: [[&str; 2]; 2] = [["left", "right"], ["left, stamped", "right, stamped"]];

/// The names of the parts in snapshots.
const PARTS: [&str; 2] = ["join", "join.chunks"];

/// A time to live is told in so many steps.
const STEPS: i64 = 16;

/// How long a join keeps its records.
#[diagnostic::on_unimplemented(
    message = "a join must say how long it keeps its records",
    label = "call `.time_to_live(duration)` or `.unbounded()` before `apply`"
)]
pub trait Retention: Stamps {
    /// The time of day that a record is kept for; for ever without.
    fn time_to_live(self) -> Option<Duration>;
}

/// Records are kept for ever: state grows with the streams.
#[derive(Clone, Copy, Debug)]
pub struct Unbounded;

/// Records are kept for so long after their arrival, by the time of day.
#[derive(Clone, Copy, Debug)]
pub struct TimeToLive(pub Duration);

impl Stamps for Unbounded {
    const STAMPED: bool = false;
}

impl Retention for Unbounded {
    fn time_to_live(self) -> Option<Duration> {
        None
    }
}

impl Stamps for TimeToLive {
    const STAMPED: bool = true;
}

impl Retention for TimeToLive {
    fn time_to_live(self) -> Option<Duration> {
        Some(self.0)
    }
}

/// A function over a pair of records.
pub trait JoinFunction<L: Record, R: Record, O: Record>:
    for<'l, 'r, 'e> Fn(L::View<'l>, R::View<'r>, &'e mut dyn Out<O>) + Clone + Send + 'static
{
}

impl<L: Record, R: Record, O: Record, F> JoinFunction<L, R, O> for F where
    F: for<'l, 'r, 'e> Fn(L::View<'l>, R::View<'r>, &'e mut dyn Out<O>) + Clone + Send + 'static
{
}

/// Joins the records of two keyed streams.
pub struct Join<L, R, O, F, S> {
    function: F,
    lists: ListTable,
    left: RowList<L, S>,
    right: RowList<R, S>,
    wheel: Option<Wheel>,
    clock: Clock,
    scratch: Vec<u8>,
    context: TaskContext,
    types: PhantomData<fn() -> O>,
}

/// Where the time of day comes from.
type Clock = fn(&TaskContext) -> Timestamp;

/// Makes a [`Join`] per subtask.
pub struct JoinStart<O, F, S> {
    function: F,
    retention: S,
    clock: Clock,
    types: PhantomData<fn() -> O>,
}

impl<O, F, S> JoinStart<O, F, S> {
    /// Calls `function` with each pair, of records that are kept as `retention` says.
    pub fn new(function: F, retention: S) -> Self {
        let clock: Clock = |context| context.shard().wall_time();
        Self { function, retention, clock, types: PhantomData }
    }

    /// The same with another time of day than the shard's.
    #[must_use]
    pub fn with_clock(self, clock: fn(&TaskContext) -> Timestamp) -> Self {
        Self { clock, ..self }
    }
}

impl<O, F: Clone, S: Copy> Clone for JoinStart<O, F, S> {
    fn clone(&self) -> Self {
        let Self { function, retention, clock, types } = self;
        Self { function: function.clone(), retention: *retention, clock: *clock, types: *types }
    }
}

impl<L, R, K, O, F, S> KeyedCoStart<L, R, K> for JoinStart<O, F, S>
where
    L: Record,
    R: Record,
    K: Key,
    O: Record,
    F: JoinFunction<L, R, O>,
    S: Retention,
{
    type Operator = Join<L, R, O, F, S>;

    fn operator(self, context: &TaskContext) -> Result<Self::Operator, TaskFailure> {
        let names = LISTS[usize::from(S::STAMPED)];
        let layout = ListLayout::new::<K>(&names)?;
        Ok(Join {
            function: self.function,
            lists: layout.table(context),
            left: layout.list(names[0], 0)?,
            right: layout.list(names[1], 1)?,
            wheel: self.retention.time_to_live().map(Wheel::new),
            clock: self.clock,
            scratch: Vec::new(),
            context: context.clone(),
            types: PhantomData,
        })
    }
}

/// One side of the join. `emit` puts a record and one of the other side in their order.
macro_rules! apply {
    ($join:ident, $own:ident, $other:ident, $key:ident, $at:ident, $value:ident, $meta:ident, $next:ident,
     |$one:ident, $two:ident| $pair:expr) => {{
        let Self { function, lists, $own: own, $other: other, wheel, scratch, .. } = $join;
        let now = if S::STAMPED { ($join.clock)(&$join.context).as_millis() } else { 0 };
        let over = wheel.as_ref().map_or(i64::MIN, |wheel| now.saturating_sub(wheel.ttl_ms));
        let mut row = keyed_table::upsert::<K>(&mut lists.rows, $at, $key, scratch);
        let is_new = row.inserted();
        let _ = other.each(&row.row(), &lists.chunks, $at.hash, |$two, stamp| {
            if !S::STAMPED || stamp > over {
                let $one = $value;
                let (left, right) = $pair;
                function(left, right, &mut Emit { next: $next, meta: $meta });
            }
            ControlFlow::<()>::Continue(())
        });
        if let Err(failure) = own.push(&mut row, &mut lists.chunks, $at.hash, $value, now) {
            $join.context.fail(failure);
        } else if let Some(wheel) = wheel
            && is_new
        {
            wheel.push(now, $at.hash, row.row().key());
        }
    }};
}

impl<L, R, K, O, F, S> KeyedCoOperator<L, R, K> for Join<L, R, O, F, S>
where
    L: Record,
    R: Record,
    K: Key,
    O: Record,
    F: JoinFunction<L, R, O>,
    S: Retention,
{
    type Out = O;

    const FINDS_AHEAD: bool = keyed_table::finds_ahead::<K>();

    #[inline]
    fn prefetch(&self, _input: usize, spot: Spot) {
        self.lists.rows.prefetch(spot);
    }

    #[inline]
    fn wants_prefetch(&self, _input: usize) -> bool {
        self.lists.bytes_used() > CACHE_BYTES
    }

    #[inline]
    fn begin_ahead(&mut self, _input: usize) -> bool {
        self.lists.rows.begin_ahead()
    }

    #[inline(always)]
    fn find_ahead(&mut self, index: usize, key: K::View<'_>, at: Located, marks: bool) {
        keyed_table::find_ahead::<K>(
            &mut self.lists.rows,
            index,
            at,
            key,
            &mut self.scratch,
            marks,
        );
    }

    #[inline]
    fn apply_first<D: Link<O>>(
        &mut self,
        key: K::View<'_>,
        at: Located,
        value: L::View<'_>,
        meta: Meta,
        next: &mut D,
    ) {
        apply!(self, left, right, key, at, value, meta, next, |own, other| (own, other));
    }

    #[inline]
    fn apply_second<D: Link<O>>(
        &mut self,
        key: K::View<'_>,
        at: Located,
        value: R::View<'_>,
        meta: Meta,
        next: &mut D,
    ) {
        apply!(self, right, left, key, at, value, meta, next, |own, other| (other, own));
    }

    fn watermark<D: Link<O>>(
        &mut self,
        _watermark: Timestamp,
        _next: &mut D,
        _pace: &mut Pace,
    ) -> Progress {
        Progress::Done
    }

    fn next_timer(&self) -> Option<Timestamp> {
        self.wheel.as_ref().and_then(Wheel::next)
    }

    fn advance_time<D: Link<O>>(
        &mut self,
        now: Timestamp,
        _next: &mut D,
        pace: &mut Pace,
    ) -> Progress {
        let Self { lists, left, right, wheel: Some(wheel), .. } = self else {
            return Progress::Done;
        };
        let over = now.as_millis().saturating_sub(wheel.ttl_ms);
        while let Some((hash, key)) = wheel.pop(now) {
            let Some(mut row) = lists.rows.find_mut(hash, &key) else { continue };
            let left = left.drop_over(&mut row, &mut lists.chunks, hash, over);
            let right = right.drop_over(&mut row, &mut lists.chunks, hash, over);
            match left.into_iter().chain(right).min() {
                Some(stamp) => wheel.push(stamp, hash, &key),
                None => drop(lists.rows.remove(hash, &key)),
            }
            if pace.is_over() {
                return Progress::Stopped;
            }
        }
        Progress::Done
    }

    fn end_key<D: Link<O>>(&mut self, _next: &mut D, _pace: &mut Pace) -> Progress {
        self.lists.drop_rows();
        if let Some(wheel) = &mut self.wheel {
            wheel.clear();
        }
        Progress::Done
    }

    fn keeps() -> Vec<StateDescriptor> {
        vec![descriptors::records::<L>("left"), descriptors::records::<R>("right")]
    }

    fn tables(&mut self, visit: &mut VisitTable<'_>) {
        self.lists.visit(PARTS, &[], visit);
    }

    async fn restore(&mut self, snapshot: &Snapshot) -> Result<(), TaskFailure> {
        let groups = self.context.key_groups();
        for (is_chunks, part) in [(false, PARTS[0]), (true, PARTS[1])] {
            for bytes in snapshot.keyed(part, groups) {
                keyed_table::import(self.lists.table_mut(is_chunks), bytes).await?;
            }
        }
        let Self { lists, left, right, wheel, .. } = self;
        let check = lists.check::<K>(|row, chunks, hash| {
            let count = left.check(row, chunks, hash)? + right.check(row, chunks, hash)?;
            if let Some(wheel) = &mut *wheel {
                let stamps =
                    [left.first_over(row, chunks, hash), right.first_over(row, chunks, hash)];
                let first = stamps.into_iter().flatten().min();
                wheel.push(first.unwrap_or(i64::MIN), hash, row.key());
            }
            Ok(count)
        });
        check.await
    }
}

/// The keys with records, by when the first of their blocks is to be dropped.
struct Wheel {
    ttl_ms: i64,
    step_ms: i64,
    /// By the time at which they are looked at.
    slots: BTreeMap<i64, KeyBatch>,
    /// Those that are due, and how many of them were looked at.
    due: KeyBatch,
    done: usize,
}

impl Wheel {
    fn new(ttl: Duration) -> Self {
        let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX).max(1);
        let (slots, due) = (BTreeMap::new(), KeyBatch::new());
        Self { ttl_ms, step_ms: (ttl_ms / STEPS).max(1), slots, due, done: 0 }
    }

    /// A key with a block whose last stamp is `stamp`.
    fn push(&mut self, stamp: i64, hash: u64, key: &[u8]) {
        let due = stamp.saturating_add(self.ttl_ms);
        let slot = due.saturating_add(self.step_ms - 1).div_euclid(self.step_ms);
        let slot = slot.saturating_mul(self.step_ms).max(due);
        self.slots.entry(slot).or_default().push(hash, key);
    }

    /// Nothing is kept any more.
    fn clear(&mut self) {
        self.slots.clear();
        self.due.clear();
        self.done = 0;
    }

    fn next(&self) -> Option<Timestamp> {
        if self.done < self.due.len() {
            return Some(Timestamp::MIN);
        }
        self.slots.keys().next().map(|due| Timestamp::from_millis(*due))
    }

    /// Takes out a key that is due.
    fn pop(&mut self, now: Timestamp) -> Option<(u64, Vec<u8>)> {
        while self.done == self.due.len() {
            let slot = self.slots.first_entry().filter(|slot| *slot.key() <= now.as_millis())?;
            (self.due, self.done) = (slot.remove(), 0);
        }
        let (hash, key) = self.due.get(self.done);
        self.done += 1;
        Some((hash, key.to_vec()))
    }
}
