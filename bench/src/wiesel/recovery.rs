//! `recovery`: from the SIGKILL of a job to the first right output of the next process.
//!
//! ```text
//!   this process ── starts ──▶ a process with the job: every key comes again and again, checkpoints into a folder
//!        │                          │ says each checkpoint, and its first output
//!        └── SIGKILL, the clock starts, another process ──▶ its first output: the clock stops
//! ```
//!
//! # What is always true
//!
//! 1. An output is right if the count of its key is that of all records up to it: what was lost or came twice shows.
//! 2. A process is killed after a checkpoint that it has made itself with all keys.

#![allow(clippy::disallowed_methods, reason = "it kills processes and looks at the clock")]

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tempfile::TempDir;
use wiesel::{
    Configuration, Owned,
    connectors::{DataGen, Generate, Sink, SourceOutput, Tick, WriterContext},
    operators::{Aggregated, AggregatedView},
    prelude::*,
};

use super::{
    children::{Child, say},
    observer::{Observe, Observer},
};
use crate::{
    generator::Check,
    measure::{Outcome, Run, measured},
};

/// Kills without a look at the time, so that all keys are there.
const WARM_UP: u64 = 1;

/// The count of a key, and the number of the last record.
type Counted = Aggregated<u64, (u64, u64)>;

#[derive(Clone)]
struct Round {
    keys: u64,
}

impl Generate<(u64, u64)> for Round {
    #[inline(always)]
    fn generate<S: SourceOutput<(u64, u64)>>(&mut self, tick: Tick, out: &mut S) -> bool {
        out.collect(Owned((tick.number % self.keys, tick.number)), None)
    }
}

/// Says the first output of the process.
#[derive(Clone)]
struct First;

static HAS_SAID: AtomicBool = AtomicBool::new(false);

struct Say(bool);

impl Sink for First {
    type Record = Counted;
    type Writer = Observer<Say>;

    fn writer(&self, _context: &WriterContext) -> Observer<Say> {
        Observer::new(Say(false))
    }

    fn describe(&self) -> String {
        "first output".to_owned()
    }
}

impl Observe<Counted> for Say {
    #[inline(always)]
    fn see(&mut self, counted: AggregatedView<'_, u64, (u64, u64)>) {
        if !self.0 {
            self.0 = true;
            if !HAS_SAID.swap(true, Ordering::Relaxed) {
                let (count, number) = counted.value;
                say(&format!("first {} {count} {number}", counted.key));
            }
        }
    }

    fn end(&mut self) {}
}

/// Runs the job until it is killed, with its checkpoints in `folder`.
///
/// # Errors
///
/// If it cannot run.
pub fn child(run: &Run, folder: &Path) -> Result<(), String> {
    let said = |error: wiesel::Error| error.to_string();
    let mut env = StreamExecutionEnvironment::new(Configuration::new());
    env.set_parallelism(run.parallelism).map_err(said)?;
    env.enable_checkpointing(Duration::from_millis(run.state.interval_ms)).map_err(said)?;
    env.set("execution.checkpointing.dir", &folder.display().to_string()).map_err(said)?;
    env.source(DataGen::by(Round { keys: run.state.keys }).count(u64::MAX / 2))
        .uid("numbers")
        .set_parallelism(1)
        .key_by::<u64>(|(key, _)| key)
        .fold((0, 0), |counted: &mut (u64, u64), (_, number)| {
            *counted = (counted.0 + 1, number);
        })
        .uid("counts")
        .sink_to(First);
    let client = env.execute_async("recovery").map_err(said)?;
    let mut last = None;
    loop {
        thread::sleep(Duration::from_millis(20));
        if client.status().is_terminal() {
            let failure = client.wait().failure;
            return Err(format!("the job has ended: {failure:?}"));
        }
        let Some(progress) = client.progress() else { continue };
        let read = progress.records_read();
        if let Some(stats) = progress.checkpoints
            && last.replace(stats.last) != Some(stats.last)
        {
            say(&format!("checkpoint {} {} {read}", stats.last.0, stats.last_bytes));
        }
    }
}

/// Kills and starts anew, as often as the run says.
///
/// # Errors
///
/// If a process cannot be started, or an output is wrong.
pub fn run(run: &Run) -> Result<Outcome, String> {
    let folder = TempDir::new().map_err(|error| format!("a temporary folder: {error}"))?;
    let (mut times_ms, mut state_bytes) = (Vec::new(), 0);
    let (done, usage) = measured(|| -> Result<(), String> {
        let mut victim = Child::start(folder.path().as_os_str())?;
        for kill in 0..WARM_UP + run.state.kills {
            let mut checkpoints = 0;
            while checkpoints < 2 {
                let [_, bytes, read] = victim.next::<u64>("checkpoint")?[..] else { continue };
                // The first one may have begun before all keys were there.
                if bytes > 0 && (kill > 0 || read > 2 * run.state.keys) {
                    (checkpoints, state_bytes) = (checkpoints + 1, bytes);
                }
            }
            victim.kill()?;
            let killed = Instant::now();
            victim = Child::start(folder.path().as_os_str())?;
            let first = victim.next::<u64>("first")?;
            let elapsed = killed.elapsed();
            let [key, count, number] = first[..] else {
                return Err("a line is cut off".to_owned());
            };
            if number % run.state.keys != key || count != number / run.state.keys + 1 || count < 2 {
                return Err(format!("key {key} has count {count} at record {number}"));
            }
            if kill >= WARM_UP {
                times_ms.push(elapsed.as_secs_f64() * 1e3);
            }
        }
        victim.kill()
    });
    done?;
    times_ms.sort_by(f64::total_cmp);
    let mut outcome = usage.outcome(run, "wiesel", Check::default());
    outcome.extra = vec![
        ("kills", json!(run.state.kills)),
        ("keys", json!(run.state.keys)),
        ("state_bytes", json!(state_bytes)),
        ("first_output_ms", json!(times_ms[times_ms.len() / 2])),
        ("first_output_max_ms", json!(times_ms[times_ms.len() - 1])),
    ];
    Ok(outcome)
}
