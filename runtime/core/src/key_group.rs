//! Key groups: the unit in which keyed state moves between subtasks.
//!
//! ```text
//!   key ──key_hash──▶ u64 ──upper half, fmix32, modulo──▶ key group ──range──▶ subtask
//!                      └── lower half: the place in the state table
//! ```
//!
//! # What is always true
//!
//! 1. The mapping is fixed and seedless: it is part of the checkpoint format. Its test vectors are below.
//! 2. Routing reads the upper half of the hash and the table the lower half, so the keys of one group
//!    still spread over the whole table.
//! 3. The ranges of the subtasks partition `0..max_parallelism` without gap or overlap, in order.
//!
//! The range formulas are Flink's (`KeyGroupRangeAssignment`); the hash is ours.

use std::fmt;

/// Key groups when the job says nothing. As in Flink.
pub const MAX_PARALLELISM_DEFAULT: u32 = 128;

/// The most key groups a job may have: 2^15, as in Flink.
pub const MAX_PARALLELISM_LIMIT: u32 = 1 << 15;

/// A key group, below the job's max parallelism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyGroup(pub u16);

impl fmt::Display for KeyGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The group of a key, by its hash.
///
/// `max_parallelism` is in `1..=MAX_PARALLELISM_LIMIT`; the configuration has checked it.
#[inline]
pub fn key_group_of(hash: u64, max_parallelism: u32) -> KeyGroup {
    debug_assert!((1..=MAX_PARALLELISM_LIMIT).contains(&max_parallelism));
    KeyGroup((fmix32((hash >> 32) as u32) % max_parallelism) as u16)
}

/// Murmur3's 32-bit finaliser.
#[inline]
const fn fmix32(mut h: u32) -> u32 {
    h ^= h >> 16;
    h = h.wrapping_mul(0x85eb_ca6b);
    h ^= h >> 13;
    h = h.wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
}

/// Max parallelism for a job that sets only its parallelism: room for half as much again, at least 128.
pub fn default_max_parallelism(parallelism: u32) -> u32 {
    let room = u64::from(parallelism) + u64::from(parallelism) / 2;
    let rounded = room.next_power_of_two();
    rounded.clamp(u64::from(MAX_PARALLELISM_DEFAULT), u64::from(MAX_PARALLELISM_LIMIT)) as u32
}

impl KeyGroup {
    /// The subtask that owns this group.
    #[inline]
    pub fn owner(self, max_parallelism: u32, parallelism: u32) -> u32 {
        (u64::from(self.0) * u64::from(parallelism) / u64::from(max_parallelism)) as u32
    }
}

/// The groups of one subtask: `first..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyGroupRange {
    /// The first group.
    pub first: u16,
    /// One past the last group. At most 2^15, so it fits.
    pub end: u16,
}

impl KeyGroupRange {
    /// The groups of subtask `subtask` of `parallelism`.
    ///
    /// # Panics
    ///
    /// If `subtask` is not below `parallelism`, or `parallelism` is above `max_parallelism`.
    pub fn of_subtask(subtask: u32, parallelism: u32, max_parallelism: u32) -> Self {
        assert!(subtask < parallelism && parallelism <= max_parallelism);
        assert!(max_parallelism <= MAX_PARALLELISM_LIMIT);
        let (i, p, max) = (u64::from(subtask), u64::from(parallelism), u64::from(max_parallelism));
        Self { first: (i * max).div_ceil(p) as u16, end: ((i + 1) * max).div_ceil(p) as u16 }
    }

    /// All groups of the job.
    pub fn all(max_parallelism: u32) -> Self {
        Self::of_subtask(0, 1, max_parallelism)
    }

    /// How many groups.
    pub fn len(self) -> usize {
        usize::from(self.end - self.first)
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.first == self.end
    }

    /// Whether `group` is one of them.
    #[inline]
    pub fn contains(self, group: KeyGroup) -> bool {
        (self.first..self.end).contains(&group.0)
    }

    /// The groups, in order.
    pub fn iter(self) -> impl Iterator<Item = KeyGroup> {
        (self.first..self.end).map(KeyGroup)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mapping_is_pinned() {
        // Part of the checkpoint format: a change here loses every job's state.
        assert_eq!(
            [fmix32(0), fmix32(1), fmix32(42), fmix32(u32::MAX)],
            [0, 0x514e_28b7, 0x087f_cd5c, 0x81f1_6f39]
        );
        let group = |hash| key_group_of(hash, 128).0;
        assert_eq!(group(0), 0);
        assert_eq!(group(1 << 32), 0x37);
        assert_eq!(group((42 << 32) | 0xffff_ffff), 0x5c);
        assert_eq!(key_group_of(u64::MAX, 32_768).0, 0x6f39);
    }

    #[test]
    fn ranges_are_flinks() {
        let ranges = [0, 1, 2].map(|i| KeyGroupRange::of_subtask(i, 3, 128));
        assert_eq!(ranges.map(|range| (range.first, range.end)), [(0, 43), (43, 86), (86, 128)]);
    }

    #[test]
    fn ranges_partition_the_groups_and_agree_with_the_owner() {
        for max in [1, 2, 7, 128, 1_000, MAX_PARALLELISM_LIMIT] {
            for parallelism in [1, 2, 3, 5, 7, 64, 127, 128].into_iter().filter(|p| *p <= max) {
                let mut next = 0;
                for subtask in 0..parallelism {
                    let range = KeyGroupRange::of_subtask(subtask, parallelism, max);
                    assert_eq!(range.first, next);
                    assert!(range.iter().all(|group| group.owner(max, parallelism) == subtask));
                    next = range.end;
                }
                assert_eq!(u32::from(next), max);
            }
        }
    }

    #[test]
    fn the_default_leaves_room_to_grow() {
        assert_eq!(
            [1, 85, 86, 1_000, 32_768].map(default_max_parallelism),
            [128, 128, 256, 2_048, 32_768]
        );
    }
}
