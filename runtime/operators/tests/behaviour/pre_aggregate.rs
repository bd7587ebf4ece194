//! Windows behind producers that pre-aggregate against the same windows behind producers that do not.
//!
//! ```text
//!   producers   steps ─▶ FrameHead, PreAggregate (or nothing) ─▶ log      one of them at a time, at random
//!   windows     logs ─▶ WatermarkValve ─▶ KeyedHead ─▶ results            at once, as over channels without delay
//! ```
//!
//! Both ways see the same trace: records out of order, watermarks of each producer, idle spells, restores in between.
//! Results are compared as a set (behind restores the last of each key and window), and so is how many records were late. `SEED` replays one; `TRACES` says how many.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

use wiesel_core::{Meta, Nanos, StopFlag, TaskFailure, Timestamp, metrics::TaskMetrics};
use wiesel_exchange::{WatermarkStatus, WatermarkValve};
use wiesel_operators::{
    AllWindowsStart, Chain, Count, End, Folding, FrameStart, Head, KeyedHeadStart, Merged, Min,
    Nothing, OfNumber, Output, OutputPort, Partial, PreAggregateAllTo, PreAggregateTo, Progress,
    Sliding, SlidingStart, Snapshot, Start, Status, Sum, TaskContext, Tumbling, TumblingStart,
    WindowOptions, key_of_partial,
};
use wiesel_record::{FnView, Item, Key, Record};

use crate::{
    harness::{Frames, Mode, Probe, Show, Word, context, head_of, key, number, pace, show_time},
    probe::Event,
    random::{Random, seeds},
};

/// What a producer sends.
enum Sent<T> {
    Record(T, Meta),
    Watermark(Timestamp),
    Status(Status),
}

/// The output of a producer.
struct Log<T>(Rc<RefCell<Vec<Sent<T>>>>);

impl<T: Record> OutputPort for Log<T> {
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

impl<T: Record> Output<T> for Log<T> {
    fn append<I: Item<T>>(&mut self, item: I, meta: Meta) {
        self.0.borrow_mut().push(Sent::Record(item.into_owned(), meta));
    }
    fn watermark(&mut self, watermark: Timestamp) {
        self.0.borrow_mut().push(Sent::Watermark(watermark));
    }
    fn status(&mut self, status: Status) {
        self.0.borrow_mut().push(Sent::Status(status));
    }
}

/// One step of one producer.
#[derive(Clone, Debug)]
enum Step {
    Record(Word, i64),
    Watermark(i64),
    Idle,
    /// Active again, and caught up with what its consumers have seen.
    Active,
    /// Active again, and behind.
    ActiveBehind,
}

/// A trace: steps of producers, and restores of the whole job.
#[derive(Debug)]
struct Trace {
    producers: usize,
    steps: Vec<(usize, Step)>,
    /// Before which steps the job is restored.
    restores: Vec<usize>,
}

impl Trace {
    fn random(random: &mut Random, active: Step) -> Self {
        let producers = 1 + random.below(3) as usize;
        let mut clock = vec![0_i64; producers];
        let mut watermark = vec![i64::MIN; producers];
        let mut idle = vec![false; producers];
        let keys = 1 + random.below(12);
        let len = random.below(120) as usize;
        let (mut steps, mut restores) = (Vec::new(), Vec::new());
        while steps.len() < len {
            let at = random.below(producers as u64) as usize;
            if idle[at] && !random.one_in(3) {
                continue;
            }
            if random.one_in(40) && !idle.contains(&true) {
                restores.push(steps.len());
                watermark.fill(i64::MIN);
            }
            let step = match random.below(12) {
                _ if idle[at] => {
                    idle[at] = false;
                    active.clone()
                }
                0 if producers > 1 => {
                    idle[at] = true;
                    Step::Idle
                }
                1..=3 => {
                    watermark[at] = watermark[at].max(clock[at] - random.below(15) as i64);
                    Step::Watermark(watermark[at])
                }
                _ => {
                    clock[at] += random.below(4) as i64;
                    let name = char::from(b'a' + random.below(keys) as u8).to_string();
                    let time = match random.below(60) {
                        0 => i64::MIN + 1 + random.below(20) as i64,
                        1 => i64::MAX - 1 - random.below(20) as i64,
                        _ => clock[at] - random.below(20) as i64,
                    };
                    Step::Record((name, random.below(100) as i64), time)
                }
            };
            steps.push((at, step));
        }
        Self { producers, steps, restores }
    }
}

/// A producer, as a task has it.
struct Producer<T> {
    head: Box<dyn Head>,
    context: TaskContext,
    log: Rc<RefCell<Vec<Sent<T>>>>,
    watermark: Timestamp,
}

type MakeHead<'m, P> = &'m dyn Fn(&TaskContext, P) -> Box<dyn Head>;

/// The job: producers of `T`, and windows over them.
struct Job<'m, T: Record> {
    make_producer: MakeHead<'m, End<T, Log<T>>>,
    make_windows: MakeHead<'m, &'m Probe>,
    producers: Vec<Producer<T>>,
    valve: WatermarkValve,
    windows: Box<dyn Head>,
    windows_context: TaskContext,
    probe: &'m Probe,
    metrics: Arc<TaskMetrics>,
    words: Frames<Word>,
    frames: Frames<T>,
    results: Vec<String>,
}

