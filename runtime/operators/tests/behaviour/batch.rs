//! Batch mode: heads that see one key after the other, its records in order of time, and its timers and windows behind them.
//!
//! A script has the records of all inputs, in the order in which they come; then both inputs have ended, the second one at
//! `end2` if there is one. Keys are told in the order of their hashes, which a table should not know: what comes of a key is
//! put in the order of the keys, once it is seen that it comes in one piece.

use wiesel_core::{Meta, Timestamp, millis};
use wiesel_operators::{
    AggregatingStart, AssignWindows, BatchOptions, ContentsStart, ContinuousEventTimeTrigger,
    ContinuousProcessingTimeTrigger, Count, CountEvictor, CountTrigger, EventTimeTrigger, Global,
    Head, KeyedHeadStart, ListingStart, NoEvictor, Nothing, PassOn, ProcessingTime,
    ProcessingTimeTrigger, PurgingTrigger, Session, Sliding, TaskContext, Trigger, Tumbling,
    WindowContents, WindowOperatorStart, WindowOptions, side_output,
};
use wiesel_record::Key;
use wiesel_shard::{ManualClock, Shard};

use crate::{
    broadcast::{ledger, scale},
    harness::{self, Build, Event, Frames, Mode, Probe, Show, Word, key, show_time},
    window_functions::Print,
    words::parse_word,
};

const MODES: [Mode; 4] = [Mode::Plain, Mode::Stopped(1), Mode::Stopped(2), Mode::Spent];

/// Runs a script of records, and gives what comes of each key, and what comes behind them.
fn run(build: Build<'_>, mode: Mode, script: &str) -> String {
    let (mut of_keys, mut behind) = (Vec::<(String, String)>::new(), Vec::new());
    for event in run_in_order(build, mode, script) {
        match event {
            Event::Record(text, meta) => {
                assert!(behind.is_empty(), "{text}: behind {behind:?}");
                let is_of_key = |c: &char| c.is_alphabetic();
                let key: String = text.chars().take_while(is_of_key).collect();
                let text = show_record(text, meta);
                match of_keys.last_mut() {
                    Some((last, texts)) if *last == key => texts.extend([" ", &text]),
                    _ => of_keys.push((key, text)),
                }
            }
            Event::Other(text) => behind.push(text),
        }
    }
    of_keys.sort();
    let is_once = of_keys.windows(2).all(|keys| keys[0].0 != keys[1].0);
    assert!(is_once, "a key comes again: {of_keys:?}");
    of_keys.into_iter().map(|(_, texts)| texts).chain(behind).collect::<Vec<_>>().join(" ")
}

fn show_record(text: String, meta: Meta) -> String {
    meta.time.map_or(text.clone(), |at| format!("{text}@{}", show_time(at)))
}

/// Runs a script of records, and gives what comes of it in the order in which it comes.
fn run_in_order(build: Build<'_>, mode: Mode, script: &str) -> Vec<Event> {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = ManualClock::new(Timestamp::from_millis(0));
    let context = harness::context_on(Shard::on(&clock), 0, 1, &Default::default());
    let memory = 1 << 20; // All of it fits.
    context.set_batch(BatchOptions { sort_bytes_max: memory, folder: folder.path().into() });
    let every = if let Mode::Stopped(every) = mode { every } else { 0 };
    let probe = Probe::new(context.stop(), every);
    let mut head = build(&context, &probe);
    head.open().expect("it opens");
    let mut frames = Frames::<Word>::new();
    let (mut records, mut has_second_ended) = (0, false);
    for step in script.split_whitespace() {
        if step == "end2" {
            has_second_ended = true;
            head.end_input(1);
            continue;
        }
        let hash_of = |word: &Word| <String as Key>::key_hash(&word.0);
        let (input, word, meta) = parse_word(step, hash_of).expect("a record");
        let frame = frames.frame([(&word, meta)].into_iter());
        let mut cursor = 0;
        for _ in 0..1_000 {
            let _ = head.frame(input, &frame, &mut cursor, &mut harness::pace(&context, mode));
            if cursor == 1 {
                break;
            }
            assert!(head.has_parked(), "a record is taken, or there are others before it");
            let _ = head.unpark(&mut harness::pace(&context, mode));
        }
        assert_eq!(cursor, 1, "a record is taken in the end");
        frames.give(frame);
        records += 1;
    }
    head.end_input(0);
    if !has_second_ended {
        // Told as soon as it has come on all inputs, and at the end again.
        let _ = head.watermark(Timestamp::MAX, &mut harness::pace(&context, mode));
        head.end_input(1);
    }
    let drained = (0..1_000).any(|_| {
        let has_parked = head.has_parked();
        if has_parked {
            let _ = head.unpark(&mut harness::pace(&context, mode));
        }
        !has_parked
    });
    assert!(drained, "records that wait for ever");
    let _ = head.watermark(Timestamp::MAX, &mut harness::pace(&context, mode));
    let finished = (0..100_000).any(|_| {
        let progress = head.finish(&mut harness::pace(&context, mode));
        progress == wiesel_operators::Progress::Done || context.has_failed()
    });
    assert!(finished, "an end that never comes");
    assert!(context.take_failure().is_none());
    assert_eq!(context.metrics().records_in.get(), records);
    probe.take()
}

