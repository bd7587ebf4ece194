//! What functions of every kind are given by their task: metrics of their own, and a call at the end, however it comes.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
};

use wiesel_cluster::{JobResult, SubmitOptions};
use wiesel_connectors::DataGen;
use wiesel_core::{Timestamp, config::Configuration, minutes, seconds};
use wiesel_datastream::Environment;
use wiesel_jobmanager::JobStatus;
use wiesel_operators::{
    AsyncAnswer, AsyncFunction, AsyncOptions, BroadcastProcessFunction, BroadcastState,
    BroadcastStates, CoProcessFunction, Counter, FunctionError, Gauge, Histogram,
    KeyedBroadcastContext, KeyedBroadcastProcessFunction, KeyedCoProcessFunction, KeyedContext,
    KeyedProcessFunction, ProcessContext, ProcessFunction, ProcessWindowFunction, RuntimeContext,
    StateRegistry, Tumbling, WindowContext, WindowElements, WindowStates, monotonous_timestamps,
};
use wiesel_record::Out;
use wiesel_rpc::MetricValue;

use crate::{assert_sound, checkpoints::checkpointed, config, run, submit, watched};

const RECORDS: u64 = 1_000;
const NOTHING: BroadcastState<u64, u64> = BroadcastState::new("nothing");

/// Which functions were closed, how often.
#[derive(Clone, Default)]
struct Closed(Arc<Mutex<BTreeMap<&'static str, u32>>>);

impl Closed {
    fn take(&self) -> BTreeMap<&'static str, u32> {
        std::mem::take(&mut self.0.lock().expect("nobody panics"))
    }
}

/// Passes records on, of whatever kind it is a function: counts them, and says when it was closed.
#[derive(Clone)]
struct Watch {
    name: &'static str,
    closed: Closed,
    seen: Counter,
    last: Gauge,
    sizes: Histogram,
    subtask: u32,
    is_closed: bool,
    /// `process` fails at this record.
    fails_at: Option<u64>,
    /// `close` fails, if this is so.
    fails_to_close: Arc<AtomicBool>,
}

impl Watch {
    fn new(name: &'static str, closed: &Closed) -> Self {
        Self {
            name,
            closed: closed.clone(),
            seen: Counter::default(),
            last: Gauge::default(),
            sizes: Histogram::default(),
            subtask: u32::MAX,
            is_closed: false,
            fails_at: None,
            fails_to_close: Arc::default(),
        }
    }

    fn opened(&mut self, runtime: &RuntimeContext) {
        let group = runtime.metric_group();
        self.seen = group.counter("seen");
        self.last = group.gauge("last");
        self.sizes = group.histogram("sizes");
        self.subtask = runtime.subtask();
        assert!(self.subtask < runtime.parallelism());
    }

    fn saw(&self, number: u64, out: &mut dyn Out<u64>) -> Result<(), FunctionError> {
        assert!(!self.is_closed, "{}: a record came after the end", self.name);
        if self.fails_at == Some(number) {
            return Err("on purpose".into());
        }
        self.seen.inc();
        self.last.set(-i64::from(self.subtask));
        self.sizes.update(number);
        out.emit(number);
        Ok(())
    }

    fn ended(&mut self) -> Result<(), FunctionError> {
        assert!(!self.is_closed, "{}: closed twice", self.name);
        self.is_closed = true;
        *self.closed.0.lock().expect("nobody panics").entry(self.name).or_default() += 1;
        match self.fails_to_close.swap(false, Ordering::Relaxed) {
            true => Err("it cannot be flushed".into()),
            false => Ok(()),
        }
    }
}

