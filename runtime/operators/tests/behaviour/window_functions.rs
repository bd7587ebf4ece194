//! Evictors and process window functions, per key.

use wiesel_core::{KeyGroupRange, Timestamp, millis};
use wiesel_operators::{
    Aggregated, AggregatedView, AggregatingStart, AssignWindows, Count, CountEvictor, CountTrigger,
    DeltaEvictor, EventTimeTrigger, Evictable, Evictor, FoldElements, FunctionError, Global, Head,
    KeyedHeadStart, ListState, ListingStart, NoEvictor, Nothing, ProcessWindowFunction,
    ProcessingTimeTrigger, PurgingTrigger, Reduce, Session, TaskContext, TimeEvictor, TimeWindow,
    Trigger, Tumbling, ValueState, WindowContext, WindowElements, WindowOperatorStart,
    WindowOptions, WindowStates, side_output,
};
use wiesel_record::Out;
use wiesel_shard::at_once;

use crate::{
    harness::{self, Probe, Word, key, show_time},
    keyed,
};

/// Prints the numbers of a window; how often this window has fired, and how often windows of its key have ended.
#[derive(Clone)]
pub struct Print {
    fired: Option<ValueState<u64>>,
    ended: ValueState<u64>,
    seen: ListState<String>,
}

impl Print {
    /// With state per window, if there can be one.
    pub fn new(has_window_state: bool) -> Self {
        Self {
            fired: has_window_state.then(|| ValueState::new("fired")),
            ended: ValueState::new("ended"),
            seen: ListState::new("seen"),
        }
    }
}

impl ProcessWindowFunction<String, Word> for Print {
    type Out = Aggregated<String, String>;
    type Side = Word;

    fn open(&mut self, states: &mut WindowStates) {
        states.register_global(&mut self.ended);
        if let Some(fired) = &mut self.fired {
            states.register_window(fired);
            states.register_window(&mut self.seen);
        }
    }

    fn process(
        &mut self,
        key: &str,
        elements: WindowElements<'_, Word>,
        context: &mut WindowContext<'_, Word>,
        out: &mut dyn Out<Aggregated<String, String>>,
    ) -> Result<(), FunctionError> {
        let mut text = String::new();
        let mut count = 0;
        elements.for_each(|(_, number)| {
            text.push_str(&format!("{number},"));
            count += 1;
        });
        assert_eq!((elements.count(), elements.is_empty()), (count, count == 0));
        if text.starts_with("1313,") {
            return Err("thirteen".into());
        }
        if text.starts_with("7,") {
            context.side((key, count as i64));
        }
        if let Some(state) = &self.fired {
            let mut states = context.window_state();
            let fired = states.get(state).unwrap_or(0) + 1;
            states.set(state, fired);
            states.add(&self.seen, &text);
            let mut seen = 0;
            states.list(&self.seen).for_each(|_| seen += 1);
            assert_eq!(seen, fired);
            text.push_str(&format!("#{fired}"));
        }
        let ended = context.global_state().get(&self.ended).unwrap_or(0);
        text.push_str(&format!("/{ended}"));
        out.emit(AggregatedView { key, value: &text });
        Ok(())
    }

    fn clear(
        &mut self,
        key: &str,
        context: &mut WindowContext<'_, Word>,
    ) -> Result<(), FunctionError> {
        assert!(!key.is_empty() && context.window() != TimeWindow::ALL);
        let mut states = context.global_state();
        let ended = states.get(&self.ended).unwrap_or(0);
        states.set(&self.ended, ended + 1);
        Ok(())
    }
}

#[track_caller]
fn check<W: AssignWindows<Word>, R: Trigger<Word>, E: Evictor<Word>>(
    options: &WindowOptions<W>,
    trigger: &R,
    evictor: &E,
    script: &str,
    expected: &str,
) {
    let contents = ListingStart::new(evictor.clone(), Print::new(!W::MERGES), Some(0));
    let start = WindowOperatorStart::new(contents, trigger.clone(), options.clone());
    keyed::check(&start, script, expected);
}

fn tens() -> WindowOptions<Tumbling> {
    WindowOptions::new(Tumbling::event_time(millis(10)))
}

fn global() -> WindowOptions<Global> {
    WindowOptions::new(Global)
}

#[test]
fn a_function_sees_all_elements_and_has_state_per_window_and_per_key() {
    let late = WindowOptions { allowed_lateness: millis(5), ..tens() };
    check(
        &late,
        &EventTimeTrigger,
        &NoEvictor,
        "a1@3 b2@4 a3@1 w9 a4@2 a5@11 w14 w19 b6@20 b8@11 late? w40",
        "a=1,3,#1/0@9 b=2,#1/0@9 late:w9 w9 a=1,3,4,#2/0@9 late:w14 w14 a=5,#1/1@19 late:w19 w19 b=8,#1/1@19 \
         late=0 b=6,#1/2@29 late:w40 w40",
    );
}

#[test]
fn what_a_function_puts_aside_goes_to_its_side_output() {
    check(
        &global(),
        &CountTrigger::of(2),
        &NoEvictor,
        "a7 a8 b1 b2",
        "late:a2@+ a=7,8,#1/0@+ b=1,2,#1/0@+",
    );
}

