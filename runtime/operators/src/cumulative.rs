//! Windows that begin together and grow by a step: results so far, again and again, until the last one is whole.

use std::time::Duration;

use wiesel_core::Timestamp;

use crate::{
    EventTimeWindows, Sliding, TimeWindow,
    window::{NO_LENGTH, whole_ms},
};

/// Windows that begin every `max` and end a step later each: a record is in all that end after it. Flink's `CUMULATE`.
///
/// ```text
///   max 40, step 10   [0   10)
///                     [0       20)        a record at 17 is in this one, and the two below
///                     [0            30)
///                     [0                 40)
/// ```
///
/// A record costs as much as the windows that it is in, and each of them keeps an accumulator per key.
///
/// ```
/// use wiesel_core::{Timestamp, hours};
/// use wiesel_operators::Cumulative;
///
/// // The day so far, every hour.
/// let windows = Cumulative::event_time(hours(24), hours(1));
/// let at_ten_thirty = Timestamp::from_millis(37_800_000);
/// let ends = windows.windows_of(at_ten_thirty).map(|window| window.end.as_millis() / 3_600_000);
/// assert!(ends.eq(11..=24));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cumulative {
    max_ms: i64,
    step_ms: i64,
    offset_ms: i64,
}

impl Cumulative {
    /// Windows of up to `max`, aligned to the epoch, that grow by `step`. If one of both is under a millisecond, or `max` is no
    /// multiple of `step`, or more than [`Sliding::OVERLAP_MAX`], the graph of the job is an error.
    pub fn event_time(max: Duration, step: Duration) -> Self {
        Self { max_ms: whole_ms(max), step_ms: whole_ms(step), offset_ms: 0 }
    }

    /// The same windows, moved by `offset`.
    #[must_use]
    pub fn with_offset(self, offset: Duration) -> Self {
        let offset_ms = i64::try_from(offset.as_millis()).unwrap_or(i64::MAX) % self.max_ms.max(1);
        Self { offset_ms, ..self }
    }

    /// The longest, in milliseconds.
    pub fn max_ms(self) -> i64 {
        self.max_ms
    }

    /// What they grow by, in milliseconds.
    pub fn step_ms(self) -> i64 {
        self.step_ms
    }

    /// The windows that `time` is in, in order of their ends. At the ends of time they are cut off there.
    ///
    /// # Panics
    ///
    /// If windows have no length, or do not grow: a job with such is refused.
    pub fn windows_of(self, time: Timestamp) -> impl Iterator<Item = TimeWindow> {
        let (at, max) = (i128::from(time.as_millis()), i128::from(self.max_ms));
        let (step, offset) = (i128::from(self.step_ms), i128::from(self.offset_ms));
        let start = (at - offset).div_euclid(max) * max + offset;
        let (first, count) = ((at - start) / step + 1, max / step);
        let within = |time: i128| {
            Timestamp::from_millis(time.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
        };
        let end_of = move |steps: i64| start + i128::from(steps) * step;
        // Of those that the end of time cuts off, one.
        let is_cut = move |steps: &i64| end_of(steps - 1) >= i128::from(i64::MAX);
        (first as i64..=count as i64)
            .take_while(move |steps| *steps == first as i64 || !is_cut(steps))
            .map(move |steps| TimeWindow { start: within(start), end: within(end_of(steps)) })
    }
}

impl EventTimeWindows for Cumulative {
    fn assign(self, time: Timestamp) -> impl Iterator<Item = TimeWindow> {
        self.windows_of(time)
    }

    fn mistake(self) -> Option<String> {
        let Self { max_ms, step_ms, .. } = self;
        if max_ms == 0 {
            return Some(NO_LENGTH.to_owned());
        }
        if step_ms == 0 {
            return Some("windows grow by at least one millisecond".to_owned());
        }
        if max_ms % step_ms != 0 {
            return Some(format!("windows that grow by {step_ms} ms never cover {max_ms} ms"));
        }
        let (windows, max) = (max_ms / step_ms, Sliding::OVERLAP_MAX);
        (windows > max).then(|| {
            format!("a record would be in {windows} of these windows: at most {max} may be")
        })
    }
}

#[cfg(test)]
mod tests {
    use wiesel_core::millis;

    use super::*;

    #[track_caller]
    fn check(windows: Cumulative, at: i64, expected: &[(i64, i64)]) {
        let found = windows.windows_of(Timestamp::from_millis(at));
        let found: Vec<_> =
            found.map(|window| (window.start.as_millis(), window.end.as_millis())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn they_are_all_that_end_behind_a_time() {
        let windows = Cumulative::event_time(millis(30), millis(10));
        check(windows, 0, &[(0, 10), (0, 20), (0, 30)]);
        check(windows, 9, &[(0, 10), (0, 20), (0, 30)]);
        check(windows, 10, &[(0, 20), (0, 30)]);
        check(windows, 29, &[(0, 30)]);
        check(windows, -1, &[(-30, 0)]);
        check(windows.with_offset(millis(35)), 4, &[(-25, 5)]);
        check(windows.with_offset(millis(35)), 5, &[(5, 15), (5, 25), (5, 35)]);
    }

    #[test]
    fn they_are_cut_off_at_the_ends_of_time() {
        let windows = Cumulative::event_time(millis(30), millis(10));
        let (min, max) = (i64::MIN, i64::MAX);
        assert_eq!((min.rem_euclid(30), max.rem_euclid(30)), (22, 7));
        check(windows, min, &[(min, min + 8)]);
        check(windows, max, &[(max - 7, max)]);
    }

    #[test]
    fn windows_that_cannot_be_say_why() {
        let check = |max_ms, step_ms, expected: Option<&str>| {
            let windows = Cumulative::event_time(millis(max_ms), millis(step_ms));
            assert_eq!(windows.with_offset(millis(1)).mistake().as_deref(), expected);
        };
        check(30, 10, None);
        check(0, 10, Some(NO_LENGTH));
        check(30, 0, Some("windows grow by at least one millisecond"));
        check(30, 7, Some("windows that grow by 7 ms never cover 30 ms"));
        check(
            100_000,
            1,
            Some("a record would be in 100000 of these windows: at most 65536 may be"),
        );
    }
}
