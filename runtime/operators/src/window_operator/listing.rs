//! What a window keeps that gives its records to a function, or has an evictor: all of them, with their times.
//!
//! # What is always true
//!
//! 1. Records are in the order in which they came; those of windows that grew together, window by window.
//! 2. Without an evictor they are read where they are kept. With one they are copied, and what it leaves is kept.

use std::{mem, ops::ControlFlow};

use wiesel_core::{TaskFailure, Timestamp};
use wiesel_record::{Key, Out, Record};
use wiesel_state::StateDescriptor;

use super::{
    calls::{Calls, Occasion},
    contents::{ContentsStart, WindowContents, forward_to_calls},
    place::{OfWindow, Place, import_rows},
};
use crate::{
    Evictable, Evictor, OutputPort, Pace, ProcessWindowFunction, Snapshot, Stamped, Status,
    TaskContext, TimeWindow, VisitTable, WindowElement, WindowElements, descriptors, keyed_table,
    process_window::{Held, stamp_of, time_of},
    row_list::{ListLayout, ListTable, RowList},
};

/// The cell of the lists, and their parts in snapshots.
const LIST: &str = "window.elements";
const CHUNKS: &str = "window.chunks";

/// All records per key and window; an evictor and a function see them when it fires.
pub struct Listing<K, T, E, P>
where
    K: Key,
    T: Record,
    P: ProcessWindowFunction<K, T>,
{
    lists: ListTable,
    list: RowList<T, Stamped>,
    evictor: E,
    calls: Calls<K, T, P>,
    /// Those of the window at hand.
    elements: Vec<WindowElement<T>>,
}

/// Makes contents that are listed, per subtask.
#[derive(Clone)]
pub struct ListingStart<E, P> {
    evictor: E,
    function: P,
    side_slot: Option<usize>,
}

impl<E, P> ListingStart<E, P> {
    /// Gives what `evictor` leaves to `function`, which puts aside into the output in `side_slot`.
    pub fn new(evictor: E, function: P, side_slot: Option<usize>) -> Self {
        Self { evictor, function, side_slot }
    }
}

impl<K, T, E, P> ContentsStart<K, T> for ListingStart<E, P>
where
    K: Key,
    T: Record,
    E: Evictor<T>,
    P: ProcessWindowFunction<K, T>,
{
    type Contents = Listing<K, T, E, P>;

    const CAN_MERGE: bool = true;

    fn contents(self, merges: bool, task: &TaskContext) -> Result<Self::Contents, TaskFailure> {
        let layout = ListLayout::new::<OfWindow<K>>(&[LIST])?;
        Ok(Listing {
            list: layout.list(LIST, 0)?,
            lists: layout.table(task),
            evictor: self.evictor,
            calls: Calls::new(self.function, self.side_slot, merges, task)?,
            elements: Vec::new(),
        })
    }
}

impl<K, T, E, P> Listing<K, T, E, P>
where
    K: Key,
    T: Record,
    P: ProcessWindowFunction<K, T>,
{
    fn push(&mut self, at: Place<'_>, value: T::View<'_>, stamp: i64) -> Result<bool, TaskFailure> {
        let ListTable { rows, chunks } = &mut self.lists;
        let mut row = rows.upsert(at.row_hash, at.row_key);
        let is_new = row.inserted();
        self.list.push(&mut row, chunks, at.row_hash, value, stamp).map(|()| is_new)
    }

    /// Reads the elements at `at` into memory.
    fn load(&mut self, at: Place<'_>) {
        let elements = &mut self.elements;
        elements.clear();
        if let Some(row) = self.lists.rows.find(at.row_hash, at.row_key) {
            let _ = self.list.each(&row, &self.lists.chunks, at.row_hash, |value, stamp| {
                let (value, time) = (T::from_view(value), time_of(stamp));
                elements.push(WindowElement { value, time });
                ControlFlow::<()>::Continue(())
            });
        }
    }

    /// Puts the elements in memory behind what is at `at`.
    fn unload(&mut self, at: Place<'_>) -> Result<(), TaskFailure> {
        let elements = mem::take(&mut self.elements);
        let unloaded = elements.iter().try_for_each(|WindowElement { value, time }| {
            self.push(at, value.view(), stamp_of(*time)).map(|_| ())
        });
        self.elements = elements;
        self.elements.clear();
        unloaded
    }

    fn forget(&mut self, at: Place<'_>) {
        let ListTable { rows, chunks } = &mut self.lists;
        if let Some(mut row) = rows.find_mut(at.row_hash, at.row_key) {
            self.list.drop_over(&mut row, chunks, at.row_hash, i64::MAX);
            rows.remove(at.row_hash, at.row_key);
        }
    }
}

impl<K, T, E, P> WindowContents<K, T> for Listing<K, T, E, P>
where
    K: Key,
    T: Record,
    E: Evictor<T>,
    P: ProcessWindowFunction<K, T>,
{
    type Out = P::Out;

    fn add(
        &mut self,
        at: Place<'_>,
        value: T::View<'_>,
        time: Option<Timestamp>,
    ) -> Result<bool, TaskFailure> {
        self.push(at, value, stamp_of(time))
    }

    fn merge(&mut self, into: Place<'_>, from: Place<'_>) -> Result<(), TaskFailure> {
        self.load(from);
        self.forget(from);
        self.unload(into)
    }

    fn fire(
        &mut self,
        at: Place<'_>,
        occasion: Occasion<'_>,
        out: &mut dyn Out<P::Out>,
    ) -> Result<(), TaskFailure> {
        let Some(row) = self.lists.rows.find(at.row_hash, at.row_key) else { return Ok(()) };
        if !E::EVICTS {
            let elements = self.list.elements(&row, &self.lists.chunks, at.row_hash);
            return self.calls.process(occasion, WindowElements(Held::Stored(elements)), out);
        }
        self.load(at);
        let (window, watermark) = (occasion.place.window, occasion.watermark);
        let count = self.elements.len();
        self.evictor.evict_before(&mut Evictable::new(&mut self.elements), window, watermark);
        let left = WindowElements(Held::Left(&self.elements));
        self.calls.process(occasion, left, out)?;
        self.evictor.evict_after(&mut Evictable::new(&mut self.elements), window, watermark);
        if self.elements.len() < count {
            self.forget(at);
            return self.unload(at);
        }
        Ok(())
    }

    fn clear(&mut self, at: Place<'_>) {
        self.forget(at);
    }

    fn forget_windows(&mut self) {
        self.lists.drop_rows();
        self.calls.forget_windows();
    }

    fn keeps() -> StateDescriptor {
        descriptors::records::<T>(LIST)
    }

    fn tables(&mut self, visit: &mut VisitTable<'_>) {
        self.lists.visit([LIST, CHUNKS], &[], visit);
        self.calls.tables(visit);
    }

    async fn restore(
        &mut self,
        task: &TaskContext,
        snapshot: &Snapshot,
        check: &dyn Fn(TimeWindow) -> Result<(), TaskFailure>,
    ) -> Result<(), TaskFailure> {
        for bytes in snapshot.keyed(LIST, task.key_groups()) {
            import_rows::<K>(self.lists.table_mut(false), bytes, check, |_| Ok(())).await?;
        }
        for bytes in snapshot.keyed(CHUNKS, task.key_groups()) {
            keyed_table::import(self.lists.table_mut(true), bytes).await?;
        }
        let list = &mut self.list;
        let check =
            self.lists.check::<OfWindow<K>>(|row, chunks, hash| list.check(row, chunks, hash));
        check.await?;
        self.calls.restore(snapshot).await
    }

    forward_to_calls!();
}
