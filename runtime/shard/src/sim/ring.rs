//! Simulated operations: each completes after a drawn delay, so in any order, and reads are short at random.
//!
//! # What is always true
//!
//! 1. An operation takes effect when it completes, never before.
//! 2. A stream operation that would wait has no due time; when the stream becomes ready it gets one.

use std::{io, net::SocketAddr, rc::Rc};

use wiesel_core::ShardId;

use super::{
    Services,
    disk::{Act, Content, Disk},
    stream::{Listener, Shared, Socket},
    world::World,
};
use crate::{
    Completion, CreateMode, File, Outcome, Token,
    io::{Request, Slots, with_context},
};

/// The delay of an operation: a cached read to a disk that is busy.
const DELAY_NS: (u64, u64) = (500, 4_000_000);

/// What a simulated file is.
pub(crate) struct Handle(Kind);

enum Kind {
    /// A file on the simulated disk; appending or not.
    Content(Content, bool),
    Standard(i32),
    Socket(Socket),
    Listener(Shared<Listener>),
}

impl Handle {
    pub(crate) const fn standard(number: i32) -> Self {
        Self(Kind::Standard(number))
    }

    pub(crate) const fn standard_output() -> Self {
        Self::standard(1)
    }

    pub(super) const fn listener(listener: Shared<Listener>) -> Self {
        Self(Kind::Listener(listener))
    }

    pub(super) const fn of_content(content: Content) -> Self {
        Self(Kind::Content(content, false))
    }

    #[expect(clippy::unused_self, reason = "the real one asks the system")]
    pub(crate) const fn is_terminal(&self) -> bool {
        false
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Kind::Listener(listener) = &self.0 {
            let mut listener = listener.lock();
            listener.closed = true;
            listener.waiting.clear();
        }
    }
}

struct Op {
    request: Request,
    due: Option<u64>,
    written: usize,
}

/// The operations of one simulated shard.
pub(crate) struct Ring {
    world: Rc<World>,
    id: ShardId,
    ops: Slots<Op>,
    shut_down: bool,
}

impl Ring {
    pub(crate) fn new(services: &Services, id: ShardId) -> Self {
        Self { world: Rc::clone(&services.world), id, ops: Slots::new(), shut_down: false }
    }

    fn draw_due(&self) -> u64 {
        self.world.now.get() + self.world.draws.spread(DELAY_NS.0, DELAY_NS.1)
    }

    pub(crate) fn submit(&mut self, request: Request) -> Token {
        let refused = match &request {
            _ if self.shut_down => Some(io::Error::other("the shard has ended")),
            Request::Read { buffer, .. } if buffer.len() == buffer.capacity() => {
                Some(io::Error::new(io::ErrorKind::InvalidInput, "the buffer has no room"))
            }
            _ => None,
        };
        if let Some(error) = refused {
            return self.ops.insert_ready(Err(with_context(request.describe(), error)));
        }
        let due = Some(self.draw_due());
        self.ops.insert(Box::new(Op { request, due, written: 0 }))
    }

    pub(crate) fn take(&mut self, token: Token) -> Option<Completion> {
        self.ops.take(token)
    }

    pub(crate) fn forget(&mut self, token: Token) {
        if self.ops.forget(token) {
            let cancelled = || io::Error::other("cancelled");
            self.ops.complete(token, |_| Err(cancelled()));
        }
    }

    pub(crate) fn outstanding(&self) -> usize {
        self.ops.in_flight()
    }

    /// When the next operation completes, if one will without anybody's help.
    pub(super) fn next_due(&mut self) -> Option<u64> {
        let mut next = None;
        for token in self.ops.tokens_in_flight() {
            let Some(op) = self.ops.op(token) else { continue };
            if op.due.is_none() && op.is_ready() {
                let due = self.draw_due();
                if let Some(op) = self.ops.op(token) {
                    op.due = Some(due);
                }
            }
            let due = self.ops.op(token).and_then(|op| op.due);
            next = [next, due].into_iter().flatten().min();
        }
        next
    }

