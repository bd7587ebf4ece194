//! Timers: what is to be done at a time, by key and namespace.
//!
//! ```text
//!               key group 0  │ time, hash, key, namespace │ in this order ──▶ the first of each group, by time and group
//!   register ─▶ key group 1  │ …                          │                           │
//!   delete   ─▶ …                                                                     └─ pop(watermark) ─▶ the first of these,
//!                    └─ flip ─▶ walk: group after group, in slices                                         if its time has come
//! ```
//!
//! # What is always true
//!
//! 1. A timer is its time, key and namespace: registered twice it is one, and deleting a missing one does
//!    nothing.
//! 2. Timers come out by time, and within a time in an order that is the same after a restore, at any
//!    parallelism: by key group, hash of the key, key, namespace.
//! 3. Registering one that is there, and deleting one, allocates nothing, but while a snapshot is written.
//! 4. One that is registered while others fire, and whose time has come, comes out in the same pass; so a pass
//!    may be broken off after any timer and go on later.
//! 5. A snapshot is the timers of its flip, whatever happens until it is written. See `walk`.
//!
//! The rules are Flink's (`InternalTimerServiceImpl`), and so is the queue of a set for each key
//! group (`KeyGroupPartitionedPriorityQueue`): a snapshot is written by key group, in slices. The queue knows no clock:
//! event timers are popped by the watermark, processing timers by the clock, from a queue each. Window timers
//! are per slice and not here.

mod format;
mod timer;
mod walk;

use std::collections::BTreeSet;

use wiesel_core::{KeyGroup, KeyGroupRange, Timestamp, key_group_of};

use self::{
    timer::{HasParts, Parts},
    walk::Walk,
};

pub use timer::Timer;

/// The timers of one operator on one subtask, of one kind (event or processing time).
///
/// ```
/// use wiesel_core::{KeyGroupRange, Timestamp};
/// use wiesel_state::{Progress, TimerQueue};
///
/// let at = Timestamp::from_millis;
/// let all = KeyGroupRange::all(128);
/// let mut timers = TimerQueue::new(all, 128);
/// assert!(timers.register(at(20), 7, b"user", b""));
/// assert!(timers.register(at(10), 7, b"user", b""));
/// assert!(!timers.register(at(10), 7, b"user", b"")); // one timer
///
/// timers.flip()?; // the barrier
/// assert_eq!(timers.pop(at(15)).map(|timer| timer.time()), Some(at(10)));
/// assert_eq!(timers.pop(at(15)), None);
/// assert!(timers.delete(at(20), 7, b"user", b"") && timers.is_empty());
///
/// let (mut restored, mut buffer) = (TimerQueue::new(all, 128), Vec::new());
/// while timers.walk_pieces(1_000, &mut buffer, &mut |piece| {
///     restored.import(piece.bytes).expect("bytes that were written just now");
/// }) == Progress::More
/// {} // Between two slices other work is done.
/// assert_eq!(restored.len(), 2);
/// # Ok::<(), wiesel_state::TableError>(())
/// ```
#[derive(Debug)]
pub struct TimerQueue {
    range: KeyGroupRange,
    max_parallelism: u32,
    /// One for each key group of the range.
    groups: Box<[Group]>,
    /// The time of the first timer of each group that has one, and the group's index.
    heads: BTreeSet<(Timestamp, u16)>,
    len: usize,
    bytes_used: usize,
    flips: u64,
    walk: Option<Walk>,
}

/// The timers of a key group.
#[derive(Debug, Default)]
struct Group {
    set: BTreeSet<Timer>,
    /// Timers of the flip that have left the set before the walk came by. A set: it is filled and emptied one by one, and never
    /// moved to a larger place.
    undo: BTreeSet<Timer>,
}

impl Group {
    fn first_time(&self) -> Option<Timestamp> {
        self.set.first().map(Timer::time)
    }
}

impl TimerQueue {
    /// No timers, for the key groups of one subtask.
    pub fn new(range: KeyGroupRange, max_parallelism: u32) -> Self {
        Self {
            range,
            max_parallelism,
            groups: range.iter().map(|_| Group::default()).collect(),
            heads: BTreeSet::new(),
            len: 0,
            bytes_used: 0,
            flips: 0,
            walk: None,
        }
    }

    /// The key groups.
    pub fn range(&self) -> KeyGroupRange {
        self.range
    }

    /// The place of a group among those of the range.
    fn index_of(&self, group: KeyGroup) -> Option<usize> {
        self.range.contains(group).then(|| usize::from(group.0 - self.range.first))
    }

