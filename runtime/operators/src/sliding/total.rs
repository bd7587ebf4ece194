//! What the slices of a sliding window add up to, by key, kept from one window to the next.
//!
//! ```text
//!   slices          ├─a─┼─b─┼─c─┼─d─┤
//!   window [a c]    └── a+b+c ──┘            fires, then a is taken out: b+c
//!   window [b d]        └── b+c + d ──┘      d comes in, fires, b is taken out
//! ```
//!
//! So a window costs what changes from the one before it and what it emits, however many slices it has. Of what cannot be
//! taken out (the least, the greatest) the total is made anew for each window, at the cost of its slices' rows.
//!
//! # What is always true
//!
//! 1. A key is there as long as a slice that was put in and not taken out has it: the row counts its slices.
//! 2. It can always be made anew from the slices: snapshots do without it.

use std::marker::PhantomData;

use wiesel_core::{Blame, KeyGroup, TaskFailure};
use wiesel_record::{Key, Record};
use wiesel_state::{Row, RowMut, Table};

use crate::{Folding, FunctionError, StateCell, TaskContext, keyed_table};

/// Names of the cells, which only errors show.
const SUM: &str = "sum";
const SLICES: &str = "slices";

/// Sums over slices.
pub(crate) struct Total<A: Folding<K, T>, K: Key, T: Record> {
    table: Table,
    sum: StateCell<A::Acc>,
    slices: StateCell<u32>,
    types: PhantomData<fn(T) -> K>,
}

impl<A: Folding<K, T>, K: Key, T: Record> Total<A, K, T> {
    /// Of no slices.
    pub(crate) fn new(context: &TaskContext) -> Result<Self, TaskFailure> {
        let layout = keyed_table::layout::<K>(|layout| {
            StateCell::<u32>::declare(StateCell::<A::Acc>::declare(layout, SUM), SLICES)
        })?;
        Ok(Self {
            table: keyed_table::table_of(&layout, context),
            sum: StateCell::of(&layout, SUM)?,
            slices: StateCell::of(&layout, SLICES)?,
            types: PhantomData,
        })
    }

    /// Nothing was put in.
    pub(crate) fn clear(&mut self) {
        keyed_table::drop_rows(&mut self.table);
    }

    /// Nothing was put in of a key group. The memory is kept for the next window.
    pub(crate) fn empty_group(&mut self, group: KeyGroup) {
        self.table.empty_group(group);
    }

    /// A row per key.
    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// Reads a sum.
    pub(crate) fn with<R>(
        &self,
        row: &Row<'_>,
        read: impl FnOnce(<A::Acc as Record>::View<'_>) -> R,
    ) -> Option<R> {
        self.sum.with(row, read)
    }

    /// Brings closer where a key is, or belongs.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        self.table.prefetch(self.table.spot(hash));
    }

    /// Puts in what a slice has of a key.
    pub(crate) fn put(
        &mut self,
        folding: &A,
        hash: u64,
        key: &[u8],
        part: <A::Acc as Record>::View<'_>,
    ) -> Result<(), TaskFailure> {
        let mut row = self.table.upsert(hash, key);
        if row.inserted() {
            self.slices.store(&mut row, 1)?;
            return self.sum.store(&mut row, part);
        }
        self.slices.update(&mut row, |slices| Ok(slices.unwrap_or(0) + 1))?;
        change(&mut self.sum, &mut row, |sum| folding.merge(sum, part))
    }

    /// Takes in a record of a slice that was put in; `is_new`: the slice did not have its key yet.
    pub(crate) fn add(
        &mut self,
        folding: &A,
        hash: u64,
        key: &[u8],
        value: T::View<'_>,
        is_new: bool,
    ) -> Result<(), TaskFailure> {
        if is_new {
            let part = folding.first(value).map_err(failed)?;
            return self.put(folding, hash, key, part.view());
        }
        let Some(mut row) = self.table.find_mut(hash, key) else { return Ok(()) };
        change(&mut self.sum, &mut row, |sum| folding.add(sum, value))
    }

    /// Takes out what a slice that was put in has of a key.
    pub(crate) fn take(
        &mut self,
        folding: &A,
        hash: u64,
        key: &[u8],
        part: <A::Acc as Record>::View<'_>,
    ) -> Result<(), TaskFailure> {
        let Some(mut row) = self.table.find_mut(hash, key) else { return Ok(()) };
        let slices = self.slices.load(&row.row()).unwrap_or(1);
        if slices == 1 {
            self.table.remove(hash, key);
            return Ok(());
        }
        self.slices.store(&mut row, slices - 1)?;
        change(&mut self.sum, &mut row, |sum| {
            folding.retract(sum, part);
            Ok(())
        })
    }
}

/// Changes the sum of a row that has one.
fn change<Acc: Record>(
    cell: &mut StateCell<Acc>,
    row: &mut RowMut<'_>,
    change: impl FnOnce(&mut Acc) -> Result<(), FunctionError>,
) -> Result<(), TaskFailure> {
    let Some(mut sum) = cell.load(&row.row()) else { return Ok(()) };
    change(&mut sum).map_err(failed)?;
    cell.store(row, sum.view())
}

fn failed(error: FunctionError) -> TaskFailure {
    TaskFailure::new(Blame::Job, "aggregate a record", error)
}
