//! Triggers: when a window fires, if not as windows do by themselves.
//!
//! ```text
//!   a record comes into a window ─▶ on_element         ┐
//!   a timer that it registered   ─▶ on_event_time,     ├─▶ Continue, Fire, Purge, FireAndPurge
//!                                   on_processing_time ┘
//!   windows have grown together  ─▶ on_merge       it registers what the merged window waits for
//!   the window is over           ─▶ clear
//! ```
//!
//! # What is always true
//!
//! 1. A trigger replaces the one that windows have by themselves: it fires nothing but what it says.
//! 2. What it keeps is kept per key and window, until the window is over or it clears it. A purge takes away what the window
//!    holds, and leaves what the trigger keeps.
//! 3. Its timers are per key and window: registered twice is one. One that it forgets to take back finds nothing to do once
//!    the window is gone.

mod built_in;

use wiesel_core::{TaskFailure, Timestamp};
use wiesel_record::Record;

use crate::{
    TaskContext, TimeDomain, TimeWindow,
    window_operator::{Place, TriggerRows},
};

pub use self::built_in::{
    ContinuousEventTimeTrigger, ContinuousProcessingTimeTrigger, CountTrigger, DeltaTrigger,
    EventTimeTrigger, NeverTrigger, ProcessingTimeTrigger, PurgingTrigger,
};

/// What a trigger wants to happen to its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerResult {
    /// Nothing.
    Continue,
    /// Its result goes on, if it holds anything.
    Fire,
    /// What it holds is forgotten.
    Purge,
    /// First the one, then the other.
    FireAndPurge,
}

impl TriggerResult {
    /// Whether a result goes on.
    pub fn fires(self) -> bool {
        matches!(self, Self::Fire | Self::FireAndPurge)
    }

    /// Whether what the window holds is forgotten.
    pub fn purges(self) -> bool {
        matches!(self, Self::Purge | Self::FireAndPurge)
    }
}

/// Says when the windows of records `T` fire.
///
/// ```
/// use wiesel_core::Timestamp;
/// use wiesel_operators::{TimeWindow, Trigger, TriggerContext, TriggerResult};
///
/// /// Fires at each record above a limit, and at the end of the window.
/// #[derive(Clone)]
/// struct Above(u64);
///
/// impl Trigger<u64> for Above {
///     type State = ();
///
///     fn on_element(
///         &self,
///         value: u64,
///         _time: Option<Timestamp>,
///         window: TimeWindow,
///         context: &mut TriggerContext<'_, ()>,
///     ) -> TriggerResult {
///         context.register_event_timer(window.max_timestamp());
///         if value > self.0 { TriggerResult::Fire } else { TriggerResult::Continue }
///     }
///
///     fn on_event_time(
///         &self,
///         time: Timestamp,
///         window: TimeWindow,
///         _context: &mut TriggerContext<'_, ()>,
///     ) -> TriggerResult {
///         let is_over = time == window.max_timestamp();
///         if is_over { TriggerResult::Fire } else { TriggerResult::Continue }
///     }
///
///     fn clear(&self, window: TimeWindow, context: &mut TriggerContext<'_, ()>) {
///         context.delete_event_timer(window.max_timestamp());
///     }
/// }
/// ```
pub trait Trigger<T: Record>: Clone + Send + 'static {
    /// What it keeps per key and window; `()` if nothing.
    type State: Record;

    /// Whether [`on_merge`](Self::on_merge) can be called: whether it can fire sessions, which grow together.
    const CAN_MERGE: bool = false;

    /// What is wrong with it, whatever the data: a job with such a trigger is refused.
    fn mistake(&self) -> Option<String> {
        None
    }

    /// A record has been added to a window.
    fn on_element(
        &self,
        value: T::View<'_>,
        time: Option<Timestamp>,
        window: TimeWindow,
        context: &mut TriggerContext<'_, Self::State>,
    ) -> TriggerResult;

    /// The watermark has reached a time that it registered.
    fn on_event_time(
        &self,
        time: Timestamp,
        window: TimeWindow,
        context: &mut TriggerContext<'_, Self::State>,
    ) -> TriggerResult {
        let _ = (time, window, context);
        TriggerResult::Continue
    }

    /// The time of day has passed a time that it registered: a millisecond after it, as in Flink, so that what comes at the
    /// last time of a window is in it.
    fn on_processing_time(
        &self,
        time: Timestamp,
        window: TimeWindow,
        context: &mut TriggerContext<'_, Self::State>,
    ) -> TriggerResult {
        let _ = (time, window, context);
        TriggerResult::Continue
    }

    /// Windows have become one. `merged` is what was kept for them, in order of time; what is kept for the one is nothing
    /// yet. Behind this they are [cleared](Self::clear).
    fn on_merge(
        &self,
        merged: &[Self::State],
        window: TimeWindow,
        context: &mut TriggerContext<'_, Self::State>,
    ) {
        let _ = (merged, window, context);
    }

    /// The window is over, or part of another: takes back timers that are still registered. The state goes by itself.
    fn clear(&self, window: TimeWindow, context: &mut TriggerContext<'_, Self::State>) {
        let _ = (window, context);
    }
}

