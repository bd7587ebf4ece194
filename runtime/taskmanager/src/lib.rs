//! The worker: what runs on a shard. One slot, the tasks deployed into it, and their frames.
//!
//! ```text
//!   JobMaster ──ToTaskManager──▶ ┌──────────── Worker, a Program ────────────┐
//!                                │ mail ─▶ deploy, start, split, cancel       │ ◀── channels ──▶ other workers
//!             ◀──ToJobMaster──── │ a turn for each task; reports, heartbeat   │
//!                                └────────────────────────────────────────────┘
//! ```
//!
//! # What is always true
//!
//! 1. A worker learns only from messages and tells only by messages; channels carry the data.
//! 2. A panic in a task fails that task, with its uid, subtask and source position; the others go on.
//! 3. A task that is over, however, has given back its gates, its partitions and its frames.

mod build;
mod channels;
mod operators;
mod pool_metrics;
mod precedence;
mod restores;
mod slot;
mod state_files;
mod state_reader;
mod state_writer;
mod stepped;
mod worker;
mod writes;

pub use channels::{ChannelEnds, ChannelId, LocalChannels};
pub use pool_metrics::{PoolMetrics, PoolReport};
pub use stepped::{StateByVertex, SteppedTasks};
pub use worker::{Worker, WorkerOptions, WorkerSpec};
