//! What the coordinator is told, and what it wants done.

use std::collections::BTreeMap;

use wiesel_core::{CheckpointId, TaskId, TriggerKind, VertexId};

/// Names a request for a savepoint, so that its answer finds whoever asked. Chosen by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What a barrier asks for. It travels in the barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckpointKind {
    /// The engine's own: for recovery, may be incremental, may be deleted.
    Checkpoint,
    /// The user's: self-contained, canonical, never deleted, not used for recovery, commits nothing.
    Savepoint,
    /// A savepoint behind which the job stops, and whose sinks commit.
    Terminal {
        /// Whether event time ends first, so that all windows fire (`--drain`). Otherwise they stay open and can be
        /// resumed.
        drain: bool,
    },
}

impl CheckpointKind {
    /// Whether it belongs to the user.
    pub fn is_savepoint(self) -> bool {
        self != Self::Checkpoint
    }

    /// Whether the job stops behind it.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Terminal { .. })
    }

    /// What the tasks where barriers begin are asked for.
    pub fn trigger(self) -> TriggerKind {
        match self {
            Self::Checkpoint | Self::Savepoint => TriggerKind::Continue,
            Self::Terminal { drain: false } => TriggerKind::Stop,
            Self::Terminal { drain: true } => TriggerKind::Drain,
        }
    }

    /// Whether sinks commit what is pending once it is complete. Ordinary savepoints do not commit.
    pub fn commits(self) -> bool {
        self != Self::Savepoint
    }
}

/// Why a task did not take part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeclineReason {
    /// It does not run yet, or not any more. Not counted as a failure.
    NotReady,
    /// Its walk of an earlier checkpoint is not done. Counted.
    Busy,
    /// Its input ended before the barrier came. Not counted.
    InputEnded,
    /// Its state could not be written: the disk is full, or such. Counted.
    Io(String),
}

/// Why a checkpoint ended without being complete.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AbortReason {
    /// `execution.checkpointing.timeout` passed.
    #[error(
        "it expired: {waiting} of {tasks} tasks had not acknowledged, the first of them {first}"
    )]
    Expired {
        /// How many were missing.
        waiting: usize,
        /// Of how many.
        tasks: usize,
        /// The first that was missing.
        first: TaskId,
    },
    /// `execution.checkpointing.timeout` passed before any barrier was sent.
    #[error("it expired before its barriers: the enumerators were not snapshotted in time")]
    ExpiredInEnumerators,
    /// A task declined.
    #[error("task {task} declined: {}", decline_text(.reason))]
    Declined {
        /// Who.
        task: TaskId,
        /// Why.
        reason: DeclineReason,
    },
    /// A newer one is complete.
    #[error("checkpoint {by} is complete")]
    Subsumed {
        /// The newer one.
        by: CheckpointId,
    },
    /// A task that was to acknowledge is over.
    #[error("task {task} finished before it acknowledged")]
    TaskFinished {
        /// Who.
        task: TaskId,
    },
    /// The manifest could not be written.
    #[error("its manifest could not be stored: {reason}")]
    Store {
        /// What the storage said.
        reason: String,
    },
    /// An enumerator could not be snapshotted.
    #[error("an enumerator could not be snapshotted: {reason}")]
    Enumerators {
        /// What it said.
        reason: String,
    },
    /// The job restarts or ends.
    #[error("the job restarts or ends")]
    Restart,
    /// Refused before it had an id: another savepoint is under way.
    #[error("another savepoint is under way: ask again when it is done")]
    SavepointUnderWay,
    /// Refused before it had an id: the job does not run, or is stopping.
    #[error("the job does not run now: ask again when it is RUNNING")]
    NotRunning,
    /// Refused before it had an id: some but not all subtasks of an operator with union list state have finished.
    #[error(
        "some but not all subtasks of vertex {vertex} have finished, and it has union list state"
    )]
    UnionPartlyFinished {
        /// The vertex.
        vertex: VertexId,
    },
    /// Refused before it had an id: tasks have finished and `execution.checkpointing.checkpoints-after-tasks-finish`
    /// is off.
    #[error(
        "tasks have finished: set `execution.checkpointing.checkpoints-after-tasks-finish` to `true`"
    )]
    TasksFinished,
}

fn decline_text(reason: &DeclineReason) -> String {
    match reason {
        DeclineReason::NotReady => "it does not run".to_owned(),
        DeclineReason::Busy => "it still writes an earlier checkpoint".to_owned(),
        DeclineReason::InputEnded => "its input ended".to_owned(),
        DeclineReason::Io(error) => error.clone(),
    }
}

impl AbortReason {
    /// Whether something went wrong. That a task ends, or the job, is in the nature of things.
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Declined { reason, .. } => {
                !matches!(reason, DeclineReason::NotReady | DeclineReason::InputEnded)
            }
            Self::Restart | Self::TaskFinished { .. } | Self::Subsumed { .. } => false,
            _ => true,
        }
    }

    /// Whether it counts against `execution.checkpointing.tolerable-failed-checkpoints`.
    pub fn counts(&self, kind: CheckpointKind) -> bool {
        match self {
            Self::Expired { .. } => true,
            Self::Declined { reason, .. } => {
                matches!(reason, DeclineReason::Busy | DeclineReason::Io(_))
            }
            // What the JobManager alone could not do for a savepoint says nothing about the tasks.
            Self::Store { .. } | Self::ExpiredInEnumerators => !kind.is_savepoint(),
            _ => false,
        }
    }
}

