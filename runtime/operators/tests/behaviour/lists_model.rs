//! Walks of what has no key groups, at random: lists, broadcast maps and windows of a whole stream are written, removed, fired and
//! cleared between the steps of a walk. What comes of it must be, byte by byte, what a copy at the flip would have been.

use wiesel_core::{Meta, Timestamp, millis};
use wiesel_operators::{
    Aggregate, AggregateFunction, AllWindowsStart, BroadcastProcessFunction, BroadcastStart,
    BroadcastState, BroadcastStates, EventTimeWindows, FrameStart, FunctionError, Head, Nothing,
    OperatorListState, OperatorStateRegistry, ProcessContext, ProcessFunction, ProcessTo, Progress,
    Sliding, Snapshot, TaskContext, Tumbling, WindowOptions,
};
use wiesel_record::Out;
use wiesel_shard::at_once;

use crate::{
    frames::lists_of,
    harness::{self, Frames, Mode, Probe, Word},
    random::Random,
};

const PLAIN: OperatorListState<Word> = OperatorListState::new("plain");
const UNION: OperatorListState<i64> = OperatorListState::union("union");
const WORDS: BroadcastState<String, i64> = BroadcastState::new("words");
const PAIRS: BroadcastState<(i64, String), String> = BroadcastState::new("pairs");

/// What is written depends on the number of a word: few clear all.
const NUMBERS: u64 = 1_000;

/// Writes to two lists.
#[derive(Clone)]
struct Lists;

impl ProcessFunction<Word> for Lists {
    type Out = Word;
    type Side = ();

    fn initialize_state(&self, states: &mut OperatorStateRegistry) {
        states.register(&PLAIN);
        states.register(&UNION);
    }

    fn process(
        &mut self,
        word: (&str, i64),
        context: &mut ProcessContext<'_, ()>,
        out: &mut dyn Out<Word>,
    ) -> Result<(), FunctionError> {
        match word.1 {
            0..5 => context.clear(&PLAIN),
            5..10 => context.update(&UNION, [1, 2, 3]),
            10..80 => context.retain(&PLAIN, |(_, number)| (number ^ word.1) % 5 > 0),
            80..150 => context.retain(&UNION, |number| (number ^ word.1) % 7 > 1),
            number if number % 3 > 0 => context.add(&PLAIN, word),
            number => context.add(&UNION, number),
        }
        out.emit(word);
        Ok(())
    }
}

/// Writes to two maps.
#[derive(Clone)]
struct Maps;

impl BroadcastProcessFunction<Word, Word> for Maps {
    type Out = Word;
    type Side = ();

    fn process(
        &mut self,
        word: (&str, i64),
        _states: &BroadcastStates,
        _context: &mut ProcessContext<'_, ()>,
        out: &mut dyn Out<Word>,
    ) -> Result<(), FunctionError> {
        out.emit(word);
        Ok(())
    }

    fn process_broadcast(
        &mut self,
        (word, number): (&str, i64),
        states: &mut BroadcastStates,
        _context: &mut ProcessContext<'_, ()>,
        _out: &mut dyn Out<Word>,
    ) -> Result<(), FunctionError> {
        match number {
            0..3 => states.clear(&WORDS),
            3..6 => states.clear(&PAIRS),
            6..200 => {
                states.remove(&WORDS, word);
                states.remove(&PAIRS, (number % 3, word));
            }
            _ => {
                states.put(&WORDS, word, number);
                states.put(&PAIRS, (number % 3, word), &word.repeat(number as usize % 4));
            }
        }
        Ok(())
    }
}

type Build = fn(&TaskContext, &Probe) -> Box<dyn Head>;