/// What a trigger may know and change of a key and window.
pub struct TriggerContext<'c, S: Record> {
    pub(crate) rows: &'c mut TriggerRows<S>,
    pub(crate) place: Place<'c>,
    pub(crate) watermark: Timestamp,
    pub(crate) task: &'c TaskContext,
}

impl<S: Record> TriggerContext<'_, S> {
    /// What is kept.
    pub fn state(&self) -> Option<S> {
        self.with_state(S::from_view)
    }

    /// Calls `read` with a view of what is kept, if something is: nothing is copied.
    pub fn with_state<R>(&self, read: impl FnOnce(S::View<'_>) -> R) -> Option<R> {
        self.rows.with(self.place, read)
    }

    /// Keeps something else. What cannot be stored fails the task.
    pub fn set_state(&mut self, state: S::View<'_>) {
        let stored: Result<(), TaskFailure> = self.rows.set(self.place, state);
        if let Err(failure) = stored {
            self.task.fail(failure);
        }
    }

    /// Keeps nothing any more.
    pub fn clear_state(&mut self) {
        self.rows.clear(self.place);
    }

    /// The last watermark; [`Timestamp::MIN`] before the first.
    pub fn watermark(&self) -> Timestamp {
        self.watermark
    }

    /// The time of day.
    pub fn processing_time(&self) -> Timestamp {
        self.task.shard().wall_time()
    }

    /// In batch mode the timers of a key fire when it has ended. As in Flink, those that they register are ignored.
    fn is_at_end_of_key(&self) -> bool {
        self.watermark == Timestamp::MAX && self.task.is_batch()
    }

    /// Wants `on_event_time` when the watermark has reached `time`.
    pub fn register_event_timer(&mut self, time: Timestamp) {
        if !self.is_at_end_of_key() {
            self.rows.change_timer(TimeDomain::EventTime, time, self.place, true);
        }
    }

    /// Takes an event timer back.
    pub fn delete_event_timer(&mut self, time: Timestamp) {
        self.rows.change_timer(TimeDomain::EventTime, time, self.place, false);
    }

    /// Wants `on_processing_time` when the time of day has passed `time`.
    pub fn register_processing_timer(&mut self, time: Timestamp) {
        if !self.is_at_end_of_key() {
            self.rows.change_timer(TimeDomain::ProcessingTime, time, self.place, true);
        }
    }

    /// Takes a processing timer back.
    pub fn delete_processing_timer(&mut self, time: Timestamp) {
        self.rows.change_timer(TimeDomain::ProcessingTime, time, self.place, false);
    }
}
