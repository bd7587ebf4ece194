//! Pre-aggregation before a keyed exchange: records of a key and slice are combined where they are produced.
//!
//! ```text
//!   a b a a c a ──▶ slice [0 10)   a: 4   b: 1   c: 1 ──watermark 9──▶ Partial(a, 4) Partial(b, 1) Partial(c, 1)  9
//!                   slice [10 20)  …                   ──too many rows──▶ all of them, a few with each further record
//! ```
//!
//! # What is always true
//!
//! 1. The partials of a slice leave before the watermark that closes it; a record that comes when its slice is closed here
//!    goes on as a partial of its own. So whether it is late is decided once, by the windows.
//! 2. At most 16,384 keys are held; then all leave. Each further record takes one key group of them along, so no record pays
//!    for all.
//! 3. Where combining does not pay (most partials are of one record) records pass by for a while, each as a partial.
//! 4. A snapshot has what has not left. A restored part leaves with the first record, wherever it was restored: the
//!    windows merge it.

use std::{collections::VecDeque, marker::PhantomData, ops::ControlFlow, sync::Arc};

use wiesel_core::{Blame, KeyGroup, KeyGroupRange, Meta, Nanos, TaskFailure, Timestamp};
use wiesel_record::{FnView, Item, Key, Record, Viewed};
use wiesel_state::{RowLayout, Spots, Table};

use crate::{
    Chain, Control, Folding, Link, Located, OutputPort, Partial, PartialView, Progress, Snapshot,
    StateCell, Status, TaskContext, TimeWindow, Tumbling, VisitList, chain::clone_builder,
    keyed_table,
};

/// The name of the accumulators in rows and snapshots.
const STATE: &str = "combined";

/// Keys that are held at once, if nothing else is said: as many as a core's second-level cache has room for.
const ROWS_MAX: usize = 16_384;

/// Combining fewer records than this for each partial does not pay.
const RATIO_MIN: u64 = 8;

/// Key groups that leave in one call.
const GROUPS_A_CALL: usize = 64;

/// What is combined of one slice.
struct Slice {
    window: TimeWindow,
    table: Table,
}

/// What is on its way out, from key group `next` on.
struct Leaving {
    window: TimeWindow,
    table: Table,
    next: u16,
}

/// Combines records by key and slice.
pub struct PreAggregate<T, K, F, A, D>
where
    T: Record,
    K: Key,
    A: Folding<K, T>,
{
    key_of: F,
    folding: A,
    slices_of: Tumbling,
    layout: Arc<RowLayout>,
    cell: StateCell<(A::Acc, u64)>,
    spots: Spots,
    /// Open slices, in order.
    slices: Vec<Slice>,
    /// The slice of the last record.
    recent: usize,
    /// Rows of open slices.
    rows: usize,
    rows_max: usize,
    leaving: VecDeque<Leaving>,
    spare: Option<Table>,
    /// Records and partials of what leaves, to judge by.
    judged: (u64, u64),
    /// Records that still pass by.
    passing: u64,
    watermark: Timestamp,
    scratch: Vec<u8>,
    context: TaskContext,
    next: D,
    types: PhantomData<fn(T) -> K>,
}

