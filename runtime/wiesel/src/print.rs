//! Text for people: on standard error, and for `--help` and `--explain` on standard output.
//!
//! A stream that nobody reads is no reason to fail: what cannot be written is not.
#![allow(clippy::disallowed_methods, reason = "what is printed here is not the job's output")]

use std::io::{self, IsTerminal, Write};

/// Writes to standard output.
pub(crate) fn out(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Writes to standard error.
pub(crate) fn err(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Whether somebody looks at standard error.
pub(crate) fn err_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Whether somebody looks at standard output.
pub(crate) fn out_is_terminal() -> bool {
    io::stdout().is_terminal()
}
