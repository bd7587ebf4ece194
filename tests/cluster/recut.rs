//! State is found by the uid of its operator, wherever the chain is cut: a job goes on from a savepoint of the same operators
//! in other chains, and nothing that nobody takes is dropped in silence.
//!
//! ```text
//!   numbers ─▶ slow ─▶ read ─▶ by key: counts ─▶ told ─▶ file           `read`, `told`: how many this subtask has seen,
//!           ┊               (key_by)          ┊       ┊                 `counts`: how many of this key
//!        source                            keyed    sink                where a chain may be cut
//! ```

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

use wiesel_cluster::{ClusterError, JobClient, MiniCluster, SavepointError, SubmitOptions};
use wiesel_connectors::{DataGen, FileSink};
use wiesel_core::config::Configuration;
use wiesel_datastream::{DataStream, Environment};
use wiesel_graph::{GraphDefaults, JobGraph};
use wiesel_jobmanager::JobStatus;
use wiesel_operators::{
    Chain, FunctionError, KeyedContext, KeyedProcessFunction, OperatorListState,
    OperatorStateRegistry, ProcessContext, ProcessFunction, Start, StateRegistry, ValueState,
};
use wiesel_record::Out;

use crate::{config, watched};

const NUMBERS: u64 = 6_000;
const KEYS: u64 = 20;
/// Numbers that are read at once; what comes then is read slowly, so that a savepoint is in time.
const FAST: u64 = 2_000;

const TOTAL: OperatorListState<u64> = OperatorListState::new("total");

/// Says behind each line how many this subtask has seen.
#[derive(Clone)]
struct Total(&'static str);

impl ProcessFunction<String> for Total {
    type Out = String;
    type Side = ();

    fn initialize_state(&self, states: &mut OperatorStateRegistry) {
        states.register(&TOTAL);
    }

    fn process(
        &mut self,
        line: &str,
        context: &mut ProcessContext<'_, ()>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        let total = context.list(&TOTAL).iter().sum::<u64>() + 1;
        context.update(&TOTAL, [total]);
        out.emit(&format!("{line} {}-{}={total}", self.0, context.subtask()));
        Ok(())
    }
}

/// Says behind each line how many of its key were seen.
#[derive(Clone)]
struct Counts(ValueState<u64>);

impl KeyedProcessFunction<u64, String> for Counts {
    type Out = String;
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.0);
    }

    fn process(
        &mut self,
        line: &str,
        context: &mut KeyedContext<'_, u64, ()>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        let count = context.get(&self.0).unwrap_or(0) + 1;
        context.set(&self.0, count);
        let key = context.with_key(|key| key);
        out.emit(&format!("{line} key-{key}={count}"));
        Ok(())
    }
}

/// What has the uid of an operator.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Has {
    /// The operator that it was of.
    Its,
    /// Another one.
    Other,
    /// Nothing.
    Nothing,
}

/// How the program is written.
#[derive(Clone, Copy, Debug)]
struct Shape {
    cuts_source: bool,
    cuts_keyed: bool,
    cuts_sink: bool,
    /// The parallelism of `told`, if it has one of its own: its chain breaks there.
    told_parallelism: Option<u32>,
    counts: Has,
    told: Has,
}

const JOINED: Shape = Shape {
    cuts_source: false,
    cuts_keyed: false,
    cuts_sink: false,
    told_parallelism: None,
    counts: Has::Its,
    told: Has::Its,
};
const APART: Shape = Shape { cuts_source: true, cuts_keyed: true, cuts_sink: true, ..JOINED };

/// What is the same each time.
#[derive(Clone)]
struct Setup {
    shape: Shape,
    out: PathBuf,
    /// How many were read, if most are to be read slowly.
    seen: Option<Arc<AtomicU64>>,
}

fn program(setup: &Setup) -> Environment {
    let env = Environment::new();
    let seen = setup.seen.clone();
    let numbers = env.source(DataGen::new(|tick| tick.number).count(NUMBERS).in_splits_of(150));
    let slow = move |number| {
        if let Some(seen) = &seen
            && seen.fetch_add(1, Ordering::Relaxed) >= FAST
        {
            thread::sleep(Duration::from_millis(1));
        }
        format!("{number}")
    };
    let numbers = numbers.uid("numbers");
    match setup.shape.cuts_source {
        true => read(setup, numbers.start_new_chain().map(slow)),
        false => read(setup, numbers.map(slow)),
    }
    env
}

fn number_of(line: &str) -> u64 {
    line.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}

fn read<S, C>(setup: &Setup, stream: DataStream<String, S, C>)
where
    S: Start,
    C: Chain<S::Out, Out = String>,
{
    let read = stream.process(Total("read")).uid("read");
    let keyed = read.key_by::<u64>(|line| number_of(line) % KEYS);
    if setup.shape.counts == Has::Other {
        let counts = keyed.count().uid("counts");
        return told(setup, counts.map(|counted| format!("{} {}", counted.count, counted.key)));
    }
    let counts = keyed.process(Counts(ValueState::new("count"))).uid("counts");
    match (setup.shape.told_parallelism, setup.shape.cuts_keyed) {
        (Some(parallelism), _) => told(setup, counts.parallelism(parallelism)),
        (None, true) => told(setup, counts.start_new_chain()),
        (None, false) => told(setup, counts),
    }
}

