//! How a vertex of the graph becomes a chain on a shard.

use std::fmt;

use wiesel_core::{Blame, TaskFailure};
use wiesel_exchange::{InputGate, ResultPartition};
use wiesel_operators::{Head, TaskContext};
use wiesel_record::Record;

use crate::PartitionOutput;

/// The channel ends of one subtask: a gate per input and a partition per output edge, in the order of the
/// graph's edges.
#[derive(Default)]
pub struct TaskWiring {
    /// One per input of the head.
    pub gates: Vec<InputGate>,
    /// One per output edge of the vertex.
    pub partitions: Vec<ResultPartition>,
}

/// What a factory builds from.
pub struct BuildContext {
    task: TaskContext,
    partitions: Vec<Option<ResultPartition>>,
}

impl BuildContext {
    /// The build of one subtask, whose output edges are `partitions`.
    pub fn new(task: TaskContext, partitions: Vec<ResultPartition>) -> Self {
        Self { task, partitions: partitions.into_iter().map(Some).collect() }
    }

    /// The context that the operators share.
    pub fn task(&self) -> &TaskContext {
        &self.task
    }

    /// Takes the partitions of all output edges that are left: those of the main output.
    pub fn rest<T: Record>(&mut self) -> Vec<PartitionOutput<T>> {
        self.partitions.iter_mut().filter_map(Option::take).map(PartitionOutput::new).collect()
    }

    /// Takes the partition of output edge `index`, for records of type `T`.
    ///
    /// # Errors
    ///
    /// If there is no such edge or it was taken before: the graph and the factory disagree.
    pub fn output<T: Record>(&mut self, index: usize) -> Result<PartitionOutput<T>, TaskFailure> {
        let partition = self.partitions.get_mut(index).and_then(Option::take).ok_or_else(|| {
            let cause = format!("output edge {index} of {} is not there", self.task.uid());
            TaskFailure::new(Blame::Runtime, "wire a chain", cause)
        })?;
        Ok(PartitionOutput::new(partition))
    }
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
