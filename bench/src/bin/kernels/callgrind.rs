//! Instructions of a kernel, as callgrind counts them.
//!
//! ```text
//!   valgrind --tool=callgrind kernels ring 1000  ─stderr─▶  ==17== Collected : 4321
//! ```
//!
//! # What is always true
//!
//! 1. A kernel that fails its check has no count.
//! 2. The number of an operation is a difference of two runs: all that both do alike drops out.

use std::{
    env, io,
    process::{Child, Command, Stdio},
};

use crate::Kernel;

/// The tools that a count depends on: compiler, counter, and the C library, whose `memcpy` is counted too.
///
/// # Errors
///
/// If one is missing.
pub fn tools() -> Result<String, String> {
    let says = |program: &str, argument: &str| {
        let said =
            Command::new(program).arg(argument).output().map_err(|e| missing(program, &e))?;
        Ok::<_, String>(String::from_utf8_lossy(&said.stdout).trim().to_owned())
    };
    let tools = [
        says("rustc", "--version")?,
        says("valgrind", "--version")?,
        says("getconf", "GNU_LIBC_VERSION")?,
    ];
    Ok(tools.join(", "))
}

/// Instructions per operation.
///
/// # Errors
///
/// If valgrind is missing, or the kernel fails.
pub fn instructions_per_operation(kernel: &Kernel) -> Result<f64, String> {
    let once = start(kernel, kernel.operations)?; // Both at the same time, on two cores.
    let twice = start(kernel, 2 * kernel.operations)?;
    let (once, twice) = (count(kernel, once), count(kernel, twice));
    per_operation(once?, twice?, kernel.operations)
        .ok_or_else(|| format!("{}: twice the operations took fewer instructions", kernel.name))
}

fn per_operation(once: u64, twice: u64, operations: u64) -> Option<f64> {
    Some(twice.checked_sub(once)? as f64 / operations as f64)
}

fn start(kernel: &Kernel, operations: u64) -> Result<Child, String> {
    let this = env::current_exe().map_err(|error| format!("where this program is: {error}"))?;
    Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(this)
        .args([kernel.name, &operations.to_string()])
        .env("RUST_BACKTRACE", "0") // Of a kernel that fails, the first line says all.
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| missing("valgrind", &error))
}

fn count(kernel: &Kernel, child: Child) -> Result<u64, String> {
    let ran = child.wait_with_output().map_err(|error| format!("valgrind: {error}"))?;
    let said = String::from_utf8_lossy(&ran.stderr);
    match collected(&said) {
        Some(count) if ran.status.success() => Ok(count),
        _ => Err(format!("{} failed ({}):\n{}", kernel.name, ran.status, of_the_kernel(&said))),
    }
}

fn missing(program: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound if program == "valgrind" => {
            "valgrind is not installed: apt-get install valgrind (or: make setup)".to_owned()
        }
        _ => format!("{program}: {error}"),
    }
}

/// What a kernel said under valgrind, whose own lines are `==17== …`; these, if it said nothing.
fn of_the_kernel(said: &str) -> String {
    let is_its = |line: &&str| !line.starts_with("==") && !line.trim().is_empty();
    let its: Vec<&str> = said.lines().filter(is_its).collect();
    if its.is_empty() { said.trim().to_owned() } else { its.join("\n") }
}

/// The number that callgrind prints at its end.
fn collected(said: &str) -> Option<u64> {
    let line = said.lines().rev().find_map(|line| line.split_once("Collected :"))?;
    line.1.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_in_the_last_lines() {
        for (said, expected) in [
            ("==7== Events    : Ir\n==7== Collected : 253871\n==7== \n", Some(253_871)),
            ("==7== Collected : 253871 4 5\n", Some(253_871)), // With more events; the first is Ir.
            ("==7== Collected : 1\n==8== Collected : 2\n", Some(2)),
            ("==7== Collected :\n", None),
            ("==7== Collected : many\n", None),
            ("valgrind: kernels: command not found\n", None),
            ("", None),
        ] {
            assert_eq!(collected(said), expected, "{said}");
        }
    }

    #[test]
    fn a_kernel_that_fails_is_heard() {
        for (said, expected) in [
            (
                "==7== Callgrind\n\nthread panicked\n  left: 1\n==7== \n",
                "thread panicked\n  left: 1",
            ),
            ("==7== Callgrind\n==7== killed\n", "==7== Callgrind\n==7== killed"),
        ] {
            assert_eq!(of_the_kernel(said), expected);
        }
    }

    #[test]
    fn what_both_runs_do_drops_out() {
        assert_eq!(per_operation(1_000, 1_250, 100), Some(2.5));
        assert_eq!(per_operation(1_000, 1_000, 100), Some(0.0));
        assert_eq!(per_operation(1_000, 999, 100), None);
    }
}
