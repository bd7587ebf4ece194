//! A keyed stream and a broadcast one: the records of a key see, in whatever subtask, what broadcast records have written.
//!
//! # What is always true
//!
//! 1. All that is true in `broadcasted.rs`. Keyed state is each key's own; maps of the broadcast stream are everybody's.

use std::marker::PhantomData;

use wiesel_operators::{
    Chain, KeyedBroadcastProcessFunction, KeyedBroadcastStart, Nothing, OperatorStateRegistry,
    Start,
};
use wiesel_record::{FnView, Key, Record};

use crate::{
    BroadcastStream, DataStream, KeyedStream, OutputTag, builder::Exchange, keyed::KeyedInput,
};

/// What comes out of a function over a keyed stream and a broadcast one.
pub type KeyedBroadcastStream<T, B, K, F, P> = DataStream<
    <P as KeyedBroadcastProcessFunction<K, T, B>>::Out,
    KeyedBroadcastStart<T, B, K, F, P>,
    Nothing<<P as KeyedBroadcastProcessFunction<K, T, B>>::Out>,
>;

/// A keyed stream and a broadcast one, into one operator.
#[must_use = "connected streams do nothing until a function is applied to them: `.process(..)`"]
pub struct KeyedBroadcastConnectedStream<T: Record, B: Record, K: Key, F> {
    input: KeyedInput<F>,
    states: OperatorStateRegistry,
    types: PhantomData<fn(T, B) -> K>,
}

impl<T, K, F, S, C> KeyedStream<T, K, F, S, C>
where
    T: Record,
    K: Key,
    F: for<'a> FnView<'a, T::View<'a>, K::View<'a>> + Clone + Send + 'static,
    S: Start,
    C: Chain<S::Out, Out = T>,
{
    /// This keyed stream and a broadcast one into one operator: the records of a key see, in whatever subtask, what
    /// broadcast records have written.
    ///
    /// ```
    /// # use wiesel_datastream::Environment;
    /// use wiesel_operators::{
    ///     FunctionError, BroadcastState, BroadcastStates, KeyedBroadcastContext,
    ///     KeyedBroadcastProcessFunction, KeyedContext, StateRegistry, ValueState,
    /// };
    /// use wiesel_record::Out;
    ///
    /// /// How often an item may be sold to one user.
    /// const LIMITS: BroadcastState<String, u64> = BroadcastState::new("limits");
    ///
    /// /// Sales that are over the limit of their item; all sales of a user count.
    /// #[derive(Clone)]
    /// struct OverLimit {
    ///     sold: ValueState<u64>,
    /// }
    ///
    /// impl KeyedBroadcastProcessFunction<u64, (u64, String), (String, u64)> for OverLimit {
    ///     type Out = (u64, String);
    ///     type Side = ();
    ///
    ///     fn open(&mut self, states: &mut StateRegistry) {
    ///         states.register(&mut self.sold);
    ///     }
    ///
    ///     fn process(
    ///         &mut self,
    ///         (user, item): (u64, &str),
    ///         states: &BroadcastStates,
    ///         context: &mut KeyedContext<'_, u64, ()>,
    ///         out: &mut dyn Out<(u64, String)>,
    ///     ) -> Result<(), FunctionError> {
    ///         let sold = context.get(&self.sold).unwrap_or(0) + 1;
    ///         context.set(&self.sold, sold);
    ///         if states.map(&LIMITS).get(item).is_some_and(|limit| sold > limit) {
    ///             out.emit((user, item));
    ///         }
    ///         Ok(())
    ///     }
    ///
    ///     fn process_broadcast(
    ///         &mut self,
    ///         (item, limit): (&str, u64),
    ///         states: &mut BroadcastStates,
    ///         _context: &mut KeyedBroadcastContext<'_, u64, ()>,
    ///         _out: &mut dyn Out<(u64, String)>,
    ///     ) -> Result<(), FunctionError> {
    ///         states.put(&LIMITS, item, limit);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # let env = Environment::new();
    /// let limits = env.from_collection([("ticket".to_owned(), 2)]).broadcast_state(&LIMITS);
    /// env.from_collection([(7_u64, "ticket".to_owned())])
    ///     .key_by::<u64>(|(user, _)| user)
    ///     .connect_broadcast(limits)
    ///     .process(OverLimit { sold: ValueState::new("sold") })
    ///     .print();
    /// ```
    pub fn connect_broadcast<T2, S2, C2>(
        self,
        other: BroadcastStream<T2, S2, C2>,
    ) -> KeyedBroadcastConnectedStream<T, T2, K, F>
    where
        T2: Record,
        S2: Start,
        C2: Chain<S2::Out, Out = T2>,
    {
        let mut input = self.close();
        input.has_time &= other.stream.has_time;
        input.builder.can_take(&other.stream.builder, "Connect");
        other.stream.close_to(Exchange::Broadcast, input.vertex, 1);
        KeyedBroadcastConnectedStream { input, states: other.states, types: PhantomData }
    }
}

