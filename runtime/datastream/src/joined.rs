//! Joins of two streams in windows: what remains to be said is by which key, in which windows, and what comes of a pair.
//! Those without windows are in `keyed_join.rs`.
//!
//! ```text
//!   stream.join(stream)     .where_key(..).equal_to(..).window(..)              .apply::<O>(|left, right, out| ..)
//!   stream.co_group(stream) .where_key(..).equal_to(..).window(..)              .apply::<O>(|lefts, rights, out| ..)
//! ```
//!
//! # What is always true
//!
//! 1. Functions take views of both records, which lie in state or in a frame: nothing is copied to join them.
//! 2. How long records are kept is in the text of the program: the windows, and their lateness.

use std::{marker::PhantomData, time::Duration};

use wiesel_operators::{
    BothSides, Chain, EachPair, Elements, JoinWindows, Nothing, Start, WindowJoinStart,
    WindowOptions, WindowPairing,
};
use wiesel_record::{FnView, Key, Out, Record};

use crate::{
    CoOperatedStream, ConnectedKeyedStreams, DataStream, KeyedStream, OutputTag, WindowAssigner,
};

/// Two streams to be joined in windows, pair by pair.
#[derive(Clone, Copy, Debug)]
pub struct PairByPair;

/// Two streams to be grouped in windows, key by key.
#[derive(Clone, Copy, Debug)]
pub struct KeyByKey;

/// Two streams to be joined (`P` is [`PairByPair`]) or grouped ([`KeyByKey`]) in windows.
#[must_use = "a join does nothing until its function is applied: `.where_key::<K>(..)`, `.equal_to(..)`, `.window(..)`, `.apply::<O>(..)`"]
pub struct JoinedStreams<A, B, P> {
    first: A,
    second: B,
    types: PhantomData<fn() -> P>,
}

/// As [`JoinedStreams`], with the key of the first stream.
#[must_use = "a join does nothing until its function is applied: `.equal_to(..)`, `.window(..)`, `.apply::<O>(..)`"]
pub struct JoinedWhere<A, B, P> {
    first: A,
    second: B,
    types: PhantomData<fn() -> P>,
}

/// As [`JoinedWhere`], with the key of the second stream.
#[must_use = "a join does nothing until its function is applied: `.window(..)`, `.apply::<O>(..)`"]
pub struct JoinedByKey<T1: Record, T2: Record, K: Key, F1, F2, P> {
    streams: ConnectedKeyedStreams<T1, T2, K, F1, F2>,
    types: PhantomData<fn() -> P>,
}

/// As [`JoinedByKey`], with the windows.
#[must_use = "a join does nothing until its function is applied: `.apply::<O>(..)`"]
pub struct JoinedInWindows<T1: Record, T2: Record, K: Key, F1, F2, P, W> {
    streams: ConnectedKeyedStreams<T1, T2, K, F1, F2>,
    options: WindowOptions<W>,
    late_slot_right: Option<usize>,
    types: PhantomData<fn() -> P>,
}

impl<T: Record, S: Start, C: Chain<S::Out, Out = T>> DataStream<T, S, C> {
    /// Joins this stream with another in windows of event time: each pair of records of one key and window, when the
    /// window fires.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, seconds};
    /// # use wiesel_datastream::Environment;
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = Environment::new();
    /// // Who has opened an auction within ten seconds of registering.
    /// let people = env
    ///     .from_collection([(7_u64, "Ada".to_owned(), 1_000_i64)])
    ///     .watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// let auctions = env
    ///     .from_collection([(1_u64, 7_u64, 4_000_i64)])
    ///     .watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// people
    ///     .join(auctions)
    ///     .where_key::<u64>(|(id, ..)| id)
    ///     .equal_to(|(_, seller, _)| seller)
    ///     .window(Tumbling::event_time(seconds(10)))
    ///     .apply::<(u64, String)>(|(id, name, _), _, out| out.emit((id, name)))
    ///     .print();
    /// ```
    pub fn join<T2, S2, C2>(
        self,
        other: DataStream<T2, S2, C2>,
    ) -> JoinedStreams<Self, DataStream<T2, S2, C2>, PairByPair>
    where
        T2: Record,
        S2: Start,
        C2: Chain<S2::Out, Out = T2>,
    {
        JoinedStreams { first: self, second: other, types: PhantomData }
    }

