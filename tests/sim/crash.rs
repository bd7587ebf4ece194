//! A job that writes files exactly once, on a machine that goes down again and again: between any two turns, also
//! while the job is being restored, and with whatever the disk makes of what was not synced.
//!
//! ```text
//!   run at some parallelism ── cut off after a drawn number of turns, or a task fails ──▶ the disk loses what it likes
//!      ▲                                                                                       │
//!      └───────────── another parallelism, the same folders ◀──────────────────────────────────┘
//!   … the last run is not cut off: what is visible then is what the definition says, each line once
//! ```

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use wiesel_checkpoint::{CheckpointConfig, RestartConfig};
use wiesel_cluster::{CheckpointSettings, ClusterError, ClusterOptions, SubmitOptions, assemble};
use wiesel_connectors::Collection;
use wiesel_core::{RuntimeExecutionMode, Timestamp, millis};
use wiesel_datastream::Environment;
use wiesel_graph::{ExecutionGraph, GraphDefaults};
use wiesel_jobmanager::JobStatus;
use wiesel_operators::bounded_out_of_orderness;
use wiesel_shard::{Policy, ShardSpec, SimConfig, SimDisk, SimError, Simulation};
use wiesel_storage::Manifest;
use wiesel_task::{Checkpoints, TaskOptions};
use wiesel_taskmanager::WorkerOptions;

use crate::{asks::Asks, case::Draw, crash_work::Work, run::Ran};

const OUT: &str = "/out";
const CHECKPOINTS: &str = "/checkpoints";
/// What a task says that fails because the seed wants it.
pub(crate) const ON_PURPOSE: &str = "a fault of the simulation";
/// Turns of the last run; the longest take a tenth of it.
const STEPS_MAX: u64 = 2_000_000;

/// What a seed draws.
#[derive(Clone, Debug)]
pub(crate) struct Crash {
    seed: u64,
    events: u64,
    keys: u64,
    bound_ms: u64,
    work: Work,
    interval_us: u64,
    /// Runs that are cut off, by turns.
    cuts: Vec<u64>,
    /// One record in so many fails its task, as long as failures are left.
    fails_one_in: Option<u64>,
    /// Whether checkpoints are increments where that can be.
    is_incremental: bool,
    /// Somebody else is asked about each record.
    asks: Option<Asks>,
}

thread_local! {
    /// What is left of the failures of the case that runs.
    static FAILURES: Cell<u64> = const { Cell::new(0) };
    pub(crate) static DRAW: RefCell<Draw> = RefCell::new(Draw::new(0));
}

impl Crash {
    pub(crate) fn of(seed: u64) -> Self {
        let draw = &mut Draw::new(seed ^ 0xC4A5);
        let count = draw.within(2, 9);
        Self {
            seed,
            events: draw.within(50, 600),
            keys: draw.of(&[1, 5, 50]),
            bound_ms: draw.of(&[0, 5, 50]),
            work: Work::of(draw),
            interval_us: draw.of(&[50, 200, 1_000]),
            cuts: (0..count)
                .map(|_| draw.of(&[20, 300, 1_500, 4_000]) + draw.within(0, 400))
                .collect(),
            fails_one_in: if draw.one_in(2) { Some(draw.within(20, 400)) } else { None },
            is_incremental: !draw.one_in(4),
            asks: if draw.one_in(2) { Some(Asks::of(draw)) } else { None },
        }
    }

    /// Faults that the seed brings: each run that is cut off, and the failures that are left to it.
    pub(crate) fn faults(&self) -> u64 {
        self.cuts.len() as u64 + if self.fails_one_in.is_some() { FAILURES_MAX } else { 0 }
    }

    /// Key and event time of each record.
    fn input(&self) -> Vec<(u64, i64)> {
        let draw = &mut Draw::new(self.seed ^ 0x1234);
        let record = |number| {
            let jitter_ms = draw.within(0, self.bound_ms);
            (draw.within(0, self.keys - 1), (number * 2 + jitter_ms) as i64)
        };
        (0..self.events).map(record).collect()
    }

