//! Random schedules of whole jobs: `make sim SEEDS=5000`.
//!
//! ```text
//!   seed ──▶ Case (what is drawn) ──▶ job through the real API ──▶ Simulation::run
//!                   │                                                 │ status, output, late, frames, hash
//!                   └──────▶ oracle: what must come out ────────▶ compare
//! ```
//!
//! # What is always true
//!
//! 1. Seeds are fresh in every run, and the first is printed; `SEED=x` replays one. A seed says everything.
//! 2. Each seed is run again in another process, whose trace hash must be the same.
//! 3. A run that finds nothing has first found every seeded fault ([`wiesel_core::Mutant`]).
//! 4. Nearly one seed in two is a crash: a job with checkpoints, on a machine that goes down at random, with a disk that fails.
//! 5. The exit code is 1 if anything was violated, and the last line sums up.
//!
//! `--canary` lets seeded faults happen and must exit with 1.
#![allow(
    clippy::disallowed_methods,
    reason = "it starts a process; nobody simulates the simulator"
)]

#[cfg(sim)]
mod args;
#[cfg(sim)]
mod asks;
#[cfg(sim)]
mod case;
#[cfg(sim)]
mod copies;
#[cfg(sim)]
mod crash;
#[cfg(sim)]
mod crash_work;
#[cfg(sim)]
mod flood;
#[cfg(sim)]
mod job;
#[cfg(sim)]
mod left;
#[cfg(sim)]
mod meeting;
#[cfg(sim)]
mod oracle;
#[cfg(sim)]
mod run;
#[cfg(sim)]
mod saves;
#[cfg(sim)]
mod seeds;
#[cfg(sim)]
mod states;

#[cfg(sim)]
fn main() -> std::process::ExitCode {
    seeds::main()
}

#[cfg(not(sim))]
fn main() -> std::process::ExitCode {
    eprintln!("sim: this build has no simulator: run `make sim`");
    std::process::ExitCode::from(2)
}
