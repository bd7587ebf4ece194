//! Barriers: where a checkpoint cuts through the stream of a task.
//!
//! ```text
//!   a barrier on every channel, or a trigger to a source ──▶ at hand ──▶ cut ──▶ pre-committed ──▶ to the worker
//!                                                             │           │
//!               behind the watermark and the parked records ──┘           └── barrier on every output, then the state
//! ```
//!
//! # What is always true
//!
//! 1. A cut is between two records, two timers, two watermarks: nothing is at hand, nothing is parked.
//! 2. Barriers leave on all outputs before the state is read; no record is pushed in between.
//! 3. A cut is handed in when what the outputs owe to it is durable, and in the order of checkpoints.
//! 4. A split that was assigned behind a trigger is read behind its barrier.
//! 5. A task that has read all it will be given cuts behind what comes of that: its last watermark and results.
//! 6. A source that is to stop reads nothing behind the barrier.
//! 7. A task that has ended is over when a checkpoint is complete that it cut after its end.

use std::{collections::VecDeque, time::Duration};

use wiesel_core::{Blame, CheckpointId, Pause, TaskFailure, Timestamp, TriggerKind};
use wiesel_exchange::{InputGate, WatermarkValve};
use wiesel_operators::{Mail, Snapshot};

use super::{Phase, Step, Task};
use crate::alignment::{Alignment, Arrival};

/// The part of a task's state that says how far its event time had come. It is of no operator.
pub const WATERMARK: &str = "watermark";

/// The state of a task as of one checkpoint.
#[derive(Debug)]
pub struct Cut {
    /// Which.
    pub checkpoint: CheckpointId,
    /// The rest of the state: tables, timers and lists are to be walked. None if those of an earlier checkpoint still are, so
    /// that the task cannot take part.
    pub snapshot: Option<Snapshot>,
    /// How long it took.
    pub pause: Pause,
    /// Whether all data was processed.
    pub has_ended: bool,
}

/// What a task knows of checkpoints.
pub(super) struct Barriers {
    alignment: Alignment,
    /// The first channel of each gate, counted over all gates.
    first: Box<[usize]>,
    at_hand: Option<CheckpointId>,
    /// What the trigger at hand asks for.
    asked: TriggerKind,
    /// Came behind the trigger at hand.
    held_mail: VecDeque<Mail>,
    cuts: VecDeque<Cut>,
    /// The first checkpoint behind the end of the data.
    last: Option<CheckpointId>,
}

impl Barriers {
    pub(super) fn new(gates: &[InputGate], is_exactly_once: bool) -> Self {
        let first = gates.iter().scan(0, |next, gate| {
            let first = *next;
            *next += gate.channels();
            Some(first)
        });
        let channels = gates.iter().map(InputGate::channels).sum();
        Self {
            first: first.collect(),
            alignment: Alignment::new(channels, is_exactly_once),
            at_hand: None,
            asked: TriggerKind::Continue,
            held_mail: VecDeque::new(),
            cuts: VecDeque::new(),
            last: None,
        }
    }

    /// The gate of a channel and its number there.
    fn place(&self, channel: usize) -> (usize, usize) {
        let gate = self.first.partition_point(|first| *first <= channel) - 1;
        (gate, channel - self.first[gate])
    }
}

impl Task {
    /// Begins a checkpoint here: for a source, and for a task none of whose inputs will bring a barrier. Says whether
    /// it takes part; it does not if it has come to its end, or is at another checkpoint.
    pub fn trigger(&mut self, checkpoint: CheckpointId, kind: TriggerKind) -> bool {
        let is_on = !matches!(
            self.phase,
            Phase::Held | Phase::Draining | Phase::Finished | Phase::Orphaned
        );
        let takes_part =
            is_on && self.barriers.at_hand.is_none() && self.ended.iter().all(|ended| *ended);
        if takes_part {
            (self.barriers.at_hand, self.barriers.asked) = (Some(checkpoint), kind);
        }
        takes_part
    }