    /// Groups this stream with another in windows of event time: for each key that is on either side, the records of
    /// both, when the window fires.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, seconds};
    /// # use wiesel_datastream::Environment;
    /// # use wiesel_operators::{Sliding, monotonous_timestamps};
    /// # let env = Environment::new();
    /// // Requests without an answer.
    /// let requests = env
    ///     .from_collection([(7_u64, 1_000_i64)])
    ///     .watermarks(monotonous_timestamps(), |(_, at)| Timestamp::from_millis(at));
    /// let answers = env
    ///     .from_collection([(8_u64, 1_200_i64)])
    ///     .watermarks(monotonous_timestamps(), |(_, at)| Timestamp::from_millis(at));
    /// requests
    ///     .co_group(answers)
    ///     .where_key::<u64>(|(id, _)| id)
    ///     .equal_to(|(id, _)| id)
    ///     .window(Sliding::event_time(seconds(10), seconds(5)))
    ///     .apply::<u64>(|requests, answers, out| {
    ///         if answers.is_empty() {
    ///             requests.for_each(|(id, _)| out.emit(id));
    ///         }
    ///     })
    ///     .print();
    /// ```
    pub fn co_group<T2, S2, C2>(
        self,
        other: DataStream<T2, S2, C2>,
    ) -> JoinedStreams<Self, DataStream<T2, S2, C2>, KeyByKey>
    where
        T2: Record,
        S2: Start,
        C2: Chain<S2::Out, Out = T2>,
    {
        JoinedStreams { first: self, second: other, types: PhantomData }
    }
}

impl<T, S, C, B, P> JoinedStreams<DataStream<T, S, C>, B, P>
where
    T: Record,
    S: Start,
    C: Chain<S::Out, Out = T>,
{
    /// By which key, in the first stream.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let payments = env.from_collection([(7_u64, 50_u64, 1_500_i64)]);
    /// # let payments = payments.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// let pairs = orders.join(payments).where_key::<u64>(|(user, ..)| user).equal_to(|(user, ..)| user);
    /// # drop(pairs);
    /// ```
    #[expect(clippy::type_complexity, reason = "an opaque closure has no other place to stand")]
    pub fn where_key<K: Key>(
        self,
        key_of: impl for<'a> FnView<'a, T::View<'a>, K::View<'a>> + Clone + Send + 'static,
    ) -> JoinedWhere<
        KeyedStream<
            T,
            K,
            impl for<'a> FnView<'a, T::View<'a>, K::View<'a>> + Clone + Send + 'static,
            S,
            C,
        >,
        B,
        P,
    > {
        let first = self.first.key_by::<K>(key_of);
        JoinedWhere { first, second: self.second, types: PhantomData }
    }
}

impl<T1, T2, K, F1, S1, C1, S2, C2, P>
    JoinedWhere<KeyedStream<T1, K, F1, S1, C1>, DataStream<T2, S2, C2>, P>
where
    T1: Record,
    T2: Record,
    K: Key,
    F1: for<'a> FnView<'a, T1::View<'a>, K::View<'a>> + Clone + Send + 'static,
    S1: Start,
    C1: Chain<S1::Out, Out = T1>,
    S2: Start,
    C2: Chain<S2::Out, Out = T2>,
{
    /// By which key, in the second stream.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let payments = env.from_collection([(7_u64, 50_u64, 1_500_i64)]);
    /// # let payments = payments.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// let pairs = orders.join(payments).where_key::<u64>(|(user, ..)| user).equal_to(|(user, ..)| user);
    /// # drop(pairs);
    /// ```
    pub fn equal_to(
        self,
        key_of: impl for<'a> FnView<'a, T2::View<'a>, K::View<'a>> + Clone + Send + 'static,
    ) -> JoinedByKey<
        T1,
        T2,
        K,
        F1,
        impl for<'a> FnView<'a, T2::View<'a>, K::View<'a>> + Clone + Send + 'static,
        P,
    > {
        let streams = self.first.connect(self.second.key_by::<K>(key_of));
        JoinedByKey { streams, types: PhantomData }
    }
}

