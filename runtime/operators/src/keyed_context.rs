//! What a function on keyed state sees of the key at hand: its states, its timers, the times.
//!
//! # What is always true
//!
//! 1. A timer is (time, key): registering it twice is one timer, deleting a missing one does nothing.
//! 2. A key whose last state is cleared has no row.

use std::{any::Any, marker::PhantomData};

use wiesel_core::{Meta, Timestamp};
use wiesel_record::{Key, Record};
use wiesel_state::{Table, TimerQueue};

use crate::{
    SideOutput, TaskContext, ValueState,
    value_state::{cell_of, cell_of_mut},
};

/// Which clock a timer follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeDomain {
    /// The watermark.
    EventTime,
    /// The time of day.
    ProcessingTime,
}

/// The states, timers and times of the key at hand.
pub struct KeyedContext<'c, K: Key, S: Record> {
    pub(crate) key: &'c [u8],
    pub(crate) hash: u64,
    pub(crate) meta: Meta,
    pub(crate) watermark: Timestamp,
    pub(crate) keep: &'c mut Keep,
    pub(crate) side: Option<&'c mut (dyn SideOutput<S> + 'static)>,
    pub(crate) task: &'c TaskContext,
    pub(crate) types: PhantomData<fn() -> K>,
}

/// What is kept for all keys of a subtask.
pub(crate) struct Keep {
    pub(crate) table: Table,
    pub(crate) cells: Vec<Box<dyn Any>>,
    pub(crate) event_timers: TimerQueue,
    pub(crate) processing_timers: TimerQueue,
}

impl<K: Key, S: Record> KeyedContext<'_, K, S> {
    /// Calls `read` with the key.
    pub fn with_key<R>(&self, read: impl FnOnce(K::View<'_>) -> R) -> R {
        K::with_key(self.key, read)
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
        self.task.shard().wall_time()
    }

    /// The value of a state for this key.
    ///
    /// # Panics
    ///
    /// If the state was not registered in `open`.
    pub fn get<V: Record>(&self, state: &ValueState<V>) -> Option<V> {
        let row = self.keep.table.find(self.hash, self.key)?;
        cell_of(&self.keep.cells, state).load(&row)
    }

    /// Replaces the value of a state for this key. A value that cannot be stored fails the task.
    ///
    /// # Panics
    ///
    /// If the state was not registered in `open`.
    pub fn set<V: Record>(&mut self, state: &ValueState<V>, value: V::View<'_>) {
        let Keep { table, cells, .. } = &mut *self.keep;
        let mut row = table.upsert(self.hash, self.key);
        if let Err(failure) = cell_of_mut(cells, state).store(&mut row, value) {
            self.task.fail(failure);
        }
    }

    /// Takes the value of a state away.
    ///
    /// # Panics
    ///
    /// If the state was not registered in `open`.
    pub fn clear<V: Record>(&mut self, state: &ValueState<V>) {
        let Keep { table, cells, .. } = &mut *self.keep;
        let Some(mut row) = table.find_mut(self.hash, self.key) else { return };
        cell_of(cells, state).clear(&mut row);
        // The only cell of a layout has no presence bit: it goes with its row.
        if cells.len() == 1 || row.is_blank() {
            table.remove(self.hash, self.key);
        }
    }

    /// Wants `on_timer` when the watermark has reached `time`.
    pub fn register_event_timer(&mut self, time: Timestamp) {
        self.keep.event_timers.register(time, self.hash, self.key, &[]);
    }

    /// Takes an event timer back.
    pub fn delete_event_timer(&mut self, time: Timestamp) {
        self.keep.event_timers.delete(time, self.hash, self.key, &[]);
    }

    /// Wants `on_timer` when the time of day has reached `time`.
    pub fn register_processing_timer(&mut self, time: Timestamp) {
        self.keep.processing_timers.register(time, self.hash, self.key, &[]);
    }

    /// Takes a processing timer back.
    pub fn delete_processing_timer(&mut self, time: Timestamp) {
        self.keep.processing_timers.delete(time, self.hash, self.key, &[]);
    }

    /// Puts a record aside. Without a reader of the side output it is gone.
    pub fn side(&mut self, value: S::View<'_>) {
        if let Some(side) = &mut self.side {
            side.emit(value, self.meta);
        }
    }
}
