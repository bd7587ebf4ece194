//! Broadcast state: what broadcast records write, records of every subtask see, with keys and without; tables, and random
//! traces against a naive interpreter.

use std::collections::{BTreeMap, BTreeSet};

use wiesel_core::{Timestamp, millis};
use wiesel_operators::{
    BroadcastProcessFunction, BroadcastStart, BroadcastState, BroadcastStates, FunctionError, Head,
    KeyedBroadcastContext, KeyedBroadcastProcessFunction, KeyedBroadcastStart, KeyedContext,
    Nothing, OperatorStateRegistry, ProcessContext, Snapshot, StateRegistry, TaskContext,
    TimeDomain, ValueState, side_output,
};
use wiesel_record::Out;
use wiesel_shard::at_once;

use crate::{
    harness::{self, Mode, Nature, Probe, Word, key, show_time},
    random::Random,
    two_inputs::{Step, Traces, random_script, read, show},
};

const FACTORS: BroadcastState<String, i64> = BroadcastState::new("factors");
const COUNT: BroadcastState<(), u64> = BroadcastState::new("count");

const MODES: [Mode; 6] =
    [Mode::Plain, Mode::Stopped(1), Mode::Stopped(2), Mode::Spent, Mode::Restored, Mode::Rescaled];

fn registry() -> OperatorStateRegistry {
    let mut states = OperatorStateRegistry::default();
    states.register(&FACTORS);
    states.register(&COUNT);
    states
}

/// All factors, in their order, and how many there ever were.
fn digest(states: &BroadcastStates) -> String {
    let factors = states.map(&FACTORS);
    let mut text: String = factors.iter().map(|(key, n)| format!(",{key}*{n}")).collect();
    assert_eq!((factors.len(), factors.is_empty()), (factors.iter().count(), text.is_empty()));
    text += &format!("#{}", states.map(&COUNT).get(()).unwrap_or(0));
    text
}

/// 0 takes a factor away, 12 all of them; else it is set.
fn write(states: &mut BroadcastStates, key: &str, number: i64) {
    match number {
        0 => {
            let was_there = states.map(&FACTORS).contains(key);
            assert_eq!(states.remove(&FACTORS, key), was_there);
        }
        12 => states.clear(&FACTORS),
        _ => states.put(&FACTORS, key, number),
    }
    let count = states.map(&COUNT).get(()).unwrap_or(0);
    states.put(&COUNT, (), count + 1);
}

/// A sum per key, of numbers times the factor of the key. Multiples of three want to be told five milliseconds later,
/// 7 goes aside, 11 forgets. A broadcast multiple of five is added to every sum.
#[derive(Clone)]
struct Ledger(ValueState<i64>);

impl KeyedBroadcastProcessFunction<String, Word, Word> for Ledger {
    type Out = String;
    type Side = i64;

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.0);
    }

    fn process(
        &mut self,
        (key, number): (&str, i64),
        states: &BroadcastStates,
        context: &mut KeyedContext<'_, String, i64>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        let factor = states.map(&FACTORS).get(key).unwrap_or(1);
        let sum = context.get(&self.0).unwrap_or(0) + number * factor;
        context.set(&self.0, sum);
        out.emit(&format!("{key}={sum}{}", digest(states)));
        if let Some(time) = context.timestamp().map(|time| time + millis(5))
            && number % 3 == 0
            && time > context.watermark()
        {
            context.register_event_timer(time);
        }
        match number {
            7 => context.side(sum),
            11 => context.clear(&self.0),
            _ => {}
        }
        Ok(())
    }

    fn process_broadcast(
        &mut self,
        (key, number): (&str, i64),
        states: &mut BroadcastStates,
        context: &mut KeyedBroadcastContext<'_, String, i64>,
        _out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        if number == 13 {
            return Err("thirteen".into());
        }
        write(states, key, number);
        if number % 5 == 0 {
            context.apply_to_keyed_state(&self.0, |key, context| {
                let sum = context.get(&self.0).expect("only keys that have a sum");
                assert!(context.with_key(|other| other == key));
                context.set(&self.0, sum + number);
            });
        }
        Ok(())
    }

    fn on_timer(
        &mut self,
        _time: Timestamp,
        domain: TimeDomain,
        states: &BroadcastStates,
        context: &mut KeyedContext<'_, String, i64>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        assert_eq!(domain, TimeDomain::EventTime);
        let sum = context.get(&self.0).unwrap_or(0);
        context.with_key(|key| out.emit(&format!("{key}={sum}!{}", digest(states))));
        Ok(())
    }
}

