//! The table of one keyed operator: its layout by the types of key and state, and its snapshot.

use std::sync::Arc;

use wiesel_core::{Blame, TaskFailure};
use wiesel_record::Key;
use wiesel_shard::pause;
use wiesel_state::{
    Import, KeyLayout, Row, RowLayout, RowLayoutBuilder, RowMut, Table, TableError,
};

use crate::{Located, TaskContext};

/// How keys of type `K` lie in a table: as a word where they fit.
pub(crate) const fn key_layout<K: Key>() -> KeyLayout {
    match K::FIXED {
        // At most 8, so it fits.
        Some(bytes @ 1..=8) => KeyLayout::Word { bytes: bytes as u8 },
        _ => KeyLayout::Bytes,
    }
}

/// The hash of canonical key bytes: what `K::key_hash` gives for the key itself. Damaged bytes, on their way to
/// [`check_key`], have some hash as well.
#[inline]
pub(crate) fn hash_of_bytes<K: Key>(bytes: &[u8]) -> u64 {
    K::try_with_key(bytes, |key| K::key_hash(key)).unwrap_or(0)
}

/// As [`hash_of_bytes`], of four keys that are kept as words.
fn hash_of_words<K: Key>(words: &mut [u64; 4]) {
    for word in words {
        *word = hash_of_bytes::<K>(&word.to_le_bytes()[..K::FIXED.map_or(8, |bytes| bytes.min(8))]);
    }
}

/// A layout for keys of type `K`.
pub(crate) fn layout<K: Key>(
    cells: impl FnOnce(RowLayoutBuilder) -> RowLayoutBuilder,
) -> Result<Arc<RowLayout>, TaskFailure> {
    let layout = RowLayout::build(key_layout::<K>(), hash_of_bytes::<K>);
    cells(layout.word_hash(hash_of_words::<K>)).finish().map_err(table_failure)
}

/// A table for the key groups of the task.
pub(crate) fn table_of(layout: &Arc<RowLayout>, context: &TaskContext) -> Table {
    Table::new(Arc::clone(layout), context.key_groups(), context.max_parallelism())
}

/// An empty table with room for as many rows as the one of the slice before has, if it has a number of
/// [`RESERVED_ROWS`].
pub(crate) fn table_after(
    before: Option<&Table>,
    layout: &Arc<RowLayout>,
    context: &TaskContext,
) -> Table {
    let mut table = table_of(layout, context);
    if let Some(before) = before.filter(|before| RESERVED_ROWS.contains(&before.len())) {
        table.reserve_like(before);
    }
    table
}

/// Rows for which room is made at once: below, growing costs nothing; above, the first touch of so much memory would hold
/// up what else the shard does for milliseconds.
const RESERVED_ROWS: std::ops::Range<usize> = 4_096..1 << 20;

/// The row of a key, made if it is not there.
// Always: which layout it is follows from the type, and only one of both ways is left.
#[inline(always)]
pub(crate) fn upsert<'t, K: Key>(
    table: &'t mut Table,
    at: Located,
    key: K::View<'_>,
    scratch: &mut Vec<u8>,
) -> RowMut<'t> {
    match key_layout::<K>() {
        KeyLayout::Word { .. } => {
            let word = word_of::<K>(key, scratch);
            if cfg!(debug_assertions) {
                K::with_key_bytes(key, scratch, |bytes| table.check_resident(at.hash, bytes));
            }
            match at.ahead {
                Some(index) => table.upsert_word_ahead(index, at.spot, word),
                None => table.upsert_word(at.spot, word),
            }
        }
        KeyLayout::Bytes => {
            K::with_key_bytes(key, scratch, |bytes| table.upsert_bytes(at.spot, at.hash, bytes))
        }
    }
}

/// Whether a block of keys is looked up before it is applied. Keys in blocks are compared as bytes: looking twice costs
/// more than is won (488 against 434 ns a line of `wordcount`).
pub(crate) const fn finds_ahead<K: Key>() -> bool {
    matches!(key_layout::<K>(), KeyLayout::Word { .. })
}

