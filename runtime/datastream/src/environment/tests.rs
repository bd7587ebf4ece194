//! What is said of programs that cannot be run.
//!
//! # What is always true
//!
//! 1. Whatever an argument is, building a program does not panic: what cannot be is an error of its graph.

use wiesel_core::{Timestamp, config::Configuration, millis, seconds};
use wiesel_operators::{
    AsyncOptions, ContinuousEventTimeTrigger, ContinuousProcessingTimeTrigger, CountTrigger,
    Cumulative, Global, PurgingTrigger, Session, Sliding, TimeEvictor, Tumbling, after, before,
    bounded_out_of_orderness,
};

use super::*;
use crate::{OutputTag, SharedStream};

type Numbers = SourceStream<Collection<u64>>;

/// What is said of the graph of a program with these numbers.
#[track_caller]
fn check(program: impl FnOnce(Numbers), expected: &str) {
    let env = Environment::new();
    program(env.from_collection([1_u64]).uid("numbers"));
    let graph = env.job_graph("job", &GraphDefaults::from_config(&Configuration::new(), 2));
    let said = graph.map_or_else(|error| error.to_string(), |_| "a graph".to_owned());
    assert_eq!(said, expected);
}

#[test]
fn what_cannot_be_is_said_of_the_graph_with_its_operator() {
    let none = millis(0);
    check(|n| n.window_all(Tumbling::event_time(seconds(1))).count().print(), "a graph");
    check(
        |n| n.window_all(Tumbling::event_time(none)).count().print(),
        "`Tumbling(0 ms)`: a window covers at least one millisecond",
    );
    check(
        |n| n.key_by::<u64>(|n| n).window(Sliding::event_time(seconds(1), none)).count().print(),
        "`Sliding(1000 ms, 0 ms)`: windows slide by at least one millisecond",
    );
    check(
        |n| {
            let windows = Cumulative::event_time(millis(30), millis(7));
            n.key_by::<u64>(|n| n).window(windows).count().print();
        },
        "`Cumulative(30 ms, 7 ms)`: windows that grow by 7 ms never cover 30 ms",
    );
    check(
        |n| {
            let keyed = n.key_by::<u64>(|n| n).window(Tumbling::processing_time(none));
            keyed.evictor(TimeEvictor::of(seconds(1))).count().print();
        },
        "`ProcessingTimeTumbling(0 ms)`: a window covers at least one millisecond",
    );
    check(
        |n| n.window_all(Tumbling::event_time(seconds(1))).top_n(0, |n| n).print(),
        "`TopN`: the best 0 records of a window are none: ask for 1 at least",
    );
    check(
        |n| n.key_by::<u64>(|n| n).window(Session::with_gap(none)).count().print(),
        "`Session(0 ms)`: a session ends after a gap of at least one millisecond",
    );
    check(
        |n| n.window_all(Session::processing_time(none)).count().print(),
        "`ProcessingTimeSession(0 ms)`: a session ends after a gap of at least one millisecond",
    );
}

#[test]
fn a_trigger_that_never_can_fire_or_always_would_is_said() {
    let second = || Tumbling::event_time(seconds(1));
    check(
        |n| n.key_by::<u64>(|n| n).count_window(0).count().print(),
        "`Global.PurgingTrigger`: no record is the 0th of a window: fire at every 1st at least",
    );
    check(
        |n| n.key_by::<u64>(|n| n).count_window_sliding(3, 0).count().print(),
        "`Global.CountTrigger`: no record is the 0th of a window: fire at every 1st at least",
    );
    check(
        |n| n.key_by::<u64>(|n| n).count_window_sliding(0, 3).count().print(),
        "`CountWindow`: the last 0 records of a key are none: ask for 1 at least",
    );
    check(
        |n| n.count_window_all(0).count().print(),
        "`Global.PurgingTrigger`: no record is the 0th of a window: fire at every 1st at least",
    );
    check(
        |n| {
            let pairs = PurgingTrigger::of(CountTrigger::of(0));
            n.window_all(Global)
                .trigger(pairs)
                .evictor(TimeEvictor::of(seconds(1)))
                .count()
                .print();
        },
        "`Global.PurgingTrigger`: no record is the 0th of a window: fire at every 1st at least",
    );
    check(
        |n| {
            let always = ContinuousEventTimeTrigger::of(millis(0));
            n.key_by::<u64>(|n| n).window(second()).trigger(always).count().print();
        },
        "`Tumbling(1000 ms).ContinuousEventTimeTrigger`: a window fires at most once a millisecond: give an \
         interval of one at least",
    );
    check(
        |n| {
            let always = ContinuousProcessingTimeTrigger::of(millis(0));
            n.window_all(second()).trigger(always).count().print();
        },
        "`Tumbling(1000 ms).ContinuousProcessingTimeTrigger`: a window fires at most once a millisecond: give an \
         interval of one at least",
    );
}

