//! Maps of which every subtask has the same copy: what broadcast records write and other records read.
//!
//! # What is always true
//!
//! 1. Entries are in the order of their keys' bytes: copies that had the same writes are the same, byte by byte.
//! 2. Who has `&BroadcastStates` reads, who has `&mut BroadcastStates` writes: only broadcast records have it.
//! 3. What was put can be written to a snapshot: the lengths of key and value were looked at.

use std::{
    cell::RefCell,
    collections::{BTreeMap, btree_map},
    marker::PhantomData,
    ops::Bound,
};

use wiesel_core::{Mutant, TaskFailure};
use wiesel_record::{Key, Record, RegionBuf};
use wiesel_state::StateKind;

use super::{
    Declared, ELEMENT_BYTES_MAX, OperatorState, OperatorStates, Store, append, append_record,
    checked_len, damaged, sealed, take, too_long,
};
use crate::{Progress, keyed_state::map_schema, state_cell::decode, undo::Undo};

/// A map that every subtask has, by name. Flink's `MapStateDescriptor` of a broadcast stream; a constant suits it:
///
/// ```
/// use wiesel_operators::BroadcastState;
///
/// const RULES: BroadcastState<String, u64> = BroadcastState::new("rules");
/// # let _ = RULES;
/// ```
#[derive(Debug)]
pub struct BroadcastState<K, V> {
    name: &'static str,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K: Key, V: Record> BroadcastState<K, V> {
    /// A map called `name`; each operator state of a chain has its own name.
    pub const fn new(name: &'static str) -> Self {
        Self { name, types: PhantomData }
    }
}

impl<K, V> Clone for BroadcastState<K, V> {
    fn clone(&self) -> Self {
        Self { name: self.name, types: PhantomData }
    }
}

impl<K: Key, V: Record> sealed::Registered for BroadcastState<K, V> {
    fn declared(&self) -> Declared {
        Declared {
            name: self.name,
            kind: StateKind::Broadcast,
            schema: map_schema::<K, V>,
            open: || Box::new(MapStore::<K, V>::default()),
        }
    }
}

impl<K: Key, V: Record> OperatorState for BroadcastState<K, V> {}

struct Entry<K, V> {
    key: K,
    value: V,
    /// Behind so many flips it was put.
    made: u64,
}

struct MapStore<K, V> {
    /// By the canonical bytes of the key.
    entries: BTreeMap<Vec<u8>, Entry<K, V>>,
    undo: Undo<Vec<u8>, Entry<K, V>>,
    /// Of a key of several fields, for look-ups.
    scratch: RefCell<Vec<u8>>,
    region: RegionBuf,
}

impl<K, V> Default for MapStore<K, V> {
    fn default() -> Self {
        let (undo, scratch) = (Undo::default(), RefCell::default());
        Self { entries: BTreeMap::new(), undo, scratch, region: RegionBuf::new() }
    }
}

impl<K: Key, V: Record> MapStore<K, V> {
    /// Says whether there was none of this key.
    fn put(&mut self, key: Vec<u8>, owned: K, value: V) -> bool {
        let Self { entries, undo, .. } = self;
        let entry = Entry { key: owned, value, made: undo.flips() };
        match entries.entry(key) {
            btree_map::Entry::Vacant(place) => {
                place.insert(entry);
                true
            }
            btree_map::Entry::Occupied(mut place) => {
                let before = place.insert(entry);
                if undo.wants(place.key(), before.made) {
                    match Mutant::OldEntryLost.is_chosen() {
                        true => place.get_mut().made = before.made,
                        false => undo.keep(place.key().clone(), before),
                    }
                }
                false
            }
        }
    }

    /// Says whether it was there.
    fn remove(&mut self, key: K::View<'_>) -> bool {
        let Self { entries, undo, scratch, .. } = self;
        let removed = K::with_key_bytes(key, scratch.get_mut(), |key| entries.remove_entry(key));
        let was_there = removed.is_some();
        if let Some((key, entry)) = removed.filter(|(key, entry)| undo.wants(key, entry.made)) {
            undo.keep(key, entry);
        }
        was_there
    }

    fn clear(&mut self) {
        let entries = std::mem::take(&mut self.entries);
        if self.undo.is_walking() {
            for (key, entry) in entries {
                if self.undo.wants(&key, entry.made) {
                    self.undo.keep(key, entry);
                }
            }
        }
    }
}

