//! Session windows per key.

use std::time::Duration;

use wiesel_core::millis;
use wiesel_operators::{
    Aggregate, AggregateFunction, ByRank, Count, FixedGap, Fold, FoldMerging, Folding,
    KeyedHeadStart, Max, Nothing, OfNumber, Reduce, Session, SessionStart, Snapshot, Sum,
    TaskContext, WindowOptions,
};
use wiesel_shard::at_once;

use crate::{
    harness::{self, Probe, Show, Word, key, number},
    keyed,
};

/// Sessions that end after 10 ms.
fn tens() -> WindowOptions<Session> {
    WindowOptions::new(Session::with_gap(millis(10)))
}

fn with_lateness(lateness: Duration) -> WindowOptions<Session> {
    WindowOptions { allowed_lateness: lateness, ..tens() }
}

#[track_caller]
fn check_with<A: Folding<String, Word>>(
    folding: A,
    options: &WindowOptions<Session>,
    script: &str,
    expected: &str,
) where
    A::Out: Show,
{
    keyed::check(&SessionStart::<A, FixedGap>::new(folding, options.clone()), script, expected);
}

#[track_caller]
fn check(options: &WindowOptions<Session>, script: &str, expected: &str) {
    check_with(Count, options, script, expected);
    // An accumulator that is a block of the row.
    let initial = String::new();
    let add = |list: &mut String, _: (&str, i64)| list.push('x');
    let merge = |list: &mut String, other: &str| list.push_str(other);
    let list = FoldMerging { fold: Fold { initial, function: add }, merge };
    let counted = |text: &str| match text.split_once('=') {
        Some((key, rest)) => match rest.split_once('@') {
            Some((count, time)) => {
                format!("{key}={}@{time}", "x".repeat(count.parse().unwrap()))
            }
            None => text.to_owned(),
        },
        None => text.to_owned(),
    };
    let expected: Vec<String> = expected.split(' ').map(counted).collect();
    check_with(list, options, script, &expected.join(" "));
}

#[test]
fn a_session_fires_when_its_key_has_been_silent_for_the_gap() {
    check(&tens(), "a@3 w11 w12", "w11 a=1@12 w12");
    check(&tens(), "a@3 a@5 w12 a@14 w14 w23", "w12 w14 a=3@23 w23");
    check(&tens(), "a@3 b@5 w100", "a=1@12 b=1@14 w100");
    check(&tens(), "a@3 w+ w+ end", "a=1@12 w+ w+");
    check(&tens(), "a@3 a@30 w+", "a=1@12 a=1@39 w+");
}

#[test]
fn records_exactly_a_gap_apart_are_in_one_session() {
    check(&tens(), "a@0 a@10 w100", "a=2@19 w100");
    check(&tens(), "a@0 a@11 w100", "a=1@9 a=1@20 w100");
    check(&tens(), "a@10 a@0 w100", "a=2@19 w100");
    check(&tens(), "a@11 a@0 w100", "a=1@9 a=1@20 w100");
}

#[test]
fn a_record_between_two_sessions_makes_them_one() {
    check(&tens(), "a@0 a@18 a@9 w100", "a=3@27 w100");
    check(&tens(), "a@18 a@0 a@9 w9 w27", "w9 a=3@27 w27");
    check(&tens(), "a@0 a@40 a@20 a@30 a@10 w100", "a=5@49 w100");
    check(&tens(), "a@0 a@50 a@20 a@30 a@10 w100", "a=4@39 a=1@59 w100");
}

#[test]
fn sessions_fire_in_order_of_their_ends() {
    check(&tens(), "a@50 b@0 a@20 c@25 b@51 w100", "b=1@9 a=1@29 c=1@34 a=1@59 b=1@60 w100");
    // The timer of `a` is older, and its session has grown beyond that of `b`.
    check(&tens(), "a@0 b@5 a@9 w100", "b=1@14 a=2@18 w100");
}

#[test]
fn a_record_is_late_if_what_it_is_merged_into_is_over() {
    check(&tens(), "a@0 w9 a@0 a@8 late? w50", "a=1@9 w9 late=1 a=1@17 w50");
    // Its own window would be over, that which it makes longer is not.
    check(&tens(), "a@5 w9 a@-1 late? w50", "w9 late=0 a=2@14 w50");
    check(&tens(), "a@5 w9 a@-6 late? w50", "w9 late=1 a=1@14 w50");
    check(&tens(), "w+ a@3 late?", "w+ late=1");
}

#[test]
fn late_records_go_to_their_side_output() {
    let options = WindowOptions { late_slot: Some(0), ..tens() };
    check(&options, "a@0 w9 a@0 late?", "a=1@9 late:w9 w9 late:a1@0 late=0");
    check(&options, "idle active", "late:idle idle late:active active");
}

#[test]
fn within_the_lateness_each_record_fires_its_session_again() {
    let options = with_lateness(millis(20));
    check(&options, "a@0 w9 a@0 w28 a@0 late?", "a=1@9 w9 a=2@9 w28 a=3@9 late=0");
    check(&options, "a@0 w29 a@0 late?", "a=1@9 w29 late=1");
    // It becomes longer than the watermark: it waits again.
    check(&options, "a@0 w9 a@5 a@6 w14 w15 w50", "a=1@9 w9 w14 a=3@15 w15 w50");
    check(&options, "w12 a@0 b@5 w14", "w12 a=1@9 b=1@14 w14");
    let endless = with_lateness(Duration::MAX);
    check(&endless, "a@0 w1000 a@1 a@1000 w+ a@0 late?", "a=1@9 w1000 a=2@10 a=1@1009 w+ late=1");
}

