//! Seeded producers and consumers over tiny channels: each record arrives once, in order, and all frames come home.

use wiesel_core::{Meta, Nanos, Timestamp, key_group_of, millis};
use wiesel_exchange::{GateElement, GateEvent, InputGate, Partitioner, ResultPartition};
use wiesel_record::{Record, Viewed};
use wiesel_wire::{FRAME_BYTES, FrameShape, FrameView};

use crate::{OVERDRAFT_BYTES_MAX, RECORD_BYTES_MAX, Random, all_to_all};

/// Producer, number, text.
type Post = (u32, u64, String);

struct Producer {
    next: u64,
    time: i64,
    watermark: i64,
    /// How many records each channel should have got: the expectation.
    sent: Vec<Vec<u64>>,
    has_ended: bool,
}

#[derive(Default)]
struct Consumer {
    got: Vec<Vec<u64>>,
    watermark: Option<Timestamp>,
    idle: bool,
    held: Vec<GateElement>,
    has_ended: bool,
}

/// Everything about one run, from its seed.
struct Plan {
    partitioner: Partitioner,
    producers: usize,
    consumers: usize,
    credits: usize,
    floating: usize,
    records: u64,
    idles: bool,
    has_time: bool,
}

impl Plan {
    fn new(random: &mut Random) -> Self {
        let (producers, consumers) = (1 + random.below(4), 1 + random.below(7));
        let partitioner = match random.below(7) {
            0 => Partitioner::Rebalance,
            1 => Partitioner::Shuffle,
            2 | 3 => Partitioner::Broadcast,
            4 => Partitioner::Global,
            5 => Partitioner::Custom(std::sync::Arc::new(|hash, channels| {
                (hash % u64::from(channels)) as u32
            })),
            _ => Partitioner::Hash { max_parallelism: 128 },
        };
        Self {
            partitioner,
            producers,
            consumers,
            credits: [1, 1, 2, 2, 5][random.below(5)],
            floating: random.below(4),
            records: 20 + random.below(400) as u64,
            idles: random.one_in(2),
            has_time: random.one_in(2) || producers == 1,
        }
    }
}

fn text_of(random: &mut Random) -> String {
    let length = match random.below(60) {
        0 => random.below(100_000), // Some of these fit no ordinary frame.
        1..5 => random.below(12_000),
        5..10 => 0,
        _ => random.below(80),
    };
    "w".repeat(length)
}

fn append_some(
    partition: &mut ResultPartition,
    state: &mut Producer,
    plan: &Plan,
    stop: &wiesel_core::StopFlag,
    id: usize,
    random: &mut Random,
) {
    stop.clear();
    for _ in 0..1 + random.below(60) {
        if state.next == plan.records || stop.is_set() {
            return;
        }
        let hash = random.next();
        state.time = state.watermark + 1 + random.below(9) as i64;
        let text = text_of(random);
        let meta = Meta::at(Timestamp::from_millis(state.time)).with_hash(hash);
        let record: <Post as Record>::View<'_> = (id as u32, state.next, &text);
        partition.append::<Post, _>(&Viewed(record), meta);
        let channels = plan.consumers as u32;
        let targets = match &plan.partitioner {
            Partitioner::Broadcast => 0..plan.consumers,
            Partitioner::Global => 0..1,
            Partitioner::Hash { max_parallelism } => {
                let owner = key_group_of(hash, *max_parallelism).owner(*max_parallelism, channels);
                owner as usize..owner as usize + 1
            }
            Partitioner::Custom(function) => {
                let channel = function(hash, channels) as usize;
                channel..channel + 1
            }
            _ => 0..0, // Only the union of all channels is known.
        };
        targets.for_each(|channel| state.sent[channel].push(state.next));
        state.next += 1;
    }
}

fn act(partition: &mut ResultPartition, state: &mut Producer, plan: &Plan, random: &mut Random) {
    match random.below(8) {
        0..3 if state.has_ended => {}
        0 => {
            state.watermark = state.watermark.max(state.time - random.below(3) as i64);
            partition.active();
            partition.watermark(Timestamp::from_millis(state.watermark));
        }
        1 if plan.idles => partition.idle(),
        2 if plan.idles => partition.active(),
        3 => drop(partition.flush()),
        4 => drop(partition.flush_older_than(Nanos(random.next() >> 40), millis(1))),
        _ => drop(partition.poll()),
    }
}

