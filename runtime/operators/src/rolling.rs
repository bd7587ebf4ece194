//! Rolling aggregates: an accumulator per key, and its result after every record; in batch mode its last result only.
//!
//! # What is always true
//!
//! 1. In streaming mode a key has one row, and each record one result, with the record's time.
//! 2. In batch mode there is one accumulator, that of the key at hand, and no table. A key's result has the time of its
//!    last record, which is its latest.

use wiesel_core::{Meta, TaskFailure, Timestamp};
use wiesel_record::{Key, Record};
use wiesel_state::{KeyBatch, RowMut, Spot, StateDescriptor, Table};

use crate::{
    Folding, KeyedOperator, KeyedStart, Link, Located, Pace, Progress, Snapshot, StateCell,
    TablePart, TaskContext, TimeWindow, VisitTable, descriptors, flat_map::Emit, keyed_table,
};

/// The name of the accumulator in rows and snapshots.
const STATE: &str = "value";

/// Tables above this are prefetched: they no longer fit a core's second-level cache.
pub(crate) const CACHE_BYTES: usize = 1 << 20;

/// Applies a [`Folding`] to each record and emits the result.
pub struct Rolling<A, K: Key, T: Record>
where
    A: Folding<K, T>,
{
    folding: A,
    table: Table,
    cell: StateCell<A::Acc>,
    scratch: Vec<u8>,
    /// In batch mode.
    last: Option<LastResult<A::Acc>>,
    context: TaskContext,
    types: std::marker::PhantomData<fn(T) -> K>,
}

/// What there is of the key at hand.
struct LastResult<Acc> {
    key: Vec<u8>,
    acc: Option<Acc>,
    meta: Meta,
}

/// Makes a [`Rolling`] per subtask.
#[derive(Clone)]
pub struct RollingStart<A>(pub A);

impl<K: Key, T: Record, A: Folding<K, T>> KeyedStart<T, K> for RollingStart<A> {
    type Operator = Rolling<A, K, T>;

    fn operator(self, context: &TaskContext) -> Result<Rolling<A, K, T>, TaskFailure> {
        let layout =
            keyed_table::layout::<K>(|layout| StateCell::<A::Acc>::declare(layout, STATE))?;
        let mut table = keyed_table::table_of(&layout, context);
        if let Some(source) = context.row_source() {
            table.set_source(source);
        }
        Ok(Rolling {
            folding: self.0,
            table,
            cell: StateCell::of(&layout, STATE)?,
            scratch: Vec::new(),
            last: context.is_batch().then(|| LastResult {
                key: Vec::new(),
                acc: None,
                meta: Meta::NONE,
            }),
            context: context.clone(),
            types: std::marker::PhantomData,
        })
    }
}

/// Takes a record into the accumulator of a row. The only place where a folding meets its state.
#[inline(always)]
pub(crate) fn fold_into<K: Key, T: Record, A: Folding<K, T>>(
    folding: &A,
    cell: &mut StateCell<A::Acc>,
    row: &mut RowMut<'_>,
    value: T::View<'_>,
) -> Result<A::Acc, TaskFailure> {
    let failed = |error| TaskFailure::new(wiesel_core::Blame::Job, "aggregate a record", error);
    cell.update(row, |acc| match acc {
        Some(mut acc) => {
            folding.add(&mut acc, value).map_err(failed)?;
            Ok(acc)
        }
        None => folding.first(value).map_err(failed),
    })
}

impl<A, K, T> Rolling<A, K, T>
where
    A: Folding<K, T>,
    K: Key,
    T: Record,
{
    /// Takes a record into the accumulator of its key, the only one.
    #[inline(never)]
    fn apply_to_last(&mut self, key: K::View<'_>, value: T::View<'_>, meta: Meta) {
        let Some(last) = &mut self.last else { return };
        last.meta = meta;
        let applied = match &mut last.acc {
            Some(acc) => self.folding.add(acc, value),
            None => {
                K::with_key_bytes(key, &mut self.scratch, |key| {
                    last.key.clear();
                    last.key.extend_from_slice(key);
                });
                self.folding.first(value).map(|first| last.acc = Some(first))
            }
        };
        if let Err(error) = applied {
            self.context.fail_user("aggregate a record", error);
        }
    }
}

impl<A, K, T> KeyedOperator<T, K> for Rolling<A, K, T>
where
    A: Folding<K, T>,
    K: Key,
    T: Record,
{
    type Out = A::Out;

    const FINDS_AHEAD: bool = keyed_table::finds_ahead::<K>();

    #[inline]
    fn prefetch(&self, spot: Spot) {
        self.table.prefetch(spot);
    }

    #[inline]
    fn wants_prefetch(&self) -> bool {
        self.table.bytes_used() > CACHE_BYTES
    }

    #[inline]
    fn begin_ahead(&mut self) -> bool {
        self.table.begin_ahead()
    }

    #[inline(always)]
    fn find_ahead(&mut self, index: usize, key: K::View<'_>, at: Located, marks: bool) {
        keyed_table::find_ahead::<K>(&mut self.table, index, at, key, &mut self.scratch, marks);
    }

    fn may_miss(&self) -> bool {
        self.table.may_miss()
    }

    fn list_missing(&mut self, keys: &KeyBatch, missing: &mut Vec<usize>) {
        self.table.list_missing(keys, missing);
    }

    fn poll_arrivals(&mut self, arrived: &mut KeyBatch) {
        self.table.poll_arrivals(arrived);
    }

    #[inline(always)]
    fn apply<D: Link<A::Out>>(
        &mut self,
        key: K::View<'_>,
        at: Located,
        value: T::View<'_>,
        meta: Meta,
        next: &mut D,
    ) {
        if self.last.is_some() {
            std::hint::cold_path(); // For the loop of streaming mode.
            return self.apply_to_last(key, value, meta);
        }
        let (table, cell, folding) = (&mut self.table, &mut self.cell, &self.folding);
        let mut row = keyed_table::upsert::<K>(table, at, key, &mut self.scratch);
        match fold_into(folding, cell, &mut row, value) {
            Ok(acc) => {
                let emit = &mut Emit { next, meta };
                folding.emit(key, TimeWindow::ALL, acc.view(), emit);
            }
            Err(failure) => self.context.fail(failure),
        }
    }

    fn watermark<D: Link<A::Out>>(
        &mut self,
        _watermark: Timestamp,
        _next: &mut D,
        _pace: &mut Pace,
    ) -> Progress {
        Progress::Done
    }

    fn end_key<D: Link<A::Out>>(&mut self, next: &mut D, _pace: &mut Pace) -> Progress {
        if let Some(LastResult { key, acc, meta }) = &mut self.last
            && let Some(acc) = acc.take()
        {
            let emit = &mut Emit { next, meta: *meta };
            K::with_key(key, |key| self.folding.emit(key, TimeWindow::ALL, acc.view(), emit));
        }
        Progress::Done
    }

    fn keeps() -> Vec<StateDescriptor> {
        vec![descriptors::accumulator::<A::Acc>(STATE)]
    }

    fn tables(&mut self, visit: &mut VisitTable<'_>) {
        visit(TablePart { name: STATE, header: &[], table: &mut self.table });
    }

    async fn restore(&mut self, snapshot: &Snapshot) -> Result<(), TaskFailure> {
        for bytes in snapshot.keyed(STATE, self.context.key_groups()) {
            let Self { table, cell, .. } = self;
            keyed_table::import_checked::<K>(table, bytes, |row| cell.check(row)).await?;
        }
        Ok(())
    }
}
