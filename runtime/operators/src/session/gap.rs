//! How long a key has to be silent for its session to end.

use std::time::Duration;

use wiesel_record::Record;

use crate::window::whole_ms;

/// Windows that end when a key has been silent for a gap: every record opens `[time, time + gap)`, and windows of a key
/// that overlap or touch are one.
///
/// Two that only touch, because a record comes exactly one gap after the last, are one only if it comes before the
/// watermark between them: the first has fired else, and with no lateness is over. It is so in Flink. Where that should not
/// depend on who is faster, give a gap that no two times are apart by, or some lateness.
///
/// ```text
///   gap 10     a@3 ├────────┤                  two sessions of a: [3, 17) and [30, 40)
///              a@7     ├────────┤
///              a@30                  ├────────┤
/// ```
///
/// ```
/// use wiesel_core::minutes;
/// use wiesel_operators::Session;
///
/// let visits = Session::with_gap(minutes(30));
/// # let _ = visits;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Session<G = FixedGap> {
    pub(crate) gap: G,
}

impl Session {
    /// Sessions that end after `gap` without a record. Under a millisecond, the graph of the job is an error.
    pub fn with_gap(gap: Duration) -> Self {
        Self { gap: FixedGap { gap_ms: whole_ms(gap) } }
    }

    /// Sessions whose gap each record says for itself. One under a millisecond fails the job.
    ///
    /// ```
    /// use wiesel_core::minutes;
    /// use wiesel_operators::Session;
    ///
    /// // Users whose number is even are patient.
    /// let visits = Session::with_dynamic_gap::<u64, _>(|user| minutes(if user % 2 == 0 { 60 } else { 5 }));
    /// # let _ = visits;
    /// ```
    pub fn with_dynamic_gap<T: Record, F>(gap_of: F) -> Session<DynamicGap<F>>
    where
        F: for<'a> Fn(T::View<'a>) -> Duration + Clone + Send + 'static,
    {
        Session { gap: DynamicGap { gap_of } }
    }
}

impl<G> Session<G> {
    /// The gap, as plans name it.
    pub fn gap_name<T: Record>(&self) -> String
    where
        G: SessionGap<T>,
    {
        self.gap.name()
    }

    /// What is wrong with the gap, whatever the data: a job with such sessions is refused.
    pub fn gap_mistake<T: Record>(&self) -> Option<String>
    where
        G: SessionGap<T>,
    {
        self.gap.mistake()
    }
}

/// The gap of sessions of records `T`.
pub trait SessionGap<T: Record>: Clone + Send + 'static {
    /// The gap after a record, in milliseconds; below 1 it is none.
    fn gap_ms(&self, value: T::View<'_>) -> i64;

    /// As plans name it.
    fn name(&self) -> String;

    /// What is wrong with it, whatever the data.
    fn mistake(&self) -> Option<String> {
        None
    }
}

/// The same gap after every record.
#[derive(Clone, Copy, Debug)]
pub struct FixedGap {
    gap_ms: i64,
}

impl<T: Record> SessionGap<T> for FixedGap {
    #[inline(always)]
    fn gap_ms(&self, _: T::View<'_>) -> i64 {
        self.gap_ms
    }

    fn name(&self) -> String {
        format!("{} ms", self.gap_ms)
    }

    fn mistake(&self) -> Option<String> {
        let what = "a session ends after a gap of at least one millisecond";
        (self.gap_ms == 0).then(|| what.to_owned())
    }
}

/// A gap that each record says.
#[derive(Clone, Copy)]
pub struct DynamicGap<F> {
    gap_of: F,
}

impl<T: Record, F> SessionGap<T> for DynamicGap<F>
where
    F: for<'a> Fn(T::View<'a>) -> Duration + Clone + Send + 'static,
{
    #[inline]
    fn gap_ms(&self, value: T::View<'_>) -> i64 {
        whole_ms((self.gap_of)(value))
    }

    fn name(&self) -> String {
        "dynamic".to_owned()
    }
}
