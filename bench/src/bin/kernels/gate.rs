//! Counts all kernels, and compares with the committed counts or writes them.
//!
//! # What is always true
//!
//! 1. What is counted is built as the baselines were, or nothing is counted.
//! 2. A count that two runs do not agree on is never recorded.
#![allow(clippy::disallowed_methods)] // It reads and writes one file; nobody simulates it.

use std::{fs, path::Path};

use crate::{
    KERNELS,
    baseline::{Baselines, Verdict, judge},
    callgrind::{instructions_per_operation, tools},
};

/// Counts and compares. Says whether all kernels passed.
///
/// # Errors
///
/// If the baselines cannot be read, or a kernel cannot be counted.
pub fn gate(path: &Path) -> Result<bool, String> {
    check_build()?;
    let named = |error: &str| format!("{}: {error}; make instructions-record", path.display());
    let text = fs::read_to_string(path).map_err(|error| named(&error.to_string()))?;
    let baselines: Baselines = text.parse().map_err(|error: String| named(&error))?;
    let tools = tools()?;
    println!("{:20} {:>12} {:>9}", "kernel", "instructions", "baseline");
    let mut found = Vec::new();
    for kernel in KERNELS {
        let count = instructions_per_operation(kernel)?;
        found.push((kernel.name, count));
        let baseline = baselines.counts.get(kernel.name).copied();
        let change = match judge(count, baseline) {
            Verdict::Same(percent) | Verdict::More(percent) | Verdict::Less(percent) => {
                format!("{:+5.1} %", (10.0 * percent).round() / 10.0 + 0.0) // Never -0.0.
            }
            Verdict::New => "new".to_owned(),
        };
        println!("{:20} {count:12.2} {:9.2} {change}", kernel.name, baseline.unwrap_or_default());
    }
    let report = baselines.compare(&tools, &found);
    report.hints.iter().for_each(|line| println!("{line}"));
    report.failures.iter().for_each(|line| eprintln!("{line}"));
    Ok(report.failures.is_empty())
}

/// Two counts of a kernel differ by less, in instructions per operation: a clock may be read once more in one of them,
/// and what is written is rounded to this.
const REPEATS_WITHIN: f64 = 0.01;

/// Counts twice and writes.
///
/// # Errors
///
/// If a kernel cannot be counted or its counts differ, or the file cannot be written.
pub fn record(path: &Path) -> Result<(), String> {
    check_build()?;
    let mut baselines = Baselines { made_with: tools()?, ..Baselines::default() };
    for kernel in KERNELS {
        let name = kernel.name;
        let (count, again) =
            (instructions_per_operation(kernel)?, instructions_per_operation(kernel)?);
        if (count - again).abs() >= REPEATS_WITHIN {
            return Err(format!("{name}: {count} instructions, then {again}: it does not repeat"));
        }
        println!("{name:20} {count:12.2}");
        baselines.counts.insert(name.to_owned(), count);
    }
    fs::write(path, baselines.to_string())
        .map_err(|error| format!("{}: {error}", path.display()))?;
    println!("written to {}", path.display());
    Ok(())
}

/// Invariant 1.
fn check_build() -> Result<(), String> {
    let is_v3 = cfg!(all(target_feature = "avx2", not(target_feature = "avx512f")));
    match !cfg!(debug_assertions) && is_v3 {
        true => Ok(()),
        false => Err("this is not a release build for x86-64-v3: make instructions".to_owned()),
    }
}