#[track_caller]
fn check(build: Build<'_>, script: &str, expected: &str) {
    for mode in MODES {
        assert_eq!(run(build, mode, script), expected, "{script}, {mode:?}");
    }
}

/// What general windows with these contents do.
#[track_caller]
fn check_windows<W, R, C>(
    options: &WindowOptions<W>,
    trigger: &R,
    contents: &C,
    script: &str,
    expected: &str,
) where
    W: AssignWindows<Word>,
    R: Trigger<Word>,
    C: ContentsStart<String, Word>,
    <C::Contents as WindowContents<String, Word>>::Out: Show,
{
    let build = |context: &TaskContext, probe: &Probe| -> Box<dyn Head> {
        context.put_side(0, side_output::<Word>(probe.output("late:")));
        let operator = WindowOperatorStart::new(contents.clone(), trigger.clone(), options.clone());
        let start = KeyedHeadStart::<Word, String, _, _>::new(key, operator);
        harness::head_of(start, Nothing::new(), context, probe)
    };
    check(&build, script, expected);
}

fn listed<W: AssignWindows<Word>>() -> ListingStart<NoEvictor, Print> {
    ListingStart::new(NoEvictor, Print::new(!W::MERGES), Some(0))
}

#[test]
fn keyed_records_see_all_that_was_broadcast_whenever_it_came() {
    check(&ledger, "2:a2 1:a5@3 1:b1@1", "a=10,a*2#1@3 b=1,a*2#1@1 side:w+ w+");
    // By key and by time; each timer, at its own time, behind the last record of its key.
    check(
        &ledger,
        "1:a5@3 1:b1@9 1:a3@1 2:a2@8 1:b3@2 2:b3@4",
        "a=6,a*2,b*3#2@1 a=16,a*2,b*3#2@3 a=16!,a*2,b*3#2@6 \
         b=9,a*2,b*3#2@2 b=12,a*2,b*3#2@9 b=12!,a*2,b*3#2@7 side:w+ w+",
    );
    // A broadcast record finds no key to add five to. What is left of a key is not the next one's.
    check(&ledger, "1:a1@1 2:x5 1:b1@1 1:a1@2", "a=1,x*5#1@1 a=2,x*5#1@2 b=1,x*5#1@1 side:w+ w+");
    check(&ledger, "2:a2 2:b3", "side:w+ w+");
}

/// What comes of a function without keys.
#[track_caller]
fn check_unkeyed(script: &str, expected: &str) {
    for mode in MODES {
        let told = run_in_order(&scale, mode, script).into_iter().map(|event| match event {
            Event::Record(text, meta) => show_record(text, meta),
            Event::Other(text) => text,
        });
        let told: Vec<String> = told.collect();
        assert_eq!(told.join(" "), expected, "{script}, {mode:?}");
    }
}

