//! What is kept for all keys of a subtask: rows, elements, timers.
//!
//! # What is always true
//!
//! 1. A row of which no state is left is removed.
//! 2. Reading changes nothing while the function runs. What it leads to, where state expires, is done behind it.

use std::{cell::RefCell, sync::Arc};

use wiesel_core::{TaskFailure, Timestamp};
use wiesel_record::{Key, Record};
use wiesel_state::{
    KeyBatch, OperatorStateSchema, RowLayout, StateDescriptor, StateKind, Table, TimerQueue,
    namespaced,
};

use super::{
    At, Declared, Elements, KeyList, KeyMap, ListState, MapState, OpenState, Reading, Registered,
    StateId, StateOf, StateRegistry, Store, TimedCell, list::ListStore, store_of, sweep::Sweeps,
    ttl::now_of,
};
use crate::{
    TaskContext,
    keyed_table::{self, table_failure},
};

/// The name of the key among the states that a snapshot speaks of.
pub(crate) const KEY: &str = "(key)";

/// What is kept for all keys of a subtask.
pub(crate) struct Keep {
    /// What its parts in snapshots are called.
    pub(super) name: &'static str,
    of: StateOf,
    pub(crate) table: Table,
    pub(crate) cells: Vec<Box<dyn Store>>,
    pub(crate) event_timers: TimerQueue,
    pub(crate) processing_timers: TimerQueue,
    pub(super) declared: Vec<Declared>,
    pub(super) schema: OperatorStateSchema,
    /// Whether bytes are a key of the stream.
    pub(super) is_key: fn(&[u8]) -> bool,
    /// A row has a single cell, which goes with it.
    has_one_cell: bool,
    pub(crate) reads: Reads,
    pub(super) sweeps: Sweeps,
}

/// The hash of a composed key of the key type `K`; of bytes that are none, anything.
fn element_hash<K: Key>(composed: &[u8]) -> u64 {
    let Some((key, namespace)) = namespaced::split(composed) else { return 0 };
    namespaced::hash_with(keyed_table::hash_of_bytes::<K>(key), namespace)
}

fn is_key<K: Key>(bytes: &[u8]) -> bool {
    K::try_with_key(bytes, |_| ()).is_ok()
}

impl Keep {
    /// Nothing yet, for the states of `registry` and keys of type `K`.
    ///
    /// # Errors
    ///
    /// If the states do not fit into a row, two have one name, or one lives for no time.
    pub(crate) fn open<K: Key>(
        registry: StateRegistry,
        task: &TaskContext,
    ) -> Result<Self, TaskFailure> {
        let mut keep = Self::open_resident::<K>("process", registry, task)?;
        if let Some(source) = task.row_source() {
            keep.table.set_source(source);
        }
        Ok(keep)
    }

