//! The same work as loops written by hand: one pinned thread a core, nothing between the generator and the state but
//! plain Rust. The floor that every engine is measured against.
//!
//! ```text
//!   thread i: make 512 events ─▶ own part: at once │ others' part: ring i→j ─▶ take what the others sent ─▶ …
//! ```
//!
//! # What is always true
//!
//! 1. It computes the same outputs from the same input as a job of the same name, at every parallelism.
//! 2. Nothing is allocated per event, and every event is forced into memory in full, as in the engines.
//! 3. It may do what an engine must not: there is no time, no state that could be saved, no end of a turn.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // Threads by hand: that is what is compared with.

mod joins;
mod keyed;
mod latency;
mod nexmark;
mod rings;
mod sessions;
mod threads;
mod trending;
mod windows;
mod words;

pub use latency::latency;

use crate::{
    generator::{Generator, KEYS},
    measure::{Outcome, Run, measured},
    workload::Workload,
};

/// Runs the loop of `run`.
///
/// # Errors
///
/// If there is no loop of that name.
pub fn run(run: &Run) -> Result<Outcome, String> {
    let generator = Generator::new(run.seed, run.event_rate);
    let (check, usage) = measured(|| match run.workload {
        Workload::Gen => Some(nexmark::gen_only(run, generator)),
        Workload::Q0 => Some(nexmark::q0(run, generator)),
        Workload::Q1 => Some(nexmark::q1(run, generator)),
        Workload::Q2 => Some(nexmark::q2(run, generator)),
        Workload::Q3 => Some(joins::q3(run, generator)),
        Workload::Q8 => Some(joins::q8(run, generator)),
        Workload::Q5 => Some(nexmark::q5(run, generator)),
        Workload::Q7 => Some(nexmark::q7(run, generator)),
        Workload::Trending => Some(trending::top_ten(run, generator)),
        Workload::Tumbling | Workload::Sliding => Some(windows::count(run, generator)),
        Workload::Session => Some(sessions::count(run, generator)),
        Workload::Q11 => Some(sessions::q11(run, generator)),
        Workload::Q0Shuffle => Some(nexmark::q0_shuffle(run, generator)),
        Workload::GenKeys => Some(keyed::gen_only(run, move |number| generator.key(number, KEYS))),
        Workload::GenLines => Some(words::gen_only(run, generator)),
        Workload::GenTweets => Some(trending::gen_only(run, generator)),
        Workload::Keyed => Some(keyed::count(run, move |number| generator.key(number, KEYS))),
        Workload::KeyedSkew => {
            Some(keyed::count(run, move |number| generator.skewed_key(number, KEYS)))
        }
        Workload::WordCount => Some(words::count(run, generator)),
        _ => None,
    });
    let check = check.ok_or_else(|| format!("{} has no loop by hand", run.workload))?;
    Ok(usage.outcome(run, "bare", check))
}
