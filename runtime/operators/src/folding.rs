//! Aggregation, one record at a time: what rolling aggregates, windows and `window_all` have in common.
//!
//! ```text
//!   first(v) ─▶ acc ─add(v)─▶ acc ─add(v)─▶ acc ─emit(key, window)─▶ out
//! ```
//!
//! A rolling aggregate emits after every record, a window when it fires.

use std::{cmp::Ordering, error::Error, marker::PhantomData};

use wiesel_record::{Key, Out, Record};

use crate::TimeWindow;

/// Why an aggregate cannot take a record.
pub type AggregateError = Box<dyn Error + Send + Sync>;

/// An incremental aggregate of records `T` under keys `K`.
pub trait Folding<K: Key, T: Record>: Clone + Send + 'static {
    /// What is kept per key (and window).
    type Acc: Record;

    /// What is emitted.
    type Out: Record;

    /// The accumulator of one record.
    ///
    /// # Errors
    ///
    /// If the user's function fails.
    fn first(&self, value: T::View<'_>) -> Result<Self::Acc, AggregateError>;

    /// Takes another record in.
    ///
    /// # Errors
    ///
    /// If the user's function fails, or a sum overflows.
    fn add(&self, acc: &mut Self::Acc, value: T::View<'_>) -> Result<(), AggregateError>;

    /// Emits the result of `acc`.
    fn emit(
        &self,
        key: K::View<'_>,
        window: TimeWindow,
        acc: <Self::Acc as Record>::View<'_>,
        out: &mut dyn Out<Self::Out>,
    );
}

/// How often a key came.
#[derive(Clone, Debug, PartialEq, Eq, Record)]
#[record(crate = wiesel_record)]
pub struct Counted<K: Record> {
    /// The key.
    pub key: K,
    /// How often.
    pub count: u64,
}

/// An aggregated value and its key.
#[derive(Clone, Debug, PartialEq, Record)]
#[record(crate = wiesel_record)]
pub struct Aggregated<K: Record, V: Record> {
    /// The key.
    pub key: K,
    /// The value.
    pub value: V,
}

/// `count()`: emits [`Counted`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Count;

impl<K: Key, T: Record> Folding<K, T> for Count {
    type Acc = u64;
    type Out = Counted<K>;

    #[inline]
    fn first(&self, _value: T::View<'_>) -> Result<u64, AggregateError> {
        Ok(1)
    }

    #[inline]
    fn add(&self, acc: &mut u64, _value: T::View<'_>) -> Result<(), AggregateError> {
        *acc += 1; // 2^64 records take centuries.
        Ok(())
    }

    #[inline]
    fn emit(&self, key: K::View<'_>, _: TimeWindow, acc: u64, out: &mut dyn Out<Counted<K>>) {
        out.emit(CountedView { key: K::shrink(key), count: acc });
    }
}

/// `reduce(f)`: combines two records into one of the same type, and emits it.
pub struct Reduce<F>(pub F);

impl<F: Clone> Clone for Reduce<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K, T, F> Folding<K, T> for Reduce<F>
where
    K: Key,
    T: Record,
    F: for<'a, 'b> Fn(T::View<'a>, T::View<'b>) -> T + Clone + Send + 'static,
{
    type Acc = T;
    type Out = T;

    #[inline]
    fn first(&self, value: T::View<'_>) -> Result<T, AggregateError> {
        Ok(T::from_view(value))
    }

    #[inline]
    fn add(&self, acc: &mut T, value: T::View<'_>) -> Result<(), AggregateError> {
        *acc = (self.0)(acc.view(), value);
        Ok(())
    }

    #[inline]
    fn emit(&self, _: K::View<'_>, _: TimeWindow, acc: T::View<'_>, out: &mut dyn Out<T>) {
        out.emit(acc);
    }
}

/// `fold(initial, f)`: adds records to an accumulator, and emits it with its key.
pub struct Fold<A, F> {
    /// What an accumulator starts as.
    pub initial: A,
    /// Adds a record.
    pub function: F,
}

impl<A: Clone, F: Clone> Clone for Fold<A, F> {
    fn clone(&self) -> Self {
        Self { initial: self.initial.clone(), function: self.function.clone() }
    }
}

impl<K, T, A, F> Folding<K, T> for Fold<A, F>
where
    K: Key,
    T: Record,
    A: Record + Clone,
    F: for<'a> Fn(&mut A, T::View<'a>) + Clone + Send + 'static,
{
    type Acc = A;
    type Out = Aggregated<K, A>;

    #[inline]
    fn first(&self, value: T::View<'_>) -> Result<A, AggregateError> {
        let mut acc = self.initial.clone();
        (self.function)(&mut acc, value);
        Ok(acc)
    }

    #[inline]
    fn add(&self, acc: &mut A, value: T::View<'_>) -> Result<(), AggregateError> {
        (self.function)(acc, value);
        Ok(())
    }

    #[inline]
    fn emit(
        &self,
        key: K::View<'_>,
        _: TimeWindow,
        acc: A::View<'_>,
        out: &mut dyn Out<Self::Out>,
    ) {
        out.emit(AggregatedView { key: K::shrink(key), value: A::shrink(acc) });
    }
}

