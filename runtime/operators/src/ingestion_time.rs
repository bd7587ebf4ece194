//! Ingestion time: records get the time of day at which they were read, and the watermark follows the clock.
//!
//! # What is always true
//!
//! 1. Times never go back, whatever the clock does. All records of a turn have the same one: it is read once a turn.
//! 2. The watermark is a millisecond behind the clock, also while no record comes.
//! 3. A record that is asked for again after a restart has another time: what depends on it is not repeatable.

use std::{marker::PhantomData, time::Duration};

use wiesel_core::{Meta, Nanos, TaskFailure, Timestamp};
use wiesel_record::{Item, Record};

use crate::{
    Chain, Control, Link, OutputPort, Progress, Snapshot, Status, TaskContext, VisitList,
    assign_watermarks::EMIT_EVERY, chain::clone_builder,
};

/// How often the watermark of a stream without records advances. Flink's `pipeline.auto-watermark-interval`.
const QUIET_EVERY: Duration = Duration::from_millis(200);

/// Gives each record the time at which it came by.
pub struct IngestionTime<T, D> {
    /// The time of this turn, once it was read.
    turn: Option<Timestamp>,
    last: Timestamp,
    emitted: Timestamp,
    emitted_at: Option<Nanos>,
    has_seen: bool,
    stopped: bool,
    has_ended: bool,
    context: TaskContext,
    next: D,
    types: PhantomData<fn(T)>,
}

impl<T: Record, D: Link<T>> IngestionTime<T, D> {
    fn time(&mut self) -> Timestamp {
        if let Some(time) = self.turn {
            return time;
        }
        self.last = self.last.max(self.context.shard().wall_time());
        self.turn = Some(self.last);
        self.last
    }

    /// Goes on with the last watermark if that was stopped, else with the next one.
    fn advance(&mut self) {
        if !self.stopped {
            // Records of this millisecond may still come.
            let watermark = self.time().offset_millis(-1);
            if watermark <= self.emitted {
                return;
            }
            self.emitted = watermark;
        }
        self.stopped = self.next.watermark(self.emitted) == Progress::Stopped;
    }
}

impl<T: Record, D: Link<T>> Control for IngestionTime<T, D> {
    fn open(&mut self) -> Result<(), TaskFailure> {
        self.next.open()
    }

    fn close(&mut self) {
        self.next.close();
    }

    /// Watermarks from before are replaced by ours, but for the last one.
    fn watermark(&mut self, watermark: Timestamp) -> Progress {
        if watermark < Timestamp::MAX {
            return Progress::Done;
        }
        self.has_ended = true;
        self.next.watermark(watermark)
    }

    /// The clock goes on, whatever the input does.
    fn status(&mut self, _status: Status) {}

    fn tick(&mut self, now: Nanos, is_idle: bool) {
        self.has_seen |= self.turn.is_some();
        self.turn = None; // The next turn reads the clock anew.
        // In batch mode there is no watermark but the last.
        if !self.has_ended && !self.context.is_batch() {
            let every = if self.has_seen { EMIT_EVERY } else { QUIET_EVERY };
            let due = self.emitted_at.map_or(now, |emitted_at| emitted_at + every);
            if now >= due || self.stopped {
                (self.has_seen, self.emitted_at) = (false, Some(now));
                self.advance();
                while is_idle && self.stopped {
                    self.advance(); // There is nothing else to do.
                }
                self.turn = None;
                self.context.wake_at(now + QUIET_EVERY);
            } else {
                self.context.wake_at(due);
            }
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

impl<T: Record, D: Link<T>> Link<T> for IngestionTime<T, D> {
    #[inline]
    fn push<I: Item<T>>(&mut self, item: I, meta: Meta) {
        let time = self.time();
        self.next.push(item, meta.with_time(time));
    }
}

/// `ingestion_time` at the end of `chain`.
pub struct IngestionTimeTo<C> {
    chain: C,
}

clone_builder!([C] IngestionTimeTo<C> { chain } where C: Clone);

impl<C> IngestionTimeTo<C> {
    /// Times from the clock.
    pub fn new(chain: C) -> Self {
        Self { chain }
    }
}

impl<T: Record, C: Chain<T>> Chain<T> for IngestionTimeTo<C> {
    type Out = C::Out;
    type With<D: Link<C::Out>> = C::With<IngestionTime<C::Out, D>>;

    fn finish<D: Link<C::Out>>(self, next: D, context: &TaskContext) -> Self::With<D> {
        let link = IngestionTime {
            turn: None,
            last: Timestamp::MIN,
            emitted: Timestamp::MIN,
            emitted_at: None,
            has_seen: false,
            stopped: false,
            has_ended: false,
            context: context.clone(),
            next,
            types: PhantomData,
        };
        self.chain.finish(link, context)
    }
}
