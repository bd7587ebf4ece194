//! Checkpoints: the JobMaster between its coordinator, its tasks and the storage. Restarts from them are in `failover`.
//!
//! ```text
//!   coordinator ──Trigger──▶ enumerators are read, then barriers go to the sources
//!               ◀─Acknowledge── every task
//!               ──Store────▶ shell writes the manifest ──Stored──▶ coordinator ──▶ Commit, then all tasks are told
//! ```
//!
//! # What is always true
//!
//! 1. Enumerators are read, and barriers sent, within one event: what is assigned later is behind the barrier on every
//!    channel, because messages to a shard arrive in order.
//! 2. What a complete checkpoint holds is committed before a task hears that it is complete, and again before anything is
//!    cleaned up for tasks that continue from it. Committers bear that.
//! 3. A plain savepoint changes nothing for the job: nothing is committed, no task hears of it, nothing is restored from
//!    it. So what its sinks have pre-committed is also in the next checkpoint, and that one is no increment on it.
//! 4. A savepoint that stops the job is a checkpoint as well: it is committed, and continued from.
//! 5. What was handed to a reader before the latest checkpoint is in its state, or read; what was handed to it since is known.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use wiesel_checkpoint::{
    CheckpointConfig, CheckpointCoordinator, CheckpointKind, DeclineReason, Effect as ToDo,
    Event as Happened, RequestId, RestartConfig, Topology,
};
use wiesel_core::{
    Blame, CheckpointId, Nanos, Pause, TaskFailure, TaskId, VertexId, config::FailoverStrategy,
};
use wiesel_rpc::{Attempt, Declined, FailureReport, StateHandle, TaskState, ToTaskManager};

use super::{Effect, JobMaster};
use crate::JobStatus;
use crate::Pauses;

/// The state of a whole job as of one checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompletedCheckpoint {
    /// Which.
    pub id: CheckpointId,
    /// The state of every task that had not finished. Of a job that ran with more subtasks there are more.
    pub tasks: BTreeMap<TaskId, StateHandle>,
    /// What the sources' enumerators had not handed out.
    pub enumerators: BTreeMap<VertexId, Vec<u8>>,
    /// Tasks that had finished.
    pub finished: BTreeSet<TaskId>,
    /// Whether all data had been processed, or the job was drained: there is nothing to continue with.
    pub is_final: bool,
}

impl CompletedCheckpoint {
    /// What the sinks of a vertex have pre-committed.
    pub fn committables_of(&self, vertex: VertexId) -> Vec<Vec<u8>> {
        let of_vertex = self.tasks.iter().filter(|(task, _)| task.vertex == vertex);
        of_vertex.flat_map(|(_, handle)| handle.committables.iter().cloned()).collect()
    }
}

/// How a job takes checkpoints, and what it continues from.
#[derive(Clone, Debug)]
pub struct CheckpointPlan {
    /// When, and how many are kept.
    pub config: CheckpointConfig,
    /// What follows a failure.
    pub restart: RestartConfig,
    /// For whom.
    pub failover: FailoverStrategy,
    /// Above every id that was ever given out for the job.
    pub first_id: CheckpointId,
    /// Completed ones of earlier runs that are there, oldest first.
    pub retained: Vec<CheckpointId>,
    /// What to continue from.
    pub restored: Option<CompletedCheckpoint>,
    /// Where jitter comes from.
    pub seed: u64,
}

impl CompletedCheckpoint {
    /// The longest of its tasks.
    fn pause(&self) -> Pause {
        let pauses = self.tasks.values().map(|handle| handle.pause);
        pauses.fold(Pause::default(), Pause::or_longer)
    }
}

/// What is to be done for a checkpoint, in the order of the effects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckpointEffect {
    /// Reserve the id durably and make room for its files.
    Begin(CheckpointId),
    /// Write the manifest; answered by [`Event::Stored`](super::Event::Stored) or
    /// [`Event::StoreFailed`](super::Event::StoreFailed).
    Store(CheckpointKind, Arc<CompletedCheckpoint>),
    /// Commit what the sinks of a vertex have pre-committed. If that fails: [`Event::CommitFailed`](super::Event).
    Commit(VertexId, Vec<Vec<u8>>),
    /// It is complete. To be logged.
    Completed(CheckpointId),
    /// It was given up. To be logged.
    Aborted {
        /// Which.
        checkpoint: CheckpointId,
        /// Why.
        reason: String,
        /// Whether something went wrong; else a task or the job ended under it.
        has_failed: bool,
    },
    /// One was due and did not begin, for this reason. To be logged.
    Skipped(String),
    /// A savepoint is complete, and of no use to the job but for its answer.
    SavepointDone(RequestId, CheckpointId),
    /// A savepoint will not be, for this reason.
    SavepointFailed(RequestId, String),
    /// A complete one is not needed any more: remove its manifest and the files that no other refers to.
    Discard(CheckpointId),
    /// One that will not be complete has left this state: remove the files.
    DiscardState(CheckpointId, Vec<StateHandle>),
    /// These tasks are over and will be deployed again, in this order: new channels, and what their sinks have left behind
    /// goes.
    Rewire(Vec<TaskId>),
}

