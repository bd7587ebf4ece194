//! The only serialiser: it writes views into a buffer, one region after another.
//!
//! Invariant of this module's `unsafe`: a `Place` is only made over bytes that lie inside `buf`,
//! are initialised (zeroed just before), are aligned for its type, and are borrowed from the
//! writer until it is resolved; a slot of the scratch is read only after it was written with the
//! same type.
//!
//! ```text
//!   buf  ┊ … ┊0┊ "web" │0│ root ┊          0: gaps, zeroed
//!            start              end        Region { start, end }
//! ```
//!
//! # What is always true
//!
//! 1. On [`Full`] the writer is where it was: what lies behind is not a record.
//! 2. A region starts at a multiple of `T::ALIGN` *in memory*. Give it a buffer aligned to 64 and
//!    this is the same as in the buffer, on every machine.
//! 3. Parts come before what points to them; the root is last.

use std::{error, fmt, mem, ptr};

use rkyv::Place;

use crate::{List, Record};

/// Where a record lies in its buffer: `start..end`, in bytes. Its root is the last
/// `size_of::<T::Archived>()` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First byte; at a multiple of the record's alignment.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Region {
    /// Its length in bytes.
    #[inline]
    #[allow(clippy::len_without_is_empty, reason = "only a unit record is empty; nobody asks")]
    pub const fn len(self) -> usize {
        (self.end - self.start) as usize
    }
}

/// No room for the record; nothing counts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the record does not fit into what is left of the buffer")
    }
}

impl error::Error for Full {}

/// Where the parts of a list's elements wait until all are written. Kept between records, so that
/// none allocates.
#[derive(Debug, Default)]
pub struct Scratch {
    slots: Vec<mem::MaybeUninit<u128>>,
    used: usize,
}

impl Scratch {
    /// An empty one; grows to the largest list of records with strings that it meets.
    pub const fn new() -> Self {
        Self { slots: Vec::new(), used: 0 }
    }
}

/// The longest gap: nothing is aligned to more than 16.
const GAP_MAX: usize = 15;

/// Writes records into a buffer. Made on the stack for each append: it is a few words.
///
/// ```
/// use wiesel_record::{RecordWriter, RegionBuf, Scratch, to_region};
///
/// let mut frame = [0_u8; 64];
/// let mut scratch = Scratch::new();
/// let mut writer = RecordWriter::new(&mut frame, 0, &mut scratch);
/// let first = writer.write::<(u64, String)>((7, "a longer string")).expect("fits");
/// assert!(first.len() >= 15 + 16);
/// assert!(writer.write::<String>(&"x".repeat(64)).is_err());
/// assert_eq!(writer.position(), first.end as usize); // Nothing counts as written.
/// ```
#[derive(Debug)]
pub struct RecordWriter<'b> {
    buf: &'b mut [u8],
    position: usize,
    scratch: &'b mut Scratch,
}

impl<'b> RecordWriter<'b> {
    /// Writes at or after `start`. Align `buf` to 64 bytes if its bytes will move.
    ///
    /// # Panics
    /// If `start` is not inside `buf`, or `buf` is longer than 1 GiB, the reach of its pointers.
    #[inline]
    pub fn new(buf: &'b mut [u8], start: usize, scratch: &'b mut Scratch) -> Self {
        assert!(start <= buf.len() && buf.len() <= Self::BYTES_MAX);
        Self { buf, position: start, scratch }
    }

    /// The longest buffer: what the length of a string in an archive can say.
    pub const BYTES_MAX: usize = (1 << 30) - 1;

    /// Where the next byte goes.
    #[inline]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Writes one record.
    ///
    /// # Errors
    /// [`Full`] if it does not fit.
    // Always: a view of several words that goes through memory to a call and is loaded back in other
    // widths stalls the store buffer. Measured on six fields, two of them strings: 57 ns, inlined 13.
    #[inline(always)]
    pub fn write<T: Record>(&mut self, view: T::View<'_>) -> Result<Region, Full> {
        let before = self.position;
        let written = self.write_here::<T>(view);
        if written.is_err() {
            self.position = before;
        }
        written
    }

    #[inline(always)]
    fn write_here<T: Record>(&mut self, view: T::View<'_>) -> Result<Region, Full> {
        self.align(T::ALIGN)?;
        let start = self.position;
        let scratch_used = self.scratch.used;
        let parts = T::write_parts(view, self);
        self.scratch.used = scratch_used;
        let parts = parts?;
        let (position, root) = self.claim::<T::Archived>(1)?;
        // SAFETY: `claim` gives zeroed, aligned bytes inside `buf` for one root.
        T::resolve(view, parts, unsafe { Place::new_unchecked(position, root) });
        Ok(Region { start: start as u32, end: self.position as u32 })
    }

    /// Copies the region of a record that lies in another buffer.
    ///
    /// # Errors
    /// [`Full`] if it does not fit.
    #[inline]
    pub fn copy_region<T: Record>(&mut self, region: &[u8]) -> Result<Region, Full> {
        let before = self.position;
        self.align(T::ALIGN)?;
        let start = self.position;
        match self.bytes(region) {
            Ok(_) => Ok(Region { start: start as u32, end: self.position as u32 }),
            Err(full) => {
                self.position = before;
                Err(full)
            }
        }
    }

