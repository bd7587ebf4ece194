//! One task's part of a checkpoint on its way to the disk, while the task runs on.
//!
//! ```text
//!   Cut ─▶ parts ─┐
//!   tables walked ┴▶ bytes of a data file ─▶ RingFile ─▶ durable ─▶ Acknowledge, with all files that are needed
//!                                               │           └── its task is gone: the file is removed
//!                                               └── an error, and no file ─▶ Decline
//! ```
//!
//! # What is always true
//!
//! 1. What is acknowledged is durable, the name of its file too.
//! 2. After an error, or if the task is gone, there is no file.
//! 3. A task that has nothing to say writes no file.
//! 4. At most [`QUEUED_BYTES`] and what one step of a walk gives wait for the disk.
//! 5. What cannot be written because it is too long declines the checkpoint as a disk does: the task runs on.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use wiesel_core::{CheckpointId, KeyGroup, Pause, TaskId};
use wiesel_operators::{COMMITTABLES, Snapshot};
use wiesel_rpc::{Attempt, Declined, StateHandle};
use wiesel_shard::{Io, Shard, Token};
use wiesel_storage::{
    DataFileWriter, FileEntry, PartKind, RingFile, Written, data_file_name, folder_of,
};
use wiesel_task::Walked;

use crate::{
    operators::Operators,
    state_files::{Advance, Contents, PartOf, StateFiles},
};

/// What waits for the disk before a walk does.
const QUEUED_BYTES: u64 = 1 << 20;

/// Bytes that are handed to the ring at once. The kernel copies them to its cache, a page at a time: within the turn that
/// submits them, so that they have to be few, or (ext4) in a thread of its own, whose start and end take the core from the
/// shard each time: a quarter as often as with 16 KiB.
const HAND_OVER_BYTES: usize = 64 << 10;

enum Step {
    /// Tables are walked.
    Taking,
    Writing,
    /// What it needs of earlier files is looked up.
    Durable(Box<Advance>),
    /// Nobody wants it any more.
    Removing(Token),
}

/// A write that is under way.
pub(crate) struct StateWriter {
    pub(crate) attempt: Attempt,
    pub(crate) checkpoint: CheckpointId,
    io: Io,
    step: Step,
    path: PathBuf,
    relative: String,
    /// None before there is anything to write.
    file: Option<RingFile>,
    writer: Option<DataFileWriter>,
    entry: Option<FileEntry>,
    written_bytes: u64,
    contents: Contents,
    operators: Operators,
    /// The table that is walked: its name, header, and number.
    table: (String, Vec<u8>, u32),
    committables: Vec<Vec<u8>>,
    /// The longest so far.
    pub(crate) pause: Pause,
    /// As the cut says.
    pub(crate) has_ended: bool,
    is_abandoned: bool,
    /// Why it is given up here.
    declined: Option<Declined>,
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
    /// Begins to write a cut below `folder`, the job's folder of checkpoints. The tables follow.
    pub(crate) fn new(
        shard: &Shard,
        folder: &Path,
        attempt: Attempt,
        checkpoint: CheckpointId,
        operators: &Operators,
        snapshot: &Snapshot,
    ) -> Self {
        let TaskId { vertex, subtask } = attempt.task;
        let name = data_file_name(vertex.0, subtask.0, attempt.number);
        let relative = format!("{}/{name}", folder_of(checkpoint.0));
        let mut state_writer = Self {
            attempt,
            checkpoint,
            io: shard.io(),
            step: Step::Taking,
            path: folder.join(&relative),
            relative,
            file: None,
            writer: Some(DataFileWriter::new()),
            entry: None,
            written_bytes: 0,
            contents: Contents::default(),
            operators: operators.clone(),
            table: (String::new(), Vec::new(), 0),
            committables: Vec::new(),
            pause: Pause::default(),
            has_ended: false,
            is_abandoned: false,
            declined: None,
        };
        for (position, own) in snapshot.operators() {
            let committables = own.operator(COMMITTABLES).map(<[u8]>::to_vec);
            state_writer.committables.extend(committables);
            for (name, group, bytes) in own.parts() {
                let kind = kind_of(name, group);
                state_writer.part(position, name, kind, PartOf::Checkpoint, bytes);
            }
        }
        state_writer
    }

    /// Whether it takes what walks give: not if it has all, or if much waits for the disk.
    pub(crate) fn has_room(&self) -> bool {
        let queued = self.file.as_ref().map_or(0, RingFile::queued_bytes);
        matches!(self.step, Step::Taking) && !self.is_abandoned && queued < QUEUED_BYTES
    }

    /// Whether nothing is done for it until the disk has answered.
    pub(crate) fn waits_for_disk(&self) -> bool {
        let queued = self.file.as_ref().map_or(0, RingFile::queued_bytes);
        matches!(self.step, Step::Writing) && queued == 0
    }

