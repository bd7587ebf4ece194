//! Keyed process functions: states, timers, and what they see.

use wiesel_core::{Meta, Timestamp};
use wiesel_operators::{
    FunctionError, Head, KeyedContext, KeyedHeadStart, KeyedProcessFunction, KeyedProcessStart,
    Nothing, Progress, Snapshot, StateRegistry, TaskContext, TimeDomain, ValueState, side_output,
};
use wiesel_record::{Key, Out};
use wiesel_shard::at_once;
use wiesel_state::Scope;

use crate::harness::{self, Event, Frames, KEYED, Mode, Probe, Word, key, pace, show_time};

/// Does what the number of a word says, see [`KeyedProcessFunction::process`] of it.
#[derive(Clone)]
struct Orders {
    count: ValueState<u64>,
    note: ValueState<String>,
}

/// A number is a kind of order, times a thousand, and what it is about.
const EVENT_TIMER: i64 = 1;
const NO_EVENT_TIMER: i64 = 2;
const PROCESSING_TIMER: i64 = 3;
const NO_PROCESSING_TIMER: i64 = 4;
const COUNT: i64 = 5;
const NOTE: i64 = 6;
const TELL: i64 = 7;
const ASIDE: i64 = 8;
const FAIL: i64 = 9;

impl KeyedProcessFunction<String, Word> for Orders {
    type Out = String;
    type Side = i64;

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.count);
        states.register(&mut self.note);
    }

    fn process(
        &mut self,
        (key, number): (&str, i64),
        context: &mut KeyedContext<'_, String, i64>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        context.with_key(|seen| assert_eq!(seen, key));
        let (order, about) = (number / 1_000, number % 1_000);
        let time = Timestamp::from_millis(about);
        match order {
            EVENT_TIMER => context.register_event_timer(time),
            NO_EVENT_TIMER => context.delete_event_timer(time),
            PROCESSING_TIMER => context.register_processing_timer(time),
            NO_PROCESSING_TIMER => context.delete_processing_timer(time),
            COUNT if about == 0 => context.clear(&self.count),
            COUNT => {
                let count = context.get(&self.count).unwrap_or(0) + about as u64;
                context.set(&self.count, count);
            }
            NOTE if about == 0 => context.clear(&self.note),
            NOTE => {
                let note = context.get(&self.note).unwrap_or_default() + &about.to_string();
                context.set(&self.note, &note);
            }
            TELL => out.emit(&self.tell(context)),
            ASIDE => context.side(about),
            FAIL => return Err("told to".into()),
            _ => panic!("no order is {order}"),
        }
        Ok(())
    }

    /// Tells; at a time that ends in 5 it wants to be called a millisecond later as well.
    fn on_timer(
        &mut self,
        time: Timestamp,
        domain: TimeDomain,
        context: &mut KeyedContext<'_, String, i64>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        let domain = if domain == TimeDomain::EventTime { "E" } else { "P" };
        out.emit(&format!("{}!{domain}{}", self.tell(context), show_time(time)));
        match time.as_millis() {
            13 => return Err("thirteen".into()),
            millis if millis % 10 == 5 && domain == "E" => {
                context.register_event_timer(time.offset_millis(1));
            }
            millis if millis % 10 == 5 => {
                context.register_processing_timer(time.offset_millis(1));
            }
            _ => {}
        }
        Ok(())
    }
}

impl Orders {
    /// `key/count/note/watermark`.
    fn tell(&self, context: &KeyedContext<'_, String, i64>) -> String {
        let show = |count: u64| count.to_string();
        let count = context.get(&self.count).map_or("-".to_owned(), show);
        let note = context.get(&self.note).unwrap_or("-".to_owned());
        context.with_key(|key| format!("{key}/{count}/{note}/w{}", show_time(context.watermark())))
    }
}

fn orders(context: &TaskContext, probe: &Probe) -> Box<dyn Head> {
    context.put_side(0, side_output::<i64>(probe.output("side:")));
    let orders = Orders { count: ValueState::new("count"), note: ValueState::new("note") };
    let start = KeyedProcessStart::new(orders, Some(0));
    let start = KeyedHeadStart::<Word, String, _, _>::new(key, start);
    harness::head_of(start, Nothing::new(), context, probe)
}

#[track_caller]
fn check(script: &str, expected: &str) {
    harness::check(&orders, KEYED, script, expected);
}

