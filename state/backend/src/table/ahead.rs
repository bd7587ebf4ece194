//! Rows found ahead of their use: a block of keys is looked up as a whole, then its rows are written.
//!
//! ```text
//!   begin_ahead ─▶ find_word_ahead 0, 1, 2 … 31 ─▶ upsert_word_ahead 0, 1, 2 … 31
//!                  reads only                       reads and writes, at addresses known by now
//! ```
//!
//! Looked up one by one, a processor that has seen two records of one key in a row lets each look-up wait for the
//! write before it, since it may be to the same row; a whole probe, with its three loads that need each other, then lies
//! between two records. A block of look-ups writes nothing, so they overlap.
//!
//! Where writes leave marks (a walk runs, or increments follow), the look-up reads the row's mark as well, and the write
//! only adds its bit. A row that has to be kept for the walk first is not found ahead: `upsert_word_ahead` looks again.
//!
//! `unsafe`: see `table.rs`. **Until a block is over, every area that is not null is that of a live row, and a mark beside it is its
//! own, with the bit that is still to be set there: whatever moves or removes a row ends it, and so do a flip, a
//! step of a walk and the end of tracking, which change what marks mean.**

use std::ptr;

use super::*;

/// Keys of a block: more than a core has line-fill buffers (10 to 16), less than what the lines of a frame's records push
/// out of L1.
pub const AHEAD_MAX: usize = 32;

/// The rows of a block.
pub(super) struct Ahead {
    block: Block,
    areas: [*mut u8; AHEAD_MAX],
    /// Set with an area if the table marks.
    marks: [Mark; AHEAD_MAX],
}

/// What a block of look-ups is good for. One question, since it is asked for each record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    /// Nothing any more.
    Over,
    /// Its rows are written where they lie.
    Live,
    /// So they are, and their marks with them.
    Marked,
}

/// Where a row's mark is, seen from its area, and in the lowest byte what a write of the row adds to it: small, since a
/// window has a table for each slice.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Mark(u32);

impl Mark {
    /// Nobody has looked: no mark is at its row's area.
    const NONE: Self = Self(0);

    /// `None` if the mark is too far away: 16 MiB, in a segment of colliding hashes.
    #[inline(always)]
    fn new(area: *mut u8, mark: *mut u8, missing: u8) -> Option<Self> {
        let away = mark.addr() - area.addr();
        (away < 1 << 24).then_some(Self((away as u32) << 8 | u32::from(missing)))
    }

    /// # Safety
    ///
    /// `area` is that of the row, whose mark and segment are as they were when this was made.
    #[inline(always)]
    unsafe fn set(self, area: *mut u8) {
        let missing = self.0 as u8;
        if missing != 0 {
            // SAFETY: the caller's promise: this is the row's mark again.
            unsafe { *area.add((self.0 >> 8) as usize) |= missing };
        }
    }
}

impl Ahead {
    pub(super) const NONE: Self = Self {
        block: Block::Over,
        areas: [ptr::null_mut(); AHEAD_MAX],
        marks: [Mark::NONE; AHEAD_MAX],
    };

    /// Nothing that was looked up holds any more.
    #[inline]
    pub(super) fn end(&mut self) {
        self.block = Block::Over;
    }
}

impl Table {
    /// Begins a block of look-ups; the block before is forgotten. `next` are the places of the block behind it. Says
    /// whether writes leave marks: each look-up of the block is told so, who looks up many asks once.
    #[inline]
    pub fn begin_ahead(&mut self, next: &[Spot]) -> bool {
        self.ahead.block = if self.marking { Block::Marked } else { Block::Live };
        self.ahead.areas = Ahead::NONE.areas;
        if self.marking {
            self.ahead.marks = Ahead::NONE.marks;
            self.prefetch_marks(next);
        }
        self.marking
    }

    /// Half of what an update takes with ten million keys, if nobody asks for them in time.
    #[inline(never)]
    fn prefetch_marks(&self, spots: &[Spot]) {
        for spot in spots {
            let segment = self.segment_at(spot.0);
            let at = spot.0 as u32 & (segment.groups() - 1);
            segment::prefetch(segment.mark(self.shape, at));
        }
    }

