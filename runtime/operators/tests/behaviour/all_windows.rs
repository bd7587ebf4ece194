//! Tumbling windows of a whole stream, and the best of a window.

use std::cmp::Ordering;

use wiesel_core::millis;
use wiesel_operators::{
    AllWindowsStart, Count, EventTimeWindows, Folding, Nothing, OfNumber, Sliding, Sum,
    TaskContext, TopN, Tumbling, WindowOptions, side_output,
};

use crate::harness::{self, Probe, SINGLE, Show, Word, number};

fn tens() -> WindowOptions {
    WindowOptions::new(Tumbling::event_time(millis(10)))
}

#[track_caller]
fn check<A: Folding<(), Word>, W: EventTimeWindows>(
    folding: A,
    options: &WindowOptions<W>,
    script: &str,
    expected: &str,
) where
    A::Out: Show,
{
    let build = |context: &TaskContext, probe: &Probe| {
        context.put_side(0, side_output::<Word>(probe.output("late:")));
        let start = AllWindowsStart::<_, Word, _>::new(folding.clone(), options.clone());
        harness::head_of(start, Nothing::new(), context, probe)
    };
    harness::check(&build, SINGLE, script, expected);
}

#[test]
fn all_records_of_a_window_are_one() {
    let sum = OfNumber::new(number, Sum);
    check(sum.clone(), &tens(), "a3@1 b4@2 a5@12 w8 w9 w19", "w8 =7@9 w9 =5@19 w19");
    check(sum.clone(), &tens(), "a@25 a@3 a@17 w100 w+ end", "=1@9 =1@19 =1@29 w100 w+");
    check(sum, &tens(), "a@-1 a@-+1 a@+ w+", "=1@-+7 =1@-1 =1@+-1 w+");
}

#[test]
fn lateness_and_late_records() {
    let late = WindowOptions { late_slot: Some(0), ..tens() };
    check(Count, &late, "a@3 w9 a7@4 w10", "=1@9 late:w9 w9 late:a7@4 late:w10 w10");
    check(Count, &late, "idle active", "late:idle idle late:active active");
    check(Count, &tens(), "a@3 w9 a@4 late? w10", "=1@9 w9 late=1 w10");
    let lateness = WindowOptions { allowed_lateness: millis(5), ..tens() };
    check(
        Count,
        &lateness,
        "a@3 w9 a@4 b@5 w13 b@1 w14 b@1 late?",
        "=1@9 w9 =2@9 =3@9 w13 =4@9 w14 late=1",
    );
    check(Count, &lateness, "w12 a@5 w13 a@7 w14", "w12 =1@9 w13 =2@9 w14");
}

#[test]
fn where_windows_overlap_a_record_is_in_all_over_its_time() {
    let sliding =
        |size, slide| WindowOptions::new(Sliding::event_time(millis(size), millis(slide)));
    let sum = OfNumber::new(number, Sum);
    check(sum, &sliding(20, 10), "a3@5 b4@12 a5@16 w9 w100", "=3@9 w9 =12@19 =9@29 w100");
    // Behind the watermark it counts in those that are open; late it is where none is.
    check(
        Count,
        &sliding(20, 10),
        "a@12 w19 a@15 late? w29 a@15 late?",
        "=1@19 w19 late=0 =2@29 w29 late=1",
    );
    let lateness = WindowOptions { allowed_lateness: millis(15), ..sliding(20, 10) };
    check(
        Count,
        &lateness,
        "a@12 w29 a@13 w34 a@14 late? w44 a@14 late?",
        "=1@19 =1@29 w29 =2@19 =2@29 w34 =3@29 late=0 w44 late=1",
    );
    check(
        Count,
        &sliding(3, 10),
        "a@2 a@3 b@10 late? w12 a@5 late?",
        "late=0 =1@2 =1@12 w12 late=1",
    );
    let best = TopN::new(1, total);
    check(best, &sliding(20, 10), "a3@5 b9@12 w100", "1.a3@9 1.b9@19 1.b9@29 w100");
}

#[test]
fn what_cannot_be_aggregated_fails_the_job() {
    check(
        OfNumber::new(number, Sum),
        &tens(),
        "a9223372036854775807@1 a@2 b@2",
        "could not aggregate a record (operator `op`, subtask 0): \
         the sum does not fit into i64: sum a wider type",
    );
    check(
        Count,
        &tens(),
        "a@1 a b@2",
        "could not assign a record to a window (operator `op`, subtask 0): \
         the record has no event time: call `watermarks` before the window",
    );
}

fn descending(a: (&str, i64), b: (&str, i64)) -> Ordering {
    b.1.cmp(&a.1)
}

/// In descending order of numbers, then ascending of letters.
fn total(a: (&str, i64), b: (&str, i64)) -> Ordering {
    descending(a, b).then_with(|| a.0.cmp(b.0))
}

#[test]
fn the_best_of_a_window_come_best_first() {
    let best = TopN::new(2, total);
    check(best.clone(), &tens(), "a3@1 b9@2 c5@3 d1@4 w9", "1.b9@9 2.c5@9 w9");
    check(best.clone(), &tens(), "a3@1 w9 b9@12 w19", "1.a3@9 w9 1.b9@19 w19");
    check(best, &tens(), "c3@1 b3@1 a3@2 a3@3 w9", "1.a3@9 2.a3@9 w9");
    check(TopN::new(0, total), &tens(), "a3@1 b9@2 w9", "w9");
    check(TopN::new(1, total), &tens(), "a3@1 b9@2 a9@3 w9", "1.a9@9 w9");
    // More than there are, and than memory could hold.
    let all = TopN::new(usize::MAX, total);
    check(all, &tens(), "a3@1 b9@2 c5@3 w9", "1.b9@9 2.c5@9 3.a3@9 w9");
}

#[test]
fn among_equals_the_first_stays() {
    check(TopN::new(2, descending), &tens(), "c3@1 b3@1 a3@2 a9@3 w9", "1.a9@9 2.c3@9 w9");
    check(TopN::new(3, descending), &tens(), "c3@1 b3@1 a3@2 w9", "1.c3@9 2.b3@9 3.a3@9 w9");
}

#[test]
fn the_best_are_told_again_when_a_late_record_comes() {
    let options = WindowOptions { allowed_lateness: millis(5), ..tens() };
    check(
        TopN::new(2, total),
        &options,
        "a3@1 b9@2 w9 c5@3 d1@4",
        "1.b9@9 2.a3@9 w9 1.b9@9 2.c5@9 1.b9@9 2.c5@9",
    );
}
