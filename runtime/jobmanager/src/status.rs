//! The status of a job.

use std::fmt;

/// Flink's states of a job, but for suspension.
///
/// ```text
///   Created ──▶ Running ──▶ Finished
///      │        ▲ │  └────▶ Failing ──▶ Failed
///      │        │ │           ▲
///      │     Restarting ──────┘                  a task failed, and the restart strategy allows another try
///      │          ▼                       ▲
///      └─────▶ Cancelling ──▶ Canceled    │
///                    └────────────────────┘  a task did not stop in time
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobStatus {
    /// Nothing was deployed yet.
    Created,
    /// Tasks are being deployed or run.
    Running,
    /// A task failed; its region is stopped and will be deployed again, while others run. Or all of the job.
    Restarting,
    /// A task failed; the others are stopped.
    Failing,
    /// Over: a task failed.
    Failed,
    /// It was asked to stop; its tasks are stopped.
    Cancelling,
    /// Over: it was asked to stop and did.
    Canceled,
    /// Over: all tasks have read all their input.
    Finished,
}

impl JobStatus {
    /// Whether the job is over.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Failed | Self::Canceled | Self::Finished)
    }

    /// Whether a job may go from this status to `next`.
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Created => matches!(next, Self::Running | Self::Cancelling),
            Self::Running => {
                matches!(next, Self::Finished | Self::Restarting | Self::Failing | Self::Cancelling)
            }
            Self::Restarting => matches!(next, Self::Running | Self::Failing | Self::Cancelling),
            Self::Failing => next == Self::Failed,
            Self::Cancelling => matches!(next, Self::Canceled | Self::Failed),
            Self::Failed | Self::Canceled | Self::Finished => false,
        }
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "CREATED",
            Self::Running => "RUNNING",
            Self::Restarting => "RESTARTING",
            Self::Failing => "FAILING",
            Self::Failed => "FAILED",
            Self::Cancelling => "CANCELLING",
            Self::Canceled => "CANCELED",
            Self::Finished => "FINISHED",
        })
    }
}
