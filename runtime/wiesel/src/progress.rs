//! The progress line: one line on a terminal that is drawn over, and gone at the end.

use std::time::Duration;

use wiesel_cluster::JobProgress;

use crate::{
    figures::{grouped, per_second, percent},
    print,
};

/// Columns of the narrowest terminal; a line that wraps cannot be drawn over.
const WIDTH: usize = 79;

/// To the first column, and nothing right of it.
const CLEAR: &str = "\r\x1b[K";

/// Draws the progress of a job.
pub(crate) struct ProgressLine {
    job: String,
    last: Snapshot,
}

/// What the line before was drawn from.
#[derive(Clone, Debug, Default)]
struct Snapshot {
    elapsed: Duration,
    read: u64,
    /// Checkpoints that are complete, if the job takes any.
    checkpoints: Option<u64>,
    busy: Vec<Duration>,
}

impl ProgressLine {
    pub(crate) fn new(job: &str) -> Self {
        Self { job: job.to_owned(), last: Snapshot::default() }
    }

    /// Draws the line, or clears it when the job is over.
    pub(crate) fn draw(&mut self, progress: &JobProgress) {
        if progress.status.is_terminal() {
            print::err(CLEAR);
            return;
        }
        let busy = progress.busy_by_shard().into_iter().map(|(_, busy)| busy).collect();
        let (elapsed, read) = (progress.elapsed, progress.records_read());
        let checkpoints = progress.checkpoints.map(|stats| stats.completed);
        let now = Snapshot { elapsed, read, checkpoints, busy };
        let line = line(&self.job, &self.last, &now);
        print::err(&format!("{CLEAR}{line}"));
        self.last = now;
    }
}

fn line(job: &str, last: &Snapshot, now: &Snapshot) -> String {
    let during = now.elapsed.saturating_sub(last.elapsed);
    let rate = per_second(now.read.saturating_sub(last.read), during);
    let mut line = format!(
        "{job}  {:.1} s  {} records  {}/s",
        now.elapsed.as_secs_f64(),
        grouped(now.read),
        grouped(rate)
    );
    if let Some(completed) = now.checkpoints {
        line.push_str(&format!("  {} checkpoints", grouped(completed)));
    }
    line.push_str("  busy");
    for (shard, busy) in now.busy.iter().enumerate() {
        let before = last.busy.get(shard).copied().unwrap_or_default();
        line.push_str(&format!(" {}%", percent(busy.saturating_sub(before), during)));
    }
    line.chars().take(WIDTH).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_the_rate_since_the_line_before_and_does_not_wrap() {
        let ms = Duration::from_millis;
        let at = |elapsed, read, busy| Snapshot { elapsed, read, checkpoints: None, busy };
        let last = at(ms(1_000), 1_000, vec![ms(500), ms(900)]);
        let now = at(ms(1_200), 201_000, vec![ms(600), ms(1_100)]);
        let shown = line("trends", &last, &now);
        assert_eq!(shown, "trends  1.2 s  201,000 records  1,000,000/s  busy 50% 100%");
        let now = Snapshot { checkpoints: Some(1_234), ..now };
        let shown = line("trends", &last, &now);
        assert!(shown.ends_with("1,000,000/s  1,234 checkpoints  busy 50% 100%"), "{shown}");
        let many = Snapshot { busy: vec![ms(1); 64], ..now };
        assert_eq!(line("trends", &last, &many).chars().count(), WIDTH);
    }
}
