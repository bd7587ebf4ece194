//! One seed: assemble, simulate, compare.

use std::{
    cell::Cell,
    path::{Path, PathBuf},
    time::Duration,
};

use wiesel_cluster::{CheckpointSettings, ClusterOptions, JobResult, SubmitOptions, assemble};
use wiesel_core::{RuntimeExecutionMode, TaskId};
use wiesel_datastream::Environment;
use wiesel_graph::{ExecutionGraph, GraphDefaults};
use wiesel_jobmanager::JobStatus;
use wiesel_operators::RowSources;
use wiesel_shard::{Policy, ShardSpec, SimConfig, SimDisk, Simulation};
use wiesel_state::AbsentRows;
use wiesel_task::{Checkpoints, TaskOptions};
use wiesel_taskmanager::WorkerOptions;

use crate::{
    case::{Case, Draw, Stage},
    crash::{self, Crash},
    flood::Flood,
    job::{self, Tally},
    meeting,
    oracle::comparable,
};

/// No job of a seed lasts as long: whoever still waited then was not woken.
const NEVER: Duration = Duration::from_secs(3_600);
/// Rows that are absent arrive when they are asked for again; this often somebody asks at the latest.
const ROWS_EVERY: Duration = Duration::from_millis(2);
/// The longest seeds take a tenth of it.
const STEPS_MAX: u64 = 200_000;
/// Where jobs in batch mode have their files.
const TMP_FOLDER: &str = "tmp";
/// One seed in so many is a flood.
const FLOOD_ONE_IN: u64 = 8;
/// And of the others one in so many crashes.
const CRASH_ONE_IN: u64 = 2;

/// What a seed came to.
pub(crate) struct Ran {
    pub(crate) trace_hash: u64,
    pub(crate) steps: u64,
    /// What went wrong because the seed wanted it.
    pub(crate) faults: Faults,
}

/// How often, of each kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// The machine went down.
    pub(crate) crashes: u64,
    /// A task failed.
    pub(crate) failures: u64,
    /// The machine went down in a run in which a task had failed.
    pub(crate) both: u64,
    /// Of jobs that ran to their end: after so many others ran on.
    pub(crate) regions: u64,
    /// The disk refused.
    pub(crate) disk: u64,
    /// A bit of a checkpoint was another one.
    pub(crate) flips: u64,
}

impl Faults {
    pub(crate) fn add(&mut self, more: Self) {
        let Self { crashes, failures, both, regions, disk, flips } = more;
        self.crashes += crashes;
        self.failures += failures;
        self.both += both;
        self.regions += regions;
        self.disk += disk;
        self.flips += flips;
    }

    pub(crate) fn total(self) -> u64 {
        self.crashes + self.failures + self.disk + self.flips
    }
}

thread_local! {
    /// Of the case that runs: its seed, and how often rows are absent.
    static ABSENT: Cell<(u64, u64)> = const { Cell::new((0, 1)) };
}

fn absent_rows(task: TaskId) -> RowSources {
    let (seed, one_in) = ABSENT.get();
    let mut seed = seed ^ (u64::from(task.vertex.0) << 40) ^ (u64::from(task.subtask.0) << 32);
    Box::new(move || {
        seed = seed.wrapping_add(1);
        Box::new(AbsentRows::new(seed, one_in, 1 + seed % 4))
    })
}

/// How tight things are.
struct Limits {
    credits: usize,
    overdraft_kib: usize,
    frame_age_us: u64,
    absent_one_in: Option<u64>,
    max_parallelism: Option<u32>,
    policy: Policy,
    batch_kib: Option<usize>,
}

/// Whether this seed is a flood.
pub(crate) fn is_flood(seed: u64) -> bool {
    Draw::new(!seed).one_in(FLOOD_ONE_IN)
}

/// Whether this seed crashes.
pub(crate) fn is_crash(seed: u64) -> bool {
    !is_flood(seed) && Draw::new(seed ^ 0x5EED).one_in(CRASH_ONE_IN)
}

/// Whether this seed is a case of this kind, neither a flood nor a crash.
pub(crate) fn is_of_case(seed: u64, is_meant: impl Fn(&Case) -> bool) -> bool {
    !is_flood(seed) && !is_crash(seed) && is_meant(&Case::of(seed))
}

/// What a seed draws, for people.
pub(crate) fn describe(seed: u64) -> String {
    match (is_flood(seed), is_crash(seed)) {
        (true, _) => format!("{:?}", Flood::of(seed)),
        (_, true) => format!("{:?}", Crash::of(seed)),
        _ => format!("{:?}", Case::of(seed)),
    }
}

/// Runs a seed and compares.
pub(crate) fn run(seed: u64) -> Result<Ran, String> {
    match (is_flood(seed), is_crash(seed)) {
        (true, _) => run_flood(seed),
        (_, true) => crash::run(seed),
        _ => run_case(seed),
    }
}

fn run_case(seed: u64) -> Result<Ran, String> {
    let case = Case::of(seed);
    let environment = Environment::new();
    let results = job::build(&case, &environment);
    let limits = Limits {
        credits: case.credits,
        overdraft_kib: case.overdraft_kib,
        frame_age_us: case.frame_age_us,
        absent_one_in: case.absent_one_in,
        max_parallelism: Some(case.max_parallelism),
        policy: case.policy,
        batch_kib: case.batch_kib,
    };
    let (ran, result) = simulate(seed, &environment, 1, &limits)?;
    let expected = case.expected();
    if let Some(first) = results.first {
        compare("first stage", case.first, first.take(), &expected.first)?;
    }
    compare("second stage", case.second, results.second.take(), &expected.second)?;
    if let (Some(met), Some(meeting)) = (results.met, case.meeting) {
        let (mut met, expected) = (met.take(), meeting::expected(&case, meeting));
        met.sort_unstable();
        if met != expected {
            return Err(format!("{meeting:?}: {} met, not {}", met.len(), expected.len()));
        }
    }
    let read = result.progress.records_read();
    if read != case.events {
        return Err(format!("the source has read {read} of {} records", case.events));
    }
    Ok(ran)
}

