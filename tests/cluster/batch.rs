//! Batch mode gives the final results of streaming mode, key after key, in memory that does not grow with the keys.

mod broadcast_first;
mod in_order;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use wiesel_cluster::{JobResult, MiniCluster, SubmitOptions};
use wiesel_connectors::{CollectedRecords, DataGen};
use wiesel_core::{Blame, Timestamp, config::Configuration, millis, seconds};
use wiesel_datastream::{Environment, FrameStream};
use wiesel_graph::GraphDefaults;
use wiesel_jobmanager::JobStatus;
use wiesel_operators::{
    Counted, Session, Sliding, Tumbling, after, before, bounded_out_of_orderness,
};

use crate::{assert_sound, config, run, watched};

const RECORDS: u64 = 20_000;

/// Key, time, text: a few hot keys and many cold ones, out of order by at most 300 ms, with texts of any length.
type Event = (u64, i64, String);

fn event(number: u64) -> Event {
    let random = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    let key = if random.is_multiple_of(4) { random / 4 % 3 } else { random / 4 % 2_000 };
    let at = number as i64 * 2 - (random / 64 % 300) as i64;
    (key, at, "weasel".repeat((random / 32 % 9) as usize))
}

fn events(environment: &Environment) -> FrameStream<Event> {
    environment
        .source(DataGen::new(|tick| tick.number).count(RECORDS))
        .map(event_of)
        .watermarks(bounded_out_of_orderness(seconds(1)), |(_, at, _)| Timestamp::from_millis(at))
        .rebalance()
}

fn event_of(number: u64) -> Event {
    event(number)
}

/// Batch mode with the least memory there is: everything is spilled.
fn batch(folder: &Path) -> Configuration {
    config(&[
        ("execution.runtime-mode", "batch"),
        ("execution.sorted-inputs.memory", "64 kb"),
        ("io.tmp.dirs", folder.to_str().expect("a plain path")),
    ])
}

/// Runs a job and gives what it has collected, sorted.
fn results<T: Ord>(
    parallelism: u32,
    config: &Configuration,
    job: &dyn Fn(&Environment) -> CollectedRecords<T>,
) -> Vec<T> {
    let environment = Environment::new();
    let collected = job(&environment);
    assert_sound(&run(&environment, parallelism, config));
    let mut results = collected.take();
    results.sort();
    results
}

/// The job gives the same in both modes, at every parallelism, and leaves no file.
fn check_same<T: Ord + std::fmt::Debug + Send + 'static>(
    job: fn(&Environment) -> CollectedRecords<T>,
) {
    watched(move || {
        let expected = results(2, &config(&[]), &job);
        assert!(expected.len() > 100, "{} results", expected.len());
        for parallelism in [1, 2, 3] {
            let folder = tempfile::tempdir().expect("a folder");
            let found = results(parallelism, &batch(folder.path()), &job);
            assert!(found == expected, "{} results at {parallelism}", found.len());
            let left = std::fs::read_dir(folder.path()).expect("a folder").count();
            assert_eq!(left, 0, "files of the sort have no names");
        }
    });
}

#[test]
fn a_rolling_aggregate_gives_its_last_result_only() {
    watched(|| {
        let job = |environment: &Environment| {
            events(environment)
                .key_by::<u64>(|(key, ..)| key)
                .sum::<i64, _>(|(_, at, _)| at)
                .map(|sum| (sum.key, sum.value))
                .collect()
        };
        let mut sums = std::collections::BTreeMap::new();
        (0..RECORDS).map(event).for_each(|(key, at, _)| *sums.entry(key).or_insert(0) += at);
        let expected: Vec<(u64, i64)> = sums.into_iter().collect();
        for parallelism in [1, 2, 3] {
            let folder = tempfile::tempdir().expect("a folder");
            assert_eq!(results(parallelism, &batch(folder.path()), &job), expected);
        }
        let all = results(1, &config(&[]), &job);
        assert_eq!(all.len(), RECORDS as usize, "streaming mode gives one for each record");
        // Every source ends.
        let automatic = config(&[("execution.runtime-mode", "automatic")]);
        assert_eq!(results(2, &automatic, &job), expected);
    });
}

#[test]
fn tumbling_windows_give_the_same() {
    check_same(|environment| {
        let keyed = events(environment).key_by::<u64>(|(key, ..)| key);
        keyed
            .window(Tumbling::event_time(millis(500)))
            .reduce(|a, b| (a.0, a.1.max(b.1), a.2.max(b.2).to_owned()))
            .collect()
    });
}

