//! Windows that a trigger fires, per key.

use std::time::Duration;

use wiesel_core::{Timestamp, millis};
use wiesel_operators::{
    AggregatingStart, AssignWindows, ContinuousEventTimeTrigger, ContinuousProcessingTimeTrigger,
    Count, CountTrigger, Cumulative, DeltaTrigger, EventTimeTrigger, Fold, FoldMerging, Global,
    Head, KeyedHeadStart, NeverTrigger, Nothing, PassOn, ProcessingTime, ProcessingTimeTrigger,
    PurgingTrigger, Session, Sliding, TaskContext, TimeWindow, Trigger, TriggerContext,
    TriggerResult, Tumbling, WindowOperatorStart, WindowOptions,
};
use wiesel_shard::at_once;

use crate::{
    harness::{self, Probe, Word, key},
    keyed,
};

#[track_caller]
fn check<W: AssignWindows<Word>, R: Trigger<Word>>(
    options: &WindowOptions<W>,
    trigger: &R,
    script: &str,
    expected: &str,
) {
    // The list of its numbers, so that each record is seen.
    let function = |list: &mut String, word: (&str, i64)| {
        list.push_str(&word.1.to_string());
        list.push(',');
    };
    let fold = Fold { initial: String::new(), function };
    let list = FoldMerging { fold, merge: |list: &mut String, other: &str| list.push_str(other) };
    let contents = AggregatingStart::new(list, PassOn, None);
    let start = WindowOperatorStart::new(contents, trigger.clone(), options.clone());
    keyed::check(&start, script, expected);
}

fn global() -> WindowOptions<Global> {
    WindowOptions::new(Global)
}

fn tens() -> WindowOptions<Tumbling> {
    WindowOptions::new(Tumbling::event_time(millis(10)))
}

#[test]
fn a_count_window_fires_at_every_nth_record_of_its_key() {
    let pairs = PurgingTrigger::of(CountTrigger::of(2));
    check(&global(), &pairs, "a1 a2 b3 a4 b5 a6 w+ end", "a=1,2,@+ b=3,5,@+ a=4,6,@+ w+");
    check(&global(), &CountTrigger::of(2), "a1 a2 a3 a4 w+", "a=1,2,@+ a=1,2,3,4,@+ w+");
    check(&global(), &PurgingTrigger::of(CountTrigger::of(1)), "a1@5 w9 a2@1", "a=1,@+ w9 a=2,@+");
}

#[test]
fn the_global_window_does_not_fire_by_itself_and_nothing_is_late_in_it() {
    check(&global(), &NeverTrigger, "a1 a2@5 w9 a3@1 w+ late?", "w9 w+ late=0");
    check(&global(), &EventTimeTrigger, "w+ a3@1 late?", "w+ a=3,@+ late=0");
}

#[test]
fn the_event_time_trigger_is_what_windows_do_by_themselves() {
    let late = WindowOptions { allowed_lateness: millis(5), late_slot: Some(0), ..tens() };
    check(
        &late,
        &EventTimeTrigger,
        "a1@3 a2@12 w9 a3@5 w13 a4@6 w14 a5@7 w19",
        "a=1,@9 late:w9 w9 a=1,3,@9 late:w13 w13 a=1,3,4,@9 late:w14 w14 late:a5@7 a=2,@19 late:w19 w19",
    );
    let sliding = WindowOptions::new(Sliding::event_time(millis(20), millis(10)));
    check(&sliding, &EventTimeTrigger, "a1@3 a2@12 w40", "a=1,@9 a=1,2,@19 a=2,@29 w40");
    let endless = WindowOptions { allowed_lateness: Duration::MAX, ..tens() };
    check(
        &endless,
        &EventTimeTrigger,
        "a1@3 w100 a2@4 w+ a1@3 late?",
        "a=1,@9 w100 a=1,2,@9 w+ late=1",
    );
}

#[test]
fn a_purge_forgets_what_has_fired() {
    let late = WindowOptions { allowed_lateness: millis(50), ..tens() };
    let purging = PurgingTrigger::of(EventTimeTrigger);
    check(&late, &purging, "a1@3 w9 a2@4 a3@4 w30", "a=1,@9 w9 a=2,@9 a=3,@9 w30");
    // What is over is gone, fired or not.
    check(
        &tens(),
        &CountTrigger::of(3),
        "a1@1 a2@2 w9 a3@11 a4@12 a5@13 w30",
        "w9 a=3,4,5,@19 w30",
    );
    check(&tens(), &CountTrigger::of(2), "a1@1 b2@2 w5 a3@3 w9 late?", "w5 a=1,3,@9 w9 late=0");
}

