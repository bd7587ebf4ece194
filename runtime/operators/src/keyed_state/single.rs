//! States of one value per key: replaced, combined, or aggregated. Each is a cell of the key's row.

use wiesel_core::{TaskFailure, Timestamp};
use wiesel_record::Record;
use wiesel_state::{Row, RowMut, StateKind, Table};

use super::{
    Addable, AppendingState, At, Declared, KeyedState, Readable, ReadableState, Reading,
    Registered, StateId, StateTtl, Store, TimedCell,
    older::{Olders, by_way_of},
    older_values, schema_of, store_mut,
    ttl::AfterRead,
};
use crate::AggregateFunction;

impl<S: Record> Store for TimedCell<S> {
    fn expires(&self) -> bool {
        self.expires()
    }

    fn expires_in_row(&self) -> bool {
        self.expires()
    }

    fn is_in(&self, row: &Row<'_>) -> bool {
        TimedCell::is_in(self, row)
    }

    fn clear(&mut self, rows: &mut Table, at: At<'_>) {
        if let Some(mut row) = rows.find_mut(at.hash, at.key) {
            Self::clear(self, &mut row);
        }
    }

    fn settle(&mut self, rows: &mut Table, at: At<'_>, _: Reading<'_>, now: Timestamp) -> bool {
        let Some(row) = rows.find(at.hash, at.key) else { return false };
        let todo = self.after_read(&row, now);
        if todo == AfterRead::Nothing {
            return false;
        }
        let Some(mut row) = rows.find_mut(at.hash, at.key) else { return false };
        if todo == AfterRead::Remove {
            Self::clear(self, &mut row);
            return true;
        }
        self.stamp(&mut row, now);
        false
    }

    fn expiry(&self, row: &Row<'_>) -> Option<Timestamp> {
        self.expiry(row)
    }

    fn check(&self, row: &Row<'_>) -> Result<(), TaskFailure> {
        self.check(row)
    }

    fn stamp_missing(&self, row: &mut RowMut<'_>, now: Timestamp) {
        self.stamp_missing(row, now);
    }
}

/// A state of one cell that holds an `S`.
fn declared<S: Record>(id: &StateId, kind: StateKind, older: Olders<S>) -> Declared {
    Declared {
        name: id.name,
        kind,
        schema: schema_of(&S::SCHEMA),
        ttl: id.ttl,
        older: older_values(older()),
        declare: TimedCell::<S>::declare,
        open: |open| Ok(Box::new(TimedCell::<S>::of(open.layout, open.name, open.ttl)?)),
    }
}

macro_rules! state {
    ([$($generics:tt)*] $type:ty, $kind:expr, $stored:ty) => {
        impl<$($generics)*> Registered for $type {
            fn id(&self) -> &StateId {
                &self.id
            }
            fn id_mut(&mut self) -> &mut StateId {
                &mut self.id
            }
            fn declared(&self) -> Declared {
                declared::<$stored>(&self.id, $kind, self.older)
            }
        }
        impl<$($generics)*> KeyedState for $type {}
        impl<$($generics)*> ReadableState for $type {}
    };
}

/// A value per key, by name. Registered in [`KeyedProcessFunction::open`](crate::KeyedProcessFunction::open).
#[derive(Debug)]
pub struct ValueState<S> {
    id: StateId,
    older: Olders<S>,
}

impl<S: Record> ValueState<S> {
    /// A value called `name`; each state of a function has its own name.
    pub const fn new(name: &'static str) -> Self {
        Self { id: StateId::new(name), older: S::migrations }
    }

    /// The same, which is made of an older value when a checkpoint has that: it was an `O`. A type that says so itself, with
    /// `#[record(version = 2, from = Old)]`, needs no word here.
    ///
    /// ```
    /// use wiesel_operators::ValueState;
    ///
    /// // It was a `ValueState<u32>`, until it overflowed.
    /// let count: ValueState<u64> = ValueState::new("count").migrates_from::<u32>();
    /// ```
    #[must_use]
    pub fn migrates_from<O: Record>(self) -> Self
    where
        S: From<O>,
    {
        Self { older: by_way_of::<S, O>, ..self }
    }

    /// The same, which expires.
    #[must_use]
    pub fn with_ttl(mut self, ttl: StateTtl) -> Self {
        self.id.ttl = Some(ttl);
        self
    }

    #[inline(always)]
    pub(crate) fn set(
        &self,
        store: &mut dyn Store,
        rows: &mut Table,
        at: At<'_>,
        value: S::View<'_>,
    ) -> Result<(), TaskFailure> {
        let cell = store_mut::<TimedCell<S>>(store, &self.id);
        cell.store(&mut rows.upsert(at.hash, at.key), at.task, value)
    }
}

impl<S> Clone for ValueState<S> {
    fn clone(&self) -> Self {
        Self { id: self.id, older: self.older }
    }
}

state!([S: Record] ValueState<S>, StateKind::Value, S);

impl<S: Record> Readable for ValueState<S> {
    type Stored = S;
    type Value = S;

    #[inline(always)]
    fn value(&self, stored: S::View<'_>) -> S {
        S::from_view(stored)
    }
}

/// Combines two values of a [`ReducingState`].
pub type Combiner<S> = for<'a, 'b> fn(<S as Record>::View<'a>, <S as Record>::View<'b>) -> S;

