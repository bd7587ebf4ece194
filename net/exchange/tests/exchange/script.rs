//! What leaves a partition, step by step.

use wiesel_core::{CheckpointId, Meta, Nanos, StopFlag, Timestamp, millis};
use wiesel_exchange::{GateEvent, InputGate, Partitioner};
use wiesel_record::{List, Viewed};
use wiesel_wire::{FRAME_BYTES, FramePool, FrameShape, FrameView};

use crate::{RECORD_BYTES_MAX, options, partition};

/// One partition and a gate for each of its channels, driven by a script:
///
/// `r` a record, `R` a record that nearly fills a frame, `J` one that fits none, `w5` a watermark, `wM` the last one,
/// `-` idle, `+` active, `B` a barrier, `E` the end, `f` flush, `t5` flush what is 2 ms old at 5 ms, `p` poll.
/// `|` lets the consumers read all, `/` lets them read all but keeps the frames, `\` sends those home.
///
/// Returns what each `|` and `/` read, channel by channel: `[2 5]` a frame of two records with watermark 5, then what
/// the gate said. `!` before it: the task was told to stop; `x`: it may not take data.
#[track_caller]
fn check(partitioner: Partitioner, channels: usize, credits: usize, script: &str, expected: &str) {
    let (pool, stop) = (FramePool::new(channels + 1, 0), StopFlag::new());
    let options = options(partitioner, FrameShape::of::<Vec<u8>>(false, false), 0);
    let (mut partition, receivers) = partition(&options, channels, credits, &pool, &stop);
    let mut gates: Vec<_> = receivers.into_iter().map(|r| InputGate::new(vec![r])).collect();
    let (large, jumbo) = (vec![7; 30_000], vec![9; 100_000]);
    let (mut seen, mut kept, mut number) = (String::new(), Vec::new(), 0);
    for step in script.split(' ') {
        // The upper half of the hash chooses the key group, and with 128 groups and `channels` the channel.
        let meta = Meta::NONE.with_hash(number << 32);
        let mut append = |bytes: &[u8]| {
            number += 1;
            partition.append::<Vec<u8>, _>(&Viewed(List::from(bytes)), meta);
        };
        let (name, argument) = step.split_at(1);
        match name {
            "r" => append(&[1, 2, 3]),
            "R" => append(&large),
            "J" => append(&jumbo),
            "w" if argument == "M" => partition.watermark(Timestamp::MAX),
            "w" => partition.watermark(Timestamp::from_millis(argument.parse().unwrap())),
            "-" => partition.idle(),
            "+" => partition.active(),
            "B" => partition.barrier(CheckpointId(1)),
            "E" => partition.end(),
            "f" => drop(partition.flush()),
            "t" => {
                let now = Nanos(argument.parse::<u64>().unwrap() * 1_000_000);
                partition.flush_older_than(now, millis(2));
            }
            "p" => drop(partition.poll()),
            "\\" => kept.drain(..).for_each(|(gate, element)| {
                let gate: &mut InputGate = &mut gates[gate];
                gate.done_with(element);
            }),
            _ => {
                assert!(name == "|" || name == "/", "unknown step {step}");
                seen.push_str(if stop.is_set() { " !" } else { " " });
                seen.push_str(if partition.may_take_data() { "" } else { "x" });
                stop.clear();
                for (channel, gate) in gates.iter_mut().enumerate() {
                    seen.push_str(if channel > 0 { "," } else { "" });
                    while let Some(event) = gate.poll() {
                        match event {
                            GateEvent::Data(element) => {
                                let frame = element.frame();
                                let records = FrameView::<Vec<u8>>::new(frame).iter();
                                assert!(records.into_iter().all(|(r, _)| r.get().len() > 2));
                                let watermark =
                                    frame.watermark().map_or(String::new(), |at| format!(" {at}"));
                                seen.push_str(&format!("[{}{watermark}]", frame.count()));
                                if name == "/" {
                                    kept.push((channel, element));
                                } else {
                                    gate.done_with(element);
                                }
                            }
                            GateEvent::Watermark(at) => seen.push_str(&format!("{at}.")),
                            GateEvent::Idle => seen.push('-'),
                            GateEvent::Active => seen.push('+'),
                            GateEvent::End => seen.push('E'),
                            GateEvent::Barrier { .. } => seen.push('B'),
                            other => panic!("{other:?}"),
                        }
                    }
                }
            }
        }
    }
    assert_eq!(seen.strip_prefix(' '), Some(expected), "{script}");
    assert_eq!(partition.take_failure(), None);
    drop((kept, gates, partition));
    assert_eq!(pool.outstanding(), 0);
}

const HASH: Partitioner = Partitioner::Hash { max_parallelism: 128 };

#[test]
fn frames_leave_when_full_when_flushed_and_when_old() {
    check(Partitioner::Forward, 1, 2, "r r | f |", " [2]");
    check(Partitioner::Forward, 1, 2, "R | R | p f |", " [1] [1]");
    check(Partitioner::Forward, 1, 2, "r t1 t2 | t3 |", " [1]");
    check(Partitioner::Forward, 1, 2, "f t9 p |", "");
}

