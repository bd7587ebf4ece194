//! Event time and watermarks: where a record's time comes from, and when no earlier one will come.
//!
//! ```text
//!   records      5  9  7  12        times are read by a closure and travel beside the record
//!   watermark          ─────▶ 9     bound 2: the greatest time − 2 − 1 ms, once a turn, if it has advanced
//! ```
//!
//! # What is always true
//!
//! 1. A watermark `t` promises that no record with a time `<= t` follows: for bounded disorder it is
//!    `max − bound − 1` ms.
//! 2. It never goes back, and is never repeated.
//! 3. Idleness is told by the clock of the seam, and only while the task was free to read.
//! 4. In batch mode there is no watermark but the last: nothing is late there, and no input is idle.

use std::{marker::PhantomData, time::Duration};

use wiesel_core::{Meta, Nanos, TaskFailure, Timestamp};
use wiesel_record::{Item, Record};

use crate::{
    Chain, Control, Link, OutputPort, Progress, Snapshot, Status, TaskContext, chain::clone_builder,
};

/// How often a busy task emits watermarks; an idle one does so at once. A watermark closes the frames that it
/// travels in, so at a million records a second this keeps a few hundred records in each.
const EMIT_EVERY: Duration = Duration::from_millis(1);

/// Decides which watermark the times seen so far allow.
///
/// Flink's `WatermarkGenerator`. [`on_event`](Self::on_event) runs per record, the other once a turn.
///
/// ```
/// use wiesel_core::Timestamp;
/// use wiesel_operators::WatermarkGenerator;
///
/// /// Every record is at least as late as the one before it, but for a second.
/// #[derive(Clone)]
/// struct Second(Timestamp);
///
/// impl WatermarkGenerator for Second {
///     fn on_event(&mut self, time: Timestamp) {
///         self.0 = self.0.max(time.offset_millis(-1_001));
///     }
///     fn current(&self) -> Timestamp {
///         self.0
///     }
/// }
/// ```
pub trait WatermarkGenerator: Clone + Send + 'static {
    /// A record with this event time has passed.
    fn on_event(&mut self, time: Timestamp);

    /// No record at or below this time will follow; [`Timestamp::MIN`] if nothing can be said.
    fn current(&self) -> Timestamp;
}

/// Records are out of order by at most a bound.
#[derive(Clone, Debug)]
pub struct BoundedOutOfOrderness {
    bound_ms: i64,
    max: Timestamp,
}

impl WatermarkGenerator for BoundedOutOfOrderness {
    #[inline]
    fn on_event(&mut self, time: Timestamp) {
        self.max = self.max.max(time);
    }

    fn current(&self) -> Timestamp {
        match self.max {
            Timestamp::MIN => Timestamp::MIN,
            max => max.offset_millis(-self.bound_ms).offset_millis(-1),
        }
    }
}

/// How a stream gets its watermarks: a generator, and when to call the stream idle.
#[derive(Clone, Debug)]
pub struct WatermarkStrategy<G> {
    generator: G,
    idle_after: Option<Duration>,
}

impl<G: WatermarkGenerator> WatermarkStrategy<G> {
    /// Watermarks by a generator of one's own.
    pub fn custom(generator: G) -> Self {
        Self { generator, idle_after: None }
    }

    /// After `idle_after` without a record the stream no longer holds the watermark back.
    #[must_use]
    pub fn with_idleness(self, idle_after: Duration) -> Self {
        Self { idle_after: Some(idle_after), ..self }
    }
}

/// Watermarks for records that are out of order by at most `bound`.
pub fn bounded_out_of_orderness(bound: Duration) -> WatermarkStrategy<BoundedOutOfOrderness> {
    let bound_ms = i64::try_from(bound.as_millis()).unwrap_or(i64::MAX);
    WatermarkStrategy::custom(BoundedOutOfOrderness { bound_ms, max: Timestamp::MIN })
}

/// Watermarks for records in order of time.
pub fn monotonous_timestamps() -> WatermarkStrategy<BoundedOutOfOrderness> {
    bounded_out_of_orderness(Duration::ZERO)
}

/// Gives each record its event time, and the stream its watermarks.
pub struct AssignWatermarks<T, F, G, D> {
    time_of: F,
    generator: G,
    idle_after: Option<Duration>,
    emitted: Timestamp,
    emitted_at: Nanos,
    /// Records since the last tick, for idleness.
    seen: bool,
    /// Records whose watermark was not told yet.
    untold: bool,
    last_seen: Nanos,
    idle: bool,
    /// Whether a link after this one is not done with the last watermark.
    stopped: bool,
    context: TaskContext,
    next: D,
    types: PhantomData<fn(T)>,
}

