//! The general window operator: any windows, any trigger, any function. What it keeps is kept per key and window.
//!
//! ```text
//!   record ─▶ its windows ─(sessions: merge)─▶ contents of (key, window)   an accumulator, or the records
//!                               ▲ added          ─▶ on_element       ─┐
//!   timers of (key, window)  ───┴─ that are due  ─▶ on_event_time, …  ├─▶ fire: the function sees the contents
//!                                                                     └─▶ purge: the contents are forgotten
//! ```
//!
//! Windows of event time that fire by themselves and aggregate as records come have operators of their own, which are
//! faster: see `tumbling`, `sliding`, `session`. The rules are Flink's (`WindowOperator`).
//!
//! # What is always true
//!
//! 1. What is done for a record, in order: its windows, merged with what they touch; those that are over are left out; the
//!    contents; the trigger; what the trigger wants.
//! 2. A window of event time is over, and all that is kept of it gone, when the watermark has reached its
//!    `max_timestamp + lateness`, one of processing time when the clock has passed its `max_timestamp`; at that time it
//!    fires first, if it does. [`Global`](crate::Global) is never over.
//! 3. A record is late if all its windows are over. Nothing is late in windows of processing time.
//! 4. Results carry the last time of their window, and leave before the watermark that made them.
//! 5. A purge leaves what the trigger keeps; a window that holds nothing does not fire.

mod calls;
mod contents;
mod due;
mod listing;
mod merging;
mod place;

use std::{marker::PhantomData, mem};

use wiesel_core::{Blame, Meta, TaskFailure, Timestamp};
use wiesel_record::{Key, Record};
use wiesel_state::{Spot, StateDescriptor};

use self::{
    calls::Occasion,
    merging::{Added, Merged, MergingWindows},
};
use crate::{
    AssignWindows, KeyedOperator, KeyedStart, Link, Located, OutputPort, Pace, Progress, Snapshot,
    Status, TaskContext, TimeDomain, TimeWindow, Trigger, TriggerContext, TriggerResult,
    VisitTable, WindowOptions, flat_map::Emit, late::LateRecords, session::no_gap,
};

pub(crate) use self::place::{Place, TriggerRows};
pub use self::{
    contents::{AggregatingStart, ContentsStart, WindowContents},
    listing::ListingStart,
};

/// Keeps contents `C` in windows `W` that a trigger `R` fires.
pub struct WindowOperator<C, W, R, K, T>
where
    C: WindowContents<K, T>,
    R: Trigger<T>,
    K: Key,
    T: Record,
{
    contents: C,
    trigger: R,
    options: WindowOptions<W>,
    rows: TriggerRows<R::State>,
    merging: MergingWindows,
    watermark: Timestamp,
    late: LateRecords<T>,
    buffers: Buffers,
    context: TaskContext,
    types: PhantomData<fn(T) -> K>,
}

/// Memory for what is made of a record.
#[derive(Default)]
struct Buffers {
    key: Vec<u8>,
    row_key: Vec<u8>,
    state_key: Vec<u8>,
    other_key: Vec<u8>,
    kept: Vec<Merged>,
    merged: Vec<Merged>,
}

/// Makes a [`WindowOperator`] per subtask.
#[derive(Clone)]
pub struct WindowOperatorStart<B, W, R> {
    contents: B,
    trigger: R,
    options: WindowOptions<W>,
}

impl<B, W, R> WindowOperatorStart<B, W, R> {
    /// Keeps what `contents` makes in windows by `options`, which `trigger` fires.
    pub fn new(contents: B, trigger: R, options: WindowOptions<W>) -> Self {
        Self { contents, trigger, options }
    }
}

