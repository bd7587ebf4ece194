//! The link that gives records their event time and the stream its watermarks.
//!
//! ```text
//!   record ──time_of──▶ generator of its split ──┐             told once a turn, or, if punctuated, behind the record
//!   record ──time_of──▶ generator of its split ──┴─ combined ──▶ watermark
//!                                                └─ all idle ──▶ idle
//! ```
//!
//! # What is always true
//!
//! 1. A watermark never goes back, and is never repeated.
//! 2. Idleness is told by the clock of the seam, and only while the task was free to read.
//! 3. Behind an exchange there is one split: what comes from there has been merged before.
//! 4. In batch mode there is no watermark but the last: nothing is late there, and no input is idle.
//! 5. A task with nothing left to do has told all that is to be told, whatever was stopped on the way.

use std::{marker::PhantomData, time::Duration};

use wiesel_core::{Meta, Nanos, TaskFailure, Timestamp};
use wiesel_record::{Item, Record};

use crate::{
    Chain, Control, Link, OutputPort, Progress, Snapshot, SplitChange, Status, TaskContext,
    VisitList, WatermarkGenerator, WatermarkStrategy, chain::clone_builder,
    split_watermarks::Splits,
};

/// How often a busy task emits watermarks; an idle one does so at once. A watermark closes the frames that it
/// travels in, so at a million records a second this keeps a few hundred records in each.
pub(crate) const EMIT_EVERY: Duration = Duration::from_millis(1);

/// Gives each record its event time, and the stream its watermarks.
pub struct AssignWatermarks<T, F, G, D> {
    time_of: F,
    splits: Splits<G>,
    idle_after: Option<Duration>,
    is_aligned: bool,
    emitted: Timestamp,
    emitted_at: Nanos,
    /// Something has changed since the splits were asked for their watermark.
    untold: bool,
    /// All splits are.
    is_idle: bool,
    /// Whether a link after this one is not done with the last watermark.
    stopped: bool,
    context: TaskContext,
    next: D,
    types: PhantomData<fn(T)>,
}

impl<T: Record, F: 'static, G: WatermarkGenerator<T>, D: Link<T>> AssignWatermarks<T, F, G, D> {
    /// What the watermarks of all splits come to; the last one if there is no split.
    fn combined(&self) -> Timestamp {
        self.splits.combined(G::current).unwrap_or(self.emitted)
    }

    /// Goes on with the last watermark if that was stopped, else with the next one.
    fn advance(&mut self) {
        if !self.stopped {
            self.untold = false;
            let combined = self.combined();
            if combined <= self.emitted {
                return;
            }
            self.emitted = combined;
        }
        self.stopped = self.next.watermark(self.emitted) == Progress::Stopped;
    }

    /// As [`advance`](Self::advance), until nothing is left to tell: there is nothing else to do.
    fn advance_all(&mut self) {
        while self.stopped || self.untold {
            self.advance();
        }
    }

    /// The clock that idleness is measured by: it stands still while the task cannot write.
    fn free_time(&self, now: Nanos) -> Nanos {
        Nanos(now.0.saturating_sub(self.context.metrics().back_pressured_ns.get()))
    }

    /// Tells the source and the JobMaster how far the splits are.
    #[inline(never)]
    fn align(&self, now: Nanos, are_all_idle: bool) {
        let watermark = if are_all_idle { Timestamp::MAX } else { self.combined() };
        let watermarks = self.splits.watermarks(G::current);
        if let Some(later) = self.context.alignment().note(now, watermarks, watermark) {
            self.context.wake_at(later);
        }
    }
}

