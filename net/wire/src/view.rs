//! Typed read access to a closed frame.
//!
//! Invariant of this module's `unsafe`: the frame's header names the schema of `T`, so (invariant 1 of
//! [`Frame`]) its records are `T`s whose regions and columns lie where the header says; indices below
//! `count` are inside.
//!
//! # What is always true
//!
//! 1. Reading checks one index a record, and nothing else: no bounds, no UTF-8.
//! 2. A frame of another type is refused when the view is made.

use std::marker::PhantomData;

use wiesel_core::{Meta, Timestamp};
use wiesel_record::{InFrame, Record};

use crate::{
    Frame,
    frame::flag,
    layout::{BLOCK_RECORDS, BlockLayout, FrameShape, HEADER_BYTES, align_up},
};

/// The records of a frame.
#[derive(Debug)]
pub struct FrameView<'f, T> {
    bytes: &'f [u8],
    count: usize,
    block: BlockLayout,
    has_time: bool,
    has_hash: bool,
    record: PhantomData<fn() -> T>,
}

impl<T> Clone for FrameView<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for FrameView<'_, T> {}

impl<'f, T: Record> FrameView<'f, T> {
    /// The records of `frame`.
    ///
    /// # Panics
    ///
    /// If the frame holds records of another type: the two ends of an edge were built differently.
    pub fn new(frame: &'f Frame) -> Self {
        let schema = T::SCHEMA;
        assert!(
            frame.schema() == schema.hash,
            "{frame:?} does not hold records of {}",
            schema.name
        );
        let flags = frame.flags();
        let (has_time, has_hash) = (flags & flag::TIME != 0, flags & flag::HASH != 0);
        Self {
            bytes: frame.bytes(),
            count: frame.count() as usize,
            block: BlockLayout::new(T::PACKED, has_time, has_hash),
            has_time,
            has_hash,
            record: PhantomData,
        }
    }

    /// What all frames of its edge look like.
    pub fn shape(&self) -> FrameShape {
        FrameShape::of::<T>(self.has_time, self.has_hash)
    }

    /// How many records there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none, as in a frame that only carries a watermark.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The record at `index`.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[inline]
    pub fn record(&self, index: usize) -> InFrame<'f, T> {
        assert!(index < self.count);
        let (start, end) = if T::PACKED {
            let size = size_of::<T::Archived>();
            (HEADER_BYTES + index * size, HEADER_BYTES + (index + 1) * size)
        } else {
            let before = if index == 0 { HEADER_BYTES } else { self.end(index - 1) };
            (align_up(before, T::ALIGN), self.end(index))
        };
        // SAFETY: the invariant of this module: a region of a `T` lies at `start..end`.
        unsafe { InFrame::new(self.bytes.get_unchecked(start..end)) }
    }

    /// Time and hash of the record at `index`.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[inline]
    pub fn meta(&self, index: usize) -> Meta {
        Meta { time: self.time(index), hash: self.hash(index) }
    }

    /// The event time of the record at `index`, if the edge has times and the record has one.
    ///
    /// # Panics
    ///
    /// If there is no such record.
    #[inline]
    pub fn time(&self, index: usize) -> Option<Timestamp> {
        if !self.has_time {
            return None;
        }
        Meta::time_from_column(i64::from_le_bytes(self.column(index, self.block.time)))
    }

    /// The key hash of the record at `index`, if the edge has hashes.
    ///
    /// # Panics
    ///
    /// If there is no such record.
    #[inline]
    pub fn hash(&self, index: usize) -> Option<u64> {
        self.has_hash.then(|| u64::from_le_bytes(self.column(index, self.block.hash)))
    }

    /// The key hashes of `len` records from `first` on, in little-endian bytes, if the edge has hashes.
    ///
    /// # Panics
    ///
    /// If there are no such records, or they are not of one block of [`BLOCK_RECORDS`].
    #[inline]
    pub fn hashes(&self, first: usize, len: usize) -> Option<&'f [[u8; 8]]> {
        assert!(first + len <= self.count && first % BLOCK_RECORDS + len <= BLOCK_RECORDS);
        if !self.has_hash || len == 0 {
            return self.has_hash.then_some(&[]);
        }
        let place = self.place::<8>(first, self.block.hash);
        // SAFETY: the invariant of this module, as in `column`; the hashes of a block lie side by side.
        Some(unsafe { std::slice::from_raw_parts(self.bytes.as_ptr().add(place).cast(), len) })
    }

    /// The records from `first` on, each with its time and hash.
    #[inline]
    pub fn iter_from(self, first: usize) -> FrameIter<'f, T> {
        FrameIter { view: self, next: first }
    }

    /// All records, each with its time and hash.
    #[inline]
    pub fn iter(self) -> FrameIter<'f, T> {
        self.iter_from(0)
    }

    /// Where the region of the record at `index` ends.
    #[inline]
    fn end(&self, index: usize) -> usize {
        u32::from_le_bytes(self.column(index, 0)) as usize
    }

    /// The number of the record at `index` in the column at `offset` of its block.
    #[inline]
    fn column<const N: usize>(&self, index: usize, offset: usize) -> [u8; N] {
        let place = self.place::<N>(index, offset);
        // SAFETY: the invariant of this module: the blocks of all records are inside the frame, and the column is
        // inside the block. A byte array may be read from any address.
        unsafe { self.bytes.as_ptr().add(place).cast::<[u8; N]>().read() }
    }

    /// Where in the frame that number is.
    #[inline]
    fn place<const N: usize>(&self, index: usize, offset: usize) -> usize {
        assert!(index < self.count);
        let block = self.bytes.len() - (index / BLOCK_RECORDS + 1) * self.block.bytes;
        let place = block + offset + index % BLOCK_RECORDS * N;
        debug_assert!(place + N <= self.bytes.len());
        place
    }
}

impl<'f, T: Record> IntoIterator for FrameView<'f, T> {
    type Item = (InFrame<'f, T>, Meta);
    type IntoIter = FrameIter<'f, T>;

    #[inline]
    fn into_iter(self) -> FrameIter<'f, T> {
        self.iter()
    }
}

/// Goes through the records of a frame.
#[derive(Debug)]
pub struct FrameIter<'f, T> {
    view: FrameView<'f, T>,
    next: usize,
}

impl<'f, T: Record> Iterator for FrameIter<'f, T> {
    type Item = (InFrame<'f, T>, Meta);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let index = self.next;
        if index >= self.view.count {
            return None;
        }
        self.next = index + 1;
        Some((self.view.record(index), self.view.meta(index)))
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.view.count.saturating_sub(self.next);
        (left, Some(left))
    }
}

impl<T: Record> ExactSizeIterator for FrameIter<'_, T> {}
