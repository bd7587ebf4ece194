//! All tasks of a job on one thread, which gives them turns by hand: for tests of a pipeline.
//!
//! ```text
//!   deploy ─▶ run: turns for all tasks, in order, until none has anything to do ─▶ snapshot ─▶ deploy …
//! ```
//!
//! They are the tasks that a worker runs, with the same channels between them. What is not here is a JobMaster: nobody
//! hands out splits.
//!
//! # What is always true
//!
//! 1. After [`run`](SteppedTasks::run) nothing is under way: every channel is empty, so a snapshot is of one moment.
//! 2. The same calls give the same results.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use wiesel_core::{Blame, Nanos, TaskFailure, VertexId, metrics::TaskMetrics};
use wiesel_exchange::{ChannelReceiver, ChannelSender, InputGate, channel};
use wiesel_graph::{ExecutionGraph, JobGraph};
use wiesel_operators::{Mail, Snapshot, TaskContext};
use wiesel_shard::{Shard, at_once};
use wiesel_task::{Checkpoints, TaskFactory, TaskOptions, Turn};
use wiesel_wire::FramePool;

use crate::{build::Builder, operators::Operators, slot::Slot};

/// Frames in flight per channel: few, so that what leads to backpressure in a job does so in a test.
const CREDITS: usize = 4;
/// As a job's defaults.
const OVERDRAFT_BYTES_MAX: usize = 64 << 20;
const RECORD_BYTES_MAX: usize = 16 << 20;
/// Rounds of turns that no test needs: a task that always has something to do is found.
const ROUNDS_MAX: usize = 10_000_000;

/// The tasks of a job, by hand.
pub struct SteppedTasks {
    tasks: Vec<(VertexId, Slot, bool)>,
    shard: Shard,
}

/// State by vertex: what [`SteppedTasks::snapshot`] gives and [`SteppedTasks::deploy`] takes.
pub type StateByVertex = BTreeMap<VertexId, Snapshot>;

impl SteppedTasks {
    /// Makes all tasks of `graph`, continues from `state` if there is one, and opens them.
    ///
    /// # Errors
    ///
    /// If an operator cannot be made or opened, or the state is not that of the job.
    pub fn deploy(
        graph: &JobGraph<Box<dyn TaskFactory>>,
        shard: &Shard,
        state: Option<&StateByVertex>,
    ) -> Result<Self, TaskFailure> {
        let execution = ExecutionGraph::expand(graph);
        let channels: Vec<_> = execution.channels().collect();
        let mut ends: BTreeMap<_, (Option<ChannelSender>, Option<ChannelReceiver>)> =
            BTreeMap::new();
        for one in &channels {
            let (sender, receiver) = channel(CREDITS, None, None);
            let id = (one.edge.0, one.producer, one.consumer);
            ends.insert(id, (Some(sender), Some(receiver)));
        }
        // What partitions reserve, and a frame for every credit.
        let pool = FramePool::new(channels.len() * (CREDITS + 2), RECORD_BYTES_MAX);
        let builder = Builder {
            graph,
            pool: &pool,
            record_bytes_max: RECORD_BYTES_MAX,
            overdraft_bytes_max: OVERDRAFT_BYTES_MAX,
            options: TaskOptions {
                quantum: Duration::from_millis(1),
                frame_age_max: Duration::ZERO,
                checkpoints: Checkpoints::Off,
                is_incremental: false,
            },
        };
        let lost = |what: &str| TaskFailure::new(Blame::Runtime, "deploy a task", what.to_owned());
        let mut tasks = Vec::new();
        for subtask in execution.subtasks() {
            let (task, vertex) = (subtask.task, graph.vertex(subtask.task.vertex));
            let metrics = Arc::new(TaskMetrics::default());
            let context = TaskContext::new(
                task,
                vertex.uid(),
                vertex.parallelism,
                vertex.max_parallelism,
                shard.clone(),
                Arc::clone(&metrics),
            );
            let mut gates = Vec::new();
            for edge in execution.inputs(task.vertex) {
                let receivers = execution.channels_to(edge, task).map(|one| {
                    let ends = ends.get_mut(&(edge.0, one.producer, one.consumer));
                    ends.and_then(|ends| ends.1.take()).ok_or_else(|| lost("a channel is missing"))
                });
                gates.push(InputGate::new(receivers.collect::<Result<_, _>>()?));
            }
            let outputs = execution.outputs(task.vertex).into_iter().map(|edge| {
                let senders = execution.channels_from(edge, task).map(|one| {
                    let ends = ends.get_mut(&(edge.0, one.producer, one.consumer));
                    ends.and_then(|ends| ends.0.take()).ok_or_else(|| lost("a channel is missing"))
                });
                Ok((edge.0, senders.collect::<Result<_, _>>()?))
            });
            let outputs = outputs.collect::<Result<_, TaskFailure>>()?;
            let named = |failure: TaskFailure| failure.uid(vertex.uid()).subtask(task.subtask);
            let mut made = builder.build(context, gates, outputs).map_err(named)?;
            if let Some(state) = state.and_then(|state| state.get(&task.vertex)) {
                at_once(made.restore(state))?;
            }
            let attempt = wiesel_rpc::Attempt { task, number: 0 };
            tasks.push((
                task.vertex,
                Slot::new(attempt, metrics, Operators::of(vertex), made),
                false,
            ));
        }
        // Back to front, as a job is: a task that opens may not be read before its reader is there.
        tasks.iter_mut().rev().try_for_each(|(_, slot, _)| slot.start())?;
        Ok(Self { tasks, shard: shard.clone() })
    }

    /// Gives turns until no task has anything to do, and says when one will have, if time goes on.
    ///
    /// # Errors
    ///
    /// What a task failed with. Then nothing is to be called any more.
    pub fn run(&mut self) -> Result<Option<Nanos>, TaskFailure> {
        for _ in 0..ROUNDS_MAX {
            self.shard.look();
            let (mut has_worked, mut until) = (false, None::<Nanos>);
            for (_, slot, is_finished) in self.tasks.iter_mut().filter(|task| !task.2) {
                match slot.turn() {
                    Turn::Worked => has_worked = true,
                    Turn::Idle(at) => until = Nanos::earlier(until, at),
                    Turn::NeedsSplit => {
                        slot.mail(Mail::NoMoreSplits)?;
                        has_worked = true;
                    }
                    Turn::EndOfData => has_worked = true, // Only where checkpoints are on.
                    Turn::Finished => (*is_finished, has_worked) = (true, true),
                    Turn::Failed(failure) => return Err(failure),
                }
            }
            if !has_worked {
                return Ok(until);
            }
        }
        let cause = "a task always had something to do, though no time passed";
        Err(TaskFailure::new(Blame::Job, "run a job by hand", cause))
    }

    /// Whether all tasks have come to their end.
    pub fn are_finished(&self) -> bool {
        self.tasks.iter().all(|(.., is_finished)| *is_finished)
    }

    /// The state of all tasks, after a [`run`](Self::run).
    pub fn snapshot(&mut self) -> StateByVertex {
        let mut state = StateByVertex::new();
        for (vertex, slot, is_finished) in &mut self.tasks {
            // One that has finished keeps nothing.
            if !*is_finished {
                let mut snapshot = Snapshot::default();
                slot.snapshot(&mut snapshot);
                state.entry(*vertex).or_default().merge(snapshot);
            }
        }
        state
    }
}

/// Tasks that have not come to their end are cancelled.
impl Drop for SteppedTasks {
    fn drop(&mut self) {
        self.tasks.drain(..).for_each(|(_, slot, _)| slot.dispose());
    }
}