#[test]
fn who_asks_about_no_record_is_told_so() {
    check(
        |n| {
            let options = AsyncOptions::within(seconds(1)).capacity(0);
            n.ordered_wait(options, |n| async move { Ok::<_, std::io::Error>([n]) }).print();
        },
        "`OrderedWait`: with a capacity of 0 no record is ever asked about: give it 1 at least",
    );
    check(
        |n| {
            let options = AsyncOptions::within(seconds(1)).capacity(0);
            n.unordered_wait(options, |n| async move { Ok::<_, std::io::Error>([n]) }).print();
        },
        "`UnorderedWait`: with a capacity of 0 no record is ever asked about: give it 1 at least",
    );
}

#[test]
fn no_time_at_all_is_said() {
    check(
        |n| {
            let options = AsyncOptions::within(millis(0));
            n.ordered_wait(options, |n| async move { Ok::<_, std::io::Error>([n]) }).print();
        },
        "`OrderedWait`: no answer comes within no time: allow some, and a long one, such as `hours(24)`, for Flink's 0",
    );
    check(
        |n| {
            let strategy = bounded_out_of_orderness(seconds(1)).with_idleness(millis(0));
            n.watermarks(strategy, |n| Timestamp::from_millis(n as i64)).print();
        },
        "`Watermarks`: after no time at all every split is idle, whatever comes of it: give `with_idleness` a longer one",
    );
}

#[test]
fn a_join_that_keeps_nothing_is_said() {
    check(
        |n| {
            let left = n.share();
            let right = left.stream().key_by::<u64>(|n| n);
            let joined = left.stream().key_by::<u64>(|n| n).join(right).time_to_live(millis(0));
            joined.apply::<u64>(|left, right, out| out.emit(left + right)).print();
        },
        "`Join`: what is not kept is joined with nothing: keep records for a millisecond at least",
    );
}

#[test]
fn so_is_what_cannot_be_wired() {
    check(
        |n| {
            let (first, second) = n.split(|n| n.rebalance(), |n| n.map(|n| n));
            first.print();
            second.print();
        },
        "`Source: collection of 1 records`: a branch of `split` breaks the chain behind it: break it after the split",
    );
    check(
        |n| {
            let counts = n.map(|n| n + 1);
            counts.get_side_output(&OutputTag::<String>::new("late")).print();
            counts.print();
        },
        "`Map`: no operator of its chain has a side output `late` of String; it has `bad-lines`",
    );
    check(
        |n| {
            let strategy = bounded_out_of_orderness(seconds(1));
            let aligned = strategy.with_watermark_alignment("all", seconds(5), seconds(1));
            let time_of = |n| Timestamp::from_millis(n as i64);
            n.rebalance().watermarks(aligned, time_of).print();
        },
        "`Rebalance`: watermark alignment needs the vertex of a source: call `watermarks` before the chain is broken",
    );
}

#[test]
fn side_outputs_of_one_name_are_said() {
    let late = OutputTag::<u64>::new("late");
    let pairs = |n: Numbers| {
        let n = n.share();
        let pairs = n.stream().join(n.stream()).where_key::<u64>(|n| n).equal_to(|n| n);
        pairs.window(Tumbling::event_time(seconds(1))).side_output_left_late_data(&late)
    };
    check(|n| pairs(n).apply::<u64>(|n, _, out| out.emit(n)).print(), "a graph");
    check(
        |n| {
            let pairs = pairs(n).side_output_right_late_data(&late);
            pairs.apply::<u64>(|n, _, out| out.emit(n)).print();
        },
        "`KeyBy<u64>`: its chain has a side output `late` already: give each a name of its own, and `union` them if they are one",
    );
    check(
        |n| {
            let pairs = pairs(n).apply::<u64>(|n, _, out| out.emit(n));
            pairs.get_side_output(&late).print();
            pairs.get_side_output(&late).print();
            pairs.print();
        },
        "`Tumbling(1000 ms).Join`: its side output `late` is taken twice: take it once, and `share` it",
    );
}

