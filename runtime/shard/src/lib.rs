//! One core: the seam to the machine, real and simulated.
//!
//! Everything that waits, reads a clock, opens a file or a socket or starts a thread goes through this crate. What is
//! above it is a [`Program`]: a state machine that is given turns and never waits. The same program runs on pinned
//! cores with io_uring and, in a build with `--cfg sim`, in one thread from one seed.
//!
//! ```text
//!        Launch: specs, makers of programs, a control program
//!              │                                  │
//!        Machine::start                    Simulation::run            (--cfg sim)
//!              │                                  │
//!   ┌── shard thread, pinned ──┐      ┌── one thread, virtual time ──┐
//!   │ look: clock, own ring    │      │ choose a shard by the seed   │
//!   │ Program::turn(&Shard)    │      │ Program::turn(&Shard)        │
//!   │ Again │ Idle │ Done      │      │ delay knocks, I/O, wake-ups  │
//!   │ spin, last look, park    │      │ trace hash, deadlock found   │
//!   └───▲───────────────▲──────┘      └──────────────────────────────┘
//!    Door::knock     own io_uring
//! ```
//!
//! # What is always true
//!
//! 1. Nothing inside a turn waits. A program says [`Next::Idle`] and is given a turn after a knock on its [`Door`], after
//!    one of its [`Io`] operations completed, at the time it named, and at any other time as well.
//! 2. Between shards there are only [`ring`]s and doors.
//! 3. A panic ends one program. The others go on, and [`Report`] says what it said.
//!
//! The README has the reasons for the shape of the loop, and its limits.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is the seam to the machine"
)]

#[cfg(not(loom))]
mod counters;
mod door;
#[cfg(not(loom))]
pub mod fs;
#[cfg(not(loom))]
mod helper;
#[cfg(not(loom))]
mod hidden;
#[cfg(not(loom))]
mod io;
#[cfg(not(loom))]
mod launch;
#[cfg(not(loom))]
mod manual_clock;
#[cfg(not(loom))]
pub mod probe;
#[cfg(not(loom))]
mod program;
#[cfg(not(loom))]
mod quantum;
#[cfg(not(loom))]
mod random;
pub mod ring;
#[cfg(not(loom))]
mod shard;
#[cfg(not(loom))]
mod steps;
mod sync;

#[cfg(loom)]
mod model;
#[cfg(loom)]
use model as backend;

#[cfg(not(any(sim, loom)))]
mod real;
#[cfg(not(any(sim, loom)))]
use real as backend;

#[cfg(all(sim, not(loom)))]
mod sim;
#[cfg(all(sim, not(loom)))]
use sim as backend;

pub use door::Door;

#[cfg(not(loom))]
pub use self::{
    backend::{Machine, available_cores, in_parallel, local, net, signals},
    counters::{ProgramState, ShardCounters, TurnHistogram},
    helper::{Futures, Helper, HelperClient, HelperSeat},
    io::{Completion, CreateMode, File, Io, Outcome, Token},
    launch::{Launch, Maker, PARK_MAX, Report, ShardSpec, StartError},
    manual_clock::ManualClock,
    program::{Next, Panicked, Program},
    quantum::{Quantum, STRIDE_MAX},
    shard::Shard,
    steps::{Stepped, Steps, at_once, pause},
};

#[cfg(all(sim, not(loom)))]
pub use sim::{Policy, SimConfig, SimDisk, SimError, SimReport, Simulation};
