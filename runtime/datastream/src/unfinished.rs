//! What the compiler says when a program goes on before a builder is finished.
//!
//! ```text
//!   keyed.window(..).map(..)
//!                    ^^^ error: a window needs an aggregate before it is a stream
//! ```
//!
//! A builder is no stream. It has the methods of one all the same, but each of them asks for a trait that nothing has: so
//! the compiler finds the method, and then says in our words what is missing, where it would else say that there is none.
//!
//! # What is always true
//!
//! 1. No type has one of these traits, so none of these methods can be called.
//! 2. The bound is on a type that is known only after the method was chosen: [`Unfinished`], by way of [`IsUnfinished`], or
//!    the type that the program names, `flat_map::<O>`. Were it on the builder itself, the method would not be chosen at all.
//! 3. A failed bound silences what follows from it: one mistake is one error.

use wiesel_operators::{Chain, IntervalOptions, Start};
use wiesel_record::{Key, Record};

use crate::{
    AllWindowedStream, BroadcastConnectedStream, BroadcastStream, ConnectedKeyedStreams,
    ConnectedStreams, DataStream, JoinedByKey, JoinedInWindows, JoinedStreams, JoinedWhere,
    KeyedBroadcastConnectedStream, KeyedIntervalJoin, KeyedJoin, KeyedStream, KeyedTemporalJoin,
    SharedStream, WindowedStream,
};

/// What a builder is called in errors.
#[derive(Clone, Copy, Debug)]
pub struct Unfinished;

/// Every type that the methods below are called on: `M` is inferred to be [`Unfinished`].
pub trait IsUnfinished<M> {}

impl<B> IsUnfinished<Unfinished> for B {}

/// A trait that says what is missing, and the methods that ask for it: `calls` without a type argument, by how many
/// arguments they take, and `typed` ones with a type argument and a function.
macro_rules! missing {
    (
        $missing:tt: $message:literal, $label:literal;
        $([$($generics:tt)*] $builder:ty {
            $(0 { $($call0:tt)* })? $(1 { $($call1:tt)* })? $(2 { $($call2:tt)* })?
            $(typed { $($typed:tt)* })?
        })+
    ) => {
        #[doc = $message]
        #[diagnostic::on_unimplemented(message = $message, label = $label)]
        pub trait $missing {
            /// What the next call would find.
            type Next;

            /// Never called: no type has this trait.
            fn next() -> Self::Next;
        }

        $(
            #[doc(hidden)]
            impl<$($generics)*> $builder {
                $($(
                    pub fn $call0<M: $missing>(self) -> M::Next
                    where
                        Self: IsUnfinished<M>,
                    {
                        M::next()
                    }
                )*)?
                $($(
                    pub fn $call1<M: $missing>(self, _: impl Sized) -> M::Next
                    where
                        Self: IsUnfinished<M>,
                    {
                        M::next()
                    }
                )*)?
                $($(
                    pub fn $call2<M: $missing>(self, _: impl Sized, _: impl Sized) -> M::Next
                    where
                        Self: IsUnfinished<M>,
                    {
                        M::next()
                    }
                )*)?
                $($(
                    pub fn $typed<O: $missing>(self, _: impl Sized) -> O::Next {
                        O::next()
                    }
                )*)?
            }
        )+
    };
}

missing! {
    KeyedOperator:
        "a keyed stream needs an operator before it is a stream again",
        "put this call in front of `key_by`, or say first what to do with each key: `.count()`, `.sum(..)`, `.reduce(..)`, \
         `.aggregate(..)`, `.process(..)`, `.window(..)`";
    [T: Record, K: Key, F, S: Start, C: Chain<S::Out, Out = T>] KeyedStream<T, K, F, S, C> {
        0 { print collect share rebalance rescale shuffle broadcast global forward start_new_chain }
        1 { map filter try_map try_filter union sink_to write_lines write_json uid name
            window_all get_side_output parallelism set_max_parallelism slot_sharing_group }
        2 { watermarks split ordered_wait unordered_wait }
        typed { flat_map try_flat_map project key_by }
    }
}

missing! {
    Aggregate:
        "a window needs an aggregate before it is a stream",
        "say first what to do with its records: `.count()`, `.sum(..)`, `.reduce(..)`, `.aggregate(..)`, `.process(..)`";
    [T: Record, K: Key, F, S: Start, C: Chain<S::Out, Out = T>, W]
    WindowedStream<T, K, F, S, C, W> {
        0 { print collect share rebalance }
        1 { map filter try_map try_filter union sink_to write_lines write_json uid name apply
            window window_all set_parallelism get_side_output }
        2 { watermarks split }
        typed { flat_map try_flat_map project key_by }
    }
    [T: Record, S: Start, C: Chain<S::Out, Out = T>, W] AllWindowedStream<T, S, C, W> {
        0 { print collect share rebalance }
        1 { map filter try_map try_filter union sink_to write_lines write_json uid name apply
            window window_all get_side_output }
        2 { watermarks split }
        typed { flat_map try_flat_map project key_by }
    }
}

missing! {
    KeepAndApply:
        "a join of keyed streams needs to know how long it keeps records, and its function",
        "comes after `.time_to_live(..)` or `.unbounded()`, and `.apply::<O>(|left, right, out| ..)`";
    [T1: Record, T2: Record, K: Key, F1, F2, S] KeyedJoin<T1, T2, K, F1, F2, S> {
        0 { print collect share rebalance }
        1 { map filter sink_to write_lines write_json uid name window equal_to }
        typed { flat_map project key_by where_key }
    }
}