    /// The lines that must be there, each once.
    fn expected(&self) -> Vec<String> {
        self.work.expected(&self.input())
    }

    fn environment(&self) -> Environment {
        let env = Environment::new();
        let one_in = self.fails_one_in;
        let records = env
            .source(Collection::new(self.input()))
            .uid("source")
            .watermarks(bounded_out_of_orderness(millis(self.bound_ms)), |record: (u64, i64)| {
                Timestamp::from_millis(record.1)
            })
            .map(move |record| {
                if let Some(one_in) = one_in
                    && FAILURES.get() > 0
                    && DRAW.with_borrow_mut(|draw| draw.one_in(one_in))
                {
                    FAILURES.set(FAILURES.get() - 1);
                    panic!("{ON_PURPOSE}");
                }
                record
            });
        let records = match self.asks {
            None => records.rebalance(),
            Some(asks) if asks.is_behind => asks.ask(records.rebalance()).rebalance(),
            Some(asks) => asks.ask(records).rebalance(),
        };
        self.work.run(records, OUT);
        env
    }
}

/// Tasks that fail, of a seed that lets some.
const FAILURES_MAX: u64 = 3;

/// How a run ended.
enum End {
    Cut,
    Finished,
}

/// Runs a seed and compares.
pub(crate) fn run(seed: u64) -> Result<Ran, String> {
    let crash = Crash::of(seed);
    let disk = SimDisk::new();
    disk.install();
    FAILURES.set(if crash.fails_one_in.is_some() { FAILURES_MAX } else { 0 });
    DRAW.with_borrow_mut(|draw| *draw = Draw::new(seed ^ 0xFA11));
    let draw = &mut Draw::new(seed ^ 0x9999);
    let mut total = Ran { trace_hash: seed, steps: 0 };
    let mut is_finished = false;
    for (number, steps_max) in (0..).zip(crash.cuts.iter().copied().chain([STEPS_MAX])) {
        let parallelism = draw.within(1, 4) as u32;
        let policy = draw.of(&[Policy::Mixed, Policy::Random, Policy::RoundRobin, Policy::Burst]);
        let run_seed = seed.wrapping_mul(31).wrapping_add(number);
        match one_run(&crash, run_seed, parallelism, steps_max, policy, &disk, &mut total)? {
            End::Finished => {
                is_finished = true;
                break;
            }
            End::Cut => disk.crash(draw.next()),
        }
    }
    if !is_finished {
        return Err("the last run did not finish".to_owned());
    }
    let mut found = Vec::new();
    for path in disk.files().iter().filter(|path| path.starts_with(OUT)) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with("part-") {
            return Err(format!("left behind: {name}"));
        }
        let bytes = disk.get(path).unwrap_or_default();
        let text = String::from_utf8(bytes).map_err(|_| format!("{name} is not text"))?;
        found.extend(text.lines().map(str::to_owned));
    }
    found.sort();
    let expected = crash.expected();
    if found != expected {
        let (missing, extra) = (count_not_in(&expected, &found), count_not_in(&found, &expected));
        return Err(format!(
            "crashes: {} lines for {}; {missing} lost, {extra} twice or wrong",
            found.len(),
            expected.len()
        ));
    }
    only_the_last_checkpoint_is_left(&disk)?;
    Ok(total)
}

/// No file leaks: what is left is the manifest of the last checkpoint, the files that it names, and the lock.
fn only_the_last_checkpoint_is_left(disk: &SimDisk) -> Result<(), String> {
    let files = disk.files();
    let mut left: BTreeSet<&Path> = files.iter().map(PathBuf::as_path).collect();
    left.retain(|path| path.starts_with(CHECKPOINTS) && !path.ends_with("_owner"));
    let manifests: Vec<&Path> =
        left.iter().copied().filter(|path| path.ends_with("_metadata")).collect();
    let [manifest] = manifests[..] else {
        return Err(format!("{} checkpoints are left, not one", manifests.len()));
    };
    let bytes = disk.get(manifest).unwrap_or_default();
    let Ok(decoded) = Manifest::decode("_metadata", &bytes) else {
        return Err(format!("{} cannot be read", manifest.display()));
    };
    left.remove(manifest);
    let folder = manifest.parent().and_then(Path::parent).unwrap_or(Path::new(""));
    let named: BTreeSet<PathBuf> =
        decoded.files().map(|(_, _, file)| folder.join(&file.path)).collect();
    let named: BTreeSet<&Path> = named.iter().map(PathBuf::as_path).collect();
    if let Some(strange) = left.difference(&named).next() {
        return Err(format!("left behind: {}", strange.display()));
    }
    match named.difference(&left).next() {
        Some(missing) => Err(format!("named and not there: {}", missing.display())),
        None => Ok(()),
    }
}

