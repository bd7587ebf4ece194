//! One side goes away: the other side sees it, and the frames come home.

use wiesel_core::{Meta, StopFlag};
use wiesel_exchange::{GateEvent, InputGate, Partitioner};
use wiesel_record::Viewed;
use wiesel_wire::{FramePool, FrameShape};

use crate::{options, partition};

const HASH: Partitioner = Partitioner::Hash { max_parallelism: 128 };

/// A partition over two channels that has sent frames on both and has one queued and one open.
fn flooded(
    partitioner: Partitioner,
    pool: &FramePool,
) -> (wiesel_exchange::ResultPartition, InputGate) {
    let options = options(partitioner, FrameShape::of::<(u64, u64)>(false, false), 0);
    let (mut partition, receivers) = partition(&options, 2, 1, pool, &StopFlag::new());
    for number in 0..10_000_u64 {
        partition.append::<(u64, u64), _>(
            &Viewed((number, 0)),
            Meta::NONE.with_hash(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        );
    }
    assert!(!partition.may_take_data());
    (partition, InputGate::new(receivers))
}

#[test]
fn a_gate_that_is_dropped_sends_its_frames_home() {
    for partitioner in [HASH, Partitioner::Broadcast] {
        let pool = FramePool::new(3, 0);
        let (mut partition, gate) = flooded(partitioner, &pool);
        drop(gate);
        assert!(partition.poll());
        // What is appended from here on has nowhere to go, and stops nobody.
        for number in 0..10_000 {
            partition
                .append::<(u64, u64), _>(&Viewed((number, 0)), Meta::NONE.with_hash(number << 32));
            partition.poll();
        }
        partition.end();
        partition.poll();
        assert!(partition.is_drained() && partition.take_failure().is_none());
        drop(partition);
        assert_eq!((pool.outstanding(), pool.lost()), (0, 0));
    }
}

#[test]
fn a_frame_that_its_reader_took_along_is_replaced() {
    let pool = FramePool::new(3, 0);
    let (mut partition, mut gate) = flooded(HASH, &pool);
    let Some(GateEvent::Data(element)) = gate.poll() else { panic!("frames were sent") };
    drop((gate, element));
    partition.poll();
    drop(partition);
    assert_eq!((pool.outstanding(), pool.lost(), pool.floating()), (0, 1, 3));
}

#[test]
fn a_producer_that_is_gone_is_an_event_once_a_channel() {
    let pool = FramePool::new(3, 0);
    let (partition, mut gate) = flooded(HASH, &pool);
    drop(partition);
    let mut events = Vec::new();
    while let Some(event) = gate.poll() {
        match event {
            GateEvent::Data(element) => gate.done_with(element),
            GateEvent::ProducerGone(channel) => events.push(channel),
            other => panic!("{other:?}"),
        }
    }
    events.sort_unstable();
    assert_eq!(events, [0, 1]);
    assert!(!gate.has_ended(), "gone is not ended");
    assert_eq!(pool.outstanding(), 0, "the pool has replaced what the gate still had");
}

#[test]
fn a_retired_partition_waits_for_its_frames() {
    for partitioner in [HASH, Partitioner::Broadcast] {
        let pool = FramePool::new(3, 0);
        let (partition, mut gate) = flooded(partitioner, &pool);
        let mut retired = partition.retire();
        assert!(!retired.is_drained(), "two channels have a frame");
        for _ in 0..2 {
            let Some(GateEvent::Data(element)) = gate.poll() else { panic!("frames were sent") };
            assert!(!retired.is_drained());
            gate.done_with(element);
            retired.poll();
        }
        assert!(retired.is_drained());
        drop(retired);
        assert_eq!((pool.outstanding(), pool.lost()), (0, 0));
    }
}

#[test]
fn a_blocked_channel_is_not_read() {
    let pool = FramePool::new(3, 0);
    let (mut partition, mut gate) = flooded(HASH, &pool);
    gate.block(0);
    let mut channels = Vec::new();
    for round in 0..8 {
        if round == 4 {
            gate.unblock(0);
        }
        if let Some(GateEvent::Data(element)) = gate.poll() {
            channels.push(element.channel());
            gate.done_with(element);
        }
        partition.poll();
    }
    assert!(
        channels.len() >= 4 && channels[..2].iter().all(|channel| *channel == 1),
        "{channels:?}"
    );
    assert!(channels.contains(&0));
}