macro_rules! a_function {
    (of_keys, $trait:ty { $($body:tt)* }) => {
        a_function!(of_states, StateRegistry, $trait { $($body)* });
    };
    (of_states, $states:ty, $trait:ty { $($body:tt)* }) => {
        impl $trait for Watch {
            type Out = u64;
            type Side = ();
            fn open(&mut self, states: &mut $states) {
                let runtime = states.runtime().clone();
                self.opened(&runtime);
            }
            fn close(&mut self) -> Result<(), FunctionError> {
                self.ended()
            }
            $($body)*
        }
    };
    (of_all, $trait:ty { $($body:tt)* }) => {
        impl $trait for Watch {
            type Out = u64;
            fn open(&mut self, runtime: &RuntimeContext) -> Result<(), FunctionError> {
                self.opened(runtime);
                Ok(())
            }
            fn close(&mut self) -> Result<(), FunctionError> {
                self.ended()
            }
            $($body)*
        }
    };
}

type Taken = Result<(), FunctionError>;

a_function!(of_all, ProcessFunction<u64> {
    type Side = ();
    fn process(&mut self, n: u64, _: &mut ProcessContext<'_, ()>, out: &mut dyn Out<u64>) -> Taken {
        self.saw(n, out)
    }
});
a_function!(
    of_all,
    CoProcessFunction < u64,
    u64 > {
        type Side = ();
        fn process1(
            &mut self,
            n: u64,
            _: &mut ProcessContext<'_, ()>,
            out: &mut dyn Out<u64>,
        ) -> Taken {
            self.saw(n, out)
        }
        fn process2(
            &mut self,
            n: u64,
            _: &mut ProcessContext<'_, ()>,
            out: &mut dyn Out<u64>,
        ) -> Taken {
            self.saw(n, out)
        }
    }
);
a_function!(
    of_all,
    BroadcastProcessFunction < u64,
    u64 > {
        type Side = ();
        fn process(
            &mut self,
            n: u64,
            _: &BroadcastStates,
            _: &mut ProcessContext<'_, ()>,
            out: &mut dyn Out<u64>,
        ) -> Taken {
            self.saw(n, out)
        }
        fn process_broadcast(
            &mut self,
            _: u64,
            _: &mut BroadcastStates,
            _: &mut ProcessContext<'_, ()>,
            _: &mut dyn Out<u64>,
        ) -> Taken {
            Ok(())
        }
    }
);
a_function!(of_all, AsyncFunction<u64> {
    type Results = [u64; 1];
    fn invoke(&self, n: u64) -> AsyncAnswer<[u64; 1]> {
        self.seen.inc();
        Box::pin(async move { Ok([n]) })
    }
});
a_function!(
    of_keys,
    KeyedProcessFunction < u64,
    u64 > {
        fn process(
            &mut self,
            n: u64,
            _: &mut KeyedContext<'_, u64, ()>,
            out: &mut dyn Out<u64>,
        ) -> Taken {
            self.saw(n, out)
        }
    }
);
a_function!(
    of_keys,
    KeyedCoProcessFunction < u64,
    u64,
    u64 > {
        fn process1(
            &mut self,
            n: u64,
            _: &mut KeyedContext<'_, u64, ()>,
            out: &mut dyn Out<u64>,
        ) -> Taken {
            self.saw(n, out)
        }
        fn process2(
            &mut self,
            n: u64,
            _: &mut KeyedContext<'_, u64, ()>,
            out: &mut dyn Out<u64>,
        ) -> Taken {
            self.saw(n, out)
        }
    }
);
a_function!(
    of_keys,
    KeyedBroadcastProcessFunction < u64,
    u64,
    u64 > {
        fn process(
            &mut self,
            n: u64,
            _: &BroadcastStates,
            _: &mut KeyedContext<'_, u64, ()>,
            out: &mut dyn Out<u64>,
        ) -> Taken {
            self.saw(n, out)
        }
        fn process_broadcast(
            &mut self,
            _: u64,
            _: &mut BroadcastStates,
            _: &mut KeyedBroadcastContext<'_, u64, ()>,
            _: &mut dyn Out<u64>,
        ) -> Taken {
            Ok(())
        }
    }
);
a_function!(
    of_states,
    WindowStates,
    ProcessWindowFunction < u64,
    u64 > {
        fn process(
            &mut self,
            _: u64,
            numbers: WindowElements<'_, u64>,
            _: &mut WindowContext<'_, ()>,
            out: &mut dyn Out<u64>,
        ) -> Taken {
            let mut taken = Ok(());
            numbers.for_each(|n| {
                if taken.is_ok() {
                    taken = self.saw(n, out)
                }
            });
            taken
        }
    }
);

