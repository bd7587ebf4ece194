//! Sinks that fail between a checkpoint and what follows it: each line is written once all the same.

use std::{
    collections::BTreeSet,
    fs,
    ops::Range,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use wiesel_cluster::{JobResult, SubmitOptions};
use wiesel_connectors::{AsLines, DataGen, Discovery, FileSink, Sink, WriterContext};
use wiesel_core::{Blame, CheckpointId, SubtaskIndex, TaskFailure};
use wiesel_datastream::Environment;

use crate::{assert_sound, checkpoints::checkpointed, submit, watched};

const LINES: u64 = 12_000;

/// Files that fail as they are told: each call has a number.
#[derive(Clone)]
struct Flaky {
    files: FileSink<String, AsLines>,
    /// Commits that fail.
    commits: Range<u64>,
    /// Writers whose making panics.
    writers: Range<u64>,
    committed: Arc<AtomicU64>,
    made: Arc<AtomicU64>,
}

impl Sink for Flaky {
    type Record = String;
    type Writer = <FileSink<String, AsLines> as Sink>::Writer;

    fn prepare(&self, discovery: &dyn Discovery) -> Result<(), TaskFailure> {
        self.files.prepare(discovery)
    }

    fn writer(&self, context: &WriterContext) -> Self::Writer {
        let number = self.made.fetch_add(1, Ordering::SeqCst);
        assert!(!self.writers.contains(&number), "no writer now");
        self.files.writer(context)
    }

    fn commit(
        &self,
        committables: &[Vec<u8>],
        discovery: &dyn Discovery,
    ) -> Result<(), TaskFailure> {
        match self.commits.contains(&self.committed.fetch_add(1, Ordering::SeqCst)) {
            true => Err(TaskFailure::new(Blame::Environment, "commit files", "not now")),
            false => self.files.commit(committables, discovery),
        }
    }

    fn pin(&self, committables: &[Vec<u8>], discovery: &dyn Discovery) -> Result<(), TaskFailure> {
        self.files.pin(committables, discovery)
    }

    fn clean_up(
        &self,
        subtasks: Option<&[SubtaskIndex]>,
        discovery: &dyn Discovery,
    ) -> Result<(), TaskFailure> {
        self.files.clean_up(subtasks, discovery)
    }

    fn newest_visible(
        &self,
        discovery: &dyn Discovery,
    ) -> Result<Option<CheckpointId>, TaskFailure> {
        self.files.newest_visible(discovery)
    }

    fn take_back(
        &self,
        checkpoint: CheckpointId,
        discovery: &dyn Discovery,
    ) -> Result<(), TaskFailure> {
        self.files.take_back(checkpoint, discovery)
    }

    fn folder(&self) -> Option<&Path> {
        self.files.folder()
    }

    fn describe(&self) -> String {
        self.files.describe()
    }
}

/// Writes the lines in two subtasks that have nothing to do with each other, and perhaps fails once, behind so many.
fn run(
    folder: &Path,
    commits: Range<u64>,
    writers: Range<u64>,
    fails_at: Option<u64>,
) -> JobResult {
    let out = folder.join("out");
    let (committed, made) = (Arc::default(), Arc::default());
    let files = FileSink::lines(&out);
    let env = Environment::new();
    let count = Arc::<AtomicU64>::default();
    env.source(DataGen::new(|tick| tick.number).count(LINES))
        .uid("numbers")
        .map(move |number| {
            let call = count.fetch_add(1, Ordering::SeqCst);
            if call % 50 == 0 {
                // Slow enough for some checkpoints.
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            assert_ne!(Some(call), fails_at, "on purpose");
            number.to_string()
        })
        .sink_to(Flaky { files, commits, writers, committed, made });
    let result = submit(&env, 2, &checkpointed(folder), SubmitOptions::default()).wait();
    assert_sound(&result);
    let mut lines = BTreeSet::new();
    for file in fs::read_dir(out).expect("a folder") {
        let path = file.expect("a file").path();
        let name = path.file_name().expect("a name").to_str().expect("text");
        assert!(name.starts_with("part-"), "left behind: {name}");
        for line in fs::read_to_string(&path).expect("text").lines() {
            assert!(lines.insert(line.to_owned()), "{line} is there twice");
        }
    }
    assert_eq!(lines.len() as u64, LINES, "lines are missing");
    result
}

fn restarts(result: &JobResult) -> u64 {
    result.progress.checkpoints.expect("it takes checkpoints").restarts
}

/// The first commit is that of a checkpoint. Those that follow one that fails are those of restarts: what they are to commit
/// is still there, though each restart removes what writers have left.
#[test]
fn a_commit_that_fails_at_a_checkpoint_and_at_the_restarts_behind_it_is_tried_again() {
    for commits in [0..1, 0..2, 1..2, 1..4] {
        watched(move || {
            let folder = tempfile::tempdir().expect("a folder");
            let failing = commits.end - commits.start;
            assert_eq!(restarts(&run(folder.path(), commits, 0..0, None)), failing);
        });
    }
}

/// A task fails while the last commit has failed, and the region of another one commits.
#[test]
fn a_commit_that_fails_and_a_task_that_fails_lose_nothing() {
    for fails_at in [1_000, 3_000, 6_000, 9_000] {
        watched(move || {
            let folder = tempfile::tempdir().expect("a folder");
            assert!(restarts(&run(folder.path(), 1..3, 0..0, Some(fails_at))) >= 2);
        });
    }
}

/// Two writers are made at the start, and one for the region that starts again.
#[test]
fn a_panic_where_a_writer_is_made_is_a_failure_of_its_task() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let result = run(folder.path(), 0..0, 2..4, Some(3_000));
        assert_eq!(restarts(&result), 3);
        let attempt =
            |task: &wiesel_cluster::TaskProgress| task.metrics.as_ref().map(|m| m.attempt.number);
        let mut attempts: Vec<_> = result.progress.tasks.iter().map(attempt).collect();
        attempts.sort_unstable();
        assert_eq!(attempts, [Some(0), Some(3)], "the other region ran on");
    });
}

