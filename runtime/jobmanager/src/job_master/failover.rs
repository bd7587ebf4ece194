//! What follows a failure: who is stopped, and how they are started again.
//!
//! ```text
//!   a task fails ──▶ its region, or all ──▶ restart strategy ── no ──▶ all are stopped, the job is FAILED
//!                                               │ after a delay, when the region is over
//!                                               ▼
//!   all regions:  Commit, Rewire, enumerators as of the latest checkpoint, Deploy: state is dealt out anew
//!   some:         Commit, Rewire,                                          Deploy: to each subtask its own state, and the
//!                 the others run on                                        splits that it was handed since
//! ```
//!
//! A region is what exchanges records, however indirectly: all edges are pipelined, so none depends on what another one has
//! kept. A failure that no task is to blame for is one of all regions.
//!
//! # What is always true
//!
//! 1. What is not in a failed region hears at most that a checkpoint was aborted.
//! 2. A restart begins when every task of its regions is over and no manifest is being written: so it knows what is the latest.
//! 3. What a region has read since the latest checkpoint is read again, by the same subtasks, and by nobody else. If the latest
//!    checkpoint is what the job was started from, each gets of it what it got then.
//! 4. Another failure meanwhile, of a region that still runs, is counted, and its region starts again with the others.
//! 5. If all regions have failed the job begins again as a whole. So it does when a savepoint is under way with which it stops,
//!    since tasks hold behind its barrier, and when a reader was handed more than is kept in mind.
//! 6. Each restart is told when it is planned, with the failure that it follows.
//! 7. Without a restart strategy's leave a failure is the end of the job, as without checkpoints.

#[cfg(test)]
mod aligned;
#[cfg(test)]
mod random;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, time::Duration};

use wiesel_checkpoint::{Event as Happened, RestartConfig, RestartStrategy};
use wiesel_core::{Nanos, TaskFailure, TaskId, config::FailoverStrategy};
use wiesel_rpc::{FailureReport, RestoredState, TaskState, ToTaskManager};

use super::{CANCEL_TIMEOUT, CheckpointEffect, Effect, JobMaster, PlannedRestart, Task};
use crate::{JobStatus, deployment::deployment_of};

/// Who is to be started again, and who has been.
#[derive(Debug)]
pub(super) struct Failover {
    strategy: FailoverStrategy,
    /// There if the job may restart.
    restarts: Option<Restarts>,
    /// Those that have failed, from then until they are deployed again.
    regions: BTreeSet<u32>,
    count: u32,
    /// Since the job was deployed as a whole all its tasks were deployed at one time, and told to run.
    has_started: bool,
}

#[derive(Debug)]
struct Restarts {
    strategy: RestartStrategy,
    at: Option<Nanos>,
    random: u64,
}

