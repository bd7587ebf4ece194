//! Wiesel: a stream processor with Flink's architecture and semantics, thread-per-core on io_uring.
//!
//! A job is a program: it says where records come from, what happens to them and where they go, and then runs, one
//! shard per core, in this process. Names are Flink's, in snake case. This crate is all that it depends on (and `serde`,
//! if it reads JSON or CSV).
//!
//! ```
//! use wiesel::prelude::*;
//!
//! fn main() -> wiesel::Result<()> {
//!     let env = StreamExecutionEnvironment::from_args()?; // What the command line says.
//!     env.from_collection(["to be", "or not", "to be"].map(str::to_owned))
//!         .flat_map::<String>(|line, out| line.split(' ').for_each(|word| out.emit(word)))
//!         .key_by::<String>(|word| word)
//!         .count()
//!         .map(|counted| format!("{} {}", counted.key, counted.count))
//!         .print(); // `to 1`, `be 1`, `or 1`, …: a running count of each word.
//!     env.execute("word count")?;
//!     Ok(())
//! }
//! ```
//!
//! Windows of event time, over compressed files:
//!
//! ```no_run
//! use wiesel::prelude::*;
//!
//! #[derive(Record, serde::Deserialize)]
//! struct Bid {
//!     at: Timestamp, // Milliseconds since the Unix epoch.
//!     auction: u64,
//!     price: u64,
//! }
//!
//! fn main() -> wiesel::Result<()> {
//!     let env = StreamExecutionEnvironment::from_args()?;
//!     env.source(JsonLines::<Bid>::files("bids/*.jsonl.gz")).uid("bids")
//!         .watermarks(bounded_out_of_orderness(seconds(2)), |bid| bid.at)
//!         .filter(|bid| bid.price > 100)
//!         .key_by::<u64>(|bid| bid.auction)
//!         .window(Tumbling::event_time(minutes(1)))
//!         .max(|bid| bid.price).uid("highest")
//!         .print();
//!     env.execute("highest bids")?;
//!     Ok(())
//! }
//! ```
//!
//! # Where to look
//!
//! | | |
//! |---|---|
//! | to set options, to run | [`StreamExecutionEnvironment`]; all options: [`config::options`]; from a terminal: `--help` |
//! | records of one's own | [`Record`], [`Key`] |
//! | sources and sinks | [`connectors`], as [`Lines`](connectors::Lines), [`JsonLines`](connectors::JsonLines), [`DataGen`](connectors::DataGen), [`FileSink`](connectors::FileSink) |
//! | a stream: functions, watermarks, exchanges, async I/O | [`DataStream`] |
//! | by key: aggregates, state, timers | [`KeyedStream`]; [`KeyedProcessFunction`](operators::KeyedProcessFunction) |
//! | windows | [`WindowedStream`], [`AllWindowedStream`]; [`Tumbling`](operators::Tumbling), [`Sliding`](operators::Sliding), [`Session`](operators::Session), [`Cumulative`](operators::Cumulative), [`Global`](operators::Global) |
//! | two streams | [`ConnectedStreams`], [`ConnectedKeyedStreams`], [`BroadcastConnectedStream`], [`KeyedJoin`], [`KeyedIntervalJoin`], [`JoinedStreams`], [`KeyedTemporalJoin`] |
//! | checkpoints and savepoints | [`CheckpointConfig`], [`JobClient`] |
//! | tests of a job | [`testing`] |
//! | what went wrong | [`Error`], [`exit_code`] |
//!
//! # What is always true
//!
//! 1. Standard output is the job's; what the runtime has to say goes to standard error.
//! 2. Until `execute` nothing in the world is touched except what [`StreamExecutionEnvironment::from_args`] reads: the
//!    arguments, the environment and the configuration file.
//! 3. An error is printed once. What is wrong with the command line, the configuration or the machine ends the process
//!    with a code of its own ([`exit_code`]); what is wrong with the job is returned to the program.

mod answers;
mod arguments;
mod checkpoint_config;
mod environment;
mod error;
mod figures;
mod help;
mod logging;
mod print;
mod progress;
mod settings;
mod table;
pub mod testing;

