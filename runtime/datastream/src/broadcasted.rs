//! Broadcast state: a stream that every subtask gets, and whose records say what others do with theirs.
//!
//! ```text
//!   stream ── forward ─────▶ input 0 ─┐
//!   or keyed ── by key ────▶ input 0 ─┼─▶ one vertex: .process(function)       (keyed_broadcasted.rs)
//!   rules ── to everyone ──▶ input 1 ─┘     maps with the same content in every subtask
//! ```
//!
//! # What is always true
//!
//! 1. Between the records of both streams there is no order. In batch mode all that is broadcast comes first.
//! 2. A checkpoint has the maps of every subtask. A restore gives new subtask `i` the copy of old subtask `i` modulo
//!    their number.

use wiesel_operators::{
    BroadcastProcessFunction, BroadcastStart, BroadcastState, Chain, Nothing,
    OperatorStateRegistry, Start,
};
use wiesel_record::{Key, Record};

use crate::{ConnectedStreams, DataStream, OutputTag, builder::Exchange};

/// What comes out of a function over a stream without keys and a broadcast one.
pub type BroadcastProcessStream<T, B, F> = DataStream<
    <F as BroadcastProcessFunction<T, B>>::Out,
    BroadcastStart<T, B, F>,
    Nothing<<F as BroadcastProcessFunction<T, B>>::Out>,
>;

/// A stream that every subtask of the next operator gets, and the maps that its records write there.
#[must_use = "a broadcast stream does nothing until another one is connected with it: `other.connect_broadcast(this)`"]
pub struct BroadcastStream<T: Record, S: Start, C: Chain<S::Out, Out = T>> {
    pub(crate) stream: DataStream<T, S, C>,
    pub(crate) states: OperatorStateRegistry,
}

