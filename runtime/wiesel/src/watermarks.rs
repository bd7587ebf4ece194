//! Streams whose event time says nothing about what is still to come.

use wiesel_core::Timestamp;
use wiesel_operators::{WatermarkGenerator, WatermarkStrategy};

/// Promises nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoWatermarks;

impl WatermarkGenerator for NoWatermarks {
    #[inline]
    fn on_event(&mut self, _time: Timestamp) {}

    fn current(&self) -> Timestamp {
        Timestamp::MIN
    }
}

/// Gives records their event time and the stream no watermarks: windows fire at the end of the input, and no record is
/// late. Flink's `WatermarkStrategy.noWatermarks()`.
///
/// ```
/// use wiesel::prelude::*;
///
/// let env = wiesel::Environment::new();
/// env.from_collection([(2_i64, 7_u64), (1, 8)])
///     .watermarks(no_watermarks(), |(year, _)| Timestamp::from_millis(year))
///     .window_all(Tumbling::event_time(millis(1)))
///     .count()
///     .print();
/// ```
pub fn no_watermarks() -> WatermarkStrategy<NoWatermarks> {
    WatermarkStrategy::custom(NoWatermarks)
}
