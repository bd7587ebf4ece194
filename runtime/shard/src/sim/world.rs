//! What all simulated shards share: the time, the trace, the disk, the network.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use wiesel_core::{Nanos, Timestamp};

use super::{
    SimDisk,
    ring::Handle,
    stream::{Listener, Shared, shared},
};
use crate::{Quantum, random::Random, random::mix};

/// 2024-01-01T00:00:00Z: the time of day at which every simulation starts.
const START_MS: i64 = 1_704_067_200_000;

/// Most records of a simulated quantum: enough to empty a small frame, few enough to stop inside one.
const QUANTUM_RECORDS_MAX: u64 = 64;

pub(super) struct World {
    pub(super) now: Cell<u64>,
    /// Draws the schedule and all delays.
    pub(super) draws: Random,
    hash: Cell<u64>,
    pub(super) disk: SimDisk,
    pub(super) listeners: RefCell<BTreeMap<SocketAddr, Shared<Listener>>>,
}

impl World {
    pub(super) fn new(seed: u64, disk: SimDisk) -> Self {
        Self {
            now: Cell::new(1),
            draws: Random::new(mix(seed)),
            hash: Cell::new(mix(seed ^ 0x5eed)),
            disk,
            listeners: RefCell::default(),
        }
    }

    pub(super) fn trace(&self, word: u64) {
        self.hash.set(mix(self.hash.get().rotate_left(5) ^ word));
    }

    pub(super) fn trace_all(&self, words: [u64; 3]) {
        words.into_iter().for_each(|word| self.trace(word));
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash.get()
    }

    pub(super) fn pass_ns(&self, ns: u64) {
        self.now.set(self.now.get() + ns);
    }

    pub(super) fn listener(&self, address: SocketAddr) -> Option<Shared<Listener>> {
        self.listeners.borrow().get(&address).cloned()
    }
}

/// The services of one simulated shard.
pub(crate) struct Services {
    pub(super) world: Rc<World>,
    /// What the program draws; apart from the schedule, so that neither disturbs the other.
    random: Random,
    quanta: Random,
}

impl Services {
    pub(super) fn new(world: Rc<World>, seed: u64) -> Self {
        Self { world, random: Random::new(mix(seed ^ 1)), quanta: Random::new(mix(seed ^ 2)) }
    }

    pub(crate) fn detached() -> Self {
        Self::new(Rc::new(World::new(0, SimDisk::installed())), 0)
    }

    /// Reading a clock takes time, so that code which waits for time to pass goes on.
    pub(crate) fn read_clock(&self) -> Nanos {
        self.world.pass_ns(20);
        Nanos(self.world.now.get())
    }

    pub(crate) fn running_time(&self) -> Nanos {
        Nanos(self.world.now.get())
    }

    pub(crate) fn wall_time(&self) -> Timestamp {
        Timestamp::from_millis(START_MS) + Duration::from_nanos(self.world.now.get())
    }

    pub(crate) fn random(&self) -> u64 {
        self.random.next()
    }

    pub(crate) fn quantum(&self, _at_most: Duration) -> Quantum {
        Quantum::of_records(self.quanta.spread(1, QUANTUM_RECORDS_MAX) as u32)
    }

    pub(crate) fn trace(&self, word: u64) {
        self.world.trace(word);
    }

    pub(crate) fn listen(&self, address: SocketAddr) -> io::Result<(Handle, SocketAddr)> {
        let mut listeners = self.world.listeners.borrow_mut();
        let mut address = address;
        if address.port() == 0 {
            let free = |port: &u16| !listeners.contains_key(&SocketAddr::new(address.ip(), *port));
            let port = (49_152..=u16::MAX).find(free).ok_or(io::ErrorKind::AddrInUse)?;
            address.set_port(port);
        }
        if let Some(listener) = listeners.get(&address)
            && !listener.lock().closed
        {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let listener = shared(Listener::default());
        listeners.insert(address, listener.clone());
        Ok((Handle::listener(listener), address))
    }
}

/// A bell that the scheduler looks at after every turn.
#[derive(Debug)]
pub(crate) struct Bell(AtomicBool);

impl Bell {
    #[expect(clippy::unnecessary_wraps, reason = "the real one needs a descriptor")]
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self::silent())
    }

    pub(crate) const fn silent() -> Self {
        Self(AtomicBool::new(false))
    }

    pub(crate) fn ring(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it has rung since it was asked last.
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}
