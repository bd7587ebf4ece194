//! Async I/O: what waits for what, what is tried again, what times out. Random traces are in `async_model`.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use wiesel_core::{Meta, Timestamp, metrics::TaskMetrics, millis};
use wiesel_operators::{
    AsyncAnswer, AsyncClosure, AsyncFunction, AsyncOptions, AsyncRetry, AsyncWaitTo, Chain,
    Control, End, FunctionError, Link, Nothing, Progress, Snapshot, Status, TaskContext,
};
use wiesel_record::Owned;
use wiesel_shard::{ManualClock, Shard, at_once};

use crate::{
    harness::{Word, context_on, show_time},
    probe::{Event, Probe},
};

pub(crate) const TIMEOUT_MS: u64 = 50;
pub(crate) const PAUSE_MS: u64 = 10;
pub(crate) const TRIES: u32 = 3;

pub(crate) type Answer = Result<Vec<i64>, String>;

/// One call of the function.
#[derive(Default)]
struct Question {
    number: i64,
    answer: Option<Answer>,
    waker: Option<Waker>,
    /// Its future was dropped, answered or not.
    is_gone: bool,
}

/// Asks the test.
#[derive(Clone, Default)]
pub(crate) struct Ask(Arc<Mutex<Vec<Arc<Mutex<Question>>>>>);

impl Ask {
    /// The questions without an answer, in the order in which they were asked.
    pub(crate) fn open(&self) -> Vec<i64> {
        let open = |question: &Arc<Mutex<Question>>| {
            let question = question.lock().unwrap();
            (!question.is_gone && question.answer.is_none()).then_some(question.number)
        };
        self.0.lock().unwrap().iter().filter_map(open).collect()
    }

    pub(crate) fn answer(&self, number: i64, answer: Answer) {
        let questions = self.0.lock().unwrap();
        let question = questions.iter().rev().find(|q| q.lock().unwrap().number == number);
        let mut question = question.expect("a question").lock().unwrap();
        question.answer = Some(answer);
        if let Some(waker) = question.waker.take() {
            waker.wake();
        }
    }
}

struct Waiting(Arc<Mutex<Question>>);

impl Future for Waiting {
    type Output = Result<Vec<i64>, FunctionError>;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut question = self.0.lock().unwrap();
        match question.answer.clone() {
            Some(answer) => Poll::Ready(answer.map_err(Into::into)),
            None => {
                question.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.lock().unwrap().is_gone = true;
    }
}

impl AsyncFunction<Word> for Ask {
    type Out = i64;
    type Results = Vec<i64>;

    fn invoke(&self, (_, number): (&str, i64)) -> AsyncAnswer<Vec<i64>> {
        let question = Arc::new(Mutex::new(Question { number, ..Question::default() }));
        self.0.lock().unwrap().push(Arc::clone(&question));
        Box::pin(Waiting(question))
    }

    fn timeout(&self, (_, number): (&str, i64)) -> Result<Vec<i64>, FunctionError> {
        Ok(vec![-number])
    }
}

/// One subtask.
pub(crate) struct Bench<L> {
    pub(crate) link: L,
    pub(crate) context: TaskContext,
    pub(crate) clock: ManualClock,
    pub(crate) probe: Probe,
}

pub(crate) fn bench<L: Link<Word>>(
    clock: &ManualClock,
    (subtask, parallelism): (u32, u32),
    build: impl FnOnce(&TaskContext, &Probe) -> L,
) -> Bench<L> {
    let shard = Shard::on(clock);
    let context = context_on(shard, subtask, parallelism, &Arc::<TaskMetrics>::default());
    let probe = Probe::new(context.stop(), 0);
    let mut link = build(&context, &probe);
    link.open().unwrap();
    Bench { link, context, clock: clock.clone(), probe }
}

impl<L: Link<Word>> Bench<L> {
    /// Does what can be done, as a task that has nothing else to do; gives what came out.
    pub(crate) fn poll(&mut self) -> Vec<String> {
        self.context.shard().look();
        let now = self.clock.now();
        let mut moved = true;
        while std::mem::take(&mut moved) {
            self.link.ports(&mut |port| moved |= port.poll(now));
        }
        let show = |event| match event {
            Event::Record(text, Meta { time: None, .. }) => text,
            Event::Record(text, Meta { time: Some(time), .. }) => {
                format!("{text}@{}", show_time(time))
            }
            Event::Other(text) => text,
        };
        self.probe.take().into_iter().map(show).collect()
    }

    pub(crate) fn push(&mut self, number: i64, time: Option<i64>) {
        let time = time.map(Timestamp::from_millis);
        self.link.push(Owned(("a".to_owned(), number)), Meta { time, hash: Some(7) });
    }

    pub(crate) fn is_ready(&mut self) -> bool {
        let mut is_ready = true;
        self.link.ports(&mut |port| is_ready &= port.is_ready() && port.wants_records());
        is_ready
    }

