//! What happens to a job, and what is to be done about it.

use std::{fmt, time::Duration};

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
    /// Time has passed; see [`JobMaster::next_deadline`](super::JobMaster::next_deadline).
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
    /// Some tasks start again after a failure. To be logged: it is all that is seen of it.
    Restart(Box<PlannedRestart>),
    /// The job has another status now. A terminal one is the last effect.
    Job(JobStatus),
}

/// What follows a failure that is not the end of the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedRestart {
    /// What went wrong.
    pub failure: FailureReport,
    /// From then until the tasks start again, at the earliest.
    pub delay: Duration,
    /// How many regions are stopped for it.
    pub regions: u32,
    /// Of so many of the job.
    pub of: u32,
}

impl fmt::Display for PlannedRestart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { failure, delay, regions, of } = self;
        let seconds = delay.as_secs_f64();
        match regions == of {
            true => write!(f, "{failure}: the job starts again in {seconds:.1} s"),
            false => {
                write!(f, "{failure}: {regions} of {of} regions start again in {seconds:.1} s")
            }
        }
    }
}
