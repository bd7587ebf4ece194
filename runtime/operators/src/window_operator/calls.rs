//! A process window function with its states and its side output.
//!
//! # What is always true
//!
//! 1. States of windows are under key and window, those of keys under the key: two tables, of which one that nothing was
//!    registered for is not there.
//! 2. The function is told that a window is over before its states go.
//! 3. An error of the function is one of the job.

use std::marker::PhantomData;

use wiesel_core::{Blame, Meta, TaskFailure, Timestamp};
use wiesel_record::{Key, Out, Record};

use super::place::{OfWindow, Place};
use crate::{
    FunctionError, OutputPort, Pace, ProcessWindowFunction, SideOutput, Snapshot, StateRegistry,
    Status, TaskContext, VisitTable, WindowContext, WindowElements, WindowStates,
    keyed_state::{At, Keep},
};

/// Names of what is kept, in snapshots.
const OF_WINDOW: &str = "window.function";
const OF_KEY: &str = "window.global";

/// A function, and what is kept for it.
pub struct Calls<K: Key, In: Record, P: ProcessWindowFunction<K, In>> {
    function: P,
    of_window: Option<Keep>,
    of_key: Option<Keep>,
    side: Option<Box<dyn SideOutput<P::Side>>>,
    context: TaskContext,
    types: PhantomData<fn(K, In)>,
}

type OpenKeep = fn(StateRegistry, &TaskContext) -> Result<Keep, TaskFailure>;

fn open_of_window<K: Key>(states: StateRegistry, task: &TaskContext) -> Result<Keep, TaskFailure> {
    Keep::open_resident::<OfWindow<K>>(OF_WINDOW, states, task)
}

fn open_of_key<K: Key>(states: StateRegistry, task: &TaskContext) -> Result<Keep, TaskFailure> {
    Keep::open_resident::<K>(OF_KEY, states, task)
}

/// When and where a function is called.
#[derive(Clone, Copy)]
pub struct Occasion<'o> {
    /// Of the window itself, not of its state.
    pub(super) place: Place<'o>,
    pub(super) watermark: Timestamp,
    pub(super) meta: Meta,
}

impl<K: Key, In: Record, P: ProcessWindowFunction<K, In>> Calls<K, In, P> {
    pub(super) fn new(
        mut function: P,
        side_slot: Option<usize>,
        merges: bool,
        context: &TaskContext,
    ) -> Result<Self, TaskFailure> {
        let mut states = WindowStates::new(context);
        function.open(&mut states);
        if merges && !states.of_window.is_empty() {
            let cause =
                "sessions grow together, so there is no state of one: use `register_global`";
            return Err(TaskFailure::new(Blame::Job, "open a window function", cause));
        }
        let keep = |states: StateRegistry, open: OpenKeep| {
            (!states.is_empty()).then(|| open(states, context)).transpose()
        };
        Ok(Self {
            of_window: keep(states.of_window, open_of_window::<K>)?,
            of_key: keep(states.of_key, open_of_key::<K>)?,
            side: side_slot.and_then(|slot| context.take_side::<P::Side>(slot)),
            function,
            context: context.clone(),
            types: PhantomData,
        })
    }

    fn call(
        &mut self,
        Occasion { place, watermark, meta }: Occasion<'_>,
        call: impl FnOnce(
            &mut P,
            K::View<'_>,
            &mut WindowContext<'_, P::Side>,
        ) -> Result<(), FunctionError>,
    ) -> Result<(), TaskFailure> {
        let mut context = WindowContext {
            key: (place.key, place.hash),
            row: (place.row_key, place.row_hash),
            window: place.window,
            watermark,
            meta,
            of_window: self.of_window.as_mut(),
            of_key: self.of_key.as_mut(),
            side: self.side.as_deref_mut(),
            task: &self.context,
        };
        let function = &mut self.function;
        K::with_key(place.key, |key| call(function, key, &mut context))
            .map_err(|error| TaskFailure::new(Blame::Job, "process a window", error))
    }

    /// A window has fired.
    pub(super) fn process(
        &mut self,
        occasion: Occasion<'_>,
        elements: WindowElements<'_, In>,
        out: &mut dyn Out<P::Out>,
    ) -> Result<(), TaskFailure> {
        self.call(occasion, |function, key, context| function.process(key, elements, context, out))
    }

    /// A window is over.
    pub(super) fn clear(&mut self, occasion: Occasion<'_>) -> Result<(), TaskFailure> {
        self.call(occasion, |function, key, context| function.clear(key, context))?;
        if let Some(keep) = &mut self.of_window {
            let Place { row_key, row_hash, .. } = occasion.place;
            keep.clear_all(At { hash: row_hash, key: row_key, task: &self.context });
        }
        Ok(())
    }

    /// Forgets the states of all windows. The function is not told: those that are over at some time are gone already.
    pub(super) fn forget_windows(&mut self) {
        if let Some(keep) = &mut self.of_window {
            keep.drop_rows();
        }
    }

    /// The only key has ended.
    pub(super) fn forget_key(&mut self) {
        if let Some(keep) = &mut self.of_key {
            keep.drop_rows();
        }
    }

    fn keeps(&self) -> impl Iterator<Item = &Keep> {
        self.of_window.iter().chain(&self.of_key)
    }

    fn keeps_mut(&mut self) -> impl Iterator<Item = &mut Keep> {
        self.of_window.iter_mut().chain(&mut self.of_key)
    }

    /// When state that has expired is looked for.
    pub(super) fn next_timer(&self) -> Option<Timestamp> {
        self.keeps().filter_map(Keep::next_timer).min()
    }

    /// Looks for it.
    pub(super) fn sweep(&mut self, now: Timestamp, pace: &mut Pace) {
        let context = self.context.clone();
        self.keeps_mut().for_each(|keep| keep.sweep(now, &context, pace));
    }

    /// The task ends.
    pub(super) fn close(&mut self) {
        let Self { function, context, .. } = self;
        context.close_function(|| function.close());
    }

    pub(super) fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        if let Some(side) = &mut self.side {
            visit(side.as_mut());
        }
    }

    pub(super) fn forward_watermark(&mut self, watermark: Timestamp) {
        if let Some(side) = &mut self.side {
            side.watermark(watermark);
        }
    }

    pub(super) fn forward_status(&mut self, status: Status) {
        if let Some(side) = &mut self.side {
            side.status(status);
        }
    }

    pub(super) fn snapshot(&mut self, snapshot: &mut Snapshot) {
        self.keeps_mut().for_each(|keep| keep.snapshot(snapshot));
    }

    pub(super) fn tables(&mut self, visit: &mut VisitTable<'_>) {
        self.keeps_mut().for_each(|keep| keep.tables(visit));
    }

    pub(super) async fn restore(&mut self, snapshot: &Snapshot) -> Result<(), TaskFailure> {
        let context = self.context.clone();
        for keep in self.keeps_mut() {
            keep.restore(&context, snapshot).await?;
        }
        Ok(())
    }
}
