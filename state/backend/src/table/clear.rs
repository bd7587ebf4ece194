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
        self.directory.clear();
        self.directory.shrink_to(self.range.len());
        self.directory.resize(self.range.len(), Segment::none());
        self.shift = 32;
        self.len = 0;
        self.leave_split_group();
    }

    /// Hands out all rows, in order of their key groups, then clears the table: what a window slice does
    /// when it fires.
    pub fn drain(&mut self, mut out: impl FnMut(KeyGroup, Row<'_>)) {
        for (group, row) in self.iter() {
            out(group, row);
        }
        self.clear();
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
        let visit = self.layout.pointers().1 > 0 && !self.drops_blocks_whole();
        let (mut spot, end) = (0, (self.range.len() as u64) << 32);
        while spot < end {
            let (segment, next) = self.segment_and_next(spot);
            self.free_one(segment, visit);
            spot = next;
        }
        if let Some((_, segment)) = self.odd.take() {
            self.free_one(segment, visit);
        }
        if self.layout.pointers().1 > 0 && !visit {
            // SAFETY: no row is left, live or undone.
            unsafe { self.blocks.reset() };
        }
    }

    /// Whether nobody but the live rows holds blocks, and no block is the allocator's.
    fn drops_blocks_whole(&self) -> bool {
        self.blocks.frees_itself() && self.undo.iter().all(undo::Undo::is_empty)
    }

    fn free_one(&mut self, segment: Segment, visit: bool) {
        if segment.is_none() {
            return;
        }
        if visit {
            for at in 0..segment.groups() {
                for row in 0..ROWS as u32 {
                    let group = segment.group(self.shape, at);
                    let place = Place { group, at, row, found: true };
                    // SAFETY: a row of a live segment that is about to be freed.
                    unsafe {
                        if place.word() != EMPTY {
                            self.release_blocks(place.area(self.shape));
                        }
                    }
                }
            }
        }
        self.free_segment(segment);
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.drop_undo();
        self.free_all();
    }
}
