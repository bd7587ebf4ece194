//! How a stream gets its watermarks: what a generator is asked, the generators there are, and the strategy around one.
//!
//! ```text
//!   records      5  9  7  12        times are read by a closure and travel beside the record
//!   watermark          ─────▶ 9     bound 2: the greatest time − 2 − 1 ms, once a turn, if it has advanced
//! ```
//!
//! # What is always true
//!
//! 1. A watermark `t` promises that no record with a time `<= t` follows: for bounded disorder it is
//!    `max − bound − 1` ms.
//! 2. A strategy is data. Each split of a source has a generator of its own, a clone of the strategy's.
//! 3. A generator's watermark is in no checkpoint: after a restart it begins anew. That of the task is in it
//!    (`task/barriers.rs` of wiesel-task), so what was late stays late.

use std::{marker::PhantomData, time::Duration};

use wiesel_core::{AlignmentGroup, Timestamp};
use wiesel_record::Record;

/// Decides which watermark the records seen so far allow.
///
/// Flink's `WatermarkGenerator`. [`on_event`](Self::on_event) runs per record, the other once a turn.
///
/// ```
/// use wiesel_core::Timestamp;
/// use wiesel_operators::WatermarkGenerator;
/// use wiesel_record::Record;
///
/// /// No record is more than a second older than the newest before it.
/// #[derive(Clone)]
/// struct Second(Timestamp);
///
/// impl<T: Record> WatermarkGenerator<T> for Second {
///     fn on_event(&mut self, _record: T::View<'_>, time: Timestamp) {
///         self.0 = self.0.max(time.offset_millis(-1_001));
///     }
///     fn current(&self) -> Timestamp {
///         self.0
///     }
/// }
/// ```
pub trait WatermarkGenerator<T: Record>: Clone + Send + 'static {
    /// Whether a new watermark is told right after the record that allowed it, instead of at the end of the turn.
    const IS_PUNCTUATED: bool = false;

    /// This record, with this event time, has passed.
    fn on_event(&mut self, record: T::View<'_>, time: Timestamp);

    /// No record at or below this time will follow; [`Timestamp::MIN`] if nothing can be said.
    fn current(&self) -> Timestamp;
}

/// Records are out of order by at most a bound.
#[derive(Clone, Debug)]
pub struct BoundedOutOfOrderness {
    bound_ms: i64,
    max: Timestamp,
}

impl<T: Record> WatermarkGenerator<T> for BoundedOutOfOrderness {
    #[inline]
    fn on_event(&mut self, _record: T::View<'_>, time: Timestamp) {
        self.max = self.max.max(time);
    }

    fn current(&self) -> Timestamp {
        match self.max {
            Timestamp::MIN => Timestamp::MIN,
            max => max.offset_millis(-self.bound_ms).offset_millis(-1),
        }
    }
}

/// Some records say how far event time has come.
pub struct Punctuated<T, F> {
    watermark_of: F,
    max: Timestamp,
    types: PhantomData<fn(T)>,
}

impl<T, F: Clone> Clone for Punctuated<T, F> {
    fn clone(&self) -> Self {
        Self { watermark_of: self.watermark_of.clone(), max: self.max, types: PhantomData }
    }
}

impl<T, F> WatermarkGenerator<T> for Punctuated<T, F>
where
    T: Record,
    F: for<'a> Fn(T::View<'a>, Timestamp) -> Option<Timestamp> + Clone + Send + 'static,
{
    const IS_PUNCTUATED: bool = true;

    #[inline]
    fn on_event(&mut self, record: T::View<'_>, time: Timestamp) {
        if let Some(watermark) = (self.watermark_of)(record, time) {
            self.max = self.max.max(watermark);
        }
    }

    fn current(&self) -> Timestamp {
        self.max
    }
}

/// Promises nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoWatermarks;

impl<T: Record> WatermarkGenerator<T> for NoWatermarks {
    #[inline]
    fn on_event(&mut self, _record: T::View<'_>, _time: Timestamp) {}

    fn current(&self) -> Timestamp {
        Timestamp::MIN
    }
}

/// How a stream gets its watermarks: a generator, when to call a split idle, and who waits for whom.
#[derive(Clone, Debug)]
pub struct WatermarkStrategy<G> {
    pub(crate) generator: G,
    pub(crate) idle_after: Option<Duration>,
    pub(crate) alignment: Option<AlignmentGroup>,
}

impl<G> WatermarkStrategy<G> {
    /// Watermarks by a generator of one's own.
    pub fn custom(generator: G) -> Self {
        Self { generator, idle_after: None, alignment: None }
    }

