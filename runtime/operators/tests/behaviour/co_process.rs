//! Functions over two inputs, with keys and without: which method takes what, one state for both, timers, side outputs;
//! tables, and random traces against a naive interpreter.

use std::collections::{BTreeMap, BTreeSet};

use wiesel_core::{Timestamp, millis};
use wiesel_operators::{
    CoFlatMap, CoMap, CoProcessFunction, CoStart, FunctionError, Head, KeyedCoHeadStart,
    KeyedCoProcessFunction, KeyedCoProcessStart, KeyedContext, Nothing, ProcessContext,
    RuntimeContext, StateRegistry, TaskContext, TimeDomain, ValueState, side_output,
};
use wiesel_record::Out;

use crate::{
    harness::{self, KEYED, Mode, Probe, STATELESS, Word, key, show_time},
    random::Random,
    two_inputs::{Step, Traces, random_script, read, show},
};

/// A sum per key, of numbers of the first input. Multiples of three want to be told five milliseconds later, multiples
/// of seven go aside; the second input tells the sum, and with 0 forgets it.
#[derive(Clone)]
struct Ledger(ValueState<i64>);

impl KeyedCoProcessFunction<String, Word, Word> for Ledger {
    type Out = String;
    type Side = i64;

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.0);
    }

    fn process1(
        &mut self,
        (_, number): (&str, i64),
        context: &mut KeyedContext<'_, String, i64>,
        _out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        let sum = context.get(&self.0).unwrap_or(0) + number;
        context.set(&self.0, sum);
        if let Some(time) = context.timestamp().map(|time| time + millis(5))
            && number % 3 == 0
            && time > context.watermark()
        {
            context.register_event_timer(time);
        }
        if number % 7 == 0 {
            context.side(number);
        }
        Ok(())
    }

    fn process2(
        &mut self,
        (key, number): (&str, i64),
        context: &mut KeyedContext<'_, String, i64>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        if number == 13 {
            return Err("thirteen".into());
        }
        let (sum, watermark) = (context.get(&self.0).unwrap_or(0), show_time(context.watermark()));
        out.emit(&format!("{key}={sum}/w{watermark}"));
        if number == 0 {
            context.clear(&self.0);
        }
        Ok(())
    }

    fn on_timer(
        &mut self,
        _time: Timestamp,
        _domain: TimeDomain,
        context: &mut KeyedContext<'_, String, i64>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        let sum = context.get(&self.0).unwrap_or(0);
        context.with_key(|key| out.emit(&format!("{key}={sum}!")));
        Ok(())
    }
}

fn ledger(context: &TaskContext, probe: &Probe) -> Box<dyn Head> {
    context.put_side(0, side_output::<i64>(probe.output("side:")));
    let start = KeyedCoProcessStart::new(Ledger(ValueState::new("sum")), Some(0));
    let start = KeyedCoHeadStart::<Word, Word, String, _, _, _>::new(key, key, start);
    harness::head_of(start, Nothing::new(), context, probe)
}

/// The definition.
fn interpret(script: &str) -> String {
    let mut out = Vec::new();
    let (mut sums, mut timers) = (BTreeMap::<&str, i64>::new(), BTreeSet::<(i64, &str)>::new());
    let mut watermark = i64::MIN;
    for step in script.split(' ') {
        match read(step) {
            Step::Restore => {}
            Step::Late => out.push("late=0".to_owned()),
            Step::Record(0, key, number, time) => {
                *sums.entry(key).or_default() += number;
                let later = time.saturating_add(5);
                if number % 3 == 0 && later > watermark {
                    timers.insert((later, key));
                }
                if number % 7 == 0 {
                    out.push(format!("side:{number}@{}", show(time)));
                }
            }
            Step::Record(_, key, number, time) => {
                let sum = sums.get(key).copied().unwrap_or(0);
                out.push(format!("{key}={sum}/w{}@{}", show(watermark), show(time)));
                if number == 0 {
                    sums.remove(key);
                }
            }
            Step::Watermark(reached) => {
                watermark = reached;
                let later = timers.split_off(&(reached, "\u{10ffff}"));
                for (time, key) in std::mem::replace(&mut timers, later) {
                    let sum = sums.get(key).copied().unwrap_or(0);
                    out.push(format!("{key}={sum}!@{}", show(time)));
                }
                out.extend([format!("side:{step}"), step.to_owned()]);
            }
        }
    }
    out.join(" ")
}