/// Every kind of head that keeps such state, one of them with two links of the same function.
const HEADS: [Build; 4] = [
    |context, probe| {
        let chain = ProcessTo::new(Nothing::<Word>::new(), Lists, None).at(1);
        let chain = ProcessTo::new(chain, Lists, None).at(2);
        harness::head_of(FrameStart::<Word>::new(), chain, context, probe)
    },
    |context, probe| {
        let mut states = OperatorStateRegistry::default();
        states.register(&WORDS);
        states.register(&PAIRS);
        let start = BroadcastStart::<Word, Word, _>::new(Maps, states, None);
        let chain = ProcessTo::new(Nothing::<Word>::new(), Lists, None).at(1);
        harness::head_of(start, chain, context, probe)
    },
    |context, probe| {
        let tens = Tumbling::event_time(millis(10));
        let options = WindowOptions { allowed_lateness: millis(100), ..WindowOptions::new(tens) };
        windows(options, context, probe)
    },
    |context, probe| {
        let options = WindowOptions::new(Sliding::event_time(millis(40), millis(10)));
        windows(options, context, probe)
    },
];

/// An accumulator that grows.
#[derive(Clone)]
struct AllWords;

impl AggregateFunction<Word> for AllWords {
    type Acc = String;
    type Out = String;

    fn create_accumulator(&self) -> String {
        String::new()
    }

    fn add(&self, all: &mut String, (word, _): (&str, i64)) {
        *all += word;
    }

    fn get_result(&self, all: &str) -> String {
        all.to_owned()
    }
}

fn windows<W: EventTimeWindows>(
    options: WindowOptions<W>,
    context: &TaskContext,
    probe: &Probe,
) -> Box<dyn Head> {
    let start = AllWindowsStart::<_, Word, _>::new(Aggregate(AllWords), options);
    harness::head_of(start, Nothing::new(), context, probe)
}

struct Harness {
    head: Box<dyn Head>,
    context: TaskContext,
    probe: Probe,
    frames: Frames<Word>,
    words: u64,
    longest: u64,
    now_ms: i64,
    watermark_ms: i64,
    walk: Option<Walk>,
    buffer: Vec<u8>,
}

/// What was there at the flip, and what the walk has given.
struct Walk {
    flip: Snapshot,
    given: Vec<(usize, String, Vec<u8>)>,
    is_discarded: bool,
}

impl Harness {
    fn new(build: Build, random: &mut Random) -> Self {
        let context = harness::context(1, 3, &Default::default());
        let probe = Probe::new(context.stop(), 0);
        let mut head = build(&context, &probe);
        head.open().unwrap();
        Self {
            head,
            context,
            probe,
            frames: Frames::new(),
            words: [1, 10, 500][random.below(3) as usize],
            longest: [0, 5, 60][random.below(3) as usize],
            now_ms: 0,
            watermark_ms: i64::MIN,
            walk: None,
            buffer: Vec::new(),
        }
    }

    fn records(&mut self, random: &mut Random) {
        let input = random.below(4).min(1) as usize;
        let words: Vec<(Word, Meta)> = (0..1 + random.below(20))
            .map(|_| {
                self.now_ms += random.below(4) as i64;
                let word = random.below(self.words);
                let tail = "~".repeat((word % (self.longest + 1)) as usize);
                let number = random.below(NUMBERS) as i64;
                let time = self.now_ms - random.below(30) as i64;
                let meta = Meta { time: Some(Timestamp::from_millis(time)), ..Meta::NONE };
                ((format!("{word}{tail}"), number), meta)
            })
            .collect();
        let frame = self.frames.frame(words.iter().map(|(word, meta)| (word, *meta)));
        let pace = &mut harness::pace(&self.context, Mode::Plain);
        assert_eq!(self.head.frame(input, &frame, &mut 0, pace), Progress::Done);
        self.frames.give(frame);
    }

    fn watermark(&mut self, random: &mut Random) {
        self.watermark_ms = self.watermark_ms.max(self.now_ms - random.below(40) as i64);
        let watermark = Timestamp::from_millis(self.watermark_ms);
        let pace = &mut harness::pace(&self.context, Mode::Plain);
        assert_eq!(self.head.watermark(watermark, pace), Progress::Done);
    }

    fn whole(&mut self) -> Snapshot {
        let mut whole = Snapshot::default();
        self.head.snapshot(&mut whole);
        whole
    }

