//! Runs a head as a task does, from a script to a text, in every way that must make no difference.
//!
//! ```text
//!   script   "a@5 b@7 w9"   records with their times, watermarks, …   one step a word
//!     │   plain:     neighbouring records share a frame
//!     │   stopped:   the output asks to stop after every n-th record
//!     │   spent:     the quantum is spent after every record
//!     │   restored:  before every step a fresh head, from the snapshot of the last
//!     ▼   rescaled:  the same at parallelism 2, 3, 1, 2, …: records go by key group, watermarks to all
//!   text     "a=1@9 b=1@9 w9"
//! ```
//!
//! A step of a script is one of
//!
//! | step | what it is |
//! |---|---|
//! | `a`, `a7`, `a7@5`, `2:a@5` | the record `("a", 7)` with event time 5; the number is 1 and the input the first if not given |
//! | `w5`, `w+`, `w+-1` | a watermark; `+` is the end of time, `-` its beginning, and a number may follow |
//! | `w5/1` | a watermark that only the subtask 1 has reached |
//! | `idle`, `active` | the status of the input |
//! | `t5`, `t5!` | a turn ends 5 ms after the start; `!`: the task has nothing left to do |
//! | `p5` | processing timers up to 5 fire |
//! | `C5` | the clock says 5, and nobody is told |
//! | `C5!` | the clock says 5, and what is due is done, as by a task that has nothing else to do |
//! | `state?` | prints the parts of a snapshot that are by key |
//! | `next?` | prints the time of the next processing timer |
//! | `!3` | the head is restored from its snapshot, at parallelism 3 |
//! | `late?` | prints `numLateRecordsDropped` |
//! | `end` | the input has ended |
//!
//! What a watermark makes a head emit is sorted by time and text: keys fire in the order of their hashes, and a
//! table of expectations should not know it. Everything else is in the order of emission.

use std::{sync::Arc, time::Duration};

use wiesel_core::{
    Meta, Nanos, SubtaskIndex, TaskId, Timestamp, VertexId, key_group_of, metrics::TaskMetrics,
};
use wiesel_operators::{Chain, End, Head, Pace, Progress, Snapshot, Start, Status, TaskContext};
use wiesel_record::Key;
use wiesel_shard::{ManualClock, Shard, at_once};
use wiesel_state::Scope;
use wiesel_wire::Frame;

use crate::words::parse_word;
pub use crate::{
    frames::{Frames, keyed_bytes, lists_of, walk},
    probe::{Event, Probe, Show},
    words::{Word, key, number, parse_time, show_time},
};

/// Key groups of every test.
pub const MAX_PARALLELISM: u32 = 16;

/// Steps of a head that may stop: more than any test needs, so that one that never ends is found.
const CALLS_MAX: usize = 100_000;

/// The context of one subtask, in a task of the operator `op`.
pub fn context(subtask: u32, parallelism: u32, metrics: &Arc<TaskMetrics>) -> TaskContext {
    context_on(Shard::detached(), subtask, parallelism, metrics)
}

/// As [`context`], on a shard of one's own.
pub fn context_on(
    shard: Shard,
    subtask: u32,
    parallelism: u32,
    metrics: &Arc<TaskMetrics>,
) -> TaskContext {
    let id = TaskId { vertex: VertexId(1), subtask: SubtaskIndex(subtask) };
    TaskContext::new(id, "op", parallelism, MAX_PARALLELISM, shard, Arc::clone(metrics))
}

/// Makes the head of one subtask, with outputs of the probe.
pub type Build<'b> = &'b dyn Fn(&TaskContext, &Probe) -> Box<dyn Head>;

/// A head of `start` and `chain` that ends in one output without a name.
pub fn head_of<S, C>(start: S, chain: C, context: &TaskContext, probe: &Probe) -> Box<dyn Head>
where
    S: Start,
    C: Chain<S::Out>,
    C::Out: Show,
{
    let end = End::new(probe.output(""), context);
    let links = chain.finish(end, context);
    Box::new(start.head(links, context).unwrap())
}

