//! The end of a job that is measured: counts outputs and adds up their check sum.

use std::{
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
};

use tempfile::TempDir;
use wiesel::{
    Record,
    connectors::{Sink, WriterContext},
};

use super::observer::{Observe, Observer};
use crate::generator::Check;

/// Adds up the outputs; `take` takes each in by the rules of its workload.
pub struct CheckSink<T, F> {
    take: F,
    total: Arc<Mutex<Check>>,
    types: PhantomData<fn(T)>,
}

impl<T, F: Clone> Clone for CheckSink<T, F> {
    fn clone(&self) -> Self {
        Self { take: self.take.clone(), total: Arc::clone(&self.total), types: PhantomData }
    }
}

impl<T: Record, F: for<'a> Fn(T::View<'a>, &mut Check) + Clone + Send + 'static> CheckSink<T, F> {
    /// A sink, and where its total will be once the job has finished.
    pub fn new(take: F) -> (Self, Total) {
        let total = Arc::default();
        (Self { take, total: Arc::clone(&total), types: PhantomData }, Total::of(total))
    }
}

/// The total of all writers.
pub struct Total {
    check: Arc<Mutex<Check>>,
    /// What the job writes beside it, until nobody asks for the total any more.
    #[expect(dead_code, reason = "it is removed when it is dropped")]
    folder: Option<TempDir>,
}

impl Total {
    /// The total that writers add up here.
    pub fn of(check: Arc<Mutex<Check>>) -> Self {
        Self { check, folder: None }
    }

    /// With the folder of what the job writes.
    pub fn keeping(self, folder: TempDir) -> Self {
        Self { folder: Some(folder), ..self }
    }

    /// What it is by now.
    pub fn get(&self) -> Check {
        *self.check.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Record, F: for<'a> Fn(T::View<'a>, &mut Check) + Clone + Send + 'static> Sink
    for CheckSink<T, F>
{
    type Record = T;
    type Writer = Observer<Part<F>>;

    fn writer(&self, _context: &WriterContext) -> Observer<Part<F>> {
        let (take, total) = (self.take.clone(), Arc::clone(&self.total));
        Observer::new(Part { take, check: Check::default(), total })
    }

    fn describe(&self) -> String {
        "check sum".to_owned()
    }
}

/// One subtask's part.
pub struct Part<F> {
    take: F,
    check: Check,
    total: Arc<Mutex<Check>>,
}

impl<T: Record, F: for<'a> Fn(T::View<'a>, &mut Check) + 'static> Observe<T> for Part<F> {
    #[inline(always)]
    fn see(&mut self, output: T::View<'_>) {
        (self.take)(output, &mut self.check);
    }

    fn end(&mut self) {
        self.total.lock().unwrap_or_else(PoisonError::into_inner).merge(self.check);
    }
}