/// Numbers through a function of each kind, all of which pass them on.
fn every_kind(watch: impl Fn(&'static str) -> Watch) -> Environment {
    let environment = Environment::new();
    let numbers = environment
        .source(DataGen::new(|tick| tick.number).count(RECORDS))
        .watermarks(monotonous_timestamps(), |n| Timestamp::from_millis(n as i64))
        .process(watch("process"))
        .uid("process")
        .ordered_wait_with(AsyncOptions::within(minutes(2)), watch("async"))
        .uid("async");
    let none = || environment.from_collection([0_u64; 0]);
    numbers
        .connect(none())
        .process(watch("co"))
        .uid("co")
        .connect_broadcast(none().broadcast_state(&NOTHING))
        .process(watch("broadcast"))
        .uid("broadcast")
        .key_by::<u64>(|n| n % 10)
        .process(watch("keyed"))
        .uid("keyed")
        .key_by::<u64>(|n| n % 10)
        .connect(none().key_by::<u64>(|n| n))
        .process(watch("keyed co"))
        .uid("keyed co")
        .key_by::<u64>(|n| n % 10)
        .connect_broadcast(none().broadcast_state(&NOTHING))
        .process(watch("keyed broadcast"))
        .uid("keyed broadcast")
        .key_by::<u64>(|n| n % 10)
        .window(Tumbling::event_time(seconds(10)))
        .process(watch("window"))
        .uid("window")
        .collect();
    environment
}

const KINDS: [&str; 8] =
    ["process", "async", "co", "broadcast", "keyed", "keyed co", "keyed broadcast", "window"];

#[track_caller]
fn assert_counted(result: &JobResult, subtasks: usize) {
    let progress = &result.progress;
    for kind in KINDS {
        let seen = progress.metric(kind, "seen").unwrap_or_else(|| panic!("{kind} counts nothing"));
        assert_eq!((seen.count(), seen.subtasks.len()), (RECORDS, subtasks), "{kind}: {seen:?}");
        if kind == "async" {
            continue;
        }
        let last = progress.metric(kind, "last").expect("a gauge");
        for (subtask, value) in &last.subtasks {
            let values = [MetricValue::Gauge(0), MetricValue::Gauge(-i64::from(*subtask))];
            assert!(values.contains(value), "{kind}: {last:?}");
        }
        match progress.metric(kind, "sizes").and_then(|sizes| sizes.total()) {
            Some(MetricValue::Histogram(sizes)) => {
                let found = (sizes.count(), sizes.min(), sizes.max(), sizes.mean());
                assert_eq!(found, (RECORDS, 0, RECORDS - 1, 499.5), "{kind}");
            }
            other => panic!("{kind}: {other:?}"),
        }
    }
    assert_eq!(progress.function_metrics().len(), 3 * KINDS.len());
}

#[test]
fn a_function_of_every_kind_counts_and_is_closed_at_the_end() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let settings: [(_, Configuration); 3] = [
            (1, config(&[])),
            (3, config(&[])),
            (2, config(&[("execution.runtime-mode", "batch")])),
        ];
        for (parallelism, config) in settings.into_iter().chain([(2, checkpointed(folder.path()))])
        {
            let closed = Closed::default();
            let result = run(&every_kind(|kind| Watch::new(kind, &closed)), parallelism, &config);
            assert_sound(&result);
            assert_counted(&result, parallelism as usize);
            assert_eq!(closed.take(), KINDS.map(|kind| (kind, parallelism)).into());
        }
    });
}

#[test]
fn a_function_is_closed_when_another_one_has_failed() {
    watched(|| {
        for failing in KINDS.into_iter().filter(|kind| *kind != "async") {
            let closed = Closed::default();
            let watch = |kind| {
                let fails_at = (kind == failing).then_some(RECORDS / 2);
                Watch { fails_at, ..Watch::new(kind, &closed) }
            };
            let result = run(&every_kind(watch), 2, &config(&[]));
            let failure = result.failure.expect("it fails").to_string();
            assert!(failure.contains(failing) && failure.contains("on purpose"), "{failure}");
            assert_eq!(closed.take(), KINDS.map(|kind| (kind, 2)).into(), "{failing} fails");
        }
    });
}

