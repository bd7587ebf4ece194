//! The messages, and the state of a task that they report.

use std::fmt;

use wiesel_core::{
    AlignmentReport, CheckpointId, JobId, Timestamp, TriggerKind,
    metrics::{StageMetrics, TaskMetrics},
};

use crate::{
    Attempt, FailureReport, FunctionMetricReport, StateHandle, TaskDeployment, TaskManagerId,
};

/// A message and the job that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope<M> {
    /// The job. A receiver that does not run it drops the message.
    pub job: JobId,
    /// The message.
    pub message: M,
}

/// From the JobMaster to a TaskManager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToTaskManager {
    /// Build this task and wire its channels, but give it no turn yet. Answered by `Deployed` or a failure.
    Deploy(Box<TaskDeployment>),
    /// Every task of the job is deployed: run. Answered by `Running`.
    Start(Attempt),
    /// A split for a source that has asked for one, as its enumerator encoded it.
    Split(Attempt, Vec<u8>),
    /// The answer to a source that has asked: there will be no more.
    NoMoreSplits(Attempt),
    /// Begin a checkpoint here: this task is a source, or none of its inputs will bring a barrier. Answered, as every
    /// barrier is, by `Acknowledge` or `Decline`. What is sent behind it is not part of the checkpoint.
    Trigger(Attempt, CheckpointId, TriggerKind),
    /// The checkpoint has been given up.
    CheckpointAborted(Attempt, CheckpointId),
    /// The checkpoint is complete, and its commits are done.
    CheckpointCompleted(Attempt, CheckpointId),
    /// Splits of this source whose watermark is greater wait for others of their group.
    WatermarkLimit(Attempt, Timestamp),
    /// Stop and give everything back. Answered by a terminal state, whichever comes first.
    Cancel(Attempt),
}

/// From a TaskManager to the JobMaster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToJobMaster {
    /// The task is built and waits for `Start`.
    Deployed(Attempt),
    /// The task is in another state now.
    State(Attempt, TaskState),
    /// The task is over because of this.
    Failed(Attempt, FailureReport),
    /// A source's reader has nothing to read. Sent once per need.
    RequestSplit(Attempt),
    /// The state of the task as of the checkpoint's barrier is on the disk.
    Acknowledge(Attempt, CheckpointId, StateHandle),
    /// The task does not take part in the checkpoint.
    Decline(Attempt, CheckpointId, Declined),
    /// The task has processed all its data and waits for a checkpoint that began after that.
    EndOfData(Attempt),
    /// Where a source is whose watermark is aligned with others.
    Watermark(Attempt, AlignmentReport),
    /// The TaskManager lives, and this is what its tasks have counted.
    Heartbeat(TaskManagerId, Vec<TaskMetricsReport>),
}

/// Why a task takes no part in a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Declined {
    /// It does not run yet, has come to its end, or is at another checkpoint.
    NotReady,
    /// Its state could not be written.
    Io(String),
}

/// Where a task is in its life. Flink's states, but for those of restoring and batch.
///
/// ```text
///   Created ──▶ Deploying ──▶ Running ──▶ Finished
///      │            │  ╲         │  ╲
///      │            ▼   ╲        ▼   ╲
///      │         Canceling ◀─────┘    ▶ Failed      (also from Deploying and Canceling)
///      ▼            ▼
///   Canceled ◀──────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskState {
    /// Nobody was asked to run it yet.
    Created,
    /// A TaskManager builds it, or it waits for the others.
    Deploying,
    /// It has turns.
    Running,
    /// It was asked to stop.
    Canceling,
    /// Over: all its input was read, all its output is delivered.
    Finished,
    /// Over: it was asked to stop and did.
    Canceled,
    /// Over: it could not go on.
    Failed,
}

impl TaskState {
    /// Whether the task is over.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Finished | Self::Canceled | Self::Failed)
    }

    /// Whether a task may go from this state to `next`.
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Created => matches!(next, Self::Deploying | Self::Canceled),
            Self::Deploying => matches!(next, Self::Running | Self::Canceling | Self::Failed),
            Self::Running => matches!(next, Self::Finished | Self::Canceling | Self::Failed),
            Self::Canceling => next.is_terminal(),
            Self::Finished | Self::Canceled | Self::Failed => false,
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "CREATED",
            Self::Deploying => "DEPLOYING",
            Self::Running => "RUNNING",
            Self::Canceling => "CANCELING",
            Self::Finished => "FINISHED",
            Self::Canceled => "CANCELED",
            Self::Failed => "FAILED",
        })
    }
}