impl<T1, T2, K, F1, F2, P> JoinedByKey<T1, T2, K, F1, F2, P>
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
    /// let pairs = orders.join(payments).where_key::<u64>(|(user, ..)| user).equal_to(|(user, ..)| user);
    /// let pairs = pairs.set_parallelism(4).window(Tumbling::event_time(minutes(1)));
    /// # drop(pairs);
    /// ```
    pub fn set_parallelism(self, parallelism: u32) -> Self {
        Self { streams: self.streams.set_parallelism(parallelism), ..self }
    }

    /// In which windows of event time.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let payments = env.from_collection([(7_u64, 50_u64, 1_500_i64)]);
    /// # let payments = payments.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// let pairs = orders.join(payments).where_key::<u64>(|(user, ..)| user).equal_to(|(user, ..)| user);
    /// let pairs = pairs.window(Tumbling::event_time(minutes(1)));
    /// # drop(pairs);
    /// ```
    pub fn window<W: WindowAssigner + JoinWindows>(
        self,
        windows: W,
    ) -> JoinedInWindows<T1, T2, K, F1, F2, P, W> {
        self.streams.builder.mistake_of(WindowAssigner::name(windows), windows.mistake());
        let (streams, options) = (self.streams, WindowOptions::new(windows));
        JoinedInWindows { streams, options, late_slot_right: None, types: PhantomData }
    }
}

impl<T1, T2, K, F1, F2, P, W> JoinedInWindows<T1, T2, K, F1, F2, P, W>
where
    T1: Record,
    T2: Record,
    K: Key,
    F1: for<'a> FnView<'a, T1::View<'a>, K::View<'a>> + Clone + Send + 'static,
    F2: for<'a> FnView<'a, T2::View<'a>, K::View<'a>> + Clone + Send + 'static,
    W: WindowAssigner + JoinWindows,
{
    /// Keeps a window this long after it has fired; a late record fires its key again, with all its records.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let payments = env.from_collection([(7_u64, 50_u64, 1_500_i64)]);
    /// # let payments = payments.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// let pairs = orders.join(payments).where_key::<u64>(|(user, ..)| user).equal_to(|(user, ..)| user);
    /// let pairs = pairs.window(Tumbling::event_time(minutes(1))).allowed_lateness(seconds(30));
    /// # drop(pairs);
    /// ```
    pub fn allowed_lateness(mut self, lateness: Duration) -> Self {
        self.options.allowed_lateness = lateness;
        self
    }

    /// Sends records of the first stream that come too late to `tag` instead of counting them.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let payments = env.from_collection([(7_u64, 50_u64, 1_500_i64)]);
    /// # let payments = payments.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # use wiesel_datastream::OutputTag;
    /// let late = OutputTag::new("late orders");
    /// let pairs = orders.join(payments).where_key::<u64>(|(user, ..)| user).equal_to(|(user, ..)| user);
    /// let pairs = pairs.window(Tumbling::event_time(minutes(1))).side_output_left_late_data(&late);
    /// let paid = pairs.apply::<u64>(|_, (_, paid, _), out| out.emit(paid));
    /// paid.get_side_output(&late).print();
    /// paid.print();
    /// ```
    pub fn side_output_left_late_data(mut self, tag: &OutputTag<T1>) -> Self {
        let slot = self.streams.builder.declare_side::<T1>(self.streams.vertex, tag.id());
        self.options.late_slot = Some(slot);
        self
    }

    /// Sends records of the second stream that come too late to `tag` instead of counting them.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let payments = env.from_collection([(7_u64, 50_u64, 1_500_i64)]);
    /// # let payments = payments.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # use wiesel_datastream::OutputTag;
    /// let late = OutputTag::new("late payments");
    /// let pairs = orders.join(payments).where_key::<u64>(|(user, ..)| user).equal_to(|(user, ..)| user);
    /// let pairs = pairs.window(Tumbling::event_time(minutes(1))).side_output_right_late_data(&late);
    /// let paid = pairs.apply::<u64>(|_, (_, paid, _), out| out.emit(paid));
    /// paid.get_side_output(&late).print();
    /// paid.print();
    /// ```
    pub fn side_output_right_late_data(mut self, tag: &OutputTag<T2>) -> Self {
        let slot = self.streams.builder.declare_side::<T2>(self.streams.vertex, tag.id());
        self.late_slot_right = Some(slot);
        self
    }

    fn paired<A: WindowPairing<T1, T2>>(
        self,
        what: &str,
        pairing: A,
    ) -> CoOperatedStream<T1, T2, K, F1, F2, WindowJoinStart<A, W>> {
        let name = format!("{}.{what}", self.options.windows.name());
        let start = WindowJoinStart::new(pairing, self.options, self.late_slot_right);
        self.streams.operate(&name, start, true)
    }
}

