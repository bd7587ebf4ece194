//! Emptying and dropping a table. `unsafe`: see `table.rs`.

use super::*;
use crate::segment::ROWS;

impl Table {
    /// Removes all rows and gives back their memory, but for what a running walk or the next increment still
    /// needs: those keep the rows as if each had been removed.
    pub fn clear(&mut self) {
        if self.marking {
            self.touch_all();
        }
        self.free_all();
        // Of no segment now: the pool has it for others.
        self.arena = Arena::new(self.arena.span_bytes(), Pool::of_thread());
        self.directory.clear();
        self.directory.shrink_to(self.range.len());
        self.directory.resize(self.range.len(), Segment::none());
        self.shift = 32;
        self.len = 0;
        self.leave_split_group();
    }

    /// Removes the rows of one key group, and keeps their memory for rows that follow: a table that is filled again with
    /// about as many does not grow anew. Not while a walk runs or increments follow, since those need the rows. Says
    /// whether it did.
    pub fn empty_group(&mut self, group: KeyGroup) -> bool {
        if self.marking || !self.range.contains(group) {
            return false;
        }
        self.ahead.end();
        let mut spot = u64::from(group.0 - self.range.first) << 32;
        let visit = self.has_blocks() && !self.blocks.is_unused(); // Short ones lie in their rows.
        let end = spot + (1 << 32);
        while spot < end {
            let (segment, next) = self.segment_and_next(spot);
            if !segment.is_none() {
                if visit {
                    self.release_all_blocks(segment);
                }
                // SAFETY: in the directory, so live; its rows' blocks are let go of.
                unsafe {
                    self.len -= segment.len() as usize;
                    segment.wipe(self.shape);
                }
            }
            spot = next;
        }
        if let Some(odd) = self.odd_of(end) {
            self.odd = None;
            self.len -= 1;
            self.free_one(odd, visit);
        }
        true
    }

    /// Keeps all rows for the walk and their keys for the next increment.
    fn touch_all(&mut self) {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        for (_, row) in self.iter() {
            keys.push(row.key().to_vec());
        }
        for key in keys {
            let hash = self.layout.hash(&key);
            if let Some((spot, segment, place)) = self.locate(hash, &key)
                && place.found
            {
                self.touch(spot, segment, place);
            }
            if self.tracking {
                self.remember_removed(hash, &key);
            }
        }
    }

    /// Frees all segments. Afterwards nothing may look at the directory before it is made anew.
    fn free_all(&mut self) {
        // If nobody but the live rows holds blocks, they go as a whole.
        let visit = self.has_blocks() && !self.undo.is_empty();
        let (mut spot, end) = (0, (self.range.len() as u64) << 32);
        while spot < end {
            let (segment, next) = self.segment_and_next(spot);
            self.free_one(segment, visit);
            spot = next;
        }
        if let Some((_, segment)) = self.odd.take() {
            self.free_one(segment, visit);
        }
        if self.has_blocks() && !visit {
            // SAFETY: no row is left, live or undone.
            unsafe { self.blocks.reset() };
        }
    }

    /// Whether rows have blocks.
    pub(super) fn has_blocks(&self) -> bool {
        self.layout.pointers().1 > 0
    }

    fn free_one(&mut self, segment: Segment, visit: bool) {
        if segment.is_none() {
            return;
        }
        if visit {
            self.release_all_blocks(segment);
        }
        self.free_segment(segment);
    }

