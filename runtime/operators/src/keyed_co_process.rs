//! Process functions over two keyed inputs: one state and one set of timers per key, for records of both.
//!
//! ```text
//!   first  ─▶ process1(value, context, out) ─┐
//!   second ─▶ process2(value, context, out) ─┼─▶ the key's states are a row
//!   time   ─▶ on_timer(time, domain, context, out) ─┘
//! ```
//!
//! # What is always true
//!
//! 1. States and timers are those of `keyed_process`, which runs them: its rules hold for both inputs.
//! 2. Event time is the watermark of both inputs together: the least of the two, without an idle one.

use std::marker::PhantomData;

use wiesel_core::{Meta, TaskFailure, Timestamp};
use wiesel_record::{Key, Out, Record};
use wiesel_state::{KeyBatch, Spot, StateDescriptor};

use crate::{
    FunctionError, KeyedCoOperator, KeyedCoStart, KeyedContext, KeyedOperator, KeyedProcess,
    KeyedProcessFunction, KeyedProcessStart, KeyedStart, Link, Located, OutputPort, Pace, Progress,
    Snapshot, StateRegistry, Status, TaskContext, TimeDomain, VisitTable,
};

/// A function over the records of each key that come from two streams, with state and timers.
///
/// It is cloned once per subtask. What it keeps outside of its states is in no checkpoint.
///
/// ```
/// use wiesel_operators::{
///     FunctionError, KeyedCoProcessFunction, KeyedContext, StateRegistry, ValueState,
/// };
/// use wiesel_record::Out;
///
/// /// Lets the words of a user pass once the user is known, under the user's name.
/// #[derive(Clone)]
/// struct Named {
///     name: ValueState<String>,
/// }
///
/// impl KeyedCoProcessFunction<u64, (u64, String), (u64, String)> for Named {
///     type Out = (String, String);
///     type Side = ();
///
///     fn open(&mut self, states: &mut StateRegistry) {
///         states.register(&mut self.name);
///     }
///
///     fn process1(
///         &mut self,
///         (_, word): (u64, &str),
///         context: &mut KeyedContext<'_, u64, ()>,
///         out: &mut dyn Out<(String, String)>,
///     ) -> Result<(), FunctionError> {
///         if let Some(name) = context.get(&self.name) {
///             out.emit((&name, word));
///         }
///         Ok(())
///     }
///
///     fn process2(
///         &mut self,
///         (_, name): (u64, &str),
///         context: &mut KeyedContext<'_, u64, ()>,
///         _out: &mut dyn Out<(String, String)>,
///     ) -> Result<(), FunctionError> {
///         context.set(&self.name, name);
///         Ok(())
///     }
/// }
/// ```
pub trait KeyedCoProcessFunction<K: Key, T1: Record, T2: Record>: Clone + Send + 'static {
    /// What goes on.
    type Out: Record;
    /// What is put aside; `()` if nothing is.
    type Side: Record;

    /// Registers the states. Called once, before the first record. [`StateRegistry::runtime`] has the metrics.
    fn open(&mut self, states: &mut StateRegistry);

    /// Called once when the task ends, as [`ProcessFunction::close`](crate::ProcessFunction::close) says.
    ///
    /// # Errors
    ///
    /// As there.
    fn close(&mut self) -> Result<(), FunctionError> {
        Ok(())
    }

    /// Takes one record of the first stream.
    ///
    /// # Errors
    ///
    /// Whatever makes the record impossible to process; the job fails.
    fn process1(
        &mut self,
        value: T1::View<'_>,
        context: &mut KeyedContext<'_, K, Self::Side>,
        out: &mut dyn Out<Self::Out>,
    ) -> Result<(), FunctionError>;

    /// Takes one record of the second stream.
    ///
    /// # Errors
    ///
    /// As [`process1`](Self::process1).
    fn process2(
        &mut self,
        value: T2::View<'_>,
        context: &mut KeyedContext<'_, K, Self::Side>,
        out: &mut dyn Out<Self::Out>,
    ) -> Result<(), FunctionError>;

    /// A timer of this key has fired.
    ///
    /// # Errors
    ///
    /// As [`process1`](Self::process1).
    fn on_timer(
        &mut self,
        time: Timestamp,
        domain: TimeDomain,
        context: &mut KeyedContext<'_, K, Self::Side>,
        out: &mut dyn Out<Self::Out>,
    ) -> Result<(), FunctionError> {
        let _ = (time, domain, context, out);
        Ok(())
    }
}

/// The function as one over its first input.
pub struct AsFirst<F, T2> {
    function: F,
    types: PhantomData<fn(T2)>,
}

impl<F: Clone, T2> Clone for AsFirst<F, T2> {
    fn clone(&self) -> Self {
        Self { function: self.function.clone(), types: PhantomData }
    }
}

