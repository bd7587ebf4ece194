//! Bytes on their way to a file or to standard output: one buffer is filled while the other is written.
//!
//! ```text
//!   open    ▒▒▒▒▒▒░░░░  append            pause: BUFFER_BYTES in `open` while a write is on its way
//!   written ▓▓▓▓▓▓▓▓▓▓  in the kernel
//!   Closed(path) ─poll─▶ Opening ─▶ Open ─finish─▶ Syncing ─▶ Naming ─▶ Finished      Broken: a closed pipe
//! ```
//!
//! # What is always true
//!
//! 1. At most one operation is on its way, so bytes arrive in order.
//! 2. A buffer leaves when it is full, or on `flush`, or at the end.
//! 3. What is written to a stream at once is whole lines of at most `PIPE_BUF` bytes (longer lines go alone): so the lines
//!    of several writers to one pipe do not mix (pipe(7)). Also of a subtask that is alone: the job may have another sink
//!    that prints, and the program may print, too.
//! 4. A file is finished when its bytes and its name survive a crash of the machine.

use std::{io, path::PathBuf};

use memchr::memrchr;
use wiesel_core::{Blame, TaskFailure};
use wiesel_shard::{CreateMode, File, Io, Outcome, Shard, Token};

use super::WriterStatus;

/// Bytes that are written at once: what a pipe holds.
pub(super) const BUFFER_BYTES: usize = 64 << 10;

/// `PIPE_BUF` of Linux: writes of at most this many bytes to a pipe do not mix.
const ATOMIC_BYTES: usize = 4096;

enum State {
    /// To be created when something is appended.
    Waiting,
    /// To be created.
    Planned,
    Opening(Token),
    Open(File),
    Syncing(Token),
    /// The folder is being synced.
    Naming(Token),
    Finished,
    /// The reader of the pipe is gone.
    Broken,
}

pub(super) struct Outbox {
    io: Option<Io>,
    state: State,
    /// The file to create and to sync; none for a stream.
    path: Option<PathBuf>,
    offset: u64,
    /// Bytes that had been appended at the last mark.
    mark: u64,
    open: Vec<u8>,
    spare: Vec<u8>,
    writing: Option<Token>,
    /// Bytes of the write under way.
    in_flight: usize,
    flush: bool,
    finish: bool,
}

impl Outbox {
    /// To a file that is created, or emptied, at the first poll.
    pub(super) fn file(path: PathBuf) -> Self {
        Self::new(State::Planned, Some(path))
    }

    /// To a file that is created when there is something to write.
    pub(super) fn file_with_content(path: PathBuf) -> Self {
        Self::new(State::Waiting, Some(path))
    }

    /// To a stream, to which others may write as well.
    pub(super) fn stream(file: File) -> Self {
        Self::new(State::Open(file), None)
    }

    fn new(state: State, path: Option<PathBuf>) -> Self {
        Self {
            io: None,
            state,
            path,
            offset: 0,
            mark: 0,
            open: Vec::with_capacity(BUFFER_BYTES),
            spare: Vec::new(),
            writing: None,
            in_flight: 0,
            flush: false,
            finish: false,
        }
    }

    /// The buffer to append to.
    #[inline]
    pub(super) fn open(&mut self) -> &mut Vec<u8> {
        &mut self.open
    }

    #[inline]
    pub(super) fn wants_pause(&self) -> bool {
        self.open.len() >= BUFFER_BYTES
    }

    pub(super) fn flush(&mut self) {
        self.flush = true;
    }

    /// Bytes that were appended and are not written: those of the write under way are in neither buffer.
    fn unwritten(&self) -> u64 {
        (self.open.len() + self.in_flight) as u64
    }

    /// Whether nothing was ever appended.
    pub(super) fn is_untouched(&self) -> bool {
        self.offset == 0 && self.unwritten() == 0
    }

    /// What has been appended so far is what [`is_past_mark`](Self::is_past_mark) asks for.
    pub(super) fn mark(&mut self) {
        self.mark = self.offset + self.unwritten();
        self.flush = true;
    }

    /// Whether all that was appended before the mark is written.
    pub(super) fn is_past_mark(&self) -> bool {
        self.offset >= self.mark
    }

    pub(super) fn finish(&mut self) {
        self.finish = true;
    }

    pub(super) fn poll(&mut self, shard: &Shard) -> Result<WriterStatus, TaskFailure> {
        let io = self.io.get_or_insert_with(|| shard.io()).clone();
        match self.step(&io) {
            Ok(status) => Ok(status),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && self.path.is_none() => {
                self.state = State::Broken;
                Ok(WriterStatus::Closed)
            }
            Err(error) => {
                let name =
                    self.path.as_ref().map_or("stdout".into(), |path| path.to_string_lossy());
                let doing = format!("write {name}");
                Err(TaskFailure::new(Blame::Environment, doing, error))
            }
        }
    }

