//! The test kit: a pipeline by hand does what the job does.

use std::time::Duration;

use wiesel::{FrameStream, operators::Status, prelude::*, testing, testing::Harness};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// Emits each key's words when it has been silent for a second of processing time, and at the end of event time.
#[derive(Clone)]
struct Collect {
    words: ListState<String>,
    seen: MapState<String, u64>,
    last: ValueState<Timestamp>,
}

impl Collect {
    fn new() -> Self {
        let ttl = StateTtl::new(seconds(60));
        Self {
            words: ListState::new("words"),
            seen: MapState::new("seen").with_ttl(ttl),
            last: ValueState::new("last"),
        }
    }
}

impl KeyedProcessFunction<u64, (u64, String)> for Collect {
    type Out = (u64, String);
    type Side = String;

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.words);
        states.register(&mut self.seen);
        states.register(&mut self.last);
    }

    fn process(
        &mut self,
        (_, word): (u64, &str),
        context: &mut KeyedContext<'_, u64, String>,
        _out: &mut dyn Out<(u64, String)>,
    ) -> Result<(), FunctionError> {
        if word == "fail" {
            return Err("told to".into());
        }
        if context.map(&self.seen).contains(word) {
            context.side(word);
        }
        context.put(&self.seen, word, 1);
        context.add(&self.words, word);
        if let Some(last) = context.get(&self.last) {
            context.delete_processing_timer(last);
        }
        let due = context.processing_time() + seconds(1);
        context.set(&self.last, due);
        context.register_processing_timer(due);
        context.register_event_timer(Timestamp::MAX);
        Ok(())
    }

    fn on_timer(
        &mut self,
        _time: Timestamp,
        _domain: TimeDomain,
        context: &mut KeyedContext<'_, u64, String>,
        out: &mut dyn Out<(u64, String)>,
    ) -> Result<(), FunctionError> {
        let words = context.list(&self.words).to_vec().join(" ");
        context.clear(&self.words);
        context.clear(&self.last);
        if !words.is_empty() {
            context.with_key(|key| out.emit((key, words.as_str())));
        }
        Ok(())
    }
}

fn word(key: u64, word: &str) -> (u64, String) {
    (key, word.to_owned())
}

#[test]
fn timers_state_and_side_outputs_work_by_hand_at_every_parallelism() {
    for parallelism in [1, 2, 3] {
        let tag = OutputTag::<String>::new("again");
        let mut again = None;
        let build = |words: FrameStream<(u64, String)>| {
            let words = words.filter(|(_, word)| word != "skip");
            let collected =
                words.key_by::<u64>(|(key, _)| key).process_with_side(Collect::new(), &tag);
            again = Some(collected.get_side_output(&tag).collect());
            collected.map(|(key, words)| (key, words.to_uppercase()))
        };
        let mut harness = Harness::at_parallelism(parallelism, build);
        let again = again.unwrap();
        for (key, text) in [(1, "to"), (2, "or"), (1, "skip"), (1, "be"), (1, "be")] {
            harness.push_untimed(word(key, text)).unwrap();
        }
        assert_eq!(again.take(), ["be"]);
        harness.advance(millis(999)).unwrap();
        assert_eq!(harness.take(), []);
        // Another number of subtasks, and nobody notices.
        let snapshot = harness.snapshot();
        assert_eq!(snapshot.keyed_names().len(), 5, "{snapshot:?}");
        harness.restore(&snapshot, parallelism % 3 + 1).unwrap();
        harness.push_untimed(word(2, "not")).unwrap();
        harness.advance(millis(1)).unwrap();
        assert_eq!(harness.take(), [word(1, "TO BE BE")]);
        assert_eq!(harness.processing_time(), at(1_000));
        harness.advance(seconds(5)).unwrap();
        assert_eq!(harness.take_timed(), [(word(2, "OR NOT"), None)]);
        // The map expires by itself, and then nothing is left but the timers of event time.
        harness.advance(seconds(120)).unwrap();
        assert_eq!(harness.snapshot().keyed_names(), ["process.event-timers"]);
        harness.push_untimed(word(3, "that")).unwrap();
        harness.finish().unwrap();
        assert!(harness.is_finished());
        assert_eq!(harness.take(), [word(3, "THAT")]);
    }
}