impl<'m, T: Record> Job<'m, T> {
    fn new(
        producers: usize,
        make_producer: MakeHead<'m, End<T, Log<T>>>,
        make_windows: MakeHead<'m, &'m Probe>,
        probe: &'m Probe,
    ) -> Self {
        let metrics = Arc::default();
        let windows_context = context(0, 1, &metrics);
        let mut job = Self {
            make_producer,
            make_windows,
            producers: Vec::new(),
            valve: WatermarkValve::new(producers),
            windows: make_windows(&windows_context, probe),
            windows_context,
            probe,
            metrics,
            words: Frames::new(),
            frames: Frames::new(),
            results: Vec::new(),
        };
        job.deploy(producers, None);
        job
    }

    fn deploy(&mut self, producers: usize, snapshots: Option<(Snapshot, Snapshot)>) {
        let metrics = Arc::default();
        self.producers = (0..producers)
            .map(|index| {
                let context = context(index as u32, producers as u32, &metrics);
                let log = Rc::default();
                let end = End::new(Log(Rc::clone(&log)), &context);
                Producer {
                    head: (self.make_producer)(&context, end),
                    context,
                    log,
                    watermark: Timestamp::MIN,
                }
            })
            .collect();
        self.valve = WatermarkValve::new(producers);
        self.windows = (self.make_windows)(&self.windows_context, self.probe);
        if let Some((of_producers, of_windows)) = snapshots {
            for producer in &mut self.producers {
                producer.head.restore(&of_producers).unwrap();
            }
            self.windows.restore(&of_windows).unwrap();
        }
    }

    fn restore(&mut self) {
        let (mut of_producers, mut of_windows) = (Snapshot::default(), Snapshot::default());
        for producer in &mut self.producers {
            let mut part = Snapshot::default();
            producer.head.snapshot(&mut part);
            of_producers.merge(part);
        }
        self.windows.snapshot(&mut of_windows);
        self.deploy(self.producers.len(), Some((of_producers, of_windows)));
    }

    fn run(mut self, trace: &Trace) -> (Vec<String>, u64) {
        for (index, (at, step)) in trace.steps.iter().enumerate() {
            if trace.restores.contains(&index) {
                self.restore();
            }
            self.step(*at, step);
        }
        for at in 0..self.producers.len() {
            if self.producers.len() > 1 {
                self.tell(at, &mut |head, _| {
                    head.status(Status::Active);
                    Progress::Done
                });
            }
            self.tell(at, &mut |head, context| {
                head.watermark(Timestamp::MAX, &mut pace(context, Mode::Plain))
            });
            self.tell(at, &mut |head, context| head.finish(&mut pace(context, Mode::Plain)));
        }
        let mut left = Snapshot::default();
        self.producers.iter_mut().for_each(|producer| producer.head.snapshot(&mut left));
        self.windows.snapshot(&mut left);
        assert!(left.is_empty(), "something is left: {left:?}");
        if !trace.restores.is_empty() {
            self.keep_last();
        }
        self.results.sort();
        (self.results, self.metrics.late_records_dropped.get())
    }