#[test]
fn states_are_per_key_and_apart() {
    check("a7000 a5002 b5003 a5001 a7000 b7000", "a/-/-/w- a/3/-/w- b/3/-/w-");
    check("a5002 a6007 a6008 a7000 b7000@4", "a/2/78/w- b/-/-/w-@4");
    check("a5002 a6007 a5000 a7000 a6000 a7000", "a/-/7/w- a/-/-/w-");
    check("a5002 a6007 a6000 a7000 a5000 a7000", "a/2/-/w- a/-/-/w-");
    // Clearing what is not there, and starting anew.
    check("a5000 a6000 a5002 a5000 a5000 a5001 a7000", "a/1/-/w-");
}

#[test]
fn event_timers_fire_in_order_of_time_before_the_watermark() {
    check("a1007 w6 w7 w8", "side:w6 w6 a/-/-/w7!E7@7 side:w7 w7 side:w8 w8");
    check("a1007 b1003 a1004 w9", "b/-/-/w9!E3@3 a/-/-/w9!E4@4 a/-/-/w9!E7@7 side:w9 w9");
    // Registered twice is one; deleted is none; deleting a missing one is nothing.
    check("a1007 a1007 b1007 b2007 b2008 w9 w10", "a/-/-/w9!E7@7 side:w9 w9 side:w10 w10");
    check("a1000 w+ w+ end", "a/-/-/w+!E0@0 side:w+ w+ side:w+ w+");
}

#[test]
fn a_timer_for_a_time_already_reached_fires_with_the_next_watermark() {
    // Behind a restore that is the last one, which comes again.
    let script = "w9 a1007 w9 w10";
    let expected = "side:w9 w9 a/-/-/w9!E7@7 side:w9 w9 side:w10 w10";
    harness::check(&orders, harness::STATELESS, script, expected);
}

#[test]
fn a_timer_sees_the_state_of_its_key() {
    check("a5002 a1007 b1008 a5001 w9", "a/3/-/w9!E7@7 b/-/-/w9!E8@8 side:w9 w9");
}

#[test]
fn timers_that_timers_register_fire_in_the_same_pass() {
    check("a1005 b1006 w9", "a/-/-/w9!E5@5 a/-/-/w9!E6@6 b/-/-/w9!E6@6 side:w9 w9");
    check("a1005 w5 w6", "a/-/-/w5!E5@5 side:w5 w5 a/-/-/w6!E6@6 side:w6 w6");
    check("a3005 p5 next? p6 next?", "a/-/-/w-!P5 next=6 a/-/-/w-!P6 next=none");
    check("a3005 p9 next?", "a/-/-/w-!P5 a/-/-/w-!P6 next=none");
}

#[test]
fn processing_timers_follow_the_clock_only() {
    check("next? a3007 b3004 next? p3 p4 next?", "next=none next=4 b/-/-/w-!P4 next=7");
    check("a3007 w+ end p6 p7", "side:w+ w+ a/-/-/w+!P7");
    check("a3007 a3007 a4007 a4008 next? p9", "next=none");
    check("a1007 p9 w9", "a/-/-/w9!E7@7 side:w9 w9");
}

#[test]
fn the_side_output_gets_what_is_put_aside() {
    check("a8003@5 b8004 idle active", "side:3@5 side:4 side:idle idle side:active active");
}

#[test]
fn failures_say_where_they_happened() {
    check("a5001 a9000 a7000", "could not process a record (operator `op`, subtask 0): told to");
}

#[test]
fn a_timer_that_fails_ends_the_turn() {
    // With one subtask, so that no other has something to say in the same step.
    let build = |context: &TaskContext, probe: &Probe| {
        let orders = Orders { count: ValueState::new("count"), note: ValueState::new("note") };
        let start = KeyedProcessStart::new(orders, None);
        let start = KeyedHeadStart::<Word, String, _, _>::new(key, start);
        harness::head_of(start, Nothing::new(), context, probe)
    };
    harness::check(
        &build,
        harness::SINGLE,
        "a1012 a1013 a1014 w20",
        "a/-/-/w20!E12@12 a/-/-/w20!E13@13 \
         could not fire a timer (operator `op`, subtask 0): thirteen",
    );
}

/// One state: its row goes with it.
#[derive(Clone)]
struct Toggle(ValueState<u64>);

impl KeyedProcessFunction<String, Word> for Toggle {
    type Out = String;
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.0);
    }

    fn process(
        &mut self,
        (key, number): (&str, i64),
        context: &mut KeyedContext<'_, String, ()>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        let before = context.get(&self.0);
        if number == 0 {
            context.clear(&self.0)
        } else {
            context.set(&self.0, number as u64)
        }
        out.emit(&format!("{key}:{before:?}"));
        Ok(())
    }
}

/// No state: timers alone.
#[derive(Clone)]
struct Alarm;

impl KeyedProcessFunction<String, Word> for Alarm {
    type Out = String;
    type Side = ();

    fn open(&mut self, _states: &mut StateRegistry) {}

