//! A new version of a program goes on from the state of the old one, whose types were others.
//!
//! ```text
//!   v1::Total { sum: u32 } ─▶ v2::Total { sum: u64, note } ─▶ Total { sum: i64 }     at other parallelisms, from savepoints
//!   count: u32             ─▶ u64 that expires             ─▶ u64                    and from checkpoints: the same output
//! ```

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use wiesel_cluster::{JobClient, JobResult, MiniCluster, SubmitOptions};
use wiesel_connectors::{CollectedRecords, DataGen};
use wiesel_core::{Timestamp, millis};
use wiesel_datastream::Environment;
use wiesel_graph::GraphDefaults;
use wiesel_jobmanager::{CheckpointStats, JobStatus};
use wiesel_operators::{
    FunctionError, KeyedContext, KeyedProcessFunction, ListState, MapState, StateRegistry,
    StateTtl, TimeDomain, ValueState, bounded_out_of_orderness,
};
use wiesel_record::{Out, Record};
use wiesel_storage::{CheckpointDirectory, LocalStorage, Manifest};

use crate::{config, watched};

const NUMBERS: u64 = 12_000;
/// Divided by any parallelism here, so that the numbers of a key are in one split, and come in order.
const KEYS: u64 = 60;

/// What is told of each key at the end.
type Told = (u64, Vec<u64>);

mod v1 {
    /// What the numbers of a key have come to.
    #[derive(wiesel_record::Record)]
    pub struct Total {
        pub sum: u32,
    }
}

mod v2 {
    /// With a note: in blocks, no longer in cells.
    #[derive(wiesel_record::Record)]
    #[record(version = 2, from = super::v1::Total)]
    pub struct Total {
        pub sum: u64,
        pub note: String,
    }
}

mod forgetful {
    /// What [`v2`](super::v2) has, but for what it is made of.
    #[derive(wiesel_record::Record)]
    #[record(version = 2)]
    pub struct Total {
        pub sum: u64,
        pub note: String,
    }
}

/// In cells again, of another length.
#[derive(Record)]
#[record(version = 3, from = v2::Total)]
struct Total {
    sum: i64,
}

impl From<v1::Total> for v2::Total {
    fn from(old: v1::Total) -> Self {
        Self { sum: old.sum.into(), note: "made of the first version's".to_owned() }
    }
}

impl From<v2::Total> for Total {
    fn from(old: v2::Total) -> Self {
        Self { sum: old.sum as i64 }
    }
}

/// A version of the program: what its totals are.
trait Version: Record {
    type Count: Record + TryFrom<u64> + Into<u64>;
    /// Whether its states expire, if only in an hour.
    const EXPIRES: bool = false;

