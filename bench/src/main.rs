//! The benchmark: what ours costs against the same loop written by hand, in one run.
//!
//! ```text
//!   wiesel-bench chain --compare bare [--runs K] [--events N] [--output json|table]
//!
//!   pair 1: ours bare │ pair 2: bare ours │ pair 3: ours bare …     a ratio per pair, their median, its interval
//! ```
//!
//! # What is always true
//!
//! 1. A number is a ratio of two things measured next to each other; absolute times are printed for orientation.
//! 2. Both sides give the same result, and it is checked before anything is measured.
//! 3. Standard output has the results and nothing else; with `--output json` it is one object.
//! 4. A debug build refuses to measure.

mod allocations;
mod args;
mod chain;
mod pairs;

use std::process::ExitCode;

use args::{Args, Output};

fn main() -> ExitCode {
    let args = match Args::parse(lexopt::Parser::from_env()) {
        Ok(Some(args)) => args,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wiesel-bench: {error}\ntry: wiesel-bench --help");
            return ExitCode::from(2);
        }
    };
    if cfg!(debug_assertions) && !args.quick {
        eprintln!("wiesel-bench: this is a debug build and would measure nonsense: add --release");
        return ExitCode::from(2);
    }
    match chain::run(&args) {
        Ok(report) => {
            match args.output {
                Output::Json => println!("{}", report.json()),
                Output::Table => print!("{}", report.table()),
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("wiesel-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