impl<T1, T2, K, F1, F2, W> JoinedInWindows<T1, T2, K, F1, F2, PairByPair, W>
where
    T1: Record,
    T2: Record,
    K: Key,
    F1: for<'a> FnView<'a, T1::View<'a>, K::View<'a>> + Clone + Send + 'static,
    F2: for<'a> FnView<'a, T2::View<'a>, K::View<'a>> + Clone + Send + 'static,
    W: WindowAssigner + JoinWindows,
{
    /// Calls `function` with each pair of a key and window; what it emits goes on.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let payments = env.from_collection([(7_u64, 50_u64, 1_500_i64)]);
    /// # let payments = payments.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// let pairs = orders.join(payments).where_key::<u64>(|(user, ..)| user).equal_to(|(user, ..)| user);
    /// let pairs = pairs.window(Tumbling::event_time(minutes(1)));
    /// pairs.apply::<u64>(|(_, price, _), (_, paid, _), out| out.emit(paid - price)).print();
    /// ```
    pub fn apply<O: Record>(
        self,
        function: impl for<'l, 'r, 'e> Fn(T1::View<'l>, T2::View<'r>, &'e mut dyn Out<O>)
        + Clone
        + Send
        + 'static,
    ) -> DataStream<O, impl Start<Out = O>, Nothing<O>> {
        self.paired("Join", EachPair::<_, O>::new(function))
    }
}

impl<T1, T2, K, F1, F2, W> JoinedInWindows<T1, T2, K, F1, F2, KeyByKey, W>
where
    T1: Record,
    T2: Record,
    K: Key,
    F1: for<'a> FnView<'a, T1::View<'a>, K::View<'a>> + Clone + Send + 'static,
    F2: for<'a> FnView<'a, T2::View<'a>, K::View<'a>> + Clone + Send + 'static,
    W: WindowAssigner + JoinWindows,
{
    /// Calls `function` with the records of each key and window, of both sides; what it emits goes on.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let payments = env.from_collection([(7_u64, 50_u64, 1_500_i64)]);
    /// # let payments = payments.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// let both = orders.co_group(payments).where_key::<u64>(|(user, ..)| user).equal_to(|(user, ..)| user);
    /// let both = both.window(Tumbling::event_time(minutes(1)));
    /// // The orders of users who have paid nothing in the same minute.
    /// both.apply::<u64>(|orders, payments, out| {
    ///     if payments.is_empty() {
    ///         orders.for_each(|(user, ..)| out.emit(user));
    ///     }
    /// })
    /// .print();
    /// ```
    pub fn apply<O: Record>(
        self,
        function: impl for<'t, 'e> Fn(&Elements<'t, T1>, &Elements<'t, T2>, &'e mut dyn Out<O>)
        + Clone
        + Send
        + 'static,
    ) -> DataStream<O, impl Start<Out = O>, Nothing<O>> {
        self.paired("CoGroup", BothSides::<_, O>::new(function))
    }
}
