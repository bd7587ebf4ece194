//! Streams in windows: what remains to be said is how to aggregate.

use std::{cmp::Ordering, marker::PhantomData, time::Duration};

use wiesel_operators::{
    Aggregate, AggregateFunction, ByRank, Chain, Count, Fold, FoldMerging, Folding, Max, Min,
    Nothing, Number, OfNumber, Ranked, Reduce, Start, Sum, TopN, WindowOptions,
};
use wiesel_record::{FnView, Key, Record};

use crate::{
    DataStream, KeyedStream, OutputTag, UnmergedWindows, Windowing,
    builder::{Exchange, GraphBuilder},
    keyed::OperatedStream,
};

/// What comes out of the windows `W` of a keyed stream.
pub type WindowStream<T, K, F, A, W> = OperatedStream<T, K, F, <W as Windowing<T>>::Keyed<K, A>>;

/// What comes out of the windows of a whole stream.
pub type AllWindowStream<T, A, W> = DataStream<
    <A as Folding<(), T>>::Out,
    <W as Windowing<T>>::All<A>,
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
    W: Windowing<T>,
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
        self.keyed.operate(name, W::keyed::<K, A>(folding, self.options), true)
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
        W: UnmergedWindows,
        A: Record + Clone,
        R: for<'a> Fn(&mut A, T::View<'a>) + Clone + Send + 'static,
    {
        self.windowed("Fold", Fold { initial, function })
    }

    /// As [`fold`](Self::fold), for windows that grow together: `merge` adds the accumulator of later records.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes};
    /// # use wiesel_datastream::Environment;
    /// # use wiesel_operators::{Session, monotonous_timestamps};
    /// # let env = Environment::new();
    /// // The pages of each visit, in the order in which they came.
    /// env.from_collection([(7_u64, 1_000_i64, "/".to_owned()), (7, 2_000, "/about".to_owned())])
    ///     .watermarks(monotonous_timestamps(), |(_, at, _)| Timestamp::from_millis(at))
    ///     .key_by::<u64>(|(user, ..)| user)
    ///     .window(Session::with_gap(minutes(30)))
    ///     .fold_merging(
    ///         String::new(),
    ///         |pages: &mut String, (_, _, page)| pages.push_str(page),
    ///         |pages: &mut String, later| pages.push_str(later),
    ///     )
    ///     .print();
    /// ```
    pub fn fold_merging<A, R, M>(
        self,
        initial: A,
        add: R,
        merge: M,
    ) -> WindowStream<T, K, F, FoldMerging<A, R, M>, W>
    where
        A: Record + Clone,
        R: for<'a> Fn(&mut A, T::View<'a>) + Clone + Send + 'static,
        M: for<'a> Fn(&mut A, A::View<'a>) + Clone + Send + 'static,
    {
        let fold = Fold { initial, function: add };
        self.windowed("FoldMerging", FoldMerging { fold, merge })
    }

    /// Aggregates with a function of three parts; in sessions it has to [merge](AggregateFunction::CAN_MERGE).
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
    /// Puts all records into windows, on one subtask.
    pub fn window_all<W: Windowing<T>>(self, windows: W) -> AllWindowedStream<T, W> {
        let builder = self.builder.clone();
        let vertex = builder.open_vertex("WindowAll");
        builder.vertex(vertex, |vertex| vertex.single = true);
        self.close_to(Exchange::Global, vertex, 0);
        let options = WindowOptions::new(windows);
        AllWindowedStream { builder, vertex, options, types: PhantomData }
    }
}

impl<T: Record, W: Windowing<T>> AllWindowedStream<T, W> {
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
            start: W::all(folding, self.options),
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
