//! One record in, any number of views out.
//!
//! The closure emits through `&mut dyn Out<O>`, since what follows is not known when it is written. Once the
//! chain is fused the compiler sees which `Emit` it is and the calls are direct; the bench `chain` watches
//! over that by counting instructions.

use std::{error::Error, marker::PhantomData};

use wiesel_core::Meta;
use wiesel_record::{Item, Out, Record, Viewed};

use crate::{
    Chain, Link, TaskContext,
    chain::{clone_builder, forward_control},
};

/// Pushes what a closure emits, with the time and key of the record that it was given.
pub(crate) struct Emit<'n, D> {
    pub(crate) next: &'n mut D,
    pub(crate) meta: Meta,
}

impl<O: Record, D: Link<O>> Out<O> for Emit<'_, D> {
    // Always: a view that goes through a call is stored and loaded again.
    #[inline(always)]
    fn emit(&mut self, view: O::View<'_>) {
        self.next.push(Viewed::<O>(view), self.meta);
    }
}

/// Expands each record.
pub struct FlatMap<T, F, O, D> {
    function: F,
    next: D,
    types: PhantomData<fn(T) -> O>,
}

forward_control!([T: Record, F: 'static, O: Record, D: Link<O>] FlatMap<T, F, O, D>);

impl<T, F, O, D> Link<T> for FlatMap<T, F, O, D>
where
    T: Record,
    O: Record,
    F: for<'a, 'e> Fn(T::View<'a>, &'e mut dyn Out<O>) + 'static,
    D: Link<O>,
{
    #[inline]
    fn push<I: Item<T>>(&mut self, item: I, meta: Meta) {
        (self.function)(item.view(), &mut Emit { next: &mut self.next, meta });
    }
}

/// Expands each record, or fails the task.
pub struct TryFlatMap<T, F, O, E, D> {
    function: F,
    context: TaskContext,
    next: D,
    types: PhantomData<fn(T) -> (O, E)>,
}

forward_control!(
    [T: Record, F: 'static, O: Record, E: 'static, D: Link<O>] TryFlatMap<T, F, O, E, D>
);

impl<T, F, O, E, D> Link<T> for TryFlatMap<T, F, O, E, D>
where
    T: Record,
    O: Record,
    E: Into<Box<dyn Error + Send + Sync>> + 'static,
    F: for<'a, 'e> Fn(T::View<'a>, &'e mut dyn Out<O>) -> Result<(), E> + 'static,
    D: Link<O>,
{
    #[inline]
    fn push<I: Item<T>>(&mut self, item: I, meta: Meta) {
        let emitted = (self.function)(item.view(), &mut Emit { next: &mut self.next, meta });
        if let Err(error) = emitted {
            self.context.fail_user("flat-map a record", error.into());
        }
    }
}

/// `flat_map` at the end of `chain`.
pub struct FlatMapTo<C, F, O> {
    chain: C,
    function: F,
    types: PhantomData<fn() -> O>,
}

clone_builder!([C, F, O] FlatMapTo<C, F, O> { chain, function, types } where C: Clone, F: Clone);

/// `try_flat_map` at the end of `chain`.
pub struct TryFlatMapTo<C, F, O, E> {
    chain: C,
    function: F,
    types: PhantomData<fn() -> (O, E)>,
}

clone_builder!([C, F, O, E] TryFlatMapTo<C, F, O, E> { chain, function, types } where C: Clone, F: Clone);

impl<C, F, O> FlatMapTo<C, F, O> {
    /// Expands with `function`.
    pub fn new(chain: C, function: F) -> Self {
        Self { chain, function, types: PhantomData }
    }
}

impl<C, F, O, E> TryFlatMapTo<C, F, O, E> {
    /// Expands with `function`, which may fail.
    pub fn new(chain: C, function: F) -> Self {
        Self { chain, function, types: PhantomData }
    }
}

impl<T, C, F, O> Chain<T> for FlatMapTo<C, F, O>
where
    T: Record,
    C: Chain<T>,
    O: Record,
    F: for<'a, 'e> Fn(<C::Out as Record>::View<'a>, &'e mut dyn Out<O>) + Clone + Send + 'static,
{
    type Out = O;
    type With<D: Link<O>> = C::With<FlatMap<C::Out, F, O, D>>;

    fn finish<D: Link<O>>(self, next: D, context: &TaskContext) -> Self::With<D> {
        let link = FlatMap { function: self.function, next, types: PhantomData };
        self.chain.finish(link, context)
    }
}

impl<T, C, F, O, E> Chain<T> for TryFlatMapTo<C, F, O, E>
where
    T: Record,
    C: Chain<T>,
    O: Record,
    E: Into<Box<dyn Error + Send + Sync>> + 'static,
    F: for<'a, 'e> Fn(<C::Out as Record>::View<'a>, &'e mut dyn Out<O>) -> Result<(), E>
        + Clone
        + Send
        + 'static,
{
    type Out = O;
    type With<D: Link<O>> = C::With<TryFlatMap<C::Out, F, O, E, D>>;

    fn finish<D: Link<O>>(self, next: D, context: &TaskContext) -> Self::With<D> {
        let link = TryFlatMap {
            function: self.function,
            context: context.clone(),
            next,
            types: PhantomData,
        };
        self.chain.finish(link, context)
    }
}
