//! Tumbling windows per key.

use std::time::Duration;

use wiesel_core::{millis, seconds};
use wiesel_operators::{
    Count, Folding, KeyedHeadStart, Nothing, OfNumber, Sum, TaskContext, Tumbling, TumblingStart,
    WindowOptions,
};

use crate::{
    harness::{self, Probe, Show, Word, key, number},
    keyed,
};

/// Windows of 10 ms.
fn tens() -> WindowOptions {
    WindowOptions::new(Tumbling::event_time(millis(10)))
}

fn with_lateness(lateness: Duration) -> WindowOptions {
    WindowOptions { allowed_lateness: lateness, ..tens() }
}

#[track_caller]
fn check_with<A: Folding<String, Word>>(
    folding: A,
    options: &WindowOptions,
    script: &str,
    expected: &str,
) where
    A::Out: Show,
{
    keyed::check(&TumblingStart::new(folding, options.clone()), script, expected);
}

#[track_caller]
fn check(options: &WindowOptions, script: &str, expected: &str) {
    check_with(Count, options, script, expected);
}

#[test]
fn a_window_fires_when_the_watermark_has_reached_its_last_time() {
    check(&tens(), "a@0 w8 w9", "w8 a=1@9 w9");
    check(&tens(), "a@9 w9", "a=1@9 w9");
    check(&tens(), "a@10 w9 w18 w19", "w9 w18 a=1@19 w19");
    check(&tens(), "a@3 a@4 b@5 a@9 w9", "a=3@9 b=1@9 w9");
    check(&tens(), "a@3 w100 w101", "a=1@9 w100 w101");
    check(&tens(), "w9 w+ end", "w9 w+");
    check(&tens(), "a@3 w+ w+ end", "a=1@9 w+ w+");
}

#[test]
fn windows_fire_in_order_of_their_ends_with_their_last_time() {
    check(&tens(), "a@25 b@3 a@17 b@28 a@1 w100", "a=1@9 b=1@9 a=1@19 a=1@29 b=1@29 w100");
    check(&tens(), "a@25 b@3 w19 a@21 w29", "b=1@9 w19 a=2@29 w29");
}

#[test]
fn late_records_are_counted_and_touch_no_state() {
    check(&tens(), "a@3 w9 a@4 b@9 late? w19", "a=1@9 w9 late=2 w19");
    // Only its window's end makes a record late: this one is behind the watermark, and on time.
    check(&tens(), "w15 a@11 late? w19", "w15 late=0 a=1@19 w19");
    check(&tens(), "w+ a@3 a@100 late? end", "w+ late=2");
}

#[test]
fn late_records_go_to_their_side_output() {
    let options = WindowOptions { late_slot: Some(0), ..tens() };
    check(
        &options,
        "a@3 w9 a7@4 b@12 late? w19",
        "a=1@9 late:w9 w9 late:a7@4 late=0 b=1@19 late:w19 w19",
    );
    check(&options, "idle active", "late:idle idle late:active active");
}

#[test]
fn within_the_lateness_each_record_fires_its_key_again() {
    let options = with_lateness(millis(5));
    check(
        &options,
        "a@3 b@4 w9 a@5 a@6 w13 b@1 w14 b@1 late?",
        "a=1@9 b=1@9 w9 a=2@9 a=3@9 w13 b=2@9 w14 late=1",
    );
    // A key, and a window, that come late for the first time.
    check(&options, "a@3 w10 c@5 c@5 w30", "a=1@9 w10 c=1@9 c=2@9 w30");
    check(&options, "w12 a@5 b@6 w13 a@7 w14 a@7 late?", "w12 a=1@9 b=1@9 w13 a=2@9 w14 late=1");
    // They do not fire once more with the next watermark.
    check(&options, "a@3 w9 a@4 w10 w11 w12", "a=1@9 w9 a=2@9 w10 w11 w12");
    check(
        &with_lateness(Duration::MAX),
        "a@3 w9 a@4 w1000 a@5 w+ a@6 late?",
        "a=1@9 w9 a=2@9 w1000 a=3@9 w+ late=1",
    );
}

