//! A stream partitioned by key: every subtask sees all records of its keys, in order.

use std::marker::PhantomData;

use wiesel_operators::{
    Aggregate, AggregateFunction, Aggregated, ByRank, Chain, Count, Counted, Fold, Folding,
    KeyedHeadStart, KeyedProcessFunction, KeyedProcessStart, KeyedStart, Max, Min, Nothing, Number,
    OfNumber, Reduce, RollingStart, Start, Sum, Tumbling,
};
use wiesel_record::{FnView, Key, Record};

use crate::{DataStream, OutputTag, WindowedStream, builder::GraphBuilder};

/// A stream of `T` with keys of type `K`.
#[must_use = "a keyed stream does nothing until an operator is applied to it"]
pub struct KeyedStream<T: Record, K: Key, F> {
    pub(crate) builder: GraphBuilder,
    pub(crate) vertex: usize,
    pub(crate) key_of: F,
    pub(crate) has_time: bool,
    types: PhantomData<fn(T) -> K>,
}

impl<T, K, F> KeyedStream<T, K, F>
where
    T: Record,
    K: Key,
    F: for<'a> FnView<'a, T::View<'a>, K::View<'a>> + Clone + Send + 'static,
{
    pub(crate) fn new(builder: GraphBuilder, vertex: usize, key_of: F, has_time: bool) -> Self {
        Self { builder, vertex, key_of, has_time, types: PhantomData }
    }

    /// Starts the chain behind the exchange with a keyed operator.
    pub(crate) fn operate<P, O>(
        self,
        name: String,
        operator: P,
    ) -> DataStream<O, impl Start<Out = O>, impl Chain<O, Out = O>>
    where
        O: Record,
        P: KeyedStart<T, K>,
        P::Operator: wiesel_operators::KeyedOperator<T, K, Out = O>,
    {
        self.builder.vertex(self.vertex, |vertex| {
            vertex.is_stateful = true;
            vertex.reads_time = true;
            if let Some(operator) = vertex.operators.last_mut() {
                operator.name = name;
            }
        });
        DataStream {
            builder: self.builder,
            vertex: self.vertex,
            start: KeyedHeadStart::<T, K, F, P>::new(self.key_of, operator),
            chain: Nothing::new(),
            has_time: self.has_time,
            types: PhantomData,
        }
    }

    fn rolling<A: Folding<K, T>>(
        self,
        name: &'static str,
        folding: A,
    ) -> DataStream<A::Out, impl Start<Out = A::Out>, impl Chain<A::Out, Out = A::Out>> {
        self.operate::<_, A::Out>(name.to_owned(), RollingStart(folding))
    }

    /// How often each key has come, after every record.
    pub fn count(
        self,
    ) -> DataStream<
        Counted<K>,
        impl Start<Out = Counted<K>>,
        impl Chain<Counted<K>, Out = Counted<K>>,
    > {
        self.rolling("Count", Count)
    }

    /// Combines the records of a key two by two, and emits the combination after every record.
    pub fn reduce<R>(
        self,
        function: R,
    ) -> DataStream<T, impl Start<Out = T>, impl Chain<T, Out = T>>
    where
        R: for<'a, 'b> Fn(T::View<'a>, T::View<'b>) -> T + Clone + Send + 'static,
    {
        self.rolling("Reduce", Reduce(function))
    }

    /// Adds the records of a key to an accumulator that starts as `initial`, and emits it after every record.
    pub fn fold<A, R>(
        self,
        initial: A,
        function: R,
    ) -> DataStream<
        Aggregated<K, A>,
        impl Start<Out = Aggregated<K, A>>,
        impl Chain<Aggregated<K, A>, Out = Aggregated<K, A>>,
    >
    where
        A: Record + Clone,
        R: for<'a> Fn(&mut A, T::View<'a>) + Clone + Send + 'static,
    {
        self.rolling("Fold", Fold { initial, function })
    }

    /// Aggregates with a function of three parts, and emits its result after every record.
    pub fn aggregate<A: AggregateFunction<T>>(
        self,
        function: A,
    ) -> DataStream<
        Aggregated<K, A::Out>,
        impl Start<Out = Aggregated<K, A::Out>>,
        impl Chain<Aggregated<K, A::Out>, Out = Aggregated<K, A::Out>>,
    > {
        self.rolling("Aggregate", Aggregate(function))
    }

    /// The sum so far of a number of each record. Overflow fails the job; it never wraps.
    pub fn sum<N: Number, R>(
        self,
        number_of: R,
    ) -> DataStream<
        Aggregated<K, N>,
        impl Start<Out = Aggregated<K, N>>,
        impl Chain<Aggregated<K, N>, Out = Aggregated<K, N>>,
    >
    where
        R: for<'a> Fn(T::View<'a>) -> N + Clone + Send + 'static,
    {
        self.rolling("Sum", OfNumber::new(number_of, Sum))
    }

    /// The least number so far.
    pub fn min<N: Number, R>(
        self,
        number_of: R,
    ) -> DataStream<
        Aggregated<K, N>,
        impl Start<Out = Aggregated<K, N>>,
        impl Chain<Aggregated<K, N>, Out = Aggregated<K, N>>,
    >
    where
        R: for<'a> Fn(T::View<'a>) -> N + Clone + Send + 'static,
    {
        self.rolling("Min", OfNumber::new(number_of, Min))
    }

    /// The greatest number so far.
    pub fn max<N: Number, R>(
        self,
        number_of: R,
    ) -> DataStream<
        Aggregated<K, N>,
        impl Start<Out = Aggregated<K, N>>,
        impl Chain<Aggregated<K, N>, Out = Aggregated<K, N>>,
    >
    where
        R: for<'a> Fn(T::View<'a>) -> N + Clone + Send + 'static,
    {
        self.rolling("Max", OfNumber::new(number_of, Max))
    }

    /// The whole record of the least rank so far; the first of equals stays.
    pub fn min_by<R, G>(
        self,
        rank_of: G,
    ) -> DataStream<T, impl Start<Out = T>, impl Chain<T, Out = T>>
    where
        R: PartialOrd + 'static,
        G: for<'a> Fn(T::View<'a>) -> R + Clone + Send + 'static,
    {
        self.rolling("MinBy", ByRank::min(rank_of))
    }

    /// The whole record of the greatest rank so far; the first of equals stays.
    pub fn max_by<R, G>(
        self,
        rank_of: G,
    ) -> DataStream<T, impl Start<Out = T>, impl Chain<T, Out = T>>
    where
        R: PartialOrd + 'static,
        G: for<'a> Fn(T::View<'a>) -> R + Clone + Send + 'static,
    {
        self.rolling("MaxBy", ByRank::max(rank_of))
    }

    /// Processes the records of each key with state and timers.
    pub fn process<P: KeyedProcessFunction<K, T>>(
        self,
        function: P,
    ) -> DataStream<P::Out, impl Start<Out = P::Out>, impl Chain<P::Out, Out = P::Out>> {
        self.operate::<_, P::Out>("KeyedProcess".to_owned(), KeyedProcessStart::new(function, None))
    }

    /// As [`process`](Self::process); what the function puts aside is in
    /// [`get_side_output`](DataStream::get_side_output) of what this returns.
    pub fn process_with_side<P: KeyedProcessFunction<K, T>>(
        self,
        function: P,
        tag: &OutputTag<P::Side>,
    ) -> DataStream<P::Out, impl Start<Out = P::Out>, impl Chain<P::Out, Out = P::Out>> {
        let slot = self.builder.declare_side::<P::Side>(self.vertex, tag.id());
        let start = KeyedProcessStart::new(function, Some(slot));
        self.operate::<_, P::Out>("KeyedProcess".to_owned(), start)
    }

    /// Puts the records of each key into windows of event time.
    ///
    /// A window without an aggregate is not a stream: the next call says what to do with the records.
    pub fn window(self, windows: Tumbling) -> WindowedStream<T, K, F> {
        WindowedStream::new(self, windows)
    }

    /// How many subtasks keep the keys.
    pub fn set_parallelism(self, parallelism: u32) -> Self {
        self.builder.vertex(self.vertex, |vertex| vertex.parallelism = Some(parallelism));
        self
    }
}
