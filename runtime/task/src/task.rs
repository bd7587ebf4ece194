//! The loop of one subtask: what happens to a frame between the gate and the chain.
//!
//! ```text
//!            ┌─ Running ──────────────────────────────┐   all inputs ended, or the source is read
//!   turn ───▶│ poll ports; ready? ── no ─▶ flush, wait  ├──▶ Finishing ──▶ Ended ─────▶ Draining ──▶ Finished
//!            │   │ yes                                  │    watermark    (the last    frames
//!            │   ▼ until stop or quantum:               │    +inf, finish checkpoint)  go home
//!            │   watermark at hand, else frame at hand, │
//!            │   else the next element of a gate        │
//!            └──────────────────────────────────────────┘
//! ```
//!
//! # What is always true
//!
//! 1. At most one frame and one watermark are at hand; each is finished before the next is taken.
//! 2. A stopped call is made again with the same argument, in a later turn.
//! 3. A watermark waits while records are parked, for rows that are not resident or for a file.
//! 4. After a failure the chain is never called again, except to close its functions.
//! 5. While a link of the chain wants no records, barriers go by, and nothing else that could make one.
//!
//! What a barrier does is in `barriers`, what the end of the input does in `ending`, when timers fire in `timers`.

mod barriers;
mod ending;
mod timers;
mod walks;

use wiesel_core::{Blame, Mutant, Nanos, TaskFailure, Timestamp};
use wiesel_exchange::{
    GateElement, GateEvent, InputGate, ValveOutput, WatermarkStatus, WatermarkValve,
};
use wiesel_operators::{Head, Mail, OutputPort, Pace, Polled, Progress, Status, TaskContext};

use barriers::Barriers;
pub use barriers::{Cut, WATERMARK};
pub use walks::Walked;
use walks::Walks;

use crate::{Checkpoints, TaskOptions, Turn};

/// A frame that the chain has not finished.
struct AtHand {
    input: usize,
    element: GateElement,
    cursor: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Finishing {
        watermark_done: bool,
    },
    /// Between the two halves of `Finishing`: links wait for their last answers.
    Settling,
    /// All data is processed.
    Ended {
        is_reported: bool,
    },
    /// Behind the barrier of a savepoint with which the job stops.
    Held,
    Draining,
    Finished,
    /// A producer is gone without an end: waits to be cancelled.
    Orphaned,
}

/// One subtask.
pub struct Task {
    context: TaskContext,
    head: Box<dyn Head>,
    gates: Vec<InputGate>,
    ended: Vec<bool>,
    /// Merges the inputs of the task; each gate merges its own channels.
    valve: WatermarkValve,
    next_gate: usize,
    at_hand: Option<AtHand>,
    watermark: Option<Timestamp>,
    /// The watermark at hand was told, and the call has stopped.
    is_midway: bool,
    /// A link of the chain wants no records, as of the beginning of the turn.
    is_full: bool,
    /// Its functions were opened, and are to be closed.
    is_open: bool,
    /// Timers were fired, and nothing else was looked for since.
    has_fired: bool,
    /// To be told after the watermark at hand.
    status: Option<WatermarkStatus>,
    /// The source has been told that a split is on its way.
    asked_for_split: bool,
    /// Since when an output could not be written to.
    blocked_since: Option<Nanos>,
    phase: Phase,
    barriers: Barriers,
    walks: Walks,
    options: TaskOptions,
}

/// What one step of a turn came to.
enum Step {
    Progressed,
    Nothing(Option<Nanos>),
    NeedsSplit,
    InputsEnded,
}

impl Task {
    /// A task that reads `gates`, one per input of `head`; a source has none.
    pub fn new(
        context: TaskContext,
        head: Box<dyn Head>,
        gates: Vec<InputGate>,
        options: TaskOptions,
    ) -> Self {
        Self {
            context,
            head,
            ended: vec![false; gates.len()],
            valve: WatermarkValve::new(gates.len()),
            barriers: Barriers::new(&gates, options.checkpoints == Checkpoints::ExactlyOnce),
            walks: Walks::new(options.is_incremental),
            gates,
            next_gate: 0,
            at_hand: None,
            watermark: None,
            is_midway: false,
            is_full: false,
            is_open: false,
            has_fired: false,
            status: None,
            asked_for_split: false,
            blocked_since: None,
            phase: Phase::Running,
            options,
        }
    }