impl<B, W, R, K, T> KeyedStart<T, K> for WindowOperatorStart<B, W, R>
where
    B: ContentsStart<K, T>,
    W: AssignWindows<T>,
    R: Trigger<T>,
    K: Key,
    T: Record,
{
    type Operator = WindowOperator<B::Contents, W, R, K, T>;

    fn operator(self, context: &TaskContext) -> Result<Self::Operator, TaskFailure> {
        const {
            assert!(
                !W::MERGES || B::CAN_MERGE,
                "sessions grow together, so their aggregate has to merge two accumulators: implement `merge` and set `CAN_MERGE`"
            );
            assert!(
                !W::MERGES || R::CAN_MERGE,
                "sessions grow together, so their trigger has to merge: implement `on_merge` and set `CAN_MERGE`"
            );
        }
        Ok(WindowOperator {
            contents: self.contents.contents(W::MERGES, context)?,
            trigger: self.trigger,
            rows: TriggerRows::new::<K>(context)?,
            merging: MergingWindows::new::<K>(context)?,
            watermark: Timestamp::MIN,
            late: LateRecords::new(self.options.late_slot, context),
            options: self.options,
            buffers: Buffers::default(),
            context: context.clone(),
            types: PhantomData,
        })
    }
}

/// The last time of a window, for its results.
fn last_time<T: Record, W: AssignWindows<T>>(window: TimeWindow) -> Timestamp {
    if W::CLOCK.is_some() { window.max_timestamp() } else { Timestamp::MAX }
}

