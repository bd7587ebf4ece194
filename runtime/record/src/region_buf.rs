//! A region in memory of its own: records larger than a frame, and values of state.
//!
//! Invariant of this module's `unsafe`: blocks are plain initialised bytes, so a slice of blocks is
//! a slice of bytes.
//!
//! # What is always true
//!
//! 1. It starts at a multiple of 64 bytes, so its bytes are the same as in a frame.
//! 2. It never shrinks: writing a record that is not larger than an earlier one allocates nothing.

use std::{error, fmt, slice};

use crate::{Full, Record, RecordWriter, Scratch};

/// A buffer that holds one region and grows to fit it.
///
/// ```
/// use wiesel_record::{Record, RegionBuf, root_unchecked};
///
/// let mut buf = RegionBuf::new();
/// buf.write::<(u64, String)>((7, "seven as a word"), 1 << 20)?;
/// // SAFETY: written just now, as this type.
/// let root = unsafe { root_unchecked::<(u64, String)>(buf.as_bytes(), buf.as_bytes().len()) };
/// assert_eq!(<(u64, String)>::view_of(root), (7, "seven as a word"));
/// # Ok::<(), wiesel_record::TooLarge>(())
/// ```
#[derive(Debug, Default)]
pub struct RegionBuf {
    blocks: Vec<Block>,
    len: usize,
    scratch: Scratch,
}

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Block([u8; 64]);

const _: () = assert!(size_of::<Block>() == 64);

/// A record is larger than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// The name of its type.
    pub record: &'static str,
    /// How large it may be.
    pub limit_bytes: usize,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { record, limit_bytes } = self;
        write!(
            f,
            "a record of type {record} is larger than {limit_bytes} bytes: split it, or raise the limit"
        )
    }
}

impl error::Error for TooLarge {}

impl RegionBuf {
    /// An empty one. It allocates when it is first written.
    pub const fn new() -> Self {
        Self { blocks: Vec::new(), len: 0, scratch: Scratch::new() }
    }

    /// Writes a record in place of what was here, growing as needed.
    ///
    /// # Errors
    /// [`TooLarge`] if its region is longer than `limit_bytes`; nothing is here then.
    pub fn write<T: Record>(
        &mut self,
        view: T::View<'_>,
        limit_bytes: usize,
    ) -> Result<(), TooLarge> {
        let limit_bytes = limit_bytes.min(RecordWriter::BYTES_MAX);
        self.len = 0;
        loop {
            let Self { blocks, scratch, .. } = self;
            let bytes = bytes_of(blocks);
            let room = bytes.len().min(limit_bytes);
            match RecordWriter::new(&mut bytes[..room], 0, scratch).write::<T>(view) {
                Ok(region) => {
                    self.len = region.end as usize;
                    return Ok(());
                }
                Err(Full) if room == limit_bytes => {
                    return Err(TooLarge { record: T::SCHEMA.name, limit_bytes });
                }
                Err(Full) => {
                    let blocks = (self.blocks.len() * 2).max(4);
                    self.blocks.resize(blocks, Block([0; 64]));
                }
            }
        }
    }

    /// The region: its start is aligned to 64, its end is the end of the root.
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: blocks are initialised bytes, and `len` was a position inside them.
        unsafe { slice::from_raw_parts(self.blocks.as_ptr().cast(), self.len) }
    }
}

fn bytes_of(blocks: &mut [Block]) -> &mut [u8] {
    let len = size_of_val(blocks);
    // SAFETY: blocks are initialised bytes without padding, and any byte may stand in them.
    unsafe { slice::from_raw_parts_mut(blocks.as_mut_ptr().cast(), len) }
}

/// The region of a record, in memory of its own: for a record that fits no frame.
///
/// # Errors
/// [`TooLarge`] if it is longer than `limit_bytes`.
pub fn to_region<T: Record>(view: T::View<'_>, limit_bytes: usize) -> Result<RegionBuf, TooLarge> {
    let mut buf = RegionBuf::new();
    buf.write::<T>(view, limit_bytes)?;
    Ok(buf)
}
