//! Which channel a record takes.
//!
//! ```text
//!   Partitioner   what the graph says, the same for all subtasks of an edge; which subtasks it connects
//!   Route         one subtask's position in it: the owner table, the next channel, the random numbers
//! ```
//!
//! # What is always true
//!
//! 1. The same hash takes the same channel on every subtask, in every process: the way is
//!    hash → key group → owner, both from `core`.
//! 2. `rebalance` and `shuffle` depend only on the subtask and the seed. A replay takes the same channels.
//! 3. `targets` and `sources` describe one set of edges, from both ends.

use std::{fmt, ops::Range, sync::Arc};

use wiesel_core::{KeyGroup, MAX_PARALLELISM_DEFAULT, Meta, key_group_of};

/// A user's partitioner: from the hash of the key and the number of channels to a channel.
pub type CustomPartitioner = Arc<dyn Fn(u64, u32) -> u32 + Send + Sync>;

/// How the records of an edge are spread over the subtasks of its target.
#[derive(Clone)]
pub enum Partitioner {
    /// Subtask `i` to subtask `i`.
    Forward,
    /// By key group. Records carry their key hash in [`Meta`].
    Hash {
        /// Key groups of the job.
        max_parallelism: u32,
    },
    /// To all in turn.
    Rebalance,
    /// To the few that are this subtask's own, in turn: no all-to-all connection.
    Rescale,
    /// To a random one.
    Shuffle,
    /// To all of them, each record.
    Broadcast,
    /// To the first.
    Global,
    /// Wherever the user's function says. Records carry their key hash in [`Meta`].
    Custom(CustomPartitioner),
}

impl fmt::Debug for Partitioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hash { max_parallelism } => {
                f.debug_struct("Hash").field("max_parallelism", max_parallelism).finish()
            }
            other => f.write_str(other.name()),
        }
    }
}

impl Partitioner {
    /// The name that plans print, as in Flink.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Forward => "FORWARD",
            Self::Hash { .. } => "HASH",
            Self::Rebalance => "REBALANCE",
            Self::Rescale => "RESCALE",
            Self::Shuffle => "SHUFFLE",
            Self::Broadcast => "BROADCAST",
            Self::Global => "GLOBAL",
            Self::Custom(_) => "CUSTOM",
        }
    }

    /// The target subtasks that `source` of `sources` has a channel to, in order of the channels.
    ///
    /// # Panics
    ///
    /// If `source` is not below `sources`, or if `Forward` connects vertices of different parallelism: the
    /// graph has checked that.
    pub fn targets(&self, source: u32, sources: u32, targets: u32) -> Range<u32> {
        assert!(source < sources && targets > 0, "subtask {source} of {sources}");
        match self {
            Self::Forward => {
                assert_eq!(sources, targets, "forward connects equal parallelism");
                source..source + 1
            }
            Self::Rescale => rescale_targets(source, sources, targets),
            _ => 0..targets,
        }
    }

    /// The source subtasks that `target` of `targets` has a channel from, in order of the channels.
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
            Self::Rescale => rescale_sources(target, sources, targets),
            _ => 0..sources,
        }
    }

    /// Whether one frame serves all channels.
    pub fn is_broadcast(&self) -> bool {
        matches!(self, Self::Broadcast)
    }
}

/// Flink's pointwise groups (`EdgeManagerBuildUtil`): the larger side is cut into as many runs as the
/// smaller side has subtasks; the runs of sources round down, the runs of targets round up.
fn rescale_targets(source: u32, sources: u32, targets: u32) -> Range<u32> {
    let (i, p, q) = (u64::from(source), u64::from(sources), u64::from(targets));
    if p >= q {
        // Target `j` reads the sources `j*p/q .. (j+1)*p/q`, so source `i` belongs to one target.
        let owner = ((i + 1) * q).div_ceil(p) - 1;
        return owner as u32..owner as u32 + 1;
    }
    (i * q).div_ceil(p) as u32..((i + 1) * q).div_ceil(p) as u32
}

