//! Links without state, heads of several inputs, and the two ways in which a chain forks.

use std::{cell::Cell, rc::Rc, sync::Arc};

use wiesel_core::{Meta, Nanos, TaskFailure, Timestamp};
use wiesel_operators::{
    Chain, Control, End, FanOut, FilterBy, FilterMapTo, FlatMapTo, FrameStart, FunctionError, Head,
    KeyByTo, Link, MapTo, Nothing, OutputPort, ProcessContext, ProcessFunction, ProcessTo,
    Progress, ProjectTo, RuntimeContext, Snapshot, Start, Status, Tee, TryFilterBy, TryFlatMapTo,
    TryMapTo, VisitList, side_output,
};
use wiesel_record::{Item, Key, Out, Record};

use crate::harness::{self, Event, Frames, Probe, STATELESS, Show, Word, key, number};

#[track_caller]
fn check<C: Chain<Word>>(chain: C, script: &str, expected: &str)
where
    C::Out: Show,
{
    let build = |context: &_, probe: &_| {
        harness::head_of(FrameStart::<Word>::new(), chain.clone(), context, probe)
    };
    harness::check(&build, STATELESS, script, expected);
}

fn words() -> Nothing<Word> {
    Nothing::new()
}

fn is_even(word: (&str, i64)) -> bool {
    number(word) % 2 == 0
}

fn try_even(word: (&str, i64)) -> Result<bool, String> {
    if number(word) < 0 { Err(format!("{} is negative", number(word))) } else { Ok(is_even(word)) }
}

fn twice((key, number): (&str, i64)) -> Word {
    (key.to_owned(), number * 2)
}

fn try_twice(word: (&str, i64)) -> Result<Word, String> {
    if number(word) < 0 { Err("negative".to_owned()) } else { Ok(twice(word)) }
}

/// `a3` is `a1 a2 a3`.
fn count_up((key, number): (&str, i64), out: &mut dyn Out<Word>) {
    (1..=number).for_each(|n| out.emit((key, n)));
}

fn try_count_up(word: (&str, i64), out: &mut dyn Out<Word>) -> Result<(), &'static str> {
    count_up(word, out);
    if number(word) == 3 { Err("three is too many") } else { Ok(()) }
}

#[test]
fn a_filter_passes_on_what_it_was_given() {
    check(
        FilterBy::new(words(), is_even),
        "a1@5 b2@6 a4 c3@9 w9 idle active end",
        "b2@6 a4 w9 idle active",
    );
    check(FilterBy::new(words(), is_even), "a1 b3 w+", "w+");
    check(FilterBy::new(words(), is_even), "", "");
    check(TryFilterBy::new(words(), try_even), "a1 b2@6 a4", "b2@6 a4");
}

#[test]
fn a_map_keeps_time() {
    check(MapTo::new(words(), twice), "a1@5 b2 a-4@-9 w9", "a2@5 b4 a-8@-9 w9");
    check(ProjectTo::<_, _, String>::new(words(), key), "a1@5 b2", "a@5 b");
    check(ProjectTo::<_, _, i64>::new(MapTo::new(words(), twice), number), "a1@5 b2", "2@5 4");
    check(TryMapTo::new(words(), try_twice), "a1@5 b2", "a2@5 b4");
}

#[test]
fn a_filter_map_keeps_time_and_drops_what_gives_nothing() {
    fn key_if_even((key, number): (&str, i64)) -> Option<&str> {
        (number % 2 == 0).then_some(key)
    }
    check(
        FilterMapTo::<_, _, String>::new(words(), key_if_even),
        "a1@5 b2@6 a4 c3@9 w9 idle active end",
        "b@6 a w9 idle active",
    );
    check(FilterMapTo::<_, _, String>::new(words(), key_if_even), "a1 b3 w+", "w+");
    check(FilterMapTo::<_, _, String>::new(words(), key_if_even), "", "");
}

#[test]
fn a_flat_map_expands() {
    check(FlatMapTo::new(words(), count_up), "a3@5 b0@6 c1 w9", "a1@5 a2@5 a3@5 c1 w9");
    check(
        FilterBy::new(FlatMapTo::new(FlatMapTo::new(words(), count_up), count_up), is_even),
        "a4@5",
        "a2@5 a2@5 a2@5 a4@5",
    );
    check(TryFlatMapTo::new(words(), try_count_up), "a2@5 b0@6 c1 w9", "a1@5 a2@5 c1 w9");
}

fn two_bad(_: (&str, i64), out: &mut dyn Out<Word>) {
    out.emit(("a", -1));
    out.emit(("b", -2));
}

fn refuse((key, number): (&str, i64)) -> Result<Word, String> {
    Err(format!("{key} is {number}"))
}

