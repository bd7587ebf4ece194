//! A stream partitioned by key: every subtask sees all records of its keys, in order.

use std::marker::PhantomData;

use wiesel_operators::{
    Aggregate, AggregateFunction, ByRank, Chain, Count, Fold, Folding, KeyByTo, KeyedHeadStart,
    KeyedOperator, KeyedProcessFunction, KeyedProcessStart, KeyedStart, Max, Min, Nothing, Number,
    OfNumber, Partial, PreAggregateTo, Reduce, RollingStart, Start, Sum, Tumbling,
};
use wiesel_record::{FnView, Key, Record};

use crate::{
    DataStream, OutputTag, WindowedStream, Windowing,
    builder::{EdgeParts, Exchange, GraphBuilder, short_type_name},
    stream::forward_edge,
};

/// What comes out of a keyed operator that `P` makes.
pub type OperatedStream<T, K, F, P> =
    DataStream<OutOf<T, K, P>, KeyedHeadStart<T, K, F, P>, Nothing<OutOf<T, K, P>>>;

type OutOf<T, K, P> = <<P as KeyedStart<T, K>>::Operator as KeyedOperator<T, K>>::Out;

/// What comes out of a rolling aggregate.
pub type RollingStream<T, K, F, A> = OperatedStream<T, K, F, RollingStart<A>>;

/// A stream of `T` with keys of type `K`.
///
/// The last three parameters are never written: closures and chains infer them.
#[must_use = "a keyed stream does nothing until an operator is applied to it: `.count()`, `.reduce(..)`, `.process(..)`, `.window(..)`"]
pub struct KeyedStream<T: Record, K: Key, F, S: Start, C: Chain<S::Out, Out = T>> {
    /// The producer: what it ends in depends on the operator.
    producer: DataStream<T, S, C>,
    /// Of the operator behind the exchange.
    pub(crate) vertex: usize,
    key_of: F,
    types: PhantomData<fn() -> K>,
}

/// The consumer's side of a keyed exchange whose producer is complete.
pub(crate) struct KeyedInput<F> {
    pub(crate) builder: GraphBuilder,
    pub(crate) vertex: usize,
    pub(crate) key_of: F,
    pub(crate) has_time: bool,
}

impl<F> KeyedInput<F> {
    /// Starts the chain behind the exchange. An operator that does not look at event times, and has nobody behind it who
    /// does, gets frames without them.
    pub(crate) fn start<O: Record, S: Start<Out = O>>(
        self,
        name: String,
        reads_time: bool,
        start: impl FnOnce(F) -> S,
    ) -> DataStream<O, S, Nothing<O>> {
        self.builder.vertex(self.vertex, |vertex| {
            vertex.keeps_state();
            vertex.reads_time |= reads_time;
            if let Some(operator) = vertex.operators.last_mut() {
                operator.name = name;
            }
        });
        DataStream {
            builder: self.builder,
            vertex: self.vertex,
            start: start(self.key_of),
            chain: Nothing::new(),
            has_time: self.has_time,
            types: PhantomData,
        }
    }
}