#[test]
fn a_continuous_trigger_fires_every_so_often_and_at_the_end() {
    let hundred = WindowOptions::new(Tumbling::event_time(millis(100)));
    let every = ContinuousEventTimeTrigger::of(millis(30));
    check(
        &hundred,
        &every,
        "a1@5 w29 w30 a2@31 w59 w60 a3@80 w200",
        "w29 a=1,@99 w30 w59 a=1,2,@99 w60 a=1,2,3,@99 a=1,2,3,@99 w200",
    );
    let purging = PurgingTrigger::of(ContinuousEventTimeTrigger::of(millis(30)));
    // Nothing is emitted of what holds nothing.
    check(&hundred, &purging, "a1@5 w30 w60 a2@61 w99", "a=1,@99 w30 w60 a=2,@99 w99");
}

#[test]
fn a_delta_trigger_fires_when_a_record_is_far_from_the_last_that_did() {
    let far =
        DeltaTrigger::of(10.0, |last: (&str, i64), word: (&str, i64)| (word.1 - last.1) as f64);
    check(
        &global(),
        &PurgingTrigger::of(far),
        "a0 a10 a11 a15 a21 a22",
        "a=0,10,11,@+ a=15,21,22,@+",
    );
}

#[test]
fn processing_timers_fire_windows_too() {
    check(
        &tens(),
        &ProcessingTimeTrigger,
        "a1@3 b2@4 next? p9 p10 a3@5 next? w9 next? p10",
        "next=10 a=1,@9 b=2,@9 next=10 w9 next=none",
    );
    let centuries = ContinuousProcessingTimeTrigger::of(millis(10_000_000_000_000));
    check(
        &global(),
        &centuries,
        "a1 next? p10000000000001 next? a2 p20000000000001",
        "next=10000000000001 a=1,@+ next=20000000000001 a=1,2,@+",
    );
}

#[test]
fn windows_are_restored_at_another_parallelism() {
    let pairs = PurgingTrigger::of(CountTrigger::of(2));
    check(
        &global(),
        &pairs,
        "a1 b2 !2 a3 c4 !3 b5 c6 !1 a7 a8",
        "a=1,3,@+ b=2,5,@+ c=4,6,@+ a=7,8,@+",
    );
    let every = ContinuousEventTimeTrigger::of(millis(4));
    check(
        &tens(),
        &every,
        "a1@1 !2 w4 !3 b2@5 w5 !1 w8 w9",
        "a=1,@9 w4 w5 a=1,@9 b=2,@9 w8 a=1,@9 b=2,@9 w9",
    );
}

#[test]
fn a_record_without_event_time_is_an_error() {
    check(
        &tens(),
        &EventTimeTrigger,
        "a1",
        "could not assign a record to a window (operator `op`, subtask 0): the record has no event time: call \
         `watermarks` before the window",
    );
}

/// A trigger of one's own: at the second record it registers a timer that it takes back at the third, and keeps a text.
#[derive(Clone)]
struct Own;

impl Trigger<Word> for Own {
    type State = String;

    fn on_element(
        &self,
        (_, number): (&str, i64),
        time: Option<Timestamp>,
        window: TimeWindow,
        context: &mut TriggerContext<'_, String>,
    ) -> TriggerResult {
        let mut seen = context.state().unwrap_or_default();
        seen.push('x');
        let soon = time.map_or(window.start, |time| time + millis(2));
        match seen.len() {
            2 => context.register_event_timer(soon),
            3 => context.delete_event_timer(soon),
            _ => {}
        }
        context.set_state(&seen);
        if number == 0 { TriggerResult::Purge } else { TriggerResult::Continue }
    }

    fn on_event_time(
        &self,
        time: Timestamp,
        window: TimeWindow,
        context: &mut TriggerContext<'_, String>,
    ) -> TriggerResult {
        assert!(time <= context.watermark());
        let is_own = time < window.max_timestamp();
        if is_own { TriggerResult::FireAndPurge } else { TriggerResult::Continue }
    }
}

#[test]
fn a_trigger_of_ones_own_has_state_and_timers_per_key_and_window() {
    check(&tens(), &Own, "a1@1 a2@2 b3@2 w4 a5@5 w20", "a=1,2,@9 w4 w20");
    // The timer is taken back.
    check(&tens(), &Own, "a1@1 a2@2 a3@2 w20", "w20");
    // A purge leaves the state of the trigger.
    check(&tens(), &Own, "a1@1 a0@2 a3@11 w4 w20", "w4 w20");
    check(&tens(), &Own, "a0@1 a2@2 w4", "a=2,@9 w4");
}

