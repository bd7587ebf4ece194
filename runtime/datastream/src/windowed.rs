//! Streams in windows: what remains to be said is how to aggregate.

use std::{cmp::Ordering, marker::PhantomData, time::Duration};

use wiesel_operators::{
    Aggregate, AggregateFunction, AllWindowsStart, ByRank, Chain, Count, EventTimeWindows, Fold,
    Folding, KeyedOperator, KeyedStart, Max, Min, Nothing, Number, OfNumber, Ranked, Reduce,
    Sliding, SlidingStart, Start, Sum, TopN, Tumbling, TumblingStart, WindowOptions,
};
use wiesel_record::{FnView, Key, Record};

use crate::{
    DataStream, KeyedStream, OutputTag,
    builder::{Exchange, GraphBuilder},
    keyed::OperatedStream,
};

/// Which windows a record is in: [`Tumbling`] or [`Sliding`].
#[diagnostic::on_unimplemented(
    message = "these are no windows",
    label = "must be `Tumbling::event_time(size)` or `Sliding::event_time(size, slide)`"
)]
pub trait WindowAssigner: EventTimeWindows {
    /// What makes the operator that aggregates in them.
    type Start<K: Key, T: Record, A: Folding<K, T>>: KeyedStart<T, K, Operator: KeyedOperator<T, K, Out = A::Out>>;

    /// Makes it.
    fn start<K: Key, T: Record, A: Folding<K, T>>(
        folding: A,
        options: WindowOptions<Self>,
    ) -> Self::Start<K, T, A>;

    /// As plans name them.
    fn name(self) -> String;
}

impl WindowAssigner for Tumbling {
    type Start<K: Key, T: Record, A: Folding<K, T>> = TumblingStart<A>;

    fn start<K: Key, T: Record, A: Folding<K, T>>(
        folding: A,
        options: WindowOptions<Self>,
    ) -> TumblingStart<A> {
        TumblingStart::new(folding, options)
    }

    fn name(self) -> String {
        format!("Tumbling({} ms)", self.size_ms())
    }
}

impl WindowAssigner for Sliding {
    type Start<K: Key, T: Record, A: Folding<K, T>> = SlidingStart<A>;

    fn start<K: Key, T: Record, A: Folding<K, T>>(
        folding: A,
        options: WindowOptions<Self>,
    ) -> SlidingStart<A> {
        SlidingStart::new(folding, options)
    }

    fn name(self) -> String {
        format!("Sliding({} ms, {} ms)", self.size_ms(), self.slide_ms())
    }
}

/// What comes out of the windows `W` of a keyed stream.
pub type WindowStream<T, K, F, A, W> =
    OperatedStream<T, K, F, <W as WindowAssigner>::Start<K, T, A>>;

/// What comes out of the windows of a whole stream.
pub type AllWindowStream<T, A, W> = DataStream<
    <A as Folding<(), T>>::Out,
    AllWindowsStart<A, T, W>,
    Nothing<<A as Folding<(), T>>::Out>,
>;

/// A keyed stream in windows.
#[must_use = "a windowed stream does nothing until it is aggregated"]
pub struct WindowedStream<T: Record, K: Key, F, W> {
    keyed: KeyedStream<T, K, F>,
    options: WindowOptions<W>,
}

