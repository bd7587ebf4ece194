//! A job that writes files exactly once, on a machine that goes down again and again: between any two turns, also
//! while the job is being restored, and with whatever the disk makes of what was not synced.
//!
//! ```text
//!   run at some parallelism ── cut off after a drawn number of turns, or a task fails ──▶ the disk loses what it likes
//!      ▲        └ the disk is full, or cannot read, write or sync                              │ a bit of the newest
//!      └───────────── another parallelism, the same folders ◀──────────────────────────────────┘ checkpoint flips
//!   … the last run is not cut off: what is visible then is what the definition says, each line once
//! ```
//!
//! Savepoints are asked for at random as well, and sometimes the job goes on from one, in other folders (`saves`).
//!
//! A flipped bit is only for what a checkpoint consists of: nobody could find one in a file of output. If no checkpoint is
//! whole then, the job has to say so, with the name of the file, and to leave everything as it is; the bit flips back.

use std::{
    cell::{Cell, RefCell},
    error::Error,
    path::PathBuf,
    time::Duration,
};

use wiesel_checkpoint::{CheckpointConfig, RestartConfig};
use wiesel_cluster::{CheckpointSettings, ClusterError, ClusterOptions, SubmitOptions, assemble};
use wiesel_connectors::Collection;
use wiesel_core::{RuntimeExecutionMode, Timestamp, config::FailoverStrategy, millis};
use wiesel_datastream::{Environment, VertexCode};
use wiesel_graph::{ExecutionGraph, GraphDefaults, JobGraph};
use wiesel_jobmanager::JobStatus;
use wiesel_operators::bounded_out_of_orderness;
use wiesel_shard::{Policy, ShardSpec, SimConfig, SimDisk, SimError, Simulation};
use wiesel_storage::StorageError;
use wiesel_task::{Checkpoints, TaskOptions};
use wiesel_taskmanager::WorkerOptions;

use crate::{
    asks::Asks,
    case::Draw,
    copies::Copies,
    crash_work::Work,
    left::{manifests, named_by, only_the_last_checkpoints_are_left},
    run::{Faults, Ran},
    saves::{self, Place},
};

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
    pub(crate) work: Work,
    interval_us: u64,
    /// Runs that are cut off, by turns.
    cuts: Vec<u64>,
    /// One record in so many fails its task, as long as failures are left.
    fails_one_in: Option<u64>,
    /// Whether checkpoints are increments where that can be.
    is_incremental: bool,
    /// Somebody else is asked about each record.
    asks: Option<Asks>,
    /// One operation of the disk in so many fails, in each run but the last, as long as some are left to the run.
    disk_fails_one_in: u64,
    /// One crash in so many flips a bit of the newest checkpoint.
    flips_one_in: Option<u64>,
    num_retained: u32,
    /// At one record in so many somebody wants a savepoint, from which the job may go on in other folders.
    saves_one_in: Option<u64>,
    /// Beside it, in the same job, numbers are copied: in regions of their own.
    copies: Option<Copies>,
    /// What starts again behind a failure.
    failover: FailoverStrategy,
}

thread_local! {
    /// What is left of the failures of the run.
    static FAILURES: Cell<u64> = const { Cell::new(0) };
    pub(crate) static DRAW: RefCell<Draw> = RefCell::new(Draw::new(0));
}

