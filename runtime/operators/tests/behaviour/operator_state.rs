//! Lists of a subtask: they survive restores, are dealt out round robin at another parallelism, or given to all.

use wiesel_operators::{
    CoProcessFunction, CoStart, FrameStart, FunctionError, Head, Nothing, OperatorListState,
    OperatorStateRegistry, ProcessContext, ProcessFunction, ProcessTo, Snapshot, TaskContext,
};
use wiesel_record::Out;
use wiesel_shard::at_once;

use crate::{
    harness::{self, Mode, Probe, SINGLE, Word},
    random::Random,
    two_inputs::{Step, Traces, random_script, read, show},
};

const HELD: OperatorListState<Word> = OperatorListState::new("held");
const SEEN: OperatorListState<i64> = OperatorListState::union("seen");

/// Of the union list: as many numbers as a subtask keeps.
const SEEN_MAX: usize = 40;

/// Holds words of the first input until there are four, and forgets those with the number of a record of the second.
/// Tells what was seen.
#[derive(Clone)]
struct InFours;

impl InFours {
    fn seen(&self, number: i64, context: &mut ProcessContext<'_, ()>) -> String {
        if context.list(&SEEN).len() >= SEEN_MAX {
            context.update(&SEEN, [-1, -2]);
        }
        context.add(&SEEN, number);
        let seen = context.list(&SEEN);
        format!("{}/{}", seen.len(), seen.iter().sum::<i64>())
    }
}

impl CoProcessFunction<Word, Word> for InFours {
    type Out = String;
    type Side = ();

    fn initialize_state(&self, states: &mut OperatorStateRegistry) {
        states.register(&HELD);
        states.register(&SEEN);
    }

    fn process1(
        &mut self,
        word: (&str, i64),
        context: &mut ProcessContext<'_, ()>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        context.add(&HELD, word);
        let seen = self.seen(word.1, context);
        let held = context.list(&HELD);
        assert!(!held.is_empty());
        if held.len() == 4 {
            let held: String = held.iter().map(|(key, number)| format!("{key}{number}+")).collect();
            out.emit(&format!("{held}{seen}"));
            context.clear(&HELD);
        }
        Ok(())
    }

    fn process2(
        &mut self,
        (_, number): (&str, i64),
        context: &mut ProcessContext<'_, ()>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        context.retain(&HELD, |(_, other)| other != number);
        let seen = self.seen(number, context);
        out.emit(&format!("{}:{seen}", context.list(&HELD).len()));
        Ok(())
    }
}

fn in_fours(context: &TaskContext, probe: &Probe) -> Box<dyn Head> {
    harness::head_of(CoStart::<Word, Word, _>::new(InFours, None), Nothing::new(), context, probe)
}

/// The definition: what each subtask has.
fn interpret(script: &str) -> String {
    type Lists<'s> = (Vec<(&'s str, i64)>, Vec<i64>);
    let mut subtasks: Vec<Lists<'_>> = vec![Lists::default()];
    let mut out = Vec::new();
    for step in script.split(' ') {
        match read(step) {
            Step::Late => out.push("late=0".to_owned()),
            Step::Watermark(_) => out.push(step.to_owned()),
            Step::Restore => {
                let parallelism: usize = step[1..].parse().unwrap();
                let seen: Vec<i64> = subtasks.iter().flat_map(|lists| lists.1.clone()).collect();
                let mut new = vec![(Vec::new(), seen); parallelism];
                let is_same = parallelism == subtasks.len();
                let mut turn = 0;
                for (subtask, (held, _)) in subtasks.iter().enumerate() {
                    for word in held {
                        new[if is_same { subtask } else { turn % parallelism }].0.push(*word);
                        turn += 1;
                    }
                }
                subtasks = new;
            }
            Step::Record(input, key, number, time) => {
                let owner = harness::subtask_of(key, subtasks.len());
                let (held, seen) = &mut subtasks[owner];
                match input {
                    0 => held.push((key, number)),
                    _ => held.retain(|(_, other)| *other != number),
                }
                if seen.len() >= SEEN_MAX {
                    *seen = vec![-1, -2];
                }
                seen.push(number);
                let seen = format!("{}/{}@{}", seen.len(), seen.iter().sum::<i64>(), show(time));
                if input == 1 {
                    out.push(format!("{}:{seen}", held.len()));
                } else if held.len() == 4 {
                    let held: String =
                        held.drain(..).map(|(key, n)| format!("{key}{n}+")).collect();
                    out.push(format!("{held}{seen}"));
                }
            }
        }
    }
    out.join(" ")
}

