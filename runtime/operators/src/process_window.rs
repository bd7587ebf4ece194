//! Process window functions: all that a window holds, at once, with its time and state per key and window.
//!
//! ```text
//!   a window fires   ─▶ process(key, elements, context, out)     as often as it fires
//!   it is over       ─▶ clear(key, context), then its states go
//! ```
//!
//! # What is always true
//!
//! 1. State per window goes with its window; global state is the key's and goes when the function clears it.
//! 2. Windows that grow together have no state of their own: whose would it be?
//! 3. A state is one of windows or one of keys, as it was registered; to use it as the other is a mistake in the program
//!    and panics, which fails the job with operator and state.

use std::{marker::PhantomData, ops::ControlFlow};

use wiesel_core::{Meta, Timestamp};
use wiesel_record::{Key, Out, Record};

use crate::{
    AggregateFunction, Elements, Folding, FunctionError, KeyStates, KeyedState, RuntimeContext,
    SideOutput, Stamped, StateRegistry, TaskContext, TimeWindow, keyed_state::Keep,
};

/// A function over the elements of a window, called when it fires.
///
/// `In` is the records of the stream, or after an incremental part its one result. It is cloned once per subtask. What it
/// keeps outside of its states is in no checkpoint.
///
/// ```
/// use wiesel_operators::{
///     FunctionError, ProcessWindowFunction, ValueState, WindowContext, WindowElements,
///     WindowStates,
/// };
/// use wiesel_record::Out;
///
/// /// The median of each window, and whether it is above that of the key's last one.
/// #[derive(Clone)]
/// struct Median {
///     last: ValueState<u64>,
/// }
///
/// impl ProcessWindowFunction<String, (String, u64)> for Median {
///     type Out = (String, u64, bool);
///     type Side = ();
///
///     fn open(&mut self, states: &mut WindowStates) {
///         states.register_global(&mut self.last);
///     }
///
///     fn process(
///         &mut self,
///         key: &str,
///         elements: WindowElements<'_, (String, u64)>,
///         context: &mut WindowContext<'_, ()>,
///         out: &mut dyn Out<(String, u64, bool)>,
///     ) -> Result<(), FunctionError> {
///         let mut numbers = Vec::new();
///         elements.for_each(|(_, number)| numbers.push(number));
///         numbers.sort_unstable();
///         let median = numbers.get(numbers.len() / 2).copied().unwrap_or(0);
///         let mut states = context.global_state();
///         let has_risen = states.get(&self.last).is_some_and(|last| median > last);
///         states.set(&self.last, median);
///         out.emit((key, median, has_risen));
///         Ok(())
///     }
/// }
/// ```
pub trait ProcessWindowFunction<K: Key, In: Record>: Clone + Send + 'static {
    /// What goes on.
    type Out: Record;
    /// What is put aside; `()` if nothing is.
    type Side: Record;

    /// Registers the states. Called once, before the first record. [`WindowStates::runtime`] has the metrics.
    fn open(&mut self, states: &mut WindowStates) {
        let _ = states;
    }

    /// Called once when the task ends, as [`ProcessFunction::close`](crate::ProcessFunction::close) says.
    ///
    /// # Errors
    ///
    /// As there.
    fn close(&mut self) -> Result<(), FunctionError> {
        Ok(())
    }

    /// A window has fired.
    ///
    /// # Errors
    ///
    /// Whatever makes its elements impossible to process; the job fails.
    fn process(
        &mut self,
        key: K::View<'_>,
        elements: WindowElements<'_, In>,
        context: &mut WindowContext<'_, Self::Side>,
        out: &mut dyn Out<Self::Out>,
    ) -> Result<(), FunctionError>;

    /// A window is over. Its states go by themselves. Nobody calls this for windows that are over only at the end of time,
    /// and in batch mode for those that are never over.
    ///
    /// # Errors
    ///
    /// As [`process`](Self::process).
    fn clear(
        &mut self,
        key: K::View<'_>,
        context: &mut WindowContext<'_, Self::Side>,
    ) -> Result<(), FunctionError> {
        let _ = (key, context);
        Ok(())
    }
}

/// Collects the states of a [`ProcessWindowFunction`].
pub struct WindowStates {
    pub(crate) of_window: StateRegistry,
    pub(crate) of_key: StateRegistry,
}

