//! What JobMaster and TaskManager say to each other. Plain data: the same in one process and, later, over a socket.
//!
//! ```text
//!   JobMaster ── Deploy ──────────────▶ TaskManager       builds the task, wires its channels
//!             ◀─────────── Deployed ──
//!             ── Start ───────────────▶                   when all tasks of the job are deployed
//!             ◀──── State(Running) ───
//!             ◀─────── RequestSplit ──                    a source's reader pulls
//!             ── Split | NoMoreSplits ▶
//!             ── Trigger ─────────────▶                   to sources; barriers take it from there
//!             ◀── Acknowledge | Decline                   by every task
//!             ── CheckpointCompleted | CheckpointAborted ▶
//!             ◀────────── Watermark ──                    a source that is aligned with others, once an interval
//!             ── WatermarkLimit ──────▶                   to those of its group
//!             ── Cancel ──────────────▶
//!             ◀──── State(Finished | Canceled | Failed)
//!             ◀──────────── Heartbeat ──                  with the metrics of its tasks
//! ```
//!
//! # What is always true
//!
//! 1. Nothing here holds a closure, a handle or a reference. A task's code is the worker's own: it ran the same `main`
//!    and compares the fingerprint of its graph with the deployment's.
//! 2. **Fencing.** A message names its job, and its task by attempt. Whoever gets one for another job, or for an
//!    attempt that is not the present one, drops it: it comes from, or is meant for, something that is gone.
//! 3. Messages between one JobMaster and one TaskManager arrive in order, those of different TaskManagers in any.
//!    So a report may cross a `Cancel`, and that is not an error.
//!
//! What is missing until there are sockets: the encoding, the token of a JobMaster's term of office, and sessions.

pub mod control;
mod deployment;
mod failure_report;
mod function_metrics;
mod messages;

pub use deployment::{
    Attempt, ChannelDeployment, GateDeployment, Location, PartitionDeployment, RestoredState,
    StateHandle, TaskDeployment, TaskManagerId,
};
pub use failure_report::FailureReport;
pub use function_metrics::{FunctionMetricReport, HistogramReport, MetricValue, OperatorMetric};
pub use messages::{
    Declined, Envelope, StageReport, TaskMetricsReport, TaskState, ToJobMaster, ToTaskManager,
};
