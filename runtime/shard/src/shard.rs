//! What a program gets from its shard: a clock, randomness, files and sockets, its own door.
//!
//! # What is always true
//!
//! 1. A [`Shard`] never leaves its thread; what leaves it is its [`Door`].
//! 2. [`Shard::now`] does not change within a turn, so what a turn decides by it is consistent.

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use wiesel_core::{Nanos, ShardId, Timestamp};

use crate::{Door, Io, ManualClock, Quantum, ShardCounters, backend};

/// The services of one shard. Cheap to clone, and kept by what runs on it.
#[derive(Clone)]
pub struct Shard(pub(crate) Rc<Inner>);

pub(crate) struct Inner {
    id: ShardId,
    door: Door,
    counters: Arc<ShardCounters>,
    now: Cell<Nanos>,
    /// In place of the machine's clock, if there is one.
    clock: Option<ManualClock>,
    pub(crate) machine: backend::Services,
    pub(crate) io: RefCell<backend::Ring>,
}

impl Shard {
    pub(crate) fn new(
        id: ShardId,
        door: Door,
        counters: Arc<ShardCounters>,
        machine: backend::Services,
    ) -> Self {
        Self::with_clock(id, door, counters, machine, None)
    }

    fn with_clock(
        id: ShardId,
        door: Door,
        counters: Arc<ShardCounters>,
        machine: backend::Services,
        clock: Option<ManualClock>,
    ) -> Self {
        let io = RefCell::new(backend::Ring::new(&machine, id));
        let now = clock.as_ref().map_or_else(|| machine.read_clock(), ManualClock::now);
        Self(Rc::new(Inner { id, door, counters, now: Cell::new(now), clock, machine, io }))
    }

    /// A shard that no loop drives, on the current thread: for tests and tools that hold their own loop.
    /// Call [`Shard::look`] where a loop would start a turn.
    pub fn detached() -> Self {
        let machine = backend::Services::detached();
        Self::new(ShardId(0), Door::unattended(), Arc::default(), machine)
    }

    /// As [`Shard::detached`], on a clock that is moved by hand. A [`Quantum`] still follows the machine's.
    pub fn on(clock: &ManualClock) -> Self {
        let (machine, clock) = (backend::Services::detached(), Some(clock.clone()));
        Self::with_clock(ShardId(0), Door::unattended(), Arc::default(), machine, clock)
    }

    /// What the loop does before each turn: reads the clock for [`Shard::now`] and takes completed operations from
    /// the ring. Returns how many operations completed.
    pub fn look(&self) -> usize {
        self.look_at(self.read_clock())
    }

    /// [`Shard::look`] with a clock that was read just now.
    #[inline]
    pub(crate) fn look_at(&self, now: Nanos) -> usize {
        self.0.now.set(now);
        let completed = self.0.io.borrow_mut().poll();
        if completed > 0 {
            self.0.counters.completions.add(completed as u64);
        }
        completed
    }

    /// Which shard this is. The control program has the id after the last shard's.
    #[inline]
    pub fn id(&self) -> ShardId {
        self.0.id
    }

    /// The time at which this turn started, on a monotonic clock that all shards of the process share.
    #[inline]
    pub fn now(&self) -> Nanos {
        self.0.now.get()
    }

    /// Reads that clock afresh (about 20 ns).
    #[inline]
    pub fn read_clock(&self) -> Nanos {
        match &self.0.clock {
            None => self.0.machine.read_clock(),
            Some(clock) => clock.now(),
        }
    }

    /// How long this thread has run, by a clock that stands still while it does not (about 200 ns, a system call).
    pub fn running_time(&self) -> Nanos {
        match &self.0.clock {
            None => self.0.machine.running_time(),
            Some(clock) => clock.now(),
        }
    }

    /// The time of day. It may jump, backwards too.
    pub fn wall_time(&self) -> Timestamp {
        match &self.0.clock {
            None => self.0.machine.wall_time(),
            Some(clock) => clock.wall_time(),
        }
    }

    /// Sixty-four random bits; in simulation from the seed.
    pub fn random(&self) -> u64 {
        self.0.machine.random()
    }

    /// A time slice that starts now. Ask it after every record.
    #[inline]
    pub fn quantum(&self, at_most: Duration) -> Quantum {
        self.0.machine.quantum(at_most)
    }

    /// Files and sockets.
    #[inline]
    pub fn io(&self) -> Io {
        Io(Rc::clone(&self.0))
    }

    /// This shard's own door.
    pub fn door(&self) -> Door {
        self.0.door.clone()
    }

    /// What this shard counts about itself.
    pub fn counters(&self) -> &Arc<ShardCounters> {
        &self.0.counters
    }

    /// Mixes a word into the trace hash of a simulation; does nothing on a real machine.
    #[inline]
    pub fn trace(&self, word: u64) {
        self.0.machine.trace(word);
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shard({})", self.0.id)
    }
}
