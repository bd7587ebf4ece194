//! Windows of event time: spans `[start, end)` that records are assigned to by their time.

use std::{iter, time::Duration};

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

    /// As bytes: start and end, which the parts of its table in a snapshot begin with.
    pub(crate) fn header(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.start.as_millis().to_le_bytes());
        bytes[8..].copy_from_slice(&self.end.as_millis().to_le_bytes());
        bytes
    }

    /// The reverse of [`header`](Self::header), and what is behind it; none if there are too few bytes.
    pub(crate) fn split_from(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (start, rest) = bytes.split_first_chunk::<8>()?;
        let (end, rest) = rest.split_first_chunk::<8>()?;
        let [start, end] = [start, end].map(|at| Timestamp::from_millis(i64::from_le_bytes(*at)));
        Some((Self { start, end }, rest))
    }

    /// The last time in it: it fires when the watermark has reached this.
    #[inline]
    pub fn max_timestamp(self) -> Timestamp {
        self.end.offset_millis(-1)
    }
}

/// What is wrong with a window of less than a millisecond.
pub(crate) const NO_LENGTH: &str = "a window covers at least one millisecond";

/// A length in whole milliseconds: 0 if there is none.
pub(crate) fn whole_ms(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

/// Which windows of event time a record is in.
pub trait EventTimeWindows: Copy + Send + 'static {
    /// The windows over `time`, in the order in which they fire; none in a gap between them.
    fn assign(self, time: Timestamp) -> impl Iterator<Item = TimeWindow>;

    /// What is wrong with them, whatever the data: a job with such windows is refused.
    fn mistake(self) -> Option<String> {
        None
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
    /// Windows of `size` of event time, aligned to the epoch. Under a millisecond, the graph of the job is an error.
    pub fn event_time(size: Duration) -> Self {
        Self { size_ms: whole_ms(size), offset_ms: 0 }
    }

    /// The same windows, moved later by `offset`: for days that do not begin at midnight UTC.
    ///
    /// A [`Duration`] is never negative. Windows repeat every `size`, so an offset of `-d` in Flink is `size - d` here.
    ///
    /// ```
    /// use wiesel_core::{Timestamp, hours};
    /// use wiesel_operators::Tumbling;
    ///
    /// // Days of China Standard Time, UTC+8, which begin at 16:00 UTC. In Flink: `Time.days(1), Time.hours(-8)`.
    /// let days = Tumbling::event_time(hours(24)).with_offset(hours(24 - 8));
    /// let day = days.window_of(Timestamp::from_millis(0));
    /// assert_eq!(day.start.as_millis(), -8 * 3_600_000);
    /// ```
    #[must_use]
    pub fn with_offset(self, offset: Duration) -> Self {
        let offset_ms = i64::try_from(offset.as_millis()).unwrap_or(i64::MAX) % self.size_ms.max(1);
        Self { offset_ms, ..self }
    }

    /// The size, in milliseconds.
    pub fn size_ms(self) -> i64 {
        self.size_ms
    }

    /// The window that holds `time`. At the ends of time it is cut off there.
    ///
    /// # Panics
    ///
    /// If windows have no length: a job with such is refused.
    #[inline]
    pub fn window_of(self, time: Timestamp) -> TimeWindow {
        let at = time.as_millis();
        let into = at.rem_euclid(self.size_ms) - self.offset_ms;
        let into = if into < 0 { into + self.size_ms } else { into };
        let (start, end) = (at.saturating_sub(into), at.saturating_add(self.size_ms - into));
        TimeWindow { start: Timestamp::from_millis(start), end: Timestamp::from_millis(end) }
    }
}

impl EventTimeWindows for Tumbling {
    #[inline]
    fn assign(self, time: Timestamp) -> impl Iterator<Item = TimeWindow> {
        iter::once(self.window_of(time))
    }

    fn mistake(self) -> Option<String> {
        (self.size_ms == 0).then(|| NO_LENGTH.to_owned())
    }
}

impl EventTimeWindows for Sliding {
    #[inline]
    fn assign(self, time: Timestamp) -> impl Iterator<Item = TimeWindow> {
        self.windows_of(time)
    }

    fn mistake(self) -> Option<String> {
        let Self { size_ms, slide_ms, .. } = self;
        if size_ms == 0 {
            return Some(NO_LENGTH.to_owned());
        }
        if slide_ms == 0 {
            return Some("windows slide by at least one millisecond".to_owned());
        }
        let (overlap, max) = ((size_ms - 1) / slide_ms + 1, Self::OVERLAP_MAX);
        (overlap > max).then(|| {
            format!("a record would be in {overlap} of these windows: at most {max} may be")
        })
    }
}

/// Windows of one size, of which one begins every slide: a record is in all that cover its time.
///
/// ```text
///   size 30, slide 10     [-20      10)
///                            [-10      20)
///                               [0        30)      a record at 7 is in these three
///   slices                      [0 10)             and is counted in this one
/// ```
///
/// ```
/// use wiesel_core::{Timestamp, seconds};
/// use wiesel_operators::Sliding;
///
/// let windows = Sliding::event_time(seconds(30), seconds(10));
/// let starts = windows.windows_of(Timestamp::from_millis(7_000)).map(|window| window.start.as_millis());
/// assert!(starts.eq([-20_000, -10_000, 0]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sliding {
    size_ms: i64,
    slide_ms: i64,
    offset_ms: i64,
}

