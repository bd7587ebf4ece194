//! The services of a shard that need no state of their own but a random one.

use std::{
    cell::Cell,
    hash::{BuildHasher, RandomState},
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use wiesel_core::{Nanos, Timestamp};

use super::{Handle, clock};
use crate::Quantum;

pub(crate) struct Services {
    random: Cell<u64>,
}

impl Services {
    pub(super) fn new() -> Self {
        // The standard library's hasher is seeded by the system, once per thread and differently each time.
        Self { random: Cell::new(RandomState::new().hash_one(clock::now().0)) }
    }

    pub(crate) fn detached() -> Self {
        Self::new()
    }

    #[inline]
    pub(crate) fn read_clock(&self) -> Nanos {
        clock::now()
    }

    pub(crate) fn wall_time(&self) -> Timestamp {
        clock::wall_time()
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    pub(crate) fn random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
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