/// A way of running a script that must make no difference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// Frames as large as the script allows, turns as long as they like.
    Plain,
    /// The output asks to stop after every so many records.
    Stopped(usize),
    /// As `Stopped(1)`, for heads that expand nothing: a call that was asked to stop emits no second record.
    Exact,
    /// Every turn is spent after one record.
    Spent,
    /// Before every step the head is replaced by one that is restored from its snapshot.
    Restored,
    /// As `Restored`, and each time with another parallelism, from what walks give.
    Rescaled,
}

/// For links whose state is in no snapshot.
pub const STATELESS: &[Mode] = &[Mode::Plain, Mode::Stopped(1), Mode::Stopped(2), Mode::Spent];
/// For operators that run in one subtask.
pub const SINGLE: &[Mode] = &[
    Mode::Plain,
    Mode::Stopped(1),
    Mode::Stopped(2),
    Mode::Stopped(3),
    Mode::Spent,
    Mode::Restored,
];
/// For keyed operators.
pub const KEYED: &[Mode] = &[
    Mode::Plain,
    Mode::Exact,
    Mode::Stopped(2),
    Mode::Stopped(3),
    Mode::Spent,
    Mode::Restored,
    Mode::Rescaled,
];

/// What a head may do that most do not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Nature {
    /// Nothing of it.
    Usual,
    /// Records of the second input go to every subtask.
    Broadcast,
    /// A watermark triggers results out of order of time, and late records are used at the next one: so the last one is
    /// not told again behind a restore.
    Loose,
}

/// Runs `script` in each of `modes` and expects the same text from all.
#[track_caller]
pub fn check(build: Build<'_>, modes: &[Mode], script: &str, expected: &str) {
    for mode in modes {
        assert_eq!(run(build, *mode, script), expected, "{script}, {mode:?}");
    }
}

/// Runs `script` and gives what came out.
pub fn run(build: Build<'_>, mode: Mode, script: &str) -> String {
    run_routed(build, |word| <String as Key>::key_hash(&word.0), mode, script)
}

/// As [`run`], with another hash of each record.
pub fn run_routed(build: Build<'_>, hash_of: fn(&Word) -> u64, mode: Mode, script: &str) -> String {
    play(build, hash_of, mode, Nature::Usual, script).out.join(" ")
}

/// As [`run`], for a head of another nature.
pub fn run_as(nature: Nature, build: Build<'_>, mode: Mode, script: &str) -> String {
    play(build, |word| <String as Key>::key_hash(&word.0), mode, nature, script).out.join(" ")
}

/// The subtask that a key's records are routed to.
pub fn subtask_of(key: &str, parallelism: usize) -> usize {
    let meta = Meta { time: None, hash: Some(<String as Key>::key_hash(key)) };
    owner_of(meta, parallelism)
}

/// What is kept after `script`.
pub fn snapshot(build: Build<'_>, script: &str) -> Snapshot {
    let hash_of = |word: &Word| <String as Key>::key_hash(&word.0);
    play(build, hash_of, Mode::Plain, Nature::Usual, script).snapshot()
}

fn play<'b>(
    build: Build<'b>,
    hash_of: fn(&Word) -> u64,
    mode: Mode,
    nature: Nature,
    script: &str,
) -> Run<'b> {
    let parse_word = |step: &&str| parse_word(step, hash_of);
    let mut run = Run::new(build, mode, nature, if mode == Mode::Rescaled { 2 } else { 1 });
    let steps: Vec<&str> = script.split_whitespace().collect();
    let is_word = |step: &&str| parse_word(step).is_some();
    for chunk in steps.chunk_by(|a, b| is_word(a) && is_word(b)) {
        let words: Vec<(usize, Word, Meta)> = chunk.iter().filter_map(parse_word).collect();
        if words.is_empty() {
            run.restore();
            run.step(chunk[0]);
        } else if run.restores() {
            for word in &words {
                if !run.failed {
                    run.restore();
                    run.records(word.0, std::slice::from_ref(word));
                }
            }
        } else {
            let parallelism = run.subtasks.len();
            let owner = |word: &(usize, Word, Meta)| owner_of(word.2, parallelism);
            for same in words.chunk_by(|a, b| a.0 == b.0 && owner(a) == owner(b)) {
                run.records(same[0].0, same);
            }
        }
        if run.failed {
            break;
        }
    }
    run
}

