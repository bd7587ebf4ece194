//! Which windows a record is in, for the general window operator.
//!
//! ```text
//!   event time        Tumbling  Sliding  Session  Cumulative        over when the watermark has reached the last time + lateness
//!   processing time   the same, in ProcessingTime(…)                over when the clock has passed it; nothing is late
//!   none              Global                                        never over; fires when a trigger says so
//! ```

use std::{iter, time::Duration};

use wiesel_core::Timestamp;
use wiesel_record::Record;

use crate::{
    EventTimeTrigger, EventTimeWindows, NeverTrigger, ProcessingTimeTrigger, Session, SessionGap,
    Sliding, TimeDomain, TimeWindow, Trigger, Tumbling,
};

/// Windows of records `T`, one by one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` are no windows for a trigger, an evictor or a process function",
    label = "must be `Tumbling`, `Sliding`, `Cumulative`, `Session` or `Global`; call `trigger` before `evictor`"
)]
pub trait AssignWindows<T: Record>: Clone + Send + 'static {
    /// The clock that ends them; none if they do not end.
    const CLOCK: Option<TimeDomain>;

    /// Whether those of a key grow together when they overlap or touch.
    const MERGES: bool = false;

    /// What fires them by themselves.
    type Trigger: Trigger<T> + Default;

    /// The windows of a record, in the order in which they end. `time` is that of their [clock](Self::CLOCK). None at all,
    /// not even no window, if the record says a gap that is none.
    fn windows_of(
        &self,
        value: T::View<'_>,
        time: Timestamp,
    ) -> Option<impl Iterator<Item = TimeWindow> + use<Self, T>>;

    /// Whether a window from a snapshot can be one of these.
    fn has_window(&self, window: TimeWindow) -> bool;
}

impl<T: Record, W: EventTimeWindows> AssignWindows<T> for W {
    const CLOCK: Option<TimeDomain> = Some(TimeDomain::EventTime);

    type Trigger = EventTimeTrigger;

    fn windows_of(
        &self,
        _: T::View<'_>,
        time: Timestamp,
    ) -> Option<impl Iterator<Item = TimeWindow> + use<T, W>> {
        Some(self.assign(time))
    }

    fn has_window(&self, window: TimeWindow) -> bool {
        // Its first time, unless it was cut off there: then its last.
        let is_ours = |time| self.assign(time).any(|ours| ours == window);
        is_ours(window.start) || is_ours(window.max_timestamp())
    }
}

/// One window for all of time. It fires when a trigger says so, and is never over.
///
/// Its results have no time of their own: they get the last one there is, as in Flink.
#[derive(Clone, Copy, Debug, Default)]
pub struct Global;

impl<T: Record> AssignWindows<T> for Global {
    const CLOCK: Option<TimeDomain> = None;

    type Trigger = NeverTrigger;

    fn windows_of(
        &self,
        _: T::View<'_>,
        _: Timestamp,
    ) -> Option<impl Iterator<Item = TimeWindow> + use<T>> {
        Some(iter::once(TimeWindow::ALL))
    }

    fn has_window(&self, window: TimeWindow) -> bool {
        window == TimeWindow::ALL
    }
}

impl<T: Record, G: SessionGap<T>> AssignWindows<T> for Session<G> {
    const CLOCK: Option<TimeDomain> = Some(TimeDomain::EventTime);
    const MERGES: bool = true;

    type Trigger = EventTimeTrigger;

    fn windows_of(
        &self,
        value: T::View<'_>,
        time: Timestamp,
    ) -> Option<impl Iterator<Item = TimeWindow> + use<T, G>> {
        let gap_ms = self.gap.gap_ms(value);
        let window = TimeWindow { start: time, end: time.offset_millis(gap_ms) };
        (gap_ms > 0).then(|| iter::once(window))
    }

    fn has_window(&self, _: TimeWindow) -> bool {
        true
    }
}

/// Windows by the time of day, and not by that of the records: a record is in those that are open when it comes.
///
/// What is open at the end of the input does not fire, as in Flink: the end of a stream is no time of day. They cost an
/// entry and a timer per key and window.
///
/// ```
/// use wiesel_core::{minutes, seconds};
/// use wiesel_operators::{Session, Sliding, Tumbling};
///
/// let every_minute = Tumbling::processing_time(minutes(1));
/// let last_minute = Sliding::processing_time(minutes(1), seconds(10));
/// let visits = Session::processing_time(minutes(30));
/// # let _ = (every_minute, last_minute, visits);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ProcessingTime<W> {
    /// The windows.
    pub windows: W,
}

impl Tumbling {
    /// Windows of `size` of the time of day.
    pub fn processing_time(size: Duration) -> ProcessingTime<Self> {
        ProcessingTime { windows: Self::event_time(size) }
    }
}

impl Sliding {
    /// Windows of `size` of the time of day, of which one begins every `slide`.
    pub fn processing_time(size: Duration, slide: Duration) -> ProcessingTime<Self> {
        ProcessingTime { windows: Self::event_time(size, slide) }
    }
}

impl Session {
    /// Sessions that end when no record of their key has come for `gap`.
    pub fn processing_time(gap: Duration) -> ProcessingTime<Self> {
        ProcessingTime { windows: Self::with_gap(gap) }
    }
}

impl ProcessingTime<Tumbling> {
    /// The same windows, moved by `offset`.
    #[must_use]
    pub fn with_offset(self, offset: Duration) -> Self {
        Self { windows: self.windows.with_offset(offset) }
    }
}

impl ProcessingTime<Sliding> {
    /// The same windows, moved by `offset`.
    #[must_use]
    pub fn with_offset(self, offset: Duration) -> Self {
        Self { windows: self.windows.with_offset(offset) }
    }
}

impl<T: Record, W: AssignWindows<T>> AssignWindows<T> for ProcessingTime<W> {
    const CLOCK: Option<TimeDomain> = Some(TimeDomain::ProcessingTime);
    const MERGES: bool = W::MERGES;

    type Trigger = ProcessingTimeTrigger;

    fn windows_of(
        &self,
        value: T::View<'_>,
        time: Timestamp,
    ) -> Option<impl Iterator<Item = TimeWindow> + use<T, W>> {
        self.windows.windows_of(value, time)
    }

    fn has_window(&self, window: TimeWindow) -> bool {
        self.windows.has_window(window)
    }
}
