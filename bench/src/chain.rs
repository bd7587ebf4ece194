//! `chain`: a fused chain over archived frames against the same loop by hand.
//!
//! ```text
//!   frames of Bid ─▶ filter ─▶ filter ─▶ filter ─▶ project(extra) ─▶ flat_map(words) ─▶ map ─▶ map ─▶ sum
//! ```
//!
//! Both sides read the same frames through the same archived type; only what the engine adds differs: the view, the
//! pace (stop and quantum after every record), the `dyn` call per frame and per emitted word, and event times.

use std::{hint::black_box, sync::Arc, time::Duration};

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
    args::Args,
    pairs::{Ratio, alternate, median, ratio},
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

/// What was measured.
#[derive(Debug)]
pub struct Report {
    pairs: usize,
    events: usize,
    both: Ratio,
    without_time: (Ratio, f64, f64),
    with_time: (Ratio, f64, f64),
    allocations_per_event: f64,
    sum: Sum,
}

/// Measures.
pub fn run(args: &Args) -> Result<Report, String> {
    let variants = [false, true].map(|has_time| frames(args.events, has_time));
    let mut by_variant = Vec::new();
    let mut allocations_per_event: f64 = 0.0;
    let mut sum = Sum::default();
    for variant in &variants {
        let (ours, by_hand) = (fused(variant), bare(variant));
        if ours != by_hand {
            return Err(format!("the fused chain gives {ours:?}, the loop by hand {by_hand:?}"));
        }
        if ours.count == 0 {
            return Err("nothing came through the chain: it measures nothing".to_owned());
        }
        sum = ours;
        let mut head = head_of(variant);
        let before = allocations::count();
        drive(&mut head, variant);
        let during = allocations::count() - before;
        allocations_per_event = allocations_per_event.max(during as f64 / args.events as f64);
        by_variant.push(alternate(
            args.runs,
            || timed(|| fused(variant)),
            || timed(|| bare(variant)),
        ));
    }
    let total: Vec<_> =
        by_variant[0].iter().zip(&by_variant[1]).map(|(a, b)| (a.0 + b.0, a.1 + b.1)).collect();
    let of = |pairs: &[(Duration, Duration)]| {
        let ns = |d: Duration| d.as_nanos() as f64 / args.events as f64;
        let ours = median(pairs.iter().map(|pair| ns(pair.0)).collect());
        let theirs = median(pairs.iter().map(|pair| ns(pair.1)).collect());
        (ratio(pairs), ours, theirs)
    };
    Ok(Report {
        pairs: args.runs,
        events: args.events,
        both: ratio(&total),
        without_time: of(&by_variant[0]),
        with_time: of(&by_variant[1]),
        allocations_per_event,
        sum,
    })
}

fn timed(run: impl FnOnce() -> Sum) -> Duration {
    let started = ThreadTime::now();
    black_box(run());
    started.elapsed()
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

fn head_of(variant: &Variant) -> (Box<dyn Head>, std::rc::Rc<std::cell::Cell<Sum>>, TaskContext) {
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
    let _ = variant.has_time;
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
    let mut chain = head_of(variant);
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

impl Report {
    /// One object.
    pub fn json(&self) -> String {
        serde_json::json!({
            "workload": "chain",
            "compare": "bare",
            "pairs": self.pairs,
            "events": self.events,
            "total_cpu_ratio": self.both.median,
            "total_cpu_ratio_low": self.both.low,
            "total_cpu_ratio_high": self.both.high,
            "total_cpu_ratio_without_time": self.without_time.0.median,
            "total_cpu_ratio_with_time": self.with_time.0.median,
            "allocations_per_event": self.allocations_per_event,
            "out": self.sum.count,
            "sum": format!("{:016x}", self.sum.sum),
        })
        .to_string()
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut lines = vec![format!(
            "chain against the loop by hand: {} pairs of {} events, CPU; above 1 the chain is faster",
            self.pairs, self.events
        )];
        for (name, (ratio, ours, theirs)) in
            [("without event time", &self.without_time), ("with event time", &self.with_time)]
        {
            lines.push(format!(
                "  {name:<20} bare / wiesel {:.3} [{:.3}, {:.3}]   {ours:.1} ns against {theirs:.1} ns an event",
                ratio.median, ratio.low, ratio.high
            ));
        }
        lines.push(format!(
            "  both                 bare / wiesel {:.3} [{:.3}, {:.3}]",
            self.both.median, self.both.low, self.both.high
        ));
        lines.push(format!(
            "  allocations per event {:.6}; {} words came through, check sum {:016x}",
            self.allocations_per_event, self.sum.count, self.sum.sum
        ));
        lines.join("\n") + "\n"
    }
}
