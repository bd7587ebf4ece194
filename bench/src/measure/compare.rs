//! Ours against theirs: alternating runs, each a process of its own on as many cores as it has shards.
//!
//! ```text
//!   block 1: input ours A B │ block 2: input B A ours │ block 3: …       who goes first rotates
//!            └ one pair per peer: theirs against ours, of the same block ┘
//! ```
//!
//! # What is always true
//!
//! 1. The first block is thrown away: it warms what can be warmed (files, page tables, the processor).
//! 2. A block is dropped, and counted, if the hypervisor took more than [`STOLEN_MAX`] of the time of one of its runs,
//!    or ours or the input's was switched away from its core more than [`SWITCHES_MAX`] times a second. (Peers with
//!    more threads than cores switch by themselves.) Another takes its place, up to as many more as were asked for.
//! 3. All runs of a workload give the same outputs, or nothing is reported.
//! 4. A figure above the input's that is under [`FLOOR_NS`] an event counts as that: the spread of the input itself.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use serde_json::Value;

use super::stats::{Ratio, median};
use crate::{args::Args, peers::Peer, workload::Workload};

/// The share of a run's time that may be stolen.
const STOLEN_MAX: f64 = 0.02;

/// Involuntary switches a second and core. A core that others want switches a few hundred times a second.
const SWITCHES_MAX: f64 = 400.0;

/// The least that a workload can be said to cost above its input, in nanoseconds an event.
const FLOOR_NS: f64 = 2.0;

/// What came of one run.
#[derive(Clone, Debug)]
struct Sample {
    seconds: f64,
    cpu_seconds: f64,
    switches: f64,
    stolen: f64,
    out: u64,
    sum: String,
    object: Value,
}

/// Ours against one peer.
#[derive(Clone, Debug)]
pub struct Comparison {
    pub workload: Workload,
    pub peer: Peer,
    pub parallelism: u32,
    pub events: u64,
    pub pairs: usize,
    /// Blocks that were disturbed and do not count.
    pub dropped: usize,
    /// Events a second, ours over theirs.
    pub throughput: Ratio,
    /// CPU above the input's, theirs over ours.
    pub cpu: Ratio,
    /// CPU in all, theirs over ours.
    pub total_cpu: Ratio,
    /// Median seconds and CPU seconds of ours and of theirs.
    pub ours: (f64, f64),
    pub theirs: (f64, f64),
    /// Of the workloads that are latencies: median of every field that ends in `_ns`, ours and theirs.
    pub latencies: Vec<(String, f64, f64)>,
}

/// A program and how it is called.
struct Runner {
    program: PathBuf,
    args: Vec<String>,
}

impl Runner {
    fn new(peer: Option<Peer>, workload: Workload, args: &Args) -> Result<Self, String> {
        let name = peer.map_or_else(|| workload.to_string(), |peer| peer.workload(workload));
        let mut line = vec![name];
        let mut option = |name: &str, value: String| line.extend([name.to_owned(), value]);
        option("--events", args.events.to_string());
        option("--parallelism", args.parallelism.to_string());
        option("--event-rate", args.event_rate.to_string());
        option("--seed", args.seed.to_string());
        if workload == Workload::Latency {
            option("--rate", args.rate.to_string());
            option("--mode", args.mode.name().to_owned());
        }
        if workload.is_of_sessions() {
            option("--disorder", args.disorder.to_string());
        }
        if workload == Workload::Sliding {
            option("--slides", args.slides.to_string());
        }
        if matches!(peer, None | Some(Peer::Bare)) {
            option("--engine", if peer.is_some() { "bare" } else { "wiesel" }.to_owned());
            option("--output", "json".to_owned());
            line.extend(args.quick.then(|| "--quick".to_owned()));
        }
        Ok(Self { program: peer.unwrap_or(Peer::Bare).program()?, args: line })
    }

