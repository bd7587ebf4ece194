//! The program of a shard: mail, then a turn for each task, then state on its way in and out, then reports.
//!
//! # What is always true
//!
//! 1. A report is never lost: what the ring does not take waits, in order, and not until something else wakes the shard. Only
//!    heartbeats are skipped.
//! 2. Messages for another job, or for an attempt that is not here, are dropped (fencing).
//! 3. The worker is done when the JobMaster's end of its mailbox is gone, whatever its tasks have to do, and what was written
//!    for them is removed.
//! 4. Tasks of two attempts of a region are never here at once: with the first deployment of a newer attempt come new channels
//!    and new frames, for this region alone.

mod deploy;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use wiesel_core::{JobId, Nanos, TaskFailure, TaskId, config::Folders};
use wiesel_graph::JobGraph;
use wiesel_operators::{Mail, RowSources};
use wiesel_rpc::{
    Attempt, Declined, Envelope, FailureReport, TaskManagerId, TaskMetricsReport, TaskState,
    ToJobMaster, ToTaskManager,
};
use wiesel_shard::{
    Door, HelperClient, HelperSeat, Next, Program, Shard,
    ring::{Consumer, Producer},
};
use wiesel_task::{TaskFactory, TaskOptions, Turn};

use deploy::Region;

use crate::{
    ChannelEnds, PoolMetrics, precedence::Precedence, restores::Restores, slot::Slot,
    writes::Writes,
};

/// How soon reports are sent again that the ring had no room for: the JobMaster takes all at once, and does not say so.
const RESEND_EVERY: Duration = Duration::from_millis(1);

/// How a worker runs its tasks.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// Turns of tasks.
    pub task: TaskOptions,
    /// What one task may write beyond its credits.
    pub overdraft_bytes_max: usize,
    /// The largest record.
    pub record_bytes_max: usize,
    /// How often metrics are sent.
    pub heartbeat_every: Duration,
    /// Batch mode: memory of one subtask of a keyed operator to sort its inputs in.
    pub sort_bytes_max: usize,
    /// Where there is room for what is more.
    pub tmp_folders: Folders,
    /// State that the operator with its uid does not keep is dropped.
    pub allow_non_restored: bool,
}

/// All that a worker starts with.
pub struct WorkerSpec {
    /// Which process this is.
    pub task_manager: TaskManagerId,
    /// The job that it works for.
    pub job: JobId,
    /// This worker's own copy of the graph, with the code of the tasks.
    pub graph: JobGraph<Box<dyn TaskFactory>>,
    /// The channel ends of this shard, for the first attempts of its tasks.
    pub channels: ChannelEnds,
    /// Those for later attempts: a set for each restart of regions that have tasks here.
    pub rewired: Consumer<ChannelEnds>,
    /// The folder of the job's checkpoints, if it takes any.
    pub checkpoints: Option<PathBuf>,
    /// Frames of this shard's pools, by region: the sum of what its partitions reserve, and what floats.
    pub frames: BTreeMap<u32, usize>,
    /// From the JobMaster.
    pub mailbox: Consumer<Envelope<ToTaskManager>>,
    /// To the JobMaster.
    pub outbox: Producer<Envelope<ToJobMaster>>,
    /// Wakes the JobMaster.
    pub job_master: Door,
    /// How tasks are run.
    pub options: WorkerOptions,
    /// What stands behind state tables, for tests with rows that are absent.
    pub row_sources: Option<fn(TaskId) -> RowSources>,
    /// Its seat at the helper that polls the futures of its tasks, if they start any.
    pub helper: Option<HelperSeat>,
    /// Where the worker says how its frames are.
    pub pool: Arc<PoolMetrics>,
}

/// A slot and its tasks.
pub struct Worker {
    spec: WorkerSpec,
    shard: Shard,
    /// By region, if a task of it was ever here.
    regions: BTreeMap<u32, Region>,
    helper: Option<HelperClient>,
    slots: Vec<Slot>,
    /// State on its way in.
    restores: Restores,
    /// State on its way to the disk.
    writes: Writes,
    reports: VecDeque<ToJobMaster>,
    heartbeat_at: Nanos,
    precedence: Precedence,
}

impl Worker {
    /// A worker on `shard`. Allocates all frames.
    pub fn new(mut spec: WorkerSpec, shard: Shard) -> Self {
        let record_bytes_max = spec.options.record_bytes_max;
        let region =
            |(id, frames): (&u32, &usize)| (*id, Region::new(0, *frames, record_bytes_max));
        let heartbeat_at = shard.now() + spec.options.heartbeat_every;
        Self {
            helper: spec.helper.take().map(HelperClient::new),
            regions: spec.frames.iter().map(region).collect(),
            spec,
            shard,
            slots: Vec::new(),
            restores: Restores::default(),
            writes: Writes::default(),
            reports: VecDeque::new(),
            heartbeat_at,
            precedence: Precedence::default(),
        }
    }

