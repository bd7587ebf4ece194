//! Streams in windows: what remains to be said is how to aggregate.

use std::{cmp::Ordering, marker::PhantomData, time::Duration};

use wiesel_operators::{
    Aggregate, AggregateFunction, Aggregated, ByRank, Chain, Count, Counted, Either, Fold,
    FoldMerging, Folding, KeyedHeadStart, Max, Min, Nothing, Number, OfNumber, Partial,
    PreAggregateAllTo, Ranked, Reduce, Start, Sum, TopN, WindowOptions, key_of_partial,
};
use wiesel_record::{FnView, Key, Record};

use crate::{DataStream, KeyedStream, OutputTag, UnmergedWindows, Windowing, builder::Exchange};

/// What comes out of windows: their head is one of two variants.
macro_rules! WindowStream {
    ($out:ty) => { DataStream<$out, impl Start<Out = $out>, Nothing<$out>> };
}

/// A keyed stream in windows.
#[must_use = "a window does nothing until it has an aggregate: `.count()`, `.sum(..)`, `.reduce(..)`, `.aggregate(..)`, `.process(..)`"]
pub struct WindowedStream<T: Record, K: Key, F, S: Start, C: Chain<S::Out, Out = T>, W> {
    pub(crate) keyed: KeyedStream<T, K, F, S, C>,
    pub(crate) options: WindowOptions<W>,
    pub(crate) pre_aggregates: bool,
}

impl<T, K, F, S, C, W> WindowedStream<T, K, F, S, C, W>
where
    T: Record,
    K: Key,
    F: for<'a> FnView<'a, T::View<'a>, K::View<'a>> + Clone + Send + 'static,
    S: Start,
    C: Chain<S::Out, Out = T>,
    W: Windowing<T>,
{
    pub(crate) fn new(keyed: KeyedStream<T, K, F, S, C>, windows: W) -> Self {
        Self { keyed, options: WindowOptions::new(windows), pre_aggregates: false }
    }

    /// Keeps a window this long after it has fired; a late record fires its key's result again.
    pub fn allowed_lateness(mut self, lateness: Duration) -> Self {
        self.options.allowed_lateness = lateness;
        self
    }

    /// Sends records that come too late to `tag` instead of counting them.
    pub fn side_output_late_data(mut self, tag: &OutputTag<T>) -> Self {
        let slot = self.keyed.builder().declare_side::<T>(self.keyed.vertex, tag.id());
        self.options.late_slot = Some(slot);
        self
    }

    /// Combines records where they are produced, by key and slice of the windows, so that few go through the exchange. It
    /// is not done unless asked for: it pays where many records of one key come close to each other, and costs where they
    /// do not. Nor is it done where results could tell: only in tumbling and sliding windows, with an aggregate whose
    /// parts [merge](Folding::MERGES), and without late records that fire a window again or go to a side output. Plans
    /// show it as `PreAggregate`.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, seconds};
    /// # use wiesel_datastream::Environment;
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = Environment::new();
    /// // A handful of sensors that measure often.
    /// env.from_collection([(7_u64, 1_000_i64), (8, 2_000)])
    ///     .watermarks(monotonous_timestamps(), |(_, at)| Timestamp::from_millis(at))
    ///     .key_by::<u64>(|(sensor, _)| sensor)
    ///     .window(Tumbling::event_time(seconds(10)))
    ///     .pre_aggregate(true)
    ///     .count()
    ///     .print();
    /// ```
    pub fn pre_aggregate(self, pre_aggregates: bool) -> Self {
        Self { pre_aggregates, ..self }
    }

    fn windowed<A: Folding<K, T>>(self, what: &str, folding: A) -> WindowStream!(A::Out) {
        let Self { keyed, options, pre_aggregates } = self;
        let name = format!("{}.{what}", options.windows.name());
        let partials = if pre_aggregates { W::keyed_partials(&folding, &options) } else { None };
        match partials {
            Some((slices, operator)) => {
                let start = KeyedHeadStart::<Partial<K, A::Acc>, K, _, _>::new(
                    key_of_partial::<K, A::Acc>,
                    operator,
                );
                let input = keyed.close_combined(slices, folding);
                input.start(name, true, |_| Either::Second(start))
            }
            None => {
                let operator = W::keyed::<K, A>(folding, options);
                let start = |key_of| KeyedHeadStart::<T, K, F, _>::new(key_of, operator);
                keyed.close().start(name, true, |key_of| Either::First(start(key_of)))
            }
        }
    }

    /// How often each key came in the window.
    pub fn count(self) -> WindowStream!(Counted<K>) {
        self.windowed("Count", Count)
    }

    /// Combines the records of a key and window two by two.
    pub fn reduce<R>(self, function: R) -> WindowStream!(T)
    where
        R: for<'a, 'b> Fn(T::View<'a>, T::View<'b>) -> T + Clone + Send + 'static,
    {
        self.windowed("Reduce", Reduce(function))
    }

    /// Adds the records of a key and window to an accumulator that starts as `initial`.
    pub fn fold<A, R>(self, initial: A, function: R) -> WindowStream!(Aggregated<K, A>)
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
    ) -> WindowStream!(Aggregated<K, A>)
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
    ) -> WindowStream!(Aggregated<K, A::Out>) {
        self.windowed("Aggregate", Aggregate(function))
    }

    /// Aggregates with a [`Folding`] of one's own, which sees key and window when it emits.
    pub fn fold_with<A: Folding<K, T>>(self, folding: A) -> WindowStream!(A::Out) {
        self.windowed("FoldWith", folding)
    }

    /// The sum of a number of each record. Overflow fails the job.
    pub fn sum<N: Number, R>(self, number_of: R) -> WindowStream!(Aggregated<K, N>)
    where
        R: for<'a> Fn(T::View<'a>) -> N + Clone + Send + 'static,
    {
        self.windowed("Sum", OfNumber::new(number_of, Sum))
    }

    /// The least number.
    pub fn min<N: Number, R>(self, number_of: R) -> WindowStream!(Aggregated<K, N>)
    where
        R: for<'a> Fn(T::View<'a>) -> N + Clone + Send + 'static,
    {
        self.windowed("Min", OfNumber::new(number_of, Min))
    }

    /// The greatest number.
    pub fn max<N: Number, R>(self, number_of: R) -> WindowStream!(Aggregated<K, N>)
    where
        R: for<'a> Fn(T::View<'a>) -> N + Clone + Send + 'static,
    {
        self.windowed("Max", OfNumber::new(number_of, Max))
    }

    /// The whole record of the least rank; the first of equals stays.
    pub fn min_by<R, G>(self, rank_of: G) -> WindowStream!(T)
    where
        R: PartialOrd + 'static,
        G: for<'a> Fn(T::View<'a>) -> R + Clone + Send + 'static,
    {
        self.windowed("MinBy", ByRank::min(rank_of))
    }

    /// The whole record of the greatest rank; the first of equals stays.
    pub fn max_by<R, G>(self, rank_of: G) -> WindowStream!(T)
    where
        R: PartialOrd + 'static,
        G: for<'a> Fn(T::View<'a>) -> R + Clone + Send + 'static,
    {
        self.windowed("MaxBy", ByRank::max(rank_of))
    }
}

