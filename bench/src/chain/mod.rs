//! `chain`: a fused chain over archived frames against the same loop by hand.
//!
//! ```text
//!   frames of Bid ─▶ filter ─▶ filter ─▶ filter ─▶ project(extra) ─▶ flat_map(words) ─▶ map ─▶ map ─▶ sum
//! ```
//!
//! Both sides read the same frames through the same archived type; only what the engine adds differs: the view, the
//! pace (stop and quantum after every record), the `dyn` call per frame and per emitted word, and event times.

#![allow(clippy::disallowed_methods)] // It measures.

mod fused;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use cpu_time::ThreadTime;
use wiesel_wire::{Frame, FrameView};

use self::fused::{Bid, Fused, Sum};
use crate::{
    allocations,
    args::{Args, Engine},
    generator::Check,
    measure::{
        Outcome, Run,
        compare::Comparison,
        measured,
        stats::{Ratio, median},
    },
    peers::Peer,
    workload::Workload,
};

/// Of a turn of ours.
const QUANTUM: Duration = Duration::from_micros(50);

/// Two times 150 bytes each: 15 GB.
const EVENTS_MAX: u64 = 50_000_000;

/// One variant of the workload: written once, read by both.
struct Variant {
    frames: Vec<Frame>,
    has_time: bool,
}

/// One run over frames with and without event times.
///
/// # Errors
///
/// If nothing came through the chain.
pub fn run(run: &Run, engine: Engine) -> Result<Outcome, String> {
    let variants = variants(run.events)?;
    let through = match engine {
        Engine::Wiesel => fused,
        Engine::Bare => bare,
    };
    let (sum, usage) = measured(|| variants.each_ref().map(through)[0]);
    let check = Check { out: sum.count, sum: sum.sum };
    Ok(usage.outcome(run, engine.name(), check))
}

/// Ours against the loop by hand, in this process: CPU of the thread, alternately, over the same frames.
///
/// # Errors
///
/// If they give different results, or nothing came through.
pub fn compare(args: &Args) -> Result<Comparison, String> {
    let variants = variants(args.events)?;
    for variant in &variants {
        let (ours, by_hand) = (fused(variant), bare(variant));
        if ours != by_hand {
            return Err(format!("the fused chain gives {ours:?}, the loop by hand {by_hand:?}"));
        }
        if ours.count == 0 {
            return Err("nothing came through the chain: it measures nothing".to_owned());
        }
        let mut chain = Fused::new();
        let before = allocations::count();
        variant.frames.iter().for_each(|frame| chain.drive(frame, QUANTUM));
        let during = allocations::count() - before;
        if during > 0 {
            return Err(format!("the fused chain allocated {during} times"));
        }
    }
    let both = |run: fn(&Variant) -> Sum| {
        let (cpu, wall) = (ThreadTime::now(), Instant::now());
        black_box(variants.each_ref().map(run));
        (wall.elapsed().as_secs_f64(), cpu.elapsed().as_secs_f64())
    };
    let pairs: Vec<_> = (0..args.runs)
        .map(|at| match at % 2 {
            0 => (both(fused), both(bare)),
            _ => {
                let theirs = both(bare);
                (both(fused), theirs)
            }
        })
        .collect();
    let ratio = |of: &dyn Fn(&(f64, f64)) -> f64| {
        Ratio::of(&pairs.iter().map(|(o, t)| of(t) / of(o)).collect::<Vec<_>>())
    };
    let (ours, theirs): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
    let middle = |runs: &[(f64, f64)]| {
        let (wall, cpu): (Vec<_>, Vec<_>) = runs.iter().copied().unzip();
        (median(wall), median(cpu))
    };
    Ok(Comparison {
        workload: Workload::Chain,
        peer: Peer::Bare,
        parallelism: 1,
        events: 2 * args.events, // Each frame is read twice: with and without times.
        pairs: pairs.len(),
        dropped: 0,
        throughput: ratio(&|(wall, _)| *wall),
        cpu: ratio(&|(_, cpu)| *cpu), // The frames are there before: there is no input to leave out.
        total_cpu: ratio(&|(_, cpu)| *cpu),
        ours: middle(&ours),
        theirs: middle(&theirs),
        latencies: Vec::new(),
    })
}

/// Frames without and with event times.
fn variants(events: u64) -> Result<[Variant; 2], String> {
    if events > EVENTS_MAX {
        return Err(format!(
            "--events {events}: `chain` keeps its input in memory, and takes at most {EVENTS_MAX}"
        ));
    }
    let events = events as usize;
    Ok([false, true].map(|has_time| Variant { frames: fused::frames(events, has_time), has_time }))
}

fn fused(variant: &Variant) -> Sum {
    let mut chain = Fused::new();
    variant.frames.iter().for_each(|frame| chain.drive(frame, QUANTUM));
    chain.sum()
}

fn bare(variant: &Variant) -> Sum {
    let mut sum = Sum::default();
    for frame in &variant.frames {
        let view = FrameView::<Bid>::new(frame);
        for at in 0..view.len() {
            let record = view.record(at);
            let bid = record.archived();
            if variant.has_time {
                black_box(view.time(at));
            }
            if bid.price.to_native() > 500
                && !bid.auction.to_native().is_multiple_of(4)
                && bid.channel.len() > 8
            {
                for word in bid.extra.as_str().split(' ') {
                    let hash = word.len() as u64 * 31 + u64::from(word.as_bytes()[0]);
                    sum.add(hash.rotate_left(7) ^ 0x5DEE);
                }
            }
        }
    }
    sum
}
