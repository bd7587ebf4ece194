//! Evictors: which elements a window forgets when it fires, before its function has seen them or behind it.
//!
//! # What is always true
//!
//! 1. What is evicted is gone for later firings, too.
//! 2. A window with an evictor keeps its elements: nothing can be aggregated before it is known which of them count.

use std::{marker::PhantomData, time::Duration};

use wiesel_core::Timestamp;
use wiesel_record::Record;

use crate::{TimeWindow, WindowElement};

/// Takes elements out of windows of records `T`.
///
/// ```
/// use wiesel_core::Timestamp;
/// use wiesel_operators::{Evictable, Evictor, TimeWindow};
///
/// /// Forgets zeroes.
/// #[derive(Clone)]
/// struct NoZeroes;
///
/// impl Evictor<u64> for NoZeroes {
///     fn evict_before(&self, elements: &mut Evictable<'_, u64>, _: TimeWindow, _: Timestamp) {
///         elements.retain(|number, _time| number > 0);
///     }
/// }
/// ```
pub trait Evictor<T: Record>: Clone + Send + 'static {
    /// Whether it evicts anything at all. Elements need not be read into memory else.
    const EVICTS: bool = true;

    /// The window has fired, and its function has not seen the elements. The last argument is the watermark.
    fn evict_before(
        &self,
        elements: &mut Evictable<'_, T>,
        window: TimeWindow,
        watermark: Timestamp,
    ) {
        let _ = (elements, window, watermark);
    }

    /// The function has seen the elements.
    fn evict_after(
        &self,
        elements: &mut Evictable<'_, T>,
        window: TimeWindow,
        watermark: Timestamp,
    ) {
        let _ = (elements, window, watermark);
    }
}

/// The elements of a window that has fired, in the order of their arrival.
pub struct Evictable<'e, T> {
    elements: &'e mut Vec<WindowElement<T>>,
}

impl<'e, T: Record> Evictable<'e, T> {
    pub(crate) fn new(elements: &'e mut Vec<WindowElement<T>>) -> Self {
        Self { elements }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// The elements.
    pub fn as_slice(&self) -> &[WindowElement<T>] {
        self.elements
    }

    /// Takes out the first `count` elements, or all if there are fewer.
    pub fn evict_first(&mut self, count: usize) {
        self.elements.drain(..count.min(self.elements.len()));
    }

    /// Keeps the elements for which `keeps` is true.
    pub fn retain(&mut self, mut keeps: impl FnMut(T::View<'_>, Option<Timestamp>) -> bool) {
        self.elements.retain(|element| keeps(element.value.view(), element.time));
    }
}

/// Evicts nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEvictor;

impl<T: Record> Evictor<T> for NoEvictor {
    const EVICTS: bool = false;
}

/// When an evictor works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Before,
    After,
}

/// Defines both methods by one `evict`.
macro_rules! evict_when {
    ($type:ty) => {
        fn evict_before(&self, elements: &mut Evictable<'_, $type>, _: TimeWindow, _: Timestamp) {
            if self.when == When::Before {
                self.evict(elements);
            }
        }

        fn evict_after(&self, elements: &mut Evictable<'_, $type>, _: TimeWindow, _: Timestamp) {
            if self.when == When::After {
                self.evict(elements);
            }
        }
    };
}

/// Keeps the last so many elements.
#[derive(Clone, Copy, Debug)]
pub struct CountEvictor {
    count: usize,
    when: When,
}

impl CountEvictor {
    /// Keeps the last `count` elements for the function to see.
    pub fn of(count: usize) -> Self {
        Self { count, when: When::Before }
    }

    /// Works once the function has seen all elements.
    #[must_use]
    pub fn after(self) -> Self {
        Self { when: When::After, ..self }
    }

    fn evict<T: Record>(self, elements: &mut Evictable<'_, T>) {
        elements.evict_first(elements.len().saturating_sub(self.count));
    }
}

impl<T: Record> Evictor<T> for CountEvictor {
    evict_when!(T);
}

/// Keeps the elements whose event time is within a span of the latest one. Elements without event times are all kept.
#[derive(Clone, Copy, Debug)]
pub struct TimeEvictor {
    span: Duration,
    when: When,
}

impl TimeEvictor {
    /// Keeps elements that are less than `span` before the latest, for the function to see.
    pub fn of(span: Duration) -> Self {
        Self { span, when: When::Before }
    }

    /// Works once the function has seen all elements.
    #[must_use]
    pub fn after(self) -> Self {
        Self { when: When::After, ..self }
    }

    fn evict<T: Record>(self, elements: &mut Evictable<'_, T>) {
        let times = elements.as_slice().iter().map(|element| element.time);
        let Some(latest) = times.max().flatten() else { return };
        let cutoff = latest - self.span;
        elements.retain(|_, time| time.is_none_or(|time| time > cutoff));
    }
}

impl<T: Record> Evictor<T> for TimeEvictor {
    evict_when!(T);
}

/// Keeps the elements that are closer to the last one than a threshold.
pub struct DeltaEvictor<T, F> {
    threshold: f64,
    delta_of: F,
    when: When,
    types: PhantomData<fn(T)>,
}

impl<T, F: Clone> Clone for DeltaEvictor<T, F> {
    fn clone(&self) -> Self {
        Self { delta_of: self.delta_of.clone(), types: PhantomData, ..*self }
    }
}

impl<T: Record, F> DeltaEvictor<T, F>
where
    F: for<'a, 'b> Fn(T::View<'a>, T::View<'b>) -> f64 + Clone + Send + 'static,
{
    /// Keeps an element if `delta_of(element, last)` is below `threshold`, for the function to see.
    pub fn of(threshold: f64, delta_of: F) -> Self {
        Self { threshold, delta_of, when: When::Before, types: PhantomData }
    }

    /// Works once the function has seen all elements.
    #[must_use]
    pub fn after(self) -> Self {
        Self { when: When::After, ..self }
    }

    fn evict(&self, elements: &mut Evictable<'_, T>) {
        let all = &mut *elements.elements;
        let Some(last) = all.pop() else { return };
        let delta_of = |element: &T| (self.delta_of)(element.view(), last.value.view());
        all.retain(|element| !matches_threshold(delta_of(&element.value), self.threshold));
        if !matches_threshold(delta_of(&last.value), self.threshold) {
            all.push(last);
        }
    }
}

/// Whether an element goes: as in Flink, what cannot be compared stays.
fn matches_threshold(delta: f64, threshold: f64) -> bool {
    delta >= threshold
}

impl<T, F> Evictor<T> for DeltaEvictor<T, F>
where
    T: Record,
    F: for<'a, 'b> Fn(T::View<'a>, T::View<'b>) -> f64 + Clone + Send + 'static,
{
    evict_when!(T);
}
