//! Timers: what is to be done at a time, by key and namespace.
//!
//! ```text
//!   register ─▶ ┌ time, hash, key, namespace ┐ in this order ──pop(watermark)──▶ the first, if its time has come
//!   delete   ─▶ └────────────────────────────┘ ──export──▶ by key group
//! ```
//!
//! # What is always true
//!
//! 1. A timer is its time, key and namespace: registered twice it is one, and deleting a missing one does
//!    nothing.
//! 2. Timers come out by time, and within a time in an order that is the same after a restore, at any
//!    parallelism.
//! 3. Registering one that is there, and deleting one, allocates nothing.
//! 4. One that is registered while others fire, and whose time has come, comes out in the same pass; so a pass
//!    may be broken off after any timer and go on later.
//!
//! The rules are Flink's (`InternalTimerServiceImpl`). The queue knows no clock:
//! event timers are popped by the watermark, processing timers by the clock, from a queue each. Window timers
//! are per slice and not here.

use std::{borrow::Borrow, cmp::Ordering, collections::BTreeSet};

use wiesel_core::{KeyGroup, KeyGroupRange, Timestamp, key_group_of};

use crate::{TableError, reader::Reader};

const MAGIC: &[u8; 4] = b"WSTQ";
const VERSION: u32 = 1;

/// A timer that was registered.
#[derive(Clone, PartialEq, Eq)]
pub struct Timer {
    time: Timestamp,
    hash: u64,
    key_len: u32,
    /// Key, and behind it the namespace.
    bytes: Bytes,
}

/// Bytes that a timer holds within itself: those of a window and of a key of 14 bytes.
const INLINE_BYTES: usize = 30;

/// Key and namespace. What is short needs no memory of its own.
#[derive(Clone, PartialEq, Eq)]
enum Bytes {
    /// How many, and behind them zeros.
    Inline(u8, [u8; INLINE_BYTES]),
    Boxed(Box<[u8]>),
}

impl Bytes {
    fn new(key: &[u8], namespace: &[u8]) -> Self {
        let len = key.len() + namespace.len();
        if len > INLINE_BYTES {
            return Self::Boxed([key, namespace].concat().into_boxed_slice());
        }
        let mut bytes = [0; INLINE_BYTES];
        bytes[..key.len()].copy_from_slice(key);
        bytes[key.len()..len].copy_from_slice(namespace);
        Self::Inline(len as u8, bytes)
    }

    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Inline(len, bytes) => &bytes[..usize::from(*len)],
            Self::Boxed(bytes) => bytes,
        }
    }
}

/// What a timer is: time, hash, key, namespace. They are in this order.
type Parts<'t> = (Timestamp, u64, &'t [u8], &'t [u8]);

/// A timer that is kept, or one that is asked for.
trait HasParts {
    fn parts(&self) -> Parts<'_>;
}

impl HasParts for Timer {
    fn parts(&self) -> Parts<'_> {
        (self.time, self.hash, self.key(), self.namespace())
    }
}

impl HasParts for Parts<'_> {
    fn parts(&self) -> Parts<'_> {
        *self
    }
}

/// A timer is found without being made.
impl<'t> Borrow<dyn HasParts + 't> for Timer {
    fn borrow(&self) -> &(dyn HasParts + 't) {
        self
    }
}

impl Ord for dyn HasParts + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl PartialOrd for dyn HasParts + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn HasParts + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for dyn HasParts + '_ {}

impl Timer {
    fn new((time, hash, key, namespace): Parts<'_>) -> Self {
        Self { time, hash, key_len: key.len() as u32, bytes: Bytes::new(key, namespace) }
    }

    /// When it is due.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// The hash of its key.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The canonical bytes of its key.
    pub fn key(&self) -> &[u8] {
        &self.bytes.as_slice()[..self.key_len as usize]
    }

    /// What it is for, beside its key: a window, or nothing.
    pub fn namespace(&self) -> &[u8] {
        &self.bytes.as_slice()[self.key_len as usize..]
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl std::fmt::Debug for Timer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Timer({:?} {:?} {:?})", self.time, self.key(), self.namespace())
    }
}

/// The timers of one operator on one subtask, of one kind (event or processing time).
///
/// ```
/// use wiesel_core::{KeyGroupRange, Timestamp};
/// use wiesel_state::TimerQueue;
///
/// let at = Timestamp::from_millis;
/// let mut timers = TimerQueue::new(KeyGroupRange::all(128), 128);
/// assert!(timers.register(at(20), 7, b"user", b""));
/// assert!(timers.register(at(10), 7, b"user", b""));
/// assert!(!timers.register(at(10), 7, b"user", b"")); // one timer
/// assert_eq!(timers.pop(at(15)).map(|timer| timer.time()), Some(at(10)));
/// assert_eq!(timers.pop(at(15)), None);
/// assert!(timers.delete(at(20), 7, b"user", b"") && timers.is_empty());
/// ```
#[derive(Debug)]
pub struct TimerQueue {
    range: KeyGroupRange,
    max_parallelism: u32,
    timers: BTreeSet<Timer>,
}

impl TimerQueue {
    /// No timers, for the key groups of one subtask.
    pub fn new(range: KeyGroupRange, max_parallelism: u32) -> Self {
        Self { range, max_parallelism, timers: BTreeSet::new() }
    }