    fn run(&self) -> Result<Sample, String> {
        let called = || format!("{} {}", self.program.display(), self.args.join(" "));
        let ran = Command::new(&self.program)
            .args(&self.args)
            .stderr(Stdio::piped())
            .output()
            .map_err(|error| format!("{}: {error}", called()))?;
        if !ran.status.success() {
            let said = String::from_utf8_lossy(&ran.stderr);
            return Err(format!("{} failed ({}): {}", called(), ran.status, said.trim()));
        }
        let object: Value = serde_json::from_slice(&ran.stdout)
            .map_err(|error| format!("{} did not print one object: {error}", called()))?;
        let number = |field: &str| {
            object[field].as_f64().ok_or_else(|| format!("{} gave no number `{field}`", called()))
        };
        Ok(Sample {
            seconds: number("seconds")?,
            cpu_seconds: number("cpu_seconds")?,
            switches: number("involuntary_switches")?,
            stolen: object["stolen_seconds"].as_f64().unwrap_or(0.0),
            out: object["out"].as_u64().unwrap_or(0),
            sum: object["sum"].as_str().unwrap_or_default().to_owned(),
            object,
        })
    }
}

/// Measures ours against every peer of `args.compare`.
///
/// # Errors
///
/// If a peer cannot be built or run, outputs differ, or the machine was too disturbed for three pairs.
pub fn compare(args: &Args) -> Result<Vec<Comparison>, String> {
    let mut peers = args.compare.clone();
    if args.workload == Workload::Q0Shuffle {
        // What they cost when their bids only point at the text is printed beside.
        for (owned, pointers) in
            [(Peer::Renoir, Peer::RenoirPointers), (Peer::Timely, Peer::TimelyPointers)]
        {
            if peers.contains(&owned) && !peers.contains(&pointers) {
                peers.push(pointers);
            }
        }
    }
    let ours = Runner::new(None, args.workload, args)?;
    let input = match args.workload.input() {
        Some(input) => Some(Runner::new(Some(Peer::Bare), input, args)?),
        None => None,
    };
    let theirs = peers.iter().map(|peer| Runner::new(Some(*peer), args.workload, args));
    let theirs = theirs.collect::<Result<Vec<_>, _>>()?;
    let _narrow = Narrow::to(args.parallelism as usize);
    let mut blocks: Vec<Block> = Vec::new();
    let (mut dropped, mut at) = (0, 0);
    while blocks.len() < args.runs && at <= 2 * args.runs {
        let block = Block::run(at, &ours, input.as_ref(), &theirs)?;
        at += 1;
        if at == 1 {
            continue; // Invariant 1.
        }
        if block.is_disturbed(args.parallelism) && !args.quick {
            dropped += 1;
        } else {
            blocks.push(block);
        }
    }
    if blocks.len() < 3 {
        return Err(format!(
            "only {} of {at} blocks were undisturbed: something else runs on this machine; run it alone",
            blocks.len()
        ));
    }
    let rows = peers.iter().enumerate();
    rows.map(|(index, peer)| comparison(args, *peer, index, &blocks, dropped)).collect()
}

/// One run of everybody.
struct Block {
    input: Option<Sample>,
    ours: Sample,
    theirs: Vec<Sample>,
}

impl Block {
    fn run(
        at: usize,
        ours: &Runner,
        input: Option<&Runner>,
        theirs: &[Runner],
    ) -> Result<Self, String> {
        let count = theirs.len() + 1;
        let mut samples: Vec<Option<Sample>> = vec![None; count];
        let input = input.map(Runner::run).transpose()?;
        for turn in 0..count {
            let who = (turn + at) % count;
            let runner = if who == 0 { ours } else { &theirs[who - 1] };
            samples[who] = Some(runner.run()?);
        }
        let mut samples = samples.into_iter().flatten();
        let ours = samples.next().ok_or("a block without a run of ours")?;
        Ok(Self { input, ours, theirs: samples.collect() })
    }

