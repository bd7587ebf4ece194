//! The closing table: what a job has done.

use std::fmt::Write;

use wiesel_cluster::JobProgress;
use wiesel_rpc::{MetricValue, OperatorMetric};

use crate::figures::{grouped, per_second, percent};

/// The table, a line per figure.
pub(crate) fn closing(job: &str, progress: &JobProgress) -> String {
    let (read, elapsed) = (progress.records_read(), progress.elapsed);
    let mut text = format!("{job}: {}\n", progress.status);
    row(&mut text, "records read", &grouped(read));
    row(&mut text, "seconds", &format!("{:.2}", elapsed.as_secs_f64()));
    row(&mut text, "records/s", &grouped(per_second(read, elapsed)));
    row(&mut text, "records written", &grouped(progress.records_written()));
    row(&mut text, "late records", &grouped(progress.late_records()));
    row(&mut text, "bad records", &grouped(progress.bad_records()));
    if progress.text_replaced() > 0 {
        row(&mut text, "lines not UTF-8", &grouped(progress.text_replaced()));
    }
    if let Some(stats) = progress.checkpoints {
        row(&mut text, "checkpoints", &grouped(stats.completed));
        if stats.completed > 0 {
            row(&mut text, "last checkpoint", &stats.last.to_string());
            row(&mut text, "  size", &kib(stats.last_bytes));
            row(&mut text, "  took", &format!("{:.1} ms", stats.last_duration.as_secs_f64() * 1e3));
            let pause = stats.pauses.longest();
            row(&mut text, "  longest pause", &format!("{:.2} ms", pause.as_secs_f64() * 1e3));
        }
        if stats.failed > 0 {
            row(&mut text, "  failed", &grouped(stats.failed));
        }
        if let Some(restored) = stats.restored {
            row(&mut text, "continued from", &restored.to_string());
        }
        if stats.restarts > 0 {
            row(&mut text, "restarts", &grouped(stats.restarts));
        }
    }
    for (shard, busy) in progress.busy_by_shard() {
        let busy_s = format!("{:.2} s, {} %", busy.as_secs_f64(), percent(busy, elapsed));
        row(&mut text, &format!("shard {shard} busy"), &busy_s);
    }
    metrics(&mut text, &progress.function_metrics());
    text
}

/// What the functions of the program count: a line each, with the subtasks where there are several.
///
/// ```text
///   metrics of words (Process)
///     long                   7    by subtask: 3, 4
///     letters               40    mean 4.2, min 1, p50 4, p99 9, max 9
/// ```
pub(crate) fn metrics(text: &mut String, metrics: &[OperatorMetric]) {
    let mut operator = None;
    for metric in metrics {
        if operator.replace(&metric.operator) != Some(&metric.operator) {
            let _ = writeln!(text, "  metrics of {} ({})", metric.operator, metric.operator_name);
        }
        let each = metric.subtasks.iter().map(|(_, value)| figure(value));
        let each = each.collect::<Vec<_>>().join(", ");
        let (figure, more) = match metric.total() {
            Some(MetricValue::Histogram(values)) => {
                let [p50, p99] = [0.5, 0.99].map(|part| grouped(values.quantile(part)));
                let (mean, min, max) = (values.mean(), values.min(), values.max());
                let (min, max) = (grouped(min), grouped(max));
                let more = format!("mean {mean:.1}, min {min}, p50 {p50}, p99 {p99}, max {max}");
                (grouped(values.count()), more)
            }
            Some(total) if metric.subtasks.len() > 1 => {
                (figure(&total), format!("by subtask: {each}"))
            }
            None if metric.subtasks.len() > 1 => (String::new(), format!("by subtask: {each}")),
            _ => (each, String::new()),
        };
        let line = format!("    {:<14} {figure:>14}    {more}", metric.name);
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

fn figure(value: &MetricValue) -> String {
    match value {
        MetricValue::Counter(count) => grouped(*count),
        MetricValue::Gauge(value) if *value < 0 => format!("-{}", grouped(value.unsigned_abs())),
        MetricValue::Gauge(value) => grouped(value.unsigned_abs()),
        MetricValue::Histogram(values) => grouped(values.count()),
    }
}

/// A size, in whole KiB.
pub(crate) fn kib(bytes: u64) -> String {
    format!("{} KiB", grouped(bytes.div_ceil(1024)))
}

/// A line of a table.
pub(crate) fn row(text: &mut String, what: &str, figure: &str) {
    let _ = writeln!(text, "  {what:<16} {figure:>14}");
}

#[cfg(test)]
mod tests {
    use wiesel_core::metrics::Histogram;
    use wiesel_rpc::HistogramReport;

    use super::*;

    #[test]
    fn metrics_have_a_line_each_below_their_operator() {
        let of = |operator: &str, name: &str, values: Vec<MetricValue>| OperatorMetric {
            operator: operator.to_owned(),
            operator_name: "Process".to_owned(),
            name: name.to_owned(),
            subtasks: (0..).zip(values).collect(),
        };
        let cells = Histogram::default();
        [1, 4, 9].into_iter().for_each(|letters| cells.record(letters));
        let letters = HistogramReport::read(&cells);
        let (counter, gauge) = (MetricValue::Counter, MetricValue::Gauge);
        let all = [
            of("words", "long", vec![counter(3_000), counter(4)]),
            of("words", "letters", vec![MetricValue::Histogram(letters)]),
            of("words", "last", vec![gauge(-3_000), gauge(4)]),
            of("lines", "long", vec![counter(3)]),
            of("lines", "last", vec![gauge(0)]),
        ];
        let mut text = String::new();
        metrics(&mut text, &all);
        let expected = [
            "  metrics of words (Process)",
            "    long                    3,004    by subtask: 3,000, 4",
            "    letters                     3    mean 4.7, min 1, p50 4, p99 9, max 9",
            "    last                             by subtask: -3,000, 4",
            "  metrics of lines (Process)",
            "    long                        3",
            "    last                        0",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }
}
