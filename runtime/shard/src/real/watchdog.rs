//! The watchdog: a thread that looks now and then whether a shard stands still.
//!
//! No shard should ever need it. It exists because the executor below us has parked with work to do before (see
//! `executor`): a foreign ring of the bell brought it back.

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
}

impl Standstill {
    /// True each time another [`LOOKS_TO_STALL`] looks have passed without a turn.
    fn look(&mut self, turns: u64, running: bool) -> bool {
        if !running || turns != self.turns {
            *self = Self { turns, looks: 0 };
            return false;
        }
        self.looks += 1;
        self.looks.is_multiple_of(LOOKS_TO_STALL)
    }
}

/// Watches until the sender is dropped.
pub(super) fn start(watched: Vec<Watched>) -> std::io::Result<mpsc::Sender<()>> {
    let (stop, stopped) = mpsc::channel();
    thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
        let mut stands = watched.iter().map(|_| Standstill::default()).collect::<Vec<_>>();
        while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
            for (shard, stand) in watched.iter().zip(&mut stands) {
                let running = shard.counters.state() == ProgramState::Running;
                if stand.look(shard.counters.turns.get(), running) {
                    shard.counters.stalls.add(1);
                    tracing::warn!(
                        shard = shard.name,
                        "no turn ended for a second; ringing its bell"
                    );
                    shard.door.force();
                }
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
}
