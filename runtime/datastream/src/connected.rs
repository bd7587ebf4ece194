//! Two streams of different types into one operator: what remains to be said is what happens to the records of each.
//!
//! ```text
//!   first  ── edge to input 0 ─┐
//!                              ├─▶ one vertex, whose watermark is the least of both
//!   second ── edge to input 1 ─┘
//! ```
//!
//! # What is always true
//!
//! 1. Between the records of two streams there is no order.
//! 2. Connected keyed streams have keys of one type: a key's records of both streams meet in one subtask and one state.

use std::marker::PhantomData;

use wiesel_operators::{
    Chain, CoFlatMap, CoMap, CoProcessFunction, CoStart, KeyedCoHeadStart, KeyedCoOperator,
    KeyedCoProcessFunction, KeyedCoProcessStart, KeyedCoStart, Nothing, OperatorStateRegistry,
    Start,
};
use wiesel_record::{FnView, Key, Out, Record};

use crate::{
    DataStream, KeyedStream, OutputTag,
    builder::{Exchange, GraphBuilder},
};

/// What comes out of a function over two streams.
pub type CoStream<T1, T2, F> = DataStream<
    <F as CoProcessFunction<T1, T2>>::Out,
    CoStart<T1, T2, F>,
    Nothing<<F as CoProcessFunction<T1, T2>>::Out>,
>;

/// What comes out of an operator that `P` makes over two keyed streams.
pub type CoOperatedStream<T1, T2, K, F1, F2, P> = DataStream<
    CoOutOf<T1, T2, K, P>,
    KeyedCoHeadStart<T1, T2, K, F1, F2, P>,
    Nothing<CoOutOf<T1, T2, K, P>>,
>;

type CoOutOf<T1, T2, K, P> =
    <<P as KeyedCoStart<T1, T2, K>>::Operator as KeyedCoOperator<T1, T2, K>>::Out;

/// Two streams into one operator without keys.
#[must_use = "connected streams do nothing until a function is applied to them: `.map(.., ..)`, `.flat_map::<O>(.., ..)`, `.process(..)`"]
pub struct ConnectedStreams<T1: Record, T2: Record> {
    pub(crate) builder: GraphBuilder,
    pub(crate) vertex: usize,
    has_time: bool,
    types: PhantomData<fn(T1, T2)>,
}

impl<T: Record, S: Start, C: Chain<S::Out, Out = T>> DataStream<T, S, C> {
    /// This stream and another, of another type, into one operator.
    ///
    /// ```
    /// # use wiesel_datastream::Environment;
    /// # let env = Environment::new();
    /// let numbers = env.from_collection([1_u64, 2]);
    /// let words = env.from_collection(["three".to_owned()]);
    /// numbers.connect(words).map(|n| n, |word| word.len() as u64).print();
    /// ```
    pub fn connect<T2, S2, C2>(self, other: DataStream<T2, S2, C2>) -> ConnectedStreams<T, T2>
    where
        T2: Record,
        S2: Start,
        C2: Chain<S2::Out, Out = T2>,
    {
        self.connect_by(other, Exchange::Forward)
    }

    /// As [`connect`](Self::connect), with another way for the records of the other stream.
    pub(crate) fn connect_by<T2, S2, C2>(
        self,
        other: DataStream<T2, S2, C2>,
        exchange: Exchange,
    ) -> ConnectedStreams<T, T2>
    where
        T2: Record,
        S2: Start,
        C2: Chain<S2::Out, Out = T2>,
    {
        let (builder, has_time) = (self.builder.clone(), self.has_time && other.has_time);
        let vertex = builder.open_vertex("Connect");
        self.close_to(Exchange::Forward, vertex, 0);
        other.close_to(exchange, vertex, 1);
        ConnectedStreams { builder, vertex, has_time, types: PhantomData }
    }
}

impl<T1: Record, T2: Record> ConnectedStreams<T1, T2> {
    fn start<F: CoProcessFunction<T1, T2>>(
        self,
        name: &str,
        function: F,
        side_slot: Option<usize>,
        reads_time: bool,
    ) -> CoStream<T1, T2, F> {
        let mut states = OperatorStateRegistry::default();
        function.initialize_state(&mut states);
        self.start_with(name, !states.is_empty(), reads_time, CoStart::new(function, side_slot))
    }

