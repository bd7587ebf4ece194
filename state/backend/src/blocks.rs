//! Values of any size, counted. `unsafe` lives here: **a live [`Block`] points to a header whose count is
//! the number of rows, live or undone, that hold it; the last one to let go frees it, with the heap that
//! made it.**
//!
//! ```text
//!   Block ──▶ │ count: u32 │ length: u32 │ bytes … │
//!              └── up to 1 KiB: a piece of a slab, free pieces listed by size;  above: the allocator
//! ```
//!
//! A block is replaced, never edited. So a first touch after a flip copies a pointer and adds one to a
//! count, however long the block is.

use std::{
    alloc::{self, Layout},
    ptr::{self, NonNull},
};

use crate::arena::Chunk;

const HEADER: usize = 8;
const STEP: usize = 16;
/// Pieces of slabs are at most this long; above, the allocator's own overhead no longer matters.
const PIECE_MAX: usize = 1_024;
const SLAB_MIN: usize = 1_024;
const SLAB_MAX: usize = 2 << 20;

/// A block, or none. Copying one does not count: `share` does.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Block(*mut u8);

impl Block {
    pub(crate) const NONE: Self = Self(ptr::null_mut());

    /// Its bytes, or none.
    ///
    /// # Safety
    ///
    /// The block is live, and stays so for `'b`.
    #[inline]
    pub(crate) unsafe fn bytes<'b>(self) -> Option<&'b [u8]> {
        if self.0.is_null() {
            return None;
        }
        // SAFETY: a live block has a header, and as many bytes behind it as that says.
        unsafe {
            let len = *self.0.add(4).cast::<u32>();
            Some(std::slice::from_raw_parts(self.0.add(HEADER), len as usize))
        }
    }

    /// One more row holds it.
    ///
    /// # Safety
    ///
    /// The block is live.
    pub(crate) unsafe fn share(self) {
        if !self.0.is_null() {
            // SAFETY: the count lies in the header. Two rows hold a block at most: live and undone.
            unsafe { *self.0.cast::<u32>() += 1 };
        }
    }
}

/// Makes and frees the blocks of one table.
pub(crate) struct Blocks {
    slabs: Vec<Chunk>,
    next: usize,
    /// Free pieces by size in steps; each holds the next one in its first word.
    free: Vec<*mut u8>,
    slab_bytes: usize,
    /// Blocks that are the allocator's, and their bytes.
    large: usize,
    large_bytes: usize,
}

impl Blocks {
    pub(crate) fn new() -> Self {
        Self {
            slabs: Vec::new(),
            next: 0,
            free: Vec::new(),
            slab_bytes: 0,
            large: 0,
            large_bytes: 0,
        }
    }

    /// A block with these bytes, held once. The caller has checked the length.
    pub(crate) fn make(&mut self, bytes: &[u8]) -> Block {
        let total = HEADER + bytes.len();
        let start =
            if total <= PIECE_MAX { self.take_piece(total) } else { self.take_large(total) };
        // SAFETY: `start` has room for `total` bytes and is aligned to 8.
        unsafe {
            *start.as_ptr().cast::<u32>() = 1;
            *start.as_ptr().add(4).cast::<u32>() = bytes.len() as u32;
            ptr::copy_nonoverlapping(bytes.as_ptr(), start.as_ptr().add(HEADER), bytes.len());
        }
        Block(start.as_ptr())
    }

    /// One row less holds the block; the last frees it.
    ///
    /// # Safety
    ///
    /// The block is none, or live and made here; the caller forgets it.
    pub(crate) unsafe fn release(&mut self, block: Block) {
        let Some(start) = NonNull::new(block.0) else { return };
        // SAFETY: a live block; when its count reaches zero nobody else names its bytes.
        unsafe {
            let count = start.as_ptr().cast::<u32>();
            *count -= 1;
            if *count > 0 {
                return;
            }
            let total = HEADER + *start.as_ptr().add(4).cast::<u32>() as usize;
            if total <= PIECE_MAX {
                let class = total.div_ceil(STEP);
                *start.as_ptr().cast::<*mut u8>() = self.free[class];
                self.free[class] = start.as_ptr();
            } else {
                self.large -= 1;
                self.large_bytes -= total;
                alloc::dealloc(start.as_ptr(), large(total));
            }
        }
    }

