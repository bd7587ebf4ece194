//! Rows as they stood at the flip, when they are written before the walker has come by. `unsafe`: see
//! `table.rs`; **an entry of the log holds its row's blocks once, until it is released.**

use std::mem::MaybeUninit;

use wiesel_core::Mutant;

use super::*;

/// The old rows of one key group: entries of `[was dirty, word, area …]`, in words.
#[derive(Default)]
pub(super) struct Undo {
    words: Vec<MaybeUninit<u64>>,
}

impl Undo {
    pub(super) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    pub(super) fn bytes_used(&self) -> usize {
        size_of::<Self>() + self.words.capacity() * 8
    }
}

impl Table {
    /// Keeps a row that is about to be written, and shares its blocks.
    #[cold]
    #[inline(never)]
    pub(super) fn keep(&mut self, spot: u64, segment: Segment, was_dirty: bool, place: Place) {
        if Mutant::OldRowLost.is_chosen() {
            return;
        }
        let area = place.area(self.shape);
        let odd = self.odd.is_some_and(|(_, odd)| odd == segment);
        let stride = self.shape.stride / 8;
        let words = &mut self.undo[(spot >> 32) as usize].words;
        words.reserve(2 + stride);
        // SAFETY: the place is a live row, of `stride` bytes, and the log has room for them. Copied as
        // bytes that may be pointers.
        unsafe {
            words.push(MaybeUninit::new(was_dirty.into()));
            words.push(MaybeUninit::new(if odd { EMPTY } else { place.word() }));
            let end = words.as_mut_ptr().add(words.len());
            end.copy_from_nonoverlapping(area.cast(), stride);
            words.set_len(words.len() + stride);
            for at in 0..self.layout.pointers().1 {
                (*block_at(&self.layout, area, at)).share();
            }
        }
    }

    /// How many rows of a group are kept.
    pub(super) fn kept(&self, group: usize) -> usize {
        self.undo[group].words.len() / (2 + self.shape.stride / 8)
    }

    /// A kept row, and whether it was dirty.
    pub(super) fn kept_row(&self, group: usize, index: usize) -> (bool, Row<'_>) {
        let entry = 2 + self.shape.stride / 8;
        let words = &self.undo[group].words[index * entry..][..entry];
        // SAFETY: the first two words of an entry are set; the rest is a row that holds its blocks as long
        // as it is in the log, which is borrowed with the table.
        unsafe {
            let row = Row::new(&self.layout, words[1].assume_init(), words[2..].as_ptr().cast());
            (words[0].assume_init() != 0, row)
        }
    }

    /// Lets go of the kept rows of a group.
    pub(super) fn release_kept(&mut self, group: usize) {
        let mut words = std::mem::take(&mut self.undo[group].words);
        let entry = 2 + self.shape.stride / 8;
        if self.layout.pointers().1 > 0 {
            for row in words.chunks_exact_mut(entry) {
                // SAFETY: an entry holds its blocks once, and leaves the log here.
                unsafe { self.release_blocks(row[2..].as_mut_ptr().cast()) };
            }
        }
    }

    pub(super) fn drop_undo(&mut self) {
        for group in 0..self.undo.len() {
            self.release_kept(group);
        }
    }
}