    pub(crate) fn failure(&self) -> String {
        self.context.take_failure().map_or_else(String::new, |failure| {
            let cause = std::error::Error::source(&failure).map(ToString::to_string);
            format!("{failure}: {}", cause.unwrap_or_default())
        })
    }
}

pub(crate) fn options(capacity: usize) -> AsyncOptions {
    AsyncOptions::within(millis(TIMEOUT_MS)).capacity(capacity)
}

pub(crate) fn clock() -> ManualClock {
    ManualClock::new(Timestamp::from_millis(0))
}

macro_rules! async_link {
    ($kind:ident, $options:expr, $function:expr, $context:expr, $probe:expr) => {{
        let chain = AsyncWaitTo::$kind(Nothing::<Word>::new(), $options, $function);
        chain.finish(End::new($probe.output(""), $context), $context)
    }};
}
pub(crate) use async_link;

#[test]
fn results_are_in_order_or_as_they_come() {
    let clock = clock();
    let ask = Ask::default();
    let mut ordered = bench(&clock, (0, 1), |context, probe| {
        async_link!(ordered, options(9), ask.clone(), context, probe)
    });
    for (number, time) in [(1, Some(5)), (2, None), (3, Some(6))] {
        ordered.push(number, time);
    }
    assert_eq!(ordered.link.watermark(Timestamp::from_millis(6)), Progress::Done);
    ordered.link.status(Status::Idle);
    assert_eq!((ordered.poll(), ask.open()), (vec![], vec![1, 2, 3]));
    ask.answer(3, Ok(vec![30, 31]));
    ask.answer(2, Ok(vec![]));
    assert!(ordered.poll().is_empty());
    ask.answer(1, Ok(vec![10]));
    assert_eq!(ordered.poll().join(" "), "10@5 30@6 31@6 w6 idle");

    let ask = Ask::default();
    let mut unordered = bench(&clock, (0, 1), |context, probe| {
        async_link!(unordered, options(9), ask.clone(), context, probe)
    });
    unordered.push(1, None);
    unordered.push(2, None);
    assert_eq!(unordered.link.watermark(Timestamp::from_millis(6)), Progress::Done);
    unordered.push(3, None);
    unordered.poll();
    ask.answer(3, Ok(vec![30]));
    assert!(unordered.poll().is_empty());
    ask.answer(2, Ok(vec![20]));
    assert_eq!(unordered.poll().join(" "), "20");
    ask.answer(1, Ok(vec![10]));
    assert_eq!(unordered.poll().join(" "), "10 w6 30");
}

#[test]
fn what_is_full_takes_no_data() {
    let ask = Ask::default();
    let mut bench = bench(&clock(), (0, 1), |context, probe| {
        async_link!(ordered, options(2), ask.clone(), context, probe)
    });
    bench.push(1, None);
    assert!(bench.is_ready() && !bench.context.stop().is_set());
    bench.push(2, None);
    assert!(!bench.is_ready() && bench.context.stop().is_set());
    // What one record expands to is taken, but not asked about.
    bench.push(3, None);
    assert_eq!((bench.poll(), ask.open()), (vec![], vec![1, 2]));
    ask.answer(2, Ok(vec![]));
    assert_eq!((bench.poll(), ask.open()), (vec![], vec![1, 3]));
    assert!(!bench.is_ready());
    // The end waits for all of them.
    assert_eq!(bench.link.finish(), Progress::Stopped);
    ask.answer(1, Ok(vec![1]));
    assert_eq!(bench.poll().join(" "), "1");
    assert!(!bench.is_ready());
    ask.answer(3, Ok(vec![3]));
    assert_eq!(bench.poll().join(" "), "3");
    assert!(bench.is_ready());
    assert_eq!(bench.link.finish(), Progress::Done);
}

#[test]
fn errors_panics_and_silence_fail_the_job_with_one_message() {
    let failure = |outcome: fn() -> Result<[i64; 1], String>, retry: Option<AsyncRetry>, ms| {
        let clock = clock();
        let options = retry.map_or(options(2), |retry| options(2).retry(retry));
        let function = AsyncClosure::new(move |_: (&str, i64)| async move {
            if ms > 0 {
                std::future::pending::<()>().await;
            }
            outcome()
        });
        let mut bench = bench(&clock, (0, 1), |context, probe| {
            async_link!(ordered, options, function, context, probe)
        });
        bench.push(1, None);
        bench.poll();
        clock.advance(millis(ms));
        bench.poll();
        clock.advance(millis(PAUSE_MS));
        bench.poll();
        bench.failure()
    };
    let twice = Some(AsyncRetry::fixed_delay(2, millis(PAUSE_MS)));
    let no_host = || Err("no such host".to_owned());
    assert!(failure(no_host, None, 0).ends_with("no such host"));
    assert!(failure(no_host, None, 0).contains("could not ask about a record"));
    assert!(failure(no_host, twice, 0).contains("in 2 tries"));
    let text = failure(|| panic!("a bug"), None, 0);
    assert!(text.ends_with("the future panicked: a bug"), "{text}");
    let text = failure(|| Ok([1]), None, TIMEOUT_MS);
    assert!(text.contains("no answer came in time"), "{text}");
    assert_eq!(failure(|| Ok([1]), None, 0), "");
}

#[test]
fn state_of_something_else_is_refused() {
    let restore = |bytes: Vec<u8>| {
        let mut snapshot = Snapshot::default();
        snapshot.put("async-wait", None, bytes);
        let mut bench = bench(&clock(), (0, 1), |context, probe| {
            async_link!(ordered, options(2), Ask::default(), context, probe)
        });
        at_once(bench.link.restore(&snapshot)).map_err(|failure| failure.to_string())
    };
    let mut good = bench(&clock(), (0, 1), |context, probe| {
        async_link!(ordered, options(2), Ask::default(), context, probe)
    });
    good.push(1, Some(5));
    let mut snapshot = Snapshot::default();
    good.link.snapshot(&mut snapshot);
    let bytes = snapshot.operator("async-wait").next().expect("a record").to_vec();
    assert_eq!(restore(bytes.clone()), Ok(()));
    let damage = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        bytes
    };
    for bad in [
        vec![],
        vec![1; 8],
        damage(&|bytes| bytes[0] = 2),
        damage(&|bytes| bytes.truncate(12)),
        damage(&|bytes| bytes.iter_mut().skip(9).for_each(|byte| *byte = 0x9f)),
    ] {
        let error = restore(bad).expect_err("it is damaged");
        assert!(error.contains("restore a record that is asked about"), "{error}");
    }
}