    /// Adds a timer. Says whether it is new.
    ///
    /// # Panics
    ///
    /// If the key's group is not of this subtask.
    pub fn register(&mut self, time: Timestamp, hash: u64, key: &[u8], namespace: &[u8]) -> bool {
        let group = key_group_of(hash, self.max_parallelism);
        let Some(index) = self.index_of(group) else {
            panic!("a timer of group {group}: routed to the wrong subtask");
        };
        let timer: Parts<'_> = (time, hash, key, namespace);
        // Most are there already: a window registers its own with every record.
        !self.groups[index].set.contains(&timer as &dyn HasParts)
            && self.insert(index, Timer::new(timer, self.flips))
    }

    fn insert(&mut self, group: usize, timer: Timer) -> bool {
        let first = self.groups[group].first_time();
        let bytes = timer.bytes_used();
        let is_new = self.groups[group].set.insert(timer);
        if is_new {
            self.len += 1;
            self.bytes_used += bytes;
            self.update_head(group, first);
        }
        is_new
    }

    /// The set of a group has changed; its first timer was at `before`.
    fn update_head(&mut self, group: usize, before: Option<Timestamp>) {
        let first = self.groups[group].first_time();
        if first != before {
            if let Some(before) = before {
                self.heads.remove(&(before, group as u16));
            }
            if let Some(first) = first {
                self.heads.insert((first, group as u16));
            }
        }
    }

    /// Takes a timer away. Says whether it was there.
    pub fn delete(&mut self, time: Timestamp, hash: u64, key: &[u8], namespace: &[u8]) -> bool {
        let Some(index) = self.index_of(key_group_of(hash, self.max_parallelism)) else {
            return false;
        };
        let timer: Parts<'_> = (time, hash, key, namespace);
        let first = self.groups[index].first_time();
        let Some(timer) = self.groups[index].set.take(&timer as &dyn HasParts) else {
            return false;
        };
        self.len -= 1;
        self.update_head(index, first);
        self.keep(index, timer);
        true
    }

    /// Takes all timers away.
    pub fn clear(&mut self) {
        self.heads.clear();
        self.len = 0;
        for index in 0..self.groups.len() {
            for timer in std::mem::take(&mut self.groups[index].set) {
                self.keep(index, timer);
            }
        }
    }

    /// Takes out the first timer, if its time is not after `now`.
    pub fn pop(&mut self, now: Timestamp) -> Option<Timer> {
        let (time, group) = self.heads.first().copied().filter(|(time, _)| *time <= now)?;
        let index = usize::from(group);
        let timer = self.groups[index].set.pop_first()?;
        self.len -= 1;
        self.update_head(index, Some(time));
        self.keep_copy(index, &timer);
        Some(timer)
    }

    /// The first timer that [`TimerQueue::pop`] would give; for fetching its row before it fires.
    pub fn first(&self) -> Option<&Timer> {
        let (_, group) = self.heads.first()?;
        self.groups[usize::from(*group)].set.first()
    }