impl<T, K, F, A, D> PreAggregate<T, K, F, A, D>
where
    T: Record,
    K: Key,
    F: for<'a> FnView<'a, T::View<'a>, K::View<'a>> + 'static,
    A: Folding<K, T>,
    D: Link<Partial<K, A::Acc>>,
{
    /// The open slice of a time; none if it is closed.
    #[inline(always)]
    fn slice_of(&mut self, time: Timestamp) -> Option<usize> {
        if let Some(slice) = self.slices.get(self.recent)
            && slice.window.start <= time
            && time < slice.window.end
        {
            return Some(self.recent);
        }
        self.find_slice(time)
    }

    #[inline(never)]
    fn find_slice(&mut self, time: Timestamp) -> Option<usize> {
        let window = self.slices_of.window_of(time);
        if window.max_timestamp() <= self.watermark {
            return None;
        }
        let at = self.slices.partition_point(|slice| slice.window < window);
        if self.slices.get(at).is_none_or(|slice| slice.window != window) {
            let table = self.spare.take().unwrap_or_else(|| self.new_table());
            self.slices.insert(at, Slice { window, table });
        }
        self.recent = at;
        Some(at)
    }

    /// Of all key groups: what is combined here is not of this subtask's.
    fn new_table(&self) -> Table {
        let max_parallelism = self.context.max_parallelism();
        let range = KeyGroupRange::all(max_parallelism);
        Table::new(Arc::clone(&self.layout), range, max_parallelism)
    }

    /// Passes a record on as a partial of its own.
    #[inline(never)]
    fn pass(&mut self, value: T::View<'_>, key: K::View<'_>, hash: u64, time: Timestamp) {
        match self.folding.first(value) {
            Ok(acc) => {
                let view = PartialView { key: K::shrink(key), acc: acc.view(), weight: 1 };
                self.next.push(Viewed::<Partial<K, A::Acc>>(view), Meta::at(time).with_hash(hash));
            }
            Err(error) => self.context.fail_user("aggregate a record", error),
        }
    }

    /// All open slices leave.
    #[inline(never)]
    fn flush(&mut self) {
        let slices = std::mem::take(&mut self.slices);
        let leaving =
            slices.into_iter().map(|Slice { window, table }| Leaving { window, table, next: 0 });
        self.leaving.extend(leaving);
        (self.rows, self.recent) = (0, 0);
    }

    /// The slices leave that a watermark closes.
    fn close(&mut self, watermark: Timestamp) {
        let open = |slice: &Slice| slice.window.max_timestamp() > watermark;
        let closed = self.slices.partition_point(|slice| !open(slice));
        for Slice { window, table } in self.slices.drain(..closed) {
            self.rows -= table.len();
            self.leaving.push_back(Leaving { window, table, next: 0 });
        }
        self.recent = 0;
    }

    /// Sends one key group of what leaves.
    #[inline(never)]
    fn send_group(&mut self) {
        let Some(leaving) = self.leaving.front_mut() else { return };
        let (group, meta) = (KeyGroup(leaving.next), Meta::at(leaving.window.max_timestamp()));
        let (cell, next, judged) = (&self.cell, &mut self.next, &mut self.judged);
        let _ = leaving.table.visit_group(group, 0, |row| {
            cell.with(&row, |(acc, weight)| {
                (judged.0, judged.1) = (judged.0 + weight, judged.1 + 1);
                K::with_key(row.key(), |key| {
                    let hash = K::key_hash(key);
                    let view =
                        PartialView { key: K::shrink(key), acc: A::Acc::shrink(acc), weight };
                    next.push(Viewed::<Partial<K, A::Acc>>(view), meta.with_hash(hash));
                });
            });
            ControlFlow::Continue(())
        });
        leaving.table.empty_group(group);
        leaving.next += 1;
        if leaving.next < leaving.table.range().end {
            return;
        }
        self.spare = self.leaving.pop_front().map(|leaving| leaving.table);
        let (records, partials) = self.judged;
        if partials >= self.rows_max as u64 / 8 {
            self.judged = (0, 0);
            if records < RATIO_MIN * partials {
                self.passing = 16 * self.rows_max as u64;
            }
        }
    }

    /// Sends some of what leaves, and says whether that was all.
    fn send_some(&mut self) -> Progress {
        for _ in 0..GROUPS_A_CALL {
            if self.leaving.is_empty() {
                return Progress::Done;
            }
            self.send_group();
        }
        if self.leaving.is_empty() { Progress::Done } else { Progress::Stopped }
    }
}

