//! Windows by the general operator give the same at every parallelism, in streams and in batches: what their definitions say.

use std::collections::BTreeMap;

use wiesel_connectors::DataGen;
use wiesel_core::{Timestamp, millis, seconds};
use wiesel_datastream::Environment;
use wiesel_operators::{
    ContinuousEventTimeTrigger, Cumulative, EventTimeTrigger, FunctionError, ProcessWindowFunction,
    PurgingTrigger, Session, TimeEvictor, TimeWindow, Trigger, TriggerContext, TriggerResult,
    Tumbling, ValueState, WindowContext, WindowElements, WindowStates, bounded_out_of_orderness,
};
use wiesel_record::{Out, Record};

use crate::{assert_sound, config, run, watched};

const RECORDS: u64 = 30_000;
const KEYS: u64 = 200;
const SIZE_MS: i64 = 4_000;

/// A key of two hundred, and a time that goes forth by 1 ms and up to 900 back.
fn key_and_time(number: u64) -> (u64, i64) {
    let random = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    (random % KEYS, number as i64 - (random / KEYS % 900) as i64)
}

/// The times of each key, in order.
fn times() -> BTreeMap<u64, Vec<i64>> {
    let mut times = BTreeMap::<u64, Vec<i64>>::new();
    for (key, at) in (0..RECORDS).map(key_and_time) {
        times.entry(key).or_default().push(at);
    }
    times.values_mut().for_each(|times| times.sort_unstable());
    times
}

/// The stream of a job.
macro_rules! stream {
    ($environment:expr) => {
        $environment
            .source(DataGen::new(|tick| tick.number).count(RECORDS))
            .map(key_and_time)
            .watermarks(bounded_out_of_orderness(seconds(1)), |(_, at)| Timestamp::from_millis(at))
    };
}

/// Key, start and end of a window, how many records it has, and the sum of their times.
type Seen = (u64, i64, i64, u64, i64);

/// Says what is in a window.
#[derive(Clone)]
struct See;

impl See {
    fn emit(
        key: u64,
        elements: &WindowElements<'_, (u64, i64)>,
        context: &WindowContext<'_, ()>,
        out: &mut dyn Out<Seen>,
    ) -> Result<(), FunctionError> {
        let mut sum = 0;
        elements.for_each(|(_, at)| sum += at);
        let window = context.window();
        let count = elements.count() as u64;
        out.emit((key, window.start.as_millis(), window.end.as_millis(), count, sum));
        Ok(())
    }
}

impl ProcessWindowFunction<u64, (u64, i64)> for See {
    type Out = Seen;
    type Side = ();

    fn process(
        &mut self,
        key: u64,
        elements: WindowElements<'_, (u64, i64)>,
        context: &mut WindowContext<'_, ()>,
        out: &mut dyn Out<Seen>,
    ) -> Result<(), FunctionError> {
        Self::emit(key, &elements, context, out)
    }
}

impl ProcessWindowFunction<(), (u64, i64)> for See {
    type Out = Seen;
    type Side = ();

    fn process(
        &mut self,
        (): (),
        elements: WindowElements<'_, (u64, i64)>,
        context: &mut WindowContext<'_, ()>,
        out: &mut dyn Out<Seen>,
    ) -> Result<(), FunctionError> {
        Self::emit(0, &elements, context, out)
    }
}

/// Runs the job that `build` makes, and expects `expected`, in any order, at every parallelism and in both modes.
fn check<R: Record + Ord + std::fmt::Debug>(
    expected: &[R],
    build: impl Fn(&Environment) -> wiesel_connectors::CollectedRecords<R>,
) {
    for parallelism in [1, 2, 3] {
        let folder = tempfile::tempdir().expect("a folder");
        let batch = config(&[
            ("execution.runtime-mode", "batch"),
            ("execution.sorted-inputs.memory", "64 kb"),
            ("io.tmp.dirs", folder.path().to_str().expect("a plain path")),
        ]);
        for (mode, config) in [("streaming", config(&[])), ("batch", batch)] {
            let environment = Environment::new();
            let results = build(&environment);
            assert_sound(&run(&environment, parallelism, &config));
            let mut results = results.take();
            results.sort_unstable();
            assert!(results == expected, "{} results at {parallelism}, {mode}", results.len());
        }
    }
}

