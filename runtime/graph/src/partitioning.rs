//! Which subtasks an edge connects.
//!
//! ```text
//!   pointwise   forward   0─0 1─1 2─2        rescale 2:4   0─0 0─1 1─2 1─3       4:2   0─0 1─0 2─1 3─1
//!   all to all  hash, rebalance, shuffle, broadcast, global, custom
//! ```
//!
//! # What is always true
//!
//! 1. `targets` and `sources` describe one set of channels, from both ends.
//! 2. Every subtask on either side has a channel.
//! 3. The targets of a subtask are a run, and so are its sources; runs are in order.
//!
//! The same rules stand at the data plane's `exchange::Partitioner`, which is the other side of layer 1; the
//! pointwise groups are Flink's (`EdgeManagerBuildUtil`).

use std::{fmt, ops::Range, sync::Arc};

/// A user's partitioner: from the hash of the key and the number of channels to a channel.
pub type CustomPartitioner = Arc<dyn Fn(u64, u32) -> u32 + Send + Sync>;

/// How the records of an edge are spread over the subtasks of its target.
#[derive(Clone)]
pub enum Partitioning {
    /// Subtask `i` to subtask `i`.
    Forward,
    /// By the key group of the key.
    Hash,
    /// To all in turn.
    Rebalance,
    /// To the few that are this subtask's own, in turn.
    Rescale,
    /// To a random one.
    Shuffle,
    /// To all of them, each record.
    Broadcast,
    /// To the first.
    Global,
    /// Wherever the user's function says.
    Custom(CustomPartitioner),
}

impl Partitioning {
    /// The name in plans, as in Flink.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Forward => "FORWARD",
            Self::Hash => "HASH",
            Self::Rebalance => "REBALANCE",
            Self::Rescale => "RESCALE",
            Self::Shuffle => "SHUFFLE",
            Self::Broadcast => "BROADCAST",
            Self::Global => "GLOBAL",
            Self::Custom(_) => "CUSTOM",
        }
    }

    /// Whether a subtask is connected to its own few only.
    pub fn is_pointwise(&self) -> bool {
        matches!(self, Self::Forward | Self::Rescale)
    }

    /// The subtasks of the target that subtask `source` of `sources` has channels to, in order of the channels.
    ///
    /// # Panics
    ///
    /// If `source` is not below `sources`, or a forward edge connects unequal parallelism: translation has
    /// refused that.
    pub fn targets(&self, source: u32, sources: u32, targets: u32) -> Range<u32> {
        assert!(source < sources && targets > 0, "subtask {source} of {sources}");
        match self {
            Self::Forward => {
                assert_eq!(sources, targets, "forward connects equal parallelism");
                source..source + 1
            }
            // Source `i` belongs to the one target whose run of sources holds it.
            Self::Rescale if sources >= targets => {
                let (i, p, q) = (u64::from(source), u64::from(sources), u64::from(targets));
                let target = (((i + 1) * q).div_ceil(p) - 1) as u32;
                target..target + 1
            }
            Self::Rescale => {
                let first = |i: u32| {
                    (u64::from(i) * u64::from(targets)).div_ceil(u64::from(sources)) as u32
                };
                first(source)..first(source + 1)
            }
            _ => 0..targets,
        }
    }

    /// The subtasks of the source that subtask `target` of `targets` has channels from, in order of the channels.
    ///
    /// # Panics
    ///
    /// As for [`targets`](Self::targets).
    pub fn sources(&self, target: u32, sources: u32, targets: u32) -> Range<u32> {
        assert!(target < targets && sources > 0, "subtask {target} of {targets}");
        match self {
            Self::Forward => {
                assert_eq!(sources, targets, "forward connects equal parallelism");
                target..target + 1
            }
            Self::Rescale if sources >= targets => {
                let first =
                    |j: u32| (u64::from(j) * u64::from(sources) / u64::from(targets)) as u32;
                first(target)..first(target + 1)
            }
            Self::Rescale => {
                let source = (u64::from(target) * u64::from(sources) / u64::from(targets)) as u32;
                source..source + 1
            }
            _ => 0..sources,
        }
    }
}

impl fmt::Debug for Partitioning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rescale_groups_are_flinks() {
        let targets =
            |p, q| (0..p).map(|i| Partitioning::Rescale.targets(i, p, q)).collect::<Vec<_>>();
        assert_eq!(targets(2, 4), [0..2, 2..4]);
        assert_eq!(targets(4, 2), [0..1, 0..1, 1..2, 1..2]);
        assert_eq!(targets(3, 3), [0..1, 1..2, 2..3]);
        assert_eq!(targets(3, 2), [0..1, 1..2, 1..2]);
        assert_eq!(targets(2, 3), [0..2, 2..3]);
    }

    #[test]
    fn both_ends_see_the_same_channels_and_nobody_is_left_out() {
        for partitioning in [Partitioning::Rescale, Partitioning::Hash] {
            for (p, q) in (1..12).flat_map(|p| (1..12).map(move |q| (p, q))) {
                for (source, target) in (0..p).flat_map(|i| (0..q).map(move |j| (i, j))) {
                    assert_eq!(
                        partitioning.targets(source, p, q).contains(&target),
                        partitioning.sources(target, p, q).contains(&source),
                        "{partitioning:?} {source}/{p} to {target}/{q}"
                    );
                }
                assert!((0..p).all(|i| !partitioning.targets(i, p, q).is_empty()));
                assert!((0..q).all(|j| !partitioning.sources(j, p, q).is_empty()));
            }
        }
        assert_eq!(Partitioning::Forward.targets(2, 3, 3), 2..3);
        assert_eq!(Partitioning::Forward.sources(2, 3, 3), 2..3);
    }
}