    fn of(sum: u64) -> Self;
    fn sum(view: Self::View<'_>) -> u64;
    fn count() -> ValueState<Self::Count>;
}

macro_rules! version {
    ($type:ty, $count:ty, expires: $expires:expr, |$sum:ident| $of:expr, $state:expr) => {
        impl Version for $type {
            type Count = $count;
            const EXPIRES: bool = $expires;

            fn of($sum: u64) -> Self {
                $of
            }
            fn sum(view: Self::View<'_>) -> u64 {
                view.sum as u64
            }
            fn count() -> ValueState<$count> {
                $state
            }
        }
    };
}

version!(v1::Total, u32, expires: false, |sum| Self { sum: sum as u32 }, ValueState::new("count"));
version!(
    v2::Total, u64, expires: true, |sum| Self { sum, note: "new".to_owned() },
    ValueState::new("count").migrates_from::<u32>()
);
version!(
    forgetful::Total, u64, expires: true, |sum| Self { sum, note: "new".to_owned() },
    ValueState::new("count").migrates_from::<u32>()
);
version!(
    Total, u64, expires: false, |sum| Self { sum: sum as i64 },
    ValueState::new("count").migrates_from::<u32>()
);

/// Adds up the numbers of each key, in a state of every kind that holds a `V`, and tells it at the end.
struct Totals<V: Version> {
    total: ValueState<V>,
    count: ValueState<V::Count>,
    all: ListState<V>,
    by_rest: MapState<u64, V>,
}

impl<V: Version> Totals<V> {
    fn new() -> Self {
        let (total, count) = (ValueState::new("total"), V::count());
        let (all, by_rest) = (ListState::new("all"), MapState::new("by rest"));
        if !V::EXPIRES {
            return Self { total, count, all, by_rest };
        }
        let ttl = StateTtl::new(Duration::from_secs(3_600));
        let (all, by_rest) = (all.with_ttl(ttl), by_rest.with_ttl(ttl));
        Self { total: total.with_ttl(ttl), count: count.with_ttl(ttl), all, by_rest }
    }
}

impl<V: Version> Clone for Totals<V> {
    fn clone(&self) -> Self {
        let Self { total, count, all, by_rest } = self;
        let (all, by_rest) = (all.clone(), by_rest.clone());
        Self { total: total.clone(), count: count.clone(), all, by_rest }
    }
}

/// What becomes of a number.
enum Does {
    Adds,
    /// A third of the keys lose all that is kept of them, and have nothing for a while.
    Clears,
    Nothing,
}

fn does(number: u64) -> Does {
    match (number % KEYS % 3, number / KEYS % 10) {
        (0, 4) => Does::Clears,
        (0, 5 | 6) => Does::Nothing,
        _ => Does::Adds,
    }
}

/// Entries of the map of each key.
const RESTS: u64 = 4;

impl<V: Version> KeyedProcessFunction<u64, u64> for Totals<V> {
    type Out = Told;
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.total);
        states.register(&mut self.count);
        states.register(&mut self.all);
        states.register(&mut self.by_rest);
    }

    fn process(
        &mut self,
        number: u64,
        context: &mut KeyedContext<'_, u64, ()>,
        _: &mut dyn Out<Told>,
    ) -> Result<(), FunctionError> {
        context.register_event_timer(Timestamp::MAX);
        match does(number) {
            Does::Nothing => {}
            Does::Clears => {
                context.clear(&self.total);
                context.clear(&self.count);
                context.clear(&self.all);
                context.clear(&self.by_rest);
            }
            Does::Adds => {
                let sum = context.with(&self.total, V::sum).unwrap_or(0) + number;
                context.set(&self.total, V::of(sum).view());
                let count: u64 = context.get(&self.count).map_or(0, Into::into) + 1;
                let count = V::Count::try_from(count).ok().expect("few");
                context.set(&self.count, count.view());
                context.add(&self.all, V::of(number).view());
                let rest = number / KEYS % RESTS;
                let sum = context.map(&self.by_rest).with(rest, V::sum).unwrap_or(0) + number;
                context.put(&self.by_rest, rest, V::of(sum).view());
            }
        }
        Ok(())
    }

    fn on_timer(
        &mut self,
        _: Timestamp,
        _: TimeDomain,
        context: &mut KeyedContext<'_, u64, ()>,
        out: &mut dyn Out<Told>,
    ) -> Result<(), FunctionError> {
        let total = context.with(&self.total, V::sum).unwrap_or(0);
        let mut told = vec![total, context.get(&self.count).map_or(0, Into::into)];
        context.list(&self.all).for_each(|number| told.push(V::sum(number)));
        let mut rests = Vec::new();
        context.map(&self.by_rest).for_each(|rest, sum| rests.push((rest, V::sum(sum))));
        rests.sort_unstable();
        told.extend(rests.into_iter().map(|(_, sum)| sum));
        context.with_key(|key| out.emit((key, told.as_slice().into())));
        Ok(())
    }
}

/// What is told of all keys, by a loop.
fn expected() -> Vec<Told> {
    let of_key = |key| {
        let mut all = Vec::new();
        for number in (key..NUMBERS).step_by(KEYS as usize) {
            match does(number) {
                Does::Adds => all.push(number),
                Does::Clears => all.clear(),
                Does::Nothing => {}
            }
        }
        let mut rests = BTreeMap::<u64, u64>::new();
        all.iter().for_each(|number| *rests.entry(number / KEYS % RESTS).or_default() += number);
        let first = [all.iter().sum(), all.len() as u64];
        (key, first.into_iter().chain(all).chain(rests.into_values()).collect())
    };
    (0..KEYS).map(of_key).collect()
}

/// Of a run that reads slowly, and fails when it is told to.
#[derive(Default)]
struct Pace {
    read: AtomicU64,
    fails: AtomicBool,
}

