//! New rows: the first segment of a group, growing, splitting.
//!
//! ```text
//!   no segment ─▶ 256 B ─▶ 1 KiB ─▶ … ─▶ 64 KiB ─▶ two of 64 KiB, a bit deeper
//!                                          └─ if the directory would outgrow the rows ─▶ 128 KiB ─▶ …
//! ```
//!
//! `unsafe`: see `table.rs`. A segment that is replaced is freed after the directory names the new one.

use super::*;
use crate::BLOCK_BYTES_MAX;

/// The directory may always be this large: less than one full segment.
const DIRECTORY_BYTES_MIN: usize = 32 << 10;
/// Above, it may take one byte for so many bytes of rows.
const DIRECTORY_SHARE: usize = 8;
/// Bits of the spot that the directory may use; the position in a segment has the other twelve.
const DEPTH_MAX: u32 = 20;

impl Table {
    /// Adds a row that is known not to be there. Its cells are zero.
    #[inline(never)]
    pub(super) fn insert(&mut self, spot: u64, word: u64, key: Option<&[u8]>) -> Place {
        debug_assert!(
            self.low_of(word) == key.map_or(spot, |key| self.layout.hash(key)) & 0xffff_ffff,
            "the hash given with a key is not the one that the layout's function gives"
        );
        let key_bytes = key.map_or(0, <[u8]>::len);
        assert!(key_bytes <= BLOCK_BYTES_MAX, "a key of {key_bytes} bytes");
        // The odd row is walked with the last ones of its group.
        let spot = if word == EMPTY { spot | 0xffff_ffff } else { spot };
        let (segment, place) =
            if word == EMPTY { self.insert_odd(spot) } else { self.insert_word(spot, word) };
        if let Some(key) = key {
            let block = self.blocks.make(key);
            // SAFETY: the area of the row just made, whose layout has a block for the key.
            unsafe { *block_at(&self.layout, place.area(self.shape), 0) = block };
        }
        self.len += 1;
        if self.marking {
            // A row that was not there at the flip is as good as touched: the walker passes it over.
            let bit = if spot < self.cursor { DIRTY } else { TOUCHED };
            // SAFETY: the mark of a group of a live segment.
            unsafe { *segment.mark(self.shape, place.at) |= bit << place.row };
        }
        if self.hints.words_asked {
            self.give_hint(segment, place);
        }
        place
    }

    fn insert_word(&mut self, spot: u64, word: u64) -> (Segment, Place) {
        loop {
            let segment = self.segment_at(spot);
            // SAFETY: in the directory, so live; an insert needs room, so it is not `NONE` below.
            unsafe {
                if segment.is_none() || segment.len() >= segment.len_max() {
                    self.grow(spot, segment);
                    continue;
                }
                if word & !segment.key_bits() != 0 {
                    let wide = self.widen(segment);
                    self.point(spot, segment.depth(), wide);
                    continue;
                }
                let place = segment.find_free(self.shape, spot);
                place.set_word(word);
                segment.set_len(segment.len() + 1);
                return (segment, place);
            }
        }
    }

    /// The row whose word says "empty" has a segment to itself, with another word.
    #[cold]
    fn insert_odd(&mut self, spot: u64) -> (Segment, Place) {
        let segment = self.make_segment(self.shape.bits_first, 0);
        let place = Place { group: segment.group(self.shape, 0), at: 0, row: 0, found: false };
        // SAFETY: the first row of a segment just made.
        unsafe {
            place.set_word(EMPTY + 1);
            segment.set_len(1);
        }
        self.odd = Some((spot, segment));
        (segment, place)
    }