    /// Starts the chain behind both exchanges.
    pub(crate) fn start_with<S: Start>(
        self,
        name: &str,
        is_stateful: bool,
        reads_time: bool,
        start: S,
    ) -> DataStream<S::Out, S, Nothing<S::Out>> {
        self.builder.name_first(self.vertex, name);
        self.builder.vertex(self.vertex, |vertex| {
            vertex.reads_time |= reads_time;
            if is_stateful {
                vertex.keeps_state();
            }
        });
        DataStream {
            builder: self.builder,
            vertex: self.vertex,
            start,
            chain: Nothing::new(),
            has_time: self.has_time,
            types: PhantomData,
        }
    }

    /// Builds a value from each record, by the function of its stream.
    pub fn map<O, A, B>(self, first: A, second: B) -> CoStream<T1, T2, CoMap<A, B, O>>
    where
        O: Record,
        A: for<'a> Fn(T1::View<'a>) -> O + Clone + Send + 'static,
        B: for<'a> Fn(T2::View<'a>) -> O + Clone + Send + 'static,
    {
        self.start("CoMap", CoMap::new(first, second), None, false)
    }

    /// Any number of views out of each record, by the function of its stream.
    ///
    /// ```
    /// # use wiesel_datastream::Environment;
    /// # let env = Environment::new();
    /// let lines = env.from_collection(["to be or".to_owned()]);
    /// let pairs = env.from_collection([("not".to_owned(), "to be".to_owned())]);
    /// lines
    ///     .connect(pairs)
    ///     .flat_map::<String>(
    ///         |line, out| line.split(' ').for_each(|word| out.emit(word)),
    ///         |(a, b), out| {
    ///             out.emit(a);
    ///             out.emit(b);
    ///         },
    ///     )
    ///     .print();
    /// ```
    pub fn flat_map<O: Record>(
        self,
        first: impl for<'a, 'e> Fn(T1::View<'a>, &'e mut dyn Out<O>) + Clone + Send + 'static,
        second: impl for<'a, 'e> Fn(T2::View<'a>, &'e mut dyn Out<O>) + Clone + Send + 'static,
    ) -> CoStream<T1, T2, impl CoProcessFunction<T1, T2, Out = O>> {
        self.start("CoFlatMap", CoFlatMap::new(first, second), None, false)
    }

    /// Processes record by record, with the event time at hand.
    pub fn process<F: CoProcessFunction<T1, T2>>(self, function: F) -> CoStream<T1, T2, F> {
        self.start("CoProcess", function, None, true)
    }

    /// As [`process`](Self::process); what the function puts aside is in
    /// [`get_side_output`](DataStream::get_side_output) of what this returns.
    pub fn process_with_side<F: CoProcessFunction<T1, T2>>(
        self,
        function: F,
        tag: &OutputTag<F::Side>,
    ) -> CoStream<T1, T2, F> {
        let slot = self.builder.declare_side::<F::Side>(self.vertex, tag.id());
        self.start("CoProcess", function, Some(slot), true)
    }

    /// How many subtasks run the operator.
    pub fn set_parallelism(self, parallelism: u32) -> Self {
        self.builder.vertex(self.vertex, |vertex| vertex.parallelism = Some(parallelism));
        self
    }
}

/// Two keyed streams into one operator: the records of a key meet in one state.
#[must_use = "connected streams do nothing until a function is applied to them: `.process(..)`"]
pub struct ConnectedKeyedStreams<T1: Record, T2: Record, K: Key, F1, F2> {
    pub(crate) builder: GraphBuilder,
    pub(crate) vertex: usize,
    first_key_of: F1,
    second_key_of: F2,
    has_time: bool,
    types: PhantomData<fn(T1, T2) -> K>,
}