    /// Whether there is nothing more to read: all inputs have ended, or a source is told to drain. What is at hand is
    /// cut behind what comes of that.
    pub(super) fn has_read_all(&self) -> bool {
        if self.gates.is_empty() {
            return self.barriers.at_hand.is_some() && self.barriers.asked == TriggerKind::Drain;
        }
        self.ended.iter().all(|ended| *ended)
    }

    /// The JobMaster has given a checkpoint up.
    ///
    /// # Errors
    ///
    /// As [`Task::mail`], for what waited behind its trigger.
    pub fn abort(&mut self, checkpoint: CheckpointId) -> Result<(), TaskFailure> {
        let freed = self.barriers.alignment.abort(checkpoint);
        self.unblock(&freed);
        self.barriers.cuts.retain(|cut| cut.checkpoint != checkpoint);
        self.discard_walk(checkpoint);
        if self.barriers.at_hand.take_if(|at_hand| *at_hand == checkpoint).is_some() {
            self.barriers.asked = TriggerKind::Continue;
            return self.deliver_held_mail();
        }
        Ok(())
    }

    /// A checkpoint is complete.
    pub fn completed(&mut self, checkpoint: CheckpointId) {
        self.head.ports(&mut |port| port.completed(checkpoint));
        self.walks.completed(checkpoint);
        let is_behind_the_end = self.barriers.last.is_some_and(|last| last <= checkpoint);
        if is_behind_the_end && matches!(self.phase, Phase::Ended { .. }) {
            self.phase = Phase::Draining;
        }
    }

    /// What is left to do for a task whose input has ended: its part in checkpoints.
    pub(super) fn step_behind_the_end(&mut self) -> Step {
        self.align();
        if let Some(step) = self.cut() {
            return step;
        }
        match self.next_event() {
            Ok(true) => Step::Progressed,
            Ok(false) => Step::Nothing(None),
            Err(failure) => {
                self.context.fail(failure);
                Step::Progressed
            }
        }
    }

    /// The next cut whose outputs have done their part.
    pub fn take_cut(&mut self) -> Option<Cut> {
        if self.barriers.cuts.is_empty() {
            return None;
        }
        let mut ready = true;
        self.head.ports(&mut |port| ready &= port.is_pre_committed());
        if ready { self.barriers.cuts.pop_front() } else { None }
    }

    /// Whether a message has to wait for a barrier; it is kept then.
    pub(super) fn hold_mail(&mut self, mail: Mail) -> Option<Mail> {
        if self.barriers.at_hand.is_none() {
            return Some(mail);
        }
        self.barriers.held_mail.push_back(mail);
        None
    }

    fn deliver_held_mail(&mut self) -> Result<(), TaskFailure> {
        while let Some(mail) = self.barriers.held_mail.pop_front() {
            self.mail(mail)?;
        }
        Ok(())
    }

    /// A barrier came on a channel of a gate.
    pub(super) fn take_barrier(&mut self, gate: usize, channel: usize, checkpoint: CheckpointId) {
        let counted = self.barriers.first[gate] + channel;
        let (freed, arrival) = self.barriers.alignment.arrive(counted, checkpoint);
        self.unblock(&freed);
        if arrival == Arrival::Block {
            self.gates[gate].block(channel);
        }
    }

    /// Looks whether a checkpoint is aligned: when a barrier has come, or a channel may have ended.
    pub(super) fn align(&mut self) {
        if !self.barriers.alignment.is_under_way() || self.barriers.at_hand.is_some() {
            return;
        }
        let (gates, first) = (&self.gates, &self.barriers.first);
        let ended = |counted: usize| {
            let gate = first.partition_point(|first| *first <= counted) - 1;
            gates[gate].has_channel_ended(counted - first[gate])
        };
        if let Some((checkpoint, blocked)) = self.barriers.alignment.take_aligned(ended) {
            self.barriers.at_hand = Some(checkpoint);
            self.unblock(&blocked); // Nothing is read before the cut.
        }
    }

