//! Event time in milliseconds, and the seam's monotonic clock in nanoseconds.
//!
//! # What is always true
//!
//! 1. A [`Timestamp`] is signed: times before 1970 are ordinary. Its two ends are the ends of time;
//!    arithmetic saturates there and never wraps.
//! 2. [`Nanos`] has no epoch that means anything: only differences of two readings do.

use std::{
    fmt,
    ops::{Add, Sub},
    time::Duration,
};

/// Milliseconds since the Unix epoch, in event time.
///
/// ```
/// use wiesel_core::{Timestamp, seconds};
///
/// let at = Timestamp::from_millis(1_500);
/// assert_eq!((at + seconds(2)).as_millis(), 3_500);
/// assert_eq!(Timestamp::MAX + seconds(1), Timestamp::MAX);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Before everything. As a watermark: nothing is known yet. No record has it as its event time: that is refused.
    pub const MIN: Self = Self(i64::MIN);
    /// After everything. As a watermark: no record will follow.
    pub const MAX: Self = Self(i64::MAX);

    /// From milliseconds since the Unix epoch.
    #[inline]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[inline]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This time moved by `millis`, which may be negative; stops at the ends of time.
    #[inline]
    pub const fn offset_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}

/// A duration in whole milliseconds, capped at the range of a timestamp.
#[inline]
fn whole_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    #[inline]
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(whole_millis(duration)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    #[inline]
    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(whole_millis(duration)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MIN => f.write_str("-inf"),
            Self::MAX => f.write_str("+inf"),
            Self(millis) => fmt::Display::fmt(&millis, f),
        }
    }
}

/// A reading of the seam's monotonic clock, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The earlier of two times that there may be.
    ///
    /// ```
    /// use wiesel_core::Nanos;
    ///
    /// let [one, two] = [Nanos(1), Nanos(2)].map(Some);
    /// assert_eq!([Nanos::earlier(two, one), Nanos::earlier(None, two)], [one, two]);
    /// assert_eq!(Nanos::earlier(None, None), None);
    /// ```
    pub fn earlier(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        one.into_iter().chain(other).min()
    }

    /// The time from `earlier` to this reading; zero if `earlier` is later.
    #[inline]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Nanos {
    type Output = Self;
    #[inline]
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// `count` milliseconds.
pub const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// `count` seconds.
pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// `count` minutes.
pub const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count.saturating_mul(60))
}

/// `count` hours.
pub const fn hours(count: u64) -> Duration {
    Duration::from_secs(count.saturating_mul(3_600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_stops_at_the_ends_of_time() {
        assert_eq!(Timestamp::MAX + seconds(1), Timestamp::MAX);
        assert_eq!(Timestamp::MIN - seconds(1), Timestamp::MIN);
        assert_eq!(Timestamp::from_millis(5) + Duration::MAX, Timestamp::MAX);
        assert_eq!(Timestamp::from_millis(-5) - millis(7), Timestamp::from_millis(-12));
        assert_eq!(Timestamp::MIN.offset_millis(-1), Timestamp::MIN);
    }

    #[test]
    fn the_ends_of_time_print_as_such() {
        assert_eq!(
            format!("{} {} {}", Timestamp::MIN, Timestamp::from_millis(7), Timestamp::MAX),
            "-inf 7 +inf"
        );
    }

    #[test]
    fn nanos_never_run_backwards() {
        assert_eq!(Nanos(5).since(Nanos(9)), Duration::ZERO);
        assert_eq!(Nanos(9).since(Nanos(5)), Duration::from_nanos(4));
        assert_eq!(Nanos(u64::MAX) + seconds(1), Nanos(u64::MAX));
    }
}
