//! The channels of a job within one process: both ends are made at once, and each goes to its shard.

use std::collections::BTreeMap;

use wiesel_core::Mutant;
use wiesel_core::TaskId;
use wiesel_exchange::{ChannelReceiver, ChannelSender, channel};
use wiesel_shard::Door;

/// Which channel: the edge's position in the job graph and the two tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChannelId {
    /// The edge.
    pub edge: u32,
    /// Who fills it.
    pub producer: TaskId,
    /// Who reads it.
    pub consumer: TaskId,
}

/// The ends that belong to one shard, until its tasks take them.
#[derive(Default)]
pub struct ChannelEnds {
    senders: BTreeMap<ChannelId, ChannelSender>,
    receivers: BTreeMap<ChannelId, ChannelReceiver>,
}

impl ChannelEnds {
    /// Adds others, for those of the same channels that are left from before.
    pub(crate) fn replace(&mut self, others: Self) {
        self.senders.extend(others.senders);
        self.receivers.extend(others.receivers);
    }

    /// Takes the producer's end.
    pub fn sender(&mut self, id: ChannelId) -> Option<ChannelSender> {
        self.senders.remove(&id)
    }

    /// Takes the consumer's end.
    pub fn receiver(&mut self, id: ChannelId) -> Option<ChannelReceiver> {
        self.receivers.remove(&id)
    }
}

/// Makes the channels of a job and sorts their ends by shard.
pub struct LocalChannels {
    credits: usize,
    doors: Vec<Door>,
    ends: Vec<ChannelEnds>,
}

impl LocalChannels {
    /// Channels of `credits` frames between the shards behind `doors`.
    pub fn new(credits: usize, doors: Vec<Door>) -> Self {
        let ends = doors.iter().map(|_| ChannelEnds::default()).collect();
        Self { credits, doors, ends }
    }

    /// Makes one channel, from a task on shard `from` to one on shard `to`.
    pub fn connect(&mut self, id: ChannelId, from: usize, to: usize) {
        let door = |shard: usize| (from != to).then(|| self.doors[shard].clone());
        let to_consumer = match Mutant::KnockLost.is_chosen() {
            true => door(to).map(|_| Door::unattended()),
            false => door(to),
        };
        let (sender, receiver) = channel(self.credits, to_consumer, door(from));
        self.ends[from].senders.insert(id, sender);
        self.ends[to].receivers.insert(id, receiver);
    }

    /// The ends by shard.
    pub fn into_ends(self) -> Vec<ChannelEnds> {
        self.ends
    }
}