impl<C, W, R, K, T> WindowOperator<C, W, R, K, T>
where
    C: WindowContents<K, T>,
    W: AssignWindows<T>,
    R: Trigger<T>,
    K: Key,
    T: Record,
{
    /// When all that is kept of a window goes; none if the end of time is no time to wait for.
    fn over_at(&self, window: TimeWindow) -> Option<(TimeDomain, Timestamp)> {
        let time = match W::CLOCK? {
            TimeDomain::EventTime => self.options.over_at(window),
            TimeDomain::ProcessingTime => window.max_timestamp(),
        };
        (time < Timestamp::MAX).then_some((W::CLOCK?, time))
    }

    fn is_late(&self, window: TimeWindow) -> bool {
        W::CLOCK == Some(TimeDomain::EventTime) && self.options.over_at(window) <= self.watermark
    }

    /// Takes a record into its windows.
    fn take<D: Link<C::Out>>(
        &mut self,
        buffers: &mut Buffers,
        (key, hash): (&[u8], u64),
        value: T::View<'_>,
        meta: Meta,
        next: &mut D,
    ) -> Result<(), TaskFailure> {
        let time = match W::CLOCK {
            Some(TimeDomain::EventTime) => meta.time,
            Some(TimeDomain::ProcessingTime) => Some(self.context.shard().wall_time()),
            None => Some(Timestamp::MIN),
        };
        let Some(time) = time else {
            self.context.fail_untimed("assign a record to a window", "window");
            return Ok(());
        };
        let Some(windows) = self.options.windows.windows_of(value, time) else {
            no_gap(&self.context);
            return Ok(());
        };
        let (mut is_in_gap, mut is_taken) = (true, false);
        for window in windows {
            is_in_gap = false;
            let Some(place) = self.place(buffers, (key, hash), window)? else { continue };
            is_taken = true;
            let (place, state, has_changed) = place;
            self.add((place, state), has_changed, value, meta.time, next)?;
        }
        let is_over = || {
            W::CLOCK == Some(TimeDomain::EventTime)
                && time + self.options.allowed_lateness <= self.watermark
        };
        if !is_taken && (!is_in_gap || is_over()) {
            self.late.take(value, meta, 1);
        }
        Ok(())
    }

    /// Where the window of a record is, and its state; and whether there was none like it. Nothing if it is over.
    fn place<'b>(
        &mut self,
        buffers: &'b mut Buffers,
        (key, hash): (&'b [u8], u64),
        window: TimeWindow,
    ) -> Result<Option<(Place<'b>, Place<'b>, bool)>, TaskFailure> {
        if !W::MERGES {
            let place = Place::new(key, hash, window, &mut buffers.row_key);
            return Ok((!self.is_late(window)).then_some((place, place, false)));
        }
        let Buffers { row_key, state_key, other_key, kept, merged, .. } = buffers;
        self.merging.load(hash, key, kept);
        if kept.iter().any(|merged| self.is_late(merged.window)) {
            self.end_over((key, hash), kept, [row_key, state_key])?;
        }
        merged.clear();
        let (Merged { window, state }, has_changed) = match merging::add(kept, window, merged) {
            // What is kept is not over, nor is what it becomes part of: only a window of its own can be late.
            Added::Alone if self.is_late(window) => return Ok(None),
            Added::Alone => (Merged { window, state: window }, true),
            Added::Within(into) => (into, false),
            Added::Grown(into) => (into, true),
        };
        let place = Place::new(key, hash, window, row_key);
        let state = Place::new(key, hash, state, state_key);
        if has_changed {
            self.merging.store(hash, key, kept)?;
            self.merge((place, state), merged, other_key)?;
        }
        Ok(Some((place, state, has_changed)))
    }

    /// Makes the trigger's part, and the contents, of windows that have become one.
    fn merge(
        &mut self,
        (place, state): (Place<'_>, Place<'_>),
        merged: &[Merged],
        other_key: &mut Vec<u8>,
    ) -> Result<(), TaskFailure> {
        if merged.is_empty() {
            return Ok(());
        }
        let Place { key, hash, .. } = place;
        let mut states = Vec::new();
        for part in merged {
            let other = Place::new(key, hash, part.window, other_key);
            states.extend(self.rows.with(other, R::State::from_view));
        }
        self.ask(place, |trigger, window, context| trigger.on_merge(&states, window, context));
        for part in merged {
            let other = Place::new(key, hash, part.window, other_key);
            self.ask(other, |trigger, window, context| trigger.clear(window, context));
            self.rows.clear(other);
            if let Some((domain, time)) = self.over_at(part.window) {
                self.rows.change_timer(domain, time, other, false);
            }
        }
        for part in merged.iter().filter(|part| part.state != state.window) {
            let other = Place::new(key, hash, part.state, other_key);
            self.contents.merge(state, other)?;
        }
        Ok(())
    }

    /// Adds a record to one of its windows.
    fn add<D: Link<C::Out>>(
        &mut self,
        (place, state): (Place<'_>, Place<'_>),
        has_changed: bool,
        value: T::View<'_>,
        time: Option<Timestamp>,
        next: &mut D,
    ) -> Result<(), TaskFailure> {
        let is_new = self.contents.add(state, value, time)?;
        let result = self.ask(place, |trigger, window, context| {
            trigger.on_element(value, time, window, context)
        });
        self.follow(result, place, state, next)?;
        if (is_new || has_changed)
            && let Some((domain, time)) = self.over_at(place.window)
        {
            self.rows.change_timer(domain, time, place, true);
        }
        Ok(())
    }

    fn ask<A>(
        &mut self,
        place: Place<'_>,
        ask: impl FnOnce(&R, TimeWindow, &mut TriggerContext<'_, R::State>) -> A,
    ) -> A {
        let (rows, task) = (&mut self.rows, &self.context);
        let context = &mut TriggerContext { rows, place, watermark: self.watermark, task };
        ask(&self.trigger, place.window, context)
    }

    fn occasion<'o>(&self, place: Place<'o>) -> Occasion<'o> {
        let meta = Meta::at(last_time::<T, W>(place.window));
        Occasion { place, watermark: self.watermark, meta }
    }

    /// Does what the trigger has said.
    fn follow<D: Link<C::Out>>(
        &mut self,
        result: TriggerResult,
        place: Place<'_>,
        state: Place<'_>,
        next: &mut D,
    ) -> Result<(), TaskFailure> {
        if result.fires() {
            let occasion = self.occasion(place);
            let emit = &mut Emit { next, meta: occasion.meta };
            self.contents.fire(state, occasion, emit)?;
        }
        if result.purges() {
            self.contents.clear(state);
        }
        Ok(())
    }
}

