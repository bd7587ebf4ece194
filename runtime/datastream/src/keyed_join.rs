//! Joins of two keyed streams without windows: what remains to be said is how long records are kept, and what comes of a pair.
//!
//! ```text
//!   keyed.join(keyed) .unbounded() | .time_to_live(..)  .apply::<O>(|left, right, out| ..)
//! ```
//!
//! # What is always true
//!
//! 1. Functions take views of both records, which lie in state or in a frame: nothing is copied to join them.
//! 2. How long records are kept is in the text of the program: without it nothing compiles.

use std::time::Duration;

use wiesel_operators::{Chain, JoinStart, Nothing, Retention, Start, TimeToLive, Unbounded};
use wiesel_record::{FnView, Key, Out, Record};

use crate::{ConnectedKeyedStreams, DataStream, KeyedStream};

/// A join of which it was not said how long it keeps its records.
#[derive(Clone, Copy, Debug)]
pub struct Unsaid;

/// Two keyed streams to be joined: every record with every record of its key on the other side.
#[must_use = "a join does nothing until its function is applied: `.time_to_live(..)` or `.unbounded()`, then `.apply::<O>(..)`"]
pub struct KeyedJoin<T1: Record, T2: Record, K: Key, F1, F2, S> {
    streams: ConnectedKeyedStreams<T1, T2, K, F1, F2>,
    retention: S,
}

impl<T1, K, F1, S1, C1> KeyedStream<T1, K, F1, S1, C1>
where
    T1: Record,
    K: Key,
    F1: for<'a> FnView<'a, T1::View<'a>, K::View<'a>> + Clone + Send + 'static,
    S1: Start,
    C1: Chain<S1::Out, Out = T1>,
{
    /// Joins this stream with another by key: every pair of records, when the later of them arrives, with the time of
    /// that one. Both sides are kept; it has to be said for how long.
    ///
    /// ```
    /// # use wiesel_datastream::Environment;
    /// # let env = Environment::new();
    /// let people = env.from_collection([(7_u64, "Ada".to_owned())]).key_by::<u64>(|(id, _)| id);
    /// let auctions = env.from_collection([(1_u64, 7_u64)]).key_by::<u64>(|(_, seller)| seller);
    /// auctions
    ///     .join(people)
    ///     .unbounded()
    ///     .apply::<(String, u64)>(|(auction, _), (_, name), out| out.emit((name, auction)))
    ///     .print();
    /// ```
    ///
    /// Without `unbounded` or `time_to_live` it does not compile:
    ///
    /// ```compile_fail,E0277
    /// # use wiesel_datastream::Environment;
    /// # let env = Environment::new();
    /// let left = env.from_collection([1_u64]).key_by::<u64>(|n| n);
    /// let right = env.from_collection([1_u64]).key_by::<u64>(|n| n);
    /// left.join(right).apply::<u64>(|left, right, out| out.emit(left + right)).print();
    /// ```
    pub fn join<T2, F2, S2, C2>(
        self,
        other: KeyedStream<T2, K, F2, S2, C2>,
    ) -> KeyedJoin<T1, T2, K, F1, F2, Unsaid>
    where
        T2: Record,
        F2: for<'a> FnView<'a, T2::View<'a>, K::View<'a>> + Clone + Send + 'static,
        S2: Start,
        C2: Chain<S2::Out, Out = T2>,
    {
        KeyedJoin { streams: self.connect(other), retention: Unsaid }
    }
}

impl<T1: Record, T2: Record, K: Key, F1, F2> KeyedJoin<T1, T2, K, F1, F2, Unsaid> {
    /// Keeps all records for ever. State grows with the streams.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_i64)]).key_by::<u64>(|(user, _)| user);
    /// # let payments = env.from_collection([(7_u64, 50_i64)]).key_by::<u64>(|(user, _)| user);
    /// orders.join(payments).unbounded().apply::<i64>(|(_, a), (_, b), out| out.emit(b - a)).print();
    /// ```
    pub fn unbounded(self) -> KeyedJoin<T1, T2, K, F1, F2, Unbounded> {
        KeyedJoin { streams: self.streams, retention: Unbounded }
    }

    /// Keeps a record for so long after its arrival, by the time of day. Under a millisecond, the graph of the job is an error.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_i64)]).key_by::<u64>(|(user, _)| user);
    /// # let payments = env.from_collection([(7_u64, 50_i64)]).key_by::<u64>(|(user, _)| user);
    /// # use wiesel_core::minutes;
    /// let pairs = orders.join(payments).time_to_live(minutes(30));
    /// pairs.apply::<i64>(|(_, price), (_, paid), out| out.emit(paid - price)).print();
    /// ```
    pub fn time_to_live(self, duration: Duration) -> KeyedJoin<T1, T2, K, F1, F2, TimeToLive> {
        if duration.as_millis() == 0 {
            let what =
                "what is not kept is joined with nothing: keep records for a millisecond at least";
            self.streams.builder.mistake("Join", what);
        }
        KeyedJoin { streams: self.streams, retention: TimeToLive(duration) }
    }
}

impl<T1, T2, K, F1, F2, S> KeyedJoin<T1, T2, K, F1, F2, S>
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
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_i64)]).key_by::<u64>(|(user, _)| user);
    /// # let payments = env.from_collection([(7_u64, 50_i64)]).key_by::<u64>(|(user, _)| user);
    /// let pairs = orders.join(payments).unbounded().set_parallelism(4);
    /// pairs.apply::<i64>(|(_, price), (_, paid), out| out.emit(paid - price)).print();
    /// ```
    pub fn set_parallelism(self, parallelism: u32) -> Self {
        Self { streams: self.streams.set_parallelism(parallelism), ..self }
    }

    /// Calls `function` with each pair; what it emits goes on.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_i64)]).key_by::<u64>(|(user, _)| user);
    /// # let payments = env.from_collection([(7_u64, 50_i64)]).key_by::<u64>(|(user, _)| user);
    /// let pairs = orders.join(payments).unbounded();
    /// pairs.apply::<i64>(|(_, price), (_, paid), out| out.emit(paid - price)).print(); // 20
    /// ```
    pub fn apply<O: Record>(
        self,
        function: impl for<'l, 'r, 'e> Fn(T1::View<'l>, T2::View<'r>, &'e mut dyn Out<O>)
        + Clone
        + Send
        + 'static,
    ) -> DataStream<O, impl Start<Out = O>, Nothing<O>>
    where
        S: Retention,
    {
        let start = JoinStart::<O, _, S>::new(function, self.retention);
        self.streams.operate("Join", start, false)
    }
}