/// Where the others run on, a subtask goes on with the list that it had, and with the union of all.
#[test]
fn a_subtask_that_starts_alone_has_its_own_list_and_the_union() {
    let head = |subtask| {
        let context = harness::context(subtask, 3, &Default::default());
        let probe = Probe::new(context.stop(), 0);
        (in_fours(&context, &probe), context, probe)
    };
    let snapshots = [0, 1, 2].map(|subtask| {
        let (mut head, context, _) = head(subtask);
        let mut frames = harness::Frames::<Word>::new();
        let words: Vec<Word> =
            (0..=subtask).map(|word| (format!("s{subtask}w"), i64::from(word))).collect();
        let frame = frames.frame(words.iter().map(|word| (word, wiesel_core::Meta::NONE)));
        let _ = head.frame(0, &frame, &mut 0, &mut harness::pace(&context, Mode::Plain));
        frames.give(frame);
        let mut snapshot = Snapshot::default();
        head.snapshot(&mut snapshot);
        snapshot
    });
    for subtask in 0..3 {
        let mut alone = Snapshot::of_one();
        for (other, snapshot) in snapshots.iter().enumerate() {
            for (name, group, bytes) in snapshot.parts() {
                match other == subtask as usize {
                    true => alone.put(name, group, bytes.to_vec()),
                    false => alone.put_of_another(name, bytes.to_vec()),
                }
            }
        }
        let (mut head, _, _) = head(subtask);
        at_once(head.restore(&alone)).unwrap();
        let mut again = Snapshot::default();
        head.snapshot(&mut again);
        let part = |snapshot: &Snapshot, name: &str| {
            snapshot.operator(&format!("operator.state/{name}")).next().unwrap().to_vec()
        };
        assert_eq!(part(&again, "held"), part(&snapshots[subtask as usize], "held"));
        let len = u64::from_le_bytes(*part(&again, "seen")[8..].first_chunk().unwrap());
        assert_eq!(len, 1 + 2 + 3, "the union of all");
    }
}

pub fn lists_of_subtasks_are_what_the_definition_says(seed: u64) {
    let mut random = Random(seed);
    let script = random_script(&mut random, Traces { has_extremes: true, numbers: 9 });
    let expected = interpret(&script);
    for mode in [Mode::Plain, Mode::Stopped(1 + random.below(5) as usize), Mode::Spent] {
        let out = harness::run(&in_fours, mode, &script);
        assert_eq!(out, expected, "SEED={seed}, {mode:?}: {script}");
    }
}

/// Passes words on two by two, with what the subtask has seen.
#[derive(Clone)]
struct InTwos(OperatorListState<Word>);

impl ProcessFunction<Word> for InTwos {
    type Out = Word;
    type Side = ();

    fn initialize_state(&self, states: &mut OperatorStateRegistry) {
        states.register(&self.0);
    }

    fn process(
        &mut self,
        word: (&str, i64),
        context: &mut ProcessContext<'_, ()>,
        out: &mut dyn Out<Word>,
    ) -> Result<(), FunctionError> {
        context.add(&self.0, word);
        if context.list(&self.0).len() == 2 {
            context.list(&self.0).iter().for_each(|word| out.emit(word));
            context.clear(&self.0);
        }
        Ok(())
    }
}