impl WindowStates {
    pub(crate) fn new(operator: &TaskContext) -> Self {
        Self {
            of_window: StateRegistry::of_windows(operator),
            of_key: StateRegistry::new(operator),
        }
    }

    /// Where the function runs: its subtask, its metrics.
    pub fn runtime(&self) -> &RuntimeContext {
        self.of_key.runtime()
    }

    /// Makes `state` a part of what is kept for each key and window, until the window is over. Sessions have none: a job
    /// that asks for it fails when it starts.
    pub fn register_window<S: KeyedState>(&mut self, state: &mut S) {
        self.of_window.register(state);
    }

    /// Makes `state` a part of what is kept for each key, whatever the window.
    pub fn register_global<S: KeyedState>(&mut self, state: &mut S) {
        self.of_key.register(state);
    }
}

/// An element of a window, and its event time if it has one.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowElement<T> {
    /// The record.
    pub value: T,
    /// Its event time. The first time there is counts as none.
    pub time: Option<Timestamp>,
}

/// The stamp of an element in a list.
pub(crate) fn stamp_of(time: Option<Timestamp>) -> i64 {
    time.unwrap_or(Timestamp::MIN).as_millis()
}

/// The reverse.
pub(crate) fn time_of(stamp: i64) -> Option<Timestamp> {
    Some(Timestamp::from_millis(stamp)).filter(|time| *time > Timestamp::MIN)
}

/// The elements of a window, in the order of their arrival; in a session those of a part that came first in time before
/// those of later parts. They are lent one by one.
pub struct WindowElements<'e, T: Record>(pub(crate) Held<'e, T>);

pub(crate) enum Held<'e, T: Record> {
    /// In the state.
    Stored(Elements<'e, T, Stamped>),
    /// What an evictor has left.
    Left(&'e [WindowElement<T>]),
    /// The result of an incremental part.
    One(T::View<'e>, Timestamp),
}

impl<T: Record> WindowElements<'_, T> {
    /// Whether there are none: an evictor has left none.
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Held::Stored(elements) => elements.is_empty(),
            Held::Left(elements) => elements.is_empty(),
            Held::One(..) => false,
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        match &self.0 {
            Held::Stored(elements) => elements.count(),
            Held::Left(elements) => elements.len(),
            Held::One(..) => 1,
        }
    }

    /// Calls `read` with each of them.
    pub fn for_each(&self, mut read: impl FnMut(T::View<'_>)) {
        let _ = self.try_for_each(|value, _| {
            read(value);
            ControlFlow::<()>::Continue(())
        });
    }

    /// Calls `read` with each of them and its event time, until it breaks. The result of an incremental part has that of
    /// the window.
    pub fn try_for_each<B>(
        &self,
        mut read: impl FnMut(T::View<'_>, Option<Timestamp>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        match &self.0 {
            Held::Stored(elements) => {
                elements.try_for_each_stamped(|value, stamp| read(value, time_of(stamp)))
            }
            Held::Left(elements) => {
                elements.iter().try_for_each(|element| read(element.value.view(), element.time))
            }
            Held::One(value, time) => read(T::shrink(*value), Some(*time)),
        }
    }
}

/// The window at hand, the times, and the states of key and window.
pub struct WindowContext<'c, S: Record> {
    pub(crate) key: (&'c [u8], u64),
    pub(crate) row: (&'c [u8], u64),
    pub(crate) window: TimeWindow,
    pub(crate) watermark: Timestamp,
    pub(crate) meta: Meta,
    pub(crate) of_window: Option<&'c mut Keep>,
    pub(crate) of_key: Option<&'c mut Keep>,
    pub(crate) side: Option<&'c mut (dyn SideOutput<S> + 'static)>,
    pub(crate) task: &'c TaskContext,
}

impl<S: Record> WindowContext<'_, S> {
    /// The window. That of count windows is [all of time](TimeWindow::ALL).
    pub fn window(&self) -> TimeWindow {
        self.window
    }

    /// The last watermark; [`Timestamp::MIN`] before the first.
    pub fn watermark(&self) -> Timestamp {
        self.watermark
    }

    /// The time of day.
    pub fn processing_time(&self) -> Timestamp {
        self.task.shard().wall_time()
    }

    /// The states of this key and window: those registered with [`register_window`](WindowStates::register_window).
    ///
    /// # Panics
    ///
    /// If none was registered in `open`. What it gives panics if it is asked for a state of the key.
    pub fn window_state(&mut self) -> KeyStates<'_> {
        let (key, hash) = self.row;
        match &mut self.of_window {
            Some(keep) => KeyStates { key, hash, keep, task: self.task },
            None => panic!("no state per window was registered in `open`"),
        }
    }

    /// The states of this key, whatever the window: those registered with
    /// [`register_global`](WindowStates::register_global).
    ///
    /// # Panics
    ///
    /// If none was registered in `open`. What it gives panics if it is asked for a state of the window.
    pub fn global_state(&mut self) -> KeyStates<'_> {
        let (key, hash) = self.key;
        match &mut self.of_key {
            Some(keep) => KeyStates { key, hash, keep, task: self.task },
            None => panic!("no global state was registered in `open`"),
        }
    }

    /// Puts a record aside. Without a reader of the side output it is gone.
    pub fn side(&mut self, value: S::View<'_>) {
        if let Some(side) = &mut self.side {
            side.emit(value, self.meta);
        }
    }
}