impl Restarts {
    /// splitmix64, as a number in `0..1`.
    fn random(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.random ^ (self.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Failover {
    /// Of a job with so many regions, which does not restart.
    pub(super) fn new(count: u32) -> Self {
        let (strategy, regions) = (FailoverStrategy::Full, BTreeSet::new());
        Self { strategy, restarts: None, regions, count, has_started: false }
    }

    /// It may restart.
    pub(super) fn may_restart(
        &mut self,
        strategy: FailoverStrategy,
        restart: RestartConfig,
        seed: u64,
    ) {
        self.strategy = strategy;
        let strategy = RestartStrategy::new(restart);
        self.restarts = Some(Restarts { strategy, at: None, random: seed });
    }

    fn restart_at(&self) -> Option<Nanos> {
        self.restarts.as_ref()?.at
    }

    /// Nobody is to be started again.
    pub(super) fn forget(&mut self) {
        self.regions.clear();
        if let Some(restarts) = &mut self.restarts {
            restarts.at = None;
        }
    }

    fn is_full(&self) -> bool {
        self.regions.len() == self.count as usize
    }

    /// After which time this failure leads to another try, if it does; then it is planned, after those that are planned
    /// already.
    fn plan(&mut self, now: Nanos, failure: &FailureReport) -> Option<Duration> {
        let restarts = self.restarts.as_mut().filter(|_| failure.retryable)?;
        let random = restarts.random();
        let delay = restarts.strategy.on_failure(now, random)?;
        restarts.at = restarts.at.max(Some(now + delay));
        Some(delay)
    }
}

impl JobMaster {
    /// A failure of these tasks, by their positions, or (`None`) of the job. What comes of one that is being followed already
    /// changes nothing.
    pub(super) fn fail(&mut self, now: Nanos, failure: FailureReport, of: Option<&[usize]>) {
        let is_on = [JobStatus::Running, JobStatus::Restarting].contains(&self.status);
        if !is_on || self.is_stopping {
            return;
        }
        let mut regions = self.regions_of(of);
        regions.retain(|region| !self.failover.regions.contains(region));
        if regions.is_empty() {
            return;
        }
        let Some(delay) = self.failover.plan(now, &failure) else {
            self.failover.forget();
            self.coordinate(now, Happened::Restart);
            self.failure = Some(failure);
            self.become_status(JobStatus::Failing);
            return self.stop(now, |_| true);
        };
        self.effects.push(Effect::Restart(Box::new(PlannedRestart {
            failure: failure.clone(),
            delay,
            regions: regions.len() as u32,
            of: self.failover.count,
        })));
        self.failover.regions.extend(&regions);
        let is_full = self.failover.is_full();
        self.coordinate(now, if is_full { Happened::Restart } else { Happened::Pause });
        self.failure = Some(failure);
        if self.status == JobStatus::Running {
            self.become_status(JobStatus::Restarting);
        }
        self.stop(now, |region| regions.contains(&region));
    }

    /// Who starts again if these tasks have failed.
    fn regions_of(&self, tasks: Option<&[usize]>) -> BTreeSet<u32> {
        let all = || (0..self.failover.count).collect();
        let is_stopping = |c: &super::Checkpointing| c.coordinator.is_stopping();
        let (Some(tasks), FailoverStrategy::Region) = (tasks, self.failover.strategy) else {
            return all();
        };
        if self.checkpointing.as_ref().is_some_and(is_stopping) {
            return all();
        }
        let regions: BTreeSet<_> = tasks.iter().map(|index| self.region(*index)).collect();
        let is_known = |index: &usize| {
            let TaskId { vertex, subtask } = self.tasks[*index].attempt.task;
            self.desks.get(&vertex).is_none_or(|desk| desk.knows_all(subtask))
        };
        match self.tasks_of(|region| regions.contains(&region)).iter().all(is_known) {
            true => regions,
            false => all(),
        }
    }

    fn region(&self, index: usize) -> u32 {
        self.graph.subtasks()[index].region
    }

    /// The positions of the tasks of these regions.
    fn tasks_of(&self, is_meant: impl Fn(u32) -> bool) -> Vec<usize> {
        (0..self.tasks.len()).filter(|index| is_meant(self.region(*index))).collect()
    }

    /// Asks every task of these regions to stop that is not over.
    pub(super) fn stop(&mut self, now: Nanos, is_meant: impl Fn(u32) -> bool) {
        self.cancel_deadline = Some(now + CANCEL_TIMEOUT);
        for index in self.tasks_of(is_meant) {
            match self.tasks[index].state {
                TaskState::Created => self.become_state(index, TaskState::Canceled),
                TaskState::Deploying | TaskState::Running => {
                    self.become_state(index, TaskState::Canceling);
                    self.send(index, ToTaskManager::Cancel(self.tasks[index].attempt));
                }
                _ => {}
            }
        }
        if self.tasks.iter().all(|task| task.state >= TaskState::Canceling) {
            self.retry_deadline = None; // Nobody waits for a split.
        }
    }

    /// Tasks have not stopped in time. That is the end of the job, whatever they were stopped for.
    pub(super) fn give_up_on_stopping(&mut self, now: Nanos) {
        self.cancel_deadline = None;
        self.failover.forget();
        if self.status == JobStatus::Restarting || self.is_stopping {
            self.become_status(JobStatus::Failing);
        }
        for index in 0..self.tasks.len() {
            let Task { attempt, state, .. } = self.tasks[index];
            if state != TaskState::Canceling {
                continue;
            }
            if self.failure.is_none() {
                let name = self.graph.task_name(attempt.task);
                let limit = CANCEL_TIMEOUT.as_secs();
                let cause = format!(
                    "{name} did not stop within {limit} s: does a function of it ever return?"
                );
                self.failure = Some(self.ours("stop a task", cause, attempt.task));
            }
            self.stuck.insert(self.location(index).shard);
            self.become_state(index, TaskState::Failed);
        }
        if self.tasks.iter().any(|task| !task.state.is_terminal()) {
            self.stop(now, |_| true);
        }
    }

    /// Starts again what has failed, if all of it is over and it is time.
    pub(super) fn restart_if_due(&mut self, now: Nanos) {
        let failed = self.tasks_of(|region| self.failover.regions.contains(&region));
        if !failed.iter().all(|index| self.tasks[*index].state.is_terminal()) {
            return;
        }
        self.cancel_deadline = None;
        if self.restart_deadline().is_some_and(|at| at <= now) {
            self.restart(now, &failed);
        }
    }

    /// When a restart begins. None as long as something keeps it that is an event when it is over (invariant 2): a deadline
    /// that has passed would wake the JobMaster at once, again and again.
    pub(super) fn restart_deadline(&self) -> Option<Nanos> {
        let at = self.failover.restart_at()?;
        let has_failed = |index| self.failover.regions.contains(&self.region(index));
        let is_over = |index: usize| self.tasks[index].state.is_terminal();
        let are_over = (0..self.tasks.len()).all(|index| is_over(index) || !has_failed(index));
        let is_storing = |c: &super::Checkpointing| c.coordinator.is_storing();
        (are_over && !self.checkpointing.as_ref().is_some_and(is_storing)).then_some(at)
    }

    /// These tasks anew, from the latest checkpoint.
    fn restart(&mut self, now: Nanos, failed: &[usize]) {
        let is_full = self.failover.is_full();
        self.failover.forget();
        self.failure = None;
        for index in failed {
            let task = &mut self.tasks[*index];
            task.attempt.number += 1;
            task.state = TaskState::Created;
            (task.is_deployed, task.is_told_to_run, task.has_ended) = (false, false, false);
        }
        let tasks: Vec<_> = failed.iter().map(|index| self.tasks[*index].attempt.task).collect();
        if let Some(checkpointing) = &mut self.checkpointing {
            checkpointing.stats.restarts += 1;
        }
        // It may have been stored when nobody ran any more.
        self.commit_latest(|task| is_full || tasks.binary_search(&task).is_ok());
        self.emit(CheckpointEffect::Rewire(tasks));
        self.become_status(JobStatus::Running);
        if is_full {
            self.failover.has_started = false;
            if let Some(checkpointing) = &mut self.checkpointing {
                checkpointing.is_latest_of_these = false;
            }
            if let Err(failure) = self.restore_enumerators() {
                return self.fail(now, FailureReport::from(&failure), None);
            }
        }
        self.deploy(failed);
    }

    /// Deploys these tasks. A reader gets what it was handed since the checkpoint that it continues from.
    pub(super) fn deploy(&mut self, tasks: &[usize]) {
        if let Some(checkpointing) = &mut self.checkpointing {
            checkpointing.stats.restored = checkpointing.latest.as_ref().map(|latest| latest.id);
        }
        for index in tasks.iter().copied() {
            let attempt = self.tasks[index].attempt;
            let attempts = |task| {
                let index = self.graph.task_index(task).expect("channels end at tasks of the job");
                self.tasks[index].attempt
            };
            let mut deployment =
                deployment_of(&self.graph, attempt.task, &attempts, &self.locations);
            deployment.restore = self.state_of(attempt.task);
            self.become_state(index, TaskState::Deploying);
            self.send(index, ToTaskManager::Deploy(Box::new(deployment)));
            let TaskId { vertex, subtask } = attempt.task;
            let handed = self.desks.get(&vertex).map(|desk| desk.handed_to(subtask));
            for split in handed.into_iter().flatten() {
                self.send(index, ToTaskManager::Split(attempt, split));
            }
        }
    }

    /// Tells those to run whose time has come: all when all are deployed and, of those that start again, each region when all
    /// of it is.
    pub(super) fn start_deployed(&mut self) {
        let is_deployed = |index: &usize| self.tasks[*index].is_deployed;
        let mut ready = self.tasks_of(|_| true);
        if self.failover.has_started {
            let waiting = ready.iter().filter(|index| !is_deployed(index));
            let waiting: BTreeSet<_> = waiting.map(|index| self.region(*index)).collect();
            ready.retain(|index| !waiting.contains(&self.region(*index)));
        } else if !ready.iter().all(is_deployed) {
            return;
        }
        self.failover.has_started = true;
        for index in ready {
            let task = &mut self.tasks[index];
            if task.state == TaskState::Deploying && !task.is_told_to_run {
                task.is_told_to_run = true;
                let attempt = task.attempt;
                self.send(index, ToTaskManager::Start(attempt));
            }
        }
    }

    /// A task runs: perhaps it was the last one.
    pub(super) fn on_all_running(&mut self, now: Nanos) {
        let is_on = |task: &Task| [TaskState::Running, TaskState::Finished].contains(&task.state);
        if !self.failover.regions.is_empty() || !self.tasks.iter().all(is_on) {
            return;
        }
        let finished = self.tasks.iter().filter(|task| task.state == TaskState::Finished);
        let finished = finished.map(|task| task.attempt.task).collect();
        self.coordinate(now, Happened::Running { finished });
        // One that was through before the last one ran.
        let ended = self.tasks.iter().filter(|task| task.has_ended);
        let ended: Vec<_> = ended.map(|task| task.attempt.task).collect();
        for task in ended {
            self.coordinate(now, Happened::EndOfData { task });
        }
    }

    pub(super) fn restore_enumerators(&mut self) -> Result<(), TaskFailure> {
        let Some(checkpointing) = &self.checkpointing else { return Ok(()) };
        for (vertex, desk) in &mut self.desks {
            let latest = checkpointing.latest.as_ref();
            let bytes = latest.and_then(|latest| latest.enumerators.get(vertex));
            let Some(bytes) = bytes.or_else(|| checkpointing.pristine.get(vertex)) else {
                continue;
            };
            let uid = &self.graph.vertices()[vertex.index()].uid;
            desk.restore(bytes).map_err(|failure| failure.uid(uid))?;
        }
        Ok(())
    }

    /// The state that a task continues from. Invariant 3.
    fn state_of(&self, task: TaskId) -> RestoredState {
        let Some(checkpointing) = &self.checkpointing else { return RestoredState::default() };
        let latest = checkpointing.latest.as_ref();
        let of_vertex = latest.into_iter().flat_map(|latest| &latest.tasks);
        let of_vertex = of_vertex.filter(|(of, _)| of.vertex == task.vertex);
        let mut handles: Vec<_> = of_vertex.collect();
        let mut own = None;
        if checkpointing.is_latest_of_these {
            handles.sort_by_key(|(of, _)| **of != task);
            let first = handles.first().filter(|(of, _)| **of == task);
            own = Some(first.map_or(0, |(_, handle)| handle.files.len()));
        }
        let files = handles.into_iter().flat_map(|(_, handle)| handle.files.iter().cloned());
        RestoredState { files: files.collect(), own }
    }
}
