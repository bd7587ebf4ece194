//! One task's part of a checkpoint on its way to the disk, while the task runs on.
//!
//! ```text
//!   Cut ─▶ bytes of a data file ─▶ RingFile ─▶ durable ─▶ Acknowledge
//!                                     │           └── its task is gone: the file is removed
//!                                     └── an error, and no file ─▶ Decline
//! ```
//!
//! # What is always true
//!
//! 1. What is acknowledged is durable, the name of its file too.
//! 2. After an error, or if the task is gone, there is no file.
//! 3. A task without state writes no file.

use std::path::Path;

use wiesel_core::{CheckpointId, KeyGroup, TaskId};
use wiesel_operators::{COMMITTABLES, Snapshot};
use wiesel_rpc::{Attempt, Declined, StateHandle};
use wiesel_shard::{Io, Shard, Token};
use wiesel_storage::{
    DataFileWriter, FileEntry, PartKind, RingFile, Written, data_file_name, folder_of,
};
use wiesel_task::Cut;

enum Step {
    Writing(RingFile),
    /// Nobody wants it any more.
    Removing(Token),
    Over,
}

/// A write that is under way.
pub(crate) struct StateWriter {
    pub(crate) attempt: Attempt,
    pub(crate) checkpoint: CheckpointId,
    io: Io,
    step: Step,
    handle: StateHandle,
    is_abandoned: bool,
}

/// How a write ended.
pub(crate) enum End {
    /// The state is durable.
    Acknowledged(StateHandle),
    /// It could not be written.
    Declined(Declined),
    /// Its task is gone, and so is what was written.
    Abandoned,
}

impl StateWriter {
    /// Begins to write a cut below `folder`, the job's folder of checkpoints.
    pub(crate) fn new(shard: &Shard, folder: &Path, attempt: Attempt, cut: Cut) -> Self {
        let Cut { checkpoint, snapshot } = cut;
        let io = shard.io();
        let committables = snapshot.operator(COMMITTABLES).map(<[u8]>::to_vec).collect();
        let mut handle = StateHandle { committables, ..StateHandle::default() };
        let TaskId { vertex, subtask } = attempt.task;
        let name = data_file_name(vertex.0, subtask.0, attempt.number);
        let relative = format!("{}/{name}", folder_of(checkpoint.0));
        let step = match encode(&snapshot, &relative) {
            Some((bytes, entry)) => {
                handle.files.push(entry);
                let mut file = RingFile::create(&io, folder.join(&relative));
                file.push(bytes);
                file.finish();
                Step::Writing(file)
            }
            None => Step::Over,
        };
        Self { attempt, checkpoint, io, step, handle, is_abandoned: false }
    }

    /// The task is gone. What is under way comes to its end, and then the file is removed.
    pub(crate) fn abandon(&mut self) {
        self.is_abandoned = true;
    }

    /// Goes on; gives the end of it, once.
    pub(crate) fn poll(&mut self) -> Option<End> {
        if let Step::Writing(file) = &mut self.step {
            match file.poll(&self.io) {
                Written::Pending => return None,
                Written::Durable if self.is_abandoned => {
                    self.step = Step::Removing(self.io.remove(file.path()));
                }
                Written::Durable => self.step = Step::Over,
                Written::Failed(_) if self.is_abandoned => return Some(End::Abandoned),
                Written::Failed(error) => {
                    return Some(End::Declined(Declined::Io(error.to_string())));
                }
            }
        }
        if let Step::Removing(token) = self.step {
            // If it cannot be removed it is a leftover that no manifest names: it goes at the next start.
            self.io.take(token)?.ok();
            return Some(End::Abandoned);
        }
        Some(match self.is_abandoned {
            true => End::Abandoned,
            false => End::Acknowledged(std::mem::take(&mut self.handle)),
        })
    }
}

/// The bytes of a data file, if there is any state.
fn encode(snapshot: &Snapshot, relative: &str) -> Option<(Vec<u8>, FileEntry)> {
    let mut writer = DataFileWriter::new();
    for (name, group, bytes) in snapshot.parts() {
        writer.part(name, kind_of(name, group), bytes);
    }
    (!writer.is_empty()).then(|| writer.finish(relative))
}

fn kind_of(name: &str, group: Option<KeyGroup>) -> PartKind {
    match group {
        Some(group) => PartKind::Keyed(group),
        None if name == COMMITTABLES => PartKind::Committable,
        None => PartKind::List,
    }
}
