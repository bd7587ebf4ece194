//! One record in, the same record out or none: it is forwarded as it came, never rebuilt.

use std::{error::Error, marker::PhantomData};

use wiesel_core::Meta;
use wiesel_record::{Item, Record};

use crate::{
    Chain, Link, TaskContext,
    chain::{clone_builder, forward_control},
};

/// Passes on the records for which `function` is true.
pub struct Filter<T, F, D> {
    function: F,
    next: D,
    types: PhantomData<fn(T)>,
}

forward_control!([T: Record, F: 'static, D: Link<T>] Filter<T, F, D>);

impl<T, F, D> Link<T> for Filter<T, F, D>
where
    T: Record,
    F: for<'a> Fn(T::View<'a>) -> bool + 'static,
    D: Link<T>,
{
    #[inline]
    fn push<I: Item<T>>(&mut self, item: I, meta: Meta) {
        if (self.function)(item.view()) {
            self.next.push(item, meta);
        }
    }
}

/// As [`Filter`], with a function that may fail the task.
pub struct TryFilter<T, F, E, D> {
    function: F,
    context: TaskContext,
    next: D,
    types: PhantomData<fn(T) -> E>,
}

forward_control!([T: Record, F: 'static, E: 'static, D: Link<T>] TryFilter<T, F, E, D>);

impl<T, F, E, D> Link<T> for TryFilter<T, F, E, D>
where
    T: Record,
    E: Into<Box<dyn Error + Send + Sync>> + 'static,
    F: for<'a> Fn(T::View<'a>) -> Result<bool, E> + 'static,
    D: Link<T>,
{
    #[inline]
    fn push<I: Item<T>>(&mut self, item: I, meta: Meta) {
        match (self.function)(item.view()) {
            Ok(true) => self.next.push(item, meta),
            Ok(false) => {}
            Err(error) => self.context.fail_user("filter a record", error.into()),
        }
    }
}

/// `filter` at the end of `chain`.
pub struct FilterBy<C, F> {
    chain: C,
    function: F,
}

clone_builder!([C, F] FilterBy<C, F> { chain, function } where C: Clone, F: Clone);

/// `try_filter` at the end of `chain`.
pub struct TryFilterBy<C, F, E> {
    chain: C,
    function: F,
    types: PhantomData<fn() -> E>,
}

clone_builder!([C, F, E] TryFilterBy<C, F, E> { chain, function, types } where C: Clone, F: Clone);

impl<C, F> FilterBy<C, F> {
    /// Filters with `function`.
    pub fn new(chain: C, function: F) -> Self {
        Self { chain, function }
    }
}

impl<C, F, E> TryFilterBy<C, F, E> {
    /// Filters with `function`, which may fail.
    pub fn new(chain: C, function: F) -> Self {
        Self { chain, function, types: PhantomData }
    }
}

impl<T, C, F> Chain<T> for FilterBy<C, F>
where
    T: Record,
    C: Chain<T>,
    F: for<'a> Fn(<C::Out as Record>::View<'a>) -> bool + Clone + Send + 'static,
{
    type Out = C::Out;
    type With<D: Link<C::Out>> = C::With<Filter<C::Out, F, D>>;

    fn finish<D: Link<C::Out>>(self, next: D, context: &TaskContext) -> Self::With<D> {
        let link = Filter { function: self.function, next, types: PhantomData };
        self.chain.finish(link, context)
    }
}

impl<T, C, F, E> Chain<T> for TryFilterBy<C, F, E>
where
    T: Record,
    C: Chain<T>,
    E: Into<Box<dyn Error + Send + Sync>> + 'static,
    F: for<'a> Fn(<C::Out as Record>::View<'a>) -> Result<bool, E> + Clone + Send + 'static,
{
    type Out = C::Out;
    type With<D: Link<C::Out>> = C::With<TryFilter<C::Out, F, E, D>>;

    fn finish<D: Link<C::Out>>(self, next: D, context: &TaskContext) -> Self::With<D> {
        let link = TryFilter {
            function: self.function,
            context: context.clone(),
            next,
            types: PhantomData,
        };
        self.chain.finish(link, context)
    }
}
