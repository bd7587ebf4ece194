//! State on its way into a region that starts again: others of its shard run on meanwhile, it may be stopped half way, and a
//! panic in it harms nobody else.
//!
//! ```text
//!   numbers ─ by key ─ seen        one shard; what is kept of each key was of another type in the savepoint: a function of ours
//!   ticks ─ counted                converts it, key by key, and looks at how far the ticks are
//! ```

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
};

use wiesel_cluster::{JobClient, JobResult, SubmitOptions};
use wiesel_connectors::DataGen;
use wiesel_core::Blame;
use wiesel_datastream::Environment;
use wiesel_jobmanager::JobStatus;
use wiesel_operators::{
    FunctionError, KeyedContext, KeyedProcessFunction, StateRegistry, ValueState,
};
use wiesel_record::{Out, Record};

use crate::{config, submit, watched};

/// So many that it takes some hundred times as long as a turn to read them in.
const KEYS: u64 = 100_000;

mod old {
    /// How often a key was seen.
    #[derive(wiesel_record::Record)]
    pub struct Seen {
        pub times: u32,
    }
}

#[derive(Record)]
#[record(version = 2, from = old::Seen)]
struct Seen {
    times: u64,
}

/// Called for each key that is converted. Whoever has it is the only one.
static CONVERTED: Mutex<Option<Box<dyn FnMut() + Send>>> = Mutex::new(None);
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

impl From<old::Seen> for Seen {
    fn from(old: old::Seen) -> Self {
        let mut converted = CONVERTED.lock().unwrap_or_else(PoisonError::into_inner);
        converted.as_mut().expect("a test that restores says what it wants to see")();
        Self { times: old.times.into() }
    }
}

trait Version: Record {
    fn once() -> Self;
}

impl Version for old::Seen {
    fn once() -> Self {
        Self { times: 1 }
    }
}

impl Version for Seen {
    fn once() -> Self {
        Self { times: 1 }
    }
}

struct See<V: Record>(ValueState<V>);

impl<V: Record> Clone for See<V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<V: Version> KeyedProcessFunction<u64, u64> for See<V> {
    type Out = u64;
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.0);
    }

    fn process(
        &mut self,
        key: u64,
        context: &mut KeyedContext<'_, u64, ()>,
        out: &mut dyn Out<u64>,
    ) -> Result<(), FunctionError> {
        context.set(&self.0, V::once().view());
        out.emit(key);
        Ok(())
    }
}

/// Each key again and again. `seen` is called behind its state, in the order in which they come.
fn see<V: Version>(env: &Environment, seen: impl Fn(u64) + Clone + Send + 'static) {
    env.source(DataGen::new(|tick| tick.number))
        .uid("numbers")
        .map(|number| number % KEYS)
        .key_by::<u64>(|key| key)
        .process(See::<V>(ValueState::new("seen")))
        .uid("seen")
        .filter(move |key| {
            seen(key);
            false
        })
        .collect();
}

fn start(env: &Environment, folder: &Path, from: Option<&Path>) -> JobClient {
    let folder = folder.join("checkpoints");
    let mut pairs = vec![
        ("execution.checkpointing.dir", folder.to_str().expect("text")),
        ("restart-strategy.type", "fixed-delay"),
        ("restart-strategy.fixed-delay.attempts", "1"),
        ("restart-strategy.fixed-delay.delay", "1 ms"),
    ];
    pairs.extend(
        from.map(|from| ("execution.state-recovery.path", from.to_str().expect("a path of text"))),
    );
    submit(env, 1, &config(&pairs), SubmitOptions::default())
}

/// A savepoint in which all keys were seen, by the program before.
fn savepoint(folder: &Path) -> PathBuf {
    let (env, (all, are_all)) = (Environment::new(), mpsc::channel());
    see::<old::Seen>(&env, move |key| {
        if key == KEYS - 1 {
            let _ = all.send(());
        }
    });
    let client = start(&env, &folder.join("before"), None);
    are_all.recv().expect("it goes on until it is stopped");
    let made = client.stop_with_savepoint(Some(folder), false);
    assert_eq!(client.wait().status, JobStatus::Finished);
    made.expect("a savepoint")
}