fn told<S, C>(setup: &Setup, stream: DataStream<String, S, C>)
where
    S: Start,
    C: Chain<S::Out, Out = String>,
{
    let sink = FileSink::lines(&setup.out);
    if setup.shape.told == Has::Nothing {
        return stream.map(str::to_owned).sink_to(sink);
    }
    let told = stream.process(Total("told")).uid("told");
    if setup.shape.cuts_sink { told.start_new_chain().sink_to(sink) } else { told.sink_to(sink) }
}

fn graph_of(
    env: &Environment,
    parallelism: u32,
    config: &Configuration,
) -> JobGraph<wiesel_datastream::VertexCode> {
    let mut defaults = GraphDefaults::from_config(config, parallelism);
    defaults.max_parallelism = Some(32);
    env.job_graph("recut", &defaults).expect("a whole graph")
}

fn start(
    env: &Environment,
    parallelism: u32,
    config: &Configuration,
    allow_non_restored: bool,
) -> Result<JobClient, ClusterError> {
    let options = SubmitOptions { allow_non_restored, ..SubmitOptions::default() };
    MiniCluster::submit(graph_of(env, parallelism, config), config, options)
}

fn settings(folder: &Path, name: &str, savepoint: Option<&Path>) -> Configuration {
    let text = |path: &Path| path.to_str().expect("a path that is text").to_owned();
    let folder = text(&folder.join(name));
    let savepoint = savepoint.map(text);
    let mut pairs = vec![
        ("execution.checkpointing.dir", folder.as_str()),
        ("execution.checkpointing.interval", "20 ms"),
    ];
    pairs.extend(savepoint.as_deref().map(|path| ("execution.state-recovery.path", path)));
    config(&pairs)
}

/// Runs a program of this shape for a while and stops it with a savepoint.
fn stopped(folder: &Path, shape: Shape, parallelism: u32) -> PathBuf {
    let (out, seen) = (folder.join("out"), Arc::new(AtomicU64::new(0)));
    let setup = Setup { shape, out, seen: Some(Arc::clone(&seen)) };
    let client = start(&program(&setup), parallelism, &settings(folder, "first", None), false);
    let client = client.expect("fit");
    while seen.load(Ordering::Relaxed) < FAST {
        thread::sleep(Duration::from_millis(1));
    }
    let savepoints = folder.join("savepoints");
    let made = loop {
        // Numbers may be read before the last task has said that it runs.
        let made = client.stop_with_savepoint(Some(&savepoints), false);
        match &made {
            Err(SavepointError::Failed(reason)) if reason.contains("RUNNING") => {
                thread::sleep(Duration::from_millis(1));
            }
            _ => break made,
        }
    };
    let result = client.wait();
    assert_eq!(result.status, JobStatus::Finished, "{:?} {made:?}", result.failure);
    made.expect("a savepoint")
}

/// What is visible.
fn lines(out: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for file in fs::read_dir(out).expect("a folder") {
        let path = file.expect("a file").path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("part-")) {
            let text = fs::read_to_string(&path).expect("text");
            lines.extend(text.lines().map(str::to_owned));
        }
    }
    lines
}

/// The highest that each counter has told, by its name.
fn highest(lines: &[String]) -> BTreeMap<String, u64> {
    let mut highest = BTreeMap::<String, u64>::new();
    for counter in lines.iter().flat_map(|line| line.split(' ').skip(1)) {
        let (name, value) = counter.split_once('=').expect("name=value");
        let value: u64 = value.parse().expect("a number");
        let last = highest.entry(name.to_owned()).or_default();
        *last = value.max(*last);
    }
    highest
}

fn sum_of(highest: &BTreeMap<String, u64>, prefix: &str) -> u64 {
    highest.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, value)| value).sum()
}

fn goes_on(folder: &Path, shape: Shape, parallelism: u32, config: &Configuration) {
    let out = folder.join("out");
    let setup = Setup { shape, out: out.clone(), seen: None };
    let client = start(&program(&setup), parallelism, config, false);
    let result = client.unwrap_or_else(|error| panic!("{shape:?}: {error}")).wait();
    assert_eq!(result.status, JobStatus::Finished, "{shape:?} {:?}", result.failure);
    let lines = lines(&out);
    let numbers: BTreeSet<u64> = lines.iter().map(|line| number_of(line)).collect();
    assert_eq!((lines.len() as u64, numbers.len() as u64), (NUMBERS, NUMBERS), "{shape:?}");
    let highest = highest(&lines);
    assert_eq!(sum_of(&highest, "key-"), NUMBERS, "{shape:?} {highest:?}");
    assert!(
        highest.iter().all(|(name, count)| !name.starts_with("key-") || *count == NUMBERS / KEYS)
    );
    // What a subtask had told before is what it goes on with: none has fewer neighbours here than before.
    assert_eq!(sum_of(&highest, "read-"), NUMBERS, "{shape:?} {highest:?}");
    assert_eq!(sum_of(&highest, "told-"), NUMBERS, "{shape:?} {highest:?}");
}

