//! Temporal joins: what remains to be said is whether records without a version come out, and what comes of a pair.
//!
//! ```text
//!   keyed.temporal_join(versions)                .apply::<O>(|left, version, out| ..)          inner
//!   keyed.temporal_join(versions) .left_outer()  .apply::<O>(|left, Option<version>, out| ..)
//! ```
//!
//! # What is always true
//!
//! 1. Both streams have event times; a result has that of its left record.
//! 2. Functions take views: nothing is copied to join.

use std::marker::PhantomData;

use wiesel_operators::{
    Chain, EndsWhen, InnerTemporal, LeftTemporal, NeverEnds, Nothing, Start, TemporalJoinStart,
    VersionEnd,
};
use wiesel_record::{FnView, Key, Out, Record};

use crate::{ConnectedKeyedStreams, DataStream, KeyedStream};

/// Only records that have a version come out.
#[derive(Clone, Copy, Debug)]
pub struct InnerJoin;

/// Every record of the left stream comes out.
#[derive(Clone, Copy, Debug)]
pub struct LeftOuterJoin;

/// A keyed stream to be joined with the versions of another. `J` is [`InnerJoin`] or [`LeftOuterJoin`].
#[must_use = "a join does nothing until its function is applied: `.apply::<O>(..)`"]
pub struct KeyedTemporalJoin<T1: Record, T2: Record, K: Key, F1, F2, E, J> {
    streams: ConnectedKeyedStreams<T1, T2, K, F1, F2>,
    end: E,
    types: PhantomData<fn() -> J>,
}

impl<T1, K, F1, S1, C1> KeyedStream<T1, K, F1, S1, C1>
where
    T1: Record,
    K: Key,
    F1: for<'a> FnView<'a, T1::View<'a>, K::View<'a>> + Clone + Send + 'static,
    S1: Start,
    C1: Chain<S1::Out, Out = T1>,
{
    /// Joins this stream with the versions of each key: a record of the other stream is the version of its key from its
    /// event time on, until that of the next. Each record of this stream meets the version that is valid at its own time,
    /// once the watermark of both streams has reached it. SQL's `FOR SYSTEM_TIME AS OF`.
    ///
    /// Versions that no record on time can need any more are dropped, except the last of each key.
    ///
    /// ```
    /// # use wiesel_core::Timestamp;
    /// # use wiesel_datastream::Environment;
    /// # use wiesel_operators::monotonous_timestamps;
    /// # let env = Environment::new();
    /// # let orders = env
    /// #     .from_collection([("USD".to_owned(), 30_u64, 2_000_i64)])
    /// #     .watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let rates = env
    /// #     .from_collection([("USD".to_owned(), 92_u64, 1_000_i64)])
    /// #     .watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// // Orders in cents, by the rate of the moment.
    /// orders
    ///     .key_by::<String>(|(currency, ..)| currency)
    ///     .temporal_join(rates.key_by::<String>(|(currency, ..)| currency))
    ///     .apply::<u64>(|(_, price, _), (_, rate, _), out| out.emit(price * rate))
    ///     .print();
    /// ```
    pub fn temporal_join<T2, F2, S2, C2>(
        self,
        versions: KeyedStream<T2, K, F2, S2, C2>,
    ) -> KeyedTemporalJoin<T1, T2, K, F1, F2, NeverEnds, InnerJoin>
    where
        T2: Record,
        F2: for<'a> FnView<'a, T2::View<'a>, K::View<'a>> + Clone + Send + 'static,
        S2: Start,
        C2: Chain<S2::Out, Out = T2>,
    {
        KeyedTemporalJoin { streams: self.connect(versions), end: NeverEnds, types: PhantomData }
    }
}

impl<T1: Record, T2: Record, K: Key, F1, F2, E, J> KeyedTemporalJoin<T1, T2, K, F1, F2, E, J> {
    /// Records without a version come out too: `apply` gets an `Option`.
    ///
    /// ```
    /// # use wiesel_core::Timestamp;
    /// # use wiesel_datastream::Environment;
    /// # use wiesel_operators::monotonous_timestamps;
    /// # let env = Environment::new();
    /// # let calls = env
    /// #     .from_collection([(7_u64, 2_000_i64)])
    /// #     .watermarks(monotonous_timestamps(), |(_, at)| Timestamp::from_millis(at));
    /// # let tariffs = env
    /// #     .from_collection([(7_u64, 5_u64, 1_000_i64)])
    /// #     .watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// calls
    ///     .key_by::<u64>(|(user, _)| user)
    ///     .temporal_join(tariffs.key_by::<u64>(|(user, ..)| user))
    ///     .left_outer()
    ///     .apply::<(u64, u64)>(|(user, _), tariff, out| {
    ///         out.emit((user, tariff.map_or(9, |(_, price, _)| price)));
    ///     })
    ///     .print();
    /// ```
    pub fn left_outer(self) -> KeyedTemporalJoin<T1, T2, K, F1, F2, E, LeftOuterJoin> {
        KeyedTemporalJoin { streams: self.streams, end: self.end, types: PhantomData }
    }

