//! A failure stops the region of its task, and nothing else: the others read on, each record once, and the output is what it
//! would have been.
//!
//! ```text
//!   lines of many files ── map ── files     no channels: each subtask is a region, and splits are handed out as they are asked for
//!   numbers ─ by key ─ count ── files       two of them in one job: two regions
//! ```

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use wiesel_cluster::{JobResult, SubmitOptions};
use wiesel_connectors::{DataGen, FileSink, Lines};
use wiesel_core::{Timestamp, config::Configuration, millis};
use wiesel_datastream::Environment;
use wiesel_operators::monotonous_timestamps;

use crate::{assert_sound, checkpoints::checkpointed, config, submit, watched};

const FILES: u64 = 40;
const LINES: u64 = 300;

/// What a function has seen: each record, and how often.
type Calls = Arc<Mutex<BTreeMap<String, u64>>>;

/// Writes [`FILES`] files with [`LINES`] lines each.
fn write_input(folder: &Path) {
    fs::create_dir(folder.join("in")).expect("a folder");
    for file in 0..FILES {
        let lines: String = (0..LINES).map(|line| format!("{file}-{line}\n")).collect();
        fs::write(folder.join(format!("in/{file:03}.txt")), lines).expect("a disk");
    }
}

/// Copies the lines into files, in subtasks that have nothing to do with each other. `fail` is asked for every line, with how
/// many there were before, and panics if it is to fail.
fn copy(
    folder: &Path,
    calls: &Calls,
    fail: impl Fn(u64, &str) + Clone + Send + 'static,
) -> Environment {
    let env = Environment::new();
    let (calls, count) = (Arc::clone(calls), Arc::new(AtomicU64::new(0)));
    env.source(Lines::files(folder.join("in/*.txt").to_str().expect("text")))
        .uid("lines")
        .map(move |line| {
            let call = count.fetch_add(1, Ordering::Relaxed);
            if call % 50 == 0 {
                // Slow enough for some checkpoints.
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            fail(call, line);
            *calls.lock().expect("no panic in here").entry(line.to_owned()).or_default() += 1;
            line.to_owned()
        })
        .sink_to(FileSink::lines(folder.join("out")));
    env
}

fn run(env: &Environment, parallelism: u32, config: &Configuration) -> JobResult {
    let result = submit(env, parallelism, config, SubmitOptions::default()).wait();
    assert_sound(&result);
    result
}

/// The lines of a folder of part files, and which subtask has written each. None is there twice.
fn written(out: &Path) -> BTreeMap<String, u32> {
    let mut lines = BTreeMap::new();
    for file in fs::read_dir(out).expect("a folder") {
        let path = file.expect("a file").path();
        let name = path.file_name().expect("a name").to_str().expect("text");
        let subtask = name.strip_prefix("part-").and_then(|name| name.split('-').next());
        let subtask = subtask.unwrap_or_else(|| panic!("left behind: {name}"));
        for line in fs::read_to_string(&path).expect("text").lines() {
            let before = lines.insert(line.to_owned(), subtask.parse().expect("a number"));
            assert_eq!(before, None, "{line} is there twice");
        }
    }
    lines
}

/// The attempt of each task, by name.
fn attempts(result: &JobResult) -> Vec<(String, u32)> {
    let tasks = result.progress.tasks.iter();
    tasks
        .map(|task| (task.name.clone(), task.metrics.as_ref().expect("it has run").attempt.number))
        .collect()
}

/// Every line is there once, and those that subtasks have written which never failed were read once. Gives the attempts.
#[track_caller]
fn assert_copied(folder: &Path, result: &JobResult, calls: &Calls) -> Vec<u32> {
    let written = written(&folder.join("out"));
    assert_eq!(written.len() as u64, FILES * LINES, "lines are missing");
    let attempts: Vec<u32> = attempts(result).into_iter().map(|(_, number)| number).collect();
    let calls = calls.lock().expect("no panic in here");
    for (line, subtask) in &written {
        let (times, attempt) = (calls[line], attempts[*subtask as usize]);
        assert!(times == 1 || attempt > 0, "{line} was read {times} times by subtask {subtask}");
    }
    attempts
}

/// Fails once, at a line with some before it.
fn once(at: u64) -> impl Fn(u64, &str) + Clone + Send + 'static {
    let is_over = Arc::new(AtomicBool::new(false));
    move |call, _| {
        if call >= at && !is_over.swap(true, Ordering::SeqCst) {
            panic!("on purpose");
        }
    }
}