/// What a job's checkpoints have come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckpointStats {
    /// `numberOfCompletedCheckpoints`.
    pub completed: u64,
    /// `numberOfFailedCheckpoints`.
    pub failed: u64,
    /// The last one that is complete.
    pub last: CheckpointId,
    /// `lastCheckpointFullSize`, in bytes.
    pub last_bytes: u64,
    /// `lastCheckpointDuration`.
    pub last_duration: Duration,
    /// What all of them took together.
    pub durations: Duration,
    /// Bytes that tasks have written for all of them.
    pub written_bytes: u64,
    /// How long each one held up the records of a shard at once, of all shards the longest: by the clock on the wall.
    pub pauses: Pauses,
    /// The same, without the time in which the machine ran something else there.
    pub running_pauses: Pauses,
    /// `numRestarts`.
    pub restarts: u64,
    /// The checkpoint that the present try continues from.
    pub restored: Option<CheckpointId>,
}

/// The part of a JobMaster that is there if its job takes checkpoints or restarts.
#[derive(Debug)]
pub(super) struct Checkpointing {
    pub(super) coordinator: CheckpointCoordinator<StateHandle>,
    /// The enumerators before anything was handed out.
    pub(super) pristine: BTreeMap<VertexId, Vec<u8>>,
    storing: BTreeMap<CheckpointId, (CheckpointKind, Arc<CompletedCheckpoint>)>,
    pub(super) latest: Option<Arc<CompletedCheckpoint>>,
    /// It is of the subtasks as they run now: all of them were deployed before it began.
    pub(super) is_latest_of_these: bool,
    pub(super) stats: CheckpointStats,
}

impl Checkpointing {
    pub(super) fn next_deadline(&self) -> Option<Nanos> {
        self.coordinator.next_deadline()
    }

    /// Counts a checkpoint that is stored.
    fn note_complete(&mut self, checkpoint: CheckpointId, duration_ns: u64, bytes: u64) {
        let stats = &mut self.stats;
        if let Some(latest) = &self.latest {
            let Pause { elapsed_ns, running_ns } = latest.pause();
            stats.pauses.note(Duration::from_nanos(elapsed_ns));
            stats.running_pauses.note(Duration::from_nanos(running_ns));
            let written = latest.tasks.values().map(|handle| handle.written_bytes);
            stats.written_bytes += written.sum::<u64>();
        }
        stats.completed += 1;
        (stats.last, stats.last_bytes) = (checkpoint, bytes);
        stats.last_duration = Duration::from_nanos(duration_ns);
        stats.durations += stats.last_duration;
    }
}

impl JobMaster {
    /// The same master, for a job that takes checkpoints and may restart.
    ///
    /// # Errors
    ///
    /// If an enumerator cannot continue from its part of the checkpoint.
    pub fn with_checkpoints(mut self, plan: CheckpointPlan) -> Result<Self, TaskFailure> {
        let topology = Topology::of(&self.graph);
        let pristine = self.desks.iter().map(|(vertex, desk)| (*vertex, desk.snapshot())).collect();
        let CheckpointPlan { config, restart, failover, first_id, retained, restored, seed } = plan;
        self.failover.may_restart(failover, restart, seed);
        let coordinator = CheckpointCoordinator::new(config, topology, first_id, retained);
        self.checkpointing = Some(Checkpointing {
            coordinator,
            pristine,
            storing: BTreeMap::new(),
            latest: restored.map(Arc::new),
            is_latest_of_these: false,
            stats: CheckpointStats::default(),
        });
        self.restore_enumerators()?;
        Ok(self)
    }

    /// What the checkpoints have come to, if the job takes any.
    pub fn checkpoint_stats(&self) -> Option<CheckpointStats> {
        self.checkpointing.as_ref().map(|checkpointing| checkpointing.stats)
    }

