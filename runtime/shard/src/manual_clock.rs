//! A clock that only a test moves: time of day and monotonic time of a [`Shard`](crate::Shard) on it.
//!
//! # What is always true
//!
//! 1. It stands still until it is told to go on.
//! 2. The time of day may be set back, as a machine's; monotonic time then stays where it is.

use std::{cell::Cell, rc::Rc, time::Duration};

use wiesel_core::{Nanos, Timestamp};

/// A clock that is moved by hand. Clones are the same clock.
///
/// ```
/// use std::time::Duration;
/// use wiesel_core::Timestamp;
/// use wiesel_shard::{ManualClock, Shard};
///
/// let clock = ManualClock::new(Timestamp::from_millis(1_000));
/// let shard = Shard::on(&clock);
/// clock.advance(Duration::from_millis(5));
/// assert_eq!(shard.wall_time(), Timestamp::from_millis(1_005));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Rc<Times>);

#[derive(Debug)]
struct Times {
    now: Cell<Nanos>,
    /// The time of day at monotonic time zero.
    start: Cell<Timestamp>,
}

impl ManualClock {
    /// A clock at this time of day.
    pub fn new(wall_time: Timestamp) -> Self {
        Self(Rc::new(Times { now: Cell::default(), start: Cell::new(wall_time) }))
    }

    /// Moves it on.
    pub fn advance(&self, duration: Duration) {
        self.0.now.set(self.0.now.get() + duration);
    }

    /// Sets the time of day. Monotonic time follows if it is later.
    pub fn set(&self, wall_time: Timestamp) {
        let ahead_ms = wall_time.as_millis().saturating_sub(self.wall_time().as_millis());
        if let Ok(ahead_ms) = u64::try_from(ahead_ms) {
            self.advance(Duration::from_millis(ahead_ms));
        } else {
            self.0.start.set(self.0.start.get().offset_millis(ahead_ms));
        }
    }

    /// Monotonic time, from zero.
    pub fn now(&self) -> Nanos {
        self.0.now.get()
    }

    /// The time of day.
    pub fn wall_time(&self) -> Timestamp {
        self.0.start.get() + Duration::from_nanos(self.0.now.get().0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shard;

    #[test]
    fn time_goes_on_by_hand_only() {
        let clock = ManualClock::new(Timestamp::from_millis(100));
        let shard = Shard::on(&clock);
        let started = shard.read_clock();
        assert_eq!((shard.read_clock(), shard.wall_time().as_millis()), (started, 100));
        clock.advance(Duration::from_millis(7));
        assert_eq!(shard.now(), started, "a turn has one time");
        shard.look();
        assert_eq!(shard.now().since(started), Duration::from_millis(7));
        clock.set(Timestamp::from_millis(50));
        assert_eq!(shard.wall_time().as_millis(), 50);
        assert_eq!(shard.read_clock().since(started), Duration::from_millis(7));
        clock.set(Timestamp::from_millis(60));
        assert_eq!(shard.read_clock().since(started), Duration::from_millis(17));
    }
}