    fn unblock(&mut self, channels: &[usize]) {
        for counted in channels {
            let (gate, channel) = self.barriers.place(*counted);
            self.gates[gate].unblock(channel);
        }
    }

    /// Cuts, if a barrier is at hand. `None` if there is none.
    pub(super) fn cut(&mut self) -> Option<Step> {
        let checkpoint = self.barriers.at_hand?;
        if self.head.has_parked() {
            return Some(Step::Nothing(None)); // Their rows are on the way.
        }
        if self.is_discarding() {
            // Declined, it would be given up on all tasks, and their walks discarded in turn: where checkpoints follow
            // one another at once, none might ever be taken again. What is left to discard is little.
            return Some(Step::Nothing(None));
        }
        self.barriers.at_hand = None;
        let asked = std::mem::take(&mut self.barriers.asked);
        let has_ended = matches!(self.phase, Phase::Ended { .. });
        if has_ended {
            self.barriers.last.get_or_insert(checkpoint);
        } else if asked == TriggerKind::Stop {
            self.phase = Phase::Held;
        }
        self.head.ports(&mut |port| port.barrier(checkpoint));
        let shard = self.context.shard();
        let began = (shard.read_clock(), shard.running_time());
        let is_flipped = self.walks.flip(checkpoint, self.head.as_mut());
        let snapshot = is_flipped.then(|| {
            let mut snapshot = Snapshot::without_tables();
            self.snapshot(&mut snapshot);
            snapshot
        });
        let shard = self.context.shard();
        let nanos = |since: Duration| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let pause = Pause::of(
            nanos(shard.read_clock().since(began.0)),
            nanos(shard.running_time().since(began.1)),
        );
        self.barriers.cuts.push_back(Cut { checkpoint, snapshot, pause, has_ended });
        if let Err(failure) = self.deliver_held_mail() {
            self.context.fail(failure);
        }
        Some(Step::Progressed)
    }

    /// Appends the state of the task to `snapshot`.
    pub fn snapshot(&mut self, snapshot: &mut Snapshot) {
        if !self.gates.is_empty() {
            let watermark = self.valve.last().as_millis().to_le_bytes();
            snapshot.put(WATERMARK, None, watermark.to_vec());
        }
        self.head.snapshot(snapshot);
    }

    /// Continues from `snapshot`, in steps ([`wiesel_shard::Steps`]). Event time is where it was in the subtask that was
    /// furthest behind: what was late stays late, and nothing is late that was not. That of a source is made anew by what it
    /// reads.
    ///
    /// # Errors
    ///
    /// If an operator cannot read its part.
    pub async fn restore(&mut self, snapshot: &Snapshot) -> Result<(), TaskFailure> {
        let mut least = None::<Timestamp>;
        for part in snapshot.operator(WATERMARK) {
            let Some(millis) = part.first_chunk().filter(|_| part.len() == 8) else {
                let cause = format!("a watermark has 8 bytes, not {}", part.len());
                let failure = TaskFailure::new(Blame::Environment, "restore a task", cause);
                return Err(self.name(failure));
            };
            let watermark = Timestamp::from_millis(i64::from_le_bytes(*millis));
            least = Some(least.map_or(watermark, |least| least.min(watermark)));
        }
        // The end of event time is not a place to go on from: what ended it has been drained, and there is more now.
        let within = Timestamp::MIN.as_millis() + 1..Timestamp::MAX.as_millis();
        let least = least.filter(|_| !self.gates.is_empty());
        if let Some(watermark) = least.filter(|least| within.contains(&least.as_millis())) {
            self.valve = WatermarkValve::restored(self.gates.len(), watermark);
            self.watermark = Some(watermark);
        }
        let restored = self.head.restore(snapshot).await;
        restored.map_err(|failure| self.name(failure))
    }
}
