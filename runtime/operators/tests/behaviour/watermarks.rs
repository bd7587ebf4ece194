//! Watermarks: what a strategy promises, when it is told, and what becomes of idle streams.

use wiesel_core::{Timestamp, millis, seconds};
use wiesel_operators::{
    AssignWatermarksTo, FrameStart, Nothing, WatermarkGenerator, WatermarkStrategy,
    bounded_out_of_orderness, monotonous_timestamps, no_watermarks, punctuated,
};

use crate::harness::{self, STATELESS, Word, number};

/// The number of a word is its event time.
fn time_of(word: (&str, i64)) -> Timestamp {
    Timestamp::from_millis(number(word))
}

#[track_caller]
fn check<G: WatermarkGenerator<Word>>(
    strategy: &WatermarkStrategy<G>,
    script: &str,
    expected: &str,
) {
    let build = |context: &_, probe: &_| {
        let chain = AssignWatermarksTo::new(Nothing::<Word>::new(), strategy.clone(), time_of);
        harness::head_of(FrameStart::new(), chain, context, probe)
    };
    harness::check(&build, STATELESS, script, expected);
}

#[test]
fn a_bound_holds_the_watermark_back() {
    let strategy = bounded_out_of_orderness(millis(2));
    check(&strategy, "a5 t2!", "a5@5 w2");
    check(&strategy, "a5 a9 b7 a12 t2!", "a5@5 a9@9 b7@7 a12@12 w9");
    // The time of the record replaces what it came with.
    check(&strategy, "a5@77 t2!", "a5@5 w2");
    // Nothing new, nothing told; and never back.
    check(&strategy, "t1! a5 t2! t3! a4 t4! a5 t5! a6 t6!", "a5@5 w2 a4@4 a5@5 a6@6 w3");
}

#[test]
fn in_order_a_watermark_is_a_millisecond_behind() {
    let strategy = monotonous_timestamps();
    check(&strategy, "a5 t2! a5 t3! a6 t4!", "a5@5 w4 a5@5 a6@6 w5");
    check(&strategy, "a-5 t2! a0 t3!", "a-5@-5 w-6 a0@0 w-1");
}

#[test]
fn a_busy_task_tells_at_most_once_a_millisecond() {
    let strategy = monotonous_timestamps();
    check(&strategy, "a5 t2 a6 t2 a7 t3", "a5@5 w4 a6@6 a7@7 w6");
    // What was held back is told when the task has nothing left to do, or when the millisecond is over.
    check(&strategy, "a5 t2 a6 t2 t2!", "a5@5 w4 a6@6 w5");
    check(&strategy, "a5 t2 a6 t2 t3", "a5@5 w4 a6@6 w5");
}

#[test]
fn the_ends_of_time_are_reached_and_not_passed() {
    let strategy = bounded_out_of_orderness(millis(2));
    check(&strategy, "a9223372036854775807 t2!", "a9223372036854775807@+ w+-3");
    let script = "a-9223372036854775807 t2! a-9223372036854775804 t4! w+ end";
    check(&strategy, script, "a-9223372036854775807@-+1 a-9223372036854775804@-+4 w-+1 w+");
    let forever = bounded_out_of_orderness(std::time::Duration::MAX);
    check(&forever, "a5 t2! a9223372036854775807 t4!", "a5@5 w-+5 a9223372036854775807@+ w-1");
}

#[test]
fn a_record_before_all_of_time_is_named_where_it_gets_its_time() {
    let strategy = bounded_out_of_orderness(millis(2));
    check(
        &strategy,
        "a5 a-9223372036854775808 t2!",
        "a5@5 could not assign an event time (operator `op`, subtask 0): the event time of the record is \
         Timestamp::MIN, which is before all of time: give it another one, or filter the record out before `watermarks`",
    );
}

#[test]
fn upstream_watermarks_are_replaced_but_for_the_last() {
    let strategy = monotonous_timestamps();
    check(&strategy, "w3 a5 w100 t2! w200", "a5@5 w4");
    check(&strategy, "a5 w+ t2! end", "a5@5 w+");
    check(&strategy, "w+ end t5!", "w+");
}

#[test]
fn without_a_timeout_no_stream_is_idle() {
    let strategy = monotonous_timestamps();
    // What inputs say of themselves is ignored, as in Flink.
    check(&strategy, "a5 t2! idle active a6 t4!", "a5@5 w4 a6@6 w5");
    check(&strategy, "a5 idle t2! a6 t4 active w+ end", "a5@5 w4 a6@6 w5 w+");
    check(&strategy, "t100000! t200000!", "");
}

#[test]
fn a_stream_is_idle_after_its_timeout_and_active_before_its_next_record() {
    let strategy = monotonous_timestamps().with_idleness(seconds(1));
    // Idle once, `idle_after` behind the last turn with records.
    check(&strategy, "a5 t10! t1009! t1010! t5000!", "a5@5 w4 idle");
    check(&strategy, "a5 t10! t1010! a3 t1011!", "a5@5 w4 idle active a3@3");
    check(&strategy, "a5 t10! t1010! a7 t1011! t2010! t2011!", "a5@5 w4 idle active a7@7 w6 idle");
    // A stream that never had a record.
    check(&strategy, "t999! t1000!", "idle");
    // The last watermark goes out even so, and what inputs say of themselves does not.
    check(&strategy, "t1000! idle active w+ end", "idle w+");
}

#[test]
fn a_busy_turn_without_records_does_not_put_off_idleness() {
    let strategy = monotonous_timestamps().with_idleness(millis(10));
    check(&strategy, "a5 t20 a6 t20 t21 t29 t30", "a5@5 w4 a6@6 w5 idle");
}

/// Says whatever it likes: the last time.
#[derive(Clone)]
struct Last(Timestamp);

impl WatermarkGenerator<Word> for Last {
    fn on_event(&mut self, _: (&str, i64), time: Timestamp) {
        self.0 = time;
    }
    fn current(&self) -> Timestamp {
        self.0
    }
}

#[test]
fn a_generator_cannot_take_a_watermark_back() {
    let strategy = WatermarkStrategy::custom(Last(Timestamp::MIN));
    check(&strategy, "t2! a5 t4! a3 t6! a5 t8! a6 t9!", "a5@5 w5 a3@3 a5@5 a6@6 w6");
}

#[test]
fn punctuation_is_told_right_behind_its_record() {
    // Records of key `m` are marks: all of their time has been sent.
    let strategy = punctuated::<Word>(|(key, _), time| (key == "m").then_some(time));
    check(&strategy, "a5 m7 a8 m9 t2!", "a5@5 m7@7 w7 a8@8 m9@9 w9");
    // It may be told any time later, but is not told twice, nor taken back.
    check(&strategy, "m7 m6 m7 a3 t2! m8", "m7@7 w7 m6@6 m7@7 a3@3 m8@8 w8");
    check(
        &strategy.clone().with_idleness(millis(10)),
        "m7 t2! t12! m9",
        "m7@7 w7 idle active m9@9 w9",
    );
    check(&strategy, "a5 t2! w+ end", "a5@5 w+");
}

#[test]
fn without_watermarks_there_is_only_the_end() {
    check(&no_watermarks(), "a5 t2! a9 t4! w7 w+ end", "a5@5 a9@9 w+");
}
