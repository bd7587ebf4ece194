//! Sorted runs in files without names, written and read a block at a time, with one operation on its way for each.
//!
//! # What is always true
//!
//! 1. A run is a piece of a file. It is read only when all of it is written.
//! 2. While a block is written the next one is filled; while one is used up the next one is read.

use std::io;

use wiesel_shard::{File, Io, Token};

/// A piece of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    start: u64,
    end: u64,
}

/// Appends one run to a file.
pub(super) struct RunWriter {
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
    pub(super) fn new(io: &Io, file: &File, start: u64, block_bytes: usize) -> Self {
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
    pub(super) fn append(&mut self, record: &[u8]) {
        self.open.extend_from_slice(record);
    }

    /// Whether it has room. If not, a write has to end first.
    #[inline]
    pub(super) fn has_room(&mut self) -> io::Result<bool> {
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
    pub(super) fn finish(&mut self) -> io::Result<Option<Run>> {
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
    pub(super) fn end(self) -> u64 {
        self.end
    }
}

/// Reads one run.
pub(super) struct RunReader {
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
    pub(super) fn new(io: &Io, file: &File, run: Run, block_bytes: usize) -> Self {
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
    pub(super) fn is_read(&self) -> bool {
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
    pub(super) fn poll(&mut self, io: &Io, bytes: &mut Vec<u8>) -> io::Result<bool> {
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
