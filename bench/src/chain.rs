//! `chain`: a fused chain over archived frames against the same loop by hand.
//!
//! ```text
//!   frames of Bid ─▶ filter ─▶ filter ─▶ filter ─▶ project(extra) ─▶ flat_map(words) ─▶ map ─▶ map ─▶ sum
//! ```
//!
//! Both sides read the same frames through the same archived type; only what the engine adds differs: the view, the
//! pace (stop and quantum after every record), the `dyn` call per frame and per emitted word, and event times.

#![allow(clippy::disallowed_methods)] // It measures.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use cpu_time::ThreadTime;
use wiesel_core::{
    Meta, Nanos, SubtaskIndex, TaskFailure, TaskId, Timestamp, VertexId, metrics::TaskMetrics,
};
use wiesel_operators::{
    Chain, End, FilterBy, FlatMapTo, FrameStart, Head, MapTo, Nothing, Output, OutputPort, Pace,
    Progress, ProjectTo, Start, Status, TaskContext,
};
use wiesel_record::{Item, Record, Scratch};
use wiesel_shard::Shard;
use wiesel_wire::{Frame, FramePool, FrameShape, FrameView, FrameWriter};

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

/// A bid, as in Nexmark but for fields that no step looks at.
#[derive(Record)]
#[record(crate = wiesel_record)]
struct Bid {
    auction: u64,
    bidder: u64,
    price: u64,
    channel: String,
    extra: String,
}

/// What a chain has let through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    sum: u64,
}

impl Sum {
    #[inline]
    fn add(&mut self, value: u64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(black_box(value));
    }
}

/// The end of our chain.
struct SumOutput(std::rc::Rc<std::cell::Cell<Sum>>);

impl OutputPort for SumOutput {
    fn poll(&mut self, _now: Nanos) -> bool {
        false
    }
    fn is_ready(&self) -> bool {
        true
    }
    fn flush(&mut self) {}
    fn flush_aged(&mut self, _now: Nanos, _age: Duration) {}
    fn end(&mut self) {}
    fn is_drained(&self) -> bool {
        true
    }
    fn take_failure(&mut self) -> Option<TaskFailure> {
        None
    }
}

impl Output<u64> for SumOutput {
    #[inline]
    fn append<I: Item<u64>>(&mut self, item: I, meta: Meta) {
        black_box(meta.time);
        let mut sum = self.0.get();
        sum.add(item.view());
        self.0.set(sum);
    }
    fn watermark(&mut self, _watermark: Timestamp) {}
    fn status(&mut self, _status: Status) {}
}

/// One variant of the workload.
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
        let mut head = head_of();
        let before = allocations::count();
        drive(&mut head, variant);
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
    let events =
        usize::try_from(events).map_err(|_| "--events is too large for frames in memory")?;
    Ok([false, true].map(|has_time| frames(events, has_time)))
}

/// The input: written once, read by both.
fn frames(events: usize, has_time: bool) -> Variant {
    let shape = FrameShape::of::<Bid>(has_time, false);
    let mut random = 42_u64;
    let mut next = move || {
        random = random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (random ^ (random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z ^ (z >> 27)
    };
    let pool = FramePool::new(events / 100 + 8, 0);
    let mut pool = pool.reserve(events / 100 + 8).expect("all of the pool");
    let mut scratch = Scratch::new();
    let mut frames = Vec::new();
    let mut open = || {
        FrameWriter::open(pool.take().expect("the pool was made large enough for the input"), shape)
    };
    let mut writer = open();
    for event in 0..events {
        let (a, b) = (next(), next());
        let words = ["late", "bid", "on", "a", "weasel", "at", "the", "auction", "tonight"];
        let extra: Vec<&str> =
            (0..4 + b % 5).map(|at| words[(b >> (8 + 4 * at)) as usize % words.len()]).collect();
        let bid = Bid {
            auction: a % 1_000,
            bidder: (a >> 20) % 5_000,
            price: (a >> 40) % 10_007,
            channel: format!("channel-{}", b % 100),
            extra: extra.join(" "),
        };
        let meta = Meta::at(Timestamp::from_millis(event as i64));
        loop {
            if writer.append::<Bid, _>(&&bid, meta, &mut scratch).is_ok() {
                break;
            }
            frames.push(std::mem::replace(&mut writer, open()).close());
        }
    }
    frames.push(writer.close());
    Variant { frames, has_time }
}

fn is_wanted(price: u64, auction: u64, channel: &str) -> (bool, bool, bool) {
    (price > 500, !auction.is_multiple_of(4), channel.len() > 8)
}

fn head_of() -> (Box<dyn Head>, std::rc::Rc<std::cell::Cell<Sum>>, TaskContext) {
    let task = TaskId { vertex: VertexId(0), subtask: SubtaskIndex(0) };
    let metrics = Arc::new(TaskMetrics::default());
    let context = TaskContext::new(task, "chain", 1, 128, Shard::detached(), metrics);
    let sum = std::rc::Rc::new(std::cell::Cell::new(Sum::default()));
    let chain = Nothing::<Bid>::new();
    let chain = FilterBy::new(chain, |bid: BidView<'_>| is_wanted(bid.price, 0, "").0);
    let chain = FilterBy::new(chain, |bid: BidView<'_>| is_wanted(0, bid.auction, "").1);
    let chain = FilterBy::new(chain, |bid: BidView<'_>| is_wanted(0, 0, bid.channel).2);
    let chain = project_extra(chain);
    let chain = split_words(chain);
    let chain =
        MapTo::new(chain, |word: &str| word.len() as u64 * 31 + u64::from(word.as_bytes()[0]));
    let chain = MapTo::new(chain, |hash: u64| hash.rotate_left(7) ^ 0x5DEE);
    let end = End::new(SumOutput(sum.clone()), &context);
    let link = chain.finish(end, &context);
    let head = FrameStart::<Bid>::new().head(link, &context).expect("a frame head needs nothing");
    (Box::new(head), sum, context)
}

/// Helpers in whose signatures the compiler finds the lives of the views.
fn project_extra<C: Chain<Bid, Out = Bid>>(chain: C) -> impl Chain<Bid, Out = String> {
    fn extra<'a>(bid: BidView<'a>) -> &'a str {
        bid.extra
    }
    ProjectTo::<C, _, String>::new(chain, extra)
}

fn split_words<C: Chain<Bid, Out = String>>(chain: C) -> impl Chain<Bid, Out = String> {
    FlatMapTo::<C, _, String>::new(chain, |text: &str, out: &mut dyn wiesel_record::Out<String>| {
        text.split(' ').for_each(|word| out.emit(word));
    })
}

fn drive(
    (head, _, context): &mut (Box<dyn Head>, std::rc::Rc<std::cell::Cell<Sum>>, TaskContext),
    variant: &Variant,
) {
    // As the task loop: a quantum bounds a turn, and a stopped frame is called again.
    let quantum = Duration::from_micros(50);
    for frame in &variant.frames {
        let mut cursor = 0;
        loop {
            let mut pace = Pace::new(context.stop().clone(), context.shard().quantum(quantum));
            if head.frame(0, frame, &mut cursor, &mut pace) == Progress::Done {
                break;
            }
        }
    }
}

fn fused(variant: &Variant) -> Sum {
    let mut chain = head_of();
    drive(&mut chain, variant);
    chain.1.get()
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
