//! A list of records per key, in blocks: what joins keep. `unsafe` lives here: **the blocks of a list hold nothing but
//! the elements that [`RowList::push`] put there, or that [`RowList::check`] has read.**
//!
//! ```text
//!   row of the key        │ … │ open block │ … │        up to 256 bytes of elements; replaced as it grows
//!   rows of its chunks    (key, list, 0) (key, list, 1) …   up to 1,000: what was full is added to the last
//!   block                 │ first chunk u32 │ next chunk u32 │ element │ element │ …
//!   element               │ stamp i64, if it has one │ length u32, unless it is fixed │ region │     each part aligned
//! ```
//!
//! # What is always true
//!
//! 1. Elements are read in the order in which they were pushed.
//! 2. A push copies an open block, and one in some a chunk as well; short lists lie in their row or a piece of a slab.
//! 3. Chunks `first..next` have a row each, and no other.

mod block;
mod elements;

use std::{marker::PhantomData, ops::ControlFlow, sync::Arc};

use wiesel_core::{Blame, TaskFailure};
use wiesel_record::{Key, Record, RegionBuf};
use wiesel_state::{
    BLOCK_BYTES_MAX, BlockCell, KeyLayout, Row, RowLayout, RowLayoutBuilder, RowMut, Table,
    namespaced,
};

pub use block::{Stamped, Stamps, Unstamped};
pub use elements::Elements;

use self::block::{
    Element, HEADER_BYTES, append, check_block, element, first_chunk, last_stamp, next_chunk,
};
use crate::{TablePart, TaskContext, VisitTable, keyed_table, state_cell::with_region};

/// An open block that would grow above it is added to a chunk: a push copies it.
/// `runtime/decisions/2026-11-26-joins-keep-lists-in-blocks.md` has the measurements.
const OPEN_BYTES: usize = 256;

/// A chunk that would grow above it is followed by the next: reading one is a look-up. Within it it is a piece of a slab,
/// so that a table of a window is dropped whole.
const CHUNK_BYTES: usize = 1_000;

/// The longest record: what fits a block beside the others of a chunk.
const RECORD_BYTES_MAX: usize = BLOCK_BYTES_MAX - 2 * CHUNK_BYTES;

/// The name of the block in the rows of chunks.
const CHUNK: &str = "chunk";

/// Rows of keys, and beside them those of their chunks.
pub(crate) struct ListTable {
    pub(crate) rows: Table,
    pub(crate) chunks: Chunks,
}

/// The chunks of the lists of a table.
pub(crate) struct Chunks {
    table: Table,
    cell: BlockCell,
    has_word_keys: bool,
}

/// What the tables of an operator's lists look like. Made once; each window has a table of its own.
#[derive(Clone)]
pub(crate) struct ListLayout {
    rows: Arc<RowLayout>,
    chunks: Arc<RowLayout>,
    chunk: BlockCell,
    has_word_keys: bool,
}

/// Bytes of a chunk's key behind its list's key: the list, and which chunk of it.
const PLACE_BYTES: usize = 5;

const fn has_word_keys<K: Key>() -> bool {
    matches!(keyed_table::key_layout::<K>(), KeyLayout::Word { .. })
}

/// The hash of a chunk's key: in the key group of its list's key.
fn chunk_hash<K: Key>(composed: &[u8]) -> u64 {
    let parts = match has_word_keys::<K>() {
        true => composed.split_at_checked(composed.len().saturating_sub(PLACE_BYTES)),
        false => namespaced::split(composed),
    };
    let (key, place) = parts.unwrap_or((composed, &[]));
    // Damaged bytes have some hash as well: they are refused by `check`.
    namespaced::hash_with(K::try_with_key(key, K::key_hash).unwrap_or(0), place)
}

impl ListLayout {
    /// Rows with keys of type `K` and a list for each of `names`.
    pub(crate) fn new<K: Key>(names: &[&str]) -> Result<Self, TaskFailure> {
        let chunks = RowLayout::build(KeyLayout::Bytes, chunk_hash::<K>).block(CHUNK).finish();
        let chunks = chunks.map_err(keyed_table::table_failure)?;
        let rows =
            |layout: RowLayoutBuilder| names.iter().fold(layout, |all, name| all.block(name));
        let chunk = chunks.block(CHUNK).unwrap_or_default();
        let has_word_keys = has_word_keys::<K>();
        Ok(Self { rows: keyed_table::layout::<K>(rows)?, chunks, chunk, has_word_keys })
    }

