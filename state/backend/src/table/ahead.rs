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
//! Where writes leave marks (a walk runs, or increments follow), a row that is marked already is written as one without
//! marks would be; another one is marked before that, once for each walk and increment, without another probe. Which it is
//! says the row's word, if it has a hint (`hint.rs`), or else its mark, which the look-up reads as well.
//!
//! `unsafe`: see `table.rs`. **Until a block is over, what was found is a live row at its area, and what is ready is marked
//! besides: whatever moves or removes a row ends it, and so do a flip, a step of a walk and the end of tracking, which change
//! what marks mean.**

use std::ptr;

use super::*;

/// Keys of a block: more than a core has line-fill buffers (10 to 16), less than what the lines of a frame's records push
/// out of L1.
pub const AHEAD_MAX: usize = 32;

/// The rows of a block: a bit for each key says what is known of it.
pub(super) struct Ahead {
    /// The row may be written where it lies. One question, since it is asked for each record.
    ready: u32,
    /// The row was found, and may have to be marked first. Only where writes leave marks.
    unmarked: u32,
    /// Of what is ready or unmarked.
    areas: [*mut u8; AHEAD_MAX],
    /// Of what is unmarked: the group in its segment.
    groups: [u32; AHEAD_MAX],
    /// And the row in the group.
    rows: [u8; AHEAD_MAX],
}

const _: () = assert!(AHEAD_MAX as u32 == u32::BITS);

impl Ahead {
    pub(super) const NONE: Self = Self {
        ready: 0,
        unmarked: 0,
        areas: [ptr::null_mut(); AHEAD_MAX],
        groups: [0; AHEAD_MAX],
        rows: [0; AHEAD_MAX],
    };

    /// Nothing that was looked up holds any more.
    #[inline]
    pub(super) fn end(&mut self) {
        (self.ready, self.unmarked) = (0, 0);
    }

    #[cfg(test)]
    pub(super) fn has_found(&self, index: usize) -> bool {
        (self.ready | self.unmarked) >> index & 1 != 0
    }

    #[inline(always)]
    fn note_unmarked(&mut self, index: usize, at: u32, row: u32) {
        (self.groups[index], self.rows[index]) = (at, row as u8);
        self.unmarked |= 1 << index;
    }
}

impl Table {
    /// Begins a block of look-ups; the block before is forgotten. Says whether marks have to be asked for: each look-up of
    /// the block is told so, who looks up many asks once.
    #[inline]
    pub fn begin_ahead(&mut self) -> bool {
        self.ahead.end();
        self.hints.marks_asked
    }

    /// Looks up the `index`-th key of a block, for a word layout.
    ///
    /// # Panics
    ///
    /// If `index` is not below [`AHEAD_MAX`], or as [`Table::find`].
    #[inline(always)]
    pub fn find_word_ahead(&mut self, index: usize, spot: Spot, key: u64, marks: bool) {
        debug_assert!(marks == self.hints.marks_asked, "a block is one or the other");
        if key >= self.hints.apart_from {
            return self.find_apart(index, spot, key);
        }
        let segment = self.segment_at(spot.0);
        // SAFETY: in the directory, so live; the word is not empty.
        let place = unsafe { segment.find(self.shape, spot.0, self.hints.sought(key), |_| true) };
        if !place.found {
            if self.hints.any {
                self.find_apart(index, spot, key);
            }
            return;
        }
        self.ahead.areas[index] = self.area_ahead(place);
        if marks {
            // SAFETY: the mark of a group of a live segment. It is only read.
            let mark = unsafe { *segment.mark(self.shape, place.at) };
            let wanted = if spot.0 < self.cursor { DIRTY } else { TOUCHED } << place.row;
            if mark & wanted == 0 {
                return self.ahead.note_unmarked(index, place.at, place.row);
            }
        }
        self.ahead.ready |= 1 << index;
    }

