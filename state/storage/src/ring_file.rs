//! A data file that a task writes through its shard's ring, between turns.
//!
//! ```text
//!   create ──▶ write, write, … ──▶ fsync ──▶ fsync of the folder ──▶ Durable
//!      └───────────┴─────────────────┴────── an error ──▶ remove ──▶ Failed
//! ```
//!
//! # What is always true
//!
//! 1. Nothing waits: [`poll`](RingFile::poll) takes what has completed and submits what is next, one operation at a time.
//! 2. `Durable` is said after the bytes and the name survive a crash of the machine; only then may anything refer to the
//!    file.
//! 3. After `Failed` there is no file: a full disk keeps nothing of it.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
};

use wiesel_core::Mutant;
use wiesel_shard::{Completion, CreateMode, File, Io, Outcome, Token};

/// How far a file is.
#[derive(Debug)]
pub enum Written {
    /// Poll again after a completion.
    Pending,
    /// It is there, whatever happens.
    Durable,
    /// It is not there.
    Failed(io::Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Create,
    Write,
    Sync,
    SyncFolder,
    Remove,
    Over,
}

/// A file that is being written. Its folder must exist, the file must not.
#[derive(Debug)]
pub struct RingFile {
    path: PathBuf,
    step: Step,
    token: Option<Token>,
    file: Option<File>,
    queue: VecDeque<Vec<u8>>,
    queued_bytes: u64,
    offset: u64,
    is_finished: bool,
    error: Option<io::Error>,
}

impl RingFile {
    /// Begins a file.
    pub fn create(io: &Io, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let token = Some(io.create(&path, CreateMode::New));
        let (queue, file, error) = (VecDeque::new(), None, None);
        let step = Step::Create;
        Self {
            path,
            step,
            token,
            file,
            queue,
            queued_bytes: 0,
            offset: 0,
            is_finished: false,
            error,
        }
    }

    /// Bytes that follow those pushed before. Their number is bounded by whoever asks
    /// [`queued_bytes`](Self::queued_bytes) first.
    pub fn push(&mut self, bytes: Vec<u8>) {
        debug_assert!(!self.is_finished, "bytes after the end");
        self.queued_bytes += bytes.len() as u64;
        self.queue.push_back(bytes);
    }

    /// There are no more bytes.
    pub fn finish(&mut self) {
        self.is_finished = true;
    }

    /// Bytes that were pushed and are not written yet.
    pub fn queued_bytes(&self) -> u64 {
        self.queued_bytes
    }

    /// Takes what has completed and submits what is next. After `Durable` or `Failed` it is over.
    pub fn poll(&mut self, io: &Io) -> Written {
        loop {
            if let Some(token) = self.token {
                let Some(completion) = io.take(token) else { return Written::Pending };
                self.token = None;
                self.completed(completion);
            }
            if !self.submit(io) {
                break;
            }
        }
        match (self.step, self.error.take()) {
            (Step::Over, Some(error)) => Written::Failed(error),
            (Step::Over, None) => Written::Durable,
            _ => Written::Pending,
        }
    }

    /// The file is not needed any more: the operation under way is cancelled or its result dropped. What is there of it
    /// is a leftover, which [`path`](Self::path) names.
    pub fn abandon(self, io: &Io) -> PathBuf {
        if let Some(token) = self.token {
            io.forget(token);
        }
        self.path
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn completed(&mut self, completion: Completion) {
        match (self.step, completion) {
            // The first error is the one that says why.
            (Step::Remove, _) | (Step::SyncFolder, Ok(_)) => self.step = Step::Over,
            (Step::Create, Ok(outcome)) => {
                self.file = Some(outcome.into_file());
                self.step = Step::Write;
            }
            (Step::Write, Ok(Outcome::Bytes { count, .. })) => {
                self.offset += count as u64;
                self.queued_bytes -= count as u64;
            }
            (Step::Sync, Ok(_)) => self.step = Step::SyncFolder,
            // What stood there before is not ours to remove.
            (Step::Create, Err(error)) => self.fail(error, Step::Over),
            (_, Err(error)) => self.fail(error, Step::Remove),
            (Step::Write | Step::Over, Ok(_)) => {}
        }
    }

    fn fail(&mut self, error: io::Error, then: Step) {
        self.error = Some(error);
        self.step = then;
        self.file = None;
        self.queue.clear();
        self.queued_bytes = 0;
    }

    /// Submits the next operation. Whether there was one.
    fn submit(&mut self, io: &Io) -> bool {
        if self.step == Step::Write && self.queue.is_empty() && self.is_finished {
            let is_unsynced = Mutant::FileUnsynced.is_chosen();
            self.step = if is_unsynced { Step::SyncFolder } else { Step::Sync };
        }
        let token = match (self.step, &self.file) {
            (Step::Write, Some(file)) => {
                let Some(bytes) = self.queue.pop_front() else { return false };
                io.write(file, self.offset, bytes)
            }
            (Step::Sync, Some(file)) => io.fsync(file),
            (Step::SyncFolder, _) => {
                let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
                io.fsync_dir(folder.unwrap_or(Path::new(".")))
            }
            (Step::Remove, _) => io.remove(&self.path),
            _ => return false,
        };
        self.token = Some(token);
        true
    }
}