#[test]
fn windows_behind_windows_fire_with_their_watermark() {
    let mut harness = Harness::at_parallelism(2, |numbers: FrameStream<(u64, u64)>| {
        numbers
            .key_by::<u64>(|(key, _)| key)
            .window(Tumbling::event_time(millis(10)))
            .sum::<u64, _>(|(_, n)| n)
            .map(|sum| (sum.key % 2, sum.value))
            .key_by::<u64>(|(key, _)| key)
            .window(Tumbling::event_time(millis(10)))
            .max(|(_, n)| n)
    });
    for (key, n) in [(1, 5), (3, 4), (1, 2), (2, 9), (3, 1)] {
        harness.push((key, n), at(n as i64)).unwrap();
    }
    harness.watermark(at(8)).unwrap();
    assert_eq!(harness.take(), []);
    harness.watermark(at(9)).unwrap();
    let mut highest: Vec<_> = harness.take_timed();
    highest.sort_by_key(|(highest, _)| highest.key);
    let highest: Vec<_> = highest.iter().map(|(h, at)| (h.key, h.value, *at)).collect();
    assert_eq!(highest, [(0, 9, Some(at(9))), (1, 7, Some(at(9)))]);
    // An idle input holds nothing back, and the end closes what is open.
    harness.push((1, 1), at(12)).unwrap();
    harness.status(Status::Idle).unwrap();
    harness.status(Status::Active).unwrap();
    harness.finish().unwrap();
    assert_eq!(harness.take().len(), 1);
}

#[test]
fn a_failure_says_where() {
    let build = |words: FrameStream<(u64, String)>| {
        words.key_by::<u64>(|(key, _)| key).process(Collect::new()).uid("collect")
    };
    let mut harness = Harness::new(build);
    harness.push_untimed(word(1, "fine")).unwrap();
    let failure = harness.push_untimed(word(1, "fail")).unwrap_err();
    assert_eq!(
        format!("{failure}: {}", failure.source),
        "could not process a record (operator `collect`, subtask 0): told to"
    );
}

#[test]
fn a_snapshot_of_another_pipeline_is_refused() {
    #[derive(Clone)]
    struct Renamed(ValueState<u64>);
    impl KeyedProcessFunction<u64, (u64, String)> for Renamed {
        type Out = (u64, String);
        type Side = ();
        fn open(&mut self, states: &mut StateRegistry) {
            states.register(&mut self.0);
        }
        fn process(
            &mut self,
            (key, word): (u64, &str),
            context: &mut KeyedContext<'_, u64, ()>,
            out: &mut dyn Out<(u64, String)>,
        ) -> Result<(), FunctionError> {
            context.set(&self.0, key);
            out.emit((key, word));
            Ok(())
        }
    }
    let keyed = |name: &'static str| {
        Harness::new(move |words: FrameStream<(u64, String)>| {
            let function = Renamed(ValueState::new(name));
            words.key_by::<u64>(|(key, _)| key).process(function).uid("count")
        })
    };
    let mut before = keyed("count");
    before.push_untimed(word(1, "a")).unwrap();
    let snapshot = before.snapshot();
    let failure = keyed("number").restore(&snapshot, 2).unwrap_err();
    assert_eq!(
        failure.source.to_string(),
        "operator `count`, state `count`: the checkpoint has it and the program does not; \
         declare it, if only to clear it"
    );
}

#[test]
#[should_panic(expected = "two states named `same` in one operator")]
fn a_pipeline_that_cannot_be_run_panics() {
    #[derive(Clone)]
    struct Twice(ValueState<u64>, ListState<u64>);
    impl KeyedProcessFunction<u64, u64> for Twice {
        type Out = u64;
        type Side = ();
        fn open(&mut self, states: &mut StateRegistry) {
            states.register(&mut self.0);
            states.register(&mut self.1);
        }
        fn process(
            &mut self,
            _value: u64,
            _context: &mut KeyedContext<'_, u64, ()>,
            _out: &mut dyn Out<u64>,
        ) -> Result<(), FunctionError> {
            Ok(())
        }
    }
    let twice = Twice(ValueState::new("same"), ListState::new("same"));
    let _ = Harness::new(|n: FrameStream<u64>| n.key_by::<u64>(|n| n).process(twice));
}

#[test]
fn state_that_lives_for_no_time_is_an_error_of_the_job() {
    let at_once = StateTtl::new(Duration::from_micros(999));
    let collect = Collect { seen: MapState::new("seen").with_ttl(at_once), ..Collect::new() };
    let env = testing::environment(1);
    let words = env.from_collection([(1_u64, "a".to_owned())]).key_by::<u64>(|(key, _)| key);
    words.process(collect).uid("collect").print();
    let error = env.execute("collect").expect_err("nothing could be kept");
    assert_eq!(
        format!("{error:?}"),
        "job `collect` failed: could not open state (operator `collect`, subtask 0): `seen` would be gone as soon as it is \
         written: let it live for a millisecond at least, or without a limit"
    );
}

#[test]
fn a_whole_job_runs_in_the_process() {
    for parallelism in [1, 3] {
        let env = testing::environment(parallelism);
        assert_eq!(env.parallelism(), parallelism);
        let numbers = env.from_collection(0..1_000_u64).key_by::<u64>(|n| n % 7).count().collect();
        env.execute("count").unwrap();
        let counts = numbers.take();
        assert_eq!(counts.len(), 1_000);
        assert_eq!(counts.iter().filter(|counted| counted.count == 142).count(), 7);
    }
}

