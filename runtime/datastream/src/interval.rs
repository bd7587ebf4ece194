//! Interval joins of two keyed streams: what remains to be said is how far the times of a pair may be apart.

use wiesel_operators::{
    Chain, IntervalJoinStart, IntervalOptions, Nothing, PairFunction, ProcessJoinFunction, Start,
    TimeBound,
};
use wiesel_record::{FnView, Key, Out, Record};

use crate::{CoOperatedStream, ConnectedKeyedStreams, DataStream, KeyedStream, OutputTag};

/// Two keyed streams to be joined by the distance of their times. `B` is [`IntervalOptions`] once that was said.
#[must_use = "a join does nothing until its function is applied: `.between(..)`, then `.apply::<O>(..)` or `.process(..)`"]
pub struct KeyedIntervalJoin<T1: Record, T2: Record, K: Key, F1, F2, B> {
    streams: ConnectedKeyedStreams<T1, T2, K, F1, F2>,
    options: B,
}

impl<T1, K, F1, S1, C1> KeyedStream<T1, K, F1, S1, C1>
where
    T1: Record,
    K: Key,
    F1: for<'a> FnView<'a, T1::View<'a>, K::View<'a>> + Clone + Send + 'static,
    S1: Start,
    C1: Chain<S1::Out, Out = T1>,
{
    /// Joins this stream with another by key and event time: each record with those whose times are not further away
    /// than two bounds say. A pair has the later of both times. Records are kept until the watermark says that none
    /// within the bounds can come on time.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_datastream::Environment;
    /// # use wiesel_operators::{after, before, monotonous_timestamps};
    /// # let env = Environment::new();
    /// # let orders = env
    /// #     .from_collection([(1_u64, 1_000_i64)])
    /// #     .watermarks(monotonous_timestamps(), |(_, at)| Timestamp::from_millis(at));
    /// # let payments = env
    /// #     .from_collection([(1_u64, 2_000_i64)])
    /// #     .watermarks(monotonous_timestamps(), |(_, at)| Timestamp::from_millis(at));
    /// // Orders with their payments, from ten seconds before to five minutes after.
    /// orders
    ///     .key_by::<u64>(|(order, _)| order)
    ///     .interval_join(payments.key_by::<u64>(|(order, _)| order))
    ///     .between(before(seconds(10)), after(minutes(5)))
    ///     .apply::<(u64, i64)>(|(order, ordered), (_, paid), out| out.emit((order, paid - ordered)))
    ///     .print();
    /// ```
    pub fn interval_join<T2, F2, S2, C2>(
        self,
        other: KeyedStream<T2, K, F2, S2, C2>,
    ) -> KeyedIntervalJoin<T1, T2, K, F1, F2, ()>
    where
        T2: Record,
        F2: for<'a> FnView<'a, T2::View<'a>, K::View<'a>> + Clone + Send + 'static,
        S2: Start,
        C2: Chain<S2::Out, Out = T2>,
    {
        KeyedIntervalJoin { streams: self.connect(other), options: () }
    }
}

impl<T1: Record, T2: Record, K: Key, F1, F2> KeyedIntervalJoin<T1, T2, K, F1, F2, ()> {
    /// Right times from `lower` to `upper` after the left one, both included.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let payments = env.from_collection([(7_u64, 50_u64, 1_500_i64)]);
    /// # let payments = payments.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # use wiesel_operators::{after, before};
    /// # let (orders, payments) = (orders.key_by::<u64>(|(user, ..)| user), payments.key_by::<u64>(|(user, ..)| user));
    /// let pairs = orders.interval_join(payments).between(before(seconds(10)), after(minutes(5)));
    /// pairs.apply::<(u64, u64)>(|(_, price, _), (_, paid, _), out| out.emit((price, paid))).print();
    /// ```
    ///
    /// If `lower` is above `upper`, the graph of the job is an error.
    pub fn between(
        self,
        lower: TimeBound,
        upper: TimeBound,
    ) -> KeyedIntervalJoin<T1, T2, K, F1, F2, IntervalOptions> {
        if lower > upper {
            let what = format!(
                "no time is from {lower:?} to {upper:?} after another: name the smaller bound first"
            );
            self.streams.builder.mistake("IntervalJoin", what);
        }
        KeyedIntervalJoin { streams: self.streams, options: IntervalOptions::between(lower, upper) }
    }
}

