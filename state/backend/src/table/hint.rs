//! Hints: what the word of a row says of its mark, so that a row that is written again and again is not asked for it.
//!
//! ```text
//!   word   │ hint │ key + 1 …            │      the hint of this flip: the row is marked, as it has to be until the next
//!            8 bits                             another, or none: its mark says so
//! ```
//!
//! A mark lies in another cache line than its row: with a hundred thousand of ten million rows written again and again, asking
//! for it was an eighth of what an update costs. With the hint the look-up compares for one word, the key's with the hint of
//! this flip; who is found needs no mark, and who is not is looked for again, whatever its hint, and marked.
//!
//! # What is always true
//!
//! 1. A row whose word has the hint of the last flip is marked as a write wants it ("touched", or where the walk has passed
//!    "dirty"), if writes leave marks at all; once they leave none, a flip comes before they do again. The walker turns the one mark into the other, and nothing else takes it away
//!    from a row that stays.
//! 2. A flip changes the hint, and each key group is swept of older ones once in [`SWEEP`] flips, before its number comes again.
//! 3. A key that needs all bits of its word makes its segment wide and ends the hints of the table: from then on marks are asked
//!    for. Rows of segments that are not wide may have old hints still, until all are swept: so long a row is looked for twice
//!    before it is not there, and such a key, which may look like another one with its hint, is never found by its word.
//!
//! `unsafe`: see `table.rs`.

use std::num::NonZeroU64;

use super::*;
use crate::segment::ROWS;

const SHIFT: u32 = NARROW.trailing_ones();
/// How many hints there are: none is not one.
const HINTS: u64 = (1 << (u64::BITS - SHIFT)) - 1;
/// A key group is swept once in so many flips.
const SWEEP: u64 = 128;

const _: () = assert!(SWEEP < HINTS);

/// What words of a table say of marks.
pub(super) struct Hints {
    /// What a key's word is more than the key: one, and the hint of the last flip.
    more: u64,
    /// Keys from here on are not found by their word: the one that says "empty", and those that would need a hint's bits. So
    /// they are the bits of a word that are its key's.
    pub(super) apart_from: u64,
    /// Whether a word may have a hint that is not that of the last flip, or none where there is one.
    pub(super) any: bool,
    /// Whether a word has one.
    is_given: bool,
    /// Whether a write has to ask for the row's mark: they leave marks, and words say nothing of them.
    pub(super) marks_asked: bool,
    /// Whether a write has to ask for the row's word: they leave marks, or words without the hint of the last flip are found
    /// late.
    pub(super) words_asked: bool,
    /// If a segment is wide, the flip behind which the first was.
    wide_since: Option<NonZeroU64>,
}

impl Hints {
    pub(super) const NONE: Self = Self {
        more: 1,
        apart_from: u64::MAX,
        any: false,
        is_given: false,
        marks_asked: false,
        words_asked: false,
        wide_since: None,
    };

    /// A row that is known to be marked; without hints any.
    #[inline(always)]
    pub(super) fn sought(&self, key: u64) -> Sought {
        Sought::hinted(key.wrapping_add(self.more), self.apart_from)
    }

    /// That of the last flip, where it lies in a word; zero if there is none.
    #[inline(always)]
    fn hint(&self) -> u64 {
        self.more & !NARROW
    }

    /// Whether a row with this word is known to be marked.
    #[inline(always)]
    pub(super) fn knows(&self, word: u64) -> bool {
        self.more > NARROW && word ^ self.more <= NARROW
    }
}

impl Table {
    /// After a flip: another hint, if increments follow. Where only whole snapshots are taken, few rows are written while
    /// one is, and then they would have to be looked for twice.
    pub(super) fn begin_hints(&mut self) {
        let hints = &mut self.hints;
        hints.more = 1;
        match hints.wide_since {
            None if self.tracking => {
                hints.more |= (self.epoch % HINTS + 1) << SHIFT;
                (hints.any, hints.apart_from) = (true, NARROW);
            }
            // Each key group has been swept since.
            Some(since) if self.epoch > since.get() + SWEEP => {
                (hints.any, hints.apart_from) = (false, u64::MAX);
            }
            _ => {}
        }
        self.judge_marks();
    }

    /// After anything that changes whether writes leave marks.
    pub(super) fn judge_marks(&mut self) {
        let has_hint = self.hints.hint() != 0;
        self.hints.marks_asked = self.marking && !has_hint;
        self.hints.words_asked = self.marking || has_hint;
    }