    fn step(&mut self, io: &Io) -> io::Result<WriterStatus> {
        match &self.state {
            State::Waiting if self.open.is_empty() => Ok(WriterStatus::Idle),
            State::Waiting | State::Planned => {
                let path = self.path.as_ref().expect("only a file is planned");
                self.state = State::Opening(io.create(path, CreateMode::Truncate));
                Ok(WriterStatus::Moved)
            }
            State::Opening(token) => {
                let Some(opened) = io.take(*token) else { return Ok(WriterStatus::Waiting) };
                self.state = State::Open(opened?.into_file());
                Ok(WriterStatus::Moved)
            }
            State::Open(file) => {
                let file = file.clone();
                self.write(io, &file)
            }
            State::Syncing(token) => {
                let Some(synced) = io.take(*token) else { return Ok(WriterStatus::Waiting) };
                let Outcome::Done = synced? else { return Ok(WriterStatus::Waiting) };
                let folder = self.path.as_ref().and_then(|path| path.parent());
                self.state = match folder {
                    Some(folder) => State::Naming(io.fsync_dir(folder)),
                    None => State::Finished,
                };
                Ok(WriterStatus::Moved)
            }
            State::Naming(token) => {
                let Some(named) = io.take(*token) else { return Ok(WriterStatus::Waiting) };
                named?;
                self.state = State::Finished;
                Ok(WriterStatus::Finished)
            }
            State::Finished => Ok(WriterStatus::Finished),
            State::Broken => {
                self.open.clear();
                Ok(WriterStatus::Closed)
            }
        }
    }

    fn write(&mut self, io: &Io, file: &File) -> io::Result<WriterStatus> {
        let mut moved = false;
        if let Some(token) = self.writing {
            let Some(written) = io.take(token) else { return Ok(WriterStatus::Waiting) };
            self.writing = None;
            self.in_flight = 0;
            let (mut buffer, count) = written?.into_bytes();
            self.offset += count as u64;
            buffer.clear();
            self.spare = buffer;
            moved = true;
        }
        let due = self.flush || self.finish || self.open.len() >= BUFFER_BYTES;
        if due && !self.open.is_empty() {
            let piece = self.take_piece();
            self.in_flight = piece.len();
            self.flush &= !self.open.is_empty();
            self.writing = Some(match self.path {
                Some(_) => io.write(file, self.offset, piece),
                None => io.write_stream(file, piece),
            });
            return Ok(WriterStatus::Moved);
        }
        self.flush = false;
        if !self.finish {
            return Ok(if moved { WriterStatus::Moved } else { WriterStatus::Idle });
        }
        if self.path.is_none() {
            self.state = State::Finished;
            return Ok(WriterStatus::Finished);
        }
        self.state = State::Syncing(io.fsync(file));
        Ok(WriterStatus::Moved)
    }

    /// What is written next.
    fn take_piece(&mut self) -> Vec<u8> {
        let mut piece = std::mem::take(&mut self.spare);
        if self.path.is_some() || self.open.len() <= ATOMIC_BYTES {
            std::mem::swap(&mut piece, &mut self.open);
            return piece;
        }
        let end = memrchr(b'\n', &self.open[..ATOMIC_BYTES])
            .or_else(|| memchr::memchr(b'\n', &self.open))
            .map_or(self.open.len(), |at| at + 1);
        piece.extend_from_slice(&self.open[..end]);
        self.open.drain(..end);
        piece
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let Some(io) = &self.io else { return };
        if let State::Opening(token) | State::Syncing(token) | State::Naming(token) = self.state {
            io.forget(token);
        }
        if let Some(token) = self.writing {
            io.forget(token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_a_stream_are_whole_lines() {
        let mut outbox = Outbox::stream(File::stdout());
        let lines: Vec<String> =
            (0..700).map(|n| "x".repeat(n * 37 % 91) + &n.to_string() + "\n").collect();
        let long = "y".repeat(3 * ATOMIC_BYTES) + "\n";
        let text = lines.concat() + &long + "z\n";
        outbox.open().extend(text.as_bytes());
        let mut written = Vec::new();
        while !outbox.open.is_empty() {
            let piece = outbox.take_piece();
            assert!(piece.ends_with(b"\n"));
            assert!(piece.len() <= ATOMIC_BYTES || piece == long.as_bytes(), "{}", piece.len());
            written.extend(piece);
        }
        assert!(written == text.as_bytes());
    }

    #[test]
    #[cfg(not(sim))]
    #[allow(clippy::disallowed_methods, clippy::disallowed_types)] // A server of the test's own.
    fn a_closed_pipe_is_no_failure() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let shard = Shard::detached();
        let token = shard.io().connect(listener.local_addr().expect("bound"));
        let stream = loop {
            shard.look();
            if let Some(connected) = shard.io().take(token) {
                break connected.expect("it listens").into_file();
            }
        };
        drop(listener.accept().expect("a writer"));
        let mut outbox = Outbox::stream(stream);
        let closed = loop {
            outbox.open().extend(b"nobody reads this\n");
            outbox.flush();
            shard.look();
            match outbox.poll(&shard) {
                Ok(WriterStatus::Closed) => break true,
                Ok(WriterStatus::Moved | WriterStatus::Waiting) => {}
                other => panic!("{other:?}"),
            }
        };
        assert!(closed);
        outbox.open().extend(b"nor this");
        assert_eq!(outbox.poll(&shard).ok(), Some(WriterStatus::Closed));
        assert!(outbox.open().is_empty(), "what nobody reads is not kept");
    }

    #[test]
    fn a_file_is_written_a_buffer_at_a_time() {
        let mut outbox = Outbox::file("x".into());
        outbox.open().extend([b'x'; BUFFER_BYTES]);
        assert!(outbox.wants_pause());
        assert_eq!(outbox.take_piece().len(), BUFFER_BYTES);
        assert!(!outbox.wants_pause());
    }
}