fn with(mut config: Configuration, pairs: &[(&str, &str)]) -> Configuration {
    for (key, value) in pairs {
        config.set_text(key, value).expect("a known key and a good value");
    }
    config
}

#[test]
fn a_subtask_without_channels_fails_alone() {
    for at in [10, 1_000, 4_000, 9_000] {
        watched(move || {
            let folder = tempfile::tempdir().expect("a folder");
            write_input(folder.path());
            let calls = Calls::default();
            let env = copy(folder.path(), &calls, once(at));
            let result = run(&env, 3, &checkpointed(folder.path()));
            let mut attempts = assert_copied(folder.path(), &result, &calls);
            attempts.sort_unstable();
            assert_eq!(attempts, [0, 0, 1]);
            let stats = result.progress.checkpoints.expect("it takes checkpoints");
            assert_eq!(stats.restarts, 1);
        });
    }
}

#[test]
fn before_the_first_checkpoint_all_that_it_was_handed_is_read_again() {
    for at in [10, 4_000] {
        watched(move || {
            let folder = tempfile::tempdir().expect("a folder");
            write_input(folder.path());
            let calls = Calls::default();
            let env = copy(folder.path(), &calls, once(at));
            let config = with(
                checkpointed(folder.path()),
                &[("execution.checkpointing.interval", "10 min")],
            );
            let result = run(&env, 3, &config);
            let mut attempts = assert_copied(folder.path(), &result, &calls);
            attempts.sort_unstable();
            assert_eq!(attempts, [0, 0, 1]);
            assert_eq!(result.progress.checkpoints.expect("it takes one at the end").completed, 1);
        });
    }
}

#[test]
fn without_checkpoints_a_region_begins_anew_alone() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        write_input(folder.path());
        let calls = Calls::default();
        let env = copy(folder.path(), &calls, once(4_000));
        let config = config(&[
            ("restart-strategy.type", "fixed-delay"),
            ("restart-strategy.fixed-delay.delay", "1 ms"),
        ]);
        let result = run(&env, 3, &config);
        let mut attempts = assert_copied(folder.path(), &result, &calls);
        attempts.sort_unstable();
        assert_eq!(attempts, [0, 0, 1]);
    });
}

#[test]
fn all_subtasks_start_again_if_that_is_the_strategy() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        write_input(folder.path());
        let calls = Calls::default();
        let env = copy(folder.path(), &calls, once(4_000));
        let full = ("jobmanager.execution.failover-strategy", "full");
        let result = run(&env, 3, &with(checkpointed(folder.path()), &[full]));
        assert_eq!(assert_copied(folder.path(), &result, &calls), [1, 1, 1]);
    });
}

#[test]
fn another_region_fails_while_one_waits_to_start_again() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        write_input(folder.path());
        let calls = Calls::default();
        // The first failure is followed by the next line of any other subtask, long before the delay is over.
        let failures = Arc::new(AtomicU64::new(0));
        let env = copy(folder.path(), &calls, move |call, _| {
            if call >= 2_000 && failures.fetch_add(1, Ordering::SeqCst) < 2 {
                panic!("on purpose");
            }
        });
        let delay = ("restart-strategy.fixed-delay.delay", "1 s");
        let result = run(&env, 3, &with(checkpointed(folder.path()), &[delay]));
        let mut attempts = assert_copied(folder.path(), &result, &calls);
        attempts.sort_unstable();
        assert_eq!(attempts, [0, 1, 1]);
        let stats = result.progress.checkpoints.expect("it takes checkpoints");
        assert_eq!(stats.restarts, 1, "they were started again together");
    });
}

#[test]
fn many_failures_lose_nothing_and_double_nothing() {
    for parallelism in 2..=4 {
        watched(move || {
            let folder = tempfile::tempdir().expect("a folder");
            write_input(folder.path());
            let (calls, failures) = (Calls::default(), Arc::new(AtomicU64::new(0)));
            let env = copy(folder.path(), &calls, move |call, _| {
                if call % 1_501 == 1_500 && failures.fetch_add(1, Ordering::Relaxed) < 6 {
                    panic!("on purpose");
                }
            });
            let result = run(&env, parallelism, &checkpointed(folder.path()));
            let attempts = assert_copied(folder.path(), &result, &calls);
            assert!(attempts.iter().sum::<u32>() >= 6, "{attempts:?}");
        });
    }
}

const NUMBERS: u64 = 60_000;
const KEYS: u64 = 100;

