//! Values of any size, counted. `unsafe` lives here: **a live [`Block`] whose tag says so points to a header whose
//! count is the number of rows, live or undone, that hold it; the last one to let go frees it, with the heap that
//! made it, or else that heap does when it goes. The first bytes of one that is inline are initialised, as many as its tag
//! says.**
//!
//! ```text
//!   up to 15 bytes   │ bytes, zeroes to the end ………… │ tag: 1 + length │
//!   more             │ pointer │ zeroes ………………………… │ tag: 255        │
//!                         └─▶ │ count: u32 │ length: u32 │ bytes … │
//!                              └── up to 1 KiB: a piece of a slab, free pieces listed by size
//!                                  above: the allocator's, listed; its place in the list lies before the header
//! ```
//!
//! A block is replaced, never edited. So a first touch after a flip copies sixteen bytes and adds one to a
//! count, however long the block is. Most keys are short: they lie in the row, and are compared as two words.

use std::{
    alloc::{self, Layout},
    ptr::{self, NonNull},
    rc::Rc,
};

use crate::{arena::Chunk, pool::Pool};

const HEADER: usize = 8;
const STEP: usize = 16;
/// Before the header of a block that is the allocator's: its place in the list.
const PLACE: usize = STEP;
/// Pieces of slabs are at most this long; above, the allocator's own overhead no longer matters.
const PIECE_MAX: usize = 1_024;
const SLAB_MIN: usize = 1_024;
const SLAB_MAX: usize = 2 << 20;

/// The longest block that lies in its row.
const INLINE_MAX: usize = size_of::<Block>() - 1;
const TAG_SHIFT: u32 = 56;
const TAG_NONE: u8 = 0;
const TAG_HEAP: u8 = 255;

/// A block, or none: zeroes. Copying one does not count: `share` does.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Block {
    /// The first eight bytes, or the pointer.
    low: *mut u8,
    /// The other seven, and above them the tag.
    high: u64,
}

impl Block {
    pub(crate) const NONE: Self = Self { low: ptr::null_mut(), high: 0 };

    /// A block that lies in its row, if `bytes` are few enough.
    #[inline(always)]
    pub(crate) fn inline(bytes: &[u8]) -> Option<Self> {
        let (low, high) = match bytes.len() {
            4..=INLINE_MAX => few(bytes),
            0..4 => (bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)), 0),
            _ => return None,
        };
        let tag = (bytes.len() as u64 + 1) << TAG_SHIFT;
        Some(Self { low: ptr::without_provenance_mut(low as usize), high: high | tag })
    }

    /// Whether both are inline and hold the same bytes.
    #[inline(always)]
    pub(crate) fn is(&self, inline: Self) -> bool {
        (self.low.addr() ^ inline.low.addr()) as u64 | (self.high ^ inline.high) == 0
    }

    #[inline(always)]
    const fn tag(&self) -> u8 {
        (self.high >> TAG_SHIFT) as u8
    }

    /// Whether it is one.
    #[inline(always)]
    pub(crate) const fn is_some(&self) -> bool {
        self.tag() != TAG_NONE
    }

    /// The header and the bytes of a block that does not lie in its row.
    #[inline]
    pub(crate) fn heap(&self) -> Option<NonNull<u8>> {
        if self.tag() == TAG_HEAP { NonNull::new(self.low) } else { None }
    }

    /// Its bytes, or none.
    ///
    /// # Safety
    ///
    /// The block is live, and stays so as long as it is borrowed.
    #[inline]
    pub(crate) unsafe fn bytes(&self) -> Option<&[u8]> {
        // SAFETY: a live block on the heap has a header, and as many bytes behind it as that says; one in its row has
        // as many as its tag says, at its own address.
        unsafe {
            match self.tag() {
                TAG_NONE => None,
                TAG_HEAP => {
                    let len = *self.low.add(4).cast::<u32>();
                    Some(std::slice::from_raw_parts(self.low.add(HEADER), len as usize))
                }
                tag => {
                    let start = ptr::from_ref(self).cast::<u8>();
                    Some(std::slice::from_raw_parts(start, usize::from(tag) - 1))
                }
            }
        }
    }

    /// One more row holds it.
    ///
    /// # Safety
    ///
    /// The block is live.
    pub(crate) unsafe fn share(self) {
        if let Some(start) = self.heap() {
            // SAFETY: the count lies in the header. Two rows hold a block at most: live and undone.
            unsafe { *start.as_ptr().cast::<u32>() += 1 };
        }
    }
}

/// Four to fifteen bytes as two words, with zeroes above. No branch asks for the length: keys of any mix of lengths
/// would mispredict it.
#[inline(always)]
fn few(bytes: &[u8]) -> (u64, u64) {
    let len = bytes.len();
    debug_assert!((4..=INLINE_MAX).contains(&len));
    let four = |at: usize| {
        let mut word = [0; 4];
        word.copy_from_slice(&bytes[at..at + 4]);
        u64::from(u32::from_le_bytes(word))
    };
    // All ones if there are eight bytes or more, else zero; then the places of a second word are those of the first.
    let wide = u64::from(len < 8).wrapping_sub(1);
    let (second, third) = (4 & wide as usize, len.wrapping_sub(8) & wide as usize);
    let (first, last) = (four(0), four(len - 4));
    let low_wide = first | four(second) << 32;
    let narrow = first | last << ((8 * (len as u32 - 4)) & 63);
    let high = (four(third) | last << 32) >> 8 >> ((8 * (15 - len as u32)) & 63);
    (low_wide & wide | narrow & !wide, high & wide)
}

