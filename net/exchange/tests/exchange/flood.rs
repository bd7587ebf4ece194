//! Two shards, each with a stage that floods the other: no order of turns makes them wait for each other.
//!
//! ```text
//!   source 0 ──┐ hash ┌── × 1000, 0 ──┐ hash ┌── sink 0
//!              ├──────┤               ├──────┤
//!   source 1 ──┘      └── × 1000, 1 ──┘      └── sink 1
//! ```

use wiesel_core::{Meta, StopFlag, Timestamp};
use wiesel_exchange::{GateElement, GateEvent, InputGate, Partitioner, ResultPartition};
use wiesel_record::Viewed;
use wiesel_wire::{FRAME_BYTES, FramePool, FrameShape, FrameView};

use crate::{OVERDRAFT_BYTES_MAX, Random, all_to_all};

const SUBTASKS: usize = 2;
const SOURCE_RECORDS: u64 = 3_000;

fn hash(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A task as the task loop drives it: frame and cursor are kept when it is told to stop.
struct FlatMap {
    gate: InputGate,
    output: (FramePool, StopFlag, ResultPartition),
    at_hand: Option<(GateElement, usize)>,
    expansion: u64,
    has_ended: bool,
}

impl FlatMap {
    /// One turn; says whether anything moved.
    fn turn(&mut self) -> bool {
        let (_, stop, partition) = &mut self.output;
        let mut moved = partition.poll();
        if self.has_ended {
            return moved;
        }
        if !partition.may_take_data() {
            return moved | partition.flush();
        }
        stop.clear();
        if self.at_hand.is_none() {
            match self.gate.poll() {
                None => return moved | partition.flush(),
                Some(GateEvent::Data(element)) => self.at_hand = Some((element, 0)),
                Some(GateEvent::Watermark(watermark)) => partition.watermark(watermark),
                Some(GateEvent::End) => {
                    partition.end();
                    self.has_ended = true;
                }
                Some(other) => panic!("{other:?}"),
            }
            moved = true;
        }
        if let Some((element, cursor)) = &mut self.at_hand {
            for (record, _) in FrameView::<u64>::new(element.frame()).iter_from(*cursor) {
                for copy in 0..self.expansion {
                    let number = record.get() * self.expansion + copy;
                    let meta = Meta::NONE.with_hash(hash(number));
                    partition.append::<(u64, String), _>(&Viewed((number, "a word")), meta);
                }
                *cursor += 1;
                if stop.is_set() {
                    break;
                }
            }
            moved = true;
            if *cursor == element.frame().count() as usize
                && let Some((element, _)) = self.at_hand.take()
            {
                self.gate.done_with(element);
            }
        }
        moved
    }
}

fn run(seed: u64, credits: usize, expansion: u64) {
    let hash_edge = Partitioner::Hash { max_parallelism: 128 };
    let shares = (SUBTASKS, SUBTASKS);
    let (mut sources, gates) =
        all_to_all(&hash_edge, FrameShape::of::<u64>(false, true), shares, credits, 0);
    let (outputs, mut sinks) =
        all_to_all(&hash_edge, FrameShape::of::<(u64, String)>(false, true), shares, credits, 0);
    let mut maps: Vec<_> = gates
        .into_iter()
        .zip(outputs)
        .map(|(gate, output)| FlatMap { gate, output, at_hand: None, expansion, has_ended: false })
        .collect();
    let records = SOURCE_RECORDS / expansion.min(100);
    let (mut next, mut ended) = ([0; SUBTASKS], [false; SUBTASKS]);
    let (mut count, mut sum, mut ends, mut quiet) = (0, 0_u64, 0, 0);
    let mut random = Random(seed);
    while ends < SUBTASKS {
        quiet += 1;
        let turn = random.below(3 * SUBTASKS);
        let (stage, subtask) = (turn / SUBTASKS, turn % SUBTASKS);
        match stage {
            0 => {
                let (_, stop, partition) = &mut sources[subtask];
                partition.poll();
                stop.clear();
                while next[subtask] < records && partition.may_take_data() && !stop.is_set() {
                    let number = subtask as u64 * records + next[subtask];
                    let meta = Meta::NONE.with_hash(hash(number));
                    partition.append::<u64, _>(&Viewed(number), meta);
                    next[subtask] += 1;
                    quiet = 0;
                }
                if next[subtask] == records && !ended[subtask] {
                    partition.watermark(Timestamp::MAX);
                    partition.end();
                    ended[subtask] = true;
                    quiet = 0;
                }
            }
            1 => {
                if maps[subtask].turn() {
                    quiet = 0;
                }
                let pool = &maps[subtask].output.0;
                assert!(pool.bytes_peak() <= pool.total() * FRAME_BYTES + OVERDRAFT_BYTES_MAX);
            }
            _ => match sinks[subtask].poll() {
                Some(GateEvent::Data(element)) => {
                    for (record, _) in FrameView::<(u64, String)>::new(element.frame()) {
                        let (number, word) = record.get();
                        assert_eq!(word, "a word");
                        (count, sum) = (count + 1, sum + number);
                    }
                    sinks[subtask].done_with(element);
                    quiet = 0;
                }
                Some(GateEvent::End) => ends += 1,
                _ => {}
            },
        }
        assert!(quiet < 1_000, "the shards wait for each other, seed {seed}");
    }
    let all = SUBTASKS as u64 * records * expansion;
    assert_eq!((count, sum), (all, all * (all - 1) / 2));
    for (pool, _, partition) in sources.iter_mut().chain(maps.iter_mut().map(|map| &mut map.output))
    {
        partition.poll();
        assert!(partition.is_drained());
        assert_eq!((pool.outstanding(), pool.lost()), (0, 0));
    }
}

#[test]
fn shards_that_flood_each_other_run_to_the_end() {
    for seed in 0..20 {
        for credits in [1, 2] {
            run(seed, credits, 1_000);
            run(seed, credits, 1);
        }
    }
}
