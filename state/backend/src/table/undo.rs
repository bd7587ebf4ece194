//! Rows as they stood at the flip, when they are written before the walker has come by. `unsafe`: see
//! `table.rs`; **an entry of the log holds its row's blocks once, until it is released.**
//!
//! ```text
//!   a group's log:  ┌ entry, entry … ┐ ┌ entry, entry … ┐ ┌ entry …      given, and then taken from the front
//!                   └──── piece ─────┘ └────────────────┘ └──────
//! ```
//!
//! Pieces of one size go from group to group: a log that grew by doubling, and was freed as a whole, held up records for
//! 100 us and more at the end of each group.

use std::{collections::VecDeque, mem::MaybeUninit};

use wiesel_core::Mutant;

use super::*;

/// Words of a piece of a log; of one entry if that is more.
const PIECE_WORDS: usize = 512;

/// A table keeps so many bytes of pieces without use: this, or a sixteenth of its segments.
const SPARE_BYTES: usize = 64 << 10;

/// Entries of `[word, area …]`, in words.
type Entries = Vec<MaybeUninit<u64>>;

/// The old rows of one key group.
#[derive(Default)]
struct Log {
    pieces: VecDeque<Entries>,
}

/// Those of all of them.
#[derive(Default)]
pub(super) struct Undo {
    groups: Vec<Log>,
    /// Pieces that nobody uses, and empty.
    spare: Vec<Entries>,
    /// Words that pieces have room for, spare ones too.
    words: usize,
}

impl Undo {
    /// A walk begins.
    pub(super) fn begin(&mut self, groups: usize) {
        self.groups.resize_with(groups, Log::default);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.iter().all(|log| log.pieces.is_empty())
    }

    pub(super) fn bytes_used(&self) -> usize {
        self.words * 8 + self.groups.capacity() * size_of::<Log>()
    }

    /// Room for an entry at the end of a group's log.
    fn room(&mut self, group: usize, entry: usize) -> &mut Entries {
        let Self { groups, spare, words } = self;
        let pieces = &mut groups[group].pieces;
        if pieces.back().is_none_or(|last| last.len() + entry > last.capacity().max(PIECE_WORDS)) {
            pieces.push_back(spare.pop().unwrap_or_default());
        }
        let last = pieces.len() - 1;
        let piece = &mut pieces[last];
        let before = piece.capacity();
        // The first one grows: most groups of a small table have a row or two.
        if last > 0 && before == 0 {
            piece.reserve_exact(PIECE_WORDS.max(entry));
        } else {
            piece.reserve(entry);
        }
        *words += piece.capacity() - before;
        piece
    }
}

impl Table {
    /// Keeps a row that is about to be written, and shares its blocks; if the walk wants it.
    #[cold]
    #[inline(never)]
    pub(super) fn keep(&mut self, spot: u64, segment: Segment, was_dirty: bool, place: Place) {
        let group = (spot >> 32) as usize;
        let key_group = KeyGroup(self.range.first + group as u16);
        let is_unwanted = self.walk.as_ref().is_some_and(|walk| !walk.wants(key_group, was_dirty));
        if is_unwanted || Mutant::OldRowLost.is_chosen() {
            return;
        }
        let area = place.area(self.shape);
        let odd = self.odd.is_some_and(|(_, odd)| odd == segment);
        let stride = self.shape.stride / 8;
        let words = self.undo.room(group, 1 + stride);
        // SAFETY: the place is a live row, of `stride` bytes, and the log has room for them. Copied as
        // bytes that may be pointers.
        unsafe {
            words.push(MaybeUninit::new(if odd {
                EMPTY
            } else {
                place.word() & segment.key_bits()
            }));
            let end = words.as_mut_ptr().add(words.len());
            end.copy_from_nonoverlapping(area.cast(), stride);
            words.set_len(words.len() + stride);
            for at in 0..self.layout.pointers().1 {
                (*block_at(&self.layout, area, at)).share();
            }
        }
    }

    /// Whether rows of a group are kept.
    pub(super) fn has_kept(&self, group: usize) -> bool {
        !self.undo.groups[group].pieces.is_empty()
    }

    /// The rows of the first piece of a group's log from an entry on.
    #[inline(always)]
    pub(super) fn kept_rows(
        &self,
        group: usize,
        from: usize,
    ) -> impl ExactSizeIterator<Item = Row<'_>> {
        let entry = 1 + self.shape.stride / 8;
        let piece = self.undo.groups[group].pieces.front();
        let words = piece.and_then(|piece| piece.get(from * entry..)).unwrap_or_default();
        // SAFETY: the first word of an entry is set; the rest is a row that holds its blocks as long as it is in the log,
        // which is borrowed with the table.
        words.chunks_exact(entry).map(|words| unsafe {
            Row::new(&self.layout, words[0].assume_init(), words[1..].as_ptr().cast())
        })
    }

    /// Lets go of the first piece of a group's log.
    pub(super) fn release_kept(&mut self, group: usize) {
        let Some(mut piece) = self.undo.groups[group].pieces.pop_front() else { return };
        if self.layout.pointers().1 > 0 {
            for row in piece.chunks_exact_mut(1 + self.shape.stride / 8) {
                // SAFETY: an entry holds its blocks once, and leaves the log here.
                unsafe { self.release_blocks(row[1..].as_mut_ptr().cast()) };
            }
        }
        let spare_max = (self.arena.touched() / 16).max(SPARE_BYTES);
        if piece.capacity() >= PIECE_WORDS && self.undo.spare.len() * PIECE_WORDS * 8 < spare_max {
            piece.clear();
            self.undo.spare.push(piece);
        } else {
            self.undo.words -= piece.capacity();
        }
    }

    pub(super) fn drop_undo(&mut self) {
        for group in 0..self.undo.groups.len() {
            while self.has_kept(group) {
                self.release_kept(group);
            }
        }
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

    #[test]
    fn pieces_go_round_and_are_counted_once() {
        let layout = RowLayout::of_value(KeyLayout::Word { bytes: 8 }, hash_of, 8).unwrap();
        let mut table = Table::new(layout, KeyGroupRange::all(4), 4);
        let write_all = |table: &mut Table| {
            for key in 0..20_000_u64 {
                table.upsert(hash(key), &key.to_le_bytes());
            }
        };
        write_all(&mut table);
        for _ in 0..5 {
            assert!(table.flip(Scope::Full).is_ok());
            write_all(&mut table); // All old rows are kept.
            assert!(table.undo.bytes_used() >= 20_000 * 16);
            while table.walk(4_096, &mut |_, _| {}) == Progress::More {}
            let Undo { groups, spare, words } = &table.undo;
            assert!(groups.iter().all(|log| log.pieces.is_empty()) && !spare.is_empty());
            assert_eq!(*words, spare.iter().map(Vec::capacity).sum::<usize>());
            assert!(words * 8 <= SPARE_BYTES.max(table.arena.touched() / 16) + PIECE_WORDS * 16);
        }
    }
}