/// Appends key and value.
fn append_entry<V: Record>(
    (key, value): (&[u8], V::View<'_>),
    region: &mut RegionBuf,
    out: &mut Vec<u8>,
) -> Result<(), TaskFailure> {
    append(key, out)?;
    append_record::<V>(value, region, out)
}

impl<K: Key, V: Record> Store for MapStore<K, V> {
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn write(&mut self, out: &mut Vec<u8>) -> Result<(), TaskFailure> {
        let Self { entries, region, .. } = self;
        let mut entries = entries.iter();
        entries
            .try_for_each(|(key, entry)| append_entry::<V>((key, entry.value.view()), region, out))
    }

    fn flip(&mut self) {
        self.undo.flip();
    }

    fn is_walking(&self) -> bool {
        self.undo.is_walking()
    }

    fn walk(&mut self, budget_bytes: usize, out: &mut Vec<u8>) -> Result<Progress, TaskFailure> {
        let Self { entries, undo, region, .. } = self;
        let flips = undo.flips();
        let ahead = |passed: Option<&Vec<u8>>| {
            let from = passed.map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_slice()));
            let ahead = entries.range::<[u8], _>((from, Bound::Unbounded));
            ahead.map(move |(key, entry)| (key, entry, entry.made < flips))
        };
        undo.step(budget_bytes, ahead, |key, entry| {
            let before = out.len();
            let appended = append_entry::<V>((key, entry.value.view()), region, out);
            appended.map(|()| out.len() - before)
        })
    }

    fn discard_walk(&mut self) {
        self.undo.discard();
    }

    fn read(&mut self, bytes: &mut &[u8], is_kept: bool) -> Result<(), TaskFailure> {
        let (Some(key), Some(value)) = (take(bytes), take(bytes)) else {
            return Err(damaged(V::SCHEMA.name, "an entry is cut off"));
        };
        let value = decode::<V>(value)?;
        let Ok(owned) = K::try_with_key(key, K::from_view) else {
            return Err(damaged(V::SCHEMA.name, "a map key is not one of its type"));
        };
        let is_new = !is_kept || self.put(key.to_vec(), owned, value);
        if is_new { Ok(()) } else { Err(damaged(V::SCHEMA.name, "two entries of one map key")) }
    }
}

/// The copy of a map that this subtask has, to read; from [`BroadcastStates::map`].
pub struct BroadcastMap<'s, K, V>(&'s MapStore<K, V>);

impl<'s, K: Key, V: Record> BroadcastMap<'s, K, V> {
    /// The value of a key. Nothing is copied.
    pub fn get(&self, key: K::View<'_>) -> Option<V::View<'s>> {
        let entries = &self.0.entries;
        let scratch = &mut self.0.scratch.borrow_mut();
        let entry = K::with_key_bytes(key, scratch, |key| entries.get(key));
        entry.map(|entry| entry.value.view())
    }

    /// Whether it has the key.
    pub fn contains(&self, key: K::View<'_>) -> bool {
        self.get(key).is_some()
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.0.entries.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0.entries.is_empty()
    }

    /// All entries, in an order that is the same in every subtask.
    pub fn iter(
        &self,
    ) -> impl DoubleEndedIterator<Item = (K::View<'s>, V::View<'s>)> + use<'s, K, V> {
        self.0.entries.values().map(|entry| (entry.key.view(), entry.value.view()))
    }
}

/// The broadcast states of a function in this subtask.
///
/// Copies of a state stay the same only if each subtask writes the same for each broadcast record: what is written must
/// not depend on other records, or on the order in which those come between broadcast ones.
pub struct BroadcastStates {
    pub(crate) states: OperatorStates,
}

impl BroadcastStates {
    /// The map of a state, to read.
    ///
    /// # Panics
    ///
    /// If the state was not given to `broadcast_state`.
    pub fn map<K: Key, V: Record>(&self, state: &BroadcastState<K, V>) -> BroadcastMap<'_, K, V> {
        BroadcastMap(self.states.find(state.name))
    }

    /// Puts a value into the map of a state; what was there under this key is replaced. A key or a value that cannot be
    /// stored fails the task.
    ///
    /// # Panics
    ///
    /// If the state was not given to `broadcast_state`.
    pub fn put<K: Key, V: Record>(
        &mut self,
        state: &BroadcastState<K, V>,
        key: K::View<'_>,
        value: V::View<'_>,
    ) {
        let store = self.states.find_mut::<MapStore<K, V>>(state.name);
        if let Err(error) = store.region.write::<V>(value, ELEMENT_BYTES_MAX) {
            return self.states.fail(too_long(error));
        }
        let bytes = K::with_key_bytes(key, store.scratch.get_mut(), <[u8]>::to_vec);
        match checked_len(&bytes) {
            Ok(_) => {
                store.put(bytes, K::from_view(key), V::from_view(value));
            }
            Err(failure) => self.states.fail(failure),
        }
    }

    /// Takes an entry out of the map of a state, and says whether it was there.
    ///
    /// # Panics
    ///
    /// If the state was not given to `broadcast_state`.
    pub fn remove<K: Key, V: Record>(
        &mut self,
        state: &BroadcastState<K, V>,
        key: K::View<'_>,
    ) -> bool {
        self.states.find_mut::<MapStore<K, V>>(state.name).remove(key)
    }

    /// Takes all entries out of the map of a state.
    ///
    /// # Panics
    ///
    /// If the state was not given to `broadcast_state`.
    pub fn clear<K: Key, V: Record>(&mut self, state: &BroadcastState<K, V>) {
        self.states.find_mut::<MapStore<K, V>>(state.name).clear();
    }
}
