//! Keyed process functions: state per key and timers, by hand.
//!
//! ```text
//!   record ─▶ process(value, context, out)          the key's states are a row; nothing is fetched
//!   time   ─▶ on_timer(time, domain, context, out)  with the key that registered the timer
//! ```
//!
//! # What is always true
//!
//! 1. Event timers fire in order of time while `time <= watermark`, before the watermark goes on; the watermark that
//!    they see is the new one. Timers that they register for a time already reached fire in the same pass.
//! 2. Processing timers fire once the clock has reached them; those pending at the end of the input do not fire. In batch
//!    mode both kinds fire at the end of their key, those of event time first, and none can be registered any more then.

use std::marker::PhantomData;

use wiesel_core::{Meta, TaskFailure, Timestamp};
use wiesel_record::{Key, Out, Record};
use wiesel_state::{KeyBatch, Spot, StateDescriptor};

use crate::{
    FunctionError, KeyedContext, KeyedOperator, KeyedStart, Link, Located, OutputPort, Pace,
    Progress, Snapshot, StateRegistry, Status, TaskContext, TimeDomain, VisitTable, flat_map::Emit,
    keyed_core::KeyedCore, rolling::CACHE_BYTES,
};

/// A function over the records of each key, with state and timers.
///
/// It is cloned once per subtask. What it keeps outside of its states is in no checkpoint.
///
/// ```
/// use wiesel_core::{Timestamp, seconds};
/// use wiesel_operators::{
///     FunctionError, KeyedContext, KeyedProcessFunction, StateRegistry, TimeDomain, ValueState,
/// };
/// use wiesel_record::Out;
///
/// /// Emits a key's count ten seconds (of event time) after its first record.
/// #[derive(Clone)]
/// struct CountForTenSeconds {
///     count: ValueState<u64>,
/// }
///
/// impl KeyedProcessFunction<String, String> for CountForTenSeconds {
///     type Out = (String, u64);
///     type Side = ();
///
///     fn open(&mut self, states: &mut StateRegistry) {
///         states.register(&mut self.count);
///     }
///
///     fn process(
///         &mut self,
///         _word: &str,
///         context: &mut KeyedContext<'_, String, ()>,
///         _out: &mut dyn Out<(String, u64)>,
///     ) -> Result<(), FunctionError> {
///         let count = context.get(&self.count).unwrap_or(0);
///         if count == 0 && let Some(time) = context.timestamp() {
///             context.register_event_timer(time + seconds(10));
///         }
///         context.set(&self.count, count + 1);
///         Ok(())
///     }
///
///     fn on_timer(
///         &mut self,
///         _time: Timestamp,
///         _domain: TimeDomain,
///         context: &mut KeyedContext<'_, String, ()>,
///         out: &mut dyn Out<(String, u64)>,
///     ) -> Result<(), FunctionError> {
///         let count = context.get(&self.count).unwrap_or(0);
///         context.with_key(|key| out.emit((key, count)));
///         context.clear(&self.count);
///         Ok(())
///     }
/// }
/// ```
pub trait KeyedProcessFunction<K: Key, T: Record>: Clone + Send + 'static {
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

    /// Takes one record.
    ///
    /// # Errors
    ///
    /// Whatever makes the record impossible to process; the job fails.
    fn process(
        &mut self,
        value: T::View<'_>,
        context: &mut KeyedContext<'_, K, Self::Side>,
        out: &mut dyn Out<Self::Out>,
    ) -> Result<(), FunctionError>;

    /// A timer of this key has fired.
    ///
    /// # Errors
    ///
    /// As [`process`](Self::process).
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

/// Runs a [`KeyedProcessFunction`].
pub struct KeyedProcess<T: Record, K: Key, F: KeyedProcessFunction<K, T>> {
    function: F,
    core: KeyedCore<K, F::Side>,
    types: PhantomData<fn(T)>,
}

/// Makes a [`KeyedProcess`] per subtask.
#[derive(Clone)]
pub struct KeyedProcessStart<F> {
    function: F,
    side_slot: Option<usize>,
}

impl<F> KeyedProcessStart<F> {
    /// Processes with `function`; what it puts aside goes to the output in `side_slot`.
    pub fn new(function: F, side_slot: Option<usize>) -> Self {
        Self { function, side_slot }
    }
}

impl<T: Record, K: Key, F: KeyedProcessFunction<K, T>> KeyedStart<T, K> for KeyedProcessStart<F> {
    type Operator = KeyedProcess<T, K, F>;

