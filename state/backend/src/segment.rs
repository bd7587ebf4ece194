//! A segment: groups of four rows, probed a group at a time. `unsafe` lives here: **a live [`Segment`] that
//! is not `NONE` points to `shape.span(bits)` bytes laid out as in the picture, owned by its table; the
//! methods read and write only inside of them.**
//!
//! ```text
//!   ▼ header line      ▼ the pointer (low bits: log2 of the number of groups; whether it is wide)
//!   │ len, depth, …    │ group 0 │ group 1 │ …                     │ mark 0 │ mark 1 │ …
//!   group:  four words, four areas (layout.rs)           mark: a byte a group, two bits a row:
//!   word:   key + 1, so that fresh memory is empty                 0–3 dirty, 4–7 touched since the flip
//!           in its highest byte the row's hint (table/hint.rs), but in a wide segment, where keys need that byte
//! ```
//!
//! # What is always true
//!
//! 1. A word of zero is an empty row; its mark bits are clear. No other word is zero without its hint.
//! 2. A row lies in the first group of its chain that had room: from its home on, no group before it has an
//!    empty row. So a probe ends at the first empty row, and a removal closes its gap.
//! 3. At most three rows of four are in use, so there is an empty one.
//!
//! A group's words lie in one cache line; with 8-byte values the whole group does. Probing one row after
//! the other mispredicts its branch for every third key: 14.5 ns an update against 9.2, more than the
//! cache miss costs (measured on the Xeon of `bench/README.md`).

mod probe;

use std::ptr::{self, NonNull};

pub(crate) use probe::Sought;

use crate::{
    arena::{Arena, LINE},
    layout::RowLayout,
};

/// Rows of a group.
pub(crate) const ROWS: usize = 4;
/// The word of a row that is not there.
pub(crate) const EMPTY: u64 = 0;
/// Where a group's areas start: behind its words.
const AREAS: usize = ROWS * 8;
/// A segment up to this size grows; a full one splits.
const SEGMENT_BYTES: usize = 64 << 10;
/// A new segment has as many groups as fit, at least one.
const FIRST_BYTES: usize = 256;
/// Low bits of the pointer.
const TAG: usize = LINE - 1;
const TAG_BITS: usize = 31;
const TAG_WIDE: usize = 32;
/// The bits of a word that are its key's where there are hints.
pub(crate) const NARROW: u64 = u64::MAX >> 8;
/// A mark's bits of one row.
pub(crate) const DIRTY: u8 = 1;
pub(crate) const TOUCHED: u8 = 1 << ROWS;

/// The sizes that follow from a layout.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) stride: usize,
    pub(crate) value_bytes: usize,
    /// Where in an area the key's block is, if it is one.
    pub(crate) key_at: usize,
    pub(crate) group_bytes: usize,
    /// log2 of the groups of a new segment, and of one that splits.
    pub(crate) bits_first: u32,
    pub(crate) bits_full: u32,
}

impl Shape {
    pub(crate) fn of(layout: &RowLayout) -> Self {
        let group_bytes = AREAS + ROWS * layout.stride();
        assert!(
            group_bytes.is_multiple_of(32),
            "the words of a group are loaded 32 bytes at a time"
        );
        let fit = |bytes: usize| (bytes / group_bytes).max(1).ilog2();
        Self {
            stride: layout.stride(),
            value_bytes: layout.value_bytes(),
            key_at: layout.pointers().0,
            group_bytes,
            bits_first: fit(FIRST_BYTES),
            // Two groups at least: a segment of wide rows is still worth splitting.
            bits_full: fit(SEGMENT_BYTES).max(1),
        }
    }

    /// Bytes of a segment of `1 << bits` groups.
    pub(crate) fn span(self, bits: u32) -> usize {
        let groups = 1_usize << bits;
        (LINE + groups * self.group_bytes + groups).next_multiple_of(LINE)
    }
}

#[repr(C, align(64))]
struct NoRows([u64; 8]);

static NO_ROWS: NoRows = NoRows([EMPTY; 8]);

/// The first line of a segment.
#[repr(C)]
struct Header {
    len: u32,
    depth: u32,
}

/// A segment, or none: one word in the directory.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Segment(*mut u8);

/// A row's place in a segment. Good until the segment changes.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) group: *mut u8,
    pub(crate) at: u32,
    pub(crate) row: u32,
    pub(crate) found: bool,
}

impl Segment {
    /// No rows: a group of four empty ones that is never written.
    pub(crate) fn none() -> Self {
        Self((&raw const NO_ROWS).cast_mut().cast())
    }

    #[inline]
    pub(crate) fn is_none(self) -> bool {
        ptr::eq(self.0, (&raw const NO_ROWS).cast())
    }

    /// An empty segment of `1 << bits` groups.
    pub(crate) fn make(shape: Shape, bits: u32, depth: u32, arena: &mut Arena) -> Self {
        let span =
            if bits == shape.bits_full { arena.take() } else { arena.take_small(shape.span(bits)) };
        // SAFETY: the span has room for the header line and is aligned to it; `bits` is below 64.
        unsafe {
            span.as_ptr().cast::<Header>().write(Header { len: 0, depth });
            Self(span.as_ptr().add(LINE + bits as usize))
        }
    }

