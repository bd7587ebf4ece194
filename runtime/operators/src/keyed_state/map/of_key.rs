//! What a program sees of a map: its declaration, and the map of the key at hand.

use std::marker::PhantomData;

use wiesel_core::{TaskFailure, Timestamp};
use wiesel_record::{Key, Record, Schema};
use wiesel_state::{StateKind, StateSchema, Table};

use super::MapStore;
use crate::keyed_state::{
    At, Declared, KeyedState, Reading, Registered, StateId, StateTtl,
    keep::Reads,
    older::{Older, Olders, by_way_of},
    schema_of, store_mut,
    ttl::now_of,
    {Store, store_of},
};

/// A map per key, by name.
///
/// ```
/// use wiesel_operators::{FunctionError, KeyedContext, KeyedProcessFunction, MapState, StateRegistry};
/// use wiesel_record::Out;
///
/// /// How many pages of each kind a user has seen; told when the user leaves.
/// #[derive(Clone)]
/// struct Seen {
///     pages: MapState<String, u64>,
/// }
///
/// impl KeyedProcessFunction<u64, (u64, String)> for Seen {
///     type Out = (String, u64);
///     type Side = ();
///
///     fn open(&mut self, states: &mut StateRegistry) {
///         states.register(&mut self.pages);
///     }
///
///     fn process(
///         &mut self,
///         (_, page): (u64, &str),
///         context: &mut KeyedContext<'_, u64, ()>,
///         out: &mut dyn Out<(String, u64)>,
///     ) -> Result<(), FunctionError> {
///         if page == "/leave" {
///             context.map(&self.pages).for_each(|page, seen| out.emit((page, seen)));
///             context.clear(&self.pages);
///         } else {
///             let seen = context.map(&self.pages).get(page).unwrap_or(0);
///             context.put(&self.pages, page, seen + 1);
///         }
///         Ok(())
///     }
/// }
/// # let _ = Seen { pages: MapState::new("pages") };
/// ```
#[derive(Debug)]
pub struct MapState<M, V> {
    id: StateId,
    older: Olders<V>,
    types: PhantomData<fn() -> M>,
}

impl<M: Key, V: Record> MapState<M, V> {
    /// A map called `name`; each state of a function has its own name.
    pub const fn new(name: &'static str) -> Self {
        Self { id: StateId::new(name), older: V::migrations, types: PhantomData }
    }

    /// The same, which is made of an older map when a checkpoint has that: its values were `O`. A type that says so itself,
    /// with `#[record(version = 2, from = Old)]`, needs no word here.
    #[must_use]
    pub fn migrates_from<O: Record>(self) -> Self
    where
        V: From<O>,
    {
        Self { older: by_way_of::<V, O>, ..self }
    }

    /// The same, whose entries expire, each for itself.
    #[must_use]
    pub fn with_ttl(mut self, ttl: StateTtl) -> Self {
        self.id.ttl = Some(ttl);
        self
    }

    /// The map of a key, to read. Its store is at `index` of the cells.
    pub(crate) fn read<'c>(
        &self,
        index: usize,
        cells: &'c [Box<dyn Store>],
        rows: &Table,
        reads: &'c Reads,
        at: At<'c>,
    ) -> KeyMap<'c, M, V> {
        let store: &MapStore<M, V> = store_of(cells, index, &self.id);
        let now = if store.value.expires() { now_of(at.task) } else { Timestamp::MIN };
        KeyMap { store, at, len: store.len(rows, at), now, reads, index }
    }

    pub(crate) fn put(
        &self,
        store: &mut dyn Store,
        rows: &mut Table,
        at: At<'_>,
        map_key: M::View<'_>,
        value: V::View<'_>,
    ) -> Result<(), TaskFailure> {
        store_mut::<MapStore<M, V>>(store, &self.id).put(rows, at, map_key, value)
    }

    /// Says whether none is left.
    pub(crate) fn remove(
        &self,
        store: &mut dyn Store,
        rows: &mut Table,
        at: At<'_>,
        map_key: M::View<'_>,
    ) -> bool {
        let store = store_mut::<MapStore<M, V>>(store, &self.id);
        let mut bytes = Vec::new();
        M::with_key_bytes(map_key, &mut bytes, |map_key| store.remove(rows, at, map_key))
    }

    /// Says whether none is left.
    pub(crate) fn retain(
        &self,
        store: &mut dyn Store,
        rows: &mut Table,
        at: At<'_>,
        keeps: impl FnMut(M::View<'_>, V::View<'_>) -> bool,
    ) -> bool {
        store_mut::<MapStore<M, V>>(store, &self.id).retain(rows, at, keeps)
    }
}

impl<M, V> Clone for MapState<M, V> {
    fn clone(&self) -> Self {
        Self { id: self.id, older: self.older, types: PhantomData }
    }
}

