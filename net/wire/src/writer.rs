//! An open frame: records are appended until it is full.
//!
//! Invariant of this module's `unsafe`: `HEADER_BYTES <= cursor <= limit <= capacity` if there is a frame, else
//! all three are 0; the bytes from `limit` to the end are index blocks, the lowest of which is block
//! `(count - 1) / 32`. All access is to bytes of `frame`, which the writer owns.
//!
//! ```text
//!   │ header │ records ──▶ cursor      limit ◀── index blocks │
//!                             └── free ──┘
//! ```
//!
//! # What is always true
//!
//! 1. After [`Full`] the writer is as it was: the record counts as not written.
//! 2. All records of a frame are of the type that its shape was made for.
//! 3. A writer without a frame is full. So whoever appends has one case to handle, not two.

use std::slice;

use rkyv::Place;
use wiesel_core::{Meta, Timestamp};
use wiesel_record::{Full, Item, Record, RecordWriter, Scratch};

use crate::{
    Frame, FrameShape,
    frame::{KIND_DATA, LAYOUT_VERSION, at, flag},
    layout::{BLOCK_RECORDS, BlockLayout, EMPTY_RECORDS_MAX, HEADER_BYTES},
    prefetch,
};

/// Records of this size ask for the lines of the next one themselves: an exchange of kilobytes goes from 3.6 to 10 GB/s.
const LARGE_BYTES: usize = 256;

/// Writes records into a frame.
///
/// ```
/// use wiesel_core::Meta;
/// use wiesel_record::{Full, Scratch, Viewed};
/// use wiesel_wire::{FramePool, FrameShape, FrameView, FrameWriter};
///
/// let pool = FramePool::new(1, 0);
/// let mut frames = pool.reserve(1)?;
/// let frame = frames.take().expect("reserved");
/// let mut writer = FrameWriter::open(frame, FrameShape::of::<String>(false, false));
/// let mut scratch = Scratch::new();
/// writer.append::<String, _>(&Viewed("weasel"), Meta::NONE, &mut scratch).expect("it has room");
///
/// let frame = writer.close();
/// assert_eq!(FrameView::<String>::new(&frame).record(0).get(), "weasel");
/// frames.give(frame);
/// # Ok::<(), wiesel_wire::PoolError>(())
/// ```
#[derive(Debug)]
pub struct FrameWriter {
    frame: Frame,
    cursor: usize,
    limit: usize,
    count: u32,
    /// Records that the lowest index block has room for; 0 in a frame that takes no more.
    block_left: u32,
    block: BlockLayout,
    shape: FrameShape,
    watermark: Option<Timestamp>,
}

impl FrameWriter {
    /// Starts to fill `frame`; what was in it is forgotten.
    pub fn open(mut frame: Frame, shape: FrameShape) -> Self {
        frame.bytes_mut()[..HEADER_BYTES].fill(0);
        let limit = frame.capacity();
        Self { frame, cursor: HEADER_BYTES, limit, ..Self::without_frame(shape) }
    }

    /// A writer without a frame: every append finds it full.
    pub fn without_frame(shape: FrameShape) -> Self {
        let block = shape.block();
        Self {
            frame: Frame::none(),
            cursor: 0,
            limit: 0,
            count: 0,
            block_left: 0,
            block,
            shape,
            watermark: None,
        }
    }

    /// Whether it has a frame.
    pub fn has_frame(&self) -> bool {
        self.frame.capacity() > 0
    }

    /// Whether it has a frame that no watermark closed. The next record may still be too large for it.
    pub fn is_writable(&self) -> bool {
        self.has_frame() && self.watermark.is_none()
    }

    /// How many records were appended.
    #[inline]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether no record was appended.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The watermark that rides in this frame, if any.
    pub fn watermark(&self) -> Option<Timestamp> {
        self.watermark
    }

    /// Lets a watermark ride in the header. It follows the records, so none is appended after it: from here
    /// on the frame is full.
    pub fn set_watermark(&mut self, watermark: Timestamp) {
        self.watermark = Some(watermark);
        self.block_left = 0;
    }

    /// Appends a record with its time and hash, as far as the edge has columns for them.
    ///
    /// # Errors
    ///
    /// [`Full`] if there is no room, or a watermark rides in the header.
    ///
    /// # Panics
    ///
    /// If the frame was opened for another type.
    #[inline(always)]
    pub fn append<T: Record, I: Item<T>>(
        &mut self,
        item: &I,
        meta: Meta,
        scratch: &mut Scratch,
    ) -> Result<(), Full> {
        assert!(self.shape.schema == T::SCHEMA.hash, "a frame holds one type of records");
        let (mut limit, mut left) = (self.limit, self.block_left);
        if left == 0 {
            std::hint::cold_path();
            limit = self.open_block::<T>()?;
            left = BLOCK_RECORDS as u32;
        }
        let slot = BLOCK_RECORDS - left as usize;
        let end = if T::PACKED {
            self.write_root::<T, I>(item, limit, scratch)?
        } else if T::is_root_only(item.view()) && self.cursor.is_multiple_of(T::ALIGN) {
            let end = self.write_root::<T, I>(item, limit, scratch)?;
            // SAFETY: there is a column of region ends, since the shape is that of `T`.
            unsafe { self.put(limit + slot * size_of::<u32>(), (end as u32).to_le_bytes()) };
            end
        } else {
            // SAFETY: `limit` is inside the frame, and `self` is borrowed alone.
            let room = unsafe { slice::from_raw_parts_mut(self.frame.as_ptr(), limit) };
            let region = item.write(&mut RecordWriter::new(room, self.cursor, scratch))?;
            assert!(region.end as usize <= limit, "a region is inside the room that it was given");
            // SAFETY: there is a column of region ends, since the shape is that of `T`.
            unsafe { self.put(limit + slot * size_of::<u32>(), region.end.to_le_bytes()) };
            region.end as usize
        };
        if self.shape.has_time {
            let place = limit + self.block.time + slot * size_of::<i64>();
            // SAFETY: there is a column of times.
            unsafe { self.put(place, meta.time_column().to_le_bytes()) };
        }
        if self.shape.has_hash {
            let place = limit + self.block.hash + slot * size_of::<u64>();
            // SAFETY: there is a column of hashes.
            unsafe { self.put(place, meta.hash.unwrap_or(0).to_le_bytes()) };
        }
        let written = if T::PACKED { size_of::<T::Archived>() } else { end - self.cursor };
        if written >= LARGE_BYTES {
            // A block of 32 such records is more than `open_block` asks for.
            prefetch::for_write(self.frame.bytes(), end, written);
        }
        (self.limit, self.cursor) = (limit, end);
        (self.count, self.block_left) = (self.count + 1, left - 1);
        Ok(())
    }

