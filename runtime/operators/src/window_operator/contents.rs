//! What a window keeps of its records: here an accumulator; in `listing` the records themselves.
//!
//! # What is always true
//!
//! 1. There is a row for a key and window from its first record until it is purged or over. Merged windows have one.
//! 2. Firing leaves an accumulator as it is: what fires again has it, and what came since.

use wiesel_core::{Blame, TaskFailure, Timestamp};
use wiesel_record::{Key, Out, Record};
use wiesel_state::{StateDescriptor, Table};

use super::{
    calls::{Calls, Occasion},
    place::{OfWindow, Place, import_rows},
};
use crate::{
    Folding, FunctionError, OutputPort, Pace, ProcessWindowFunction, Snapshot, StateCell, Status,
    TablePart, TaskContext, TimeWindow, VisitTable, WindowElements, descriptors, keyed_table,
    process_window::Held, rolling::fold_into,
};

/// The cell of accumulators, and their part in snapshots.
const ACC: &str = "window.accumulator";

/// What the windows of an operator hold.
pub trait WindowContents<K: Key, T: Record>: 'static {
    /// What comes out when one fires.
    type Out: Record;

    /// Takes a record in. Says whether the window held nothing before.
    ///
    /// # Errors
    ///
    /// If it cannot be aggregated, or is too long to be kept.
    fn add(
        &mut self,
        at: Place<'_>,
        value: T::View<'_>,
        time: Option<Timestamp>,
    ) -> Result<bool, TaskFailure>;

    /// Puts what is at `from` behind what is at `into`.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    fn merge(&mut self, into: Place<'_>, from: Place<'_>) -> Result<(), TaskFailure>;

    /// A window whose state is at `at` has fired.
    ///
    /// # Errors
    ///
    /// If the function fails.
    fn fire(
        &mut self,
        at: Place<'_>,
        occasion: Occasion<'_>,
        out: &mut dyn Out<Self::Out>,
    ) -> Result<(), TaskFailure>;

    /// Forgets what is at `at`.
    fn clear(&mut self, at: Place<'_>);

    /// A window is over.
    ///
    /// # Errors
    ///
    /// If the function fails.
    fn end(&mut self, occasion: Occasion<'_>) -> Result<(), TaskFailure>;

    /// When state of the function that has expired is looked for.
    fn next_timer(&self) -> Option<Timestamp>;

    /// Looks for it.
    fn sweep(&mut self, now: Timestamp, pace: &mut Pace);

    /// Closes the function.
    fn close(&mut self);

    /// Shows the side output.
    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort));

    /// What goes on goes there too.
    fn forward_watermark(&mut self, watermark: Timestamp);

    /// As [`forward_watermark`](Self::forward_watermark).
    fn forward_status(&mut self, status: Status);

    /// Forgets what all windows hold, and what the function keeps of them.
    fn forget_windows(&mut self);

    /// Forgets what the function keeps of keys: the only one has ended.
    fn forget_key(&mut self);

    /// What it is, in words, for checkpoints.
    fn keeps() -> StateDescriptor;

    /// Shows all tables.
    fn tables(&mut self, visit: &mut VisitTable<'_>);

    /// Adds what is in no table, by key group.
    fn snapshot(&mut self, snapshot: &mut Snapshot);

    /// Continues from a snapshot; `check` is asked of each window.
    ///
    /// # Errors
    ///
    /// If it is damaged.
    fn restore(
        &mut self,
        task: &TaskContext,
        snapshot: &Snapshot,
        check: &dyn Fn(TimeWindow) -> Result<(), TaskFailure>,
    ) -> impl Future<Output = Result<(), TaskFailure>>;
}

/// Makes [`WindowContents`] per subtask.
pub trait ContentsStart<K: Key, T: Record>: Clone + Send + 'static {
    /// What is made.
    type Contents: WindowContents<K, T>;

    /// Whether what two windows hold can become one.
    const CAN_MERGE: bool;

    /// Makes it. `merges` says whether windows grow together.
    ///
    /// # Errors
    ///
    /// If the state cannot be laid out.
    fn contents(self, merges: bool, task: &TaskContext) -> Result<Self::Contents, TaskFailure>;
}

/// What both kinds of contents leave to their function.
macro_rules! forward_to_calls {
    () => {
        fn end(&mut self, occasion: Occasion<'_>) -> Result<(), TaskFailure> {
            self.calls.clear(occasion)
        }
        fn forget_key(&mut self) {
            self.calls.forget_key();
        }
        fn snapshot(&mut self, snapshot: &mut Snapshot) {
            self.calls.snapshot(snapshot);
        }
        fn next_timer(&self) -> Option<Timestamp> {
            self.calls.next_timer()
        }
        fn sweep(&mut self, now: Timestamp, pace: &mut Pace) {
            self.calls.sweep(now, pace);
        }
        fn close(&mut self) {
            self.calls.close();
        }
        fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
            self.calls.ports(visit);
        }
        fn forward_watermark(&mut self, watermark: Timestamp) {
            self.calls.forward_watermark(watermark);
        }
        fn forward_status(&mut self, status: Status) {
            self.calls.forward_status(status);
        }
    };
}

pub(super) use forward_to_calls;

/// An accumulator per key and window; its result goes through a function.
pub struct Aggregating<K, T, A, P>
where
    K: Key,
    T: Record,
    A: Folding<K, T>,
    P: ProcessWindowFunction<K, A::Out>,
{
    folding: A,
    table: Table,
    cell: StateCell<A::Acc>,
    calls: Calls<K, A::Out, P>,
}