#[test]
fn combined_windows_and_windows_behind_windows_give_the_same() {
    check_same(|environment| {
        let keyed = events(environment).key_by::<u64>(|(key, ..)| key);
        let counts = keyed.window(Tumbling::event_time(millis(250))).count();
        counts
            .key_by::<u64>(|counted| counted.key % 50)
            .window(Tumbling::event_time(seconds(1)))
            .sum::<u64, _>(|counted| counted.count)
            .map(|sum| (sum.key, sum.value))
            .collect()
    });
}

#[test]
fn sliding_windows_give_the_same() {
    check_same(|environment| {
        let keyed = events(environment).key_by::<u64>(|(key, ..)| key);
        let windows = Sliding::event_time(seconds(1), millis(250));
        keyed.window(windows).count().map(|c| (c.key, c.count)).collect()
    });
    check_same(|environment| {
        let keyed = events(environment).key_by::<String>(|(_, _, text)| text);
        let windows = Sliding::event_time(seconds(1), millis(10));
        keyed.window(windows).max_by::<i64, _>(|(key, at, _)| at * 2_000 + key as i64).collect()
    });
}

#[test]
fn sessions_give_the_same() {
    check_same(|environment| {
        let keyed = events(environment).key_by::<u64>(|(key, ..)| key);
        let sessions = keyed.window(Session::with_gap(millis(97)));
        sessions.count().map(|c| (c.key, c.count)).collect()
    });
}

fn halves(environment: &Environment) -> (FrameStream<Event>, FrameStream<Event>) {
    let events = events(environment).share();
    let left = events.stream().filter(|(_, at, _)| at % 2 == 0).rebalance();
    let right = events.stream().filter(|(_, at, _)| at % 3 == 0).rebalance();
    (left, right)
}

#[test]
fn joins_give_the_same() {
    check_same(|environment| {
        let (left, right) = halves(environment);
        left.filter(|(key, ..)| key > 2)
            .key_by::<u64>(|(key, ..)| key)
            .join(right.key_by::<u64>(|(key, ..)| key))
            .unbounded()
            .apply::<(u64, i64, i64)>(|left, right, out| out.emit((left.0, left.1, right.1)))
            .collect()
    });
    check_same(|environment| {
        let (left, right) = halves(environment);
        left.key_by::<u64>(|(key, ..)| key)
            .interval_join(right.key_by::<u64>(|(key, ..)| key))
            .between(before(millis(5)), after(millis(9)))
            .apply::<(u64, i64, i64)>(|left, right, out| out.emit((left.0, left.1, right.1)))
            .collect()
    });
    check_same(|environment| {
        let (left, right) = halves(environment);
        left.join(right)
            .where_key::<u64>(|(key, ..)| key)
            .equal_to(|(key, ..)| key)
            .window(Tumbling::event_time(millis(20)))
            .apply::<(u64, i64, i64)>(|left, right, out| out.emit((left.0, left.1, right.1)))
            .collect()
    });
}

#[test]
fn a_source_that_does_not_end_is_named() {
    let environment = Environment::new();
    let bounded = environment.from_collection([1_u64]);
    let unbounded = environment.source(DataGen::new(|tick| tick.number));
    bounded.union(unbounded).print();
    let defaults = GraphDefaults::from_config(&config(&[("execution.runtime-mode", "batch")]), 2);
    let Err(error) = environment.job_graph("test", &defaults) else {
        panic!("it does not end");
    };
    let error = error.to_string();
    assert!(error.starts_with("`Source: "), "{error}");
    for word in ["does not end", "execution.runtime-mode", "streaming"] {
        assert!(error.contains(word), "no `{word}` in: {error}");
    }
}

/// A job whose task `counts` cannot sort, or let records wait, fails by the environment's fault, and says what to do.
fn assert_cannot_sort(result: &JobResult, words: &[&str]) {
    assert_eq!((result.status, &result.panics[..]), (JobStatus::Failed, &[][..]));
    let failure = result.failure.as_ref().expect("a job that failed says why");
    let text = failure.to_string();
    for word in words.iter().chain(&["`counts`", "io.tmp.dirs"]) {
        assert!(text.contains(word), "no `{word}` in: {text}");
    }
    assert_eq!(failure.blame, Blame::Environment, "{text}");
}

