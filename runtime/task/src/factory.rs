//! How a vertex of the graph becomes a chain on a shard.

use std::fmt;

use wiesel_core::{Blame, TaskFailure};
use wiesel_exchange::{
    ChannelSender, InputGate, Overdraft, PartitionOptions, Partitioner, ResultPartition,
};
use wiesel_operators::{Head, TaskContext};
use wiesel_record::Record;
use wiesel_wire::{FrameShape, LocalPool};

use crate::PartitionOutput;

/// An output edge of one subtask, complete but for the type of its records.
pub struct PartitionPlan {
    /// How records are spread.
    pub partitioner: Partitioner,
    /// Frames have the column of event times.
    pub has_time: bool,
    /// Frames have the column of key hashes.
    pub has_hash: bool,
    /// The largest record, in bytes.
    pub record_bytes_max: usize,
    /// In order of the partition.
    pub channels: Vec<ChannelSender>,
    /// The frames that are its own.
    pub frames: LocalPool,
    /// What its task may write beyond its credits; shared by all partitions of the task.
    pub overdraft: Overdraft,
}

/// The channel ends of one subtask: a gate per input and a partition per output edge, in the order of the
/// graph's edges.
#[derive(Default)]
pub struct TaskWiring {
    /// One per input of the head.
    pub gates: Vec<InputGate>,
    /// One per output edge of the vertex.
    pub partitions: Vec<PartitionPlan>,
}

/// What a factory builds from.
pub struct BuildContext {
    task: TaskContext,
    partitions: Vec<Option<PartitionPlan>>,
}

impl BuildContext {
    /// The build of one subtask, whose output edges are `partitions`.
    pub fn new(task: TaskContext, partitions: Vec<PartitionPlan>) -> Self {
        Self { task, partitions: partitions.into_iter().map(Some).collect() }
    }

    /// The context that the operators share.
    pub fn task(&self) -> &TaskContext {
        &self.task
    }

    /// Takes output edge `index`, for records of type `T`.
    ///
    /// # Errors
    ///
    /// If there is no such edge or it was taken before: the graph and the factory disagree.
    pub fn output<T: Record>(&mut self, index: usize) -> Result<PartitionOutput<T>, TaskFailure> {
        let plan = self.partitions.get_mut(index).and_then(Option::take).ok_or_else(|| {
            let cause = format!("output edge {index} of {} is not there", self.task.uid());
            TaskFailure::new(Blame::Runtime, "wire a chain", cause)
        })?;
        Ok(open::<T>(&self.task, plan))
    }

    /// Takes all output edges that are left: those of the main output.
    pub fn rest<T: Record>(&mut self) -> Vec<PartitionOutput<T>> {
        let rest = self.partitions.iter_mut().filter_map(Option::take);
        rest.map(|plan| open::<T>(&self.task, plan)).collect()
    }
}

/// The partition, now that its record type is known.
fn open<T: Record>(task: &TaskContext, plan: PartitionPlan) -> PartitionOutput<T> {
    let options = PartitionOptions {
        partitioner: plan.partitioner,
        shape: FrameShape::of::<T>(plan.has_time, plan.has_hash),
        subtask: task.id().subtask.0,
        seed: task.shard().random(),
        record_bytes_max: plan.record_bytes_max,
    };
    let stop = task.stop().clone();
    let partition =
        ResultPartition::new(&options, plan.channels, plan.frames, stop, plan.overdraft);
    PartitionOutput::new(partition)
}

/// Builds the chain of one vertex, once per subtask, on the shard that runs it.
///
/// Cloned for every shard, because user closures are `Clone + Send` but need not be `Sync`.
pub trait TaskFactory: Send {
    /// Builds the chain for one subtask.
    ///
    /// # Errors
    ///
    /// If an operator cannot be made with its options.
    fn build(&self, context: &mut BuildContext) -> Result<Box<dyn Head>, TaskFailure>;

    /// Another factory like this one.
    fn clone_box(&self) -> Box<dyn TaskFactory>;
}

impl Clone for Box<dyn TaskFactory> {
    fn clone(&self) -> Self {
        self.as_ref().clone_box()
    }
}

impl fmt::Debug for dyn TaskFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskFactory")
    }
}

impl<F> TaskFactory for F
where
    F: Fn(&mut BuildContext) -> Result<Box<dyn Head>, TaskFailure> + Clone + Send + 'static,
{
    fn build(&self, context: &mut BuildContext) -> Result<Box<dyn Head>, TaskFailure> {
        self(context)
    }

    fn clone_box(&self) -> Box<dyn TaskFactory> {
        Box::new(self.clone())
    }
}