    #[cold]
    fn grow(&mut self, spot: u64, old: Segment) {
        if old.is_none() {
            let new = self.make_segment(self.shape.bits_first, 0);
            return self.point(spot, 0, new);
        }
        let full = old.bits() >= self.shape.bits_full;
        // SAFETY: in the directory, so live, and not `NONE`.
        let depth = unsafe { old.depth() };
        if full && (depth < 32 - self.shift || self.double_directory(0)) {
            return self.split(spot, old, depth);
        }
        // Four times as large, so that rows move half as often; twice where a full segment is near, or nothing splits.
        let bits =
            if old.bits() + 2 <= self.shape.bits_full { old.bits() + 2 } else { old.bits() + 1 };
        let new = self.make_segment(bits, depth).as_wide_as(old);
        self.point(spot, depth, new);
        self.move_rows(old, |_| new);
        self.free_segment(old);
    }

    /// Makes room for so many rows of a group that has none: who brings them all at once does not want them moved from
    /// segment to segment meanwhile. Rows that come in the order of their spots are then written one behind the other.
    pub(super) fn reserve(&mut self, group: KeyGroup, rows: u64) {
        let start = u64::from(group.0 - self.range.first) << 32;
        if rows == 0 || !self.segment_at(start).is_none() {
            return;
        }
        // Spots are not spread that evenly: who fills segments up splits some of them.
        let rows_of = |bits: u32| (3_u64 << bits) * 7 / 8;
        let full = self.shape.bits_full;
        if let Some(bits) = (self.shape.bits_first..=full).find(|bits| rows <= rows_of(*bits)) {
            let segment = self.make_segment(bits, 0);
            return self.point(start, 0, segment);
        }
        let segments = rows.div_ceil(rows_of(full)).next_power_of_two();
        let wanted = segments.ilog2().min(DEPTH_MAX);
        let bytes = (segments as usize).saturating_mul(self.shape.span(full));
        while 32 - self.shift < wanted && self.double_directory(bytes) {}
        let depth = wanted.min(32 - self.shift);
        for at in 0..1_u64 << depth {
            let segment = self.make_segment(full, depth);
            self.point(start | at << (32 - depth), depth, segment);
        }
    }

    /// Makes room for as many rows as `other` has, group by group, where there is none: of two tables that follow one
    /// another in time the second has about as many, and none of them moves while it fills.
    pub fn reserve_like(&mut self, other: &Table) {
        for group in self.range.iter() {
            let rows = other.rows_of(group);
            self.reserve(group, rows);
        }
    }

    /// How many rows a key group has, the odd one left out.
    fn rows_of(&self, group: KeyGroup) -> u64 {
        if !self.range.contains(group) {
            return 0;
        }
        let mut spot = u64::from(group.0 - self.range.first) << 32;
        let (end, mut rows) = (spot + (1 << 32), 0);
        while spot < end {
            let (segment, next) = self.segment_and_next(spot);
            // SAFETY: in the directory, so live.
            rows += u64::from(unsafe { segment.len() });
            spot = next;
        }
        rows
    }

    /// Splits a segment by the next bit of its rows' spots.
    fn split(&mut self, spot: u64, old: Segment, depth: u32) {
        let halves = [0, 1].map(|_| self.make_segment(old.bits(), depth + 1).as_wide_as(old));
        let shift = 31 - depth;
        let of = |spot: u64| halves[(spot >> shift & 1) as usize];
        let other = spot ^ 1 << shift;
        self.point(spot, depth + 1, of(spot));
        self.point(other, depth + 1, of(other));
        self.move_rows(old, of);
        self.free_segment(old);
    }

    /// Lets the directory name `segment` for all spots that share `depth` bits with `spot`.
    fn point(&mut self, spot: u64, depth: u32, segment: Segment) {
        let width = 32 - depth;
        let first = (spot >> width << width >> self.shift) as usize;
        let entries = 1_usize << (width - self.shift);
        self.directory[first..first + entries].fill(segment);
    }

    /// Whether the directory could be doubled within its limits, with so many bytes of rows to come.
    fn double_directory(&mut self, to_come: usize) -> bool {
        let bytes = self.directory.len() * 2 * size_of::<Segment>();
        let rows = self.arena.touched() + self.small_bytes + to_come;
        if self.shift <= 32 - DEPTH_MAX || bytes > DIRECTORY_BYTES_MIN.max(rows / DIRECTORY_SHARE) {
            return false;
        }
        self.directory = self.directory.iter().flat_map(|segment| [*segment; 2]).collect();
        self.shift -= 1;
        true
    }

