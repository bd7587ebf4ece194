//! The brain of a job.
//!
//! ```text
//!   Start ──▶ Deploy to all ──▶ every Deployed is in ──▶ Start to all ──▶ Running … Finished ──▶ job Finished
//!        ▲        │                                                          │
//!        │        └─────────────────── a Failed, or Cancel ──────────────────┘
//!        │                          └──▶ Cancel to all ──▶ all are over ──▶ job Failed, or Canceled
//!        └── Restarting: the same for the region of the task that failed, if the restart strategy allows (`failover`)
//! ```
//!
//! # What is always true
//!
//! 1. No task runs before all are deployed: what is wrong with one is known before any has read or written. Of those that start
//!    again none runs before its region is deployed.
//! 2. A job is over when, and only when, all its tasks are; then there are no more effects.
//! 3. The first failure is the job's, or its region's. What happens while that is stopped is a consequence, and is not reported
//!    over it.
//! 4. A message about another job or attempt changes nothing; one that crossed a `Cancel` does neither. Any other
//!    that does not fit the state of its task fails the job, and the blame is ours.

mod checkpointing;
mod event;
mod failover;
#[cfg(test)]
mod random;
mod splits;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use wiesel_core::{Blame, JobId, Nanos, ShardId, TaskFailure, TaskId, VertexId};
use wiesel_graph::ExecutionGraph;
use wiesel_rpc::{
    Attempt, Envelope, FailureReport, Location, TaskMetricsReport, TaskState, ToJobMaster,
    ToTaskManager,
};

use crate::{
    JobMasterError, JobStatus, SourceEnumerator, alignment::Alignment, source_desk::SourceDesk,
};

pub use checkpointing::{CheckpointEffect, CheckpointPlan, CheckpointStats, CompletedCheckpoint};
pub use event::{Effect, Event, PlannedRestart};

use checkpointing::Checkpointing;
use failover::Failover;

/// How long tasks may take to stop. Flink's `task.cancellation.timeout`; a turn is microseconds, so only a user
/// function that never returns gets there.
pub const CANCEL_TIMEOUT: Duration = Duration::from_secs(180);

/// The master of one job.
#[derive(Debug)]
pub struct JobMaster {
    job: JobId,
    graph: ExecutionGraph,
    /// By slot.
    locations: Vec<Location>,
    /// Like the subtasks of the graph.
    tasks: Vec<Task>,
    desks: BTreeMap<VertexId, SourceDesk>,
    alignment: Alignment,
    status: JobStatus,
    failover: Failover,
    failure: Option<FailureReport>,
    cancel_deadline: Option<Nanos>,
    retry_deadline: Option<Nanos>,
    checkpointing: Option<Checkpointing>,
    /// A savepoint with which the job ends is complete: nothing that happens now makes it fail.
    is_stopping: bool,
    /// Where a task was that did not stop.
    stuck: BTreeSet<ShardId>,
    effects: Vec<Effect>,
}

/// What is known about a task.
#[derive(Debug)]
struct Task {
    attempt: Attempt,
    state: TaskState,
    is_deployed: bool,
    is_told_to_run: bool,
    /// It has processed all its data.
    has_ended: bool,
    metrics: Option<TaskMetricsReport>,
}