pub fn ledger(context: &TaskContext, probe: &Probe) -> Box<dyn Head> {
    context.put_side(0, side_output::<i64>(probe.output("side:")));
    let ledger = Ledger(ValueState::new("sum"));
    let start =
        KeyedBroadcastStart::<Word, Word, String, _, _>::new(key, ledger, registry(), Some(0));
    harness::head_of(start, Nothing::new(), context, probe)
}

/// What is broadcast, by definition.
#[derive(Default)]
struct Factors<'s> {
    factors: BTreeMap<&'s str, i64>,
    count: u64,
}

impl<'s> Factors<'s> {
    fn write(&mut self, key: &'s str, number: i64) {
        self.count += 1;
        match number {
            0 => self.factors.retain(|other, _| *other != key),
            12 => self.factors.clear(),
            _ => *self.factors.entry(key).or_default() = number,
        }
    }

    fn digest(&self) -> String {
        let factors: String = self.factors.iter().map(|(key, n)| format!(",{key}*{n}")).collect();
        format!("{factors}#{}", self.count)
    }
}

fn interpret(script: &str) -> String {
    let mut out = Vec::new();
    let mut factors = Factors::default();
    let (mut sums, mut timers) = (BTreeMap::<&str, i64>::new(), BTreeSet::<(i64, &str)>::new());
    let mut watermark = i64::MIN;
    for step in script.split(' ') {
        match read(step) {
            Step::Restore => {}
            Step::Late => out.push("late=0".to_owned()),
            Step::Record(0, key, number, time) => {
                let sum = sums.entry(key).or_default();
                *sum += number * factors.factors.get(key).unwrap_or(&1);
                let sum = *sum;
                out.push(format!("{key}={sum}{}@{}", factors.digest(), show(time)));
                let later = time.saturating_add(5);
                if number % 3 == 0 && later > watermark {
                    timers.insert((later, key));
                }
                if number == 7 {
                    out.push(format!("side:{sum}@{}", show(time)));
                }
                if number == 11 {
                    sums.remove(key);
                }
            }
            Step::Record(_, key, number, _) => {
                factors.write(key, number);
                if number % 5 == 0 {
                    sums.values_mut().for_each(|sum| *sum += number);
                }
            }
            Step::Watermark(reached) => {
                watermark = reached;
                let later = timers.split_off(&(reached, "\u{10ffff}"));
                let mut told: Vec<(i64, String)> = std::mem::replace(&mut timers, later)
                    .into_iter()
                    .map(|(time, key)| {
                        let sum = sums.get(key).copied().unwrap_or(0);
                        (time, format!("{key}={sum}!{}", factors.digest()))
                    })
                    .collect();
                told.sort();
                out.extend(told.into_iter().map(|(time, text)| format!("{text}@{}", show(time))));
                out.extend([format!("side:{step}"), step.to_owned()]);
            }
        }
    }
    out.join(" ")
}

#[track_caller]
fn check(build: harness::Build<'_>, script: &str, expected: &str) {
    for mode in MODES {
        let out = harness::run_as(Nature::Broadcast, build, mode, script);
        assert_eq!(out, expected, "{script}, {mode:?}");
    }
}

#[test]
fn records_of_every_key_see_what_was_broadcast() {
    check(&ledger, "1:a5@1 2:a2@2 1:a5@3 1:b1@3", "a=5#0@1 a=15,a*2#1@3 b=1,a*2#1@3");
    check(&ledger, "2:a2@1 2:b3 2:a0 1:a1@3 2:c12 1:b1@4", "a=1,b*3#3@3 b=1#4@4");
    check(
        &ledger,
        "1:a1@1 1:b2@1 1:c11@1 2:x10@2 1:a1@3 1:b1@3 1:c1@3",
        "a=1#0@1 b=2#0@1 c=11#0@1 a=12,x*10#1@3 b=13,x*10#1@3 c=1,x*10#1@3",
    );
    check(
        &ledger,
        "1:a3@1 2:a2 w5 w6 1:a7@9",
        "a=3#0@1 side:w5 w5 a=3!,a*2#1@6 side:w6 w6 a=17,a*2#1@9 side:17@9",
    );
    check(&ledger, "idle active", "side:idle idle side:active active");
    let failed = harness::run_as(Nature::Broadcast, &ledger, Mode::Plain, "2:a13");
    assert_eq!(failed, "could not process a broadcast record (operator `op`, subtask 0): thirteen");
}