#[test]
fn a_failure_names_what_failed_and_ends_the_turn() {
    check(
        TryFilterBy::new(words(), try_even),
        "a2 b-1 a4",
        "a2 could not filter a record (operator `op`, subtask 0): -1 is negative",
    );
    check(
        TryMapTo::new(words(), try_twice),
        "a2 b-1 a4",
        "a4 could not map a record (operator `op`, subtask 0): negative",
    );
    check(
        TryFlatMapTo::new(words(), try_count_up),
        "a1 b3 a1",
        "a1 b1 b2 b3 could not flat-map a record (operator `op`, subtask 0): three is too many",
    );
    // One record fails twice: the first failure is kept.
    check(
        TryMapTo::new(FlatMapTo::new(words(), two_bad), refuse),
        "x",
        "could not map a record (operator `op`, subtask 0): a is -1",
    );
}

/// Positive numbers on with the watermark seen, negative ones aside, zero fails.
#[derive(Clone)]
struct Sort {
    is_open: bool,
}

impl ProcessFunction<Word> for Sort {
    type Out = String;
    type Side = i64;

    fn open(&mut self, _: &RuntimeContext) -> Result<(), FunctionError> {
        self.is_open = true;
        Ok(())
    }

    fn process(
        &mut self,
        (key, number): (&str, i64),
        context: &mut ProcessContext<'_, i64>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        assert!(self.is_open, "a record before `open`");
        match number {
            0 => return Err("zero".into()),
            1.. => {
                let time = context.timestamp().map(harness::show_time).unwrap_or_default();
                out.emit(&format!("{key}/{time}/w{}", harness::show_time(context.watermark())));
            }
            _ => context.side(number),
        }
        Ok(())
    }
}

#[test]
fn a_process_function_knows_the_time_and_puts_aside() {
    let with_side = |slot| {
        move |script: &str, expected: &str| {
            let build = |context: &wiesel_operators::TaskContext, probe: &Probe| {
                context.put_side(0, side_output::<i64>(probe.output("side:")));
                let chain = ProcessTo::new(words(), Sort { is_open: false }, slot);
                harness::head_of(FrameStart::new(), chain, context, probe)
            };
            harness::check(&build, STATELESS, script, expected);
        }
    };
    let check = with_side(Some(0));
    check("a1@5 b-2@6 c3", "a/5/w-@5 side:-2@6 c//w-");
    check("a1@5 w9 a1@12", "a/5/w-@5 side:w9 w9 a/12/w9@12");
    check("idle active b-1", "side:idle idle side:active active side:-1");
    check("a1@5 b0 c1", "a/5/w-@5 could not process a record (operator `op`, subtask 0): zero");
    let unread = with_side(None);
    unread("a1@5 b-2@6 w9 c3", "a/5/w-@5 w9 c//w9");
}

#[test]
fn a_union_is_one_stream() {
    check(words(), "1:a@5 2:b@4 2:c@6 1:d@1 w3 2:e@9", "a1@5 b1@4 c1@6 d1@1 w3 e1@9");
}

#[test]
fn key_by_hashes_the_key_and_not_the_record() {
    let metrics = Arc::default();
    let context = harness::context(0, 1, &metrics);
    let probe = Probe::new(context.stop(), 0);
    let chain = KeyByTo::<_, String, _>::new(MapTo::new(words(), twice), key);
    let mut head = harness::head_of(FrameStart::<Word>::new(), chain, &context, &probe);
    let records: [Word; 3] = [("a".into(), 1), ("b".into(), 2), ("a".into(), 3)];
    let mut frames = Frames::new();
    // The hash that a record came with is of another key.
    let stale = Meta::at(Timestamp::from_millis(7)).with_hash(42);
    let frame = frames.frame(records.iter().map(|record| (record, stale)));
    let mut pace = wiesel_operators::Pace::new(
        context.stop().clone(),
        context.shard().quantum(std::time::Duration::from_secs(60)),
    );
    let mut cursor = 0;
    while head.frame(0, &frame, &mut cursor, &mut pace) == Progress::Stopped {}
    let expected = [("a2", "a"), ("b4", "b"), ("a6", "a")].map(|(text, key)| {
        let hash = <String as Key>::key_hash(key);
        Event::Record(text.to_owned(), Meta::at(Timestamp::from_millis(7)).with_hash(hash))
    });
    assert_eq!(probe.take(), expected);
    head.tick(wiesel_core::Nanos::default(), true); // What was pushed is counted once a turn.
    assert_eq!((metrics.records_in.get(), metrics.records_out.get()), (3, 3));
    frames.give(frame);
}