#[test]
fn windows_of_the_time_of_day_follow_the_clock_at_every_parallelism() {
    for parallelism in [1, 2, 3] {
        let mut harness = Harness::new(|words: FrameStream<(u64, String)>| {
            words
                .key_by::<u64>(|(user, _)| user)
                .window(Tumbling::processing_time(seconds(10)))
                .count()
        });
        for user in [7, 8, 7, 9] {
            harness.push_untimed((user, String::new())).unwrap();
        }
        harness.advance(seconds(4)).unwrap();
        let snapshot = harness.snapshot();
        harness.restore(&snapshot, parallelism).unwrap();
        harness.push_untimed((8, String::new())).unwrap();
        harness.advance(seconds(5)).unwrap();
        assert!(harness.take().is_empty(), "the window is open");
        harness.advance(seconds(1)).unwrap();
        let mut counts: Vec<_> =
            harness.take().into_iter().map(|counted| (counted.key, counted.count)).collect();
        counts.sort_unstable();
        assert_eq!(counts, [(7, 2), (8, 2), (9, 1)], "at {parallelism}");
        assert!(harness.snapshot().keyed_names().is_empty());
        // What is open at the end of the input does not fire: that is no time of day.
        harness.push_untimed((7, String::new())).unwrap();
        harness.finish().unwrap();
        assert!(harness.take().is_empty());
    }
}

#[test]
fn what_was_late_stays_late_at_every_parallelism() {
    for parallelism in [1, 2, 3] {
        let tag = OutputTag::<(u64, u64)>::new("late");
        let mut late = None;
        let mut harness = Harness::new(|reads: FrameStream<(u64, u64)>| {
            let keyed = reads.key_by::<u64>(|(sensor, _)| sensor);
            let windows = keyed.window(Tumbling::event_time(seconds(10)));
            let counts = windows.side_output_late_data(&tag).count();
            late = Some(counts.get_side_output(&tag).collect());
            counts.map(|counted| (counted.key, counted.count))
        });
        (0..9).for_each(|sensor| harness.push((sensor, 0), at(1_000)).unwrap());
        harness.watermark(at(15_000)).unwrap();
        assert_eq!(harness.take().len(), 9);
        let snapshot = harness.snapshot();
        harness.restore(&snapshot, parallelism).unwrap();
        for sensor in 0..9 {
            harness.push((sensor, 1), at(2_000)).unwrap();
            harness.push((sensor, 2), at(12_000)).unwrap();
        }
        harness.watermark(at(30_000)).unwrap();
        let mut counts = harness.take();
        counts.sort_unstable();
        assert_eq!(counts, (0..9).map(|sensor| (sensor, 1)).collect::<Vec<_>>());
        let mut late = late.expect("it was asked for").take();
        late.sort_unstable();
        let expected: Vec<_> = (0..9).map(|sensor| (sensor, 1)).collect();
        assert_eq!(late, expected, "at {parallelism}");
    }
}

#[test]
fn sessions_of_the_time_of_day_end_with_silence() {
    let mut harness = Harness::new(|words: FrameStream<(u64, String)>| {
        words.window_all(Session::processing_time(seconds(10))).count()
    });
    for pause in [4, 9, 11, 1] {
        harness.push_untimed((7, String::new())).unwrap();
        harness.advance(seconds(pause)).unwrap();
    }
    let counts: Vec<u64> = harness.take().into_iter().map(|counted| counted.count).collect();
    assert_eq!(counts, [3]);
}

mod v1 {
    use wiesel::prelude::*;

    /// What version 1 of a program kept.
    #[derive(Clone, Record)]
    pub struct Account {
        pub cents: u32,
    }
}

/// What it keeps now.
#[derive(Clone, Record)]
#[record(version = 2, from = v1::Account)]
struct Account {
    cents: i64,
    owner: String,
}

impl From<v1::Account> for Account {
    fn from(old: v1::Account) -> Self {
        Self { cents: old.cents.into(), owner: "unknown".to_owned() }
    }
}

/// Pays into accounts, and tells what is there.
#[derive(Clone)]
struct Pay<A: Record> {
    account: ValueState<A>,
    paid: fn(Option<A>, u64) -> (A, String),
}

impl<A: Record + Clone> Pay<A> {
    fn new(paid: fn(Option<A>, u64) -> (A, String)) -> Self {
        Self { account: ValueState::new("account"), paid }
    }
}

impl<A: Record + Clone, K: Key> KeyedProcessFunction<K, (u64, u64)> for Pay<A> {
    type Out = String;
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.account);
    }

    fn process(
        &mut self,
        (_, amount): (u64, u64),
        context: &mut KeyedContext<'_, K, ()>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        let (account, told) = (self.paid)(context.get(&self.account), amount);
        context.set(&self.account, account.view());
        out.emit(&told);
        Ok(())
    }
}

