//! Kernels between tasks: the hash partitioner, the ring, the merge of watermarks.
//!
//! ```text
//!   partition   append ─▶ channel of the key group ─▶ frame ─▶ ring ─▶ gate: its records are counted, it goes home
//!   ring        push one, pop one, four in between
//!   watermark   the next of 64 channels, in turn: the smallest is looked for each time
//! ```

use wiesel_core::{KeyGroup, Meta, StopFlag, Timestamp, key_group_of};
use wiesel_exchange::{
    ChannelReceiver, GateEvent, InputGate, Overdraft, PartitionOptions, Partitioner,
    ResultPartition, WatermarkValve, channel,
};
use wiesel_record::Viewed;
use wiesel_wire::{FramePool, FrameShape, FrameView};

use crate::input::{mix, pairs, rounds};

/// Frames in flight on a channel.
const CREDITS: usize = 2;

const MAX_PARALLELISM: u32 = 128;

/// Channels whose watermarks are merged.
const INPUTS: u64 = 64;

/// Frames between the ends of the ring.
const IN_BETWEEN: u32 = 4;

pub fn partition_2(n: u64) {
    partition(2, n);
}

pub fn partition_128(n: u64) {
    partition(128, n);
}

/// An operation is one record: written, sent, taken.
fn partition(channels: usize, n: u64) {
    let input: Vec<_> = pairs().into_iter().map(|pair| (pair, mix(pair.0))).collect();
    let pool = FramePool::new(channels * (CREDITS + 2), 0);
    let (senders, receivers): (Vec<_>, Vec<ChannelReceiver>) =
        (0..channels).map(|_| channel(CREDITS, None, None)).unzip();
    let options = PartitionOptions {
        partitioner: Partitioner::Hash { max_parallelism: MAX_PARALLELISM },
        shape: FrameShape::of::<(u64, u64)>(false, true),
        subtask: 0,
        seed: 0,
        record_bytes_max: 1 << 20,
    };
    let (stop, overdraft) = (StopFlag::new(), Overdraft::new(1 << 20));
    let frames = pool.reserve(channels + 1).expect("the pool has more");
    let mut partition = ResultPartition::new(&options, senders, frames, stop.clone(), overdraft);
    let mut gate = InputGate::new(receivers);
    let mut received = 0;
    rounds(&input, n, |((first, second), hash)| {
        let record = Viewed::<(u64, u64)>((*first, *second));
        partition.append::<(u64, u64), _>(&record, Meta::NONE.with_hash(*hash));
        if stop.is_set() {
            stop.clear();
            received += drain(&mut gate, channels as u32);
            partition.poll();
        }
    });
    partition.end();
    while !partition.is_drained() {
        received += drain(&mut gate, channels as u32);
        partition.poll();
    }
    assert_eq!((received, partition.records_out(), pool.outstanding()), (n, n, 0));
    assert!(partition.take_failure().is_none());
}

/// Takes what was sent; says how many records. The first of each frame shows whether it came to the right place.
#[inline(never)]
fn drain(gate: &mut InputGate, channels: u32) -> u64 {
    let mut records = 0;
    while let Some(event) = gate.poll() {
        let GateEvent::Data(element) = event else { continue };
        let view = FrameView::<(u64, u64)>::new(element.frame());
        let group: KeyGroup = key_group_of(view.hash(0).unwrap_or(0), MAX_PARALLELISM);
        assert_eq!(group.owner(MAX_PARALLELISM, channels), element.channel() as u32);
        records += view.len() as u64;
        gate.done_with(element);
    }
    records
}

/// An operation is a push and a pop of a frame.
pub fn ring(n: u64) {
    let pool = FramePool::new(IN_BETWEEN as usize + 1, 0);
    let mut frames = pool.reserve(pool.total()).expect("all of the pool");
    let (mut to, mut from) = wiesel_shard::ring::ring(IN_BETWEEN as usize + 2);
    let mut frame = |sequence: u32| {
        let mut frame = frames.take().expect("reserved");
        frame.address(0, sequence.into());
        frame
    };
    for sequence in 0..IN_BETWEEN {
        assert!(to.push(frame(sequence)).is_ok());
    }
    let mut held = frame(IN_BETWEEN);
    for _ in 0..n {
        assert!(to.push(held).is_ok(), "one place is free");
        held = from.pop().expect("four wait");
    }
    // Each operation held the oldest: they are still in order.
    let oldest = (n + u64::from(IN_BETWEEN)) % u64::from(IN_BETWEEN + 1);
    assert_eq!((held.sequence(), from.len()), (oldest, IN_BETWEEN as usize));
    frames.give(held);
    while let Some(frame) = from.pop() {
        frames.give(frame);
    }
    assert_eq!(pool.outstanding(), 0);
}

/// An operation is one watermark on one channel; every round lets one out.
pub fn watermark_merge(n: u64) {
    let mut valve = WatermarkValve::new(INPUTS as usize);
    let mut out = 0;
    let mut give = |channel: u64, round: u64| {
        let watermark = Timestamp::from_millis(round as i64);
        out += u64::from(valve.watermark(channel as usize, watermark).watermark.is_some());
    };
    for round in 0..n / INPUTS {
        (0..INPUTS).for_each(|channel| give(channel, round));
    }
    (0..n % INPUTS).for_each(|channel| give(channel, n / INPUTS));
    assert_eq!(out, n / INPUTS);
    let last = (n / INPUTS).checked_sub(1);
    assert_eq!(
        valve.last(),
        last.map_or(Timestamp::MIN, |last| Timestamp::from_millis(last as i64))
    );
}