#[test]
fn sessions_merge_what_their_trigger_keeps() {
    let tens = WindowOptions::new(Session::with_gap(millis(10)));
    check(&tens, &EventTimeTrigger, "a1@3 a2@20 a3@12 b4@1 w10 w40", "b=4,@10 w10 a=1,2,3,@29 w40");
    // The counts of both, and of the record between them.
    check(&tens, &CountTrigger::of(4), "a1@3 a2@4 a3@20 a4@12", "a=1,2,3,4,@29");
    check(&tens, &CountTrigger::of(3), "a1@3 a2@4 a3@20 a4@21 a5@12 a6@40", "a=1,2,3,4,5,@30");
    let late = WindowOptions { allowed_lateness: millis(50), ..tens.clone() };
    check(
        &late,
        &EventTimeTrigger,
        "a1@3 a2@20 w40 a3@12 a4@13 w79 a5@12 late?",
        "a=1,@12 a=2,@29 w40 a=1,2,3,@29 a=1,2,3,4,@29 w79 late=1",
    );
    check(
        &late,
        &PurgingTrigger::of(EventTimeTrigger),
        "a1@3 a2@20 w40 a3@12 a4@13 w90",
        "a=1,@12 a=2,@29 w40 a=3,@29 a=4,@29 w90",
    );
    let every = ContinuousEventTimeTrigger::of(millis(6));
    check(
        &tens,
        &every,
        "a1@3 w5 a2@8 w6 a3@17 w50",
        "w5 a=1,2,@17 w6 a=1,2,3,@26 a=1,2,3,@26 a=1,2,3,@26 a=1,2,3,@26 w50",
    );
    check(&tens, &NeverTrigger, "a1@3 a2@20 a3@12 w50", "w50");
}

#[test]
fn windows_of_the_time_of_day_follow_the_clock() {
    let tens = WindowOptions::new(Tumbling::processing_time(millis(10)));
    let by_itself = ProcessingTimeTrigger;
    // Event times and watermarks are nothing to them, nothing is late, and the end of the input is no time of day. A
    // record at the last time of a window is in it.
    check(
        &tens,
        &by_itself,
        "a1 C5! a2@99 b3 w50 C8! next? C9! next? a4 C12 a5 C25! late? a6 w+",
        "w50 next=10 next=10 a=1,2,4,@9 b=3,@9 a=5,@19 late=0 w+",
    );
    let sliding = WindowOptions::new(Sliding::processing_time(millis(20), millis(10)));
    check(&sliding, &by_itself, "a1 C9! a2 C12! a3 C40!", "a=1,2,@9 a=1,2,3,@19 a=3,@29");
    let sessions = WindowOptions::new(Session::processing_time(millis(10)));
    check(
        &sessions,
        &by_itself,
        "a1 C5! a2 b3 C12! a4 C14! next? C21! C22! a5 C99!",
        "next=15 b=3,@14 a=1,2,4,@21 a=5,@31",
    );
    check(&sessions, &CountTrigger::of(3), "a1 a2 C5! a3 a4 C99! a5", "a=1,2,3,@14");
    let every = ContinuousProcessingTimeTrigger::of(millis(4));
    check(&tens, &every, "a1 C4! a2 C8! C30! state?", "a=1,2,@9 a=1,2,@9 a=1,2,@9 state=none");
    // The clock has passed windows of event time that are still open: they fire every so often, too.
    let events = WindowOptions::new(Tumbling::event_time(millis(10)));
    check(
        &events,
        &every,
        "C100! a1@3 C105! a2@4 C109! C113! w9 C200! state?",
        "a=1,@9 a=1,2,@9 a=1,2,@9 w9 state=none",
    );
}

/// What comes out, and what is kept, if a program allows another lateness from the first `!` on.
fn with_other_lateness<W: AssignWindows<Word>, R: Trigger<Word>>(
    windows: &W,
    trigger: &R,
    lateness: [i64; 2],
    script: &str,
) -> String {
    let is_restored = std::cell::Cell::new(false);
    let built = |context: &TaskContext, probe: &Probe| {
        let allowed = lateness[usize::from(is_restored.replace(true))];
        let allowed_lateness = Duration::from_millis(allowed as u64);
        let options = WindowOptions { allowed_lateness, ..WindowOptions::new(windows.clone()) };
        build(context, probe, trigger.clone(), options)
    };
    harness::run(&built, harness::Mode::Plain, script)
}

#[test]
fn windows_go_by_the_lateness_of_the_program_that_runs() {
    let tens = Tumbling::event_time(millis(10));
    let (more, less) = ([0, 20], [20, 0]);
    let run =
        |lateness, script: &str| with_other_lateness(&tens, &EventTimeTrigger, lateness, script);
    assert_eq!(run(more, "a@3 !1 w9 a@4 w29 state?"), "a=1@9 w9 a=2@9 w29 state=none");
    assert_eq!(run(more, "a@3 !1 w9 w29 state?"), "a=1@9 w9 w29 state=none");
    assert_eq!(run(less, "a@3 w9 !1 a@4 w29 late? state?"), "a=1@9 w9 w29 late=1 state=none");
    // A session that is over is no part of another one.
    let sessions = Session::with_gap(millis(10));
    let script = "a@3 w50 !1 a@10 b@60 w200 late? state?";
    let gone = with_other_lateness(&sessions, &EventTimeTrigger, [100, 0], script);
    assert_eq!(gone, "a=1@12 w50 b=1@69 w200 late=1 state=none");
}

