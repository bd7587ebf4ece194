//! The words: what every other crate means by time, key group, subtask, failure and option.
//!
//! Nothing here does I/O, reads a clock or awaits. The crate is layer 0: it depends on no other crate
//! of the workspace.
//!
//! ```text
//!   time       Timestamp, Nanos             key_group   hash -> group -> subtask
//!   meta       what travels beside a record  ids         vertices, subtasks, operators
//!   config     typed options and their layers failure    who can fix it, may a restart help
//!   runtime_mode  record by record, or key after key
//!   metrics    single-writer counter cells   stop     "end your turn", from the end of a chain to its head
//!   mutants    faults that the simulator must find
//!   alignment  which sources wait for each other             pause    how long a shard stood still
//! ```

mod alignment;
pub mod config;
mod failure;
mod ids;
mod key_group;
mod meta;
pub mod metrics;
mod mutants;
mod pause;
mod runtime_mode;
mod stop;
mod time;
#[cfg(feature = "serde")]
mod time_serde;

pub use alignment::{AlignmentGroup, AlignmentReport};
pub use failure::{Blame, TaskFailure};
pub use ids::{
    ChannelIndex, CheckpointId, JobId, ShardId, SubtaskIndex, TaskId, TriggerKind, VertexId,
};
pub use key_group::{
    KeyGroup, KeyGroupRange, MAX_PARALLELISM_DEFAULT, MAX_PARALLELISM_LIMIT,
    default_max_parallelism, key_group_of,
};
pub use meta::Meta;
pub use mutants::Mutant;
pub use pause::Pause;
pub use runtime_mode::RuntimeExecutionMode;
pub use stop::StopFlag;
pub use time::{Nanos, Timestamp, hours, millis, minutes, seconds};