impl Crash {
    pub(crate) fn of(seed: u64) -> Self {
        let draw = &mut Draw::new(seed ^ 0xC4A5);
        let count = draw.within(6, 16);
        Self {
            seed,
            events: draw.within(50, 2_000),
            keys: draw.of(&[1, 5, 50]),
            bound_ms: draw.of(&[0, 5, 50]),
            work: Work::of(draw),
            interval_us: draw.of(&[50, 200, 1_000]),
            cuts: (0..count)
                .map(|_| draw.of(&[20, 150, 500, 1_500]) + draw.within(0, 200))
                .collect(),
            fails_one_in: if draw.one_in(2) { Some(draw.within(20, 400)) } else { None },
            is_incremental: !draw.one_in(4),
            asks: if draw.one_in(2) { Some(Asks::of(draw)) } else { None },
            disk_fails_one_in: draw.of(&[0, 20, 60, 200]),
            flips_one_in: if draw.one_in(2) { Some(draw.within(1, 4)) } else { None },
            num_retained: draw.within(1, 4) as u32,
            saves_one_in: if draw.one_in(2) { Some(draw.within(20, 600)) } else { None },
            copies: if draw.one_in(2) { Some(Copies::of(draw)) } else { None },
            failover: match draw.one_in(4) {
                true => FailoverStrategy::Full,
                false => FailoverStrategy::Region,
            },
        }
    }

    /// Whether somebody wants savepoints.
    pub(crate) fn has_savepoints(&self) -> bool {
        self.saves_one_in.is_some()
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
        let mut lines = self.work.expected(&self.input());
        lines.extend(self.copies.into_iter().flat_map(Copies::expected));
        lines.sort();
        lines
    }

    /// The job, and how many slots it needs.
    fn graph(
        &self,
        place: &Place,
        parallelism: u32,
    ) -> Result<(JobGraph<VertexCode>, u32), String> {
        let defaults = GraphDefaults {
            parallelism,
            max_parallelism: Some(8),
            auto_generate_uids: true,
            runtime_mode: RuntimeExecutionMode::Streaming,
        };
        let graph = self
            .environment(place)
            .job_graph("sim", &defaults)
            .map_err(|error| error.to_string())?;
        let slots = ExecutionGraph::expand(&graph).slot_count();
        Ok((graph, slots))
    }

    fn cluster(&self, place: &Place, slots: u32) -> ClusterOptions {
        let config = CheckpointConfig {
            interval: Some(Duration::from_micros(self.interval_us)),
            tolerable_failures: 1_000,
            num_retained: self.num_retained,
            ..CheckpointConfig::default()
        };
        ClusterOptions {
            shards: ShardSpec::spread(slots as usize, &[]),
            credits: 2,
            worker: WorkerOptions {
                task: TaskOptions {
                    quantum: Duration::from_micros(50),
                    frame_age_max: Duration::from_micros(100),
                    checkpoints: Checkpoints::ExactlyOnce,
                    is_incremental: self.is_incremental,
                },
                overdraft_bytes_max: 1 << 20,
                record_bytes_max: 1 << 20,
                heartbeat_every: Duration::from_millis(10),
                sort_bytes_max: 1 << 20,
                tmp_folders: PathBuf::from("/tmp").into(),
                allow_non_restored: false,
            },
            row_sources: None,
            checkpoints: CheckpointSettings {
                folder: Some(place.checkpoints()),
                recovery: place.recovery(),
                config,
                restart: RestartConfig::FixedDelay {
                    attempts: 100,
                    delay: Duration::from_micros(100),
                },
                failover: self.failover,
                ..CheckpointSettings::off()
            },
        }
    }

    fn environment(&self, place: &Place) -> Environment {
        let env = Environment::new();
        let saves_one_in = self.saves_one_in;
        let fail = failing(self.fails_one_in);
        if let Some(copies) = self.copies {
            copies.run(&env, &place.copies(), fail.clone());
        }
        let records = env
            .source(Collection::new(self.input()))
            .uid("source")
            .watermarks(bounded_out_of_orderness(millis(self.bound_ms)), |record: (u64, i64)| {
                Timestamp::from_millis(record.1)
            })
            .map(move |record| {
                fail();
                if let Some(one_in) = saves_one_in
                    && DRAW.with_borrow_mut(|draw| draw.one_in(one_in))
                {
                    saves::ask();
                }
                record
            });
        let records = match self.asks {
            None => records.rebalance(),
            Some(asks) if asks.is_behind => asks.ask(records.rebalance()).rebalance(),
            Some(asks) => asks.ask(records).rebalance(),
        };
        self.work.run(records, &place.out());
        env
    }
}

