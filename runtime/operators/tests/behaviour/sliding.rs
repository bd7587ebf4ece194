//! Sliding windows per key.

use std::time::Duration;

use wiesel_core::millis;
use wiesel_operators::{
    Aggregate, AggregateFunction, Count, Fold, Folding, KeyedHeadStart, Max, Nothing, OfNumber,
    Sliding, SlidingStart, Sum, TaskContext, WindowOptions,
};

use crate::{
    harness::{self, Mode, Probe, Show, Word, key, number},
    keyed,
};

/// Windows of `size` ms, one every `slide`.
fn windows(size: u64, slide: u64) -> WindowOptions<Sliding> {
    WindowOptions::new(Sliding::event_time(millis(size), millis(slide)))
}

#[track_caller]
fn check_with<A: Folding<String, Word>>(
    folding: A,
    options: &WindowOptions<Sliding>,
    script: &str,
    expected: &str,
) where
    A::Out: Show,
{
    keyed::check(&SlidingStart::new(folding, options.clone()), script, expected);
}

/// By all three ways: a total that changes, slices that are merged, and windows of their own.
#[track_caller]
fn check(options: &WindowOptions<Sliding>, script: &str, expected: &str) {
    check_with(Count, options, script, expected);
    check_with(Aggregate(Merging), options, script, expected);
    check_with(Fold { initial: 0, function: add_one }, options, script, expected);
}

fn add_one(count: &mut u64, _: (&str, i64)) {
    *count += 1;
}

/// Counts, and does not retract.
#[derive(Clone)]
struct Merging;

impl AggregateFunction<Word> for Merging {
    type Acc = u64;
    type Out = u64;
    const MERGES: bool = true;
    fn create_accumulator(&self) -> u64 {
        0
    }
    fn add(&self, acc: &mut u64, _: (&str, i64)) {
        *acc += 1;
    }
    fn merge(&self, acc: &mut u64, other: u64) {
        *acc += other;
    }
    fn get_result(&self, acc: u64) -> u64 {
        acc
    }
}

#[test]
fn a_record_is_in_all_windows_over_its_time() {
    check(&windows(30, 10), "a@5 w9 w19 w29 w39", "a=1@9 w9 a=1@19 w19 a=1@29 w29 w39");
    check(&windows(20, 10), "a@5 b@15 a@16 w100", "a=1@9 a=2@19 b=1@19 a=1@29 b=1@29 w100");
    // Windows [-20, 5), [-10, 15), [0, 25), [10, 35).
    check(&windows(25, 10), "a@4 b@5 w100", "a=1@4 a=1@14 b=1@14 a=1@24 b=1@24 w100");
}

#[test]
fn windows_without_records_do_not_fire() {
    check(&windows(20, 10), "a@5 a@1005 w2000", "a=1@9 a=1@19 a=1@1009 a=1@1019 w2000");
    check(&windows(20, 10), "w+ end", "w+");
}

#[test]
fn a_record_behind_the_watermark_counts_in_the_windows_that_are_open() {
    // At 19 the window [0, 20) fires; what comes at 15 then is in [10, 30) only.
    check(&windows(20, 10), "a@12 w19 a@15 b@15 late? w29", "a=1@19 w19 late=0 a=2@29 b=1@29 w29");
    check(&windows(20, 10), "w29 a@15 a@20 late? w39", "w29 late=1 a=1@39 w39");
}

#[test]
fn within_the_lateness_a_record_fires_all_windows_that_have_fired() {
    let options = WindowOptions { allowed_lateness: millis(15), ..windows(20, 10) };
    check(
        &options,
        "a@12 w19 a@15 w29 a@13 late? w33 a@14 w44 a@14 late?",
        "a=1@19 w19 a=2@19 a=2@29 w29 a=3@19 a=3@29 late=0 w33 a=4@19 a=4@29 w44 late=1",
    );
    let options = WindowOptions { allowed_lateness: Duration::MAX, ..windows(20, 10) };
    check(&options, "w100 a@5 late? w+", "w100 a=1@9 a=1@19 late=0 w+");
}

#[test]
fn late_records_go_to_their_side_output() {
    let options = WindowOptions { late_slot: Some(0), ..windows(20, 10) };
    check(&options, "w29 a7@15 late?", "late:w29 w29 late:a7@15 late=0");
}

#[test]
fn a_slide_longer_than_the_size_leaves_gaps() {
    check(&windows(3, 10), "a@2 a@3 a@9 b@10 late? w100", "late=0 a=1@2 b=1@12 w100");
    // In a gap a record is late as soon as a window that ended with it would be over.
    check(&windows(3, 10), "w5 a@4 a@7 late?", "w5 late=1");
}

#[test]
fn a_key_leaves_a_sum_with_its_last_slice() {
    let sum = OfNumber::new(number, Sum);
    let options = windows(20, 10);
    // What sums up to nothing is there; what is gone is not.
    check_with(
        sum.clone(),
        &options,
        "a5@5 a-5@15 b1@15 w9 w19 w29 w39",
        "a=5@9 w9 a=0@19 b=1@19 w19 a=-5@29 b=1@29 w29 w39",
    );
    check_with(
        OfNumber::new(number, Max),
        &options,
        "a5@5 a3@15 w9 w19 w29",
        "a=5@9 w9 a=5@19 w19 a=3@29 w29",
    );
}

#[test]
fn state_is_restored_at_another_parallelism() {
    check(
        &windows(30, 10),
        "a@5 b@15 w9 !2 a@15 w19 !3 b@25 w29 !1 w39 w49 late?",
        "a=1@9 w9 a=2@19 b=1@19 w19 a=2@29 b=2@29 w29 a=1@39 b=2@39 w39 b=1@49 w49 late=0",
    );
}

#[test]
fn what_a_subtask_has_not_fired_fires_after_it_has_met_others_that_have() {
    let build = |context: &TaskContext, probe: &Probe| {
        let options = WindowOptions { allowed_lateness: millis(5), ..windows(20, 10) };
        let start = SlidingStart::new(Count, options);
        let start = KeyedHeadStart::<Word, String, _, _>::new(key, start);
        harness::head_of(start, Nothing::new(), context, probe)
    };
    // At parallelism 2 `c` is of subtask 0, `a` and `b` are of 1.
    for (script, expected) in [
        ("!2 a@1 b@2 c@3 w9/0 w9/1 !1 w9", "c=1@9 w9 a=1@9 b=1@9 w9 w9"),
        ("!2 a@1 b@2 c@3 w9/0 !1 w8 w9", "c=1@9 w9 w8 a=1@9 b=1@9 c=1@9 w9"),
        ("!2 a@1 b@2 c@3 w9/1 !1 w8 w9", "a=1@9 b=1@9 w9 w8 a=1@9 b=1@9 c=1@9 w9"),
    ] {
        assert_eq!(harness::run(&build, Mode::Plain, script), expected, "{script}");
    }
}
