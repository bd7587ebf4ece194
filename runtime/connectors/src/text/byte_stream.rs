//! Bytes from a file, standard input or a socket: chunks, with one read on its way while a chunk is used.
//!
//! ```text
//!   poll ──▶ Chunk(A)   and read B is submitted
//!            … A is cut into lines …
//!   poll ──▶ Chunk(B)   and read C is submitted, into A's memory
//! ```
//!
//! # What is always true
//!
//! 1. At most one operation is on its way.
//! 2. A file is read ahead only up to `wanted`; beyond, a chunk at a time when it is asked for.
//! 3. Dropped, it forgets its operation, so that a completion nobody takes is not kept.

use std::{io, net::SocketAddr, path::Path};

use wiesel_shard::{File, Io, Shard, Token};

/// Bytes per read of a file: long enough that the cost of a read (some 5 us) is below 2 % of parsing it, two of them
/// per reader.
const CHUNK_BYTES: usize = 512 << 10;

/// Bytes per read of a stream: what a pipe holds.
const STREAM_CHUNK_BYTES: usize = 64 << 10;

/// What a poll came to.
#[derive(Debug)]
pub(crate) enum Fed {
    /// Bytes; at least one.
    Chunk(Vec<u8>),
    /// A completion will come.
    Waiting,
    /// There are no more.
    End,
}

enum State {
    /// The addresses left to try are for a connection only.
    Opening(Token, Vec<SocketAddr>),
    Open(File),
    Ended,
}

pub(crate) struct ByteStream {
    io: Io,
    state: State,
    /// Where the next read begins; none for a stream.
    offset: Option<u64>,
    wanted: u64,
    reading: Option<Token>,
    spare: Option<Vec<u8>>,
}

impl ByteStream {
    /// A file from `start` on, of which `wanted` is where nothing more is expected to be needed.
    pub(crate) fn file(shard: &Shard, path: &Path, start: u64, wanted: u64) -> Self {
        let io = shard.io();
        let state = State::Opening(io.open_read(path), Vec::new());
        Self { state, io, offset: Some(start), wanted, reading: None, spare: None }
    }

    pub(crate) fn stdin(shard: &Shard) -> Self {
        Self::stream(shard.io(), State::Open(File::stdin()))
    }

    /// A connection to the first of `addresses` that accepts one.
    pub(crate) fn socket(shard: &Shard, addresses: &[SocketAddr]) -> Self {
        let io = shard.io();
        let state = match addresses.split_first() {
            Some((first, rest)) => State::Opening(io.connect(*first), rest.to_vec()),
            None => State::Ended,
        };
        Self::stream(io, state)
    }

    fn stream(io: Io, state: State) -> Self {
        Self { io, state, offset: None, wanted: u64::MAX, reading: None, spare: None }
    }

    /// The next chunk, if it has come.
    pub(crate) fn poll(&mut self) -> io::Result<Fed> {
        if let State::Opening(token, addresses) = &mut self.state {
            let Some(opened) = self.io.take(*token) else { return Ok(Fed::Waiting) };
            match (opened, addresses.pop()) {
                (Ok(opened), _) => self.state = State::Open(opened.into_file()),
                (Err(_), Some(next)) => {
                    *token = self.io.connect(next);
                    return Ok(Fed::Waiting);
                }
                (Err(error), None) => {
                    self.state = State::Ended;
                    return Err(error);
                }
            }
        }
        let Some(token) = self.reading else { return Ok(self.read()) };
        let Some(read) = self.io.take(token) else { return Ok(Fed::Waiting) };
        self.reading = None;
        let (chunk, count) = read?.into_bytes();
        if count == 0 {
            self.state = State::Ended;
            return Ok(Fed::End);
        }
        if let Some(offset) = &mut self.offset {
            *offset += count as u64;
        }
        if self.offset.is_none_or(|offset| offset < self.wanted) {
            self.read();
        }
        Ok(Fed::Chunk(chunk))
    }

    /// A chunk that has been used: its memory is for the next read.
    pub(crate) fn give_back(&mut self, chunk: Vec<u8>) {
        if chunk.capacity() > 0 {
            self.spare = Some(chunk);
        }
    }

    /// What was read ahead, if it has come.
    pub(crate) fn take_read(&mut self) -> Vec<u8> {
        let Some(read) = self.reading.and_then(|token| self.io.take(token)) else {
            return Vec::new();
        };
        self.reading = None;
        read.map_or_else(|_| Vec::new(), |read| read.into_bytes().0)
    }

    fn read(&mut self) -> Fed {
        let State::Open(file) = &self.state else { return Fed::End };
        let bytes = if self.offset.is_some() { CHUNK_BYTES } else { STREAM_CHUNK_BYTES };
        let mut chunk = self.spare.take().unwrap_or_default();
        chunk.clear();
        chunk.reserve_exact(bytes);
        self.reading = Some(match self.offset {
            Some(offset) => self.io.read(file, offset, chunk),
            None => self.io.read_stream(file, chunk),
        });
        Fed::Waiting
    }
}

impl Drop for ByteStream {
    fn drop(&mut self) {
        if let State::Opening(token, _) = self.state {
            self.io.forget(token);
        }
        if let Some(token) = self.reading {
            self.io.forget(token);
        }
    }
}