    /// A row is marked, as a write wants it: from now on its word says so.
    // Never: once for each row and snapshot.
    #[inline(never)]
    pub(super) fn give_hint(&mut self, segment: Segment, place: Place) {
        self.hints.is_given |= self.hints.hint() != 0;
        // SAFETY: a row of a live segment. If that is wide, there is no hint, and all of the word is the key.
        unsafe { place.set_word(place.word() & segment.key_bits() | self.hints.hint()) };
    }

    /// Where a word key is, or belongs, whatever its row's hint. `None` for the odd key if it is not there.
    #[inline(never)]
    pub(super) fn locate_apart(&self, spot: u64, key: u64) -> Option<(u64, Segment, Place)> {
        if key == u64::MAX {
            return self.locate_odd();
        }
        let segment = self.segment_at(spot);
        let sought = Sought::of_key(word_from(key), segment.key_bits());
        // SAFETY: in the directory, so live; the word is not empty.
        let place = unsafe { segment.find(self.shape, spot, sought, |_| true) };
        Some((spot, segment, place))
    }

    /// Takes the hints of a segment away, and all hints of the table from now on: a key needs their bits. Returns what the
    /// directory is to name instead.
    #[cold]
    pub(super) fn widen(&mut self, segment: Segment) -> Segment {
        let hints = &mut self.hints;
        hints.more = 1;
        if hints.wide_since.is_none() {
            hints.wide_since = NonZeroU64::new(self.epoch + 1);
            // A table of such keys meets them before it has given a hint.
            hints.any = hints.is_given;
            hints.apart_from = if hints.any { NARROW } else { u64::MAX };
        }
        self.judge_marks();
        self.ahead.end();
        if self.hints.any {
            self.sweep_hints(segment);
        }
        segment.widened()
    }

    /// Whether a walk takes old hints away from this group.
    pub(super) fn sweeps_hints(&self, group: usize) -> bool {
        self.hints.any && group as u64 % SWEEP == self.epoch % SWEEP
    }

