//! The head of a chain that starts at an exchange and keeps no state: a loop over a frame.

use std::marker::PhantomData;

use wiesel_core::{Meta, Nanos, TaskFailure, Timestamp};
use wiesel_record::{InFrame, Record};
use wiesel_wire::{Frame, FrameView};

use crate::{
    Head, Link, OutputPort, Pace, Polled, Progress, Restoring, Snapshot, Stage, Start, Status,
    TaskContext, VisitList,
};

/// Pushes the records of each frame. With several inputs it is the union of them.
pub struct FrameHead<T, D> {
    context: TaskContext,
    next: D,
    types: PhantomData<fn(T)>,
}

/// A chain that starts at one or several gates with records of type `T`.
#[derive(Debug)]
pub struct FrameStart<T>(PhantomData<fn(T)>);

impl<T: Record> FrameStart<T> {
    /// Frames of `T`, with whatever columns they have.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: Record> Default for FrameStart<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for FrameStart<T> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<T: Record> Start for FrameStart<T> {
    type Out = T;
    type Head<D: Link<T>> = FrameHead<T, D>;

    fn head<D: Link<T>>(
        self,
        next: D,
        context: &TaskContext,
    ) -> Result<FrameHead<T, D>, TaskFailure> {
        Ok(FrameHead { context: context.clone(), next, types: PhantomData })
    }
}

/// The loop that every record of an unkeyed chain goes through: nothing in it is dynamic. Written once for heads of one
/// input and of two, which say what one record of input `INPUT` is.
pub(crate) trait FrameLoop<T: Record, const INPUT: usize> {
    fn context(&self) -> &TaskContext;

    /// Takes one record. Inlined into the loop.
    fn push_one(&mut self, record: InFrame<'_, T>, meta: Meta);

    /// Takes records `*cursor..` of a frame: what [`Head::frame`] does.
    #[inline]
    fn take_frame(&mut self, frame: &Frame, cursor: &mut usize, pace: &mut Pace) -> Progress {
        let view = FrameView::<T>::new(frame);
        let from = *cursor;
        let progress = self.push_all(&view, cursor, pace);
        self.context().metrics().records_in.add((*cursor - from) as u64);
        progress
    }

    /// It runs twice, for the last record once more, which is timed; so a chain is pushed to in one place only, and is
    /// fused into the loop rather than called by it.
    #[inline]
    fn push_all(
        &mut self,
        view: &FrameView<'_, T>,
        cursor: &mut usize,
        pace: &mut Pace,
    ) -> Progress {
        let len = view.len();
        let mut end = len.saturating_sub(1).max(*cursor);
        let mut started = None;
        loop {
            for at in *cursor..end {
                self.push_one(view.record(at), view.meta(at));
                if pace.is_over() {
                    *cursor = at + 1;
                    return if *cursor == len { Progress::Done } else { Progress::Stopped };
                }
            }
            *cursor = end;
            let stopwatch = self.context().stopwatch();
            if let Some(started) = started {
                stopwatch.count_since(started, Stage::Chain);
            }
            if end == len {
                return Progress::Done;
            }
            started = Some(stopwatch.read());
            end = len;
        }
    }
}

impl<T: Record, D: Link<T>> FrameLoop<T, 0> for FrameHead<T, D> {
    #[inline(always)]
    fn context(&self) -> &TaskContext {
        &self.context
    }

    #[inline(always)]
    fn push_one(&mut self, record: InFrame<'_, T>, meta: Meta) {
        self.next.push(record, meta);
    }
}

impl<T: Record, D: Link<T>> Head for FrameHead<T, D> {
    fn open(&mut self) -> Result<(), TaskFailure> {
        self.next.open()
    }

    fn close(&mut self) {
        self.next.close();
    }

    fn frame(
        &mut self,
        _input: usize,
        frame: &Frame,
        cursor: &mut usize,
        pace: &mut Pace,
    ) -> Progress {
        self.take_frame(frame, cursor, pace)
    }

    fn watermark(&mut self, watermark: Timestamp, _pace: &mut Pace) -> Progress {
        self.next.watermark(watermark)
    }

    fn status(&mut self, status: Status) {
        self.next.status(status);
    }

    fn poll(&mut self, _pace: &mut Pace) -> Polled {
        Polled::Finished
    }

    fn next_timer(&self) -> Option<Timestamp> {
        None
    }

    fn advance_time(&mut self, _now: Timestamp, _pace: &mut Pace) -> Progress {
        Progress::Done
    }

    fn tick(&mut self, now: Nanos, is_idle: bool) {
        self.next.tick(now, is_idle);
    }

    fn finish(&mut self, _pace: &mut Pace) -> Progress {
        self.next.finish()
    }

    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        self.next.ports(visit);
    }

    fn snapshot(&mut self, snapshot: &mut Snapshot) {
        self.next.snapshot(snapshot);
    }

    fn lists(&mut self, visit: &mut VisitList<'_>) {
        self.next.lists(visit);
    }

    fn restore<'r>(&'r mut self, snapshot: &'r Snapshot) -> Restoring<'r> {
        Box::pin(async move { self.next.restore(snapshot).await })
    }
}