impl<M: Key, V: Record> Registered for MapState<M, V> {
    fn id(&self) -> &StateId {
        &self.id
    }
    fn id_mut(&mut self) -> &mut StateId {
        &mut self.id
    }
    fn declared(&self) -> Declared {
        Declared {
            name: self.id.name,
            kind: StateKind::Map,
            schema: map_schema::<M, V>(),
            ttl: self.id.ttl,
            older: (self.older)()
                .into_iter()
                .map(|older| {
                    let schema = map_schema_of(&M::SCHEMA, &older.schema());
                    Older::of(older, schema)
                })
                .collect(),
            declare: |layout, name, _| layout.cell(name, super::NUMBER_BYTES),
            open: |open| Ok(Box::new(MapStore::<M, V>::open(open)?)),
        }
    }
}

impl<M: Key, V: Record> KeyedState for MapState<M, V> {}

pub(crate) fn map_schema<M: Key, V: Record>() -> StateSchema {
    map_schema_of(&M::SCHEMA, &V::SCHEMA)
}

/// The map key is a field of its own in front of those of the value.
fn map_schema_of(map_key: &Schema, value: &Schema) -> StateSchema {
    let (map_key, value) = (schema_of(map_key), schema_of(value));
    let mut fields = vec![("map key".to_owned(), map_key.name)];
    match value.fields.is_empty() {
        true => fields.push(("value".to_owned(), value.name.clone())),
        false => fields.extend(value.fields),
    }
    let hash = map_key.hash.rotate_left(1) ^ value.hash;
    StateSchema { name: value.name, fields, hash }
}

/// The map of the key at hand, to read; from [`KeyStates::map`](crate::KeyStates::map).
///
/// Of a map whose entries expire it has those that are seen at the time of the call.
pub struct KeyMap<'c, M, V> {
    store: &'c MapStore<M, V>,
    at: At<'c>,
    len: u64,
    now: Timestamp,
    reads: &'c Reads,
    index: usize,
}

impl<M: Key, V: Record> KeyMap<'_, M, V> {
    /// The value of a map key.
    pub fn get(&self, map_key: M::View<'_>) -> Option<V> {
        self.with(map_key, V::from_view)
    }

    /// Calls `read` with a view of the value of a map key.
    pub fn with<R>(&self, map_key: M::View<'_>, read: impl FnOnce(V::View<'_>) -> R) -> Option<R> {
        let with = |row: &wiesel_state::Row<'_>, map_key: &[u8]| {
            if self.store.value.expires() {
                self.reads.note(self.index, Reading::Entry(map_key));
            }
            self.store.value.with(row, || self.now, read)
        };
        self.store.with_entry_of(self.at, map_key, with).flatten()
    }

    /// Whether there is a value for a map key.
    pub fn contains(&self, map_key: M::View<'_>) -> bool {
        self.with(map_key, |_| ()).is_some()
    }

    /// Calls `each` with the bytes of each map key, and its value, until it says no.
    fn visit(&self, mut each: impl FnMut(&[u8], V::View<'_>) -> bool) {
        self.store.visit(self.at, self.len, |map_key, row| {
            let seen = self.store.value.with(row, || self.now, |value| each(map_key, value));
            seen.unwrap_or(true)
        });
    }

    /// How many entries. Counts them if they expire, which reads none: it keeps none alive.
    pub fn len(&self) -> usize {
        if !self.store.value.expires() {
            return self.len as usize;
        }
        let mut len = 0;
        self.visit(|_, _| {
            len += 1;
            true
        });
        len
    }

    /// Whether there are none. Reads none: it keeps none alive.
    pub fn is_empty(&self) -> bool {
        let mut is_empty = true;
        self.visit(|_, _| {
            is_empty = false;
            false
        });
        is_empty
    }

    /// Calls `each` with views of every map key and its value. The order is that of insertion, but where entries were
    /// removed or have expired; else it is the same after a restore.
    pub fn for_each(&self, mut each: impl FnMut(M::View<'_>, V::View<'_>)) {
        if self.store.value.expires() {
            self.reads.note(self.index, Reading::All);
        }
        self.visit(|map_key, value| {
            M::with_key(map_key, |map_key| each(map_key, value));
            true
        });
    }

    /// Whether `matches` is true of an entry; none behind it is read.
    pub fn any(&self, mut matches: impl FnMut(M::View<'_>, V::View<'_>) -> bool) -> bool {
        let (mut found, expires) = (false, self.store.value.expires());
        self.visit(|map_key, value| {
            if expires {
                self.reads.note(self.index, Reading::Entry(map_key));
            }
            found = M::with_key(map_key, |map_key| matches(map_key, value));
            !found
        });
        found
    }

    /// The entries, owned.
    pub fn to_vec(&self) -> Vec<(M, V)> {
        let mut entries = Vec::new();
        self.for_each(|map_key, value| entries.push((M::from_view(map_key), V::from_view(value))));
        entries
    }
}
