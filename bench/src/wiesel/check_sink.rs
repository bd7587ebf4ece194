//! The end of a job that is measured: counts outputs and adds up their check sum.

use std::{
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
};

use wiesel::{
    Record,
    connectors::{Sink, WriterContext},
};

use super::observer::{Observe, Observer};
use crate::generator::Check;

/// Adds up the outputs; `x_of` says which each is by the rules of its workload.
pub struct CheckSink<T, F> {
    x_of: F,
    total: Arc<Mutex<Check>>,
    types: PhantomData<fn(T)>,
}

impl<T, F: Clone> Clone for CheckSink<T, F> {
    fn clone(&self) -> Self {
        Self { x_of: self.x_of.clone(), total: Arc::clone(&self.total), types: PhantomData }
    }
}

impl<T: Record, F: for<'a> Fn(T::View<'a>) -> u64 + Clone + Send + 'static> CheckSink<T, F> {
    /// A sink, and where its total will be once the job has finished.
    pub fn new(x_of: F) -> (Self, Total) {
        let total = Arc::default();
        (Self { x_of, total: Arc::clone(&total), types: PhantomData }, Total(total))
    }
}

/// The total of all writers.
pub struct Total(Arc<Mutex<Check>>);

impl Total {
    /// What it is by now.
    pub fn get(&self) -> Check {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Record, F: for<'a> Fn(T::View<'a>) -> u64 + Clone + Send + 'static> Sink
    for CheckSink<T, F>
{
    type Record = T;
    type Writer = Observer<Part<F>>;

    fn writer(&self, _context: &WriterContext) -> Observer<Part<F>> {
        let (x_of, total) = (self.x_of.clone(), Arc::clone(&self.total));
        Observer::new(Part { x_of, check: Check::default(), total })
    }

    fn describe(&self) -> String {
        "check sum".to_owned()
    }
}

/// One subtask's part.
pub struct Part<F> {
    x_of: F,
    check: Check,
    total: Arc<Mutex<Check>>,
}

impl<T: Record, F: for<'a> Fn(T::View<'a>) -> u64 + 'static> Observe<T> for Part<F> {
    #[inline(always)]
    fn see(&mut self, output: T::View<'_>) {
        self.check.add((self.x_of)(output));
    }

    fn end(&mut self) {
        self.total.lock().unwrap_or_else(PoisonError::into_inner).merge(self.check);
    }
}