    /// The list called `name`.
    pub(crate) fn list<T: Record, S: Stamps>(
        &self,
        name: &str,
        number: u8,
    ) -> Result<RowList<T, S>, TaskFailure> {
        let Some(cell) = self.rows.block(name) else {
            let cause = format!("the row `{}` has no list `{name}`", self.rows);
            return Err(TaskFailure::new(Blame::Runtime, "open state", cause));
        };
        Ok(RowList {
            cell,
            number,
            region: RegionBuf::new(),
            block: Vec::new(),
            composed: Vec::new(),
            types: PhantomData,
        })
    }

    /// An empty table for the key groups of the task.
    pub(crate) fn table(&self, context: &TaskContext) -> ListTable {
        self.table_after(None, context)
    }

    /// An empty table with room for as many rows as the one of the window before has.
    pub(crate) fn table_after(
        &self,
        before: Option<&ListTable>,
        context: &TaskContext,
    ) -> ListTable {
        let (rows, chunks) = (before.map(|b| &b.rows), before.map(|b| &b.chunks.table));
        let table = keyed_table::table_after(chunks, &self.chunks, context);
        ListTable {
            rows: keyed_table::table_after(rows, &self.rows, context),
            chunks: Chunks { table, cell: self.chunk, has_word_keys: self.has_word_keys },
        }
    }
}

impl ListTable {
    /// Drops all lists.
    pub(crate) fn drop_rows(&mut self) {
        keyed_table::drop_rows(&mut self.rows);
        keyed_table::drop_rows(&mut self.chunks.table);
    }

    /// Bytes held.
    pub(crate) fn bytes_used(&self) -> usize {
        self.rows.bytes_used() + self.chunks.table.bytes_used()
    }

    /// Shows both tables: the rows of keys by the first name, those of chunks by the second.
    pub(crate) fn visit(&mut self, names: [&str; 2], header: &[u8], visit: &mut VisitTable<'_>) {
        for (name, table) in names.into_iter().zip([&mut self.rows, &mut self.chunks.table]) {
            visit(TablePart { name, header, table });
        }
    }

    /// Nobody has a use for it any more.
    pub(crate) fn retire(self, names: [&str; 2], header: &[u8], context: &TaskContext) {
        for (name, table) in names.into_iter().zip([self.rows, self.chunks.table]) {
            context.retire(name, header, table);
        }
    }

    /// The table of chunks, or of the rows of keys: to import them into.
    pub(crate) fn table_mut(&mut self, is_chunks: bool) -> &mut Table {
        if is_chunks { &mut self.chunks.table } else { &mut self.rows }
    }

    /// Checks what was imported, before anything reads it. `check` is for the lists of a row with a key of this hash, and
    /// gives the number of their chunks.
    pub(crate) async fn check<K: Key>(
        &self,
        mut check: impl FnMut(&Row<'_>, &Chunks, u64) -> Result<usize, TaskFailure>,
    ) -> Result<(), TaskFailure> {
        let mut chunks = 0;
        keyed_table::each_row(&self.rows, |row| {
            keyed_table::check_key::<K>(row)?;
            let hash = K::with_key(row.key(), K::key_hash);
            chunks += check(row, &self.chunks, hash)?;
            Ok(())
        })
        .await?;
        match chunks == self.chunks.table.len() {
            true => Ok(()),
            false => Err(damaged("there are chunks that belong to no list")),
        }
    }
}

impl Chunks {
    /// The key of a chunk, and its hash. That of a word is short enough to lie in its row.
    #[inline]
    fn key_of(
        &self,
        hash: u64,
        key: &[u8],
        (list, number): (u8, u32),
        composed: &mut Vec<u8>,
    ) -> u64 {
        let [a, b, c, d] = number.to_le_bytes();
        let place: [u8; PLACE_BYTES] = [list, a, b, c, d];
        if self.has_word_keys {
            composed.clear();
            composed.extend_from_slice(key);
            composed.extend_from_slice(&place);
        } else {
            namespaced::compose(key, &place, composed);
        }
        namespaced::hash_with(hash, &place)
    }