    /// Looks up the `index`-th key of a block, for a word layout.
    ///
    /// # Panics
    ///
    /// If `index` is not below [`AHEAD_MAX`], or as [`Table::find`].
    #[inline(always)]
    pub fn find_word_ahead(&mut self, index: usize, spot: Spot, key: u64, marks: bool) {
        debug_assert!(marks == (self.ahead.block == Block::Marked), "a block is one or the other");
        let area = match self.locate_word(spot.0, key) {
            Some((spot, segment, place)) if place.found => {
                if marks {
                    match self.mark_of(spot, segment, place) {
                        Some(mark) => self.ahead.marks[index] = mark,
                        None => return,
                    }
                }
                place.area(self.shape)
            }
            _ => return,
        };
        self.ahead.areas[index] = area;
    }

    /// What a write adds to the row's mark; `None` if the row has to be kept first.
    #[inline(always)]
    fn mark_of(&self, spot: u64, segment: Segment, place: Place) -> Option<Mark> {
        let at = segment.mark(self.shape, place.at);
        // SAFETY: the mark of a group of a live segment. It is only read.
        let mark = unsafe { *at };
        let missing = if spot < self.cursor {
            DIRTY << place.row & !mark
        } else if mark & TOUCHED << place.row != 0 {
            0
        } else {
            return None;
        };
        Mark::new(place.area(self.shape), at, missing)
    }

