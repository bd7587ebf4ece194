//! Nanoseconds per entry of a broadcast map of a million (numbers, and texts of sixteen bytes), and what a barrier costs beside
//! them: as a copy of all of it, and as a flip with a walk behind it.
//!
//! `cargo run --release -p wiesel-operators --example broadcast_bench [-- ENTRIES]`
//!
//! Entries are put by broadcast records, through the head that a task drives. During the walk a frame of 64 replaces as many
//! after every slice of 4 KiB. What the walk gives is compared with the copy; the test suite runs it small.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::time::{Duration, Instant};

use wiesel_core::{Meta, Nanos, SubtaskIndex, TaskFailure, TaskId, Timestamp, VertexId};
use wiesel_operators::{
    BroadcastProcessFunction, BroadcastStart, BroadcastState, BroadcastStates, End, FunctionError,
    Head, OperatorStateRegistry, Output, OutputPort, Pace, ProcessContext, Progress, Snapshot,
    Start, Status, TaskContext,
};
use wiesel_record::{Item, Out, Scratch};
use wiesel_shard::Shard;
use wiesel_wire::{FramePool, FrameShape, FrameWriter, LocalPool};

const NAMES: BroadcastState<u64, String> = BroadcastState::new("names");
const PART: &str = "operator.state/names";
const SLICE_BYTES: usize = 4 << 10;
const PER_SLICE: u64 = 64;

/// A number and what is put under it.
type Name = (u64, u64);

/// Puts each broadcast record into the map.
#[derive(Clone)]
struct Put;

impl BroadcastProcessFunction<u64, Name> for Put {
    type Out = u64;
    type Side = ();

    fn process(
        &mut self,
        number: u64,
        states: &BroadcastStates,
        _context: &mut ProcessContext<'_, ()>,
        out: &mut dyn Out<u64>,
    ) -> Result<(), FunctionError> {
        out.emit(states.map(&NAMES).get(number).map_or(0, |name| name.len() as u64));
        Ok(())
    }

    fn process_broadcast(
        &mut self,
        (number, name): Name,
        states: &mut BroadcastStates,
        _context: &mut ProcessContext<'_, ()>,
        _out: &mut dyn Out<u64>,
    ) -> Result<(), FunctionError> {
        states.put(&NAMES, number, &format!("{name:016x}"));
        Ok(())
    }
}

/// An output that forgets.
struct Nowhere;

impl OutputPort for Nowhere {
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

impl Output<u64> for Nowhere {
    fn append<I: Item<u64>>(&mut self, _item: I, _meta: Meta) {}
    fn watermark(&mut self, _watermark: Timestamp) {}
    fn status(&mut self, _status: Status) {}
}

/// The finaliser of splitmix64.
fn mix(key: u64) -> u64 {
    let mut z = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z ^ (z >> 31)
}

struct Bench {
    head: Box<dyn Head>,
    context: TaskContext,
    pool: LocalPool,
}

impl Bench {
    fn new() -> Self {
        let id = TaskId { vertex: VertexId(1), subtask: SubtaskIndex(0) };
        let context = TaskContext::new(id, "names", 1, 128, Shard::detached(), Default::default());
        let mut states = OperatorStateRegistry::default();
        states.register(&NAMES);
        let start = BroadcastStart::<u64, Name, _>::new(Put, states, None);
        let head = start.head(End::new(Nowhere, &context), &context).expect("it needs nothing");
        let pool = FramePool::new(8, 0).reserve(8).expect("it has eight");
        Self { head: Box::new(head), context, pool }
    }

    /// Puts an entry under each of these numbers, `PER_SLICE` in a frame. Gives nanoseconds.
    fn put(&mut self, numbers: impl Iterator<Item = u64>, salt: u64) -> f64 {
        let (mut nanos, mut scratch) = (0.0, Scratch::new());
        let mut numbers = numbers.peekable();
        while numbers.peek().is_some() {
            let shape = FrameShape::of::<Name>(false, false);
            let mut writer =
                FrameWriter::open(self.pool.take().expect("one goes at a time"), shape);
            for number in numbers.by_ref().take(PER_SLICE as usize) {
                let record = (number, mix(number ^ salt));
                let appended = writer.append::<Name, _>(&&record, Meta::NONE, &mut scratch);
                appended.expect("64 records fit");
            }
            let frame = writer.close();
            let quantum = self.context.shard().quantum(Duration::from_secs(3_600));
            let pace = &mut Pace::new(self.context.stop().clone(), quantum);
            let started = Instant::now();
            let progress = self.head.frame(1, &frame, &mut 0, pace);
            nanos += started.elapsed().as_nanos() as f64;
            assert_eq!(progress, Progress::Done);
            self.pool.give(frame);
        }
        nanos
    }
}

fn run(count: u64) {
    let mut bench = Bench::new();
    let each = |nanos: f64, times: u64| nanos / times.max(1) as f64;
    let number = |at: u64| mix(at) % count;
    println!("put, one after another {:5.0} ns each", each(bench.put(0..count, 0), count));
    println!(
        "replaced             {:7.0} ns each",
        each(bench.put((0..count).map(number), 1), count)
    );

    let (mut copy, started) = (Snapshot::default(), Instant::now());
    bench.head.snapshot(&mut copy);
    let copied_ms = started.elapsed().as_secs_f64() * 1e3;
    let copy = copy.operator(PART).next().expect("it has one part").to_vec();
    println!("a barrier that copies all of it {copied_ms:.1} ms, {} bytes", copy.len());

    let (mut rest, started) = (Snapshot::without_tables(), Instant::now());
    bench.head.lists(&mut |part| part.list.flip());
    bench.head.snapshot(&mut rest);
    let flip_ns = started.elapsed().as_nanos();
    let (mut slices_us, mut given, mut buffer) = (Vec::new(), Vec::new(), Vec::new());
    let (mut at, mut put_ns, mut progress) = (0, 0.0, Progress::Stopped);
    while progress == Progress::Stopped {
        put_ns += bench.put((at..at + PER_SLICE).map(number), 2);
        at += PER_SLICE;
        let started = Instant::now();
        bench.head.lists(&mut |part| {
            let walked = part.list.walk(SLICE_BYTES, &mut buffer, &mut |piece| {
                given.extend_from_slice(piece.bytes);
            });
            progress = walked.expect("nothing is too long");
        });
        slices_us.push(started.elapsed().as_secs_f64() * 1e6);
    }
    println!("  while it is walked {:7.0} ns each", each(put_ns, at));
    let walk_us: f64 = slices_us.iter().sum();
    slices_us.sort_by(f64::total_cmp);
    println!(
        "a barrier that flips {flip_ns} ns; {} slices of 4 KiB: {:.1} us each (median), {:.1} us (99 of 100), {:.1} us (all but one \
         of 1,000); together {:.1} ms",
        slices_us.len(),
        slices_us[slices_us.len() / 2],
        slices_us[slices_us.len() * 99 / 100],
        slices_us[slices_us.len() * 999 / 1_000],
        walk_us / 1e3
    );
    assert!(given == copy, "the walk gives the map of the flip");
}

fn main() {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok());
    run(count.unwrap_or(1_000_000));
}

#[test]
fn the_walk_gives_the_map_of_the_flip() {
    [1, 5_000].into_iter().for_each(run);
}
