//! One deployed task and what may happen to it: started, given turns, cancelled, failed.
//!
//! User code runs here, so here panics are caught: once per turn, never per record.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use wiesel_core::{
    AlignmentReport, Blame, CheckpointId, TaskFailure, TriggerKind, metrics::TaskMetrics,
};
use wiesel_operators::{Mail, Progress, Snapshot};
use wiesel_rpc::Attempt;
use wiesel_shard::Quantum;
use wiesel_task::{Cut, Task, Turn};

use crate::{operators::Operators, state_files::StateFiles, state_writer::StateWriter};

/// A step of a walk, between two looks at the clock. In simulation a few rows: its tables are small.
const WALK_BYTES: usize = if cfg!(sim) { 128 } else { 4 << 10 };

/// A task in its slot.
pub(crate) struct Slot {
    pub(crate) attempt: Attempt,
    pub(crate) metrics: Arc<TaskMetrics>,
    task: Task,
    pub(crate) operators: Operators,
    /// Where its state is.
    pub(crate) files: StateFiles,
    pub(crate) is_started: bool,
    /// Nothing of it is called any more.
    has_panicked: bool,
}

impl Slot {
    pub(crate) fn new(
        attempt: Attempt,
        metrics: Arc<TaskMetrics>,
        operators: Operators,
        task: Task,
    ) -> Self {
        let files = StateFiles::default();
        Self { attempt, metrics, task, operators, files, is_started: false, has_panicked: false }
    }

    /// Whether it reads no other task's output.
    pub(crate) fn is_source(&self) -> bool {
        self.task.is_source()
    }

    /// Whether its last turn ended within a frame.
    pub(crate) fn has_more(&self) -> bool {
        self.task.has_more()
    }

    /// Opens the operators.
    pub(crate) fn start(&mut self) -> Result<(), TaskFailure> {
        self.is_started = true;
        self.guarded(Task::open)?
    }

    /// Gives the task a turn.
    pub(crate) fn turn(&mut self) -> Turn {
        match self.guarded(Task::turn) {
            Ok(turn) => turn,
            Err(failure) => Turn::Failed(failure),
        }
    }

    /// What the task's source has to say to the others of its group.
    pub(crate) fn take_watermark_report(&self) -> Option<AlignmentReport> {
        self.task.context().alignment().take_report()
    }

    /// Hands over a message for a source.
    pub(crate) fn mail(&mut self, mail: Mail) -> Result<(), TaskFailure> {
        self.guarded(|task| task.mail(mail))?
    }

    /// Appends the task's state.
    pub(crate) fn snapshot(&mut self, snapshot: &mut Snapshot) {
        self.task.snapshot(snapshot);
    }

    /// Begins a checkpoint; says whether the task takes part.
    pub(crate) fn trigger(&mut self, checkpoint: CheckpointId, kind: TriggerKind) -> bool {
        self.is_started && self.task.trigger(checkpoint, kind)
    }

    /// A checkpoint was given up.
    pub(crate) fn abort_checkpoint(&mut self, checkpoint: CheckpointId) -> Result<(), TaskFailure> {
        self.guarded(|task| task.abort(checkpoint))?
    }

    /// A checkpoint is complete.
    pub(crate) fn completed_checkpoint(
        &mut self,
        checkpoint: CheckpointId,
    ) -> Result<(), TaskFailure> {
        self.guarded(|task| task.completed(checkpoint))
    }

    /// State that is ready to be written.
    pub(crate) fn take_cut(&mut self) -> Option<Cut> {
        self.task.take_cut()
    }

    /// Whether its tables are walked.
    pub(crate) fn is_walking(&self) -> bool {
        self.task.is_walking()
    }

    /// Whether its tables are walked for a checkpoint that nobody wants any more.
    pub(crate) fn is_discarding(&self) -> bool {
        self.task.is_discarding()
    }

    /// Walks its tables for at most a quantum, as long as `writer` has room; none if nobody wants them. Says whether it
    /// is over.
    pub(crate) fn walk(
        &mut self,
        quantum: &mut Quantum,
        mut writer: Option<&mut StateWriter>,
    ) -> Progress {
        let Self { task, files, .. } = self;
        loop {
            if writer.as_ref().is_some_and(|writer| !writer.has_room()) {
                return Progress::Stopped;
            }
            let progress = task.walk(WALK_BYTES, &mut |walked| {
                if let Some(writer) = &mut writer {
                    writer.take(walked, files);
                }
            });
            if progress == Progress::Done || quantum.spent() {
                return progress;
            }
        }
    }

    /// Closes the functions of the program, if their task has not come to its end: it failed, or is cancelled. What goes
    /// wrong is only said.
    pub(crate) fn close(&mut self) {
        if self.has_panicked {
            return;
        }
        if let Err(failure) = self.guarded(Task::close).flatten() {
            tracing::warn!("{failure}: {}", failure.source);
        }
    }

    /// Gives everything back. A panic on the way is part of what is being cleaned up.
    pub(crate) fn dispose(mut self) {
        self.close();
        let task = self.task;
        drop(catch_unwind(AssertUnwindSafe(|| drop(task))));
    }

    /// Runs code of the task; a panic becomes a failure and the task must not be called again.
    fn guarded<R>(&mut self, run: impl FnOnce(&mut Task) -> R) -> Result<R, TaskFailure> {
        let Self { task, has_panicked, .. } = self;
        unpanicked("run a task", || run(task)).map_err(|failure| {
            *has_panicked = true;
            // The position is read from what the panic left behind: guarded as well.
            let unnamed = TaskFailure::new(Blame::Job, "run a task", "panicked");
            catch_unwind(AssertUnwindSafe(|| task.name(failure))).unwrap_or(unnamed)
        })
    }
}

/// Runs code of a user; a panic becomes a failure.
pub(crate) fn unpanicked<R>(doing: &str, run: impl FnOnce() -> R) -> Result<R, TaskFailure> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let cause = format!("panicked: {}", panic_text(panic.as_ref()));
        let mut failure = TaskFailure::new(Blame::Job, doing, cause);
        failure.retryable = true; // As Flink: who knows what it met.
        failure
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "without a message",
    }
}