#[test]
fn cumulative_windows_grow() {
    let windows = WindowOptions::new(Cumulative::event_time(millis(30), millis(10)));
    check(
        &windows,
        &EventTimeTrigger,
        "a1@3 b2@12 w9 a3@25 w19 w29 a4@25 late? a5@30 w99",
        "a=1,@9 w9 a=1,@19 b=2,@19 w19 a=1,3,@29 b=2,@29 w29 late=1 a=5,@39 a=5,@49 a=5,@59 w99",
    );
}

#[test]
fn an_overdue_processing_window_fires_behind_a_restore() {
    let tens = WindowOptions::new(Tumbling::processing_time(millis(10)));
    check(
        &tens,
        &ProcessingTimeTrigger,
        "a1 b2 !2 C50 !3 next? C50! state?",
        "next=10 a=1,@9 b=2,@9 state=none",
    );
}

#[test]
fn a_continuous_trigger_ends_with_its_input() {
    let every = ContinuousEventTimeTrigger::of(millis(1));
    check(&global(), &every, "a1@0 w1 w+", "a=1,@+ w1 a=1,@+ a=1,@+ w+");
    // 65,536 intervals one by one, and more at once.
    let year = WindowOptions::new(Tumbling::event_time(wiesel_core::hours(24 * 365)));
    check(&year, &every, "a1@0 w1 w+", "a=1,@31535999999 w1 a=1,@31535999999 a=1,@31535999999 w+");
}

fn counts(context: &TaskContext, probe: &Probe) -> Box<dyn Head> {
    build(context, probe, PurgingTrigger::of(CountTrigger::of(2)), global())
}

fn times(context: &TaskContext, probe: &Probe) -> Box<dyn Head> {
    build(context, probe, ContinuousEventTimeTrigger::of(millis(3)), tens())
}

pub fn sessions(context: &TaskContext, probe: &Probe) -> Box<dyn Head> {
    let options = WindowOptions::new(Session::with_gap(millis(10)));
    build(context, probe, ContinuousEventTimeTrigger::of(millis(3)), options)
}

fn of_the_day(context: &TaskContext, probe: &Probe) -> Box<dyn Head> {
    let options: WindowOptions<ProcessingTime<Tumbling>> =
        WindowOptions::new(Tumbling::processing_time(millis(10)));
    build(context, probe, ProcessingTimeTrigger, options)
}

fn build<W: AssignWindows<Word>, R: Trigger<Word>>(
    context: &TaskContext,
    probe: &Probe,
    trigger: R,
    options: WindowOptions<W>,
) -> Box<dyn Head> {
    let contents = AggregatingStart::new(Count, PassOn, None);
    let start = WindowOperatorStart::new(contents, trigger, options);
    let start = KeyedHeadStart::<Word, String, _, _>::new(key, start);
    harness::head_of(start, Nothing::new(), context, probe)
}

#[test]
fn nothing_is_left_behind() {
    assert!(harness::snapshot(&counts, "a b a b").is_empty());
    assert!(!harness::snapshot(&counts, "a b a b a").is_empty());
    assert!(harness::snapshot(&times, "a@1 b@2 a@11 w19").is_empty());
    assert!(harness::snapshot(&sessions, "a@1 a@30 a@11 a@21 w100").is_empty());
    assert!(!harness::snapshot(&of_the_day, "a b").is_empty());
    assert!(harness::snapshot(&of_the_day, "a b C30! a C40!").is_empty());
}

#[test]
fn damaged_snapshots_are_errors() {
    let metrics = std::sync::Arc::default();
    let context = harness::context(0, 1, &metrics);
    let probe = Probe::new(context.stop(), 0);
    let long = "a@1 bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb@2 a@11 a@40 w4";
    for build in [counts, times, sessions, of_the_day] {
        let sound = harness::snapshot(&build, long);
        at_once(build(&context, &probe).restore(&sound)).unwrap();
        for name in sound.keyed_names() {
            for part in sound.keyed(name, context.key_groups()) {
                for at in 0..part.len() {
                    let mut flipped = part.to_vec();
                    flipped[at] ^= 0x41;
                    for bytes in [part[..at].to_vec(), flipped] {
                        let mut damaged = wiesel_operators::Snapshot::default();
                        damaged.put(name, Some(wiesel_core::KeyGroup(0)), bytes);
                        // It says what is wrong, or it is another snapshot that is sound; it does not panic.
                        let _ = at_once(build(&context, &probe).restore(&damaged));
                    }
                }
            }
        }
    }
}
