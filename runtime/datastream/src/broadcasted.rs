//! Broadcast state: a stream that every subtask gets, and whose records say what others do with theirs.
//!
//! ```text
//!   stream ── forward ─────▶ input 0 ─┐
//!   or keyed ── by key ────▶ input 0 ─┼─▶ one vertex: .process(function)
//!   rules ── to everyone ──▶ input 1 ─┘     maps with the same content in every subtask
//! ```
//!
//! # What is always true
//!
//! 1. Between the records of both streams there is no order. In batch mode all that is broadcast comes first.
//! 2. A checkpoint has the maps of every subtask. A restore gives new subtask `i` the copy of old subtask `i` modulo
//!    their number.

use std::marker::PhantomData;

use wiesel_operators::{
    BroadcastProcessFunction, BroadcastStart, BroadcastState, Chain, KeyedBroadcastProcessFunction,
    KeyedBroadcastStart, Nothing, OperatorStateRegistry, Start,
};
use wiesel_record::{FnView, Key, Record};

use crate::{
    ConnectedStreams, DataStream, KeyedStream, OutputTag, builder::Exchange, keyed::KeyedInput,
};

/// What comes out of a function over a stream without keys and a broadcast one.
pub type BroadcastProcessStream<T, B, F> = DataStream<
    <F as BroadcastProcessFunction<T, B>>::Out,
    BroadcastStart<T, B, F>,
    Nothing<<F as BroadcastProcessFunction<T, B>>::Out>,
>;

/// What comes out of a function over a keyed stream and a broadcast one.
pub type KeyedBroadcastStream<T, B, K, F, P> = DataStream<
    <P as KeyedBroadcastProcessFunction<K, T, B>>::Out,
    KeyedBroadcastStart<T, B, K, F, P>,
    Nothing<<P as KeyedBroadcastProcessFunction<K, T, B>>::Out>,
>;

/// A stream that every subtask of the next operator gets, and the maps that its records write there.
#[must_use = "a broadcast stream does nothing until another one is connected with it: `other.connect_broadcast(this)`"]
pub struct BroadcastStream<T: Record, S: Start, C: Chain<S::Out, Out = T>> {
    stream: DataStream<T, S, C>,
    states: OperatorStateRegistry,
}

impl<T: Record, S: Start, C: Chain<S::Out, Out = T>> DataStream<T, S, C> {
    /// Gives every subtask every record, to write `state` with. Flink's `broadcast` with a descriptor.
    ///
    /// ```
    /// # use wiesel_datastream::Environment;
    /// use wiesel_operators::{
    ///     AggregateError, BroadcastProcessFunction, BroadcastState, BroadcastStates, ProcessContext,
    /// };
    /// use wiesel_record::Out;
    ///
    /// const BLOCKED: BroadcastState<String, ()> = BroadcastState::new("blocked");
    ///
    /// /// Drops the words that the broadcast stream has named.
    /// #[derive(Clone)]
    /// struct Unblocked;
    ///
    /// impl BroadcastProcessFunction<String, String> for Unblocked {
    ///     type Out = String;
    ///     type Side = ();
    ///
    ///     fn process(
    ///         &mut self,
    ///         word: &str,
    ///         states: &BroadcastStates,
    ///         _context: &mut ProcessContext<'_, ()>,
    ///         out: &mut dyn Out<String>,
    ///     ) -> Result<(), AggregateError> {
    ///         if !states.map(&BLOCKED).contains(word) {
    ///             out.emit(word);
    ///         }
    ///         Ok(())
    ///     }
    ///
    ///     fn process_broadcast(
    ///         &mut self,
    ///         word: &str,
    ///         states: &mut BroadcastStates,
    ///         _context: &mut ProcessContext<'_, ()>,
    ///         _out: &mut dyn Out<String>,
    ///     ) -> Result<(), AggregateError> {
    ///         states.put(&BLOCKED, word, ());
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # let env = Environment::new();
    /// let words = env.from_collection(["to be or not".to_owned()]);
    /// let blocked = env.from_collection(["or".to_owned()]).broadcast_state(&BLOCKED);
    /// words
    ///     .flat_map::<String>(|line, out| line.split(' ').for_each(|word| out.emit(word)))
    ///     .connect_broadcast(blocked)
    ///     .process(Unblocked)
    ///     .print();
    /// ```
    pub fn broadcast_state<K: Key, V: Record>(
        self,
        state: &BroadcastState<K, V>,
    ) -> BroadcastStream<T, S, C> {
        let states = OperatorStateRegistry::default();
        BroadcastStream { stream: self, states }.with_state(state)
    }

