//! Which windows there are, and which operator aggregates in them.

mod general;

use wiesel_operators::{
    AllWindowsStart, EventTimeWindows, Folding, KeyedHeadStart, KeyedOperator, KeyedStart, Merged,
    Partial, Session, SessionGap, SessionStart, Sliding, SlidingStart, Start, Tumbling,
    TumblingStart, Uncombined, WindowOptions,
};
use wiesel_record::{Key, Record};

pub use general::{Evicted, GeneralWindows, PlainWindows, Triggered};
pub(crate) use general::{evicted, triggered};

/// Windows of records `T`: [`Tumbling`], [`Sliding`], [`Session`], [`Cumulative`](wiesel_operators::Cumulative) or
/// [`Global`](wiesel_operators::Global).
#[diagnostic::on_unimplemented(
    message = "these are no windows of `{T}`",
    label = "must be `Tumbling::event_time(size)`, `Sliding::event_time(size, slide)`, `Session::with_gap(gap)`, `Cumulative::event_time(max, step)`, one of these with `processing_time`, or `Global`"
)]
pub trait Windowing<T: Record>: Clone + Send + 'static {
    /// What makes the operator that aggregates in them per key.
    type Keyed<K: Key, A: Folding<K, T>>: KeyedStart<T, K, Operator: KeyedOperator<T, K, Out = A::Out>>;

    /// What makes the head that aggregates all records in them.
    type All<A: Folding<(), T>>: Start<Out = A::Out>;

    /// As [`Keyed`](Self::Keyed), over what producers have combined. [`Uncombined`] if they never do.
    type KeyedPartials<K: Key, A: Folding<K, T>>: KeyedStart<
            Partial<K, A::Acc>,
            K,
            Operator: KeyedOperator<Partial<K, A::Acc>, K, Out = A::Out>,
        >;

    /// As [`All`](Self::All), over what producers have combined.
    type AllPartials<A: Folding<(), T>>: Start<Out = A::Out>;

    /// Makes the operator.
    fn keyed<K: Key, A: Folding<K, T>>(
        folding: A,
        options: WindowOptions<Self>,
    ) -> Self::Keyed<K, A>;

    /// Makes the head.
    fn all<A: Folding<(), T>>(folding: A, options: WindowOptions<Self>) -> Self::All<A>;

    /// The slices in which producers may combine records, and the operator over what they send. None if it would show, or
    /// these windows are not made of slices.
    fn keyed_partials<K: Key, A: Folding<K, T>>(
        folding: &A,
        options: &WindowOptions<Self>,
    ) -> Option<(Tumbling, Self::KeyedPartials<K, A>)>;

    /// As [`keyed_partials`](Self::keyed_partials), of all records.
    fn all_partials<A: Folding<(), T>>(
        folding: &A,
        options: &WindowOptions<Self>,
    ) -> Option<(Tumbling, Self::AllPartials<A>)>;

    /// As plans name them.
    fn name(&self) -> String;

    /// What is wrong with them, whatever the data.
    fn mistake(&self) -> Option<String> {
        None
    }
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

    /// What they are made of, if every time is in one of them.
    fn slices(self) -> Option<Tumbling>;

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

    fn slices(self) -> Option<Tumbling> {
        Some(self)
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

    fn slices(self) -> Option<Tumbling> {
        (self.slide_ms() <= self.size_ms()).then(|| Sliding::slices(self))
    }

    fn name(self) -> String {
        format!("Sliding({} ms, {} ms)", self.size_ms(), self.slide_ms())
    }
}

/// The slices in which records may be combined before windows see them: if that cannot show. Parts have to merge, in any
/// order; and late records may neither fire a window again, once for each of them, nor be asked for.
fn slices_of<W: WindowAssigner>(options: &WindowOptions<W>, merges: bool) -> Option<Tumbling> {
    let shows = !merges || !options.allowed_lateness.is_zero() || options.late_slot.is_some();
    if shows { None } else { options.windows.slices() }
}

impl<T: Record, W: WindowAssigner> Windowing<T> for W {
    type Keyed<K: Key, A: Folding<K, T>> = W::Start<K, T, A>;
    type All<A: Folding<(), T>> = AllWindowsStart<A, T, W>;
    type KeyedPartials<K: Key, A: Folding<K, T>> = W::Start<K, Partial<K, A::Acc>, Merged<A, T>>;
    type AllPartials<A: Folding<(), T>> = AllWindowsStart<Merged<A, T>, Partial<(), A::Acc>, W>;

    fn keyed_partials<K: Key, A: Folding<K, T>>(
        folding: &A,
        options: &WindowOptions<W>,
    ) -> Option<(Tumbling, Self::KeyedPartials<K, A>)> {
        let slices = slices_of(options, A::MERGES)?;
        Some((slices, W::start(Merged::new(folding.clone()), options.clone())))
    }

    fn all_partials<A: Folding<(), T>>(
        folding: &A,
        options: &WindowOptions<W>,
    ) -> Option<(Tumbling, Self::AllPartials<A>)> {
        let slices = slices_of(options, A::MERGES)?;
        Some((slices, AllWindowsStart::new(Merged::new(folding.clone()), options.clone())))
    }

    fn keyed<K: Key, A: Folding<K, T>>(folding: A, options: WindowOptions<W>) -> Self::Keyed<K, A> {
        W::start(folding, options)
    }

    fn all<A: Folding<(), T>>(folding: A, options: WindowOptions<W>) -> Self::All<A> {
        AllWindowsStart::new(folding, options)
    }

    fn name(&self) -> String {
        WindowAssigner::name(*self)
    }

    fn mistake(&self) -> Option<String> {
        EventTimeWindows::mistake(*self)
    }
}

/// Gives every record the same key.
pub type NoKey<T> = for<'a> fn(<T as Record>::View<'a>);

pub(crate) fn no_key<T: Record>(_: T::View<'_>) {}

impl<T: Record, G: SessionGap<T>> Windowing<T> for Session<G> {
    type Keyed<K: Key, A: Folding<K, T>> = SessionStart<A, G>;
    type All<A: Folding<(), T>> = KeyedHeadStart<T, (), NoKey<T>, SessionStart<A, G>>;
    // What is combined is in no session before its neighbours are known.
    type KeyedPartials<K: Key, A: Folding<K, T>> = Uncombined<A::Out>;
    type AllPartials<A: Folding<(), T>> = KeyedHeadStart<T, (), NoKey<T>, Uncombined<A::Out>>;

    fn keyed_partials<K: Key, A: Folding<K, T>>(
        _: &A,
        _: &WindowOptions<Self>,
    ) -> Option<(Tumbling, Uncombined<A::Out>)> {
        None
    }

    fn all_partials<A: Folding<(), T>>(
        _: &A,
        _: &WindowOptions<Self>,
    ) -> Option<(Tumbling, Self::AllPartials<A>)> {
        None
    }

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

    fn mistake(&self) -> Option<String> {
        self.gap_mistake::<T>()
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
