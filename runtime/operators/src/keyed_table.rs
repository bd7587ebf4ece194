//! The table of one keyed operator: its layout by the types of key and state, and its snapshot.

use std::sync::Arc;

use wiesel_core::{Blame, KeyGroupRange, TaskFailure};
use wiesel_record::Key;
use wiesel_state::{KeyLayout, RowLayout, RowLayoutBuilder, Table, TableError};

use crate::{Snapshot, TaskContext};

/// How keys of type `K` lie in a table: as a word where they fit.
pub(crate) fn key_layout<K: Key>() -> KeyLayout {
    match K::FIXED {
        // At most 8, so it fits.
        Some(bytes @ 1..=8) => KeyLayout::Word { bytes: bytes as u8 },
        _ => KeyLayout::Bytes,
    }
}

/// The hash of canonical key bytes: what `K::key_hash` gives for the key itself.
fn hash_of_bytes<K: Key>(bytes: &[u8]) -> u64 {
    K::with_key(bytes, |key| K::key_hash(key))
}

/// A layout for keys of type `K`.
pub(crate) fn layout<K: Key>(
    cells: impl FnOnce(RowLayoutBuilder) -> RowLayoutBuilder,
) -> Result<Arc<RowLayout>, TaskFailure> {
    cells(RowLayout::build(key_layout::<K>(), hash_of_bytes::<K>)).finish().map_err(table_failure)
}

/// A table for the key groups of the task.
pub(crate) fn table_of(layout: &Arc<RowLayout>, context: &TaskContext) -> Table {
    Table::new(Arc::clone(layout), context.key_groups(), context.max_parallelism())
}

/// Writes each key group of `table` as a part of its own.
pub(crate) fn export(name: &str, table: &Table, range: KeyGroupRange, snapshot: &mut Snapshot) {
    for group in range.iter() {
        if table.group(group).next().is_some() {
            let mut bytes = Vec::new();
            table.export_group(group, &mut bytes);
            snapshot.put(name, Some(group), bytes);
        }
    }
}

/// What a table says, as a failure of the task.
pub(crate) fn table_failure(error: TableError) -> TaskFailure {
    TaskFailure::new(Blame::Environment, "use keyed state", error)
}

/// Checks that every key of imported rows is a `K`, before anything reads them.
pub(crate) fn check_keys<K: Key>(table: &Table) -> Result<(), TaskFailure> {
    for (_, row) in table.iter() {
        if K::try_with_key(row.key(), |_| ()).is_err() {
            let cause = format!("a key is not a {}", K::SCHEMA.name);
            return Err(TaskFailure::new(Blame::Environment, "restore keyed state", cause));
        }
    }
    Ok(())
}
