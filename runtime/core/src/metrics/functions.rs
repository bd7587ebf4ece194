//! The metrics that functions of a program have registered in a task.
//!
//! # What is always true
//!
//! 1. A name is registered once for an operator.
//! 2. The list is looked at when a metric is registered and when all are read, never for a record.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Counter, Gauge, Histogram};

/// What a metric of a function counts in.
#[derive(Clone, Debug)]
pub enum MetricCell {
    /// A count.
    Counter(Arc<Counter>),
    /// A value.
    Gauge(Arc<Gauge>),
    /// A distribution.
    Histogram(Arc<Histogram>),
}

/// A metric of a function.
#[derive(Clone, Debug)]
pub struct FunctionMetric {
    /// Of the operator in its chain.
    pub position: usize,
    /// What the program calls it.
    pub name: Arc<str>,
    /// Its cell.
    pub cell: MetricCell,
}

/// Those of a task, in the order in which they were registered.
#[derive(Debug, Default)]
pub struct FunctionMetrics(Mutex<Vec<FunctionMetric>>);

impl FunctionMetrics {
    /// Adds one; says whether the operator has none of this name yet. Else nothing is added.
    pub fn register(&self, metric: FunctionMetric) -> bool {
        let mut metrics = self.all();
        let is_of = |other: &FunctionMetric| {
            (other.position, &other.name) == (metric.position, &metric.name)
        };
        let is_new = !metrics.iter().any(is_of);
        if is_new {
            metrics.push(metric);
        }
        is_new
    }

    /// All of them. Nobody panics while holding the lock.
    pub fn all(&self) -> MutexGuard<'_, Vec<FunctionMetric>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