#[test]
fn a_folder_that_is_not_there_fails_the_job_before_it_reads() {
    watched(|| {
        let environment = Environment::new();
        let keyed = events(&environment).key_by::<u64>(|(key, ..)| key);
        let _ = keyed.count().uid("counts").collect();
        let result = run(&environment, 2, &batch(Path::new("/no/such/folder")));
        assert_cannot_sort(&result, &["/no/such/folder", "No such file"]);
        assert_eq!(result.progress.records_read(), 0);
    });
}

/// The resident set of this process and its peak, in MiB.
fn resident_mib() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    (kib("VmRSS:") >> 10, kib("VmHWM:") >> 10)
}

/// `WIESEL_BATCH_KEYS` keys, twice each, through one subtask with the default memory of 128 MiB.
#[test]
#[ignore = "50 million keys: a minute, and 5 GB of files in TMPDIR; see bench/README.md"]
fn fifty_million_keys_stay_within_their_memory() {
    let keys = std::env::var("WIESEL_BATCH_KEYS").ok().and_then(|keys| keys.parse().ok());
    let keys: u64 = keys.unwrap_or(50_000_000);
    let before = resident_mib().0;
    let environment = Environment::new();
    let counts = environment
        .source(DataGen::new(|tick| tick.number).count(2 * keys))
        .set_parallelism(1)
        .key_by::<u64>(move |number| number % keys);
    let twice = counts.count().set_parallelism(1).key_by::<u64>(|counted| counted.count);
    let twice = twice.count().set_parallelism(1).map(|c| (c.key, c.count)).collect();
    let started = Instant::now();
    let config = config(&[("execution.runtime-mode", "batch")]);
    let result = run(&environment, 1, &config);
    let seconds = started.elapsed().as_secs_f64();
    assert_sound(&result);
    let peak = resident_mib().1;
    println!(
        "{} records, {keys} keys: {seconds:.1} s, resident {before} MiB before, {peak} MiB at most",
        2 * keys
    );
    assert_eq!(twice.take(), [(2, keys)]);
    // Two keyed tasks with 128 MiB each, and as much again for pools, the second sort's blocks and the allocator.
    assert!(peak < before + 512, "{peak} MiB");
}

/// A job that fails once, behind some records.
fn failing_once(failed: &Arc<AtomicBool>) -> (Environment, CollectedRecords<Counted<u64>>) {
    let (environment, failed) = (Environment::new(), Arc::clone(failed));
    let numbers = environment.source(DataGen::new(|tick| tick.number).count(RECORDS));
    let keys = numbers.map(move |number| {
        let fails = number == RECORDS / 2 && !failed.swap(true, Ordering::Relaxed);
        assert!(!fails, "on purpose");
        number % 10
    });
    let counts = keys.key_by::<u64>(|key| key).count().collect();
    (environment, counts)
}

#[test]
fn a_job_begins_anew_if_the_restart_strategy_says_so() {
    watched(|| {
        let fixed = [
            ("restart-strategy.type", "fixed-delay"),
            ("restart-strategy.fixed-delay.delay", "1 ms"),
        ];
        // Checkpoints, which there are none of, do not make it restart.
        let auto = [("execution.checkpointing.interval", "1 s")];
        for (settings, restarts) in [(fixed.as_slice(), true), (&auto, false)] {
            let failed = Arc::default();
            let (environment, counts) = failing_once(&failed);
            let folder = tempfile::tempdir().expect("a folder");
            let mut config = batch(folder.path());
            for (key, value) in settings {
                config.set_text(key, value).expect("a known key and a good value");
            }
            let result = run(&environment, 2, &config);
            assert!(failed.load(Ordering::Relaxed));
            if !restarts {
                assert_eq!(result.status, JobStatus::Failed);
                continue;
            }
            assert_sound(&result);
            let mut counts: Vec<_> = counts.take().into_iter().map(|c| (c.key, c.count)).collect();
            counts.sort();
            assert_eq!(counts, (0..10).map(|key| (key, RECORDS / 10)).collect::<Vec<_>>());
        }
    });
}

#[test]
fn it_starts_from_no_savepoint() {
    let config = config(&[
        ("execution.runtime-mode", "batch"),
        ("execution.state-recovery.path", "nowhere"),
    ]);
    let environment = Environment::new();
    environment.from_collection([1_u64]).print();
    let graph = environment.job_graph("test", &GraphDefaults::from_config(&config, 1));
    let refused = MiniCluster::submit(graph.expect("whole"), &config, SubmitOptions::default());
    let refused = refused.err().expect("there is no state to start from").to_string();
    assert!(refused.contains("batch mode") && refused.contains("(-s)"), "{refused}");
}