    /// The area of a row that is about to be written, on its way.
    #[inline(always)]
    fn area_ahead(&self, place: Place) -> *mut u8 {
        let area = place.area(self.shape);
        if self.shape.group_bytes > 2 * LINE {
            // `prefetch` has asked for the first two lines of the group.
            segment::prefetch(area);
            segment::prefetch(area.wrapping_add(self.shape.stride.min(LINE) - 1));
        }
        area
    }

    /// As [`Table::find_word_ahead`], for a row whose word says nothing of its mark, and for keys that are looked up apart.
    #[inline(always)]
    fn find_apart(&mut self, index: usize, spot: Spot, key: u64) {
        let (area, at, row) = self.place_apart(spot, key);
        if area.is_null() {
            return;
        }
        self.ahead.areas[index] = area;
        if self.hints.words_asked {
            self.ahead.note_unmarked(index, at, row);
        } else {
            self.ahead.ready |= 1 << index;
        }
    }

    /// The area of such a row, or null; its group and its row in the group. What it needs next is on its way.
    // Never: once for each row and snapshot. It borrows the table to read, so that what loops over a block still has the
    // table's fields in registers.
    #[inline(never)]
    fn place_apart(&self, spot: Spot, key: u64) -> (*mut u8, u32, u32) {
        match self.locate_apart(spot.0, key) {
            Some((_, segment, place)) if place.found => {
                if self.marking {
                    self.prefetch_mark(segment, place.at);
                }
                (self.area_ahead(place), place.at, place.row)
            }
            _ => (ptr::null_mut(), 0, 0),
        }
    }

    /// As [`Table::upsert_word`], for the key that was the `index`-th of the block; of one that was not, it looks.
    #[inline(always)]
    pub fn upsert_word_ahead(&mut self, index: usize, spot: Spot, key: u64) -> RowMut<'_> {
        let area = self.ahead.areas[index];
        if self.ahead.ready >> index & 1 == 0 {
            if self.ahead.unmarked >> index & 1 == 0 {
                return self.upsert_word_late(spot, key);
            }
            self.mark_ahead(index, spot, key);
        }
        // SAFETY: the module's invariant: the area of a live row, which is marked if it has to be.
        unsafe { RowMut::new(self, word_from(key), area, false) }
    }

    /// As [`Table::upsert_word`], for a key that was not found: mostly a new one.
    #[inline(always)]
    fn upsert_word_late(&mut self, spot: Spot, key: u64) -> RowMut<'_> {
        let (area, inserted) = self.upsert_word_parts(spot, key);
        // SAFETY: the area is a live row's, touched or just inserted.
        unsafe { RowMut::new(self, word_from(key), area, inserted) }
    }

    // Never: what comes back is in registers, and loops over blocks do not have the room for another look-up.
    #[inline(never)]
    fn upsert_word_parts(&mut self, spot: Spot, key: u64) -> (*mut u8, bool) {
        self.upsert_word(spot, key).into_parts()
    }

    /// Marks the row of the `index`-th key, which was found.
    // Never: it is rare, and calls.
    #[inline(never)]
    fn mark_ahead(&mut self, index: usize, spot: Spot, key: u64) {
        let (at, row) = (self.ahead.groups[index], self.ahead.rows[index]);
        let (spot, segment) = match self.odd {
            Some(odd) if key == u64::MAX => odd,
            _ => (spot.0, self.segment_at(spot.0)),
        };
        let group = segment.group(self.shape, at);
        self.touch(spot, segment, Place { group, at, row: row.into(), found: true });
    }

    /// Half of what an update takes with ten million keys, if nobody asks for them in time.
    // Never: tables that leave no marks, and keys in blocks, have no registers for it.
    #[inline(never)]
    pub(super) fn prefetch_mark(&self, segment: Segment, at: u32) {
        segment::prefetch(segment.mark(self.shape, at));
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
        let marks = table.begin_ahead();
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
        let marks = table.begin_ahead();
        table.find_word_ahead(5, spot, 7, marks);
        for key in 100..5_000_u64 {
            table.upsert(hash(key), &key.to_le_bytes()); // The row moves, and its old place is freed.
        }
        table.begin_ahead();
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
