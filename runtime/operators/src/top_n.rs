//! The best `n` records of a window.
//!
//! # What is always true
//!
//! 1. At most `n` records are kept, best first; the rest is forgotten at once.
//! 2. Of records that the order calls equal the first to arrive is the better. So if the result must not depend
//!    on the order of arrival, as behind an exchange, the order has to be total, like [`by_count`].

use std::cmp::Ordering;

use wiesel_core::Timestamp;
use wiesel_record::{Key, Out, Record};

use crate::{Folding, FunctionError, TimeWindow};

/// One of the best records of a window.
#[derive(Clone, Debug, PartialEq, Record)]
#[record(crate = wiesel_record)]
pub struct Ranked<T: Record> {
    /// The first time of the window.
    pub window_start: Timestamp,
    /// The first time after it.
    pub window_end: Timestamp,
    /// 1 for the best.
    pub rank: u32,
    /// The record.
    pub item: T,
}

/// Keeps the best `n` by an order.
#[derive(Clone)]
pub struct TopN<F> {
    n: usize,
    order: F,
}

impl<F> TopN<F> {
    /// Keeps the `n` records that `order` puts first.
    pub fn new(n: usize, order: F) -> Self {
        Self { n, order }
    }
}

impl<T, F> Folding<(), T> for TopN<F>
where
    T: Record,
    F: for<'a, 'b> Fn(T::View<'a>, T::View<'b>) -> Ordering + Clone + Send + 'static,
{
    type Acc = Vec<T>;
    type Out = Ranked<T>;

    fn first(&self, value: T::View<'_>) -> Result<Vec<T>, FunctionError> {
        let mut best = Vec::new(); // `n` may be far above what there is.
        self.add_to(&mut best, value);
        Ok(best)
    }

    fn add(&self, best: &mut Vec<T>, value: T::View<'_>) -> Result<(), FunctionError> {
        self.add_to(best, value);
        Ok(())
    }

    const MERGES: bool = true;

    fn merge(
        &self,
        best: &mut Vec<T>,
        other: <Vec<T> as Record>::View<'_>,
    ) -> Result<(), FunctionError> {
        other.iter().for_each(|value| self.add_to(best, value));
        Ok(())
    }

    fn emit(
        &self,
        (): <() as Record>::View<'_>,
        window: TimeWindow,
        best: <Vec<T> as Record>::View<'_>,
        out: &mut dyn Out<Ranked<T>>,
    ) {
        for (item, rank) in best.iter().zip(1..) {
            let (window_start, window_end) = (window.start, window.end);
            out.emit(RankedView { window_start, window_end, rank, item });
        }
    }
}

impl<F> TopN<F> {
    fn add_to<T>(&self, best: &mut Vec<T>, value: T::View<'_>)
    where
        T: Record,
        F: for<'a, 'b> Fn(T::View<'a>, T::View<'b>) -> Ordering,
    {
        let worse = |kept: &T| (self.order)(T::shrink(value), kept.view()).is_lt();
        if best.len() == self.n && best.last().is_none_or(|last| !worse(last)) {
            return; // Nothing is built for the many that are not among the best.
        }
        let at = best.partition_point(|kept| !worse(kept));
        best.truncate(self.n.saturating_sub(1).max(at.min(self.n)));
        best.insert(at, T::from_view(value));
        best.truncate(self.n);
    }
}

/// Orders counted keys: the larger count first, then the smaller key.
pub fn by_count<K: Key>(a: crate::CountedView<'_, K>, b: crate::CountedView<'_, K>) -> Ordering
where
    for<'a> K::View<'a>: Ord,
{
    b.count.cmp(&a.count).then_with(|| K::shrink(a.key).cmp(&K::shrink(b.key)))
}
