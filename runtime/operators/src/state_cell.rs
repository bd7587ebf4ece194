//! A record as a cell of a state row. `unsafe` lives here: **a cell that [`StateCell::declare`] added to a
//! layout holds nothing but what [`StateCell::store`] wrote into it, or zeroes while its row is new.**
//!
//! ```text
//!   PACKED and small ─▶ a fixed cell in the row: read and written in place
//!   anything else    ─▶ a block: the record's region, replaced as a whole
//! ```

use std::marker::PhantomData;

use wiesel_core::{Blame, TaskFailure};
use wiesel_record::{
    InFrame, Record, Region, RegionBuf, Scratch, read_packed, validate, write_packed,
};
use wiesel_state::{BlockCell, Cell, Row, RowLayout, RowLayoutBuilder, RowMut};

/// Larger packed records are blocks, so that a first touch after a flip stays cheap.
const INLINE_BYTES_MAX: usize = 256;

/// The longest state of one cell: what a block takes.
const STATE_BYTES_MAX: usize = wiesel_state::BLOCK_BYTES_MAX;

/// Reads and writes records of type `S` in rows of one layout.
pub struct StateCell<S> {
    /// Where it is if `is_inline`, which the compiler knows: so no access asks.
    cell: Cell,
    /// Where it is if not.
    block: BlockCell,
    scratch: Scratch,
    region: RegionBuf,
    types: PhantomData<fn() -> S>,
}

const fn is_inline<S: Record>() -> bool {
    S::PACKED && fits_inline(size_of::<S::Archived>(), S::ALIGN)
}

const fn fits_inline(bytes: usize, align: usize) -> bool {
    bytes <= INLINE_BYTES_MAX && align <= 8
}

/// Adds the cell of a record to a layout, in place if its region is small and always `packed_bytes` long.
pub(crate) fn declare_as(
    layout: RowLayoutBuilder,
    name: &str,
    packed_bytes: Option<usize>,
    align: usize,
) -> RowLayoutBuilder {
    match packed_bytes.filter(|bytes| fits_inline(*bytes, align)) {
        Some(bytes) => layout.cell(name, bytes),
        None => layout.block(name),
    }
}

impl<S: Record> StateCell<S> {
    /// Adds the cell to a layout.
    pub fn declare(layout: RowLayoutBuilder, name: &str) -> RowLayoutBuilder {
        let packed_bytes = S::PACKED.then_some(size_of::<S::Archived>());
        declare_as(layout, name, packed_bytes, S::ALIGN)
    }

    /// Finds the cell in a layout that it was declared in.
    ///
    /// # Errors
    ///
    /// If the layout has no such cell, or one of another length: the operator that made it is wrong.
    pub fn of(layout: &RowLayout, name: &str) -> Result<Self, TaskFailure> {
        let cell = layout.cell(name).filter(|cell| cell.bytes() == size_of::<S::Archived>());
        let block = layout.block(name);
        if is_inline::<S>() && cell.is_none() || !is_inline::<S>() && block.is_none() {
            let cause = format!("the row `{layout}` has no cell `{name}` for a {}", S::SCHEMA.name);
            return Err(TaskFailure::new(Blame::Runtime, "open state", cause));
        }
        Ok(Self {
            cell: cell.unwrap_or_default(),
            block: block.unwrap_or_default(),
            scratch: Scratch::new(),
            region: RegionBuf::new(),
            types: PhantomData,
        })
    }

