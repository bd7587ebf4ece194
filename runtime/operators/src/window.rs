//! Windows of event time: spans `[start, end)` that records are assigned to by their time.

use std::time::Duration;

use wiesel_core::Timestamp;

/// A span of event time, `[start, end)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeWindow {
    /// The first time in it.
    pub start: Timestamp,
    /// The first time after it.
    pub end: Timestamp,
}

impl TimeWindow {
    /// All of time.
    pub const ALL: Self = Self { start: Timestamp::MIN, end: Timestamp::MAX };

    /// The last time in it: it fires when the watermark has reached this.
    #[inline]
    pub fn max_timestamp(self) -> Timestamp {
        self.end.offset_millis(-1)
    }
}

/// Windows of one size, one after the other.
///
/// ```
/// use wiesel_core::{Timestamp, hours, seconds};
/// use wiesel_operators::Tumbling;
///
/// let windows = Tumbling::event_time(seconds(10));
/// let window = windows.window_of(Timestamp::from_millis(12_345));
/// assert_eq!((window.start.as_millis(), window.end.as_millis()), (10_000, 20_000));
/// let before_1970 = windows.window_of(Timestamp::from_millis(-1));
/// assert_eq!(before_1970.start.as_millis(), -10_000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tumbling {
    size_ms: i64,
    offset_ms: i64,
}

impl Tumbling {
    /// Windows of `size` of event time, aligned to the epoch.
    ///
    /// # Panics
    ///
    /// If `size` is under a millisecond: the program is wrong, whatever the data.
    pub fn event_time(size: Duration) -> Self {
        let size_ms = i64::try_from(size.as_millis()).unwrap_or(i64::MAX);
        assert!(size_ms > 0, "a window covers at least one millisecond, this one {size:?}");
        Self { size_ms, offset_ms: 0 }
    }

    /// The same windows, moved by `offset`: for days that do not begin at midnight UTC.
    #[must_use]
    pub fn with_offset(self, offset: Duration) -> Self {
        let offset_ms = i64::try_from(offset.as_millis()).unwrap_or(i64::MAX) % self.size_ms;
        Self { offset_ms, ..self }
    }

    /// The size, in milliseconds.
    pub fn size_ms(self) -> i64 {
        self.size_ms
    }

    /// The window that holds `time`. At the ends of time it is cut off there.
    #[inline]
    pub fn window_of(self, time: Timestamp) -> TimeWindow {
        let at = time.as_millis();
        let into = at.rem_euclid(self.size_ms) - self.offset_ms;
        let into = if into < 0 { into + self.size_ms } else { into };
        let (start, end) = (at.saturating_sub(into), at.saturating_add(self.size_ms - into));
        TimeWindow { start: Timestamp::from_millis(start), end: Timestamp::from_millis(end) }
    }
}

#[cfg(test)]
mod tests {
    use wiesel_core::{millis, seconds};

    use super::*;

    #[track_caller]
    fn check(windows: Tumbling, at: i64, expected: (i64, i64)) {
        let window = windows.window_of(Timestamp::from_millis(at));
        assert_eq!((window.start.as_millis(), window.end.as_millis()), expected);
        assert!(window.start.as_millis() <= at && at <= window.max_timestamp().as_millis().max(at));
    }

    #[test]
    fn windows_are_aligned_on_both_sides_of_the_epoch() {
        let windows = Tumbling::event_time(seconds(10));
        check(windows, 0, (0, 10_000));
        check(windows, 9_999, (0, 10_000));
        check(windows, 10_000, (10_000, 20_000));
        check(windows, -1, (-10_000, 0));
        check(windows, -10_000, (-10_000, 0));
    }

    #[test]
    fn an_offset_moves_them() {
        let windows = Tumbling::event_time(seconds(10)).with_offset(millis(3_000));
        check(windows, 2_999, (-7_000, 3_000));
        check(windows, 3_000, (3_000, 13_000));
    }

    #[test]
    fn they_are_cut_off_at_the_ends_of_time() {
        let windows = Tumbling::event_time(seconds(10));
        let first = windows.window_of(Timestamp::from_millis(i64::MIN + 1));
        assert_eq!(first.start, Timestamp::MIN);
        assert!(first.end > first.start);
        assert_eq!(windows.window_of(Timestamp::MAX).end, Timestamp::MAX);
    }
}
