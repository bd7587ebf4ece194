//! Nanoseconds per record of a join, its head driven as a task drives it, and as a hash map of vectors would do it.
//!
//! `cargo run --release -p wiesel-operators --example join_bench [-- RECORDS [ROUNDS]]`
//!
//! ```text
//!   spread   three offers for each seller, who comes first: Nexmark's q3
//!   skewed   of four offers three are of a hundred sellers: long lists on one side, one record on the other
//!   probed   a hundred sellers with long lists of offers; then sellers, each of whom reads a whole list
//! ```
//!
//! Printed is the median over the rounds. Both ways must find as many pairs; the test suite runs it small.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a bench reads the clock")]

use std::{
    cell::Cell,
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use wiesel_core::{
    Meta, Nanos, SubtaskIndex, TaskFailure, TaskId, Timestamp, VertexId, metrics::TaskMetrics,
};
use wiesel_operators::{
    End, Head, JoinStart, KeyedCoHeadStart, Output, OutputPort, Pace, Progress, Start, Status,
    TaskContext, Unbounded,
};
use wiesel_record::{Item, Key, Out, Record, Scratch};
use wiesel_shard::Shard;
use wiesel_wire::{Frame, FramePool, FrameShape, FrameWriter, LocalPool};

/// An offer: number and seller. A seller: id and name.
type Offer = (u64, u64);
type Seller = (u64, String);
type Pair = (u64, String);

/// Records of a batch: they share frames where they are of one side.
enum Batch {
    Offers(Vec<Offer>),
    Sellers(Vec<Seller>),
}

fn random(number: u64) -> u64 {
    let z = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (z ^ (z >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 16
}

fn seller(id: u64) -> Seller {
    (id, format!("seller number {id}"))
}

/// Batches of a thousand: a quarter of them sellers, then offers of sellers that have come.
fn offers(records: u64, seller_of: impl Fn(u64, u64) -> u64) -> Vec<Batch> {
    let mut batches = Vec::new();
    for batch in 0..records / 1_000 {
        let (known, sellers) = (batch * 250, batch * 250..batch * 250 + 250);
        batches.push(Batch::Sellers(sellers.map(seller).collect()));
        let numbers = batch * 750..batch * 750 + 750;
        let offer = |number| (number, seller_of(number, known + 250));
        batches.push(Batch::Offers(numbers.map(offer).collect()));
    }
    batches
}

fn shape(name: &str, records: u64) -> Vec<Batch> {
    match name {
        "spread" => offers(records, |number, known| random(number) % known),
        "skewed" => offers(records, |number, known| match random(number) % 4 {
            0 => random(number ^ 7) % known,
            _ => random(number ^ 9) % 100,
        }),
        _ => {
            let list = (0..records).map(|number| (number, random(number) % 100)).collect();
            let readers = (0..1_000).map(|id| seller(id % 100)).collect();
            vec![Batch::Offers(list), Batch::Sellers(readers)]
        }
    }
}

/// An output that counts.
struct Count(Rc<Cell<u64>>);

impl OutputPort for Count {
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

impl Output<Pair> for Count {
    fn append<I: Item<Pair>>(&mut self, item: I, _meta: Meta) {
        let (number, name) = item.view();
        self.0.set(self.0.get().wrapping_add(number ^ name.len() as u64));
    }
    fn watermark(&mut self, _watermark: Timestamp) {}
    fn status(&mut self, _status: Status) {}
}

fn frames<T: Record>(
    records: &[T],
    key_of: impl Fn(&T) -> u64,
    pool: &mut LocalPool,
    scratch: &mut Scratch,
) -> Vec<Frame> {
    let shape = FrameShape::of::<T>(false, true);
    let mut frames = Vec::new();
    let mut writer = FrameWriter::open(pool.take().expect("enough frames"), shape);
    for record in records {
        let meta = Meta { time: None, hash: Some(<u64 as Key>::key_hash(key_of(record))) };
        if writer.append::<T, _>(&record, meta, scratch).is_err() {
            frames.push(writer.close());
            writer = FrameWriter::open(pool.take().expect("enough frames"), shape);
            writer.append::<T, _>(&record, meta, scratch).expect("a frame holds a record");
        }
    }
    frames.push(writer.close());
    frames
}

fn drive(head: &mut dyn Head, context: &TaskContext, input: usize, frame: &Frame) {
    let mut cursor = 0;
    loop {
        context.stop().clear();
        let quantum = context.shard().quantum(Duration::from_secs(3_600));
        let pace = &mut Pace::new(context.stop().clone(), quantum);
        if head.frame(input, frame, &mut cursor, pace) == Progress::Done {
            return;
        }
    }
}

/// Nanoseconds, and a sum over all pairs.
fn by_head(batches: &[Batch]) -> (f64, u64) {
    let id = TaskId { vertex: VertexId(1), subtask: SubtaskIndex(0) };
    let metrics = Arc::<TaskMetrics>::default();
    let context = TaskContext::new(id, "join", 1, 128, Shard::detached(), metrics);
    let sum = Rc::new(Cell::new(0));
    let function = |(number, _): (u64, u64), (_, name): (u64, &str), out: &mut dyn Out<Pair>| {
        out.emit((number, name));
    };
    let start = KeyedCoHeadStart::<Offer, Seller, u64, _, _, _>::new(
        |(_, seller)| seller,
        |(id, _): (u64, &str)| id,
        JoinStart::<Pair, _, _>::new(function, Unbounded),
    );
    let mut head = start.head(End::new(Count(Rc::clone(&sum)), &context), &context).expect("fits");
    let mut pool = FramePool::new(64, 0).reserve(64).expect("memory");
    let (mut scratch, mut spent) = (Scratch::new(), Duration::ZERO);
    let mut run = |input, frames: Vec<Frame>, pool: &mut LocalPool| {
        let started = Instant::now();
        frames.iter().for_each(|frame| drive(&mut head, &context, input, frame));
        spent += started.elapsed();
        frames.into_iter().for_each(|frame| pool.give(frame));
    };
    for batch in batches {
        match batch {
            Batch::Offers(offers) => offers.chunks(10_000).for_each(|offers| {
                let frames = frames(offers, |offer| offer.1, &mut pool, &mut scratch);
                run(0, frames, &mut pool);
            }),
            Batch::Sellers(sellers) => {
                let frames = frames(sellers, |seller| seller.0, &mut pool, &mut scratch);
                run(1, frames, &mut pool);
            }
        }
    }
    (spent.as_nanos() as f64, sum.get())
}

/// What `rustc-hash` does with one `u64`.
#[derive(Default)]
struct Fx(u64);

impl Hasher for Fx {
    fn write(&mut self, _: &[u8]) {}
    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.wrapping_add(word)).wrapping_mul(0xf135_7aea_2e62_a9c5);
    }
    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
}

fn by_map(batches: &[Batch]) -> (f64, u64) {
    let mut map = HashMap::<u64, (Vec<u64>, Vec<String>), BuildHasherDefault<Fx>>::default();
    let mut sum = 0_u64;
    let mut add = |number: u64, name: &str| sum = sum.wrapping_add(number ^ name.len() as u64);
    let started = Instant::now();
    for batch in batches {
        match batch {
            Batch::Offers(offers) => {
                for (number, seller) in offers {
                    let (numbers, names) = map.entry(*seller).or_default();
                    names.iter().for_each(|name| add(*number, name));
                    numbers.push(*number);
                }
            }
            Batch::Sellers(sellers) => {
                for (id, name) in sellers {
                    let (numbers, names) = map.entry(*id).or_default();
                    numbers.iter().for_each(|number| add(*number, name));
                    names.push(name.clone());
                }
            }
        }
    }
    (started.elapsed().as_nanos() as f64, sum)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse().expect("a number"));
    let (records, rounds) = (args.next().unwrap_or(2_000_000), args.next().unwrap_or(5));
    println!("ns per record   head    map   ratio");
    for name in ["spread", "skewed", "probed"] {
        let batches = shape(name, records);
        let (mut heads, mut maps) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let ((head, one), (map, two)) = (by_head(&batches), by_map(&batches));
            assert_eq!(one, two, "{name}: other pairs");
            heads.push(head / records as f64);
            maps.push(map / records as f64);
        }
        let (head, map) = (median(heads), median(maps));
        println!("{name:<13} {head:>6.1} {map:>6.1}  {:>5.2}x", map / head);
    }
}

#[test]
fn a_join_finds_the_pairs_that_a_map_finds() {
    for name in ["spread", "skewed", "probed"] {
        let batches = shape(name, 20_000);
        assert_eq!(by_head(&batches).1, by_map(&batches).1, "{name}");
    }
}
