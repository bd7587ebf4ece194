//! Our side: each workload as a job, written as a user would write it.
//!
//! ```text
//!   generator ─▶ views of events ─▶ the job's operators ─▶ CheckSink ─▶ out, sum
//! ```
//!
//! # What is always true
//!
//! 1. Jobs use what a user can use: the crate `wiesel`, with the configuration of a user.
//! 2. Every event is forced into memory in full (`black_box`) before the job sees it, as in every other engine.
//! 3. What is measured is `execute`: starting the shards, running the job, ending them.

mod check_sink;
pub mod checkpoints;
pub mod children;
mod events;
mod jobs;
mod latency;
mod nexmark;
mod observer;
mod profile;
pub mod recovery;
mod spells;
mod trending;
mod windows;

use std::{ffi::OsStr, path::Path};

use crate::{measure::Run, workload::Workload};

pub use jobs::run;
pub use latency::run as latency;

/// What a process does that another one of this program has started.
///
/// # Errors
///
/// If it is not to be done.
pub fn child(run: &Run, told: &OsStr) -> Result<(), String> {
    match run.workload {
        Workload::Recovery => recovery::child(run, Path::new(told)),
        Workload::Checkpoint => spells::child(run, told),
        other => Err(format!("{other} has no processes besides")),
    }
}
