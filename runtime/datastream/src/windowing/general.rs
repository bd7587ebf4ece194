//! Windows for which the general operator stands: those with a trigger or an evictor of their own, and those that have no
//! other.

use wiesel_operators::{
    AggregatingStart, AssignWindows, Cumulative, EventTimeTrigger, Evictor, FoldElements, Folding,
    Global, KeyedHeadStart, ListingStart, NeverTrigger, NoEvictor, PassOn, ProcessingTime,
    ProcessingTimeTrigger, Session, Sliding, Trigger, Tumbling, Uncombined, WindowOperatorStart,
    WindowOptions,
};
use wiesel_record::{Key, Record};

use super::{NoKey, UnmergedWindows, WindowAssigner, Windowing, no_key};
use crate::{GraphBuilder, builder::short_type_name};

/// Windows that another trigger fires than they have by themselves.
#[derive(Clone, Copy, Debug)]
pub struct Triggered<W, R> {
    /// The windows.
    pub windows: W,
    /// What fires them.
    pub trigger: R,
}

/// Windows that forget elements when they fire.
#[derive(Clone, Copy, Debug)]
pub struct Evicted<W, R, E> {
    /// The windows.
    pub windows: W,
    /// What fires them.
    pub trigger: R,
    /// What they forget.
    pub evictor: E,
}

/// Windows as the general operator has them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` are no windows for a trigger, an evictor or a process function",
    label = "call `trigger` before `evictor`, each once"
)]
pub trait GeneralWindows<T: Record>: Windowing<T> {
    /// The windows themselves.
    type Windows: AssignWindows<T>;
    /// What fires them.
    type Trigger: Trigger<T>;
    /// What they forget.
    type Evictor: Evictor<T>;

    /// All three.
    fn into_parts(self) -> (Self::Windows, Self::Trigger, Self::Evictor);
}

/// Windows without a trigger or an evictor of their own.
pub trait PlainWindows {}

impl PlainWindows for Tumbling {}
impl PlainWindows for Sliding {}
impl PlainWindows for Cumulative {}
impl PlainWindows for Global {}
impl<G> PlainWindows for Session<G> {}
impl<W> PlainWindows for ProcessingTime<W> {}

impl<T: Record, W: PlainWindows + AssignWindows<T> + Windowing<T>> GeneralWindows<T> for W {
    type Windows = W;
    type Trigger = W::Trigger;
    type Evictor = NoEvictor;

    fn into_parts(self) -> (W, W::Trigger, NoEvictor) {
        (self, W::Trigger::default(), NoEvictor)
    }
}

impl<T, W, R> GeneralWindows<T> for Triggered<W, R>
where
    T: Record,
    W: AssignWindows<T> + Windowing<T>,
    R: Trigger<T>,
{
    type Windows = W;
    type Trigger = R;
    type Evictor = NoEvictor;

    fn into_parts(self) -> (W, R, NoEvictor) {
        (self.windows, self.trigger, NoEvictor)
    }
}

impl<T, W, R, E> GeneralWindows<T> for Evicted<W, R, E>
where
    T: Record,
    W: AssignWindows<T> + Windowing<T>,
    R: Trigger<T>,
    E: Evictor<T>,
{
    type Windows = W;
    type Trigger = R;
    type Evictor = E;

    fn into_parts(self) -> (W, R, E) {
        (self.windows, self.trigger, self.evictor)
    }
}

/// These windows with another trigger.
pub(crate) fn triggered<T: Record, W: GeneralWindows<T>, R: Trigger<T>>(
    builder: &GraphBuilder,
    options: WindowOptions<W>,
    trigger: R,
) -> WindowOptions<Triggered<W::Windows, R>>
where
    W::Windows: Windowing<T>,
{
    let (windows, options) = options.split();
    let windows = Triggered { windows: windows.into_parts().0, trigger };
    builder.mistake_of(windows.name(), windows.mistake());
    options.with(windows)
}

/// These windows with an evictor.
pub(crate) fn evicted<T: Record, W: GeneralWindows<T>, E>(
    options: WindowOptions<W>,
    evictor: E,
) -> WindowOptions<Evicted<W::Windows, W::Trigger, E>> {
    let (windows, options) = options.split();
    let (windows, trigger, _) = windows.into_parts();
    options.with(Evicted { windows, trigger, evictor })
}

