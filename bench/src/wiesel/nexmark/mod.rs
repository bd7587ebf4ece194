//! The Nexmark queries beyond q0 to q2, a file per family.
//!
//! ```text
//!   events ─▶ what the query reads of them, with its time ─▶ key_by, windows, state ─▶ CheckSink
//! ```
//!
//! # What is always true
//!
//! 1. A query reads only the fields that it needs before anything is sent: the rest of an event does not travel.
//! 2. A query that changes what it has said says so ([`changes::Change`]); its check sum is that of the rows it leaves.
//! 3. Watermarks are those of records in order (GENERATOR: bounded out-of-orderness of nothing), but for `q11 --disorder`.

mod auctions;
mod calculations;
mod changes;
mod expansions;
mod files;
mod joins;
mod processing_time;
mod ranks;
mod sessions;
mod statistics;
mod windows;

pub use auctions::{q4, q6, q9};
pub use calculations::{q13, q14, q21, q22};
pub use expansions::{q20, q23};
pub use files::q10;
pub use joins::{q3, q8};
pub use processing_time::q12;
pub use ranks::{q18, q19};
pub use sessions::q11;
pub use statistics::{q15, q16, q17};
pub use windows::{q5, q7};

use wiesel::Timestamp;

/// Event time, as the generator has it.
#[inline(always)]
fn time(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis as i64)
}

/// Milliseconds, as the generator has them.
#[inline(always)]
fn millis_of(time: Timestamp) -> u64 {
    time.as_millis() as u64
}