    /// Tells the coordinator, and does what it wants done.
    pub(super) fn coordinate(&mut self, now: Nanos, happened: Happened<StateHandle>) {
        let Some(checkpointing) = &mut self.checkpointing else { return };
        for to_do in checkpointing.coordinator.handle(now, happened) {
            self.carry_out(now, to_do);
        }
    }

    /// Does one thing that the coordinator wants done.
    fn carry_out(&mut self, now: Nanos, to_do: ToDo<StateHandle>) {
        match to_do {
            ToDo::SnapshotEnumerators { checkpoint, .. } => self.cut_enumerators(now, checkpoint),
            ToDo::Trigger { checkpoint, tasks, kind } => self.trigger(checkpoint, kind, &tasks),
            ToDo::Store { checkpoint, kind, handles, enumerators, finished } => {
                let enumerators = enumerators.into_iter().map(|(id, handle)| (id, handle.inline));
                self.store(
                    kind,
                    CompletedCheckpoint {
                        id: checkpoint,
                        // The tasks say so, and not their reports of that: these may come behind the cut.
                        is_final: handles.values().all(|handle| handle.has_ended),
                        tasks: handles,
                        enumerators: enumerators.collect(),
                        finished: finished.into_iter().collect(),
                    },
                );
            }
            ToDo::NotifyComplete { checkpoint, kind, duration_ns, bytes } => {
                if let Some(checkpointing) = &mut self.checkpointing {
                    checkpointing.note_complete(checkpoint, duration_ns, bytes);
                }
                self.complete(now, checkpoint, kind);
            }
            ToDo::NotifyAbort { checkpoint, reason, .. } => {
                self.abort(checkpoint, reason.is_failure(), reason.to_string());
            }
            ToDo::Discard { checkpoint } => self.emit(CheckpointEffect::Discard(checkpoint)),
            ToDo::DiscardState { checkpoint, handles } => {
                self.emit(CheckpointEffect::DiscardState(checkpoint, handles));
            }
            ToDo::Skipped { reason } => self.emit(CheckpointEffect::Skipped(reason.to_string())),
            ToDo::SavepointDone { request, checkpoint } => {
                self.emit(CheckpointEffect::SavepointDone(request, checkpoint));
            }
            ToDo::SavepointFailed { request, reason } => {
                self.emit(CheckpointEffect::SavepointFailed(request, reason.to_string()));
            }
            ToDo::FailJob { checkpoint, failures, reason } => {
                let cause = format!("checkpoint {checkpoint}: {reason}");
                let doing = format!("complete a checkpoint, {failures} times in a row");
                let failure = TaskFailure::new(Blame::Environment, doing, cause);
                self.fail(now, FailureReport::from(&failure), None);
            }
        }
    }

    /// Reads the enumerators: what they hand out from here on is behind the barrier. Invariant 1.
    fn cut_enumerators(&mut self, now: Nanos, checkpoint: CheckpointId) {
        self.emit(CheckpointEffect::Begin(checkpoint));
        let handle = |bytes| StateHandle { inline: bytes, ..StateHandle::default() };
        let desks = self.desks.iter_mut();
        let states = desks.map(|(vertex, desk)| (*vertex, handle(desk.cut(checkpoint)))).collect();
        self.coordinate(now, Happened::Enumerators { checkpoint, states });
    }

    /// Sends the barriers on their way.
    fn trigger(&mut self, checkpoint: CheckpointId, kind: CheckpointKind, tasks: &[TaskId]) {
        for task in tasks {
            if let Some(index) = self.graph.task_index(*task) {
                let attempt = self.tasks[index].attempt;
                self.send(index, ToTaskManager::Trigger(attempt, checkpoint, kind.trigger()));
            }
        }
    }

    /// All tasks have acknowledged: it is theirs to continue from once the manifest is written.
    fn store(&mut self, kind: CheckpointKind, completed: CompletedCheckpoint) {
        let completed = Arc::new(completed);
        if let Some(checkpointing) = &mut self.checkpointing {
            checkpointing.storing.insert(completed.id, (kind, Arc::clone(&completed)));
        }
        self.emit(CheckpointEffect::Store(kind, completed));
    }