    /// The block of a chunk. `composed` is memory for its key.
    #[inline]
    fn find(&self, hash: u64, key: &[u8], at: (u8, u32), composed: &mut Vec<u8>) -> Option<&[u8]> {
        let hash = self.key_of(hash, key, at, composed);
        self.table.find(hash, composed)?.block(self.cell)
    }
}

/// Reads and writes one list of each row: records of type `T`, each with a stamp if `S` says so.
pub(crate) struct RowList<T, S> {
    cell: BlockCell,
    /// Which list of the row it is.
    number: u8,
    region: RegionBuf,
    /// A block under construction.
    block: Vec<u8>,
    /// A chunk's key under construction.
    composed: Vec<u8>,
    types: PhantomData<fn(T) -> S>,
}

impl<T: Record, S: Stamps> RowList<T, S> {
    /// Puts a record at the end of the list of `row`, whose key has `hash`.
    ///
    /// # Errors
    ///
    /// If the record is longer than a block may be, or the list has more chunks than can be numbered.
    #[inline]
    pub(crate) fn push(
        &mut self,
        row: &mut RowMut<'_>,
        chunks: &mut Chunks,
        hash: u64,
        value: T::View<'_>,
        stamp: i64,
    ) -> Result<(), TaskFailure> {
        self.region.write::<T>(value, RECORD_BYTES_MAX).map_err(not_stored)?;
        self.block.clear();
        match row.block(self.cell) {
            None => self.block.extend_from_slice(&[0; HEADER_BYTES]),
            Some(open) if open.len() + self.region.as_bytes().len() <= OPEN_BYTES => {
                self.block.extend_from_slice(open);
            }
            Some(full) => {
                let next = self.close(full, row.row().key(), chunks, hash)?;
                self.block.clear();
                self.block.extend_from_slice(&full[..4]);
                self.block.extend_from_slice(&next.to_le_bytes());
            }
        }
        append::<T, S>(&mut self.block, self.region.as_bytes(), stamp);
        row.set_block(self.cell, &self.block).map_err(not_stored)
    }

    /// Adds the elements of a full block to the last chunk of its list, or makes the next one of them. Gives the number of
    /// the one behind.
    fn close(
        &mut self,
        full: &[u8],
        key: &[u8],
        chunks: &mut Chunks,
        hash: u64,
    ) -> Result<u32, TaskFailure> {
        let (first, next) = (first_chunk(full), next_chunk(full));
        let mut number = next;
        if first < next {
            let last = chunks.find(hash, key, (self.number, next - 1), &mut self.composed);
            if let Some(last) = last.filter(|last| last.len() + full.len() <= CHUNK_BYTES) {
                self.block.extend_from_slice(last);
                number = next - 1;
            }
        }
        if number == next {
            self.block.extend_from_slice(&[0; HEADER_BYTES]);
        }
        let mut at = HEADER_BYTES;
        while at < full.len() {
            let Element { stamp, region } = element::<T, S>(full, at);
            at = region.end;
            append::<T, S>(&mut self.block, &full[region], stamp);
        }
        let hash = chunks.key_of(hash, key, (self.number, number), &mut self.composed);
        let mut chunk = chunks.table.upsert(hash, &self.composed);
        chunk.set_block(chunks.cell, &self.block).map_err(not_stored)?;
        number
            .checked_add(1)
            .ok_or_else(|| not_stored("a list has 2^32 chunks: keep fewer records"))
    }

    /// Calls `read` with each record of the list of `row` and its stamp, in order, until it breaks.
    #[inline]
    pub(crate) fn each<B>(
        &mut self,
        row: &Row<'_>,
        chunks: &Chunks,
        hash: u64,
        read: impl FnMut(T::View<'_>, i64) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        match row.block(self.cell) {
            Some(open) => {
                let at = (hash, row.key(), self.number);
                each_of_list::<T, S, B>(open, chunks, at, &mut self.composed, read)
            }
            None => ControlFlow::Continue(()),
        }
    }