    /// Moves all rows with their marks to new segments, which have room.
    fn move_rows(&mut self, old: Segment, to: impl Fn(u64) -> Segment) {
        let shape = self.shape;
        for at in 0..old.groups() {
            let group = old.group(shape, at);
            // SAFETY: a group of `old`, which is live.
            let words = unsafe { *group.cast::<[u64; segment::ROWS]>() };
            let words = words.map(|word| word & old.key_bits());
            let Some(spots) = self.lows_of(words) else { continue };
            for row in 0..segment::ROWS {
                let place = Place { group, at, row: row as u32, found: true };
                // SAFETY: `old` is live until all its rows have moved; the new segments are in the
                // directory, and of the same shape.
                unsafe {
                    if words[row] == EMPTY {
                        continue;
                    }
                    let spot = spots[row];
                    let segment = to(spot);
                    let new = segment.find_free(shape, spot);
                    self.move_row(old, place, segment, new);
                    segment.set_len(segment.len() + 1);
                }
            }
        }
    }

    /// Copies a row with its mark.
    ///
    /// # Safety
    ///
    /// Both places are rows of their segments, which are live; the new one is empty.
    #[inline]
    pub(super) unsafe fn move_row(&self, from: Segment, old: Place, to: Segment, new: Place) {
        let shape = self.shape;
        // SAFETY: two rows of `stride` bytes that do not overlap, and their groups' marks.
        unsafe {
            new.set_word(old.word());
            new.area(shape).copy_from_nonoverlapping(old.area(shape), shape.stride);
            let bits = (*from.mark(shape, old.at) >> old.row) & (DIRTY | TOUCHED);
            *to.mark(shape, new.at) |= bits << new.row;
        }
    }

    /// The lower halves of the hashes of a group's rows, from their words; of an empty row that of another one. None if
    /// all are empty.
    #[inline]
    fn lows_of(&self, words: [u64; segment::ROWS]) -> Option<[u64; segment::ROWS]> {
        let taken = words.into_iter().fold(EMPTY, |taken, word| match word {
            EMPTY => taken,
            word => word,
        });
        if taken == EMPTY {
            return None;
        }
        // Only keys are hashed: no bytes but a key's can be read as one.
        let mut hashes = words.map(|word| if word == EMPTY { taken } else { word }.wrapping_sub(1));
        if self.word_bytes != 0 {
            self.layout.hash_words(&mut hashes, self.word_bytes as usize);
        }
        Some(hashes.map(|hash| hash & 0xffff_ffff))
    }

    /// The lower half of a row's hash, from its word.
    #[inline]
    pub(super) fn low_of(&self, word: u64) -> u64 {
        let key = word.wrapping_sub(1);
        let hash = match self.word_bytes as usize {
            0 => key,
            bytes => self.layout.hash(&key.to_le_bytes()[..bytes]),
        };
        hash & 0xffff_ffff
    }

    pub(super) fn make_segment(&mut self, bits: u32, depth: u32) -> Segment {
        if bits != self.shape.bits_full {
            self.small_bytes += self.shape.span(bits);
        }
        Segment::make(self.shape, bits, depth, &mut self.arena)
    }

    /// The segment is in no directory any more, and its rows have moved or let go of their blocks.
    pub(super) fn free_segment(&mut self, segment: Segment) {
        self.ahead.end();
        if !segment.is_none() && segment.bits() != self.shape.bits_full {
            self.small_bytes -= self.shape.span(segment.bits());
        }
        // SAFETY: made by `make_segment` of this table, and named by nobody.
        unsafe { segment.free(self.shape, &mut self.arena) };
    }
}

const _: () = assert!(DIRECTORY_BYTES_MIN > LINE);