impl<K, T1, T2, F> KeyedProcessFunction<K, T1> for AsFirst<F, T2>
where
    K: Key,
    T1: Record,
    T2: Record,
    F: KeyedCoProcessFunction<K, T1, T2>,
{
    type Out = F::Out;
    type Side = F::Side;

    fn open(&mut self, states: &mut StateRegistry) {
        self.function.open(states);
    }

    fn close(&mut self) -> Result<(), FunctionError> {
        self.function.close()
    }

    fn process(
        &mut self,
        value: T1::View<'_>,
        context: &mut KeyedContext<'_, K, F::Side>,
        out: &mut dyn Out<F::Out>,
    ) -> Result<(), FunctionError> {
        self.function.process1(value, context, out)
    }

    fn on_timer(
        &mut self,
        time: Timestamp,
        domain: TimeDomain,
        context: &mut KeyedContext<'_, K, F::Side>,
        out: &mut dyn Out<F::Out>,
    ) -> Result<(), FunctionError> {
        self.function.on_timer(time, domain, context, out)
    }
}

/// Runs a [`KeyedCoProcessFunction`]: states, timers and the first input are a [`KeyedProcess`].
pub struct KeyedCoProcess<T1, T2, K, F>(KeyedProcess<T1, K, AsFirst<F, T2>>)
where
    T1: Record,
    T2: Record,
    K: Key,
    F: KeyedCoProcessFunction<K, T1, T2>;

/// Makes a [`KeyedCoProcess`] per subtask.
#[derive(Clone)]
pub struct KeyedCoProcessStart<F> {
    function: F,
    side_slot: Option<usize>,
}

impl<F> KeyedCoProcessStart<F> {
    /// Processes with `function`; what it puts aside goes to the output in `side_slot`.
    pub fn new(function: F, side_slot: Option<usize>) -> Self {
        Self { function, side_slot }
    }
}

impl<T1, T2, K, F> KeyedCoStart<T1, T2, K> for KeyedCoProcessStart<F>
where
    T1: Record,
    T2: Record,
    K: Key,
    F: KeyedCoProcessFunction<K, T1, T2>,
{
    type Operator = KeyedCoProcess<T1, T2, K, F>;

    fn operator(self, context: &TaskContext) -> Result<Self::Operator, TaskFailure> {
        let function = AsFirst { function: self.function, types: PhantomData };
        let start = KeyedProcessStart::new(function, self.side_slot);
        KeyedStart::<T1, K>::operator(start, context).map(KeyedCoProcess)
    }
}

impl<T1, T2, K, F> KeyedCoOperator<T1, T2, K> for KeyedCoProcess<T1, T2, K, F>
where
    T1: Record,
    T2: Record,
    K: Key,
    F: KeyedCoProcessFunction<K, T1, T2>,
{
    type Out = F::Out;

    #[inline]
    fn prefetch(&self, _input: usize, spot: Spot) {
        self.0.prefetch(spot);
    }

    fn wants_prefetch(&self, _input: usize) -> bool {
        self.0.wants_prefetch()
    }

    fn may_miss(&self) -> bool {
        self.0.may_miss()
    }

    fn list_missing(&mut self, keys: &KeyBatch, missing: &mut Vec<usize>) {
        self.0.list_missing(keys, missing);
    }

    fn poll_arrivals(&mut self, arrived: &mut KeyBatch) {
        self.0.poll_arrivals(arrived);
    }

    fn apply_first<D: Link<F::Out>>(
        &mut self,
        key: K::View<'_>,
        at: Located,
        value: T1::View<'_>,
        meta: Meta,
        next: &mut D,
    ) {
        self.0.apply(key, at, value, meta, next);
    }

    fn apply_second<D: Link<F::Out>>(
        &mut self,
        key: K::View<'_>,
        at: Located,
        value: T2::View<'_>,
        meta: Meta,
        next: &mut D,
    ) {
        self.0.call(key, at, meta, next, |first, context, out| {
            first.function.process2(value, context, out)
        });
    }

    fn watermark<D: Link<F::Out>>(
        &mut self,
        watermark: Timestamp,
        next: &mut D,
        pace: &mut Pace,
    ) -> Progress {
        self.0.watermark(watermark, next, pace)
    }

    fn next_timer(&self) -> Option<Timestamp> {
        self.0.next_timer()
    }

    fn advance_time<D: Link<F::Out>>(
        &mut self,
        now: Timestamp,
        next: &mut D,
        pace: &mut Pace,
    ) -> Progress {
        self.0.advance_time(now, next, pace)
    }

    fn end_key<D: Link<F::Out>>(&mut self, next: &mut D, pace: &mut Pace) -> Progress {
        self.0.end_key(next, pace)
    }

    fn close(&mut self) {
        self.0.close();
    }

    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        self.0.ports(visit);
    }

    fn forward_watermark(&mut self, watermark: Timestamp) {
        self.0.forward_watermark(watermark);
    }

    fn forward_status(&mut self, status: Status) {
        self.0.forward_status(status);
    }

    fn snapshot(&mut self, snapshot: &mut Snapshot) {
        self.0.snapshot(snapshot);
    }

    fn keeps() -> Vec<StateDescriptor> {
        Vec::new()
    }

    fn tables(&mut self, visit: &mut VisitTable<'_>) {
        self.0.tables(visit);
    }

    async fn restore(&mut self, snapshot: &Snapshot) -> Result<(), TaskFailure> {
        self.0.restore(snapshot).await
    }
}