    /// This stream and a broadcast one into one operator.
    pub fn connect_broadcast<T2, S2, C2>(
        self,
        other: BroadcastStream<T2, S2, C2>,
    ) -> BroadcastConnectedStream<T, T2>
    where
        T2: Record,
        S2: Start,
        C2: Chain<S2::Out, Out = T2>,
    {
        let streams = self.connect_by(other.stream, Exchange::Broadcast);
        BroadcastConnectedStream { streams, states: other.states }
    }
}

impl<T: Record, S: Start, C: Chain<S::Out, Out = T>> BroadcastStream<T, S, C> {
    /// Its records write this state too. Each state of an operator has its own name.
    pub fn with_state<K: Key, V: Record>(mut self, state: &BroadcastState<K, V>) -> Self {
        self.states.register(state);
        self
    }
}

/// A stream without keys and a broadcast one, into one operator.
#[must_use = "connected streams do nothing until a function is applied to them: `.process(..)`"]
pub struct BroadcastConnectedStream<T: Record, B: Record> {
    streams: ConnectedStreams<T, B>,
    states: OperatorStateRegistry,
}

impl<T: Record, B: Record> BroadcastConnectedStream<T, B> {
    fn start<F: BroadcastProcessFunction<T, B>>(
        self,
        function: F,
        side_slot: Option<usize>,
    ) -> BroadcastProcessStream<T, B, F> {
        let Self { streams, states } = self;
        let is_stateful = !states.is_empty();
        let start = BroadcastStart::new(function, states, side_slot);
        streams.start_with("BroadcastProcess", is_stateful, true, start)
    }

    /// Processes the records of both streams, by a method for each.
    pub fn process<F: BroadcastProcessFunction<T, B>>(
        self,
        function: F,
    ) -> BroadcastProcessStream<T, B, F> {
        self.start(function, None)
    }

    /// As [`process`](Self::process); what the function puts aside is in
    /// [`get_side_output`](DataStream::get_side_output) of what this returns.
    pub fn process_with_side<F: BroadcastProcessFunction<T, B>>(
        self,
        function: F,
        tag: &OutputTag<F::Side>,
    ) -> BroadcastProcessStream<T, B, F> {
        let slot = self.streams.builder.declare_side::<F::Side>(self.streams.vertex, tag.id());
        self.start(function, Some(slot))
    }

    /// How many subtasks run the operator.
    pub fn set_parallelism(self, parallelism: u32) -> Self {
        Self { streams: self.streams.set_parallelism(parallelism), ..self }
    }
}

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
    ///     AggregateError, BroadcastState, BroadcastStates, KeyedBroadcastContext,
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
    ///     ) -> Result<(), AggregateError> {
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
    ///     ) -> Result<(), AggregateError> {
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
    pub fn process<P: KeyedBroadcastProcessFunction<K, T, B>>(
        self,
        function: P,
    ) -> KeyedBroadcastStream<T, B, K, F, P> {
        self.start(function, None)
    }

    /// As [`process`](Self::process); what the function puts aside is in
    /// [`get_side_output`](DataStream::get_side_output) of what this returns.
    pub fn process_with_side<P: KeyedBroadcastProcessFunction<K, T, B>>(
        self,
        function: P,
        tag: &OutputTag<P::Side>,
    ) -> KeyedBroadcastStream<T, B, K, F, P> {
        let slot = self.input.builder.declare_side::<P::Side>(self.input.vertex, tag.id());
        self.start(function, Some(slot))
    }

    /// How many subtasks keep the keys.
    pub fn set_parallelism(self, parallelism: u32) -> Self {
        let Self { input, .. } = &self;
        input.builder.vertex(input.vertex, |vertex| vertex.parallelism = Some(parallelism));
        self
    }
}
