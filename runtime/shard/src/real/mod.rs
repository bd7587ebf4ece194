//! The real machine: glommio executors, our own io_uring rings, eventfds, threads.
//!
//! ```text
//!   machine   threads, start and join        turns      the loop, for shards and the control thread
//!   executor  one shard on glommio           pace       spin, pass or park; pure
//!   control   the loop on a plain thread     watchdog   who stands still
//!   uring     files and sockets              handle     descriptors and addresses
//!   bell      an eventfd                     net, files what waits
//!   observe   what the probe looks at        signals    SIGINT and SIGTERM
//!   local     questions from other processes           parallel   work on all cores, before a job
//! ```

mod bell;
mod clock;
mod control;
mod executor;
pub(crate) mod files;
mod handle;
pub mod local;
mod machine;
pub mod net;
mod observe;
mod pace;
mod parallel;
mod services;
pub mod signals;
mod turns;
mod uring;
mod watchdog;

pub(crate) use self::{
    bell::Bell, clock::now, handle::Handle, observe::observe, services::Services, uring::Ring,
};
pub use machine::{Machine, available_cores};
pub use parallel::in_parallel;