    fn process(
        &mut self,
        (_, number): (&str, i64),
        context: &mut KeyedContext<'_, String, ()>,
        _out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        context.register_event_timer(Timestamp::from_millis(number));
        Ok(())
    }

    fn on_timer(
        &mut self,
        _time: Timestamp,
        _domain: TimeDomain,
        context: &mut KeyedContext<'_, String, ()>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        context.with_key(|key| out.emit(key));
        Ok(())
    }
}

#[track_caller]
fn check_function<F>(function: &F, script: &str, expected: &str)
where
    F: KeyedProcessFunction<String, Word, Out = String, Side = ()>,
{
    let build = |context: &TaskContext, probe: &Probe| {
        let start = KeyedProcessStart::new(function.clone(), None);
        let start = KeyedHeadStart::<Word, String, _, _>::new(key, start);
        harness::head_of(start, Nothing::new(), context, probe)
    };
    harness::check(&build, KEYED, script, expected);
}

#[test]
fn a_function_may_have_one_state_or_none() {
    let toggle = Toggle(ValueState::new("toggle"));
    check_function(
        &toggle,
        "a0 a1 a2 b7 a0 a0 b0",
        "a:None a:None a:Some(1) b:None a:Some(2) a:None b:Some(7)",
    );
    check_function(&Alarm, "a5 b3 a5 w4 w9", "b@3 w4 a@5 w9");
}

/// A head of [`Alarm`] in one subtask.
fn alarms(subtask: u32, parallelism: u32) -> (Box<dyn Head>, TaskContext, Probe) {
    let context = harness::context(subtask, parallelism, &Default::default());
    let probe = Probe::new(context.stop(), 0);
    let start = KeyedHeadStart::<Word, String, _, _>::new(key, KeyedProcessStart::new(Alarm, None));
    let head = harness::head_of(start, Nothing::new(), &context, &probe);
    (head, context, probe)
}

#[test]
fn timers_are_written_behind_the_barrier_while_others_fire_and_come() {
    let (mut head, context, probe) = alarms(0, 1);
    let mut frames = Frames::new();
    let mut register = |head: &mut dyn Head, name: &str, at: i64| {
        let meta = Meta::NONE.with_hash(String::key_hash(name));
        let frame = frames.frame([(&(name.to_owned(), at), meta)].into_iter());
        let progress = head.frame(0, &frame, &mut 0, &mut pace(&context, Mode::Plain));
        assert_eq!(progress, Progress::Done);
        frames.give(frame);
    };
    let advance = |head: &mut dyn Head, context: &TaskContext, to: i64| {
        let mut pace = pace(context, Mode::Plain);
        assert_eq!(head.watermark(Timestamp::from_millis(to), &mut pace), Progress::Done);
    };
    let times = |events: Vec<Event>| -> Vec<(i64, String)> {
        let record = |event| match event {
            Event::Record(name, meta) => Some((meta.time?.as_millis(), name)),
            Event::Other(_) => None,
        };
        let mut times: Vec<_> = events.into_iter().filter_map(record).collect();
        times.sort_unstable();
        times
    };
    let keys: Vec<String> = (0..100).map(|number| format!("key {number}")).collect();
    for (at, name) in (1..).zip(&keys) {
        register(head.as_mut(), name, at);
    }
    // The barrier: nothing of the timers is in what is copied.
    head.tables(&mut |part| part.table.flip(Scope::Base).unwrap());
    let mut snapshot = Snapshot::without_tables();
    head.snapshot(&mut snapshot);
    assert_eq!(snapshot.keyed_names(), [""; 0]);
    let (mut buffer, mut is_walking, mut slices) = (Vec::new(), true, 0);
    while is_walking {
        is_walking = false;
        head.tables(&mut |part| {
            part.table.walk_pieces(100, &mut buffer, &mut |piece| {
                if !piece.bytes.is_empty() {
                    snapshot.put(part.name, Some(piece.group), piece.bytes.to_vec());
                }
            });
            is_walking |= part.table.is_walking();
        });
        slices += 1;
        advance(head.as_mut(), &context, slices * 3);
        register(head.as_mut(), &keys[slices as usize % keys.len()], 1_000 + slices);
    }
    assert!(slices > 20, "{slices} slices");
    assert!(probe.take().len() as i64 >= slices, "others fired meanwhile");
    let mut fired = Vec::new();
    for subtask in 0..3 {
        let (mut head, context, probe) = alarms(subtask, 3);
        at_once(head.restore(&snapshot)).unwrap();
        advance(head.as_mut(), &context, 10_000);
        fired.extend(times(probe.take()));
    }
    fired.sort_unstable();
    assert_eq!(fired, (1..).zip(keys).collect::<Vec<_>>(), "those of the barrier, each once");
}
