//! The watchdog: a thread that looks now and then whether a shard stands still.
//!
//! No shard should ever need it. It exists because the executor below us has parked with work to do before (see
//! `executor`): a foreign ring of the bell brought it back.
//!
//! # What is always true
//!
//! 1. A shard that stands still is counted and rung each time; it is said once for each, and those of one look in one line.
//! 2. Before its first turn nothing is said: the shard starts, and its program is being made.

use std::{
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use crate::{Door, ProgramState, ShardCounters};

/// How often it looks. Nothing is urgent, and each look wakes a thread.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Looks without a turn before a shard counts as stalled: one second, ten times what a parked shard sleeps.
const LOOKS_TO_STALL: u32 = 2;

/// Shards that are named in one line.
const NAMES_MAX: usize = 3;

/// What is watched of a shard.
pub(super) struct Watched {
    pub(super) name: String,
    pub(super) door: Door,
    pub(super) counters: Arc<ShardCounters>,
}

/// Pure: whether a shard stands still, from what it counted at each look.
#[derive(Default)]
struct Standstill {
    turns: u64,
    looks: u32,
    is_said: bool,
}

impl Standstill {
    /// True each time another [`LOOKS_TO_STALL`] looks have passed without a turn.
    fn look(&mut self, turns: u64, running: bool) -> bool {
        if !running || turns != self.turns {
            (self.turns, self.looks) = (turns, 0);
            return false;
        }
        self.looks += 1;
        self.looks.is_multiple_of(LOOKS_TO_STALL)
    }

    /// Whether that it stands still was not said yet, and is not that it only starts.
    fn is_to_be_said(&mut self) -> bool {
        self.turns > 0 && !std::mem::replace(&mut self.is_said, true)
    }
}

/// What is said of the shards that stand still for the first time.
fn warning(names: &[&str]) -> String {
    let (shown, more) = names.split_at(names.len().min(NAMES_MAX));
    let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    format!(
        "no turn ended for a second on {}{more}: a function blocks its shard, or the shards have too few cores (lower the \
         parallelism then)",
        shown.join(", ")
    )
}

/// Watches until the sender is dropped.
pub(super) fn start(watched: Vec<Watched>) -> std::io::Result<mpsc::Sender<()>> {
    let (stop, stopped) = mpsc::channel();
    thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
        let mut stands = watched.iter().map(|_| Standstill::default()).collect::<Vec<_>>();
        while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
            let mut said = Vec::new();
            for (shard, stand) in watched.iter().zip(&mut stands) {
                let running = shard.counters.state() == ProgramState::Running;
                if stand.look(shard.counters.turns.get(), running) {
                    shard.counters.stalls.add(1);
                    shard.door.force();
                    said.extend(stand.is_to_be_said().then_some(&*shard.name));
                }
            }
            if !said.is_empty() {
                tracing::warn!("{}", warning(&said));
            }
        }
    })?;
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_stalls_when_its_turns_stand_still() {
        let check = |script: &[(u64, bool)], expected: &[bool]| {
            let mut stand = Standstill::default();
            let seen = script.iter().map(|(turns, running)| stand.look(*turns, *running));
            assert_eq!(seen.collect::<Vec<_>>(), expected, "{script:?}");
        };
        check(&[(1, true), (1, true), (2, true), (2, true)], &[false; 4]);
        check(
            &[(1, true), (1, true), (1, true), (1, true), (1, true)],
            &[false, false, true, false, true],
        );
        check(&[(5, true), (5, false), (5, false), (5, false)], &[false; 4]);
        check(&[(0, true), (0, true)], &[false, true]);
    }

    #[test]
    fn a_shard_is_said_to_stall_once_and_not_while_it_starts() {
        let mut stand = Standstill::default();
        let script = [(0, false), (0, false), (1, false), (1, false), (1, true), (1, false)];
        for (at, (turns, is_said)) in script.into_iter().enumerate() {
            let stalls = stand.look(turns, true);
            assert_eq!(stalls && stand.is_to_be_said(), is_said, "look {at}");
        }
        let mut said = |turns| (0..9).any(|_| stand.look(turns, true) && stand.is_to_be_said());
        assert!(!said(2) && !said(3));
    }

    #[test]
    fn many_shards_are_one_line() {
        let names = ["shard-0", "shard-1", "shard-2", "shard-3", "shard-4"];
        let said = [1, 3, 5].map(|count| warning(&names[..count]));
        let whom = said.map(|said| said.split(':').next().unwrap_or_default().to_owned());
        let prefix = "no turn ended for a second on ";
        let expected =
            ["shard-0", "shard-0, shard-1, shard-2", "shard-0, shard-1, shard-2 and 2 more"];
        assert_eq!(whom, expected.map(|names| format!("{prefix}{names}")));
    }
}