impl Sliding {
    /// The most windows that may cover one time.
    pub const OVERLAP_MAX: i64 = 1 << 16;

    /// Windows of `size`, of which one begins every `slide`, aligned to the epoch. A slide longer than the size leaves
    /// gaps: records in them are in no window. If one of both is under a millisecond, or a time would be in more than
    /// [`Self::OVERLAP_MAX`] windows, the graph of the job is an error.
    pub fn event_time(size: Duration, slide: Duration) -> Self {
        Self { size_ms: whole_ms(size), slide_ms: whole_ms(slide), offset_ms: 0 }
    }

    /// The same windows, moved by `offset`.
    #[must_use]
    pub fn with_offset(self, offset: Duration) -> Self {
        let offset_ms =
            i64::try_from(offset.as_millis()).unwrap_or(i64::MAX) % self.slide_ms.max(1);
        Self { offset_ms, ..self }
    }

    /// The size, in milliseconds.
    pub fn size_ms(self) -> i64 {
        self.size_ms
    }

    /// The slide, in milliseconds.
    pub fn slide_ms(self) -> i64 {
        self.slide_ms
    }

    /// The windows that cover `time`, in order of their ends (and starts, where the ends of time cut both off). At the
    /// ends of time they are cut off there.
    ///
    /// # Panics
    ///
    /// If windows do not slide: a job with such is refused.
    #[inline]
    pub fn windows_of(self, time: Timestamp) -> impl DoubleEndedIterator<Item = TimeWindow> {
        let (at, slide) = (i128::from(time.as_millis()), i128::from(self.slide_ms));
        let (size, offset) = (i128::from(self.size_ms), i128::from(self.offset_ms));
        let last = (at - offset).div_euclid(slide) * slide + offset;
        // In a gap between windows there are none.
        let count = if at - last < size { (size - 1 - (at - last)) / slide + 1 } else { 0 };
        (0..count as i64).rev().map(move |back| {
            let start = last - i128::from(back) * slide;
            TimeWindow { start: within_time(start), end: within_time(start + size) }
        })
    }

    /// The spans that all windows are made of: as long as their size and their slide allow.
    pub fn slices(self) -> Tumbling {
        let (mut a, mut b) = (self.size_ms, self.slide_ms);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        let a = a.max(1);
        Tumbling { size_ms: a, offset_ms: self.offset_ms % a }
    }