#[test]
fn both_inputs_have_one_state_and_one_set_of_timers() {
    let check = |script: &str, expected: &str| harness::check(&ledger, KEYED, script, expected);
    check("1:a5@1 2:a1@2 1:a2 2:b1@3 2:a1@3", "a=5/w-@2 b=0/w-@3 a=7/w-@3");
    check("1:a3@1 1:a4@1 2:a1@2 w5 w6", "a=7/w-@2 side:w5 w5 a=7!@6 side:w6 w6");
    check("1:a3@1 2:a0@2 w9 2:a1@9", "a=3/w-@2 a=0!@6 side:w9 w9 a=0/w9@9");
    check("1:a7@4 2:a7@4 idle active", "side:7@4 a=7/w-@4 side:idle idle side:active active");
    check(
        "1:a1@1 2:a13@1 2:a1@1",
        "could not process a record (operator `op`, subtask 0): thirteen",
    );
}

/// A keyed function over two inputs against its definition.
pub fn keyed_functions_over_two_inputs_are_what_the_definition_says(seed: u64) {
    let mut random = Random(seed);
    // Thirteen fails.
    let script = random_script(&mut random, Traces { has_extremes: true, numbers: 13 });
    let expected = interpret(&script);
    let stops = 1 + random.below(5) as usize;
    for mode in [Mode::Plain, Mode::Stopped(stops), Mode::Spent] {
        let out = harness::run(&ledger, mode, &script);
        assert_eq!(out, expected, "SEED={seed}, {mode:?}: {script}");
    }
}

#[test]
fn each_function_takes_the_records_of_its_stream() {
    let build = |context: &TaskContext, probe: &Probe| {
        let map = CoMap::new(
            |(key, n): (&str, i64)| format!("{key}{n}"),
            |(_, n): (&str, i64)| format!("={n}"),
        );
        harness::head_of(CoStart::<Word, Word, _>::new(map, None), Nothing::new(), context, probe)
    };
    harness::check(
        &build,
        STATELESS,
        "1:a5@1 1:b6@2 2:a7@3 w4 1:a8@5 idle active w+ end",
        "a5@1 b6@2 =7@3 w4 a8@5 idle active w+",
    );
    let build = |context: &TaskContext, probe: &Probe| {
        let flat_map = CoFlatMap::<_, _, String>::new(
            |(key, n): (&str, i64), out: &mut dyn Out<String>| (0..n).for_each(|_| out.emit(key)),
            |(key, _): (&str, i64), out: &mut dyn Out<String>| out.emit(&key.to_uppercase()),
        );
        let start = CoStart::<Word, Word, _>::new(flat_map, None);
        harness::head_of(start, Nothing::new(), context, probe)
    };
    harness::check(&build, STATELESS, "1:a3@1 2:b6@2 1:c0@3 1:d1 w4", "a@1 a@1 a@1 B@2 d w4");
}

/// Numbers of the first stream, times what the second one has said last; what is 0 goes aside.
#[derive(Clone)]
struct Scale(i64);

impl CoProcessFunction<Word, Word> for Scale {
    type Out = i64;
    type Side = String;

    fn open(&mut self, _: &RuntimeContext) -> Result<(), FunctionError> {
        self.0 += 1;
        Ok(())
    }

    fn process1(
        &mut self,
        (key, number): (&str, i64),
        context: &mut ProcessContext<'_, String>,
        out: &mut dyn Out<i64>,
    ) -> Result<(), FunctionError> {
        match number.checked_mul(self.0).ok_or("too large")? {
            0 => context.side(&format!("{key}/w{}", show_time(context.watermark()))),
            product => out.emit(product),
        }
        Ok(())
    }

    fn process2(
        &mut self,
        (_, number): (&str, i64),
        _context: &mut ProcessContext<'_, String>,
        _out: &mut dyn Out<i64>,
    ) -> Result<(), FunctionError> {
        self.0 = number;
        Ok(())
    }
}

#[test]
fn a_function_over_two_streams_keeps_what_it_likes() {
    let build = |context: &TaskContext, probe: &Probe| {
        context.put_side(0, side_output::<String>(probe.output("side:")));
        let start = CoStart::<Word, Word, _>::new(Scale(0), Some(0));
        harness::head_of(start, Nothing::new(), context, probe)
    };
    let check = |script: &str, expected: &str| harness::check(&build, STATELESS, script, expected);
    check("1:a5@1 2:a3@2 1:a5@3 2:a0 1:b7@4", "5@1 15@3 side:b/w-@4");
    check("2:a0 w7 1:b7@9 idle", "side:w7 w7 side:b/w7@9 side:idle idle");
    check(
        "2:a9223372036854775807 1:b2 1:a1",
        "could not process a record (operator `op`, subtask 0): too large",
    );
}
