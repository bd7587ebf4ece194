//! A frame: 32 KiB of aligned memory (or more, for one record) with a header.
//!
//! Invariant of this module's `unsafe`: if `capacity` is 0, `base` dangles and nothing is freed; otherwise it points
//! to `capacity` initialised bytes, aligned to [`FRAME_ALIGN`], which this frame alone owns and frees.
//!
//! # What is always true
//!
//! 1. If the header names a schema, then a [`FrameWriter`] of that schema wrote the records and closed the frame, or
//!    [`from_wire`] has checked all of it. Either way the first `count` records are of that schema, and their regions,
//!    columns and index blocks lie inside the frame, where the header and `layout` say. After that only
//!    [`address`](Frame::address) writes to it, to two fields of the header, until a writer opens it anew and
//!    clears the header first.
//! 2. A frame that is dropped frees its memory. Normally it goes home to its pool instead.
//!
//! [`FrameWriter`]: crate::FrameWriter
//! [`from_wire`]: crate::from_wire

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    fmt,
    ptr::NonNull,
    slice,
};

use wiesel_core::Timestamp;

use crate::{
    FRAME_BYTES,
    layout::{HEADER_BYTES, JUMBO_BYTES_LIMIT},
};

/// The alignment of a frame: a page.
pub(crate) const FRAME_ALIGN: usize = 4096;

/// The version of the layout in the header.
pub(crate) const LAYOUT_VERSION: u16 = 1;

/// The kind of a frame with records.
pub(crate) const KIND_DATA: u8 = 1;

/// The bits of the flags in the header.
pub(crate) mod flag {
    pub const WATERMARK: u8 = 1;
    pub const TIME: u8 = 2;
    pub const HASH: u8 = 4;
    pub const PACKED: u8 = 8;
}

/// Offsets of the header's fields. `net/README.md` is the same table in words.
pub(crate) mod at {
    pub const CHANNEL: usize = 0; // u32
    pub const KIND: usize = 4; // u8
    pub const FLAGS: usize = 5; // u8
    pub const VERSION: usize = 6; // u16
    pub const SEQUENCE: usize = 8; // u64
    pub const COUNT: usize = 16; // u32
    pub const CAPACITY: usize = 20; // u32
    pub const RECORDS_END: usize = 24; // u32
    pub const INDEX_START: usize = 28; // u32
    pub const WATERMARK: usize = 32; // i64
    pub const SCHEMA: usize = 40; // u64
    pub const ROOT_SIZE: usize = 48; // u32
    pub const CHECKSUM: usize = 52; // u32, the last field; 56..64 are zero
}

const _: () = assert!(at::CHECKSUM + size_of::<u32>() <= HEADER_BYTES);
const _: () = assert!(JUMBO_BYTES_LIMIT <= u32::MAX as usize);

/// A buffer with a header and records. Moves between shards; is written by one and read by one.
pub struct Frame {
    base: NonNull<u8>,
    capacity: u32,
}

// SAFETY: a frame owns its memory, and nothing in it belongs to a thread.
unsafe impl Send for Frame {}
// SAFETY: a shared frame is only read; all writing takes `&mut`.
unsafe impl Sync for Frame {}

impl Frame {
    /// New, zeroed memory: every page of it is touched, so that no later write faults.
    ///
    /// # Panics
    ///
    /// If `capacity` is not a power of two from [`FRAME_BYTES`] to 512 MiB.
    pub(crate) fn allocate(capacity: usize) -> Self {
        assert!(capacity.is_power_of_two());
        assert!((FRAME_BYTES..=JUMBO_BYTES_LIMIT).contains(&capacity));
        let layout = Self::layout(capacity as u32);
        // SAFETY: the layout is not empty.
        let base = unsafe { alloc_zeroed(layout) };
        let Some(base) = NonNull::new(base) else { handle_alloc_error(layout) };
        let mut frame = Self { base, capacity: capacity as u32 };
        // Zeroed pages may all be the kernel's one zero page: a write to each makes it ours.
        frame.bytes_mut().iter_mut().step_by(FRAME_ALIGN).for_each(|byte| {
            // SAFETY: a live, initialised byte of this frame. Volatile, because writing zero to zero is nothing.
            unsafe { std::ptr::write_volatile(byte, 0) };
        });
        frame
    }

    /// No memory at all: what a writer holds that has no frame.
    pub(crate) const fn none() -> Self {
        Self { base: NonNull::dangling(), capacity: 0 }
    }

    const fn layout(capacity: u32) -> Layout {
        match Layout::from_size_align(capacity as usize, FRAME_ALIGN) {
            Ok(layout) => layout,
            Err(_) => panic!("a capacity of at most 512 MiB has a layout"),
        }
    }

