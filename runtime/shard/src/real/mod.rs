//! The real machine: glommio executors, our own io_uring rings, eventfds, threads.
//!
//! ```text
//!   machine   threads, start and join        turns      the loop, for shards and the control thread
//!   executor  one shard on glommio           pace       spin, pass or park; pure
//!   control   the loop on a plain thread     watchdog   who stands still
//!   uring     files and sockets              bell       an eventfd
//!   probe     is this machine fit            signals    SIGINT and SIGTERM
//! ```

mod bell;
mod clock;
mod control;
mod executor;
pub mod fs;
mod machine;
pub mod net;
mod pace;
pub mod probe;
mod services;
pub mod signals;
mod turns;
mod uring;
mod watchdog;

use std::time::Duration;

pub(crate) use self::{
    bell::Bell,
    clock::now,
    services::Services,
    uring::{Handle, Ring},
};
pub use machine::{Machine, StartError, available_cores};

/// The longest sleep without a look around. A backstop: no wake-up is lost (see `Door`).
pub const PARK_MAX: Duration = Duration::from_millis(100);