    /// Takes what a walk gives.
    pub(crate) fn take(&mut self, walked: Walked<'_>, files: &mut StateFiles) {
        match walked {
            Walked::Table { name, header } => {
                let number = files.number_of(name, header);
                self.contents.tables.push(number);
                self.table = (name.to_owned(), header.to_vec(), number);
            }
            Walked::Piece { name, header, piece } => {
                if self.table.0 != name || self.table.1 != header {
                    self.table = (name.to_owned(), header.to_vec(), files.number_of(name, header));
                }
                let of = PartOf::Group(self.table.2, piece.group);
                if piece.begins {
                    self.contents.begun.push((self.table.2, piece.group));
                }
                if piece.bytes.is_empty() {
                    return;
                }
                if piece.begins || self.contents.parts.last() != Some(&of) {
                    // Tables are those of the head.
                    self.part(0, name, PartKind::Keyed(piece.group), of, header);
                }
                self.append(piece.bytes);
            }
            Walked::List { position, name, piece } => match piece.begins {
                true => {
                    let kind = kind_of(name, None);
                    self.part(position, name, kind, PartOf::Checkpoint, piece.bytes);
                }
                false => self.append(piece.bytes),
            },
            Walked::Failed(failure) => {
                self.abandon();
                let cause = format!("{failure}: {}", failure.source);
                self.declined = Some(Declined::Io(cause));
            }
        }
    }

    /// All is walked.
    pub(crate) fn has_all(&mut self) {
        if !matches!(self.step, Step::Taking) {
            return;
        }
        self.step = Step::Writing;
        let Some(writer) = self.writer.take().filter(|writer| !writer.is_empty()) else { return };
        let (rest, entry) = writer.finish(&self.relative);
        self.entry = Some(entry);
        let file = self.file.get_or_insert_with(|| RingFile::create(&self.io, &self.path));
        file.push(rest);
        file.finish();
    }

    /// The task is gone. What is under way comes to its end, and then the file is removed.
    pub(crate) fn abandon(&mut self) {
        (self.is_abandoned, self.declined) = (true, None);
        if matches!(self.step, Step::Taking) {
            self.step = Step::Writing;
            if let Some(file) = &mut self.file {
                file.finish();
            }
        }
    }

    /// Goes on; gives the end of it, once. `files`: of the task, if it is there.
    pub(crate) fn poll(&mut self, files: Option<&mut StateFiles>) -> Option<End> {
        if let Step::Taking | Step::Writing = self.step
            && let Some(file) = &mut self.file
        {
            match file.poll(&self.io) {
                Written::Pending => return None,
                Written::Durable => self.is_durable(),
                Written::Failed(_) if self.is_abandoned => return Some(self.given_up()),
                Written::Failed(error) => {
                    return Some(End::Declined(Declined::Io(error.to_string())));
                }
            }
        }
        if let Step::Writing = self.step {
            self.is_durable(); // There was nothing to write.
        }
        match (&mut self.step, files.filter(|_| !self.is_abandoned)) {
            (Step::Taking | Step::Writing, _) => None,
            (Step::Durable(advance), Some(files)) => {
                let files = files.step(advance)?;
                Some(End::Acknowledged(self.handle(files)))
            }
            (Step::Durable(_), None) => match &self.file {
                Some(file) => {
                    self.step = Step::Removing(self.io.remove(file.path()));
                    None
                }
                None => Some(self.given_up()),
            },
            (Step::Removing(token), _) => {
                // If it cannot be removed it is a leftover that no manifest names: it goes at the next start.
                self.io.take(*token)?.ok();
                Some(self.given_up())
            }
        }
    }

    /// The end of a write that nobody will refer to.
    fn given_up(&mut self) -> End {
        self.declined.take().map_or(End::Abandoned, End::Declined)
    }

    /// Whether the next poll goes on, without anything that would have to complete first.
    pub(crate) fn goes_on(&self) -> bool {
        matches!(self.step, Step::Durable(_))
    }

    fn is_durable(&mut self) {
        let contents = std::mem::take(&mut self.contents);
        self.written_bytes = self.entry.as_ref().map_or(0, |entry| entry.len);
        self.step = Step::Durable(Box::new(Advance::new(self.entry.take(), contents)));
    }

    /// What is acknowledged.
    fn handle(&mut self, files: Vec<FileEntry>) -> StateHandle {
        StateHandle {
            files,
            committables: std::mem::take(&mut self.committables),
            has_ended: self.has_ended,
            written_bytes: self.written_bytes,
            pause: self.pause,
            ..StateHandle::default()
        }
    }

    fn part(&mut self, position: usize, name: &str, kind: PartKind, of: PartOf, bytes: &[u8]) {
        let Some(writer) = &mut self.writer else { return };
        writer.begin(self.operators.uid_of(position, name), name, kind);
        self.contents.parts.push(of);
        self.append(bytes);
    }

    fn append(&mut self, bytes: &[u8]) {
        let Some(writer) = &mut self.writer else { return };
        writer.append(bytes);
        if writer.pending_bytes() >= HAND_OVER_BYTES {
            let file = self.file.get_or_insert_with(|| RingFile::create(&self.io, &self.path));
            file.push(writer.take());
        }
    }
}

fn kind_of(name: &str, group: Option<KeyGroup>) -> PartKind {
    match group {
        Some(group) => PartKind::Keyed(group),
        None if name == COMMITTABLES => PartKind::Committable,
        None => PartKind::List,
    }
}
