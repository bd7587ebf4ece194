//! Joins against a naive interpreter that keeps every record and looks at all of them again: by key, for ever and for a
//! time; in windows, pair by pair and key by key.

use std::{cell::Cell, collections::BTreeMap, time::Duration};

use wiesel_core::Timestamp;
use wiesel_operators::{
    BothSides, EachPair, Elements, Head, JoinFunction, JoinStart, JoinWindows, KeyedCoHeadStart,
    KeyedCoStart, Nothing, Sliding, Snapshot, TaskContext, TimeToLive, Tumbling, Unbounded,
    WindowJoinStart, WindowOptions, side_output,
};
use wiesel_record::Out;
use wiesel_shard::at_once;

use crate::{
    harness::{self, KEYED, Mode, Probe, Word, key},
    random::Random,
    two_inputs::{Step, Traces, random_script, read, show},
};

fn pair() -> impl JoinFunction<Word, Word, String> {
    |left: (&str, i64), right: (&str, i64), out: &mut dyn Out<String>| {
        assert_eq!(left.0, right.0);
        out.emit(&format!("{}{}+{}", left.0, left.1, right.1));
    }
}

fn head<P>(operator: P, context: &TaskContext, probe: &Probe) -> Box<dyn Head>
where
    P: KeyedCoStart<Word, Word, String>,
    <P::Operator as wiesel_operators::KeyedCoOperator<Word, Word, String>>::Out: harness::Show,
{
    let start = KeyedCoHeadStart::<Word, Word, String, _, _, _>::new(key, key, operator);
    harness::head_of(start, Nothing::new(), context, probe)
}

pub fn unbounded(context: &TaskContext, probe: &Probe) -> Box<dyn Head> {
    head(JoinStart::new(pair(), Unbounded), context, probe)
}

/// A record that came: key, number, when.
type Kept<'s> = (&'s str, i64, i64);

fn show_pair(key: &str, left: i64, right: i64, time: i64) -> String {
    format!("{key}{left}+{right}@{}", show(time))
}

#[test]
fn each_pair_of_a_key_comes_out_when_its_later_record_arrives() {
    let check = |script: &str, expected: &str| harness::check(&unbounded, STOPS, script, expected);
    check("1:a1@5 2:a2@3 2:b3@4 1:a4@1 w9 2:a5@9", "a1+2@3 a4+2@1 w9 a1+5@9 a4+5@9");
    check("2:a1 2:a2 2:a3 1:a4 idle active", "a4+1 a4+2 a4+3 idle active");
}

/// One record may make many: a call cannot stop behind each of them.
const STOPS: &[Mode] =
    &[Mode::Plain, Mode::Stopped(2), Mode::Stopped(3), Mode::Spent, Mode::Restored, Mode::Rescaled];