fn read(gate: &mut InputGate, state: &mut Consumer, plan: &Plan, random: &mut Random) -> bool {
    if !state.held.is_empty() && random.one_in(2) {
        let element = state.held.swap_remove(random.below(state.held.len()));
        gate.done_with(element);
        return true;
    }
    let Some(event) = gate.poll() else { return false };
    assert!(!state.has_ended, "nothing follows the end");
    match event {
        GateEvent::Data(element) => {
            for (record, meta) in FrameView::<Post>::new(element.frame()) {
                let (producer, number, text) = record.get();
                assert!(text.bytes().all(|byte| byte == b'w'));
                assert_eq!(producer as usize, element.channel());
                state.got[element.channel()].push(number);
                assert_eq!(meta.time.is_some(), plan.has_time);
                if let (Some(time), false, Some(watermark)) =
                    (meta.time, plan.idles, state.watermark)
                {
                    assert!(
                        time > watermark,
                        "a record at {time} behind the watermark {watermark}"
                    );
                }
            }
            state.held.push(element);
        }
        GateEvent::Watermark(watermark) => {
            assert!(Some(watermark) > state.watermark, "watermarks rise");
            state.watermark = Some(watermark);
        }
        GateEvent::Idle => assert!(!std::mem::replace(&mut state.idle, true)),
        GateEvent::Active => assert!(std::mem::replace(&mut state.idle, false)),
        GateEvent::End => {
            assert!(state.held.is_empty());
            assert_eq!(state.watermark, Some(Timestamp::MAX));
            state.has_ended = true;
        }
        other => panic!("{other:?}"),
    }
    true
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let plan = Plan::new(&mut random);
    let shape = FrameShape::of::<Post>(plan.has_time, random.one_in(2));
    let shares = (plan.producers, plan.consumers);
    let (mut producers, mut gates) =
        all_to_all(&plan.partitioner, shape, shares, plan.credits, plan.floating);
    let mut sending: Vec<_> = (0..plan.producers)
        .map(|_| Producer {
            next: 0,
            time: 0,
            watermark: 0,
            sent: vec![Vec::new(); plan.consumers],
            has_ended: false,
        })
        .collect();
    let mut reading: Vec<_> = (0..plan.consumers)
        .map(|_| Consumer { got: vec![Vec::new(); plan.producers], ..Consumer::default() })
        .collect();

    let mut quiet = 0;
    loop {
        let drained =
            producers.iter().zip(&sending).all(|((_, _, p), s)| s.has_ended && p.is_drained());
        if drained && reading.iter().all(|consumer| consumer.has_ended) {
            break;
        }
        quiet += 1;
        let side = random.below(plan.producers + plan.consumers);
        if let Some(state) = sending.get_mut(side) {
            let (pool, stop, partition) = &mut producers[side];
            act(partition, state, &plan, &mut random);
            if partition.may_take_data() && state.next < plan.records {
                append_some(partition, state, &plan, stop, side, &mut random);
                quiet = 0;
            } else if state.next == plan.records && !state.has_ended && random.one_in(4) {
                partition.watermark(Timestamp::MAX);
                partition.end();
                state.has_ended = true;
                quiet = 0;
            }
            assert_eq!(partition.take_failure(), None);
            let frames = pool.total() * FRAME_BYTES;
            assert!(pool.bytes_peak() <= frames + OVERDRAFT_BYTES_MAX + RECORD_BYTES_MAX);
        } else {
            let side = side - plan.producers;
            if read(&mut gates[side], &mut reading[side], &plan, &mut random) {
                quiet = 0;
            }
        }
        assert!(quiet < 20_000, "nothing moves any more: {producers:?}");
    }

    for (id, (pool, _, partition)) in producers.iter().enumerate() {
        let copies = if plan.partitioner.is_broadcast() { plan.consumers } else { 1 };
        let got = reading.iter().map(|consumer| &consumer.got[id]);
        assert!(got.clone().all(|numbers| numbers.is_sorted()), "in order per channel");
        let mut all: Vec<u64> = got.clone().flatten().copied().collect();
        all.sort_unstable();
        let expected = (0..plan.records).flat_map(|number| vec![number; copies]);
        assert!(all.into_iter().eq(expected), "each record once");
        if !matches!(plan.partitioner, Partitioner::Rebalance | Partitioner::Shuffle) {
            assert!(got.eq(sending[id].sent.iter()), "on the channel of its partitioner");
        }
        assert_eq!(partition.records_out(), plan.records);
        assert_eq!((pool.outstanding(), pool.lost()), (0, 0), "all frames home");
    }
    let frames_in: u64 = gates.iter().map(|gate| gate.metrics().frames_in).sum();
    let frames_out: u64 = producers.iter().map(|(_, _, p)| p.metrics().frames_out).sum();
    let copies = if plan.partitioner.is_broadcast() { plan.consumers as u64 } else { 1 };
    assert_eq!(frames_in, frames_out * copies);
}

#[test]
fn every_order_of_turns_delivers_each_record_once() {
    // `SEED=n` replays one run.
    if let Some(seed) = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        return run(seed);
    }
    for seed in 0..400 {
        if let Err(panic) = std::panic::catch_unwind(|| run(seed)) {
            eprintln!("replay with SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
