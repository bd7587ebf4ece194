//! The shard's own ring: files and sockets through io_uring, polled by the loop.
//!
//! ```text
//!   submit ──▶ backlog ──(poll: once a turn)──▶ submission queue ──▶ kernel
//!   take   ◀── slots   ◀──(poll)─────────────── completion queue ◀──┘
//! ```
//!
//! # What is always true
//!
//! 1. What the kernel may read or write (buffer, path, address, descriptor) is owned by the boxed [`Op`] in its slot and
//!    is neither moved nor freed until the operation's completion was seen. At the end of the shard operations are
//!    cancelled and awaited; those that do not end are leaked, never freed.
//! 2. The ring is made on the thread that uses it, at the first operation: a shard without files locks no memory.
//! 3. With nothing outstanding a poll is two loads. Completions ring the shard's bell only while it is about to sleep.
//!
//! `unsafe` here: entries pushed to the submission queue (invariant 1), descriptors that the kernel just opened for us, and
//! `set_len` by what the kernel says it wrote.

use std::{
    collections::VecDeque,
    ffi::CString,
    io, mem,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    sync::{
        Once,
        atomic::{Ordering, fence},
    },
    thread,
    time::Duration,
};

use io_uring::{IoUring, opcode, squeue, types};
use wiesel_core::ShardId;

use super::{
    Bell, Handle, Services,
    handle::{connected, socket_address, tcp_socket},
};
use crate::{
    Completion, CreateMode, File, Outcome, Token,
    io::{Request, Slots, with_context},
};

/// Entries of the submission queue; the completion queue has twice as many. More operations than that wait in the
/// backlog. Rarely are more than two per subtask under way: a read ahead and a write behind.
const ENTRIES: u32 = 64;

/// The completion of a cancellation itself: of no interest.
const CANCELLATION: u64 = u64::MAX;

/// The whole file position for reads and writes of streams.
const STREAM: u64 = u64::MAX;

/// How long the end of a shard waits for cancelled operations before it leaks them.
const SHUT_DOWN_MS_MAX: u32 = 1_000;

/// One operation, and everything of it that the kernel may touch.
struct Op {
    request: Request,
    paths: [CString; 2],
    address: Option<Box<libc::sockaddr_storage>>,
    address_len: libc::socklen_t,
    /// A socket that is being connected, or a folder that is being synced.
    fd: Option<OwnedFd>,
    /// Bytes of a write that are written.
    written: usize,
    /// The descriptor does not block: it is polled first, and the operation is tried again.
    polling: bool,
    cancelled: bool,
}

/// The ring and the operations on it.
pub(crate) struct Ring {
    ring: Option<IoUring>,
    ops: mem::ManuallyDrop<Slots<Op>>,
    backlog: VecDeque<Entry>,
    bell_registered: bool,
    shut_down: bool,
}

#[derive(Clone, Copy)]
enum Entry {
    Start(Token),
    Cancel(Token),
}

fn key(token: Token) -> u64 {
    u64::from(token.index) | u64::from(token.generation) << 32
}

fn token(key: u64) -> Token {
    Token { index: key as u32, generation: (key >> 32) as u32 }
}

fn make_ring() -> io::Result<IoUring> {
    static FALLBACK: Once = Once::new();
    let made = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .build(ENTRIES);
    match made {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            FALLBACK.call_once(|| {
                tracing::warn!(
                    "io_uring without DEFER_TASKRUN (kernel before 6.1): completions interrupt"
                );
            });
            IoUring::new(ENTRIES)
        }
        made => made,
    }
}

impl Ring {
    pub(crate) fn new(_services: &Services, _id: ShardId) -> Self {
        Self {
            ring: None,
            ops: mem::ManuallyDrop::new(Slots::new()),
            backlog: VecDeque::new(),
            bell_registered: false,
            shut_down: false,
        }
    }

    pub(crate) fn submit(&mut self, request: Request) -> Token {
        let what = request.describe();
        match self.prepare(request) {
            Ok(op) => {
                let token = self.ops.insert(Box::new(op));
                self.backlog.push_back(Entry::Start(token));
                token
            }
            Err(error) => self.ops.insert_ready(Err(with_context(what, error))),
        }
    }