    /// It is stored: sinks commit, tasks hear of it, and a job that was to stop does.
    fn complete(&mut self, now: Nanos, checkpoint: CheckpointId, kind: CheckpointKind) {
        if kind.commits() {
            self.commit_latest(|_| true);
            self.tell_all(|attempt| ToTaskManager::CheckpointCompleted(attempt, checkpoint));
        }
        self.emit(CheckpointEffect::Completed(checkpoint));
        if kind.is_terminal() {
            self.is_stopping = true;
            self.stop(now, |_| true);
        }
    }

    /// It will never be complete.
    fn abort(&mut self, checkpoint: CheckpointId, has_failed: bool, reason: String) {
        if let Some(checkpointing) = &mut self.checkpointing {
            checkpointing.stats.failed += u64::from(has_failed);
            checkpointing.storing.remove(&checkpoint);
        }
        self.tell_all(|attempt| ToTaskManager::CheckpointAborted(attempt, checkpoint));
        self.emit(CheckpointEffect::Aborted { checkpoint, reason, has_failed });
    }

    pub(super) fn emit(&mut self, effect: CheckpointEffect) {
        self.effects.push(Effect::Checkpoint(effect));
    }

    fn tell_all(&mut self, message: impl Fn(Attempt) -> ToTaskManager) {
        for index in 0..self.tasks.len() {
            if self.tasks[index].state == TaskState::Running {
                let attempt = self.tasks[index].attempt;
                self.send(index, message(attempt));
            }
        }
    }

    /// Commits what the latest checkpoint holds of these tasks. Invariant 2.
    pub(super) fn commit_latest(&mut self, of: impl Fn(TaskId) -> bool) {
        let latest =
            self.checkpointing.as_ref().and_then(|checkpointing| checkpointing.latest.clone());
        let Some(latest) = latest else { return };
        let mut by_vertex = BTreeMap::<VertexId, Vec<Vec<u8>>>::new();
        for (task, handle) in &latest.tasks {
            if !handle.committables.is_empty() && of(*task) {
                by_vertex
                    .entry(task.vertex)
                    .or_default()
                    .extend(handle.committables.iter().cloned());
            }
        }
        for (vertex, committables) in by_vertex {
            self.emit(CheckpointEffect::Commit(vertex, committables));
        }
    }

    /// A manifest is durable.
    pub(super) fn on_stored(&mut self, now: Nanos, checkpoint: CheckpointId) {
        if let Some(checkpointing) = &mut self.checkpointing
            && let Some((kind, stored)) = checkpointing.storing.remove(&checkpoint)
            && kind.commits()
        {
            checkpointing.latest = Some(stored);
            checkpointing.is_latest_of_these = true;
            self.desks.values_mut().for_each(|desk| desk.completed(checkpoint));
        }
        self.coordinate(now, Happened::Stored { checkpoint });
    }

    /// Somebody wants a savepoint, and with `drain` the end of the job behind it.
    pub(super) fn on_request_savepoint(
        &mut self,
        now: Nanos,
        request: RequestId,
        stop: Option<bool>,
    ) {
        if self.checkpointing.is_none() {
            let reason = "the job takes no checkpoints".to_owned();
            return self.emit(CheckpointEffect::SavepointFailed(request, reason));
        }
        self.coordinate(
            now,
            match stop {
                None => Happened::Savepoint { request },
                Some(drain) => Happened::StopWithSavepoint { request, drain },
            },
        );
    }

    /// What is complete could not be committed: of a job that stops, at its next start.
    pub(super) fn on_commit_failed(&mut self, now: Nanos, failure: FailureReport) {
        if self.is_stopping && self.status == JobStatus::Running {
            self.failure = Some(failure);
            return self.become_status(JobStatus::Failing);
        }
        self.fail(now, failure, None);
    }

    pub(super) fn on_acknowledge(
        &mut self,
        now: Nanos,
        attempt: Attempt,
        checkpoint: CheckpointId,
        handle: StateHandle,
    ) {
        if self.present(attempt).is_some() {
            let (task, bytes) = (attempt.task, handle.bytes());
            self.coordinate(now, Happened::Acknowledge { checkpoint, task, handle, bytes });
        }
    }

    pub(super) fn on_declined(
        &mut self,
        now: Nanos,
        attempt: Attempt,
        checkpoint: CheckpointId,
        declined: Declined,
    ) {
        if self.present(attempt).is_some() {
            let reason = match declined {
                Declined::NotReady => DeclineReason::NotReady,
                Declined::Io(cause) => DeclineReason::Io(cause),
            };
            self.coordinate(now, Happened::Decline { checkpoint, task: attempt.task, reason });
        }
    }
}