pub fn keyed_functions_with_broadcast_state_are_what_the_definition_says(seed: u64) {
    let mut random = Random(seed);
    // Thirteen fails.
    let script = random_script(&mut random, Traces { has_extremes: true, numbers: 13 });
    let expected = interpret(&script);
    let stops = 1 + random.below(5) as usize;
    for mode in [Mode::Plain, Mode::Stopped(stops), Mode::Spent, Mode::Rescaled] {
        let out = harness::run_as(Nature::Broadcast, &ledger, mode, &script);
        assert_eq!(out, expected, "SEED={seed}, {mode:?}: {script}");
    }
}

/// Numbers times the factor of their key; what is 0 goes aside.
#[derive(Clone)]
struct Scale;

impl BroadcastProcessFunction<Word, Word> for Scale {
    type Out = String;
    type Side = String;

    fn process(
        &mut self,
        (key, number): (&str, i64),
        states: &BroadcastStates,
        context: &mut ProcessContext<'_, String>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        match number * states.map(&FACTORS).get(key).unwrap_or(1) {
            0 => context.side(&format!("{key}/w{}", show_time(context.watermark()))),
            product => out.emit(&format!("{product}{}", digest(states))),
        }
        Ok(())
    }

    fn process_broadcast(
        &mut self,
        (key, number): (&str, i64),
        states: &mut BroadcastStates,
        _context: &mut ProcessContext<'_, String>,
        _out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        write(states, key, number);
        Ok(())
    }
}

pub fn scale(context: &TaskContext, probe: &Probe) -> Box<dyn Head> {
    context.put_side(0, side_output::<String>(probe.output("side:")));
    let start = BroadcastStart::<Word, Word, _>::new(Scale, registry(), Some(0));
    harness::head_of(start, Nothing::new(), context, probe)
}

#[test]
fn a_factor_holds_from_its_record_on() {
    check(&scale, "1:a5@1 2:a3@2 1:a5@3 1:a0", "5#0@1 15,a*3#1@3 side:a/w-");
}

pub fn functions_without_keys_and_with_broadcast_state_are_what_the_definition_says(seed: u64) {
    let mut random = Random(seed);
    let script = random_script(&mut random, Traces { has_extremes: true, numbers: 13 });
    let (mut factors, mut watermark, mut out) = (Factors::default(), i64::MIN, Vec::new());
    for step in script.split(' ') {
        match read(step) {
            Step::Restore => {}
            Step::Late => out.push("late=0".to_owned()),
            Step::Record(0, key, number, time) => {
                let product = number * factors.factors.get(key).unwrap_or(&1);
                out.push(match product {
                    0 => format!("side:{key}/w{}@{}", show(watermark), show(time)),
                    _ => format!("{product}{}@{}", factors.digest(), show(time)),
                });
            }
            Step::Record(_, key, number, _) => factors.write(key, number),
            Step::Watermark(reached) => {
                watermark = reached;
                out.extend([format!("side:{step}"), step.to_owned()]);
            }
        }
    }
    let expected = out.join(" ");
    for mode in [Mode::Plain, Mode::Stopped(1 + random.below(5) as usize), Mode::Spent] {
        let out = harness::run_as(Nature::Broadcast, &scale, mode, &script);
        assert_eq!(out, expected, "SEED={seed}, {mode:?}: {script}");
    }
}

/// A map of another type under the same name.
const OTHER: BroadcastState<String, u8> = BroadcastState::new("factors");

fn head_with(states: &OperatorStateRegistry, subtask: u32, parallelism: u32) -> Box<dyn Head> {
    let context = harness::context(subtask, parallelism, &Default::default());
    let probe = Probe::new(context.stop(), 0);
    let start = BroadcastStart::<Word, Word, _>::new(Scale, states.clone(), None);
    harness::head_of(start, Nothing::new(), &context, &probe)
}

