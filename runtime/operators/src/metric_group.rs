//! Metrics of a function: registered in `open`, counted for each record, seen in `status`, the closing table and the result.
//!
//! ```text
//!   open      runtime.metric_group().counter("long")  ─▶ a cell of this operator and subtask
//!   process   self.long.inc()                            a load, an addition, a store
//!   heartbeat the cells of the task are read ─▶ JobMaster ─▶ status, closing table, JobResult
//! ```
//!
//! # What is always true
//!
//! 1. Counting takes no lock, no instruction that other cores see, and no memory.
//! 2. Two metrics of an operator have two names; one name for two is an error of the job.

use std::sync::Arc;

use wiesel_core::{
    Blame, TaskFailure,
    metrics::{self, FunctionMetric, MetricCell},
};

use crate::TaskContext;

/// Where a function runs, and what it may ask for there. Flink's `RuntimeContext`; `open` gets it.
///
/// ```
/// use wiesel_operators::{Counter, FunctionError, ProcessContext, ProcessFunction, RuntimeContext};
/// use wiesel_record::Out;
///
/// /// Passes words on, and counts those that are long.
/// #[derive(Clone, Default)]
/// struct CountLong {
///     long: Counter,
/// }
///
/// impl ProcessFunction<String> for CountLong {
///     type Out = String;
///     type Side = ();
///
///     fn open(&mut self, runtime: &RuntimeContext) -> Result<(), FunctionError> {
///         self.long = runtime.metric_group().counter("long");
///         Ok(())
///     }
///
///     fn process(
///         &mut self,
///         word: &str,
///         _context: &mut ProcessContext<'_, ()>,
///         out: &mut dyn Out<String>,
///     ) -> Result<(), FunctionError> {
///         if word.len() > 10 {
///             self.long.inc();
///         }
///         out.emit(word);
///         Ok(())
///     }
/// }
/// ```
#[derive(Clone)]
pub struct RuntimeContext {
    task: TaskContext,
}

impl RuntimeContext {
    /// That of an operator, from the context of its task.
    pub(crate) fn new(operator: &TaskContext) -> Self {
        Self { task: operator.clone() }
    }

    /// The metrics of this operator in this subtask. Flink's `getMetricGroup`.
    pub fn metric_group(&self) -> MetricGroup<'_> {
        MetricGroup { task: &self.task }
    }

    /// Which of the operator's subtasks this is, from 0. Flink's `getIndexOfThisSubtask`.
    pub fn subtask(&self) -> u32 {
        self.task.id().subtask.0
    }

    /// How many subtasks the operator has.
    pub fn parallelism(&self) -> u32 {
        self.task.parallelism()
    }
}

/// The metrics of one operator in one subtask. A name that is registered twice in an operator, and an empty one, fail the
/// job, whatever their kinds.
///
/// What was counted is told with the heartbeats, twice a second, and once more when the task is over. It is in no checkpoint:
/// a task that is restarted counts from zero, as in Flink.
pub struct MetricGroup<'r> {
    task: &'r TaskContext,
}

impl MetricGroup<'_> {
    /// A counter at zero.
    pub fn counter(&self, name: &str) -> Counter {
        let cell = Arc::default();
        self.register(name, MetricCell::Counter(Arc::clone(&cell)));
        Counter(Some(cell))
    }

    /// A gauge at zero.
    pub fn gauge(&self, name: &str) -> Gauge {
        let cell = Arc::default();
        self.register(name, MetricCell::Gauge(Arc::clone(&cell)));
        Gauge(Some(cell))
    }

    /// A histogram without values. It takes 15 KiB.
    pub fn histogram(&self, name: &str) -> Histogram {
        let cell = Arc::default();
        self.register(name, MetricCell::Histogram(Arc::clone(&cell)));
        Histogram(Some(cell))
    }

    fn register(&self, name: &str, cell: MetricCell) {
        let metric = FunctionMetric { position: self.task.position(), name: name.into(), cell };
        let cause = if name.is_empty() {
            "a metric has no name: give it one".to_owned()
        } else if !self.task.metrics().functions.register(metric) {
            format!(
                "two metrics of the operator are called `{name}`: give one of them another name"
            )
        } else {
            return;
        };
        self.task.fail(TaskFailure::new(Blame::Job, "register a metric", cause));
    }
}

/// A count that only grows. Before it is one of a [`MetricGroup`] it counts nothing: as the default of a field, until `open`.
///
/// One subtask counts, on its shard. A future of an [`AsyncFunction`](crate::AsyncFunction) runs on another thread and must
/// leave the counting to the function: an addition would be lost now and then.
#[derive(Clone, Debug, Default)]
pub struct Counter(Option<Arc<metrics::Counter>>);

impl Counter {
    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `count`.
    #[inline]
    pub fn add(&self, count: u64) {
        if let Some(cell) = &self.0 {
            cell.add(count);
        }
    }

    /// What was counted so far, in this subtask.
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, |cell| cell.get())
    }
}

/// A value that is set. What is said of a [`Counter`] holds for it.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Option<Arc<metrics::Gauge>>);

impl Gauge {
    /// Replaces the value.
    #[inline]
    pub fn set(&self, value: i64) {
        if let Some(cell) = &self.0 {
            cell.set(value);
        }
    }

    /// The last value that was set; 0 before.
    pub fn value(&self) -> i64 {
        self.0.as_ref().map_or(0, |cell| cell.get())
    }
}

/// How often which values came: number, mean, least and greatest exactly, quantiles to one part in 32. What is said of a
/// [`Counter`] holds for it.
#[derive(Clone, Debug, Default)]
pub struct Histogram(Option<Arc<metrics::Histogram>>);

impl Histogram {
    /// Counts a value.
    #[inline]
    pub fn update(&self, value: u64) {
        if let Some(cell) = &self.0 {
            cell.record(value);
        }
    }
}
