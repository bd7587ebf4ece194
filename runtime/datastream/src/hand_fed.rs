//! A source that is fed by hand, element by element: for tests of a pipeline.
//!
//! # What is always true
//!
//! 1. Elements come out in the order in which they were fed. Everything that one of them leads to in its chain is done
//!    before the next.
//! 2. It ends when it is told to, and has no splits.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use wiesel_connectors::{Assignment, Discovery, SplitEnumerator};
use wiesel_core::{Blame, Meta, Nanos, SubtaskIndex, TaskFailure, Timestamp};
use wiesel_operators::{
    Head, Link, Mail, OutputPort, Pace, Polled, Progress, Restoring, Snapshot, Start, Status,
    TaskContext, VisitList,
};
use wiesel_record::{Owned, Record};
use wiesel_wire::Frame;

use crate::EnumeratorFactory;

/// What is fed.
enum Fed<T> {
    Record(T, Option<Timestamp>),
    Watermark(Timestamp),
    Status(Status),
    End,
}

/// Feeds a source; from [`Environment::hand_fed`](crate::Environment::hand_fed).
pub struct HandFeed<T>(Arc<Mutex<VecDeque<Fed<T>>>>);

impl<T> Clone for HandFeed<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Record> HandFeed<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Fed<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Feeds a record, with its event time if it has one.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// let (numbers, feed) = env.hand_fed::<u64>();
    /// numbers.print();
    /// feed.record(7, None);
    /// ```
    pub fn record(&self, record: T, time: Option<Timestamp>) {
        self.queue().push_back(Fed::Record(record, time));
    }

    /// Feeds a watermark.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// # use wiesel_core::Timestamp;
    /// let (numbers, feed) = env.hand_fed::<u64>();
    /// numbers.print();
    /// feed.record(7, Some(Timestamp::from_millis(1_000)));
    /// feed.watermark(Timestamp::from_millis(2_000));
    /// ```
    pub fn watermark(&self, watermark: Timestamp) {
        self.queue().push_back(Fed::Watermark(watermark));
    }

    /// The stream is idle, or active again.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// # use wiesel_operators::Status;
    /// let (numbers, feed) = env.hand_fed::<u64>();
    /// numbers.print();
    /// feed.status(Status::Idle);
    /// ```
    pub fn status(&self, status: Status) {
        self.queue().push_back(Fed::Status(status));
    }

    /// Nothing will follow.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// let (numbers, feed) = env.hand_fed::<u64>();
    /// numbers.print();
    /// feed.end();
    /// ```
    pub fn end(&self) {
        self.queue().push_back(Fed::End);
    }
}

/// A chain that starts at a source that is fed by hand.
pub struct HandFedStart<T>(pub(crate) HandFeed<T>);

impl<T> Clone for HandFedStart<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Record> Start for HandFedStart<T> {
    type Out = T;
    type Head<D: Link<T>> = HandFedHead<T, D>;

    fn head<D: Link<T>>(
        self,
        next: D,
        context: &TaskContext,
    ) -> Result<HandFedHead<T, D>, TaskFailure> {
        Ok(HandFedHead { feed: self.0, watermark: None, context: context.clone(), next })
    }
}

impl<T: Record> EnumeratorFactory for HandFedStart<T> {
    fn enumerator(
        &self,
        _parallelism: u32,
        _discovery: &dyn Discovery,
    ) -> Result<Box<dyn SplitEnumerator>, TaskFailure> {
        Ok(Box::new(NoSplits))
    }

    fn can_rewind(&self) -> bool {
        false
    }

    fn clone_box(&self) -> Box<dyn EnumeratorFactory> {
        Box::new(self.clone())
    }
}

struct NoSplits;

impl SplitEnumerator for NoSplits {
    fn add_reader(&mut self, _subtask: SubtaskIndex) {}

    fn request_split(&mut self, _subtask: SubtaskIndex) -> Assignment {
        Assignment::NoMoreSplits
    }

    fn snapshot(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _snapshot: &[u8]) -> Result<(), TaskFailure> {
        Ok(())
    }
}

/// Pushes what is fed.
pub struct HandFedHead<T, D> {
    feed: HandFeed<T>,
    /// Of which the chain has not done all.
    watermark: Option<Timestamp>,
    context: TaskContext,
    next: D,
}

impl<T: Record, D: Link<T>> HandFedHead<T, D> {
    fn tell_watermark(&mut self) -> bool {
        let Some(watermark) = self.watermark else { return true };
        let is_done = self.next.watermark(watermark) == Progress::Done;
        if is_done {
            self.watermark = None;
        }
        is_done
    }
}

impl<T: Record, D: Link<T>> Head for HandFedHead<T, D> {
    fn open(&mut self) -> Result<(), TaskFailure> {
        self.next.open()
    }

    fn close(&mut self) {
        self.next.close();
    }

    fn frame(
        &mut self,
        _input: usize,
        _frame: &Frame,
        _cursor: &mut usize,
        _pace: &mut Pace,
    ) -> Progress {
        unreachable!("a source has no inputs")
    }

    fn watermark(&mut self, watermark: Timestamp, _pace: &mut Pace) -> Progress {
        self.next.watermark(watermark)
    }

    fn status(&mut self, status: Status) {
        self.next.status(status);
    }

    fn poll(&mut self, pace: &mut Pace) -> Polled {
        loop {
            if !self.tell_watermark() {
                return Polled::Again;
            }
            let Some(fed) = self.feed.queue().pop_front() else { return Polled::Waiting(None) };
            match fed {
                Fed::Record(record, time) => {
                    self.context.metrics().records_in.add(1);
                    self.next.push(Owned(record), Meta { time, hash: None });
                }
                Fed::Watermark(watermark) => self.watermark = Some(watermark),
                Fed::Status(status) => self.next.status(status),
                Fed::End => return Polled::Finished,
            }
            if pace.is_over() {
                return Polled::Again;
            }
        }
    }

    fn mail(&mut self, mail: Mail) -> Result<(), TaskFailure> {
        match mail {
            Mail::NoMoreSplits | Mail::WatermarkLimit(_) => Ok(()),
            Mail::Split(_) => {
                let cause = "a source that is fed by hand has no splits";
                Err(TaskFailure::new(Blame::Runtime, "take a message", cause))
            }
        }
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
