//! Two chains behind one: each gets every record, and both are part of the same type.

use std::marker::PhantomData;

use wiesel_core::{Meta, Nanos, TaskFailure, Timestamp};
use wiesel_record::{Item, Record};

use crate::{
    Control, Link, OutputPort, Progress, Snapshot, SplitChange, Status, VisitList, emit::Lent,
};

/// Pushes into `first`, then into `second`.
pub struct Tee<T, A, B> {
    first: A,
    second: B,
    /// `first` is done with the call that `second` stopped.
    first_done: bool,
    types: PhantomData<fn(T)>,
}

impl<T: Record, A: Link<T>, B: Link<T>> Tee<T, A, B> {
    /// Both branches.
    pub fn new(first: A, second: B) -> Self {
        Self { first, second, first_done: false, types: PhantomData }
    }

    /// Calls both; a branch that is done is not called a second time.
    fn both(
        &mut self,
        first: impl FnOnce(&mut A) -> Progress,
        second: impl FnOnce(&mut B) -> Progress,
    ) -> Progress {
        if !self.first_done && first(&mut self.first) == Progress::Stopped {
            return Progress::Stopped;
        }
        self.first_done = true;
        if second(&mut self.second) == Progress::Stopped {
            return Progress::Stopped;
        }
        self.first_done = false;
        Progress::Done
    }
}

impl<T: Record, A: Link<T>, B: Link<T>> Control for Tee<T, A, B> {
    fn open(&mut self) -> Result<(), TaskFailure> {
        self.second.open()?;
        self.first.open()
    }

    fn close(&mut self) {
        self.first.close();
        self.second.close();
    }

    fn watermark(&mut self, watermark: Timestamp) -> Progress {
        self.both(|first| first.watermark(watermark), |second| second.watermark(watermark))
    }

    fn status(&mut self, status: Status) {
        self.first.status(status);
        self.second.status(status);
    }

    fn split(&mut self, change: SplitChange) {
        self.first.split(change);
        self.second.split(change);
    }

    fn tick(&mut self, now: Nanos, is_idle: bool) {
        self.first.tick(now, is_idle);
        self.second.tick(now, is_idle);
    }

    fn finish(&mut self) -> Progress {
        self.both(Control::finish, Control::finish)
    }

    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        self.first.ports(visit);
        self.second.ports(visit);
    }

    fn snapshot(&mut self, snapshot: &mut Snapshot) {
        self.first.snapshot(snapshot);
        self.second.snapshot(snapshot);
    }

    fn lists(&mut self, visit: &mut VisitList<'_>) {
        self.first.lists(visit);
        self.second.lists(visit);
    }

    async fn restore(&mut self, snapshot: &Snapshot) -> Result<(), TaskFailure> {
        self.first.restore(snapshot).await?;
        self.second.restore(snapshot).await
    }
}

impl<T: Record, A: Link<T>, B: Link<T>> Link<T> for Tee<T, A, B> {
    #[inline]
    fn push<I: Item<T>>(&mut self, item: I, meta: Meta) {
        self.first.push(Lent(&item), meta);
        self.second.push(item, meta);
    }
}