/// Of each of two subtasks: with factors whose number is that of the subtask.
fn snapshot_of_two() -> Snapshot {
    let mut merged = Snapshot::default();
    for subtask in [1, 0] {
        let mut head = head_with(&registry(), subtask, 2);
        let context = harness::context(subtask, 2, &Default::default());
        let mut frames = harness::Frames::<Word>::new();
        let words = [("a".to_owned(), 7 + i64::from(subtask)), ("bb".to_owned(), 9)];
        let frame = frames.frame(words.iter().map(|word| (word, wiesel_core::Meta::NONE)));
        let _ = head.frame(1, &frame, &mut 0, &mut harness::pace(&context, Mode::Plain));
        frames.give(frame);
        head.snapshot(&mut merged);
    }
    merged
}

#[test]
fn a_new_subtask_has_the_copy_of_its_number_modulo_the_old_ones() {
    let merged = snapshot_of_two();
    let parts: Vec<&[u8]> = merged.operator("operator.state/factors").collect();
    // Merged in another order than that of the subtasks.
    let of_old =
        |subtask: u32| *parts.iter().find(|part| part[..4] == subtask.to_le_bytes()).unwrap();
    for subtask in 0..5 {
        let mut head = head_with(&registry(), subtask, 5);
        at_once(head.restore(&merged)).unwrap();
        let mut again = Snapshot::default();
        head.snapshot(&mut again);
        let part = again.operator("operator.state/factors").next().unwrap();
        assert_eq!(part[8..], of_old(subtask % 2)[8..], "subtask {subtask}");
    }
}

#[test]
fn states_of_other_types_and_damage_are_errors() {
    let merged = snapshot_of_two();
    let refused = |states: &[&dyn Fn(&mut OperatorStateRegistry)]| {
        let mut registry = OperatorStateRegistry::default();
        states.iter().for_each(|register| register(&mut registry));
        let failure = at_once(head_with(&registry, 0, 1).restore(&merged)).unwrap_err();
        failure.source.to_string()
    };
    assert_eq!(
        refused(&[&|states| states.register(&OTHER), &|states| states.register(&COUNT)]),
        "operator `op`, state `factors`: field `value` of u8 was i64 and is u8; \
         keep the old type under this name, and give a new state another"
    );
    assert_eq!(
        refused(&[&|states| states.register(&COUNT)]),
        "operator `op`, state `factors`: the checkpoint has it and the program does not; \
         declare it, if only to clear it"
    );
    let mut twice = registry();
    twice.register(&OTHER);
    let failure = head_with(&twice, 0, 1).open().unwrap_err();
    assert_eq!(
        format!("{failure}: {}", failure.source),
        "could not open operator state (operator `op`): \
         two operator states of one function are called `factors`: rename one"
    );
    // Each byte of each part: an error or other numbers, and nothing panics.
    let mut refused = 0;
    for part in ["operator.states", "operator.state/factors", "operator.state/count"] {
        let whole: Vec<Vec<u8>> = merged.operator(part).map(<[u8]>::to_vec).collect();
        for (copy, bytes) in whole.iter().enumerate() {
            for at in 0..2 * bytes.len() {
                let mut bytes = bytes.clone();
                match at < bytes.len() {
                    true => bytes[at] ^= 0xff,
                    false => bytes.truncate(at - bytes.len()),
                }
                let mut snapshot = Snapshot::default();
                for (other, whole) in whole.iter().enumerate() {
                    let bytes = if other == copy { bytes.clone() } else { whole.clone() };
                    snapshot.put(part, None, bytes);
                }
                refused +=
                    u32::from(at_once(head_with(&registry(), 0, 1).restore(&snapshot)).is_err());
            }
        }
    }
    assert!(refused > 100, "{refused} refused");
}

#[test]
#[should_panic = "no operator state `factors` of this type was registered"]
fn a_state_that_was_not_given_panics() {
    let build = |context: &TaskContext, probe: &Probe| {
        let states = OperatorStateRegistry::default();
        let start = BroadcastStart::<Word, Word, _>::new(Scale, states, None);
        harness::head_of(start, Nothing::new(), context, probe)
    };
    harness::run(&build, Mode::Plain, "1:a1");
}