    /// All its memory, in bytes.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// Whether it holds one record that fits no ordinary frame.
    #[inline]
    pub fn is_jumbo(&self) -> bool {
        self.capacity() > FRAME_BYTES
    }

    /// The channel it was sent on; `u32::MAX` for a frame that all channels share.
    pub fn channel(&self) -> u32 {
        self.u32_at(at::CHANNEL)
    }

    /// How many frames were sent on the channel before it.
    pub fn sequence(&self) -> u64 {
        self.u64_at(at::SEQUENCE)
    }

    /// How many records it holds.
    #[inline]
    pub fn count(&self) -> u32 {
        self.u32_at(at::COUNT)
    }

    /// Header, records and index: the bytes that carry something.
    pub fn payload_bytes(&self) -> usize {
        let (end, index) = (self.u32_at(at::RECORDS_END), self.u32_at(at::INDEX_START));
        end as usize + self.capacity() - index as usize
    }

    /// The watermark that follows its last record, if one rides in the header.
    #[inline]
    pub fn watermark(&self) -> Option<Timestamp> {
        let rides = self.flags() & flag::WATERMARK != 0;
        rides.then(|| Timestamp::from_millis(self.u64_at(at::WATERMARK) as i64))
    }

    /// Says where it goes. The partition does so when the frame leaves.
    pub fn address(&mut self, channel: u32, sequence: u64) {
        self.put(at::CHANNEL, channel.to_le_bytes());
        self.put(at::SEQUENCE, sequence.to_le_bytes());
    }

    pub(crate) fn flags(&self) -> u8 {
        self.bytes()[at::FLAGS]
    }

    pub(crate) fn schema(&self) -> u64 {
        self.u64_at(at::SCHEMA)
    }

    #[inline]
    pub(crate) fn u32_at(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.array_at(offset))
    }

    #[inline]
    pub(crate) fn u64_at(&self, offset: usize) -> u64 {
        u64::from_le_bytes(self.array_at(offset))
    }

    /// Overwrites a field of the header.
    #[inline]
    pub(crate) fn put<const N: usize>(&mut self, offset: usize, field: [u8; N]) {
        self.bytes_mut()[offset..offset + N].copy_from_slice(&field);
    }

    #[inline]
    fn array_at<const N: usize>(&self, offset: usize) -> [u8; N] {
        let mut field = [0; N];
        field.copy_from_slice(&self.bytes()[offset..offset + N]);
        field
    }

    /// All its bytes.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the invariant of this module; zero bytes may lie at a dangling, aligned address.
        unsafe { slice::from_raw_parts(self.base.as_ptr(), self.capacity()) }
    }

    /// Its first byte, for a writer that keeps to the capacity by itself.
    #[inline]
    pub(crate) fn as_ptr(&mut self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// All its bytes, to write.
    #[inline]
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the invariant of this module, and `self` is borrowed alone.
        unsafe { slice::from_raw_parts_mut(self.base.as_ptr(), self.capacity()) }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        if self.capacity > 0 {
            // SAFETY: allocated with this layout, owned by this frame alone, and freed once.
            unsafe { dealloc(self.base.as_ptr(), Self::layout(self.capacity)) };
        }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.capacity == 0 {
            return f.write_str("Frame(none)");
        }
        let (channel, sequence, count) = (self.channel(), self.sequence(), self.count());
        write!(f, "Frame({count} records, channel {channel}, number {sequence}")?;
        match self.watermark() {
            Some(watermark) => write!(f, ", watermark {watermark})"),
            None => f.write_str(")"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_frame_is_zero_and_aligned() {
        for capacity in [FRAME_BYTES, 2 * FRAME_BYTES, 1 << 20] {
            let frame = Frame::allocate(capacity);
            assert!(frame.bytes().iter().all(|byte| *byte == 0));
            assert_eq!(frame.bytes().as_ptr() as usize % FRAME_ALIGN, 0);
            assert_eq!((frame.capacity(), frame.is_jumbo()), (capacity, capacity > FRAME_BYTES));
            assert_eq!((frame.count(), frame.watermark()), (0, None));
        }
    }

    #[test]
    fn the_header_says_where_a_frame_goes() {
        let mut frame = Frame::allocate(FRAME_BYTES);
        frame.address(7, 1 << 40);
        assert_eq!((frame.channel(), frame.sequence()), (7, 1 << 40));
        assert_eq!(format!("{frame:?}"), "Frame(0 records, channel 7, number 1099511627776)");
        assert_eq!(format!("{:?}", Frame::none()), "Frame(none)");
    }

    #[test]
    fn a_frame_can_be_sent_and_shared() {
        let frame: Box<dyn Send + Sync> = Box::new(Frame::none());
        assert_eq!(size_of_val(&*frame), size_of::<Frame>());
    }
}
