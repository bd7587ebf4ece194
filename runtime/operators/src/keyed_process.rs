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
use wiesel_state::{KeyBatch, Spot, Table};

use crate::{
    AggregateError, KeyedContext, KeyedOperator, KeyedStart, Link, Located, OutputPort, Pace,
    Progress, SideOutput, Snapshot, StateRegistry, Status, TaskContext, TimeDomain, flat_map::Emit,
    keyed_context::Keep, rolling::CACHE_BYTES,
};

/// A function over the records of each key, with state and timers.
///
/// It is cloned once per subtask. What it keeps outside of its states is in no checkpoint.
///
/// ```
/// use wiesel_core::{Timestamp, seconds};
/// use wiesel_operators::{
///     AggregateError, KeyedContext, KeyedProcessFunction, StateRegistry, TimeDomain, ValueState,
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
///     ) -> Result<(), AggregateError> {
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
///     ) -> Result<(), AggregateError> {
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

    /// Registers the states. Called once, before the first record.
    fn open(&mut self, states: &mut StateRegistry);

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
    ) -> Result<(), AggregateError>;

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
    ) -> Result<(), AggregateError> {
        let _ = (time, domain, context, out);
        Ok(())
    }
}

/// Runs a [`KeyedProcessFunction`].
pub struct KeyedProcess<T: Record, K: Key, F: KeyedProcessFunction<K, T>> {
    function: F,
    keep: Keep,
    watermark: Timestamp,
    side: Option<Box<dyn SideOutput<F::Side>>>,
    scratch: Vec<u8>,
    /// Keys whose rows came while a timer waited for its own.
    arrived: KeyBatch,
    context: TaskContext,
    types: PhantomData<fn(T) -> K>,
}

/// Whether the row of a timer's key is not resident; then it has been asked for.
fn is_missing(table: &mut Table, timer: &wiesel_state::Timer) -> bool {
    let (mut keys, mut missing) = (KeyBatch::new(), Vec::new());
    keys.push(timer.hash(), timer.key());
    table.list_missing(&keys, &mut missing);
    !missing.is_empty()
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
        let mut registry = StateRegistry::default();
        self.function.open(&mut registry);
        Ok(KeyedProcess {
            keep: Keep::open::<K>(registry, context)?,
            function: self.function,
            watermark: Timestamp::MIN,
            side: self.side_slot.and_then(|slot| context.take_side::<F::Side>(slot)),
            scratch: Vec::new(),
            arrived: KeyBatch::new(),
            context: context.clone(),
            types: PhantomData,
        })
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
        ) -> Result<(), AggregateError>,
    ) {
        let Self { function, keep, side, context: task, watermark, scratch, .. } = self;
        let processed = K::with_key_bytes(key, scratch, |key| {
            let mut context = KeyedContext {
                key,
                hash: at.hash,
                meta,
                watermark: *watermark,
                keep,
                side: side.as_deref_mut(),
                task,
                types: PhantomData,
            };
            process(function, &mut context, &mut Emit { next, meta })
        });
        if let Err(error) = processed {
            self.context.fail_user("process a record", error);
        }
    }

    /// Fires the timers of one domain up to `now`.
    fn fire<D: Link<F::Out>>(
        &mut self,
        now: Timestamp,
        domain: TimeDomain,
        next: &mut D,
        pace: &mut Pace,
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
            let mut context = KeyedContext {
                key: timer.key(),
                hash: timer.hash(),
                meta,
                watermark: self.watermark,
                keep: &mut self.keep,
                side: self.side.as_deref_mut(),
                task: &self.context,
                types: PhantomData,
            };
            let emit = &mut Emit { next, meta };
            let fired = self.function.on_timer(timer.time(), domain, &mut context, emit);
            if let Err(error) = fired {
                self.context.fail_user("fire a timer", error);
            }
            if pace.is_over() {
                return Progress::Stopped;
            }
        }
    }
}

impl<T: Record, K: Key, F: KeyedProcessFunction<K, T>> KeyedOperator<T, K>
    for KeyedProcess<T, K, F>
{
    type Out = F::Out;

    #[inline]
    fn prefetch(&self, spot: Spot) {
        self.keep.table.prefetch(spot);
    }

    fn wants_prefetch(&self) -> bool {
        self.keep.table.bytes_used() > CACHE_BYTES
    }

    fn may_miss(&self) -> bool {
        self.keep.table.may_miss()
    }

    fn list_missing(&mut self, keys: &KeyBatch, missing: &mut Vec<usize>) {
        self.keep.table.list_missing(keys, missing);
    }

    fn poll_arrivals(&mut self, arrived: &mut KeyBatch) {
        for (hash, key) in self.arrived.iter() {
            arrived.push(hash, key);
        }
        self.arrived.clear();
        self.keep.table.poll_arrivals(arrived);
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
        self.watermark = watermark; // Before the timers: they see the new one.
        self.fire(watermark, TimeDomain::EventTime, next, pace)
    }

    fn next_timer(&self) -> Option<Timestamp> {
        self.keep.next_timer()
    }

    fn advance_time<D: Link<F::Out>>(
        &mut self,
        now: Timestamp,
        next: &mut D,
        pace: &mut Pace,
    ) -> Progress {
        let progress = self.fire(now, TimeDomain::ProcessingTime, next, pace);
        if progress == Progress::Done && !self.context.has_failed() {
            self.keep.sweep(now, &self.context, pace);
        }
        progress
    }

    fn end_key<D: Link<F::Out>>(&mut self, next: &mut D, pace: &mut Pace) -> Progress {
        self.watermark = Timestamp::MAX;
        for domain in [TimeDomain::EventTime, TimeDomain::ProcessingTime] {
            if self.fire(Timestamp::MAX, domain, next, pace) == Progress::Stopped {
                return Progress::Stopped;
            }
        }
        self.keep.drop_rows();
        self.watermark = Timestamp::MIN;
        Progress::Done
    }

    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        if let Some(side) = &mut self.side {
            visit(side.as_mut());
        }
    }

    fn forward_watermark(&mut self, watermark: Timestamp) {
        if let Some(side) = &mut self.side {
            side.watermark(watermark);
        }
    }

    fn forward_status(&mut self, status: Status) {
        if let Some(side) = &mut self.side {
            side.status(status);
        }
    }

    fn snapshot(&mut self, snapshot: &mut Snapshot) {
        self.keep.snapshot(&self.context, snapshot);
    }

    fn restore(&mut self, snapshot: &Snapshot) -> Result<(), TaskFailure> {
        self.keep.restore(&self.context, snapshot)
    }
}