    /// Everything that can fail before the kernel is asked.
    fn prepare(&mut self, request: Request) -> io::Result<Op> {
        if self.shut_down {
            return Err(io::Error::other("the shard has ended"));
        }
        if self.ring.is_none() {
            self.ring = Some(make_ring()?);
        }
        let mut op = Op {
            request,
            paths: [CString::default(), CString::default()],
            address: None,
            address_len: 0,
            fd: None,
            written: 0,
            polling: false,
            cancelled: false,
        };
        match &op.request {
            Request::Open { path }
            | Request::Create { path, .. }
            | Request::Remove { path }
            | Request::MakeDirectory { path } => op.paths[0] = c_path(path)?,
            Request::Rename { from, to } => op.paths = [c_path(from)?, c_path(to)?],
            // Opening a folder reads its inode: microseconds, and rare.
            Request::SyncDirectory { path } => op.fd = Some(std::fs::File::open(path)?.into()),
            Request::Read { buffer, .. } if buffer.len() == buffer.capacity() => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "the buffer has no room"));
            }
            Request::Connect { address } => {
                let (storage, len) = socket_address(*address);
                (op.address, op.address_len) = (Some(Box::new(storage)), len);
                op.fd = Some(tcp_socket(*address)?);
            }
            Request::Read { .. }
            | Request::Write { .. }
            | Request::Sync { .. }
            | Request::Accept { .. } => {}
        }
        Ok(op)
    }

    #[inline]
    pub(crate) fn take(&mut self, token: Token) -> Option<Completion> {
        self.ops.take(token)
    }

    pub(crate) fn forget(&mut self, token: Token) {
        if self.ops.forget(token) {
            self.cancel(token);
        }
    }

    fn cancel(&mut self, token: Token) {
        if let Some(op) = self.ops.op(token) {
            op.cancelled = true;
            self.backlog.push_back(Entry::Cancel(token));
        }
    }

    pub(crate) fn outstanding(&self) -> usize {
        self.ops.in_flight()
    }

    /// Whether the kernel was not told of all yet. A cancellation may be left of what has ended: that is of no interest.
    #[inline]
    pub(crate) fn has_backlog(&self) -> bool {
        self.ops.in_flight() > 0 && !self.backlog.is_empty()
    }

    /// Submits what waits and takes what has completed; returns how many operations ended.
    #[inline]
    pub(crate) fn poll(&mut self) -> usize {
        if self.ops.in_flight() == 0 { 0 } else { self.poll_ring() }
    }

    #[inline(never)]
    fn poll_ring(&mut self) -> usize {
        let Some(ring) = &mut self.ring else { return 0 };
        {
            let mut queue = ring.submission();
            while let Some(entry) = self.backlog.front() {
                let entry = match *entry {
                    Entry::Start(token) => self.ops.op(token).map(|op| op.entry(key(token))),
                    Entry::Cancel(token) => {
                        let cancel = opcode::AsyncCancel::new(key(token)).build();
                        self.ops.op(token).map(|_| cancel.user_data(CANCELLATION))
                    }
                };
                if let Some(entry) = entry {
                    // SAFETY: what the entry points to is in the operation's box (invariant 1).
                    if unsafe { queue.push(&entry) }.is_err() {
                        break;
                    }
                }
                self.backlog.pop_front();
            }
        }
        let queue = ring.submission();
        let (waiting, deferred) = (queue.len(), queue.taskrun() || queue.cq_overflow());
        drop(queue);
        if waiting > 0 || deferred {
            const GETEVENTS: u32 = 1;
            // SAFETY: no signal mask is passed. Reaping deferred completions needs GETEVENTS, which `submit` does not
            // set. An error (interrupted, busy) leaves everything where it is: the next poll tries again.
            let _ = unsafe {
                ring.submitter().enter::<libc::sigset_t>(waiting as u32, 0, GETEVENTS, None)
            };
        }
        let mut ended = 0;
        let mut again = Vec::new();
        for entry in ring.completion() {
            if entry.user_data() == CANCELLATION {
                continue;
            }
            let token = token(entry.user_data());
            let Some(op) = self.ops.op(token) else { continue };
            match op.advance(entry.result()) {
                None => again.push(Entry::Start(token)),
                Some(result) => {
                    ended += 1;
                    self.ops.complete(token, |op| op.finish(result));
                }
            }
        }
        self.backlog.extend(again);
        ended
    }

    /// Before the last look: from now on completions ring the bell.
    pub(crate) fn arm(&mut self, bell: &Bell) {
        if self.ops.in_flight() == 0 {
            return;
        }
        let (Some(ring), Some(fd)) = (&mut self.ring, bell.fd()) else { return };
        if !self.bell_registered {
            self.bell_registered = ring.submitter().register_eventfd(fd.as_raw_fd()).is_ok();
        }
        ring.completion().enable_eventfd();
        fence(Ordering::SeqCst); // Enabled before the last look, which takes what came before.
    }

    /// Awake: the loop polls.
    pub(crate) fn disarm(&mut self) {
        if let (Some(ring), true) = (&mut self.ring, self.bell_registered) {
            ring.completion().disable_eventfd();
        }
    }

    /// Cancels what is in flight and waits for it, but not for ever. Later operations fail.
    pub(crate) fn shut_down(&mut self) {
        self.shut_down = true;
        for token in self.ops.tokens_in_flight() {
            self.cancel(token);
        }
        for _ in 0..SHUT_DOWN_MS_MAX {
            self.poll();
            if self.ops.in_flight() == 0 {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
        tracing::warn!(
            operations = self.ops.in_flight(),
            "operations did not end; their buffers are leaked"
        );
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.ops.in_flight() > 0 && !self.shut_down {
            self.shut_down();
        }
        if self.ops.in_flight() == 0 {
            // SAFETY: dropped once, here, and not used after; the kernel knows no address in it any more.
            unsafe { mem::ManuallyDrop::drop(&mut self.ops) };
        }
    }
}

impl Op {
    /// The submission entry of the operation as it stands.
    fn entry(&mut self, key: u64) -> squeue::Entry {
        let here = types::Fd(libc::AT_FDCWD);
        let path = |index: usize| self.paths[index].as_ptr();
        let entry = match &mut self.request {
            Request::Write { file, .. } if self.polling => {
                opcode::PollAdd::new(types::Fd(file.0.handle.fd()), libc::POLLOUT as u32).build()
            }
            Request::Read { file, .. } | Request::Accept { listener: file } if self.polling => {
                opcode::PollAdd::new(types::Fd(file.0.handle.fd()), libc::POLLIN as u32).build()
            }
            Request::Open { .. } => {
                opcode::OpenAt::new(here, path(0)).flags(libc::O_RDONLY | libc::O_CLOEXEC).build()
            }
            Request::Create { mode, .. } => {
                let how = match mode {
                    CreateMode::New => libc::O_EXCL,
                    CreateMode::Truncate => libc::O_TRUNC,
                    CreateMode::Append => libc::O_APPEND,
                };
                opcode::OpenAt::new(here, path(0))
                    .flags(libc::O_WRONLY | libc::O_CREAT | libc::O_CLOEXEC | how)
                    .mode(0o666)
                    .build()
            }
            Request::Read { file, offset, buffer } => {
                let room = buffer.spare_capacity_mut();
                let len = u32::try_from(room.len()).unwrap_or(1 << 30);
                opcode::Read::new(types::Fd(file.0.handle.fd()), room.as_mut_ptr().cast(), len)
                    .offset(offset.unwrap_or(STREAM))
                    .build()
            }
            Request::Write { file, offset, buffer } => {
                let rest = &buffer[self.written..];
                let len = u32::try_from(rest.len()).unwrap_or(1 << 30);
                opcode::Write::new(types::Fd(file.0.handle.fd()), rest.as_ptr(), len)
                    .offset(offset.map_or(STREAM, |offset| offset + self.written as u64))
                    .build()
            }
            Request::Sync { file } => opcode::Fsync::new(types::Fd(file.0.handle.fd())).build(),
            Request::SyncDirectory { .. } => opcode::Fsync::new(self.own_fd()).build(),
            Request::Rename { .. } => opcode::RenameAt::new(here, path(0), here, path(1)).build(),
            Request::Remove { .. } => opcode::UnlinkAt::new(here, path(0)).build(),
            Request::MakeDirectory { .. } => {
                opcode::MkDirAt::new(here, path(0)).mode(0o777).build()
            }
            Request::Connect { .. } => {
                let address = self.address.as_deref().expect("a connect has an address");
                opcode::Connect::new(
                    self.own_fd(),
                    std::ptr::from_ref(address).cast(),
                    self.address_len,
                )
                .build()
            }
            Request::Accept { listener } => {
                let fd = types::Fd(listener.0.handle.fd());
                opcode::Accept::new(fd, std::ptr::null_mut(), std::ptr::null_mut())
                    .flags(libc::SOCK_CLOEXEC)
                    .build()
            }
        };
        entry.user_data(key)
    }

    fn own_fd(&self) -> types::Fd {
        types::Fd(self.fd.as_ref().expect("made in prepare").as_raw_fd())
    }

    /// The kernel has answered. `None`: the operation goes on.
    fn advance(&mut self, result: i32) -> Option<io::Result<usize>> {
        let Ok(count) = usize::try_from(result) else {
            return match -result {
                _ if self.cancelled => Some(Err(io::Error::from_raw_os_error(libc::ECANCELED))),
                libc::EINTR => None,
                libc::EAGAIN => {
                    self.polling = true;
                    None
                }
                errno => Some(Err(io::Error::from_raw_os_error(errno))),
            };
        };
        if mem::take(&mut self.polling) {
            // Ready now, or broken: the operation itself will tell.
            let cancelled = || Err(io::Error::from_raw_os_error(libc::ECANCELED));
            return self.cancelled.then(cancelled);
        }
        if let Request::Write { buffer, .. } = &self.request {
            self.written += count;
            let rest = buffer.len() - self.written;
            return match (rest, count) {
                (0, _) => Some(Ok(self.written)),
                (_, 0) => Some(Err(io::ErrorKind::WriteZero.into())),
                _ if self.cancelled => Some(Err(io::Error::from_raw_os_error(libc::ECANCELED))),
                _ => None,
            };
        }
        Some(Ok(count))
    }

    fn finish(self, result: io::Result<usize>) -> Completion {
        let what = match &result {
            Ok(_) => String::new(),
            Err(_) => self.request.describe(),
        };
        let count = result.map_err(|error| with_context(what, error))?;
        // SAFETY: for an open and an accept the result is a new descriptor, which is nobody else's.
        let opened = || unsafe { OwnedFd::from_raw_fd(count as RawFd) };
        Ok(match self.request {
            Request::Open { path } | Request::Create { path, .. } => {
                Outcome::File(File::new(path.display().to_string(), Handle::owned(opened())))
            }
            Request::Accept { listener } => {
                Outcome::File(connected(opened(), &format!("a peer of {}", listener.name())))
            }
            Request::Connect { address } => {
                let fd = self.fd.expect("made in prepare");
                Outcome::File(connected(fd, &address.to_string()))
            }
            Request::Read { mut buffer, .. } => {
                // SAFETY: the kernel has written `count` bytes into the spare capacity, from its start.
                unsafe { buffer.set_len(buffer.len() + count) };
                Outcome::Bytes { buffer, count }
            }
            Request::Write { buffer, .. } => Outcome::Bytes { buffer, count },
            Request::Sync { .. }
            | Request::SyncDirectory { .. }
            | Request::Rename { .. }
            | Request::Remove { .. }
            | Request::MakeDirectory { .. } => Outcome::Done,
        })
    }
}

fn c_path(path: &Path) -> io::Result<CString> {
    let invalid = |_| io::Error::new(io::ErrorKind::InvalidInput, "a path with a zero byte");
    CString::new(path.as_os_str().as_bytes()).map_err(invalid)
}
