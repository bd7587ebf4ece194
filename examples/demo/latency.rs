//! The second part: the latency of windows at a steady rate.
//!
//! **The latency of a window** is the time from when the post that closed it was due to when the last of its lines was
//! written. The post that closes a window is the last to move the watermark past its end: of each reader's first
//! post with a time of at least the end + 2 s (the bound on disorder), the one that is due last. Posts are due at fixed
//! times (open loop): a job that falls behind is not given fewer of them, and the wait counts. Windows that the end of
//! the input closes are left out.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use hdrhistogram::Histogram;
use wiesel::{
    Item,
    connectors::{DataGen, Sink, SinkWriter, Tick, WriterContext, WriterStatus},
    prelude::*,
    shard::{CreateMode, File, Shard, Token},
};

use crate::{
    Asked, DISORDER_MS, Span, Trend, grouped, line, replayed, say, trending_hashtags::Post, trends,
};

/// Windows while the latency is measured.
const SHORT_WINDOW_MS: i64 = 1_000;

/// The second part.
pub(crate) fn measure(
    env: &StreamExecutionEnvironment,
    asked: &Asked,
    posts: Vec<Post>,
) -> wiesel::Result<()> {
    let count = asked.rate * asked.seconds;
    let closers = closers(&posts, &Span::of(&posts), count, env.parallelism());
    let due: Arc<[AtomicU64]> = (0..count).map(|_| AtomicU64::new(0)).collect();
    let noted = Arc::clone(&due);
    let note = move |tick: Tick| noted[tick.number as usize].store(tick.due.0, Ordering::Relaxed);
    let source = DataGen::new(replayed(posts, note)).count(count).per_second(asked.rate);
    let sink = TimedSink::default();
    let printed = Arc::clone(&sink.printed);
    trends(env, source, SHORT_WINDOW_MS, sink);
    let job = format!("{} posts/s", grouped(asked.rate));
    say(&format!("2 of 3, latency: {job} for {} s, in windows of 1 s", asked.seconds));
    env.execute(&job)?;

    let hour_ns = 3_600_000_000_000;
    let mut histogram = Histogram::<u64>::new_with_bounds(1, hour_ns, 3).expect("bounds are sane");
    for (window_end, at) in &*printed.lock().unwrap_or_else(PoisonError::into_inner) {
        if let Some(closer) = closers.get(window_end) {
            let due = due[*closer as usize].load(Ordering::Relaxed);
            histogram.saturating_record(at.saturating_sub(due));
        }
    }
    let ms = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e6;
    say(&format!(
        "latency at {job}, from when the post that closed a window was due to its last line written:\n  \
         p50 {:.2} ms   p99 {:.2} ms   p99.9 {:.2} ms   max {:.2} ms   ({} windows)",
        ms(0.5),
        ms(0.99),
        ms(0.999),
        ms(1.0),
        grouped(histogram.len()),
    ));
    Ok(())
}

/// For every window, by its end, the number of the post that closes it, if one does.
fn closers(posts: &[Post], span: &Span, count: u64, readers: u32) -> BTreeMap<i64, u64> {
    let (length, readers) = (posts.len() as u64, u64::from(readers));
    let at = |number: u64| {
        let moved = span.step_ms * (number / length) as i64;
        posts[(number % length) as usize].at.as_millis() + moved
    };
    let first_end = (span.oldest_ms.div_euclid(SHORT_WINDOW_MS) + 1) * SHORT_WINDOW_MS;
    // The next post of each reader that has not been passed yet.
    let mut next: Vec<u64> = (0..readers).collect();
    let mut closers = BTreeMap::new();
    for end in (first_end..).step_by(SHORT_WINDOW_MS as usize) {
        for number in &mut next {
            while *number < count && at(*number) < end + DISORDER_MS {
                *number += readers;
            }
        }
        let last = next.iter().copied().max().unwrap_or(count);
        if last >= count {
            break; // A reader ends before it gets there, and so it is for all later windows.
        }
        closers.insert(end, last);
    }
    closers
}