#[test]
fn a_new_version_of_a_function_goes_on_from_the_snapshot_of_the_old_one() {
    let old = Pay::<v1::Account>::new(|account, amount| {
        let cents = account.map_or(0, |account| account.cents) + amount as u32;
        (v1::Account { cents }, cents.to_string())
    });
    let new = Pay::<Account>::new(|account, amount| {
        let mut account = account.unwrap_or_else(|| Account { cents: 0, owner: "Ada".to_owned() });
        account.cents += amount as i64;
        let told = format!("{} of {}", account.cents, account.owner);
        (account, told)
    });
    let mut before = Harness::new(|payments: FrameStream<(u64, u64)>| {
        payments.key_by::<u64>(|(account, _)| account).process(old)
    });
    before.push_untimed((7, 10)).unwrap();
    before.push_untimed((8, 20)).unwrap();
    let snapshot = before.snapshot();
    let mut after = Harness::new(|payments: FrameStream<(u64, u64)>| {
        payments.key_by::<u64>(|(account, _)| account).process(new.clone())
    });
    for parallelism in [1, 2, 3] {
        after.restore(&snapshot, parallelism).unwrap();
        for account in [7, 8, 9] {
            after.push_untimed((account, 1)).unwrap();
        }
        let mut told = after.take();
        told.sort();
        assert_eq!(told, ["1 of Ada", "11 of unknown", "21 of unknown"]);
    }
    // Its keys are what they were.
    let mut other = Harness::new(|payments: FrameStream<(u64, u64)>| {
        payments.key_by::<u32>(|(account, _)| account as u32).process(new)
    });
    let refused = other.restore(&snapshot, 1).unwrap_err().source.to_string();
    let named = "state `(key)`: it held u64 and holds u32; key the stream by the old type; or ";
    assert!(refused.contains(named), "{refused}");
}

/// Counts the firings of each window, in states of the window.
#[derive(Clone)]
struct Firings<N: Record> {
    count: ValueState<N>,
    all: ListState<N>,
}

impl<N: Record + Clone + TryFrom<u64> + Into<u64>> ProcessWindowFunction<u64, u64> for Firings<N> {
    type Out = String;
    type Side = ();

    fn open(&mut self, states: &mut WindowStates) {
        states.register_window(&mut self.count);
        states.register_window(&mut self.all);
    }

    fn process(
        &mut self,
        key: u64,
        _: WindowElements<'_, u64>,
        context: &mut WindowContext<'_, ()>,
        out: &mut dyn Out<String>,
    ) -> Result<(), FunctionError> {
        let mut states = context.window_state();
        let count = states.get(&self.count).map_or(0, Into::into) + 1;
        let next = || N::try_from(count).map_err(|_| "too many");
        states.set(&self.count, next()?.view());
        states.add(&self.all, next()?.view());
        let mut all = Vec::new();
        states.list(&self.all).for_each(|n| all.push(N::from_view(n).into()));
        out.emit(&format!("{key}: {count} {all:?}"));
        Ok(())
    }
}

#[test]
fn states_of_windows_are_made_of_older_ones_as_well() {
    let old = Firings::<u8> { count: ValueState::new("count"), all: ListState::new("all") };
    let new = Firings::<u64> {
        count: ValueState::new("count").migrates_from::<u8>(),
        all: ListState::new("all").migrates_from::<u8>(),
    };
    let windows = |numbers: FrameStream<u64>| {
        let keyed = numbers.key_by::<u64>(|number| number % 2);
        keyed.window(Tumbling::event_time(millis(10))).allowed_lateness(seconds(1))
    };
    let mut before = Harness::new(|numbers| windows(numbers).process(old));
    for (number, time) in [(2, 1), (3, 1), (4, 11)] {
        before.push(number, at(time)).unwrap();
    }
    before.watermark(at(9)).unwrap();
    before.push(5, at(2)).unwrap();
    let mut told = before.take();
    told.sort();
    assert_eq!(told, ["0: 1 [1]", "1: 1 [1]", "1: 2 [1, 2]"]);
    let snapshot = before.snapshot();
    let mut after = Harness::new(|numbers| windows(numbers).process(new));
    for parallelism in [1, 2] {
        after.restore(&snapshot, parallelism).unwrap();
        after.push(6, at(3)).unwrap();
        after.push(7, at(3)).unwrap();
        after.watermark(at(19)).unwrap();
        let mut told = after.take();
        told.sort();
        assert_eq!(told, ["0: 1 [1]", "0: 2 [1, 2]", "1: 3 [1, 2, 3]"], "at {parallelism}");
    }
}