#[test]
fn a_function_is_closed_when_the_job_is_cancelled() {
    watched(|| {
        let (started, has_started) = mpsc::sync_channel(1);
        let (environment, closed) = (Environment::new(), Closed::default());
        environment
            .source(DataGen::new(|tick| tick.number).per_second(1_000))
            .map(move |number| {
                let _ = started.try_send(());
                number
            })
            .process(Watch::new("process", &closed))
            .collect();
        let client = submit(&environment, 2, &config(&[]), SubmitOptions::default());
        has_started.recv().expect("it runs");
        client.cancel();
        assert_eq!(client.wait().status, JobStatus::Canceled);
        assert_eq!(closed.take(), [("process", 2)].into());
    });
}

#[test]
fn a_job_whose_function_cannot_be_closed_fails_or_starts_again() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        for kind in KINDS {
            let build = |fails: bool, closed: &Closed| {
                let fails_to_close = Arc::new(AtomicBool::new(fails));
                every_kind(|other| {
                    let watch = Watch::new(other, closed);
                    let fails_to_close = match other == kind {
                        true => Arc::clone(&fails_to_close),
                        false => Arc::default(),
                    };
                    Watch { fails_to_close, ..watch }
                })
            };
            let closed = Closed::default();
            let result = run(&build(true, &closed), 1, &config(&[]));
            let failure = result.failure.expect("it fails").to_string();
            let vertex = if kind == "async" { "process" } else { kind };
            let words = [vertex, "close a function", "it cannot be flushed"];
            assert!(words.iter().all(|word| failure.contains(word)), "{failure}");
            assert_eq!(closed.take(), KINDS.map(|kind| (kind, 1)).into(), "each once");

            let result = run(&build(true, &closed), 1, &checkpointed(&folder.path().join(kind)));
            assert_sound(&result);
            let restarts = result.progress.checkpoints.map(|stats| stats.restarts);
            assert!(restarts >= Some(1), "{kind}");
            assert!(closed.take()[kind] >= 2, "{kind}: once in each try");
        }
    });
}

/// Registers these counters.
#[derive(Clone)]
struct Registers(&'static [&'static str]);

impl ProcessFunction<u64> for Registers {
    type Out = u64;
    type Side = ();

    fn open(&mut self, runtime: &RuntimeContext) -> Result<(), FunctionError> {
        self.0.iter().for_each(|name| runtime.metric_group().counter(name).inc());
        Ok(())
    }

    fn process(&mut self, n: u64, _: &mut ProcessContext<'_, ()>, out: &mut dyn Out<u64>) -> Taken {
        out.emit(n);
        Ok(())
    }
}

#[test]
fn a_name_is_that_of_one_metric_of_an_operator() {
    watched(|| {
        let run = |first: &'static [&'static str]| {
            let environment = Environment::new();
            let numbers = environment.from_collection([1_u64]).process(Registers(first)).uid("a");
            let _ = numbers.process(Registers(&["seen"])).uid("b").collect();
            run(&environment, 1, &config(&[]))
        };
        let result = run(&["seen", "read"]);
        assert_sound(&result);
        let found = result.progress.function_metrics();
        let found: Vec<_> = found.iter().map(|m| (&*m.operator, &*m.name, m.count())).collect();
        assert_eq!(found, [("b", "seen", 1), ("a", "seen", 1), ("a", "read", 1)]);
        let table: [(&[_], _); 2] = [
            (&["seen", "seen"], "two metrics of the operator are called `seen`"),
            (&[""], "a metric has no name"),
        ];
        for (names, expected) in table {
            let failure = run(names).failure.expect("a mistake of the program").to_string();
            assert!(failure.contains(expected), "{failure}");
        }
    });
}
