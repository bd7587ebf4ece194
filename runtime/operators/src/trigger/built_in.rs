//! The triggers that most jobs need.
//!
//! # What is always true
//!
//! Each keeps what it has to know in its state and its timers, so that it goes on after a restore at any parallelism.

use std::{marker::PhantomData, time::Duration};

use wiesel_core::Timestamp;
use wiesel_record::Record;

use super::{Trigger, TriggerContext, TriggerResult};
use crate::{TimeWindow, window::whole_ms};

use TriggerResult::{Continue, Fire, FireAndPurge, Purge};

/// Fires when the watermark has reached the last time of the window, and for each record after it: what windows of event
/// time do by themselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventTimeTrigger;

impl<T: Record> Trigger<T> for EventTimeTrigger {
    type State = ();

    fn on_element(
        &self,
        _: T::View<'_>,
        _: Option<Timestamp>,
        window: TimeWindow,
        context: &mut TriggerContext<'_, ()>,
    ) -> TriggerResult {
        let last = window.max_timestamp();
        if last <= context.watermark() {
            return Fire;
        }
        context.register_event_timer(last);
        Continue
    }

    fn on_event_time(
        &self,
        time: Timestamp,
        window: TimeWindow,
        _: &mut TriggerContext<'_, ()>,
    ) -> TriggerResult {
        fires_if(time == window.max_timestamp())
    }

    const CAN_MERGE: bool = true;

    fn on_merge(&self, _: &[()], window: TimeWindow, context: &mut TriggerContext<'_, ()>) {
        // One that has passed already fires with the record that made it.
        if window.max_timestamp() > context.watermark() {
            context.register_event_timer(window.max_timestamp());
        }
    }

    fn clear(&self, window: TimeWindow, context: &mut TriggerContext<'_, ()>) {
        context.delete_event_timer(window.max_timestamp());
    }
}

fn fires_if(fires: bool) -> TriggerResult {
    if fires { Fire } else { Continue }
}

/// Fires when the time of day has passed the last time of the window.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessingTimeTrigger;

impl<T: Record> Trigger<T> for ProcessingTimeTrigger {
    type State = ();

    fn on_element(
        &self,
        _: T::View<'_>,
        _: Option<Timestamp>,
        window: TimeWindow,
        context: &mut TriggerContext<'_, ()>,
    ) -> TriggerResult {
        context.register_processing_timer(window.max_timestamp());
        Continue
    }

    fn on_processing_time(
        &self,
        _: Timestamp,
        _: TimeWindow,
        _: &mut TriggerContext<'_, ()>,
    ) -> TriggerResult {
        Fire
    }

    const CAN_MERGE: bool = true;

    fn on_merge(&self, _: &[()], window: TimeWindow, context: &mut TriggerContext<'_, ()>) {
        if window.max_timestamp() > context.processing_time() {
            context.register_processing_timer(window.max_timestamp());
        }
    }

    fn clear(&self, window: TimeWindow, context: &mut TriggerContext<'_, ()>) {
        context.delete_processing_timer(window.max_timestamp());
    }
}

/// Never fires: what the [`Global`](crate::Global) window does by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct NeverTrigger;

impl<T: Record> Trigger<T> for NeverTrigger {
    type State = ();

    fn on_element(
        &self,
        _: T::View<'_>,
        _: Option<Timestamp>,
        _: TimeWindow,
        _: &mut TriggerContext<'_, ()>,
    ) -> TriggerResult {
        Continue
    }

    const CAN_MERGE: bool = true;
}

/// Fires when so many records have come, and counts anew. Windows that become one have as many as both.
#[derive(Clone, Copy, Debug)]
pub struct CountTrigger {
    count: u64,
}

impl CountTrigger {
    /// Fires at every `count`-th record of a window. If that is every 0th, the graph of the job is an error.
    pub fn of(count: u64) -> Self {
        Self { count }
    }
}

impl<T: Record> Trigger<T> for CountTrigger {
    type State = u64;

    fn mistake(&self) -> Option<String> {
        let what = "no record is the 0th of a window: fire at every 1st at least";
        (self.count == 0).then(|| what.to_owned())
    }

    fn on_element(
        &self,
        _: T::View<'_>,
        _: Option<Timestamp>,
        _: TimeWindow,
        context: &mut TriggerContext<'_, u64>,
    ) -> TriggerResult {
        let count = context.state().map_or(1, |count| count + 1);
        if count < self.count {
            context.set_state(count);
            return Continue;
        }
        context.clear_state();
        Fire
    }

    const CAN_MERGE: bool = true;

    fn on_merge(&self, merged: &[u64], _: TimeWindow, context: &mut TriggerContext<'_, u64>) {
        let count = merged.iter().sum();
        if count > 0 {
            context.set_state(count);
        }
    }
}