    /// As [`open`](Self::open), with all rows in memory, for the keys of an operator that asks for no others.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub(crate) fn open_resident<K: Key>(
        name: &'static str,
        registry: StateRegistry,
        task: &TaskContext,
    ) -> Result<Self, TaskFailure> {
        let StateRegistry { states: declared, of, .. } = registry;
        for state in &declared {
            state.ttl.map_or(Ok(()), |ttl| ttl.check(state.name))?;
        }
        let layout: Arc<RowLayout> = keyed_table::layout::<K>(|layout| {
            declared.iter().fold(layout, |layout, state| {
                (state.declare)(layout, state.name, state.ttl.is_some())
            })
        })?;
        let open = |state: &Declared| {
            (state.open)(&OpenState {
                name: state.name,
                ttl: state.ttl,
                layout: &layout,
                element_hash: element_hash::<K>,
                is_key: is_key::<K>,
                task,
            })
        };
        let cells = declared.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let table = keyed_table::table_of(&layout, task);
        let timers = || TimerQueue::new(task.key_groups(), task.max_parallelism());
        let key = StateDescriptor {
            name: KEY.to_owned(),
            kind: StateKind::Value,
            expires: false,
            schema: super::schema_of(&K::SCHEMA),
        };
        let states = declared.iter().map(|state| StateDescriptor {
            name: state.name.to_owned(),
            kind: state.kind,
            expires: state.ttl.is_some(),
            schema: state.schema.clone(),
        });
        let schema =
            OperatorStateSchema::new(task.uid(), std::iter::once(key).chain(states).collect());
        Ok(Self {
            name,
            of,
            table,
            has_one_cell: declared.len() == 1 && !cells.iter().any(|cell| cell.expires_in_row()),
            sweeps: Sweeps::new(&declared, &cells),
            cells,
            event_timers: timers(),
            processing_timers: timers(),
            declared,
            schema: schema.map_err(table_failure)?,
            is_key: is_key::<K>,
            reads: Reads::default(),
        })
    }

    /// The place of a state among these.
    #[inline(always)]
    pub(crate) fn index(&self, id: &StateId) -> usize {
        id.index_of(self.of)
    }

    /// The store of a state and the rows of the keys, to write. Says that it was written at this time if it can expire.
    pub(crate) fn parts(&mut self, id: &StateId, at: At<'_>) -> (&mut dyn Store, &mut Table) {
        let index = self.index(id);
        let Self { table, cells, sweeps, .. } = self;
        if let Some(store) = cells.get(index)
            && store.expires()
        {
            sweeps.note_write(index, now_of(at.task));
        }
        (cells[index].as_mut(), table)
    }

    /// Calls `read` with what a state of one value holds for a key, if there is something to be seen.
    #[inline(always)]
    pub(crate) fn read_cell<S: Record, R>(
        &self,
        id: &StateId,
        at: At<'_>,
        read: impl FnOnce(S::View<'_>) -> R,
    ) -> Option<R> {
        let index = self.index(id);
        let cell: &TimedCell<S> = store_of(&self.cells, index, id);
        let row = self.table.find(at.hash, at.key)?;
        if cell.expires() {
            self.reads.note(index, Reading::All);
        }
        cell.with(&row, || now_of(at.task), read)
    }

    /// The list of a key.
    pub(crate) fn read_list<'c, T: Record>(
        &'c self,
        state: &ListState<T>,
        at: At<'c>,
    ) -> KeyList<'c, T> {
        let index = self.index(state.id());
        let store: &ListStore<T> = store_of(&self.cells, index, state.id());
        if store.expires() {
            self.reads.note(index, Reading::All);
        }
        store.read(&self.table, at)
    }

    /// The map of a key.
    pub(crate) fn read_map<'c, M: Key, V: Record>(
        &'c self,
        state: &MapState<M, V>,
        at: At<'c>,
    ) -> KeyMap<'c, M, V> {
        state.read(self.index(state.id()), &self.cells, &self.table, &self.reads, at)
    }

    /// Takes a state of a key away.
    pub(crate) fn clear(&mut self, index: usize, at: At<'_>) {
        self.cells[index].clear(&mut self.table, at);
        self.forget_blank(at);
    }

    /// Takes all states of a key away.
    pub(crate) fn clear_all(&mut self, at: At<'_>) {
        if self.table.find(at.hash, at.key).is_some() {
            (0..self.cells.len()).for_each(|index| self.clear(index, at));
        }
    }

    /// A state of the key is gone: with the last one its row goes.
    pub(crate) fn forget_blank(&mut self, at: At<'_>) {
        let Some(row) = self.table.find_mut(at.hash, at.key) else { return };
        if self.has_one_cell || row.is_blank() {
            self.table.remove(at.hash, at.key);
        }
    }

    /// Does what reads of a key have led to.
    #[cold]
    #[inline(never)]
    pub(crate) fn settle(&mut self, at: At<'_>) {
        let now = now_of(at.task);
        let reads = self.reads.take();
        let mut start = 0;
        for (index, end, is_entry) in &reads.places {
            let what = match is_entry {
                true => Reading::Entry(&reads.bytes[start..*end]),
                false => Reading::All,
            };
            start = *end;
            if self.cells[*index].settle(&mut self.table, at, what, now) {
                self.forget_blank(at);
            }
        }
        self.reads.give_back(reads);
    }

    /// Drops the states of all keys.
    pub(crate) fn drop_rows(&mut self) {
        if !self.table.is_empty() {
            keyed_table::drop_rows(&mut self.table);
            self.cells.iter_mut().filter_map(|cell| cell.elements()).for_each(Elements::drop_rows);
        }
    }

    /// Adds the keys that have something of a state.
    pub(crate) fn keys_with(&self, index: usize, keys: &mut KeyBatch) {
        let cell = &self.cells[index];
        for (_, row) in self.table.iter().filter(|(_, row)| cell.is_in(row)) {
            keys.push(self.table.layout().hash(row.key()), row.key());
        }
    }

    /// When the next processing timer fires, or expired state is looked for.
    pub(crate) fn next_timer(&self) -> Option<Timestamp> {
        let timer = self.processing_timers.first().map(|timer| timer.time());
        timer.into_iter().chain(self.sweeps.next()).min()
    }
}

/// What the function has read of states that expire.
#[derive(Default)]
pub(crate) struct Reads(RefCell<ReadPlaces>);

#[derive(Default)]
struct ReadPlaces {
    /// State, end of its bytes, and whether they are a map key.
    places: Vec<(usize, usize, bool)>,
    bytes: Vec<u8>,
}

impl Reads {
    /// A state of the key at hand was read.
    #[inline]
    pub(super) fn note(&self, index: usize, what: Reading<'_>) {
        let mut reads = self.0.borrow_mut();
        let is_entry = match what {
            Reading::All => false,
            Reading::Entry(map_key) => {
                reads.bytes.extend_from_slice(map_key);
                true
            }
        };
        let end = reads.bytes.len();
        // A function that reads a value several times is settled with once.
        if is_entry || reads.places.last() != Some(&(index, end, false)) {
            reads.places.push((index, end, is_entry));
        }
    }

    /// Whether there is something to be done.
    #[inline(always)]
    pub(crate) fn is_empty(&mut self) -> bool {
        self.0.get_mut().places.is_empty()
    }

    fn take(&mut self) -> ReadPlaces {
        std::mem::take(self.0.get_mut())
    }

    /// For their memory.
    fn give_back(&mut self, mut reads: ReadPlaces) {
        reads.places.clear();
        reads.bytes.clear();
        *self.0.get_mut() = reads;
    }
}
