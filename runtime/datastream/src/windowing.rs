//! Which windows there are, and which operator aggregates in them.

use wiesel_operators::{
    AllWindowsStart, EventTimeWindows, Folding, KeyedHeadStart, KeyedOperator, KeyedStart, Session,
    SessionGap, SessionStart, Sliding, SlidingStart, Start, Tumbling, TumblingStart, WindowOptions,
};
use wiesel_record::{Key, Record};

/// Windows of records `T`: [`Tumbling`], [`Sliding`] or [`Session`].
#[diagnostic::on_unimplemented(
    message = "these are no windows of `{T}`",
    label = "must be `Tumbling::event_time(size)`, `Sliding::event_time(size, slide)` or `Session::with_gap(gap)`"
)]
pub trait Windowing<T: Record>: Clone + Send + 'static {
    /// What makes the operator that aggregates in them per key.
    type Keyed<K: Key, A: Folding<K, T>>: KeyedStart<T, K, Operator: KeyedOperator<T, K, Out = A::Out>>;

    /// What makes the head that aggregates all records in them.
    type All<A: Folding<(), T>>: Start<Out = A::Out>;

    /// Makes the operator.
    fn keyed<K: Key, A: Folding<K, T>>(
        folding: A,
        options: WindowOptions<Self>,
    ) -> Self::Keyed<K, A>;

    /// Makes the head.
    fn all<A: Folding<(), T>>(folding: A, options: WindowOptions<Self>) -> Self::All<A>;

    /// As plans name them.
    fn name(&self) -> String;
}

/// Windows that a record is in by its time alone: [`Tumbling`] or [`Sliding`].
#[diagnostic::on_unimplemented(
    message = "these are no windows of event time",
    label = "must be `Tumbling::event_time(size)` or `Sliding::event_time(size, slide)`"
)]
pub trait WindowAssigner: EventTimeWindows {
    /// What makes the operator that aggregates in them.
    type Start<K: Key, T: Record, A: Folding<K, T>>: KeyedStart<T, K, Operator: KeyedOperator<T, K, Out = A::Out>>;

    /// Makes it.
    fn start<K: Key, T: Record, A: Folding<K, T>>(
        folding: A,
        options: WindowOptions<Self>,
    ) -> Self::Start<K, T, A>;

    /// As plans name them.
    fn name(self) -> String;
}

impl WindowAssigner for Tumbling {
    type Start<K: Key, T: Record, A: Folding<K, T>> = TumblingStart<A>;

    fn start<K: Key, T: Record, A: Folding<K, T>>(
        folding: A,
        options: WindowOptions<Self>,
    ) -> TumblingStart<A> {
        TumblingStart::new(folding, options)
    }

    fn name(self) -> String {
        format!("Tumbling({} ms)", self.size_ms())
    }
}

impl WindowAssigner for Sliding {
    type Start<K: Key, T: Record, A: Folding<K, T>> = SlidingStart<A>;

    fn start<K: Key, T: Record, A: Folding<K, T>>(
        folding: A,
        options: WindowOptions<Self>,
    ) -> SlidingStart<A> {
        SlidingStart::new(folding, options)
    }

    fn name(self) -> String {
        format!("Sliding({} ms, {} ms)", self.size_ms(), self.slide_ms())
    }
}

impl<T: Record, W: WindowAssigner> Windowing<T> for W {
    type Keyed<K: Key, A: Folding<K, T>> = W::Start<K, T, A>;
    type All<A: Folding<(), T>> = AllWindowsStart<A, T, W>;

    fn keyed<K: Key, A: Folding<K, T>>(folding: A, options: WindowOptions<W>) -> Self::Keyed<K, A> {
        W::start(folding, options)
    }

    fn all<A: Folding<(), T>>(folding: A, options: WindowOptions<W>) -> Self::All<A> {
        AllWindowsStart::new(folding, options)
    }

    fn name(&self) -> String {
        WindowAssigner::name(*self)
    }
}

/// Gives every record the same key.
pub type NoKey<T> = for<'a> fn(<T as Record>::View<'a>);

fn no_key<T: Record>(_: T::View<'_>) {}

impl<T: Record, G: SessionGap<T>> Windowing<T> for Session<G> {
    type Keyed<K: Key, A: Folding<K, T>> = SessionStart<A, G>;
    type All<A: Folding<(), T>> = KeyedHeadStart<T, (), NoKey<T>, SessionStart<A, G>>;

    fn keyed<K: Key, A: Folding<K, T>>(
        folding: A,
        options: WindowOptions<Self>,
    ) -> SessionStart<A, G> {
        SessionStart::new(folding, options)
    }

    fn all<A: Folding<(), T>>(folding: A, options: WindowOptions<Self>) -> Self::All<A> {
        KeyedHeadStart::new(no_key::<T>, SessionStart::new(folding, options))
    }

    fn name(&self) -> String {
        format!("Session({})", self.gap_name::<T>())
    }
}

/// Windows that never grow together: what is aggregated in them need not merge.
#[diagnostic::on_unimplemented(
    message = "`fold` cannot merge two accumulators, and these windows grow together",
    label = "needs a fold that merges",
    note = "write `.fold_merging(initial, add, merge)`, `.reduce(…)`, or `.aggregate(…)` with a function that merges"
)]
pub trait UnmergedWindows {}

impl UnmergedWindows for Tumbling {}
impl UnmergedWindows for Sliding {}