/// Makes and frees the blocks of one table.
pub(crate) struct Blocks {
    slabs: Vec<Chunk>,
    next: usize,
    /// Free pieces by size in steps; each holds the next one in its first word.
    free: Vec<*mut u8>,
    slab_bytes: usize,
    /// The headers of blocks that are the allocator's, and their bytes.
    large: Vec<NonNull<u8>>,
    large_bytes: usize,
    pool: Rc<Pool>,
}

impl Blocks {
    pub(crate) fn new(pool: Rc<Pool>) -> Self {
        Self {
            slabs: Vec::new(),
            next: 0,
            free: Vec::new(),
            slab_bytes: 0,
            large: Vec::new(),
            large_bytes: 0,
            pool,
        }
    }

    /// A block with these bytes, held once. The caller has checked the length.
    pub(crate) fn make(&mut self, bytes: &[u8]) -> Block {
        if let Some(inline) = Block::inline(bytes) {
            return inline;
        }
        let total = HEADER + bytes.len();
        let start =
            if total <= PIECE_MAX { self.take_piece(total) } else { self.take_large(total) };
        // SAFETY: `start` has room for `total` bytes and is aligned to 8.
        unsafe {
            *start.as_ptr().cast::<u32>() = 1;
            *start.as_ptr().add(4).cast::<u32>() = bytes.len() as u32;
            ptr::copy_nonoverlapping(bytes.as_ptr(), start.as_ptr().add(HEADER), bytes.len());
        }
        Block { low: start.as_ptr(), high: u64::from(TAG_HEAP) << TAG_SHIFT }
    }

    /// One row less holds the block; the last frees it.
    ///
    /// # Safety
    ///
    /// The block is none, or live and made here; the caller forgets it.
    pub(crate) unsafe fn release(&mut self, block: Block) {
        let Some(start) = block.heap() else { return };
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
                let place = *start.as_ptr().sub(PLACE).cast::<usize>();
                self.large.swap_remove(place);
                if let Some(moved) = self.large.get(place) {
                    *moved.as_ptr().sub(PLACE).cast::<usize>() = place;
                }
                self.large_bytes -= total;
                alloc::dealloc(start.as_ptr().sub(PLACE), large(total));
            }
        }
    }

    /// Whether none was made since the last reset that does not lie in its row.
    pub(crate) fn is_unused(&self) -> bool {
        self.reserved() == 0
    }

    /// Frees all blocks at once.
    ///
    /// # Safety
    ///
    /// Nobody uses a block any more.
    pub(crate) unsafe fn reset(&mut self) {
        *self = Self::new(Rc::clone(&self.pool));
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
            self.slabs.push(Chunk::new(&self.pool, self.slab_bytes.clamp(SLAB_MIN, SLAB_MAX)));
            self.slab_bytes += self.slabs[self.slabs.len() - 1].bytes();
            self.next = 0;
        }
        // SAFETY: `next + bytes` is inside the slab. Slabs are aligned to 64, pieces are steps of 16.
        let piece = unsafe { self.slabs[self.slabs.len() - 1].start().add(self.next) };
        self.next += bytes;
        piece
    }

    fn take_large(&mut self, total: usize) -> NonNull<u8> {
        self.large_bytes += total;
        // SAFETY: the size is above `PIECE_MAX`; there is room for the place before the header.
        let start = unsafe {
            let start = alloc::alloc(large(total));
            let start =
                NonNull::new(start).unwrap_or_else(|| alloc::handle_alloc_error(large(total)));
            *start.as_ptr().cast::<usize>() = self.large.len();
            start.add(PLACE)
        };
        self.large.push(start);
        start
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        for start in &self.large {
            // SAFETY: a block that nobody has let go of is as `take_large` made it, and nobody uses it any more.
            unsafe {
                let total = HEADER + *start.as_ptr().add(4).cast::<u32>() as usize;
                alloc::dealloc(start.as_ptr().sub(PLACE), large(total));
            }
        }
    }
}

fn large(total: usize) -> Layout {
    Layout::from_size_align(PLACE + total, STEP).expect("a block is at most 1 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_blocks_lie_in_their_row_and_differ_by_every_byte() {
        let text: Vec<u8> = (1..=16).collect();
        assert!(Block::inline(&text).is_none());
        for len in 0..=INLINE_MAX {
            let block = Block::inline(&text[..len]).expect("short");
            // SAFETY: inline, so live.
            assert_eq!(unsafe { block.bytes() }, Some(&text[..len]));
            for other in 0..=INLINE_MAX {
                let same = Block::inline(&text[..other]).is_some_and(|other| block.is(other));
                assert_eq!(same, len == other);
            }
            for at in 0..len {
                let mut changed = text[..len].to_vec();
                changed[at] ^= 0x80;
                assert!(!block.is(Block::inline(&changed).expect("short")), "{len}, {at}");
            }
        }
    }

    #[test]
    fn blocks_keep_their_bytes_until_the_last_holder_lets_go() {
        let mut blocks = Blocks::new(Pool::of_thread());
        let lens = [0, 1, 8, 15, 16, 100, 1_015, 1_016, 1_017, 100_000];
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
        assert!(blocks.large.is_empty());
        assert_eq!(blocks.large_bytes, 0);
        // Those that nobody lets go of are freed with the heap: the address sanitizer and valgrind would say.
        for len in [20, 5_000, 6_000] {
            blocks.make(&text(len));
        }
        // SAFETY: nobody uses the last three.
        unsafe { blocks.reset() };
        assert_eq!((blocks.reserved(), blocks.large.len()), (0, 0));
        blocks.make(&text(7_000));
    }
}
