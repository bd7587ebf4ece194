//! The DataStream API: what a program says, as a graph and the factories of its tasks.
//!
//! ```text
//!   env.source(..).filter(..).key_by(..).count().print()
//!        └────── vertex 0 ─────┘└─ edge ─┘└── vertex 1 ──┘      a factory each, built once per subtask
//! ```
//!
//! # What is always true
//!
//! 1. Building a graph touches nothing in the world: no file, no clock, no thread.
//! 2. Chain breaks are in the text of the program; see [`DataStream`].
//! 3. Methods are Flink's, in snake case.
//! 4. What is not finished does not compile, and the error says what is missing; see `unfinished.rs`.

mod async_io;
mod broadcasted;
mod builder;
mod connected;
mod environment;
mod hand_fed;
mod interval;
mod joined;
mod keyed;
mod keyed_broadcasted;
mod keyed_connected;
mod keyed_join;
mod partitioned;
mod processed;
mod shared;
mod sink;
mod source;
mod stream;
mod tag;
mod temporal;
mod unfinished;
mod watermarks;
mod window_process;
mod window_process_all;
mod windowed;
mod windowed_all;
mod windowing;

pub use broadcasted::{BroadcastConnectedStream, BroadcastProcessStream, BroadcastStream};
pub use builder::{EdgeParts, Exchange, GraphBuilder, GraphParts, OperatorParts, VertexParts};
pub use connected::{CoStream, ConnectedStreams};
pub use environment::{BAD_LINES, Environment, SourceStream, VertexCode};
pub use hand_fed::{HandFedHead, HandFedStart, HandFeed};
pub use interval::KeyedIntervalJoin;
pub use joined::{JoinedByKey, JoinedInWindows, JoinedStreams, JoinedWhere, KeyByKey, PairByPair};
pub use keyed::{KeyedStream, OperatedStream, RollingStream};
pub use keyed_broadcasted::{KeyedBroadcastConnectedStream, KeyedBroadcastStream};
pub use keyed_connected::{CoOperatedStream, ConnectedKeyedStreams};
pub use keyed_join::{KeyedJoin, Unsaid};
pub use shared::SharedStream;
pub use sink::{OUTPUT_CLOSED, Printed, SinkEnd, SinkPreparation};
pub use source::{EnumeratorFactory, SourceHead, SourceStart};
pub use stream::{DataStream, FrameStream};
pub use tag::OutputTag;
pub use temporal::{InnerJoin, KeyedTemporalJoin, LeftOuterJoin};
pub use window_process::{CountWindows, SlidingCountWindows};
pub use windowed::WindowedStream;
pub use windowed_all::AllWindowedStream;
pub use windowing::{
    Evicted, GeneralWindows, NoKey, PlainWindows, Triggered, UnmergedWindows, WindowAssigner,
    Windowing,
};
