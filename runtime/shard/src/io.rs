//! Files and sockets without waiting: an operation is submitted, and its completion is taken later by its token.
//!
//! ```text
//!   token = io.read(&file, 0, buffer) ──▶ the shard's own ring ──▶ kernel
//!   turn … turn … turn                                               │
//!   io.take(token) ◀── Some(Ok(Outcome::Bytes { buffer, count })) ◀──┘   a completion ends a sleep
//! ```
//!
//! # What is always true
//!
//! 1. The buffer of an operation belongs to the operation until its completion is taken. Dropping a token, a file or
//!    the whole program never frees memory that the kernel may still write to.
//! 2. A token is good for one completion. A token that nobody will take is given to [`Io::forget`], or its result
//!    waits until the shard ends.
//! 3. An error names the operation and the file; its kind is the system's.
//!
//! No operation waits for another: at most one read and one write per stream at a time, or their order is undefined.

mod slots;

use std::{
    fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};

use crate::{backend, shard};

pub(crate) use slots::Slots;

/// An operation that was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "the result waits until the token is taken or forgotten"]
pub struct Token {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// What an operation gave. See [`Io`] for which gives what.
pub type Completion = io::Result<Outcome>;

/// The result of an operation that went well.
#[derive(Debug)]
pub enum Outcome {
    /// An opened file, or a connected stream.
    File(File),
    /// The buffer comes back. `count`: bytes appended to it by a read (0: the end), or bytes written.
    Bytes {
        /// The buffer that was given.
        buffer: Vec<u8>,
        /// How many bytes went.
        count: usize,
    },
    /// There is nothing to return.
    Done,
}

impl Outcome {
    /// The file of an open, connect or accept.
    ///
    /// # Panics
    ///
    /// If the operation was another one.
    pub fn into_file(self) -> File {
        match self {
            Self::File(file) => file,
            other => panic!("{other:?} is not a file"),
        }
    }

    /// The buffer and the count of a read or a write.
    ///
    /// # Panics
    ///
    /// If the operation was another one.
    pub fn into_bytes(self) -> (Vec<u8>, usize) {
        match self {
            Self::Bytes { buffer, count } => (buffer, count),
            other => panic!("{other:?} is not a buffer"),
        }
    }
}

/// How to create a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateMode {
    /// The file must not exist.
    New,
    /// What it held is gone.
    Truncate,
    /// Writes go to its end, whatever their offset.
    Append,
}

/// An open file, socket or standard stream. Clones are the same file; the last one closes it.
#[derive(Clone)]
pub struct File(pub(crate) Arc<FileInner>);

pub(crate) struct FileInner {
    /// For messages: a path, `stdin`, an address.
    pub(crate) name: String,
    pub(crate) handle: backend::Handle,
}

impl File {
    pub(crate) fn new(name: impl Into<String>, handle: backend::Handle) -> Self {
        Self(Arc::new(FileInner { name: name.into(), handle }))
    }

    /// A descriptor that was opened elsewhere (a pipe, a socket), called `name` in messages.
    #[cfg(not(sim))]
    pub fn from_fd(name: &str, fd: std::os::fd::OwnedFd) -> Self {
        Self::new(name, backend::Handle::owned(fd))
    }

    /// Standard input. Never closed.
    pub fn stdin() -> Self {
        Self::new("stdin", backend::Handle::standard(0))
    }

    /// Standard output. Never closed. When its reader is gone a write fails with [`io::ErrorKind::BrokenPipe`]. A regular file
    /// is appended to, so that no shard writes over what another has written.
    pub fn stdout() -> Self {
        Self::new("stdout", backend::Handle::standard_output())
    }

    /// Standard error. Never closed.
    pub fn stderr() -> Self {
        Self::new("stderr", backend::Handle::standard(2))
    }

    /// What it is called in messages.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.0.handle.is_terminal()
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "File({})", self.0.name)
    }
}

/// What a backend is asked to do.
pub(crate) enum Request {
    Open {
        path: PathBuf,
    },
    Create {
        path: PathBuf,
        mode: CreateMode,
    },
    /// Without an offset: from a stream.
    Read {
        file: File,
        offset: Option<u64>,
        buffer: Vec<u8>,
    },
    /// All of the buffer; without an offset: to a stream.
    Write {
        file: File,
        offset: Option<u64>,
        buffer: Vec<u8>,
    },
    Sync {
        file: File,
    },
    SyncDirectory {
        path: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    MakeDirectory {
        path: PathBuf,
    },
    Connect {
        address: SocketAddr,
    },
    Accept {
        listener: File,
    },
}

impl Request {
    /// For messages: `read data/posts.jsonl`.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Open { path } => format!("open {}", path.display()),
            Self::Create { path, .. } => format!("create {}", path.display()),
            Self::Read { file, .. } => format!("read {}", file.name()),
            Self::Write { file, .. } => format!("write {}", file.name()),
            Self::Sync { file } => format!("sync {}", file.name()),
            Self::SyncDirectory { path } => format!("sync {}", path.display()),
            Self::Rename { from, to } => format!("rename {} to {}", from.display(), to.display()),
            Self::Remove { path } => format!("remove {}", path.display()),
            Self::MakeDirectory { path } => format!("make folder {}", path.display()),
            Self::Connect { address } => format!("connect to {address}"),
            Self::Accept { listener } => format!("accept at {}", listener.name()),
        }
    }
}