#[test]
fn what_a_function_refuses_fails_the_job() {
    check(
        &global(),
        &CountTrigger::of(1),
        &NoEvictor,
        "a1313",
        "could not process a window (operator `op`, subtask 0): thirteen",
    );
}

#[test]
fn sessions_keep_their_elements_in_order_of_their_parts() {
    let sessions = WindowOptions::new(Session::with_gap(millis(10)));
    check(
        &sessions,
        &EventTimeTrigger,
        &NoEvictor,
        "a1@20 a2@3 a3@21 a4@12 w99",
        "a=2,1,3,4,/0@30 late:w99 w99",
    );
    let sessions = WindowOptions::new(Session::processing_time(millis(10)));
    check(
        &sessions,
        &ProcessingTimeTrigger,
        &CountEvictor::of(2),
        "a1 a2 C5 a3 C20! a4 C99!",
        "a=2,3,/0@14 a=4,/1@29",
    );
}

#[test]
fn a_count_evictor_keeps_the_last() {
    let evictor = CountEvictor::of(2);
    check(
        &global(),
        &CountTrigger::of(2),
        &evictor,
        "a1 a2 a3 a4 a5 a6",
        "a=1,2,#1/0@+ a=3,4,#2/0@+ a=5,6,#3/0@+",
    );
    check(
        &global(),
        &CountTrigger::of(2),
        &evictor.after(),
        "a1 a2 a3 a4 a5 a6",
        "a=1,2,#1/0@+ a=1,2,3,4,#2/0@+ a=3,4,5,6,#3/0@+",
    );
    // A sliding count window: of three, at every second.
    let none = CountEvictor::of(0);
    check(&global(), &CountTrigger::of(2), &none, "a1 a2 a3 a4", "a=#1/0@+ a=#2/0@+");
    check(&tens(), &EventTimeTrigger, &none.after(), "a1@1 w9", "a=1,#1/0@9 late:w9 w9");
}

#[test]
fn a_time_evictor_keeps_the_latest() {
    let evictor = TimeEvictor::of(millis(3));
    check(&global(), &CountTrigger::of(3), &evictor, "a1@1 a2@4 a3@2", "a=2,3,#1/0@+");
    check(&global(), &CountTrigger::of(3), &evictor, "a1@1 a2 a3@4", "a=2,3,#1/0@+");
    check(&global(), &CountTrigger::of(2), &evictor, "a1 a2", "a=1,2,#1/0@+");
}

#[test]
fn a_delta_evictor_keeps_what_is_close_to_the_last() {
    let far = |word: (&str, i64), last: (&str, i64)| (word.1 - last.1).abs() as f64;
    let evictor = DeltaEvictor::of(3.0, far);
    check(&global(), &CountTrigger::of(4), &evictor, "a1 a5 a3 a4", "a=5,3,4,#1/0@+");
    check(
        &global(),
        &CountTrigger::of(2),
        &evictor.after(),
        "a1 a5 a6 a7",
        "a=1,5,#1/0@+ a=5,6,7,#2/0@+",
    );
}

/// Evicts odd numbers that are older than the watermark.
#[derive(Clone)]
struct Odd;

impl Evictor<Word> for Odd {
    fn evict_before(
        &self,
        elements: &mut Evictable<'_, Word>,
        window: TimeWindow,
        watermark: Timestamp,
    ) {
        assert!(!elements.is_empty() && elements.len() == elements.as_slice().len());
        elements.retain(|(_, number), time| {
            number % 2 == 0 || time.is_none_or(|time| time > watermark || time < window.start)
        });
    }
}

#[test]
fn an_evictor_of_ones_own_sees_window_and_watermark() {
    check(
        &global(),
        &CountTrigger::of(3),
        &Odd,
        "a1@1 a2@2 w1 a3@3 w3 a5@5 a6@6 a8@8",
        "late:w1 w1 a=2,3,#1/0@+ late:w3 w3 a=2,5,6,8,#2/0@+",
    );
}

#[test]
fn aggregates_see_what_an_evictor_leaves() {
    let sum = Reduce(|a: (&str, i64), b: (&str, i64)| (a.0.to_owned(), a.1 + b.1));
    let contents =
        ListingStart::new(CountEvictor::of(3), FoldElements::<_, Word>::new(sum.clone()), None);
    let start = WindowOperatorStart::new(contents, CountTrigger::of(2), global());
    keyed::check(&start, "a1 a2 a3 a4 a5 a6", "a3@+ a9@+ a15@+");
    let none = ListingStart::new(CountEvictor::of(0), FoldElements::<_, Word>::new(sum), None);
    let start = WindowOperatorStart::new(none, CountTrigger::of(2), global());
    keyed::check(&start, "a1 a2 a3 a4", "");
}

/// Gives the result of an incremental part the end of its window, and counts firings.
#[derive(Clone)]
struct Stamp(ValueState<u64>);

impl ProcessWindowFunction<String, wiesel_operators::Counted<String>> for Stamp {
    type Out = String;
    type Side = ();

