//! What a job has done so far, for people.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use wiesel_core::{ShardId, TaskId};
use wiesel_graph::JobOperator;
use wiesel_jobmanager::{CheckpointStats, JobStatus};
use wiesel_rpc::{OperatorMetric, TaskMetricsReport};

/// A job at one moment, as far as its JobMaster knows.
#[derive(Clone, Debug)]
pub struct JobProgress {
    /// Its status.
    pub status: JobStatus,
    /// Since it was started.
    pub elapsed: Duration,
    /// Its tasks, in the order of the graph.
    pub tasks: Vec<TaskProgress>,
    /// Its checkpoints, if it takes any.
    pub checkpoints: Option<CheckpointStats>,
}

/// One task at one moment.
#[derive(Clone, Debug)]
pub struct TaskProgress {
    /// Which task.
    pub task: TaskId,
    /// What messages call it: `Window (2/4)`.
    pub name: String,
    /// The operators of its chain.
    pub operators: Arc<[JobOperator]>,
    /// Where it runs.
    pub shard: ShardId,
    /// Whether it reads a source.
    pub is_source: bool,
    /// Whether it writes a sink.
    pub is_sink: bool,
    /// What it has counted, by its last heartbeat; none before the first.
    pub metrics: Option<TaskMetricsReport>,
}

impl JobProgress {
    fn sum(
        &self,
        is_wanted: impl Fn(&TaskProgress) -> bool,
        of: fn(&TaskMetricsReport) -> u64,
    ) -> u64 {
        let wanted = self.tasks.iter().filter(|task| is_wanted(task));
        wanted.filter_map(|task| task.metrics.as_ref()).map(of).sum()
    }

    /// Records that the sources have read.
    pub fn records_read(&self) -> u64 {
        self.sum(|task| task.is_source, |metrics| metrics.records_in)
    }

    /// Records that the sinks have taken.
    pub fn records_written(&self) -> u64 {
        self.sum(|task| task.is_sink, |metrics| metrics.records_out)
    }

    /// Records that came too late for their window and were dropped.
    pub fn late_records(&self) -> u64 {
        self.sum(|_| true, |metrics| metrics.late_records_dropped)
    }

    /// Lines and records that could not be read and were skipped by choice.
    pub fn bad_records(&self) -> u64 {
        self.sum(|_| true, |metrics| metrics.bad_records_skipped)
    }

    /// Lines that were not UTF-8 and were repaired by choice.
    pub fn text_replaced(&self) -> u64 {
        self.sum(|_| true, |metrics| metrics.text_replaced)
    }

    /// What the functions of the program count: their own metrics, by operator and subtask, in the order of the graph and
    /// of their registration. A task that was restarted counts from zero, as in Flink.
    pub fn function_metrics(&self) -> Vec<OperatorMetric> {
        let mut metrics: Vec<OperatorMetric> = Vec::new();
        for task in &self.tasks {
            for report in task.metrics.iter().flat_map(|metrics| &metrics.functions) {
                let Some(operator) = task.operators.get(report.position) else { continue };
                let value = (task.task.subtask.0, report.value.clone());
                let is_known =
                    |m: &&mut OperatorMetric| m.operator == operator.uid && m.name == *report.name;
                match metrics.iter_mut().find(is_known) {
                    Some(known) => known.subtasks.push(value),
                    None => metrics.push(OperatorMetric {
                        operator: operator.uid.clone(),
                        operator_name: operator.name.clone(),
                        name: report.name.as_ref().to_owned(),
                        subtasks: vec![value],
                    }),
                }
            }
        }
        metrics
    }

    /// What the metric `name` of the operator with this uid has come to; none if no subtask has registered it, or none has
    /// told yet.
    pub fn metric(&self, operator: &str, name: &str) -> Option<OperatorMetric> {
        let mut metrics = self.function_metrics().into_iter();
        metrics.find(|metric| metric.operator == operator && metric.name == name)
    }

    /// Time in turns that did work, by shard.
    pub fn busy_by_shard(&self) -> Vec<(ShardId, Duration)> {
        let mut busy: BTreeMap<ShardId, u64> = BTreeMap::new();
        for task in &self.tasks {
            *busy.entry(task.shard).or_default() +=
                task.metrics.as_ref().map_or(0, |metrics| metrics.busy_ns);
        }
        busy.into_iter().map(|(shard, ns)| (shard, Duration::from_nanos(ns))).collect()
    }
}
