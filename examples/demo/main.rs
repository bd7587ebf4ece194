//! `make demo`: the trending hashtags over five million posts, then at a steady rate, then with a kill in the middle.
//!
//! ```text
//! demo [FLAGS] [-- [--posts N] [--rate N] [--seconds N] [FILE]]
//!
//!   1  throughput   FILE, replayed until 5,000,000 posts are read; each pass, event time moves on by the file's span,
//!                   rounded up to whole windows. Prints the trends of the last three windows, and the closing table
//!   2  latency      the same posts at 100,000 a second for 5 s, in windows of 1 s of event time (3,000 of them, so
//!                   that p99.9 means something); a window's result is a batch of ten lines, written to /dev/null, so
//!                   that it is not the terminal that is measured
//!   3  a kill       the posts of the first part in 5 s, into files, in a process of its own, which is killed and started
//!                   again. Its lines are compared with those of the first part
//! ```
//!
//! All of them take a checkpoint each second, into a folder that is removed at the end.
#![allow(clippy::disallowed_methods)] // Looks at its file before the job runs, and prints after it.

use std::{
    fs,
    io::{self, Write},
    process,
    sync::Arc,
    time::Duration,
};

use trending_hashtags::{Post, hashtags};
use wiesel::{
    connectors::{CollectSink, Sink, Source, Tick},
    prelude::*,
};

mod kill;
mod latency;
#[allow(dead_code, reason = "its `main` is another program's")]
#[path = "../trending_hashtags.rs"]
mod trending_hashtags;

/// The bound on disorder, and the windows of the file's event time.
const DISORDER_MS: i64 = 2_000;
const WINDOW_MS: i64 = 10_000;
/// Windows whose trends are shown.
const SHOWN: i64 = 3;

type Trend = Ranked<Counted<String>>;

/// The job of `trending_hashtags.rs`, from any source, with any windows, to any sink.
fn trends(
    env: &StreamExecutionEnvironment,
    posts: impl Source<Record = Post>,
    window_ms: i64,
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
        .sink_to(sink);
}

/// A trend as a line of a file.
fn line(trend: RankedView<'_, Counted<String>>) -> String {
    let RankedView { window_start, window_end, rank, item } = trend;
    format!("{window_start} {window_end} {rank} {} {}", item.count, item.key)
}

/// A trend as a line for people, below [`HEADER`].
fn shown(trend: RankedView<'_, Counted<String>>) -> String {
    let RankedView { window_start, window_end, rank, item } = trend;
    let at =
        |time: Timestamp, format: &str| match jiff::Timestamp::from_millisecond(time.as_millis()) {
            Ok(at) => at.strftime(format).to_string(),
            Err(_) => time.to_string(), // Outside of the calendar.
        };
    let (start, end) = (at(window_start, "%F %T"), at(window_end, "%T"));
    format!("{start} to {end}  {rank:>4}  {:>5}  #{}", item.count, item.key)
}

/// What is in the columns of [`shown`].
const HEADER: &str = "window (UTC)                     rank  count  hashtag, as it was written";

/// Says something on standard error, whether or not anybody listens.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let separates = |index: usize| index > 0 && (digits.len() - index).is_multiple_of(3);
    let parts = digits.char_indices().map(|(index, digit)| {
        if separates(index) { format!(",{digit}") } else { digit.to_string() }
    });
    parts.collect()
}

fn main() -> wiesel::Result<()> {
    let mut env = StreamExecutionEnvironment::from_args()?;
    let asked = Asked::parse(env.params()).unwrap_or_else(|wrong| fail(2, &wrong));
    let posts = read(&asked.file).unwrap_or_else(|wrong| fail(1, &wrong));
    env.print_summary();
    env.enable_checkpointing(seconds(1))?;
    if let Some(folder) = &asked.to_files {
        return kill::to_files(&mut env, &asked, posts, folder);
    }
    let folder = Temporary::new().unwrap_or_else(|wrong| fail(1, &wrong));
    env.set("execution.checkpointing.dir", &folder.0.join("checkpoints").to_string_lossy())?;
    let lines = throughput(&env, &asked, &posts)?;
    latency::measure(&env.another(), &asked, posts)?;
    kill::show(&asked, lines, &folder.0).unwrap_or_else(|wrong| {
        drop(folder);
        fail(1, &wrong)
    });
    Ok(())
}