impl<T1, T2, K, F1, F2> KeyedIntervalJoin<T1, T2, K, F1, F2, IntervalOptions>
where
    T1: Record,
    T2: Record,
    K: Key,
    F1: for<'a> FnView<'a, T1::View<'a>, K::View<'a>> + Clone + Send + 'static,
    F2: for<'a> FnView<'a, T2::View<'a>, K::View<'a>> + Clone + Send + 'static,
{
    /// The lower bound itself is too far away.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let payments = env.from_collection([(7_u64, 50_u64, 1_500_i64)]);
    /// # let payments = payments.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # use wiesel_operators::{after, before};
    /// # let (orders, payments) = (orders.key_by::<u64>(|(user, ..)| user), payments.key_by::<u64>(|(user, ..)| user));
    /// let pairs = orders.interval_join(payments).between(before(seconds(10)), after(minutes(5)));
    /// let pairs = pairs.lower_bound_exclusive(); // Exactly ten seconds before is too early.
    /// # drop(pairs);
    /// ```
    pub fn lower_bound_exclusive(self) -> Self {
        Self { options: self.options.lower_bound_exclusive(), ..self }
    }

    /// The upper bound itself is too far away.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let payments = env.from_collection([(7_u64, 50_u64, 1_500_i64)]);
    /// # let payments = payments.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # use wiesel_operators::{after, before};
    /// # let (orders, payments) = (orders.key_by::<u64>(|(user, ..)| user), payments.key_by::<u64>(|(user, ..)| user));
    /// let pairs = orders.interval_join(payments).between(before(seconds(10)), after(minutes(5)));
    /// let pairs = pairs.upper_bound_exclusive(); // Exactly five minutes after is too late.
    /// # drop(pairs);
    /// ```
    pub fn upper_bound_exclusive(self) -> Self {
        Self { options: self.options.upper_bound_exclusive(), ..self }
    }

    /// Sends records of the first stream that come after the watermark has passed them to `tag` instead of counting them.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let payments = env.from_collection([(7_u64, 50_u64, 1_500_i64)]);
    /// # let payments = payments.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # use wiesel_operators::{after, before};
    /// # use wiesel_datastream::OutputTag;
    /// # let (orders, payments) = (orders.key_by::<u64>(|(user, ..)| user), payments.key_by::<u64>(|(user, ..)| user));
    /// let late = OutputTag::new("late orders");
    /// let pairs = orders.interval_join(payments).between(before(seconds(10)), after(minutes(5)));
    /// let pairs = pairs.side_output_left_late_data(&late);
    /// let paid = pairs.apply::<u64>(|_, (_, paid, _), out| out.emit(paid));
    /// paid.get_side_output(&late).print();
    /// paid.print();
    /// ```
    pub fn side_output_left_late_data(mut self, tag: &OutputTag<T1>) -> Self {
        let slot = self.streams.builder.declare_side::<T1>(self.streams.vertex, tag.id());
        self.options.late_slots[0] = Some(slot);
        self
    }

    /// Sends records of the second stream that come after the watermark has passed them to `tag` instead of counting them.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let payments = env.from_collection([(7_u64, 50_u64, 1_500_i64)]);
    /// # let payments = payments.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # use wiesel_operators::{after, before};
    /// # use wiesel_datastream::OutputTag;
    /// # let (orders, payments) = (orders.key_by::<u64>(|(user, ..)| user), payments.key_by::<u64>(|(user, ..)| user));
    /// let late = OutputTag::new("late payments");
    /// let pairs = orders.interval_join(payments).between(before(seconds(10)), after(minutes(5)));
    /// let pairs = pairs.side_output_right_late_data(&late);
    /// let paid = pairs.apply::<u64>(|_, (_, paid, _), out| out.emit(paid));
    /// paid.get_side_output(&late).print();
    /// paid.print();
    /// ```
    pub fn side_output_right_late_data(mut self, tag: &OutputTag<T2>) -> Self {
        let slot = self.streams.builder.declare_side::<T2>(self.streams.vertex, tag.id());
        self.options.late_slots[1] = Some(slot);
        self
    }

    /// How many subtasks keep the keys.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let payments = env.from_collection([(7_u64, 50_u64, 1_500_i64)]);
    /// # let payments = payments.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # use wiesel_operators::{after, before};
    /// # let (orders, payments) = (orders.key_by::<u64>(|(user, ..)| user), payments.key_by::<u64>(|(user, ..)| user));
    /// let pairs = orders.interval_join(payments).between(before(seconds(10)), after(minutes(5)));
    /// let pairs = pairs.set_parallelism(4);
    /// # drop(pairs);
    /// ```
    pub fn set_parallelism(self, parallelism: u32) -> Self {
        Self { streams: self.streams.set_parallelism(parallelism), ..self }
    }

    /// Calls `function` with each pair; what it emits goes on.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let payments = env.from_collection([(7_u64, 50_u64, 1_500_i64)]);
    /// # let payments = payments.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # use wiesel_operators::{after, before};
    /// # let (orders, payments) = (orders.key_by::<u64>(|(user, ..)| user), payments.key_by::<u64>(|(user, ..)| user));
    /// let pairs = orders.interval_join(payments).between(before(seconds(10)), after(minutes(5)));
    /// pairs.apply::<(u64, u64)>(|(_, price, _), (_, paid, _), out| out.emit((price, paid))).print();
    /// ```
    pub fn apply<O: Record>(
        self,
        function: impl for<'l, 'r, 'e> Fn(T1::View<'l>, T2::View<'r>, &'e mut dyn Out<O>)
        + Clone
        + Send
        + 'static,
    ) -> DataStream<O, impl Start<Out = O>, Nothing<O>> {
        self.joined(PairFunction::<_, O>::new(function), None)
    }

    /// Calls a function with each pair that knows both times and may put things aside.
    ///
    /// ```
    /// use wiesel_operators::{FunctionError, ProcessJoinContext, ProcessJoinFunction};
    /// use wiesel_record::Out;
    ///
    /// /// How long an order has waited for its payment.
    /// #[derive(Clone)]
    /// struct Waited;
    ///
    /// impl ProcessJoinFunction<(u64, u64, i64), (u64, u64, i64)> for Waited {
    ///     type Out = i64;
    ///     type Side = ();
    ///
    ///     fn process(
    ///         &mut self,
    ///         _order: (u64, u64, i64),
    ///         _payment: (u64, u64, i64),
    ///         context: &mut ProcessJoinContext<'_, ()>,
    ///         out: &mut dyn Out<i64>,
    ///     ) -> Result<(), FunctionError> {
    ///         let (from, to) = (context.left_timestamp(), context.right_timestamp());
    ///         out.emit(to.as_millis() - from.as_millis());
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let payments = env.from_collection([(7_u64, 50_u64, 1_500_i64)]);
    /// # let payments = payments.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # use wiesel_operators::{after, before};
    /// # let (orders, payments) = (orders.key_by::<u64>(|(user, ..)| user), payments.key_by::<u64>(|(user, ..)| user));
    /// let pairs = orders.interval_join(payments).between(before(seconds(10)), after(minutes(5)));
    /// pairs.process(Waited).print();
    /// ```
    pub fn process<P: ProcessJoinFunction<T1, T2>>(
        self,
        function: P,
    ) -> CoOperatedStream<T1, T2, K, F1, F2, IntervalJoinStart<P>> {
        self.joined(function, None)
    }

    /// As [`process`](Self::process); what the function puts aside is in
    /// [`get_side_output`](DataStream::get_side_output) of what this returns.
    ///
    /// ```
    /// # use wiesel_datastream::OutputTag;
    /// use wiesel_operators::{FunctionError, ProcessJoinContext, ProcessJoinFunction};
    /// use wiesel_record::Out;
    ///
    /// /// Users who have paid enough; those who have not are put aside.
    /// #[derive(Clone)]
    /// struct Enough;
    ///
    /// impl ProcessJoinFunction<(u64, u64, i64), (u64, u64, i64)> for Enough {
    ///     type Out = u64;
    ///     type Side = u64;
    ///
    ///     fn process(
    ///         &mut self,
    ///         (user, price, _): (u64, u64, i64),
    ///         (_, paid, _): (u64, u64, i64),
    ///         context: &mut ProcessJoinContext<'_, u64>,
    ///         out: &mut dyn Out<u64>,
    ///     ) -> Result<(), FunctionError> {
    ///         if paid < price { context.side(user) } else { out.emit(user) }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let payments = env.from_collection([(7_u64, 50_u64, 1_500_i64)]);
    /// # let payments = payments.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # use wiesel_operators::{after, before};
    /// # let (orders, payments) = (orders.key_by::<u64>(|(user, ..)| user), payments.key_by::<u64>(|(user, ..)| user));
    /// let owing = OutputTag::new("owing");
    /// let pairs = orders.interval_join(payments).between(before(seconds(10)), after(minutes(5)));
    /// let paid = pairs.process_with_side(Enough, &owing);
    /// paid.get_side_output(&owing).print();
    /// paid.print();
    /// ```
    pub fn process_with_side<P: ProcessJoinFunction<T1, T2>>(
        self,
        function: P,
        tag: &OutputTag<P::Side>,
    ) -> CoOperatedStream<T1, T2, K, F1, F2, IntervalJoinStart<P>> {
        let slot = self.streams.builder.declare_side::<P::Side>(self.streams.vertex, tag.id());
        self.joined(function, Some(slot))
    }

    fn joined<P: ProcessJoinFunction<T1, T2>>(
        self,
        function: P,
        side_slot: Option<usize>,
    ) -> CoOperatedStream<T1, T2, K, F1, F2, IntervalJoinStart<P>> {
        if !self.options.holds_any() {
            let what =
                "no time is strictly between its bounds: include one of them, or move them apart";
            self.streams.builder.mistake("IntervalJoin", what);
        }
        let start = IntervalJoinStart::new(function, self.options, side_slot);
        self.streams.operate("IntervalJoin", start, true)
    }
}