    fn operator(mut self, context: &TaskContext) -> Result<Self::Operator, TaskFailure> {
        let mut registry = StateRegistry::new(context);
        self.function.open(&mut registry);
        let core = KeyedCore::open(registry, self.side_slot, context)?;
        Ok(KeyedProcess { function: self.function, core, types: PhantomData })
    }
}

impl<T: Record, K: Key, F: KeyedProcessFunction<K, T>> KeyedProcess<T, K, F> {
    /// Calls `process` with the states of a key.
    #[inline(always)]
    pub(crate) fn call<D: Link<F::Out>>(
        &mut self,
        key: K::View<'_>,
        at: Located,
        meta: Meta,
        next: &mut D,
        process: impl FnOnce(
            &mut F,
            &mut KeyedContext<'_, K, F::Side>,
            &mut dyn Out<F::Out>,
        ) -> Result<(), FunctionError>,
    ) {
        let Self { function, core, .. } = self;
        core.call(key, at, meta, |context| process(function, context, &mut Emit { next, meta }));
    }

    /// Fires the timers of one domain up to `now`.
    fn fire<D: Link<F::Out>>(
        &mut self,
        now: Timestamp,
        domain: TimeDomain,
        next: &mut D,
        pace: &mut Pace,
    ) -> Progress {
        let Self { function, core, .. } = self;
        core.fire(now, domain, pace, |time, context| {
            let emit = &mut Emit { next, meta: context.meta };
            function.on_timer(time, domain, context, emit)
        })
    }
}

impl<T: Record, K: Key, F: KeyedProcessFunction<K, T>> KeyedOperator<T, K>
    for KeyedProcess<T, K, F>
{
    type Out = F::Out;

    #[inline]
    fn prefetch(&self, spot: Spot) {
        self.core.keep.table.prefetch(spot);
    }

    fn wants_prefetch(&self) -> bool {
        self.core.keep.table.bytes_used() > CACHE_BYTES
    }

    fn may_miss(&self) -> bool {
        self.core.keep.table.may_miss()
    }

    fn list_missing(&mut self, keys: &KeyBatch, missing: &mut Vec<usize>) {
        self.core.keep.table.list_missing(keys, missing);
    }

    fn poll_arrivals(&mut self, arrived: &mut KeyBatch) {
        self.core.poll_arrivals(arrived);
    }

    fn apply<D: Link<F::Out>>(
        &mut self,
        key: K::View<'_>,
        at: Located,
        value: T::View<'_>,
        meta: Meta,
        next: &mut D,
    ) {
        self.call(key, at, meta, next, |function, context, out| {
            function.process(value, context, out)
        });
    }

    fn watermark<D: Link<F::Out>>(
        &mut self,
        watermark: Timestamp,
        next: &mut D,
        pace: &mut Pace,
    ) -> Progress {
        self.core.watermark = watermark; // Before the timers: they see the new one.
        self.fire(watermark, TimeDomain::EventTime, next, pace)
    }

    fn next_timer(&self) -> Option<Timestamp> {
        self.core.keep.next_timer()
    }

    fn advance_time<D: Link<F::Out>>(
        &mut self,
        now: Timestamp,
        next: &mut D,
        pace: &mut Pace,
    ) -> Progress {
        let progress = self.fire(now, TimeDomain::ProcessingTime, next, pace);
        if progress == Progress::Done {
            self.core.sweep(now, pace);
        }
        progress
    }

    fn end_key<D: Link<F::Out>>(&mut self, next: &mut D, pace: &mut Pace) -> Progress {
        self.core.watermark = Timestamp::MAX;
        for domain in [TimeDomain::EventTime, TimeDomain::ProcessingTime] {
            if self.fire(Timestamp::MAX, domain, next, pace) == Progress::Stopped {
                return Progress::Stopped;
            }
        }
        self.core.keep.drop_rows();
        self.core.watermark = Timestamp::MIN;
        Progress::Done
    }

    fn close(&mut self) {
        let Self { function, core, .. } = self;
        core.task.close_function(|| function.close());
    }

    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        self.core.ports(visit);
    }

    fn forward_watermark(&mut self, watermark: Timestamp) {
        self.core.forward_watermark(watermark);
    }

    fn forward_status(&mut self, status: Status) {
        self.core.forward_status(status);
    }

    fn snapshot(&mut self, snapshot: &mut Snapshot) {
        self.core.snapshot(snapshot);
    }

    fn keeps() -> Vec<StateDescriptor> {
        Vec::new()
    }

    fn tables(&mut self, visit: &mut VisitTable<'_>) {
        self.core.tables(visit);
    }

    async fn restore(&mut self, snapshot: &Snapshot) -> Result<(), TaskFailure> {
        self.core.restore(snapshot).await
    }
}