/// A version of the program. Without a pace it reads everything at once.
fn program<V: Version>(pace: Option<Arc<Pace>>) -> (Environment, CollectedRecords<Told>) {
    let env = Environment::new();
    let told = env
        .source(DataGen::new(|tick| tick.number).count(NUMBERS))
        .uid("numbers")
        .map(move |number| {
            if let Some(pace) = &pace {
                assert!(!pace.fails.swap(false, Ordering::Relaxed), "on purpose");
                pace.read.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_micros(300));
            }
            number
        })
        .watermarks(bounded_out_of_orderness(millis(100)), |number| {
            Timestamp::from_millis(number as i64)
        })
        .key_by::<u64>(|number| number % KEYS)
        .process(Totals::<V>::new())
        .uid("totals")
        .collect();
    (env, told)
}

/// Starts it with its checkpoints in `folder`: from a savepoint, or from the newest of them.
fn start(env: &Environment, parallelism: u32, folder: &Path, from: Option<&Path>) -> JobClient {
    let text = |path: &Path| path.to_str().expect("a path that is text").to_owned();
    let (folder, from) = (text(folder), from.map(text));
    let mut settings = vec![
        ("execution.checkpointing.dir", folder.as_str()),
        ("execution.checkpointing.interval", "5 ms"),
        ("restart-strategy.type", "fixed-delay"),
        ("restart-strategy.fixed-delay.attempts", "1"),
        ("restart-strategy.fixed-delay.delay", "1 ms"),
    ];
    settings.extend(from.iter().map(|from| ("execution.state-recovery.path", from.as_str())));
    let config = config(&settings);
    let mut defaults = GraphDefaults::from_config(&config, parallelism);
    defaults.max_parallelism = Some(32);
    let graph = env.job_graph("totals", &defaults).expect("a whole graph");
    MiniCluster::submit(graph, &config, SubmitOptions::default()).expect("fit")
}

/// Waits until a run of `client` has come so far.
fn until(client: &JobClient, is_so_far: impl Fn(&CheckpointStats) -> bool) {
    let stats = || client.progress().and_then(|progress| progress.checkpoints);
    while !stats().is_some_and(|stats| is_so_far(&stats)) {
        assert!(!client.status().is_terminal(), "it ended too early: {:?}", stats());
        thread::sleep(Duration::from_millis(1));
    }
}

/// Runs a version of the program for a while, and stops it with a savepoint.
fn stopped<V: Version>(folder: &Path, parallelism: u32, from: Option<&Path>) -> PathBuf {
    let pace = Arc::new(Pace::default());
    let (env, told) = program::<V>(Some(Arc::clone(&pace)));
    let client = start(&env, parallelism, folder, from);
    until(&client, |stats| {
        stats.completed >= 4 && pace.read.load(Ordering::Relaxed) >= NUMBERS / 8
    });
    let made = client.stop_with_savepoint(Some(&folder.join("savepoints")), false);
    let result = client.wait();
    assert_eq!(result.status, JobStatus::Finished, "{:?}", result.failure);
    assert!(told.take().is_empty(), "it was not at its end");
    made.expect("a savepoint")
}

/// Runs a version of the program from the newest checkpoint in `folder`. It fails and goes on once, by itself, and then
/// fails for good, each time behind some checkpoints.
fn failed<V: Version>(folder: &Path, parallelism: u32) {
    let pace = Arc::new(Pace::default());
    let (env, told) = program::<V>(Some(Arc::clone(&pace)));
    let client = start(&env, parallelism, folder, None);
    let mut completed = 0;
    for restarts in 0..=1 {
        let read = pace.read.load(Ordering::Relaxed);
        until(&client, |stats| {
            stats.restarts == restarts
                && stats.completed >= completed + 4
                && pace.read.load(Ordering::Relaxed) >= read + NUMBERS / 16
        });
        let progress = client.progress().and_then(|progress| progress.checkpoints);
        completed = progress.map_or(0, |stats| stats.completed);
        pace.fails.store(true, Ordering::Relaxed);
    }
    assert_eq!(client.wait().status, JobStatus::Failed);
    assert!(told.take().is_empty(), "it was not at its end");
}