/// It is called where the JobMaster is, which goes with it. Nobody is left to stop the tasks, which would read on for ever.
#[test]
fn a_panic_where_files_are_committed_ends_the_job() {
    #[derive(Clone)]
    struct Panics(FileSink<String, AsLines>);

    impl Sink for Panics {
        type Record = String;
        type Writer = <FileSink<String, AsLines> as Sink>::Writer;

        fn writer(&self, context: &WriterContext) -> Self::Writer {
            self.0.writer(context)
        }

        fn commit(&self, _: &[Vec<u8>], _: &dyn Discovery) -> Result<(), TaskFailure> {
            panic!("not to be committed");
        }

        fn clean_up(
            &self,
            subtasks: Option<&[SubtaskIndex]>,
            discovery: &dyn Discovery,
        ) -> Result<(), TaskFailure> {
            self.0.clean_up(subtasks, discovery)
        }

        fn describe(&self) -> String {
            self.0.describe()
        }
    }

    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let env = Environment::new();
        fs::create_dir(folder.path().join("out")).expect("a folder");
        env.source(DataGen::new(|tick| tick.number))
            .uid("numbers")
            .map(|number| number.to_string())
            .sink_to(Panics(FileSink::lines(folder.path().join("out"))));
        let config = checkpointed(folder.path());
        let result = submit(&env, 2, &config, SubmitOptions::default()).wait();
        let panics: Vec<_> = result.panics.iter().map(ToString::to_string).collect();
        assert_eq!(panics.len(), 1, "{panics:?}");
        assert!(panics[0].contains("not to be committed"), "{panics:?}");
        for pool in &result.pools {
            assert_eq!(pool.outstanding, 0, "frames are missing: {pool:?}");
        }
    });
}