    /// Of several results of a key and window the last one. Restored windows that have fired before wait for the watermark
    /// again, and fire for each record until then: fewer times, if records come combined.
    fn keep_last(&mut self) {
        let mut last = BTreeMap::new();
        for result in self.results.drain(..) {
            let (key, rest) = result.split_once('=').unwrap();
            let (value, time) = rest.split_once('@').unwrap();
            last.insert((key.to_owned(), time.to_owned()), value.to_owned());
        }
        let results = last.into_iter().map(|((key, time), value)| format!("{key}={value}@{time}"));
        self.results = results.collect();
    }

    fn step(&mut self, at: usize, step: &Step) {
        match step {
            Step::Record(word, time) => {
                let meta = Meta::at(Timestamp::from_millis(*time))
                    .with_hash(<String as Key>::key_hash(&word.0));
                let frame = self.words.frame([(word, meta)].into_iter());
                self.tell(at, &mut |head, context| {
                    head.frame(0, &frame, &mut 0, &mut pace(context, Mode::Plain))
                });
                self.words.give(frame);
            }
            Step::Watermark(time) => self.watermark(at, Timestamp::from_millis(*time)),
            Step::Idle => self.tell(at, &mut |head, _| {
                head.status(Status::Idle);
                Progress::Done
            }),
            Step::Active | Step::ActiveBehind => {
                self.tell(at, &mut |head, _| {
                    head.status(Status::Active);
                    Progress::Done
                });
                if let Step::Active = step {
                    self.watermark(at, self.valve.last());
                }
            }
        }
    }

    fn watermark(&mut self, at: usize, watermark: Timestamp) {
        let watermark = watermark.max(self.producers[at].watermark);
        self.producers[at].watermark = watermark;
        self.tell(at, &mut |head, context| {
            head.watermark(watermark, &mut pace(context, Mode::Plain))
        });
    }

