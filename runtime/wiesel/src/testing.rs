//! Tests of a job: a pipeline record by record on a clock of one's own, or a whole job on a cluster in this process.
//!
//! ```text
//!   Harness       push, watermark, advance ─▶ [ the pipeline, its tasks and channels, one thread ] ─▶ take
//!                                                 │ snapshot          ▲ restore, at another parallelism
//!   environment   source … collect ─▶ execute ─▶ [ shards and threads, as in production ] ─▶ take
//! ```
//!
//! A [`Harness`] answers what a function does; it needs no sleep, and gives the same in every run. An [`environment`] answers
//! whether the whole job is right. Most tests want the first.
//!
//! # What is always true
//!
//! 1. What runs in a harness is what runs in production: the chains, the state, the exchange by key. Only the loop and the
//!    clock are the test's.
//! 2. After each call everything that it leads to has happened.

use std::{collections::VecDeque, time::Duration};

use wiesel_cluster::tasks_only;
use wiesel_connectors::CollectedRecords;
use wiesel_core::{Nanos, RuntimeExecutionMode, TaskFailure, Timestamp, config::Configuration};
use wiesel_datastream::{DataStream, Environment, FrameStream, HandFeed};
use wiesel_graph::GraphDefaults;
use wiesel_operators::{Chain, FunctionError, ProcessContext, ProcessFunction, Start, Status};
use wiesel_record::{Out, Record};
use wiesel_shard::{ManualClock, Shard};
use wiesel_taskmanager::{StateByVertex, SteppedTasks};

use crate::StreamExecutionEnvironment;

/// Key groups of a pipeline in a harness that sets none.
const MAX_PARALLELISM: u32 = 128;

/// An environment whose jobs run on shards in this process, as in production, but without a claim on cores: tests that
/// run side by side do not disturb each other.
///
/// ```
/// let env = wiesel::testing::environment(2);
/// let words = env.from_collection(["to", "be", "or", "not", "to", "be"].map(str::to_owned));
/// let counts = words.key_by::<String>(|word| word).count().collect();
/// env.execute("count")?;
/// let most = counts.take().iter().map(|counted| counted.count).max();
/// assert_eq!(most, Some(2));
/// # Ok::<(), wiesel::Error>(())
/// ```
///
/// # Panics
///
/// If `parallelism` is not between 1 and 32,768.
pub fn environment(parallelism: u32) -> StreamExecutionEnvironment {
    let mut config = Configuration::new();
    let options = [("taskmanager.cpu.pin", "false".to_owned()), ("shard.spin", "0 us".to_owned())];
    let parallelism = ("parallelism.default", parallelism.to_string());
    for (key, value) in options.into_iter().chain([parallelism]) {
        if let Err(error) = config.set_text(key, &value) {
            panic!("{error}");
        }
    }
    StreamExecutionEnvironment::new(config)
}

/// Runs a pipeline of records `T` to records `O`, by hand.
///
/// The pipeline is a closure from a stream to a stream: any chain, with as many exchanges, windows and keyed functions as
/// it takes. It starts at the time of day zero.
///
/// ```
/// use wiesel::{prelude::*, testing::Harness};
///
/// let mut harness = Harness::new(|bids: FrameStream<(String, u64)>| {
///     bids.key_by::<String>(|(auction, _)| auction)
///         .window(Tumbling::event_time(seconds(10)))
///         .max(|(_, price)| price)
/// });
/// let at = Timestamp::from_millis;
/// harness.push(("chair".to_owned(), 7), at(1_000))?;
/// harness.push(("chair".to_owned(), 9), at(2_000))?;
/// assert!(harness.take().is_empty(), "the window is open");
///
/// // Whatever was seen so far survives a failure, and another parallelism.
/// let snapshot = harness.snapshot();
/// harness.restore(&snapshot, 3)?;
/// harness.watermark(at(10_000))?;
/// let highest = harness.take();
/// assert_eq!((highest[0].key.as_str(), highest[0].value), ("chair", 9));
/// # use wiesel::FrameStream;
/// # Ok::<(), wiesel::TaskFailure>(())
/// ```
///
/// What goes into a side output is collected like any stream, inside of the closure:
///
/// ```
/// use wiesel::{FrameStream, prelude::*, testing::Harness};
///
/// let tag = OutputTag::<(u64, i64)>::new("late");
/// let mut late = None;
/// let mut harness = Harness::new(|reads: FrameStream<(u64, i64)>| {
///     let counts = reads
///         .key_by::<u64>(|(sensor, _)| sensor)
///         .window(Tumbling::event_time(seconds(1)))
///         .side_output_late_data(&tag)
///         .count();
///     late = Some(counts.get_side_output(&tag).collect());
///     counts
/// });
/// harness.watermark(Timestamp::from_millis(5_000))?;
/// harness.push((7, 30), Timestamp::from_millis(10))?;
/// assert_eq!(late.map(|late| late.take()), Some(vec![(7, 30)]));
/// # Ok::<(), wiesel::TaskFailure>(())
/// ```
pub struct Harness<T: Record, O: Record> {
    environment: Environment,
    feed: HandFeed<T>,
    results: CollectedRecords<(O, Option<Timestamp>)>,
    taken: VecDeque<(O, Option<Timestamp>)>,
    clock: ManualClock,
    shard: Shard,
    tasks: SteppedTasks,
    /// When a task wants a turn though nothing is fed.
    wakes_at: Option<Nanos>,
}

