//! The state that a task continues from: of all files of its vertex, the parts that it may need.
//!
//! These reads wait. They happen while a task is deployed, when nothing runs.

use std::path::Path;

use wiesel_core::{Blame, KeyGroupRange, TaskFailure};
use wiesel_operators::{COMMITTABLES, Snapshot};
use wiesel_storage::{CheckpointDirectory, FileEntry, LocalStorage, PartKind, StorageError};

/// Reads the parts of `files`, below the job's folder of checkpoints: keyed ones of `groups`, and all others. What was
/// pre-committed is the JobMaster's to commit.
///
/// # Errors
///
/// If a file is not there, or a bit of it is not what was written.
pub(crate) fn read_state(
    folder: &Path,
    files: &[FileEntry],
    groups: KeyGroupRange,
) -> Result<Snapshot, TaskFailure> {
    let read = || -> Result<Snapshot, StorageError> {
        let directory = CheckpointDirectory::new(LocalStorage::open(folder)?);
        let mut snapshot = Snapshot::default();
        for file in files {
            for part in &file.parts {
                let group = match part.kind {
                    PartKind::Keyed(group) if !groups.contains(group) => continue,
                    PartKind::Keyed(group) => Some(group),
                    _ if *part.name == *COMMITTABLES => continue,
                    _ => None,
                };
                snapshot.put(&part.name, group, directory.read(file, part)?);
            }
        }
        Ok(snapshot)
    };
    read().map_err(|error| TaskFailure::new(Blame::Environment, "read the state of a task", error))
}