/// What a job that goes on from the savepoint is told, by way of its functions.
struct Watched {
    ticks: Arc<AtomicU64>,
    /// The region has failed, on purpose: what is converted from now on is read in while the ticks run.
    has_failed: Arc<AtomicBool>,
    /// A key was seen behind that.
    runs_again: mpsc::Receiver<()>,
    client: JobClient,
}

/// Goes on from a savepoint, and fails with the first key that is seen. `converted` is called with the ticks so far for each
/// key of the restore behind that.
fn go_on(folder: &Path, mut converted: impl FnMut(u64) + Send + 'static) -> Watched {
    let from = savepoint(folder);
    let (ticks, has_failed) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
    let (told, runs_again) = mpsc::channel();
    let env = Environment::new();
    let fails = Arc::clone(&has_failed);
    see::<Seen>(&env, move |_| {
        assert!(fails.swap(true, Ordering::SeqCst), "on purpose");
        let _ = told.send(());
    });
    let count = Arc::clone(&ticks);
    env.source(DataGen::new(|tick| tick.number))
        .uid("ticks")
        .filter(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            false
        })
        .collect();
    let (count, is_second) = (Arc::clone(&ticks), Arc::clone(&has_failed));
    *CONVERTED.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(move || {
        let ticks = count.load(Ordering::SeqCst);
        match is_second.load(Ordering::SeqCst) {
            false => assert_eq!(ticks, 0, "a task runs before all are deployed"),
            true => converted(ticks),
        }
    }));
    let client = start(&env, folder, Some(&from));
    Watched { ticks, has_failed, runs_again, client }
}

#[track_caller]
fn assert_whole(result: &JobResult) {
    assert_eq!(result.panics, [], "a shard died");
    for pool in &result.pools {
        assert_eq!(pool.outstanding, 0, "frames are missing: {pool:?}");
    }
}

fn alone(test: impl FnOnce(&Path) + Send + 'static) {
    watched(|| {
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().expect("a folder");
        test(folder.path());
    });
}

#[test]
fn others_have_turns_while_the_state_of_a_region_is_read_in() {
    alone(|folder| {
        let seen = Arc::<Mutex<Vec<u64>>>::default();
        let note = Arc::clone(&seen);
        let job = go_on(folder, move |ticks| note.lock().expect("no panic").push(ticks));
        job.runs_again.recv().expect("the region starts again");
        job.client.cancel();
        let result = job.client.wait();
        assert_eq!((result.status, &result.failure), (JobStatus::Canceled, &None));
        assert_whole(&result);
        let mut seen = std::mem::take(&mut *seen.lock().expect("no panic"));
        assert_eq!(seen.len() as u64, KEYS, "each key is converted once");
        assert!(seen.is_sorted());
        // A step is of a few keys, but a turn of the restore is of some steps: as long as one of a task.
        seen.dedup();
        assert!(seen.len() > 10, "of {KEYS} keys the ticks ran on {} times", seen.len() - 1);
    });
}

#[test]
fn a_job_is_cancelled_while_the_state_of_a_region_is_read_in() {
    alone(|folder| {
        let (half, is_half) = mpsc::channel();
        let mut count = 0;
        let job = go_on(folder, move |_| {
            count += 1;
            if count == KEYS / 4 {
                let _ = half.send(());
            }
        });
        is_half.recv().expect("it is restored");
        job.client.cancel();
        let result = job.client.wait();
        assert_eq!((result.status, &result.failure), (JobStatus::Canceled, &None));
        assert_whole(&result);
    });
}

#[test]
fn a_panic_while_state_is_read_in_is_the_tasks_and_is_not_tried_again() {
    alone(|folder| {
        let mut count = 0;
        let job = go_on(folder, move |_| {
            count += 1;
            assert!(count != KEYS / 4, "not to be converted");
        });
        let result = job.client.wait();
        assert_eq!(result.status, JobStatus::Failed);
        assert_whole(&result);
        let failure = result.failure.expect("it says why");
        let text = failure.to_string();
        for word in ["restore a task", "`seen`", "subtask 0", "panicked: not to be converted"] {
            assert!(text.contains(word), "no `{word}` in: {text}");
        }
        assert_eq!((failure.blame, failure.retryable), (Blame::Job, false));
        assert!(job.has_failed.load(Ordering::SeqCst) && job.ticks.load(Ordering::SeqCst) > 0);
    });
}
