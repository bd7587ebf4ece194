//! The last link before a keyed exchange: hashes the key once, for the partitioner and for the table behind it.

use std::marker::PhantomData;

use wiesel_core::Meta;
use wiesel_record::{FnView, Item, Key, Record};

use crate::{
    Chain, Link, TaskContext,
    chain::{clone_builder, forward_control},
};

/// Gives each record the hash of its key.
pub struct KeyBy<T, K, F, D> {
    key_of: F,
    next: D,
    types: PhantomData<fn(T) -> K>,
}

forward_control!([T: Record, K: Key, F: 'static, D: Link<T>] KeyBy<T, K, F, D>);

impl<T, K, F, D> Link<T> for KeyBy<T, K, F, D>
where
    T: Record,
    K: Key,
    F: for<'a> FnView<'a, T::View<'a>, K::View<'a>> + 'static,
    D: Link<T>,
{
    // Always: as a call it saves and restores six registers for each record, a twelfth of what a small one costs in all.
    #[inline(always)]
    fn push<I: Item<T>>(&mut self, item: I, meta: Meta) {
        let hash = K::key_hash((self.key_of)(item.view()));
        self.next.push(item, meta.with_hash(hash));
    }
}

/// `key_by` at the end of `chain`.
pub struct KeyByTo<C, K, F> {
    chain: C,
    key_of: F,
    types: PhantomData<fn() -> K>,
}

impl<C, K, F> KeyByTo<C, K, F> {
    /// Reads keys with `key_of`.
    pub fn new(chain: C, key_of: F) -> Self {
        Self { chain, key_of, types: PhantomData }
    }
}

clone_builder!([C, K, F] KeyByTo<C, K, F> { chain, key_of, types } where C: Clone, F: Clone);

impl<T, C, K, F> Chain<T> for KeyByTo<C, K, F>
where
    T: Record,
    C: Chain<T>,
    K: Key,
    F: for<'a> FnView<'a, <C::Out as Record>::View<'a>, K::View<'a>> + Clone + Send + 'static,
{
    type Out = C::Out;
    type With<D: Link<C::Out>> = C::With<KeyBy<C::Out, K, F, D>>;

    fn finish<D: Link<C::Out>>(self, next: D, context: &TaskContext) -> Self::With<D> {
        let link = KeyBy { key_of: self.key_of, next, types: PhantomData };
        self.chain.finish(link, context)
    }
}