    /// Takes hints away that are not of the last flip. Returns how many bytes were looked at.
    pub(super) fn sweep_hints(&mut self, segment: Segment) -> usize {
        if segment.is_none() || segment.is_wide() {
            return 0;
        }
        for at in 0..segment.groups() {
            // SAFETY: a group of a live segment of this table, which is borrowed for writing, starts with its words.
            let words = unsafe { &mut *segment.group(self.shape, at).cast::<[u64; ROWS]>() };
            let hints = &self.hints;
            let is_old = |word: &&mut u64| **word > NARROW && !hints.knows(**word);
            words.iter_mut().filter(is_old).for_each(|word| *word &= NARROW);
        }
        segment.groups() as usize * self.shape.group_bytes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn hash(key: &[u8]) -> u64 {
        key.iter().fold(7, |h, byte| (h ^ u64::from(*byte)).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// A table, and what is in it.
    struct Pair {
        table: Table,
        values: BTreeMap<Vec<u8>, u64>,
        /// Keys with a mark, or a tombstone, since the last base or increment.
        dirty: BTreeSet<Vec<u8>>,
        random: u64,
    }

    impl Pair {
        fn new(key: KeyLayout, random: u64) -> Self {
            let layout = RowLayout::of_value(key, hash, 8).unwrap();
            let table = Table::new(layout, KeyGroupRange::all(5), 5);
            Self { table, values: BTreeMap::new(), dirty: BTreeSet::new(), random }
        }

        fn next(&mut self, below: u64) -> u64 {
            self.random = self.random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            (self.random >> 33) % below
        }

        fn write(&mut self, keys: &[Vec<u8>], ahead: bool) {
            let spots: Vec<_> = keys.iter().map(|key| self.table.spot(hash(key))).collect();
            let word = |key: &[u8]| u64::from_le_bytes(key.try_into().unwrap());
            let marks = self.table.begin_ahead();
            for (at, key) in keys.iter().enumerate().filter(|_| ahead) {
                self.table.find_word_ahead(at, spots[at], word(key), marks);
            }
            for (at, key) in keys.iter().enumerate() {
                let value = self.values.entry(key.clone()).or_default();
                let mut row = match ahead {
                    true => self.table.upsert_word_ahead(at, spots[at], word(key)),
                    false => self.table.upsert_at(spots[at], hash(key), key),
                };
                assert_eq!(row.inserted(), *value == 0, "{key:?}");
                *value += 1;
                row.value_mut().copy_from_slice(&value.to_ne_bytes());
                self.dirty.insert(key.clone());
            }
        }

        fn remove(&mut self, key: &[u8]) {
            let was = self.values.remove(key).is_some();
            assert_eq!(self.table.remove(hash(key), key), was);
            if was {
                self.dirty.insert(key.to_vec());
            }
        }

        fn check_reads(&mut self, key: &[u8]) {
            let found = self.table.find(hash(key), key).map(|row| row.value().to_vec());
            assert_eq!(found, self.values.get(key).map(|value| value.to_ne_bytes().to_vec()));
        }

        fn check_all(&self) {
            let mut all = BTreeMap::new();
            for (group, row) in &self.table {
                assert_eq!(wiesel_core::key_group_of(hash(row.key()), 5), group);
                let value = u64::from_ne_bytes(row.value().try_into().unwrap());
                assert!(all.insert(row.key().to_vec(), value).is_none());
            }
            assert_eq!(all, self.values);
        }
    }

    /// Writes, removals and reads between the slices of more snapshots than there are hints: each snapshot has the rows of
    /// its flip, each increment those that were written since the one before, and rows that have not been written for long
    /// are not taken for marked. From snapshot `wide_from` on some keys need all bits of their words.
    fn snapshots_are_right(layout: KeyLayout, seed: u64, wide_from: u64) {
        let mut pair = Pair::new(layout, seed);
        let is_word = layout != KeyLayout::Bytes;
        let key_of = |pair: &mut Pair, snapshot: u64| -> Vec<u8> {
            let number = match (pair.next(40), pair.next(3)) {
                (0, _) => u64::MAX,
                (1, high) if snapshot >= wide_from => (high + 1) << 56 | pair.next(4),
                (2, low) if snapshot >= wide_from => u64::MAX << 56 | low,
                (3, low) => NARROW - 1 - low,
                (_, 0) => pair.next(2_000), // Seldom: some of them sleep for many flips.
                _ => 5_000 + pair.next(60),
            };
            number.to_le_bytes().to_vec()
        };
        for snapshot in 0..HINTS + 80 {
            let scope = match pair.next(12) {
                _ if !pair.table.is_tracking() => Scope::Base,
                0 => Scope::Full,
                _ => Scope::Increment,
            };
            let expected: BTreeMap<Vec<u8>, Option<u64>> = match scope {
                Scope::Increment => {
                    let value = |key: &Vec<u8>| (key.clone(), pair.values.get(key).copied());
                    pair.dirty.iter().map(value).collect()
                }
                _ => pair.values.iter().map(|(key, value)| (key.clone(), Some(*value))).collect(),
            };
            if scope != Scope::Full {
                pair.dirty.clear();
            }
            assert!(pair.table.flip(scope).is_ok());
            let is_discarded = pair.next(40) == 0;
            let mut given = BTreeMap::new();
            let (mut progress, mut blocks) = (Progress::More, 6 + pair.next(4));
            while progress == Progress::More || blocks > 0 {
                let count = 1 + pair.next(AHEAD_MAX as u64);
                let keys: Vec<_> = (0..count).map(|_| key_of(&mut pair, snapshot)).collect();
                let ahead = is_word && pair.next(2) == 0;
                if blocks > 0 {
                    pair.write(&keys, ahead);
                    for _ in 0..pair.next(4) {
                        let key = key_of(&mut pair, snapshot);
                        pair.remove(&key);
                        let key = key_of(&mut pair, snapshot);
                        pair.check_reads(&key);
                    }
                }
                if is_discarded && blocks == 3 {
                    pair.table.discard_walk();
                }
                let budget = 64 + pair.next(6_000) as usize;
                progress = pair.table.walk(budget, &mut |_, event| match event {
                    RowEvent::Whole => {}
                    RowEvent::Removed(key) => assert!(given.insert(key.to_vec(), None).is_none()),
                    RowEvent::Row(row) => {
                        let value = u64::from_ne_bytes(row.value().try_into().unwrap());
                        let before = given.insert(row.key().to_vec(), Some(value));
                        assert!(before.is_none_or(|before| before.is_none()), "a row comes once");
                    }
                });
                blocks = blocks.saturating_sub(1);
            }
            if !is_discarded {
                // A key that came and went between two snapshots may or may not be named as removed.
                assert_eq!(given, expected, "snapshot {snapshot}, {scope:?}, seed {seed}");
            }
        }
        pair.check_all();
        assert_eq!(pair.table.hints.wide_since.is_some(), is_word && wide_from < HINTS);
    }

    #[test]
    fn more_snapshots_than_hints() {
        for seed in 1..4 {
            snapshots_are_right(KeyLayout::Word { bytes: 8 }, seed, u64::MAX);
            snapshots_are_right(KeyLayout::Bytes, seed, u64::MAX);
        }
    }

    #[test]
    fn wide_keys_end_hints_at_any_time() {
        for (seed, wide_from) in [(5, 0), (6, 1), (7, 40), (8, 250)] {
            snapshots_are_right(KeyLayout::Word { bytes: 8 }, seed, wide_from);
        }
    }

    #[test]
    fn a_wide_key_is_not_another_one_with_its_hint() {
        const KEYS: u64 = 10_000;
        // Its highest byte makes no difference: such keys meet in a group.
        let hash_word = |key: u64| (key & NARROW).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
        let layout = RowLayout::of_value(
            KeyLayout::Word { bytes: 8 },
            |key| {
                let word = u64::from_le_bytes(key.try_into().unwrap());
                (word & NARROW).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20
            },
            8,
        );
        let mut table = Table::new(layout.unwrap(), KeyGroupRange::all(1), 1);
        let walk = |table: &mut Table, scope| {
            assert!(table.flip(scope).is_ok());
            while table.walk(usize::MAX, &mut |_, _| {}) == Progress::More {}
        };
        walk(&mut table, Scope::Base);
        for key in 0..KEYS {
            table.upsert_word(table.spot(hash_word(key)), key).value_mut().fill(1);
        }
        assert!(table.directory.len() > 1 && table.hints.is_given);
        let wide = |key: u64| key | 2 << 56; // The hint of the first flip.
        assert!(table.upsert_word(table.spot(hash_word(7)), wide(7)).inserted());
        for flips in 0..SWEEP + 3 {
            for key in (0..KEYS).filter(|key| *key != 7) {
                let spot = table.spot(hash_word(key));
                assert!(table.find_word(spot, wide(key)).is_none(), "{key}, {flips} flips");
                let marks = table.begin_ahead();
                table.find_word_ahead(0, spot, wide(key), marks);
                assert!(!table.ahead.has_found(0), "{key}, {flips} flips");
                assert_eq!(table.find_word(spot, key).map(|row| row.value()[0]), Some(1));
            }
            walk(&mut table, Scope::Increment);
        }
        assert!(!table.hints.any && table.hints.apart_from == u64::MAX, "all are swept");
        assert_eq!(table.len() as u64, KEYS + 1);
    }

    #[test]
    fn a_row_that_is_written_again_is_not_asked_for_its_mark() {
        let mut pair = Pair::new(KeyLayout::Word { bytes: 8 }, 9);
        let keys: Vec<_> = (0..AHEAD_MAX as u64).map(|key| key.to_le_bytes().to_vec()).collect();
        pair.write(&keys, false);
        assert!(pair.table.flip(Scope::Base).is_ok() && !pair.table.hints.marks_asked);
        while pair.table.walk(usize::MAX, &mut |_, _| {}) == Progress::More {}
        let is_known = |pair: &Pair, key: &[u8]| {
            let (_, _, place) = pair.table.locate(hash(key), key).unwrap();
            // SAFETY: a live row of the table, which is borrowed.
            pair.table.hints.knows(unsafe { place.word() })
        };
        assert!(keys.iter().all(|key| !is_known(&pair, key)));
        pair.write(&keys, true);
        assert!(keys.iter().all(|key| is_known(&pair, key)));
        assert!(pair.table.flip(Scope::Increment).is_ok());
        assert!(keys.iter().all(|key| !is_known(&pair, key)), "a flip ends what was known");
    }

    #[test]
    fn who_leaves_no_marks_any_more_still_gives_hints() {
        let mut pair = Pair::new(KeyLayout::Word { bytes: 8 }, 11);
        let key = |key: u64| vec![key.to_le_bytes().to_vec()];
        pair.write(&key(1), false);
        assert!(pair.table.flip(Scope::Base).is_ok());
        while pair.table.walk(usize::MAX, &mut |_, _| {}) == Progress::More {}
        pair.table.stop_tracking();
        // A row that was there, one that is new, and one that is found ahead: each is looked for twice at most once.
        pair.write(&key(2), false);
        for (number, ahead) in [(1, false), (2, false), (3, false), (3, true)] {
            pair.write(&key(number), ahead);
            let (_, _, place) = pair.table.locate(hash(&key(number)[0]), &key(number)[0]).unwrap();
            // SAFETY: a live row of the table, which is borrowed.
            assert!(pair.table.hints.knows(unsafe { place.word() }), "{number}");
        }
        pair.check_all();
        // The next base has all of them, and the increment behind it what was written since.
        for (scope, all) in [(Scope::Base, 3), (Scope::Increment, 1)] {
            assert!(pair.table.flip(scope).is_ok());
            let mut rows = 0;
            while pair.table.walk(usize::MAX, &mut |_, event| {
                rows += u64::from(matches!(event, RowEvent::Row(_)));
            }) == Progress::More
            {}
            assert_eq!(rows, all, "{scope:?}");
            pair.write(&key(2), true);
        }
    }
}