/// How many of `these` are not among `those`; both sorted.
fn count_not_in(these: &[String], those: &[String]) -> usize {
    let mut those = those.iter().peekable();
    let is_missing = |line: &&String| {
        while those.next_if(|other| *other < *line).is_some() {}
        those.next_if_eq(line).is_none()
    };
    these.iter().filter(is_missing).count()
}

/// One process: until it is cut off, or the job ends.
fn one_run(
    crash: &Crash,
    seed: u64,
    parallelism: u32,
    steps_max: u64,
    policy: Policy,
    disk: &SimDisk,
    total: &mut Ran,
) -> Result<End, String> {
    let defaults = GraphDefaults {
        parallelism,
        max_parallelism: Some(8),
        auto_generate_uids: true,
        runtime_mode: RuntimeExecutionMode::Streaming,
    };
    let environment = crash.environment();
    let graph = environment.job_graph("sim", &defaults).map_err(|error| error.to_string())?;
    let slots = ExecutionGraph::expand(&graph).slot_count();
    let config = CheckpointConfig {
        interval: Some(Duration::from_micros(crash.interval_us)),
        tolerable_failures: 1_000,
        ..CheckpointConfig::default()
    };
    let cluster = ClusterOptions {
        shards: ShardSpec::spread(slots as usize, &[]),
        credits: 2,
        worker: WorkerOptions {
            task: TaskOptions {
                quantum: Duration::from_micros(50),
                frame_age_max: Duration::from_micros(100),
                checkpoints: Checkpoints::ExactlyOnce,
                is_incremental: crash.is_incremental,
            },
            overdraft_bytes_max: 1 << 20,
            record_bytes_max: 1 << 20,
            heartbeat_every: Duration::from_millis(10),
            sort_bytes_max: 1 << 20,
            tmp_folders: PathBuf::from("/tmp").into(),
        },
        row_sources: None,
        checkpoints: CheckpointSettings {
            folder: Some(Path::new(CHECKPOINTS).to_owned()),
            config,
            restart: RestartConfig::FixedDelay { attempts: 100, delay: Duration::from_micros(100) },
            ..CheckpointSettings::off()
        },
    };
    let options = SubmitOptions { observe_every: Duration::from_secs(1), ..Default::default() };
    let assembly = match assemble(graph, &cluster, options) {
        // It was cut off behind its last checkpoint: starting it has made the last commit.
        Err(ClusterError::Finished { .. }) => return Ok(End::Finished),
        assembled => assembled.map_err(|error| error.to_string())?,
    };
    let handle = assembly.result_handle();
    let config = SimConfig::with_seed(seed).policy(policy).disk(disk.clone()).steps_max(steps_max);
    let ran = match Simulation::new(config).run(assembly.launch) {
        Err(SimError::StepLimit { steps, .. }) if steps_max < STEPS_MAX => {
            total.steps += steps;
            return Ok(End::Cut);
        }
        ran => ran.map_err(|error| error.to_string())?,
    };
    ran.report.outcome().map_err(|panicked| panicked.to_string())?;
    total.steps += ran.steps;
    total.trace_hash = total.trace_hash.rotate_left(7) ^ ran.trace_hash;
    let result = handle.get();
    if result.status != JobStatus::Finished {
        let failure = result.failure.map_or_else(|| "no failure".to_owned(), |f| f.to_string());
        return Err(format!("{}: {failure}", result.status));
    }
    Ok(End::Finished)
}