/// What is in windows that start at multiples of `every` and end `sizes` later; `keeps` says which times count, given
/// the latest.
fn in_windows(every: i64, sizes: &[i64], keeps: fn(i64, i64) -> bool) -> Vec<Seen> {
    let mut seen = Vec::new();
    for (key, times) in times() {
        for in_one in times.chunk_by(|a, b| a.div_euclid(every) == b.div_euclid(every)) {
            let start = in_one[0].div_euclid(every) * every;
            for size in sizes {
                let inside: Vec<i64> =
                    in_one.iter().copied().filter(|at| *at < start + size).collect();
                let Some(latest) = inside.last().copied() else { continue };
                let kept = inside.iter().filter(|at| keeps(**at, latest));
                let (count, sum) = kept.fold((0, 0), |(count, sum), at| (count + 1, sum + at));
                seen.push((key, start, start + size, count, sum));
            }
        }
    }
    seen.sort_unstable();
    seen
}

#[test]
fn count_windows_need_no_time() {
    watched(|| {
        let mut expected = Vec::new();
        for (key, times) in times() {
            expected.extend(std::iter::repeat_n((key, 7), times.len() / 7));
        }
        check(&expected, |environment| {
            environment
                .source(DataGen::new(|tick| tick.number).count(RECORDS))
                .map(|number| key_and_time(number).0)
                .key_by::<u64>(|key| key)
                .count_window(7)
                .count()
                .map(|counted| (counted.key, counted.count))
                .collect()
        });
    });
}

#[test]
fn a_function_and_an_evictor_see_what_is_in_a_window() {
    watched(|| {
        let tumbling = || Tumbling::event_time(millis(SIZE_MS.unsigned_abs()));
        check(&in_windows(SIZE_MS, &[SIZE_MS], |_, _| true), |environment| {
            stream!(environment)
                .key_by::<u64>(|(key, _)| key)
                .window(tumbling())
                .process(See)
                .collect()
        });
        check(&in_windows(SIZE_MS, &[SIZE_MS], |at, latest| at > latest - 500), |environment| {
            stream!(environment)
                .key_by::<u64>(|(key, _)| key)
                .window(tumbling())
                .trigger(EventTimeTrigger)
                .evictor(TimeEvictor::of(millis(500)))
                .process(See)
                .collect()
        });
    });
}

/// Fires at every third record of a window and forgets them; what is left fires when the window ends.
#[derive(Clone)]
struct InThrees;

impl Trigger<(u64, i64)> for InThrees {
    type State = u64;

    fn on_element(
        &self,
        _: (u64, i64),
        _: Option<Timestamp>,
        window: TimeWindow,
        context: &mut TriggerContext<'_, u64>,
    ) -> TriggerResult {
        context.register_event_timer(window.max_timestamp());
        match context.state().unwrap_or(0) + 1 {
            3 => {
                context.clear_state();
                TriggerResult::FireAndPurge
            }
            count => {
                context.set_state(count);
                TriggerResult::Continue
            }
        }
    }

    fn on_event_time(
        &self,
        time: Timestamp,
        window: TimeWindow,
        _: &mut TriggerContext<'_, u64>,
    ) -> TriggerResult {
        assert_eq!(time, window.max_timestamp());
        TriggerResult::FireAndPurge
    }

    fn clear(&self, window: TimeWindow, context: &mut TriggerContext<'_, u64>) {
        context.delete_event_timer(window.max_timestamp());
        context.clear_state();
    }
}

/// Key, start of the window, which firing of it this is, how many records, and how many windows of the key are over: of
/// the last firing only, since others may come before they are.
type Firing = (u64, i64, u64, u64, u64);

/// Says how often a window has fired, and how many windows of its key are over.
#[derive(Clone)]
struct Firings {
    of_window: ValueState<u64>,
    over: ValueState<u64>,
}

impl ProcessWindowFunction<u64, (u64, i64)> for Firings {
    type Out = Firing;
    type Side = ();

    fn open(&mut self, states: &mut WindowStates) {
        states.register_window(&mut self.of_window);
        states.register_global(&mut self.over);
    }

    fn process(
        &mut self,
        key: u64,
        elements: WindowElements<'_, (u64, i64)>,
        context: &mut WindowContext<'_, ()>,
        out: &mut dyn Out<Firing>,
    ) -> Result<(), FunctionError> {
        let mut states = context.window_state();
        let firing = states.get(&self.of_window).unwrap_or(0) + 1;
        states.set(&self.of_window, firing);
        drop(states);
        let count = elements.count() as u64;
        let over = match count {
            3 => 0,
            _ => context.global_state().get(&self.over).unwrap_or(0),
        };
        out.emit((key, context.window().start.as_millis(), firing, count, over));
        Ok(())
    }