    /// Opens the chain, back to front.
    ///
    /// # Errors
    ///
    /// If an operator cannot get what it needs from outside.
    pub fn open(&mut self) -> Result<(), TaskFailure> {
        self.is_open = true;
        self.head.open().map_err(|failure| self.name(failure))?;
        self.take_failure().map_or(Ok(()), Err)
    }

    /// The context of the task.
    pub fn context(&self) -> &TaskContext {
        &self.context
    }

    /// Hands over a message from the JobMaster.
    ///
    /// # Errors
    ///
    /// If the head cannot take it: a split that it cannot read, or a message for a source to another head.
    pub fn mail(&mut self, mail: Mail) -> Result<(), TaskFailure> {
        let Some(mail) = self.hold_mail(mail) else { return Ok(()) };
        self.asked_for_split &= matches!(mail, Mail::WatermarkLimit(_));
        self.head.mail(mail).map_err(|failure| self.name(failure))
    }

    /// Adds what is known about the place of a failure.
    pub fn name(&self, failure: TaskFailure) -> TaskFailure {
        let failure = failure.uid(self.context.uid()).subtask(self.context.id().subtask);
        match self.head.position() {
            Some(position) => failure.position(position),
            None => failure,
        }
    }

    /// Whether it reads no other task's output.
    pub fn is_source(&self) -> bool {
        self.gates.is_empty()
    }

    /// Whether its last turn ended within a frame, and its output took what came of it: its next one has something to
    /// do.
    pub fn has_more(&self) -> bool {
        self.at_hand.is_some() && self.blocked_since.is_none()
    }

    /// One turn: bounded by the quantum plus one record.
    pub fn turn(&mut self) -> Turn {
        let shard = self.context.shard().clone();
        let started = shard.read_clock();
        // What came home can wait until the records at hand are on their way, if there is room for them without it.
        let (mut moved, mut ready) =
            (false, self.phase == Phase::Running && self.are_ports_ready());
        let polls_behind = ready;
        if !ready {
            moved = self.poll_ports(started);
            ready = self.are_ports_ready() || Mutant::UnreadyTurn.is_chosen();
        }
        if let Some(failure) = self.take_failure() {
            return Turn::Failed(failure);
        }
        if self.phase == Phase::Draining {
            return self.drain(moved);
        }
        if !ready {
            self.blocked_since.get_or_insert(started);
            // What is open must leave, or the frames that it fills never come home.
            self.head.ports(&mut |port| port.flush());
            return if moved { Turn::Worked } else { Turn::Idle(self.context.take_wake()) };
        }
        if let Some(since) = self.blocked_since.take() {
            let blocked = started.since(since);
            self.context.metrics().back_pressured_ns.add(blocked.as_nanos() as u64);
        }
        let (mut is_full, begun) = (false, shard.read_clock());
        self.head.ports(&mut |port| is_full |= !port.wants_records());
        self.is_full = is_full;
        let turn = self.work();
        if let Some(failure) = self.take_failure() {
            return Turn::Failed(failure);
        }
        let worked = shard.read_clock();
        if self.phase != Phase::Held {
            self.head.tick(started, matches!(turn, Turn::Idle(_)));
        }
        match turn {
            Turn::Idle(until) => {
                self.head.ports(&mut |port| port.flush());
                if polls_behind {
                    moved = self.poll_ports(started);
                }
                if let Some(failure) = self.take_failure() {
                    return Turn::Failed(failure);
                }
                if self.is_full {
                    self.blocked_since = Some(started);
                } else {
                    let idle = shard.read_clock().since(started);
                    self.context.metrics().idle_ns.add(idle.as_nanos() as u64);
                }
                let wake = self.context.take_wake();
                if moved { Turn::Worked } else { Turn::Idle(Nanos::earlier(until, wake)) }
            }
            turn => {
                if polls_behind {
                    self.poll_ports(started);
                }
                let (now, age) = (shard.read_clock(), self.options.frame_age_max);
                self.head.ports(&mut |port| port.flush_aged(now, age));
                let metrics = self.context.metrics();
                metrics.queue_ns.add(begun.since(started).as_nanos() as u64);
                metrics.flush_ns.add(now.since(worked).as_nanos() as u64);
                metrics.busy_ns.add(now.since(started).as_nanos() as u64);
                turn
            }
        }
    }