    /// As [`Table::upsert_word`], for the key that was the `index`-th of the block; of one that was not, it looks.
    #[inline(always)]
    pub fn upsert_word_ahead(&mut self, index: usize, spot: Spot, key: u64) -> RowMut<'_> {
        let area = self.ahead.areas[index];
        match self.ahead.block {
            Block::Live if !area.is_null() => {}
            Block::Marked if !area.is_null() && self.ahead.marks[index] != Mark::NONE => {
                // SAFETY: the module's invariant: it is the mark of the row at this area.
                unsafe { self.ahead.marks[index].set(area) };
            }
            _ => return self.upsert_word(spot, key),
        }
        // SAFETY: the module's invariant: the area of a live row, which is marked if it has to be.
        unsafe { RowMut::new(self, word_from(key), area, false) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn hash(key: u64) -> u64 {
        key.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    fn hash_of(key: &[u8]) -> u64 {
        hash(u64::from_le_bytes(key.try_into().unwrap()))
    }

    fn table() -> Table {
        let layout = RowLayout::of_value(KeyLayout::Word { bytes: 8 }, hash_of, 8).unwrap();
        Table::new(layout, KeyGroupRange::all(4), 4)
    }

    /// Counts the keys of a block, calling `between` before the second half is written.
    fn count(table: &mut Table, keys: &[u64], mut between: impl FnMut(&mut Table)) {
        let spots: Vec<_> = keys.iter().map(|key| table.spot(hash(*key))).collect();
        let marks = table.begin_ahead(&spots);
        for (index, (key, spot)) in keys.iter().zip(spots).enumerate() {
            table.find_word_ahead(index, spot, *key, marks);
        }
        for (index, key) in keys.iter().enumerate() {
            if index == keys.len() / 2 {
                between(table);
            }
            let spot = table.spot(hash(*key));
            let mut row = table.upsert_word_ahead(index, spot, *key);
            let count = u64::from_le_bytes(row.value_mut().try_into().unwrap()) + 1;
            row.value_mut().copy_from_slice(&count.to_le_bytes());
        }
    }

    fn value(table: &Table, key: u64) -> Option<u64> {
        let row = table.find(hash(key), &key.to_le_bytes())?;
        Some(u64::from_le_bytes(row.value().try_into().unwrap()))
    }

    #[test]
    fn counts_are_right_while_the_table_grows() {
        let mut table = table();
        for round in 0..2_000_u64 {
            // Half of them new; each block has some keys twice, and the odd one.
            let keys: Vec<u64> =
                (0..32).map(|at| if at == 7 { u64::MAX } else { round * 8 + at % 16 }).collect();
            count(&mut table, &keys, |_| {});
        }
        assert_eq!(value(&table, u64::MAX), Some(2_000));
        let total: u64 =
            table.iter().map(|(_, row)| u64::from_le_bytes(row.value().try_into().unwrap())).sum();
        assert_eq!(total, 64_000);
    }

    #[test]
    fn a_block_knows_nothing_of_the_one_before() {
        let mut table = table();
        let spot = table.spot(hash(7));
        table.upsert_word(spot, 7);
        let marks = table.begin_ahead(&[]);
        table.find_word_ahead(5, spot, 7, marks);
        for key in 100..5_000_u64 {
            table.upsert(hash(key), &key.to_le_bytes()); // The row moves, and its old place is freed.
        }
        table.begin_ahead(&[]);
        let spot = table.spot(hash(8));
        assert!(table.upsert_word_ahead(5, spot, 8).inserted(), "looked up, since nobody had");
        assert!(value(&table, 7).is_some() && value(&table, 8).is_some());
    }

    #[test]
    fn what_moves_or_keeps_rows_ends_the_block() {
        let keys: Vec<u64> = (0..32).collect();
        let mut table = table();
        count(&mut table, &keys, |_| {});
        count(&mut table, &keys, |table| {
            (0..32_u64).for_each(|key| assert!(table.remove(hash(key), &key.to_le_bytes())));
        });
        assert_eq!((value(&table, 0), value(&table, 31)), (None, Some(1)));
        count(&mut table, &keys, Table::clear);
        assert_eq!((value(&table, 15), value(&table, 16)), (None, Some(1)));
        count(&mut table, &keys, |table| {
            for key in 100..5_000_u64 {
                table.upsert(hash(key), &key.to_le_bytes());
            }
        });
        assert_eq!((value(&table, 15), value(&table, 16), table.len()), (Some(1), Some(2), 4_932));
        // A snapshot has the rows as they were at the flip.
        count(&mut table, &keys, |table| assert!(table.flip(Scope::Full).is_ok()));
        let mut kept = Vec::new();
        let mut keep = |_, event: RowEvent<'_>| {
            if let RowEvent::Row(row) = event
                && row.key() == 16_u64.to_le_bytes()
            {
                kept.extend_from_slice(row.value());
            }
        };
        while table.walk(usize::MAX, &mut keep) == Progress::More {}
        assert_eq!((&kept[..], value(&table, 16)), (&2_u64.to_le_bytes()[..], Some(3)));
    }

    /// What a walk gives, by key: the rows, and `None` for keys that were removed.
    fn walked(table: &mut Table, budget: usize) -> (BTreeMap<u64, Option<u64>>, Progress) {
        let mut given = BTreeMap::new();
        let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
        let progress = table.walk(budget, &mut |_, event| match event {
            RowEvent::Whole => {}
            RowEvent::Removed(key) => assert!(given.insert(word(key), None).is_none()),
            RowEvent::Row(row) => {
                let before = given.insert(word(row.key()), Some(word(row.value())));
                assert!(before.is_none_or(|before| before.is_none()), "a row comes once");
            }
        });
        (given, progress)
    }

    /// Blocks between the steps of a walk, and a step of a walk in the middle of a block: each snapshot has the rows of
    /// its flip, and each increment those that were written since the one before.
    #[test]
    fn increments_have_what_was_written_ahead() {
        let mut table = table();
        let mut counts = BTreeMap::<u64, u64>::new();
        let mut dirty = BTreeSet::new();
        let mut random = 1_u64;
        let mut next = move |below: u64| {
            random = random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            (random >> 33) % below
        };
        for round in 0..60 {
            let scope = if round == 0 { Scope::Base } else { Scope::Increment };
            assert!(table.flip(scope).is_ok());
            let expected: BTreeMap<u64, Option<u64>> = match scope {
                Scope::Increment => dirty.iter().map(|key| (*key, Some(counts[key]))).collect(),
                _ => counts.iter().map(|(key, count)| (*key, Some(*count))).collect(),
            };
            dirty.clear();
            let (mut given, mut progress) = (BTreeMap::new(), Progress::More);
            let mut blocks_left = 40;
            while progress == Progress::More || blocks_left > 0 {
                let keys: Vec<u64> = (0..32)
                    .map(|_| if next(50) == 0 { u64::MAX } else { next(200 + round * 80) })
                    .collect();
                let (within, budget) = (next(2) == 0, 64 + next(4_000) as usize);
                count(&mut table, &keys, |table| {
                    if within {
                        let (more, now) = walked(table, budget);
                        given.extend(more);
                        progress = now;
                    }
                });
                for key in keys {
                    *counts.entry(key).or_default() += 1;
                    dirty.insert(key);
                }
                let (more, now) = walked(&mut table, budget);
                given.extend(more);
                progress = now;
                blocks_left -= 1;
            }
            assert_eq!(given, expected, "snapshot {round}");
        }
        assert!(counts.iter().all(|(key, count)| value(&table, *key) == Some(*count)));
    }
}