    fn flip(&mut self) {
        if self.walk.is_some() {
            return;
        }
        // All but what is walked comes with the cut.
        let mut rest = Snapshot::without_tables();
        self.head.lists(&mut |part| part.list.flip());
        self.head.snapshot(&mut rest);
        let own = |(position, name, bytes): (usize, &str, &[u8])| {
            (position, name.to_owned(), bytes.to_vec())
        };
        let given = lists_of(&rest).into_iter().map(own).collect();
        self.walk = Some(Walk { flip: self.whole(), given, is_discarded: false });
    }

    fn discard(&mut self) {
        self.head.lists(&mut |part| part.list.discard_walk());
        if let Some(walk) = &mut self.walk {
            walk.is_discarded = true;
        }
    }

    /// A step of the walk, as a task makes it.
    fn step(&mut self, budget_bytes: usize) {
        let Self { head, walk, buffer, .. } = self;
        let Some(Walk { given, is_discarded, .. }) = walk else { return };
        let (mut is_over, mut is_spent, longest) = (true, false, 4 * 64 + 200);
        head.lists(&mut |part| {
            if !part.list.is_walking() || is_spent {
                is_over &= !part.list.is_walking();
                return;
            }
            let mut bytes = 0;
            let progress = part.list.walk(budget_bytes, buffer, &mut |piece| {
                assert!(!*is_discarded, "nobody wants it");
                bytes += piece.bytes.len();
                match piece.begins {
                    true => given.push((part.position, part.name.to_owned(), piece.bytes.to_vec())),
                    false => {
                        let last = given.last_mut().expect("a part has begun");
                        assert_eq!((last.0, &*last.1), (part.position, part.name));
                        last.2.extend_from_slice(piece.bytes);
                    }
                }
            });
            // An accumulator may be longer than anything else.
            assert!(part.name == "window_all" || bytes < budget_bytes + longest, "{bytes} bytes");
            is_spent = progress.expect("nothing is too long") == Progress::Stopped;
            is_over &= !is_spent;
            assert_eq!(is_spent, part.list.is_walking());
        });
        if is_over {
            self.is_walked();
        }
    }

    /// A walk is over.
    fn is_walked(&mut self) {
        let Some(walk) = self.walk.take().filter(|walk| !walk.is_discarded) else { return };
        let mut found: Vec<(usize, &str, &[u8])> =
            walk.given.iter().map(|(at, name, bytes)| (*at, &**name, &**bytes)).collect();
        // Parts of one name are in their order.
        found.sort_by_key(|(position, name, _)| (*position, name.to_owned()));
        assert_eq!(found, lists_of(&walk.flip));
    }
}

pub fn a_walk_is_a_copy_at_the_flip(seed: u64) {
    let mut random = Random(seed);
    let build = HEADS[random.below(HEADS.len() as u64) as usize];
    let mut harness = Harness::new(build, &mut random);
    let writes = 1 + random.below(6);
    for _ in 0..50 + random.below(200) {
        match random.below(12 + writes) {
            0..8 => {
                let budget = [1, 100, 400, 10_000][random.below(4) as usize];
                harness.step(budget);
            }
            8 => harness.flip(),
            9 if random.one_in(10) => harness.discard(),
            10 => harness.watermark(&mut random),
            _ => harness.records(&mut random),
        }
        harness.probe.take();
        assert!(!harness.context.has_failed());
    }
    while harness.walk.is_some() {
        harness.step(1_000);
    }
    // What is left has forgotten nothing of it: it is what another one restores.
    let whole = harness.whole();
    let mut again = Harness::new(build, &mut random);
    let mut alone = Snapshot::of_one();
    for (position, own) in whole.operators() {
        for (name, group, bytes) in own.parts() {
            alone.of_operator_mut(position).put(name, group, bytes.to_vec());
        }
    }
    at_once(again.head.restore(&alone)).unwrap();
    assert_eq!(again.whole(), whole);
}
