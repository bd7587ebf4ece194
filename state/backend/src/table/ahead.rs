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
//! `unsafe`: see `table.rs`. **While `is_live`, every address that is not null is the area of a live row: whatever moves
//! or removes a row ends it, and so does what makes rows be touched before they are written.**

use std::ptr;

use super::*;

/// Keys of a block: more than a core has line-fill buffers (10 to 16), less than what the lines of a frame's records push
/// out of L1.
pub const AHEAD_MAX: usize = 32;

/// The rows of a block.
pub(super) struct Ahead {
    pub(super) is_live: bool,
    areas: [*mut u8; AHEAD_MAX],
}

impl Ahead {
    pub(super) const NONE: Self = Self { is_live: false, areas: [ptr::null_mut(); AHEAD_MAX] };
}

impl Table {
    /// Begins a block of look-ups; the block before is forgotten.
    #[inline]
    pub fn begin_ahead(&mut self) {
        self.ahead = Ahead { is_live: !self.marking, ..Ahead::NONE };
    }

    /// Looks up the `index`-th key of a block, for a word layout.
    ///
    /// # Panics
    ///
    /// If `index` is not below [`AHEAD_MAX`], or as [`Table::find`].
    #[inline(always)]
    pub fn find_word_ahead(&mut self, index: usize, spot: Spot, key: u64) {
        let area = match self.locate_word(spot.0, key) {
            Some((_, _, place)) if place.found => place.area(self.shape),
            _ => ptr::null_mut(),
        };
        self.ahead.areas[index] = area;
    }

    /// As [`Table::upsert_word`], for the key that was the `index`-th of the block; of one that was not, it looks.
    #[inline(always)]
    pub fn upsert_word_ahead(&mut self, index: usize, spot: Spot, key: u64) -> RowMut<'_> {
        match self.row_ahead(index) {
            // SAFETY: the module's invariant: the area of a live row, which needs no touch.
            Some(area) => unsafe { RowMut::new(self, word_from(key), area, false) },
            None => self.upsert_word(spot, key),
        }
    }

    #[inline(always)]
    fn row_ahead(&self, index: usize) -> Option<*mut u8> {
        let area = self.ahead.areas[index];
        (self.ahead.is_live && !area.is_null()).then_some(area)
    }
}

#[cfg(test)]
mod tests {
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
        table.begin_ahead();
        for (index, key) in keys.iter().enumerate() {
            table.find_word_ahead(index, table.spot(hash(*key)), *key);
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
        table.begin_ahead();
        table.find_word_ahead(5, spot, 7);
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
}
