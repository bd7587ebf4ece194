//! State per key that a function keeps by name: declared once, then used through the context of the key at hand.
//!
//! ```text
//!   key's row       │ value │ reducing │ aggregating │ list: first, end │ map: length │     a cell each; gone when empty
//!   rows of a list    key + index   ─▶ │ element │            a table for each list
//!   rows of a map     key + map key ─▶ │ value, index │       two tables for each map: what a key maps to,
//!                     key + index   ─▶ │ map key │            and which keys there are
//! ```
//!
//! # What is always true
//!
//! 1. A state that was not registered in `open` cannot be used, nor one of a key as one of a window: that is a mistake in
//!    the program and panics.
//! 2. A key without state has no row, and a cleared list or map no element.
//! 3. Adding to a list or a map costs the same however long it is.
//! 4. Snapshots are by key group. They say what the states are; a restore compares before it reads a row, makes what it
//!    knows older types of into those of today, and says which state is another one.

mod keep;
mod list;
mod map;
mod older;
mod restore;
mod single;
mod sweep;
mod ttl;

use std::{any::Any, sync::Arc};

use wiesel_core::{TaskFailure, Timestamp};
use wiesel_record::{Migration, Record, Schema};
use wiesel_state::{
    KeyHash, Row, RowLayout, RowLayoutBuilder, RowMut, StateKind, StateSchema, Table,
};

use crate::{Restoring, RuntimeContext, TaskContext, keyed_table};

pub use list::{KeyList, ListState};
pub use map::{KeyMap, MapState};
pub use single::{AggregatingState, ReducingState, ValueState};
pub use ttl::{StateTtl, TtlUpdate, TtlVisibility};

pub(crate) use keep::{KEY, Keep};
pub(crate) use map::map_schema;
use older::Older;
pub(crate) use sealed::{Addable, At, Readable, Registered};
use ttl::TimedCell;

/// A state that can be registered: [`ValueState`], [`ListState`], [`MapState`], [`ReducingState`] or
/// [`AggregatingState`].
pub trait KeyedState: sealed::Registered {}

/// A state of one value, which can be read: [`ValueState`], [`ReducingState`] or [`AggregatingState`].
pub trait ReadableState: KeyedState + sealed::Readable {}

/// A state that values can be added to: [`ListState`], [`ReducingState`] or [`AggregatingState`]. Flink's
/// `AppendingState`.
pub trait AppendingState: KeyedState + sealed::Addable {}

/// Whose a state is. A window function has both kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum StateOf {
    #[default]
    Key,
    Window,
}

/// A state's name, and its place among the states of its function.
#[derive(Clone, Copy, Debug)]
pub struct StateId {
    name: &'static str,
    place: Option<(StateOf, usize)>,
    ttl: Option<StateTtl>,
}

impl StateId {
    const fn new(name: &'static str) -> Self {
        Self { name, place: None, ttl: None }
    }

    /// Its place among the states of keys, or of windows.
    #[inline(always)]
    pub(crate) fn index_of(&self, of: StateOf) -> usize {
        match self.place {
            Some((registered, index)) if registered == of => index,
            _ => misused(self),
        }
    }
}

/// A state was used that is not among those that were asked.
#[cold]
fn misused(StateId { name, place, .. }: &StateId) -> ! {
    match place {
        None => panic!("the state `{name}` was not registered in `open`"),
        Some((StateOf::Window, _)) => panic!(
            "the state `{name}` is one of each window: it was registered with `register_window`, so use it through `window_state()`"
        ),
        Some((StateOf::Key, _)) => panic!(
            "the state `{name}` is one of each key, whatever the window: use it through `global_state()`, or register it with \
             `register_window`"
        ),
    }
}

/// What states are made of; nobody else makes one.
mod sealed {
    use super::{Declared, Record, StateId, Store, Table, TaskContext, TaskFailure};

    /// The key at hand, and the task, whose clock tells what has expired.
    #[derive(Clone, Copy)]
    pub struct At<'k> {
        pub hash: u64,
        pub key: &'k [u8],
        pub task: &'k TaskContext,
    }

    pub trait Registered {
        fn id(&self) -> &StateId;
        fn id_mut(&mut self) -> &mut StateId;
        fn declared(&self) -> Declared;
    }

    pub trait Readable {
        /// What a row holds.
        type Stored: Record;
        /// What a program gets.
        type Value;
        fn value(&self, stored: <Self::Stored as Record>::View<'_>) -> Self::Value;
    }

    pub trait Addable {
        /// What is added.
        type In: Record;
        fn add(
            &self,
            store: &mut dyn Store,
            rows: &mut Table,
            at: At<'_>,
            value: <Self::In as Record>::View<'_>,
        ) -> Result<(), TaskFailure>;
    }
}

/// What is behind a registered state: its cells in the key's row, and its elements.
pub trait Store: Any {
    /// Whether what it holds can expire.
    fn expires(&self) -> bool;

    /// Whether what the key's row itself holds can.
    fn expires_in_row(&self) -> bool {
        false
    }