impl<T, K, F, W> WindowedStream<T, K, F, W>
where
    T: Record,
    K: Key,
    W: WindowAssigner,
    F: for<'a> FnView<'a, T::View<'a>, K::View<'a>> + Clone + Send + 'static,
{
    pub(crate) fn new(keyed: KeyedStream<T, K, F>, windows: W) -> Self {
        Self { keyed, options: WindowOptions::new(windows) }
    }

    /// Keeps a window this long after it has fired; a late record fires its key's result again.
    pub fn allowed_lateness(mut self, lateness: Duration) -> Self {
        self.options.allowed_lateness = lateness;
        self
    }

    /// Sends records that come too late to `tag` instead of counting them.
    pub fn side_output_late_data(mut self, tag: &OutputTag<T>) -> Self {
        let slot = self.keyed.builder.declare_side::<T>(self.keyed.vertex, tag.id());
        self.options.late_slot = Some(slot);
        self
    }

    fn windowed<A: Folding<K, T>>(self, what: &str, folding: A) -> WindowStream<T, K, F, A, W> {
        let name = format!("{}.{what}", self.options.windows.name());
        self.keyed.operate(name, W::start::<K, T, A>(folding, self.options), true)
    }

    /// How often each key came in the window.
    pub fn count(self) -> WindowStream<T, K, F, Count, W> {
        self.windowed("Count", Count)
    }

    /// Combines the records of a key and window two by two.
    pub fn reduce<R>(self, function: R) -> WindowStream<T, K, F, Reduce<R>, W>
    where
        R: for<'a, 'b> Fn(T::View<'a>, T::View<'b>) -> T + Clone + Send + 'static,
    {
        self.windowed("Reduce", Reduce(function))
    }

    /// Adds the records of a key and window to an accumulator that starts as `initial`.
    pub fn fold<A, R>(self, initial: A, function: R) -> WindowStream<T, K, F, Fold<A, R>, W>
    where
        A: Record + Clone,
        R: for<'a> Fn(&mut A, T::View<'a>) + Clone + Send + 'static,
    {
        self.windowed("Fold", Fold { initial, function })
    }

    /// Aggregates with a function of three parts.
    pub fn aggregate<A: AggregateFunction<T>>(
        self,
        function: A,
    ) -> WindowStream<T, K, F, Aggregate<A>, W> {
        self.windowed("Aggregate", Aggregate(function))
    }

    /// Aggregates with a [`Folding`] of one's own, which sees key and window when it emits.
    pub fn fold_with<A: Folding<K, T>>(self, folding: A) -> WindowStream<T, K, F, A, W> {
        self.windowed("FoldWith", folding)
    }

    /// The sum of a number of each record. Overflow fails the job.
    pub fn sum<N: Number, R>(self, number_of: R) -> WindowStream<T, K, F, OfNumber<R, N, Sum>, W>
    where
        R: for<'a> Fn(T::View<'a>) -> N + Clone + Send + 'static,
    {
        self.windowed("Sum", OfNumber::new(number_of, Sum))
    }

    /// The least number.
    pub fn min<N: Number, R>(self, number_of: R) -> WindowStream<T, K, F, OfNumber<R, N, Min>, W>
    where
        R: for<'a> Fn(T::View<'a>) -> N + Clone + Send + 'static,
    {
        self.windowed("Min", OfNumber::new(number_of, Min))
    }

    /// The greatest number.
    pub fn max<N: Number, R>(self, number_of: R) -> WindowStream<T, K, F, OfNumber<R, N, Max>, W>
    where
        R: for<'a> Fn(T::View<'a>) -> N + Clone + Send + 'static,
    {
        self.windowed("Max", OfNumber::new(number_of, Max))
    }

    /// The whole record of the least rank; the first of equals stays.
    pub fn min_by<R, G>(self, rank_of: G) -> WindowStream<T, K, F, ByRank<G, R>, W>
    where
        R: PartialOrd + 'static,
        G: for<'a> Fn(T::View<'a>) -> R + Clone + Send + 'static,
    {
        self.windowed("MinBy", ByRank::min(rank_of))
    }

    /// The whole record of the greatest rank; the first of equals stays.
    pub fn max_by<R, G>(self, rank_of: G) -> WindowStream<T, K, F, ByRank<G, R>, W>
    where
        R: PartialOrd + 'static,
        G: for<'a> Fn(T::View<'a>) -> R + Clone + Send + 'static,
    {
        self.windowed("MaxBy", ByRank::max(rank_of))
    }
}

/// A whole stream in windows: one subtask sees all records.
#[must_use = "a windowed stream does nothing until it is aggregated"]
pub struct AllWindowedStream<T: Record, W> {
    builder: GraphBuilder,
    vertex: usize,
    options: WindowOptions<W>,
    types: PhantomData<fn(T)>,
}