    /// A version for which `is_end` is true says that from its time on its key has none: what a deletion is in a
    /// changelog.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let payments = env.from_collection([(7_u64, 50_u64, 1_500_i64)]);
    /// # let payments = payments.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let (orders, payments) = (orders.key_by::<u64>(|(user, ..)| user), payments.key_by::<u64>(|(user, ..)| user));
    /// // The other stream has the limit of each user; 0 says that there is none any more.
    /// let limits = payments;
    /// let within = orders.temporal_join(limits).ends_when(|(_, limit, _)| limit == 0);
    /// within.apply::<u64>(|(_, price, _), (_, limit, _), out| out.emit(price.min(limit))).print();
    /// ```
    pub fn ends_when<G>(self, is_end: G) -> KeyedTemporalJoin<T1, T2, K, F1, F2, EndsWhen<G>, J>
    where
        G: for<'a> Fn(T2::View<'a>) -> bool + Clone + Send + 'static,
    {
        KeyedTemporalJoin { streams: self.streams, end: EndsWhen(is_end), types: PhantomData }
    }
}

impl<T1, T2, K, F1, F2, E, J> KeyedTemporalJoin<T1, T2, K, F1, F2, E, J>
where
    T1: Record,
    T2: Record,
    K: Key,
    F1: for<'a> FnView<'a, T1::View<'a>, K::View<'a>> + Clone + Send + 'static,
    F2: for<'a> FnView<'a, T2::View<'a>, K::View<'a>> + Clone + Send + 'static,
{
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
    /// # let (orders, limits) = (orders.key_by::<u64>(|(user, ..)| user), payments.key_by::<u64>(|(user, ..)| user));
    /// let within = orders.temporal_join(limits).set_parallelism(4);
    /// within.apply::<u64>(|(_, price, _), (_, limit, _), out| out.emit(price.min(limit))).print();
    /// ```
    pub fn set_parallelism(self, parallelism: u32) -> Self {
        Self { streams: self.streams.set_parallelism(parallelism), ..self }
    }
}

impl<T1, T2, K, F1, F2, E> KeyedTemporalJoin<T1, T2, K, F1, F2, E, InnerJoin>
where
    T1: Record,
    T2: Record,
    K: Key,
    F1: for<'a> FnView<'a, T1::View<'a>, K::View<'a>> + Clone + Send + 'static,
    F2: for<'a> FnView<'a, T2::View<'a>, K::View<'a>> + Clone + Send + 'static,
    E: VersionEnd<T2>,
{
    /// Calls `function` with each record and its version; what it emits goes on.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let payments = env.from_collection([(7_u64, 50_u64, 1_500_i64)]);
    /// # let payments = payments.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let (orders, limits) = (orders.key_by::<u64>(|(user, ..)| user), payments.key_by::<u64>(|(user, ..)| user));
    /// let within = orders.temporal_join(limits);
    /// within.apply::<u64>(|(_, price, _), (_, limit, _), out| out.emit(price.min(limit))).print();
    /// ```
    pub fn apply<O: Record>(
        self,
        function: impl for<'l, 'r, 'e> Fn(T1::View<'l>, T2::View<'r>, &'e mut dyn Out<O>)
        + Clone
        + Send
        + 'static,
    ) -> DataStream<O, impl Start<Out = O>, Nothing<O>> {
        let start = TemporalJoinStart::new(InnerTemporal::<_, O>::new(function), self.end);
        self.streams.operate("TemporalJoin", start, true)
    }
}

impl<T1, T2, K, F1, F2, E> KeyedTemporalJoin<T1, T2, K, F1, F2, E, LeftOuterJoin>
where
    T1: Record,
    T2: Record,
    K: Key,
    F1: for<'a> FnView<'a, T1::View<'a>, K::View<'a>> + Clone + Send + 'static,
    F2: for<'a> FnView<'a, T2::View<'a>, K::View<'a>> + Clone + Send + 'static,
    E: VersionEnd<T2>,
{
    /// Calls `function` with each record and its version, if it has one; what it emits goes on.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let payments = env.from_collection([(7_u64, 50_u64, 1_500_i64)]);
    /// # let payments = payments.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let (orders, limits) = (orders.key_by::<u64>(|(user, ..)| user), payments.key_by::<u64>(|(user, ..)| user));
    /// let all = orders.temporal_join(limits).left_outer();
    /// all.apply::<u64>(|(_, price, _), limit, out| {
    ///     out.emit(limit.map_or(price, |(_, limit, _)| price.min(limit)));
    /// })
    /// .print();
    /// ```
    pub fn apply<O: Record>(
        self,
        function: impl for<'l, 'r, 'e> Fn(T1::View<'l>, Option<T2::View<'r>>, &'e mut dyn Out<O>)
        + Clone
        + Send
        + 'static,
    ) -> DataStream<O, impl Start<Out = O>, Nothing<O>> {
        let start = TemporalJoinStart::new(LeftTemporal::<_, O>::new(function), self.end);
        self.streams.operate("TemporalJoin", start, true)
    }
}
