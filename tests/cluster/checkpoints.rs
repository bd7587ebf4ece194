//! A job that takes checkpoints comes back where it was: after a failure, and in another process.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use wiesel_cluster::{ClusterError, JobResult, MiniCluster, SubmitOptions};
use wiesel_connectors::{DataGen, FileSink};
use wiesel_core::config::Configuration;
use wiesel_datastream::Environment;
use wiesel_graph::GraphDefaults;
use wiesel_jobmanager::JobStatus;

use crate::{config, watched};

const NUMBERS: u64 = 200_000;
const KEYS: u64 = 1_000;
/// Of one job.
const FAILURES: u64 = 5;

/// The configuration of a job with a checkpoint every few milliseconds.
pub(crate) fn checkpointed(folder: &Path) -> Configuration {
    let folder = folder.join("checkpoints");
    config(&[
        ("execution.checkpointing.interval", "5 ms"),
        ("execution.checkpointing.dir", folder.to_str().expect("a path that is text")),
        ("restart-strategy.type", "fixed-delay"),
        ("restart-strategy.fixed-delay.attempts", "1000000"),
        ("restart-strategy.fixed-delay.delay", "1 ms"),
    ])
}

/// Counts numbers by key and writes every count. `fail` is asked for every number, and panics if it is to fail.
fn job(out: &Path, fail: impl Fn(u64) + Clone + Send + 'static) -> Environment {
    let env = Environment::new();
    env.source(DataGen::new(|tick| tick.number).count(NUMBERS))
        .uid("numbers")
        .map(move |number| {
            if number % 4_000 == 0 {
                // Slow enough for a checkpoint between two failures, however slow the disk.
                std::thread::sleep(std::time::Duration::from_millis(4));
            }
            fail(number);
            number % KEYS
        })
        .key_by::<u64>(|key| key)
        .count()
        .uid("counts")
        .map(|counted| format!("{} {}", counted.key, counted.count))
        .sink_to(FileSink::lines(out));
    env
}

fn submit(
    env: &Environment,
    parallelism: u32,
    config: &Configuration,
    fresh: bool,
) -> Result<JobResult, ClusterError> {
    let graph = env.job_graph("counts", &GraphDefaults::from_config(config, parallelism));
    let options = SubmitOptions { fresh, ..SubmitOptions::default() };
    MiniCluster::submit(graph.expect("a whole graph"), config, options).map(|client| client.wait())
}

/// What is visible in the folder: each line and how often it is there.
fn committed(out: &Path) -> BTreeMap<String, u64> {
    let mut lines = BTreeMap::new();
    for file in fs::read_dir(out).expect("a folder") {
        let path = file.expect("a file").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(name.starts_with("part-"), "left behind: {name}");
        for line in fs::read_to_string(&path).expect("text").lines() {
            *lines.entry(line.to_owned()).or_default() += 1;
        }
    }
    lines
}

/// Every count of every key, once.
#[track_caller]
fn assert_exactly_once(out: &Path) {
    let committed = committed(out);
    assert_eq!(committed.len() as u64, NUMBERS, "lines are missing");
    let twice: Vec<_> = committed.iter().filter(|(_, times)| **times > 1).take(3).collect();
    assert!(twice.is_empty(), "lines are there more than once: {twice:?}");
    for key in 0..KEYS {
        let last = NUMBERS / KEYS;
        assert!(
            committed.contains_key(&format!("{key} {last}")),
            "key {key} was not counted to its end"
        );
    }
}

/// The error with which a job does not start.
#[track_caller]
fn refused(env: &Environment, name: &str, config: &Configuration, fresh: bool) -> String {
    let graph = env.job_graph(name, &GraphDefaults::from_config(config, 2)).expect("a whole graph");
    let options = SubmitOptions { fresh, ..SubmitOptions::default() };
    let error = MiniCluster::submit(graph, config, options).err().expect("it is refused");
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[test]
fn what_is_refused_removes_neither_checkpoints_nor_output() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let [out, other, old] = ["out", "other", "old"].map(|name| folder.path().join(name));
        let config = checkpointed(folder.path());
        let result = submit(&job(&out, |_| ()), 2, &config, false).expect("fit");
        assert_eq!(result.status, JobStatus::Finished, "{:?}", result.failure);
        let lines = committed(&out);
        // By its sink, by too few slots, by a savepoint that is not there.
        let is_kept =
            || refused(&job(&out, |_| ()), "counts", &config, false).contains("has finished");
        let not_empty = refused(&job(&out, |_| ()), "counts", &config, true);
        assert!(not_empty.contains("not empty") && is_kept(), "{not_empty}");
        let mut narrow = config.clone();
        narrow.set_text("taskmanager.numberOfTaskSlots", "1").expect("a number");
        let slots = refused(&job(&other, |_| ()), "counts", &narrow, true);
        assert!(slots.contains("slots") && is_kept() && !other.exists(), "{slots}");
        let mut from = config.clone();
        from.set_text("execution.state-recovery.path", "nowhere").expect("a path");
        let nowhere = refused(&job(&other, |_| ()), "counts", &from, true);
        assert!(nowhere.contains("no savepoint") && is_kept(), "{nowhere}");
        // A sink that may replace what is there waits for what the others say.
        fs::create_dir(&old).expect("a disk");
        fs::write(old.join("part-0"), "old").expect("a disk");
        let env = Environment::new();
        for sink in [FileSink::lines(&old).overwrite(true), FileSink::lines(&out)] {
            env.from_collection([1_u64]).map(|n| n.to_string()).sink_to(sink);
        }
        for config in [Configuration::new(), checkpointed(&other)] {
            let not_empty = refused(&env, "two", &config, false);
            assert!(not_empty.contains("not empty"), "{not_empty}");
            assert_eq!(fs::read_to_string(old.join("part-0")).ok().as_deref(), Some("old"));
        }
        assert_eq!(committed(&out), lines);
    });
}

