//! A job whose newest checkpoint is damaged, in any bit, continues from the one before, and its output is right.
//!
//! A template is made once: a job that failed behind some checkpoints, with all that it left on the disk. Each trial
//! flips one bit of the newest checkpoint in a copy of it and starts the job again, at some parallelism, to its end.

use std::{
    collections::BTreeSet,
    error::Error as _,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use wiesel_cluster::{ClusterError, JobClient, JobResult, MiniCluster, SubmitOptions};
use wiesel_connectors::{DataGen, FileSink};
use wiesel_core::config::Configuration;
use wiesel_datastream::Environment;
use wiesel_graph::GraphDefaults;
use wiesel_jobmanager::JobStatus;
use wiesel_storage::{CheckpointDirectory, LocalStorage, StorageError};

use crate::{checkpoints::checkpointed, watched};

const NUMBERS: u64 = 30_000;
const KEYS: u64 = 500;
/// Trials of `make test`; all of them are ignored there.
const SOME: usize = 30;
const ALL: usize = 1_000;

/// Counts numbers by key and writes every count. While `slow` is set it takes its time; when it is taken away, it fails.
fn job(out: &Path, slow: Option<Arc<AtomicBool>>) -> Environment {
    let env = Environment::new();
    env.source(DataGen::new(|tick| tick.number).count(NUMBERS).in_splits_of(700))
        .uid("numbers")
        .map(move |number| {
            if let Some(slow) = &slow {
                assert!(slow.load(Ordering::Relaxed), "on purpose");
                if number % 20 == 0 {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            number % KEYS
        })
        .key_by::<u64>(|key| key)
        .count()
        .uid("counts")
        .map(|counted| format!("{} {}", counted.key, counted.count))
        .sink_to(FileSink::lines(out));
    env
}

/// The configuration of a job whose folders are in `folder`.
fn settings(folder: &Path) -> Configuration {
    let mut config = checkpointed(folder);
    config.set_text("restart-strategy.type", "none").expect("a strategy");
    config.set_text("execution.checkpointing.num-retained", "2").expect("a number");
    config
}

fn submit(
    folder: &Path,
    parallelism: u32,
    slow: Option<Arc<AtomicBool>>,
) -> Result<JobClient, ClusterError> {
    let config = settings(folder);
    let defaults = GraphDefaults::from_config(&config, parallelism);
    let graph = job(&folder.join("out"), slow).job_graph("counts", &defaults);
    MiniCluster::submit(graph.expect("a whole graph"), &config, SubmitOptions::default())
}

fn finish(folder: &Path, parallelism: u32) -> Result<JobResult, ClusterError> {
    submit(folder, parallelism, None).map(JobClient::wait)
}

fn directory(folder: &Path) -> CheckpointDirectory<LocalStorage> {
    let folder = folder.join("checkpoints/counts");
    CheckpointDirectory::new(LocalStorage::open(folder).expect("a folder"))
}

/// A job that has failed behind at least three checkpoints, of which the newest has committed something.
fn template(folder: &Path) {
    let slow = Arc::new(AtomicBool::new(true));
    let client = submit(folder, 2, Some(Arc::clone(&slow))).expect("fit");
    let completed = || client.progress().and_then(|progress| progress.checkpoints);
    while completed().is_none_or(|checkpoints| checkpoints.completed < 4) {
        thread::sleep(Duration::from_millis(1));
    }
    slow.store(false, Ordering::Relaxed);
    assert_eq!(client.wait().status, JobStatus::Failed);
    let [newest, _] = directory(folder).list().expect("listed")[..] else {
        panic!("two are retained")
    };
    // What was committed behind the failure is committed by the next start: let that be now.
    let parts = visible(&folder.join("out"));
    let of_newest = parts.iter().filter(|name| name.ends_with(&format!("-{newest}")));
    assert!(of_newest.count() > 0, "checkpoint {newest} has committed nothing: {parts:?}");
}

fn visible(out: &Path) -> Vec<String> {
    let names = fs::read_dir(out).expect("a folder").map(|file| file.expect("a file").file_name());
    names
        .filter_map(|name| Some(name.to_str()?.to_owned()).filter(|n| !n.starts_with('.')))
        .collect()
}

/// Each count of each key, once; and no hidden file but those that were taken back.
#[track_caller]
fn assert_exactly_once(out: &Path, about: &str) {
    let mut lines = Vec::new();
    for name in visible(out) {
        let text = fs::read_to_string(out.join(name)).expect("text");
        lines.extend(text.lines().map(str::to_owned));
    }
    lines.sort_unstable();
    let mut expected: Vec<_> = (0..KEYS)
        .flat_map(|key| (1..=NUMBERS / KEYS).map(move |count| format!("{key} {count}")))
        .collect();
    expected.sort_unstable();
    assert!(lines == expected, "{about}: {} lines instead of {}", lines.len(), expected.len());
    for file in fs::read_dir(out).expect("a folder") {
        let name = file.expect("a file").file_name().to_string_lossy().into_owned();
        assert!(!name.ends_with(".inprogress"), "{about}: left behind: {name}");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a copy");
        }
    }
}

/// Bits spread evenly over the newest manifest and over each data file that no older checkpoint names.
fn bits(folder: &Path, trials: usize) -> Vec<(PathBuf, u64)> {
    let directory = directory(folder);
    let ids = directory.list().expect("listed");
    let [newest, older] = ids[..] else { panic!("two are retained: {ids:?}") };
    let [newest, older] = [newest, older].map(|id| directory.load(id).expect("readable"));
    let shared: BTreeSet<_> = older.files().map(|(_, _, file)| file.path.clone()).collect();
    let mut own: Vec<_> = newest.files().map(|(_, _, file)| file.path.clone()).collect();
    own.retain(|path| !shared.contains(path));
    own.dedup();
    assert!(!own.is_empty(), "a checkpoint without a file of its own");
    own.push(format!("chk-{}/_metadata", newest.checkpoint));
    let each = trials / own.len();
    let mut bits = Vec::new();
    for path in own {
        let path = Path::new("checkpoints/counts").join(path);
        let len = fs::metadata(folder.join(&path)).expect("a file").len();
        let spread = (0..each as u64).map(|trial| trial * (len * 8 - 1) / (each as u64 - 1).max(1));
        bits.extend(spread.map(|bit| (path.clone(), bit)));
    }
    bits
}

/// Runs the trials; how many there were.
fn fall_back(trials: usize) -> usize {
    let made = tempfile::tempdir().expect("a folder");
    template(made.path());
    let bits = bits(made.path(), trials);
    let fields: BTreeSet<_> = (0..)
        .zip(&bits)
        .map(|(trial, (path, bit))| {
            let about = format!("trial {trial}: bit {bit} of {}", path.display());
            let folder = tempfile::tempdir().expect("a folder");
            copy(made.path(), folder.path());
            let file = folder.path().join(path);
            let mut bytes = fs::read(&file).expect("a file");
            bytes[*bit as usize / 8] ^= 1 << (bit % 8);
            fs::write(&file, bytes).expect("a disk");
            let found = directory(folder.path()).newest().expect("one is whole");
            let [(_, damage)] = &found.damaged[..] else { panic!("{about}: {:?}", found.damaged) };
            assert!(path.ends_with(&damage.file), "{about}: {damage}");
            let result =
                finish(folder.path(), 1 + trial % 3).unwrap_or_else(|e| panic!("{about}: {e}"));
            assert_eq!(result.status, JobStatus::Finished, "{about}: {:?}", result.failure);
            assert_exactly_once(&folder.path().join("out"), &about);
            let left = directory(folder.path()).clean(&BTreeSet::new()).expect("listed");
            assert!(left.deleted.is_empty() && left.unreadable.is_empty(), "{about}: {left:?}");
            damage.field.clone()
        })
        .collect();
    println!("{} bits in {} fields", bits.len(), fields.len());
    assert!(fields.len() >= 3, "{fields:?}");
    bits.len()
}

#[test]
fn a_damaged_checkpoint_is_passed_over_and_its_output_taken_back() {
    watched(|| assert!(fall_back(SOME) > SOME / 2));
}

#[test]
#[ignore = "a thousand jobs: some minutes"]
fn a_thousand_damaged_checkpoints() {
    assert!(fall_back(ALL) > ALL * 9 / 10);
}

#[test]
fn where_all_are_damaged_nothing_starts_from_empty_state() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        template(folder.path());
        let directory = directory(folder.path());
        for id in directory.list().expect("listed") {
            let path = folder.path().join(format!("checkpoints/counts/chk-{id}/_metadata"));
            fs::write(&path, "nothing").expect("a disk");
        }
        let before = visible(&folder.path().join("out"));
        let refused = finish(folder.path(), 2).expect_err("nothing to continue from");
        let cause = refused.source().map(ToString::to_string).unwrap_or_default();
        assert!(matches!(directory.newest(), Err(StorageError::NoneWhole { .. })));
        assert!(cause.contains("_metadata") && cause.contains("--fresh"), "{refused}: {cause}");
        assert_eq!(visible(&folder.path().join("out")), before, "nothing was taken back");
    });
}

