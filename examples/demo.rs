//! `make demo`: the trending hashtags over five million posts, and then five seconds at a steady rate.
//!
//! ```text
//! demo [FLAGS] [-- [--posts N] [--rate N] [--seconds N] [FILE]]
//!
//!   1  throughput   FILE, replayed until 5,000,000 posts are read; each pass, event time moves on by the file's span,
//!                   rounded up to whole windows. Prints the trends of the last three windows, and the closing table
//!   2  latency      the same posts at 100,000 a second for 5 s, in windows of 1 s of event time (3,000 of them, so
//!                   that p99.9 means something); a window's result is a batch of ten lines, written to /dev/null, so
//!                   that it is not the terminal that is measured
//! ```
//!
//! **The latency of a window** is the time from when the post that closed it was due to when the last of its lines was
//! written. The post that closes a window is the last to move the watermark past its end: of each reader's first
//! post with a time of at least the end + 2 s (the bound on disorder), the one that is due last. Posts are due at fixed
//! times (open loop): a job that falls behind is not given fewer of them, and the wait counts. Windows that the end of
//! the input closes are left out.
#![allow(clippy::disallowed_methods)] // Looks at its file before the job runs, and prints after it.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    process,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hdrhistogram::Histogram;
use trending_hashtags::{Post, hashtags};
use wiesel::{
    Item,
    connectors::{CollectSink, Sink, SinkWriter, Source, WriterContext, WriterStatus},
    prelude::*,
    shard::{CreateMode, File, Shard, Token},
};

#[allow(dead_code, reason = "its `main` is another program's")]
mod trending_hashtags;

/// The bound on disorder, and the windows of the file's event time.
const DISORDER_MS: i64 = 2_000;
const WINDOW_MS: i64 = 10_000;
/// Windows whose trends are shown.
const SHOWN: i64 = 3;
/// Windows while the latency is measured.
const SHORT_WINDOW_MS: i64 = 1_000;

type Trend = Ranked<Counted<String>>;

/// The job of `trending_hashtags.rs`, from any source, with any windows, to any sink. Trends of windows before `from`
/// are not passed on.
fn trends(
    env: &StreamExecutionEnvironment,
    posts: impl Source<Record = Post>,
    window_ms: i64,
    from: Timestamp,
    sink: impl Sink<Record = Trend>,
) {
    let windows = Tumbling::event_time(Duration::from_millis(window_ms as u64));
    env.source(posts)
        .uid("posts")
        .watermarks(bounded_out_of_orderness(millis(DISORDER_MS as u64)), |post| post.at)
        .flat_map::<String>(|post, out| hashtags(post.text).for_each(|tag| out.emit(tag)))
        .key_by::<String>(|tag| tag)
        .window(windows)
        .count()
        .uid("counts")
        .window_all(windows)
        .top_n_by(10, by_count::<String>)
        .uid("trends")
        .filter(move |trend| trend.window_start >= from)
        .sink_to(sink);
}

fn main() -> wiesel::Result<()> {
    let mut env = StreamExecutionEnvironment::from_args()?;
    let asked = Asked::parse(env.params()).unwrap_or_else(|wrong| fail(2, &wrong));
    let posts = read(&asked.file).unwrap_or_else(|wrong| fail(1, &wrong));
    env.print_summary();
    throughput(&env, &asked, &posts)?;
    latency(&env.another(), &asked, posts)
}

/// The first part.
fn throughput(
    env: &StreamExecutionEnvironment,
    asked: &Asked,
    posts: &[Post],
) -> wiesel::Result<()> {
    let passes = asked.posts.div_ceil(posts.len() as u64);
    let span = Span::of(posts);
    let moved = span.step_ms.saturating_mul(passes as i64 - 1);
    let last_window = (span.newest_ms + moved).div_euclid(WINDOW_MS);
    let from = Timestamp::from_millis((last_window + 1 - SHOWN) * WINDOW_MS);
    let step = Duration::from_millis(span.step_ms as u64);
    let source =
        JsonLines::<Post>::files(&asked.file)
            .replay(passes, step, |post: &mut Post, by| post.at = post.at + by);
    let (sink, shown) = CollectSink::new();
    trends(env, source, WINDOW_MS, from, sink);
    env.execute("trending hashtags")?;
    let mut lines = String::new();
    for Ranked { window_start, window_end, rank, item } in shown.take() {
        lines += &format!("{window_start} {window_end} {rank} {} {}\n", item.count, item.key);
    }
    // Nobody needs to read them.
    let _ = std::io::stdout().lock().write_all(lines.as_bytes());
    Ok(())
}