    /// Lets operations that are due take effect, in order of their time; returns how many completed.
    pub(crate) fn poll(&mut self) -> usize {
        if self.ops.in_flight() == 0 {
            return 0;
        }
        let now = self.world.now.get();
        let mut due = Vec::new();
        for token in self.ops.tokens_in_flight() {
            let at = self.ops.op(token).and_then(|op| op.due);
            due.extend(at.filter(|at| *at <= now).map(|at| (at, token)));
        }
        due.sort_by_key(|(at, token)| (*at, token.index));
        let mut completed = 0;
        for (_, token) in due {
            let Some(op) = self.ops.op(token) else { continue };
            let Some(result) = op.perform(&self.world) else {
                op.due = None;
                continue;
            };
            let code = result.as_ref().map_or(u64::MAX, Effect::word);
            self.world.trace_all([self.id.0.into(), token.index.into(), code]);
            self.ops.complete(token, |op| op.finish(result));
            completed += 1;
        }
        completed
    }

    pub(crate) fn shut_down(&mut self) {
        self.shut_down = true;
        for token in self.ops.tokens_in_flight() {
            self.forget(token);
        }
    }
}

impl Op {
    /// Whether a stream operation that had to wait need not any more.
    fn is_ready(&self) -> bool {
        match &self.request {
            Request::Read { file, .. } => match &file.0.handle.0 {
                Kind::Socket(socket) => socket.incoming.lock().can_read(),
                _ => true,
            },
            Request::Write { file, .. } => match &file.0.handle.0 {
                Kind::Socket(socket) => socket.outgoing.lock().can_write(),
                _ => true,
            },
            Request::Accept { listener } => match &listener.0.handle.0 {
                Kind::Listener(listener) => !listener.lock().waiting.is_empty(),
                _ => true,
            },
            _ => true,
        }
    }

    /// What the disk may refuse.
    fn act(&self) -> Option<Act> {
        let of = |file: &File, act| matches!(file.0.handle.0, Kind::Content(..)).then_some(act);
        match &self.request {
            Request::Read { file, .. } => of(file, Act::Read),
            Request::Write { file, .. } => of(file, Act::Write),
            Request::Sync { file } => of(file, Act::Sync),
            Request::Open { .. } => Some(Act::Read),
            Request::Create { .. } | Request::MakeDirectory { .. } => Some(Act::Write),
            Request::SyncDirectory { .. } => Some(Act::Sync),
            _ => None,
        }
    }

    /// What an operation that fails has done.
    fn fail(&self, disk: &mut Disk) {
        match &self.request {
            Request::Write { file, offset, buffer } => {
                let rest = &buffer[self.written..];
                let half = disk.half_of(rest.len());
                let at = offset.map(|offset| offset as usize + self.written);
                let _ = write(disk, &file.0.handle, at, &rest[..half]);
            }
            Request::Sync { file } => {
                if let Kind::Content(content, _) = &file.0.handle.0 {
                    content.lock().fail_sync();
                }
            }
            _ => {}
        }
    }

    /// Takes effect; `None` if it has to wait for the other side.
    fn perform(&mut self, world: &World) -> Option<io::Result<Effect>> {
        let mut disk = world.disk.lock();
        let done = |result: io::Result<()>| Some(result.map(|()| Effect::Count(0)));
        if let Some(act) = self.act()
            && let Err(error) = disk.fault(act)
        {
            self.fail(&mut disk);
            return Some(Err(error));
        }
        match &mut self.request {
            Request::Read { file, offset, buffer } => {
                let room = buffer.capacity() - buffer.len();
                // Short at random, never empty.
                let most = room.min(world.draws.spread(1, 2 * room as u64) as usize);
                read(&mut disk, &file.0.handle, *offset, most, buffer).map(Effect::counted)
            }
            Request::Write { file, offset, buffer } => {
                let at = offset.map(|offset| offset as usize + self.written);
                match write(&mut disk, &file.0.handle, at, &buffer[self.written..]) {
                    Ok(count) => {
                        self.written += count;
                        let all = self.written == buffer.len();
                        all.then_some(Ok(Effect::Count(self.written)))
                    }
                    Err(error) => Some(Err(error)),
                }
            }
            Request::Accept { listener } => match &listener.0.handle.0 {
                Kind::Listener(listener) => {
                    let socket = listener.lock().waiting.pop_front()?;
                    Some(Ok(Effect::Opened(Handle(Kind::Socket(socket)))))
                }
                _ => Some(Err(io::ErrorKind::InvalidInput.into())),
            },
            Request::Connect { address } => Some(connect(world, *address)),
            Request::Open { path } => {
                Some(disk.open(path).map(|file| Effect::content(file, false)))
            }
            Request::Create { path, mode } => {
                let (new, truncate) = (*mode == CreateMode::New, *mode == CreateMode::Truncate);
                let append = *mode == CreateMode::Append;
                let created = disk.create(path, new, truncate);
                Some(created.map(|file| Effect::content(file, append)))
            }
            Request::Sync { file } => {
                if let Kind::Content(content, _) = &file.0.handle.0 {
                    content.lock().sync();
                }
                done(Ok(()))
            }
            Request::SyncDirectory { path } => done(disk.sync_folder(path)),
            Request::Rename { from, to } => done(disk.rename(from, to)),
            Request::Remove { path } => done(disk.remove(path)),
            Request::MakeDirectory { path } => done(disk.make_folder(path)),
        }
    }