/// Spoils the older manifest of two; its number.
fn spoil_older(folder: &Path) -> (u64, BTreeSet<String>) {
    let directory = directory(folder);
    loop {
        // A job that runs may have one more for a moment, or have just removed it.
        if let [_, older] = directory.list().expect("listed")[..]
            && let Ok(manifest) = directory.load(older)
            && let path = folder.join(format!("checkpoints/counts/chk-{older}/_metadata"))
            && fs::write(&path, "nothing").is_ok()
        {
            return (older, manifest.files().map(|(_, _, file)| file.path.clone()).collect());
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// What is left are the files that whole checkpoints name, and those that the damaged one named: its number, and these.
#[track_caller]
fn assert_only_needed(folder: &Path, (damaged, named): (u64, BTreeSet<String>)) {
    let directory = directory(folder);
    let needed: BTreeSet<_> = directory.list().expect("listed").into_iter().collect();
    assert!(!needed.is_empty() && !needed.contains(&damaged), "{damaged} of {needed:?}");
    let left = directory.clean(&BTreeSet::new()).expect("listed");
    assert_eq!(left.unreadable, []);
    let others: Vec<_> = left.deleted.iter().filter(|path| !named.contains(*path)).collect();
    assert!(others.is_empty(), "left behind beside {needed:?}: {others:?}");
}

#[test]
fn a_damaged_manifest_does_not_keep_files_of_others() {
    watched(|| {
        // Found at the start …
        let folder = tempfile::tempdir().expect("a folder");
        template(folder.path());
        let damaged = spoil_older(folder.path());
        let result = finish(folder.path(), 2).expect("the newest is whole");
        assert_eq!(result.status, JobStatus::Finished, "{:?}", result.failure);
        assert_exactly_once(&folder.path().join("out"), "damaged before the start");
        assert_only_needed(folder.path(), damaged);
        // … and when it is to be removed.
        let folder = tempfile::tempdir().expect("a folder");
        let slow = Arc::new(AtomicBool::new(true));
        let client = submit(folder.path(), 2, Some(Arc::clone(&slow))).expect("fit");
        let completed = || {
            let checkpoints = client.progress().and_then(|progress| progress.checkpoints);
            checkpoints.map_or(0, |checkpoints| checkpoints.completed)
        };
        let wait_for = |number| {
            while completed() < number {
                thread::sleep(Duration::from_millis(1));
            }
        };
        wait_for(3);
        let damaged = spoil_older(folder.path());
        wait_for(completed() + 3);
        slow.store(false, Ordering::Relaxed);
        assert_eq!(client.wait().status, JobStatus::Failed);
        assert_only_needed(folder.path(), damaged);
    });
}