/// The same edges, seen from the target.
fn rescale_sources(target: u32, sources: u32, targets: u32) -> Range<u32> {
    let (j, p, q) = (u64::from(target), u64::from(sources), u64::from(targets));
    if p >= q {
        return (j * p / q) as u32..((j + 1) * p / q) as u32;
    }
    let owner = j * p / q;
    owner as u32..owner as u32 + 1
}

/// One subtask's way through an edge.
pub(crate) enum Route {
    One,
    /// The owner of each key group, so that a record costs one look-up after its group is known.
    Hash {
        max_parallelism: u32,
        owners: Box<[u32]>,
    },
    Turn {
        next: u32,
        channels: u32,
    },
    Random {
        state: u64,
        channels: u32,
    },
    All,
    Custom {
        function: CustomPartitioner,
        channels: u32,
    },
}

impl Route {
    /// The way of subtask `subtask` over `channels` channels. `seed` only matters to `Shuffle`.
    pub fn new(partitioner: &Partitioner, channels: u32, subtask: u32, seed: u64) -> Self {
        assert!(channels > 0, "an edge has a channel");
        match partitioner {
            Partitioner::Broadcast => Self::All,
            Partitioner::Hash { .. } if channels == 1 => Self::One,
            Partitioner::Hash { max_parallelism } => Self::Hash {
                max_parallelism: *max_parallelism,
                owners: (0..*max_parallelism)
                    .map(|group| KeyGroup(group as u16).owner(*max_parallelism, channels))
                    .collect(),
            },
            Partitioner::Custom(function) => {
                Self::Custom { function: Arc::clone(function), channels }
            }
            Partitioner::Forward | Partitioner::Global => Self::One,
            _ if channels == 1 => Self::One,
            // Subtasks start at different channels, so that few records do not all meet in the first.
            Partitioner::Rebalance | Partitioner::Rescale => {
                Self::Turn { next: subtask % channels, channels }
            }
            Partitioner::Shuffle => {
                let state = seed ^ u64::from(subtask).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                Self::Random { state, channels }
            }
        }
    }

    /// The channel of a record. Only `Custom` can name one that does not exist.
    ///
    /// # Panics
    ///
    /// If the record has no key hash but the edge needs one: the chain before it ends in `key_by`.
    #[inline(always)]
    pub fn channel(&mut self, meta: Meta) -> u32 {
        // First and alone: a jump by table costs more than the rest of it.
        if let Self::Hash { max_parallelism, owners } = self {
            let hash = hash_of(meta);
            // A modulus that the compiler knows is a mask; one that it does not know is a division.
            let group = match *max_parallelism {
                MAX_PARALLELISM_DEFAULT => key_group_of(hash, MAX_PARALLELISM_DEFAULT),
                other => key_group_of(hash, other),
            };
            return owners[usize::from(group.0)];
        }
        self.channel_otherwise(meta)
    }

    #[inline]
    fn channel_otherwise(&mut self, meta: Meta) -> u32 {
        match self {
            Self::One | Self::All => 0,
            Self::Hash { .. } => unreachable!("looked at before"),
            Self::Turn { next, channels } => {
                let channel = *next;
                *next = if channel + 1 == *channels { 0 } else { channel + 1 };
                channel
            }
            Self::Random { state, channels } => {
                ((u64::from(split_mix(state) as u32) * u64::from(*channels)) >> 32) as u32
            }
            Self::Custom { function, channels } => function(hash_of(meta), *channels),
        }
    }
}