    /// Frees the segment. Its rows' blocks are the caller's.
    ///
    /// # Safety
    ///
    /// Live, made with this shape and arena, and in no directory any more.
    pub(crate) unsafe fn free(self, shape: Shape, arena: &mut Arena) {
        if self.is_none() {
            return;
        }
        // SAFETY: `make` added the header line to a span that is not null.
        unsafe {
            let span = NonNull::new_unchecked(self.base().sub(LINE));
            if self.bits() == shape.bits_full {
                arena.give(span);
            } else {
                arena.give_small(span, shape.span(self.bits()));
            }
        }
    }

    /// Removes all rows, with their marks.
    ///
    /// # Safety
    ///
    /// Live, with this shape, not `NONE`, and its rows' blocks are let go of.
    pub(crate) unsafe fn wipe(self, shape: Shape) {
        // SAFETY: the groups and marks, which `make` has made room for behind the header.
        unsafe {
            self.base().write_bytes(0, shape.span(self.bits()) - LINE);
            self.set_len(0);
        }
    }

    #[inline]
    pub(crate) fn base(self) -> *mut u8 {
        self.0.wrapping_sub(self.0.addr() & TAG)
    }

    #[inline]
    pub(crate) fn bits(self) -> u32 {
        (self.0.addr() & TAG_BITS) as u32
    }

    /// The bits of its words that are keys.
    #[inline]
    pub(crate) fn key_bits(self) -> u64 {
        if self.is_wide() { u64::MAX } else { NARROW }
    }

    /// Whether its words have no room for hints.
    #[inline]
    pub(crate) fn is_wide(self) -> bool {
        self.0.addr() & TAG_WIDE != 0
    }

    /// It has as many bits for keys as the other.
    pub(crate) fn as_wide_as(self, other: Self) -> Self {
        if other.is_wide() { self.widened() } else { self }
    }

    /// The same segment, wide: the caller has taken its hints away.
    pub(crate) fn widened(self) -> Self {
        if self.is_wide() { self } else { Self(self.0.wrapping_add(TAG_WIDE)) }
    }

    #[inline]
    pub(crate) fn groups(self) -> u32 {
        1 << self.bits()
    }

    /// Rows at which it grows: three of four.
    pub(crate) fn len_max(self) -> u32 {
        self.groups() * 3
    }

    /// # Safety
    ///
    /// Live, and not `NONE`.
    unsafe fn header(self) -> *mut Header {
        // SAFETY: the line before the groups.
        unsafe { self.base().sub(LINE).cast() }
    }

    /// # Safety
    ///
    /// Live.
    pub(crate) unsafe fn len(self) -> u32 {
        // SAFETY: checked not to be `NONE`.
        if self.is_none() { 0 } else { unsafe { (*self.header()).len } }
    }

    /// # Safety
    ///
    /// Live, not `NONE`, and what it says is so.
    pub(crate) unsafe fn set_len(self, len: u32) {
        // SAFETY: the caller's promise.
        unsafe { (*self.header()).len = len }
    }

    /// How many bits of the spot the segment's rows share.
    ///
    /// # Safety
    ///
    /// Live, and not `NONE`.
    pub(crate) unsafe fn depth(self) -> u32 {
        // SAFETY: the caller's promise.
        unsafe { (*self.header()).depth }
    }

    /// The group at an index.
    #[inline]
    pub(crate) fn group(self, shape: Shape, at: u32) -> *mut u8 {
        self.base().wrapping_add(at as usize * shape.group_bytes)
    }

    /// The mark of the group at an index.
    #[inline]
    pub(crate) fn mark(self, shape: Shape, at: u32) -> *mut u8 {
        let groups = self.groups() as usize;
        self.base().wrapping_add(groups * shape.group_bytes + at as usize)
    }

    /// The marks of all groups.
    ///
    /// # Safety
    ///
    /// Live, with this shape, not `NONE`, and nobody else uses them during `'m`.
    pub(crate) unsafe fn marks<'m>(self, shape: Shape) -> &'m mut [u8] {
        // SAFETY: `make` has made room for a mark of each group.
        unsafe { std::slice::from_raw_parts_mut(self.mark(shape, 0), self.groups() as usize) }
    }
}

/// The area of a row of a group.
#[inline(always)]
pub(crate) fn area(shape: Shape, group: *mut u8, row: u32) -> *mut u8 {
    group.wrapping_add(AREAS + row as usize * shape.stride)
}

impl Place {
    /// The row's word, with its hint.
    ///
    /// # Safety
    ///
    /// The place is in a live segment.
    #[inline(always)]
    pub(crate) unsafe fn word(&self) -> u64 {
        // SAFETY: the caller's promise.
        unsafe { *self.group.cast::<u64>().add(self.row as usize) }
    }

    /// # Safety
    ///
    /// The place is in a live segment that is not `NONE`.
    #[inline(always)]
    pub(crate) unsafe fn set_word(&self, word: u64) {
        // SAFETY: the caller's promise.
        unsafe { *self.group.cast::<u64>().add(self.row as usize) = word }
    }

    #[inline(always)]
    pub(crate) fn area(&self, shape: Shape) -> *mut u8 {
        area(shape, self.group, self.row)
    }
}

/// Brings the line of an address closer.
#[inline(always)]
pub(crate) fn prefetch(address: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch has no effect but on the cache, whatever the address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = address;
}