impl JobMaster {
    /// The master of a job that nothing was done for yet. `locations` are the slots on offer; the job takes the first
    /// ones.
    ///
    /// # Errors
    ///
    /// If there are too few slots, or sources and enumerators do not match.
    pub fn new(
        job: JobId,
        graph: ExecutionGraph,
        locations: Vec<Location>,
        enumerators: Vec<SourceEnumerator>,
    ) -> Result<Self, JobMasterError> {
        let needed = graph.slot_count();
        if locations.len() < needed as usize {
            let job = graph.name().to_owned();
            return Err(JobMasterError::Slots { job, needed, offered: locations.len() });
        }
        let desks: BTreeMap<_, _> = enumerators
            .into_iter()
            .map(|source| (source.vertex, SourceDesk::new(source.enumerator)))
            .collect();
        if let Some(vertex) =
            graph.vertices().iter().find(|v| v.is_source != desks.contains_key(&v.id))
        {
            let (job, vertex) = (graph.name().to_owned(), vertex.name.clone());
            return Err(JobMasterError::Enumerator { job, vertex });
        }
        let tasks = graph.subtasks().iter().map(|subtask| Task {
            attempt: Attempt { task: subtask.task, number: 0 },
            state: TaskState::Created,
            is_deployed: false,
            is_told_to_run: false,
            has_ended: false,
            metrics: None,
        });
        let regions = graph.subtasks().iter().map(|subtask| subtask.region + 1).max();
        Ok(Self {
            job,
            tasks: tasks.collect(),
            graph,
            locations,
            desks,
            alignment: Alignment::default(),
            status: JobStatus::Created,
            failover: Failover::new(regions.unwrap_or(0)),
            failure: None,
            cancel_deadline: None,
            retry_deadline: None,
            checkpointing: None,
            is_stopping: false,
            stuck: BTreeSet::new(),
            effects: Vec::new(),
        })
    }

    /// Takes an event; returns what is to be done, in order.
    ///
    /// # Panics
    ///
    /// If the job is started twice.
    pub fn handle(&mut self, now: Nanos, event: Event) -> Vec<Effect> {
        match event {
            Event::Start => self.start(),
            Event::Cancel => self.cancel(now),
            Event::Tick => self.tick(now),
            Event::Message(envelope) if envelope.job == self.job => {
                self.message(now, envelope.message)
            }
            Event::Message(_) => {} // Invariant 4.
            Event::ShardLost(location, failure) => self.shard_lost(now, location, failure),
            Event::Stored(checkpoint) => self.on_stored(now, checkpoint),
            Event::StoreFailed { checkpoint, reason, ambiguous } => self.coordinate(
                now,
                wiesel_checkpoint::Event::StoreFailed { checkpoint, reason, ambiguous },
            ),
            Event::Savepoint(request) => self.on_request_savepoint(now, request, None),
            Event::StopWithSavepoint { request, drain } => {
                self.on_request_savepoint(now, request, Some(drain));
            }
            Event::CommitFailed(failure) => self.on_commit_failed(now, failure),
        }
        self.end_if_all_are_over(now);
        std::mem::take(&mut self.effects)
    }

    /// When [`Event::Tick`] is wanted next, if nothing else happens.
    pub fn next_deadline(&self) -> Option<Nanos> {
        let of_checkpoints = self.checkpointing.as_ref().and_then(Checkpointing::next_deadline);
        let ours = self.cancel_deadline.into_iter().chain(self.retry_deadline);
        let ours = ours.chain(self.alignment.next_deadline()).chain(self.restart_deadline());
        ours.chain(of_checkpoints.filter(|_| !self.status.is_terminal())).min()
    }

    /// The status of the job.
    pub fn status(&self) -> JobStatus {
        self.status
    }

    /// Why the job failed, or is failing.
    pub fn failure(&self) -> Option<&FailureReport> {
        self.failure.as_ref()
    }

    /// The shards where a task did not stop in time: they may be in a function of it for ever.
    pub fn stuck_shards(&self) -> &BTreeSet<ShardId> {
        &self.stuck
    }

    /// The plan.
    pub fn graph(&self) -> &ExecutionGraph {
        &self.graph
    }

    /// The state of a task; `None` if the job has no such task.
    pub fn task_state(&self, task: TaskId) -> Option<TaskState> {
        Some(self.tasks[self.graph.task_index(task)?].state)
    }

    /// What the tasks have counted, by the last heartbeat of each.
    pub fn metrics(&self) -> impl Iterator<Item = &TaskMetricsReport> {
        self.tasks.iter().filter_map(|task| task.metrics.as_ref())
    }

    fn start(&mut self) {
        self.become_status(JobStatus::Running);
        self.deploy(&Vec::from_iter(0..self.tasks.len()));
    }

