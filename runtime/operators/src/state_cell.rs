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
    InFrame, Record, RecordWriter, Region, RegionBuf, Scratch, read_packed, validate,
};
use wiesel_state::{BlockCell, Cell, Row, RowLayout, RowLayoutBuilder, RowMut};

/// Larger packed records are blocks, so that a first touch after a flip stays cheap.
const INLINE_BYTES_MAX: usize = 256;

/// The longest state of one cell: what a block takes.
const STATE_BYTES_MAX: usize = wiesel_state::BLOCK_BYTES_MAX;

/// Reads and writes records of type `S` in rows of one layout.
pub struct StateCell<S> {
    place: Place,
    scratch: Scratch,
    region: RegionBuf,
    types: PhantomData<fn() -> S>,
}

#[derive(Clone, Copy)]
enum Place {
    Fixed(Cell),
    Block(BlockCell),
}

const fn is_inline<S: Record>() -> bool {
    S::PACKED && size_of::<S::Archived>() <= INLINE_BYTES_MAX && S::ALIGN <= 8
}

impl<S: Record> StateCell<S> {
    /// Adds the cell to a layout.
    pub fn declare(layout: RowLayoutBuilder, name: &str) -> RowLayoutBuilder {
        if is_inline::<S>() {
            layout.cell(name, size_of::<S::Archived>())
        } else {
            layout.block(name)
        }
    }

    /// Finds the cell in a layout that it was declared in.
    ///
    /// # Errors
    ///
    /// If the layout has no such cell: the operator that made it is wrong.
    pub fn of(layout: &RowLayout, name: &str) -> Result<Self, TaskFailure> {
        let place = if is_inline::<S>() {
            layout.cell(name).map(Place::Fixed)
        } else {
            layout.block(name).map(Place::Block)
        };
        let Some(place) = place else {
            let cause = format!("the row `{layout}` has no cell `{name}`");
            return Err(TaskFailure::new(Blame::Runtime, "open state", cause));
        };
        Ok(Self { place, scratch: Scratch::new(), region: RegionBuf::new(), types: PhantomData })
    }

    /// Calls `read` with the value, if there is one.
    #[inline]
    pub fn with<R>(&self, row: &Row<'_>, read: impl FnOnce(S::View<'_>) -> R) -> Option<R> {
        match self.place {
            Place::Fixed(cell) => {
                let bytes = row.get(cell)?;
                // SAFETY: the module's invariant: `store` wrote this cell as a packed `S`. (The only cell of
                // a new row is zeroed and not read: callers look at `RowMut::inserted` first.)
                Some(unsafe { read_packed::<S, R>(bytes, read) })
            }
            Place::Block(cell) => {
                let bytes = row.block(cell)?;
                if bytes.as_ptr().addr().is_multiple_of(S::ALIGN) {
                    // SAFETY: the module's invariant, and the alignment was just seen.
                    let item = unsafe { InFrame::<S>::new(bytes) };
                    return Some(read(item.get()));
                }
                let aligned = Aligned::copy(bytes);
                // SAFETY: the same bytes, at an address that is a multiple of 16.
                let item = unsafe { InFrame::<S>::new(aligned.as_bytes()) };
                Some(read(item.get()))
            }
        }
    }

    /// The value, if there is one.
    #[inline]
    pub fn load(&self, row: &Row<'_>) -> Option<S> {
        self.with(row, S::from_view)
    }

    /// Replaces the value.
    ///
    /// # Errors
    ///
    /// If the value is longer than a block may be.
    #[inline]
    pub fn store(&mut self, row: &mut RowMut<'_>, value: S::View<'_>) -> Result<(), TaskFailure> {
        match self.place {
            Place::Fixed(cell) => {
                let mut writer = RecordWriter::new(row.cell_mut(cell), 0, &mut self.scratch);
                match writer.write::<S>(value) {
                    Ok(_) => Ok(()),
                    Err(_) => Err(too_long("a packed value does not fit its cell".to_owned())),
                }
            }
            Place::Block(cell) => {
                self.region
                    .write::<S>(value, STATE_BYTES_MAX)
                    .map_err(|error| too_long(error.to_string()))?;
                row.set_block(cell, self.region.as_bytes())
                    .map_err(|error| too_long(error.to_string()))
            }
        }
    }

    /// Takes the value away.
    pub fn clear(&self, row: &mut RowMut<'_>) {
        match self.place {
            Place::Fixed(cell) => row.clear(cell),
            Place::Block(cell) => row.clear_block(cell),
        }
    }

    /// Checks a value that came from a snapshot, before anything reads it.
    ///
    /// # Errors
    ///
    /// If it is not an `S`.
    pub fn check(&self, row: &Row<'_>) -> Result<(), TaskFailure> {
        let bytes = match self.place {
            Place::Fixed(cell) => row.get(cell),
            Place::Block(cell) => row.block(cell),
        };
        let Some(bytes) = bytes else { return Ok(()) };
        decode::<S>(bytes).map(|_| ())
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
        Err(error) => {
            let cause = format!("a value of {} is damaged: {error}", S::SCHEMA.name);
            Err(TaskFailure::new(Blame::Environment, "restore state", cause))
        }
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