    /// Takes back what came home and moves on what waits; says whether anything moved.
    fn poll_ports(&mut self, now: Nanos) -> bool {
        let mut moved = false;
        self.head.ports(&mut |port| moved |= port.poll(now));
        moved
    }

    fn are_ports_ready(&mut self) -> bool {
        let mut ready = true;
        self.head.ports(&mut |port| ready &= port.is_ready());
        ready
    }

    /// Steps until the turn is over or there is nothing left to do.
    fn work(&mut self) -> Turn {
        self.context.stop().clear();
        let quantum = self.context.shard().quantum(self.options.quantum);
        let mut pace = Pace::new(self.context.stop().clone(), quantum);
        let mut worked = false;
        loop {
            let step = match self.phase {
                Phase::Running => self.step(&mut pace),
                Phase::Finishing { watermark_done } => self.finish(watermark_done, &mut pace),
                Phase::Settling => self.settle(),
                Phase::Ended { is_reported: false } => {
                    self.phase = Phase::Ended { is_reported: true };
                    return Turn::EndOfData;
                }
                Phase::Ended { .. } => self.step_behind_the_end(),
                Phase::Draining | Phase::Finished => return Turn::Worked,
                Phase::Held | Phase::Orphaned => return Turn::Idle(None),
            };
            match step {
                Step::Progressed => worked = true,
                Step::InputsEnded => {
                    worked = true;
                    self.phase = Phase::Finishing { watermark_done: false };
                }
                Step::NeedsSplit => return Turn::NeedsSplit,
                Step::Nothing(_) if worked => return Turn::Worked,
                Step::Nothing(until) => return Turn::Idle(until),
            }
            if pace.is_over() || self.context.has_failed() {
                return Turn::Worked;
            }
        }
    }

    /// The next thing to do while inputs are open, but for timers, the next of which is due at `timer`.
    fn step_on(&mut self, timer: Option<Nanos>, pace: &mut Pace) -> Step {
        if self.head.has_parked() && self.head.unpark(pace) {
            return Step::Progressed;
        }
        if let Some(watermark) = self.watermark {
            if self.head.has_parked() && !Mutant::WatermarkFirst.is_chosen() {
                return Step::Nothing(timer); // Invariant 3.
            }
            if self.is_full && self.is_midway {
                return Step::Nothing(timer);
            }
            if self.fire(watermark, pace) == Progress::Done {
                self.watermark = None;
            }
            return Step::Progressed;
        }
        if let Some(status) = self.status.take() {
            self.head.status(match status {
                WatermarkStatus::Active => Status::Active,
                WatermarkStatus::Idle => Status::Idle,
            });
        }
        if self.at_hand.is_some() {
            if self.is_full {
                return Step::Nothing(timer);
            }
            self.push_frame(pace);
            return Step::Progressed;
        }
        self.align();
        if self.has_read_all() {
            return if self.head.has_parked() { Step::Nothing(timer) } else { Step::InputsEnded };
        }
        if let Some(step) = self.cut() {
            return step;
        }
        if self.gates.is_empty() {
            if self.is_full {
                return Step::Nothing(timer);
            }
            return self.poll_source(timer, pace);
        }
        match self.next_event() {
            Ok(true) => Step::Progressed,
            Ok(false) => Step::Nothing(timer),
            Err(failure) => {
                self.context.fail(failure);
                Step::Progressed
            }
        }
    }

