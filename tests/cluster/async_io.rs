//! Async I/O over whole jobs: a service that answers late and out of order, fails, and is not there.

use std::{
    collections::BTreeMap,
    fs,
    future::{Future, poll_fn},
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Waker},
    thread,
};

use wiesel_connectors::DataGen;
use wiesel_core::{Timestamp, millis, minutes, seconds};
use wiesel_datastream::Environment;
use wiesel_jobmanager::JobStatus;
use wiesel_operators::{
    AsyncAnswer, AsyncFunction, AsyncOptions, AsyncRetry, FunctionError, Tumbling,
    monotonous_timestamps,
};

use crate::{assert_sound, checkpoints::checkpointed, config, run, watched};

const RECORDS: u64 = 5_000;

/// Where an answer will be.
#[derive(Clone, Default)]
struct Pending(Arc<Mutex<(Option<u64>, Option<Waker>)>>);

impl Future for Pending {
    type Output = u64;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        let mut state = self.0.lock().expect("nobody panics");
        state.1 = Some(context.waker().clone());
        state.0.map_or(Poll::Pending, Poll::Ready)
    }
}

/// A thread that multiplies by seven, in batches and backwards.
#[derive(Clone)]
struct Service {
    to: mpsc::Sender<(u64, Pending)>,
    under_way: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Service {
    fn start() -> Self {
        let (to, from) = mpsc::channel::<(u64, Pending)>();
        let under_way = Arc::new(AtomicUsize::new(0));
        let gone = Arc::clone(&under_way);
        thread::spawn(move || {
            while let Ok(first) = from.recv() {
                let mut batch = vec![first];
                batch.extend(from.try_iter());
                for (number, Pending(state)) in batch.into_iter().rev() {
                    gone.fetch_sub(1, Ordering::SeqCst);
                    let mut state = state.lock().expect("nobody panics");
                    state.0 = Some(number * 7);
                    if let Some(waker) = state.1.take() {
                        waker.wake();
                    }
                }
            }
        });
        Self { to, under_way, most: Arc::default() }
    }

    fn ask(&self, number: u64) -> Pending {
        let pending = Pending::default();
        let count = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(count, Ordering::SeqCst);
        self.to.send((number, pending.clone())).expect("the service lives");
        pending
    }
}

fn sevenfold() -> Vec<(u64, u64)> {
    (0..RECORDS).map(|number| (number, number * 7)).collect()
}

macro_rules! ask {
    ($wait:ident, $parallelism:expr, $capacity:expr) => {{
        let service = Service::start();
        let most = Arc::clone(&service.most);
        let environment = Environment::new();
        let answers = environment
            .source(DataGen::new(|tick| tick.number).count(RECORDS))
            .watermarks(monotonous_timestamps(), |number| Timestamp::from_millis(number as i64))
            .$wait(AsyncOptions::within(minutes(2)).capacity($capacity), move |number| {
                let answer = service.ask(number);
                async move { Ok::<_, FunctionError>([(number, answer.await)]) }
            })
            .share();
        let counts = answers
            .stream()
            .set_parallelism($parallelism)
            .window_all(Tumbling::event_time(seconds(1)))
            .count()
            .collect();
        let answers = answers.stream().set_parallelism($parallelism).collect();
        assert_sound(&run(&environment, $parallelism, &config(&[])));
        let most = most.load(Ordering::SeqCst);
        assert!(most <= $capacity * $parallelism as usize, "{most} at a time");
        // Watermarks have kept their place: nothing was late.
        let counts: Vec<u64> = counts.take().iter().map(|count| count.count).collect();
        assert_eq!(counts, [1_000; 5]);
        answers.take()
    }};
}

#[test]
fn every_record_is_asked_about_and_answered_once() {
    watched(|| {
        for parallelism in [1, 2, 3] {
            let answers = ask!(ordered_wait, parallelism, 20);
            let is_in_order = |numbers: &[(u64, u64)]| numbers.is_sorted();
            if parallelism == 1 {
                assert!(is_in_order(&answers));
            }
            let mut answers = answers;
            answers.sort_unstable();
            assert!(answers == sevenfold(), "ordered, at {parallelism}");
            let mut answers = ask!(unordered_wait, parallelism, 20);
            answers.sort_unstable();
            assert!(answers == sevenfold(), "unordered, at {parallelism}");
        }
    });
}

#[test]
fn one_at_a_time_is_enough() {
    watched(|| {
        let answers = ask!(unordered_wait, 1, 1);
        assert!(answers == sevenfold());
    });
}

/// In batch mode a keyed operator gives all its results when the input has ended.
#[test]
fn a_job_in_batch_mode_holds_no_more_than_may_wait() {
    watched(|| {
        const CAPACITY: usize = 5;
        let folder = tempfile::tempdir().expect("a folder");
        let (held, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (taken, seen) = (Arc::clone(&held), Arc::clone(&most));
        let environment = Environment::new();
        let answers = environment
            .source(DataGen::new(|tick| tick.number).count(300))
            .key_by::<u64>(|number| number)
            .count()
            .map(move |counted| {
                seen.fetch_max(taken.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                counted.key
            })
            .ordered_wait(AsyncOptions::within(minutes(2)).capacity(CAPACITY), move |number| {
                let (held, mut looks) = (Arc::clone(&held), 0);
                async move {
                    poll_fn(|context| {
                        looks += 1;
                        context.waker().wake_by_ref();
                        if looks < 50 { Poll::Pending } else { Poll::Ready(()) }
                    })
                    .await;
                    held.fetch_sub(1, Ordering::SeqCst);
                    Ok::<_, FunctionError>([number])
                }
            })
            .collect();
        let folder = folder.path().to_str().expect("a plain path");
        let batch = [("execution.runtime-mode", "batch"), ("io.tmp.dirs", folder)];
        assert_sound(&run(&environment, 1, &config(&batch)));
        let mut answers = answers.take();
        answers.sort_unstable();
        assert_eq!(answers, (0..300).collect::<Vec<_>>());
        let most = most.load(Ordering::SeqCst);
        assert!(most <= CAPACITY, "{most} records wait");
    });
}

#[test]
fn an_error_fails_the_job_with_one_message() {
    watched(|| {
        let environment = Environment::new();
        environment
            .source(DataGen::new(|tick| tick.number))
            .ordered_wait(AsyncOptions::within(minutes(2)), |number| async move {
                match number {
                    500 => Err("user 500 is not in the directory"),
                    number => Ok([number]),
                }
            })
            .uid("directory")
            .collect();
        let result = run(&environment, 2, &config(&[]));
        assert_eq!(result.status, JobStatus::Failed);
        let failure = result.failure.expect("it failed").to_string();
        assert!(failure.contains("could not ask about a record"), "{failure}");
        assert!(failure.ends_with("user 500 is not in the directory"), "{failure}");
        for pool in &result.pools {
            assert_eq!((pool.outstanding, pool.lost), (0, 0));
        }
    });
}

/// Answers at the third time of asking; one in a hundred never.
#[derive(Clone)]
struct Shy(Arc<Mutex<BTreeMap<u64, u32>>>);

impl AsyncFunction<u64> for Shy {
    type Out = (u64, u64);
    type Results = Option<(u64, u64)>;

    fn invoke(&self, number: u64) -> AsyncAnswer<Self::Results> {
        let asked = {
            let mut asked = self.0.lock().expect("nobody panics");
            let asked = asked.entry(number).or_insert(0);
            *asked += 1;
            *asked
        };
        Box::pin(async move {
            match (number % 100, asked) {
                (0, _) => {
                    Pending::default().await;
                    Err("nobody has answered".into())
                }
                (_, 1) => Err("not yet".into()),
                (_, 2) => Ok(None),
                _ => Ok(Some((number, number * 7))),
            }
        })
    }

    fn should_retry(&self, outcome: Result<&Self::Results, &FunctionError>) -> bool {
        outcome.is_ok_and(Option::is_none) || outcome.is_err()
    }

    fn timeout(&self, number: u64) -> Result<Self::Results, FunctionError> {
        Ok(Some((number, 0)))
    }
}

#[test]
fn what_fails_is_tried_again_and_what_is_silent_times_out() {
    watched(|| {
        for parallelism in [1, 2, 3] {
            let environment = Environment::new();
            let shy = Shy(Arc::default());
            let options = AsyncOptions::within(millis(500)).capacity(1_000);
            let retry = AsyncRetry::exponential_backoff(5, millis(1), millis(2), 2.0);
            let answers = environment
                .source(DataGen::new(|tick| tick.number).count(1_000))
                .unordered_wait_with(options.retry(retry), shy)
                .collect();
            assert_sound(&run(&environment, parallelism, &config(&[])));
            let mut answers = answers.take();
            answers.sort_unstable();
            // On a machine that does other work more may time out; those that must not answer do.
            assert_eq!(answers.len(), 1_000, "at {parallelism}");
            for (place, (number, answer)) in (0..).zip(answers) {
                assert_eq!(number, place);
                let may_be = if number % 100 == 0 { [0, 0] } else { [0, number * 7] };
                assert!(may_be.contains(&answer), "{number}: {answer}");
            }
        }
    });
}

/// The number of the newest checkpoint that is complete.
fn newest_checkpoint(folder: &Path) -> u64 {
    let number_of = |path: &Path| {
        let name = path.file_name()?.to_str()?.strip_prefix("chk-")?;
        path.join("_metadata").exists().then(|| name.parse().ok())?
    };
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let numbers = entries.map(|entry| entry.path()).filter(|path| path.is_dir());
    numbers
        .map(|path| number_of(&path).unwrap_or_else(|| newest_checkpoint(&path)))
        .max()
        .unwrap_or(0)
}

/// Is ready when a checkpoint is complete that was not when it began to wait.
async fn next_checkpoint(folder: PathBuf) {
    let last = newest_checkpoint(&folder);
    poll_fn(|context| {
        if newest_checkpoint(&folder) > last {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Every answer waits for a checkpoint: also while as many wait as may, and after the end of the input.
#[test]
fn checkpoints_do_not_wait_for_answers() {
    for is_behind in [false, true] {
        watched(move || {
            let folder = tempfile::tempdir().expect("a folder");
            let environment = Environment::new();
            let numbers = environment.source(DataGen::new(|tick| tick.number).count(11));
            let checkpoints = folder.path().to_owned();
            let ask = move |number| {
                let checkpoint = next_checkpoint(checkpoints.clone());
                async move {
                    checkpoint.await;
                    Ok::<_, FunctionError>([number])
                }
            };
            let options =
                AsyncOptions::within(minutes(2)).capacity(if is_behind { 100 } else { 2 });
            let answers = match is_behind {
                false => numbers.ordered_wait(options, ask).collect(),
                true => numbers.rebalance().unordered_wait(options, ask).collect(),
            };
            assert_sound(&run(&environment, 1, &checkpointed(folder.path())));
            let mut answers = answers.take();
            answers.sort_unstable();
            assert_eq!(answers, (0..11).collect::<Vec<_>>());
        });
    }
}

#[test]
fn a_job_that_fails_asks_again_about_what_had_no_answer() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let environment = Environment::new();
        let failures = Arc::new(AtomicUsize::new(0));
        let (seen, checkpoints) = (Arc::clone(&failures), folder.path().to_owned());
        let answers = environment
            .source(DataGen::new(|tick| tick.number).count(20))
            .ordered_wait(AsyncOptions::within(minutes(2)).capacity(4), move |number| {
                let checkpoint = next_checkpoint(checkpoints.clone());
                let fails = number == 13 && failures.fetch_add(1, Ordering::SeqCst) < 2;
                async move {
                    checkpoint.await;
                    if fails { Err("on purpose") } else { Ok([number]) }
                }
            })
            .key_by::<u64>(|number| number % 3)
            .count()
            .map(|counted| (counted.key, counted.count))
            .collect();
        let result = run(&environment, 2, &checkpointed(folder.path()));
        assert_eq!(result.status, JobStatus::Finished, "{:?}", result.failure);
        assert_eq!(seen.load(Ordering::SeqCst), 3, "asked about it until it was answered");
        let restarts = result.progress.checkpoints.expect("a job with checkpoints").restarts;
        assert_eq!(restarts, 2);
        // What was collected before a failure stays, so counts may be there twice; none is wrong or missing.
        let mut answers = answers.take();
        answers.sort_unstable();
        answers.dedup();
        let counts = (0..3).flat_map(|key| (1..=7 - u64::from(key == 2)).map(move |n| (key, n)));
        assert_eq!(answers, counts.collect::<Vec<_>>());
    });
}

#[test]
fn batch_mode_asks_too() {
    watched(|| {
        for parallelism in [1, 2, 3] {
            let service = Service::start();
            let environment = Environment::new();
            let answers = environment
                .source(DataGen::new(|tick| tick.number).count(RECORDS))
                .key_by::<u64>(|number| number % 100)
                .count()
                .map(|counted| counted.count * 100 + counted.key)
                .unordered_wait(AsyncOptions::within(minutes(2)).capacity(7), move |number| {
                    let answer = service.ask(number);
                    async move { Ok::<_, FunctionError>([answer.await]) }
                })
                .key_by::<u64>(|_| 0)
                .sum::<u64, _>(|answer| answer)
                .map(|sum| sum.value)
                .collect();
            let batch = config(&[("execution.runtime-mode", "batch")]);
            assert_sound(&run(&environment, parallelism, &batch));
            let sum: u64 = (0..100).map(|key| (RECORDS / 100 * 100 + key) * 7).sum();
            assert_eq!(answers.take(), [sum], "at {parallelism}");
        }
    });
}
