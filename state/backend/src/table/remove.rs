//! Removal: the row goes, and the rows behind it in the chain move up.
//!
//! ```text
//!   chain of home 3:   group 3 full │ a b c d │   group 4 │ e f . . │
//!   remove b:                       │ a e c d │           │ . f . . │   e had its home in 3 or before
//! ```
//!
//! No tombstone stays in the segment, so probes do not grow longer with time. `unsafe`: see `table.rs`.

use wiesel_core::Mutant;

use super::*;
use crate::segment::ROWS;

impl Table {
    /// Removes the row of a key. Says whether there was one.
    ///
    /// # Panics
    ///
    /// As [`Table::find`].
    pub fn remove(&mut self, hash: u64, key: &[u8]) -> bool {
        self.check_resident(hash, key);
        let Some((spot, segment, place)) = self.locate(hash, key).filter(|(.., place)| place.found)
        else {
            return false;
        };
        self.ahead.end();
        self.touch(spot, segment, place);
        if self.tracking {
            self.remember_removed(hash, key);
        }
        // SAFETY: the place is a live row; the blocks that it held are let go of once.
        unsafe {
            self.release_blocks(place.area(self.shape));
            if self.odd.is_some_and(|(_, odd)| odd == segment) {
                self.odd = None;
                self.free_segment(segment);
            } else {
                self.close_gap(segment, place);
                segment.set_len(segment.len() - 1);
            }
        }
        self.len -= 1;
        true
    }

    /// The next increment says that the key is gone.
    pub(super) fn remember_removed(&mut self, hash: u64, key: &[u8]) {
        if Mutant::TombstoneLost.is_chosen() {
            return;
        }
        if self.removed.is_none() {
            let layout = RowLayout::keys_of(&self.layout);
            self.removed = Some(Box::new(Table::new(layout, self.range, self.max_parallelism)));
        }
        if let Some(removed) = &mut self.removed {
            removed.upsert(hash, key);
        }
    }

    /// Lets go of all blocks of a row or an undone one.
    ///
    /// # Safety
    ///
    /// `area` is a row's of this table, which nobody uses any more.
    pub(super) unsafe fn release_blocks(&mut self, area: *mut u8) {
        for at in 0..self.layout.pointers().1 {
            // SAFETY: the row holds each of its blocks once.
            unsafe {
                let block = block_at(&self.layout, area, at);
                self.blocks.release(*block);
                *block = Block::NONE;
            }
        }
    }

    /// Empties a row and moves up what a probe could no longer reach.
    ///
    /// # Safety
    ///
    /// `hole` is a row of the segment, which is live; its blocks are let go of.
    unsafe fn close_gap(&mut self, segment: Segment, mut hole: Place) {
        let (shape, mask) = (self.shape, segment.groups() - 1);
        loop {
            // SAFETY: a row of the live segment, and the mark of its group.
            unsafe {
                let was_full = self.empty_rows(segment, hole.at) == 0;
                hole.set_word(EMPTY);
                hole.area(shape).write_bytes(0, shape.stride);
                *segment.mark(shape, hole.at) &= !((DIRTY | TOUCHED) << hole.row);
                if !was_full {
                    return; // No chain leads past a group with an empty row.
                }
                let Some(next) = self.find_stranded(segment, mask, hole.at) else { return };
                self.move_row(segment, next, segment, hole);
                hole = next;
            }
        }
    }

    /// The first row behind `gap` whose chain leads over `gap`.
    ///
    /// # Safety
    ///
    /// The segment is live.
    unsafe fn find_stranded(&self, segment: Segment, mask: u32, gap: u32) -> Option<Place> {
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let group = segment.group(self.shape, at);
            for row in 0..ROWS as u32 {
                let place = Place { group, at, row, found: true };
                // SAFETY: a row of the live segment.
                let word = unsafe { place.word() } & segment.key_bits();
                if word == EMPTY {
                    continue;
                }
                let home = self.low_of(word) as u32 & mask;
                if at.wrapping_sub(home) & mask >= at.wrapping_sub(gap) & mask {
                    return Some(place);
                }
            }
            // SAFETY: as above. The gap itself is empty, so the loop ends there at the latest.
            if unsafe { self.empty_rows(segment, at) } > 0 {
                return None;
            }
        }
    }

    /// # Safety
    ///
    /// The segment is live, and has a group `at`.
    unsafe fn empty_rows(&self, segment: Segment, at: u32) -> usize {
        // SAFETY: a group starts with its words.
        let words = unsafe { &*segment.group(self.shape, at).cast::<[u64; ROWS]>() };
        words.iter().filter(|word| **word == EMPTY).count()
    }
}