    fn cancel(&mut self, now: Nanos) {
        let is_on = [JobStatus::Created, JobStatus::Running, JobStatus::Restarting];
        if is_on.contains(&self.status) {
            if self.status == JobStatus::Restarting {
                self.failure = None; // Whoever cancels knows better than to wait for another try.
            }
            self.failover.forget();
            self.coordinate(now, wiesel_checkpoint::Event::Restart);
            self.become_status(JobStatus::Cancelling);
            self.stop(now, |_| true);
        }
    }

    fn tick(&mut self, now: Nanos) {
        self.retry_splits(now);
        for (task, limit) in self.alignment.tick(now) {
            let index = self.graph.task_index(task).expect("who reports is a task of the job");
            let message = ToTaskManager::WatermarkLimit(self.tasks[index].attempt, limit);
            self.send(index, message);
        }
        if self.cancel_deadline.is_some_and(|deadline| deadline <= now) {
            self.give_up_on_stopping(now);
        }
        self.coordinate(now, wiesel_checkpoint::Event::Tick);
    }

    fn message(&mut self, now: Nanos, message: ToJobMaster) {
        match message {
            ToJobMaster::Deployed(attempt) => self.on_deployed(now, attempt),
            ToJobMaster::State(attempt, state) => self.on_state(now, attempt, state),
            ToJobMaster::Failed(attempt, failure) => self.on_failed(now, attempt, failure),
            ToJobMaster::RequestSplit(attempt) => self.on_request(now, attempt),
            ToJobMaster::Acknowledge(attempt, checkpoint, handle) => {
                self.on_acknowledge(now, attempt, checkpoint, handle);
            }
            ToJobMaster::Decline(attempt, checkpoint, declined) => {
                self.on_declined(now, attempt, checkpoint, declined);
            }
            ToJobMaster::EndOfData(attempt) => {
                if let Some(index) = self.listening(attempt) {
                    self.tasks[index].has_ended = true;
                    let task = attempt.task;
                    self.coordinate(now, wiesel_checkpoint::Event::EndOfData { task });
                }
            }
            ToJobMaster::Watermark(attempt, report) => {
                let is_on = |index: &usize| self.tasks[*index].state == TaskState::Running;
                if self.listening(attempt).filter(is_on).is_some() {
                    self.alignment.report(now, attempt.task, &report);
                }
            }
            ToJobMaster::Heartbeat(_, reports) => {
                for report in reports {
                    if let Some(index) = self.present(report.attempt) {
                        self.tasks[index].metrics = Some(report);
                    }
                }
            }
        }
    }

    fn on_deployed(&mut self, now: Nanos, attempt: Attempt) {
        let Some(index) = self.listening(attempt) else { return };
        if self.tasks[index].state != TaskState::Deploying || self.tasks[index].is_deployed {
            return self.does_not_fit(now, index, "DEPLOYED");
        }
        self.tasks[index].is_deployed = true;
        self.start_deployed();
    }

    fn on_state(&mut self, now: Nanos, attempt: Attempt, state: TaskState) {
        let Some(index) = self.present(attempt) else { return };
        let current = self.tasks[index].state;
        if current.is_terminal() || (current == TaskState::Canceling && !state.is_terminal()) {
            return; // It crossed a `Cancel`, or was given up on.
        }
        let fits = match state {
            TaskState::Running => {
                current == TaskState::Deploying && self.tasks[index].is_told_to_run
            }
            TaskState::Finished => current.may_become(state),
            TaskState::Canceled => current == TaskState::Canceling,
            // A failure comes with its reason, and the others are for us to decide.
            _ => false,
        };
        if !fits {
            return self.does_not_fit(now, index, &state.to_string());
        }
        self.become_state(index, state);
        match state {
            TaskState::Running => {
                if let Some(desk) = self.desks.get_mut(&attempt.task.vertex) {
                    desk.add_reader(attempt.task.subtask);
                }
                self.on_all_running(now);
            }
            TaskState::Finished => {
                let task = attempt.task;
                self.coordinate(now, wiesel_checkpoint::Event::TaskFinished { task });
            }
            _ => {}
        }
    }

