//! What the functions of a program have counted, as it is told: by task, and by operator over all its subtasks.
//!
//! # What is always true
//!
//! 1. Distributions of several subtasks become one without a loss: their buckets are added.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wiesel_core::metrics::{FunctionMetric, Histogram, MetricCell};

/// What one metric has come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MetricValue {
    /// So many.
    Counter(u64),
    /// The last value that was set.
    Gauge(i64),
    /// How often which values came.
    Histogram(HistogramReport),
}

/// How often which values came. Values are known to one part in 32; number, mean, least and greatest are exact.
///
/// ```
/// use wiesel_core::metrics::Histogram;
/// use wiesel_rpc::HistogramReport;
///
/// let histogram = Histogram::default();
/// (1..=1_000).for_each(|value| histogram.record(value));
/// let report = HistogramReport::read(&histogram);
/// assert_eq!((report.count(), report.min(), report.max()), (1_000, 1, 1_000));
/// assert_eq!(report.mean(), 500.5);
/// assert!((500..516).contains(&report.quantile(0.5)));
/// assert!((990..=1_000).contains(&report.quantile(0.99)));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistogramReport {
    sum: u64,
    least: u64,
    greatest: u64,
    /// Those that have values, in order, each with how many.
    buckets: Vec<(u32, u64)>,
}

impl HistogramReport {
    /// Reads the cells of a distribution.
    pub fn read(histogram: &Histogram) -> Self {
        let buckets = histogram.buckets().map(|(bucket, count)| (bucket as u32, count));
        Self {
            sum: histogram.sum(),
            least: histogram.least(),
            greatest: histogram.greatest(),
            buckets: buckets.collect(),
        }
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// The least; 0 if there was none.
    pub fn min(&self) -> u64 {
        if self.buckets.is_empty() { 0 } else { self.least }
    }

    /// The greatest; 0 if there was none.
    pub fn max(&self) -> u64 {
        self.greatest
    }

    /// Their mean; 0 if there was none.
    pub fn mean(&self) -> f64 {
        self.sum as f64 / self.count().max(1) as f64
    }

    /// The value that this part of them is not above: `quantile(0.99)` is p99. 0 if there was none.
    pub fn quantile(&self, part: f64) -> u64 {
        let rank = (part.clamp(0.0, 1.0) * self.count() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in &self.buckets {
            seen += count;
            if seen >= rank {
                return Histogram::greatest_of(*bucket as usize).min(self.greatest);
            }
        }
        self.greatest
    }

    /// Adds the values of another one.
    pub fn add(&mut self, other: &Self) {
        if other.buckets.is_empty() {
            return;
        }
        self.least = self.min_or(other.least);
        self.greatest = self.greatest.max(other.greatest);
        self.sum = self.sum.wrapping_add(other.sum);
        for (bucket, count) in &other.buckets {
            match self.buckets.binary_search_by_key(bucket, |(bucket, _)| *bucket) {
                Ok(at) => self.buckets[at].1 += count,
                Err(at) => self.buckets.insert(at, (*bucket, *count)),
            }
        }
    }

    fn min_or(&self, least: u64) -> u64 {
        if self.buckets.is_empty() { least } else { self.least.min(least) }
    }
}

/// What a metric of a function has come to in one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionMetricReport {
    /// Of the operator in its chain.
    pub position: usize,
    /// What the program calls it.
    pub name: Arc<str>,
    /// What it has come to.
    pub value: MetricValue,
}

impl FunctionMetricReport {
    /// Reads a cell.
    pub fn read(FunctionMetric { position, name, cell }: &FunctionMetric) -> Self {
        let value = match cell {
            MetricCell::Counter(counter) => MetricValue::Counter(counter.get()),
            MetricCell::Gauge(gauge) => MetricValue::Gauge(gauge.get()),
            MetricCell::Histogram(histogram) => {
                MetricValue::Histogram(HistogramReport::read(histogram))
            }
        };
        Self { position: *position, name: Arc::clone(name), value }
    }
}

/// What a metric of a function has come to, over the subtasks of its operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorMetric {
    /// The uid of the operator: its own, or the one that was made for it.
    pub operator: String,
    /// What the operator is: `Process`.
    pub operator_name: String,
    /// What the program calls the metric.
    pub name: String,
    /// What it has come to in each subtask that has told, in their order.
    pub subtasks: Vec<(u32, MetricValue)>,
}

impl OperatorMetric {
    /// Over all subtasks: counts and distributions are added, of gauges there is no total.
    pub fn total(&self) -> Option<MetricValue> {
        let mut values = self.subtasks.iter().map(|(_, value)| value);
        let mut total =
            values.next().filter(|first| !matches!(first, MetricValue::Gauge(_)))?.clone();
        for value in values {
            match (&mut total, value) {
                (MetricValue::Counter(sum), MetricValue::Counter(count)) => *sum += count,
                (MetricValue::Histogram(sum), MetricValue::Histogram(values)) => sum.add(values),
                _ => return None, // A name for two kinds, by subtask: nothing that could be added.
            }
        }
        Some(total)
    }

    /// The total of a counter; 0 if it is none.
    pub fn count(&self) -> u64 {
        match self.total() {
            Some(MetricValue::Counter(count)) => count,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(values: &[u64]) -> HistogramReport {
        let cells = Histogram::default();
        values.iter().for_each(|value| cells.record(*value));
        HistogramReport::read(&cells)
    }

    fn of(values: &[MetricValue]) -> OperatorMetric {
        OperatorMetric {
            operator: "words".to_owned(),
            operator_name: "Process".to_owned(),
            name: "seen".to_owned(),
            subtasks: (0..).zip(values.iter().cloned()).collect(),
        }
    }

    #[test]
    fn two_distributions_are_one_of_all_values() {
        let parts: [&[u64]; 4] = [&[], &[5, 900, 900], &[70, 1 << 40], &[0]];
        let mut sum = histogram(&[]);
        parts.iter().for_each(|part| sum.add(&histogram(part)));
        assert_eq!(sum, histogram(&parts.concat()));
        assert_eq!((histogram(&[]).min(), histogram(&[]).quantile(0.5)), (0, 0));
        let quantiles = [0.0, 0.25, 0.5, 1.0].map(|part| histogram(&[1, 2, 3, 4]).quantile(part));
        assert_eq!(quantiles, [1, 1, 2, 4]);
    }

    #[test]
    fn there_is_a_total_of_what_can_be_added() {
        let counter = MetricValue::Counter;
        let two = |values: [&[u64]; 2]| values.map(|v| MetricValue::Histogram(histogram(v)));
        let table = [
            (of(&[]), None),
            (of(&[counter(3)]), Some(counter(3))),
            (of(&[counter(3), counter(4)]), Some(counter(7))),
            (of(&[MetricValue::Gauge(3)]), None),
            (of(&two([&[1, 2], &[3]])), Some(MetricValue::Histogram(histogram(&[1, 2, 3])))),
            (of(&[counter(3), MetricValue::Gauge(4)]), None),
        ];
        for (metric, total) in table {
            assert_eq!(metric.total(), total, "{metric:?}");
        }
    }
}
