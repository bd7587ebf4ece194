//! Rows that are not in memory: what a keyed head is told, and a test double that makes rows absent.
//!
//! ```text
//!   frame ─▶ hash, prefetch ─▶ list_missing ─▶ apply, but park records whose key is listed
//!                                  │                          ▲
//!                                  ▼ one batch                │ poll_arrivals: these keys came
//!                               RowSource ────────────────────┘
//! ```
//!
//! # What is always true
//!
//! 1. In memory mode there is no source, `may_miss` is false, and nothing of this costs anything.
//! 2. A key that was listed missing is named by `poll_arrivals` once, and then in memory until it is listed
//!    again: whoever waits for a row gets to use it.

use std::collections::{BTreeMap, BTreeSet};

use crate::Table;

/// Keys with their hashes, in one piece of memory that is used again for each frame.
#[derive(Clone, Debug, Default)]
pub struct KeyBatch {
    hashes: Vec<u64>,
    ends: Vec<usize>,
    bytes: Vec<u8>,
}

impl KeyBatch {
    /// No keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key.
    pub fn push(&mut self, hash: u64, key: &[u8]) {
        self.hashes.push(hash);
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }

    /// Forgets all keys and keeps the memory.
    pub fn clear(&mut self) {
        self.hashes.clear();
        self.ends.clear();
        self.bytes.clear();
    }

    /// How many keys.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Hash and bytes of the key at `index`.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    pub fn get(&self, index: usize) -> (u64, &[u8]) {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        (self.hashes[index], &self.bytes[start..self.ends[index]])
    }

    /// All keys, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &[u8])> {
        (0..self.len()).map(|index| self.get(index))
    }
}

/// What stands behind a table that may lack rows.
///
/// # Who wakes the task
///
/// A task polls its source in its own turns and sets no timer for it: with records parked and nothing else to do, its
/// next turn is when the shard looks around anyway (`PARK_MAX`), and rows that come in silence wait so long. A real source therefore wakes
/// the shard. Either it reads through the shard's own ring (`Shard::io`), whose completions give a turn; or whoever
/// brings rows from another thread first hands them over and then knocks on the shard's door (`Door::knock`), where a
/// knock too many does no harm.
pub trait RowSource {
    /// Appends the indices of the keys whose rows are not in memory to `missing`, and starts to bring them.
    fn request(&mut self, keys: &KeyBatch, missing: &mut Vec<usize>);

    /// Puts what has come into the table, and the keys into `arrived`; also those that have no row.
    fn poll(&mut self, table: &mut Table, arrived: &mut KeyBatch);

    /// Whether a row may be touched now. Asked in debug builds only.
    fn is_resident(&self, hash: u64, key: &[u8]) -> bool;
}

/// Makes rows absent at random and lets them arrive after some polls. For tests of whoever parks records:
/// the rows are in the table all the time, and a debug build panics if one is touched while it is absent.
///
/// ```
/// use wiesel_core::KeyGroupRange;
/// use wiesel_state::{AbsentRows, KeyBatch, KeyLayout, RowLayout, Table};
///
/// let layout = RowLayout::of_value(KeyLayout::Bytes, |_| 7, 8)?;
/// let mut table = Table::new(layout, KeyGroupRange::all(1), 1);
/// table.set_source(Box::new(AbsentRows::new(42, 1, 3))); // one in one key is absent
/// let (mut keys, mut missing, mut arrived) = (KeyBatch::new(), Vec::new(), KeyBatch::new());
/// keys.push(7, b"key");
/// table.list_missing(&keys, &mut missing);
/// assert_eq!(missing, [0]);
/// while arrived.is_empty() {
///     table.poll_arrivals(&mut arrived);
/// }
/// assert_eq!(arrived.get(0), (7, &b"key"[..]));
/// assert!(table.upsert(7, b"key").inserted());
/// # Ok::<(), wiesel_state::TableError>(())
/// ```
pub struct AbsentRows {
    random: u64,
    one_in: u64,
    polls_max: u64,
    /// Polls until it arrives.
    coming: BTreeMap<(u64, Vec<u8>), u64>,
    /// Arrived, and not listed since.
    here: BTreeSet<(u64, Vec<u8>)>,
}

impl AbsentRows {
    /// One key in `one_in` is absent when it is listed, and arrives with the first to `polls_max`-th poll.
    pub fn new(seed: u64, one_in: u64, polls_max: u64) -> Self {
        Self {
            random: seed,
            one_in: one_in.max(1),
            polls_max: polls_max.max(1),
            coming: BTreeMap::new(),
            here: BTreeSet::new(),
        }
    }

    /// splitmix64.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

impl RowSource for AbsentRows {
    fn request(&mut self, keys: &KeyBatch, missing: &mut Vec<usize>) {
        let mut judged: BTreeSet<(u64, Vec<u8>)> = BTreeSet::new();
        for (index, (hash, key)) in keys.iter().enumerate() {
            let key = (hash, key.to_vec());
            // A key that is twice in a batch is absent twice or not at all.
            if judged.insert(key.clone())
                && !self.coming.contains_key(&key)
                && !self.here.remove(&key)
                && self.next().is_multiple_of(self.one_in)
            {
                let polls = 1 + self.next() % self.polls_max;
                self.coming.insert(key.clone(), polls);
            }
            if self.coming.contains_key(&key) {
                missing.push(index);
            }
        }
    }

    fn poll(&mut self, _table: &mut Table, arrived: &mut KeyBatch) {
        self.coming.values_mut().for_each(|polls| *polls -= 1);
        let here = self.coming.extract_if(.., |_, polls| *polls == 0).map(|(key, _)| key);
        for (hash, key) in here {
            arrived.push(hash, &key);
            self.here.insert((hash, key));
        }
    }

    fn is_resident(&self, hash: u64, key: &[u8]) -> bool {
        self.coming.is_empty() || !self.coming.contains_key(&(hash, key.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_key_arrives_once_and_can_then_be_used() {
        for seed in 0..200 {
            let mut source = AbsentRows::new(seed, 3, 4);
            let layout = crate::RowLayout::of_value(crate::KeyLayout::Bytes, |_| 0, 8).unwrap();
            let mut table = Table::new(layout, wiesel_core::KeyGroupRange::all(1), 1);
            let mut wanted = KeyBatch::new();
            (0..20_u8).for_each(|key| wanted.push(key.into(), &[key, key % 3]));
            let (mut missing, mut arrived) = (Vec::new(), KeyBatch::new());
            source.request(&wanted, &mut missing);
            assert!(!missing.is_empty(), "seed {seed}");
            for _ in 0..4 {
                source.poll(&mut table, &mut arrived);
            }
            let mut found: Vec<u64> = arrived.iter().map(|(hash, _)| hash).collect();
            found.sort_unstable();
            assert_eq!(
                found,
                missing.iter().map(|at| *at as u64).collect::<Vec<_>>(),
                "seed {seed}"
            );
            let mut again = Vec::new();
            source.request(&arrived, &mut again);
            assert!(
                again.is_empty(),
                "seed {seed}: a row that arrived is there when it is looked up"
            );
        }
    }
}
