//! The benchmark: what the engine costs against loops by hand and other engines, on the same machine in the same run.
//!
//! ```text
//!   wiesel-bench WORKLOAD                         one run, in this process: time, CPU, memory, outputs
//!   wiesel-bench WORKLOAD --compare bare,timely   runs alternate, each a process: a ratio per pair, their median
//! ```
//!
//! # What is always true
//!
//! 1. A run gives its outputs and their check sum; where the specification knows them they are checked.
//! 2. What is claimed is a ratio of two things measured next to each other; absolute times are for orientation.
//! 3. Standard output has the results and nothing else; with `--output json` one object a line.
//! 4. A debug build refuses to measure, but for `--quick`, which measures nothing.

mod allocations;
mod args;
mod bare;
mod chain;
#[allow(
    dead_code,
    reason = "the peers, which include it, read fields that we only force into memory"
)]
mod generator;
mod measure;
mod names;
#[cfg(test)]
mod oracle;
mod peers;
mod report;
mod shards;
mod wiesel;
mod workload;

use std::process::ExitCode;

use args::{Args, Engine, Output};
use generator::{Check, SEED};
use measure::{Outcome, Run, compare};
use workload::Workload;

fn main() -> ExitCode {
    let args = match Args::parse(lexopt::Parser::from_env()) {
        Ok(Some(args)) => args,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wiesel-bench: {error}");
            return ExitCode::from(2);
        }
    };
    if cfg!(debug_assertions) && !args.quick {
        eprintln!("wiesel-bench: this is a debug build and would measure nonsense: add --release");
        return ExitCode::from(2);
    }
    match work(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wiesel-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn work(args: &Args) -> Result<(), String> {
    match wiesel::children::told()? {
        Some(told) => wiesel::child(&Run::from(args), &told),
        None if args.compare.is_empty() => runs(args),
        None => comparisons(args),
    }
}

fn runs(args: &Args) -> Result<(), String> {
    for _ in 0..args.runs {
        let outcome = run(args)?;
        check(&outcome)?;
        match args.output {
            Output::Json => println!("{}", report::run_json(&outcome)),
            Output::Table => print!("{}", report::run_table(&outcome)),
        }
    }
    Ok(())
}

fn run(args: &Args) -> Result<Outcome, String> {
    let run = Run::from(args);
    match (args.workload, args.engine) {
        (Workload::Chain, engine) => chain::run(&run, engine),
        (Workload::Handoff, _) => shards::handoff::run(&run),
        (Workload::Checkpoint, _) => wiesel::checkpoints::run(&run),
        (Workload::State, _) => wiesel::checkpoints::state(&run),
        (Workload::Recovery, _) => wiesel::recovery::run(&run),
        (Workload::Latency, Engine::Wiesel) => wiesel::latency(&run),
        (Workload::Latency, Engine::Bare) => Ok(bare::latency(&run)),
        (_, Engine::Wiesel) => wiesel::run(&run),
        (_, Engine::Bare) => bare::run(&run),
    }
}

fn comparisons(args: &Args) -> Result<(), String> {
    let rows = match args.workload {
        Workload::Chain => vec![chain::compare(args)?],
        _ => compare::compare(args)?,
    };
    match args.output {
        Output::Json => rows.iter().for_each(|row| println!("{}", report::comparison_json(row))),
        Output::Table => print!("{}", report::comparison_table(&rows)),
    }
    Ok(())
}

/// The outputs against the specification's, if this run is over the input that it gives them for.
fn check(outcome: &Outcome) -> Result<(), String> {
    let Outcome { run, engine, check, .. } = outcome;
    match run.workload.reference() {
        Some((events, out, sum))
            if events == run.events
                && run.seed == SEED
                && run.event_rate == run.workload.event_rate() =>
        {
            let expected = Check { out, sum };
            if *check == expected {
                return Ok(());
            }
            Err(format!(
                "{} on {engine} gives {} outputs, sum {}; right are {out}, sum {}",
                run.workload,
                check.out,
                check.sum_text(),
                expected.sum_text()
            ))
        }
        _ => Ok(()),
    }
}
