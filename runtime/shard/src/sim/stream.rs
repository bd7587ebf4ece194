//! Streams in memory: pipes of bounded size, pairs of them as sockets, and listeners.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A value that simulated files share. The lock is never contended: there is one thread.
pub(super) struct Shared<T>(Arc<Mutex<T>>);

pub(super) fn shared<T>(value: T) -> Shared<T> {
    Shared(Arc::new(Mutex::new(value)))
}

impl<T> Shared<T> {
    /// A panic while it was held leaves it as it was: only plain bytes are in it.
    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Bytes on their way in one direction.
#[derive(Default)]
pub(super) struct Pipe {
    pub(super) bytes: VecDeque<u8>,
    pub(super) writer_gone: bool,
    pub(super) reader_gone: bool,
}

impl Pipe {
    /// What the kernel buffers of a stream before a writer has to wait.
    const BYTES_MAX: usize = 64 << 10;

    pub(super) fn can_read(&self) -> bool {
        !self.bytes.is_empty() || self.writer_gone
    }

    pub(super) fn can_write(&self) -> bool {
        self.room() > 0 || self.reader_gone
    }

    pub(super) fn room(&self) -> usize {
        Self::BYTES_MAX - self.bytes.len()
    }
}

/// One end of a connected socket. Dropping it closes both directions.
pub(super) struct Socket {
    pub(super) incoming: Shared<Pipe>,
    pub(super) outgoing: Shared<Pipe>,
}

impl Socket {
    pub(super) fn pair() -> (Self, Self) {
        let (there, back) = (shared(Pipe::default()), shared(Pipe::default()));
        let one = Self { incoming: back.clone(), outgoing: there.clone() };
        (one, Self { incoming: there, outgoing: back })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.outgoing.lock().writer_gone = true;
        self.incoming.lock().reader_gone = true;
    }
}

/// Connections that wait to be accepted.
#[derive(Default)]
pub(super) struct Listener {
    pub(super) waiting: VecDeque<Socket>,
    pub(super) closed: bool,
}