impl<T, B, K, F> KeyedBroadcastConnectedStream<T, B, K, F>
where
    T: Record,
    B: Record,
    K: Key,
    F: for<'a> FnView<'a, T::View<'a>, K::View<'a>> + Clone + Send + 'static,
{
    fn start<P: KeyedBroadcastProcessFunction<K, T, B>>(
        self,
        function: P,
        side_slot: Option<usize>,
    ) -> KeyedBroadcastStream<T, B, K, F, P> {
        let Self { input, states, .. } = self;
        input.start("KeyedBroadcastProcess".to_owned(), true, |key_of| {
            KeyedBroadcastStart::new(key_of, function, states, side_slot)
        })
    }

    /// Processes the records of each key with state and timers, and those of the broadcast stream.
    ///
    /// ```
    /// use wiesel_operators::{
    ///     FunctionError, BroadcastState, BroadcastStates, KeyedBroadcastContext,
    ///     KeyedBroadcastProcessFunction, KeyedContext, StateRegistry,
    /// };
    /// use wiesel_record::Out;
    ///
    /// const LIMIT: BroadcastState<u64, u64> = BroadcastState::new("limit");
    ///
    /// /// Orders within the limit that was broadcast last.
    /// #[derive(Clone)]
    /// struct Within;
    ///
    /// impl KeyedBroadcastProcessFunction<u64, (u64, u64), u64> for Within {
    ///     type Out = (u64, u64);
    ///     type Side = ();
    ///
    ///     fn open(&mut self, _states: &mut StateRegistry) {} // Without state of its keys.
    ///
    ///     fn process(
    ///         &mut self,
    ///         order: (u64, u64),
    ///         states: &BroadcastStates,
    ///         _context: &mut KeyedContext<'_, u64, ()>,
    ///         out: &mut dyn Out<(u64, u64)>,
    ///     ) -> Result<(), FunctionError> {
    ///         let is_within = states.map(&LIMIT).get(0).is_none_or(|limit| order.1 <= limit);
    ///         if is_within {
    ///             out.emit(order);
    ///         }
    ///         Ok(())
    ///     }
    ///
    ///     fn process_broadcast(
    ///         &mut self,
    ///         limit: u64,
    ///         states: &mut BroadcastStates,
    ///         _context: &mut KeyedBroadcastContext<'_, u64, ()>,
    ///         _out: &mut dyn Out<(u64, u64)>,
    ///     ) -> Result<(), FunctionError> {
    ///         states.put(&LIMIT, 0, limit);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64), (8, 20), (7, 10)]);
    /// # let orders = orders.key_by::<u64>(|(user, _)| user);
    /// // Orders are (user, cents), by user.
    /// let limits = env.from_collection([25_u64]).broadcast_state(&LIMIT);
    /// orders.connect_broadcast(limits).process(Within).print();
    /// ```
    pub fn process<P: KeyedBroadcastProcessFunction<K, T, B>>(
        self,
        function: P,
    ) -> KeyedBroadcastStream<T, B, K, F, P> {
        self.start(function, None)
    }

    /// As [`process`](Self::process); what the function puts aside is in
    /// [`get_side_output`](DataStream::get_side_output) of what this returns.
    ///
    /// ```
    /// # use wiesel_datastream::OutputTag;
    /// use wiesel_operators::{
    ///     FunctionError, BroadcastState, BroadcastStates, KeyedBroadcastContext,
    ///     KeyedBroadcastProcessFunction, KeyedContext, StateRegistry,
    /// };
    /// use wiesel_record::Out;
    ///
    /// const LIMIT: BroadcastState<u64, u64> = BroadcastState::new("limit");
    ///
    /// /// Orders within the limit that was broadcast last; others are put aside.
    /// #[derive(Clone)]
    /// struct Within;
    ///
    /// impl KeyedBroadcastProcessFunction<u64, (u64, u64), u64> for Within {
    ///     type Out = (u64, u64);
    ///     type Side = (u64, u64);
    ///
    ///     fn open(&mut self, _states: &mut StateRegistry) {} // Without state of its keys.
    ///
    ///     fn process(
    ///         &mut self,
    ///         order: (u64, u64),
    ///         states: &BroadcastStates,
    ///         context: &mut KeyedContext<'_, u64, (u64, u64)>,
    ///         out: &mut dyn Out<(u64, u64)>,
    ///     ) -> Result<(), FunctionError> {
    ///         let is_within = states.map(&LIMIT).get(0).is_none_or(|limit| order.1 <= limit);
    ///         if is_within { out.emit(order) } else { context.side(order) }
    ///         Ok(())
    ///     }
    ///
    ///     fn process_broadcast(
    ///         &mut self,
    ///         limit: u64,
    ///         states: &mut BroadcastStates,
    ///         _context: &mut KeyedBroadcastContext<'_, u64, (u64, u64)>,
    ///         _out: &mut dyn Out<(u64, u64)>,
    ///     ) -> Result<(), FunctionError> {
    ///         states.put(&LIMIT, 0, limit);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64), (8, 20), (7, 10)]);
    /// # let orders = orders.key_by::<u64>(|(user, _)| user);
    /// // Orders are (user, cents), by user.
    /// let above = OutputTag::new("above");
    /// let limits = env.from_collection([25_u64]).broadcast_state(&LIMIT);
    /// let within = orders.connect_broadcast(limits).process_with_side(Within, &above);
    /// within.get_side_output(&above).print();
    /// within.print();
    /// ```
    pub fn process_with_side<P: KeyedBroadcastProcessFunction<K, T, B>>(
        self,
        function: P,
        tag: &OutputTag<P::Side>,
    ) -> KeyedBroadcastStream<T, B, K, F, P> {
        let slot = self.input.builder.declare_side::<P::Side>(self.input.vertex, tag.id());
        self.start(function, Some(slot))
    }

    /// How many subtasks keep the keys.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64), (8, 20), (7, 10)]);
    /// # let orders = orders.key_by::<u64>(|(user, _)| user);
    /// // Orders are (user, cents), by user.
    /// # use wiesel_operators::BroadcastState;
    /// const LIMIT: BroadcastState<u64, u64> = BroadcastState::new("limit");
    ///
    /// let limits = env.from_collection([25_u64]).broadcast_state(&LIMIT);
    /// let both = orders.connect_broadcast(limits).set_parallelism(4); // Then `.process(..)`.
    /// # drop(both);
    /// ```
    pub fn set_parallelism(self, parallelism: u32) -> Self {
        self.input.builder.set_parallelism(self.input.vertex, parallelism);
        self
    }
}