impl<T: Record, F: 'static, G: WatermarkGenerator<T>, D: Link<T>> Control
    for AssignWatermarks<T, F, G, D>
{
    fn open(&mut self) -> Result<(), TaskFailure> {
        self.next.open()?;
        self.splits.start(self.free_time(self.context.shard().now()));
        Ok(())
    }

    fn close(&mut self) {
        self.next.close();
    }

    /// Watermarks from before are replaced by ours, but for the last one.
    fn watermark(&mut self, watermark: Timestamp) -> Progress {
        if watermark == Timestamp::MAX && self.emitted < Timestamp::MAX {
            (self.emitted, self.stopped) = (Timestamp::MAX, false);
        }
        if watermark == Timestamp::MAX { self.next.watermark(watermark) } else { Progress::Done }
    }

    /// So is what inputs say of themselves, as in Flink (`TimestampsAndWatermarksOperator`): a stream is idle if our
    /// strategy says so, and never without a timeout. Passed on, it would overtake a watermark that is yet to be told.
    fn status(&mut self, _status: Status) {}

    fn split(&mut self, change: SplitChange) {
        self.splits.change(change);
    }

    fn tick(&mut self, now: Nanos, is_idle: bool) {
        if self.context.is_batch() {
            return self.next.tick(now, is_idle); // Invariant 4.
        }
        let (free_time, alignment) = (self.free_time(now), self.context.alignment());
        let ticked =
            self.splits.tick(free_time, self.idle_after, |split| alignment.is_paused(split));
        self.untold |= ticked.has_changed;
        if self.is_idle && !ticked.are_all_idle {
            // A split has come that has no record yet.
            self.is_idle = false;
            self.next.status(Status::Active);
        }
        let becomes_idle = ticked.are_all_idle && !self.is_idle;
        if is_idle || becomes_idle {
            if self.untold {
                self.emitted_at = now;
            }
            self.advance_all(); // Before it goes idle, or it would be ignored downstream.
        } else if self.stopped {
            self.advance();
        } else if self.untold && now.since(self.emitted_at) >= EMIT_EVERY {
            self.emitted_at = now;
            self.advance();
        }
        if becomes_idle {
            self.is_idle = true;
            self.next.status(Status::Idle);
        }
        if let Some(left) = ticked.next_idle_in {
            self.context.wake_at(now + left);
        }
        if self.is_aligned {
            self.align(now, ticked.are_all_idle);
        }
        self.next.tick(now, is_idle);
    }

    fn finish(&mut self) -> Progress {
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

    async fn restore(&mut self, snapshot: &Snapshot) -> Result<(), TaskFailure> {
        self.next.restore(snapshot).await
    }
}

impl<T, F, G, D> Link<T> for AssignWatermarks<T, F, G, D>
where
    T: Record,
    F: for<'a> Fn(T::View<'a>) -> Timestamp + 'static,
    G: WatermarkGenerator<T>,
    D: Link<T>,
{
    #[inline]
    fn push<I: Item<T>>(&mut self, item: I, meta: Meta) {
        let time = (self.time_of)(item.view());
        if time == Timestamp::MIN {
            return self.context.fail_before_time(); // It would travel as a record without a time.
        }
        self.splits.current.generator.on_event(item.view(), time);
        self.splits.current.seen = true;
        if self.is_idle {
            // Told before the record, or its watermark would be ignored downstream.
            self.is_idle = false;
            self.next.status(Status::Active);
        }
        self.next.push(item, meta.with_time(time));
        if G::IS_PUNCTUATED && !self.stopped && !self.context.is_batch() {
            self.advance();
        }
    }
}

/// `watermarks` at the end of `chain`.
pub struct AssignWatermarksTo<C, F, G> {
    chain: C,
    strategy: WatermarkStrategy<G>,
    time_of: F,
}

clone_builder!([C, F, G] AssignWatermarksTo<C, F, G> { chain, strategy, time_of }
    where C: Clone, F: Clone, G: Clone);

impl<C, F, G> AssignWatermarksTo<C, F, G> {
    /// Reads times with `time_of`, and makes watermarks by `strategy`.
    pub fn new(chain: C, strategy: WatermarkStrategy<G>, time_of: F) -> Self {
        Self { chain, strategy, time_of }
    }
}

impl<T, C, F, G> Chain<T> for AssignWatermarksTo<C, F, G>
where
    T: Record,
    C: Chain<T>,
    G: WatermarkGenerator<C::Out>,
    F: for<'a> Fn(<C::Out as Record>::View<'a>) -> Timestamp + Clone + Send + 'static,
{
    type Out = C::Out;
    type With<D: Link<C::Out>> = C::With<AssignWatermarks<C::Out, F, G, D>>;

    fn finish<D: Link<C::Out>>(self, next: D, context: &TaskContext) -> Self::With<D> {
        let WatermarkStrategy { generator, idle_after, alignment } = self.strategy;
        let is_aligned = alignment.is_some();
        if let Some(group) = alignment {
            context.alignment().join(group);
        }
        let link = AssignWatermarks {
            time_of: self.time_of,
            splits: Splits::new(generator),
            idle_after,
            is_aligned,
            emitted: Timestamp::MIN,
            emitted_at: Nanos::default(),
            untold: false,
            is_idle: false,
            stopped: false,
            context: context.clone(),
            next,
            types: PhantomData,
        };
        self.chain.finish(link, context)
    }
}