    /// The list of `row`, for a function.
    pub(crate) fn elements<'t>(
        &self,
        row: &'t Row<'_>,
        chunks: &'t Chunks,
        hash: u64,
    ) -> Elements<'t, T, S> {
        let (key, number) = (row.key(), self.number);
        let open = row.block(self.cell);
        Elements { open, chunks, hash, key, number, types: PhantomData }
    }

    /// Whether `row` has such a list.
    #[inline]
    pub(crate) fn is_in(&self, row: &Row<'_>) -> bool {
        row.has_block(self.cell)
    }

    /// Brings the list of `row` closer.
    #[inline]
    pub(crate) fn prefetch(&self, row: &Row<'_>) {
        row.prefetch_block(self.cell);
    }

    /// Whether some records of the list of `row` lie in chunks, which are found by the hash of the key.
    #[inline]
    pub(crate) fn has_chunks(&self, row: &Row<'_>) -> bool {
        row.block(self.cell).is_some_and(|open| first_chunk(open) < next_chunk(open))
    }

    /// Drops the blocks whose last stamp is not above `over`. Gives that of the first block that is left, or none if the
    /// list is empty.
    pub(crate) fn drop_over(
        &mut self,
        row: &mut RowMut<'_>,
        chunks: &mut Chunks,
        hash: u64,
        over: i64,
    ) -> Option<i64> {
        let open = row.block(self.cell)?;
        let (mut first, next) = (first_chunk(open), next_chunk(open));
        let last = loop {
            let at = (self.number, first);
            let block = match first < next {
                true => chunks.find(hash, row.row().key(), at, &mut self.composed),
                false => Some(open),
            };
            let last = block.and_then(last_stamp::<T, S>).filter(|last| *last > over);
            if last.is_some() || first == next {
                break last;
            }
            let chunk = chunks.key_of(hash, row.row().key(), at, &mut self.composed);
            chunks.table.remove(chunk, &self.composed);
            first += 1;
        };
        if last.is_none() {
            row.clear_block(self.cell);
        } else if first > first_chunk(open) {
            self.block.clear();
            self.block.extend_from_slice(open);
            self.block[..4].copy_from_slice(&first.to_le_bytes());
            let _ = row.set_block(self.cell, &self.block); // It is not longer than it was.
        }
        last
    }

    /// The last stamp of the first block, or none if the list is empty: when [`drop_over`](Self::drop_over) drops it.
    pub(crate) fn first_over(&mut self, row: &Row<'_>, chunks: &Chunks, hash: u64) -> Option<i64> {
        let open = row.block(self.cell)?;
        let at = (self.number, first_chunk(open));
        match first_chunk(open) < next_chunk(open) {
            true => {
                chunks.find(hash, row.key(), at, &mut self.composed).and_then(last_stamp::<T, S>)
            }
            false => last_stamp::<T, S>(open),
        }
    }

    /// Checks the list of a row that came from a snapshot, before anything reads it; gives the number of its chunks.
    ///
    /// # Errors
    ///
    /// If it is not a list of `T`.
    pub(crate) fn check(
        &mut self,
        row: &Row<'_>,
        chunks: &Chunks,
        hash: u64,
    ) -> Result<usize, TaskFailure> {
        let Some(open) = row.block(self.cell) else { return Ok(0) };
        check_block::<T, S>(open)?;
        let numbers = first_chunk(open)..next_chunk(open);
        for number in numbers.clone() {
            let at = (self.number, number);
            match chunks.find(hash, row.key(), at, &mut self.composed) {
                Some(chunk) => check_block::<T, S>(chunk)?,
                None => return Err(damaged("a chunk of a list is missing")),
            }
        }
        Ok(numbers.len())
    }
}

/// Reads a list whose open block is `open`, of the key `key` with `hash`.
#[inline(always)]
fn each_of_list<T: Record, S: Stamps, B>(
    open: &[u8],
    chunks: &Chunks,
    (hash, key, list): (u64, &[u8], u8),
    composed: &mut Vec<u8>,
    mut read: impl FnMut(T::View<'_>, i64) -> ControlFlow<B>,
) -> ControlFlow<B> {
    for number in first_chunk(open)..next_chunk(open) {
        if let Some(chunk) = chunks.find(hash, key, (list, number), composed) {
            each_of_block::<T, S, B>(chunk, &mut read)?;
        }
    }
    each_of_block::<T, S, B>(open, &mut read)
}

#[inline(always)]
fn each_of_block<T: Record, S: Stamps, B>(
    block: &[u8],
    read: &mut impl FnMut(T::View<'_>, i64) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let mut at = HEADER_BYTES;
    while at < block.len() {
        let Element { stamp, region } = element::<T, S>(block, at);
        at = region.end;
        // SAFETY: the module's invariant: `push` put this region there, or `check` has read it.
        unsafe { with_region::<T, ControlFlow<B>>(&block[region], |view| read(view, stamp)) }?;
    }
    ControlFlow::Continue(())
}

#[cold]
fn not_stored(error: impl ToString) -> TaskFailure {
    TaskFailure::new(Blame::Job, "keep a record in a list", error.to_string())
}

/// The error of state that cannot be read.
#[cold]
pub(crate) fn damaged(what: &str) -> TaskFailure {
    TaskFailure::new(Blame::Environment, "restore lists of records", what.to_owned())
}
