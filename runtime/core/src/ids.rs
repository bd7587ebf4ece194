//! Names for the parts of a running job. Newtypes, so that a subtask is never passed for a channel.

use std::fmt;

macro_rules! index {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl $name {
            /// As an index into a slice.
            #[inline]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

index! {
    /// A vertex of the job graph: one chain of operators.
    VertexId(u32)
}
index! {
    /// One of the parallel instances of a vertex, from 0.
    SubtaskIndex(u32)
}
index! {
    /// A shard of the process: a slot, a thread, usually a core.
    ShardId(u32)
}
index! {
    /// A channel of a result partition or an input gate, from 0.
    ChannelIndex(u32)
}

/// A checkpoint or savepoint of a job, counted from 1; none is used twice, also across restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckpointId(pub u64);

impl fmt::Display for CheckpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a checkpoint asks of the tasks where its barriers begin, beside the barrier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TriggerKind {
    /// To go on behind it.
    #[default]
    Continue,
    /// To hold still behind it, until the job is stopped: a savepoint with which it ends.
    Stop,
    /// To end event time first, as if there were no more to read, so that all windows fire; then to hold still.
    Drain,
}

/// One subtask of one vertex. Displayed as `vertex/subtask`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The vertex.
    pub vertex: VertexId,
    /// Which of its subtasks.
    pub subtask: SubtaskIndex,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.vertex, self.subtask)
    }
}

/// A job. Displayed as 32 hex digits, like Flink's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u128);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
