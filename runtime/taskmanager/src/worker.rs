//! The program of a shard: mail, then a turn for each task, then reports.
//!
//! # What is always true
//!
//! 1. A report is never lost: what the ring does not take waits, in order. Only heartbeats are skipped.
//! 2. Messages for another job, or for an attempt that is not here, are dropped (fencing).
//! 3. The worker is done when the JobMaster's end of its mailbox is gone, and what was written for tasks that are gone
//!    is removed.
//! 4. Tasks of two attempts of a region are never here at once: with the first deployment of a newer attempt come new channels
//!    and new frames, for this region alone.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use wiesel_core::{
    Blame, JobId, Nanos, TaskFailure, TaskId, config::Folders, metrics::TaskMetrics,
};
use wiesel_exchange::{InputGate, Overdraft, PartitionOptions, Partitioner};
use wiesel_graph::{JobGraph, Partitioning};
use wiesel_operators::{BatchOptions, Mail, RowSources, TaskContext};
use wiesel_rpc::{
    Attempt, Declined, Envelope, FailureReport, TaskDeployment, TaskManagerId, TaskMetricsReport,
    TaskState, ToJobMaster, ToTaskManager,
};
use wiesel_shard::{
    Door, HelperClient, HelperSeat, Next, Program, Shard,
    ring::{Consumer, Producer},
};
use wiesel_task::{BuildContext, PartitionPlan, Task, TaskFactory, TaskOptions, Turn};
use wiesel_wire::FramePool;

use crate::{
    ChannelEnds, ChannelId, PoolMetrics, operators::Operators, precedence::Precedence, slot::Slot,
    state_reader::read_state, writes::Writes,
};

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
    /// State on its way to the disk.
    writes: Writes,
    reports: VecDeque<ToJobMaster>,
    heartbeat_at: Nanos,
    precedence: Precedence,
}

/// The tasks of a region that are here.
struct Region {
    /// How often they were deployed before.
    attempt: u32,
    /// Theirs alone: regions that start again do not take frames from those that run.
    pool: FramePool,
}