    /// Lets go of the blocks of all rows of a segment in the directory, or of the odd one, whose rows are then removed.
    fn release_all_blocks(&mut self, segment: Segment) {
        for at in 0..segment.groups() {
            for row in 0..ROWS as u32 {
                let group = segment.group(self.shape, at);
                let place = Place { group, at, row, found: true };
                // SAFETY: a row of a live segment, which nobody uses any more.
                unsafe {
                    if place.word() != EMPTY {
                        self.release_blocks(place.area(self.shape));
                    }
                }
            }
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.drop_undo();
        self.free_all();
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use wiesel_core::key_group_of;

    use super::*;

    fn hash(key: &[u8]) -> u64 {
        key.iter().fold(7, |h, byte| (h ^ u64::from(*byte)).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// The keys of a group, visited in parts of so many.
    fn visited(table: &Table, group: KeyGroup, part: usize) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        loop {
            let (from, mut left) = (keys.len(), part);
            let done = table.visit_group(group, from, |row| {
                keys.push(row.key().to_vec());
                left -= 1;
                if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            match done {
                Err(seen) => assert_eq!(seen, keys.len()),
                Ok(()) => return keys,
            }
        }
    }

    /// The same, in blocks; a visit ends behind every third of them, and at times within one as rows are visited.
    fn visited_in_blocks(table: &Table, group: KeyGroup) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        loop {
            let (from, mut left) = (keys.len(), 3);
            let done = table.visit_blocks(group, from, |block| {
                assert!(!block.is_empty() && block.len() <= BLOCK_ROWS_MAX);
                keys.extend(block.iter().map(|row| row.key().to_vec()));
                left -= 1;
                if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            match done {
                Err(seen) => assert_eq!(seen, keys.len()),
                Ok(()) => return keys,
            }
            let one = table.visit_group(group, keys.len(), |row| {
                keys.push(row.key().to_vec());
                ControlFlow::Break(())
            });
            assert!(one.is_ok() || one == Err(keys.len()));
        }
    }

    fn check(layout: Arc<RowLayout>, keys: &[Vec<u8>]) {
        let mut table = Table::new(layout, KeyGroupRange { first: 2, end: 6 }, 8);
        let mut mine = Vec::new();
        for key in keys {
            if table.range().contains(key_group_of(hash(key), 8)) {
                table.upsert(hash(key), key);
                mine.push(key.clone());
            }
        }
        let (full, bytes) = (table.len(), table.bytes_used());
        assert!(full > 1_000 && full == mine.len());
        let mut seen = 0;
        for group in (2..6).map(KeyGroup) {
            let all: Vec<_> = table.group(group).map(|(_, row)| row.key().to_vec()).collect();
            assert_eq!(visited(&table, group, 7), all);
            assert_eq!(visited_in_blocks(&table, group), all);
            seen += all.len();
            assert!(table.empty_group(group));
            assert!(table.group(group).next().is_none());
            assert_eq!(table.len(), full - seen);
        }
        assert!(table.is_empty() && mine.iter().all(|key| table.find(hash(key), key).is_none()));
        mine.iter().for_each(|key| assert!(table.upsert(hash(key), key).inserted()));
        assert_eq!(table.len(), full);
        assert!(table.bytes_used() <= bytes, "{} > {bytes}: it has grown anew", table.bytes_used());
        // What a snapshot reads stays, and so does what is of others.
        assert!(!table.empty_group(KeyGroup(1)) && !table.empty_group(KeyGroup(6)));
        assert!(table.flip(Scope::Full).is_ok() && !table.empty_group(KeyGroup(2)));
        assert_eq!(table.len(), full);
    }

    #[test]
    fn groups_are_emptied_one_by_one_and_filled_again() {
        let word = RowLayout::of_value(KeyLayout::Word { bytes: 8 }, hash, 8).unwrap();
        let numbers = (0..20_000_u64).chain([u64::MAX]).map(|key| key.to_le_bytes().to_vec());
        check(word, &numbers.collect::<Vec<_>>());
        let bytes = RowLayout::of_value(KeyLayout::Bytes, hash, 8).unwrap();
        // Keys in their rows, in slabs, and one that is the allocator's.
        let texts = (0..6_000).map(|n| vec![b'a' + n as u8 % 20; n % 40].into_iter());
        let texts = texts.zip(0_u32..).map(|(text, n)| text.chain(n.to_le_bytes()).collect());
        let large = (0..8).map(|n| vec![n; 5_000]);
        check(bytes, &texts.chain(large).collect::<Vec<_>>());
    }
}
