//! How elements lie in a block of a list: `│ first chunk u32 │ next chunk u32 │ element │ element │ …`.

use std::ops::Range;

use wiesel_core::TaskFailure;
use wiesel_record::Record;

use super::damaged;
use crate::state_cell::decode;

/// Bytes before the first element.
pub(super) const HEADER_BYTES: usize = 8;

/// Whether each record of a list has a stamp beside it.
pub trait Stamps: Copy + Send + 'static {
    /// Whether it has.
    const STAMPED: bool;
}

/// Lists with a stamp for each record.
#[derive(Clone, Copy, Debug)]
pub struct Stamped;

/// Lists of records alone.
#[derive(Clone, Copy, Debug)]
pub struct Unstamped;

impl Stamps for Stamped {
    const STAMPED: bool = true;
}

impl Stamps for Unstamped {
    const STAMPED: bool = false;
}

/// An element's stamp (0 without), and where its region lies in its block.
pub(super) struct Element {
    pub(super) stamp: i64,
    pub(super) region: Range<usize>,
}

/// Whether elements say how long they are. Those of nothing do, or they would take no room.
pub(super) const fn has_len<T: Record>() -> bool {
    !T::PACKED || size_of::<T::Archived>() == 0
}

/// Where the parts of an element behind `at` lie: stamp, length, region.
#[inline(always)]
pub(super) const fn layout_of<T: Record, S: Stamps>(at: usize) -> (usize, usize, usize) {
    let stamp = if S::STAMPED { at.next_multiple_of(8) } else { at };
    let behind = if S::STAMPED { stamp + 8 } else { stamp };
    let len = if has_len::<T>() { behind.next_multiple_of(4) } else { behind };
    let region = if has_len::<T>() { len + 4 } else { len };
    (stamp, len, region.next_multiple_of(T::ALIGN))
}

/// The element at `at`. The block was written by `append`, or checked.
#[inline(always)]
pub(super) fn element<T: Record, S: Stamps>(block: &[u8], at: usize) -> Element {
    let (stamp_at, len_at, start) = layout_of::<T, S>(at);
    let stamp = if S::STAMPED { u64_at(block, stamp_at).cast_signed() } else { 0 };
    let len =
        if has_len::<T>() { u32_at(block, len_at) as usize } else { size_of::<T::Archived>() };
    Element { stamp, region: start..start + len }
}

#[inline(always)]
pub(super) fn append<T: Record, S: Stamps>(block: &mut Vec<u8>, region: &[u8], stamp: i64) {
    let (stamp_at, len_at, start) = layout_of::<T, S>(block.len());
    block.resize(start, 0);
    if S::STAMPED {
        block[stamp_at..stamp_at + 8].copy_from_slice(&stamp.to_le_bytes());
    }
    if has_len::<T>() {
        block[len_at..len_at + 4].copy_from_slice(&(region.len() as u32).to_le_bytes());
    }
    block.extend_from_slice(region);
}

/// The stamp of the last element of a block.
pub(super) fn last_stamp<T: Record, S: Stamps>(block: &[u8]) -> Option<i64> {
    let (mut at, mut last) = (HEADER_BYTES, None);
    while at < block.len() {
        let Element { stamp, region } = element::<T, S>(block, at);
        (at, last) = (region.end, Some(stamp));
    }
    last
}

/// Checks a block that nobody vouches for.
pub(super) fn check_block<T: Record, S: Stamps>(block: &[u8]) -> Result<(), TaskFailure> {
    if block.len() <= HEADER_BYTES || first_chunk(block) > next_chunk(block) {
        return Err(damaged("a block of a list has no header, or no record"));
    }
    let mut at = HEADER_BYTES;
    while at < block.len() {
        if layout_of::<T, S>(at).2 > block.len() {
            return Err(damaged("a block of a list ends within a record"));
        }
        let Range { start, end } = element::<T, S>(block, at).region;
        let Some(region) = block.get(start..end).filter(|_| end > at) else {
            return Err(damaged("a block of a list ends within a record"));
        };
        decode::<T>(region)?;
        at = end;
    }
    Ok(())
}

#[inline(always)]
pub(super) fn first_chunk(block: &[u8]) -> u32 {
    u32_at(block, 0)
}

#[inline(always)]
pub(super) fn next_chunk(block: &[u8]) -> u32 {
    u32_at(block, 4)
}

#[inline(always)]
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

#[inline(always)]
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}
