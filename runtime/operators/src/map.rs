//! One record in, one record out: `map` builds a value, `project` passes on a view, `try_map` may fail.

use std::{error::Error, marker::PhantomData};

use wiesel_core::Meta;
use wiesel_record::{FnView, Item, Owned, Record, Viewed};

use crate::{
    Chain, Link, TaskContext,
    chain::{clone_builder, forward_control},
};

/// Builds a value from each view.
pub struct Map<T, F, O, D> {
    function: F,
    next: D,
    types: PhantomData<fn(T) -> O>,
}

forward_control!([T: Record, F: 'static, O: Record, D: Link<O>] Map<T, F, O, D>);

impl<T, F, O, D> Link<T> for Map<T, F, O, D>
where
    T: Record,
    O: Record,
    F: for<'a> Fn(T::View<'a>) -> O + 'static,
    D: Link<O>,
{
    #[inline]
    fn push<I: Item<T>>(&mut self, item: I, meta: Meta) {
        let out = (self.function)(item.view());
        self.next.push(Owned(out), meta);
    }
}

/// Passes on a view of each view: nothing is built.
pub struct Project<T, F, O, D> {
    function: F,
    next: D,
    types: PhantomData<fn(T) -> O>,
}

forward_control!([T: Record, F: 'static, O: Record, D: Link<O>] Project<T, F, O, D>);

impl<T, F, O, D> Link<T> for Project<T, F, O, D>
where
    T: Record,
    O: Record,
    F: for<'a> FnView<'a, T::View<'a>, O::View<'a>> + 'static,
    D: Link<O>,
{
    #[inline]
    fn push<I: Item<T>>(&mut self, item: I, meta: Meta) {
        let out = (self.function)(item.view());
        self.next.push(Viewed::<O>(out), meta);
    }
}

/// Builds a value from each view, or fails the task.
pub struct TryMap<T, F, O, E, D> {
    function: F,
    context: TaskContext,
    next: D,
    types: PhantomData<fn(T) -> (O, E)>,
}

forward_control!([T: Record, F: 'static, O: Record, E: 'static, D: Link<O>] TryMap<T, F, O, E, D>);

impl<T, F, O, E, D> Link<T> for TryMap<T, F, O, E, D>
where
    T: Record,
    O: Record,
    E: Into<Box<dyn Error + Send + Sync>> + 'static,
    F: for<'a> Fn(T::View<'a>) -> Result<O, E> + 'static,
    D: Link<O>,
{
    #[inline]
    fn push<I: Item<T>>(&mut self, item: I, meta: Meta) {
        match (self.function)(item.view()) {
            Ok(out) => self.next.push(Owned(out), meta),
            Err(error) => self.context.fail_user("map a record", error.into()),
        }
    }
}

/// `map` at the end of `chain`.
pub struct MapTo<C, F, O> {
    chain: C,
    function: F,
    types: PhantomData<fn() -> O>,
}

clone_builder!([C, F, O] MapTo<C, F, O> { chain, function, types } where C: Clone, F: Clone);

/// `project` at the end of `chain`.
pub struct ProjectTo<C, F, O> {
    chain: C,
    function: F,
    types: PhantomData<fn() -> O>,
}

clone_builder!([C, F, O] ProjectTo<C, F, O> { chain, function, types } where C: Clone, F: Clone);

/// `try_map` at the end of `chain`.
pub struct TryMapTo<C, F, O, E> {
    chain: C,
    function: F,
    types: PhantomData<fn() -> (O, E)>,
}

clone_builder!([C, F, O, E] TryMapTo<C, F, O, E> { chain, function, types } where C: Clone, F: Clone);

impl<C, F, O> MapTo<C, F, O> {
    /// Maps with `function`.
    pub fn new(chain: C, function: F) -> Self {
        Self { chain, function, types: PhantomData }
    }
}

impl<C, F, O> ProjectTo<C, F, O> {
    /// Projects with `function`.
    pub fn new(chain: C, function: F) -> Self {
        Self { chain, function, types: PhantomData }
    }
}

impl<C, F, O, E> TryMapTo<C, F, O, E> {
    /// Maps with `function`, which may fail.
    pub fn new(chain: C, function: F) -> Self {
        Self { chain, function, types: PhantomData }
    }
}

impl<T, C, F, O> Chain<T> for MapTo<C, F, O>
where
    T: Record,
    C: Chain<T>,
    O: Record,
    F: for<'a> Fn(<C::Out as Record>::View<'a>) -> O + Clone + Send + 'static,
{
    type Out = O;
    type With<D: Link<O>> = C::With<Map<C::Out, F, O, D>>;

    fn finish<D: Link<O>>(self, next: D, context: &TaskContext) -> Self::With<D> {
        let link = Map { function: self.function, next, types: PhantomData };
        self.chain.finish(link, context)
    }
}

impl<T, C, F, O> Chain<T> for ProjectTo<C, F, O>
where
    T: Record,
    C: Chain<T>,
    O: Record,
    F: for<'a> FnView<'a, <C::Out as Record>::View<'a>, O::View<'a>> + Clone + Send + 'static,
{
    type Out = O;
    type With<D: Link<O>> = C::With<Project<C::Out, F, O, D>>;

    fn finish<D: Link<O>>(self, next: D, context: &TaskContext) -> Self::With<D> {
        let link = Project { function: self.function, next, types: PhantomData };
        self.chain.finish(link, context)
    }
}

impl<T, C, F, O, E> Chain<T> for TryMapTo<C, F, O, E>
where
    T: Record,
    C: Chain<T>,
    O: Record,
    E: Into<Box<dyn Error + Send + Sync>> + 'static,
    F: for<'a> Fn(<C::Out as Record>::View<'a>) -> Result<O, E> + Clone + Send + 'static,
{
    type Out = O;
    type With<D: Link<O>> = C::With<TryMap<C::Out, F, O, E, D>>;

    fn finish<D: Link<O>>(self, next: D, context: &TaskContext) -> Self::With<D> {
        let link =
            TryMap { function: self.function, context: context.clone(), next, types: PhantomData };
        self.chain.finish(link, context)
    }
}
