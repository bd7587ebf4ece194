//! Standard input, from one reader in this process to the next.
//!
//! ```text
//!   reader ──▶ header
//!      └─ dropped ──▶ cutter, bytes that it has not cut ──▶ next reader
//! ```
//!
//! # What is always true
//!
//! 1. A process has one standard input, which cannot be read again: a reader goes on behind the last line that was cut by
//!    the one before it.
//! 2. So its header is read once in a process, whoever read it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::cutter::LineCutter;

/// See the module.
#[derive(Debug)]
pub(crate) struct Stdin {
    /// Its first line, if a reader wanted that.
    pub(crate) header: Option<Vec<u8>>,
    /// What a reader that is gone has left.
    pub(crate) left: Option<(LineCutter, Vec<u8>)>,
}

static STDIN: Mutex<Stdin> = Mutex::new(Stdin { header: None, left: None });

/// What is known of the standard input of this process.
pub(crate) fn stdin() -> MutexGuard<'static, Stdin> {
    STDIN.lock().unwrap_or_else(PoisonError::into_inner)
}
