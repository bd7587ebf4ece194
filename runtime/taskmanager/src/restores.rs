//! Tasks whose state is on its way in, while others run.
//!
//! ```text
//!   Deploy ─▶ queue ─▶ a turn of the worker: the first goes on for a quantum ─▶ … ─▶ it has its state: a slot
//! ```
//!
//! # What is always true
//!
//! 1. The tasks that run wait for it no longer than for one more task: a quantum, and a step of the restore.
//! 2. One task at a time. What was read of its state is in memory twice, as bytes and as rows, until it has all of it; then the
//!    bytes go, in steps as well.
//! 3. What comes for a task meanwhile is kept, and is the first that it gets.
//! 4. A state that cannot be read as it was written cannot be read the next time either: that failure is not tried again. What
//!    the disk does not give now may be there the next time.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use wiesel_core::{TaskFailure, TaskId, metrics::TaskMetrics};
use wiesel_operators::{Mail, Snapshot};
use wiesel_rpc::Attempt;
use wiesel_shard::{Quantum, Stepped, Steps, pause};
use wiesel_task::Task;

use crate::{
    operators::Operators,
    slot::{Slot, unpanicked},
};

/// All of a worker, in the order in which they were deployed.
#[derive(Default)]
pub(crate) struct Restores {
    queue: VecDeque<Restore>,
}

/// Which task it is whose state is on its way in.
pub(crate) struct Restoring {
    pub(crate) attempt: Attempt,
    /// What messages call it.
    pub(crate) uid: String,
    pub(crate) metrics: Arc<TaskMetrics>,
    pub(crate) operators: Operators,
    /// What no operator asks for is dropped.
    pub(crate) allow_non_restored: bool,
}

/// A task whose state is on its way in.
pub(crate) struct Restore {
    of: Restoring,
    work: Steps<Result<Task, TaskFailure>>,
    mail: Vec<Mail>,
}

/// A restore that is over: the slot, and what has come for it.
pub(crate) type Restored = (Attempt, Result<(Slot, Vec<Mail>), TaskFailure>);

impl Restore {
    /// Of a task, with what `read` gives.
    pub(crate) fn new(
        of: Restoring,
        mut task: Task,
        read: impl Future<Output = Result<Snapshot, TaskFailure>> + 'static,
    ) -> Self {
        let (operators, allow_non_restored) = (of.operators.clone(), of.allow_non_restored);
        let work = Steps::new(async move {
            let mut state = read.await?;
            let restored = task.restore(&state).await;
            let restored =
                restored.and_then(|()| operators.check_restored(&state, allow_non_restored));
            restored.map_err(|failure| TaskFailure { retryable: false, ..failure })?;
            while state.drop_one() {
                pause().await;
            }
            Ok(task)
        });
        Self { of, work, mail: Vec::new() }
    }

    /// Gives everything back. A panic on the way is part of what is being cleaned up.
    pub(crate) fn dispose(self) {
        let work = self.work;
        drop(catch_unwind(AssertUnwindSafe(|| drop(work))));
    }
}

impl Restores {
    /// Adds one, behind the others.
    pub(crate) fn add(&mut self, restore: Restore) {
        self.queue.push_back(restore);
    }

    /// Whether a task is among them.
    pub(crate) fn has(&self, task: TaskId) -> bool {
        self.queue.iter().any(|restore| restore.of.attempt.task == task)
    }

    /// Takes one out that is not wanted any more.
    pub(crate) fn take(&mut self, attempt: Attempt) -> Option<Restore> {
        let at = self.queue.iter().position(|restore| restore.of.attempt == attempt)?;
        self.queue.remove(at)
    }

    /// Keeps a message for its task. Gives it back if that is not here.
    pub(crate) fn hold(&mut self, attempt: Attempt, mail: Mail) -> Option<Mail> {
        match self.queue.iter_mut().find(|restore| restore.of.attempt == attempt) {
            Some(restore) => {
                restore.mail.push(mail);
                None
            }
            None => Some(mail),
        }
    }

    /// Goes on with the first one. `Waiting` if there is none.
    pub(crate) fn go_on(&mut self, quantum: &mut Quantum) -> Stepped<Restored> {
        let Some(restore) = self.queue.front_mut() else { return Stepped::Waiting };
        let work = &mut restore.work;
        let result = match unpanicked("restore a task", || work.go_on(quantum)) {
            Ok(Stepped::Waiting) => return Stepped::Waiting,
            Ok(Stepped::More) => return Stepped::More,
            Ok(Stepped::Done(result)) => result,
            Err(failure) => Err(TaskFailure { retryable: false, ..failure }),
        };
        let Some(restore) = self.queue.pop_front() else { return Stepped::Waiting };
        let attempt = restore.of.attempt;
        let result = match result {
            Ok(task) => {
                let Restore { of: Restoring { metrics, operators, .. }, mail, .. } = restore;
                Ok((Slot::new(attempt, metrics, operators, task), mail))
            }
            Err(failure) => {
                let named = failure.uid(&restore.of.uid).subtask(attempt.task.subtask);
                restore.dispose();
                Err(named)
            }
        };
        Stepped::Done((attempt, result))
    }

    /// Gives everything back.
    pub(crate) fn dispose(self) {
        self.queue.into_iter().for_each(Restore::dispose);
    }
}