/// Fails one call in so many, as long as failures are left.
fn failing(one_in: Option<u64>) -> impl Fn() + Clone + Send + 'static {
    move || {
        if let Some(one_in) = one_in
            && FAILURES.get() > 0
            && DRAW.with_borrow_mut(|draw| draw.one_in(one_in))
        {
            FAILURES.set(FAILURES.get() - 1);
            panic!("{ON_PURPOSE}");
        }
    }
}

/// Tasks that fail in a run, of a seed that lets some: the machine may go down behind them, and while they start again.
const FAILURES_MAX: u64 = 3;
/// Operations of the disk that fail in a run, of a seed that lets some.
const DISK_FAILURES_MAX: u64 = 8;

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
    DRAW.with_borrow_mut(|draw| *draw = Draw::new(seed ^ 0xFA11));
    let draw = &mut Draw::new(seed ^ 0x9999);
    let mut total = Ran { trace_hash: seed, steps: 0, faults: Faults::default() };
    let (mut is_finished, mut place) = (false, Place::default());
    for (number, steps_max) in (0..).zip(crash.cuts.iter().copied().chain([STEPS_MAX])) {
        let is_last = steps_max == STEPS_MAX;
        let parallelism = draw.within(1, 4) as u32;
        let policy = draw.of(&[Policy::Mixed, Policy::Random, Policy::RoundRobin, Policy::Burst]);
        let run_seed = seed.wrapping_mul(31).wrapping_add(number);
        let one_in = if is_last { 0 } else { crash.disk_fails_one_in };
        disk.fail(draw.next(), one_in, DISK_FAILURES_MAX);
        let failures = if crash.fails_one_in.is_some() { FAILURES_MAX } else { 0 };
        FAILURES.set(failures);
        let ended =
            one_run(&crash, &place, run_seed, parallelism, steps_max, policy, &disk, &mut total)?;
        let failures = failures - FAILURES.get();
        total.faults.failures += failures;
        disk.fail(0, 0, 0);
        let moves = !is_last && draw.one_in(2);
        let saved = saves::take();
        match ended {
            End::Finished if moves && saved.is_some() => {}
            End::Finished => {
                is_finished = true;
                break;
            }
            End::Cut => {
                total.faults.crashes += 1;
                total.faults.both += u64::from(failures > 0);
                disk.crash(draw.next());
            }
        }
        if let Some(path) = saved.filter(|_| moves) {
            place = place.after(path);
            continue;
        }
        if crash.flips_one_in.is_some_and(|one_in| draw.one_in(one_in)) {
            total.faults.flips += u64::from(flip_a_bit(&crash, &place, &disk, draw)?);
        }
    }
    if !is_finished {
        return Err("the last run did not finish".to_owned());
    }
    total.faults.disk = disk.faults();
    // What it said it had done survives the machine.
    disk.crash(draw.next());
    compare(&crash, &place, &disk, false)?;
    // Started again it says that it has finished. A disk that could not be read has kept it from removing some files; that
    // is made up for then.
    let (graph, slots) = crash.graph(&place, 1)?;
    match assemble(graph, &crash.cluster(&place, slots), SubmitOptions::default()) {
        Err(ClusterError::Finished { .. }) => {}
        Err(error) => return Err(format!("started again behind its end: {error}")),
        Ok(_) => return Err("it had finished and would begin again".to_owned()),
    }
    compare(&crash, &place, &disk, true)?;
    let retained = if disk.faults() == 0 { Some(crash.num_retained) } else { None };
    only_the_last_checkpoints_are_left(&disk, &place.checkpoints(), retained)?;
    Ok(total)
}

/// Each line is there once; and no hidden file, if everything was cleaned up.
fn compare(crash: &Crash, place: &Place, disk: &SimDisk, is_clean: bool) -> Result<(), String> {
    let mut found = place.lines(disk, is_clean)?;
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
    Ok(())
}