    /// Whether dropping the heap frees all blocks, without anybody visiting the rows.
    pub(crate) fn frees_itself(&self) -> bool {
        self.large == 0
    }

    /// Frees all blocks at once.
    ///
    /// # Safety
    ///
    /// `frees_itself`, and nobody uses a block any more.
    pub(crate) unsafe fn reset(&mut self) {
        debug_assert!(self.frees_itself());
        *self = Self::new();
    }

    /// Bytes held, used or not.
    pub(crate) fn reserved(&self) -> usize {
        self.slab_bytes + self.large_bytes
    }

    fn take_piece(&mut self, total: usize) -> NonNull<u8> {
        let class = total.div_ceil(STEP);
        if self.free.len() <= class {
            self.free.resize(class + 1, ptr::null_mut());
        }
        if let Some(piece) = NonNull::new(self.free[class]) {
            // SAFETY: a free piece of this class; its first word is the next one or null.
            self.free[class] = unsafe { *piece.as_ptr().cast::<*mut u8>() };
            return piece;
        }
        let bytes = class * STEP;
        if self.slabs.last().is_none_or(|slab| self.next + bytes > slab.bytes()) {
            // As much again as there is. What was left of the last slab, under 1 KiB, is lost.
            self.slabs.push(Chunk::zeroed(self.slab_bytes.clamp(SLAB_MIN, SLAB_MAX)));
            self.slab_bytes += self.slabs[self.slabs.len() - 1].bytes();
            self.next = 0;
        }
        // SAFETY: `next + bytes` is inside the slab. Slabs are aligned to 64, pieces are steps of 16.
        let piece = unsafe {
            NonNull::new_unchecked(self.slabs[self.slabs.len() - 1].start().add(self.next))
        };
        self.next += bytes;
        piece
    }

    fn take_large(&mut self, total: usize) -> NonNull<u8> {
        self.large += 1;
        self.large_bytes += total;
        // SAFETY: the size is above `PIECE_MAX`.
        let start = unsafe { alloc::alloc(large(total)) };
        NonNull::new(start).unwrap_or_else(|| alloc::handle_alloc_error(large(total)))
    }
}

fn large(total: usize) -> Layout {
    Layout::from_size_align(total, STEP).expect("a block is at most 1 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_keep_their_bytes_until_the_last_holder_lets_go() {
        let mut blocks = Blocks::new();
        let lens = [0, 1, 8, 9, 100, 1_015, 1_016, 1_017, 100_000];
        let text = |len: usize| (0..len).map(|at| (at * 7 + len) as u8).collect::<Vec<u8>>();
        let mut live: Vec<(usize, Block)> = Vec::new();
        for round in 0..500_usize {
            let len = lens[round * 7 % lens.len()];
            live.push((len, blocks.make(&text(len))));
            if round % 4 == 0 {
                let (len, block) = live[round % live.len()];
                // SAFETY: live; held twice now, released once here.
                unsafe {
                    block.share();
                    blocks.release(block);
                    assert_eq!(block.bytes(), Some(&text(len)[..]));
                }
            }
            if round % 3 == 0 {
                let (_, block) = live.swap_remove(round % live.len());
                // SAFETY: held once, by the list that it just left.
                unsafe { blocks.release(block) };
            }
        }
        for (len, block) in live {
            // SAFETY: in the list, so live and held once.
            unsafe {
                assert_eq!(block.bytes(), Some(&text(len)[..]));
                blocks.release(block);
            }
        }
        assert!(blocks.frees_itself());
        assert_eq!(blocks.large_bytes, 0);
        // SAFETY: none of the loops left a block.
        unsafe { blocks.reset() };
        assert_eq!(blocks.reserved(), 0);
    }
}