#[test]
fn a_chain_has_one_parallelism() {
    let counts = |n: Numbers| n.window_all(Tumbling::event_time(seconds(1))).count();
    let print = |n: FrameStream<u64>| n.print();
    check(|n| n.set_parallelism(1).map(|n| n + 1).set_parallelism(1).print(), "a graph");
    check(|n| print(n.set_parallelism(1).parallelism(4)), "a graph");
    check(
        |n| n.set_parallelism(1).map(|n| n + 1).set_parallelism(4).print(),
        "`Map`: a chain has one parallelism, and this one has 1 already: leave one out, or break the chain between \
         them with `.parallelism(4)`",
    );
    check(
        |n| {
            let n = n.share();
            let keyed = |parallelism| n.stream().key_by::<u64>(|n| n).set_parallelism(parallelism);
            let pairs = keyed(2).join(keyed(4)).unbounded();
            pairs.apply::<u64>(|n, _, out| out.emit(n)).print();
        },
        "`KeyBy<u64>`: a chain has one parallelism, and this one has 2 already: leave one out, or break the chain between \
         them with `.parallelism(4)`",
    );
    check(|n| counts(n).set_parallelism(1).parallelism(4).print(), "a graph");
    check(
        |n| counts(n).map(|counted| counted.count).set_parallelism(4).print(),
        "`Map`: one subtask has a window of all records, and what is chained to it: break the chain behind the window \
         with `.parallelism(4)`",
    );
}

#[test]
fn who_forwards_has_as_many_subtasks_as_who_gets_it() {
    let numbers = |n: Numbers| n.set_parallelism(3);
    check(|n| numbers(n).forward().set_parallelism(3).print(), "a graph");
    check(|n| numbers(n).start_new_chain().set_parallelism(4).print(), "a graph");
    check(
        |n| numbers(n).forward().set_parallelism(4).print(),
        "`Source: collection of 1 records` (parallelism 3) cannot forward to `Forward -> Sink: print to stdout` (parallelism \
         4): use `rebalance()` or `rescale()` between them, or make them equal",
    );
}

#[test]
fn so_are_streams_of_two_environments() {
    let what = "its inputs are of two environments: make all sources of a job in one";
    let (union, connect) = (format!("`Union`: {what}"), format!("`Connect`: {what}"));
    let other = Environment::new();
    // Its vertices have numbers that the graph of the other has not.
    other.from_collection([1_u64]).rebalance().rebalance().print();
    let others = || other.from_collection([1_u64]);
    check(|n| n.union(others()).print(), &union);
    check(|n| n.connect(others()).map(|n| n, |n| n).print(), &connect);
    check(
        |n| {
            let others = others().key_by::<u64>(|n| n);
            let joined = n.key_by::<u64>(|n| n).join(others).unbounded();
            joined.apply::<u64>(|left, right, out| out.emit(left + right)).print();
        },
        &connect,
    );
    let graph = other.job_graph("job", &GraphDefaults::from_config(&Configuration::new(), 2));
    assert_eq!(graph.err().map(|error| error.to_string()), Some(union));
}

#[test]
fn the_next_job_has_streams_of_its_own() {
    let env = Environment::new();
    let graph = || {
        let graph = env.job_graph("job", &GraphDefaults::from_config(&Configuration::new(), 2));
        graph.map(|job| job.vertices.iter().map(|vertex| vertex.name()).collect::<Vec<_>>())
    };
    let numbers = env.from_collection([1_u64]).share();
    numbers.stream().print();
    assert_eq!(graph().map(|names| names.len()), Ok(2));
    env.clear();
    assert_eq!(graph(), Err(GraphError::NoSink));
    env.from_collection([2_u64, 3]).print();
    assert_eq!(
        graph(),
        Ok(vec!["Source: collection of 2 records -> Sink: print to stdout".to_owned()])
    );
    numbers.stream().print();
    let said = graph().expect_err("a stream of the first").to_string();
    let expected = "`Source: collection of 1 records`: its job was started already: make the streams of the next one from \
                    sources of its own";
    assert_eq!(said, expected);
}

#[test]
fn bounds_with_nothing_between_them_are_said() {
    let joined = |n: Numbers| {
        let (left, right) = (n.share(), |n: &SharedStream<u64>| n.stream().key_by::<u64>(|n| n));
        right(&left).interval_join(right(&left)).between(after(seconds(0)), after(seconds(0)))
    };
    check(|n| joined(n).apply::<u64>(|n, _, out| out.emit(n)).print(), "a graph");
    check(
        |n| joined(n).upper_bound_exclusive().apply::<u64>(|n, _, out| out.emit(n)).print(),
        "`IntervalJoin`: no time is strictly between its bounds: include one of them, or move them apart",
    );
}

#[test]
fn the_first_mistake_is_said_and_bounds_are_in_order() {
    let env = Environment::new();
    let numbers = || env.from_collection([1_u64]).key_by::<u64>(|n| n);
    let pairs = numbers().interval_join(numbers()).between(after(seconds(2)), before(seconds(1)));
    pairs.apply::<u64>(|n, _, out| out.emit(n)).print();
    env.from_collection([1_u64]).window_all(Tumbling::event_time(millis(0))).count().print();
    let graph = env.job_graph("job", &GraphDefaults::from_config(&Configuration::new(), 2));
    let error = graph.map(|graph| graph.name).expect_err("nothing is between them").to_string();
    assert!(error.starts_with("`IntervalJoin`: no time is from "), "{error}");
}
