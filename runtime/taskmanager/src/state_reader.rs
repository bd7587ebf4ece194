//! The state that a task continues from: of all files of its vertex, the parts that it may need. Read in steps, through the ring.

use std::path::Path;

use wiesel_core::{Blame, KeyGroupRange, TaskFailure};
use wiesel_operators::{COMMITTABLES, Snapshot};
use wiesel_rpc::RestoredState;
use wiesel_shard::Shard;
use wiesel_storage::{Damage, PartKind, RingReader};

use crate::operators::Operators;

/// Reads the parts of what is restored, below the job's folder of checkpoints: keyed ones of `groups`, and all others, for the
/// operators whose they are. What was pre-committed is the JobMaster's to commit.
///
/// # Errors
///
/// If a file is not there, or a bit of it is not what was written.
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
        let failed =
            |error| TaskFailure::new(Blame::Environment, "read the state of a task", error);
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
