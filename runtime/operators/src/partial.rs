//! Partial aggregates: what a producer has combined of a key and slice before the exchange, and how windows take it.
//!
//! ```text
//!   producer   v v v ─ first, add ─▶ Partial(key, acc, 3) ──exchange──▶ windows: merge(acc) ─▶ emit
//! ```
//!
//! # What is always true
//!
//! 1. All records of a partial are in one slice, so they are late together or not at all; a late one counts as many.
//! 2. Windows over partials give what windows over the records would: only aggregates that [merge](Folding::MERGES) come
//!    this way.

use std::{convert::Infallible, marker::PhantomData};

use wiesel_core::{Meta, TaskFailure, Timestamp};
use wiesel_record::{Key, Out, Record};
use wiesel_state::{Spot, StateDescriptor};

use crate::{
    Folding, FunctionError, KeyedOperator, KeyedStart, Link, Located, Pace, Progress, Snapshot,
    TaskContext, TimeWindow, VisitTable,
};

/// What a producer has combined of one key, in one slice.
#[derive(Clone, Debug, PartialEq, Record)]
#[record(crate = wiesel_record)]
pub struct Partial<K: Record, A: Record> {
    /// The key.
    pub key: K,
    /// The accumulator of its records.
    pub acc: A,
    /// How many they were.
    pub weight: u64,
}

/// The key of a partial aggregate.
pub fn key_of_partial<'v, K: Record, A: Record>(partial: PartialView<'v, K, A>) -> K::View<'v> {
    partial.key
}

/// An aggregate of records `T`, over partial aggregates of them.
pub struct Merged<A, T> {
    folding: A,
    types: PhantomData<fn(T)>,
}

impl<A, T> Merged<A, T> {
    /// Merges what `folding` has combined.
    pub fn new(folding: A) -> Self {
        Self { folding, types: PhantomData }
    }
}

impl<A: Clone, T> Clone for Merged<A, T> {
    fn clone(&self) -> Self {
        Self::new(self.folding.clone())
    }
}

impl<K, T, A> Folding<K, Partial<K, A::Acc>> for Merged<A, T>
where
    K: Key,
    T: Record,
    A: Folding<K, T>,
{
    type Acc = A::Acc;
    type Out = A::Out;

    #[inline]
    fn first(&self, value: PartialView<'_, K, A::Acc>) -> Result<A::Acc, FunctionError> {
        Ok(A::Acc::from_view(value.acc))
    }

    #[inline]
    fn add(
        &self,
        acc: &mut A::Acc,
        value: PartialView<'_, K, A::Acc>,
    ) -> Result<(), FunctionError> {
        self.folding.merge(acc, value.acc)
    }

    #[inline]
    fn weight(&self, value: PartialView<'_, K, A::Acc>) -> u64 {
        value.weight
    }

    const MERGES: bool = A::MERGES;

    #[inline]
    fn merge(
        &self,
        acc: &mut A::Acc,
        other: <A::Acc as Record>::View<'_>,
    ) -> Result<(), FunctionError> {
        self.folding.merge(acc, other)
    }

    const RETRACTS: bool = A::RETRACTS;

    #[inline]
    fn retract(&self, acc: &mut A::Acc, other: <A::Acc as Record>::View<'_>) {
        self.folding.retract(acc, other);
    }

    #[inline]
    fn emit(
        &self,
        key: K::View<'_>,
        window: TimeWindow,
        acc: <A::Acc as Record>::View<'_>,
        out: &mut dyn Out<A::Out>,
    ) {
        self.folding.emit(key, window, acc, out);
    }
}

/// The operator over partial aggregates of windows that have none: there is no value of it.
pub struct Uncombined<O> {
    never: Infallible,
    types: PhantomData<fn() -> O>,
}

impl<O> Clone for Uncombined<O> {
    fn clone(&self) -> Self {
        match self.never {}
    }
}

impl<T: Record, K: Key, O: Record> KeyedStart<T, K> for Uncombined<O> {
    type Operator = Self;

    fn operator(self, _: &TaskContext) -> Result<Self, TaskFailure> {
        match self.never {}
    }
}

impl<T: Record, K: Key, O: Record> KeyedOperator<T, K> for Uncombined<O> {
    type Out = O;

    fn prefetch(&self, _: Spot) {
        match self.never {}
    }

    fn wants_prefetch(&self) -> bool {
        match self.never {}
    }

    fn apply<D: Link<O>>(
        &mut self,
        _: K::View<'_>,
        _: Located,
        _: T::View<'_>,
        _: Meta,
        _: &mut D,
    ) {
        match self.never {}
    }

    fn watermark<D: Link<O>>(&mut self, _: Timestamp, _: &mut D, _: &mut Pace) -> Progress {
        match self.never {}
    }

    fn end_key<D: Link<O>>(&mut self, _: &mut D, _: &mut Pace) -> Progress {
        match self.never {}
    }

    fn keeps() -> Vec<StateDescriptor> {
        Vec::new()
    }

    fn tables(&mut self, _: &mut VisitTable<'_>) {
        match self.never {}
    }

    async fn restore(&mut self, _: &Snapshot) -> Result<(), TaskFailure> {
        match self.never {}
    }
}
