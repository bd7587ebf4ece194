//! A job goes on from a savepoint at any other parallelism, and what it has written is what its definition says.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use wiesel_cluster::{
    ClusterError, JobClient, JobResult, MiniCluster, SavepointError, SubmitOptions,
};
use wiesel_connectors::{DataGen, FileSink};
use wiesel_core::{Timestamp, config::Configuration, millis, seconds};
use wiesel_datastream::Environment;
use wiesel_graph::GraphDefaults;
use wiesel_jobmanager::JobStatus;
use wiesel_operators::{Tumbling, bounded_out_of_orderness};

use crate::{config, watched};

/// One a millisecond of event time.
const NUMBERS: u64 = 12_000;
/// Keys in each second.
const KEYS: u64 = 20;
/// Numbers that are read at once; what comes then is read slowly, so that a savepoint is in time.
const FAST: u64 = 4_000;

/// What the numbers of one run have come to.
#[derive(Clone, Default)]
struct Seen(Arc<AtomicU64>);

impl Seen {
    /// Waits until as many were read as are read at once.
    fn wait_until_slow(&self) {
        while self.0.load(Ordering::Relaxed) < FAST {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Counts numbers by second and key, in windows, and writes one line for each. Without `seen` it is read to its end at
/// once.
fn windowed(out: &Path, seen: Option<Seen>) -> Environment {
    let env = Environment::new();
    env.source(DataGen::new(|tick| tick.number).count(NUMBERS).in_splits_of(300))
        .uid("numbers")
        .map(move |number| {
            if let Some(Seen(seen)) = &seen
                && seen.fetch_add(1, Ordering::Relaxed) >= FAST
            {
                thread::sleep(Duration::from_millis(1));
            }
            number
        })
        .watermarks(bounded_out_of_orderness(millis(100)), |number| {
            Timestamp::from_millis(number as i64)
        })
        .key_by::<u64>(|number| number / 1_000 * KEYS + number % KEYS)
        .window(Tumbling::event_time(seconds(1)))
        .count()
        .uid("counts")
        .map(|counted| format!("{} {}", counted.key, counted.count))
        .sink_to(FileSink::lines(out));
    env
}

/// What [`windowed`] writes.
fn expected() -> BTreeMap<String, u64> {
    let keys = 0..NUMBERS / 1_000 * KEYS;
    keys.map(|key| (format!("{key} {}", 1_000 / KEYS), 1)).collect()
}

fn settings(folder: &Path, name: &str, more: &[(&str, &str)]) -> Configuration {
    let folder = folder.join(name);
    let folder = folder.to_str().expect("a path that is text");
    let own = [("execution.checkpointing.dir", folder)];
    config(&[own.as_slice(), more].concat())
}

fn start(
    env: &Environment,
    parallelism: u32,
    config: &Configuration,
) -> Result<JobClient, ClusterError> {
    let mut defaults = GraphDefaults::from_config(config, parallelism);
    defaults.max_parallelism = Some(32);
    let graph = env.job_graph("windowed", &defaults).expect("a whole graph");
    MiniCluster::submit(graph, config, SubmitOptions::default())
}

fn run(env: &Environment, parallelism: u32, config: &Configuration) -> JobResult {
    let result = start(env, parallelism, config).expect("fit").wait();
    assert_eq!(result.status, JobStatus::Finished, "{:?}", result.failure);
    result
}

/// What is visible: each line and how often it is there.
fn visible(out: &Path) -> BTreeMap<String, u64> {
    let mut lines = BTreeMap::new();
    for file in fs::read_dir(out).expect("a folder") {
        let path = file.expect("a file").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name.starts_with("part-") {
            for line in fs::read_to_string(&path).expect("text").lines() {
                *lines.entry(line.to_owned()).or_default() += 1;
            }
        }
    }
    lines
}

fn from(path: &Path) -> (&'static str, &str) {
    ("execution.state-recovery.path", path.to_str().expect("a path that is text"))
}

/// Asks until the job runs: numbers may be read before the last task has said that it does.
fn when_running(
    client: &JobClient,
    ask: impl Fn() -> Result<PathBuf, SavepointError>,
) -> Result<PathBuf, SavepointError> {
    loop {
        let made = ask();
        let asks_again = made.as_ref().is_err_and(|error| error.to_string().contains("RUNNING"));
        if !asks_again || client.status().is_terminal() {
            return made;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Stops a run at `parallelism` with a savepoint.
fn stopped(
    folder: &Path,
    out: &Path,
    parallelism: u32,
    drain: bool,
    more: &[(&str, &str)],
) -> PathBuf {
    let seen = Seen::default();
    let env = windowed(out, Some(seen.clone()));
    let client = start(&env, parallelism, &settings(folder, "first", more)).expect("fit");
    seen.wait_until_slow();
    let savepoints = folder.join("savepoints");
    let made = when_running(&client, || client.stop_with_savepoint(Some(&savepoints), drain));
    let result = client.wait();
    assert_eq!(result.status, JobStatus::Finished, "{:?} {made:?}", result.failure);
    made.expect("a savepoint")
}

/// The files of a folder, with what is in them.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file").path());
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    files.map(|path| (name(&path), fs::read(&path).expect("a file"))).collect()
}

#[test]
fn stopped_at_any_parallelism_it_goes_on_at_any_other() {
    watched(|| {
        let expected = expected();
        for (p, q) in (1..=6).flat_map(|p| (1..=6).map(move |q| (p, q))) {
            let folder = tempfile::tempdir().expect("a folder");
            let (folder, out) = (folder.path(), folder.path().join("out"));
            // Half of them have increments, which name files of earlier checkpoints.
            let often = [("execution.checkpointing.interval", "5 ms")];
            let more = if (p + q) % 2 == 0 { often.as_slice() } else { &[] };
            let savepoint = stopped(folder, &out, p, false, more);
            let before = visible(&out);
            assert!(before.len() < expected.len(), "{p} to {q}: windows are open");
            // It needs nothing but its folder.
            fs::remove_dir_all(folder.join("first")).expect("the checkpoints of the first run");
            let moved = folder.join("elsewhere");
            fs::rename(&savepoint, &moved).expect("moved");
            let held = contents(&moved);
            run(&windowed(&out, None), q, &settings(folder, "second", &[from(&moved)]));
            assert_eq!(visible(&out), expected, "{p} to {q}");
            assert_eq!(contents(&moved), held, "{p} to {q}: nobody claims it");
        }
    });
}

#[test]
fn output_that_is_there_is_not_taken_for_that_of_a_job_from_a_savepoint() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let (folder, out) = (folder.path(), folder.path().join("out"));
        let (seen, savepoints) = (Seen::default(), folder.join("savepoints"));
        let more = [("execution.checkpointing.interval", "5 ms")];
        let env = windowed(&out, Some(seen.clone()));
        let client = start(&env, 2, &settings(folder, "first", &more)).expect("fit");
        seen.wait_until_slow();
        let made = when_running(&client, || client.savepoint(Some(&savepoints))).expect("made");
        // It goes on, and commits files with numbers that a job from the savepoint would reach as well.
        assert_eq!(client.wait().status, JobStatus::Finished);
        let first = contents(&out);
        let number = |name: &str| name.rsplit('-').next().and_then(|id| id.parse::<u64>().ok());
        let savepoint = number(&made.to_string_lossy()).expect("a number");
        let is_before = |name: &str| number(name).is_some_and(|id| id <= savepoint);
        assert!(first.keys().filter(|name| !is_before(name)).count() > 1, "{:?}", first.keys());
        run(&windowed(&out, None), 3, &settings(folder, "second", &[more[0], from(&made)]));
        let mut lines = BTreeMap::new();
        for (name, text) in contents(&out) {
            if is_before(&name) || !first.contains_key(&name) {
                for line in String::from_utf8(text).expect("text").lines() {
                    *lines.entry(line.to_owned()).or_default() += 1;
                }
            }
        }
        assert_eq!(lines, expected());
        assert!(contents(&out).keys().all(|name| name.starts_with("part-")), "nothing is pending");
    });
}

#[test]
fn a_savepoint_is_of_one_moment_and_the_job_goes_on() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let (folder, out) = (folder.path(), folder.path().join("out"));
        let (seen, savepoints) = (Seen::default(), folder.join("savepoints"));
        let more = [("execution.checkpointing.interval", "10 ms")];
        let env = windowed(&out, Some(seen.clone()));
        let client = start(&env, 2, &settings(folder, "first", &more)).expect("fit");
        seen.wait_until_slow();
        let none = client.savepoint(None);
        assert_eq!(none, Err(SavepointError::NoFolder));
        let file = folder.join("file");
        fs::write(&file, "text").expect("a disk");
        for named in [file.clone(), file.join("below")] {
            let none = client.savepoint(Some(&named)).expect_err("it is no folder").to_string();
            assert_eq!(
                none,
                format!("no savepoint was taken: {} is not a folder", named.display())
            );
        }
        let made = [(); 3].map(|()| {
            when_running(&client, || client.savepoint(Some(&savepoints))).expect("a savepoint")
        });
        assert_eq!(made.iter().collect::<BTreeSet<_>>().len(), 3, "{made:?}");
        client.cancel();
        assert_eq!(client.wait().status, JobStatus::Canceled);
        // They are still there, and are not what the job goes on from by itself.
        for path in &made {
            assert!(path.join("_metadata").is_file(), "{}", path.display());
        }
        let result = run(&windowed(&out, None), 3, &settings(folder, "first", &more));
        let restored = result.progress.checkpoints.and_then(|stats| stats.restored);
        let number = |path: &Path| path.to_string_lossy().rsplit('-').next().map(str::to_owned);
        let last = made.last().and_then(|path| number(path)).expect("a number");
        assert!(restored.is_some_and(|id| id.0.to_string() != last), "{restored:?}");
        assert_eq!(visible(&out), expected());
        // What is damaged or not there is named, and nothing is started.
        let damaged = folder.join("damaged");
        fs::rename(&made[1], &damaged).expect("moved");
        let file = contents(&damaged).into_keys().find(|name| name.ends_with(".data"));
        let file = damaged.join(file.expect("a file with state"));
        let mut bytes = fs::read(&file).expect("its bytes");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        fs::write(&file, bytes).expect("one bit flipped");
        let wrong = start(&windowed(&out, None), 3, &settings(folder, "third", &[from(&damaged)]));
        let wrong = wrong.err().map(|error| with_causes(&error));
        assert!(wrong.as_ref().is_some_and(|text| text.contains(".data")), "{wrong:?}");
        let nothing = folder.join("nothing");
        let wrong = start(&windowed(&out, None), 3, &settings(folder, "third", &[from(&nothing)]));
        let wrong = wrong.err().map(|error| with_causes(&error)).expect("an error");
        assert!(!nothing.exists());
        let no_savepoint = |path: &Path| {
            let path = path.display();
            format!(
                "the job cannot start from {path}: it is no savepoint, since there is no `_metadata` in it; name the folder \
                 that `savepoint` has printed, or a `chk-<n>` in the folder of a job"
            )
        };
        assert_eq!(wrong, no_savepoint(&nothing));
        let wrong = start(&windowed(&out, None), 3, &settings(folder, "third", &[from(&file)]));
        assert_eq!(wrong.err().map(|error| with_causes(&error)), Some(no_savepoint(&file)));
    });
}