missing! {
    WhereKey:
        "a join in windows needs the key of the first stream",
        "comes after `.where_key::<K>(..)`, then `.equal_to(..)`, `.window(..)` and `.apply::<O>(..)`";
    [A, B, P] JoinedStreams<A, B, P> {
        0 { print collect share rebalance unbounded }
        1 { map filter sink_to write_lines write_json uid name equal_to window time_to_live }
        typed { flat_map project key_by apply }
    }
}

missing! {
    EqualTo:
        "a join in windows needs the key of the second stream",
        "comes after `.equal_to(..)`, then `.window(..)` and `.apply::<O>(..)`";
    [A, B, P] JoinedWhere<A, B, P> {
        0 { print collect share rebalance }
        1 { map filter sink_to write_lines write_json uid name window }
        typed { flat_map project key_by apply }
    }
}

missing! {
    JoinWindow:
        "a join of streams needs its windows",
        "comes after `.window(Tumbling::event_time(..))` and `.apply::<O>(..)`; to join without windows, \
         `key_by` both streams and `join` them then";
    [T1: Record, T2: Record, K: Key, F1, F2, P] JoinedByKey<T1, T2, K, F1, F2, P> {
        0 { print collect share rebalance }
        1 { map filter sink_to write_lines write_json uid name }
        typed { flat_map project key_by apply }
    }
}

missing! {
    Apply:
        "a join needs its function before it is a stream",
        "comes after `.apply::<O>(..)`, which says what comes of a pair";
    [T1: Record, T2: Record, K: Key, F1, F2, P, W] JoinedInWindows<T1, T2, K, F1, F2, P, W> {
        0 { print collect share rebalance }
        1 { map filter sink_to write_lines write_json uid name }
        typed { flat_map project key_by }
    }
    [T1: Record, T2: Record, K: Key, F1, F2] KeyedIntervalJoin<T1, T2, K, F1, F2, IntervalOptions> {
        0 { print collect share rebalance }
        1 { map filter sink_to write_lines write_json uid name }
        typed { flat_map project key_by }
    }
    [T1: Record, T2: Record, K: Key, F1, F2, E, J] KeyedTemporalJoin<T1, T2, K, F1, F2, E, J> {
        0 { print collect share rebalance }
        1 { map filter sink_to write_lines write_json uid name }
        typed { flat_map project key_by }
    }
}

missing! {
    Between:
        "an interval join needs to know how far apart the times of a pair may be",
        "comes after `.between(before(..), after(..))`";
    [T1: Record, T2: Record, K: Key, F1, F2] KeyedIntervalJoin<T1, T2, K, F1, F2, ()> {
        0 { print collect share rebalance lower_bound_exclusive upper_bound_exclusive }
        1 { map filter sink_to write_lines write_json uid name process side_output_left_late_data
            side_output_right_late_data }
        2 { process_with_side }
        typed { flat_map project key_by apply }
    }
}

missing! {
    FunctionOfBoth:
        "connected streams need a function before they are a stream",
        "comes after `.map(.., ..)`, `.flat_map::<O>(.., ..)` or `.process(..)`; a key is for each stream, in front of `connect`";
    [T1: Record, T2: Record] ConnectedStreams<T1, T2> {
        0 { print collect share rebalance }
        1 { filter sink_to write_lines write_json uid name }
        2 { key_by }
        typed { project }
    }
}

missing! {
    ProcessFunctionOfBoth:
        "connected streams need a function before they are a stream",
        "comes after `.process(..)`, which says what to do with the records of each stream";
    [T1: Record, T2: Record, K: Key, F1, F2] ConnectedKeyedStreams<T1, T2, K, F1, F2> {
        0 { print collect share rebalance }
        1 { filter sink_to write_lines write_json uid name }
        2 { map }
        typed { project key_by }
    }
    [T: Record, B: Record] BroadcastConnectedStream<T, B> {
        0 { print collect share rebalance }
        1 { filter sink_to write_lines write_json uid name }
        2 { map }
        typed { project key_by }
    }
    [T: Record, B: Record, K: Key, F] KeyedBroadcastConnectedStream<T, B, K, F> {
        0 { print collect share rebalance }
        1 { filter sink_to write_lines write_json uid name }
        2 { map }
        typed { project key_by }
    }
}

missing! {
    ConnectBroadcast:
        "a stream with broadcast state is for another one to be connected with",
        "write `other.connect_broadcast(this).process(..)`; to give every subtask every record without state, `.broadcast()`";
    [T: Record, S: Start, C: Chain<S::Out, Out = T>] BroadcastStream<T, S, C> {
        0 { print collect share rebalance }
        1 { map filter sink_to write_lines write_json uid name process connect connect_broadcast }
        typed { flat_map project key_by }
    }
}

missing! {
    OneUse:
        "a shared stream is used by way of `stream`",
        "comes after `.stream()`, once for each use";
    [T: Record] SharedStream<T> {
        0 { print collect rebalance }
        1 { map filter union connect process sink_to write_lines write_json uid name window_all join co_group }
        2 { watermarks }
        typed { flat_map project key_by }
    }
}

missing! {
    KeyOrWindow:
        "a stream without keys has no rolling aggregates and no windows of its own",
        "comes after `.key_by::<K>(..)`; for all records together, `.window_all(..)` and then the aggregate";
    [T: Record, S: Start, C: Chain<S::Out, Out = T>] DataStream<T, S, C> {
        0 { count }
        1 { reduce aggregate sum min max min_by max_by window count_window interval_join
            temporal_join }
        2 { fold count_window_sliding }
    }
}
