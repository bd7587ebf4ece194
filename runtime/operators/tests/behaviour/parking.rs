//! Rows that are not in memory: records wait for them, and nobody can tell.

use wiesel_core::{Meta, Timestamp};
use wiesel_operators::{
    Count, FunctionError, Head, KeyedCoHeadStart, KeyedCoProcessFunction, KeyedCoProcessStart,
    KeyedContext, KeyedHeadStart, KeyedProcessFunction, KeyedProcessStart, Nothing, Pace, Progress,
    RollingStart, Snapshot, StateRegistry, TaskContext, TimeDomain, ValueState,
};
use wiesel_record::{Key, Out};
use wiesel_shard::at_once;
use wiesel_state::AbsentRows;

use crate::{
    harness::{self, Event, Frames, Probe, Word, key},
    random::Random,
};

/// What happens to the head.
enum Step {
    /// Of which input.
    Frame(usize, Vec<Word>),
    Watermark(i64),
    Restore,
}

fn random_steps(random: &mut Random, inputs: u64) -> Vec<Step> {
    let keys = 1 + random.below(12);
    let mut watermark = 0;
    let mut steps = Vec::new();
    for _ in 0..1 + random.below(25) {
        steps.push(match random.below(6) {
            0 | 1 => {
                watermark += random.below(10) as i64;
                Step::Watermark(watermark)
            }
            2 => Step::Restore,
            _ => {
                let word =
                    |_| (format!("k{}", random.below(keys)), watermark + random.below(15) as i64);
                let words = (0..1 + watermark.unsigned_abs() % 40).map(word).collect();
                Step::Frame(random.below(inputs) as usize, words)
            }
        });
    }
    steps.push(Step::Watermark(i64::MAX));
    steps
}

/// A task's loop over a head whose records may be parked.
struct Loop<'b> {
    build: harness::Build<'b>,
    /// Of the rows that are absent; none are without.
    seed: Option<u64>,
    random: Random,
    context: TaskContext,
    probe: Probe,
    head: Box<dyn Head>,
    events: Vec<Event>,
    waited: usize,
}

impl<'b> Loop<'b> {
    fn new(build: harness::Build<'b>, seed: Option<u64>) -> Self {
        let random = Random(seed.unwrap_or(0) ^ 0x5eed);
        let mut random = random;
        let (context, probe, head) = Self::head(build, seed, &mut random);
        Self { build, seed, random, context, probe, head, events: Vec::new(), waited: 0 }
    }

    fn head(
        build: harness::Build<'b>,
        seed: Option<u64>,
        random: &mut Random,
    ) -> (TaskContext, Probe, Box<dyn Head>) {
        let context = harness::context(0, 1, &Default::default());
        if let Some(seed) = seed {
            let (one_in, polls_max) = (1 + random.below(5), 1 + random.below(5));
            context.set_row_sources(Box::new(move || {
                Box::new(AbsentRows::new(seed, one_in, polls_max))
            }));
        }
        let probe = Probe::new(context.stop(), random.below(4) as usize);
        let head = build(&context, &probe);
        (context, probe, head)
    }

    fn pace(&self) -> Pace {
        self.context.stop().clear();
        Pace::new(
            self.context.stop().clone(),
            self.context.shard().quantum(std::time::Duration::from_secs(60)),
        )
    }

    fn frame(&mut self, input: usize, words: &[Word], frames: &mut Frames<Word>) {
        let meta = |word: &Word| {
            Meta::at(Timestamp::from_millis(word.1)).with_hash(<String as Key>::key_hash(&word.0))
        };
        let frame = frames.frame(words.iter().map(|word| (word, meta(word))));
        let mut cursor = 0;
        loop {
            if self.head.has_parked() && self.random.one_in(2) {
                let mut pace = self.pace();
                self.head.unpark(&mut pace);
            }
            let mut pace = self.pace();
            if self.head.frame(input, &frame, &mut cursor, &mut pace) == Progress::Done {
                break;
            }
        }
        assert_eq!(cursor, words.len());
        frames.give(frame);
    }

    /// As the task does before a watermark and a barrier.
    fn unpark_all(&mut self) {
        for polls in 0.. {
            if !self.head.has_parked() {
                self.waited += usize::from(polls > 0);
                return;
            }
            assert!(polls < 10_000, "a record is parked for ever");
            let mut pace = self.pace();
            self.head.unpark(&mut pace);
        }
    }

    fn run(mut self, steps: &[Step]) -> (Vec<Event>, usize) {
        let mut frames = Frames::new();
        let mut last = None;
        for step in steps {
            match step {
                Step::Frame(input, words) => self.frame(*input, words, &mut frames),
                Step::Watermark(watermark) => {
                    self.unpark_all();
                    last = Some(Timestamp::from_millis(*watermark));
                    self.watermark(last);
                }
                Step::Restore => {
                    self.unpark_all();
                    let mut snapshot = Snapshot::default();
                    self.head.snapshot(&mut snapshot);
                    self.events.extend(self.probe.take());
                    (self.context, self.probe, self.head) =
                        Self::head(self.build, self.seed, &mut self.random);
                    at_once(self.head.restore(&snapshot)).unwrap();
                    self.watermark(last);
                    self.probe.take(); // The watermark, once more.
                }
            }
        }
        self.unpark_all();
        assert!(!self.head.has_parked());
        self.events.extend(self.probe.take());
        (self.events, self.waited)
    }

