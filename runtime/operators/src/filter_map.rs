//! One record in, a view of part of it out or nothing: what `filter` and `project` do, with one look at the record.

use std::marker::PhantomData;

use wiesel_core::Meta;
use wiesel_record::{FnView, Item, Record, Viewed};

use crate::{
    Chain, Link, TaskContext,
    chain::{clone_builder, forward_control},
};

/// Passes on the views that `function` gives.
pub struct FilterMap<T, F, O, D> {
    function: F,
    next: D,
    types: PhantomData<fn(T) -> O>,
}

forward_control!([T: Record, F: 'static, O: Record, D: Link<O>] FilterMap<T, F, O, D>);

impl<T, F, O, D> Link<T> for FilterMap<T, F, O, D>
where
    T: Record,
    O: Record,
    F: for<'a> FnView<'a, T::View<'a>, Option<O::View<'a>>> + 'static,
    D: Link<O>,
{
    // Not always: a wide view in front of a partition is better read where it lies than copied in the loop of a source.
    #[inline]
    fn push<I: Item<T>>(&mut self, item: I, meta: Meta) {
        let Some(out) = (self.function)(item.view()) else { return };
        self.next.push(Viewed::<O>(out), meta);
    }
}

/// `filter_map` at the end of `chain`.
pub struct FilterMapTo<C, F, O> {
    chain: C,
    function: F,
    types: PhantomData<fn() -> O>,
}

clone_builder!([C, F, O] FilterMapTo<C, F, O> { chain, function, types } where C: Clone, F: Clone);

impl<C, F, O> FilterMapTo<C, F, O> {
    /// Filters and projects with `function`.
    pub fn new(chain: C, function: F) -> Self {
        Self { chain, function, types: PhantomData }
    }
}

impl<T, C, F, O> Chain<T> for FilterMapTo<C, F, O>
where
    T: Record,
    C: Chain<T>,
    O: Record,
    F: for<'a> FnView<'a, <C::Out as Record>::View<'a>, Option<O::View<'a>>>
        + Clone
        + Send
        + 'static,
{
    type Out = O;
    type With<D: Link<O>> = C::With<FilterMap<C::Out, F, O, D>>;

    fn finish<D: Link<O>>(self, next: D, context: &TaskContext) -> Self::With<D> {
        let link = FilterMap { function: self.function, next, types: PhantomData };
        self.chain.finish(link, context)
    }
}