/// An unbounded join of two keyed streams against its definition.
pub fn an_unbounded_join_is_what_the_definition_says(seed: u64) {
    let mut random = Random(seed);
    let script = random_script(&mut random, Traces { has_extremes: true, numbers: 100 });
    let (mut sides, mut out): ([Vec<Kept<'_>>; 2], Vec<String>) = Default::default();
    for step in script.split(' ') {
        match read(step) {
            Step::Restore => {}
            Step::Late => out.push("late=0".to_owned()),
            Step::Watermark(_) => out.push(step.to_owned()),
            Step::Record(side, key, number, time) => {
                for (_, other, _) in sides[1 - side].iter().filter(|kept| kept.0 == key) {
                    let (left, right) = in_order(side, number, *other);
                    out.push(show_pair(key, left, right, time));
                }
                sides[side].push((key, number, time));
            }
        }
    }
    check_modes(&unbounded, &mut random, seed, &script, &out.join(" "));
}

fn in_order(side: usize, one: i64, two: i64) -> (i64, i64) {
    if side == 0 { (one, two) } else { (two, one) }
}

fn check_modes(
    build: harness::Build<'_>,
    random: &mut Random,
    seed: u64,
    script: &str,
    expected: &str,
) {
    let stops = 1 + random.below(5) as usize;
    for mode in [Mode::Plain, Mode::Stopped(stops), Mode::Spent] {
        let out = harness::run(build, mode, script);
        assert_eq!(out, expected, "SEED={seed}, {mode:?}: {script}");
    }
}

thread_local! {
    /// The time of day: the number of the record at hand.
    static NOW: Cell<i64> = const { Cell::new(0) };
}

fn key_at_its_time(word: (&str, i64)) -> &str {
    NOW.set(word.1);
    word.0
}

fn for_a_time(ttl_ms: i64) -> impl Fn(&TaskContext, &Probe) -> Box<dyn Head> {
    move |context, probe| {
        let ttl = TimeToLive(Duration::from_millis(ttl_ms as u64));
        let operator =
            JoinStart::new(pair(), ttl).with_clock(|_| Timestamp::from_millis(NOW.get()));
        let key = key_at_its_time;
        let start = KeyedCoHeadStart::<Word, Word, String, _, _, _>::new(key, key, operator);
        harness::head_of(start, Nothing::new(), context, probe)
    }
}

#[test]
fn a_record_is_joined_for_its_time_to_live() {
    let build = for_a_time(10);
    let check = |script: &str, expected: &str| harness::check(&build, STOPS, script, expected);
    check("1:a5 2:a14 1:a16", "a5+14 a16+14");
    check("1:a5 2:a15 1:a16", "a16+15");
    check("next? 1:a5 next? p14 next? p15 next?", "next=none next=15 next=15 next=none");
    check("1:a5 1:a9 1:b7 p15 next? p17 next? p19 next?", "next=17 next=19 next=none");
    check("1:a5 2:a6 p40 next? 1:a41 2:a42", "a5+6 next=none a41+42");
}

/// A join of two keyed streams for a time against its definition.
pub fn a_join_for_a_time_is_what_the_definition_says(seed: u64) {
    let mut random = Random(seed);
    let ttl = 1 + random.below(60) as i64;
    let (keys, mut now) = (["a", "b", "cccccccccccccccccccc"], random.below(50) as i64);
    let (mut steps, mut out, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..10 + random.below(150) {
        match random.below(12) {
            0 => steps.push(format!("!{}", 1 + random.below(3))),
            1 | 2 => steps.push(format!("p{now}")),
            _ => {
                now += [0, 0, 1, 2, 30][random.below(5) as usize];
                let key = keys[random.below(3) as usize];
                let side = random.below(2) as usize;
                for (other_side, other, at) in &kept {
                    if *other_side != side && *other == key && at + ttl > now {
                        let (left, right) = in_order(side, now, *at);
                        out.push(format!("{key}{left}+{right}"));
                    }
                }
                kept.push((side, key, now));
                steps.push(format!("{}:{key}{now}", side + 1));
            }
        }
    }
    // A sixteenth later all is gone.
    steps.push(format!("p{}", now + ttl + ttl / 16 + 1));
    steps.push("next?".to_owned());
    out.push("next=none".to_owned());
    check_modes(&for_a_time(ttl), &mut random, seed, &steps.join(" "), &out.join(" "));
}

#[test]
fn a_join_that_has_dropped_all_has_no_state() {
    let (context, mut frames) =
        (harness::context(0, 1, &Default::default()), harness::Frames::<Word>::new());
    let probe = Probe::new(context.stop(), 0);
    let mut head = for_a_time(10)(&context, &probe);
    for number in 0..1_000 {
        let word = (format!("k{}", number % 7), number / 10);
        let hash = <String as wiesel_record::Key>::key_hash(&word.0);
        let meta = wiesel_core::Meta { time: None, hash: Some(hash) };
        let frame = frames.frame([(&word, meta)].into_iter());
        let pace = &mut harness::pace(&context, Mode::Plain);
        let _ = head.frame(number as usize % 2, &frame, &mut 0, pace);
        frames.give(frame);
    }
    let mut snapshot = Snapshot::default();
    head.snapshot(&mut snapshot);
    assert!(!snapshot.is_empty());
    let pace = &mut harness::pace(&context, Mode::Plain);
    let _ = head.advance_time(Timestamp::from_millis(110), pace);
    let mut snapshot = Snapshot::default();
    head.snapshot(&mut snapshot);
    assert!(snapshot.is_empty(), "rows or chunks are left");
}

/// What the windows of a trace are; all in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Setting {
    size: i64,
    slide: i64,
    lateness: i64,
    has_side: bool,
    is_grouped: bool,
}

impl Setting {
    fn random(random: &mut Random) -> Self {
        let size = 1 + random.below(25) as i64;
        let slide = if random.one_in(2) { size } else { 1 + random.below(30) as i64 };
        let lateness = [0, 0, random.below(40) as i64, i64::MAX][random.below(4) as usize];
        let (has_side, is_grouped) = (random.one_in(2), random.one_in(2));
        Self { size, slide, lateness, has_side, is_grouped }
    }

    fn head<W: JoinWindows>(
        self,
        windows: W,
        context: &TaskContext,
        probe: &Probe,
    ) -> Box<dyn Head> {
        context.put_side(0, side_output::<Word>(probe.output("left:")));
        context.put_side(1, side_output::<Word>(probe.output("right:")));
        let allowed_lateness = Duration::from_millis(self.lateness as u64);
        let late_slot = self.has_side.then_some(0);
        let options = WindowOptions { windows, allowed_lateness, late_slot };
        let right = self.has_side.then_some(1);
        if self.is_grouped {
            let group = BothSides::<_, String>::new(group);
            return head(WindowJoinStart::new(group, options, right), context, probe);
        }
        let pairs = EachPair::<_, String>::new(pair());
        head(WindowJoinStart::new(pairs, options, right), context, probe)
    }

    fn build(self) -> impl Fn(&TaskContext, &Probe) -> Box<dyn Head> {
        let (size, slide) = (duration(self.size), duration(self.slide));
        move |context, probe| match self.size == self.slide {
            true => self.head(Tumbling::event_time(size), context, probe),
            false => self.head(Sliding::event_time(size, slide), context, probe),
        }
    }

    /// First and last time of the windows that hold `at`, within time.
    fn windows(&self, at: i64) -> Vec<(i64, i64)> {
        let (at, size, slide) = (i128::from(at), i128::from(self.size), i128::from(self.slide));
        let within = |time: i128| time.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        let last = at.div_euclid(slide);
        let starts = (0..=size / slide).rev().map(|back| (last - back) * slide);
        let covers = starts.filter(|start| *start + size > at);
        covers.map(|start| (within(start), within(start + size) - 1)).collect()
    }
}

fn duration(millis: i64) -> Duration {
    Duration::from_millis(millis as u64)
}

fn group(left: &Elements<'_, Word>, right: &Elements<'_, Word>, out: &mut dyn Out<String>) {
    let (mut key, mut text) = (String::new(), String::new());
    for side in [left, right] {
        assert_eq!(side.is_empty(), side.count() == 0);
        side.for_each(|(word, number)| {
            key = word.to_owned();
            text += &format!(",{number}");
        });
        text += "/";
    }
    out.emit(&format!("{key}={text}"));
}

/// The definition, word by word.
fn interpret(setting: &Setting, script: &str) -> String {
    type Content = [Vec<i64>; 2];
    let mut windows = BTreeMap::<((i64, i64), &str), Content>::new(); // by last and first time
    let (mut watermark, mut dropped, mut out) = (i64::MIN, 0, Vec::new());
    let results = |key: &str, [left, right]: &Content| -> Vec<String> {
        if setting.is_grouped {
            let list = |side: &Vec<i64>| side.iter().map(|n| format!(",{n}")).collect::<String>();
            return vec![format!("{key}={}/{}/", list(left), list(right))];
        }
        let pairs = left.iter().flat_map(|one| right.iter().map(move |two| (one, two)));
        pairs.map(|(one, two)| format!("{key}{one}+{two}")).collect()
    };
    for step in script.split(' ') {
        match read(step) {
            Step::Restore => {}
            Step::Late => out.push(format!("late={dropped}")),
            Step::Watermark(reached) => {
                let due = |last: i64| watermark < last && last <= reached;
                let mut fired: Vec<(i64, String)> = Vec::new();
                for (((last, _), key), content) in windows.iter().filter(|open| due(open.0.0.0)) {
                    fired.extend(results(key, content).into_iter().map(|text| (*last, text)));
                }
                fired.sort();
                out.extend(fired.iter().map(|(last, text)| format!("{text}@{}", show(*last))));
                if setting.has_side {
                    out.extend([format!("left:{step}"), format!("right:{step}")]);
                }
                out.push(step.to_owned());
                watermark = reached;
            }
            Step::Record(side, key, number, time) => {
                let is_over = |last: i64| last.saturating_add(setting.lateness) <= watermark;
                let open = setting.windows(time).into_iter().filter(|window| !is_over(window.1));
                let open: Vec<_> = open.collect();
                if open.is_empty() && is_over(time) {
                    match setting.has_side {
                        true => out.push(format!("{}:{}", ["left", "right"][side], &step[2..])),
                        false => dropped += 1,
                    }
                }
                for (first, last) in open {
                    let content = windows.entry(((last, first), key)).or_default();
                    content[side].push(number);
                    if last <= watermark {
                        let texts = results(key, content).into_iter();
                        out.extend(texts.map(|text| format!("{text}@{}", show(last))));
                    }
                }
            }
        }
    }
    out.join(" ")
}

/// Window joins and co-groups against their definition.
pub fn windows_of_two_streams_are_what_the_definition_says(seed: u64) {
    let mut random = Random(seed);
    let setting = Setting::random(&mut random);
    let script = random_script(&mut random, Traces { has_extremes: true, numbers: 100 });
    let expected = interpret(&setting, &script);
    let build = setting.build();
    check_modes(&build, &mut random, seed, &script, &expected);
}

#[test]
fn a_window_is_dropped_whole_when_it_is_over() {
    let setting = Setting { size: 10, slide: 10, lateness: 5, has_side: false, is_grouped: false };
    let check =
        |script: &str, expected: &str| harness::check(&setting.build(), STOPS, script, expected);
    check("1:a1@1 2:a2@9 1:b3@4 w8 w9 late?", "w8 a1+2@9 w9 late=0");
    check("1:a1@1 w9 2:a2@9 w13 2:a3@9 w14 2:a4@9 late?", "w9 a1+2@9 w13 a1+2@9 a1+3@9 w14 late=1");
    let at = |script: &str| {
        let build = setting.build();
        let context = harness::context(0, 1, &Default::default());
        let mut head = build(&context, &Probe::new(context.stop(), 0));
        let mut frames = harness::Frames::<Word>::new();
        for step in script.split(' ') {
            let pace = &mut harness::pace(&context, Mode::Plain);
            match read(step) {
                Step::Record(side, key, number, time) => {
                    let hash = <String as wiesel_record::Key>::key_hash(key);
                    let meta = wiesel_core::Meta::at(Timestamp::from_millis(time)).with_hash(hash);
                    let word = (key.to_owned(), number);
                    let frame = frames.frame([(&word, meta)].into_iter());
                    let _ = head.frame(side, &frame, &mut 0, pace);
                    frames.give(frame);
                }
                Step::Watermark(time) => {
                    let _ = head.watermark(Timestamp::from_millis(time), pace);
                }
                _ => {}
            }
        }
        let mut snapshot = Snapshot::default();
        head.snapshot(&mut snapshot);
        snapshot.is_empty()
    };
    assert!(!at("1:a1@1 2:a2@9 w13"));
    assert!(at("1:a1@1 2:a2@9 w14"), "a window is left");
}

#[test]
fn a_record_without_a_time_fails_a_join_in_windows() {
    let setting = Setting { size: 10, slide: 10, lateness: 0, has_side: false, is_grouped: false };
    harness::check(
        &setting.build(),
        KEYED,
        "1:a1",
        "could not assign a record to a window (operator `op`, subtask 0): the record has no event \
         time: call `watermarks` before the join",
    );
}

#[test]
fn damaged_lists_are_errors() {
    let context = harness::context(0, 1, &Default::default());
    let probe = Probe::new(context.stop(), 0);
    let mut head = unbounded(&context, &probe);
    let mut frames = harness::Frames::<Word>::new();
    for number in 0..60 {
        let word = ("key".to_owned(), number);
        let meta = wiesel_core::Meta {
            time: None,
            hash: Some(<String as wiesel_record::Key>::key_hash("key")),
        };
        let frame = frames.frame([(&word, meta)].into_iter());
        let _ = head.frame(0, &frame, &mut 0, &mut harness::pace(&context, Mode::Plain));
        frames.give(frame);
    }
    let mut whole = Snapshot::default();
    head.snapshot(&mut whole);
    let restored = |snapshot: &Snapshot| at_once(unbounded(&context, &probe).restore(snapshot));
    restored(&whole).unwrap();
    let groups = context.key_groups();
    let parts = ["join", "join.chunks"].map(|name| {
        let group = groups.iter().find(|group| {
            let range = wiesel_core::KeyGroupRange { first: group.0, end: group.0 + 1 };
            whole.keyed(name, range).next().is_some()
        });
        (name, group, whole.keyed(name, groups).next().unwrap().to_vec())
    });
    let mut refused = 0;
    for (which, (_, _, bytes)) in parts.iter().enumerate() {
        for at in 0..bytes.len() {
            let mut snapshot = Snapshot::default();
            for (index, (name, group, bytes)) in parts.iter().enumerate() {
                let mut bytes = bytes.clone();
                if index == which {
                    bytes[at] ^= 0xff;
                }
                snapshot.put(name, *group, bytes);
            }
            // Numbers within records are as good as others; all else is refused, and nothing panics.
            refused += usize::from(restored(&snapshot).is_err());
        }
    }
    assert!(refused > 300, "{refused} refused");
    // One part without the other.
    for (name, group, bytes) in parts {
        let mut snapshot = Snapshot::default();
        snapshot.put(name, group, bytes);
        assert!(restored(&snapshot).is_err(), "{name} alone");
    }
}