    fn open(&mut self, states: &mut WindowStates) {
        states.register_window(&mut self.0);
    }

    fn process(
        &mut self,
        key: &str,
        elements: WindowElements<'_, wiesel_operators::Counted<String>>,
        context: &mut WindowContext<'_, ()>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        assert_eq!(elements.count(), 1);
        let (end, watermark) = (context.window().end, show_time(context.watermark()));
        let mut states = context.window_state();
        let times = states.get(&self.0).unwrap_or(0) + 1;
        states.set(&self.0, times);
        elements.for_each(|counted| {
            assert_eq!(counted.key, key);
            out.emit(&format!("{key}{}<{}#{times}w{watermark}", counted.count, end.as_millis()));
        });
        Ok(())
    }
}

#[test]
fn a_function_behind_an_incremental_part_sees_its_result() {
    let contents = AggregatingStart::new(Count, Stamp(ValueState::new("times")), None);
    let options = WindowOptions { allowed_lateness: millis(5), ..tens() };
    let start = WindowOperatorStart::new(contents, EventTimeTrigger, options);
    keyed::check(
        &start,
        "a@3 a@4 w9 a@5 b@12 w14 w30 state?",
        "a2<10#1w9@9 w9 a3<10#2w9@9 w14 b1<20#1w30@19 w30 state=none",
    );
}

pub fn lists(context: &TaskContext, probe: &Probe) -> Box<dyn Head> {
    context.put_side(0, side_output::<Word>(probe.output("late:")));
    let contents = ListingStart::new(NoEvictor, Print::new(true), None);
    let trigger = PurgingTrigger::of(EventTimeTrigger);
    let start = WindowOperatorStart::new(contents, trigger, tens());
    let start = KeyedHeadStart::<Word, String, _, _>::new(key, start);
    harness::head_of(start, Nothing::new(), context, probe)
}

#[test]
fn the_state_of_a_window_goes_with_it() {
    // Long lists, which lie in chunks.
    let many: String = (0..500).map(|n| format!("a{n}@{} ", n % 10)).collect();
    let snapshot = harness::snapshot(&lists, &format!("{many} w8"));
    let names = snapshot.keyed_names().join(",");
    assert_eq!(names, "window.chunks,window.elements,window.event-timers");
    let snapshot = harness::snapshot(&lists, &format!("{many} w9"));
    assert_eq!(snapshot.keyed_names(), ["window.global"], "that of the key stays");
}

#[test]
fn damaged_lists_are_errors() {
    let metrics = std::sync::Arc::default();
    let restore = |snapshot: &wiesel_operators::Snapshot| {
        let context = harness::context(0, 1, &metrics);
        at_once(lists(&context, &Probe::new(context.stop(), 0)).restore(snapshot))
    };
    let many: String = (0..60).map(|n| format!("a{n}@{} b{n}@15 ", n % 10)).collect();
    let sound = harness::snapshot(&lists, &many);
    restore(&sound).unwrap();
    for name in sound.keyed_names() {
        for part in sound.keyed(name, KeyGroupRange::all(16)) {
            for at in 0..part.len() {
                let mut flipped = part.to_vec();
                flipped[at] ^= 0x41;
                for bytes in [part[..at].to_vec(), flipped] {
                    let mut damaged = wiesel_operators::Snapshot::default();
                    damaged.put(name, Some(wiesel_core::KeyGroup(0)), bytes);
                    // It says what is wrong, or it is another snapshot that is sound; it does not panic.
                    let _ = restore(&damaged);
                }
            }
        }
    }
}

/// Uses its states as what they were not registered as, if it is told to.
#[derive(Clone)]
struct Confused {
    of_window: ValueState<u64>,
    of_key: ListState<u64>,
    asks_window: bool,
}

impl ProcessWindowFunction<String, Word> for Confused {
    type Out = String;
    type Side = ();

    fn open(&mut self, states: &mut WindowStates) {
        states.register_window(&mut self.of_window);
        states.register_global(&mut self.of_key);
    }

    fn process(
        &mut self,
        _: &str,
        _: WindowElements<'_, Word>,
        context: &mut WindowContext<'_, ()>,
        _: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        match self.asks_window {
            true => context.window_state().add(&self.of_key, 1),
            false => drop(context.global_state().get(&self.of_window)),
        }
        Ok(())
    }
}

fn confuse(asks_window: bool) {
    let (of_window, of_key) = (ValueState::new("total"), ListState::new("all"));
    let contents = ListingStart::new(NoEvictor, Confused { of_window, of_key, asks_window }, None);
    let start = WindowOperatorStart::new(contents, CountTrigger::of(1), global());
    keyed::check(&start, "a1", "");
}

#[test]
#[should_panic = "the state `total` is one of each window: it was registered with `register_window`, so use it through \
                  `window_state()`"]
fn the_state_of_a_window_is_not_taken_for_one_of_the_key() {
    confuse(false);
}

#[test]
#[should_panic = "the state `all` is one of each key, whatever the window: use it through `global_state()`, or register \
                  it with `register_window`"]
fn the_state_of_a_key_is_not_taken_for_one_of_the_window() {
    confuse(true);
}