    /// Moves to the next multiple of `align`; the gap is zeroed.
    #[inline]
    fn align(&mut self, align: usize) -> Result<(), Full> {
        debug_assert!(align <= GAP_MAX + 1);
        let address = self.buf.as_ptr() as usize + self.position;
        let gap = address.wrapping_neg() & (align - 1);
        let room = self.buf.get_mut(self.position..).ok_or(Full)?;
        match room.first_chunk_mut::<{ GAP_MAX + 1 }>() {
            // One store, whatever the gap: what lies behind it is free, and is written next.
            Some(zeros) => *zeros = [0; GAP_MAX + 1],
            None => zero_at_the_end(room, gap)?,
        }
        self.position += gap;
        Ok(())
    }

    /// Appends bytes; returns where they lie.
    #[inline]
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<u32, Full> {
        let position = self.position;
        let room = self.buf.get_mut(position..).ok_or(Full)?;
        copy(room.get_mut(..bytes.len()).ok_or(Full)?, bytes);
        self.position += bytes.len();
        Ok(position as u32)
    }

    /// Appends bytes at a multiple of `align`.
    #[inline]
    pub(crate) fn aligned_bytes(&mut self, align: usize, bytes: &[u8]) -> Result<u32, Full> {
        self.align(align)?;
        self.bytes(bytes)
    }

    /// Claims room for `count` values of `A`: aligned, zeroed.
    #[inline]
    fn claim<A>(&mut self, count: usize) -> Result<(usize, *mut A), Full> {
        self.align(align_of::<A>())?;
        let size = size_of::<A>().checked_mul(count).ok_or(Full)?;
        let position = self.position;
        let room = self.buf.get_mut(position..).ok_or(Full)?.get_mut(..size).ok_or(Full)?;
        room.fill(0);
        self.position += size;
        Ok((position, room.as_mut_ptr().cast()))
    }

    /// Writes the elements of a list: all their parts, then all their roots.
    pub(crate) fn write_list<T: Record>(&mut self, list: List<'_, T>) -> Result<u32, Full> {
        const { assert!(align_of::<T::Parts>() <= align_of::<u128>()) };
        let count = list.len();
        let first = self.scratch.used;
        let slots = (size_of::<T::Parts>() * count).div_ceil(size_of::<u128>());
        self.scratch.used += slots;
        if self.scratch.slots.len() < self.scratch.used {
            self.scratch.slots.resize(self.scratch.used, mem::MaybeUninit::uninit());
        }
        for (index, view) in list.iter().enumerate() {
            let parts = T::write_parts(view, self)?;
            // Taken anew each time: an element's own lists may have moved the slots.
            let waiting = self.scratch.slots[first..].as_mut_ptr().cast::<T::Parts>();
            // SAFETY: `index < count`, and `slots` 16-byte slots from `first` on hold `count` parts,
            // aligned for them (asserted above). Nested lists use slots after `used`.
            unsafe { ptr::write(waiting.add(index), parts) };
        }
        let (position, roots) = self.claim::<T::Archived>(count)?;
        let waiting = self.scratch.slots[first..].as_ptr().cast::<T::Parts>();
        for (index, view) in list.iter().enumerate() {
            // SAFETY: the loop above wrote the parts at every index below `count`, as this type;
            // `iter` gives as many views each time, its length is fixed.
            let parts = unsafe { ptr::read(waiting.add(index)) };
            // SAFETY: `claim` gave room for `count` roots, zeroed and aligned.
            let out = unsafe {
                Place::new_unchecked(position + index * size_of::<T::Archived>(), roots.add(index))
            };
            T::resolve(view, parts, out);
        }
        self.scratch.used = first;
        Ok(position as u32)
    }
}

/// The gap where the buffer ends. Out of line, or the compiler makes one `memset` of both ways.
#[cold]
#[inline(never)]
fn zero_at_the_end(room: &mut [u8], gap: usize) -> Result<(), Full> {
    room.get_mut(..gap).ok_or(Full)?.fill(0);
    Ok(())
}

/// Copies between slices of equal length. Most strings are short, and a call of `memcpy` costs more
/// than two overlapping loads and stores.
#[inline]
fn copy(target: &mut [u8], source: &[u8]) {
    fn ends<const N: usize>(target: &mut [u8], source: &[u8]) -> Option<()> {
        let (first, last) = (source.first_chunk::<N>()?, source.last_chunk::<N>()?);
        *target.first_chunk_mut()? = *first;
        *target.last_chunk_mut()? = *last;
        Some(())
    }
    let copied = match source.len() {
        8..=16 => ends::<8>(target, source),
        17..=32 => ends::<16>(target, source),
        33..=64 => ends::<32>(target, source),
        _ => None,
    };
    if copied.is_none() {
        target.copy_from_slice(source);
    }
}