/// The first part. Returns all lines.
fn throughput(
    env: &StreamExecutionEnvironment,
    asked: &Asked,
    posts: &[Post],
) -> wiesel::Result<Vec<String>> {
    let (span, passes) = (Span::of(posts), asked.passes(posts));
    let step = Duration::from_millis(span.step_ms as u64);
    let count = grouped(passes * posts.len() as u64);
    say(&format!("1 of 3, throughput: {count} posts from a file, as fast as it goes"));
    let source =
        JsonLines::<Post>::files(&asked.file)
            .replay(passes, step, |post: &mut Post, by| post.at = post.at + by);
    let (sink, collected) = CollectSink::<Trend>::new();
    trends(env, source, WINDOW_MS, sink);
    env.execute("trending hashtags")?;
    let moved = span.step_ms.saturating_mul(passes as i64 - 1);
    let last_window = (span.newest_ms + moved).div_euclid(WINDOW_MS);
    let from = Timestamp::from_millis((last_window + 1 - SHOWN) * WINDOW_MS);
    let collected = collected.take();
    let last = collected.iter().filter(|trend| trend.window_start >= from);
    let lines: String = last.map(|trend| shown(trend.view()) + "\n").collect();
    say(HEADER);
    // Nobody needs to read them.
    let _ = io::stdout().lock().write_all(lines.as_bytes());
    Ok(collected.iter().map(|trend| line(trend.view())).collect())
}

/// The posts of all passes over `posts`, event time moving on with each.
fn replayed(
    posts: Vec<Post>,
    note: impl Fn(Tick) + Clone + Send + 'static,
) -> impl Fn(Tick) -> Post + Clone + Send + 'static {
    let (span, posts) = (Span::of(&posts), Arc::new(posts));
    move |tick| {
        note(tick);
        let (pass, index) = (tick.number / posts.len() as u64, tick.number % posts.len() as u64);
        let Post { at, user, text } = &posts[index as usize];
        let at = at.offset_millis(span.step_ms * pass as i64);
        Post { at, user: *user, text: text.clone() }
    }
}

/// A folder for what is left on the disk, of this process, gone at its end.
struct Temporary(std::path::PathBuf);

impl Temporary {
    fn new() -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("wiesel-demo-{}", process::id()));
        let made = fs::create_dir(&folder);
        made.map_err(|error| format!("cannot make the folder {}: {error}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
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

/// What the program's own arguments say.
#[derive(Debug, PartialEq)]
struct Asked {
    posts: u64,
    rate: u64,
    seconds: u64,
    file: String,
    /// The process of the third part that writes to this folder.
    to_files: Option<String>,
}

impl Asked {
    /// How often `posts` are read.
    fn passes(&self, posts: &[Post]) -> u64 {
        self.posts.div_ceil(posts.len() as u64)
    }

    fn parse(arguments: &[String]) -> Result<Self, String> {
        let file = "examples/data/posts.jsonl".to_owned();
        let mut asked = Self { posts: 5_000_000, rate: 100_000, seconds: 5, file, to_files: None };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let number = match argument.as_str() {
                "--posts" => &mut asked.posts,
                "--rate" => &mut asked.rate,
                "--seconds" => &mut asked.seconds,
                "--to-files" => {
                    let folder = arguments.next().ok_or("`--to-files` needs a folder")?;
                    asked.to_files = Some(folder.clone());
                    continue;
                }
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
    say(&format!("Error: {wrong}"));
    process::exit(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_own_arguments_are_numbers_and_a_file() {
        let parse = |line: &str| {
            Asked::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        let asked =
            Asked { posts: 7, rate: 100_000, seconds: 1, file: "x".to_owned(), to_files: None };
        assert_eq!(parse("--posts 7 x --seconds 1"), Ok(asked));
        assert_eq!(
            parse("--rate fast"),
            Err("`--rate` needs a number from 1 to 100,000,000: `--rate 1000`".to_owned())
        );
        assert!(parse("--demo").is_err());
        assert_eq!(parse("--to-files"), Err("`--to-files` needs a folder".to_owned()));
    }

    #[test]
    fn a_trend_is_shown_with_the_time_of_day() {
        let item = Counted { key: "cats".to_owned(), count: 105 };
        let at = Timestamp::from_millis;
        let (window_start, window_end) = (at(1_750_029_970_000), at(1_750_029_980_000));
        let trend = Ranked { window_start, window_end, rank: 1, item };
        let line = shown(trend.view());
        assert_eq!(line, "2025-06-15 23:26:10 to 23:26:20     1    105  #cats");
        assert_eq!(HEADER.find("hashtag"), line.find('#'));
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