impl<T: Record, S: Start, C: Chain<S::Out, Out = T>> DataStream<T, S, C> {
    /// Puts all records into windows of event time, on one subtask.
    pub fn window_all<W: WindowAssigner>(self, windows: W) -> AllWindowedStream<T, W> {
        let builder = self.builder.clone();
        let vertex = builder.open_vertex("WindowAll");
        builder.vertex(vertex, |vertex| vertex.single = true);
        self.close_to(Exchange::Global, vertex, 0);
        let options = WindowOptions::new(windows);
        AllWindowedStream { builder, vertex, options, types: PhantomData }
    }
}

impl<T: Record, W: WindowAssigner> AllWindowedStream<T, W> {
    /// Keeps a window this long after it has fired; a late record fires its result again.
    pub fn allowed_lateness(mut self, lateness: Duration) -> Self {
        self.options.allowed_lateness = lateness;
        self
    }

    /// Sends records that come too late to `tag` instead of counting them.
    pub fn side_output_late_data(mut self, tag: &OutputTag<T>) -> Self {
        self.options.late_slot = Some(self.builder.declare_side::<T>(self.vertex, tag.id()));
        self
    }

    /// Aggregates with a [`Folding`] of one's own, which sees the window when it emits.
    pub fn fold_with<A: Folding<(), T>>(self, folding: A) -> AllWindowStream<T, A, W> {
        self.windowed("FoldWith", folding)
    }

    fn windowed<A: Folding<(), T>>(self, what: &str, folding: A) -> AllWindowStream<T, A, W> {
        let name = format!("{}All.{what}", self.options.windows.name());
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
            start: AllWindowsStart::<A, T, W>::new(folding, self.options),
            chain: Nothing::<A::Out>::new(),
            has_time: true,
            types: PhantomData,
        }
    }

    /// How many records the window has.
    pub fn count(self) -> AllWindowStream<T, Count, W> {
        self.windowed("Count", Count)
    }

    /// Combines the records of the window two by two.
    pub fn reduce<R>(self, function: R) -> AllWindowStream<T, Reduce<R>, W>
    where
        R: for<'a, 'b> Fn(T::View<'a>, T::View<'b>) -> T + Clone + Send + 'static,
    {
        self.windowed("Reduce", Reduce(function))
    }

    /// Aggregates with a function of three parts.
    pub fn aggregate<A: AggregateFunction<T>>(
        self,
        function: A,
    ) -> AllWindowStream<T, Aggregate<A>, W> {
        self.windowed("Aggregate", Aggregate(function))
    }

    /// The `n` records of the greatest rank, best first; equal ranks in the order of the records themselves.
    pub fn top_n<R, G>(
        self,
        n: usize,
        rank_of: G,
    ) -> DataStream<Ranked<T>, impl Start<Out = Ranked<T>>, impl Chain<Ranked<T>, Out = Ranked<T>>>
    where
        R: Ord,
        G: for<'a> Fn(T::View<'a>) -> R + Clone + Send + 'static,
        for<'a> T::View<'a>: Ord,
    {
        self.top_n_by(n, move |a, b| {
            let ranks = rank_of(T::shrink(b)).cmp(&rank_of(T::shrink(a)));
            ranks.then_with(|| compare::<T>(a, b))
        })
    }

    /// The `n` records that `order` puts first. It should be total: what it calls equal keeps the order of
    /// arrival, which parallelism changes.
    pub fn top_n_by<O>(self, n: usize, order: O) -> AllWindowStream<T, TopN<O>, W>
    where
        O: for<'a, 'b> Fn(T::View<'a>, T::View<'b>) -> Ordering + Clone + Send + 'static,
    {
        self.windowed("TopN", TopN::new(n, order))
    }
}

/// Compares views whose lives differ.
fn compare<T: Record>(a: T::View<'_>, b: T::View<'_>) -> Ordering
where
    for<'s> T::View<'s>: Ord,
{
    T::shrink(a).cmp(&T::shrink(b))
}