pub use arguments::UsageError;
pub use checkpoint_config::CheckpointConfig;
pub use environment::StreamExecutionEnvironment;
pub use error::{Error, Result, exit_code};
pub use wiesel_operators::{NoWatermarks, no_watermarks};

pub use wiesel_cluster::{ClusterError, JobClient, JobProgress, JobResult, TaskProgress};
pub use wiesel_core::{
    Blame, Nanos, RuntimeExecutionMode, ShardId, SubtaskIndex, TaskFailure, TaskId, Timestamp,
    config::{self, Configuration},
    hours, millis, minutes, seconds,
};
pub use wiesel_datastream::{
    AllWindowedStream, BAD_LINES, BroadcastConnectedStream, BroadcastStream, ConnectedKeyedStreams,
    ConnectedStreams, DataStream, Environment, FrameStream, GeneralWindows, JoinedStreams,
    KeyedBroadcastConnectedStream, KeyedIntervalJoin, KeyedJoin, KeyedStream, KeyedTemporalJoin,
    OutputTag, SharedStream, SourceStream, WindowAssigner, WindowedStream, Windowing,
};
pub use wiesel_graph::{GraphError, ResourceProfile, SlotSharingGroup};
pub use wiesel_jobmanager::{CheckpointStats, JobStatus, Pauses};
pub use wiesel_record::{FnView, Item, Key, List, Out, Owned, Record, ViewRef, Viewed};
pub use wiesel_rpc::{
    FailureReport, HistogramReport, MetricValue, OperatorMetric, StageReport, TaskMetricsReport,
};

/// What happens to records: for functions with names and operators of one's own.
pub mod operators {
    pub use wiesel_operators::*;
}

/// Sources and sinks: for those that the prelude does not have, and to write one's own.
pub mod connectors {
    pub use wiesel_connectors::*;
}

/// The shard that sources and sinks of one's own run on: its clock, its files.
pub mod shard {
    pub use wiesel_shard::{Completion, CreateMode, File, Io, Outcome, Shard, Token};
}

/// What most jobs need: `use wiesel::prelude::*`.
pub mod prelude {
    pub use crate::{
        BAD_LINES, DataStream, Key, Out, OutputTag, Record, RuntimeExecutionMode, SlotSharingGroup,
        StreamExecutionEnvironment, Timestamp, hours, millis, minutes, seconds,
    };
    pub use wiesel_connectors::{
        BadLines, Collection, Csv, DataGen, FileSink, JsonLines, Lines, StdoutSink, Utf8,
    };
    pub use wiesel_operators::{
        AggregateFunction, Aggregated, AggregatedView, AggregatingState, AsyncAnswer,
        AsyncFunction, AsyncOptions, AsyncRetry, BroadcastProcessFunction, BroadcastState,
        BroadcastStates, CoProcessFunction, ContinuousEventTimeTrigger,
        ContinuousProcessingTimeTrigger, CountEvictor, CountTrigger, Counted, CountedView, Counter,
        Cumulative, DeltaEvictor, DeltaTrigger, Elements, EventTimeTrigger, Evictor, FunctionError,
        Gauge, Global, Histogram, KeyedBroadcastContext, KeyedBroadcastProcessFunction,
        KeyedCoProcessFunction, KeyedContext, KeyedProcessFunction, ListState, MapState,
        OperatorListState, OperatorStateRegistry, ProcessContext, ProcessFunction,
        ProcessJoinContext, ProcessJoinFunction, ProcessWindowFunction, ProcessingTimeTrigger,
        PurgingTrigger, Ranked, RankedView, ReducingState, RuntimeContext, Session, Sliding,
        StateRegistry, StateTtl, TimeDomain, TimeEvictor, TimeWindow, Trigger, TriggerContext,
        TriggerResult, TtlUpdate, TtlVisibility, Tumbling, ValueState, WatermarkStrategy,
        WindowContext, WindowElements, WindowStates, after, before, bounded_out_of_orderness,
        by_count, monotonous_timestamps, no_watermarks, punctuated,
    };
}

/// Where the derive finds the crate of records, in programs that depend on this one only.
#[doc(hidden)]
pub mod __private {
    pub use wiesel_record as record;
}