    /// Goes on with the frame at hand.
    fn push_frame(&mut self, pace: &mut Pace) {
        let Some(at_hand) = &mut self.at_hand else { return };
        let frame = at_hand.element.frame();
        let progress = self.head.frame(at_hand.input, frame, &mut at_hand.cursor, pace);
        if progress == Progress::Done
            && let Some(AtHand { input, element, .. }) = self.at_hand.take()
        {
            if Mutant::FrameKept.is_chosen() && self.context.shard().random().is_multiple_of(16) {
                return drop(element);
            }
            self.gates[input].done_with(element);
        }
    }

    /// Takes the next element of a gate, round robin. `Ok(false)` if there is none.
    fn next_event(&mut self) -> Result<bool, TaskFailure> {
        for _ in 0..self.gates.len() {
            let input = self.next_gate;
            self.next_gate = (self.next_gate + 1) % self.gates.len();
            let Some(event) = self.gates[input].poll() else { continue };
            match event {
                GateEvent::Data(element) => {
                    self.at_hand = Some(AtHand { input, element, cursor: 0 });
                }
                GateEvent::Watermark(watermark) => {
                    let merged = self.valve.watermark(input, watermark);
                    self.take_merged(merged);
                }
                GateEvent::Idle => {
                    let merged = self.valve.idle(input);
                    self.take_merged(merged);
                }
                GateEvent::Active => {
                    let merged = self.valve.active(input);
                    self.take_merged(merged);
                }
                GateEvent::Barrier { channel, id } => self.take_barrier(input, channel, id),
                GateEvent::End => {
                    self.ended[input] = true;
                    self.head.end_input(input);
                }
                // It failed, and said so to the JobMaster, who will cancel this task: there is nothing to add.
                GateEvent::ProducerGone(_) => self.phase = Phase::Orphaned,
                unexpected => {
                    let cause = format!("{unexpected:?} came on input {input}");
                    return Err(TaskFailure::new(Blame::Runtime, "read a channel", cause));
                }
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// What the merged inputs say: a new watermark, a new status, or both.
    fn take_merged(&mut self, merged: ValveOutput) {
        if let Some(watermark) = merged.watermark {
            self.context.metrics().input_watermark_ms.set(watermark.as_millis());
            self.watermark = Some(watermark);
        }
        self.status = merged.status.or(self.status);
    }

    fn poll_source(&mut self, timer: Option<Nanos>, pace: &mut Pace) -> Step {
        match self.head.poll(pace) {
            Polled::Again => Step::Progressed,
            Polled::Waiting(until) => Step::Nothing(Nanos::earlier(until, timer)),
            Polled::NeedsSplit if self.asked_for_split => Step::Nothing(timer),
            Polled::NeedsSplit => {
                self.asked_for_split = true;
                Step::NeedsSplit
            }
            Polled::Finished => Step::InputsEnded,
        }
    }

    /// Tells the head a watermark, and counts what that takes.
    fn fire(&mut self, watermark: Timestamp, pace: &mut Pace) -> Progress {
        let started = self.context.shard().read_clock();
        let progress = self.head.watermark(watermark, pace);
        self.is_midway = progress == Progress::Stopped;
        let took = self.context.shard().read_clock().since(started);
        self.context.metrics().watermark_ns.add(took.as_nanos() as u64);
        progress
    }

    /// What the chain or an output has failed with, named.
    fn take_failure(&mut self) -> Option<TaskFailure> {
        let mut failure = self.context.take_failure();
        if failure.is_none() {
            self.head.ports(&mut |port: &mut dyn OutputPort| {
                if failure.is_none() {
                    failure = port.take_failure();
                }
            });
        }
        failure.map(|failure| self.name(failure))
    }

    /// Whether the merged inputs are idle: they hold back no watermark.
    pub fn is_idle(&self) -> bool {
        self.valve.is_idle()
    }
}

/// A task that fails or is cancelled gives back the frame at hand; its gates give back the others.
impl Drop for Task {
    fn drop(&mut self) {
        if let Some(AtHand { input, element, .. }) = self.at_hand.take() {
            self.gates[input].done_with(element);
        }
    }
}
