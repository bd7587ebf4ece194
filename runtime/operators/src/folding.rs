//! Aggregation, one record at a time: what rolling aggregates, windows and `window_all` have in common.
//!
//! ```text
//!   first(v) ─▶ acc ─add(v)─▶ acc ─add(v)─▶ acc ─emit(key, window)─▶ out
//! ```
//!
//! A rolling aggregate emits after every record, a window when it fires.

mod numbers;

use std::error::Error;

use wiesel_record::{Key, Out, Record};

pub use self::numbers::{ByRank, Combine, Max, Min, Number, OfNumber, Sum};
use crate::TimeWindow;

/// Why a function of the user cannot go on: any error, which the job fails with, or restarts after.
pub type FunctionError = Box<dyn Error + Send + Sync>;

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
    fn first(&self, value: T::View<'_>) -> Result<Self::Acc, FunctionError>;

    /// Takes another record in.
    ///
    /// # Errors
    ///
    /// If the user's function fails, or a sum overflows.
    fn add(&self, acc: &mut Self::Acc, value: T::View<'_>) -> Result<(), FunctionError>;

    /// Whether accumulators of two parts of the records can be merged, and give exactly what one of all of them would,
    /// in whatever order the records came. Overlapping windows then share their parts.
    const MERGES: bool = false;

    /// Whether [`merge`](Self::merge) can be called at all, be it that order matters. Sessions, which grow together, need
    /// it.
    const CAN_MERGE: bool = Self::MERGES;

    /// Takes in the accumulator of other records, in sessions of later ones. Not called unless
    /// [`CAN_MERGE`](Self::CAN_MERGE) says that it can be.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    fn merge(
        &self,
        acc: &mut Self::Acc,
        other: <Self::Acc as Record>::View<'_>,
    ) -> Result<(), FunctionError> {
        let _ = (acc, other);
        Err("this aggregate does not merge".into())
    }

    /// Whether what was merged can be taken out again, exactly. What overlapping windows share is then kept from one to
    /// the next.
    const RETRACTS: bool = false;

    /// Takes out an accumulator that was [merged](Self::merge) in. Not called unless [`RETRACTS`](Self::RETRACTS) says
    /// that it can be.
    fn retract(&self, acc: &mut Self::Acc, other: <Self::Acc as Record>::View<'_>) {
        let _ = (acc, other);
    }

    /// How many records `value` stands for: more than one, if it is a partial aggregate of them.
    fn weight(&self, value: T::View<'_>) -> u64 {
        let _ = value;
        1
    }

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
    fn first(&self, _value: T::View<'_>) -> Result<u64, FunctionError> {
        Ok(1)
    }

    #[inline]
    fn add(&self, acc: &mut u64, _value: T::View<'_>) -> Result<(), FunctionError> {
        *acc += 1; // 2^64 records take centuries.
        Ok(())
    }

    const MERGES: bool = true;

    #[inline]
    fn merge(&self, acc: &mut u64, other: u64) -> Result<(), FunctionError> {
        *acc += other;
        Ok(())
    }

    const RETRACTS: bool = true;

    #[inline]
    fn retract(&self, acc: &mut u64, other: u64) {
        *acc -= other;
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
    fn first(&self, value: T::View<'_>) -> Result<T, FunctionError> {
        Ok(T::from_view(value))
    }

    #[inline]
    fn add(&self, acc: &mut T, value: T::View<'_>) -> Result<(), FunctionError> {
        *acc = (self.0)(acc.view(), value);
        Ok(())
    }

    const CAN_MERGE: bool = true;

    fn merge(&self, acc: &mut T, other: T::View<'_>) -> Result<(), FunctionError> {
        *acc = (self.0)(acc.view(), other);
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
    fn first(&self, value: T::View<'_>) -> Result<A, FunctionError> {
        let mut acc = self.initial.clone();
        (self.function)(&mut acc, value);
        Ok(acc)
    }

    #[inline]
    fn add(&self, acc: &mut A, value: T::View<'_>) -> Result<(), FunctionError> {
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

/// `fold_merging(initial, add, merge)`: as [`Fold`], for windows that grow together.
pub struct FoldMerging<A, F, M> {
    /// What an accumulator starts as, and how a record is added.
    pub fold: Fold<A, F>,
    /// Adds the accumulator of later records.
    pub merge: M,
}

impl<A: Clone, F: Clone, M: Clone> Clone for FoldMerging<A, F, M> {
    fn clone(&self) -> Self {
        Self { fold: self.fold.clone(), merge: self.merge.clone() }
    }
}

impl<K, T, A, F, M> Folding<K, T> for FoldMerging<A, F, M>
where
    K: Key,
    T: Record,
    A: Record + Clone,
    F: for<'a> Fn(&mut A, T::View<'a>) + Clone + Send + 'static,
    M: for<'a> Fn(&mut A, A::View<'a>) + Clone + Send + 'static,
{
    type Acc = A;
    type Out = Aggregated<K, A>;

    #[inline]
    fn first(&self, value: T::View<'_>) -> Result<A, FunctionError> {
        Folding::<K, T>::first(&self.fold, value)
    }

    #[inline]
    fn add(&self, acc: &mut A, value: T::View<'_>) -> Result<(), FunctionError> {
        Folding::<K, T>::add(&self.fold, acc, value)
    }

    const CAN_MERGE: bool = true;

    fn merge(&self, acc: &mut A, other: A::View<'_>) -> Result<(), FunctionError> {
        (self.merge)(acc, other);
        Ok(())
    }

    #[inline]
    fn emit(
        &self,
        key: K::View<'_>,
        window: TimeWindow,
        acc: A::View<'_>,
        out: &mut dyn Out<Self::Out>,
    ) {
        Folding::<K, T>::emit(&self.fold, key, window, acc, out);
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

    /// Whether [`merge`](Self::merge) is implemented, and merging parts of the records gives exactly what adding all of
    /// them would, in any order. Sliding windows are then cheap, however much they overlap.
    const MERGES: bool = false;

    /// Whether [`merge`](Self::merge) is implemented, be it that order matters. Session windows need it.
    const CAN_MERGE: bool = Self::MERGES;

    /// Takes in an accumulator of other records (in sessions: of later ones); see [`CAN_MERGE`](Self::CAN_MERGE).
    fn merge(&self, acc: &mut Self::Acc, other: <Self::Acc as Record>::View<'_>) {
        let _ = (acc, other);
        panic!("an aggregate whose `CAN_MERGE` or `MERGES` is true has to implement `merge`")
    }
}

/// `aggregate(function)`: emits the result with its key.
#[derive(Clone)]
pub struct Aggregate<A>(pub A);

impl<K: Key, T: Record, A: AggregateFunction<T>> Folding<K, T> for Aggregate<A> {
    type Acc = A::Acc;
    type Out = Aggregated<K, A::Out>;

    #[inline]
    fn first(&self, value: T::View<'_>) -> Result<A::Acc, FunctionError> {
        let mut acc = self.0.create_accumulator();
        self.0.add(&mut acc, value);
        Ok(acc)
    }

    #[inline]
    fn add(&self, acc: &mut A::Acc, value: T::View<'_>) -> Result<(), FunctionError> {
        self.0.add(acc, value);
        Ok(())
    }

    const MERGES: bool = A::MERGES;
    const CAN_MERGE: bool = A::CAN_MERGE || A::MERGES;

    fn merge(
        &self,
        acc: &mut A::Acc,
        other: <A::Acc as Record>::View<'_>,
    ) -> Result<(), FunctionError> {
        self.0.merge(acc, other);
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
