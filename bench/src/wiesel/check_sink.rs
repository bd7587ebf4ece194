//! The end of a job that is measured: counts outputs and adds up their check sum.

use std::{
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
};

use wiesel::{
    Item, Record, TaskFailure,
    connectors::{Sink, SinkWriter, WriterContext, WriterStatus},
    shard::Shard,
};

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
    type Writer = CheckWriter<F>;

    fn writer(&self, _context: &WriterContext) -> CheckWriter<F> {
        CheckWriter {
            x_of: self.x_of.clone(),
            check: Check::default(),
            total: Arc::clone(&self.total),
            is_finished: false,
        }
    }

    fn describe(&self) -> String {
        "check sum".to_owned()
    }
}

/// One subtask's part.
pub struct CheckWriter<F> {
    x_of: F,
    check: Check,
    total: Arc<Mutex<Check>>,
    is_finished: bool,
}

impl<T: Record, F: for<'a> Fn(T::View<'a>) -> u64 + 'static> SinkWriter<T> for CheckWriter<F> {
    #[inline(always)]
    fn write<I: Item<T>>(&mut self, item: I) {
        self.check.add((self.x_of)(item.view()));
    }

    #[inline(always)]
    fn wants_pause(&self) -> bool {
        false
    }

    fn flush(&mut self) {}

    fn poll(&mut self, _shard: &Shard) -> Result<WriterStatus, TaskFailure> {
        Ok(if self.is_finished { WriterStatus::Finished } else { WriterStatus::Idle })
    }

    fn finish(&mut self) {
        if !self.is_finished {
            self.is_finished = true;
            self.total.lock().unwrap_or_else(PoisonError::into_inner).merge(self.check);
        }
    }
}