    fn clear(&mut self, _: u64, context: &mut WindowContext<'_, ()>) -> Result<(), FunctionError> {
        let mut states = context.global_state();
        let over = states.get(&self.over).unwrap_or(0) + 1;
        states.set(&self.over, over);
        Ok(())
    }
}

#[test]
fn a_trigger_of_ones_own_fires_and_a_function_has_state_per_window_and_per_key() {
    watched(|| {
        let mut expected: Vec<Firing> = Vec::new();
        for (key, times) in times() {
            let windows = times.chunk_by(|a, b| a.div_euclid(SIZE_MS) == b.div_euclid(SIZE_MS));
            for (over, times) in windows.enumerate() {
                let start = times[0].div_euclid(SIZE_MS) * SIZE_MS;
                let (threes, rest) = (times.len() as u64 / 3, times.len() as u64 % 3);
                expected.extend((1..=threes).map(|firing| (key, start, firing, 3, 0)));
                if rest > 0 {
                    expected.push((key, start, threes + 1, rest, over as u64));
                }
            }
        }
        check(&expected, |environment| {
            stream!(environment)
                .key_by::<u64>(|(key, _)| key)
                .window(Tumbling::event_time(millis(SIZE_MS.unsigned_abs())))
                .trigger(InThrees)
                .process(Firings {
                    of_window: ValueState::new("firings"),
                    over: ValueState::new("over"),
                })
                .collect()
        });
    });
}

#[test]
fn sessions_and_whole_streams_have_functions() {
    watched(|| {
        let mut sessions = Vec::new();
        for (key, times) in times() {
            for session in times.chunk_by(|a, b| b - a <= 300) {
                let (start, end) = (session[0], session[session.len() - 1] + 300);
                sessions.push((key, start, end, session.len() as u64, session.iter().sum()));
            }
        }
        check(&sessions, |environment| {
            stream!(environment)
                .key_by::<u64>(|(key, _)| key)
                .window(Session::with_gap(millis(300)))
                .process(See)
                .collect()
        });
        let mut all = BTreeMap::<i64, (u64, i64)>::new();
        for (_, start, _, count, sum) in in_windows(SIZE_MS, &[SIZE_MS], |_, _| true) {
            let window = all.entry(start).or_default();
            *window = (window.0 + count, window.1 + sum);
        }
        let all: Vec<Seen> = all
            .into_iter()
            .map(|(start, (count, sum))| (0, start, start + SIZE_MS, count, sum))
            .collect();
        check(&all, |environment| {
            stream!(environment)
                .window_all(Tumbling::event_time(millis(SIZE_MS.unsigned_abs())))
                .process(See)
                .collect()
        });
    });
}

#[test]
fn cumulative_windows_are_the_same_at_every_parallelism() {
    watched(|| {
        check(&in_windows(SIZE_MS, &[1_000, 2_000, 3_000, 4_000], |_, _| true), |environment| {
            stream!(environment)
                .key_by::<u64>(|(key, _)| key)
                .window(Cumulative::event_time(millis(SIZE_MS.unsigned_abs()), seconds(1)))
                .process(See)
                .collect()
        });
    });
}

#[test]
fn what_a_purging_trigger_fires_adds_up() {
    watched(|| {
        let expected: Vec<_> =
            times().into_iter().map(|(key, times)| (key, times.len() as u64)).collect();
        for parallelism in [1, 2, 3] {
            let environment = Environment::new();
            let results = stream!(environment)
                .key_by::<u64>(|(key, _)| key)
                .window(Tumbling::event_time(millis(SIZE_MS.unsigned_abs())))
                .trigger(PurgingTrigger::of(ContinuousEventTimeTrigger::of(millis(300))))
                .count()
                .collect();
            assert_sound(&run(&environment, parallelism, &config(&[])));
            let mut counts = BTreeMap::<u64, u64>::new();
            let results = results.take();
            assert!(results.len() > 4 * KEYS as usize, "{} results", results.len());
            for counted in results {
                *counts.entry(counted.key).or_default() += counted.count;
            }
            assert!(counts.into_iter().eq(expected.iter().copied()), "at {parallelism}");
        }
    });
}