/// A whole stream in windows: one subtask sees all records.
#[must_use = "a window does nothing until it has an aggregate: `.count()`, `.sum(..)`, `.reduce(..)`, `.aggregate(..)`, `.process(..)`"]
pub struct AllWindowedStream<T: Record, S: Start, C: Chain<S::Out, Out = T>, W> {
    /// The producer: what it ends in depends on the aggregate.
    pub(crate) producer: DataStream<T, S, C>,
    pub(crate) vertex: usize,
    pub(crate) options: WindowOptions<W>,
    pub(crate) pre_aggregates: bool,
}

impl<T: Record, S: Start, C: Chain<S::Out, Out = T>> DataStream<T, S, C> {
    /// Puts all records into windows, on one subtask.
    pub fn window_all<W: Windowing<T>>(self, windows: W) -> AllWindowedStream<T, S, C, W> {
        let vertex = self.builder.open_vertex("WindowAll");
        self.builder.vertex(vertex, |vertex| vertex.single = true);
        let options = WindowOptions::new(windows);
        AllWindowedStream { producer: self, vertex, options, pre_aggregates: true }
    }
}

impl<T, S, C, W> AllWindowedStream<T, S, C, W>
where
    T: Record,
    S: Start,
    C: Chain<S::Out, Out = T>,
    W: Windowing<T>,
{
    /// Keeps a window this long after it has fired; a late record fires its result again.
    pub fn allowed_lateness(mut self, lateness: Duration) -> Self {
        self.options.allowed_lateness = lateness;
        self
    }

    /// Sends records that come too late to `tag` instead of counting them.
    pub fn side_output_late_data(mut self, tag: &OutputTag<T>) -> Self {
        let slot = self.producer.builder.declare_side::<T>(self.vertex, tag.id());
        self.options.late_slot = Some(slot);
        self
    }

    /// Whether records may be combined where they are produced, so that few go to the one subtask that sees all: they are,
    /// if nobody says otherwise and results cannot tell, as [`WindowedStream::pre_aggregate`] says.
    pub fn pre_aggregate(self, pre_aggregates: bool) -> Self {
        Self { pre_aggregates, ..self }
    }

    /// Aggregates with a [`Folding`] of one's own, which sees the window when it emits.
    pub fn fold_with<A: Folding<(), T>>(self, folding: A) -> WindowStream!(A::Out) {
        self.windowed("FoldWith", folding)
    }

    fn windowed<A: Folding<(), T>>(self, what: &str, folding: A) -> WindowStream!(A::Out) {
        let Self { producer, vertex, options, pre_aggregates } = self;
        let builder = producer.builder.clone();
        let name = format!("{}All.{what}", options.windows.name());
        builder.vertex(vertex, |vertex| {
            vertex.keeps_state();
            vertex.reads_time = true;
            if let Some(operator) = vertex.operators.last_mut() {
                operator.name = name;
            }
        });
        let partials = if pre_aggregates { W::all_partials(&folding, &options) } else { None };
        let start = match partials {
            Some((slices, start)) => {
                let position = builder.combiner(producer.vertex, slices.size_ms(), vertex);
                let combined = producer
                    .grown(|chain| PreAggregateAllTo::new(chain, folding, slices).at(position));
                combined.close_to(Exchange::Global, vertex, 0);
                Either::Second(start)
            }
            None => {
                producer.close_to(Exchange::Global, vertex, 0);
                Either::First(W::all(folding, options))
            }
        };
        DataStream {
            builder,
            vertex,
            start,
            chain: Nothing::<A::Out>::new(),
            has_time: true,
            types: PhantomData,
        }
    }

    /// How many records the window has.
    pub fn count(self) -> WindowStream!(Counted<()>) {
        self.windowed("Count", Count)
    }

    /// Combines the records of the window two by two.
    pub fn reduce<R>(self, function: R) -> WindowStream!(T)
    where
        R: for<'a, 'b> Fn(T::View<'a>, T::View<'b>) -> T + Clone + Send + 'static,
    {
        self.windowed("Reduce", Reduce(function))
    }

    /// Adds the records of the window to an accumulator that starts as `initial`.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, seconds};
    /// # use wiesel_datastream::Environment;
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = Environment::new();
    /// // How many readings a second has, and the highest of them.
    /// env.from_collection([(1_000_i64, 21_i32), (1_400, 25), (2_000, 19)])
    ///     .watermarks(monotonous_timestamps(), |(at, _)| Timestamp::from_millis(at))
    ///     .window_all(Tumbling::event_time(seconds(1)))
    ///     .fold((0_u32, i32::MIN), |seen: &mut (u32, i32), (_, degrees)| {
    ///         *seen = (seen.0 + 1, seen.1.max(degrees));
    ///     })
    ///     .print();
    /// ```
    pub fn fold<A, R>(self, initial: A, function: R) -> WindowStream!(Aggregated<(), A>)
    where
        W: UnmergedWindows,
        A: Record + Clone,
        R: for<'a> Fn(&mut A, T::View<'a>) + Clone + Send + 'static,
    {
        self.windowed("Fold", Fold { initial, function })
    }

    /// As [`fold`](Self::fold), for windows that grow together: `merge` adds the accumulator of later records.
    pub fn fold_merging<A, R, M>(
        self,
        initial: A,
        add: R,
        merge: M,
    ) -> WindowStream!(Aggregated<(), A>)
    where
        A: Record + Clone,
        R: for<'a> Fn(&mut A, T::View<'a>) + Clone + Send + 'static,
        M: for<'a> Fn(&mut A, A::View<'a>) + Clone + Send + 'static,
    {
        let fold = Fold { initial, function: add };
        self.windowed("FoldMerging", FoldMerging { fold, merge })
    }

    /// Aggregates with a function of three parts.
    pub fn aggregate<A: AggregateFunction<T>>(
        self,
        function: A,
    ) -> WindowStream!(Aggregated<(), A::Out>) {
        self.windowed("Aggregate", Aggregate(function))
    }

    /// The sum of a number of each record. Overflow fails the job.
    pub fn sum<N: Number, R>(self, number_of: R) -> WindowStream!(Aggregated<(), N>)
    where
        R: for<'a> Fn(T::View<'a>) -> N + Clone + Send + 'static,
    {
        self.windowed("Sum", OfNumber::new(number_of, Sum))
    }

    /// The least number.
    pub fn min<N: Number, R>(self, number_of: R) -> WindowStream!(Aggregated<(), N>)
    where
        R: for<'a> Fn(T::View<'a>) -> N + Clone + Send + 'static,
    {
        self.windowed("Min", OfNumber::new(number_of, Min))
    }

    /// The greatest number.
    pub fn max<N: Number, R>(self, number_of: R) -> WindowStream!(Aggregated<(), N>)
    where
        R: for<'a> Fn(T::View<'a>) -> N + Clone + Send + 'static,
    {
        self.windowed("Max", OfNumber::new(number_of, Max))
    }

    /// The whole record of the least rank; the first of equals stays.
    pub fn min_by<R, G>(self, rank_of: G) -> WindowStream!(T)
    where
        R: PartialOrd + 'static,
        G: for<'a> Fn(T::View<'a>) -> R + Clone + Send + 'static,
    {
        self.windowed("MinBy", ByRank::min(rank_of))
    }

    /// The whole record of the greatest rank; the first of equals stays.
    pub fn max_by<R, G>(self, rank_of: G) -> WindowStream!(T)
    where
        R: PartialOrd + 'static,
        G: for<'a> Fn(T::View<'a>) -> R + Clone + Send + 'static,
    {
        self.windowed("MaxBy", ByRank::max(rank_of))
    }

    /// The `n` records of the greatest rank, best first; equal ranks in the order of the records themselves.
    pub fn top_n<R, G>(self, n: usize, rank_of: G) -> WindowStream!(Ranked<T>)
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
    pub fn top_n_by<O>(self, n: usize, order: O) -> WindowStream!(Ranked<T>)
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