#[test]
fn a_watermark_is_in_order_with_the_records() {
    check(Partitioner::Forward, 1, 2, "r w5 f |", "[1 5]5.");
    check(Partitioner::Forward, 1, 2, "r w5 w7 f |", "[1 7]7."); // The newer one rides.
    check(Partitioner::Forward, 1, 2, "r w5 r f |", "x[1 5]5.[1]"); // Nothing is appended behind it.
    check(Partitioner::Forward, 1, 2, "w5 r f |", "5.[1]");
    check(Partitioner::Forward, 1, 2, "w5 w6 w7 w8 w9 | p |", "5.6.7. 9.");
    check(HASH, 2, 2, "w5 |", "5.,5.");
    check(Partitioner::Broadcast, 2, 2, "r w5 f |", "[1 5]5.,[1 5]5.");
}

#[test]
fn events_close_the_open_frame() {
    check(Partitioner::Forward, 1, 2, "r - |", "[1]-");
    check(Partitioner::Forward, 1, 2, "r w3 - + r B |", "x[1 3]3.-+[1]B");
    check(Partitioner::Forward, 1, 2, "r wM E |", "[1 +inf]+inf.E");
    check(Partitioner::Forward, 1, 2, "- wM E |", "-++inf.E"); // The end counts on idle channels.
    check(HASH, 2, 1, "B E |", "BE,BE");
}

#[test]
fn without_credit_the_task_stops_and_goes_on_when_frames_come_home() {
    // One credit: the second frame waits, the third is borrowed.
    check(Partitioner::Forward, 1, 1, "R R R | p | p f | p |", "!x[1] [1] [1] ");
    // Events wait behind the frames that they follow.
    check(Partitioner::Forward, 1, 1, "R R w5 E | p |", "!x[1] [1 5]5.E");
    // A flush without credit waits for it, and the frame may still be filled.
    check(Partitioner::Forward, 1, 1, "r f r f r / p / \\ p |", "[1]  [2]");
}

#[test]
fn a_jumbo_frame_travels_alone_and_in_order() {
    check(Partitioner::Forward, 1, 8, "r J r f |", "x[1][1][1]");
    check(Partitioner::Forward, 1, 2, "J |", "[1]"); // It takes all credits.
    check(Partitioner::Forward, 1, 2, "r J f | p |", "!x[1] [1]");
    check(Partitioner::Broadcast, 3, 4, "J |", "[1],[1],[1]");
}

#[test]
fn one_broadcast_frame_serves_all() {
    check(Partitioner::Broadcast, 3, 1, "r f / r f \\ p |", "[1],[1],[1] [1],[1],[1]");
}

#[test]
fn what_cannot_be_appended_is_a_failure_that_says_what_to_do() {
    let appended = |partitioner: Partitioner, records: usize, bytes: usize| {
        let (pool, stop) = (FramePool::new(3, 0), StopFlag::new());
        let options = options(partitioner, FrameShape::of::<Vec<u8>>(false, false), 0);
        let (mut partition, receivers) = partition(&options, 2, 1, &pool, &stop);
        for _ in 0..records {
            let bytes = vec![0; bytes];
            let meta = Meta::NONE.with_hash(0);
            partition.append::<Vec<u8>, _>(&Viewed(List::from(&bytes[..])), meta);
        }
        assert!(stop.is_set() && !partition.may_take_data());
        let failure = partition.take_failure().unwrap().to_string();
        assert_eq!(partition.take_failure(), None, "it is given once");
        drop((partition, receivers));
        assert_eq!((pool.outstanding(), pool.bytes_held() <= (3 + 8) * FRAME_BYTES), (0, true));
        failure
    };
    let wild = Partitioner::Custom(std::sync::Arc::new(|_, channels| channels));
    let option = "`taskmanager.network.record-bytes-max`";
    for (failure, expected) in [
        (
            appended(HASH, 1, 300_000),
            format!(
                "a record of type List has 300008 bytes and a frame may have {RECORD_BYTES_MAX}: make it smaller, or \
                 raise {option}"
            ),
        ),
        (
            appended(HASH, 1, 600_000),
            format!(
                "a record of type List has more than {} bytes and a frame may have {RECORD_BYTES_MAX}: make it \
                 smaller, or raise {option}",
                2 * RECORD_BYTES_MAX
            ),
        ),
        (
            appended(HASH, 1_000, 20_000),
            "one record expanded into more than 4194304 bytes that its consumers have no room for: emit less per \
             record, or raise `taskmanager.network.memory.max-overdraft-size`"
                .to_owned(),
        ),
        (
            appended(wild, 1, 10),
            "the custom partitioner chose channel 2 of 2: return a number below 2".to_owned(),
        ),
    ] {
        assert_eq!(failure, expected);
    }
}