/// Flips a bit of the newest checkpoint; whether it has stayed so. It flips back if the job cannot start with it, which it
/// has to say.
fn flip_a_bit(
    crash: &Crash,
    place: &Place,
    disk: &SimDisk,
    draw: &mut Draw,
) -> Result<bool, String> {
    let Some(manifest) = manifests(disk, &place.checkpoints()).pop() else { return Ok(false) };
    let Some(mut files) = named_by(disk, &manifest) else { return Ok(false) };
    files.insert(manifest);
    let files: Vec<_> = files.into_iter().collect();
    let file = draw.of(&files.iter().collect::<Vec<_>>());
    let bits = disk.get(file).map_or(0, |bytes| bytes.len() as u64 * 8);
    let bit = draw.within(0, bits.saturating_sub(1));
    if !disk.flip(file, bit) {
        return Ok(false);
    }
    // What an owner that was killed has left in a folder of output goes with the next one, also if that is refused.
    let held = || -> Vec<_> {
        let files = disk.files().into_iter();
        files.filter(|path| !path.ends_with(".wiesel-owner")).collect()
    };
    let before = held();
    let graph = crash.graph(place, 2)?;
    // What would start starts with the next run.
    let refused = match assemble(graph.0, &crash.cluster(place, graph.1), SubmitOptions::default())
    {
        Ok(_) | Err(ClusterError::Finished { .. }) => return Ok(true),
        Err(ClusterError::Storage(error @ StorageError::NoneWhole { .. })) => error.to_string(),
        Err(other) => return Err(format!("bit {bit} of {}: {other}", file.display())),
    };
    let name = file.strip_prefix(place.checkpoints()).unwrap_or(file);
    let name: PathBuf = name.components().skip(1).collect();
    if !refused.contains(&*name.to_string_lossy()) {
        return Err(format!("bit {bit} of {} is not named: {refused}", file.display()));
    }
    if held() != before {
        return Err(format!(
            "bit {bit} of {}: a start that was refused changed files",
            file.display()
        ));
    }
    disk.flip(file, bit);
    Ok(false)
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
    place: &Place,
    seed: u64,
    parallelism: u32,
    steps_max: u64,
    policy: Policy,
    disk: &SimDisk,
    total: &mut Ran,
) -> Result<End, String> {
    let (graph, slots) = crash.graph(place, parallelism)?;
    let cluster = crash.cluster(place, slots);
    let options = SubmitOptions { observe_every: Duration::from_secs(1), ..Default::default() };
    let assembly = match assemble(graph, &cluster, options) {
        // It was cut off behind its last checkpoint: starting it has made the last commit.
        Err(ClusterError::Finished { .. }) => return Ok(End::Finished),
        // A disk that fails may keep the job from starting.
        Err(error) if is_of_disk(&error) => return Ok(End::Cut),
        assembled => assembled.map_err(|error| error.to_string())?,
    };
    let handle = assembly.result_handle();
    saves::to(assembly.handle());
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
    let attempts = result.progress.tasks.iter().filter_map(|task| task.metrics.as_ref());
    let attempts = attempts.map(|metrics| u64::from(metrics.attempt.number));
    let (least, most) = (attempts.clone().min().unwrap_or(0), attempts.max().unwrap_or(0));
    total.faults.regions += most - least;
    if result.status != JobStatus::Finished {
        let failure = result.failure.map_or_else(|| "no failure".to_owned(), |f| f.to_string());
        if steps_max < STEPS_MAX && says_that_it_was_the_disk(&failure) {
            return Ok(End::Cut);
        }
        return Err(format!("{}: {failure}", result.status));
    }
    Ok(End::Finished)
}

/// Whether an error, or one that it comes from, is one of the disk's.
fn is_of_disk(error: &ClusterError) -> bool {
    let mut next: Option<&dyn Error> = Some(error);
    while let Some(error) = next {
        if says_that_it_was_the_disk(&error.to_string()) {
            return true;
        }
        next = error.source();
    }
    false
}

fn says_that_it_was_the_disk(text: &str) -> bool {
    text.contains("(os error 5)") || text.contains("(os error 28)")
}