/// Finds the row of the `index`-th key of a block, which [`upsert`] then does not have to.
///
/// Nothing for keys of which [`finds_ahead`] says that they are not.
#[inline(always)]
pub(crate) fn find_ahead<K: Key>(
    table: &mut Table,
    index: usize,
    at: Located,
    key: K::View<'_>,
    scratch: &mut Vec<u8>,
    marks: bool,
) {
    if finds_ahead::<K>() {
        table.find_word_ahead(index, at.spot, word_of::<K>(key, scratch), marks);
    }
}

/// A key of at most eight bytes as a word.
#[inline(always)]
fn word_of<K: Key>(key: K::View<'_>, scratch: &mut Vec<u8>) -> u64 {
    K::with_key_bytes(key, scratch, |bytes| {
        assert!(Some(bytes.len()) == K::FIXED, "a key has as many bytes as its type says");
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(word)
    })
}

/// Removes all rows, and keeps the memory for a key as large as most.
pub(crate) fn drop_rows(table: &mut Table) {
    match table.len() {
        0 => {}
        1..=KEPT_ROWS if table.range().iter().all(|group| table.empty_group(group)) => {}
        _ => table.clear(),
    }
}

/// Rows of one key whose memory is worth keeping for the next one.
const KEPT_ROWS: usize = 256;

/// What a table says, as a failure of the task.
pub(crate) fn table_failure(error: TableError) -> TaskFailure {
    TaskFailure::new(Blame::Environment, "use keyed state", error)
}

/// Calls of [`Table::import_some`] in a step of a restore: sixteen rows each.
const STEP_CALLS: usize = if cfg!(sim) { 1 } else { 4 };

/// Rows that are looked at in a step of a restore: a microsecond or two. In simulation a few: its tables are small.
const STEP_ROWS: usize = if cfg!(sim) { 2 } else { 64 };

/// Takes exported rows in, in steps.
pub(crate) async fn import(table: &mut Table, bytes: &[u8]) -> Result<(), TaskFailure> {
    import_seen(table, bytes, |_| Ok(())).await
}

/// Takes exported rows of keys of type `K` in, in steps, and checks each before anything else reads it: that its key is
/// one, and what `check` says.
pub(crate) async fn import_checked<K: Key>(
    table: &mut Table,
    bytes: &[u8],
    mut check: impl FnMut(&Row<'_>) -> Result<(), TaskFailure>,
) -> Result<(), TaskFailure> {
    import_seen(table, bytes, |row| check_key::<K>(row).and_then(|()| check(row))).await
}

/// Why rows were not taken in.
struct NotImported(TaskFailure);

impl From<TableError> for NotImported {
    fn from(error: TableError) -> Self {
        Self(table_failure(error))
    }
}

/// Takes exported rows in, in steps, and shows each.
pub(crate) async fn import_seen(
    table: &mut Table,
    bytes: &[u8],
    mut see: impl FnMut(&Row<'_>) -> Result<(), TaskFailure>,
) -> Result<(), TaskFailure> {
    let (mut import, mut calls) = (Import::new(bytes), 0);
    let mut see = |row: &Row<'_>| see(row).map_err(NotImported);
    loop {
        let progress = table.import_some(&mut import, &mut see);
        if progress.map_err(|NotImported(failure)| failure)? == wiesel_state::Progress::Done {
            return Ok(());
        }
        calls += 1;
        if calls % STEP_CALLS == 0 {
            pause().await;
        }
    }
}

/// Ends a step of a restore behind the last of its rows.
pub(crate) async fn pause_behind(index: usize) {
    if index % STEP_ROWS == STEP_ROWS - 1 {
        pause().await;
    }
}

/// Looks at all rows, in steps.
pub(crate) async fn each_row(
    table: &Table,
    mut see: impl FnMut(&Row<'_>) -> Result<(), TaskFailure>,
) -> Result<(), TaskFailure> {
    for (index, (_, row)) in table.iter().enumerate() {
        see(&row)?;
        pause_behind(index).await;
    }
    Ok(())
}

/// Checks that the key of an imported row is a `K`.
pub(crate) fn check_key<K: Key>(row: &Row<'_>) -> Result<(), TaskFailure> {
    K::try_with_key(row.key(), |_| ()).map_err(|_| {
        let cause = format!("a key is not a {}", K::SCHEMA.name);
        TaskFailure::new(Blame::Environment, "restore keyed state", cause)
    })
}
