//! A segment as it was when the walk came by: copied at the speed of memory, and given from the copy in as many steps as it
//! takes.
//!
//! # What is always true
//!
//! What is given is what the segment held then: the table may be written meanwhile, and the segment be split or freed. Rows
//! hold no blocks, since the copy would have to hold them.
//!
//! `unsafe`: see `table.rs`.

use std::mem::MaybeUninit;

use super::*;

/// What it counts for a group that was copied: it looks at four rows.
const GIVEN_GROUP_BYTES: usize = 3;

/// The groups of a segment as they were when the walk came by; some are given already.
#[derive(Default)]
pub(super) struct Copied {
    words: Vec<MaybeUninit<u64>>,
    marks: Vec<u8>,
    /// The first that is not given.
    at: usize,
    /// The bits of words that are keys.
    key_bits: u64,
    /// Whether all rows are given, and not only the dirty ones.
    pub(super) is_whole: bool,
}

impl Copied {
    /// Whether something is not given yet.
    pub(super) fn has_more(&self) -> bool {
        self.at < self.marks.len()
    }

    pub(super) fn bytes_used(&self) -> usize {
        self.words.capacity() * 8 + self.marks.capacity()
    }
}

impl Table {
    /// Copies a segment of rows without blocks; returns how many bytes that were.
    pub(super) fn copy(&self, segment: Segment, copied: &mut Copied) -> usize {
        let words = segment.groups() as usize * self.shape.group_bytes / 8;
        copied.words.clear();
        copied.words.reserve(words);
        // SAFETY: the groups of a live segment, `group_bytes` each; the copy has room for them. Areas may have gaps, so
        // what is copied is not taken for numbers.
        unsafe {
            let from = segment.group(self.shape, 0).cast::<MaybeUninit<u64>>();
            copied.words.as_mut_ptr().copy_from_nonoverlapping(from, words);
            copied.words.set_len(words);
            copied.marks.clear();
            copied.marks.extend_from_slice(segment.marks(self.shape));
        }
        (copied.at, copied.key_bits) = (0, segment.key_bits());
        words * 8
    }

    /// Gives rows of the copy, until the budget is passed.
    pub(super) fn give_copied(
        &self,
        copied: &mut Copied,
        budget_bytes: usize,
        out: &mut impl FnMut(Row<'_>),
    ) -> usize {
        let Copied { words, marks, at, key_bits, is_whole } = copied;
        let mut given = 0;
        for (group, mark) in words.chunks_exact(self.shape.group_bytes / 8).zip(&*marks).skip(*at) {
            let group = group.as_ptr().cast::<u8>().cast_mut();
            let wanted = wanted_rows(*mark, *is_whole);
            for row in 0..ROWS as u32 {
                let place = Place { group, at: 0, row, found: true };
                // SAFETY: a group of the copy, which holds no blocks and is borrowed during the call. It is only read.
                unsafe {
                    let word = place.word() & *key_bits;
                    if wanted >> row & 1 != 0 && word != EMPTY {
                        let row = Row::new(&self.layout, word, place.area(self.shape));
                        given += row.bytes();
                        out(row);
                    }
                }
            }
            *at += 1;
            given += GIVEN_GROUP_BYTES;
            if given >= budget_bytes {
                break;
            }
        }
        given
    }
}
