//! What the workloads on renoir share. Each is a program in `src/bin`.
//!
//! ```text
//!   q0 q1 q2          events ─▶ filter, map ─▶ check                       one block: one thread per subtask
//!   q0shuffle[_ptr]   events ─▶ bids ══ by auction ══▶ check
//!   keyed[_skew]      keys ══ by key ══▶ count ─▶ check                    ══ ends a block: each side of it is
//!   wordcount[_opt]   lines ─▶ words ══ by word ══▶ count ─▶ check            a thread per subtask
//!   q5[_opt]          bids ══ by auction ══▶ counts in windows ══▶ the most ─▶ check
//!   q7                bids ─▶ highest in windows ══▶ highest in windows ─▶ check
//!   q3, q8            people, auctions ══ by person ══▶ join (q8: of windows) ─▶ check
//!   trending          tweets ─▶ tags ══ by tag ══▶ counts in windows ══▶ ten first ─▶ check
//!   latency           keys, when due ══ by key ══▶ count ─▶ latencies
//! ```
//!
//! # What is always true
//!
//! 1. Threads are not pinned: there are twice as many as subtasks where a step is keyed, and renoir leaves their place
//!    to the kernel. The process has as many cores as its caller gives it.
//! 2. Each workload has the batch size that was best for it (README.md); `--batch` tries another.
//! 3. What is here is generic or `inline`: it is compiled in the program of the workload.

mod input;
mod keyed;
mod shuffle;
mod windows;
mod words;

use std::process::ExitCode;

use peer::{Args, Error, Outcome, cost::Cost, generator::Check, total::Total};
use renoir::prelude::*;

pub use input::{Input, Sink};
pub use keyed::count;
pub use shuffle::shuffle;
pub use windows::{
    Aligned, best_of_each_window, keep_most, timed_bids, watermarks, watermarks_every,
};
pub use words::words;

/// The `main` of a workload. `build` puts its steps between an input and a sink; `best` are its batch sizes, alone and
/// with other subtasks.
#[inline]
pub fn run(
    workload: &'static str,
    best: [usize; 2],
    build: impl FnOnce(&Input<'_>, Sink),
) -> ExitCode {
    peer::run("renoir", workload, |args| {
        let context = context(args)?;
        let total = Total::<Check>::new();
        build(&Input::new(&context, args, args.batch_or(best)), Sink(total.part()));
        let ((), cost) = Cost::of(|| context.execute_blocking());
        Ok(Outcome { events: args.events, check: total.take(), cost, timing: None })
    })
}

/// A context with so many subtasks in each step.
pub fn context(args: &Args) -> Result<StreamContext, Error> {
    let config = RuntimeConfig::local(args.parallelism as u64);
    config.map(StreamContext::new).map_err(|error| Error::Engine(error.to_string()))
}
