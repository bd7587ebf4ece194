//! The simulated machine: every shard in one thread, from one seed.
//!
//! ```text
//!   simulation   the loop: whose turn, what time          schedule   the policies
//!   world        clock, trace hash, disk, network         disk, files  in memory
//!   ring         operations that complete later           stream     pipes and listeners
//!   machine      `Machine::start` over a simulation       signals    injected by tests
//! ```
//!
//! # What is always true
//!
//! 1. Nothing here reads a clock, an address or a hash map's order: the same seed gives the same turns, in any process.
//! 2. There is no backstop: a shard that nobody wakes sleeps for ever, and a simulation in which all sleep with nothing
//!    to come ends with an error that names the seed.

mod disk;
pub(crate) mod files;
pub mod local;
mod machine;
mod ring;
mod schedule;
pub mod signals;
mod simulation;
mod stream;
mod world;

pub use self::{
    disk::SimDisk,
    machine::{Machine, available_cores, in_parallel},
    schedule::Policy,
    simulation::{SimConfig, SimError, SimReport, Simulation},
};
pub(crate) use self::{
    machine::observe,
    ring::{Handle, Ring},
    world::{Bell, Services},
};

/// Names to addresses.
pub mod net {
    use std::{io, net::SocketAddr};

    use crate::io::with_context;

    /// The address of `ip:port`; the simulation knows no names but `localhost`.
    ///
    /// # Errors
    ///
    /// When the text is something else.
    pub fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
        let parsed = address.replace("localhost:", "127.0.0.1:").parse::<SocketAddr>();
        let parsed = parsed.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error));
        let context = |error| with_context(format_args!("resolve {address}"), error);
        parsed.map(|address| vec![address]).map_err(context)
    }
}