/// The most firings of a window that one watermark makes: as many as a record may have windows.
const STEPS_MAX: i64 = crate::Sliding::OVERLAP_MAX;

/// Fires every so often in event time, at multiples of the interval, and when the window is over.
///
/// A watermark that passes several multiples fires the window for each of them, as in Flink. One that passes more than
/// 65,536 fires it once for all, and at the end: so the end of the input does in a window that never ends.
#[derive(Clone, Copy, Debug)]
pub struct ContinuousEventTimeTrigger {
    interval_ms: i64,
}

impl ContinuousEventTimeTrigger {
    /// Fires every `interval`. Under a millisecond, the graph of the job is an error.
    pub fn of(interval: Duration) -> Self {
        Self { interval_ms: whole_ms(interval) }
    }

    /// When a window that has fired at `time` fires next, if it can fire until `until` now.
    fn next(self, time: Timestamp, until: Timestamp) -> Timestamp {
        let passed = i128::from(until.as_millis()) - i128::from(time.as_millis());
        if passed / i128::from(self.interval_ms) <= i128::from(STEPS_MAX) {
            return time.offset_millis(self.interval_ms);
        }
        next_multiple(until, self.interval_ms)
    }
}

impl<T: Record> Trigger<T> for ContinuousEventTimeTrigger {
    /// When it fires next.
    type State = Timestamp;

    fn mistake(&self) -> Option<String> {
        mistake_of(self.interval_ms)
    }

    fn on_element(
        &self,
        _: T::View<'_>,
        time: Option<Timestamp>,
        window: TimeWindow,
        context: &mut TriggerContext<'_, Timestamp>,
    ) -> TriggerResult {
        let last = window.max_timestamp();
        if last <= context.watermark() {
            return Fire;
        }
        context.register_event_timer(last);
        if context.state().is_none() {
            let next = next_multiple(time.unwrap_or(window.start), self.interval_ms).min(last);
            context.set_state(next);
            context.register_event_timer(next);
        }
        Continue
    }

    fn on_event_time(
        &self,
        time: Timestamp,
        window: TimeWindow,
        context: &mut TriggerContext<'_, Timestamp>,
    ) -> TriggerResult {
        let last = window.max_timestamp();
        if time == last {
            return Fire;
        }
        if context.state() != Some(time) {
            return Continue;
        }
        let next = self.next(time, context.watermark().min(last)).min(last);
        context.set_state(next);
        context.register_event_timer(next);
        Fire
    }

    const CAN_MERGE: bool = true;

    fn on_merge(
        &self,
        merged: &[Timestamp],
        window: TimeWindow,
        context: &mut TriggerContext<'_, Timestamp>,
    ) {
        if let Some(next) = merged.iter().min() {
            context.set_state(*next);
            context.register_event_timer(*next);
        }
        if window.max_timestamp() > context.watermark() {
            context.register_event_timer(window.max_timestamp());
        }
    }

    fn clear(&self, window: TimeWindow, context: &mut TriggerContext<'_, Timestamp>) {
        context.delete_event_timer(window.max_timestamp());
        if let Some(next) = context.state() {
            context.delete_event_timer(next);
        }
    }
}

/// Fires every so often in the time of day, at multiples of the interval, once there is a record.
#[derive(Clone, Copy, Debug)]
pub struct ContinuousProcessingTimeTrigger {
    interval_ms: i64,
}

impl ContinuousProcessingTimeTrigger {
    /// Fires every `interval`. Under a millisecond, the graph of the job is an error.
    pub fn of(interval: Duration) -> Self {
        Self { interval_ms: whole_ms(interval) }
    }
}

impl<T: Record> Trigger<T> for ContinuousProcessingTimeTrigger {
    /// When it fires next.
    type State = Timestamp;

    fn mistake(&self) -> Option<String> {
        mistake_of(self.interval_ms)
    }

    fn on_element(
        &self,
        _: T::View<'_>,
        _: Option<Timestamp>,
        window: TimeWindow,
        context: &mut TriggerContext<'_, Timestamp>,
    ) -> TriggerResult {
        if context.state().is_none() {
            let now = context.processing_time();
            let next = not_beyond(window, now, next_multiple(now, self.interval_ms));
            context.set_state(next);
            context.register_processing_timer(next);
        }
        Continue
    }

    fn on_processing_time(
        &self,
        time: Timestamp,
        window: TimeWindow,
        context: &mut TriggerContext<'_, Timestamp>,
    ) -> TriggerResult {
        if context.state() != Some(time) {
            return Continue;
        }
        let next = not_beyond(window, time, time.offset_millis(self.interval_ms));
        context.set_state(next);
        context.register_processing_timer(next);
        Fire
    }

    const CAN_MERGE: bool = true;