    /// Makes a call to a producer until it is done, and gives the windows what it sends.
    fn tell(&mut self, at: usize, call: &mut dyn FnMut(&mut dyn Head, &TaskContext) -> Progress) {
        let Producer { head, context, log, .. } = &mut self.producers[at];
        while call(head.as_mut(), context) == Progress::Stopped {}
        assert!(!context.has_failed());
        for sent in std::mem::take(&mut *log.borrow_mut()) {
            let context = &self.windows_context;
            let output = match sent {
                Sent::Record(record, meta) => {
                    let frame = self.frames.frame([(&record, meta)].into_iter());
                    let progress =
                        self.windows.frame(0, &frame, &mut 0, &mut pace(context, Mode::Plain));
                    assert_eq!(progress, Progress::Done);
                    self.frames.give(frame);
                    continue;
                }
                Sent::Watermark(watermark) => self.valve.watermark(at, watermark),
                Sent::Status(Status::Idle) => self.valve.idle(at),
                Sent::Status(Status::Active) => self.valve.active(at),
            };
            if let Some(watermark) = output.watermark {
                let mut fire =
                    || self.windows.watermark(watermark, &mut pace(context, Mode::Plain));
                while fire() == Progress::Stopped {}
            }
            if let Some(status) = output.status {
                self.windows.status(match status {
                    WatermarkStatus::Idle => Status::Idle,
                    WatermarkStatus::Active => Status::Active,
                });
            }
        }
        let failure = self.windows_context.take_failure();
        assert!(failure.is_none(), "{failure:?}");
        for event in self.probe.take() {
            if let Event::Record(text, meta) = event {
                self.results
                    .push(format!("{text}@{}", meta.time.map_or_else(String::new, show_time)));
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Windows {
    Tumbling(Tumbling),
    Sliding(Sliding),
}

impl Windows {
    fn random(random: &mut Random) -> Self {
        let millis = |ms: u64| Duration::from_millis(ms);
        let offset = if random.one_in(2) { millis(random.below(30)) } else { Duration::ZERO };
        let size = 1 + random.below(20);
        if random.one_in(2) {
            let size = if random.one_in(8) { Duration::MAX } else { millis(size) };
            return Self::Tumbling(Tumbling::event_time(size).with_offset(offset));
        }
        let slide = millis(1 + random.below(size));
        Self::Sliding(Sliding::event_time(millis(size), slide).with_offset(offset))
    }

    fn slices(self) -> Tumbling {
        match self {
            Self::Tumbling(tumbling) => tumbling,
            Self::Sliding(sliding) => sliding.slices(),
        }
    }

    /// Windows of each key over records of `T`.
    fn head<T: Record, A: Folding<String, T, Out: Show>>(
        self,
        key_of: impl for<'a> FnView<'a, T::View<'a>, &'a str> + Clone + Send + 'static,
        folding: A,
        context: &TaskContext,
        probe: &Probe,
    ) -> Box<dyn Head> {
        match self {
            Self::Tumbling(tumbling) => {
                let start = TumblingStart::new(folding, WindowOptions::new(tumbling));
                let start = KeyedHeadStart::<T, String, _, _>::new(key_of, start);
                head_of(start, Nothing::new(), context, probe)
            }
            Self::Sliding(sliding) => {
                let start = SlidingStart::new(folding, WindowOptions::new(sliding));
                let start = KeyedHeadStart::<T, String, _, _>::new(key_of, start);
                head_of(start, Nothing::new(), context, probe)
            }
        }
    }

    /// Windows of all records of `T`.
    fn head_of_all<T: Record, A: Folding<(), T, Out: Show>>(
        self,
        folding: A,
        context: &TaskContext,
        probe: &Probe,
    ) -> Box<dyn Head> {
        match self {
            Self::Tumbling(tumbling) => {
                let start = AllWindowsStart::new(folding, WindowOptions::new(tumbling));
                head_of(start, Nothing::new(), context, probe)
            }
            Self::Sliding(sliding) => {
                let start = AllWindowsStart::new(folding, WindowOptions::new(sliding));
                head_of(start, Nothing::new(), context, probe)
            }
        }
    }
}

fn producer<T, C>(chain: C, context: &TaskContext, end: End<T, Log<T>>) -> Box<dyn Head>
where
    T: Record,
    C: Chain<Word, Out = T>,
{
    let links = chain.finish(end, context);
    Box::new(FrameStart::<Word>::new().head(links, context).unwrap())
}

/// With and without pre-aggregation, windows of each key give the same.
fn check_keyed<A>(trace: &Trace, windows: Windows, rows_max: usize, folding: A)
where
    A: Folding<String, Word, Out: Show>,
{
    let probe = Probe::new(&StopFlag::new(), 0);
    let plain = Job::<Word>::new(
        trace.producers,
        &|context, end| producer(Nothing::new(), context, end),
        &|context, probe| windows.head(key, folding.clone(), context, probe),
        &probe,
    )
    .run(trace);
    let chain = PreAggregateTo::<_, String, _, _>::new(
        Nothing::<Word>::new(),
        key,
        folding.clone(),
        windows.slices(),
    );
    let merged = Job::<Partial<String, A::Acc>>::new(
        trace.producers,
        &|context, end| producer(chain.clone().rows_max(rows_max), context, end),
        &|context, probe| {
            let folding = Merged::<A, Word>::new(folding.clone());
            windows.head(key_of_partial::<String, A::Acc>, folding, context, probe)
        },
        &probe,
    )
    .run(trace);
    assert_eq!(merged, plain, "{windows:?} {rows_max} {trace:?}");
}

/// As [`check_keyed`], of windows of all records.
fn check_all<A>(trace: &Trace, windows: Windows, folding: A)
where
    A: Folding<(), Word, Out: Show>,
{
    let probe = Probe::new(&StopFlag::new(), 0);
    let plain = Job::<Word>::new(
        trace.producers,
        &|context, end| producer(Nothing::new(), context, end),
        &|context, probe| windows.head_of_all(folding.clone(), context, probe),
        &probe,
    )
    .run(trace);
    let chain = PreAggregateAllTo::new(Nothing::<Word>::new(), folding.clone(), windows.slices());
    let merged = Job::<Partial<(), A::Acc>>::new(
        trace.producers,
        &|context, end| producer(chain.clone(), context, end),
        &|context, probe| {
            let folding = Merged::<A, Word>::new(folding.clone());
            windows.head_of_all(folding, context, probe)
        },
        &probe,
    )
    .run(trace);
    assert_eq!(merged, plain, "{windows:?} {trace:?}");
}

#[test]
fn windows_cannot_tell() {
    for seed in seeds(3_000) {
        let random = &mut Random(seed);
        let (trace, windows) = (Trace::random(random, Step::Active), Windows::random(random));
        let rows_max = 1 + random.below(10) as usize;
        println!("SEED={seed}"); // Shown if what follows fails.
        match random.below(3) {
            0 => {
                check_keyed(&trace, windows, rows_max, Count);
                check_all(&trace, windows, Count);
            }
            1 => {
                check_keyed(&trace, windows, rows_max, OfNumber::new(number, Sum));
                check_all(&trace, windows, OfNumber::new(number, Sum));
            }
            _ => {
                check_keyed(&trace, windows, rows_max, OfNumber::new(number, Min));
                check_all(&trace, windows, OfNumber::new(number, Min));
            }
        }
    }
}

/// Whether a producer that is behind sends records too late depends on who is faster, with pre-aggregation and without.
/// But each counts in its window or as late.
#[test]
fn what_comes_late_behind_an_idle_spell_counts() {
    let mut late_in_all = 0;
    for seed in seeds(1_000) {
        let random = &mut Random(seed);
        let mut trace = Trace::random(random, Step::ActiveBehind);
        trace.restores.clear(); // Windows that have fired before would count anew.
        let tumbling = Tumbling::event_time(Duration::from_millis(1 + random.below(20)));
        let probe = Probe::new(&StopFlag::new(), 0);
        let keyed =
            PreAggregateTo::<_, String, _, _>::new(Nothing::<Word>::new(), key, Count, tumbling);
        let windows = Windows::Tumbling(tumbling);
        let of_keys = Job::<Partial<String, u64>>::new(
            trace.producers,
            &|context, end| producer(keyed.clone(), context, end),
            &|context, probe| {
                let merged = Merged::<Count, Word>::new(Count);
                windows.head(key_of_partial::<String, u64>, merged, context, probe)
            },
            &probe,
        )
        .run(&trace);
        let all = PreAggregateAllTo::new(Nothing::<Word>::new(), Count, tumbling);
        let of_all = Job::<Partial<(), u64>>::new(
            trace.producers,
            &|context, end| producer(all.clone(), context, end),
            &|context, probe| {
                windows.head_of_all(Merged::<Count, Word>::new(Count), context, probe)
            },
            &probe,
        )
        .run(&trace);
        let records = trace.steps.iter().filter(|(_, step)| matches!(step, Step::Record(..)));
        let records = records.count() as u64;
        for (results, late) in [of_keys, of_all] {
            let count = |result: &String| {
                let (count, _) = result.split_once('=').unwrap().1.split_once('@').unwrap();
                count.parse::<u64>().unwrap()
            };
            let counted: u64 = results.iter().map(count).sum();
            assert_eq!(counted + late, records, "SEED={seed} {tumbling:?} {trace:?} {results:?}");
            late_in_all += late;
        }
    }
    assert!(late_in_all > 0 || std::env::var("SEED").is_ok());
}