/// What a task has counted since it was deployed. Units as in [`TaskMetrics`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskMetricsReport {
    /// The task.
    pub attempt: Attempt,
    /// `numRecordsIn`.
    pub records_in: u64,
    /// `numRecordsOut`.
    pub records_out: u64,
    /// `numLateRecordsDropped`.
    pub late_records_dropped: u64,
    /// Records that could not be read and were skipped by choice.
    pub bad_records_skipped: u64,
    /// Lines that were not UTF-8 and were repaired by choice.
    pub text_replaced: u64,
    /// Time in turns that did work.
    pub busy_ns: u64,
    /// Time in turns that found nothing.
    pub idle_ns: u64,
    /// Time without a frame for the output.
    pub back_pressured_ns: u64,
    /// Time in turns before the first record.
    pub queue_ns: u64,
    /// Time in turns behind the last record.
    pub flush_ns: u64,
    /// Time spent on watermarks: what they fire, with what is pushed.
    pub watermark_ns: u64,
    /// `currentInputWatermark`.
    pub input_watermark: Timestamp,
    /// Where the time of records goes.
    pub stages: StageReport,
    /// What its functions count.
    pub functions: Vec<FunctionMetricReport>,
}

/// Where the time of records goes: per stage how many records were looked at, and their nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageReport {
    /// A source makes them.
    pub source: (u64, u64),
    /// Operators without state, with the sink or the frame behind them.
    pub chain: (u64, u64),
    /// Keyed operators, with what is behind them.
    pub state: (u64, u64),
    /// They are appended to a frame.
    pub serialise: (u64, u64),
}

impl StageReport {
    fn read(stages: &StageMetrics) -> Self {
        Self {
            source: (stages.source_count.get(), stages.source_ns.get()),
            chain: (stages.chain_count.get(), stages.chain_ns.get()),
            state: (stages.state_count.get(), stages.state_ns.get()),
            serialise: (stages.serialise_count.get(), stages.serialise_ns.get()),
        }
    }
}

impl TaskMetricsReport {
    /// Reads the cells of a task. They are read one after the other while the task runs.
    pub fn read(attempt: Attempt, metrics: &TaskMetrics) -> Self {
        Self {
            attempt,
            records_in: metrics.records_in.get(),
            records_out: metrics.records_out.get(),
            late_records_dropped: metrics.late_records_dropped.get(),
            bad_records_skipped: metrics.bad_records_skipped.get(),
            text_replaced: metrics.text_replaced.get(),
            busy_ns: metrics.busy_ns.get(),
            idle_ns: metrics.idle_ns.get(),
            back_pressured_ns: metrics.back_pressured_ns.get(),
            queue_ns: metrics.queue_ns.get(),
            flush_ns: metrics.flush_ns.get(),
            watermark_ns: metrics.watermark_ns.get(),
            input_watermark: Timestamp::from_millis(metrics.input_watermark_ms.get()),
            stages: StageReport::read(&metrics.stages),
            functions: metrics.functions.all().iter().map(FunctionMetricReport::read).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [TaskState; 7] = [
        TaskState::Created,
        TaskState::Deploying,
        TaskState::Running,
        TaskState::Canceling,
        TaskState::Finished,
        TaskState::Canceled,
        TaskState::Failed,
    ];

    #[test]
    fn a_task_lives_like_this() {
        let line = |from: &TaskState| {
            let next = ALL.iter().filter(|next| from.may_become(**next));
            let next: Vec<_> = next.map(TaskState::to_string).collect();
            format!("{from} > {}", next.join(" "))
        };
        assert_eq!(
            ALL.iter().map(line).collect::<Vec<_>>(),
            [
                "CREATED > DEPLOYING CANCELED",
                "DEPLOYING > RUNNING CANCELING FAILED",
                "RUNNING > CANCELING FINISHED FAILED",
                "CANCELING > FINISHED CANCELED FAILED",
                "FINISHED > ",
                "CANCELED > ",
                "FAILED > ",
            ]
        );
    }

    #[test]
    fn states_only_go_forward() {
        for (from, next) in ALL.iter().flat_map(|from| ALL.iter().map(move |next| (*from, *next))) {
            assert!(!from.may_become(next) || from < next, "{from} to {next}");
        }
    }
}