    fn on_merge(
        &self,
        merged: &[Timestamp],
        _: TimeWindow,
        context: &mut TriggerContext<'_, Timestamp>,
    ) {
        if let Some(next) = merged.iter().min() {
            context.set_state(*next);
            context.register_processing_timer(*next);
        }
    }

    fn clear(&self, _: TimeWindow, context: &mut TriggerContext<'_, Timestamp>) {
        if let Some(next) = context.state() {
            context.delete_processing_timer(next);
        }
    }
}

/// What is wrong with an interval of less than a millisecond.
fn mistake_of(interval_ms: i64) -> Option<String> {
    let what = "a window fires at most once a millisecond: give an interval of one at least";
    (interval_ms == 0).then(|| what.to_owned())
}

/// The first multiple of the interval after `time`.
fn next_multiple(time: Timestamp, interval_ms: i64) -> Timestamp {
    let into = time.as_millis().rem_euclid(interval_ms);
    time.offset_millis(interval_ms - into)
}

/// A time of the clock, or the last one of the window if that lies between: what a window of processing time has had since
/// fires with it. The window of a time that the clock has passed goes on until the watermark ends it.
fn not_beyond(window: TimeWindow, now: Timestamp, next: Timestamp) -> Timestamp {
    let last = window.max_timestamp();
    if last > now { next.min(last) } else { next }
}

/// Fires when a record is further than a threshold from the one at which it fired last, or from the first. It cannot
/// fire sessions: of two that become one, neither was the last.
pub struct DeltaTrigger<T, F> {
    threshold: f64,
    delta_of: F,
    types: PhantomData<fn(T)>,
}

impl<T, F: Clone> Clone for DeltaTrigger<T, F> {
    fn clone(&self) -> Self {
        Self { delta_of: self.delta_of.clone(), types: PhantomData, ..*self }
    }
}

impl<T: Record, F> DeltaTrigger<T, F>
where
    F: for<'a, 'b> Fn(T::View<'a>, T::View<'b>) -> f64 + Clone + Send + 'static,
{
    /// Fires when `delta_of(last, record)` is above `threshold`.
    pub fn of(threshold: f64, delta_of: F) -> Self {
        Self { threshold, delta_of, types: PhantomData }
    }
}

impl<T: Record, F> Trigger<T> for DeltaTrigger<T, F>
where
    F: for<'a, 'b> Fn(T::View<'a>, T::View<'b>) -> f64 + Clone + Send + 'static,
{
    /// The record at which it fired last.
    type State = T;

    fn on_element(
        &self,
        value: T::View<'_>,
        _: Option<Timestamp>,
        _: TimeWindow,
        context: &mut TriggerContext<'_, T>,
    ) -> TriggerResult {
        let delta = context.with_state(|last| (self.delta_of)(last, T::shrink(value)));
        let fires = delta.is_some_and(|delta| delta > self.threshold);
        if fires || delta.is_none() {
            context.set_state(value);
        }
        fires_if(fires)
    }
}

/// What another trigger says, but what has fired is forgotten.
#[derive(Clone, Copy, Debug)]
pub struct PurgingTrigger<R> {
    trigger: R,
}

impl<R> PurgingTrigger<R> {
    /// Purges whenever `trigger` fires.
    pub fn of(trigger: R) -> Self {
        Self { trigger }
    }
}

fn purged(result: TriggerResult) -> TriggerResult {
    match result {
        Fire | FireAndPurge => FireAndPurge,
        Continue | Purge => result,
    }
}

impl<T: Record, R: Trigger<T>> Trigger<T> for PurgingTrigger<R> {
    type State = R::State;

    const CAN_MERGE: bool = R::CAN_MERGE;

    fn mistake(&self) -> Option<String> {
        self.trigger.mistake()
    }

    fn on_merge(
        &self,
        merged: &[R::State],
        window: TimeWindow,
        context: &mut TriggerContext<'_, R::State>,
    ) {
        self.trigger.on_merge(merged, window, context);
    }

    fn on_element(
        &self,
        value: T::View<'_>,
        time: Option<Timestamp>,
        window: TimeWindow,
        context: &mut TriggerContext<'_, R::State>,
    ) -> TriggerResult {
        purged(self.trigger.on_element(value, time, window, context))
    }

    fn on_event_time(
        &self,
        time: Timestamp,
        window: TimeWindow,
        context: &mut TriggerContext<'_, R::State>,
    ) -> TriggerResult {
        purged(self.trigger.on_event_time(time, window, context))
    }

    fn on_processing_time(
        &self,
        time: Timestamp,
        window: TimeWindow,
        context: &mut TriggerContext<'_, R::State>,
    ) -> TriggerResult {
        purged(self.trigger.on_processing_time(time, window, context))
    }

    fn clear(&self, window: TimeWindow, context: &mut TriggerContext<'_, R::State>) {
        self.trigger.clear(window, context);
    }
}
