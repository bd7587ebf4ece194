//! One of two heads, chosen when the graph is built: a vertex that is compiled in two variants.
//!
//! # What is always true
//!
//! What is not chosen is never made. The choice is looked at once per call of the task, never per record.

use wiesel_core::{Nanos, TaskFailure, Timestamp};
use wiesel_record::Record;
use wiesel_wire::Frame;

use crate::{
    Head, Link, Mail, OutputPort, Pace, Polled, Progress, Restoring, Snapshot, Start, Status,
    TaskContext, VisitList, VisitTable,
};

/// One of two starts, or of two heads.
#[derive(Clone, Copy, Debug)]
pub enum Either<A, B> {
    /// The first.
    First(A),
    /// The second.
    Second(B),
}

impl<O: Record, A: Start<Out = O>, B: Start<Out = O>> Start for Either<A, B> {
    type Out = O;
    type Head<D: Link<O>> = Either<A::Head<D>, B::Head<D>>;

    fn head<D: Link<O>>(
        self,
        next: D,
        context: &TaskContext,
    ) -> Result<Self::Head<D>, TaskFailure> {
        Ok(match self {
            Self::First(start) => Either::First(start.head(next, context)?),
            Self::Second(start) => Either::Second(start.head(next, context)?),
        })
    }
}

/// Calls the head that was chosen.
macro_rules! of_chosen {
    ($self:ident, $head:ident => $call:expr) => {
        match $self {
            Self::First($head) => $call,
            Self::Second($head) => $call,
        }
    };
}

impl<A: Head, B: Head> Head for Either<A, B> {
    fn open(&mut self) -> Result<(), TaskFailure> {
        of_chosen!(self, head => head.open())
    }

    fn close(&mut self) {
        of_chosen!(self, head => head.close());
    }

    fn frame(
        &mut self,
        input: usize,
        frame: &Frame,
        cursor: &mut usize,
        pace: &mut Pace,
    ) -> Progress {
        of_chosen!(self, head => head.frame(input, frame, cursor, pace))
    }

    fn end_input(&mut self, input: usize) {
        of_chosen!(self, head => head.end_input(input));
    }

    fn watermark(&mut self, watermark: Timestamp, pace: &mut Pace) -> Progress {
        of_chosen!(self, head => head.watermark(watermark, pace))
    }

    fn status(&mut self, status: Status) {
        of_chosen!(self, head => head.status(status));
    }

    fn poll(&mut self, pace: &mut Pace) -> Polled {
        of_chosen!(self, head => head.poll(pace))
    }

    fn mail(&mut self, mail: Mail) -> Result<(), TaskFailure> {
        of_chosen!(self, head => head.mail(mail))
    }

    fn next_timer(&self) -> Option<Timestamp> {
        of_chosen!(self, head => head.next_timer())
    }

    fn advance_time(&mut self, now: Timestamp, pace: &mut Pace) -> Progress {
        of_chosen!(self, head => head.advance_time(now, pace))
    }

    fn tick(&mut self, now: Nanos, is_idle: bool) {
        of_chosen!(self, head => head.tick(now, is_idle));
    }

    fn finish(&mut self, pace: &mut Pace) -> Progress {
        of_chosen!(self, head => head.finish(pace))
    }

    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        of_chosen!(self, head => head.ports(visit));
    }

    fn has_parked(&self) -> bool {
        of_chosen!(self, head => head.has_parked())
    }

    fn unpark(&mut self, pace: &mut Pace) -> bool {
        of_chosen!(self, head => head.unpark(pace))
    }

    fn snapshot(&mut self, snapshot: &mut Snapshot) {
        of_chosen!(self, head => head.snapshot(snapshot));
    }

    fn tables(&mut self, visit: &mut VisitTable<'_>) {
        of_chosen!(self, head => head.tables(visit));
    }

    fn lists(&mut self, visit: &mut VisitList<'_>) {
        of_chosen!(self, head => head.lists(visit));
    }

    fn restore<'r>(&'r mut self, snapshot: &'r Snapshot) -> Restoring<'r> {
        of_chosen!(self, head => head.restore(snapshot))
    }

    fn position(&self) -> Option<String> {
        of_chosen!(self, head => head.position())
    }
}