impl<T, K, F, A, D> Link<T> for PreAggregate<T, K, F, A, D>
where
    T: Record,
    K: Key,
    F: for<'a> FnView<'a, T::View<'a>, K::View<'a>> + 'static,
    A: Folding<K, T>,
    D: Link<Partial<K, A::Acc>>,
{
    #[inline]
    fn push<I: Item<T>>(&mut self, item: I, meta: Meta) {
        if !self.leaving.is_empty() {
            self.send_group();
        }
        let Some(time) = meta.time else {
            return self.context.fail_untimed("assign a record to a window", "window");
        };
        let value = item.view();
        let key = (self.key_of)(value);
        let hash = K::key_hash(key);
        if self.passing > 0 {
            self.passing -= 1;
            return self.pass(value, key, hash, time);
        }
        let Some(at) = self.slice_of(time) else {
            return self.pass(value, key, hash, time);
        };
        let located = Located { hash, spot: self.spots.of(hash), ahead: None };
        let table = &mut self.slices[at].table;
        let mut row = keyed_table::upsert::<K>(table, located, key, &mut self.scratch);
        let is_new = row.inserted();
        let failed = |error| TaskFailure::new(Blame::Job, "aggregate a record", error);
        let folding = &self.folding;
        let combined = self.cell.update(&mut row, |old| match old {
            Some((mut acc, weight)) => {
                folding.add(&mut acc, value).map_err(failed)?;
                Ok((acc, weight + 1))
            }
            None => Ok((folding.first(value).map_err(failed)?, 1)),
        });
        if let Err(failure) = combined {
            self.context.fail(failure);
        }
        if is_new {
            self.rows += 1;
            if self.rows >= self.rows_max {
                self.flush();
            }
        }
    }
}

impl<T, K, F, A, D> Control for PreAggregate<T, K, F, A, D>
where
    T: Record,
    K: Key,
    F: for<'a> FnView<'a, T::View<'a>, K::View<'a>> + 'static,
    A: Folding<K, T>,
    D: Link<Partial<K, A::Acc>>,
{
    fn open(&mut self) -> Result<(), TaskFailure> {
        self.next.open()
    }

    fn close(&mut self) {
        self.next.close();
    }

    fn watermark(&mut self, watermark: Timestamp) -> Progress {
        self.watermark = watermark;
        self.close(watermark);
        if self.send_some() == Progress::Stopped {
            return Progress::Stopped;
        }
        if self.slices.is_empty() {
            self.spare = None;
        }
        self.next.watermark(watermark)
    }

    /// An idle input holds back no watermark, so everything leaves before. It has nothing else to do.
    fn status(&mut self, status: Status) {
        if status == Status::Idle {
            self.flush();
            while self.send_some() == Progress::Stopped {}
        }
        self.next.status(status);
    }

    fn tick(&mut self, now: Nanos, is_idle: bool) {
        self.next.tick(now, is_idle);
    }

    fn finish(&mut self) -> Progress {
        self.flush();
        if self.send_some() == Progress::Stopped {
            return Progress::Stopped;
        }
        self.next.finish()
    }

    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        self.next.ports(visit);
    }

    /// A part for each slice and key group: a time of the slice, and the rows.
    fn snapshot(&mut self, snapshot: &mut Snapshot) {
        let open = self.slices.iter().map(|slice| (slice.window, &slice.table, 0));
        let own = snapshot.of_operator_mut(self.context.position());
        let leaving =
            self.leaving.iter().map(|leaving| (leaving.window, &leaving.table, leaving.next));
        for (window, table, first) in leaving.chain(open) {
            for group in (first..table.range().end).map(KeyGroup) {
                if table.group(group).next().is_none() {
                    continue;
                }
                let mut bytes = window.start.as_millis().to_le_bytes().to_vec();
                table.export_group(group, &mut bytes);
                own.put(STATE, None, bytes);
            }
        }
        self.next.snapshot(snapshot);
    }

    fn lists(&mut self, visit: &mut VisitList<'_>) {
        self.next.lists(visit);
    }

    /// Parts are dealt out round robin: what is done with them is the same everywhere.
    async fn restore(&mut self, snapshot: &Snapshot) -> Result<(), TaskFailure> {
        let damaged = |what: &str| {
            TaskFailure::new(Blame::Environment, "restore combined records", what.to_owned())
        };
        let own = snapshot.of_operator(self.context.position());
        let parts = own.into_iter().flat_map(|own| own.dealt(STATE, &self.context));
        for part in parts {
            let Some((start, rows)) = part.split_first_chunk::<8>() else {
                return Err(damaged("it ends within its header"));
            };
            let start = Timestamp::from_millis(i64::from_le_bytes(*start));
            let window = self.slices_of.window_of(start);
            if window.start != start {
                return Err(damaged("its slices have another size: the program has changed"));
            }
            let (mut table, cell) = (self.new_table(), &self.cell);
            keyed_table::import_checked::<K>(&mut table, rows, |row| cell.check(row)).await?;
            self.leaving.push_back(Leaving { window, table, next: 0 });
        }
        self.next.restore(snapshot).await
    }
}