impl<T, K, F, S, C> KeyedStream<T, K, F, S, C>
where
    T: Record,
    K: Key,
    F: for<'a> FnView<'a, T::View<'a>, K::View<'a>> + Clone + Send + 'static,
    S: Start,
    C: Chain<S::Out, Out = T>,
{
    pub(crate) fn new(producer: DataStream<T, S, C>, key_of: F) -> Self {
        let vertex = producer.builder.open_vertex(format!("KeyBy<{}>", short_type_name::<K>()));
        Self { producer, vertex, key_of, types: PhantomData }
    }

    /// The graph that it is in.
    pub(crate) fn builder(&self) -> &GraphBuilder {
        &self.producer.builder
    }

    /// Ends the producer in the exchange, record by record.
    pub(crate) fn close(self) -> KeyedInput<F> {
        let chain_of = |chain, key_of: &F| KeyByTo::<C, K, _>::new(chain, key_of.clone());
        self.close_in::<T, _>(chain_of)
    }

    /// Ends the producer in the exchange, with records combined in slices of event time.
    pub(crate) fn close_combined<A: Folding<K, T>>(
        self,
        slices: Tumbling,
        folding: A,
    ) -> KeyedInput<F> {
        let (vertex, served) = (self.producer.vertex, self.vertex);
        let position = self.builder().combiner(vertex, slices.size_ms(), served);
        self.close_in::<Partial<K, A::Acc>, _>(|chain, key_of| {
            PreAggregateTo::<C, K, _, A>::new(chain, key_of.clone(), folding, slices).at(position)
        })
    }

    fn close_in<R: Record, D: Chain<S::Out, Out = R>>(
        self,
        chain_of: impl FnOnce(C, &F) -> D,
    ) -> KeyedInput<F> {
        let DataStream { builder, vertex: source, start, chain, has_time, .. } = self.producer;
        let edge = forward_edge::<R>(source, self.vertex);
        builder.edge(EdgeParts { exchange: Exchange::Hash, needs_hash: true, ..edge });
        let chain = chain_of(chain, &self.key_of);
        DataStream::<R, S, D>::close(&builder, source, start, chain);
        KeyedInput { builder, vertex: self.vertex, key_of: self.key_of, has_time }
    }

    /// Starts the chain behind the exchange with a keyed operator.
    pub(crate) fn operate<P: KeyedStart<T, K>>(
        self,
        name: String,
        operator: P,
        reads_time: bool,
    ) -> OperatedStream<T, K, F, P> {
        let start = |key_of| KeyedHeadStart::<T, K, F, P>::new(key_of, operator);
        self.close().start(name, reads_time, start)
    }

    fn rolling<A: Folding<K, T>>(self, name: &str, folding: A) -> RollingStream<T, K, F, A> {
        self.operate(name.to_owned(), RollingStart(folding), false)
    }

    /// How often each key has come, after every record.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// let words = env.from_collection(["be".to_owned(), "or".to_owned(), "be".to_owned()]);
    /// words.key_by::<String>(|word| word).count().print(); // be 1, or 1, be 2
    /// ```
    pub fn count(self) -> RollingStream<T, K, F, Count> {
        self.rolling("Count", Count)
    }

    /// Combines the records of a key two by two, and emits the combination after every record.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64), (8, 20), (7, 10)]);
    /// # let orders = orders.key_by::<u64>(|(user, _)| user);
    /// // Orders are (user, cents), by user.
    /// orders.reduce(|(user, sum), (_, cents)| (user, sum + cents)).print(); // (7, 30), (8, 20), (7, 40)
    /// ```
    pub fn reduce<R>(self, function: R) -> RollingStream<T, K, F, Reduce<R>>
    where
        R: for<'a, 'b> Fn(T::View<'a>, T::View<'b>) -> T + Clone + Send + 'static,
    {
        self.rolling("Reduce", Reduce(function))
    }

    /// Adds the records of a key to an accumulator that starts as `initial`, and emits it after every record.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64), (8, 20), (7, 10)]);
    /// # let orders = orders.key_by::<u64>(|(user, _)| user);
    /// // Orders are (user, cents), by user.
    /// // The largest order so far, and how many there were.
    /// orders
    ///     .fold((0_u64, 0_u64), |seen: &mut (u64, u64), (_, cents)| {
    ///         *seen = (seen.0.max(cents), seen.1 + 1);
    ///     })
    ///     .print();
    /// ```
    pub fn fold<A, R>(self, initial: A, function: R) -> RollingStream<T, K, F, Fold<A, R>>
    where
        A: Record + Clone,
        R: for<'a> Fn(&mut A, T::View<'a>) + Clone + Send + 'static,
    {
        self.rolling("Fold", Fold { initial, function })
    }

    /// Aggregates with a function of three parts, and emits its result after every record.
    ///
    /// ```
    /// use wiesel_operators::AggregateFunction;
    ///
    /// /// The mean of the cents of some orders.
    /// #[derive(Clone)]
    /// struct Mean;
    ///
    /// impl AggregateFunction<(u64, u64)> for Mean {
    ///     type Acc = (u64, u64);
    ///     type Out = u64;
    ///     fn create_accumulator(&self) -> (u64, u64) {
    ///         (0, 0)
    ///     }
    ///     fn add(&self, acc: &mut (u64, u64), (_, cents): (u64, u64)) {
    ///         *acc = (acc.0 + cents, acc.1 + 1);
    ///     }
    ///     fn get_result(&self, (sum, count): (u64, u64)) -> u64 {
    ///         sum / count
    ///     }
    /// }
    ///
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64), (8, 20), (7, 10)]);
    /// # let orders = orders.key_by::<u64>(|(user, _)| user);
    /// // Orders are (user, cents), by user.
    /// orders.aggregate(Mean).print();
    /// ```
    pub fn aggregate<A: AggregateFunction<T>>(
        self,
        function: A,
    ) -> RollingStream<T, K, F, Aggregate<A>> {
        self.rolling("Aggregate", Aggregate(function))
    }

    /// The sum so far of a number of each record. Overflow fails the job; it never wraps.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64), (8, 20), (7, 10)]);
    /// # let orders = orders.key_by::<u64>(|(user, _)| user);
    /// // Orders are (user, cents), by user.
    /// orders.sum(|(_, cents)| cents).print(); // 7: 30, 8: 20, 7: 40
    /// ```
    pub fn sum<N: Number, R>(self, number_of: R) -> RollingStream<T, K, F, OfNumber<R, N, Sum>>
    where
        R: for<'a> Fn(T::View<'a>) -> N + Clone + Send + 'static,
    {
        self.rolling("Sum", OfNumber::new(number_of, Sum))
    }

    /// The least number so far.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64), (8, 20), (7, 10)]);
    /// # let orders = orders.key_by::<u64>(|(user, _)| user);
    /// // Orders are (user, cents), by user.
    /// orders.min(|(_, cents)| cents).print(); // 7: 30, 8: 20, 7: 10
    /// ```
    pub fn min<N: Number, R>(self, number_of: R) -> RollingStream<T, K, F, OfNumber<R, N, Min>>
    where
        R: for<'a> Fn(T::View<'a>) -> N + Clone + Send + 'static,
    {
        self.rolling("Min", OfNumber::new(number_of, Min))
    }

    /// The greatest number so far.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64), (8, 20), (7, 10)]);
    /// # let orders = orders.key_by::<u64>(|(user, _)| user);
    /// // Orders are (user, cents), by user.
    /// orders.max(|(_, cents)| cents).print(); // 7: 30, 8: 20, 7: 30
    /// ```
    pub fn max<N: Number, R>(self, number_of: R) -> RollingStream<T, K, F, OfNumber<R, N, Max>>
    where
        R: for<'a> Fn(T::View<'a>) -> N + Clone + Send + 'static,
    {
        self.rolling("Max", OfNumber::new(number_of, Max))
    }

    /// The whole record of the least rank so far; the first of equals stays.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64), (8, 20), (7, 10)]);
    /// # let orders = orders.key_by::<u64>(|(user, _)| user);
    /// // Orders are (user, cents), by user.
    /// orders.min_by(|(_, cents)| cents).print(); // (7, 30), (8, 20), (7, 10)
    /// ```
    pub fn min_by<R, G>(self, rank_of: G) -> RollingStream<T, K, F, ByRank<G, R>>
    where
        R: PartialOrd + 'static,
        G: for<'a> Fn(T::View<'a>) -> R + Clone + Send + 'static,
    {
        self.rolling("MinBy", ByRank::min(rank_of))
    }

    /// The whole record of the greatest rank so far; the first of equals stays.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64), (8, 20), (7, 10)]);
    /// # let orders = orders.key_by::<u64>(|(user, _)| user);
    /// // Orders are (user, cents), by user.
    /// orders.max_by(|(_, cents)| cents).print(); // (7, 30), (8, 20), (7, 30)
    /// ```
    pub fn max_by<R, G>(self, rank_of: G) -> RollingStream<T, K, F, ByRank<G, R>>
    where
        R: PartialOrd + 'static,
        G: for<'a> Fn(T::View<'a>) -> R + Clone + Send + 'static,
    {
        self.rolling("MaxBy", ByRank::max(rank_of))
    }

    /// Processes the records of each key with state and timers.
    ///
    /// ```
    /// # use wiesel_datastream::Environment;
    /// use wiesel_operators::{
    ///     FunctionError, KeyedContext, KeyedProcessFunction, MapState, StateRegistry,
    /// };
    /// use wiesel_record::Out;
    ///
    /// /// Passes on what a user has not said before.
    /// #[derive(Clone)]
    /// struct Distinct {
    ///     said: MapState<String, ()>,
    /// }
    ///
    /// impl KeyedProcessFunction<u64, (u64, String)> for Distinct {
    ///     type Out = String;
    ///     type Side = ();
    ///
    ///     fn open(&mut self, states: &mut StateRegistry) {
    ///         states.register(&mut self.said);
    ///     }
    ///
    ///     fn process(
    ///         &mut self,
    ///         (_, word): (u64, &str),
    ///         context: &mut KeyedContext<'_, u64, ()>,
    ///         out: &mut dyn Out<String>,
    ///     ) -> Result<(), FunctionError> {
    ///         if !context.map(&self.said).contains(word) {
    ///             context.put(&self.said, word, ());
    ///             out.emit(word);
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # let env = Environment::new();
    /// env.from_collection([(7, "yes".to_owned()), (7, "yes".to_owned())])
    ///     .key_by::<u64>(|(user, _)| user)
    ///     .process(Distinct { said: MapState::new("said") })
    ///     .print();
    /// ```
    pub fn process<P: KeyedProcessFunction<K, T>>(
        self,
        function: P,
    ) -> OperatedStream<T, K, F, KeyedProcessStart<P>> {
        self.operate("KeyedProcess".to_owned(), KeyedProcessStart::new(function, None), true)
    }

    /// As [`process`](Self::process); what the function puts aside is in
    /// [`get_side_output`](DataStream::get_side_output) of what this returns.
    ///
    /// ```
    /// # use wiesel_datastream::OutputTag;
    /// use wiesel_operators::{
    ///     FunctionError, KeyedContext, KeyedProcessFunction, StateRegistry,
    /// };
    /// use wiesel_record::Out;
    ///
    /// /// Large orders go on, small ones are put aside.
    /// #[derive(Clone)]
    /// struct Large;
    ///
    /// impl KeyedProcessFunction<u64, (u64, u64)> for Large {
    ///     type Out = (u64, u64);
    ///     type Side = (u64, u64);
    ///
    ///     fn open(&mut self, _states: &mut StateRegistry) {} // Without state.
    ///
    ///     fn process(
    ///         &mut self,
    ///         order: (u64, u64),
    ///         context: &mut KeyedContext<'_, u64, (u64, u64)>,
    ///         out: &mut dyn Out<(u64, u64)>,
    ///     ) -> Result<(), FunctionError> {
    ///         if order.1 < 25 { context.side(order) } else { out.emit(order) }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64), (8, 20), (7, 10)]);
    /// # let orders = orders.key_by::<u64>(|(user, _)| user);
    /// // Orders are (user, cents), by user.
    /// let small = OutputTag::new("small");
    /// let large = orders.process_with_side(Large, &small);
    /// large.get_side_output(&small).print();
    /// large.print();
    /// ```
    pub fn process_with_side<P: KeyedProcessFunction<K, T>>(
        self,
        function: P,
        tag: &OutputTag<P::Side>,
    ) -> OperatedStream<T, K, F, KeyedProcessStart<P>> {
        let slot = self.builder().declare_side::<P::Side>(self.vertex, tag.id());
        let start = KeyedProcessStart::new(function, Some(slot));
        self.operate("KeyedProcess".to_owned(), start, true)
    }

    /// Puts the records of each key into windows.
    ///
    /// A window without an aggregate is not a stream: the next call says what to do with the records.
    ///
    /// ```compile_fail,E0277
    /// # use wiesel_core::{Timestamp, seconds};
    /// # use wiesel_datastream::Environment;
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = Environment::new();
    /// env.from_collection([(7_u64, 1_000_i64)])
    ///     .watermarks(monotonous_timestamps(), |(_, at)| Timestamp::from_millis(at))
    ///     .key_by::<u64>(|(key, _)| key)
    ///     .window(Tumbling::event_time(seconds(10)))
    ///     .print(); // error: a window needs an aggregate before it is a stream
    /// ```
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_datastream::Environment;
    /// # use wiesel_operators::{Sliding, monotonous_timestamps};
    /// # let env = Environment::new();
    /// // Each key's count of the last minute, every ten seconds.
    /// env.from_collection([(7_u64, 1_000_i64), (8, 2_000)])
    ///     .watermarks(monotonous_timestamps(), |(_, at)| Timestamp::from_millis(at))
    ///     .key_by::<u64>(|(key, _)| key)
    ///     .window(Sliding::event_time(minutes(1), seconds(10)))
    ///     .count()
    ///     .print();
    /// ```
    ///
    /// Sessions grow until a key has been silent for a gap:
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes};
    /// # use wiesel_datastream::Environment;
    /// # use wiesel_operators::{Session, monotonous_timestamps};
    /// # let env = Environment::new();
    /// // How many pages each user looks at in a visit.
    /// env.from_collection([(7_u64, 1_000_i64), (8, 2_000), (7, 3_000)])
    ///     .watermarks(monotonous_timestamps(), |(_, at)| Timestamp::from_millis(at))
    ///     .key_by::<u64>(|(user, _)| user)
    ///     .window(Session::with_gap(minutes(30)))
    ///     .count()
    ///     .print();
    /// ```
    ///
    /// A fold has to say how two of its accumulators become one then:
    ///
    /// ```compile_fail,E0277
    /// # use wiesel_core::{Timestamp, minutes};
    /// # use wiesel_datastream::Environment;
    /// # use wiesel_operators::{Session, monotonous_timestamps};
    /// # let env = Environment::new();
    /// env.from_collection([(7_u64, 1_000_i64)])
    ///     .watermarks(monotonous_timestamps(), |(_, at)| Timestamp::from_millis(at))
    ///     .key_by::<u64>(|(user, _)| user)
    ///     .window(Session::with_gap(minutes(30)))
    ///     .fold(0_u64, |count, _| *count += 1) // `fold_merging` takes a function more.
    ///     .print();
    /// ```
    pub fn window<W: Windowing<T>>(self, windows: W) -> WindowedStream<T, K, F, S, C, W> {
        self.builder().mistake_of(windows.name(), windows.mistake());
        WindowedStream::new(self, windows)
    }

    /// How many subtasks keep the keys.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64), (8, 20), (7, 10)]);
    /// # let orders = orders.key_by::<u64>(|(user, _)| user);
    /// // Orders are (user, cents), by user.
    /// orders.set_parallelism(4).count().print();
    /// ```
    pub fn set_parallelism(self, parallelism: u32) -> Self {
        self.builder().set_parallelism(self.vertex, parallelism);
        self
    }
}
