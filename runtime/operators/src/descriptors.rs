//! What windows, joins and rolling aggregates keep, in words: a checkpoint says of what types it is, and a program that
//! keeps something else under the same uid is told so before it reads a row.
//!
//! ```text
//!   types     of each subtask that keeps something: the key, and what is kept of it: names, kinds and fields
//! ```
//!
//! # What is always true
//!
//! 1. Rows are read as the types that they were written as. Bytes alone do not give away a number that had a sign.
//! 2. A checkpoint without a word about it, of a program before there were any, is taken at its bytes.
//!
//! Functions with states of their own say what these are under names of their own: see `keyed_state/restore.rs`.

use wiesel_core::TaskFailure;
use wiesel_record::{Key, Record};
use wiesel_state::{OperatorStateSchema, StateDescriptor, StateKind};

use crate::{
    Snapshot, TaskContext, VisitTable,
    keyed_state::{KEY, schema_of},
    keyed_table::table_failure,
};

/// The name of the part. One operator of a task is its head, and has it.
const PART: &str = "types";

const FIX: &str =
    "keep the old type, or give the operator another uid: then it begins without state";

/// An accumulator for each key, or key and window.
pub(crate) fn accumulator<A: Record>(name: &str) -> StateDescriptor {
    kept::<A>(name, StateKind::Aggregating)
}

/// Records by key.
pub(crate) fn records<T: Record>(name: &str) -> StateDescriptor {
    kept::<T>(name, StateKind::List)
}

fn kept<S: Record>(name: &str, kind: StateKind) -> StateDescriptor {
    StateDescriptor { name: name.to_owned(), kind, expires: false, schema: schema_of(&S::SCHEMA) }
}

fn types<K: Key>(
    task: &TaskContext,
    keeps: Vec<StateDescriptor>,
) -> Result<Option<OperatorStateSchema>, TaskFailure> {
    if keeps.is_empty() {
        return Ok(None);
    }
    let key = StateDescriptor {
        name: KEY.to_owned(),
        kind: StateKind::Value,
        expires: false,
        schema: schema_of(&K::SCHEMA),
    };
    let states = std::iter::once(key).chain(keeps).collect();
    OperatorStateSchema::new(task.uid(), states).map(Some).map_err(table_failure)
}

/// Whether there is a row in one of an operator's tables, or a timer.
pub(crate) fn has_rows(tables: impl FnOnce(&mut VisitTable<'_>)) -> bool {
    let mut has_rows = false;
    tables(&mut |part| has_rows |= !part.table.is_empty());
    has_rows
}

/// Adds what is kept by keys of type `K`, by an operator that keeps something now.
pub(crate) fn snapshot<K: Key>(
    task: &TaskContext,
    keeps: Vec<StateDescriptor>,
    snapshot: &mut Snapshot,
) {
    match types::<K>(task, keeps) {
        Ok(None) => {}
        Ok(Some(types)) => {
            let mut bytes = Vec::new();
            types.write(&mut bytes);
            snapshot.put(PART, None, bytes);
        }
        Err(failure) => task.fail(failure),
    }
}

/// Compares what is kept with what the snapshot says.
///
/// # Errors
///
/// If something else was kept, with the first field that differs.
pub(crate) fn check<K: Key>(
    task: &TaskContext,
    keeps: Vec<StateDescriptor>,
    snapshot: &Snapshot,
) -> Result<(), TaskFailure> {
    let Some(types) = types::<K>(task, keeps)? else { return Ok(()) };
    for bytes in snapshot.everyones(PART) {
        let old = OperatorStateSchema::read(task.uid(), bytes).map_err(table_failure)?;
        types.check_restore_with(&old, |_| Err(FIX)).map_err(table_failure)?;
    }
    Ok(())
}
