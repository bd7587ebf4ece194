//! The services of a shard that need no state of their own but a random one.

use std::{
    hash::{BuildHasher, RandomState},
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use wiesel_core::{Nanos, Timestamp};

use super::{Handle, clock};
use crate::{Quantum, random::Random};

pub(crate) struct Services {
    random: Random,
}

impl Services {
    pub(super) fn new() -> Self {
        // The standard library's hasher is seeded by the system, once per thread and differently each time.
        Self { random: Random::new(RandomState::new().hash_one(clock::now().0)) }
    }

    pub(crate) fn detached() -> Self {
        Self::new()
    }

    #[inline]
    pub(crate) fn read_clock(&self) -> Nanos {
        clock::now()
    }

    pub(crate) fn running_time(&self) -> Nanos {
        clock::running_time()
    }

    pub(crate) fn wall_time(&self) -> Timestamp {
        clock::wall_time()
    }

    pub(crate) fn random(&self) -> u64 {
        self.random.next()
    }

    #[inline]
    pub(crate) fn quantum(&self, at_most: Duration) -> Quantum {
        Quantum::starting(clock::now(), u64::try_from(at_most.as_nanos()).unwrap_or(u64::MAX))
    }

    #[inline]
    pub(crate) fn trace(&self, _word: u64) {}

    pub(crate) fn listen(&self, address: SocketAddr) -> io::Result<(Handle, SocketAddr)> {
        let listener = TcpListener::bind(address)?;
        let taken = listener.local_addr()?;
        Ok((Handle::owned(listener.into()), taken))
    }
}