/// Runs the last version to its end.
fn finish(parallelism: u32, folder: &Path, from: Option<&Path>) -> Vec<Told> {
    let (env, told) = program::<Total>(None);
    let result = start(&env, parallelism, folder, from).wait();
    assert_eq!(result.status, JobStatus::Finished, "{:?}", result.failure);
    let mut told = told.take();
    told.sort();
    told
}

#[test]
fn each_version_goes_on_from_a_savepoint_of_any_before_it() {
    watched(|| {
        let expected = expected();
        for [p, q, r] in [[2, 3, 1], [1, 2, 3]] {
            let folder = tempfile::tempdir().expect("a folder");
            let of = |name: &str| folder.path().join(name);
            let first = stopped::<v1::Total>(&of("first"), p, None);
            let second = stopped::<v2::Total>(&of("second"), q, Some(&first));
            let third = stopped::<Total>(&of("third"), r, Some(&second));
            assert_eq!(finish(p, &of("end"), Some(&third)), expected, "{p} {q} {r}");
            // By way of the second, which never ran.
            assert_eq!(finish(r, &of("at once"), Some(&first)), expected, "{p} {r}");
        }
    });
}

/// The newest checkpoint.
fn newest(folder: &Path) -> Manifest {
    let storage = LocalStorage::open(folder.join("totals")).expect("a folder");
    let directory = CheckpointDirectory::new(storage);
    let ids = directory.list().expect("listed");
    directory.load(ids[0]).expect("readable")
}

/// The checkpoints whose files it names: `chk-7/1-0.data` is one of 7.
fn of_checkpoints(manifest: &Manifest) -> Vec<u64> {
    let id = |path: &str| path.strip_prefix("chk-")?.split('/').next()?.parse().ok();
    manifest.files().map(|(_, _, file)| id(&file.path).expect("a file of a checkpoint")).collect()
}

#[test]
fn each_version_goes_on_from_the_checkpoints_of_the_one_before_it() {
    watched(|| {
        let expected = expected();
        for [p, q, r] in [[2, 3, 1], [1, 1, 2]] {
            let folder = tempfile::tempdir().expect("a folder");
            failed::<v1::Total>(folder.path(), p);
            let first = newest(folder.path());
            let is_earlier = |id: &u64| *id < first.checkpoint;
            assert!(of_checkpoints(&first).iter().any(is_earlier), "it is an increment");
            failed::<v2::Total>(folder.path(), q);
            // It is relative to none with rows of the first version.
            let second = newest(folder.path());
            assert!(of_checkpoints(&second).iter().all(|id| *id > first.checkpoint), "{second:?}");
            assert_eq!(finish(r, folder.path(), None), expected, "{p} {q} {r}");
        }
    });
}

/// What a version says that does not go on from there.
fn refused<V: Version>(folder: &Path, from: Option<&Path>, parallelism: u32) -> String {
    let (env, told) = program::<V>(None);
    let JobResult { status, failure, progress, .. } = start(&env, parallelism, folder, from).wait();
    assert_eq!(status, JobStatus::Failed);
    assert!(told.take().is_empty());
    let stats = progress.checkpoints.expect("a job with checkpoints");
    assert_eq!((stats.restarts, stats.completed), (0, 0), "a restart would be no help");
    failure.expect("it says why").to_string()
}

#[test]
fn a_version_that_does_not_know_the_type_says_so_and_harms_nothing() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let of = |name: &str| folder.path().join(name);
        failed::<v1::Total>(&of("job"), 2);
        let failure = refused::<forgetful::Total>(&of("job"), None, 3);
        let says = |failure: &str, what: &str| {
            let fix = "say how it is made of the old type, which keeps its name and fields: \
                       `#[record(version = .., from = Old)]` on the type";
            let what = format!("operator `totals`, state `total`: {what}; {fix}");
            assert!(failure.contains(&what), "no `{what}` in: {failure}");
        };
        says(&failure, "field `sum` of Total was u32 and is u64");
        // The right one goes on all the same, and the first one does not go on from that.
        let second = stopped::<v2::Total>(&of("job"), 1, None);
        let failure = refused::<v1::Total>(&of("other"), Some(&second), 2);
        says(&failure, "field `sum` of Total was u64 and is u32");
        assert_eq!(finish(2, &of("end"), Some(&second)), expected());
    });
}
