//! Producers and consumers on one thread: rings work there too, and every order of turns can be had from a seed.

mod flood;
mod random;
mod script;
mod teardown;

use wiesel_core::StopFlag;
use wiesel_exchange::{
    ChannelReceiver, InputGate, Overdraft, PartitionOptions, Partitioner, ResultPartition, channel,
};
use wiesel_wire::{FramePool, FrameShape};

/// Overdraft of a task in these tests.
const OVERDRAFT_BYTES_MAX: usize = 4 << 20;

/// The largest frame in these tests.
const RECORD_BYTES_MAX: usize = 256 << 10;

/// Numbers from a seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

fn options(partitioner: Partitioner, shape: FrameShape, subtask: u32) -> PartitionOptions {
    PartitionOptions {
        partitioner,
        shape,
        subtask,
        seed: 0x5eed,
        record_bytes_max: RECORD_BYTES_MAX,
    }
}

/// A partition with its own frames of `pool`, and the other ends of its channels.
fn partition(
    options: &PartitionOptions,
    channels: usize,
    credits: usize,
    pool: &FramePool,
    stop: &StopFlag,
) -> (ResultPartition, Vec<ChannelReceiver>) {
    let (senders, receivers) = (0..channels).map(|_| channel(credits, None, None)).unzip();
    let frames = PartitionOptions::frames_reserved(&options.partitioner, channels);
    let frames = pool.reserve(frames).unwrap();
    let overdraft = Overdraft::new(OVERDRAFT_BYTES_MAX);
    (ResultPartition::new(options, senders, frames, stop.clone(), overdraft), receivers)
}

/// All-to-all: `producers` partitions, each with its pool of exactly its own frames and `floating` more, and one gate a
/// consumer.
fn all_to_all(
    partitioner: &Partitioner,
    shape: FrameShape,
    (producers, consumers): (usize, usize),
    credits: usize,
    floating: usize,
) -> (Vec<(FramePool, StopFlag, ResultPartition)>, Vec<InputGate>) {
    let mut receivers: Vec<Vec<ChannelReceiver>> = (0..consumers).map(|_| Vec::new()).collect();
    let producers = (0..producers).map(|subtask| {
        let frames = PartitionOptions::frames_reserved(partitioner, consumers);
        let (pool, stop) = (FramePool::new(frames + floating, 0), StopFlag::new());
        let options = options(partitioner.clone(), shape, subtask as u32);
        let (partition, ends) = partition(&options, consumers, credits, &pool, &stop);
        ends.into_iter().zip(&mut receivers).for_each(|(end, gate)| gate.push(end));
        (pool, stop, partition)
    });
    let producers = producers.collect();
    (producers, receivers.into_iter().map(InputGate::new).collect())
}