    fn is_disturbed(&self, parallelism: u32) -> bool {
        let core_seconds = |sample: &Sample| sample.seconds * f64::from(parallelism);
        let is_stolen = |sample: &Sample| sample.stolen > STOLEN_MAX * core_seconds(sample);
        let is_switched =
            |sample: &Sample| sample.switches > SWITCHES_MAX * core_seconds(sample).max(0.1);
        let own = || [&self.ours].into_iter().chain(&self.input);
        own().chain(&self.theirs).any(is_stolen) || own().any(is_switched)
    }
}

fn comparison(
    args: &Args,
    peer: Peer,
    index: usize,
    blocks: &[Block],
    dropped: usize,
) -> Result<Comparison, String> {
    let pairs = || blocks.iter().map(|block| (&block.ours, &block.theirs[index], &block.input));
    for (ours, theirs, _) in pairs() {
        if (ours.out, &ours.sum) != (theirs.out, &theirs.sum) {
            return Err(format!(
                "{}: ours gave {} outputs, sum {}; {peer} {}, sum {}",
                args.workload, ours.out, ours.sum, theirs.out, theirs.sum
            ));
        }
    }
    let floor = FLOOR_NS * 1e-9 * args.events as f64;
    let above = |sample: &Sample, input: &Option<Sample>| {
        let input = input.as_ref().map_or(0.0, |input| input.cpu_seconds);
        (sample.cpu_seconds - input).max(floor)
    };
    let ratio = |of: &dyn Fn(&Sample, &Sample, &Option<Sample>) -> f64| {
        Ratio::of(&pairs().map(|(ours, theirs, input)| of(ours, theirs, input)).collect::<Vec<_>>())
    };
    let of_ours = |of: &dyn Fn(&Sample) -> f64| median(pairs().map(|pair| of(pair.0)).collect());
    let of_theirs = |of: &dyn Fn(&Sample) -> f64| median(pairs().map(|pair| of(pair.1)).collect());
    let seconds = |sample: &Sample| sample.seconds;
    let cpu_seconds = |sample: &Sample| sample.cpu_seconds;
    let fields = blocks[0].theirs[index].object.as_object().into_iter().flat_map(|o| o.keys());
    let latencies = fields.filter(|field| field.ends_with("_ns")).map(|field| {
        let value = |sample: &Sample| sample.object[field].as_f64().unwrap_or(0.0);
        (field.clone(), of_ours(&value), of_theirs(&value))
    });
    Ok(Comparison {
        workload: args.workload,
        peer,
        parallelism: args.parallelism,
        events: args.events,
        pairs: blocks.len(),
        dropped,
        throughput: ratio(&|ours, theirs, _| theirs.seconds / ours.seconds),
        cpu: ratio(&|ours, theirs, input| above(theirs, input) / above(ours, input)),
        total_cpu: ratio(&|ours, theirs, _| theirs.cpu_seconds / ours.cpu_seconds),
        ours: (of_ours(&seconds), of_ours(&cpu_seconds)),
        theirs: (of_theirs(&seconds), of_theirs(&cpu_seconds)),
        latencies: latencies.collect(),
    })
}

/// Keeps this process, and so what it starts, on its first cores while it lives.
struct Narrow(Option<CpuSet>);

impl Narrow {
    fn to(cores: usize) -> Self {
        let this = Pid::from_raw(0);
        let Ok(all) = sched_getaffinity(this) else { return Self(None) };
        let mut few = CpuSet::new();
        let allowed = (0..CpuSet::count()).filter(|core| all.is_set(*core).unwrap_or(false));
        for core in allowed.take(cores) {
            let _ = few.set(core); // Below the count of the set.
        }
        // Where it is refused all run on all cores: as fair, only noisier.
        Self(sched_setaffinity(this, &few).is_ok().then_some(all))
    }
}

impl Drop for Narrow {
    fn drop(&mut self) {
        if let Some(all) = &self.0 {
            let _ = sched_setaffinity(Pid::from_raw(0), all);
        }
    }
}