#[test]
fn a_late_record_bridges_two_sessions_that_have_fired() {
    let options = with_lateness(millis(50));
    check(&options, "a@0 a@18 w30 a@9 w40", "a=1@9 a=1@27 w30 a=3@27 w40");
    // One that has, and one that has not.
    check(&options, "a@0 a@18 w20 a@9 w27 w60", "a=1@9 w20 a=3@27 w27 w60");
    // The first of both would be over sooner.
    check(&options, "a@0 a@18 w58 a@9 late? w77", "a=1@9 a=1@27 w58 a=3@27 late=0 w77");
}

#[test]
fn every_aggregate_merges() {
    let bridge = "a5@0 a3@18 a4@9 w100";
    check_with(OfNumber::new(number, Sum), &tens(), bridge, "a=12@27 w100");
    check_with(OfNumber::new(number, Max), &tens(), bridge, "a=5@27 w100");
    check_with(ByRank::min(number), &tens(), bridge, "a3@27 w100");
    check_with(ByRank::max(number), &tens(), bridge, "a5@27 w100");
    let first_key = |a: (&str, i64), b: (&str, i64)| (a.0.to_owned(), a.1 * 10 + b.1);
    check_with(Reduce(first_key), &tens(), bridge, "a534@27 w100");
    check_with(Aggregate(Mean), &tens(), bridge, "a=4@27 w100");
}

/// Of numbers; rounds down.
#[derive(Clone)]
struct Mean;

impl AggregateFunction<Word> for Mean {
    type Acc = (i64, i64);
    type Out = i64;
    const CAN_MERGE: bool = true;
    fn create_accumulator(&self) -> (i64, i64) {
        (0, 0)
    }
    fn add(&self, acc: &mut (i64, i64), word: (&str, i64)) {
        *acc = (acc.0 + word.1, acc.1 + 1);
    }
    fn merge(&self, acc: &mut (i64, i64), other: (i64, i64)) {
        *acc = (acc.0 + other.0, acc.1 + other.1);
    }
    fn get_result(&self, (sum, count): (i64, i64)) -> i64 {
        sum / count
    }
}

#[test]
fn a_record_says_its_own_gap() {
    let sessions = Session::with_dynamic_gap::<Word, _>(|word: (&str, i64)| {
        Duration::from_micros(1_000 * word.1.unsigned_abs())
    });
    let start = SessionStart::new(Count, WindowOptions::new(sessions));
    keyed::check(&start, "a5@0 a20@3 a1@4 w22 w100", "a=3@22 w22 w100");
    keyed::check(&start, "a5@0 a20@6 w100", "a=1@4 a=1@25 w100");
    keyed::check(
        &start,
        "a5@0 a0@3 w100",
        "could not assign a record to a session (operator `op`, subtask 0): the gap of its session is under a \
         millisecond: the function given to `with_dynamic_gap` has to give more",
    );
}

#[test]
fn a_record_without_event_time_is_an_error() {
    check_with(
        Count,
        &tens(),
        "a",
        "could not assign a record to a window (operator `op`, subtask 0): the record has no event time: call \
         `watermarks` before the window",
    );
}

#[test]
fn state_is_restored_at_another_parallelism() {
    let options = with_lateness(millis(30));
    check(
        &options,
        "a@0 b@3 a@40 !2 a@20 w9 !3 b@5 a@5 w14 !1 a@30 w60 b@12 late? !2 w100",
        "a=1@9 w9 a=2@14 b=2@14 w14 a=3@49 w60 late=1 w100",
    );
}

fn build(context: &TaskContext, probe: &Probe) -> Box<dyn wiesel_operators::Head> {
    let start = SessionStart::<Count, FixedGap>::new(Count, with_lateness(millis(5)));
    let start = KeyedHeadStart::<Word, String, _, _>::new(key, start);
    harness::head_of(start, Nothing::new(), context, probe)
}

#[test]
fn what_a_subtask_has_not_fired_fires_after_it_has_met_others_that_have() {
    // At parallelism 2 `c` is of subtask 0, `a` and `b` are of 1.
    for (script, expected) in [
        ("!2 a@1 b@2 c@3 w12/0 w12/1 !1 w12", "c=1@12 w12 a=1@10 b=1@11 w12 w12"),
        ("!2 a@1 b@2 c@3 w12/0 !1 w8 w12", "c=1@12 w12 w8 a=1@10 b=1@11 w12"),
    ] {
        assert_eq!(harness::run(&build, harness::Mode::Plain, script), expected, "{script}");
    }
}

#[test]
fn damaged_snapshots_are_errors_and_nothing_is_left_behind() {
    let metrics = std::sync::Arc::default();
    let context = harness::context(0, 1, &metrics);
    let probe = Probe::new(context.stop(), 0);
    let snapshot_of = |script: &str| harness::snapshot(&build, script);
    assert!(snapshot_of("a@0 a@50 b@3 w200").is_empty(), "what is over is gone");
    let last = snapshot_of("a@0 a@50 b@3 a@-20 w5 w63");
    assert_eq!(last.keyed("sessions", context.key_groups()).count(), 1);
    let sound = snapshot_of("a@0 a@50 bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb@3 a@-20 w5");
    let mut head = build(&context, &probe);
    at_once(head.restore(&sound)).unwrap();
    for part in sound.keyed("sessions", context.key_groups()) {
        for at in 0..part.len() {
            for bytes in [part[..at].to_vec(), flipped(part, at)] {
                let mut damaged = Snapshot::default();
                damaged.put("sessions", Some(wiesel_core::KeyGroup(0)), bytes);
                // It says what is wrong, or it is another snapshot that is sound; it does not panic.
                let _ = at_once(build(&context, &probe).restore(&damaged));
            }
        }
    }
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 0x41;
    bytes
}