/// What the coordinator is told. `H` is what a task hands in: where its state is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<H> {
    /// Time passed. Due at [`CheckpointCoordinator::next_deadline`](crate::CheckpointCoordinator::next_deadline).
    Tick,
    /// All tasks run, after the first deployment or after a restart.
    Running {
        /// Those that are over and are not started again: they take no part.
        finished: Vec<TaskId>,
    },
    /// The job restarts, is cancelled or fails: its tasks are being stopped.
    Restart,
    /// Some tasks are stopped and started again, while the others run: these hear what becomes of a manifest that is
    /// being written. Behind it comes [`Event::Running`] once more.
    Pause,
    /// The enumerators' states as of this checkpoint, in answer to [`Effect::SnapshotEnumerators`].
    Enumerators {
        /// Which.
        checkpoint: CheckpointId,
        /// The state of each source vertex's enumerator.
        states: BTreeMap<VertexId, H>,
    },
    /// The enumerators could not be snapshotted.
    EnumeratorsFailed {
        /// Which.
        checkpoint: CheckpointId,
        /// Why.
        reason: String,
    },
    /// A task's state is durable.
    Acknowledge {
        /// Which.
        checkpoint: CheckpointId,
        /// Who.
        task: TaskId,
        /// Where its state is.
        handle: H,
        /// Its size in bytes.
        bytes: u64,
    },
    /// A task does not take part.
    Decline {
        /// Which.
        checkpoint: CheckpointId,
        /// Who.
        task: TaskId,
        /// Why.
        reason: DeclineReason,
    },
    /// A task has processed all its input and waits for the final checkpoint.
    EndOfData {
        /// Who.
        task: TaskId,
    },
    /// A task is over; it takes part in no checkpoint any more.
    TaskFinished {
        /// Who.
        task: TaskId,
    },
    /// The manifest is durable: in answer to [`Effect::Store`].
    Stored {
        /// Which.
        checkpoint: CheckpointId,
    },
    /// The manifest is not there, or may be there.
    StoreFailed {
        /// Which.
        checkpoint: CheckpointId,
        /// Why.
        reason: String,
        /// Whether it may be there all the same: then no state of it is deleted.
        ambiguous: bool,
    },
    /// Somebody wants a savepoint. Answered by [`Effect::SavepointDone`] or [`Effect::SavepointFailed`].
    Savepoint {
        /// Returned with the answer.
        request: RequestId,
    },
    /// Somebody wants a savepoint and then no job. Answered as a savepoint is.
    StopWithSavepoint {
        /// Returned with the answer.
        request: RequestId,
        /// Whether windows fire first.
        drain: bool,
    },
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect<H> {
    /// Reserve the id durably, snapshot the enumerators, hold back what they send, and answer
    /// [`Event::Enumerators`] or [`Event::EnumeratorsFailed`].
    SnapshotEnumerators {
        /// Which.
        checkpoint: CheckpointId,
        /// Checkpoint or savepoint.
        kind: CheckpointKind,
    },
    /// Send barriers; behind them what the enumerators have sent since.
    Trigger {
        /// Which.
        checkpoint: CheckpointId,
        /// Travels in the barrier.
        kind: CheckpointKind,
        /// Running sources, and running tasks all of whose inputs have ended.
        tasks: Vec<TaskId>,
    },
    /// Every task has acknowledged: write the manifest, and answer [`Event::Stored`] or [`Event::StoreFailed`].
    Store {
        /// Which.
        checkpoint: CheckpointId,
        /// Checkpoint or savepoint.
        kind: CheckpointKind,
        /// Where each task's state is.
        handles: BTreeMap<TaskId, H>,
        /// The enumerators' states.
        enumerators: BTreeMap<VertexId, H>,
        /// Tasks that had finished when it began: they have no state.
        finished: Vec<TaskId>,
    },
    /// Tell all running tasks.
    NotifyComplete {
        /// Which.
        checkpoint: CheckpointId,
        /// Whether sinks commit.
        kind: CheckpointKind,
        /// From the trigger until it was stored, in nanoseconds.
        duration_ns: u64,
        /// The state of all tasks, in bytes.
        bytes: u64,
    },
    /// Tell all running tasks, and release what the enumerators' events wait for.
    NotifyAbort {
        /// Which.
        checkpoint: CheckpointId,
        /// Checkpoint or savepoint.
        kind: CheckpointKind,
        /// Why.
        reason: AbortReason,
    },
    /// A checkpoint is not needed any more: remove its manifest, then those of its files that no other refers to.
    Discard {
        /// Which.
        checkpoint: CheckpointId,
    },
    /// State of a checkpoint that will not be complete: remove those of its files that no other refers to.
    DiscardState {
        /// Which.
        checkpoint: CheckpointId,
        /// Where it is.
        handles: Vec<H>,
    },
    /// A savepoint is stored. After a terminal one the tasks finish by themselves.
    SavepointDone {
        /// Who asked.
        request: RequestId,
        /// Which it is.
        checkpoint: CheckpointId,
    },
    /// There will be no savepoint.
    SavepointFailed {
        /// Who asked.
        request: RequestId,
        /// Why.
        reason: AbortReason,
    },
    /// A checkpoint was due and did not begin. Said each time it is due: a job that cannot be checkpointed must not be
    /// silent about it.
    Skipped {
        /// Why.
        reason: AbortReason,
    },
    /// The job cannot go on: more failures than are tolerated, or it was stopped and its savepoint failed.
    FailJob {
        /// The checkpoint that was one too many.
        checkpoint: CheckpointId,
        /// Failures in a row, this one included.
        failures: u32,
        /// Why it failed.
        reason: AbortReason,
    },
}