/// Makes contents that are aggregated, per subtask.
#[derive(Clone)]
pub struct AggregatingStart<A, P> {
    folding: A,
    function: P,
    side_slot: Option<usize>,
}

impl<A, P> AggregatingStart<A, P> {
    /// Aggregates with `folding`, and gives the result to `function`, which puts aside into the output in `side_slot`.
    pub fn new(folding: A, function: P, side_slot: Option<usize>) -> Self {
        Self { folding, function, side_slot }
    }
}

impl<K, T, A, P> ContentsStart<K, T> for AggregatingStart<A, P>
where
    K: Key,
    T: Record,
    A: Folding<K, T>,
    P: ProcessWindowFunction<K, A::Out>,
{
    type Contents = Aggregating<K, T, A, P>;

    const CAN_MERGE: bool = A::CAN_MERGE;

    fn contents(self, merges: bool, task: &TaskContext) -> Result<Self::Contents, TaskFailure> {
        let layout =
            keyed_table::layout::<OfWindow<K>>(|layout| StateCell::<A::Acc>::declare(layout, ACC))?;
        Ok(Aggregating {
            folding: self.folding,
            table: keyed_table::table_of(&layout, task),
            cell: StateCell::of(&layout, ACC)?,
            calls: Calls::new(self.function, self.side_slot, merges, task)?,
        })
    }
}

/// Gives what a folding emits to a function.
struct Through<'t, 'o, K, In, P>
where
    K: Key,
    In: Record,
    P: ProcessWindowFunction<K, In>,
{
    calls: &'t mut Calls<K, In, P>,
    occasion: Occasion<'o>,
    out: &'t mut dyn Out<P::Out>,
    result: Result<(), TaskFailure>,
}

impl<K, In, P> Out<In> for Through<'_, '_, K, In, P>
where
    K: Key,
    In: Record,
    P: ProcessWindowFunction<K, In>,
{
    fn emit(&mut self, view: In::View<'_>) {
        if self.result.is_ok() {
            let time = self.occasion.place.window.max_timestamp();
            let element = WindowElements(Held::One(view, time));
            self.result = self.calls.process(self.occasion, element, self.out);
        }
    }
}

impl<K, T, A, P> WindowContents<K, T> for Aggregating<K, T, A, P>
where
    K: Key,
    T: Record,
    A: Folding<K, T>,
    P: ProcessWindowFunction<K, A::Out>,
{
    type Out = P::Out;

    fn add(
        &mut self,
        at: Place<'_>,
        value: T::View<'_>,
        _: Option<Timestamp>,
    ) -> Result<bool, TaskFailure> {
        let mut row = self.table.upsert(at.row_hash, at.row_key);
        let is_new = row.inserted();
        fold_into(&self.folding, &mut self.cell, &mut row, value).map(|_| is_new)
    }

    fn merge(&mut self, into: Place<'_>, from: Place<'_>) -> Result<(), TaskFailure> {
        let row = self.table.find(from.row_hash, from.row_key);
        let Some(other) = row.and_then(|row| self.cell.load(&row)) else { return Ok(()) };
        self.table.remove(from.row_hash, from.row_key);
        let mut row = self.table.upsert(into.row_hash, into.row_key);
        let folding = &self.folding;
        self.cell.update(&mut row, |acc| match acc {
            Some(mut acc) => folding.merge(&mut acc, other.view()).map(|()| acc).map_err(failed),
            None => Ok(other),
        })?;
        Ok(())
    }

    fn fire(
        &mut self,
        at: Place<'_>,
        occasion: Occasion<'_>,
        out: &mut dyn Out<P::Out>,
    ) -> Result<(), TaskFailure> {
        let Some(row) = self.table.find(at.row_hash, at.row_key) else { return Ok(()) };
        let (folding, calls) = (&self.folding, &mut self.calls);
        let mut through = Through { calls, occasion, out, result: Ok(()) };
        self.cell.with(&row, |acc| {
            K::with_key(at.key, |key| {
                folding.emit(key, occasion.place.window, acc, &mut through);
            });
        });
        through.result
    }

    fn clear(&mut self, at: Place<'_>) {
        self.table.remove(at.row_hash, at.row_key);
    }

    fn forget_windows(&mut self) {
        keyed_table::drop_rows(&mut self.table);
        self.calls.forget_windows();
    }

    fn keeps() -> StateDescriptor {
        descriptors::accumulator::<A::Acc>(ACC)
    }

    fn tables(&mut self, visit: &mut VisitTable<'_>) {
        visit(TablePart { name: ACC, header: &[], table: &mut self.table });
        self.calls.tables(visit);
    }

    async fn restore(
        &mut self,
        task: &TaskContext,
        snapshot: &Snapshot,
        check: &dyn Fn(TimeWindow) -> Result<(), TaskFailure>,
    ) -> Result<(), TaskFailure> {
        for bytes in snapshot.keyed(ACC, task.key_groups()) {
            let (table, cell) = (&mut self.table, &self.cell);
            import_rows::<K>(table, bytes, check, |row| cell.check(row)).await?;
        }
        self.calls.restore(snapshot).await
    }

    forward_to_calls!();
}

fn failed(error: FunctionError) -> TaskFailure {
    TaskFailure::new(Blame::Job, "aggregate a record", error)
}