/// Pre-aggregation at the end of `chain`.
pub struct PreAggregateTo<C, K, F, A> {
    chain: C,
    key_of: F,
    folding: A,
    slices_of: Tumbling,
    rows_max: usize,
    position: usize,
    types: PhantomData<fn() -> K>,
}

impl<C, K, F, A> PreAggregateTo<C, K, F, A> {
    /// Combines with `folding` what is in one slice and has one key.
    pub fn new(chain: C, key_of: F, folding: A, slices_of: Tumbling) -> Self {
        let (rows_max, position) = (ROWS_MAX, 0);
        Self { chain, key_of, folding, slices_of, rows_max, position, types: PhantomData }
    }

    /// It is so far from the head of its chain: whose its state is in a snapshot.
    #[must_use]
    pub fn at(self, position: usize) -> Self {
        Self { position, ..self }
    }

    /// Holds at most `rows` keys, at least one.
    #[must_use]
    pub fn rows_max(self, rows: usize) -> Self {
        Self { rows_max: rows.max(1), ..self }
    }
}

clone_builder!([C, K, F, A] PreAggregateTo<C, K, F, A> {
        chain, key_of, folding, slices_of, rows_max, position, types
    }
    where C: Clone, F: Clone, A: Clone);

impl<T, C, K, F, A> Chain<T> for PreAggregateTo<C, K, F, A>
where
    T: Record,
    C: Chain<T>,
    K: Key,
    F: for<'a> FnView<'a, <C::Out as Record>::View<'a>, K::View<'a>> + Clone + Send + 'static,
    A: Folding<K, C::Out>,
{
    type Out = Partial<K, A::Acc>;
    type With<D: Link<Self::Out>> = C::With<PreAggregate<C::Out, K, F, A, D>>;

    fn finish<D: Link<Self::Out>>(self, next: D, context: &TaskContext) -> Self::With<D> {
        let layout =
            keyed_table::layout::<K>(|layout| StateCell::<(A::Acc, u64)>::declare(layout, STATE));
        let made = layout.and_then(|layout| Ok((StateCell::of(&layout, STATE)?, layout)));
        let (cell, layout) = match made {
            Ok(made) => made,
            Err(failure) => unreachable!("a row has room for one cell: {failure}"),
        };
        let max_parallelism = context.max_parallelism();
        let link = PreAggregate {
            key_of: self.key_of,
            folding: self.folding,
            slices_of: self.slices_of,
            layout,
            cell,
            spots: Spots::new(KeyGroupRange::all(max_parallelism), max_parallelism),
            slices: Vec::new(),
            recent: 0,
            rows: 0,
            rows_max: self.rows_max,
            leaving: VecDeque::new(),
            spare: None,
            judged: (0, 0),
            passing: 0,
            watermark: Timestamp::MIN,
            scratch: Vec::new(),
            context: context.of_operator(self.position),
            next,
            types: PhantomData,
        };
        self.chain.finish(link, context)
    }
}
