//! What a function on keyed state sees of the key at hand: its states, its timers, the times.
//!
//! # What is always true
//!
//! 1. A timer is (time, key): registering it twice is one timer, deleting a missing one does nothing.
//! 2. What holds for its states is said in `key_states`.

use std::{marker::PhantomData, ops::Deref};

use wiesel_core::{Meta, Timestamp};
use wiesel_record::{Key, Record};

use crate::{AppendingState, KeyStates, KeyedState, ListState, MapState, SideOutput, ValueState};

pub(crate) use crate::keyed_state::Keep;

/// Which clock a timer follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeDomain {
    /// The watermark.
    EventTime,
    /// The time of day.
    ProcessingTime,
}

/// The states, timers and times of the key at hand. How states are read is said by [`KeyStates`].
pub struct KeyedContext<'c, K: Key, S: Record> {
    pub(crate) states: KeyStates<'c>,
    pub(crate) meta: Meta,
    pub(crate) watermark: Timestamp,
    pub(crate) side: Option<&'c mut (dyn SideOutput<S> + 'static)>,
    pub(crate) types: PhantomData<fn() -> K>,
}

impl<'c, K: Key, S: Record> Deref for KeyedContext<'c, K, S> {
    type Target = KeyStates<'c>;

    #[inline(always)]
    fn deref(&self) -> &KeyStates<'c> {
        &self.states
    }
}

impl<K: Key, S: Record> KeyedContext<'_, K, S> {
    /// Calls `read` with the key.
    pub fn with_key<R>(&self, read: impl FnOnce(K::View<'_>) -> R) -> R {
        K::with_key(self.states.key, read)
    }

    /// The event time of the record, or the time of the event timer.
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.meta.time
    }

    /// The last watermark; [`Timestamp::MIN`] before the first.
    pub fn watermark(&self) -> Timestamp {
        self.watermark
    }

    /// The time of day.
    pub fn processing_time(&self) -> Timestamp {
        self.states.task.shard().wall_time()
    }

    /// In batch mode the timers of a key fire when it has ended. As in Flink, those that they register are ignored: a timer
    /// that registers itself again would fire for ever.
    fn is_at_end_of_key(&self) -> bool {
        self.watermark == Timestamp::MAX && self.states.task.is_batch()
    }

    /// Wants `on_timer` when the watermark has reached `time`; in batch mode, when the key has ended. A timer that fires
    /// then can register no other.
    pub fn register_event_timer(&mut self, time: Timestamp) {
        if !self.is_at_end_of_key() {
            self.states.change_timer(TimeDomain::EventTime, time, true);
        }
    }

    /// Takes an event timer back.
    pub fn delete_event_timer(&mut self, time: Timestamp) {
        self.states.change_timer(TimeDomain::EventTime, time, false);
    }

    /// Wants `on_timer` when the time of day has reached `time`; in batch mode, when the key has ended. A timer that fires
    /// then can register no other.
    pub fn register_processing_timer(&mut self, time: Timestamp) {
        if !self.is_at_end_of_key() {
            self.states.change_timer(TimeDomain::ProcessingTime, time, true);
        }
    }

    /// Takes a processing timer back.
    pub fn delete_processing_timer(&mut self, time: Timestamp) {
        self.states.change_timer(TimeDomain::ProcessingTime, time, false);
    }

    /// Puts a record aside. Without a reader of the side output it is gone.
    pub fn side(&mut self, value: S::View<'_>) {
        if let Some(side) = &mut self.side {
            side.emit(value, self.meta);
        }
    }
}

/// Writes, as [`KeyStates`] does them. They are here as well so that what is written may be made of what is read:
/// `context.set(&state, context.get(&state) ..)`.
impl<K: Key, S: Record> KeyedContext<'_, K, S> {
    /// As [`KeyStates::set`].
    ///
    /// # Panics
    ///
    /// If the state was not registered in `open`.
    #[inline(always)]
    pub fn set<V: Record>(&mut self, state: &ValueState<V>, value: V::View<'_>) {
        self.states.set(state, value);
    }

    /// As [`KeyStates::add`].
    ///
    /// # Panics
    ///
    /// If the state was not registered in `open`.
    #[inline(always)]
    pub fn add<V: AppendingState>(&mut self, state: &V, value: <V::In as Record>::View<'_>) {
        self.states.add(state, value);
    }

    /// As [`KeyStates::add_all`].
    ///
    /// # Panics
    ///
    /// If the state was not registered in `open`.
    pub fn add_all<'v, V: AppendingState>(
        &mut self,
        state: &V,
        values: impl IntoIterator<Item = <V::In as Record>::View<'v>>,
    ) {
        self.states.add_all(state, values);
    }

    /// As [`KeyStates::update`].
    ///
    /// # Panics
    ///
    /// If the state was not registered in `open`.
    pub fn update<'v, V: Record>(
        &mut self,
        state: &ListState<V>,
        elements: impl IntoIterator<Item = V::View<'v>>,
    ) {
        self.states.update(state, elements);
    }

    /// As [`KeyStates::put`].
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
        self.states.put(state, map_key, value);
    }

    /// As [`KeyStates::remove`].
    ///
    /// # Panics
    ///
    /// If the state was not registered in `open`.
    pub fn remove<M: Key, V: Record>(&mut self, state: &MapState<M, V>, map_key: M::View<'_>) {
        self.states.remove(state, map_key);
    }

    /// As [`KeyStates::retain`].
    ///
    /// # Panics
    ///
    /// If the state was not registered in `open`.
    pub fn retain<M: Key, V: Record>(
        &mut self,
        state: &MapState<M, V>,
        keeps: impl FnMut(M::View<'_>, V::View<'_>) -> bool,
    ) {
        self.states.retain(state, keeps);
    }

    /// As [`KeyStates::clear`].
    ///
    /// # Panics
    ///
    /// If the state was not registered in `open`.
    pub fn clear(&mut self, state: &impl KeyedState) {
        self.states.clear(state);
    }
}