#[test]
fn a_fan_out_gives_each_output_everything() {
    let build = |context: &wiesel_operators::TaskContext, probe: &Probe| -> Box<dyn Head> {
        let end = FanOut::<Word, _>::new(vec![probe.output("1:"), probe.output("2:")], context);
        Box::new(FrameStart::new().head(end, context).unwrap())
    };
    harness::check(
        &build,
        STATELESS,
        "a1@5 b2 w9 idle active end",
        "1:a1@5 2:a1@5 1:b2 2:b2 1:w9 2:w9 1:idle 2:idle 1:active 2:active",
    );
}

/// Stops every watermark and `finish` so many times before it passes them on.
struct Stubborn<D> {
    stops: usize,
    stopped: Cell<usize>,
    calls: Rc<Cell<usize>>,
    next: D,
}

impl<D> Stubborn<D> {
    fn stops(&self) -> bool {
        self.calls.set(self.calls.get() + 1);
        let stops = self.stopped.get() < self.stops;
        self.stopped.set(if stops { self.stopped.get() + 1 } else { 0 });
        stops
    }
}

impl<D: Control> Control for Stubborn<D> {
    fn open(&mut self) -> Result<(), TaskFailure> {
        self.next.open()
    }
    fn close(&mut self) {
        self.next.close();
    }
    fn watermark(&mut self, watermark: Timestamp) -> Progress {
        if self.stops() { Progress::Stopped } else { self.next.watermark(watermark) }
    }
    fn status(&mut self, status: Status) {
        self.next.status(status);
    }
    fn tick(&mut self, now: Nanos, is_idle: bool) {
        self.next.tick(now, is_idle);
    }
    fn finish(&mut self) -> Progress {
        if self.stops() { Progress::Stopped } else { self.next.finish() }
    }
    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        self.next.ports(visit);
    }
    fn snapshot(&mut self, snapshot: &mut Snapshot) {
        self.next.snapshot(snapshot);
    }
    fn lists(&mut self, visit: &mut VisitList<'_>) {
        self.next.lists(visit);
    }
    async fn restore(&mut self, snapshot: &Snapshot) -> Result<(), TaskFailure> {
        self.next.restore(snapshot).await
    }
}

impl<T: Record, D: Link<T>> Link<T> for Stubborn<D> {
    fn push<I: Item<T>>(&mut self, item: I, meta: Meta) {
        self.next.push(item, meta);
    }
}

#[test]
fn a_tee_calls_again_only_the_branch_that_stopped() {
    for (first_stops, second_stops) in [(0, 0), (1, 0), (0, 1), (2, 3), (3, 1)] {
        let calls = [Rc::new(Cell::new(0)), Rc::new(Cell::new(0))];
        let build = |context: &wiesel_operators::TaskContext, probe: &Probe| -> Box<dyn Head> {
            calls.iter().for_each(|calls| calls.set(0));
            let branch = |name, stops, calls: &Rc<Cell<usize>>| Stubborn {
                stops,
                stopped: Cell::new(0),
                calls: Rc::clone(calls),
                next: End::<Word, _>::new(probe.output(name), context),
            };
            let first = branch("1:", first_stops, &calls[0]);
            let second = branch("2:", second_stops, &calls[1]);
            Box::new(FrameStart::new().head(Tee::new(first, second), context).unwrap())
        };
        // Not stopped by the output, for there the calls would have to be told apart.
        for mode in [harness::Mode::Plain, harness::Mode::Spent] {
            let out = harness::run(&build, mode, "a1@5 b2 w7 w9 idle active end");
            assert_eq!(
                out,
                "1:a1@5 2:a1@5 1:b2 2:b2 1:w7 2:w7 1:w9 2:w9 1:idle 2:idle 1:active 2:active"
            );
            // Two watermarks and one end, each with its stops.
            let expected = [3 * (first_stops + 1), 3 * (second_stops + 1)];
            assert_eq!([calls[0].get(), calls[1].get()], expected);
        }
    }
}

#[test]
fn every_output_of_a_fork_is_shown() {
    let metrics = Arc::default();
    let context = harness::context(0, 1, &metrics);
    let probe = Probe::new(context.stop(), 0);
    let fan = FanOut::<Word, _>::new(vec![probe.output("1:"), probe.output("2:")], &context);
    let tee = Tee::<Word, _, _>::new(fan, End::<Word, _>::new(probe.output("3:"), &context));
    let mut head = FrameStart::new().head(tee, &context).unwrap();
    head.ports(&mut |port| port.flush());
    let seen = probe.take();
    assert_eq!(seen, ["1:flush", "2:flush", "3:flush"].map(|name| Event::Other(name.to_owned())));
}
