//! Keyed streams in windows: what remains to be said is how to aggregate. Those of whole streams are in `windowed_all.rs`.

use std::time::Duration;

use wiesel_operators::{
    Aggregate, AggregateFunction, Aggregated, ByRank, Chain, Count, Counted, Either, Fold,
    FoldMerging, Folding, KeyedHeadStart, Max, Min, Nothing, Number, OfNumber, Partial, Reduce,
    Start, Sum, WindowOptions, key_of_partial,
};
use wiesel_record::{FnView, Key, Record};

use crate::{DataStream, KeyedStream, OutputTag, UnmergedWindows, Windowing};

/// What comes out of windows: their head is one of two variants.
macro_rules! WindowStream {
    ($out:ty) => { DataStream<$out, impl Start<Out = $out>, Nothing<$out>> };
}
pub(crate) use WindowStream;

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
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let orders = orders.key_by::<u64>(|(user, ..)| user).window(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), by user and in windows of a minute.
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
    /// # let orders = orders.key_by::<u64>(|(user, ..)| user).window(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), by user and in windows of a minute.
    /// # use wiesel_datastream::OutputTag;
    /// let late = OutputTag::new("late");
    /// let counts = orders.side_output_late_data(&late).count();
    /// counts.get_side_output(&late).print();
    /// counts.print();
    /// ```
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
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let orders = orders.key_by::<u64>(|(user, ..)| user).window(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), by user and in windows of a minute.
    /// orders.count().print();
    /// ```
    pub fn count(self) -> WindowStream!(Counted<K>) {
        self.windowed("Count", Count)
    }

    /// Combines the records of a key and window two by two.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let orders = orders.key_by::<u64>(|(user, ..)| user).window(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), by user and in windows of a minute.
    /// orders.reduce(|(user, sum, _), (_, cents, at)| (user, sum + cents, at)).print();
    /// ```
    pub fn reduce<R>(self, function: R) -> WindowStream!(T)
    where
        R: for<'a, 'b> Fn(T::View<'a>, T::View<'b>) -> T + Clone + Send + 'static,
    {
        self.windowed("Reduce", Reduce(function))
    }

    /// Adds the records of a key and window to an accumulator that starts as `initial`.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let orders = orders.key_by::<u64>(|(user, ..)| user).window(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), by user and in windows of a minute.
    /// // The largest order of a user and minute, and how many there were.
    /// orders
    ///     .fold((0_u64, 0_u64), |seen: &mut (u64, u64), (_, cents, _)| {
    ///         *seen = (seen.0.max(cents), seen.1 + 1);
    ///     })
    ///     .print();
    /// ```
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
    /// # let orders = orders.key_by::<u64>(|(user, ..)| user).window(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), by user and in windows of a minute.
    /// orders.aggregate(Mean).print(); // `Mean` as in `KeyedStream::aggregate`
    /// ```
    pub fn aggregate<A: AggregateFunction<T>>(
        self,
        function: A,
    ) -> WindowStream!(Aggregated<K, A::Out>) {
        self.windowed("Aggregate", Aggregate(function))
    }

    /// Aggregates with a [`Folding`] of one's own, which sees key and window when it emits.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let orders = orders.key_by::<u64>(|(user, ..)| user).window(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), by user and in windows of a minute.
    /// orders.fold_with(wiesel_operators::Count).print(); // What `count` does.
    /// ```
    pub fn fold_with<A: Folding<K, T>>(self, folding: A) -> WindowStream!(A::Out) {
        self.windowed("FoldWith", folding)
    }

    /// The sum of a number of each record. Overflow fails the job.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let orders = orders.key_by::<u64>(|(user, ..)| user).window(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), by user and in windows of a minute.
    /// orders.sum(|(_, cents, _)| cents).print();
    /// ```
    pub fn sum<N: Number, R>(self, number_of: R) -> WindowStream!(Aggregated<K, N>)
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
    /// # let orders = orders.key_by::<u64>(|(user, ..)| user).window(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), by user and in windows of a minute.
    /// orders.min(|(_, cents, _)| cents).print();
    /// ```
    pub fn min<N: Number, R>(self, number_of: R) -> WindowStream!(Aggregated<K, N>)
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
    /// # let orders = orders.key_by::<u64>(|(user, ..)| user).window(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), by user and in windows of a minute.
    /// orders.max(|(_, cents, _)| cents).print();
    /// ```
    pub fn max<N: Number, R>(self, number_of: R) -> WindowStream!(Aggregated<K, N>)
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
    /// # let orders = orders.key_by::<u64>(|(user, ..)| user).window(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), by user and in windows of a minute.
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
    /// # let orders = orders.key_by::<u64>(|(user, ..)| user).window(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), by user and in windows of a minute.
    /// orders.max_by(|(_, cents, _)| cents).print(); // The order itself.
    /// ```
    pub fn max_by<R, G>(self, rank_of: G) -> WindowStream!(T)
    where
        R: PartialOrd + 'static,
        G: for<'a> Fn(T::View<'a>) -> R + Clone + Send + 'static,
    {
        self.windowed("MaxBy", ByRank::max(rank_of))
    }
}
