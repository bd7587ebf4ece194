//! A restore ends its steps often enough: whatever keeps rows reads them in, and looks at them, some at a time. How many steps
//! there are is what the loops over all rows add up to, so one that never pauses is missed.

use std::{
    pin::pin,
    task::{Context, Waker},
};

use wiesel_core::millis;
use wiesel_operators::{
    Count, Head, KeyedHeadStart, KeyedOperator, KeyedStart, Nothing, RollingStart, Session,
    SessionStart, Sliding, SlidingStart, TaskContext, Tumbling, TumblingStart, WindowOptions,
};

use crate::{
    harness::{self, Probe, Word, key},
    joins, states, temporal_join, triggers, window_functions,
};

/// Rows of a step, as in `keyed_table.rs`.
const STEP_ROWS: usize = 64;
/// So many that what a key group costs besides is less than one loop over all of them.
const KEYS: usize = 12_800;

/// How many steps a restore takes of what a head keeps behind the records of `each`, in which `#` is each of the keys.
fn steps(build: harness::Build<'_>, each: &str) -> usize {
    let of_key = |n: usize| {
        // A frame is full after some hundreds, and ends with a watermark.
        let watermark = if n % 100 == 99 { format!("w{} ", n / 100) } else { String::new() };
        format!("{} {watermark}", each.replace('#', &name_of(n)))
    };
    let script: String = (0..KEYS).map(of_key).collect();
    let snapshot = harness::snapshot(build, &script);
    let context = harness::context(0, 1, &std::sync::Arc::default());
    let mut head = build(&context, &Probe::new(context.stop(), 0));
    let mut restoring = pin!(head.restore(&snapshot));
    let polls = (0_usize..)
        .find(|_| restoring.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    polls.expect("it ends")
}

/// Letters alone: what follows is a number.
fn name_of(mut n: usize) -> String {
    let mut name = String::new();
    for _ in 0..4 {
        name.push(char::from(b'a' + (n % 26) as u8));
        n /= 26;
    }
    name
}

/// `loops`: how often all rows are gone through.
#[track_caller]
fn check(about: &str, build: harness::Build<'_>, each: &str, loops: usize) {
    let (steps, expected) = (steps(build, each), loops * KEYS / STEP_ROWS);
    assert!(steps >= expected, "{about}: {steps} steps of {expected}");
}

fn keyed<S>(start: S) -> impl Fn(&TaskContext, &Probe) -> Box<dyn Head>
where
    S: KeyedStart<Word, String>,
    <S::Operator as KeyedOperator<Word, String>>::Out: harness::Show,
{
    move |context, probe| {
        let start = KeyedHeadStart::<Word, String, _, _>::new(key, start.clone());
        harness::head_of(start, Nothing::new(), context, probe)
    }
}

#[test]
fn every_loop_over_rows_pauses() {
    // The bytes are checked, then taken in, each row with a look at its key and cells.
    check("rolling", &keyed(RollingStart(Count)), "#1", 2);
    let tens = || WindowOptions::new(Tumbling::event_time(millis(10)));
    check("tumbling", &keyed(TumblingStart::new(Count, tens())), "#1@9001", 2);
    let slides = WindowOptions::new(Sliding::event_time(millis(10), millis(5)));
    check("sliding", &keyed(SlidingStart::new(Count, slides)), "#1@9001", 2);
    // Their timers are armed besides.
    let gap = WindowOptions::new(Session::with_gap(millis(10)));
    check("sessions", &keyed(SessionStart::new(Count, gap)), "#1@9001", 3);
    // Windows and accumulators or lists, in tables of their own; a timer for each.
    check("triggers", &triggers::sessions, "#1@9001", 8);
    check("lists of windows", &window_functions::lists, "#1@9001", 4);
    check("join", &joins::unbounded, "1:#1@9001 2:#1@9001", 3);
    check("temporal join", &temporal_join::inner, "2:#1@9001 1:#1@9003", 10);
    // Those of a key, which the checks of two lists and two maps go through once more each; then elements.
    let all = states::Everything::new(states::Ttls::default());
    let states = |context: &TaskContext, probe: &Probe| states::head(&all, context, probe);
    check("value", &states, &format!("#{}", states::SET * 1_000 + 1), 6);
    check("list", &states, &format!("#{}", states::LIST_ADD * 1_000 + 1), 9);
    check("map", &states, &format!("#{}", states::PUT * 1_000 + 1), 9);
}