#[test]
fn an_offset_moves_the_windows() {
    let options = WindowOptions::new(Tumbling::event_time(millis(10)).with_offset(millis(3)));
    check(&options, "a@2 a@3 a@12 a@13 w2 w12 w22", "a=1@2 w2 a=2@12 w12 a=1@22 w22");
    let options = WindowOptions::new(Tumbling::event_time(millis(10)).with_offset(seconds(7)));
    check(&options, "a@9 a@10 w9", "a=1@9 w9");
}

#[test]
fn times_before_1970_are_ordinary() {
    check(&tens(), "a@-1 a@-10 a@-11 a@0 w-11 w-1 w9", "a=1@-11 w-11 a=2@-1 w-1 a=1@9 w9");
    check(&tens(), "w-5 a@-12 a@-3 late? w0", "w-5 late=1 a=1@-1 w0");
}

#[test]
fn the_ends_of_time_are_times() {
    // ..808 is -2^63: the first window is cut off there, and the last at 2^63 - 1.
    check(&tens(), "a@-+1 a@-+2 b@-+7 b@-+8 w-+7 w+", "a=2@-+7 b=1@-+7 w-+7 b=1@-+17 w+");
    check(&tens(), "a@+ a@+-1 a@+-7 w+-8 w+-1 w+", "w+-8 a=3@+-1 w+-1 w+");
    check(&tens(), "a@+ w+", "a=1@+-1 w+");
    let ones = WindowOptions::new(Tumbling::event_time(millis(1)));
    check(&ones, "a@+-2 a@+-1 w+-2 w+-1", "a=1@+-2 w+-2 a=1@+-1 w+-1");
    check(&ones, "a@-+1 w-+1 a@-+1 late?", "a=1@-+1 w-+1 late=1");
    let forever = WindowOptions::new(Tumbling::event_time(Duration::MAX));
    check(&forever, "a@-+1 a@-1 b@0 a@5 w0 w+", "a=2@-1 w0 a=1@+-1 b=1@+-1 w+");
}

#[test]
fn what_a_subtask_has_not_fired_fires_after_it_has_met_others_that_have() {
    let build = |context: &TaskContext, probe: &Probe| {
        let start = TumblingStart::new(Count, with_lateness(millis(5)));
        let start = KeyedHeadStart::<Word, String, _, _>::new(key, start);
        harness::head_of(start, Nothing::new(), context, probe)
    };
    // At parallelism 2 `c` is of subtask 0, `a` and `b` are of 1.
    for (script, expected) in [
        ("!2 a@1 b@2 c@3 w9/0 w9/1 !1 w9", "c=1@9 w9 a=1@9 b=1@9 w9 w9"),
        ("!2 a@1 b@2 c@3 w9/0 !1 w8 w9", "c=1@9 w9 w8 a=1@9 b=1@9 c=1@9 w9"),
        ("!2 a@1 b@2 c@3 w9/1 !1 w8 w9", "a=1@9 b=1@9 w9 w8 a=1@9 b=1@9 c=1@9 w9"),
    ] {
        assert_eq!(harness::run(&build, harness::Mode::Plain, script), expected, "{script}");
    }
}

#[test]
fn sums_are_kept_per_window() {
    let sum = OfNumber::new(number, Sum);
    check_with(sum.clone(), &tens(), "a5@1 a7@2 a9@12 b3@4 w9 w19", "a=12@9 b=3@9 w9 a=9@19 w19");
    check_with(
        sum,
        &tens(),
        "a9223372036854775807@1 b@1 a@2 b@2",
        "could not aggregate a record (operator `op`, subtask 0): \
         the sum does not fit into i64: sum a wider type",
    );
}

#[test]
fn a_record_without_a_time_fails_the_job() {
    check(
        &tens(),
        "b@3 a b@4",
        "could not assign a record to a window (operator `op`, subtask 0): \
         the record has no event time: call `watermarks` before the window",
    );
}