    /// Whether a key's row has something of it, expired or not.
    fn is_in(&self, row: &Row<'_>) -> bool;

    /// Takes the state of a key away: its cells and its elements. The row itself stays.
    fn clear(&mut self, rows: &mut Table, at: At<'_>);

    /// The key was read at `what`, at this time: what has expired goes, and what reading keeps alive is marked. Says
    /// whether nothing of the state is left.
    fn settle(&mut self, rows: &mut Table, at: At<'_>, what: Reading<'_>, now: Timestamp) -> bool;

    /// From when on what the key's row itself holds is expired.
    fn expiry(&self, row: &Row<'_>) -> Option<Timestamp>;

    /// Checks the cells of a row that came from a snapshot.
    ///
    /// # Errors
    ///
    /// If they are not what this state writes.
    fn check(&self, row: &Row<'_>) -> Result<(), TaskFailure>;

    /// A row that came from a snapshot without times was written now.
    fn stamp_missing(&self, row: &mut RowMut<'_>, now: Timestamp);

    /// The rows of a list or a map.
    fn elements(&mut self) -> Option<&mut dyn Elements> {
        None
    }
}

/// The rows of a list or a map.
pub trait Elements {
    /// The table that is written to snapshots.
    fn table(&self) -> &Table;

    /// The name of the cell of what a row holds.
    fn value_name(&self) -> &'static str;

    /// As it was laid out by a program whose state did or did not expire, and held another type.
    fn layout(&self, expires: bool, older: Option<&Older>) -> Result<Arc<RowLayout>, TaskFailure>;

    /// To import rows into.
    fn table_mut(&mut self) -> &mut Table;

    /// Drops those of all keys.
    fn drop_rows(&mut self) {
        keyed_table::drop_rows(self.table_mut());
    }

    /// An element that came from a snapshot without a time was written now.
    fn stamp_missing(&mut self, hash: u64, composed: &[u8], now: Timestamp);

    /// Checks imported elements, and that they are those that the rows of the keys speak of.
    ///
    /// # Errors
    ///
    /// If they are not.
    fn check<'r>(&'r mut self, rows: &'r Table) -> Restoring<'r>;

    /// From when on an element is expired.
    fn expiry(&self, row: &Row<'_>) -> Option<Timestamp>;

    /// Takes an element away that has expired, and says whether none is left of its key.
    fn expire(&mut self, rows: &mut Table, at: At<'_>, namespace: &[u8], now: Timestamp) -> bool;
}

/// What was read of the state of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading<'r> {
    /// All of it.
    All,
    /// The entry of a map with this map key.
    Entry(&'r [u8]),
}

/// What a store needs to be made.
pub struct OpenState<'o> {
    name: &'static str,
    ttl: Option<StateTtl>,
    /// Of the key's row.
    layout: &'o RowLayout,
    /// Of the composed keys of elements.
    element_hash: KeyHash,
    /// Whether bytes are a key of the stream.
    is_key: fn(&[u8]) -> bool,
    task: &'o TaskContext,
}

/// A registered state, before there is a row layout.
pub struct Declared {
    name: &'static str,
    kind: StateKind,
    schema: StateSchema,
    ttl: Option<StateTtl>,
    /// What it may have been, by what a checkpoint says of it.
    older: Vec<Older>,
    declare: fn(RowLayoutBuilder, &str, expires: bool) -> RowLayoutBuilder,
    open: fn(&OpenState<'_>) -> Result<Box<dyn Store>, TaskFailure>,
}

/// Collects the states of a function, and tells it where it runs.
pub struct StateRegistry {
    states: Vec<Declared>,
    of: StateOf,
    runtime: RuntimeContext,
}

impl StateRegistry {
    /// For states of keys.
    pub(crate) fn new(operator: &TaskContext) -> Self {
        Self { states: Vec::new(), of: StateOf::Key, runtime: RuntimeContext::new(operator) }
    }

    /// For states of windows.
    pub(crate) fn of_windows(operator: &TaskContext) -> Self {
        Self { of: StateOf::Window, ..Self::new(operator) }
    }

    /// Where the function runs: its subtask, its metrics.
    pub fn runtime(&self) -> &RuntimeContext {
        &self.runtime
    }

    /// Whether nothing was registered.
    pub(crate) fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// Makes `state` a part of what is kept for each key. Two states of a function have two names.
    pub fn register<S: KeyedState>(&mut self, state: &mut S) {
        state.id_mut().place = Some((self.of, self.states.len()));
        self.states.push(state.declared());
    }
}

/// What a snapshot says of a type.
pub(crate) fn schema_of(schema: &Schema) -> StateSchema {
    // The version is the program's word about what the fields mean: another one is another state.
    let version = u64::from(schema.version).wrapping_sub(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let fields = schema.fields.iter();
    StateSchema {
        name: schema.name.to_owned(),
        fields: fields.map(|field| (field.name.to_owned(), field.type_name.to_owned())).collect(),
        hash: schema.hash ^ version,
    }
}

/// Older types of a state whose schema is that of what it holds.
fn older_values<S: Record>(migrations: Vec<Migration<S>>) -> Vec<Older> {
    let older = |migration: Migration<S>| {
        let schema = schema_of(&migration.schema());
        Older::of(migration, schema)
    };
    migrations.into_iter().map(older).collect()
}

/// The store of the state at `index`, to read.
fn store_of<'k, S: Store>(cells: &'k [Box<dyn Store>], index: usize, id: &StateId) -> &'k S {
    let store: Option<&dyn Any> = cells.get(index).map(|store| store.as_ref() as &dyn Any);
    store.and_then(|store| store.downcast_ref()).unwrap_or_else(|| misused(id))
}

/// The store of a state, to write.
fn store_mut<'k, S: Store>(store: &'k mut dyn Store, id: &StateId) -> &'k mut S {
    let store: &mut dyn Any = store;
    store.downcast_mut().unwrap_or_else(|| misused(id))
}