    /// Where the next window starts.
    pub(crate) fn next_start(self, window: TimeWindow) -> i128 {
        self.end_of(window) - i128::from(self.size_ms) + i128::from(self.slide_ms)
    }

    /// The first time after a window; beyond time, if the window was cut off there.
    pub(crate) fn end_of(self, window: TimeWindow) -> i128 {
        match window.start {
            // It may have been cut off at its start, and has its whole end then.
            Timestamp::MIN => window.end.as_millis().into(),
            start => i128::from(start.as_millis()) + i128::from(self.size_ms),
        }
    }
}

fn within_time(millis: i128) -> Timestamp {
    Timestamp::from_millis(millis.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
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

    #[track_caller]
    fn check_sliding(windows: Sliding, at: i64, expected: &[(i64, i64)]) {
        let found = windows.windows_of(Timestamp::from_millis(at));
        let found: Vec<_> =
            found.map(|window| (window.start.as_millis(), window.end.as_millis())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn sliding_windows_are_all_that_cover_a_time() {
        let windows = Sliding::event_time(millis(30), millis(10));
        check_sliding(windows, 0, &[(-20, 10), (-10, 20), (0, 30)]);
        check_sliding(windows, 9, &[(-20, 10), (-10, 20), (0, 30)]);
        check_sliding(windows, -1, &[(-30, 0), (-20, 10), (-10, 20)]);
        let uneven = Sliding::event_time(millis(25), millis(10)).with_offset(millis(13));
        check_sliding(uneven, 4, &[(-17, 8), (-7, 18), (3, 28)]);
        check_sliding(uneven, 8, &[(-7, 18), (3, 28)]);
        assert_eq!(uneven.slices().size_ms(), 5);
        let tumbling = Sliding::event_time(millis(10), millis(10));
        check_sliding(tumbling, 10, &[(10, 20)]);
        let gaps = Sliding::event_time(millis(3), millis(10));
        check_sliding(gaps, 2, &[(0, 3)]);
        check_sliding(gaps, 3, &[]);
        check_sliding(gaps, -1, &[]);
    }

    #[test]
    fn sliding_windows_are_cut_off_at_the_ends_of_time() {
        let windows = Sliding::event_time(millis(30), millis(10));
        let (min, max) = (i64::MIN, i64::MAX);
        check_sliding(windows, min, &[(min, min + 8), (min, min + 18), (min, min + 28)]);
        check_sliding(windows, max, &[(max - 27, max), (max - 17, max), (max - 7, max)]);
        let whole = Sliding::event_time(Duration::MAX, Duration::MAX);
        check_sliding(whole, 5, &[(0, max)]);
        check_sliding(whole, -5, &[(-max, 0)]);
    }

    #[test]
    fn windows_that_cannot_be_say_why() {
        let sliding =
            |size, slide| Sliding::event_time(size, slide).with_offset(seconds(1)).mistake();
        let table = [
            (Tumbling::event_time(seconds(1)).mistake(), None),
            (
                Tumbling::event_time(Duration::ZERO).with_offset(seconds(1)).mistake(),
                Some(NO_LENGTH),
            ),
            (sliding(seconds(2), seconds(1)), None),
            (sliding(Duration::from_micros(999), seconds(1)), Some(NO_LENGTH)),
            (
                sliding(seconds(1), Duration::ZERO),
                Some("windows slide by at least one millisecond"),
            ),
            (
                sliding(seconds(3_600), millis(1)),
                Some("a record would be in 3600000 of these windows: at most 65536 may be"),
            ),
        ];
        for (found, expected) in table {
            assert_eq!(found.as_deref(), expected);
        }
        // What a graph is made of is asked for slices before anybody says that they are wrong.
        assert_eq!(Sliding::event_time(Duration::ZERO, Duration::ZERO).slices().size_ms(), 1);
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