    fn handle(&mut self, message: ToTaskManager) {
        match message {
            ToTaskManager::Deploy(deployment) => {
                if let Err(failure) = self.deploy(&deployment) {
                    self.report_failure(deployment.attempt, &failure);
                }
            }
            ToTaskManager::Start(attempt) => {
                let Some(at) = self.slot_of(attempt) else { return };
                match self.slots[at].start() {
                    Ok(()) => self.report_state(attempt, TaskState::Running),
                    Err(failure) => self.end(at, Some(&failure), TaskState::Failed),
                }
            }
            ToTaskManager::Split(attempt, split) => self.mail(attempt, Mail::Split(split)),
            ToTaskManager::NoMoreSplits(attempt) => self.mail(attempt, Mail::NoMoreSplits),
            ToTaskManager::Trigger(attempt, checkpoint, kind) => {
                let Some(at) = self.slot_of(attempt) else { return };
                if !self.slots[at].trigger(checkpoint, kind) {
                    let declined = ToJobMaster::Decline(attempt, checkpoint, Declined::NotReady);
                    self.reports.push_back(declined);
                }
            }
            ToTaskManager::CheckpointAborted(attempt, checkpoint) => {
                self.writes.abandon(|of| of == (attempt, checkpoint));
                let Some(at) = self.slot_of(attempt) else { return };
                if let Err(failure) = self.slots[at].abort_checkpoint(checkpoint) {
                    self.end(at, Some(&failure), TaskState::Failed);
                }
            }
            ToTaskManager::CheckpointCompleted(attempt, checkpoint) => {
                let Some(at) = self.slot_of(attempt) else { return };
                if let Err(failure) = self.slots[at].completed_checkpoint(checkpoint) {
                    self.end(at, Some(&failure), TaskState::Failed);
                }
            }
            ToTaskManager::WatermarkLimit(attempt, limit) => {
                self.mail(attempt, Mail::WatermarkLimit(limit));
            }
            ToTaskManager::Cancel(attempt) => {
                if let Some(at) = self.slot_of(attempt) {
                    self.end(at, None, TaskState::Canceled);
                } else if let Some(restore) = self.restores.take(attempt) {
                    self.report_state(attempt, TaskState::Canceled);
                    self.send_reports(); // As in `end`.
                    restore.dispose();
                }
            }
        }
    }

    fn mail(&mut self, attempt: Attempt, mail: Mail) {
        let Some(mail) = self.restores.hold(attempt, mail) else { return };
        let Some(at) = self.slot_of(attempt) else { return };
        if let Err(failure) = self.slots[at].mail(mail) {
            self.end(at, Some(&failure), TaskState::Failed);
        }
    }

    fn slot_of(&self, attempt: Attempt) -> Option<usize> {
        self.slots.iter().position(|slot| slot.attempt == attempt)
    }

    /// Gives each task a turn; says whether one worked, and if none did when the next wants one at the latest.
    fn run_tasks(&mut self) -> (bool, Option<Nanos>) {
        let is_behind = self.slots.iter().any(|slot| slot.is_started && slot.has_more());
        if !self.precedence.sources_wait(is_behind) {
            return self.run_those(|_| true);
        }
        let (worked, until) = self.run_those(|slot| !slot.is_source());
        if worked {
            return (true, None);
        }
        // Nobody was behind after all: before the shard may sleep every task is asked.
        let (worked, of_sources) = self.run_those(Slot::is_source);
        (worked, Nanos::earlier(until, of_sources))
    }

    fn run_those(&mut self, are_asked: impl Fn(&Slot) -> bool) -> (bool, Option<Nanos>) {
        let (mut worked, mut until) = (false, None);
        let mut at = 0;
        while at < self.slots.len() {
            let slot = &mut self.slots[at];
            if !slot.is_started || !are_asked(slot) {
                at += 1;
                continue;
            }
            let attempt = slot.attempt;
            let turn = slot.turn();
            if let Some(report) = slot.take_watermark_report() {
                worked = true;
                self.reports.push_back(ToJobMaster::Watermark(attempt, report));
            }
            match turn {
                Turn::Worked => worked = true,
                Turn::Idle(time) => until = Nanos::earlier(until, time),
                Turn::NeedsSplit => {
                    worked = true;
                    self.reports.push_back(ToJobMaster::RequestSplit(attempt));
                }
                Turn::EndOfData => {
                    worked = true;
                    self.reports.push_back(ToJobMaster::EndOfData(attempt));
                }
                Turn::Finished => {
                    worked = true;
                    self.end(at, None, TaskState::Finished);
                    continue;
                }
                Turn::Failed(failure) => {
                    worked = true;
                    self.end(at, Some(&failure), TaskState::Failed);
                    continue;
                }
            }
            at += 1;
        }
        (worked, until)
    }

