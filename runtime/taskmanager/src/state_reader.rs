//! The state that a task continues from: of all files of its vertex, the parts that it may need. Read in steps, through the ring.

use std::path::Path;

use wiesel_core::{Blame, KeyGroupRange, TaskFailure};
use wiesel_operators::{COMMITTABLES, Snapshot};
use wiesel_rpc::RestoredState;
use wiesel_shard::Shard;
use wiesel_storage::{Damage, PartKind, RingReader, StorageError};

use crate::operators::Operators;

/// Reads the parts of what is restored, below the job's folder of checkpoints: keyed ones of `groups`, and all others, for the
/// operators whose they are. What was pre-committed is the JobMaster's to commit.
///
/// # Errors
///
/// If a file is not there, or a bit of it is not what was written: that is not tried again. Or if the disk fails, which is.
pub(crate) fn read_state(
    shard: &Shard,
    folder: &Path,
    state: &RestoredState,
    groups: KeyGroupRange,
    operators: &Operators,
) -> impl Future<Output = Result<Snapshot, TaskFailure>> + 'static {
    let (mut reader, state) = (RingReader::new(shard.io(), folder), state.clone());
    let operators = operators.clone();
    async move {
        let failed = |error| {
            // What the disk does not give now may be there the next time; what is not what was written stays so.
            let retryable = matches!(error, StorageError::Io(_));
            let failure = TaskFailure::new(Blame::Environment, "read the state of a task", error);
            TaskFailure { retryable, ..failure }
        };
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
                    return Err(failed(Damage::new(&file.path, part.offset, field, what).into()));
                };
                let bytes = reader.read(file, part).await.map_err(failed)?;
                let own = snapshot.of_operator_mut(position);
                match is_of_another && group.is_none() {
                    true => own.put_of_another(&part.name, bytes),
                    false => own.put(&part.name, group, bytes),
                }
            }
        }
        Ok(snapshot)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "it damages what is on the disk")]
mod tests {
    use wiesel_core::{Nanos, millis, seconds};
    use wiesel_shard::{Stepped, Steps};
    use wiesel_storage::{FileEntry, Hash, PartEntry};

    use super::*;

    /// A failure to read a part of a file, and whether it is tried again. `disk` makes the file, or not.
    #[track_caller]
    fn check(disk: impl FnOnce(&Path), retryable: bool, expected: &str) {
        let folder = tempfile::tempdir().expect("a folder");
        disk(folder.path());
        let part = PartEntry {
            operator: "held".into(),
            name: "list".into(),
            kind: PartKind::List,
            offset: 0,
            stored_len: 40,
            len: 20,
        };
        let path = "chk-7/1-0.data".to_owned();
        let file = FileEntry { path, len: 40, hash: Hash::of(b""), parts: vec![part] };
        let state = RestoredState { files: vec![file], own: None };
        let (shard, operators) = (Shard::detached(), Operators::named(&["held"]));
        let groups = KeyGroupRange::all(4);
        let mut read = Steps::new(read_state(&shard, folder.path(), &state, groups, &operators));
        let limit: Nanos = shard.read_clock() + seconds(60);
        let result = loop {
            assert!(shard.read_clock() < limit, "nothing happened for a minute");
            shard.look();
            if let Stepped::Done(result) = read.go_on(&mut shard.quantum(millis(1))) {
                break result;
            }
        };
        let failure = result.expect_err("it is not what was written");
        assert_eq!(failure.blame, Blame::Environment);
        let cause = failure.source.to_string();
        assert!(cause.contains(expected), "{cause}");
        assert_eq!(failure.retryable, retryable, "{cause}");
    }

    #[test]
    fn what_is_not_what_was_written_is_not_tried_again() {
        let make = |folder: &Path| std::fs::create_dir(folder.join("chk-7")).expect("it is new");
        let write = |folder: &Path, bytes: &[u8]| {
            make(folder);
            std::fs::write(folder.join("chk-7/1-0.data"), bytes).expect("it is new");
        };
        check(make, false, "chk-7/1-0.data is missing");
        check(|folder| write(folder, &[0; 40]), false, "is damaged at byte 0");
        check(|folder| write(folder, &[0; 3]), false, "3 of 40 bytes are there");
        // A disk that does not answer now; here, since there is a file where its folder is.
        let blocked = |folder: &Path| std::fs::write(folder.join("chk-7"), "").expect("it is new");
        check(blocked, true, "Not a directory");
    }
}
