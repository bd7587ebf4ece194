//! The two clocks.

use std::{
    sync::OnceLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use wiesel_core::{Nanos, Timestamp};

static START: OnceLock<Instant> = OnceLock::new();

/// The monotonic clock, in nanoseconds since its first reading in this process.
#[inline]
pub(crate) fn now() -> Nanos {
    let since = START.get_or_init(Instant::now).elapsed();
    Nanos(since.as_secs() * 1_000_000_000 + u64::from(since.subsec_nanos()))
}

/// The time of day.
pub(super) fn wall_time() -> Timestamp {
    let millis = |since: std::time::Duration| i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    let millis = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => millis(after),
        Err(before) => -millis(before.duration()),
    };
    Timestamp::from_millis(millis)
}
