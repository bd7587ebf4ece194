//! Whole streams in windows: what remains to be said is how to aggregate.
//!
//! # What is always true
//!
//! 1. One subtask sees all records, or what the subtasks before it have combined of them.

use std::{cmp::Ordering, marker::PhantomData, time::Duration};

use wiesel_operators::{
    Aggregate, AggregateFunction, Aggregated, ByRank, Chain, Count, Counted, Either, Fold,
    FoldMerging, Folding, Max, Min, Nothing, Number, OfNumber, PreAggregateAllTo, Ranked, Reduce,
    Start, Sum, TopN, WindowOptions,
};
use wiesel_record::Record;

use crate::{
    DataStream, OutputTag, UnmergedWindows, Windowing, builder::Exchange, windowed::WindowStream,
};

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
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// orders.window_all(Tumbling::event_time(minutes(1))).count().print(); // All orders of a minute.
    /// ```
    pub fn window_all<W: Windowing<T>>(self, windows: W) -> AllWindowedStream<T, S, C, W> {
        let vertex = self.builder.open_vertex("WindowAll");
        self.builder.vertex(vertex, |vertex| vertex.single = true);
        self.builder.mistake_of(windows.name(), windows.mistake());
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
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let orders = orders.window_all(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), in windows of a minute.
    /// orders.allowed_lateness(seconds(30)).count().print();
    /// ```
    pub fn allowed_lateness(mut self, lateness: Duration) -> Self {
        self.options.allowed_lateness = lateness;
        self
    }

    /// Sends records that come too late to `tag` instead of counting them.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let orders = orders.window_all(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), in windows of a minute.
    /// # use wiesel_datastream::OutputTag;
    /// let late = OutputTag::new("late");
    /// let counts = orders.side_output_late_data(&late).count();
    /// counts.get_side_output(&late).print();
    /// counts.print();
    /// ```
    pub fn side_output_late_data(mut self, tag: &OutputTag<T>) -> Self {
        let slot = self.producer.builder.declare_side::<T>(self.vertex, tag.id());
        self.options.late_slot = Some(slot);
        self
    }

    /// Whether records may be combined where they are produced, so that few go to the one subtask that sees all: they are,
    /// if nobody says otherwise and results cannot tell, as [`WindowedStream::pre_aggregate`](crate::WindowedStream::pre_aggregate) says.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let orders = orders.window_all(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), in windows of a minute.
    /// orders.pre_aggregate(false).count().print();
    /// ```
    pub fn pre_aggregate(self, pre_aggregates: bool) -> Self {
        Self { pre_aggregates, ..self }
    }

    /// Aggregates with a [`Folding`] of one's own, which sees the window when it emits.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let orders = orders.window_all(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), in windows of a minute.
    /// orders.fold_with(wiesel_operators::Count).print(); // What `count` does.
    /// ```
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
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let orders = orders.window_all(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), in windows of a minute.
    /// orders.count().print();
    /// ```
    pub fn count(self) -> WindowStream!(Counted<()>) {
        self.windowed("Count", Count)
    }

    /// Combines the records of the window two by two.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let orders = orders.window_all(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), in windows of a minute.
    /// orders.reduce(|(user, sum, _), (_, cents, at)| (user, sum + cents, at)).print();
    /// ```
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
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # use wiesel_operators::Session;
    /// orders
    ///     .window_all(Session::with_gap(minutes(5)))
    ///     .fold_merging(0, |sum: &mut u64, (_, cents, _)| *sum += cents, |sum: &mut u64, later| *sum += later)
    ///     .print();
    /// ```
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
    ///
    /// ```
    /// # use wiesel_operators::AggregateFunction;
    /// # #[derive(Clone)]
    /// # struct Mean;
    /// # impl AggregateFunction<(u64, u64, i64)> for Mean {
    /// #     type Acc = (u64, u64);
    /// #     type Out = u64;
    /// #     fn create_accumulator(&self) -> (u64, u64) { (0, 0) }
    /// #     fn add(&self, acc: &mut (u64, u64), (_, cents, _): (u64, u64, i64)) { *acc = (acc.0 + cents, acc.1 + 1); }
    /// #     fn get_result(&self, (sum, count): (u64, u64)) -> u64 { sum / count }
    /// # }
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let orders = orders.window_all(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), in windows of a minute.
    /// orders.aggregate(Mean).print(); // `Mean` as in `KeyedStream::aggregate`
    /// ```
    pub fn aggregate<A: AggregateFunction<T>>(
        self,
        function: A,
    ) -> WindowStream!(Aggregated<(), A::Out>) {
        self.windowed("Aggregate", Aggregate(function))
    }

    /// The sum of a number of each record. Overflow fails the job.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let orders = orders.window_all(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), in windows of a minute.
    /// orders.sum(|(_, cents, _)| cents).print();
    /// ```
    pub fn sum<N: Number, R>(self, number_of: R) -> WindowStream!(Aggregated<(), N>)
    where
        R: for<'a> Fn(T::View<'a>) -> N + Clone + Send + 'static,
    {
        self.windowed("Sum", OfNumber::new(number_of, Sum))
    }

    /// The least number.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let orders = orders.window_all(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), in windows of a minute.
    /// orders.min(|(_, cents, _)| cents).print();
    /// ```
    pub fn min<N: Number, R>(self, number_of: R) -> WindowStream!(Aggregated<(), N>)
    where
        R: for<'a> Fn(T::View<'a>) -> N + Clone + Send + 'static,
    {
        self.windowed("Min", OfNumber::new(number_of, Min))
    }

    /// The greatest number.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let orders = orders.window_all(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), in windows of a minute.
    /// orders.max(|(_, cents, _)| cents).print();
    /// ```
    pub fn max<N: Number, R>(self, number_of: R) -> WindowStream!(Aggregated<(), N>)
    where
        R: for<'a> Fn(T::View<'a>) -> N + Clone + Send + 'static,
    {
        self.windowed("Max", OfNumber::new(number_of, Max))
    }

    /// The whole record of the least rank; the first of equals stays.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let orders = orders.window_all(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), in windows of a minute.
    /// orders.min_by(|(_, cents, _)| cents).print(); // The order itself.
    /// ```
    pub fn min_by<R, G>(self, rank_of: G) -> WindowStream!(T)
    where
        R: PartialOrd + 'static,
        G: for<'a> Fn(T::View<'a>) -> R + Clone + Send + 'static,
    {
        self.windowed("MinBy", ByRank::min(rank_of))
    }

    /// The whole record of the greatest rank; the first of equals stays.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let orders = orders.window_all(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), in windows of a minute.
    /// orders.max_by(|(_, cents, _)| cents).print(); // The order itself.
    /// ```
    pub fn max_by<R, G>(self, rank_of: G) -> WindowStream!(T)
    where
        R: PartialOrd + 'static,
        G: for<'a> Fn(T::View<'a>) -> R + Clone + Send + 'static,
    {
        self.windowed("MaxBy", ByRank::max(rank_of))
    }

    /// The `n` records of the greatest rank, best first; equal ranks in the order of the records themselves.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let orders = orders.window_all(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), in windows of a minute.
    /// orders.top_n(10, |(_, cents, _)| cents).print(); // The ten largest orders.
    /// ```
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
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let orders = orders.window_all(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), in windows of a minute.
    /// orders.top_n_by(10, |a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0))).print(); // Large first, then by user.
    /// ```
    pub fn top_n_by<O>(self, n: usize, order: O) -> WindowStream!(Ranked<T>)
    where
        O: for<'a, 'b> Fn(T::View<'a>, T::View<'b>) -> Ordering + Clone + Send + 'static,
    {
        if n == 0 {
            let what = "the best 0 records of a window are none: ask for 1 at least";
            self.producer.builder.mistake("TopN", what);
        }
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
