//! Nanoseconds per record through an edge: hash partition over two channels, write and read in one thread.
//!
//! `cargo run --release -p wiesel-exchange --example append_bench` prints one line a kind of record. The baseline beside
//! each is the same loop into one frame that is never sent: what the encoding alone costs.

#![allow(clippy::disallowed_methods, reason = "it measures, on a plain thread beside the seam")]

use std::{hint::black_box, time::Instant};

use wiesel_core::{Meta, StopFlag, Timestamp};
use wiesel_exchange::{
    ChannelReceiver, GateEvent, InputGate, Overdraft, PartitionOptions, Partitioner,
    ResultPartition, channel,
};
use wiesel_record::{Record, Scratch, Viewed};
use wiesel_wire::{FramePool, FrameShape, FrameView, FrameWriter};

const RECORDS: u64 = 20_000_000;
const CHANNELS: usize = 2;
const CREDITS: usize = 4;

/// A hash whose upper half chooses the key group.
fn hash(i: u64) -> u64 {
    i.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Appends to a partition and reads its frames as soon as it says stop. Returns records and a sum over them.
fn exchange<'w, T: Record>(
    shape: FrameShape,
    records: u64,
    make: impl Fn(u64) -> T::View<'w>,
    sum: impl Fn(T::View<'_>) -> u64,
) -> (u64, u64) {
    let pool = FramePool::new(CHANNELS * (CREDITS + 2), 0);
    let (senders, receivers): (Vec<_>, Vec<ChannelReceiver>) =
        (0..CHANNELS).map(|_| channel(CREDITS, None, None)).unzip();
    let options = PartitionOptions {
        partitioner: Partitioner::Hash { max_parallelism: 128 },
        shape,
        subtask: 0,
        seed: 0,
        record_bytes_max: 1 << 20,
    };
    let stop = StopFlag::new();
    let frames = pool.reserve(CHANNELS + 1).expect("the pool is large enough");
    let mut partition =
        ResultPartition::new(&options, senders, frames, stop.clone(), Overdraft::new(1 << 20));
    let mut gates: Vec<_> = receivers.into_iter().map(|r| InputGate::new(vec![r])).collect();
    let (mut count, mut total) = (0, 0_u64);
    let mut drain = |partition: &mut ResultPartition| {
        for gate in &mut gates {
            while let Some(GateEvent::Data(element)) = gate.poll() {
                for (record, meta) in FrameView::<T>::new(element.frame()) {
                    total = total.wrapping_add(sum(record.get()) ^ meta.hash.unwrap_or(0));
                    count += 1;
                }
                gate.done_with(element);
            }
        }
        partition.poll();
    };
    for i in 0..records {
        let meta = Meta::at(Timestamp::from_millis(i as i64)).with_hash(hash(i));
        partition.append::<T, _>(&Viewed(make(i)), meta);
        if stop.is_set() {
            stop.clear();
            drain(&mut partition);
        }
    }
    partition.end();
    while !partition.is_drained() {
        drain(&mut partition);
    }
    assert_eq!(pool.outstanding(), 0);
    (count, total)
}

/// The encoding alone: append to one frame, again and again.
fn encode<'w, T: Record>(
    shape: FrameShape,
    records: u64,
    make: impl Fn(u64) -> T::View<'w>,
) -> u64 {
    let pool = FramePool::new(1, 0);
    let mut frames = pool.reserve(1).expect("the pool is large enough");
    let mut scratch = Scratch::new();
    let mut writer = FrameWriter::open(frames.take().expect("reserved"), shape);
    let mut count = 0;
    for i in 0..records {
        let meta = Meta::at(Timestamp::from_millis(i as i64)).with_hash(hash(i));
        let item = Viewed::<T>(make(i));
        if writer.append::<T, _>(&item, meta, &mut scratch).is_err() {
            count += u64::from(writer.count());
            let full = std::mem::replace(&mut writer, FrameWriter::without_frame(shape));
            writer = FrameWriter::open(black_box(full.close()), shape);
            writer.append::<T, _>(&item, meta, &mut scratch).expect("an empty frame has room");
        }
    }
    count += u64::from(writer.count());
    frames.give(writer.close());
    count
}

fn report<'w, T: Record>(
    name: &str,
    records: u64,
    make: impl Fn(u64) -> T::View<'w> + Copy,
    sum: impl Fn(T::View<'_>) -> u64 + Copy,
) {
    for (columns, shape) in [
        ("no columns", FrameShape::of::<T>(false, false)),
        ("hash", FrameShape::of::<T>(false, true)),
        ("time, hash", FrameShape::of::<T>(true, true)),
    ] {
        let (mut best, mut best_encode) = (f64::MAX, f64::MAX);
        for _ in 0..5 {
            let started = Instant::now();
            let (count, total) = exchange::<T>(shape, records, make, sum);
            best = best.min(started.elapsed().as_nanos() as f64 / records as f64);
            assert_eq!(count, records);
            black_box(total);
            let started = Instant::now();
            assert_eq!(encode::<T>(shape, records, make), records);
            best_encode = best_encode.min(started.elapsed().as_nanos() as f64 / records as f64);
        }
        println!(
            "{name:<22} {columns:<11} {best:6.2} ns/record through the edge, {best_encode:6.2} ns encoding alone"
        );
    }
}

fn main() {
    let records = std::env::args().nth(1).map_or(RECORDS, |n| n.parse().expect("a number"));
    let words: Vec<String> = (0..1_000).map(|i| format!("a word of 24 bytes {i:05}")).collect();
    report::<(u64, u64)>("packed 16 B", records, |i| (i, i * 3), |(a, b)| a ^ b);
    report::<String>(
        "string 24 B",
        records,
        |i| words[i as usize % 1_000].as_str(),
        |word| u64::from(word.as_bytes()[23]),
    );
    report::<(u64, String)>(
        "u64 and string 24 B",
        records,
        |i| (i, words[i as usize % 1_000].as_str()),
        |(i, word)| i ^ u64::from(word.as_bytes()[23]),
    );
}