/// The state of a pipeline at one moment; from [`Harness::snapshot`].
#[derive(Clone, Debug)]
pub struct HarnessSnapshot {
    state: StateByVertex,
    at: Timestamp,
}

impl HarnessSnapshot {
    /// The names of what is kept by key, of all operators: to test that state is given back.
    ///
    /// ```
    /// use wiesel::{FrameStream, testing::Harness};
    ///
    /// let mut harness = Harness::new(|words: FrameStream<String>| {
    ///     words.key_by::<String>(|word| word).count()
    /// });
    /// assert!(harness.snapshot().keyed_names().is_empty());
    /// harness.push_untimed("be".to_owned())?;
    /// assert_eq!(harness.snapshot().keyed_names(), ["value"]);
    /// # Ok::<(), wiesel::TaskFailure>(())
    /// ```
    pub fn keyed_names(&self) -> Vec<&str> {
        self.state.values().flat_map(|snapshot| snapshot.keyed_names()).collect()
    }
}

/// Puts the event time of a record beside it.
#[derive(Clone)]
struct WithTime;

impl<O: Record> ProcessFunction<O> for WithTime {
    type Out = (O, Option<Timestamp>);
    type Side = ();

    fn process(
        &mut self,
        value: O::View<'_>,
        context: &mut ProcessContext<'_, ()>,
        out: &mut dyn Out<Self::Out>,
    ) -> Result<(), FunctionError> {
        out.emit((value, context.timestamp()));
        Ok(())
    }
}

impl<T: Record, O: Record> Harness<T, O> {
    /// The pipeline that `build` makes, at parallelism 1.
    ///
    /// # Panics
    ///
    /// If the pipeline cannot be run: a stream without a sink, states of one name, a window of no length.
    pub fn new<S, C>(build: impl FnOnce(FrameStream<T>) -> DataStream<O, S, C>) -> Self
    where
        S: Start,
        C: Chain<S::Out, Out = O>,
    {
        Self::at_parallelism(1, build)
    }