fn compare(name: &str, stage: Stage, found: Vec<Tally>, expected: &[Tally]) -> Result<(), String> {
    let found = comparable(stage, found);
    if found == expected {
        return Ok(());
    }
    let (missing, extra) = (count_not_in(expected, &found), count_not_in(&found, expected));
    Err(format!(
        "{name}: {} results for {}; {missing} missing, {extra} wrong",
        found.len(),
        expected.len()
    ))
}

/// How many of `these` are not among `those`; both sorted.
fn count_not_in(these: &[Tally], those: &[Tally]) -> usize {
    let mut those = those.iter().peekable();
    let is_missing = |tally: &&Tally| {
        while those.next_if(|other| other < tally).is_some() {}
        those.next_if_eq(tally).is_none()
    };
    these.iter().filter(is_missing).count()
}

fn run_flood(seed: u64) -> Result<Ran, String> {
    let flood = Flood::of(seed);
    let environment = Environment::new();
    let sums = flood.build(&environment);
    let limits = Limits {
        credits: flood.credits,
        overdraft_kib: flood.overdraft_kib,
        frame_age_us: 1_000,
        absent_one_in: None,
        max_parallelism: None,
        policy: Policy::Mixed,
        batch_kib: None,
    };
    let (ran, result) = simulate(seed, &environment, flood.parallelism, &limits)?;
    let mut found: Vec<_> = sums.take().iter().map(|sum| (sum.key, sum.value)).collect();
    found.sort_unstable();
    if found != flood.expected() {
        return Err(format!("a flood of {} results, not {}", found.len(), flood.expected().len()));
    }
    let tasks = result.progress.tasks.iter().filter(|task| task.is_sink);
    let summed: u64 = tasks.filter_map(|task| task.metrics.as_ref()).map(|m| m.records_in).sum();
    if summed != flood.records_summed() {
        return Err(format!("{summed} records came, not {}", flood.records_summed()));
    }
    Ok(ran)
}

/// Simulates a job, and checks what must hold for every job that finishes.
fn simulate(
    seed: u64,
    environment: &Environment,
    parallelism: u32,
    limits: &Limits,
) -> Result<(Ran, JobResult), String> {
    let defaults = GraphDefaults {
        parallelism,
        max_parallelism: limits.max_parallelism,
        auto_generate_uids: true,
        runtime_mode: match limits.batch_kib {
            Some(_) => RuntimeExecutionMode::Batch,
            None => RuntimeExecutionMode::Streaming,
        },
    };
    let graph = environment.job_graph("sim", &defaults).map_err(|error| error.to_string())?;
    let slots = ExecutionGraph::expand(&graph).slot_count();
    ABSENT.set((seed, limits.absent_one_in.unwrap_or(1)));
    let heartbeat_every = limits.absent_one_in.map_or(NEVER, |_| ROWS_EVERY);
    let cluster = ClusterOptions {
        shards: ShardSpec::spread(slots as usize, &[]),
        credits: limits.credits,
        worker: WorkerOptions {
            task: TaskOptions {
                quantum: Duration::from_micros(50), // The simulator draws its own.
                frame_age_max: Duration::from_micros(limits.frame_age_us),
                checkpoints: Checkpoints::Off,
                is_incremental: false,
            },
            overdraft_bytes_max: limits.overdraft_kib << 10,
            record_bytes_max: 1 << 20,
            heartbeat_every,
            sort_bytes_max: limits.batch_kib.unwrap_or(0) << 10,
            tmp_folders: PathBuf::from(TMP_FOLDER).into(),
            allow_non_restored: false,
        },
        row_sources: limits.absent_one_in.map(|_| absent_rows as fn(TaskId) -> RowSources),
        checkpoints: CheckpointSettings::off(),
    };
    let options = SubmitOptions { observe_every: NEVER, ..SubmitOptions::default() };
    let assembly = assemble(graph, &cluster, options).map_err(|error| error.to_string())?;
    let handle = assembly.result_handle();
    let disk = SimDisk::new();
    let kept = Path::new(TMP_FOLDER).join("kept");
    disk.put(&kept, "");
    let config =
        SimConfig::with_seed(seed).policy(limits.policy).disk(disk.clone()).steps_max(STEPS_MAX);
    let ran = Simulation::new(config).run(assembly.launch).map_err(|error| error.to_string())?;
    ran.report.outcome().map_err(|panicked| panicked.to_string())?;
    let result = handle.get();
    if result.status != JobStatus::Finished {
        let failure = result.failure.map_or_else(|| "no failure".to_owned(), |f| f.to_string());
        return Err(format!("{}: {failure}", result.status));
    }
    if disk.files() != [kept] {
        return Err(format!("files of the sort are left: {:?}", disk.files()));
    }
    let late = result.progress.late_records();
    if late != 0 {
        return Err(format!("{late} late records"));
    }
    for (shard, pool) in result.pools.iter().enumerate() {
        if pool.outstanding != 0 || pool.lost != 0 {
            return Err(format!("not all frames of shard {shard} are home: {pool:?}"));
        }
    }
    if ran.elapsed >= NEVER {
        return Err("a shard was not woken: it went on with its heartbeat".to_owned());
    }
    Ok((Ran { trace_hash: ran.trace_hash, steps: ran.steps, faults: Faults::default() }, result))
}
