//! What a partition is told when it is made, and what it counts.

use wiesel_wire::FrameShape;

use crate::Partitioner;

/// What a partition is, beside its channels and frames.
#[derive(Clone, Debug)]
pub struct PartitionOptions {
    /// How records are spread.
    pub partitioner: Partitioner,
    /// What its frames look like.
    pub shape: FrameShape,
    /// The producing subtask: where `rebalance` starts.
    pub subtask: u32,
    /// For `shuffle`.
    pub seed: u64,
    /// The largest frame, in bytes; rounded down to a power of two.
    pub record_bytes_max: usize,
}

impl PartitionOptions {
    /// The frames that a partition with `channels` channels must own.
    ///
    /// A broadcast has one frame open and one on its way, whatever the number of channels.
    pub fn frames_reserved(partitioner: &Partitioner, channels: usize) -> usize {
        if partitioner.is_broadcast() { 2 } else { channels + 1 }
    }
}

/// What a partition has sent, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionMetrics {
    /// Frames that left, jumbo frames included; a broadcast frame counts once.
    pub frames_out: u64,
    /// Header, record and index bytes of those frames.
    pub bytes_out: u64,
    /// Times that `stop` was set because there was no credit or no frame.
    pub stops: u64,
    /// Records in those frames.
    pub(crate) records_closed: u64,
}