    /// After `idle_after` without a record a split no longer holds the watermark back; when all splits of a subtask are
    /// idle, neither does the subtask. The time in which the subtask could not write, or the split was paused by
    /// alignment, does not count. If it is no time at all, the graph of the job is an error.
    #[must_use]
    pub fn with_idleness(self, idle_after: Duration) -> Self {
        Self { idle_after: Some(idle_after), ..self }
    }

    /// Splits wait while they are more than `max_drift` ahead of the slowest split of all sources in `group`, so that
    /// little has to be kept of what is read early. Watermarks are compared every `update_interval`; a split may be
    /// further ahead by what is read of it in that time. Idle splits hold nobody back.
    ///
    /// Only where watermarks are made in the vertex of a source, which is what can wait. Sources that give a group
    /// different numbers have the last ones that were reported.
    ///
    /// ```
    /// use wiesel_core::{millis, seconds};
    /// use wiesel_operators::bounded_out_of_orderness;
    ///
    /// let strategy = bounded_out_of_orderness(seconds(2))
    ///     .with_idleness(seconds(30))
    ///     .with_watermark_alignment("orders", seconds(60), millis(500));
    /// # let _ = strategy;
    /// ```
    #[must_use]
    pub fn with_watermark_alignment(
        self,
        group: &str,
        max_drift: Duration,
        update_interval: Duration,
    ) -> Self {
        let name = group.to_owned();
        Self { alignment: Some(AlignmentGroup { name, max_drift, update_interval }), ..self }
    }

    /// What is wrong with it, whatever the data: a job with such a strategy is refused.
    pub fn mistake(&self) -> Option<String> {
        let what = "after no time at all every split is idle, whatever comes of it: give `with_idleness` a longer one";
        (self.idle_after == Some(Duration::ZERO)).then(|| what.to_owned())
    }

    /// Whether splits wait for others.
    pub fn is_aligned(&self) -> bool {
        self.alignment.is_some()
    }
}

/// Watermarks for records that are out of order by at most `bound`.
pub fn bounded_out_of_orderness(bound: Duration) -> WatermarkStrategy<BoundedOutOfOrderness> {
    let bound_ms = i64::try_from(bound.as_millis()).unwrap_or(i64::MAX);
    WatermarkStrategy::custom(BoundedOutOfOrderness { bound_ms, max: Timestamp::MIN })
}

/// Watermarks for records in order of time.
pub fn monotonous_timestamps() -> WatermarkStrategy<BoundedOutOfOrderness> {
    bounded_out_of_orderness(Duration::ZERO)
}

/// Watermarks that some records bring with them: `watermark_of` is asked for each record and its event time, and what it
/// says is told right after that record. What is not greater than before is ignored. The type of the records is named,
/// since the closure is written before the stream is known.
///
/// ```
/// use wiesel_core::Timestamp;
/// use wiesel_operators::punctuated;
///
/// // (event time, whether all of that time has been sent)
/// let strategy = punctuated::<(i64, bool)>(|(_, is_last), time| is_last.then_some(time));
/// # let _ = strategy;
/// ```
pub fn punctuated<T: Record>(
    watermark_of: impl for<'a> Fn(T::View<'a>, Timestamp) -> Option<Timestamp> + Clone + Send + 'static,
) -> WatermarkStrategy<impl WatermarkGenerator<T>> {
    WatermarkStrategy::custom(Punctuated { watermark_of, max: Timestamp::MIN, types: PhantomData })
}

/// Gives records their event time and the stream no watermarks: windows fire at the end of the input, and no record is
/// late. Flink's `WatermarkStrategy.noWatermarks()`.
///
/// ```
/// use wiesel_operators::no_watermarks;
///
/// let strategy = no_watermarks();
/// # let _ = strategy;
/// ```
pub fn no_watermarks() -> WatermarkStrategy<NoWatermarks> {
    WatermarkStrategy::custom(NoWatermarks)
}
