//! The closing table: what a job has done.

use std::fmt::Write;

use wiesel_cluster::JobProgress;

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
    text
}

/// A size, in whole KiB.
pub(crate) fn kib(bytes: u64) -> String {
    format!("{} KiB", grouped(bytes.div_ceil(1024)))
}

/// A line of a table.
pub(crate) fn row(text: &mut String, what: &str, figure: &str) {
    let _ = writeln!(text, "  {what:<16} {figure:>14}");
}