/// An aggregate in three functions, as Flink's `AggregateFunction`.
///
/// ```
/// use wiesel_operators::AggregateFunction;
///
/// #[derive(Clone)]
/// struct Mean;
///
/// impl AggregateFunction<u64> for Mean {
///     type Acc = (u64, u64);
///     type Out = u64;
///     fn create_accumulator(&self) -> (u64, u64) {
///         (0, 0)
///     }
///     fn add(&self, acc: &mut (u64, u64), value: u64) {
///         *acc = (acc.0 + value, acc.1 + 1);
///     }
///     fn get_result(&self, (sum, count): (u64, u64)) -> u64 {
///         sum / count
///     }
/// }
/// ```
pub trait AggregateFunction<T: Record>: Clone + Send + 'static {
    /// What is kept.
    type Acc: Record;
    /// What is emitted.
    type Out: Record;
    /// An accumulator of no records.
    fn create_accumulator(&self) -> Self::Acc;
    /// Adds a record.
    fn add(&self, acc: &mut Self::Acc, value: T::View<'_>);
    /// The result of an accumulator of at least one record.
    fn get_result(&self, acc: <Self::Acc as Record>::View<'_>) -> Self::Out;
}

/// `aggregate(function)`: emits the result with its key.
#[derive(Clone)]
pub struct Aggregate<A>(pub A);

impl<K: Key, T: Record, A: AggregateFunction<T>> Folding<K, T> for Aggregate<A> {
    type Acc = A::Acc;
    type Out = Aggregated<K, A::Out>;

    #[inline]
    fn first(&self, value: T::View<'_>) -> Result<A::Acc, AggregateError> {
        let mut acc = self.0.create_accumulator();
        self.0.add(&mut acc, value);
        Ok(acc)
    }

    #[inline]
    fn add(&self, acc: &mut A::Acc, value: T::View<'_>) -> Result<(), AggregateError> {
        self.0.add(acc, value);
        Ok(())
    }

    fn emit(
        &self,
        key: K::View<'_>,
        _: TimeWindow,
        acc: <A::Acc as Record>::View<'_>,
        out: &mut dyn Out<Self::Out>,
    ) {
        let result = self.0.get_result(acc);
        out.emit(AggregatedView { key: K::shrink(key), value: result.view() });
    }
}

/// A number that can be summed and compared; integers overflow with an error, never silently.
pub trait Number: Record + for<'a> Record<View<'a> = Self> + Copy + PartialOrd {
    /// The sum, if it can be represented.
    fn checked_sum(self, other: Self) -> Option<Self>;
}

macro_rules! numbers {
    (integers $($integer:ty)*; floats $($float:ty)*) => {
        $(impl Number for $integer {
            #[inline]
            fn checked_sum(self, other: Self) -> Option<Self> {
                self.checked_add(other)
            }
        })*
        $(impl Number for $float {
            #[inline]
            fn checked_sum(self, other: Self) -> Option<Self> {
                Some(self + other)
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
    fn first(&self, value: T::View<'_>) -> Result<N, AggregateError> {
        Ok((self.number_of)(value))
    }

    #[inline]
    fn add(&self, acc: &mut N, value: T::View<'_>) -> Result<(), AggregateError> {
        match self.combine.combine(*acc, (self.number_of)(value)) {
            Some(sum) => {
                *acc = sum;
                Ok(())
            }
            None => Err(format!(
                "the sum does not fit into {}: sum a wider type",
                std::any::type_name::<N>()
            )
            .into()),
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
    fn first(&self, value: T::View<'_>) -> Result<T, AggregateError> {
        Ok(T::from_view(value))
    }

    #[inline]
    fn add(&self, acc: &mut T, value: T::View<'_>) -> Result<(), AggregateError> {
        let order = (self.rank_of)(T::shrink(value)).partial_cmp(&(self.rank_of)(acc.view()));
        if order == Some(self.replaces) {
            *acc = T::from_view(value);
        }
        Ok(())
    }

    #[inline]
    fn emit(&self, _: K::View<'_>, _: TimeWindow, acc: T::View<'_>, out: &mut dyn Out<T>) {
        out.emit(acc);
    }
}
