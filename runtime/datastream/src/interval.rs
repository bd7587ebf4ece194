//! Interval joins of two keyed streams: what remains to be said is how far the times of a pair may be apart.

use wiesel_operators::{
    Chain, IntervalJoinStart, IntervalOptions, Nothing, PairFunction, ProcessJoinFunction, Start,
    TimeBound,
};
use wiesel_record::{FnView, Key, Out, Record};

use crate::{
    ConnectedKeyedStreams, DataStream, KeyedStream, OutputTag, connected::CoOperatedStream,
};

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
    /// // Orders with their payments, from ten seconds before to five minutes behind.
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
    /// Right times from `lower` to `upper` behind the left one, both included.
    ///
    /// # Panics
    ///
    /// If `lower` is above `upper`: the program is wrong, whatever the data.
    pub fn between(
        self,
        lower: TimeBound,
        upper: TimeBound,
    ) -> KeyedIntervalJoin<T1, T2, K, F1, F2, IntervalOptions> {
        assert!(lower <= upper, "no time is from {lower:?} to {upper:?} behind another");
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
    pub fn lower_bound_exclusive(self) -> Self {
        Self { options: self.options.lower_bound_exclusive(), ..self }
    }

    /// The upper bound itself is too far away.
    pub fn upper_bound_exclusive(self) -> Self {
        Self { options: self.options.upper_bound_exclusive(), ..self }
    }

    /// Sends records of the first stream that come behind the watermark to `tag` instead of counting them.
    pub fn side_output_left_late_data(mut self, tag: &OutputTag<T1>) -> Self {
        let slot = self.streams.builder.declare_side::<T1>(self.streams.vertex, tag.id());
        self.options.late_slots[0] = Some(slot);
        self
    }

    /// Sends records of the second stream that come behind the watermark to `tag` instead of counting them.
    pub fn side_output_right_late_data(mut self, tag: &OutputTag<T2>) -> Self {
        let slot = self.streams.builder.declare_side::<T2>(self.streams.vertex, tag.id());
        self.options.late_slots[1] = Some(slot);
        self
    }

    /// How many subtasks keep the keys.
    pub fn set_parallelism(self, parallelism: u32) -> Self {
        Self { streams: self.streams.set_parallelism(parallelism), ..self }
    }

    /// Calls `function` with each pair; what it emits goes on.
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
    pub fn process<P: ProcessJoinFunction<T1, T2>>(
        self,
        function: P,
    ) -> CoOperatedStream<T1, T2, K, F1, F2, IntervalJoinStart<P>> {
        self.joined(function, None)
    }

    /// As [`process`](Self::process); what the function puts aside is in
    /// [`get_side_output`](DataStream::get_side_output) of what this returns.
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
        let start = IntervalJoinStart::new(function, self.options, side_slot);
        self.streams.operate("IntervalJoin", start, true)
    }
}
