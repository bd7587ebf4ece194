//! The states of the key at hand, and of the window at hand: what functions read and write by name.
//!
//! # What is always true
//!
//! 1. A key whose last state is cleared has no row.
//! 2. Reads are of `&self` and writes of `&mut self`: what is read is as the last write left it.

use wiesel_core::{TaskFailure, Timestamp};
use wiesel_record::{Key, Record};
use wiesel_state::Table;

use crate::{
    AppendingState, KeyList, KeyMap, KeyedState, ListState, MapState, ReadableState, TaskContext,
    TimeDomain, ValueState,
    keyed_state::{At, Keep, Store},
};

/// The states of one key.
pub struct KeyStates<'c> {
    pub(crate) key: &'c [u8],
    pub(crate) hash: u64,
    pub(crate) keep: &'c mut Keep,
    pub(crate) task: &'c TaskContext,
}

/// What was read of states that expire has consequences, which are drawn here: behind the call of the function.
impl Drop for KeyStates<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.keep.reads.is_empty() {
            let at = At { hash: self.hash, key: self.key, task: self.task };
            self.keep.settle(at);
        }
    }
}

impl KeyStates<'_> {
    fn at(&self) -> At<'_> {
        At { hash: self.hash, key: self.key, task: self.task }
    }

    /// Changes a state of this key. What cannot be stored fails the task.
    #[inline(always)]
    fn change<R>(
        &mut self,
        state: &impl KeyedState,
        change: impl FnOnce(&mut dyn Store, &mut Table, At<'_>) -> Result<R, TaskFailure>,
    ) -> Option<R> {
        let at = At { hash: self.hash, key: self.key, task: self.task };
        let (store, rows) = self.keep.parts(state.id(), at);
        match change(store, rows, at) {
            Ok(changed) => Some(changed),
            Err(failure) => {
                self.task.fail(failure);
                None
            }
        }
    }

    /// The value of a state for this key: of a [`ValueState`] or a [`ReducingState`](crate::ReducingState) the value,
    /// of an [`AggregatingState`](crate::AggregatingState) the result.
    ///
    /// # Panics
    ///
    /// If the state was not registered in `open`.
    #[inline(always)]
    pub fn get<V: ReadableState>(&self, state: &V) -> Option<V::Value> {
        self.with(state, |stored| state.value(stored))
    }

    /// Calls `read` with a view of what a state holds for this key, if it holds something: nothing is copied.
    ///
    /// ```
    /// # use wiesel_operators::{KeyedContext, ValueState};
    /// # fn process(last_word: &ValueState<String>, context: &KeyedContext<'_, u64, ()>) {
    /// let was_long = context.with(last_word, |word| word.len() > 9).unwrap_or(false);
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If the state was not registered in `open`.
    #[inline(always)]
    pub fn with<V: ReadableState, R>(
        &self,
        state: &V,
        read: impl FnOnce(<V::Stored as Record>::View<'_>) -> R,
    ) -> Option<R> {
        self.keep.read_cell::<V::Stored, R>(state.id(), self.at(), read)
    }

    /// Replaces the value of a state for this key. A value that cannot be stored fails the task.
    ///
    /// # Panics
    ///
    /// If the state was not registered in `open`.
    #[inline(always)]
    pub fn set<V: Record>(&mut self, state: &ValueState<V>, value: V::View<'_>) {
        self.change(state, |store, rows, at| state.set(store, rows, at, value));
    }

    /// Adds a value to a state of this key: at the end of a [`ListState`], or into what a
    /// [`ReducingState`](crate::ReducingState) or an [`AggregatingState`](crate::AggregatingState) holds.
    ///
    /// # Panics
    ///
    /// If the state was not registered in `open`.
    #[inline(always)]
    pub fn add<V: AppendingState>(&mut self, state: &V, value: <V::In as Record>::View<'_>) {
        self.change(state, |store, rows, at| state.add(store, rows, at, value));
    }

    /// Adds several values to a state of this key.
    ///
    /// # Panics
    ///
    /// If the state was not registered in `open`.
    pub fn add_all<'v, V: AppendingState>(
        &mut self,
        state: &V,
        values: impl IntoIterator<Item = <V::In as Record>::View<'v>>,
    ) {
        values.into_iter().for_each(|value| self.add(state, value));
    }

    /// Replaces a list of this key by these elements; without any it is cleared.
    ///
    /// # Panics
    ///
    /// If the state was not registered in `open`.
    pub fn update<'v, V: Record>(
        &mut self,
        state: &ListState<V>,
        elements: impl IntoIterator<Item = V::View<'v>>,
    ) {
        self.clear(state);
        self.add_all(state, elements);
    }

    /// The list of this key, to read. Where elements are kept alive by reading, this is reading all of them.
    ///
    /// # Panics
    ///
    /// If the state was not registered in `open`.
    pub fn list<V: Record>(&self, state: &ListState<V>) -> KeyList<'_, V> {
        self.keep.read_list(state, self.at())
    }

    /// The map of this key, to read.
    ///
    /// # Panics
    ///
    /// If the state was not registered in `open`.
    pub fn map<M: Key, V: Record>(&self, state: &MapState<M, V>) -> KeyMap<'_, M, V> {
        self.keep.read_map(state, self.at())
    }

    /// Puts a value into a map of this key; what was there under this map key is replaced.
    ///
    /// # Panics
    ///
    /// If the state was not registered in `open`.
    pub fn put<M: Key, V: Record>(
        &mut self,
        state: &MapState<M, V>,
        map_key: M::View<'_>,
        value: V::View<'_>,
    ) {
        self.change(state, |store, rows, at| state.put(store, rows, at, map_key, value));
    }

    /// Takes an entry out of a map of this key.
    ///
    /// # Panics
    ///
    /// If the state was not registered in `open`.
    pub fn remove<M: Key, V: Record>(&mut self, state: &MapState<M, V>, map_key: M::View<'_>) {
        let is_empty =
            self.change(state, |store, rows, at| Ok(state.remove(store, rows, at, map_key)));
        self.forget_blank(is_empty);
    }

    /// Keeps the entries of a map of this key for which `keeps` is true.
    ///
    /// ```
    /// # use wiesel_operators::{KeyedContext, MapState};
    /// # fn process(seen: &MapState<String, u64>, context: &mut KeyedContext<'_, u64, ()>) {
    /// context.retain(seen, |_page, times| times > 1);
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If the state was not registered in `open`.
    pub fn retain<M: Key, V: Record>(
        &mut self,
        state: &MapState<M, V>,
        keeps: impl FnMut(M::View<'_>, V::View<'_>) -> bool,
    ) {
        let is_empty =
            self.change(state, |store, rows, at| Ok(state.retain(store, rows, at, keeps)));
        self.forget_blank(is_empty);
    }

    fn forget_blank(&mut self, is_empty: Option<bool>) {
        if is_empty == Some(true) {
            let at = At { hash: self.hash, key: self.key, task: self.task };
            self.keep.forget_blank(at);
        }
    }

    /// Takes a state of this key away: its value, or all elements.
    ///
    /// # Panics
    ///
    /// If the state was not registered in `open`.
    pub fn clear(&mut self, state: &impl KeyedState) {
        let at = At { hash: self.hash, key: self.key, task: self.task };
        self.keep.clear(self.keep.index(state.id()), at);
    }

    /// Registers or deletes a timer of this key.
    pub(crate) fn change_timer(&mut self, domain: TimeDomain, time: Timestamp, is_wanted: bool) {
        let timers = match domain {
            TimeDomain::EventTime => &mut self.keep.event_timers,
            TimeDomain::ProcessingTime => &mut self.keep.processing_timers,
        };
        match is_wanted {
            true => timers.register(time, self.hash, self.key, &[]),
            false => timers.delete(time, self.hash, self.key, &[]),
        };
    }
}
