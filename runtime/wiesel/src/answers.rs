//! What a job that was asked has answered, as it is printed.

use std::fmt::Write;

use wiesel_rpc::control::{Answer, JobReport};

use crate::{
    figures::{grouped, per_second},
    table::{kib, metrics, row},
};

/// The answer, in lines. That to `savepoint` and `stop` is a path and nothing else, for scripts.
pub(crate) fn text(job: &str, answer: &Answer) -> String {
    match answer {
        Answer::Status(report) => status(job, report),
        Answer::Savepoint { path } => format!("{}\n", path.display()),
        Answer::Cancelling => format!("job `{job}` is cancelled\n"),
        Answer::Refused { reason } => format!("{reason}\n"),
    }
}

fn status(job: &str, report: &JobReport) -> String {
    let mut text = format!("{job}: {}\n", report.status);
    let _ = writeln!(text, "  {:<16} {:>14}", "process", report.process);
    row(&mut text, "seconds", &format!("{:.1}", report.uptime.as_secs_f64()));
    row(&mut text, "tasks", &grouped(report.tasks.into()));
    row(&mut text, "records read", &grouped(report.records_read));
    row(&mut text, "records/s", &grouped(per_second(report.records_read, report.uptime)));
    row(&mut text, "records written", &grouped(report.records_written));
    if let Some(checkpoints) = &report.checkpoints {
        row(&mut text, "checkpoints", &grouped(checkpoints.completed));
        row(&mut text, "  failed", &grouped(checkpoints.failed));
        if let Some(last) = checkpoints.last {
            row(&mut text, "last checkpoint", &last.to_string());
            row(&mut text, "  size", &kib(checkpoints.last_bytes));
            let took_ms = checkpoints.last_duration.as_secs_f64() * 1e3;
            row(&mut text, "  took", &format!("{took_ms:.1} ms"));
        }
        row(&mut text, "restarts", &grouped(checkpoints.restarts));
    }
    metrics(&mut text, &report.metrics);
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wiesel_rpc::{MetricValue, OperatorMetric, control::CheckpointReport};

    use super::*;

    fn of_words((name, counts): (&str, Vec<u64>)) -> OperatorMetric {
        OperatorMetric {
            operator: "words".to_owned(),
            operator_name: "Process".to_owned(),
            name: name.to_owned(),
            subtasks: (0..).zip(counts.into_iter().map(MetricValue::Counter)).collect(),
        }
    }

    #[test]
    fn the_status_is_a_table_and_a_savepoint_a_path() {
        let checkpoints = CheckpointReport {
            completed: 12,
            last: Some(13),
            last_bytes: 2_049,
            last_duration: Duration::from_micros(2_500),
            ..Default::default()
        };
        let report = JobReport {
            status: "RUNNING".to_owned(),
            process: 4_711,
            uptime: Duration::from_secs(2),
            tasks: 5,
            records_read: 3_000_000,
            records_written: 7,
            checkpoints: Some(checkpoints),
            metrics: [("long", vec![3, 4]), ("rare", vec![1])].map(of_words).into(),
        };
        let shown = text("trends", &Answer::Status(report));
        assert!(
            shown.starts_with("trends: RUNNING\n  process                    4711\n"),
            "{shown}"
        );
        for figure in ["1,500,000", "last checkpoint              13", "3 KiB", "2.5 ms"] {
            assert!(shown.contains(figure), "no {figure} in {shown}");
        }
        let end = "  metrics of words (Process)\n    long                        7    by subtask: 3, 4\n    rare                        1\n";
        assert!(shown.ends_with(end), "{shown}");
        let path = "/data/savepoint-1".into();
        assert_eq!(text("trends", &Answer::Savepoint { path }), "/data/savepoint-1\n");
    }
}