impl Region {
    fn new(attempt: u32, frames: usize, record_bytes_max: usize) -> Self {
        Self { attempt, pool: FramePool::new(frames, record_bytes_max) }
    }
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
            writes: Writes::default(),
            reports: VecDeque::new(),
            heartbeat_at,
            precedence: Precedence::default(),
        }
    }

    fn handle(&mut self, message: ToTaskManager) {
        match message {
            ToTaskManager::Deploy(deployment) => {
                let attempt = deployment.attempt;
                match self.deploy(*deployment) {
                    Ok(slot) => {
                        self.slots.push(slot);
                        self.reports.push_back(ToJobMaster::Deployed(attempt));
                    }
                    Err(failure) => self.report_failure(attempt, &failure),
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
                }
            }
        }
    }

    fn mail(&mut self, attempt: Attempt, mail: Mail) {
        let Some(at) = self.slot_of(attempt) else { return };
        if let Err(failure) = self.slots[at].mail(mail) {
            self.end(at, Some(&failure), TaskState::Failed);
        }
    }

    fn slot_of(&self, attempt: Attempt) -> Option<usize> {
        self.slots.iter().position(|slot| slot.attempt == attempt)
    }

    /// Builds a task and wires its channels.
    fn deploy(&mut self, deployment: TaskDeployment) -> Result<Slot, TaskFailure> {
        let TaskDeployment { attempt, .. } = deployment;
        let named = |cause: String| TaskFailure::new(Blame::Runtime, "deploy a task", cause);
        if deployment.fingerprint != self.spec.graph.fingerprint().0 {
            return Err(named("this worker was built from another program".to_owned()));
        }
        let pool = self.become_attempt(deployment.region, attempt);
        let vertex = self.spec.graph.vertex(attempt.task.vertex);
        let metrics = Arc::new(TaskMetrics::default());
        let context = TaskContext::new(
            attempt.task,
            vertex.uid(),
            deployment.parallelism,
            deployment.max_parallelism,
            self.shard.clone(),
            Arc::clone(&metrics),
        );
        if self.spec.checkpoints.is_some() {
            context.set_takes_checkpoints();
        }
        if self.spec.graph.is_batch {
            context.set_batch(BatchOptions {
                sort_bytes_max: self.spec.options.sort_bytes_max,
                folder: self.spec.options.tmp_folders.of_subtask(attempt.task.subtask.index()),
            });
        } else if let Some(row_sources) = self.spec.row_sources {
            context.set_row_sources(row_sources(attempt.task));
        }
        if let Some(helper) = &self.helper {
            context.set_helper(helper.clone());
        }
        let missing = || named("the other end of a channel was taken before".to_owned());
        let mut gates = Vec::with_capacity(deployment.gates.len());
        for gate in &deployment.gates {
            let receivers = gate.channels.iter().map(|channel| {
                let (producer, consumer) = (channel.peer.task, attempt.task);
                let id = ChannelId { edge: gate.edge, producer, consumer };
                self.spec.channels.receiver(id).ok_or_else(missing)
            });
            gates.push(InputGate::new(receivers.collect::<Result<_, _>>()?));
        }
        let overdraft = Overdraft::new(self.spec.options.overdraft_bytes_max);
        let mut plans = Vec::with_capacity(deployment.partitions.len());
        for partition in &deployment.partitions {
            let edge = &self.spec.graph.edges[partition.edge as usize];
            let max_parallelism = self.spec.graph.vertex(edge.target).max_parallelism;
            let partitioner = partitioner_of(&edge.partitioning, max_parallelism);
            let senders = partition.channels.iter().map(|channel| {
                let (producer, consumer) = (attempt.task, channel.peer.task);
                let id = ChannelId { edge: partition.edge, producer, consumer };
                self.spec.channels.sender(id).ok_or_else(missing)
            });
            let channels: Vec<_> = senders.collect::<Result<_, _>>()?;
            let frames = PartitionOptions::frames_reserved(&partitioner, channels.len());
            let frames = pool.reserve(frames).map_err(|error| {
                TaskFailure::new(Blame::Job, "reserve the frames of a partition", error)
            })?;
            plans.push(PartitionPlan {
                partitioner,
                has_time: edge.has_time,
                has_hash: edge.has_hash,
                record_bytes_max: self.spec.options.record_bytes_max,
                channels,
                frames,
                overdraft: overdraft.clone(),
            });
        }
        let mut build = BuildContext::new(context.clone(), plans);
        let head = vertex
            .factory
            .build(&mut build)
            .map_err(|failure| failure.uid(context.uid()).subtask(attempt.task.subtask))?;
        let operators = Operators::of(vertex);
        let mut task = Task::new(context, head, gates, self.spec.options.task);
        if let Some(folder) =
            self.spec.checkpoints.as_ref().filter(|_| !deployment.restore.files.is_empty())
        {
            let groups = deployment.key_groups;
            let state = read_state(folder, &deployment.restore, groups, &operators)?;
            // What cannot be read as it was written cannot be read the next time either.
            let is_allowed = self.spec.options.allow_non_restored;
            let restored =
                task.restore(&state).and_then(|()| operators.check_restored(&state, is_allowed));
            restored.map_err(|failure| TaskFailure { retryable: false, ..failure })?;
        }
        Ok(Slot::new(attempt, metrics, operators, task))
    }

    /// Makes room for the tasks of another attempt of a region, and gives the region's frames. Invariant 4.
    fn become_attempt(&mut self, region: u32, Attempt { task, number }: Attempt) -> FramePool {
        debug_assert!(
            self.slots.iter().all(|slot| slot.attempt.task != task),
            "a task is over before it is deployed again"
        );
        if let Some(known) = self.regions.get(&region).filter(|known| known.attempt == number) {
            return known.pool.clone();
        }
        // Also those of other regions that come next: each replaces its own.
        while let Some(ends) = self.spec.rewired.pop() {
            self.spec.channels.replace(ends);
        }
        // What is left of the old channels holds frames of the old pool, and they keep each other.
        let frames = self.spec.frames.get(&region).copied().unwrap_or(0);
        let region_of = Region::new(number, frames, self.spec.options.record_bytes_max);
        let pool = region_of.pool.clone();
        self.regions.insert(region, region_of);
        pool
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
        (worked, earlier(until, of_sources))
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
                Turn::Idle(time) => until = earlier(until, time),
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

    /// Ends a task: last figures, then the report, then everything goes back.
    fn end(&mut self, at: usize, failure: Option<&TaskFailure>, state: TaskState) {
        let slot = self.slots.remove(at);
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
        self.writes.tasks_run(&self.shard);
        let (tasks_worked, until) = self.run_tasks();
        self.writes.tasks_have_run(&self.shard, &self.slots);
        self.heartbeat();
        worked |= tasks_worked;
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
            // Nobody is left to hear about the tasks: they go when this is dropped.
            return Next::Done;
        }
        let until = match until {
            Some(until) if !self.slots.is_empty() => Some(until.min(self.heartbeat_at)),
            None if !self.slots.is_empty() => Some(self.heartbeat_at),
            until => until,
        };
        Next::Idle { until }
    }
}

/// The last word on the frames, once every task has given back its own.
impl Drop for Worker {
    fn drop(&mut self) {
        std::mem::take(&mut self.slots).into_iter().for_each(Slot::dispose);
        self.spec.pool.note(self.regions.values().map(|region| &region.pool));
    }
}

fn earlier(a: Option<Nanos>, b: Option<Nanos>) -> Option<Nanos> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The exchange's word for the graph's.
pub(crate) fn partitioner_of(partitioning: &Partitioning, max_parallelism: u32) -> Partitioner {
    match partitioning {
        Partitioning::Forward => Partitioner::Forward,
        Partitioning::Hash => Partitioner::Hash { max_parallelism },
        Partitioning::Rebalance => Partitioner::Rebalance,
        Partitioning::Rescale => Partitioner::Rescale,
        Partitioning::Shuffle => Partitioner::Shuffle,
        Partitioning::Broadcast => Partitioner::Broadcast,
        Partitioning::Global => Partitioner::Global,
        Partitioning::Custom(choose) => Partitioner::Custom(choose.clone()),
    }
}