/// The subtask that a record is routed to.
fn owner_of(meta: Meta, parallelism: usize) -> usize {
    let group = key_group_of(meta.hash.unwrap_or(0), MAX_PARALLELISM);
    group.owner(MAX_PARALLELISM, parallelism as u32) as usize
}

struct Subtask {
    head: Box<dyn Head>,
    context: TaskContext,
    probe: Probe,
    started: Nanos,
}

struct Run<'b> {
    build: Build<'b>,
    mode: Mode,
    nature: Nature,
    subtasks: Vec<Subtask>,
    frames: Frames<Word>,
    metrics: Arc<TaskMetrics>,
    clock: ManualClock,
    watermark: Option<Timestamp>,
    /// Subtasks have seen different watermarks, which a restore evens out.
    is_uneven: bool,
    failed: bool,
    out: Vec<String>,
}

impl<'b> Run<'b> {
    fn new(build: Build<'b>, mode: Mode, nature: Nature, parallelism: u32) -> Self {
        let mut run = Self {
            build,
            mode,
            nature,
            subtasks: Vec::new(),
            frames: Frames::new(),
            metrics: Arc::default(),
            clock: ManualClock::new(Timestamp::from_millis(0)),
            watermark: None,
            is_uneven: false,
            failed: false,
            out: Vec::new(),
        };
        run.subtasks = run.deploy(parallelism, None);
        run
    }

    fn deploy(&self, parallelism: u32, snapshot: Option<&Snapshot>) -> Vec<Subtask> {
        let deploy = |index| {
            let shard = Shard::on(&self.clock);
            let context = context_on(shard, index, parallelism, &self.metrics);
            let every = match self.mode {
                Mode::Stopped(every) => every,
                Mode::Exact => 1,
                _ => 0,
            };
            let probe = Probe::new(context.stop(), every);
            let mut head = (self.build)(&context, &probe);
            if let Some(snapshot) = snapshot {
                at_once(head.restore(snapshot)).unwrap();
                assert!(snapshot.unread().is_empty(), "nobody reads {:?}", snapshot.unread());
            }
            head.open().unwrap();
            let started = context.shard().now();
            Subtask { head, context, probe, started }
        };
        (0..parallelism).map(deploy).collect()
    }

    fn restores(&self) -> bool {
        matches!(self.mode, Mode::Restored | Mode::Rescaled)
    }

    /// Replaces all subtasks by fresh ones from their snapshots. Watermarks are in no snapshot: the last one comes
    /// again, and must find nothing left to do.
    fn restore(&mut self) {
        match (self.mode, self.subtasks.len()) {
            (Mode::Rescaled, 2) => self.restore_at(3),
            (Mode::Rescaled, 1) => self.restore_at(2),
            (Mode::Rescaled, _) | (Mode::Restored, _) => self.restore_at(1),
            _ => {}
        }
    }

    fn snapshot(&mut self) -> Snapshot {
        let mut merged = Snapshot::default();
        self.subtasks.iter_mut().for_each(|subtask| subtask.head.snapshot(&mut merged));
        merged
    }