impl<C, W, R, K, T> KeyedOperator<T, K> for WindowOperator<C, W, R, K, T>
where
    C: WindowContents<K, T>,
    W: AssignWindows<T>,
    R: Trigger<T>,
    K: Key,
    T: Record,
{
    type Out = C::Out;

    fn prefetch(&self, _: Spot) {}

    fn wants_prefetch(&self) -> bool {
        false // Rows are not where the key alone says.
    }

    fn apply<D: Link<C::Out>>(
        &mut self,
        key: K::View<'_>,
        located: Located,
        value: T::View<'_>,
        meta: Meta,
        next: &mut D,
    ) {
        let mut buffers = mem::take(&mut self.buffers);
        let mut scratch = mem::take(&mut buffers.key);
        let taken = K::with_key_bytes(key, &mut scratch, |key| {
            self.take(&mut buffers, (key, located.hash), value, meta, next)
        });
        buffers.key = scratch;
        self.buffers = buffers;
        if let Err(failure) = taken {
            self.context.fail(failure);
        }
    }

    fn watermark<D: Link<C::Out>>(
        &mut self,
        watermark: Timestamp,
        next: &mut D,
        pace: &mut Pace,
    ) -> Progress {
        assert!(watermark >= self.watermark, "watermark moved backwards");
        self.watermark = watermark;
        if self.fire(watermark, TimeDomain::EventTime, next, pace) == Progress::Stopped {
            return Progress::Stopped;
        }
        if watermark == Timestamp::MAX && W::CLOCK == Some(TimeDomain::EventTime) {
            // What is over only now had no timer.
            self.forget_windows();
        }
        Progress::Done
    }

    fn end_key<D: Link<C::Out>>(&mut self, next: &mut D, pace: &mut Pace) -> Progress {
        self.watermark = Timestamp::MAX;
        for domain in [TimeDomain::EventTime, TimeDomain::ProcessingTime] {
            if self.fire(Timestamp::MAX, domain, next, pace) == Progress::Stopped {
                return Progress::Stopped;
            }
        }
        self.forget_windows();
        self.contents.forget_key();
        self.watermark = Timestamp::MIN;
        Progress::Done
    }

    fn next_timer(&self) -> Option<Timestamp> {
        let timer = self.rows.processing_timers.first().map(|timer| timer.time().offset_millis(1));
        timer.into_iter().chain(self.contents.next_timer()).min()
    }

    fn advance_time<D: Link<C::Out>>(
        &mut self,
        now: Timestamp,
        next: &mut D,
        pace: &mut Pace,
    ) -> Progress {
        // A record that comes at the last time of a window is in it: it fires once that time has passed, as in Flink.
        let passed = now.offset_millis(-1);
        let progress = self.fire(passed, TimeDomain::ProcessingTime, next, pace);
        if progress == Progress::Done && !self.context.has_failed() {
            self.contents.sweep(now, pace);
        }
        progress
    }

    fn close(&mut self) {
        self.contents.close();
    }

    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        self.late.ports(visit);
        self.contents.ports(visit);
    }

    fn forward_watermark(&mut self, watermark: Timestamp) {
        self.late.watermark(watermark);
        self.contents.forward_watermark(watermark);
    }

    fn forward_status(&mut self, status: Status) {
        self.late.status(status);
        self.contents.forward_status(status);
    }

    fn snapshot(&mut self, snapshot: &mut Snapshot) {
        self.contents.snapshot(snapshot);
    }

    fn keeps() -> Vec<StateDescriptor> {
        vec![C::keeps()]
    }

    fn tables(&mut self, visit: &mut VisitTable<'_>) {
        self.contents.tables(visit);
        self.rows.tables(visit);
        self.merging.tables(visit);
    }

    async fn restore(&mut self, snapshot: &Snapshot) -> Result<(), TaskFailure> {
        let windows = &self.options.windows;
        let check = |window| match windows.has_window(window) {
            true => Ok(()),
            false => {
                Err(damaged("its windows have another size or slide: the program has changed"))
            }
        };
        self.contents.restore(&self.context, snapshot, &check).await?;
        self.rows.restore::<K>(&self.context, snapshot, check).await?;
        self.merging.restore::<K>(&self.context, snapshot).await
    }
}

fn damaged(what: &str) -> TaskFailure {
    TaskFailure::new(Blame::Environment, "restore window state", what.to_owned())
}