    /// Writes a record that is only its root, where a root may lie. Its place is known, so all that [`RecordWriter`] does
    /// beside is left out.
    #[inline(always)]
    fn write_root<T: Record, I: Item<T>>(
        &mut self,
        item: &I,
        limit: usize,
        scratch: &mut Scratch,
    ) -> Result<usize, Full> {
        let (start, end) = (self.cursor, self.cursor + size_of::<T::Archived>());
        if end > limit {
            return Err(Full);
        }
        let view = item.view();
        let parts = T::write_parts(view, &mut RecordWriter::new(&mut [], 0, scratch))?;
        // SAFETY: `start..end` is inside the frame and before the index. The base is aligned to a page. Of packed records
        // the first is aligned to 64, and the size of a root is a multiple of its alignment; of others the caller has
        // looked at `start`: so `root` is aligned. Its bytes are initialised and zeroed, as `resolve` wants them, and
        // borrowed until it returns.
        unsafe {
            let root = self.frame.as_ptr().add(start).cast::<T::Archived>();
            root.write_bytes(0, 1);
            T::resolve(view, parts, Place::new_unchecked(start, root));
        }
        Ok(end)
    }

    /// Writes a number into a column of the lowest index block.
    ///
    /// # Safety
    ///
    /// `place..place + N` is inside the frame.
    #[inline(always)]
    unsafe fn put<const N: usize>(&mut self, place: usize, value: [u8; N]) {
        debug_assert!(place + N <= self.frame.capacity());
        // SAFETY: inside the frame, which `self` owns; a byte array may be written to any address.
        unsafe { self.frame.as_ptr().add(place).cast::<[u8; N]>().write(value) };
    }

    /// Where the limit is once there is room for 32 records more in the index.
    #[inline]
    fn open_block<T: Record>(&self) -> Result<usize, Full> {
        let limit = self.limit.checked_sub(self.block.bytes).ok_or(Full)?;
        let uncounted = size_of::<T::Archived>() == 0 && self.count == EMPTY_RECORDS_MAX;
        let closed = self.watermark.is_some() || !self.has_frame();
        if limit < self.cursor || uncounted || closed {
            return Err(Full);
        }
        self.prefetch::<T>(limit);
        Ok(limit)
    }

    /// Asks for the lines that the records after the next 32 and their index block will be written to.
    fn prefetch<T: Record>(&self, limit: usize) {
        let used = self.cursor - HEADER_BYTES;
        let each = used.checked_div(self.count as usize).unwrap_or(size_of::<T::Archived>());
        let block = each * BLOCK_RECORDS;
        // The first block of a frame has nobody who asked for it.
        let blocks = if self.count == 0 { 2 } else { 1 };
        let from = self.cursor + (2 - blocks) * block;
        prefetch::for_write(self.frame.bytes(), from, blocks * block);
        let index = self.block.bytes;
        let below = limit.saturating_sub(index);
        prefetch::for_write(self.frame.bytes(), below, blocks * index);
    }

    /// Finishes the header. The frame can be read, and sent.
    ///
    /// # Panics
    ///
    /// If there is no frame.
    pub fn close(mut self) -> Frame {
        assert!(self.has_frame(), "a writer without a frame has nothing to close");
        let bit = |is: bool, bit: u8| if is { bit } else { 0 };
        let flags = bit(self.watermark.is_some(), flag::WATERMARK)
            | bit(self.shape.has_time, flag::TIME)
            | bit(self.shape.has_hash, flag::HASH)
            | bit(self.shape.packed, flag::PACKED);
        let watermark = self.watermark.map_or(0, Timestamp::as_millis);
        let capacity = self.frame.capacity() as u32;
        let frame = &mut self.frame;
        frame.put(at::KIND, [KIND_DATA, flags]);
        frame.put(at::VERSION, LAYOUT_VERSION.to_le_bytes());
        frame.put(at::COUNT, self.count.to_le_bytes());
        frame.put(at::CAPACITY, capacity.to_le_bytes());
        frame.put(at::RECORDS_END, (self.cursor as u32).to_le_bytes());
        frame.put(at::INDEX_START, (self.limit as u32).to_le_bytes());
        frame.put(at::WATERMARK, watermark.to_le_bytes());
        frame.put(at::SCHEMA, self.shape.schema.to_le_bytes());
        frame.put(at::ROOT_SIZE, self.shape.root_size.to_le_bytes());
        self.frame
    }
}
