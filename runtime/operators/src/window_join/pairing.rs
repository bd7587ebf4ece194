//! What comes of the records of a key that meet in a window: every pair, or both lists.

use std::{marker::PhantomData, ops::ControlFlow};

use wiesel_record::{Out, Record};

use crate::{Elements, JoinFunction};

/// What comes of the records of one key and window.
pub trait WindowPairing<L: Record, R: Record>: Clone + Send + 'static {
    /// What goes on.
    type Out: Record;

    /// Whether nothing comes of a key that is on one side only.
    const NEEDS_BOTH: bool;

    /// Emits what the records on the left from the `from`-th on make with those on the right. When the turn is over it
    /// breaks with the number of those that it has done.
    fn emit(
        &self,
        left: &Elements<'_, L>,
        right: &Elements<'_, R>,
        from: usize,
        out: &mut dyn Out<Self::Out>,
        is_over: &mut dyn FnMut() -> bool,
    ) -> ControlFlow<usize>;
}

/// Every pair: an inner join.
pub struct EachPair<F, O> {
    function: F,
    types: PhantomData<fn() -> O>,
}

/// Both lists, of each key that is on either side: a co-group.
pub struct BothSides<F, O> {
    function: F,
    types: PhantomData<fn() -> O>,
}

macro_rules! pairing {
    ($name:ident) => {
        impl<F, O> $name<F, O> {
            /// Calls `function`.
            pub fn new(function: F) -> Self {
                Self { function, types: PhantomData }
            }
        }

        impl<F: Clone, O> Clone for $name<F, O> {
            fn clone(&self) -> Self {
                Self::new(self.function.clone())
            }
        }
    };
}
pairing!(EachPair);
pairing!(BothSides);

impl<L: Record, R: Record, O: Record, F: JoinFunction<L, R, O>> WindowPairing<L, R>
    for EachPair<F, O>
{
    type Out = O;

    const NEEDS_BOTH: bool = true;

    #[inline(always)]
    fn emit(
        &self,
        left: &Elements<'_, L>,
        right: &Elements<'_, R>,
        from: usize,
        out: &mut dyn Out<O>,
        is_over: &mut dyn FnMut() -> bool,
    ) -> ControlFlow<usize> {
        if left.is_empty() || right.is_empty() {
            return ControlFlow::Continue(());
        }
        let mut done = 0;
        left.try_for_each(|one| {
            done += 1;
            if done > from {
                right.for_each(|two| (self.function)(L::shrink(one), two, out));
                if is_over() {
                    return ControlFlow::Break(done);
                }
            }
            ControlFlow::Continue(())
        })
    }
}

impl<L, R, O, F> WindowPairing<L, R> for BothSides<F, O>
where
    L: Record,
    R: Record,
    O: Record,
    F: for<'t, 'e> Fn(&Elements<'t, L>, &Elements<'t, R>, &'e mut dyn Out<O>)
        + Clone
        + Send
        + 'static,
{
    type Out = O;

    const NEEDS_BOTH: bool = false;

    #[inline(always)]
    fn emit(
        &self,
        left: &Elements<'_, L>,
        right: &Elements<'_, R>,
        from: usize,
        out: &mut dyn Out<O>,
        is_over: &mut dyn FnMut() -> bool,
    ) -> ControlFlow<usize> {
        if from > 0 {
            return ControlFlow::Continue(());
        }
        (self.function)(left, right, out);
        if is_over() { ControlFlow::Break(1) } else { ControlFlow::Continue(()) }
    }
}