    /// Ends a task: its functions are closed, then last figures, then the report, then everything goes back.
    fn end(&mut self, at: usize, failure: Option<&TaskFailure>, state: TaskState) {
        let mut slot = self.slots.remove(at);
        slot.close();
        self.writes.abandon(|(attempt, _)| attempt == slot.attempt);
        let report = TaskMetricsReport::read(slot.attempt, &slot.metrics);
        self.reports.push_back(ToJobMaster::Heartbeat(self.spec.task_manager, vec![report]));
        match failure {
            Some(failure) => self.report_failure(slot.attempt, failure),
            None => self.report_state(slot.attempt, state),
        }
        self.send_reports(); // Before the channels close: the cause is told before its effects.
        slot.dispose();
    }

    /// Nobody is left to hear about the tasks, or to stop them: they go, however much they have to do.
    fn drop_tasks(&mut self) {
        std::mem::take(&mut self.restores).dispose();
        for slot in std::mem::take(&mut self.slots) {
            self.writes.abandon(|(attempt, _)| attempt == slot.attempt);
            slot.dispose();
        }
    }

    fn report_state(&mut self, attempt: Attempt, state: TaskState) {
        self.reports.push_back(ToJobMaster::State(attempt, state));
    }

    fn report_failure(&mut self, attempt: Attempt, failure: &TaskFailure) {
        self.reports.push_back(ToJobMaster::Failed(attempt, FailureReport::from(failure)));
    }

    fn heartbeat(&mut self) {
        let now = self.shard.now();
        if now < self.heartbeat_at {
            return;
        }
        self.heartbeat_at = now + self.spec.options.heartbeat_every;
        self.spec.pool.note(self.regions.values().map(|region| &region.pool));
        if self.reports.is_empty() && !self.slots.is_empty() {
            let read = |slot: &Slot| TaskMetricsReport::read(slot.attempt, &slot.metrics);
            let metrics = self.slots.iter().map(read).collect();
            self.reports.push_back(ToJobMaster::Heartbeat(self.spec.task_manager, metrics));
        }
    }

    /// Sends what waits; says whether anything was sent.
    fn send_reports(&mut self) -> bool {
        let mut sent = false;
        while let Some(message) = self.reports.pop_front() {
            let envelope = Envelope { job: self.spec.job, message };
            if let Err(Envelope { message, .. }) = self.spec.outbox.push(envelope) {
                self.reports.push_front(message);
                break;
            }
            sent = true;
        }
        if sent {
            self.spec.job_master.knock();
        }
        sent
    }
}

impl Program for Worker {
    fn turn(&mut self, _shard: &Shard) -> Next {
        let mut worked = false;
        while let Some(envelope) = self.spec.mailbox.pop() {
            worked = true;
            if envelope.job == self.spec.job {
                self.handle(envelope.message);
            }
        }
        if self.spec.mailbox.is_closed() {
            self.drop_tasks();
        }
        self.writes.tasks_run(&self.shard);
        let (tasks_worked, until) = self.run_tasks();
        self.writes.tasks_have_run(&self.shard, &self.slots);
        self.heartbeat();
        worked |= tasks_worked | self.restore();
        if let Some(folder) = &self.spec.checkpoints {
            let Self { writes, slots, reports, shard, .. } = self;
            worked |= writes.advance(shard, folder, slots, reports);
        }
        worked |= self.send_reports();
        if worked {
            return Next::Again;
        }
        self.writes.rest();
        if self.spec.mailbox.is_closed() && !self.writes.is_empty() {
            return Next::Idle { until: None }; // Files are on their way out.
        }
        if self.spec.mailbox.is_closed() {
            return Next::Done;
        }
        let until = match until {
            Some(until) if !self.slots.is_empty() => Some(until.min(self.heartbeat_at)),
            None if !self.slots.is_empty() => Some(self.heartbeat_at),
            until => until,
        };
        let resend_at = (!self.reports.is_empty()).then(|| self.shard.now() + RESEND_EVERY);
        Next::Idle { until: Nanos::earlier(until, resend_at) }
    }
}

/// The last word on the frames, once every task has given back its own.
impl Drop for Worker {
    fn drop(&mut self) {
        self.drop_tasks();
        self.spec.pool.note(self.regions.values().map(|region| &region.pool));
    }
}