#[inline(always)]
fn hash_of(meta: Meta) -> u64 {
    meta.hash.expect("a record on a keyed edge carries its key hash")
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Route") // A closure and long tables: nothing to read.
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): one addition and a finaliser.
#[inline]
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first channels that records with hashes `0, 1<<32, 2<<32, …` take.
    #[track_caller]
    fn check(partitioner: Partitioner, channels: u32, subtask: u32, expected: &str) {
        let mut route = Route::new(&partitioner, channels, subtask, 7);
        let taken = (0..8_u64).map(|i| route.channel(Meta::NONE.with_hash(i << 32)).to_string());
        assert_eq!(taken.collect::<String>(), expected, "{partitioner:?}");
    }

    #[test]
    fn records_take_the_channels_of_their_partitioner() {
        check(Partitioner::Forward, 1, 3, "00000000");
        check(Partitioner::Global, 5, 3, "00000000");
        check(Partitioner::Broadcast, 5, 3, "00000000"); // The one lane that all channels share.
        check(Partitioner::Rebalance, 3, 0, "01201201");
        check(Partitioner::Rebalance, 3, 4, "12012012");
        check(Partitioner::Rescale, 2, 1, "10101010");
        check(Partitioner::Rebalance, 1, 1, "00000000");
        let spread = Arc::new(|hash: u64, channels: u32| (hash >> 32) as u32 % channels);
        check(Partitioner::Custom(spread), 4, 0, "01230123");
    }

    #[test]
    fn a_hash_takes_the_owner_of_its_group() {
        for (channels, max_parallelism) in [(1, 1), (2, 128), (3, 128), (7, 32_768), (128, 128)] {
            let mut route = Route::new(&Partitioner::Hash { max_parallelism }, channels, 5, 0);
            for hash in (0..1_000_u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
                let owner = key_group_of(hash, max_parallelism).owner(max_parallelism, channels);
                assert_eq!(route.channel(Meta::NONE.with_hash(hash)), owner);
            }
        }
    }

    #[test]
    fn shuffle_replays_from_its_seed_and_is_even() {
        let shuffle = |subtask, seed| {
            let mut route = Route::new(&Partitioner::Shuffle, 4, subtask, seed);
            (0..4_000).map(|_| route.channel(Meta::NONE)).collect::<Vec<_>>()
        };
        assert_eq!(shuffle(1, 9), shuffle(1, 9));
        assert_ne!(shuffle(1, 9), shuffle(2, 9));
        assert_ne!(shuffle(1, 9), shuffle(1, 8));
        for channel in 0..4 {
            let count = shuffle(1, 9).iter().filter(|taken| **taken == channel).count();
            assert!((800..1_200).contains(&count), "channel {channel} got {count} of 4000");
        }
    }

    #[test]
    fn rescale_groups_are_flinks() {
        let targets = |p, q| (0..p).map(|i| rescale_targets(i, p, q)).collect::<Vec<_>>();
        assert_eq!(targets(2, 4), [0..2, 2..4]);
        assert_eq!(targets(4, 2), [0..1, 0..1, 1..2, 1..2]);
        assert_eq!(targets(3, 3), [0..1, 1..2, 2..3]);
        assert_eq!(targets(3, 2), [0..1, 1..2, 1..2]);
        assert_eq!(targets(2, 3), [0..2, 2..3]);
    }

    #[test]
    fn both_ends_see_the_same_edges() {
        for partitioner in [Partitioner::Rescale, Partitioner::Rebalance, Partitioner::Global] {
            for (p, q) in (1..9).flat_map(|p| (1..9).map(move |q| (p, q))) {
                for (source, target) in (0..p).flat_map(|i| (0..q).map(move |j| (i, j))) {
                    assert_eq!(
                        partitioner.targets(source, p, q).contains(&target),
                        partitioner.sources(target, p, q).contains(&source),
                        "{partitioner:?} {source}/{p} to {target}/{q}"
                    );
                }
                assert!((0..p).all(|i| !partitioner.targets(i, p, q).is_empty()));
                assert!((0..q).all(|j| !partitioner.sources(j, p, q).is_empty()));
            }
        }
        assert_eq!(Partitioner::Forward.targets(2, 3, 3), 2..3);
        assert_eq!(Partitioner::Forward.sources(2, 3, 3), 2..3);
    }
}
