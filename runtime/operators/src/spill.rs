//! Runs of records or frames in files without names, written and read a block at a time, with one operation on its way for
//! each; and what the task sees of it.
//!
//! # What is always true
//!
//! 1. A run is a piece of a file. It is read only when all of it is written.
//! 2. While a block is written the next one is filled; while one is used up the next one is read.
//! 3. While a file has to answer, the task gets no turn.

use std::{io, time::Duration};

use wiesel_core::{Blame, Nanos, TaskFailure};
use wiesel_shard::{File, Io, Token, fs};

use crate::{BatchOptions, OutputPort, TaskContext};

/// The smallest block: the least that a disk likes.
pub(crate) const BLOCK_BYTES_MIN: usize = 4 << 10;
/// The largest one: more no longer gains.
const BLOCK_BYTES_MAX: usize = 128 << 10;

/// The size of a block for whoever has so much memory: each of many runs may need two.
pub(crate) fn block_bytes_for(memory_bytes: usize) -> usize {
    (memory_bytes / 1_024).clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX)
}

/// A file in the folder of the options, for a task that does this.
///
/// # Errors
///
/// If none can be made there.
pub(crate) fn file_in(options: &BatchOptions, doing: &str) -> Result<File, TaskFailure> {
    fs::unnamed_file(&options.folder).map_err(|error| failure(doing, &error))
}

/// An error of a file as one of the task that does this.
pub(crate) fn failure(doing: &str, error: &io::Error) -> TaskFailure {
    let cause = format!(
        "{error}; make room there, name another folder with `io.tmp.dirs`, or raise `execution.sorted-inputs.memory`"
    );
    TaskFailure::new(Blame::Environment, doing, io::Error::new(error.kind(), cause))
}

/// What works with files.
pub(crate) trait OverFiles {
    /// Whether what was waited for has come.
    ///
    /// # Errors
    ///
    /// If a file cannot be written or read.
    fn poll(&mut self) -> Result<bool, TaskFailure>;
}

/// What works with files, as the task sees it.
pub(crate) struct FilePort<W> {
    pub(crate) inner: W,
    is_waiting: bool,
    failure: Option<TaskFailure>,
}

impl<W: OverFiles> FilePort<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, is_waiting: false, failure: None }
    }

    /// Ends the turn: there is no other one before a file has answered.
    pub(crate) fn wait(&mut self, context: &TaskContext) {
        self.is_waiting = true;
        context.stop().set();
    }
}

impl<W: OverFiles> OutputPort for FilePort<W> {
    fn poll(&mut self, _now: Nanos) -> bool {
        if self.is_waiting {
            let polled = self.inner.poll();
            self.is_waiting = matches!(polled, Ok(false));
            self.failure = polled.err();
            return !self.is_waiting;
        }
        false
    }

    fn is_ready(&self) -> bool {
        !self.is_waiting
    }

    fn flush(&mut self) {}

    fn flush_aged(&mut self, _now: Nanos, _age: Duration) {}

    fn end(&mut self) {}

    fn is_drained(&self) -> bool {
        true
    }

    fn take_failure(&mut self) -> Option<TaskFailure> {
        self.failure.take()
    }
}

/// A piece of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    start: u64,
    end: u64,
}

/// Appends one run to a file.
pub(crate) struct RunWriter {
    io: Io,
    file: File,
    start: u64,
    /// Where the next block goes.
    offset: u64,
    block_bytes: usize,
    open: Vec<u8>,
    spare: Vec<u8>,
    writing: Option<Token>,
}

impl RunWriter {
    pub(crate) fn new(io: &Io, file: &File, start: u64, block_bytes: usize) -> Self {
        Self {
            io: io.clone(),
            file: file.clone(),
            start,
            offset: start,
            block_bytes,
            open: Vec::with_capacity(block_bytes),
            spare: Vec::new(),
            writing: None,
        }
    }

    /// Takes a record.
    #[inline]
    pub(crate) fn append(&mut self, record: &[u8]) {
        self.open.extend_from_slice(record);
    }

    /// Takes what `write` appends.
    pub(crate) fn append_by(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.open);
    }

    /// Whether it has room. If not, a write has to end first.
    #[inline]
    pub(crate) fn has_room(&mut self) -> io::Result<bool> {
        if self.open.len() < self.block_bytes {
            return Ok(true);
        }
        self.write()
    }

    /// Starts the write of what is open, if none is on its way. Says whether it did.
    fn write(&mut self) -> io::Result<bool> {
        if let Some(token) = self.writing {
            let Some(written) = self.io.take(token) else { return Ok(false) };
            self.writing = None;
            let (mut buffer, count) = written?.into_bytes();
            self.offset += count as u64;
            buffer.clear();
            self.spare = buffer;
        }
        if !self.open.is_empty() {
            let block = std::mem::replace(&mut self.open, std::mem::take(&mut self.spare));
            self.writing = Some(self.io.write(&self.file, self.offset, block));
        }
        Ok(true)
    }

    /// Writes what is left. Gives the run when all of it is in the file.
    pub(crate) fn finish(&mut self) -> io::Result<Option<Run>> {
        while self.writing.is_some() || !self.open.is_empty() {
            if !self.write()? {
                return Ok(None);
            }
        }
        Ok(Some(Run { start: self.start, end: self.offset }))
    }
}

impl Drop for RunWriter {
    fn drop(&mut self) {
        if let Some(token) = self.writing {
            self.io.forget(token);
        }
    }
}

impl Run {
    /// Where the next run may start.
    pub(crate) fn end(self) -> u64 {
        self.end
    }
}

/// Reads one run.
pub(crate) struct RunReader {
    io: Io,
    file: File,
    /// What has been handed out ends here.
    offset: u64,
    end: u64,
    block_bytes: usize,
    spare: Vec<u8>,
    reading: Option<Token>,
}

impl RunReader {
    pub(crate) fn new(io: &Io, file: &File, run: Run, block_bytes: usize) -> Self {
        let mut reader = Self {
            io: io.clone(),
            file: file.clone(),
            offset: run.start,
            end: run.end,
            block_bytes,
            spare: Vec::new(),
            reading: None,
        };
        reader.read();
        reader
    }

    /// Whether all of it has been handed out.
    pub(crate) fn is_read(&self) -> bool {
        self.offset == self.end
    }

    fn read(&mut self) {
        let left = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX);
        if left > 0 {
            let mut buffer = std::mem::take(&mut self.spare);
            buffer.reserve_exact(left.min(self.block_bytes));
            self.reading = Some(self.io.read(&self.file, self.offset, buffer));
        }
    }

    /// Appends the next block to `bytes`, if it has come, and says whether it has.
    pub(crate) fn poll(&mut self, io: &Io, bytes: &mut Vec<u8>) -> io::Result<bool> {
        let Some(token) = self.reading else { return Ok(false) };
        let Some(read) = io.take(token) else { return Ok(false) };
        self.reading = None;
        let (mut buffer, count) = read?.into_bytes();
        if count == 0 {
            let cause = format!("{} is shorter than what was written to it", self.file.name());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, cause));
        }
        // A buffer with more room than was asked for has the beginning of the next run.
        let count = (count as u64).min(self.end - self.offset);
        bytes.extend_from_slice(&buffer[..count as usize]);
        self.offset += count;
        buffer.clear();
        self.spare = buffer;
        self.read();
        Ok(true)
    }
}

impl Drop for RunReader {
    fn drop(&mut self) {
        if let Some(token) = self.reading {
            self.io.forget(token);
        }
    }
}
