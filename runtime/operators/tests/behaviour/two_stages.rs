//! A job of two stages by hand: producers, and windows behind them that merge their watermarks.
//!
//! ```text
//!   producers   steps ─▶ a chain ─▶ log      one of them at a time
//!   windows     logs ─▶ WatermarkValve ─▶ a head ─▶ results      at once, as over channels without delay
//! ```

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

use wiesel_core::{Meta, Nanos, TaskFailure, Timestamp, metrics::TaskMetrics};
use wiesel_exchange::{WatermarkStatus, WatermarkValve};
use wiesel_operators::{End, Head, Output, OutputPort, Progress, Snapshot, Status, TaskContext};
use wiesel_record::{Item, Key, Record};
use wiesel_shard::at_once;

use crate::{
    harness::{Frames, Mode, Probe, Word, context, pace, show_time},
    probe::Event,
    random::Random,
};

/// What a producer sends.
pub enum Sent<T> {
    Record(T, Meta),
    Watermark(Timestamp),
    Status(Status),
}

/// The output of a producer.
pub struct Log<T>(pub Rc<RefCell<Vec<Sent<T>>>>);

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
pub enum Step {
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
pub struct Trace {
    pub producers: usize,
    pub steps: Vec<(usize, Step)>,
    /// Before which steps the job is restored.
    pub restores: Vec<usize>,
}

impl Trace {
    pub fn random(random: &mut Random, active: Step) -> Self {
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

pub type MakeHead<'m, P> = &'m dyn Fn(&TaskContext, P) -> Box<dyn Head>;

/// The job: producers of `T`, and windows over them.
pub struct Job<'m, T: Record> {
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
    pub fn new(
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
                at_once(producer.head.restore(&of_producers)).unwrap();
            }
            at_once(self.windows.restore(&of_windows)).unwrap();
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

    pub fn run(mut self, trace: &Trace) -> (Vec<String>, u64) {
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