impl<T: Record, S: Start, C: Chain<S::Out, Out = T>> DataStream<T, S, C> {
    /// Gives every subtask every record, to write `state` with. Flink's `broadcast` with a descriptor.
    ///
    /// ```
    /// # use wiesel_datastream::Environment;
    /// use wiesel_operators::{
    ///     FunctionError, BroadcastProcessFunction, BroadcastState, BroadcastStates, ProcessContext,
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
    ///     ) -> Result<(), FunctionError> {
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
    ///     ) -> Result<(), FunctionError> {
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
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// # use wiesel_operators::BroadcastState;
    /// const BLOCKED: BroadcastState<String, ()> = BroadcastState::new("blocked");
    ///
    /// let blocked = env.from_collection(["or".to_owned()]).broadcast_state(&BLOCKED);
    /// let words = env.from_collection(["to".to_owned(), "be".to_owned()]);
    /// let both = words.connect_broadcast(blocked); // Then `.process(..)`, as at `broadcast_state`.
    /// # drop(both);
    /// ```
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
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// # use wiesel_operators::BroadcastState;
    /// const BLOCKED: BroadcastState<String, ()> = BroadcastState::new("blocked");
    /// const RENAMED: BroadcastState<String, String> = BroadcastState::new("renamed");
    ///
    /// let rules = env.from_collection(["or".to_owned()]);
    /// let rules = rules.broadcast_state(&BLOCKED).with_state(&RENAMED);
    /// # drop(rules);
    /// ```
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
        let start = BroadcastStart::new(function, states.clone(), side_slot);
        streams.start_with("BroadcastProcess", &states, true, start)
    }

    /// Processes the records of both streams, by a method for each.
    ///
    /// ```
    /// use wiesel_operators::{
    ///     FunctionError, BroadcastProcessFunction, BroadcastState, BroadcastStates, ProcessContext,
    /// };
    /// use wiesel_record::Out;
    ///
    /// const RATE: BroadcastState<u64, u64> = BroadcastState::new("rate");
    ///
    /// /// Prices times the rate that was broadcast last.
    /// #[derive(Clone)]
    /// struct Converted;
    ///
    /// impl BroadcastProcessFunction<u64, u64> for Converted {
    ///     type Out = u64;
    ///     type Side = ();
    ///
    ///     fn process(
    ///         &mut self,
    ///         price: u64,
    ///         states: &BroadcastStates,
    ///         _context: &mut ProcessContext<'_, ()>,
    ///         out: &mut dyn Out<u64>,
    ///     ) -> Result<(), FunctionError> {
    ///         out.emit(price * states.map(&RATE).get(0).unwrap_or(1));
    ///         Ok(())
    ///     }
    ///
    ///     fn process_broadcast(
    ///         &mut self,
    ///         rate: u64,
    ///         states: &mut BroadcastStates,
    ///         _context: &mut ProcessContext<'_, ()>,
    ///         _out: &mut dyn Out<u64>,
    ///     ) -> Result<(), FunctionError> {
    ///         states.put(&RATE, 0, rate);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # let env = wiesel_datastream::Environment::new();
    /// let rates = env.from_collection([92_u64]).broadcast_state(&RATE);
    /// env.from_collection([3_u64, 4]).connect_broadcast(rates).process(Converted).print();
    /// ```
    pub fn process<F: BroadcastProcessFunction<T, B>>(
        self,
        function: F,
    ) -> BroadcastProcessStream<T, B, F> {
        self.start(function, None)
    }

    /// As [`process`](Self::process); what the function puts aside is in
    /// [`get_side_output`](DataStream::get_side_output) of what this returns.
    ///
    /// ```
    /// # use wiesel_datastream::OutputTag;
    /// use wiesel_operators::{
    ///     FunctionError, BroadcastProcessFunction, BroadcastState, BroadcastStates, ProcessContext,
    /// };
    /// use wiesel_record::Out;
    ///
    /// const RATE: BroadcastState<u64, u64> = BroadcastState::new("rate");
    ///
    /// /// As at `process`, but prices that come before the first rate are put aside.
    /// #[derive(Clone)]
    /// struct Converted;
    ///
    /// impl BroadcastProcessFunction<u64, u64> for Converted {
    ///     type Out = u64;
    ///     type Side = u64;
    ///
    ///     fn process(
    ///         &mut self,
    ///         price: u64,
    ///         states: &BroadcastStates,
    ///         context: &mut ProcessContext<'_, u64>,
    ///         out: &mut dyn Out<u64>,
    ///     ) -> Result<(), FunctionError> {
    ///         match states.map(&RATE).get(0) {
    ///             Some(rate) => out.emit(price * rate),
    ///             None => context.side(price),
    ///         }
    ///         Ok(())
    ///     }
    ///
    ///     fn process_broadcast(
    ///         &mut self,
    ///         rate: u64,
    ///         states: &mut BroadcastStates,
    ///         _context: &mut ProcessContext<'_, u64>,
    ///         _out: &mut dyn Out<u64>,
    ///     ) -> Result<(), FunctionError> {
    ///         states.put(&RATE, 0, rate);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # let env = wiesel_datastream::Environment::new();
    /// let early = OutputTag::new("early");
    /// let rates = env.from_collection([92_u64]).broadcast_state(&RATE);
    /// let prices = env.from_collection([3_u64, 4]).connect_broadcast(rates);
    /// let converted = prices.process_with_side(Converted, &early);
    /// converted.get_side_output(&early).print();
    /// converted.print();
    /// ```
    pub fn process_with_side<F: BroadcastProcessFunction<T, B>>(
        self,
        function: F,
        tag: &OutputTag<F::Side>,
    ) -> BroadcastProcessStream<T, B, F> {
        let slot = self.streams.builder.declare_side::<F::Side>(self.streams.vertex, tag.id());
        self.start(function, Some(slot))
    }

    /// How many subtasks run the operator.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// # use wiesel_operators::BroadcastState;
    /// const BLOCKED: BroadcastState<String, ()> = BroadcastState::new("blocked");
    ///
    /// let blocked = env.from_collection(["or".to_owned()]).broadcast_state(&BLOCKED);
    /// let words = env.from_collection(["to".to_owned(), "be".to_owned()]);
    /// let both = words.connect_broadcast(blocked).set_parallelism(1); // Then `.process(..)`.
    /// # drop(both);
    /// ```
    pub fn set_parallelism(self, parallelism: u32) -> Self {
        Self { streams: self.streams.set_parallelism(parallelism), ..self }
    }
}