#[test]
fn records_without_keys_see_all_that_was_broadcast_whenever_it_came() {
    check_unkeyed("1:a5@3 2:a2@9 1:b1@1 2:b3", "10,a*2,b*3#2@3 3,a*2,b*3#2@1 side:w+ w+");
    // What waits comes first, what comes behind the end goes by when nothing waits any more.
    check_unkeyed(
        "2:a2 1:a1 1:b2 1:a3@7 end2 1:c4 1:a5",
        "2,a*2#1 2,a*2#1 6,a*2#1@7 4,a*2#1 10,a*2#1 side:w+ w+",
    );
    check_unkeyed("2:a2 end2 1:a1 1:a0 1:a2", "2,a*2#1 side:a/w- 4,a*2#1 side:w+ w+");
    check_unkeyed("1:a1 1:b2 1:a3", "1#0 2#0 3#0 side:w+ w+");
    check_unkeyed("2:a2 2:b3", "side:w+ w+");
    check_unkeyed("end2", "side:w+ w+");
}

#[test]
fn windows_of_event_time_fire_behind_their_key() {
    let tens = WindowOptions::new(Tumbling::event_time(millis(10)));
    let contents = listed::<Tumbling>();
    // Nothing is late; each key counts its own windows that have ended.
    check_windows(
        &tens,
        &EventTimeTrigger,
        &contents,
        "a1@13 b2@4 a3@1 a4@2 b5@15 a6@1",
        "a=3,6,4,#1/0@9 a=1,#1/1@19 b=2,#1/0@9 b=5,#1/1@19 late:w+ w+",
    );
    let late = WindowOptions { allowed_lateness: millis(5), ..tens.clone() };
    check_windows(
        &late,
        &EventTimeTrigger,
        &contents,
        "a1@13 a2@4",
        "a=2,#1/0@9 a=1,#1/1@19 late:w+ w+",
    );
    let sliding = WindowOptions::new(Sliding::event_time(millis(10), millis(5)));
    let counts = AggregatingStart::new(Count, PassOn, None);
    check_windows(
        &sliding,
        &EventTimeTrigger,
        &counts,
        "b1@1 a1@7 a1@3",
        "a=1@4 a=2@9 a=1@14 b=1@4 b=1@9 w+",
    );
    let sessions = WindowOptions::new(Session::with_gap(millis(10)));
    check_windows(
        &sessions,
        &EventTimeTrigger,
        &listed::<Session>(),
        "a1@20 a2@3 b9@7 a3@21 a4@12",
        "a=2,4,1,3,/0@30 b=9,/0@16 late:w+ w+",
    );
}

#[test]
fn what_a_trigger_waits_for_comes_with_the_end_of_the_key() {
    let tens = WindowOptions::new(Tumbling::event_time(millis(10)));
    let contents = listed::<Tumbling>();
    // The end of the key passes all multiples at once: it fires for them, and at the end of the window.
    check_windows(
        &tens,
        &ContinuousEventTimeTrigger::of(millis(4)),
        &contents,
        "a1@1 a2@6 b3@5",
        "a=1,2,#1/0@9 a=1,2,#2/0@9 b=3,#1/0@9 b=3,#2/0@9 late:w+ w+",
    );
    let clock = WindowOptions::new(Tumbling::processing_time(millis(10)));
    let contents = listed::<ProcessingTime<Tumbling>>();
    check_windows(
        &clock,
        &ProcessingTimeTrigger,
        &contents,
        "a1 b2 a3",
        "a=1,3,#1/0@9 b=2,#1/0@9 late:w+ w+",
    );
}

#[test]
fn windows_without_an_end_keep_what_no_trigger_fires() {
    let global = WindowOptions::new(Global);
    let contents = listed::<Global>();
    check_windows(
        &global,
        &PurgingTrigger::of(CountTrigger::of(2)),
        &contents,
        "a1@2 b1@1 a2@1 a3@3 b2@2 b3@9 b4@8",
        "a=2,1,#1/0@+ b=1,2,#1/0@+ b=4,3,#2/0@+ late:w+ w+",
    );
    let evicted = ListingStart::new(CountEvictor::of(2), Print::new(true), Some(0));
    check_windows(
        &global,
        &CountTrigger::of(1),
        &evicted,
        "a1 b5 a2 a3",
        "a=1,#1/0@+ a=1,2,#2/0@+ a=2,3,#3/0@+ b=5,#1/0@+ late:w+ w+",
    );
    // So does a clock that has no end.
    let every = ContinuousProcessingTimeTrigger::of(millis(5));
    check_windows(&global, &every, &contents, "a1 a2", "a=1,2,#1/0@+ late:w+ w+");
}