impl<T1, K, F1, S1, C1> KeyedStream<T1, K, F1, S1, C1>
where
    T1: Record,
    K: Key,
    F1: for<'a> FnView<'a, T1::View<'a>, K::View<'a>> + Clone + Send + 'static,
    S1: Start,
    C1: Chain<S1::Out, Out = T1>,
{
    /// This keyed stream and another, with keys of the same type, into one operator. It has the parallelism of this one,
    /// or else of the other, if it was set.
    ///
    /// ```
    /// # use wiesel_datastream::Environment;
    /// # use wiesel_operators::{AggregateError, KeyedCoProcessFunction, KeyedContext, StateRegistry, ValueState};
    /// # use wiesel_record::Out;
    /// /// The orders of a user, each with what is in the account after it.
    /// #[derive(Clone)]
    /// struct Account(ValueState<i64>);
    ///
    /// impl KeyedCoProcessFunction<u64, (u64, i64), (u64, i64)> for Account {
    ///     type Out = (u64, i64);
    ///     type Side = ();
    ///
    ///     fn open(&mut self, states: &mut StateRegistry) {
    ///         states.register(&mut self.0);
    ///     }
    ///
    ///     fn process1(
    ///         &mut self,
    ///         (user, price): (u64, i64),
    ///         context: &mut KeyedContext<'_, u64, ()>,
    ///         out: &mut dyn Out<(u64, i64)>,
    ///     ) -> Result<(), AggregateError> {
    ///         let left = context.get(&self.0).unwrap_or(0) - price;
    ///         context.set(&self.0, left);
    ///         out.emit((user, left));
    ///         Ok(())
    ///     }
    ///
    ///     fn process2(
    ///         &mut self,
    ///         (_, paid): (u64, i64),
    ///         context: &mut KeyedContext<'_, u64, ()>,
    ///         _out: &mut dyn Out<(u64, i64)>,
    ///     ) -> Result<(), AggregateError> {
    ///         let left = context.get(&self.0).unwrap_or(0) + paid;
    ///         context.set(&self.0, left);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # let env = Environment::new();
    /// let orders = env.from_collection([(7_u64, 30_i64)]).key_by::<u64>(|(user, _)| user);
    /// let payments = env.from_collection([(7_u64, 50_i64)]).key_by::<u64>(|(user, _)| user);
    /// orders.connect(payments).process(Account(ValueState::new("account"))).print();
    /// ```
    pub fn connect<T2, F2, S2, C2>(
        self,
        other: KeyedStream<T2, K, F2, S2, C2>,
    ) -> ConnectedKeyedStreams<T1, T2, K, F1, F2>
    where
        T2: Record,
        F2: for<'a> FnView<'a, T2::View<'a>, K::View<'a>> + Clone + Send + 'static,
        S2: Start,
        C2: Chain<S2::Out, Out = T2>,
    {
        let (first, second) = (self.close(), other.close());
        first.builder.absorb(first.vertex, second.vertex, 1);
        ConnectedKeyedStreams {
            builder: first.builder,
            vertex: first.vertex,
            first_key_of: first.key_of,
            second_key_of: second.key_of,
            has_time: first.has_time && second.has_time,
            types: PhantomData,
        }
    }
}

impl<T1, T2, K, F1, F2> ConnectedKeyedStreams<T1, T2, K, F1, F2>
where
    T1: Record,
    T2: Record,
    K: Key,
    F1: for<'a> FnView<'a, T1::View<'a>, K::View<'a>> + Clone + Send + 'static,
    F2: for<'a> FnView<'a, T2::View<'a>, K::View<'a>> + Clone + Send + 'static,
{
    /// Starts the chain behind the exchanges with an operator.
    pub(crate) fn operate<P: KeyedCoStart<T1, T2, K>>(
        self,
        name: &str,
        operator: P,
        reads_time: bool,
    ) -> CoOperatedStream<T1, T2, K, F1, F2, P> {
        self.builder.name_first(self.vertex, name);
        self.builder.vertex(self.vertex, |vertex| {
            vertex.keeps_state();
            vertex.reads_time |= reads_time;
        });
        DataStream {
            builder: self.builder,
            vertex: self.vertex,
            start: KeyedCoHeadStart::new(self.first_key_of, self.second_key_of, operator),
            chain: Nothing::new(),
            has_time: self.has_time,
            types: PhantomData,
        }
    }

    /// Processes the records of each key with state and timers, by a method for each stream.
    pub fn process<P: KeyedCoProcessFunction<K, T1, T2>>(
        self,
        function: P,
    ) -> CoOperatedStream<T1, T2, K, F1, F2, KeyedCoProcessStart<P>> {
        self.operate("KeyedCoProcess", KeyedCoProcessStart::new(function, None), true)
    }

    /// As [`process`](Self::process); what the function puts aside is in
    /// [`get_side_output`](DataStream::get_side_output) of what this returns.
    pub fn process_with_side<P: KeyedCoProcessFunction<K, T1, T2>>(
        self,
        function: P,
        tag: &OutputTag<P::Side>,
    ) -> CoOperatedStream<T1, T2, K, F1, F2, KeyedCoProcessStart<P>> {
        let slot = self.builder.declare_side::<P::Side>(self.vertex, tag.id());
        self.operate("KeyedCoProcess", KeyedCoProcessStart::new(function, Some(slot)), true)
    }

    /// How many subtasks keep the keys.
    pub fn set_parallelism(self, parallelism: u32) -> Self {
        self.builder.vertex(self.vertex, |vertex| vertex.parallelism = Some(parallelism));
        self
    }
}
