//! What a program says of an interval join: the bounds, and what comes of a pair.

use std::{marker::PhantomData, time::Duration};

use wiesel_core::{Meta, Timestamp};
use wiesel_record::{Out, Record};

use crate::{FunctionError, JoinFunction, SideOutput};

/// How far the times of a pair may be apart: right minus left.
///
/// ```
/// use wiesel_core::seconds;
/// use wiesel_operators::{after, before};
///
/// assert!(before(seconds(5)) < after(seconds(1)));
/// assert_eq!(before(seconds(0)), after(seconds(0)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeBound(i64);

/// So long before the record of the left stream.
pub fn before(duration: Duration) -> TimeBound {
    TimeBound(-i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

/// So long after the record of the left stream.
pub fn after(duration: Duration) -> TimeBound {
    TimeBound(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

/// The bounds of a join, and where late records go.
#[derive(Clone, Copy, Debug)]
pub struct IntervalOptions {
    pub(super) lower_ms: i64,
    pub(super) upper_ms: i64,
    /// The slots of the side outputs for late records, left and right.
    pub late_slots: [Option<usize>; 2],
}

impl IntervalOptions {
    /// Right times from `lower` to `upper` after the left one, both included.
    pub fn between(lower: TimeBound, upper: TimeBound) -> Self {
        Self { lower_ms: lower.0, upper_ms: upper.0, late_slots: [None; 2] }
    }

    /// The lower bound itself is too far away.
    #[must_use]
    pub fn lower_bound_exclusive(self) -> Self {
        Self { lower_ms: self.lower_ms.saturating_add(1), ..self }
    }

    /// The upper bound itself is too far away.
    #[must_use]
    pub fn upper_bound_exclusive(self) -> Self {
        Self { upper_ms: self.upper_ms.saturating_sub(1), ..self }
    }

    /// Whether any two times are within the bounds.
    pub fn holds_any(self) -> bool {
        self.lower_ms <= self.upper_ms
    }
}

/// What a function knows of a pair beside its records.
pub struct ProcessJoinContext<'c, S: Record> {
    pub(super) left: Timestamp,
    pub(super) right: Timestamp,
    pub(super) side: Option<&'c mut (dyn SideOutput<S> + 'static)>,
}

impl<S: Record> ProcessJoinContext<'_, S> {
    /// The time of the left record.
    pub fn left_timestamp(&self) -> Timestamp {
        self.left
    }

    /// The time of the right record.
    pub fn right_timestamp(&self) -> Timestamp {
        self.right
    }

    /// The time of what is emitted: the later of both.
    pub fn timestamp(&self) -> Timestamp {
        self.left.max(self.right)
    }

    /// Puts a record aside. Without a reader of the side output it is gone.
    pub fn side(&mut self, value: S::View<'_>) {
        let meta = Meta::at(self.timestamp());
        if let Some(side) = &mut self.side {
            side.emit(value, meta);
        }
    }
}

/// A function over the pairs of an interval join.
///
/// ```
/// use wiesel_operators::{FunctionError, ProcessJoinContext, ProcessJoinFunction};
/// use wiesel_record::Out;
///
/// /// How long an order (left) has waited for its payment (right).
/// #[derive(Clone)]
/// struct Waited;
///
/// impl ProcessJoinFunction<u64, String> for Waited {
///     type Out = (u64, i64);
///     type Side = ();
///
///     fn process(
///         &mut self,
///         order: u64,
///         _payment: &str,
///         context: &mut ProcessJoinContext<'_, ()>,
///         out: &mut dyn Out<(u64, i64)>,
///     ) -> Result<(), FunctionError> {
///         let (from, to) = (context.left_timestamp(), context.right_timestamp());
///         out.emit((order, to.as_millis() - from.as_millis()));
///         Ok(())
///     }
/// }
/// ```
pub trait ProcessJoinFunction<L: Record, R: Record>: Clone + Send + 'static {
    /// What goes on.
    type Out: Record;
    /// What is put aside; `()` if nothing is.
    type Side: Record;

    /// Takes one pair.
    ///
    /// # Errors
    ///
    /// Whatever makes the pair impossible to process; the job fails.
    fn process(
        &mut self,
        left: L::View<'_>,
        right: R::View<'_>,
        context: &mut ProcessJoinContext<'_, Self::Side>,
        out: &mut dyn Out<Self::Out>,
    ) -> Result<(), FunctionError>;
}

/// A function over pairs that neither fails nor looks at their times.
pub struct PairFunction<F, O> {
    function: F,
    types: PhantomData<fn() -> O>,
}

impl<F, O> PairFunction<F, O> {
    /// Calls `function`.
    pub fn new(function: F) -> Self {
        Self { function, types: PhantomData }
    }
}

impl<F: Clone, O> Clone for PairFunction<F, O> {
    fn clone(&self) -> Self {
        Self::new(self.function.clone())
    }
}

impl<L: Record, R: Record, O: Record, F: JoinFunction<L, R, O>> ProcessJoinFunction<L, R>
    for PairFunction<F, O>
{
    type Out = O;
    type Side = ();

    #[inline(always)]
    fn process(
        &mut self,
        left: L::View<'_>,
        right: R::View<'_>,
        _context: &mut ProcessJoinContext<'_, ()>,
        out: &mut dyn Out<O>,
    ) -> Result<(), FunctionError> {
        (self.function)(left, right, out);
        Ok(())
    }
}