#[test]
fn each_operator_goes_on_in_whatever_chain_it_is() {
    watched(|| {
        let wide = |told| Shape { told_parallelism: Some(told), ..JOINED };
        let behind_the_source = Shape { cuts_source: true, ..JOINED };
        let before_the_sink = Shape { cuts_sink: true, ..JOINED };
        let cases = [
            (JOINED, 1, APART, 1),
            (APART, 1, JOINED, 1),
            (JOINED, 2, APART, 2),
            (APART, 2, JOINED, 2),
            (JOINED, 2, wide(3), 2),
            (wide(2), 1, JOINED, 2),
            (behind_the_source, 2, before_the_sink, 3),
            (before_the_sink, 1, wide(2), 1),
        ];
        for (before, p, after, q) in cases {
            let folder = tempfile::tempdir().expect("a folder");
            let folder = folder.path();
            let savepoint = stopped(folder, before, p);
            goes_on(folder, after, q, &settings(folder, "second", Some(&savepoint)));
        }
    });
}

#[test]
fn the_newest_checkpoint_is_that_of_the_operators_too() {
    watched(|| {
        for (before, after) in [(JOINED, APART), (APART, JOINED)] {
            let folder = tempfile::tempdir().expect("a folder");
            stopped(folder.path(), before, 2);
            // Its own folder: the checkpoint behind which it stopped.
            goes_on(folder.path(), after, 2, &settings(folder.path(), "first", None));
        }
    });
}

/// How a program of this shape ends when it is started from a savepoint of [`JOINED`]: the lines, or the error.
fn from_joined(shape: Shape, allow_non_restored: bool) -> Result<Vec<String>, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let savepoint = stopped(folder, JOINED, 2);
    let out = folder.join("out");
    let before = lines(&out).len();
    let setup = Setup { shape, out: out.clone(), seen: None };
    let config = settings(folder, "second", Some(&savepoint));
    let client = start(&program(&setup), 2, &config, allow_non_restored);
    let result = client.map_err(|error| error.to_string())?.wait();
    if result.status == JobStatus::Finished {
        return Ok(lines(&out));
    }
    assert_eq!(lines(&out).len(), before, "nothing was written");
    assert_eq!(result.status, JobStatus::Failed);
    Err(result.failure.map(|failure| format!("{failure}")).unwrap_or_default())
}

#[test]
fn what_no_operator_takes_is_an_error_unless_it_is_dropped() {
    watched(|| {
        let gone = Shape { told: Has::Nothing, ..JOINED };
        let error = from_joined(gone, false).expect_err("nobody takes it");
        let begins = "the checkpoint has state that no operator of the program takes, of operator `told` (in KeyedProcess -> ";
        assert!(error.starts_with(begins), "{error}");
        let ends = "): `operator.state/total`, `operator.states`: give the operators back their uids, or drop the state with \
                    --allowNonRestoredState";
        assert!(error.ends_with(ends), "{error}");
        let lines = from_joined(gone, true).expect("it is dropped");
        assert_eq!(sum_of(&highest(&lines), "key-"), NUMBERS, "what others have is not");
    });
}

#[test]
fn a_uid_that_another_operator_has_now_is_an_error_unless_its_state_is_dropped() {
    watched(|| {
        let moved = Shape { counts: Has::Other, ..JOINED };
        let error = from_joined(moved, false).expect_err("it keeps no such state");
        assert!(error.contains("restore state (operator `counts`"), "{error}");
        assert!(
            error.contains("of operator `counts`, and what has this uid now keeps no such state"),
            "{error}"
        );
        assert!(error.contains("--allowNonRestoredState"), "{error}");
        let lines = from_joined(moved, true).expect("it is dropped");
        // Of each line the last word: the operator in front of it tells other ones now.
        let last = |line: &String| format!("0 {}", line.rsplit(' ').next().unwrap_or_default());
        let told = highest(&lines.iter().map(last).collect::<Vec<_>>());
        assert_eq!(sum_of(&told, "told-"), NUMBERS, "what others have is not");
    });
}

#[test]
fn state_is_that_of_the_operator_that_keeps_it() {
    let setup = |shape| Setup { shape, out: PathBuf::from("out"), seen: None };
    let plan = graph_of(&program(&setup(APART)), 1, &config(&[])).explain();
    let stateful: Vec<_> = plan.lines().filter(|line| line.contains("keeps state")).collect();
    assert_eq!(stateful.len(), 4, "{plan}");
    for uid in ["numbers", "read", "counts", "told"] {
        let uid = format!("uid {uid}, ");
        assert_eq!(stateful.iter().filter(|line| line.contains(&uid)).count(), 1, "{uid}: {plan}");
    }
    // All that keep state have a uid: the program is right.
    let strict = config(&[("pipeline.auto-generate-uids", "false")]);
    for shape in [JOINED, APART] {
        graph_of(&program(&setup(shape)), 1, &strict);
    }
}
