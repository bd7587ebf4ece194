//! How a task is made of its channels: by a worker, and by hand in tests.
//!
//! ```text
//!   gates ─▶ head ─ chain ─▶ partitions: partitioner, channels, frames from the pool, overdraft
//! ```
//!
//! # What is always true
//!
//! 1. What runs in a harness is made as what runs in production is: here.
//! 2. All partitions of a task share one overdraft.

use wiesel_core::{Blame, TaskFailure};
use wiesel_exchange::{ChannelSender, InputGate, Overdraft, PartitionOptions, Partitioner};
use wiesel_graph::{JobGraph, Partitioning};
use wiesel_operators::TaskContext;
use wiesel_task::{BuildContext, PartitionPlan, Task, TaskFactory, TaskOptions};
use wiesel_wire::FramePool;

/// What tasks are made with.
pub(crate) struct Builder<'b> {
    pub(crate) graph: &'b JobGraph<Box<dyn TaskFactory>>,
    /// Where the frames of partitions come from.
    pub(crate) pool: &'b FramePool,
    /// The largest record.
    pub(crate) record_bytes_max: usize,
    /// What one task may write beyond its credits.
    pub(crate) overdraft_bytes_max: usize,
    pub(crate) options: TaskOptions,
}

impl Builder<'_> {
    /// Makes the task of `context`, which reads `gates` and writes into the channels of these edges.
    ///
    /// # Errors
    ///
    /// If there is no such edge, the frames do not suffice, or the chain cannot be built.
    pub(crate) fn build(
        &self,
        context: TaskContext,
        gates: Vec<InputGate>,
        outputs: Vec<(u32, Vec<ChannelSender>)>,
    ) -> Result<Task, TaskFailure> {
        let Self { graph, pool, record_bytes_max, overdraft_bytes_max, options } = *self;
        let overdraft = Overdraft::new(overdraft_bytes_max);
        let plan = |(edge, channels): (u32, Vec<ChannelSender>)| {
            // A number out of a message, which may come from elsewhere one day.
            let edge = graph.edges.get(edge as usize).ok_or_else(|| {
                let cause =
                    format!("an output of edge {edge} of a graph with {}", graph.edges.len());
                TaskFailure::new(Blame::Runtime, "deploy a task", cause)
            })?;
            let max_parallelism = graph.vertex(edge.target).max_parallelism;
            let partitioner = partitioner_of(&edge.partitioning, max_parallelism);
            let frames = PartitionOptions::frames_reserved(&partitioner, channels.len());
            let frames = pool.reserve(frames).map_err(|error| {
                TaskFailure::new(Blame::Job, "reserve the frames of a partition", error)
            })?;
            Ok(PartitionPlan {
                partitioner,
                has_time: edge.has_time,
                has_hash: edge.has_hash,
                record_bytes_max,
                channels,
                frames,
                overdraft: overdraft.clone(),
            })
        };
        let plans = outputs.into_iter().map(plan).collect::<Result<_, TaskFailure>>()?;
        let factory = &graph.vertex(context.id().vertex).factory;
        let head = factory.build(&mut BuildContext::new(context.clone(), plans))?;
        Ok(Task::new(context, head, gates, options))
    }
}

/// The exchange's word for the graph's.
fn partitioner_of(partitioning: &Partitioning, max_parallelism: u32) -> Partitioner {
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
