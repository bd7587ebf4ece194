//! With checkpoints and without, by turns of some seconds: two processes, of which one stands still.
//!
//! ```text
//!   with      ██████        ██████        ██████            CPU an event, of the process
//!   without         ██████        ██████        ██████
//!             └ a spell, of two checkpoints
//! ```
//!
//! # What is always true
//!
//! 1. Of the two processes one runs: neither pays for the other, and both see the same machine.
//! 2. A spell has as many checkpoints as intervals: the one that fell due while the process stood still begins with it.
//!
//! Why not run after run: the same program takes 26 or 40 ns an event on a shared machine, and that changes within a run.

#![allow(clippy::disallowed_methods, reason = "it looks at processes from outside, by the clock")]

use std::{
    ffi::OsStr,
    thread,
    time::{Duration, Instant},
};

use super::{
    checkpoints::count_keys,
    children::{Child, READY, say},
};
use crate::measure::Run;

/// Between two looks at a process.
const LOOK: Duration = Duration::from_millis(5);

/// A spell, in intervals: not two, at whose end a third checkpoint would begin.
const SPELL: f64 = 1.9;

/// The shortest spell: what a process finds in the caches of the other has to be little of it.
const SPELL_MIN: Duration = Duration::from_secs(1);

const WITH: &str = "with";
const WITHOUT: &str = "without";

/// One side: runs the job and says what it cost.
///
/// # Errors
///
/// If the job cannot run, or its result is wrong.
pub fn child(run: &Run, told: &OsStr) -> Result<(), String> {
    let measured = count_keys(run, told == WITH)?;
    say(&format!("cpu {}", measured.cpu_ns));
    Ok(())
}

/// CPU an event with checkpoints over without; every other pair begins with the other one.
///
/// # Errors
///
/// If one of the processes cannot do it.
pub fn ratio(run: &Run, pair: u64) -> Result<f64, String> {
    let spell = Duration::from_millis(run.state.interval_ms).mul_f64(SPELL).max(SPELL_MIN);
    let start = |told: &str| {
        let mut child = Child::start(told.as_ref())?;
        child.next::<f64>(READY)?;
        child.stand_still()?;
        Ok::<_, String>(child)
    };
    let mut children = [start(WITH)?, start(WITHOUT)?];
    let mut turn = usize::from(pair % 2 == 1);
    while !children[turn].has_ended()? {
        children[turn].go_on()?;
        let begin = Instant::now();
        while begin.elapsed() < spell && !children[turn].has_ended()? {
            thread::sleep(LOOK);
        }
        children[turn].stand_still()?;
        turn = 1 - turn;
    }
    children.iter_mut().try_for_each(Child::go_on)?;
    let [with, without] = &mut children;
    Ok(cost(with)? / cost(without)?)
}

fn cost(child: &mut Child) -> Result<f64, String> {
    let said: Vec<f64> = child.next("cpu")?;
    said.first().copied().filter(|ns| *ns > 0.0).ok_or_else(|| "a line is cut off".to_owned())
}
