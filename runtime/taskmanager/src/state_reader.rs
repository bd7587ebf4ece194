//! The state that a task continues from: of all files of its vertex, the parts that it may need.
//!
//! These reads wait. They happen while a task is deployed, when nothing runs or, where one region starts again, while tasks of
//! others that are on the same shard have no turns.

use std::path::Path;

use wiesel_core::{Blame, KeyGroupRange, TaskFailure};
use wiesel_operators::{COMMITTABLES, Snapshot};
use wiesel_rpc::RestoredState;
use wiesel_storage::{CheckpointDirectory, Damage, LocalStorage, PartKind, StorageError};

use crate::operators::Operators;

/// Reads the parts of what is restored, below the job's folder of checkpoints: keyed ones of `groups`, and all others, for the
/// operators whose they are. What was pre-committed is the JobMaster's to commit.
///
/// # Errors
///
/// If a file is not there, or a bit of it is not what was written.
pub(crate) fn read_state(
    folder: &Path,
    state: &RestoredState,
    groups: KeyGroupRange,
    operators: &Operators,
) -> Result<Snapshot, TaskFailure> {
    let read = || -> Result<Snapshot, StorageError> {
        let directory = CheckpointDirectory::new(LocalStorage::open(folder)?);
        let mut snapshot =
            if state.own.is_some() { Snapshot::of_one() } else { Snapshot::default() };
        for (at, file) in state.files.iter().enumerate() {
            let is_of_another = state.own.is_some_and(|own| at >= own);
            for part in &file.parts {
                let group = match part.kind {
                    PartKind::Keyed(group) if !groups.contains(group) => continue,
                    PartKind::Keyed(group) => Some(group),
                    _ if *part.name == *COMMITTABLES => continue,
                    _ => None,
                };
                let Some(position) = operators.position_of(part) else {
                    let what = format!("is of operator `{}`, not of this chain", part.operator);
                    let field = format!("part `{}`", part.name);
                    return Err(Damage::new(&file.path, part.offset, field, what).into());
                };
                let own = snapshot.of_operator_mut(position);
                match is_of_another && group.is_none() {
                    true => own.put_of_another(&part.name, directory.read(file, part)?),
                    false => own.put(&part.name, group, directory.read(file, part)?),
                }
            }
        }
        Ok(snapshot)
    };
    read().map_err(|error| TaskFailure::new(Blame::Environment, "read the state of a task", error))
}