    fn restore_at(&mut self, parallelism: u32) {
        let merged = self.snapshot();
        let mut walked = Snapshot::without_tables();
        for Subtask { head, .. } in &mut self.subtasks {
            head.snapshot(&mut walked);
            walk(head.as_mut(), Scope::Full, &mut walked);
        }
        assert_eq!(lists_of(&walked), lists_of(&merged), "both ways give the same lists");
        let from = if self.mode == Mode::Rescaled { &walked } else { &merged };
        self.subtasks = self.deploy(parallelism, Some(from));
        let again = self.snapshot();
        let is_same = again == merged || keyed_bytes(&again) == keyed_bytes(&merged);
        assert!(self.is_uneven || is_same, "a restored head has another snapshot");
        if let Some(watermark) = self.watermark.filter(|_| self.nature != Nature::Loose) {
            for subtask in &mut self.subtasks {
                tell(subtask, self.mode, |head, pace| head.watermark(watermark, pace));
                let events = subtask.probe.take();
                let records = events.iter().filter(|event| matches!(event, Event::Record(..)));
                assert_eq!(records.count(), 0, "fired again after a restore: {events:?}");
            }
        }
    }

    fn records(&mut self, input: usize, words: &[(usize, Word, Meta)]) {
        let owner = owner_of(words[0].2, self.subtasks.len());
        let owners = match self.nature == Nature::Broadcast && input == 1 {
            true => 0..self.subtasks.len(),
            false => owner..owner + 1,
        };
        for subtask in &mut self.subtasks[owners] {
            let frame = self.frames.frame(words.iter().map(|(_, word, meta)| (word, *meta)));
            drive(subtask, self.mode, input, &frame);
            self.frames.give(frame);
        }
        self.collect(false);
    }

    fn step(&mut self, step: &str) {
        let mode = self.mode;
        match step.split_at(1) {
            _ if step == "late?" => {
                self.out.push(format!("late={}", self.metrics.late_records_dropped.get()));
            }
            _ if step == "next?" => {
                let timers = self.subtasks.iter().filter_map(|subtask| subtask.head.next_timer());
                let next = timers.min().map_or("none".to_owned(), show_time);
                self.out.push(format!("next={next}"));
            }
            _ if step == "state?" => {
                let names = self.snapshot().keyed_names().join(",");
                self.out.push(format!("state={}", if names.is_empty() { "none" } else { &names }));
            }
            _ if step == "idle" || step == "active" => {
                let status = if step == "idle" { Status::Idle } else { Status::Active };
                self.subtasks.iter_mut().for_each(|subtask| subtask.head.status(status));
            }
            _ if step == "end" => {
                for subtask in &mut self.subtasks {
                    tell(subtask, mode, |head, pace| head.finish(pace));
                }
            }
            ("w", time) if time.contains('/') => {
                let (time, subtask) = time.split_once('/').unwrap();
                let subtask = &mut self.subtasks[subtask.parse::<usize>().unwrap()];
                let watermark = parse_time(time);
                self.is_uneven = true;
                tell(subtask, mode, |head, pace| head.watermark(watermark, pace));
                return self.collect(false);
            }
            ("w", time) => {
                let watermark = parse_time(time);
                self.watermark = Some(watermark);
                for subtask in &mut self.subtasks {
                    tell(subtask, mode, |head, pace| head.watermark(watermark, pace));
                }
            }
            ("!", parallelism) => self.restore_at(parallelism.parse().unwrap()),
            ("p", time) => {
                let now = parse_time(time);
                for subtask in &mut self.subtasks {
                    tell(subtask, mode, |head, pace| head.advance_time(now, pace));
                }
            }
            ("C", time) => {
                let (time, is_told) = time.strip_suffix('!').map_or((time, false), |t| (t, true));
                let now = parse_time(time);
                self.clock.set(now);
                for subtask in self.subtasks.iter_mut().filter(|_| is_told) {
                    while subtask.head.next_timer().is_some_and(|due| due <= now) {
                        tell(subtask, mode, |head, pace| head.advance_time(now, pace));
                    }
                }
            }
            ("t", time) => {
                let (time, is_idle) = time.strip_suffix('!').map_or((time, false), |t| (t, true));
                for subtask in &mut self.subtasks {
                    let now = subtask.started + Duration::from_millis(time.parse().unwrap());
                    subtask.head.tick(now, is_idle);
                }
            }
            _ => panic!("no step is `{step}`"),
        }
        self.collect(true);
    }