/// Writes trends to /dev/null and notes when the last line of a window was written.
#[derive(Clone, Default)]
struct TimedSink {
    /// By window end, on the shard's clock, in ns.
    printed: Arc<Mutex<BTreeMap<i64, u64>>>,
}

impl Sink for TimedSink {
    type Record = Trend;
    type Writer = TimedWriter;

    fn writer(&self, _context: &WriterContext) -> TimedWriter {
        TimedWriter { sink: self.clone(), ..TimedWriter::default() }
    }

    fn describe(&self) -> String {
        "lines to /dev/null, timed".to_owned()
    }
}

#[derive(Default)]
struct TimedWriter {
    sink: TimedSink,
    file: Option<File>,
    /// The operation under way: opening the file, or writing.
    token: Option<Token>,
    lines: Vec<u8>,
    /// Windows that have lines in `lines`, and those that are being written.
    windows: Vec<i64>,
    on_their_way: Vec<i64>,
    is_finishing: bool,
}

impl SinkWriter<Trend> for TimedWriter {
    fn write<I: Item<Trend>>(&mut self, item: I) {
        let trend = item.view();
        let window_end = trend.window_end.as_millis();
        self.lines.extend_from_slice(line(trend).as_bytes());
        self.lines.push(b'\n');
        if self.windows.last() != Some(&window_end) {
            self.windows.push(window_end);
        }
    }

    fn wants_pause(&self) -> bool {
        self.lines.len() > 1 << 16
    }

    fn flush(&mut self) {} // Every poll writes what there is.

    fn poll(&mut self, shard: &Shard) -> Result<WriterStatus, wiesel::TaskFailure> {
        let io = shard.io();
        if let Some(token) = self.token {
            let Some(done) = io.take(token) else { return Ok(WriterStatus::Waiting) };
            self.token = None;
            let failed = |error| {
                wiesel::TaskFailure::new(wiesel::Blame::Environment, "write to /dev/null", error)
            };
            let outcome = done.map_err(failed)?;
            if self.file.is_none() {
                self.file = Some(outcome.into_file());
            } else {
                let now_ns = shard.read_clock().0;
                let mut printed = self.sink.printed.lock().unwrap_or_else(PoisonError::into_inner);
                printed.extend(self.on_their_way.drain(..).map(|window_end| (window_end, now_ns)));
            }
        }
        match &self.file {
            None => self.token = Some(io.create("/dev/null", CreateMode::Append)),
            Some(file) if !self.lines.is_empty() => {
                self.token = Some(io.write_stream(file, std::mem::take(&mut self.lines)));
                std::mem::swap(&mut self.windows, &mut self.on_their_way);
            }
            Some(_) if self.is_finishing => return Ok(WriterStatus::Finished),
            Some(_) => return Ok(WriterStatus::Idle),
        }
        Ok(WriterStatus::Moved)
    }

    fn finish(&mut self) {
        self.is_finishing = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posts(times: &[i64]) -> Vec<Post> {
        let post =
            |at: &i64| Post { at: Timestamp::from_millis(*at), user: 1, text: String::new() };
        times.iter().map(post).collect()
    }

    #[test]
    fn a_window_is_closed_by_the_last_reader_that_passes_it() {
        let posts = posts(&[0, 900, 2_999, 3_000, 3_100, 4_000, 3_900, 9_999]);
        let span = Span::of(&posts);
        assert_eq!(span.step_ms, 10_000);
        let found = |readers| Vec::from_iter(closers(&posts, &span, 8, readers));
        let one =
            [(1_000, 3), (2_000, 5), (3_000, 7), (4_000, 7), (5_000, 7), (6_000, 7), (7_000, 7)];
        assert_eq!(found(1), one);
        // Reader 0 has 0, 2999, 3100, 3900; reader 1 the others, and of them only the last gets past 4 s.
        assert_eq!(found(2), [(1_000, 4)]);
        let twice = closers(&posts, &span, 16, 1);
        assert_eq!(twice.get(&8_000), Some(&8), "10,000 is the first post of the second pass");
    }
}