    fn finish(self, result: io::Result<Effect>) -> Completion {
        let effect = result.map_err(|error| with_context(self.request.describe(), error))?;
        Ok(match (effect, self.request) {
            (Effect::Opened(handle), request) => {
                let name = match request {
                    Request::Open { path } | Request::Create { path, .. } => {
                        path.display().to_string()
                    }
                    Request::Accept { listener } => format!("a peer of {}", listener.name()),
                    Request::Connect { address } => address.to_string(),
                    other => unreachable!("{} opens nothing", other.describe()),
                };
                Outcome::File(File::new(name, handle))
            }
            (
                Effect::Count(count),
                Request::Read { buffer, .. } | Request::Write { buffer, .. },
            ) => Outcome::Bytes { buffer, count },
            (Effect::Count(_), _) => Outcome::Done,
        })
    }
}

/// What an operation did.
enum Effect {
    Count(usize),
    Opened(Handle),
}

impl Effect {
    fn counted(result: io::Result<usize>) -> io::Result<Self> {
        result.map(Self::Count)
    }

    fn content(content: Content, append: bool) -> Self {
        Self::Opened(Handle(Kind::Content(content, append)))
    }

    /// For the trace.
    fn word(&self) -> u64 {
        match self {
            Self::Count(count) => *count as u64,
            Self::Opened(_) => 0,
        }
    }
}

/// Appends at most `most` bytes; `None` if there are none yet.
fn read(
    disk: &mut Disk,
    handle: &Handle,
    offset: Option<u64>,
    most: usize,
    buffer: &mut Vec<u8>,
) -> Option<io::Result<usize>> {
    let before = buffer.len();
    match &handle.0 {
        Kind::Content(content, _) => {
            let content = content.lock();
            let start = (offset.unwrap_or(0) as usize).min(content.len());
            let end = start.saturating_add(most).min(content.len());
            buffer.extend_from_slice(&content[start..end]);
        }
        Kind::Standard(0) => {
            let count = most.min(disk.stdin.len());
            buffer.extend(disk.stdin.drain(..count));
        }
        Kind::Socket(socket) => {
            let mut pipe = socket.incoming.lock();
            if !pipe.can_read() {
                return None;
            }
            let count = most.min(pipe.bytes.len());
            buffer.extend(pipe.bytes.drain(..count));
        }
        Kind::Standard(_) | Kind::Listener(_) => {
            return Some(Err(io::ErrorKind::InvalidInput.into()));
        }
    }
    Some(Ok(buffer.len() - before))
}

/// Writes what there is room for.
fn write(disk: &mut Disk, handle: &Handle, at: Option<usize>, bytes: &[u8]) -> io::Result<usize> {
    match &handle.0 {
        Kind::Content(content, append) => {
            let mut content = content.lock();
            let start = if *append { content.len() } else { at.unwrap_or(0) };
            let end = start + bytes.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[start..end].copy_from_slice(bytes);
            Ok(bytes.len())
        }
        Kind::Standard(number @ (1 | 2)) => {
            if *number == 1 && disk.stdout_closed {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            disk.out[*number as usize - 1].extend_from_slice(bytes);
            Ok(bytes.len())
        }
        Kind::Socket(socket) => {
            let mut pipe = socket.outgoing.lock();
            if pipe.reader_gone {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let count = bytes.len().min(pipe.room());
            pipe.bytes.extend(&bytes[..count]);
            Ok(count)
        }
        Kind::Standard(_) | Kind::Listener(_) => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn connect(world: &World, address: SocketAddr) -> io::Result<Effect> {
    let listener = world.listener(address).ok_or(io::ErrorKind::ConnectionRefused)?;
    let mut listener = listener.lock();
    if listener.closed {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    let (here, there) = Socket::pair();
    listener.waiting.push_back(there);
    Ok(Effect::Opened(Handle(Kind::Socket(here))))
}
