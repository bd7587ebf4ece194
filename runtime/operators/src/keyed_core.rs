//! What functions on keyed state run on: the states of all keys, their timers, the times, a side output.
//!
//! ```text
//!   record ─▶ call   the context of its key      ─▶ the function
//!   time   ─▶ fire   the context of each timer's ─▶ the function      in order of time, until the turn is over
//! ```
//!
//! # What is always true
//!
//! 1. A timer whose row is not resident waits for it, and those behind it with it.
//! 2. An error of the function fails the task.

use std::marker::PhantomData;

use wiesel_core::{Meta, TaskFailure, Timestamp};
use wiesel_record::{Key, Record};
use wiesel_state::{KeyBatch, Table};

use crate::{
    FunctionError, KeyStates, KeyedContext, Located, OutputPort, Pace, Progress, SideOutput,
    Snapshot, StateRegistry, Status, TaskContext, TimeDomain, VisitTable, keyed_context::Keep,
};

/// The keyed part of an operator with keys of type `K` that puts records of type `S` aside.
pub(crate) struct KeyedCore<K: Key, S: Record> {
    pub(crate) keep: Keep,
    pub(crate) watermark: Timestamp,
    pub(crate) side: Option<Box<dyn SideOutput<S>>>,
    pub(crate) task: TaskContext,
    scratch: Vec<u8>,
    /// Keys whose rows came while a timer waited for its own.
    arrived: KeyBatch,
    types: PhantomData<fn() -> K>,
}

/// Whether the row of a timer's key is not resident; then it has been asked for.
fn is_missing(table: &mut Table, timer: &wiesel_state::Timer) -> bool {
    let (mut keys, mut missing) = (KeyBatch::new(), Vec::new());
    keys.push(timer.hash(), timer.key());
    table.list_missing(&keys, &mut missing);
    !missing.is_empty()
}

impl<K: Key, S: Record> KeyedCore<K, S> {
    /// Nothing yet, for the states of `registry`.
    pub(crate) fn open(
        registry: StateRegistry,
        side_slot: Option<usize>,
        context: &TaskContext,
    ) -> Result<Self, TaskFailure> {
        Ok(Self {
            keep: Keep::open::<K>(registry, context)?,
            watermark: Timestamp::MIN,
            side: side_slot.and_then(|slot| context.take_side::<S>(slot)),
            task: context.clone(),
            scratch: Vec::new(),
            arrived: KeyBatch::new(),
            types: PhantomData,
        })
    }

    /// Calls `process` with the context of a key.
    #[inline(always)]
    pub(crate) fn call(
        &mut self,
        key: K::View<'_>,
        at: Located,
        meta: Meta,
        process: impl FnOnce(&mut KeyedContext<'_, K, S>) -> Result<(), FunctionError>,
    ) {
        let Self { keep, side, task, watermark, scratch, .. } = self;
        let processed = K::with_key_bytes(key, scratch, |key| {
            process(&mut KeyedContext {
                states: KeyStates { key, hash: at.hash, keep, task },
                meta,
                watermark: *watermark,
                side: side.as_deref_mut(),
                types: PhantomData,
            })
        });
        if let Err(error) = processed {
            self.task.fail_user("process a record", error);
        }
    }

    /// Calls `on_timer` with each timer of one domain up to `now`, and the context of its key.
    #[inline(always)]
    pub(crate) fn fire(
        &mut self,
        now: Timestamp,
        domain: TimeDomain,
        pace: &mut Pace,
        mut on_timer: impl FnMut(Timestamp, &mut KeyedContext<'_, K, S>) -> Result<(), FunctionError>,
    ) -> Progress {
        loop {
            let timers = match domain {
                TimeDomain::EventTime => &mut self.keep.event_timers,
                TimeDomain::ProcessingTime => &mut self.keep.processing_timers,
            };
            let Some(first) = timers.first().filter(|timer| timer.time() <= now) else {
                return Progress::Done;
            };
            if self.keep.table.may_miss() && is_missing(&mut self.keep.table, first) {
                self.keep.table.poll_arrivals(&mut self.arrived);
                return Progress::Stopped;
            }
            let Some(timer) = timers.pop(now) else { return Progress::Done };
            let meta = match domain {
                TimeDomain::EventTime => Meta::at(timer.time()),
                TimeDomain::ProcessingTime => Meta::NONE,
            };
            let (key, hash, keep) = (timer.key(), timer.hash(), &mut self.keep);
            let mut context = KeyedContext {
                states: KeyStates { key, hash, keep, task: &self.task },
                meta,
                watermark: self.watermark,
                side: self.side.as_deref_mut(),
                types: PhantomData,
            };
            if let Err(error) = on_timer(timer.time(), &mut context) {
                self.task.fail_user("fire a timer", error);
            }
            if pace.is_over() {
                return Progress::Stopped;
            }
        }
    }

    /// Looks for expired state.
    pub(crate) fn sweep(&mut self, now: Timestamp, pace: &mut Pace) {
        if !self.task.has_failed() {
            self.keep.sweep(now, &self.task, pace);
        }
    }

    pub(crate) fn poll_arrivals(&mut self, arrived: &mut KeyBatch) {
        for (hash, key) in self.arrived.iter() {
            arrived.push(hash, key);
        }
        self.arrived.clear();
        self.keep.table.poll_arrivals(arrived);
    }

    pub(crate) fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        if let Some(side) = &mut self.side {
            visit(side.as_mut());
        }
    }

    pub(crate) fn forward_watermark(&mut self, watermark: Timestamp) {
        if let Some(side) = &mut self.side {
            side.watermark(watermark);
        }
    }

    pub(crate) fn forward_status(&mut self, status: Status) {
        if let Some(side) = &mut self.side {
            side.status(status);
        }
    }

    pub(crate) fn snapshot(&mut self, snapshot: &mut Snapshot) {
        self.keep.snapshot(snapshot);
    }

    pub(crate) fn tables(&mut self, visit: &mut VisitTable<'_>) {
        self.keep.tables(visit);
    }

    pub(crate) async fn restore(&mut self, snapshot: &Snapshot) -> Result<(), TaskFailure> {
        self.keep.restore(&self.task, snapshot).await
    }
}