fn chained(context: &TaskContext, probe: &Probe, names: [&'static str; 2]) -> Box<dyn Head> {
    let [first, second] = names.map(|name| InTwos(OperatorListState::new(name)));
    let chain = ProcessTo::new(Nothing::<Word>::new(), first, None).at(1);
    let chain = ProcessTo::new(chain, second, None).at(2);
    harness::head_of(FrameStart::<Word>::new(), chain, context, probe)
}

#[test]
fn every_function_of_a_chain_has_lists_of_its_own() {
    let build = |context: &TaskContext, probe: &Probe| chained(context, probe, ["one", "two"]);
    harness::check(&build, SINGLE, "a1 b2 w3 c3 d4 e5", "a1 b2 w3 c3 d4");
    let build = |context: &TaskContext, probe: &Probe| chained(context, probe, ["two", "one"]);
    harness::check(&build, SINGLE, "a1 !1 b2 c3 !1 d4 e5 f6 g7 h8", "a1 b2 c3 d4 e5 f6 g7 h8");

    // Also if both call them the same.
    let build = |context: &TaskContext, probe: &Probe| chained(context, probe, ["one", "one"]);
    harness::check(&build, SINGLE, "a1 !1 b2 c3 !1 d4 e5 f6 g7 h8", "a1 b2 c3 d4 e5 f6 g7 h8");
}

/// Has two lists of one name.
#[derive(Clone)]
struct Twice;

impl ProcessFunction<Word> for Twice {
    type Out = Word;
    type Side = ();

    fn initialize_state(&self, states: &mut OperatorStateRegistry) {
        states.register(&HELD);
        states.register(&HELD);
    }

    fn process(
        &mut self,
        _word: (&str, i64),
        _context: &mut ProcessContext<'_, ()>,
        _out: &mut dyn Out<Word>,
    ) -> Result<(), FunctionError> {
        Ok(())
    }
}

#[test]
fn two_lists_of_a_function_have_two_names() {
    let context = harness::context(0, 1, &Default::default());
    let probe = Probe::new(context.stop(), 0);
    let chain = ProcessTo::new(Nothing::<Word>::new(), Twice, None);
    let mut head = harness::head_of(FrameStart::<Word>::new(), chain, &context, &probe);
    let failure = head.open().unwrap_err();
    assert_eq!(
        format!("{failure}: {}", failure.source),
        "could not open operator state (operator `op`): \
         two operator states of one function are called `held`: rename one"
    );
}

#[test]
fn a_list_that_a_function_does_not_have_is_an_error() {
    let build = |context: &TaskContext, probe: &Probe| chained(context, probe, ["one", "two"]);
    let snapshot = harness::snapshot(&build, "a1 b2 c3");
    let restore = |names| {
        let context = harness::context(0, 1, &Default::default());
        let probe = Probe::new(context.stop(), 0);
        let restored = at_once(chained(&context, &probe, names).restore(&snapshot));
        restored.map_err(|failure| failure.source.to_string())
    };
    restore(["one", "two"]).unwrap();
    let gone = |name| {
        Err(format!(
            "operator `op`, state `{name}`: the checkpoint has it and the program does not; \
             declare it, if only to clear it"
        ))
    };
    assert_eq!(restore(["one", "three"]), gone("two"));
    assert_eq!(restore(["two", "one"]), gone("one"));
}

/// Nobody is at the second position any more, and somebody else is at the first.
#[test]
fn what_no_operator_has_read_is_known() {
    let build = |context: &TaskContext, probe: &Probe| chained(context, probe, ["one", "two"]);
    let snapshot = harness::snapshot(&build, "a1 b2 c3");
    let context = harness::context(0, 1, &Default::default());
    let probe = Probe::new(context.stop(), 0);
    let chain = ProcessTo::new(Nothing::<Word>::new(), InTwos(OperatorListState::new("one")), None);
    let mut head = harness::head_of(FrameStart::<Word>::new(), chain.at(1), &context, &probe);
    assert_eq!(snapshot.unread().len(), 4);
    at_once(head.restore(&snapshot)).unwrap();
    assert_eq!(snapshot.unread(), [(2, "operator.state/two"), (2, "operator.states")]);
}
