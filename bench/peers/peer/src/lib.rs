//! What the peers have in common, so that they differ in their engine and in nothing else.
//!
//! ```text
//!   renoir-bench q0 --events …  ══ becomes ══▶  renoir-q0 q0 --events …
//!
//!   command line ─▶ Args ─▶ [ the engine's program ] ─▶ Outcome ─▶ one line of JSON on standard output
//!                                │         ▲
//!                    generator, event   Total, Cost, Schedule
//! ```
//!
//! # What is always true
//!
//! 1. The input is that of Wiesel's benchmark: its generator is included, not copied.
//! 2. A run prints one object on one line of standard output, or one line on standard error and fails.
//! 3. The tables of the generator are made before the clock starts; the clock stops when the engine has ended.
//! 4. Every peer has the same allocator.
//! 5. Every workload is a program of its own. Engines live on inlining, and what two workloads of one program share is
//!    not inlined any more: in one program renoir took up to half as much again, timely a third (README.md).

pub mod args;
pub mod cores;
pub mod cost;
pub mod error;
pub mod event;
pub mod generate;
#[path = "../../../src/generator/mod.rs"]
pub mod generator;
pub mod report;
pub mod schedule;
pub mod seen;
pub mod smoke;
pub mod total;

use std::{
    env,
    error::Error as _,
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

pub use args::Args;
pub use error::Error;
pub use report::{Outcome, Timing};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The `main` of an engine's program for one workload: reads the command line, runs `work`, prints what came of it.
///
/// Exit codes: 0, 1 if the engine or the machine failed, 2 if the command line was wrong.
pub fn run(
    engine: &'static str,
    workload: &'static str,
    work: impl FnOnce(&Args) -> Result<Outcome, Error>,
) -> ExitCode {
    ended(engine, || {
        let args = Args::parse(lexopt::Parser::from_env())?;
        if args.workload != workload {
            return Err(Error::UnknownWorkload { name: args.workload, known: vec![workload] });
        }
        report::line(engine, &args, &work(&args)?)
    })
}

/// The `main` of an engine: becomes its program for the workload, one of `workloads`, which is next to it. `gen` needs
/// no engine, and is run here.
pub fn dispatch(engine: &'static str, workloads: &[&'static str]) -> ExitCode {
    ended(engine, || {
        let args = Args::parse(lexopt::Parser::from_env())?;
        if args.workload == "gen" {
            return report::line(engine, &args, &generate::run(&args)?);
        }
        if !workloads.contains(&args.workload.as_str()) {
            let known = [&["gen"], workloads].concat();
            return Err(Error::UnknownWorkload { name: args.workload, known });
        }
        let failed = |source| Error::Program { workload: args.workload.clone(), source };
        let this = env::current_exe().map_err(failed)?;
        let program = this.with_file_name(format!("{engine}-{}", args.workload));
        Err(failed(Command::new(program).args(env::args_os().skip(1)).exec()))
    })
}

/// Prints the line, or why there is none.
fn ended(engine: &str, run: impl FnOnce() -> Result<String, Error>) -> ExitCode {
    match run() {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            eprintln!("{engine}-bench: {error}{cause}");
            error.exit_code()
        }
    }
}