impl<T: Record, F: 'static, G: WatermarkGenerator, D: Link<T>> AssignWatermarks<T, F, G, D> {
    /// Goes on with the last watermark if that was stopped, else with the next one.
    fn advance(&mut self) {
        let current = self.generator.current();
        if !self.stopped && current <= self.emitted {
            return;
        }
        if !self.stopped {
            self.emitted = current;
        }
        self.stopped = self.next.watermark(self.emitted) == Progress::Stopped;
    }

    /// As [`advance`](Self::advance), as often as it takes: there is nothing else to do.
    fn advance_all(&mut self) {
        self.advance();
        while self.stopped {
            self.advance();
        }
    }
}

impl<T: Record, F: 'static, G: WatermarkGenerator, D: Link<T>> Control
    for AssignWatermarks<T, F, G, D>
{
    fn open(&mut self) -> Result<(), TaskFailure> {
        self.next.open()?;
        self.last_seen = self.context.shard().now();
        Ok(())
    }

    /// Watermarks from before are replaced by ours, but for the last one.
    fn watermark(&mut self, watermark: Timestamp) -> Progress {
        if watermark == Timestamp::MAX && self.emitted < Timestamp::MAX {
            (self.emitted, self.stopped) = (Timestamp::MAX, false);
        }
        if watermark == Timestamp::MAX { self.next.watermark(watermark) } else { Progress::Done }
    }

    fn status(&mut self, status: Status) {
        if self.idle_after.is_none() {
            self.next.status(status);
        }
    }

    fn tick(&mut self, now: Nanos, is_idle: bool) {
        if self.context.is_batch() {
            return self.next.tick(now, is_idle); // Invariant 4.
        }
        let seen = std::mem::take(&mut self.seen);
        self.untold |= seen;
        if self.untold && is_idle {
            (self.untold, self.emitted_at) = (false, now);
            self.advance_all(); // Before it goes idle, or it would be ignored downstream.
        } else if self.untold && now.since(self.emitted_at) >= EMIT_EVERY {
            (self.untold, self.emitted_at) = (false, now);
            self.advance();
        } else if self.stopped {
            self.advance();
        }
        if seen {
            self.last_seen = now;
        } else if let Some(idle_after) = self.idle_after
            && !self.idle
            && now.since(self.last_seen) >= idle_after
        {
            self.idle = true;
            if self.stopped {
                self.advance_all();
            }
            self.next.status(Status::Idle);
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

    fn restore(&mut self, snapshot: &Snapshot) -> Result<(), TaskFailure> {
        self.next.restore(snapshot)
    }
}

impl<T, F, G, D> Link<T> for AssignWatermarks<T, F, G, D>
where
    T: Record,
    F: for<'a> Fn(T::View<'a>) -> Timestamp + 'static,
    G: WatermarkGenerator,
    D: Link<T>,
{
    #[inline]
    fn push<I: Item<T>>(&mut self, item: I, meta: Meta) {
        let time = (self.time_of)(item.view());
        self.generator.on_event(time);
        self.seen = true;
        if self.idle {
            // Told before the record, or its watermark would be ignored downstream.
            self.idle = false;
            self.next.status(Status::Active);
        }
        self.next.push(item, meta.with_time(time));
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
    G: WatermarkGenerator,
    F: for<'a> Fn(<C::Out as Record>::View<'a>) -> Timestamp + Clone + Send + 'static,
{
    type Out = C::Out;
    type With<D: Link<C::Out>> = C::With<AssignWatermarks<C::Out, F, G, D>>;

    fn finish<D: Link<C::Out>>(self, next: D, context: &TaskContext) -> Self::With<D> {
        let link = AssignWatermarks {
            time_of: self.time_of,
            generator: self.strategy.generator,
            idle_after: self.strategy.idle_after,
            emitted: Timestamp::MIN,
            emitted_at: Nanos::default(),
            seen: false,
            untold: false,
            last_seen: Nanos::default(),
            idle: false,
            stopped: false,
            context: context.clone(),
            next,
            types: PhantomData,
        };
        self.chain.finish(link, context)
    }
}