/// A [`Windowing`] whose aggregates the general operator makes: of these contents, windows and trigger.
macro_rules! by_the_general_operator {
    (
        [$($generics:tt)*] $type:ty where [$($bounds:tt)*],
        <$windows:ty, $trigger:ty> $contents:ty = |$self:ident, $folding:ident| $parts:expr,
        $name:expr,
        $mistake:expr
    ) => {
        impl<T: Record, $($generics)*> Windowing<T> for $type
        where
            $($bounds)*
        {
            type Keyed<K: Key, A: Folding<K, T>> = WindowOperatorStart<$contents, $windows, $trigger>;
            type All<A: Folding<(), T>> = KeyedHeadStart<
                T,
                (),
                NoKey<T>,
                WindowOperatorStart<$contents, $windows, $trigger>,
            >;
            // Triggers see records one by one.
            type KeyedPartials<K: Key, A: Folding<K, T>> = Uncombined<A::Out>;
            type AllPartials<A: Folding<(), T>> =
                KeyedHeadStart<T, (), NoKey<T>, Uncombined<A::Out>>;

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
                $folding: A,
                options: WindowOptions<Self>,
            ) -> Self::Keyed<K, A> {
                let ($self, options) = options.split();
                let (contents, windows, trigger) = $parts;
                WindowOperatorStart::new(contents, trigger, options.with(windows))
            }

            fn all<A: Folding<(), T>>(
                $folding: A,
                options: WindowOptions<Self>,
            ) -> Self::All<A> {
                let ($self, options) = options.split();
                let (contents, windows, trigger) = $parts;
                let start = WindowOperatorStart::new(contents, trigger, options.with(windows));
                KeyedHeadStart::new(no_key::<T>, start)
            }

            fn name(&self) -> String {
                let name: fn(&Self) -> String = $name;
                name(self)
            }

            fn mistake(&self) -> Option<String> {
                let mistake: fn(&Self) -> Option<String> = $mistake;
                mistake(self)
            }
        }
    };
}

by_the_general_operator! {
    [] Global where [],
    <Global, NeverTrigger> AggregatingStart<A, PassOn> =
        |windows, folding| (AggregatingStart::new(folding, PassOn, None), windows, NeverTrigger),
    |_| "Global".to_owned(),
    |_| None
}

by_the_general_operator! {
    [W] ProcessingTime<W> where [W: AssignWindows<T> + Windowing<T>],
    <ProcessingTime<W>, ProcessingTimeTrigger> AggregatingStart<A, PassOn> = |windows, folding| {
        (AggregatingStart::new(folding, PassOn, None), windows, ProcessingTimeTrigger)
    },
    |this| format!("ProcessingTime{}", this.windows.name()),
    |this| this.windows.mistake()
}

by_the_general_operator! {
    [W, R] Triggered<W, R> where [W: AssignWindows<T> + Windowing<T>, R: Trigger<T>],
    <W, R> AggregatingStart<A, PassOn> = |this, folding| {
        (AggregatingStart::new(folding, PassOn, None), this.windows, this.trigger)
    },
    |this| format!("{}.{}", this.windows.name(), type_word::<R>()),
    |this| this.windows.mistake().or_else(|| this.trigger.mistake())
}

by_the_general_operator! {
    [W, R, E] Evicted<W, R, E> where [
        W: AssignWindows<T> + Windowing<T>,
        R: Trigger<T>,
        E: Evictor<T>
    ],
    <W, R> ListingStart<E, FoldElements<A, T>> = |this, folding| {
        let contents = ListingStart::new(this.evictor, FoldElements::new(folding), None);
        (contents, this.windows, this.trigger)
    },
    |this| format!("{}.{}.{}", this.windows.name(), type_word::<R>(), type_word::<E>()),
    |this| this.windows.mistake().or_else(|| this.trigger.mistake())
}

/// A type's name without its parameters, which may be closures.
fn type_word<T>() -> String {
    short_type_name::<T>().split(['<', '{']).next().unwrap_or_default().to_owned()
}

impl WindowAssigner for Cumulative {
    type Start<K: Key, T: Record, A: Folding<K, T>> =
        WindowOperatorStart<AggregatingStart<A, PassOn>, Self, EventTimeTrigger>;

    fn start<K: Key, T: Record, A: Folding<K, T>>(
        folding: A,
        options: WindowOptions<Self>,
    ) -> Self::Start<K, T, A> {
        let contents = AggregatingStart::new(folding, PassOn, None);
        WindowOperatorStart::new(contents, EventTimeTrigger, options)
    }

    fn slices(self) -> Option<Tumbling> {
        None
    }

    fn name(self) -> String {
        format!("Cumulative({} ms, {} ms)", self.max_ms(), self.step_ms())
    }
}

impl UnmergedWindows for Global {}
impl UnmergedWindows for Cumulative {}
impl UnmergedWindows for ProcessingTime<Tumbling> {}
impl UnmergedWindows for ProcessingTime<Sliding> {}
impl<W: UnmergedWindows, R> UnmergedWindows for Triggered<W, R> {}
// What an evictor leaves is aggregated when the window fires, and never before.
impl<W, R, E> UnmergedWindows for Evicted<W, R, E> {}
