//! A stream without keys and a broadcast one in batch mode: all that is broadcast is read first, and what has to wait for it
//! is in no one's way.
//!
//! # What is always true
//!
//! A record that does not see all rules fails the job.

use std::time::Duration;

use wiesel_connectors::DataGen;
use wiesel_datastream::{Environment, FrameStream};
use wiesel_operators::{
    BroadcastProcessFunction, BroadcastState, BroadcastStates, FunctionError, ProcessContext,
};
use wiesel_record::Out;

use super::{assert_cannot_sort, batch, results};
use crate::{assert_sound, compute, config, run, watched};

const RECORDS: u64 = 120_000;
/// Each so-and-so-manieth record is a rule.
const RULE_EVERY: u64 = 100;
const RULES_COUNT: u64 = RECORDS / RULE_EVERY;

const RULES: BroadcastState<u64, u64> = BroadcastState::new("rules");

/// A number, and what makes it some hundred bytes long.
type Line = (u64, String);

fn line_of(number: u64) -> Line {
    (number, "weasel".repeat(10 + (number % 13) as usize))
}

/// Adds the rule of a record to it; fails if a rule is missing.
#[derive(Clone)]
struct SeesAll;

impl BroadcastProcessFunction<Line, u64> for SeesAll {
    type Out = (u64, u64);
    type Side = ();

    fn process(
        &mut self,
        (number, text): (u64, &str),
        states: &BroadcastStates,
        _context: &mut ProcessContext<'_, ()>,
        out: &mut dyn Out<(u64, u64)>,
    ) -> Result<(), FunctionError> {
        let rules = states.map(&RULES);
        if rules.len() as u64 != RULES_COUNT {
            return Err(format!("{number} sees {} rules", rules.len()).into());
        }
        if text != line_of(number).1 {
            return Err(format!("{number} has another text").into());
        }
        let rule = rules.get(number / RULE_EVERY * RULE_EVERY).ok_or("its rule is not there")?;
        out.emit((number, rule));
        Ok(())
    }

    fn process_broadcast(
        &mut self,
        rule: u64,
        states: &mut BroadcastStates,
        _context: &mut ProcessContext<'_, ()>,
        _out: &mut dyn Out<(u64, u64)>,
    ) -> Result<(), FunctionError> {
        states.put(&RULES, rule, rule + 1);
        Ok(())
    }
}

fn lines(environment: &Environment) -> FrameStream<Line> {
    environment.source(DataGen::new(|tick| tick.number).count(RECORDS)).map(line_of).rebalance()
}

fn expected() -> Vec<(u64, u64)> {
    (0..RECORDS).map(|number| (number, number / RULE_EVERY * RULE_EVERY + 1)).collect()
}

/// The source goes on only as its records are taken, and what is broadcast ends with it: 12 MB have to wait somewhere, and
/// neither frames nor memory hold them.
#[test]
fn a_source_of_both_sides_is_read_to_its_end() {
    watched(|| {
        for parallelism in [1, 2, 3] {
            let folder = tempfile::tempdir().expect("a folder");
            let found = results(parallelism, &batch(folder.path()), &|environment| {
                let lines = lines(environment).share();
                let rules = lines.stream().filter(|(number, _)| number % RULE_EVERY == 0);
                let rules = rules.map(|(number, _)| number).broadcast_state(&RULES);
                lines.stream().connect_broadcast(rules).process(SeesAll).collect()
            });
            assert!(found == expected(), "{} results at {parallelism}", found.len());
            let left = std::fs::read_dir(folder.path()).expect("a folder").count();
            assert_eq!(left, 0, "files are left at {parallelism}");
        }
    });
}

#[test]
fn rules_that_come_late_are_waited_for_and_order_is_kept() {
    watched(|| {
        for memory in ["64 kb", "256 mb"] {
            let folder = tempfile::tempdir().expect("a folder");
            let mut config = batch(folder.path());
            config.set_text("execution.sorted-inputs.memory", memory).expect("a size");
            let environment = Environment::new();
            let numbers = environment.source(DataGen::new(|tick| tick.number).count(RULES_COUNT));
            let rules = numbers.map(|number| {
                compute(Duration::from_micros(50));
                number * RULE_EVERY
            });
            let rules = rules.rebalance().broadcast_state(&RULES);
            let seen = lines(&environment).connect_broadcast(rules).process(SeesAll).collect();
            assert_sound(&run(&environment, 1, &config));
            assert!(seen.take() == expected(), "with {memory}: in another order, or not all");
        }
    });
}

#[test]
fn in_streaming_mode_nobody_waits() {
    watched(|| {
        let environment = Environment::new();
        let rules = environment.source(DataGen::new(|tick| tick.number));
        let rules = rules.filter(|_| false).broadcast_state(&RULES);
        lines(&environment).connect_broadcast(rules).process(SeesAll).print();
        let result = run(&environment, 2, &config(&[]));
        let failure = result.failure.expect("the first record sees no rule").to_string();
        assert!(failure.contains("process a record"), "{failure}");
    });
}

#[test]
fn a_folder_that_is_not_there_fails_the_job_before_it_reads() {
    watched(|| {
        let environment = Environment::new();
        let rules = environment.from_collection([0_u64]).broadcast_state(&RULES);
        let seen = lines(&environment).connect_broadcast(rules).process(SeesAll);
        let _ = seen.uid("counts").collect();
        let result = run(&environment, 2, &batch("/no/such/folder".as_ref()));
        assert_cannot_sort(&result, &["/no/such/folder", "No such file", "broadcast"]);
        assert_eq!(result.progress.records_read(), 0);
    });
}