    fn watermark(&mut self, watermark: Option<Timestamp>) {
        let Some(watermark) = watermark else { return };
        for _ in 0..10_000 {
            let mut pace = self.pace();
            if self.head.watermark(watermark, &mut pace) == Progress::Done {
                return;
            }
        }
        panic!("a watermark that is never done");
    }
}

/// Per key, what came out: records, and between them the watermarks.
fn by_key(events: &[Event]) -> Vec<(String, Vec<String>)> {
    let key = |text: &str| text.split('=').next().unwrap_or_default().to_owned();
    let mut keys: Vec<String> = events
        .iter()
        .filter_map(|event| if let Event::Record(text, _) = event { Some(key(text)) } else { None })
        .collect();
    keys.sort();
    keys.dedup();
    let of = |wanted: &String| {
        let of_key = events.iter().filter_map(|event| match event {
            Event::Record(text, meta) if key(text) == *wanted => Some(format!("{text}{meta:?}")),
            Event::Record(..) => None,
            Event::Other(text) => Some(text.clone()),
        });
        (wanted.clone(), of_key.collect())
    };
    keys.iter().map(of).collect()
}

/// Runs random steps with and without absent rows. Gives how often something waited.
fn check(seed: u64, build: harness::Build<'_>, inputs: u64) -> usize {
    let steps = random_steps(&mut Random(seed), inputs);
    let (without, _) = Loop::new(build, None).run(&steps);
    let (with, waits) = Loop::new(build, Some(seed)).run(&steps);
    assert_eq!(by_key(&with), by_key(&without), "SEED={seed}");
    assert_eq!(with.len(), without.len(), "SEED={seed}");
    waits
}

#[test]
fn something_waits() {
    for waits in [a_rolling_count_is_the_same, timers_wait, records_of_two_inputs_wait] {
        assert!((0..100).map(waits).sum::<usize>() > 0);
    }
}

/// A rolling count is the same with absent rows.
pub fn a_rolling_count_is_the_same(seed: u64) -> usize {
    let build = |context: &TaskContext, probe: &Probe| {
        let start = KeyedHeadStart::<Word, String, _, _>::new(key, RollingStart(Count));
        harness::head_of(start, Nothing::new(), context, probe)
    };
    check(seed, &build, 1)
}

/// Counts, and tells the count at the time of each record: every timer needs its row.
#[derive(Clone)]
struct TellLater(ValueState<u64>);

impl KeyedProcessFunction<String, Word> for TellLater {
    type Out = String;
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.0);
    }

    fn process(
        &mut self,
        (key, time): (&str, i64),
        context: &mut KeyedContext<'_, String, ()>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        let count = context.get(&self.0).unwrap_or(0) + 1;
        context.set(&self.0, count);
        context.register_event_timer(Timestamp::from_millis(time));
        out.emit(&format!("{key}={count}"));
        Ok(())
    }

    fn on_timer(
        &mut self,
        time: Timestamp,
        _domain: TimeDomain,
        context: &mut KeyedContext<'_, String, ()>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        let count = context.get(&self.0);
        if time.as_millis() % 3 == 0 {
            context.clear(&self.0);
        }
        context.with_key(|key| out.emit(&format!("{key}={count:?}!")));
        Ok(())
    }
}

/// Timers wait for their rows.
pub fn timers_wait(seed: u64) -> usize {
    let build = |context: &TaskContext, probe: &Probe| {
        let start = KeyedProcessStart::new(TellLater(ValueState::new("count")), None);
        let start = KeyedHeadStart::<Word, String, _, _>::new(key, start);
        harness::head_of(start, Nothing::new(), context, probe)
    };
    check(seed, &build, 1)
}

/// The same over two inputs, of which the second doubles.
impl KeyedCoProcessFunction<String, Word, Word> for TellLater {
    type Out = String;
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.0);
    }

    fn process1(
        &mut self,
        word: (&str, i64),
        context: &mut KeyedContext<'_, String, ()>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        KeyedProcessFunction::process(self, word, context, out)
    }

    fn process2(
        &mut self,
        (key, _): (&str, i64),
        context: &mut KeyedContext<'_, String, ()>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        let count = 2 * context.get(&self.0).unwrap_or(0);
        context.set(&self.0, count % 1_000);
        out.emit(&format!("{key}={count}"));
        Ok(())
    }

    fn on_timer(
        &mut self,
        time: Timestamp,
        domain: TimeDomain,
        context: &mut KeyedContext<'_, String, ()>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        KeyedProcessFunction::on_timer(self, time, domain, context, out)
    }
}

/// Records of two inputs wait in the order of their arrival.
pub fn records_of_two_inputs_wait(seed: u64) -> usize {
    let build = |context: &TaskContext, probe: &Probe| {
        let start = KeyedCoProcessStart::new(TellLater(ValueState::new("count")), None);
        let start = KeyedCoHeadStart::<Word, Word, String, _, _, _>::new(key, key, start);
        harness::head_of(start, Nothing::new(), context, probe)
    };
    check(seed, &build, 2)
}
