//! Where everything lies in a frame, as constants and one small struct.
//!
//! ```text
//!   0        64                    records_end        index_start                  capacity
//!   │ header │ record │ record │ …  │      free        │ … block 1 │ block 0       │
//!                                                       └ block = 32 records in columns:
//!                                                         [region end u32 × 32] unless packed
//!                                                         [event time i64 × 32] if the edge has it
//!                                                         [key hash   u64 × 32] if the edge has it
//! ```
//!
//! # What is always true
//!
//! 1. Records grow up from the header, index blocks grow down from the end; they never meet.
//! 2. A column exists only if the [`FrameShape`] of the edge says so. A packed edge without time and hash
//!    has no index at all.
//! 3. All numbers are little-endian. `net/README.md` has the same picture byte by byte.

use wiesel_record::Record;

/// A frame: what is dispatched, credited, flushed and sent. 32 KiB is about 320 records of 100 bytes, 6 us
/// of copying at 5 GB/s, and half of a 64 KiB L1 cache's way to the next level.
pub const FRAME_BYTES: usize = 32 << 10;

/// The header of a frame: one cache line.
pub const HEADER_BYTES: usize = 64;

/// Records of one index block.
pub const BLOCK_RECORDS: usize = 32;

/// The smallest jumbo frame.
pub const JUMBO_BYTES_MIN: usize = 2 * FRAME_BYTES;

/// The largest frame, whatever the configuration says: what a record's pointers reach is 1 GiB less one.
pub const JUMBO_BYTES_LIMIT: usize = 512 << 20;

/// The default of the largest frame, and so of the largest record.
pub const RECORD_BYTES_MAX_DEFAULT: usize = 16 << 20;

/// The option that a user raises for larger records.
pub const RECORD_BYTES_MAX_OPTION: &str = "taskmanager.network.record-bytes-max";

/// The most records of a frame whose records have no bytes (`()`).
pub(crate) const EMPTY_RECORDS_MAX: u32 = FRAME_BYTES as u32;

const END_COLUMN_BYTES: usize = BLOCK_RECORDS * size_of::<u32>();
const TIME_COLUMN_BYTES: usize = BLOCK_RECORDS * size_of::<i64>();
const HASH_COLUMN_BYTES: usize = BLOCK_RECORDS * size_of::<u64>();

// Columns of eight-byte numbers start at multiples of eight: blocks count down from a page boundary.
const _: () = assert!(END_COLUMN_BYTES.is_multiple_of(8));
const _: () = assert!(FRAME_BYTES.is_power_of_two() && JUMBO_BYTES_LIMIT.is_power_of_two());

/// What the frames of an edge look like: fixed when the job is planned, the same at both ends.
///
/// Its fields always agree with each other, since [`of`](Self::of) is the only way to make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameShape {
    /// The hash of the record type's schema: who reads a frame checks it.
    pub(crate) schema: u64,
    /// The size of a record's root: the last bytes of its region.
    pub(crate) root_size: u32,
    /// Whether records are a packed array of roots; else each has a region of its own length.
    pub(crate) packed: bool,
    pub(crate) has_time: bool,
    pub(crate) has_hash: bool,
}

impl FrameShape {
    /// The frames of an edge of `T`, with the columns that its consumer needs.
    pub const fn of<T: Record>(has_time: bool, has_hash: bool) -> Self {
        assert!(T::ALIGN <= HEADER_BYTES && size_of::<T::Archived>() <= u32::MAX as usize);
        let root_size = size_of::<T::Archived>() as u32;
        Self { schema: T::SCHEMA.hash, root_size, packed: T::PACKED, has_time, has_hash }
    }

    /// Whether records carry their event time.
    pub const fn has_time(&self) -> bool {
        self.has_time
    }

    /// Whether records carry the hash of their key.
    pub const fn has_hash(&self) -> bool {
        self.has_hash
    }

    /// The size of a record if they are a packed array; `None` if each has a region of its own length.
    pub const fn packed_size(&self) -> Option<u32> {
        if self.packed { Some(self.root_size) } else { None }
    }

    /// The hash of the record type's schema.
    pub const fn schema(&self) -> u64 {
        self.schema
    }

    /// The columns of an index block.
    #[inline]
    pub(crate) const fn block(&self) -> BlockLayout {
        BlockLayout::new(self.packed, self.has_time, self.has_hash)
    }

    /// The smallest frame, if any up to `bytes_max`, in which a record whose region has `region_bytes` surely
    /// fits alone.
    pub fn frame_bytes_for(&self, region_bytes: usize, bytes_max: usize) -> Option<usize> {
        let needed = HEADER_BYTES.checked_add(region_bytes)?.checked_add(self.block().bytes)?;
        let bytes =
            if needed <= FRAME_BYTES { FRAME_BYTES } else { needed.checked_next_power_of_two()? };
        (bytes <= bytes_max.max(FRAME_BYTES)).then_some(bytes)
    }
}

/// Offsets of the columns inside a block. A column that does not exist has the offset of the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockLayout {
    pub time: usize,
    pub hash: usize,
    pub bytes: usize,
}

impl BlockLayout {
    #[inline]
    pub const fn new(packed: bool, has_time: bool, has_hash: bool) -> Self {
        let time = if packed { 0 } else { END_COLUMN_BYTES };
        let hash = time + if has_time { TIME_COLUMN_BYTES } else { 0 };
        Self { time, hash, bytes: hash + if has_hash { HASH_COLUMN_BYTES } else { 0 } }
    }

    /// All blocks of a frame of `count` records.
    #[inline]
    pub const fn index_bytes(&self, count: usize) -> usize {
        count.div_ceil(BLOCK_RECORDS) * self.bytes
    }
}

/// The next multiple of `align`, a power of two.
#[inline]
pub(crate) const fn align_up(position: usize, align: usize) -> usize {
    (position + align - 1) & !(align - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_exist_only_if_the_shape_says_so() {
        let block = |packed, time, hash| {
            let block = BlockLayout::new(packed, time, hash);
            (block.time, block.hash, block.bytes)
        };
        assert_eq!(block(true, false, false), (0, 0, 0));
        assert_eq!(block(true, true, false), (0, 256, 256));
        assert_eq!(block(true, true, true), (0, 256, 512));
        assert_eq!(block(false, false, false), (128, 128, 128));
        assert_eq!(block(false, true, true), (128, 384, 640));
        assert_eq!(BlockLayout::new(false, true, true).index_bytes(33), 2 * 640);
    }

    #[test]
    fn a_shape_is_that_of_its_type() {
        let shape = FrameShape::of::<(u64, u64)>(true, false);
        assert_eq!(
            (shape.packed_size(), shape.has_time(), shape.has_hash()),
            (Some(16), true, false)
        );
        assert_eq!(FrameShape::of::<String>(false, false).packed_size(), None);
        assert_ne!(shape.schema, FrameShape::of::<(u64, i64)>(true, false).schema);
    }

    #[test]
    fn a_large_record_gets_the_next_power_of_two() {
        let shape = FrameShape::of::<String>(true, true);
        let room = FRAME_BYTES - HEADER_BYTES - 640;
        for (region, expected) in [
            (0, Some(FRAME_BYTES)),
            (room, Some(FRAME_BYTES)),
            (room + 1, Some(64 << 10)),
            ((1 << 20) - 704, Some(1 << 20)),
            ((1 << 20) - 703, None),
            (usize::MAX, None),
        ] {
            assert_eq!(shape.frame_bytes_for(region, 1 << 20), expected, "{region}");
        }
    }
}