/// An error and what is behind it.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[test]
fn drained_it_has_fired_all_windows_and_has_finished() {
    watched(|| {
        for parallelism in 1..=3 {
            let folder = tempfile::tempdir().expect("a folder");
            let (folder, out) = (folder.path(), folder.path().join("out"));
            let savepoint = stopped(folder, &out, parallelism, true, &[]);
            let drained = visible(&out);
            let sum: u64 = drained.keys().map(|line| count_of(line)).sum();
            assert!((FAST..NUMBERS).contains(&sum), "{sum} were read");
            let again = start(&windowed(&out, None), 2, &settings(folder, "first", &[]));
            let again = again.err().map(|error| error.to_string()).expect("it is over");
            let name = savepoint.file_name().expect("a name").to_string_lossy();
            let drained = format!("it was drained by the savepoint {name}: to go on, ");
            assert!(again.starts_with(&drained) && again.contains("--fresh"), "{again}");
            // From the savepoint the rest is read: a second that was cut comes in two parts.
            let more = [from(&savepoint), ("execution.state-recovery.claim-mode", "CLAIM")];
            run(&windowed(&out, None), 2, &settings(folder, "second", &more));
            let all = visible(&out);
            let sum: u64 = all.iter().map(|(line, times)| count_of(line) * times).sum();
            assert_eq!(sum, NUMBERS);
            assert!(!savepoint.exists(), "it was claimed");
        }
    });
}

fn count_of(line: &str) -> u64 {
    line.split(' ').nth(1).and_then(|count| count.parse().ok()).expect("a count")
}

#[test]
fn a_job_without_a_folder_says_so_and_one_that_is_over_too() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let seen = Seen::default();
        let env = windowed(&folder.path().join("out"), Some(seen.clone()));
        let client = start(&env, 1, &config(&[])).expect("fit");
        seen.wait_until_slow();
        let none = client.savepoint(Some(folder.path()));
        assert_eq!(none, Err(SavepointError::NoCheckpoints));
        let handle = client.handle();
        client.cancel();
        assert_eq!(client.wait().status, JobStatus::Canceled);
        assert_eq!(handle.savepoint(Some(folder.path())), Err(SavepointError::JobOver));
        assert_eq!(handle.status(), JobStatus::Canceled);
    });
}
