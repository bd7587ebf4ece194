//! Process functions over a keyed stream and a broadcast one: state and timers per key, and maps that every subtask has.
//!
//! ```text
//!   keyed      ─▶ process(value, &states, context, out)                        the key's states, its timers
//!   time       ─▶ on_timer(time, domain, &states, context, out)
//!   broadcast  ─▶ process_broadcast(value, &mut states, context, out)          in every subtask, without a key
//!                    └─ apply_to_keyed_state(state, |key, context| ..)         every key of the subtask that has it
//! ```
//!
//! # What is always true
//!
//! 1. Only a broadcast record writes broadcast state; that is in the types.
//! 2. Between keyed and broadcast records there is no order. In batch mode all broadcast ones come first, and find no key.
//! 3. Keyed states and timers follow the rules of [`KeyedProcessFunction`](crate::KeyedProcessFunction).

use std::marker::PhantomData;

use wiesel_core::{Blame, Meta, TaskFailure, Timestamp};
use wiesel_record::{Key, Out, Record};
use wiesel_state::KeyBatch;

use crate::{
    BroadcastStates, FunctionError, KeyStates, KeyedContext, KeyedState, SideOutput, StateRegistry,
    TaskContext, TimeDomain, keyed_context::Keep, keyed_core::KeyedCore,
};

/// A function over the records of each key, and over those of a broadcast stream, which every subtask gets.
///
/// It is cloned once per subtask. What it keeps in fields is in no checkpoint.
///
/// ```
/// use wiesel_operators::{
///     FunctionError, BroadcastState, BroadcastStates, KeyedBroadcastContext,
///     KeyedBroadcastProcessFunction, KeyedContext, StateRegistry, ValueState,
/// };
/// use wiesel_record::Out;
///
/// /// The last limit, under no key.
/// const LIMIT: BroadcastState<(), i64> = BroadcastState::new("limit");
///
/// /// Accounts that are above the limit: at the payment that does it, or when the limit falls.
/// #[derive(Clone)]
/// struct Above {
///     paid: ValueState<i64>,
/// }
///
/// impl KeyedBroadcastProcessFunction<u64, (u64, i64), i64> for Above {
///     type Out = u64;
///     type Side = ();
///
///     fn open(&mut self, states: &mut StateRegistry) {
///         states.register(&mut self.paid);
///     }
///
///     fn process(
///         &mut self,
///         (account, amount): (u64, i64),
///         states: &BroadcastStates,
///         context: &mut KeyedContext<'_, u64, ()>,
///         out: &mut dyn Out<u64>,
///     ) -> Result<(), FunctionError> {
///         let paid = context.get(&self.paid).unwrap_or(0) + amount;
///         context.set(&self.paid, paid);
///         if states.map(&LIMIT).get(()).is_some_and(|limit| paid > limit) {
///             out.emit(account);
///         }
///         Ok(())
///     }
///
///     fn process_broadcast(
///         &mut self,
///         limit: i64,
///         states: &mut BroadcastStates,
///         context: &mut KeyedBroadcastContext<'_, u64, ()>,
///         out: &mut dyn Out<u64>,
///     ) -> Result<(), FunctionError> {
///         states.put(&LIMIT, (), limit);
///         context.apply_to_keyed_state(&self.paid, |account, context| {
///             if context.get(&self.paid).is_some_and(|paid| paid > limit) {
///                 out.emit(account);
///             }
///         });
///         Ok(())
///     }
/// }
/// ```
pub trait KeyedBroadcastProcessFunction<K: Key, T: Record, B: Record>:
    Clone + Send + 'static
{
    /// What goes on.
    type Out: Record;
    /// What is put aside; `()` if nothing is.
    type Side: Record;

    /// Registers the states per key. Called once, before the first record. [`StateRegistry::runtime`] has the metrics.
    fn open(&mut self, states: &mut StateRegistry);

    /// Called once when the task ends, as [`ProcessFunction::close`](crate::ProcessFunction::close) says.
    ///
    /// # Errors
    ///
    /// As there.
    fn close(&mut self) -> Result<(), FunctionError> {
        Ok(())
    }

    /// Takes one record of the keyed stream; it sees the broadcast states.
    ///
    /// # Errors
    ///
    /// Whatever makes the record impossible to process; the job fails.
    fn process(
        &mut self,
        value: T::View<'_>,
        states: &BroadcastStates,
        context: &mut KeyedContext<'_, K, Self::Side>,
        out: &mut dyn Out<Self::Out>,
    ) -> Result<(), FunctionError>;

    /// Takes one broadcast record, in every subtask; it may change the broadcast states, in each subtask to the same.
    ///
    /// # Errors
    ///
    /// As [`process`](Self::process).
    fn process_broadcast(
        &mut self,
        value: B::View<'_>,
        states: &mut BroadcastStates,
        context: &mut KeyedBroadcastContext<'_, K, Self::Side>,
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
        states: &BroadcastStates,
        context: &mut KeyedContext<'_, K, Self::Side>,
        out: &mut dyn Out<Self::Out>,
    ) -> Result<(), FunctionError> {
        let _ = (time, domain, states, context, out);
        Ok(())
    }
}

/// What a broadcast record may know of and do in a subtask with keyed state. It has no key of its own.
pub struct KeyedBroadcastContext<'c, K: Key, S: Record> {
    meta: Meta,
    watermark: Timestamp,
    keep: &'c mut Keep,
    side: Option<&'c mut (dyn SideOutput<S> + 'static)>,
    task: &'c TaskContext,
    types: PhantomData<fn() -> K>,
}

impl<'c, K: Key, S: Record> KeyedBroadcastContext<'c, K, S> {
    pub(crate) fn new(core: &'c mut KeyedCore<K, S>, meta: Meta) -> Self {
        Self {
            meta,
            watermark: core.watermark,
            keep: &mut core.keep,
            side: core.side.as_deref_mut(),
            task: &core.task,
            types: PhantomData,
        }
    }

    /// The event time of the record, if it has one.
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

    /// Puts a record aside. Without a reader of the side output it is gone.
    pub fn side(&mut self, value: S::View<'_>) {
        if let Some(side) = &mut self.side {
            side.emit(value, self.meta);
        }
    }

    /// Calls `apply` with every key of this subtask that has something of `state`, and what belongs to that key: its
    /// states, its timers. In no particular order; the whole of it is done within the turn of this record.
    ///
    /// # Panics
    ///
    /// If the state was not registered in `open`.
    pub fn apply_to_keyed_state(
        &mut self,
        state: &impl KeyedState,
        mut apply: impl FnMut(K::View<'_>, &mut KeyedContext<'_, K, S>),
    ) {
        if self.keep.table.may_miss() {
            let cause = "state that is not all in memory cannot be walked: keep it in memory";
            let doing = "apply a function to the state of all keys";
            return self.task.fail(TaskFailure::new(Blame::Environment, doing, cause));
        }
        let mut keys = KeyBatch::new();
        self.keep.keys_with(self.keep.index(state.id()), &mut keys);
        for (hash, key) in keys.iter() {
            let mut context = KeyedContext {
                states: KeyStates { key, hash, keep: self.keep, task: self.task },
                meta: self.meta,
                watermark: self.watermark,
                side: self.side.as_deref_mut(),
                types: PhantomData,
            };
            K::with_key(key, |key| apply(key, &mut context));
        }
    }
}