    fn on_failed(&mut self, now: Nanos, attempt: Attempt, failure: FailureReport) {
        let Some(index) = self.present(attempt) else { return };
        let current = self.tasks[index].state;
        if current.may_become(TaskState::Failed) {
            self.become_state(index, TaskState::Failed);
            self.fail(now, failure, Some(&[index]));
        } else if !current.is_terminal() {
            self.does_not_fit(now, index, "FAILED");
        }
    }

    fn shard_lost(&mut self, now: Nanos, location: Location, failure: FailureReport) {
        let lost = |index: &usize| self.location(*index) == location;
        let lost: Vec<_> = (0..self.tasks.len()).filter(lost).collect();
        let is_on = |index: &usize| self.tasks[*index].state.may_become(TaskState::Failed);
        let lost: Vec<_> = lost.into_iter().filter(is_on).collect();
        lost.iter().for_each(|index| self.become_state(*index, TaskState::Failed));
        if !lost.is_empty() {
            self.fail(now, failure, Some(&lost));
        }
    }

    /// A message that cannot be: one of the two programs is wrong.
    fn does_not_fit(&mut self, now: Nanos, index: usize, what: &str) {
        let Task { attempt, state, .. } = self.tasks[index];
        let name = self.graph.task_name(attempt.task);
        let cause = format!("{name} reported {what} while it was {state}");
        self.fail(now, self.ours("follow a task", cause, attempt.task), Some(&[index]));
    }

    fn ours(&self, doing: &str, cause: String, task: TaskId) -> FailureReport {
        let uid = &self.graph.vertices()[task.vertex.index()].uid;
        let failure = TaskFailure::new(Blame::Runtime, doing, cause).uid(uid).subtask(task.subtask);
        FailureReport::from(&failure)
    }

    fn end_if_all_are_over(&mut self, now: Nanos) {
        if self.status == JobStatus::Restarting {
            return self.restart_if_due(now);
        }
        if self.status.is_terminal() || !self.tasks.iter().all(|task| task.state.is_terminal()) {
            return;
        }
        let end = match self.status {
            JobStatus::Running => JobStatus::Finished,
            JobStatus::Cancelling if self.failure.is_none() => JobStatus::Canceled,
            _ => JobStatus::Failed,
        };
        self.cancel_deadline = None;
        self.become_status(end);
    }

    /// A task that has just changed waits for no split.
    fn become_state(&mut self, index: usize, state: TaskState) {
        let task = &mut self.tasks[index];
        assert!(task.state.may_become(state), "{}: {} to {state}", task.attempt, task.state);
        task.state = state;
        let TaskId { vertex, subtask } = task.attempt.task;
        self.effects.push(Effect::Task(task.attempt, state));
        if let Some(desk) = self.desks.get_mut(&vertex) {
            desk.forget(subtask);
        }
        if state >= TaskState::Canceling {
            self.alignment.forget(TaskId { vertex, subtask });
        }
    }

    fn become_status(&mut self, status: JobStatus) {
        assert!(self.status.may_become(status), "job: {} to {status}", self.status);
        self.status = status;
        self.effects.push(Effect::Job(status));
    }

    fn send(&mut self, index: usize, message: ToTaskManager) {
        let envelope = Envelope { job: self.job, message };
        self.effects.push(Effect::Send(self.location(index), envelope));
    }

    fn location(&self, index: usize) -> Location {
        self.locations[self.graph.subtasks()[index].slot.0 as usize]
    }

    /// The position of a task, if this is its present attempt.
    fn present(&self, attempt: Attempt) -> Option<usize> {
        let index = self.graph.task_index(attempt.task)?;
        (self.tasks[index].attempt == attempt).then_some(index)
    }

    /// The same, if the task was not asked to stop and is not over.
    fn listening(&self, attempt: Attempt) -> Option<usize> {
        let is_on = |state| state < TaskState::Canceling;
        self.present(attempt).filter(|index| is_on(self.tasks[*index].state))
    }
}
