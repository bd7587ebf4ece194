//! The JobMaster: one per job. It deploys the job's tasks, follows their states and hosts the split enumerators.
//!
//! ```text
//!   events                                JobMaster                          effects
//!   Start, Cancel, Tick ────────────────▶ status of the job ───────────────▶ Job(status)
//!   Message(from a TaskManager) ────────▶ state of every task ─────────────▶ Task(attempt, state)
//!   ShardLost ──────────────────────────▶ enumerators ─────────────────────▶ Send(to, message)
//! ```
//!
//! Pure: events and a time go in, effects come out. The shell around it carries messages and sleeps until
//! [`JobMaster::next_deadline`].

mod alignment;
mod deployment;
mod error;
mod job_master;
mod pauses;
mod source_desk;
mod status;

pub use error::JobMasterError;
pub use job_master::{
    CANCEL_TIMEOUT, CheckpointEffect, CheckpointPlan, CheckpointStats, CompletedCheckpoint, Effect,
    Event, JobMaster, PlannedRestart,
};
pub use pauses::Pauses;
pub use source_desk::{SPLIT_RETRY_INTERVAL, SourceEnumerator};
pub use status::JobStatus;