/// Emits the elements themselves: after an incremental part its result.
#[derive(Clone, Copy, Debug, Default)]
pub struct PassOn;

impl<K: Key, In: Record> ProcessWindowFunction<K, In> for PassOn {
    type Out = In;
    type Side = ();

    #[inline]
    fn process(
        &mut self,
        _: K::View<'_>,
        elements: WindowElements<'_, In>,
        _: &mut WindowContext<'_, ()>,
        out: &mut dyn Out<In>,
    ) -> Result<(), FunctionError> {
        elements.for_each(|value| out.emit(value));
        Ok(())
    }
}

/// An [`AggregateFunction`] whose result goes on without its key: to a function that is told the key.
#[derive(Clone)]
pub struct AggregateValue<A>(pub A);

impl<K: Key, T: Record, A: AggregateFunction<T>> Folding<K, T> for AggregateValue<A> {
    type Acc = A::Acc;
    type Out = A::Out;

    fn first(&self, value: T::View<'_>) -> Result<A::Acc, FunctionError> {
        let mut acc = self.0.create_accumulator();
        self.0.add(&mut acc, value);
        Ok(acc)
    }

    fn add(&self, acc: &mut A::Acc, value: T::View<'_>) -> Result<(), FunctionError> {
        self.0.add(acc, value);
        Ok(())
    }

    const CAN_MERGE: bool = A::CAN_MERGE || A::MERGES;

    fn merge(
        &self,
        acc: &mut A::Acc,
        other: <A::Acc as Record>::View<'_>,
    ) -> Result<(), FunctionError> {
        self.0.merge(acc, other);
        Ok(())
    }

    fn emit(
        &self,
        _: K::View<'_>,
        _: TimeWindow,
        acc: <A::Acc as Record>::View<'_>,
        out: &mut dyn Out<A::Out>,
    ) {
        out.emit(self.0.get_result(acc).view());
    }
}

/// Aggregates the elements when the window fires: what an evictor leaves cannot be known before. Of none there is no
/// result.
pub struct FoldElements<A, T> {
    folding: A,
    types: PhantomData<fn(T)>,
}

impl<A, T> FoldElements<A, T> {
    /// Aggregates with `folding`.
    pub fn new(folding: A) -> Self {
        Self { folding, types: PhantomData }
    }
}

impl<A: Clone, T> Clone for FoldElements<A, T> {
    fn clone(&self) -> Self {
        Self::new(self.folding.clone())
    }
}

impl<K: Key, T: Record, A: Folding<K, T>> ProcessWindowFunction<K, T> for FoldElements<A, T> {
    type Out = A::Out;
    type Side = ();

    fn process(
        &mut self,
        key: K::View<'_>,
        elements: WindowElements<'_, T>,
        context: &mut WindowContext<'_, ()>,
        out: &mut dyn Out<A::Out>,
    ) -> Result<(), FunctionError> {
        let mut acc: Option<A::Acc> = None;
        let folded = elements.try_for_each(|value, _| {
            let added = match &mut acc {
                Some(acc) => self.folding.add(acc, value),
                None => self.folding.first(value).map(|first| acc = Some(first)),
            };
            added.map_or_else(ControlFlow::Break, ControlFlow::Continue)
        });
        if let ControlFlow::Break(error) = folded {
            return Err(error);
        }
        if let Some(acc) = acc {
            self.folding.emit(key, context.window(), acc.view(), out);
        }
        Ok(())
    }
}
