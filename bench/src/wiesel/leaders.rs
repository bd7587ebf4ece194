//! The best so far: a step in front of one that all subtasks share, so that only what may be among the best of a window
//! goes there.
//!
//! ```text
//!   counts of a window   3 1 7 2 7 5 9 …      Leaders::<1>      3 7 7 9      window_all ─▶ 9
//! ```
//!
//! # What is always true
//!
//! 1. What is among the `N` best of its window goes on, equals too: fewer than `N` records before it were better.
//! 2. What it keeps is in no checkpoint, and need not be: after a restore it lets through more than it has to.

use wiesel::prelude::*;

/// Lets through the records that are among the `N` best of their window so far.
#[derive(Clone)]
pub struct Leaders<F, const N: usize> {
    windows: Tumbling,
    rank_of: F,
    /// The window of the last record.
    window: TimeWindow,
    /// The best ranks in it, best first.
    best: [u64; N],
}

impl<F, const N: usize> Leaders<F, N> {
    /// By the rank that `rank_of` gives a record; the greatest is the best.
    pub fn new(windows: Tumbling, rank_of: F) -> Self {
        let window = windows.window_of(Timestamp::MIN);
        Self { windows, rank_of, window, best: [0; N] }
    }
}

impl<T, F, const N: usize> ProcessFunction<T> for Leaders<F, N>
where
    T: Record,
    F: for<'a> Fn(T::View<'a>) -> u64 + Clone + Send + 'static,
{
    type Out = T;
    type Side = ();

    #[inline]
    fn process(
        &mut self,
        value: T::View<'_>,
        context: &mut ProcessContext<'_, ()>,
        out: &mut dyn Out<T>,
    ) -> Result<(), AggregateError> {
        let time = context.timestamp().ok_or("the record has no event time: call `watermarks`")?;
        if time < self.window.start || time >= self.window.end {
            self.window = self.windows.window_of(time);
            self.best = [0; N];
        }
        let rank = (self.rank_of)(T::shrink(value));
        if self.best.last().is_none_or(|last| rank >= *last) {
            let at = self.best.partition_point(|other| *other >= rank);
            if let Some(worse) = self.best.get_mut(at..) {
                worse.rotate_right(1.min(worse.len()));
                worse.iter_mut().take(1).for_each(|first| *first = rank);
            }
            out.emit(value);
        }
        Ok(())
    }
}
