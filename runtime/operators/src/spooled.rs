//! Batch mode: a head with a broadcast input, which is read to its end before the other one.
//!
//! ```text
//!   broadcast ────────────────────────────────────▶ the head
//!   data ───▶ Spool: memory, then a file ───────────▶ the head      when all that is broadcast was read, in order of arrival
//!   data ───────────────────────────────────────────▶ the head      when the spool is empty
//! ```
//!
//! Flink reads the broadcast input first and lets the other one wait where it is made. Here all tasks run at once, and both
//! may come from one source: an input that is not read would hold it back, and with it what is broadcast. So both are read.
//!
//! # What is always true
//!
//! 1. The head sees no frame of the data before the last one that is broadcast, and the data in the order of its arrival.
//! 2. No watermark is passed on before the data that came before it.
//! 3. Data waits with its producers only behind the end of what is broadcast: nobody waits for it then.

mod spool;

use wiesel_core::{Mutant, Nanos, TaskFailure, Timestamp};
use wiesel_record::Record;
use wiesel_wire::Frame;

use crate::{
    BatchOptions, Head, OutputPort, Pace, Polled, Progress, Restoring, Snapshot, Status,
    TaskContext, VisitList, spill::FilePort,
};
use spool::{Next, Spool};

/// The input with the data; the other one is the broadcast one.
const DATA: usize = 0;

/// Where the data goes.
enum Phase {
    /// Into the spool: not all that is broadcast was read.
    Spooling,
    /// It waits for what is in the spool: the frame at hand and what follows it.
    Replaying(Option<(Frame, usize)>),
    /// On.
    Passing,
}

/// In front of a head whose inputs are data of type `T`, and what is broadcast.
pub struct SpooledHead<T, H> {
    head: H,
    port: FilePort<Spool<T>>,
    phase: Phase,
    context: TaskContext,
}

impl<T: Record, H: Head> SpooledHead<T, H> {
    /// In front of `head`.
    ///
    /// # Errors
    ///
    /// If no file can be made in the folder of the options.
    pub(crate) fn new(
        head: H,
        options: &BatchOptions,
        context: &TaskContext,
    ) -> Result<Self, TaskFailure> {
        let port = FilePort::new(Spool::new(options, context)?);
        Ok(Self { head, port, phase: Phase::Spooling, context: context.clone() })
    }

    fn spool(&mut self, frame: &Frame, cursor: &mut usize) -> Progress {
        debug_assert_eq!(*cursor, 0, "a frame is taken in one go");
        match self.port.inner.add(frame) {
            Ok(true) => {}
            Ok(false) => self.port.wait(&self.context),
            Err(failure) => self.context.fail(failure),
        }
        *cursor = frame.count() as usize;
        Progress::Done
    }

    fn wants_records(&mut self) -> bool {
        let mut wants = true;
        self.head.ports(&mut |port| wants &= port.wants_records());
        wants
    }

    /// Gives the head what is in the spool, until the turn is over.
    fn replay(&mut self, pace: &mut Pace) {
        let Self { head, port, phase, context } = self;
        while let Phase::Replaying(at_hand) = phase {
            let Some((frame, cursor)) = at_hand else {
                match port.inner.take() {
                    Ok(Next::Frame(frame)) => *at_hand = Some((frame, 0)),
                    Ok(Next::Waiting) => return port.wait(context),
                    Ok(Next::End) => *phase = Phase::Passing,
                    Err(failure) => return context.fail(failure),
                }
                continue;
            };
            let progress = head.frame(DATA, frame, cursor, pace);
            if progress == Progress::Done {
                *at_hand = None;
            }
            if progress == Progress::Stopped || pace.is_over() || context.has_failed() {
                return;
            }
        }
    }
}

impl<T: Record, H: Head> Head for SpooledHead<T, H> {
    fn open(&mut self) -> Result<(), TaskFailure> {
        self.head.open()
    }

    fn close(&mut self) {
        self.head.close();
    }

    fn frame(
        &mut self,
        input: usize,
        frame: &Frame,
        cursor: &mut usize,
        pace: &mut Pace,
    ) -> Progress {
        match self.phase {
            Phase::Spooling if input == DATA && !Mutant::RulesUnread.is_chosen() => {
                self.spool(frame, cursor)
            }
            Phase::Replaying(_) if input == DATA => Progress::Stopped,
            _ => self.head.frame(input, frame, cursor, pace),
        }
    }

    fn end_input(&mut self, input: usize) {
        if input != DATA {
            let is_empty = self.port.inner.is_empty();
            self.phase = if is_empty { Phase::Passing } else { Phase::Replaying(None) };
        }
        self.head.end_input(input);
    }

    fn watermark(&mut self, watermark: Timestamp, pace: &mut Pace) -> Progress {
        match self.phase {
            Phase::Passing => self.head.watermark(watermark, pace),
            _ => Progress::Done, // In batch mode it is the last one, which is told again when all inputs have ended.
        }
    }

    fn status(&mut self, _status: Status) {}

    fn poll(&mut self, _pace: &mut Pace) -> Polled {
        Polled::Finished
    }

    fn next_timer(&self) -> Option<Timestamp> {
        self.head.next_timer()
    }

    fn advance_time(&mut self, now: Timestamp, pace: &mut Pace) -> Progress {
        self.head.advance_time(now, pace)
    }

    fn tick(&mut self, now: Nanos, is_idle: bool) {
        self.head.tick(now, is_idle);
    }

    fn finish(&mut self, pace: &mut Pace) -> Progress {
        self.head.finish(pace)
    }

    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        self.head.ports(visit);
        visit(&mut self.port);
    }

    /// Whether data waits for that in the spool.
    fn has_parked(&self) -> bool {
        matches!(self.phase, Phase::Replaying(_))
    }

    fn unpark(&mut self, pace: &mut Pace) -> bool {
        let wants = self.wants_records();
        if wants {
            self.replay(pace);
        }
        wants
    }

    fn snapshot(&mut self, _snapshot: &mut Snapshot) {
        self.context.fail_runtime("take a snapshot", "a job in batch mode takes none");
    }

    fn lists(&mut self, visit: &mut VisitList<'_>) {
        self.head.lists(visit);
    }

    fn restore<'r>(&'r mut self, snapshot: &'r Snapshot) -> Restoring<'r> {
        self.head.restore(snapshot)
    }
}