    /// Adds a timer. Says whether it is new.
    ///
    /// # Panics
    ///
    /// If the key's group is not of this subtask.
    pub fn register(&mut self, time: Timestamp, hash: u64, key: &[u8], namespace: &[u8]) -> bool {
        let group = key_group_of(hash, self.max_parallelism);
        assert!(
            self.range.contains(group),
            "a timer of group {group}: routed to the wrong subtask"
        );
        let timer: Parts<'_> = (time, hash, key, namespace);
        // Most are there already: a window registers its own with every record.
        !self.timers.contains(&timer as &dyn HasParts) && self.timers.insert(Timer::new(timer))
    }

    /// Takes a timer away. Says whether it was there.
    pub fn delete(&mut self, time: Timestamp, hash: u64, key: &[u8], namespace: &[u8]) -> bool {
        let timer: Parts<'_> = (time, hash, key, namespace);
        self.timers.remove(&timer as &dyn HasParts)
    }

    /// Takes all timers away.
    pub fn clear(&mut self) {
        self.timers.clear();
    }

    /// Takes out the first timer, if its time is not after `now`.
    pub fn pop(&mut self, now: Timestamp) -> Option<Timer> {
        if self.timers.first()?.time > now {
            return None;
        }
        self.timers.pop_first()
    }

    /// The first timer that [`TimerQueue::pop`] would give; for fetching its row before it fires.
    pub fn first(&self) -> Option<&Timer> {
        self.timers.first()
    }

    /// All timers whose time is not after `now`, in order: to ask for their rows in one batch.
    pub fn due(&self, now: Timestamp) -> impl Iterator<Item = &Timer> {
        self.timers.iter().take_while(move |timer| timer.time <= now)
    }

    /// How many timers.
    pub fn len(&self) -> usize {
        self.timers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }

    /// Writes the timers of each key group that has some, in order of the groups.
    ///
    /// A group: `"WSTQ"`, version u32, max parallelism u32, group u32, number u32, then per timer: time i64,
    /// hash u64, lengths of key and namespace u32 each, and their bytes. Little-endian.
    pub fn export(&self, out: &mut dyn FnMut(KeyGroup, &[u8])) {
        let mut by_group: Vec<(KeyGroup, &Timer)> = self
            .timers
            .iter()
            .map(|timer| (key_group_of(timer.hash, self.max_parallelism), timer))
            .collect();
        by_group.sort_by_key(|(group, _)| *group);
        let mut bytes = Vec::new();
        for timers in by_group.chunk_by(|a, b| a.0 == b.0) {
            let group = timers[0].0;
            bytes.clear();
            bytes.extend_from_slice(MAGIC);
            for word in [VERSION, self.max_parallelism, group.0.into(), timers.len() as u32] {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
            for (_, timer) in timers {
                bytes.extend_from_slice(&timer.time.as_millis().to_le_bytes());
                bytes.extend_from_slice(&timer.hash.to_le_bytes());
                bytes.extend_from_slice(&timer.key_len.to_le_bytes());
                bytes.extend_from_slice(&(timer.namespace().len() as u32).to_le_bytes());
                bytes.extend_from_slice(timer.bytes.as_slice());
            }
            out(group, &bytes);
        }
    }

    /// Adds exported timers, of any number of groups one after the other.
    ///
    /// # Errors
    ///
    /// If the bytes are not an export, or of another max parallelism or subtask; nothing is added then.
    pub fn import(&mut self, bytes: &[u8]) -> Result<(), TableError> {
        let mut reader = Reader { bytes, at: 0 };
        let mut timers = Vec::new();
        while reader.at < bytes.len() {
            self.import_group(&mut reader, &mut timers)?;
        }
        self.timers.extend(timers);
        Ok(())
    }

    fn import_group(
        &self,
        reader: &mut Reader<'_>,
        timers: &mut Vec<Timer>,
    ) -> Result<(), TableError> {
        if reader.take(4)? != MAGIC {
            return Err(reader.corrupt("no timers of a key group start here"));
        }
        let found = reader.u32()?;
        if found != VERSION {
            return Err(TableError::Version { found, known: VERSION });
        }
        let found = reader.u32()?;
        if found != self.max_parallelism {
            return Err(TableError::MaxParallelism { found, expected: self.max_parallelism });
        }
        let group = reader.u32()?;
        if group >= self.max_parallelism {
            return Err(reader.corrupt("a key group above max parallelism"));
        }
        let group = KeyGroup(group as u16);
        if !self.range.contains(group) {
            return Err(TableError::ForeignGroup { group, range: self.range });
        }
        for _ in 0..reader.u32()? {
            let time = Timestamp::from_millis(reader.u64()?.cast_signed());
            let hash = reader.u64()?;
            let (key_len, namespace_len) = (reader.u32()?, reader.u32()?);
            let (key, namespace) =
                (reader.take(key_len as usize)?, reader.take(namespace_len as usize)?);
            if key_group_of(hash, self.max_parallelism) != group {
                return Err(reader.corrupt("a timer of another group"));
            }
            timers.push(Timer::new((time, hash, key, namespace)));
        }
        Ok(())
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
                        let due = timers.due(now).count();
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
        assert_eq!(restored(&timers).timers, timers.timers);
    }

    #[test]
    fn long_keys_are_as_short_ones() {
        let mut timers = TimerQueue::new(KeyGroupRange::all(1), 1);
        let at = Timestamp::from_millis(1);
        for len in [INLINE_BYTES - 1, INLINE_BYTES, INLINE_BYTES + 1, 4 * INLINE_BYTES] {
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
                assert!(fired[from..].is_sorted());
            }
            fired.sort();
            assert!(fired.iter().eq(timers.timers.iter()), "parallelism {parallelism}");
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
            let whole = bytes[cut..].starts_with(MAGIC);
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
