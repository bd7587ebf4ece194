//! The parts of checkpoints that the tasks of a shard are writing.
//!
//! ```text
//!   a turn of the worker:   new cuts ─▶ tables of one task walked, for a quantum ─▶ what is durable is reported
//! ```
//!
//! # What is always true
//!
//! 1. One walk is given a quantum between two turns of tasks, however many there are.
//! 2. What a task has written is reported in the order of its checkpoints.
//! 3. A write that was abandoned is never reported, and leaves no file.
//! 4. As long as something is to be done for a checkpoint, the time between two turns of tasks is measured; the longest is
//!    reported. While all of it waits for the disk nothing is done, and no clock is read.

use std::{collections::VecDeque, path::Path, time::Duration};

use wiesel_core::{CheckpointId, Nanos, Pause};
use wiesel_operators::Progress;
use wiesel_rpc::{Attempt, Declined, ToJobMaster};
use wiesel_shard::{Quantum, Shard};
use wiesel_task::Cut;

use crate::{
    slot::Slot,
    state_writer::{End, StateWriter},
};

/// How long tables, timers and lists are walked between two turns of tasks.
const WALK_QUANTUM: Duration = Duration::from_micros(10);

/// State on its way to the disk.
#[derive(Default)]
pub(crate) struct Writes {
    writers: Vec<StateWriter>,
    /// When the last turn of tasks had ended, by both clocks, if something is to be done.
    since: Option<(Nanos, Nanos)>,
}

impl Writes {
    /// Whether nothing is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.writers.is_empty()
    }

    /// Tasks have had their turns: what comes now holds up their records.
    pub(crate) fn tasks_have_run(&mut self, shard: &Shard, slots: &[Slot]) {
        let is_at_work = slots.iter().any(Slot::is_walking)
            || !self.writers.iter().all(StateWriter::waits_for_disk);
        self.since = is_at_work.then(|| (shard.read_clock(), shard.running_time()));
    }

    /// Tasks are about to have turns.
    pub(crate) fn tasks_run(&mut self, shard: &Shard) {
        let Some((elapsed, running)) = self.since.take() else { return };
        let nanos = |since: Duration| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let pause = Pause::of(
            nanos(shard.read_clock().since(elapsed)),
            nanos(shard.running_time().since(running)),
        );
        for writer in &mut self.writers {
            writer.pause = writer.pause.or_longer(pause);
        }
    }

    /// The shard has nothing to do: no record waits.
    pub(crate) fn rest(&mut self) {
        self.since = None;
    }

    /// Nobody will refer to what these write.
    pub(crate) fn abandon(&mut self, is_meant: impl Fn((Attempt, CheckpointId)) -> bool) {
        let meant = self.writers.iter_mut().filter(|w| is_meant((w.attempt, w.checkpoint)));
        meant.for_each(StateWriter::abandon);
    }

    /// Takes the state that tasks have ready, and moves what is on its way; says whether anything moved.
    pub(crate) fn advance(
        &mut self,
        shard: &Shard,
        folder: &Path,
        slots: &mut [Slot],
        reports: &mut VecDeque<ToJobMaster>,
    ) -> bool {
        let mut moved = false;
        for slot in slots.iter_mut() {
            while let Some(Cut { checkpoint, snapshot, pause, has_ended }) = slot.take_cut() {
                moved = true;
                let attempt = slot.attempt;
                let Some(snapshot) = snapshot else {
                    let declined = Declined::NotReady;
                    reports.push_back(ToJobMaster::Decline(attempt, checkpoint, declined));
                    continue;
                };
                let operators = &slot.operators;
                let mut writer =
                    StateWriter::new(shard, folder, attempt, checkpoint, operators, &snapshot);
                (writer.pause, writer.has_ended) = (pause, has_ended);
                self.writers.push(writer);
            }
        }
        moved |= self.walk_tables(shard, slots);
        moved | self.report(slots, reports)
    }

    /// Walks the tables and timers of one task, those of a checkpoint that is under way first. Says whether it did.
    fn walk_tables(&mut self, shard: &Shard, slots: &mut [Slot]) -> bool {
        let quantum = || -> Quantum { shard.quantum(WALK_QUANTUM) };
        for writer in self.writers.iter_mut().filter(|writer| writer.has_room()) {
            let slot = slots.iter_mut().find(|slot| slot.attempt == writer.attempt);
            // One that discards has been told already that nobody wants it, and its writer will be.
            if let Some(slot) = slot.filter(|slot| !slot.is_discarding()) {
                if slot.walk(&mut quantum(), Some(writer)) == Progress::Done {
                    writer.has_all();
                }
                return true;
            }
        }
        let discarding = slots.iter_mut().find(|slot| slot.is_discarding());
        discarding.map(|slot| slot.walk(&mut quantum(), None)).is_some()
    }

    fn report(&mut self, slots: &mut [Slot], reports: &mut VecDeque<ToJobMaster>) -> bool {
        let (mut moved, mut waiting) = (false, Vec::new());
        self.writers.retain_mut(|writer| {
            let (attempt, checkpoint) = (writer.attempt, writer.checkpoint);
            if waiting.contains(&attempt) {
                return true; // Invariant 2.
            }
            let slot = slots.iter_mut().find(|slot| slot.attempt == attempt);
            let Some(end) = writer.poll(slot.map(|slot| &mut slot.files)) else {
                moved |= writer.goes_on();
                waiting.push(attempt);
                return true;
            };
            moved = true;
            match end {
                End::Acknowledged(handle) => {
                    reports.push_back(ToJobMaster::Acknowledge(attempt, checkpoint, handle));
                }
                End::Declined(declined) => {
                    reports.push_back(ToJobMaster::Decline(attempt, checkpoint, declined));
                }
                End::Abandoned => {}
            }
            false
        });
        moved
    }
}
