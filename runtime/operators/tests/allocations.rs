//! Nothing is allocated per record once a keyed chain is warm.
//!
//! Invariant of this file's `unsafe`: the allocator passes every call on to the system's, unchanged, and counts
//! beside it.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::Arc,
    time::Duration,
};

use wiesel_core::{
    Meta, Nanos, SubtaskIndex, TaskFailure, TaskId, Timestamp, VertexId, metrics::TaskMetrics,
    millis,
};
use wiesel_operators::{
    Count, End, Head, KeyedHeadStart, KeyedStart, Output, OutputPort, Pace, Progress, RollingStart,
    Start, Status, TaskContext, Tumbling, TumblingStart, WindowOptions,
};
use wiesel_record::{FnView, Item, Key, Record, Scratch};
use wiesel_shard::Shard;
use wiesel_wire::{Frame, FramePool, FrameShape, FrameWriter};

thread_local! {
    /// Allocations of this thread: tests run beside each other.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to `System` as it came; counting allocates nothing, since the cell is const.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on; `pointer` came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is passed on; `pointer` came from `System`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many allocations `work` makes on this thread.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

/// Writes what it takes into memory of its own, as a frame would.
struct Sink {
    bytes: Vec<u8>,
    scratch: Scratch,
    taken: Arc<TaskMetrics>,
}

impl OutputPort for Sink {
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

impl<T: Record> Output<T> for Sink {
    fn append<I: Item<T>>(&mut self, item: I, _meta: Meta) {
        let mut writer = wiesel_record::RecordWriter::new(&mut self.bytes, 0, &mut self.scratch);
        item.write(&mut writer).expect("a record is shorter than the buffer");
        self.taken.bad_records_skipped.add(1); // Any counter will do.
    }
    fn watermark(&mut self, _watermark: Timestamp) {}
    fn status(&mut self, _status: Status) {}
}

struct Fixture {
    head: Box<dyn Head>,
    context: TaskContext,
    taken: Arc<TaskMetrics>,
}

impl Fixture {
    fn new<T, K, F, P>(key_of: F, operator: P) -> Self
    where
        T: Record,
        K: Key,
        F: for<'a> FnView<'a, T::View<'a>, K::View<'a>> + Clone + Send + 'static,
        P: KeyedStart<T, K>,
    {
        let id = TaskId { vertex: VertexId(1), subtask: SubtaskIndex(0) };
        let context = TaskContext::new(id, "op", 1, 128, Shard::detached(), Arc::default());
        let taken: Arc<TaskMetrics> = Arc::default();
        let sink =
            Sink { bytes: vec![0; 4096], scratch: Scratch::new(), taken: Arc::clone(&taken) };
        let start = KeyedHeadStart::<T, K, _, _>::new(key_of, operator);
        let head = Box::new(start.head(End::new(sink, &context), &context).unwrap());
        Self { head, context, taken }
    }

    fn pace(&self) -> Pace {
        Pace::new(self.context.stop().clone(), self.context.shard().quantum(Duration::MAX))
    }

    fn frame(&mut self, frame: &Frame) {
        let mut cursor = 0;
        loop {
            let mut pace = self.pace();
            if self.head.frame(0, frame, &mut cursor, &mut pace) == Progress::Done {
                return;
            }
        }
    }

    fn watermark(&mut self, millis: i64) {
        loop {
            let mut pace = self.pace();
            let watermark = Timestamp::from_millis(millis);
            if self.head.watermark(watermark, &mut pace) == Progress::Done {
                return;
            }
        }
    }
}

/// A frame of `count` records at `time`.
fn frame<T: Record>(count: u64, time: i64, record: impl Fn(u64) -> (T, u64)) -> Frame {
    let mut frames = FramePool::new(1, 0).reserve(1).unwrap();
    let shape = FrameShape::of::<T>(true, true);
    let mut writer = FrameWriter::open(frames.take().unwrap(), shape);
    let mut scratch = Scratch::new();
    for index in 0..count {
        let (record, hash) = record(index);
        let meta = Meta::at(Timestamp::from_millis(time)).with_hash(hash);
        writer.append::<T, _>(&&record, meta, &mut scratch).unwrap();
    }
    let frame = writer.close();
    std::mem::forget(frames); // The frame outlives its pool, which would say so.
    frame
}

/// Keys of a frame, some of them twice.
const KEYS: u64 = 300;

fn number(index: u64) -> (u64, u64) {
    let key = index % KEYS;
    (key, <u64 as Key>::key_hash(key))
}

fn word(index: u64) -> (String, u64) {
    // Short ones and some that are longer than any small string.
    let key = format!("key number {:>1$}", index % KEYS, index as usize % 40);
    let hash = <String as Key>::key_hash(&key);
    (key, hash)
}

fn number_of(number: u64) -> u64 {
    number
}

fn word_of(word: &str) -> &str {
    word
}

fn windows() -> TumblingStart<Count> {
    TumblingStart::new(Count, WindowOptions::new(Tumbling::event_time(millis(10))))
}

/// A hundred frames, after two that warm the chain up.
fn check(mut fixture: Fixture, frame: &Frame, emits: bool) {
    fixture.frame(frame);
    fixture.frame(frame);
    let taken = fixture.taken.bad_records_skipped.get();
    let allocated = allocations(|| (0..100).for_each(|_| fixture.frame(frame)));
    assert_eq!(allocated, 0, "allocations in {} records", 100 * frame.count());
    let emitted = fixture.taken.bad_records_skipped.get() - taken;
    assert_eq!(emitted, if emits { 100 * u64::from(frame.count()) } else { 0 });
    assert!(!fixture.context.has_failed());
}

#[test]
fn a_rolling_count_allocates_nothing() {
    let rolling = Fixture::new::<u64, u64, _, _>(number_of, RollingStart(Count));
    check(rolling, &frame(400, 5, number), true);
    let rolling = Fixture::new::<String, String, _, _>(word_of, RollingStart(Count));
    check(rolling, &frame(400, 5, word), true);
}

#[test]
fn a_window_count_allocates_nothing_within_a_window() {
    check(Fixture::new::<u64, u64, _, _>(number_of, windows()), &frame(400, 5, number), false);
    check(Fixture::new::<String, String, _, _>(word_of, windows()), &frame(400, 5, word), false);
}

#[test]
fn a_window_allocates_by_its_keys_and_not_by_its_records() {
    // A window is a table of its own: what it costs to fill it once is the same for one frame and for fifty.
    let per_window = |frames: usize| {
        let mut fixture = Fixture::new::<u64, u64, _, _>(number_of, windows());
        let all: Vec<Frame> = (0..5).map(|window| frame(400, window * 10, number)).collect();
        let mut last = 0;
        for (frame, end) in all.iter().zip(1..) {
            last = allocations(|| {
                (0..frames).for_each(|_| fixture.frame(frame));
                fixture.watermark(end * 10 - 1);
            });
        }
        assert_eq!(fixture.taken.bad_records_skipped.get(), 5 * KEYS);
        last
    };
    assert_eq!(per_window(1), per_window(50));
}

#[test]
fn new_keys_do_allocate_or_nothing_was_counted() {
    let mut fixture = Fixture::new::<String, String, _, _>(word_of, RollingStart(Count));
    let frame = frame(400, 5, word);
    assert!(allocations(|| fixture.frame(&frame)) > 0);
}
