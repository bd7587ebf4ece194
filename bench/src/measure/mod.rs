//! What a run costs: time, CPU of all threads, memory, allocations, and how much the machine disturbed it.
//!
//! ```text
//!   before ─▶ the run ─▶ after        cost = after − before: CPU of every thread of the process, helpers included
//! ```
//!
//! # What is always true
//!
//! 1. The generator's tables are made before the clock starts; starting and ending an engine is part of the run.
//! 2. CPU seconds are user and system time of the process, so a helper thread cannot hide.

#![allow(clippy::disallowed_methods)] // It measures: the clock of the machine is what it is about.

pub mod compare;
pub mod gaps;
pub mod latency;
pub mod stats;

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::sys::{
    resource::{Usage as Rusage, UsageWho, getrusage},
    time::TimeVal,
};

use crate::{
    allocations,
    args::{Args, StateArgs},
    generator::Check,
    workload::Workload,
};

/// How a latency is measured, and how shards rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Shards never sleep.
    Spin,
    /// Shards sleep when there is nothing to do.
    Park,
}

impl Mode {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Spin, Self::Park];

    /// What the command line calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spin => "spin",
            Self::Park => "park",
        }
    }
}

/// One run, by whatever engine.
#[derive(Clone, Debug)]
pub struct Run {
    /// What is computed.
    pub workload: Workload,
    /// Events of the source.
    pub events: u64,
    /// Subtasks, shards, threads: as many as cores are used.
    pub parallelism: u32,
    /// Events per second of event time.
    pub event_rate: u64,
    /// Windows over each time, for `sliding`.
    pub slides: u64,
    /// Of a hundred events, how many come late, for `session` and `q11`.
    pub disorder: u64,
    /// Events per second of real time, for `latency`.
    pub rate: u64,
    /// How shards rest, for `latency` and `handoff`.
    pub mode: Mode,
    /// The generator's.
    pub seed: u64,
    /// Whether to say where the time went.
    pub profile: bool,
    /// What `checkpoint`, `state` and `recovery` keep and do.
    pub state: StateArgs,
}

impl From<&Args> for Run {
    fn from(args: &Args) -> Self {
        Self {
            workload: args.workload,
            events: args.events,
            parallelism: args.parallelism,
            event_rate: args.event_rate,
            slides: args.slides,
            disorder: args.disorder,
            rate: args.rate,
            mode: args.mode,
            seed: args.seed,
            profile: args.profile,
            state: args.state,
        }
    }
}

/// The cost of a run.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// From start to end.
    pub elapsed: Duration,
    /// User and system time of all threads.
    pub cpu: Duration,
    /// Times that the kernel took a core away from one of the threads.
    pub involuntary_switches: u64,
    /// Time that the hypervisor gave to others, of all cores.
    pub stolen: Duration,
    /// Calls of the allocator.
    pub allocations: u64,
}

/// A run and what came out of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was run.
    pub run: Run,
    /// Who ran it.
    pub engine: &'static str,
    /// What it cost.
    pub usage: Usage,
    /// The largest resident set of the process so far, in bytes.
    pub peak_rss_bytes: u64,
    /// The outputs.
    pub check: Check,
    /// What only this workload says: fields of a report.
    pub extra: Vec<(&'static str, serde_json::Value)>,
}

/// A histogram of latencies: 1 ns to a minute, three digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("bounds are sane")
}

impl Usage {
    /// With the outputs, what a report says.
    pub fn outcome(self, run: &Run, engine: &'static str, check: Check) -> Outcome {
        let max_rss_kib = usage_so_far().map_or(0, |usage| usage.max_rss());
        let peak_rss_bytes = u64::try_from(max_rss_kib).unwrap_or(0) * 1_024;
        let extra = Vec::new();
        Outcome { run: run.clone(), engine, usage: self, peak_rss_bytes, check, extra }
    }
}

/// Runs `code` and says what it cost.
pub fn measured<R>(code: impl FnOnce() -> R) -> (R, Usage) {
    let (usage, stolen) = (usage_so_far(), stolen_so_far());
    let allocations = allocations::count();
    let started = Instant::now();
    let result = code();
    let elapsed = started.elapsed();
    let allocations = allocations::count() - allocations;
    let (before, after) = (usage, usage_so_far());
    let cpu = |usage: &Option<Rusage>| {
        usage.map_or(Duration::ZERO, |usage| {
            duration(usage.user_time()) + duration(usage.system_time())
        })
    };
    let switches = |usage: &Option<Rusage>| {
        usage.map_or(0, |usage| usage.involuntary_context_switches().unsigned_abs())
    };
    let usage = Usage {
        elapsed,
        cpu: cpu(&after).saturating_sub(cpu(&before)),
        involuntary_switches: switches(&after) - switches(&before),
        stolen: stolen_so_far().saturating_sub(stolen),
        allocations,
    };
    (result, usage)
}

/// User and system time of all threads of the process so far.
pub fn cpu_so_far() -> Duration {
    usage_so_far()
        .map_or(Duration::ZERO, |usage| duration(usage.user_time()) + duration(usage.system_time()))
}

/// `None` where the kernel does not say, which Linux always does.
fn usage_so_far() -> Option<Rusage> {
    getrusage(UsageWho::RUSAGE_SELF).ok()
}

fn duration(time: TimeVal) -> Duration {
    let seconds = Duration::from_secs(time.tv_sec().unsigned_abs());
    seconds + Duration::from_micros(time.tv_usec().unsigned_abs())
}

/// The eighth figure of the first line of `/proc/stat`, in ticks of 10 ms.
fn stolen_so_far() -> Duration {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = stat.split_whitespace().nth(8).and_then(|ticks| ticks.parse::<u64>().ok());
    Duration::from_millis(10 * ticks.unwrap_or(0))
}