/// The second part.
fn latency(
    env: &StreamExecutionEnvironment,
    asked: &Asked,
    posts: Vec<Post>,
) -> wiesel::Result<()> {
    let count = asked.rate * asked.seconds;
    let (span, posts) = (Span::of(&posts), Arc::new(posts));
    let closers = closers(&posts, &span, count, env.parallelism());
    let due: Arc<[AtomicU64]> = (0..count).map(|_| AtomicU64::new(0)).collect();
    let noted = Arc::clone(&due);
    let source = DataGen::new(move |tick| {
        noted[tick.number as usize].store(tick.due.0, Ordering::Relaxed);
        let (pass, index) = (tick.number / posts.len() as u64, tick.number % posts.len() as u64);
        let Post { at, user, text } = &posts[index as usize];
        let at = at.offset_millis(span.step_ms * pass as i64);
        Post { at, user: *user, text: text.clone() }
    });
    let source = source.count(count).per_second(asked.rate);
    let sink = TimedSink::default();
    let printed = Arc::clone(&sink.printed);
    trends(env, source, SHORT_WINDOW_MS, Timestamp::MIN, sink);
    let job = format!("{} posts/s", asked.rate);
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
    eprintln!(
        "latency at {job}, from when the post that closed a window was due to its last line written:\n  \
         p50 {:.2} ms   p99 {:.2} ms   p99.9 {:.2} ms   max {:.2} ms   ({} windows)",
        ms(0.5),
        ms(0.99),
        ms(0.999),
        ms(1.0),
        histogram.len(),
    );
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

/// What event time does in a file.
struct Span {
    oldest_ms: i64,
    newest_ms: i64,
    /// How far a pass moves on: longer than the span, and whole windows.
    step_ms: i64,
}

impl Span {
    fn of(posts: &[Post]) -> Self {
        let times = || posts.iter().map(|post| post.at.as_millis());
        let (oldest_ms, newest_ms) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
        let step_ms = ((newest_ms - oldest_ms) / WINDOW_MS + 1) * WINDOW_MS;
        Self { oldest_ms, newest_ms, step_ms }
    }
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
        let RankedView { window_start, window_end, rank, item } = item.view();
        let line = format!("{window_start} {window_end} {rank} {} {}\n", item.count, item.key);
        self.lines.extend_from_slice(line.as_bytes());
        if self.windows.last() != Some(&window_end.as_millis()) {
            self.windows.push(window_end.as_millis());
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

/// What the program's own arguments say.
#[derive(Debug, PartialEq)]
struct Asked {
    posts: u64,
    rate: u64,
    seconds: u64,
    file: String,
}

impl Asked {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let file = "examples/data/posts.jsonl".to_owned();
        let mut asked = Self { posts: 5_000_000, rate: 100_000, seconds: 5, file };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let number = match argument.as_str() {
                "--posts" => &mut asked.posts,
                "--rate" => &mut asked.rate,
                "--seconds" => &mut asked.seconds,
                flag if flag.starts_with("--") => {
                    return Err(format!(
                        "unknown argument `{flag}`: there are --posts, --rate and --seconds"
                    ));
                }
                file => {
                    file.clone_into(&mut asked.file);
                    continue;
                }
            };
            let value = arguments.next().and_then(|value| value.parse().ok());
            let value = value.filter(|value| (1..=100_000_000).contains(value));
            *number = value.ok_or_else(|| {
                format!("`{argument}` needs a number from 1 to 100,000,000: `{argument} 1000`")
            })?;
        }
        Ok(asked)
    }
}

fn read(file: &str) -> Result<Vec<Post>, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("cannot read {file}: {error}"))?;
    let parsed = text.lines().zip(1..).map(|(line, number)| {
        serde_json::from_str(line).map_err(|error| format!("{file}, line {number}: {error}"))
    });
    let posts = parsed.collect::<Result<Vec<Post>, _>>()?;
    if posts.is_empty() { Err(format!("{file} has no posts")) } else { Ok(posts) }
}

fn fail(code: i32, wrong: &str) -> ! {
    eprintln!("Error: {wrong}");
    process::exit(code)
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

    #[test]
    fn its_own_arguments_are_numbers_and_a_file() {
        let parse = |line: &str| {
            Asked::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        let asked = Asked { posts: 7, rate: 100_000, seconds: 1, file: "x".to_owned() };
        assert_eq!(parse("--posts 7 x --seconds 1"), Ok(asked));
        assert_eq!(
            parse("--rate fast"),
            Err("`--rate` needs a number from 1 to 100,000,000: `--rate 1000`".to_owned())
        );
        assert!(parse("--demo").is_err());
    }
}
