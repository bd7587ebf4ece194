//! Aggregates of one number of each record, and of its rank.

use std::{cmp::Ordering, marker::PhantomData};

use wiesel_record::{Key, Out, Record};

use super::{Aggregated, AggregatedView, Folding, FunctionError};
use crate::TimeWindow;

/// A number that can be summed and compared; integers overflow with an error, never silently.
pub trait Number: Record + for<'a> Record<View<'a> = Self> + Copy + PartialOrd {
    /// Whether sums and comparisons are the same in any order: not those of floats, which round, and know NaN. (A sum of
    /// signed numbers at the end of their range may overflow, and so fail the job, in one order and not in another.)
    const IS_EXACT: bool;

    /// The sum, if it can be represented.
    fn checked_sum(self, other: Self) -> Option<Self>;

    /// What is left of a sum without one of its parts.
    #[must_use]
    fn without(self, part: Self) -> Self;
}

macro_rules! numbers {
    (integers $($integer:ty)*; floats $($float:ty)*) => {
        $(impl Number for $integer {
            const IS_EXACT: bool = true;
            #[inline]
            fn checked_sum(self, other: Self) -> Option<Self> {
                self.checked_add(other)
            }
            #[inline]
            fn without(self, part: Self) -> Self {
                self.wrapping_sub(part)
            }
        })*
        $(impl Number for $float {
            const IS_EXACT: bool = false;
            #[inline]
            fn checked_sum(self, other: Self) -> Option<Self> {
                Some(self + other)
            }
            #[inline]
            fn without(self, part: Self) -> Self {
                self - part
            }
        })*
    };
}
numbers!(integers i8 i16 i32 i64 i128 u8 u16 u32 u64 u128; floats f32 f64);

/// `sum(f)`, `min(f)`, `max(f)`: one number of each record, combined; emits it with its key.
pub struct OfNumber<F, N, C> {
    number_of: F,
    combine: C,
    types: PhantomData<fn() -> N>,
}

impl<F, N, C> OfNumber<F, N, C> {
    /// Combines the numbers that `number_of` reads.
    pub fn new(number_of: F, combine: C) -> Self {
        Self { number_of, combine, types: PhantomData }
    }
}

impl<F: Clone, N, C: Clone> Clone for OfNumber<F, N, C> {
    fn clone(&self) -> Self {
        Self::new(self.number_of.clone(), self.combine.clone())
    }
}

/// How two numbers become one.
pub trait Combine<N>: Clone + Send + 'static {
    /// The combination, if it can be represented.
    fn combine(&self, a: N, b: N) -> Option<N>;

    /// What a combination was before `part` came in; none where that cannot be known.
    const WITHOUT: Option<fn(N, N) -> N> = None;
}

/// Adds.
#[derive(Clone, Copy, Debug)]
pub struct Sum;
/// Keeps the smaller.
#[derive(Clone, Copy, Debug)]
pub struct Min;
/// Keeps the larger.
#[derive(Clone, Copy, Debug)]
pub struct Max;

impl<N: Number> Combine<N> for Sum {
    #[inline]
    fn combine(&self, a: N, b: N) -> Option<N> {
        a.checked_sum(b)
    }

    const WITHOUT: Option<fn(N, N) -> N> = Some(N::without);
}

impl<N: Number> Combine<N> for Min {
    #[inline]
    fn combine(&self, a: N, b: N) -> Option<N> {
        Some(if b < a { b } else { a })
    }
}

impl<N: Number> Combine<N> for Max {
    #[inline]
    fn combine(&self, a: N, b: N) -> Option<N> {
        Some(if b > a { b } else { a })
    }
}

#[inline]
fn combine_into<N: Number>(
    combine: &impl Combine<N>,
    acc: &mut N,
    number: N,
) -> Result<(), FunctionError> {
    match combine.combine(*acc, number) {
        Some(combined) => {
            *acc = combined;
            Ok(())
        }
        None => {
            let number = std::any::type_name::<N>();
            Err(format!("the sum does not fit into {number}: sum a wider type").into())
        }
    }
}

impl<K, T, F, N, C> Folding<K, T> for OfNumber<F, N, C>
where
    K: Key,
    T: Record,
    N: Number,
    C: Combine<N>,
    F: for<'a> Fn(T::View<'a>) -> N + Clone + Send + 'static,
{
    type Acc = N;
    type Out = Aggregated<K, N>;

    #[inline]
    fn first(&self, value: T::View<'_>) -> Result<N, FunctionError> {
        Ok((self.number_of)(value))
    }

    #[inline]
    fn add(&self, acc: &mut N, value: T::View<'_>) -> Result<(), FunctionError> {
        combine_into(&self.combine, acc, (self.number_of)(value))
    }

    const MERGES: bool = N::IS_EXACT;
    const CAN_MERGE: bool = true;

    #[inline]
    fn merge(&self, acc: &mut N, other: N) -> Result<(), FunctionError> {
        combine_into(&self.combine, acc, other)
    }

    const RETRACTS: bool = N::IS_EXACT && C::WITHOUT.is_some();

    #[inline]
    fn retract(&self, acc: &mut N, other: N) {
        if let Some(without) = C::WITHOUT {
            *acc = without(*acc, other);
        }
    }

    #[inline]
    fn emit(&self, key: K::View<'_>, _: TimeWindow, acc: N, out: &mut dyn Out<Self::Out>) {
        out.emit(AggregatedView { key: K::shrink(key), value: acc });
    }
}

/// `min_by(f)`, `max_by(f)`: the whole record whose rank is the least or greatest; the first of equals stays.
pub struct ByRank<F, R> {
    rank_of: F,
    replaces: Ordering,
    types: PhantomData<fn() -> R>,
}

impl<F, R> ByRank<F, R> {
    /// The record of the least rank.
    pub fn min(rank_of: F) -> Self {
        Self { rank_of, replaces: Ordering::Less, types: PhantomData }
    }

    /// The record of the greatest rank.
    pub fn max(rank_of: F) -> Self {
        Self { rank_of, replaces: Ordering::Greater, types: PhantomData }
    }
}

impl<F: Clone, R> Clone for ByRank<F, R> {
    fn clone(&self) -> Self {
        Self { rank_of: self.rank_of.clone(), replaces: self.replaces, types: PhantomData }
    }
}

impl<K, T, F, R> Folding<K, T> for ByRank<F, R>
where
    K: Key,
    T: Record,
    R: PartialOrd + 'static,
    F: for<'a> Fn(T::View<'a>) -> R + Clone + Send + 'static,
{
    type Acc = T;
    type Out = T;

    #[inline]
    fn first(&self, value: T::View<'_>) -> Result<T, FunctionError> {
        Ok(T::from_view(value))
    }

    #[inline]
    fn add(&self, acc: &mut T, value: T::View<'_>) -> Result<(), FunctionError> {
        let order = (self.rank_of)(T::shrink(value)).partial_cmp(&(self.rank_of)(acc.view()));
        if order == Some(self.replaces) {
            *acc = T::from_view(value);
        }
        Ok(())
    }

    const CAN_MERGE: bool = true;

    fn merge(&self, acc: &mut T, other: T::View<'_>) -> Result<(), FunctionError> {
        Folding::<K, T>::add(self, acc, other)
    }

    #[inline]
    fn emit(&self, _: K::View<'_>, _: TimeWindow, acc: T::View<'_>, out: &mut dyn Out<T>) {
        out.emit(acc);
    }
}