#[test]
fn a_job_does_not_continue_from_another_ones_checkpoints() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let config = checkpointed(folder.path());
        let checkpoints = folder.path().join("checkpoints");
        submit(&job(&folder.path().join("out"), |_| ()), 2, &config, false).expect("fit");
        // Its folder has another's name now: that of a job which has not run yet.
        fs::rename(checkpoints.join("counts"), checkpoints.join("others")).expect("a disk");
        let env = job(&folder.path().join("new"), |_| ());
        for fresh in [false, true] {
            let error = refused(&env, "others", &config, fresh);
            let others = checkpoints.join("others");
            let start =
                format!("the checkpoints in {} are those of job `counts`", others.display());
            assert!(error.starts_with(&start) && error.contains("this is `others`"), "{error}");
        }
        fs::rename(checkpoints.join("others"), checkpoints.join("counts")).expect("a disk");
        let error = refused(&env, "counts", &config, false);
        assert!(error.contains("has finished"), "nothing of it was removed: {error}");
    });
}

#[test]
fn what_fails_continues_and_every_result_is_there_once() {
    for parallelism in 1..=3 {
        watched(move || {
            let folder = tempfile::tempdir().expect("a folder");
            let out = folder.path().join("out");
            let calls = Arc::new(AtomicU64::new(0));
            let failures = Arc::new(AtomicU64::new(0));
            let seen = Arc::clone(&failures);
            let env = job(&out, move |_| {
                // Every so many numbers, whichever they are: also those that are read again. Not for ever: on a disk
                // that is too slow for a checkpoint in between, the job would begin again and again.
                if calls.fetch_add(1, Ordering::Relaxed) % 60_001 == 60_000
                    && failures.load(Ordering::Relaxed) < FAILURES
                {
                    failures.fetch_add(1, Ordering::Relaxed);
                    panic!("on purpose");
                }
            });
            let result = submit(&env, parallelism, &checkpointed(folder.path()), false);
            let result = result.expect("a machine that is fit");
            assert_eq!(result.status, JobStatus::Finished, "{:?}", result.failure);
            let stats = result.progress.checkpoints.expect("a job that takes checkpoints");
            assert_eq!(stats.restarts, seen.load(Ordering::Relaxed), "{stats:?}");
            assert!(stats.restarts >= 3 && stats.completed >= 1, "{stats:?}");
            assert_exactly_once(&out);
        });
    }
}

#[test]
fn a_job_that_has_finished_says_so_and_starts_anew_only_if_told_to() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let (out, config) = (folder.path().join("out"), checkpointed(folder.path()));
        let env = job(&out, |_| {});
        assert_eq!(submit(&env, 2, &config, false).expect("fit").status, JobStatus::Finished);
        assert_exactly_once(&out);
        let again = submit(&env, 2, &config, false).expect_err("it has finished").to_string();
        assert!(again.contains("has finished") && again.contains("--fresh"), "{again}");
        fs::remove_dir_all(&out).expect("its output");
        assert_eq!(submit(&env, 2, &config, true).expect("fit").status, JobStatus::Finished);
        assert_exactly_once(&out);
    });
}

#[test]
fn another_process_with_another_parallelism_continues() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("out");
        let mut config = checkpointed(folder.path());
        config.set_text("restart-strategy.type", "none").expect("a strategy");
        for parallelism in [1, 3, 2, 4, 1] {
            // Far enough for some checkpoints, and not to the end.
            let calls = Arc::new(AtomicU64::new(0));
            let env = job(&out, move |_| {
                let call = calls.fetch_add(1, Ordering::Relaxed);
                assert!(call < 60_000, "on purpose");
            });
            let result = submit(&env, parallelism, &config, false).expect("fit");
            if result.status == JobStatus::Finished {
                break;
            }
        }
        let env = job(&out, |_| {});
        let _ = submit(&env, 2, &config, false);
        assert_exactly_once(&out);
    });
}