/// A value per key that each added one is combined with: Flink's `ReducingState`.
///
/// The function is a closure that captures nothing. One with parameters is an [`AggregatingState`].
///
/// ```
/// use wiesel_operators::ReducingState;
///
/// let highest: ReducingState<u64> = ReducingState::new("highest", |a, b| a.max(b));
/// ```
pub struct ReducingState<S: Record> {
    id: StateId,
    older: Olders<S>,
    combine: Combiner<S>,
}

impl<S: Record> ReducingState<S> {
    /// A value called `name`, combined by `combine`: what is there already comes first.
    pub const fn new(name: &'static str, combine: Combiner<S>) -> Self {
        Self { id: StateId::new(name), older: S::migrations, combine }
    }

    /// As [`ValueState::migrates_from`].
    #[must_use]
    pub fn migrates_from<O: Record>(self) -> Self
    where
        S: From<O>,
    {
        Self { older: by_way_of::<S, O>, ..self }
    }

    /// The same, which expires. A value that has expired is not combined with.
    #[must_use]
    pub fn with_ttl(mut self, ttl: StateTtl) -> Self {
        self.id.ttl = Some(ttl);
        self
    }
}

impl<S: Record> Clone for ReducingState<S> {
    fn clone(&self) -> Self {
        Self { id: self.id, older: self.older, combine: self.combine }
    }
}

state!([S: Record] ReducingState<S>, StateKind::Reducing, S);

impl<S: Record> Readable for ReducingState<S> {
    type Stored = S;
    type Value = S;

    #[inline(always)]
    fn value(&self, stored: S::View<'_>) -> S {
        S::from_view(stored)
    }
}

impl<S: Record> AppendingState for ReducingState<S> {}

impl<S: Record> Addable for ReducingState<S> {
    type In = S;

    #[inline]
    fn add(
        &self,
        store: &mut dyn Store,
        rows: &mut Table,
        at: At<'_>,
        value: S::View<'_>,
    ) -> Result<(), TaskFailure> {
        let cell = store_mut::<TimedCell<S>>(store, &self.id);
        let mut row = rows.upsert(at.hash, at.key);
        cell.update(&mut row, at.task, |old| {
            Ok(match old {
                Some(old) => (self.combine)(old.view(), value),
                None => S::from_view(value),
            })
        })
    }
}

/// A value per key of another type than what is added to it: Flink's `AggregatingState`.
///
/// ```
/// use wiesel_operators::{AggregateFunction, AggregatingState};
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
///
/// let mean: AggregatingState<u64, Mean> = AggregatingState::new("mean", Mean);
/// ```
pub struct AggregatingState<T: Record, A: AggregateFunction<T>> {
    id: StateId,
    older: Olders<A::Acc>,
    function: A,
    types: std::marker::PhantomData<fn(T)>,
}

impl<T: Record, A: AggregateFunction<T>> AggregatingState<T, A> {
    /// An accumulator called `name`.
    pub const fn new(name: &'static str, function: A) -> Self {
        let (id, older) = (StateId::new(name), <A::Acc as Record>::migrations as Olders<A::Acc>);
        Self { id, older, function, types: std::marker::PhantomData }
    }

    /// As [`ValueState::migrates_from`]: the accumulator was an `O`.
    #[must_use]
    pub fn migrates_from<O: Record>(self) -> Self
    where
        A::Acc: From<O>,
    {
        Self { older: by_way_of::<A::Acc, O>, ..self }
    }

    /// The same, which expires. To one that has expired nothing is added: a new one begins.
    #[must_use]
    pub fn with_ttl(mut self, ttl: StateTtl) -> Self {
        self.id.ttl = Some(ttl);
        self
    }
}

impl<T: Record, A: AggregateFunction<T>> Clone for AggregatingState<T, A> {
    fn clone(&self) -> Self {
        let function = self.function.clone();
        Self { id: self.id, older: self.older, function, types: std::marker::PhantomData }
    }
}

state!([T: Record, A: AggregateFunction<T>] AggregatingState<T, A>, StateKind::Aggregating, A::Acc);

impl<T: Record, A: AggregateFunction<T>> Readable for AggregatingState<T, A> {
    type Stored = A::Acc;
    type Value = A::Out;

    #[inline(always)]
    fn value(&self, stored: <A::Acc as Record>::View<'_>) -> A::Out {
        self.function.get_result(stored)
    }
}

impl<T: Record, A: AggregateFunction<T>> AppendingState for AggregatingState<T, A> {}

impl<T: Record, A: AggregateFunction<T>> Addable for AggregatingState<T, A> {
    type In = T;

    #[inline]
    fn add(
        &self,
        store: &mut dyn Store,
        rows: &mut Table,
        at: At<'_>,
        value: T::View<'_>,
    ) -> Result<(), TaskFailure> {
        let cell = store_mut::<TimedCell<A::Acc>>(store, &self.id);
        let mut row = rows.upsert(at.hash, at.key);
        cell.update(&mut row, at.task, |old| {
            let mut acc = old.unwrap_or_else(|| self.function.create_accumulator());
            self.function.add(&mut acc, value);
            Ok(acc)
        })
    }
}
