//! What happens to a job, and what is to be done about it.

use wiesel_checkpoint::RequestId;
use wiesel_core::CheckpointId;
use wiesel_rpc::{
    Attempt, Envelope, FailureReport, Location, TaskState, ToJobMaster, ToTaskManager,
};

use super::CheckpointEffect;
use crate::JobStatus;

/// What happens to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Run it. Once.
    Start,
    /// Stop it. Does nothing once it is stopping or over.
    Cancel,
    /// Time has passed; see [`JobMaster::next_deadline`].
    Tick,
    /// A TaskManager says something.
    Message(Envelope<ToJobMaster>),
    /// A shard is gone, and with it what ran there.
    ShardLost(Location, FailureReport),
    /// The manifest of a checkpoint is durable.
    Stored(CheckpointId),
    /// It could not be written, for this reason; if `ambiguous` it may be there all the same.
    StoreFailed {
        /// Which.
        checkpoint: CheckpointId,
        /// Why.
        reason: String,
        /// Whether it may be there.
        ambiguous: bool,
    },
    /// Somebody wants a savepoint; answered by [`CheckpointEffect::SavepointDone`] or
    /// [`CheckpointEffect::SavepointFailed`].
    Savepoint(RequestId),
    /// The same, and behind it the job ends.
    StopWithSavepoint {
        /// Whose answer that is.
        request: RequestId,
        /// Whether event time ends first, so that all windows fire.
        drain: bool,
    },
    /// What is complete could not be committed.
    CommitFailed(FailureReport),
}

/// What is to be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send this to the TaskManager of that shard.
    Send(Location, Envelope<ToTaskManager>),
    /// Do this for a checkpoint.
    Checkpoint(CheckpointEffect),
    /// A task is in another state now. To be logged.
    Task(Attempt, TaskState),
    /// The job has another status now. A terminal one is the last effect.
    Job(JobStatus),
}