/// Puts the operation and the file's name before a system error; the kind stays.
pub(crate) fn with_context(what: impl fmt::Display, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// The operations of a shard. A handle: cheap to make and to keep.
///
/// Every method that returns a [`Token`] only submits.
#[derive(Clone)]
pub struct Io(pub(crate) Rc<shard::Inner>);

impl Io {
    fn submit(&self, request: Request) -> Token {
        self.0.io.borrow_mut().submit(request)
    }

    /// The completion of an operation, if it has completed. The token is used up by that.
    #[inline]
    pub fn take(&self, token: Token) -> Option<Completion> {
        self.0.io.borrow_mut().take(token)
    }

    /// Nobody will take this token: the operation is cancelled where it can be, and its result dropped.
    pub fn forget(&self, token: Token) {
        self.0.io.borrow_mut().forget(token);
    }

    /// How many operations have not completed.
    pub fn outstanding(&self) -> usize {
        self.0.io.borrow().outstanding()
    }

    /// Opens a file for reading. Gives [`Outcome::File`].
    pub fn open_read(&self, path: impl AsRef<Path>) -> Token {
        self.submit(Request::Open { path: path.as_ref().to_owned() })
    }

    /// Creates a file for writing. Gives [`Outcome::File`].
    pub fn create(&self, path: impl AsRef<Path>, mode: CreateMode) -> Token {
        self.submit(Request::Create { path: path.as_ref().to_owned(), mode })
    }

    /// Reads at `offset` (bytes) and appends to `buffer`, at most its spare capacity. Gives [`Outcome::Bytes`];
    /// a count of 0 is the end of the file. A buffer without room is an error.
    pub fn read(&self, file: &File, offset: u64, buffer: Vec<u8>) -> Token {
        self.submit(Request::Read { file: file.clone(), offset: Some(offset), buffer })
    }

    /// Reads what comes next from a pipe, terminal or socket, as [`Io::read`] does. A count of 0: the other side is
    /// gone.
    pub fn read_stream(&self, file: &File, buffer: Vec<u8>) -> Token {
        self.submit(Request::Read { file: file.clone(), offset: None, buffer })
    }

    /// Writes all of `buffer` at `offset` (bytes). Gives [`Outcome::Bytes`].
    pub fn write(&self, file: &File, offset: u64, buffer: Vec<u8>) -> Token {
        self.submit(Request::Write { file: file.clone(), offset: Some(offset), buffer })
    }

    /// Writes all of `buffer` to a pipe, terminal or socket. Gives [`Outcome::Bytes`].
    pub fn write_stream(&self, file: &File, buffer: Vec<u8>) -> Token {
        self.submit(Request::Write { file: file.clone(), offset: None, buffer })
    }

    /// Makes what was written survive a crash of the machine. Gives [`Outcome::Done`].
    pub fn fsync(&self, file: &File) -> Token {
        self.submit(Request::Sync { file: file.clone() })
    }

    /// Makes the names in a folder survive a crash of the machine. Gives [`Outcome::Done`].
    pub fn fsync_dir(&self, path: impl AsRef<Path>) -> Token {
        self.submit(Request::SyncDirectory { path: path.as_ref().to_owned() })
    }

    /// Renames a file; what had the new name is gone. Gives [`Outcome::Done`].
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Token {
        self.submit(Request::Rename { from: from.as_ref().to_owned(), to: to.as_ref().to_owned() })
    }

    /// Removes a file. Gives [`Outcome::Done`].
    pub fn remove(&self, path: impl AsRef<Path>) -> Token {
        self.submit(Request::Remove { path: path.as_ref().to_owned() })
    }

    /// Makes a folder; its parent must exist. Gives [`Outcome::Done`].
    pub fn make_dir(&self, path: impl AsRef<Path>) -> Token {
        self.submit(Request::MakeDirectory { path: path.as_ref().to_owned() })
    }

    /// Connects a TCP stream. Gives [`Outcome::File`].
    pub fn connect(&self, address: SocketAddr) -> Token {
        self.submit(Request::Connect { address })
    }

    /// Listens for TCP streams, at once. Port 0 takes a free one; the address that was taken is returned.
    ///
    /// # Errors
    ///
    /// When the address is in use or not this machine's.
    pub fn listen(&self, address: SocketAddr) -> io::Result<(File, SocketAddr)> {
        let listening = self.0.machine.listen(address);
        let (handle, taken) =
            listening.map_err(|error| with_context(format_args!("listen at {address}"), error))?;
        Ok((File::new(taken.to_string(), handle), taken))
    }

    /// Takes one TCP stream from a listener. Gives [`Outcome::File`].
    pub fn accept(&self, listener: &File) -> Token {
        self.submit(Request::Accept { listener: listener.clone() })
    }
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Io({} outstanding)", self.outstanding())
    }
}
