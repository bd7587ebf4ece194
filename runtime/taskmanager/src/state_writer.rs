//! One task's part of a checkpoint on its way to the disk, while the task runs on.
//!
//! ```text
//!   Cut ─▶ bytes of a data file ─▶ create ─▶ write ─▶ sync ─▶ Acknowledge
//!                                       └── an error: the file is removed ─▶ Decline
//! ```
//!
//! # What is always true
//!
//! 1. What is acknowledged is on the disk. Its name is made durable by the JobMaster, for all files of a checkpoint
//!    at once, before the manifest that names it.
//! 2. After an error there is no file.
//! 3. A task without state writes no file.

use std::{io, path::Path};

use wiesel_core::{CheckpointId, KeyGroup, TaskId};
use wiesel_operators::{COMMITTABLES, Snapshot};
use wiesel_rpc::{Attempt, Declined, StateHandle};
use wiesel_shard::{CreateMode, File, Io, Shard, Token};
use wiesel_storage::{DataFileWriter, FileEntry, PartKind, data_file_name, folder_of};
use wiesel_task::Cut;

enum Step {
    Creating(Token, Vec<u8>),
    Writing(Token, File),
    Syncing(Token),
    Written,
    Removing(Token, String),
    Removed(String),
}

/// A write that is under way.
pub(crate) struct StateWriter {
    pub(crate) attempt: Attempt,
    pub(crate) checkpoint: CheckpointId,
    io: Io,
    path: std::path::PathBuf,
    entry: Option<FileEntry>,
    committables: Vec<Vec<u8>>,
    step: Step,
    /// Its task is gone: nobody will hear of it.
    is_abandoned: bool,
}

/// How a write ended.
pub(crate) type Written = Result<StateHandle, Declined>;

impl StateWriter {
    /// Begins to write a cut below `folder`, the job's folder of checkpoints.
    pub(crate) fn new(shard: &Shard, folder: &Path, attempt: Attempt, cut: Cut) -> Self {
        let Cut { checkpoint, snapshot } = cut;
        let io = shard.io();
        let committables = snapshot.operator(COMMITTABLES).map(<[u8]>::to_vec).collect();
        let TaskId { vertex, subtask } = attempt.task;
        let name = data_file_name(vertex.0, subtask.0, attempt.number);
        let relative = format!("{}/{name}", folder_of(checkpoint.0));
        let path = folder.join(&relative);
        let (entry, step) = match encode(&snapshot, &relative) {
            Some((bytes, entry)) => {
                let token = io.create(&path, CreateMode::Truncate);
                (Some(entry), Step::Creating(token, bytes))
            }
            None => (None, Step::Written),
        };
        let is_abandoned = false;
        Self { attempt, checkpoint, io, path, entry, committables, step, is_abandoned }
    }

    /// The task is gone. What is under way comes to its end, and then the file is removed.
    pub(crate) fn abandon(&mut self) {
        self.is_abandoned = true;
    }

    /// Whether the task is gone; the end of this write is nobody's business.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.is_abandoned
    }

    /// Goes on; gives the end of it, once. Says whether anything moved.
    pub(crate) fn poll(&mut self) -> (bool, Option<Written>) {
        let mut moved = false;
        loop {
            match self.advance() {
                Ok(true) => {
                    moved = true;
                    let leaves_file = matches!(self.step, Step::Writing(..) | Step::Syncing(_));
                    let is_written = matches!(self.step, Step::Written) && self.entry.is_some();
                    if self.is_abandoned && (leaves_file || is_written) {
                        self.remove("its task is gone".to_owned());
                    }
                }
                Ok(false) => break,
                Err(error) => {
                    moved = true;
                    self.remove(error.to_string());
                }
            }
        }
        let end = match &mut self.step {
            Step::Written => Some(Ok(StateHandle {
                files: self.entry.take().into_iter().collect(),
                committables: std::mem::take(&mut self.committables),
                inline: Vec::new(),
            })),
            Step::Removed(cause) => Some(Err(Declined::Io(std::mem::take(cause)))),
            _ => None,
        };
        (moved, end)
    }

    /// Gives the write under way up, if one is, and removes the file.
    fn remove(&mut self, cause: String) {
        if let Step::Writing(token, _) | Step::Syncing(token) = self.step {
            self.io.forget(token);
        }
        self.step = Step::Removing(self.io.remove(&self.path), cause);
    }

    /// One step; `Ok(false)` if there is nothing to do now.
    fn advance(&mut self) -> io::Result<bool> {
        match &mut self.step {
            Step::Creating(token, bytes) => {
                let Some(created) = self.io.take(*token) else { return Ok(false) };
                let bytes = std::mem::take(bytes);
                let file = created?.into_file();
                self.step = Step::Writing(self.io.write(&file, 0, bytes), file);
            }
            Step::Writing(token, file) => {
                let Some(written) = self.io.take(*token) else { return Ok(false) };
                written?;
                self.step = Step::Syncing(self.io.fsync(file));
            }
            Step::Syncing(token) => {
                let Some(synced) = self.io.take(*token) else { return Ok(false) };
                synced?;
                self.step = Step::Written;
            }
            Step::Removing(token, cause) => {
                // If it cannot be removed it is a leftover that no manifest names: it goes at the next start.
                let Some(_) = self.io.take(*token) else { return Ok(false) };
                self.step = Step::Removed(std::mem::take(cause));
            }
            Step::Written | Step::Removed(_) => return Ok(false),
        }
        Ok(true)
    }
}

impl Drop for StateWriter {
    fn drop(&mut self) {
        if let Step::Creating(token, _)
        | Step::Writing(token, _)
        | Step::Syncing(token)
        | Step::Removing(token, _) = self.step
        {
            self.io.forget(token);
        }
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