    /// All timers, by key group, and those of a group in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Timer> {
        self.groups.iter().flat_map(|group| &group.set)
    }

    /// How many timers.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes held by timers, those that are kept for a walk too.
    pub fn bytes_used(&self) -> usize {
        self.bytes_used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+k5` registers key k at 5, `-k5` deletes it, `<7` pops all due at 7, `!` restores from a snapshot.
    /// A pop prints what comes out; an operation that changed nothing prints `=`.
    fn check(script: &str, expected: &str) {
        // Restored from its own snapshot before every step, and once never: the same.
        for restores in [false, true] {
            let mut timers = TimerQueue::new(KeyGroupRange::all(128), 128);
            let mut out = Vec::new();
            for step in script.split(' ') {
                if restores {
                    timers = restored(&timers);
                }
                let (what, rest) = step.split_at(1);
                let timer = |rest: &str| {
                    let (key, time) = rest.split_at(1);
                    let hash = u64::from(key.as_bytes()[0]) << 32;
                    (Timestamp::from_millis(time.parse().unwrap()), hash, key.to_owned())
                };
                match what {
                    "+" | "-" => {
                        let (time, hash, key) = timer(rest);
                        let change = match what {
                            "+" => timers.register(time, hash, key.as_bytes(), b"n"),
                            _ => timers.delete(time, hash, key.as_bytes(), b"n"),
                        };
                        if !change {
                            out.push("=".to_owned());
                        }
                    }
                    _ => {
                        let now = Timestamp::from_millis(rest.parse().unwrap());
                        let due = timers.iter().filter(|timer| timer.time() <= now).count();
                        let before = out.len();
                        while let Some(timer) = timers.pop(now) {
                            assert_eq!(timer.namespace(), b"n");
                            let key = String::from_utf8_lossy(timer.key()).into_owned();
                            out.push(format!("{key}{}", timer.time().as_millis()));
                        }
                        assert_eq!(out.len() - before, due);
                    }
                }
            }
            assert_eq!(out.join(" "), expected, "{script}, restores: {restores}");
        }
    }

    fn restored(timers: &TimerQueue) -> TimerQueue {
        let mut bytes = Vec::new();
        timers.export(&mut |_, group| bytes.extend_from_slice(group));
        let mut restored = TimerQueue::new(timers.range, timers.max_parallelism);
        restored.import(&bytes).unwrap();
        restored
    }

    #[test]
    fn timers_follow_the_rules() {
        check("+a5 <4 <5 <6", "a5");
        check("+a5 +a5 <5", "= a5");
        check("-a5", "=");
        check("+a5 -a5 -a5 <9", "=");
        check("+b7 +a5 +c6 <9", "a5 c6 b7");
        check("+b5 +a5 +c5 <5", "a5 b5 c5");
        check("+a5 +a6 +b5 <5 +b4 <5 <6", "a5 b5 b4 a6");
        check(
            "+a-5 +a0 +a9223372036854775807 <0 <9223372036854775807",
            "a-5 a0 a9223372036854775807",
        );
        check("+a-9223372036854775808 <-9223372036854775808", "a-9223372036854775808");
    }

    #[test]
    fn namespaces_and_keys_do_not_run_together() {
        let mut timers = TimerQueue::new(KeyGroupRange::all(1), 1);
        let at = Timestamp::from_millis(1);
        for (key, namespace) in [("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc")] {
            assert!(timers.register(at, 9, key.as_bytes(), namespace.as_bytes()));
        }
        assert_eq!(timers.len(), 4);
        assert!(timers.delete(at, 9, b"a", b"bc") && !timers.delete(at, 9, b"a", b"bc"));
        assert!(restored(&timers).iter().eq(timers.iter()));
    }

    #[test]
    fn long_keys_are_as_short_ones() {
        let mut timers = TimerQueue::new(KeyGroupRange::all(1), 1);
        let at = Timestamp::from_millis(1);
        for len in [0, 27, 28, 29, 30, 100] {
            let key = vec![7; len];
            assert!(timers.register(at, 9, &key, b"n") && !timers.register(at, 9, &key, b"n"));
            let mut restored = restored(&timers);
            let timer = restored.pop(at).expect("a timer");
            assert_eq!((timer.key(), timer.namespace()), (&key[..], &b"n"[..]));
            assert!(timers.delete(at, 9, &key, b"n") && timers.is_empty());
        }
    }

    #[test]
    fn groups_move_and_what_fires_is_the_same() {
        let mut timers = TimerQueue::new(KeyGroupRange::all(128), 128);
        for key in 0..2_000_u64 {
            let hash = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            timers.register(
                Timestamp::from_millis((key % 50) as i64),
                hash,
                &key.to_le_bytes(),
                b"",
            );
        }
        let in_order = |timer: &Timer| {
            (timer.time(), key_group_of(timer.hash(), 128), timer.hash(), timer.key().to_vec())
        };
        let mut all: Vec<Timer> = timers.iter().cloned().collect();
        all.sort_by_key(in_order);
        for parallelism in [1, 2, 3, 7] {
            let mut fired: Vec<Timer> = Vec::new();
            for subtask in 0..parallelism {
                let range = KeyGroupRange::of_subtask(subtask, parallelism, 128);
                let mut part = TimerQueue::new(range, 128);
                timers.export(&mut |group, bytes| {
                    assert_eq!(part.import(bytes).is_ok(), range.contains(group));
                });
                let from = fired.len();
                while let Some(timer) = part.pop(Timestamp::MAX) {
                    fired.push(timer);
                }
                assert!(fired[from..].is_sorted_by_key(in_order));
            }
            fired.sort_by_key(in_order);
            assert_eq!(fired, all, "parallelism {parallelism}");
        }
    }

    #[test]
    fn corrupt_bytes_are_errors() {
        let mut timers = TimerQueue::new(KeyGroupRange::all(4), 4);
        (0..9_u64).for_each(|key| {
            timers.register(Timestamp::MIN, key << 32, &key.to_le_bytes(), b"w");
        });
        let mut bytes = Vec::new();
        timers.export(&mut |_, group| bytes.extend_from_slice(group));
        for cut in 1..bytes.len() {
            let mut part = TimerQueue::new(KeyGroupRange::all(4), 4);
            // A cut between two groups is a shorter export, and whoever stores exports knows their lengths.
            let whole = bytes[cut..].starts_with(b"WSTQ");
            assert_eq!(part.import(&bytes[..cut]).is_ok(), whole, "cut at {cut}");
        }
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 0xff;
            let mut part = TimerQueue::new(KeyGroupRange::all(4), 4);
            if part.import(&other).is_err() {
                assert!(part.is_empty(), "byte {at}");
            }
        }
    }
}
