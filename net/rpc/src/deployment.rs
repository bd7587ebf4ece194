//! A task, as the TaskManager is asked to run it.

use std::fmt;

use wiesel_core::{ChannelIndex, KeyGroupRange, Pause, ShardId, TaskId};
use wiesel_storage::FileEntry;

/// A worker process, from 0 in a local cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskManagerId(pub u32);

/// A slot, by where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The process.
    pub task_manager: TaskManagerId,
    /// Its shard.
    pub shard: ShardId,
}

/// One try to run a task. Attempts count from 0; only the last one of a task is the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    /// Which task.
    pub task: TaskId,
    /// Which try.
    pub number: u32,
}

/// All that a worker needs beside its own job graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskDeployment {
    /// The task.
    pub attempt: Attempt,
    /// The graph that it is part of. A worker whose own graph has another fingerprint refuses the task.
    pub fingerprint: u128,
    /// Where to run it.
    pub location: Location,
    /// Subtasks of its vertex.
    pub parallelism: u32,
    /// Key groups of its vertex.
    pub max_parallelism: u32,
    /// Its own.
    pub key_groups: KeyGroupRange,
    /// Its pipelined region: tasks that exchange records, which are deployed together, with one number of attempts.
    pub region: u32,
    /// The state that it continues from.
    pub restore: RestoredState,
    /// One per input of the head, in order.
    pub gates: Vec<GateDeployment>,
    /// One per output of the chain, in order.
    pub partitions: Vec<PartitionDeployment>,
}

/// What a task continues from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoredState {
    /// That of all subtasks of its vertex, whatever their number was. Empty at a fresh start.
    pub files: Vec<FileEntry>,
    /// The subtask goes on with its own, which so many of the files are, from the first: others run on with theirs. None: what
    /// all of them had is dealt out.
    pub own: Option<usize>,
}

/// The state of one task, or of one enumerator, as of one checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateHandle {
    /// Where a task's is.
    pub files: Vec<FileEntry>,
    /// An enumerator's.
    pub inline: Vec<u8>,
    /// What the sinks of a task have yet to commit; it is in the files as well. Opaque to all but the committer of
    /// the sink that wrote it.
    pub committables: Vec<Vec<u8>>,
    /// Whether all data of a task had been processed.
    pub has_ended: bool,
    /// Bytes that were written for it; the rest was there.
    pub written_bytes: u64,
    /// How long the records of the task's shard waited for it at once.
    pub pause: Pause,
}

impl StateHandle {
    /// Bytes of state.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.len).sum::<u64>() + self.inline.len() as u64
    }
}

/// One input of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateDeployment {
    /// Position of the edge in the job graph, where its record type and columns stand.
    pub edge: u32,
    /// In order of the gate.
    pub channels: Vec<ChannelDeployment>,
}

/// One output of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDeployment {
    /// Position of the edge in the job graph, where its partitioner and columns stand.
    pub edge: u32,
    /// In order of the partition.
    pub channels: Vec<ChannelDeployment>,
}

/// The other end of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelDeployment {
    /// The task there.
    pub peer: Attempt,
    /// Which channel it is for the peer.
    pub peer_channel: ChannelIndex,
    /// Where the peer runs.
    pub location: Location,
}

impl fmt::Display for TaskManagerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task manager {} shard {}", self.task_manager, self.shard)
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.task, self.number)
    }
}
