//! How a task comes into its slot: its channels, its frames, its chain, its state.
//!
//! ```text
//!   Deploy ─▶ build ─▶ nothing to restore ───────────────────────────────▶ a slot: Deployed
//!                └──▶ its state is read, between turns of those that run ──▶ │
//! ```
//!
//! # What is always true
//!
//! 1. What goes wrong before it is deployed, a panic too, is a failure of the task, with operator and subtask.
//! 2. Of a region that begins anew the first task brings new channels and new frames, for all of it.

use std::sync::Arc;

use wiesel_core::{Blame, TaskFailure, metrics::TaskMetrics};
use wiesel_exchange::InputGate;
use wiesel_operators::{BatchOptions, TaskContext};
use wiesel_rpc::{Attempt, TaskDeployment, ToJobMaster};
use wiesel_shard::Stepped;
use wiesel_task::Task;
use wiesel_wire::FramePool;

use super::Worker;
use crate::{
    ChannelId,
    build::Builder,
    operators::Operators,
    restores::{Restore, Restoring},
    slot::{Slot, unpanicked},
    state_reader::read_state,
};

/// The tasks of a region that are here.
pub(super) struct Region {
    /// How often they were deployed before.
    attempt: u32,
    /// Theirs alone: regions that start again do not take frames from those that run.
    pub(super) pool: FramePool,
}

impl Region {
    pub(super) fn new(attempt: u32, frames: usize, record_bytes_max: usize) -> Self {
        Self { attempt, pool: FramePool::new(frames, record_bytes_max) }
    }
}

impl Worker {
    /// Builds a task. It is deployed when it has its state.
    pub(super) fn deploy(&mut self, deployment: &TaskDeployment) -> Result<(), TaskFailure> {
        let attempt = deployment.attempt;
        let built = unpanicked("deploy a task", || self.build(deployment)).flatten();
        let vertex = self.spec.graph.vertex(attempt.task.vertex);
        let (task, metrics) =
            built.map_err(|failure| failure.uid(vertex.uid()).subtask(attempt.task.subtask))?;
        let (state, operators) = (&deployment.restore, Operators::of(vertex));
        match self.spec.checkpoints.as_ref().filter(|_| !state.files.is_empty()) {
            None => self.is_deployed(Slot::new(attempt, metrics, operators, task)),
            Some(folder) => {
                let groups = deployment.key_groups;
                let read = read_state(&self.shard, folder, state, groups, &operators);
                let restored = Restoring {
                    attempt,
                    uid: vertex.uid().to_owned(),
                    metrics,
                    operators,
                    allow_non_restored: self.spec.options.allow_non_restored,
                };
                self.restores.add(Restore::new(restored, task, read));
            }
        }
        Ok(())
    }

    fn is_deployed(&mut self, slot: Slot) {
        self.reports.push_back(ToJobMaster::Deployed(slot.attempt));
        self.slots.push(slot);
    }

    /// Goes on reading state in; says whether there is more to do at once.
    pub(super) fn restore(&mut self) -> bool {
        let quantum = &mut self.shard.quantum(self.spec.options.task.quantum);
        match self.restores.go_on(quantum) {
            Stepped::Waiting => false,
            Stepped::More => true,
            Stepped::Done((attempt, Err(failure))) => {
                self.report_failure(attempt, &failure);
                true
            }
            Stepped::Done((attempt, Ok((slot, mail)))) => {
                self.is_deployed(slot);
                mail.into_iter().for_each(|mail| self.mail(attempt, mail));
                true
            }
        }
    }

    /// Makes a task and wires its channels.
    fn build(
        &mut self,
        deployment: &TaskDeployment,
    ) -> Result<(Task, Arc<TaskMetrics>), TaskFailure> {
        let attempt = deployment.attempt;
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
        let outputs = deployment.partitions.iter().map(|partition| {
            let senders = partition.channels.iter().map(|channel| {
                let (producer, consumer) = (attempt.task, channel.peer.task);
                let id = ChannelId { edge: partition.edge, producer, consumer };
                self.spec.channels.sender(id).ok_or_else(missing)
            });
            Ok((partition.edge, senders.collect::<Result<_, _>>()?))
        });
        let outputs = outputs.collect::<Result<_, TaskFailure>>()?;
        let options = &self.spec.options;
        let builder = Builder {
            graph: &self.spec.graph,
            pool: &pool,
            record_bytes_max: options.record_bytes_max,
            overdraft_bytes_max: options.overdraft_bytes_max,
            options: options.task,
        };
        Ok((builder.build(context, gates, outputs)?, metrics))
    }

    /// Makes room for the tasks of another attempt of a region, and gives the region's frames. Invariant 4.
    fn become_attempt(&mut self, region: u32, Attempt { task, number }: Attempt) -> FramePool {
        debug_assert!(
            self.slots.iter().all(|slot| slot.attempt.task != task) && !self.restores.has(task),
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
}