/// Counts numbers by key and writes every count to a folder of this name.
fn count(
    env: &Environment,
    folder: &Path,
    name: &str,
    calls: &Arc<AtomicU64>,
    fails_each: Option<u64>,
) {
    let (calls, failures) = (Arc::clone(calls), Arc::new(AtomicU64::new(0)));
    env.source(DataGen::new(|tick| tick.number).count(NUMBERS))
        .uid(&format!("{name}-numbers"))
        .map(move |number| {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            if number % 2_000 == 0 {
                std::thread::sleep(std::time::Duration::from_millis(4));
            }
            if let Some(each) = fails_each
                && call % each == each - 1
                && failures.fetch_add(1, Ordering::Relaxed) < 3
            {
                panic!("on purpose");
            }
            number % KEYS
        })
        .key_by::<u64>(|key| key)
        .count()
        .uid(&format!("{name}-counts"))
        .map(|counted| format!("{} {}", counted.key, counted.count))
        .sink_to(FileSink::lines(folder.join(name)));
}

#[test]
fn one_of_two_pipelines_runs_on_while_the_other_starts_again() {
    for (a_fails, b_fails) in [(Some(20_001), None), (Some(20_001), Some(23_003))] {
        watched(move || {
            let folder = tempfile::tempdir().expect("a folder");
            let env = Environment::new();
            let calls = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
            count(&env, folder.path(), "a", &calls[0], a_fails);
            count(&env, folder.path(), "b", &calls[1], b_fails);
            let result = run(&env, 2, &checkpointed(folder.path()));
            for name in ["a", "b"] {
                let written = written(&folder.path().join(name));
                assert_eq!(written.len() as u64, NUMBERS, "{name}: lines are missing");
                for key in 0..KEYS {
                    assert!(written.contains_key(&format!("{key} {}", NUMBERS / KEYS)));
                }
            }
            // The vertices of a pipeline follow each other: the first half of the tasks is of `a`.
            let attempts = attempts(&result);
            let (a, b) = attempts.split_at(attempts.len() / 2);
            let restarts = |tasks: &[(String, u32)]| {
                assert!(tasks.iter().all(|(_, number)| *number == tasks[0].1), "{tasks:?}");
                tasks[0].1
            };
            assert!(restarts(a) >= 1, "{attempts:?}");
            if b_fails.is_none() {
                assert_eq!(restarts(b), 0, "{attempts:?}");
                assert_eq!(calls[1].load(Ordering::SeqCst), NUMBERS, "each once");
            } else {
                assert!(restarts(b) >= 1, "{attempts:?}");
            }
        });
    }
}

/// Numbers whose event time is what they are, in milliseconds, read no further than 50 ms ahead of those of the other pipeline.
fn aligned(
    env: &Environment,
    folder: &Path,
    name: &str,
    fail: impl Fn(u64) + Clone + Send + 'static,
) {
    let strategy = monotonous_timestamps().with_watermark_alignment("both", millis(50), millis(1));
    env.source(DataGen::new(|tick| tick.number).count(ALIGNED))
        .uid(&format!("{name}-numbers"))
        .watermarks(strategy, |number| Timestamp::from_millis(number as i64))
        .map(move |number| {
            fail(number);
            number.to_string()
        })
        .sink_to(FileSink::lines(folder.join(name)));
}

const ALIGNED: u64 = 5_000;

#[test]
fn who_waits_for_a_source_reads_on_while_it_starts_again_and_waits_for_it_behind_that() {
    for (parallelism, at, times) in [(1, 10, 1), (1, 2_500, 3), (2, 2_500, 2), (3, 4_990, 1)] {
        watched(move || {
            let folder = tempfile::tempdir().expect("a folder");
            let env = Environment::new();
            let failures = Arc::new(AtomicU64::new(0));
            aligned(&env, folder.path(), "a", move |number| {
                if number >= at && failures.fetch_add(1, Ordering::SeqCst) < times {
                    panic!("on purpose");
                }
            });
            aligned(&env, folder.path(), "b", |_| {});
            let result = run(&env, parallelism, &checkpointed(folder.path()));
            for name in ["a", "b"] {
                assert_eq!(written(&folder.path().join(name)).len() as u64, ALIGNED, "{name}");
            }
            let attempts = attempts(&result);
            let (a, b) = attempts.split_at(attempts.len() / 2);
            assert_eq!(a.iter().map(|(_, number)| u64::from(*number)).sum::<u64>(), times);
            assert!(b.iter().all(|(_, number)| *number == 0), "{attempts:?}");
        });
    }
}