    /// As [`new`](Self::new), with this many subtasks of every chain that sets none.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    pub fn at_parallelism<S, C>(
        parallelism: u32,
        build: impl FnOnce(FrameStream<T>) -> DataStream<O, S, C>,
    ) -> Self
    where
        S: Start,
        C: Chain<S::Out, Out = O>,
    {
        let environment = Environment::new();
        let (stream, feed) = environment.hand_fed::<T>();
        let results = build(stream).process(WithTime).collect();
        let clock = ManualClock::new(Timestamp::from_millis(0));
        let shard = Shard::on(&clock);
        let tasks = match deploy(&environment, parallelism, &shard, None) {
            Ok(tasks) => tasks,
            Err(failure) => panic!("{failure}: {}", failure.source),
        };
        Self {
            environment,
            feed,
            results,
            taken: VecDeque::new(),
            clock,
            shard,
            tasks,
            wakes_at: None,
        }
    }

    fn run(&mut self) -> Result<(), TaskFailure> {
        self.wakes_at = self.tasks.run()?;
        Ok(())
    }

    /// Feeds a record with its event time.
    ///
    /// # Errors
    ///
    /// What the pipeline fails with. It is not to be used any more then.
    pub fn push(&mut self, record: T, time: Timestamp) -> Result<(), TaskFailure> {
        self.feed.record(record, Some(time));
        self.run()
    }

    /// Feeds a record without an event time: for pipelines of processing time, or that assign times themselves.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn push_untimed(&mut self, record: T) -> Result<(), TaskFailure> {
        self.feed.record(record, None);
        self.run()
    }

    /// Feeds a watermark: no record at or before this time follows. Event timers and windows up to it fire.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn watermark(&mut self, watermark: Timestamp) -> Result<(), TaskFailure> {
        self.feed.watermark(watermark);
        self.run()
    }

    /// Says that the input has become idle, or active again.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn status(&mut self, status: Status) -> Result<(), TaskFailure> {
        self.feed.status(status);
        self.run()
    }

    /// The time of day in the pipeline.
    pub fn processing_time(&self) -> Timestamp {
        self.clock.wall_time()
    }

    /// Lets time pass. Processing timers fire in order, each at its time; so does state expire.
    ///
    /// ```
    /// use wiesel::{FrameStream, prelude::*, testing::Harness};
    ///
    /// /// Says "ping" a second after each record.
    /// #[derive(Clone)]
    /// struct Ping;
    ///
    /// impl KeyedProcessFunction<u64, u64> for Ping {
    ///     type Out = String;
    ///     type Side = ();
    ///
    ///     fn open(&mut self, _states: &mut StateRegistry) {}
    ///
    ///     fn process(
    ///         &mut self,
    ///         _value: u64,
    ///         context: &mut KeyedContext<'_, u64, ()>,
    ///         _out: &mut dyn Out<String>,
    ///     ) -> Result<(), FunctionError> {
    ///         let due = context.processing_time() + seconds(1);
    ///         context.register_processing_timer(due);
    ///         Ok(())
    ///     }
    ///
    ///     fn on_timer(
    ///         &mut self,
    ///         time: Timestamp,
    ///         _domain: TimeDomain,
    ///         _context: &mut KeyedContext<'_, u64, ()>,
    ///         out: &mut dyn Out<String>,
    ///     ) -> Result<(), FunctionError> {
    ///         out.emit(&format!("ping at {}", time.as_millis()));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut harness = Harness::new(|n: FrameStream<u64>| n.key_by::<u64>(|n| n).process(Ping));
    /// harness.push_untimed(7)?;
    /// harness.advance(millis(999))?;
    /// assert!(harness.take().is_empty());
    /// harness.advance(millis(1))?;
    /// assert_eq!(harness.take(), ["ping at 1000"]);
    /// # Ok::<(), wiesel::TaskFailure>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn advance(&mut self, duration: Duration) -> Result<(), TaskFailure> {
        let target = self.clock.now() + duration;
        while let Some(at) = self.wakes_at.filter(|at| *at <= target) {
            self.clock.advance(at.since(self.clock.now()));
            self.wakes_at = None;
            self.run()?;
        }
        self.clock.advance(target.since(self.clock.now()));
        self.run()
    }

    /// Ends the input: the last watermark passes, and everything still open is closed.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn finish(&mut self) -> Result<(), TaskFailure> {
        self.feed.end();
        self.run()
    }

    /// Whether the pipeline has come to its end.
    pub fn is_finished(&self) -> bool {
        self.tasks.are_finished()
    }

    fn collect(&mut self) {
        self.taken.extend(self.results.take());
    }

    /// What has come out since the last call: in order, except results of different subtasks.
    pub fn take(&mut self) -> Vec<O> {
        self.collect();
        self.taken.drain(..).map(|(record, _)| record).collect()
    }

    /// As [`take`](Self::take), with the event times of the results.
    pub fn take_timed(&mut self) -> Vec<(O, Option<Timestamp>)> {
        self.collect();
        self.taken.drain(..).collect()
    }

    /// The state of the pipeline: what a checkpoint would hold now.
    pub fn snapshot(&mut self) -> HarnessSnapshot {
        HarnessSnapshot { state: self.tasks.snapshot(), at: self.clock.wall_time() }
    }

    /// Goes back to a snapshot, or forth to it from a fresh harness, with another number of subtasks. Event time is where it
    /// was: what was late stays late. The clock goes on from the later of both times, as that of a machine would.
    ///
    /// # Errors
    ///
    /// If the snapshot is not that of this pipeline: with the state that does not fit, and what to do.
    pub fn restore(
        &mut self,
        snapshot: &HarnessSnapshot,
        parallelism: u32,
    ) -> Result<(), TaskFailure> {
        if snapshot.at > self.clock.wall_time() {
            self.clock.set(snapshot.at);
        }
        self.tasks = deploy(&self.environment, parallelism, &self.shard, Some(&snapshot.state))?;
        self.run()
    }
}

/// The tasks of what `environment` says.
fn deploy(
    environment: &Environment,
    parallelism: u32,
    shard: &Shard,
    state: Option<&StateByVertex>,
) -> Result<SteppedTasks, TaskFailure> {
    let defaults = GraphDefaults {
        parallelism,
        max_parallelism: Some(MAX_PARALLELISM),
        auto_generate_uids: true,
        runtime_mode: RuntimeExecutionMode::Streaming,
    };
    let graph = environment.job_graph("harness", &defaults).map_err(|error| {
        TaskFailure::new(wiesel_core::Blame::Job, "make the graph of a pipeline", error)
    })?;
    SteppedTasks::deploy(&tasks_only(graph), shard, state)
}