    /// Adds what the subtasks have emitted in this step.
    fn collect(&mut self, is_sorted: bool) {
        let (mut records, mut others) = (Vec::new(), Vec::new());
        let parallelism = self.subtasks.len();
        for subtask in &mut self.subtasks {
            let mut told = Vec::new();
            let mut last = Meta::NONE;
            for event in subtask.probe.take() {
                match event {
                    Event::Record(text, meta) if is_sorted => {
                        let is_ordered = last.time <= meta.time || self.nature == Nature::Loose;
                        assert!(is_ordered, "{text}: out of order");
                        assert!(told.is_empty(), "{text}: behind {told:?}");
                        last = meta;
                        records.push((meta.time, text));
                    }
                    Event::Record(text, meta) => self.out.push(show_record(&text, meta.time)),
                    Event::Other(text) if is_sorted => told.push(text),
                    Event::Other(text) => self.out.push(text),
                }
            }
            assert!(others.is_empty() || parallelism == 1 || others == told);
            others = told;
            if let Some(failure) = subtask.context.take_failure() {
                self.failed = true;
                let subtask = format!("subtask {}", subtask.context.id().subtask);
                // Which one it is depends on the mode; a table says 0.
                let failure = format!("{failure}: {}", failure.source);
                assert!(failure.contains(&subtask), "{failure}: {subtask}");
                others.push(failure.replace(&subtask, "subtask 0"));
            }
        }
        records.sort();
        self.out.extend(records.iter().map(|(time, text)| show_record(text, *time)));
        self.out.extend(others);
    }
}

fn show_record(text: &str, time: Option<Timestamp>) -> String {
    time.map_or_else(|| text.to_owned(), |time| format!("{text}@{}", show_time(time)))
}

/// What bounds a turn.
pub fn pace(context: &TaskContext, mode: Mode) -> Pace {
    context.stop().clear();
    let quantum = if mode == Mode::Spent { Duration::ZERO } else { Duration::from_secs(3_600) };
    let mut quantum = context.shard().quantum(quantum);
    // In simulation a quantum is a number of records.
    while mode == Mode::Spent && !quantum.spent() {}
    Pace::new(context.stop().clone(), quantum)
}

/// Gives a frame to a head until it has taken all of it, as the loop of a task does.
fn drive(subtask: &mut Subtask, mode: Mode, input: usize, frame: &Frame) {
    let Subtask { head, context, .. } = subtask;
    let mut cursor = 0;
    loop {
        let before = cursor;
        let progress = head.frame(input, frame, &mut cursor, &mut pace(context, mode));
        if mode == Mode::Spent {
            assert_eq!(cursor, before + 1, "a turn takes one record beyond its quantum");
        }
        if progress == Progress::Done || context.has_failed() {
            assert!(context.has_failed() || cursor == frame.count() as usize);
            return;
        }
        assert!(cursor > before, "stopped without progress");
    }
}

/// Makes a call until it is done.
fn tell(
    subtask: &mut Subtask,
    mode: Mode,
    mut call: impl FnMut(&mut dyn Head, &mut Pace) -> Progress,
) {
    let Subtask { head, context, probe, .. } = subtask;
    for _ in 0..CALLS_MAX {
        let before = probe.len();
        let progress = call(head.as_mut(), &mut pace(context, mode));
        if progress == Progress::Done || context.has_failed() {
            return;
        }
        if mode == Mode::Exact {
            assert_eq!(probe.len(), before + 1, "a call goes on after it was asked to stop");
        }
    }
    panic!("a call that never gets done");
}
