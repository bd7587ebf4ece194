//! The third part: a job that is killed in the middle and started again, and whose files are as if nothing had happened.
//!
//! ```text
//!   this process    demo … -- --to-files FOLDER          the same again
//!        │ start ─────▶ posts ─▶ files, checkpoint 1, 2       │
//!        │ SIGKILL ───▶ ✗                                      │
//!        │ start ───────────────────────────────▶ continues from checkpoint 2 ─▶ FINISHED
//!        └ the lines of all files, sorted == those of the first part
//! ```

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use wiesel::{
    Item,
    connectors::{DataGen, Encode, EncodeError, FileSink},
    prelude::*,
};

use crate::{
    Asked, Trend, WINDOW_MS, grouped, line, replayed, say, trending_hashtags::Post, trends,
};

/// In the folder of the job.
const CHECKPOINTS: &str = "checkpoints";
const OUT: &str = "out";

/// How long the job goes on after a checkpoint until it is killed.
const GOES_ON: Duration = Duration::from_millis(300);

/// The job, in the process that is killed.
pub(crate) fn to_files(
    env: &mut StreamExecutionEnvironment,
    asked: &Asked,
    posts: Vec<Post>,
    folder: &str,
) -> wiesel::Result<()> {
    let count = asked.passes(&posts) * posts.len() as u64;
    let rate = count.div_ceil(asked.seconds);
    let source = DataGen::new(replayed(posts, |_| {})).count(count).per_second(rate);
    let folder = Path::new(folder);
    env.set("execution.checkpointing.dir", &folder.join(CHECKPOINTS).to_string_lossy())?;
    trends(env, source, WINDOW_MS, FileSink::new(folder.join(OUT), Lines));
    env.execute("trends to files")?;
    Ok(())
}

/// Trends as lines.
#[derive(Clone)]
struct Lines;

impl Encode<Trend> for Lines {
    fn encode<I: Item<Trend>>(&mut self, item: I, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(line(item.view()).as_bytes());
        out.push(b'\n');
        Ok(())
    }

    fn name(&self) -> &'static str {
        "trends"
    }
}

/// Starts it, kills it, starts it again, and compares its files with `expected`, the lines of a job that nobody killed.
pub(crate) fn show(asked: &Asked, expected: Vec<String>, folder: &Path) -> Result<(), String> {
    let (count, rate) = (grouped(asked.posts), grouped(asked.posts.div_ceil(asked.seconds)));
    say(&format!(
        "3 of 3, a kill: {count} posts into files, {rate} a second and no more, in a process that is killed"
    ));
    let folder = folder.join("killed");
    fs::create_dir(&folder).map_err(|error| format!("cannot make a folder: {error}"))?;
    let started = Instant::now();
    let mut first = start(asked, &folder)?;
    while newest_checkpoint(&folder).is_none() && is_running(&mut first)? {
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(GOES_ON);
    let was_running = is_running(&mut first)?;
    first.kill().and_then(|()| first.wait()).map_err(|error| format!("cannot kill it: {error}"))?;
    if !was_running {
        say("  it had ended before it could be killed: give it more --seconds");
    } else if let Some(checkpoint) = newest_checkpoint(&folder) {
        say(&format!(
            "  killed with SIGKILL after {:.1} s, after checkpoint {checkpoint}: {} lines are visible; started again",
            started.elapsed().as_secs_f64(),
            grouped(lines(&folder)?.len() as u64)
        ));
        let ended = start(asked, &folder)?.wait();
        let ended = ended.map_err(|error| format!("cannot wait for it: {error}"))?;
        if !ended.success() {
            return Err(format!("the job that was started again: {ended}"));
        }
    }
    let (mut found, mut expected) = (lines(&folder)?, expected);
    found.sort_unstable();
    expected.sort_unstable();
    if found != expected {
        return Err(format!(
            "{} lines, of which {} are missing",
            found.len(),
            expected.iter().filter(|line| found.binary_search(line).is_err()).count()
        ));
    }
    let count = grouped(found.len() as u64);
    say(&format!("  {count} lines in its files: those of the first part, each of them once"));
    Ok(())
}

/// This program, with the same flags, for the part of the job.
fn start(asked: &Asked, folder: &Path) -> Result<Child, String> {
    let flags = env::args_os().skip(1).take_while(|argument| argument != "--");
    let numbers = [("--posts", asked.posts), ("--seconds", asked.seconds)];
    let started = env::current_exe().and_then(|program| {
        Command::new(program)
            .args(flags)
            .arg("--")
            .args(numbers.iter().flat_map(|(name, n)| [(*name).to_owned(), n.to_string()]))
            .arg("--to-files")
            .arg(folder)
            .arg(&asked.file)
            .stdin(Stdio::null())
            .spawn()
    });
    started.map_err(|error| format!("cannot start this program again: {error}"))
}

fn is_running(child: &mut Child) -> Result<bool, String> {
    let ended = child.try_wait().map_err(|error| format!("cannot ask whether it runs: {error}"))?;
    Ok(ended.is_none())
}

/// The newest checkpoint that is complete.
fn newest_checkpoint(folder: &Path) -> Option<u64> {
    let within = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let jobs = within(&folder.join(CHECKPOINTS));
    let complete = jobs
        .iter()
        .flat_map(|job| within(job))
        .filter(|checkpoint| checkpoint.join("_metadata").is_file());
    complete.filter_map(|path| path.to_str()?.rsplit('-').next()?.parse().ok()).max()
}

/// What is visible of its output.
fn lines(folder: &Path) -> Result<Vec<String>, String> {
    let out = folder.join(OUT);
    let failed = |error| format!("cannot read {}: {error}", out.display());
    let mut lines = Vec::new();
    for file in fs::read_dir(&out).map_err(failed)? {
        let path: PathBuf = file.map_err(failed)?.path();
        if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"part-")) {
            let text = fs::read_to_string(path).map_err(failed)?;
            lines.extend(text.lines().map(str::to_owned));
        }
    }
    Ok(lines)
}
