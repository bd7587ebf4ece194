//! The fused chain, driven as the task loop drives it, over frames that were written before.
//!
//! Compiled into the bench, which measures it, and into the kernels, which count its instructions.
//!
//! # What is always true
//!
//! 1. Nothing is inlined by hand: what the compiler makes of it is what it makes of a user's chain.

use std::{cell::Cell, hint::black_box, rc::Rc, sync::Arc, time::Duration};

use wiesel_core::{
    Meta, Nanos, SubtaskIndex, TaskFailure, TaskId, Timestamp, VertexId, metrics::TaskMetrics,
};
use wiesel_operators::{
    Chain, End, FilterBy, FlatMapTo, FrameStart, Head, MapTo, Nothing, Output, OutputPort, Pace,
    Progress, ProjectTo, Start, Status, TaskContext,
};
use wiesel_record::{Item, Record, Scratch};
use wiesel_shard::Shard;
use wiesel_wire::{Frame, FramePool, FrameShape, FrameWriter};

/// A bid, as in Nexmark but for fields that no step looks at.
#[derive(Record)]
#[record(crate = wiesel_record)]
pub struct Bid {
    pub auction: u64,
    pub bidder: u64,
    pub price: u64,
    pub channel: String,
    pub extra: String,
}

/// What a chain has let through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub count: u64,
    pub sum: u64,
}

impl Sum {
    #[inline]
    pub fn add(&mut self, value: u64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(black_box(value));
    }
}

/// The end of our chain.
struct SumOutput(Rc<Cell<Sum>>);

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

/// The input: so many bids, with event times or without.
pub fn frames(events: usize, has_time: bool) -> Vec<Frame> {
    let shape = FrameShape::of::<Bid>(has_time, false);
    let mut random = 42_u64;
    let mut next = move || {
        random = random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (random ^ (random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z ^ (z >> 27)
    };
    // With its index entry a bid takes at most 140 bytes, so a frame of 32 KiB holds more than 200.
    let frames_max = events / 200 + 1;
    let mut pool = FramePool::new(frames_max, 0).reserve(frames_max).expect("all of the pool");
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
    frames
}

fn is_wanted(price: u64, auction: u64, channel: &str) -> (bool, bool, bool) {
    (price > 500, !auction.is_multiple_of(4), channel.len() > 8)
}

/// The chain of one task.
pub struct Fused {
    head: Box<dyn Head>,
    sum: Rc<Cell<Sum>>,
    context: TaskContext,
}

impl Fused {
    /// All that is allocated, is allocated here.
    pub fn new() -> Self {
        let task = TaskId { vertex: VertexId(0), subtask: SubtaskIndex(0) };
        let metrics = Arc::new(TaskMetrics::default());
        let context = TaskContext::new(task, "chain", 1, 128, Shard::detached(), metrics);
        let sum = Rc::new(Cell::new(Sum::default()));
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
        let start = FrameStart::<Bid>::new();
        let head = start.head(link, &context).expect("a frame head needs nothing");
        Self { head: Box::new(head), sum, context }
    }

    /// As the task loop: `quantum` bounds a turn, and a stopped frame is called again.
    pub fn drive(&mut self, frame: &Frame, quantum: Duration) {
        let (stop, shard) = (self.context.stop(), self.context.shard());
        let mut cursor = 0;
        loop {
            let mut pace = Pace::new(stop.clone(), shard.quantum(quantum));
            if self.head.frame(0, frame, &mut cursor, &mut pace) == Progress::Done {
                break;
            }
        }
    }

    /// What came through.
    pub fn sum(&self) -> Sum {
        self.sum.get()
    }
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