    /// Calls `read` with the value, if there is one.
    #[inline(always)]
    pub fn with<R>(&self, row: &Row<'_>, read: impl FnOnce(S::View<'_>) -> R) -> Option<R> {
        if is_inline::<S>() {
            let bytes = row.get_sized(&self.cell, size_of::<S::Archived>())?;
            // SAFETY: the module's invariant: `store` wrote this cell as a packed `S`. (A new row's cell without a
            // presence bit is zeroed and not read: callers look at `RowMut::inserted` first.)
            return Some(unsafe { read_packed::<S, R>(bytes, read) });
        }
        let bytes = row.block(self.block)?;
        // SAFETY: the module's invariant: `store` wrote this block as an `S`.
        Some(unsafe { with_region::<S, R>(bytes, read) })
    }

    /// The value, if there is one.
    #[inline(always)]
    pub fn load(&self, row: &Row<'_>) -> Option<S> {
        self.with(row, S::from_view)
    }

    /// Replaces the value.
    ///
    /// # Errors
    ///
    /// If the value is longer than a block may be.
    #[inline(always)]
    pub fn store(&mut self, row: &mut RowMut<'_>, value: S::View<'_>) -> Result<(), TaskFailure> {
        if is_inline::<S>() {
            let (bytes, _) = row.entry_sized(&self.cell, size_of::<S::Archived>());
            return write_inline::<S>(bytes, value, &mut self.scratch);
        }
        self.region
            .write::<S>(value, STATE_BYTES_MAX)
            .map_err(|error| too_long(error.to_string()))?;
        row.set_block(self.block, self.region.as_bytes())
            .map_err(|error| too_long(error.to_string()))
    }

    /// Replaces the value by what `change` makes of it (of none, if there is none), and gives it.
    ///
    /// # Errors
    ///
    /// If `change` fails, or the value is longer than a block may be. The task has failed then: what its rows hold is
    /// neither read nor snapshotted any more.
    #[inline(always)]
    pub fn update(
        &mut self,
        row: &mut RowMut<'_>,
        change: impl FnOnce(Option<S>) -> Result<S, TaskFailure>,
    ) -> Result<S, TaskFailure> {
        if !is_inline::<S>() {
            let old = if row.inserted() { None } else { self.load(&row.row()) };
            let new = change(old)?;
            self.store(row, new.view())?;
            return Ok(new);
        }
        let (bytes, was_present) = row.entry_sized(&self.cell, size_of::<S::Archived>());
        // SAFETY: as in `with`.
        let old = was_present.then(|| unsafe { read_packed::<S, S>(bytes, S::from_view) });
        let new = change(old)?;
        write_inline::<S>(bytes, new.view(), &mut self.scratch)?;
        Ok(new)
    }

    /// Takes the value away.
    pub fn clear(&self, row: &mut RowMut<'_>) {
        match is_inline::<S>() {
            true => row.clear(self.cell),
            false => row.clear_block(self.block),
        }
    }

    /// Whether there is a value.
    pub(crate) fn is_in(&self, row: &Row<'_>) -> bool {
        match is_inline::<S>() {
            true => row.get(self.cell).is_some(),
            false => row.block(self.block).is_some(),
        }
    }

    /// Checks a value that came from a snapshot, before anything reads it.
    ///
    /// # Errors
    ///
    /// If it is not an `S`.
    pub fn check(&self, row: &Row<'_>) -> Result<(), TaskFailure> {
        let bytes = match is_inline::<S>() {
            true => row.get(self.cell),
            false => row.block(self.block),
        };
        let Some(bytes) = bytes else { return Ok(()) };
        if !bytes.as_ptr().addr().is_multiple_of(S::ALIGN) {
            return decode::<S>(bytes).map(|_| ());
        }
        let region = Region { start: 0, end: bytes.len() as u32 };
        validate::<S>(bytes, region).map(|_| ()).map_err(|error| damaged::<S>(&error.to_string()))
    }
}

/// Calls `read` with the record whose region `bytes` are, wherever they lie.
///
/// # Safety
///
/// They are exactly what a [`RegionBuf`] wrote for an `S`, or what [`decode`] accepted.
#[inline(always)]
pub(crate) unsafe fn with_region<S: Record, R>(
    bytes: &[u8],
    read: impl FnOnce(S::View<'_>) -> R,
) -> R {
    if bytes.as_ptr().addr().is_multiple_of(S::ALIGN) {
        // SAFETY: the caller's promise, and the alignment was just seen.
        let item = unsafe { InFrame::<S>::new(bytes) };
        return read(item.get());
    }
    let aligned = Aligned::copy(bytes);
    // SAFETY: the same bytes, at an address that is a multiple of 16.
    let item = unsafe { InFrame::<S>::new(aligned.as_bytes()) };
    read(item.get())
}

#[inline(always)]
fn write_inline<S: Record>(
    bytes: &mut [u8],
    value: S::View<'_>,
    scratch: &mut Scratch,
) -> Result<(), TaskFailure> {
    match write_packed::<S>(bytes, value, scratch) {
        Ok(()) => Ok(()),
        Err(_) => Err(too_long("a packed value does not fit its cell".to_owned())),
    }
}

/// A record from bytes that nobody vouches for.
///
/// # Errors
///
/// If they are not the region of an `S`.
pub(crate) fn decode<S: Record>(bytes: &[u8]) -> Result<S, TaskFailure> {
    let aligned = Aligned::copy(bytes);
    let region = Region { start: 0, end: bytes.len() as u32 };
    match validate::<S>(aligned.as_bytes(), region) {
        Ok(archived) => Ok(S::from_view(S::view_of(archived))),
        Err(error) => Err(damaged::<S>(&error.to_string())),
    }
}

#[cold]
fn damaged<S: Record>(error: &str) -> TaskFailure {
    let cause = format!("a value of {} is damaged: {error}", S::SCHEMA.name);
    TaskFailure::new(Blame::Environment, "restore state", cause)
}

/// Calls `read` with these bytes, or with a copy, at a multiple of `align`: at most 16.
pub(crate) fn with_aligned<R>(bytes: &[u8], align: usize, read: impl FnOnce(&[u8]) -> R) -> R {
    match bytes.as_ptr().addr().is_multiple_of(align) {
        true => read(bytes),
        false => read(Aligned::copy(bytes).as_bytes()),
    }
}

/// Bytes at an address that suits every record. Blocks are aligned to 8, so only records with 128-bit
/// numbers, and checks, come this way.
struct Aligned {
    words: Vec<u128>,
    len: usize,
}

impl Aligned {
    fn copy(bytes: &[u8]) -> Self {
        let word = |chunk: &[u8]| {
            let mut word = [0; 16];
            word[..chunk.len()].copy_from_slice(chunk);
            u128::from_ne_bytes(word)
        };
        Self { words: bytes.chunks(16).map(word).collect(), len: bytes.len() }
    }

    fn as_bytes(&self) -> &[u8] {
        // SAFETY: `words` are at least `len` initialised bytes.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), self.len) }
    }
}

#[cold]
fn too_long(cause: String) -> TaskFailure {
    TaskFailure::new(Blame::Job, "store state", cause)
}
