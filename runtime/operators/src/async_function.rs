//! What asks the outside world about records: a function that makes a future, and how long and how often to try.
//!
//! # What is always true
//!
//! 1. A function reads no clock and keeps nothing: what it needs is in its clone, one per subtask, or made in `open`. Time-outs and pauses
//!    are measured by the clock of the seam.
//! 2. The time-out of a record begins when it comes, and holds for all tries together.

use std::{fmt, future::Future, marker::PhantomData, pin::Pin, time::Duration};

use wiesel_record::Record;

use crate::{FunctionError, RuntimeContext};

/// What will be known about a record: any number of results, or why there are none.
pub type AsyncAnswer<R> = Pin<Box<dyn Future<Output = Result<R, FunctionError>> + Send>>;

/// Asks about records, many at a time. Flink's `AsyncFunction`.
///
/// A closure that returns a future will often do; this is for functions that choose what to try again, or that know what
/// to say when nobody answers.
///
/// ```
/// use wiesel_operators::{FunctionError, AsyncAnswer, AsyncFunction};
///
/// /// Who a user is; nobody, if the directory does not answer.
/// #[derive(Clone)]
/// struct NameOf;
///
/// async fn directory(user: u64) -> Result<String, FunctionError> {
///     Ok(format!("user {user}"))
/// }
///
/// impl AsyncFunction<u64> for NameOf {
///     type Out = (u64, String);
///     type Results = Option<(u64, String)>;
///
///     fn invoke(&self, user: u64) -> AsyncAnswer<Self::Results> {
///         Box::pin(async move { Ok(Some((user, directory(user).await?))) })
///     }
///
///     fn timeout(&self, _user: u64) -> Result<Self::Results, FunctionError> {
///         Ok(None)
///     }
/// }
/// ```
pub trait AsyncFunction<T: Record>: Clone + Send + 'static {
    /// The records that come out.
    type Out: Record;

    /// Those of one record: `Option`, an array, `Vec`.
    type Results: IntoIterator<Item = Self::Out> + Send + 'static;

    /// Called once, before the first record.
    ///
    /// # Errors
    ///
    /// If something that it needs is not there; the job fails.
    fn open(&mut self, runtime: &RuntimeContext) -> Result<(), FunctionError> {
        let _ = runtime;
        Ok(())
    }

    /// Called once when the task ends, as [`ProcessFunction::close`](crate::ProcessFunction::close) says.
    ///
    /// # Errors
    ///
    /// As there.
    fn close(&mut self) -> Result<(), FunctionError> {
        Ok(())
    }

    /// Asks. The future runs beside the shard, on a thread that all of the process share: it must not block.
    fn invoke(&self, record: T::View<'_>) -> AsyncAnswer<Self::Results>;

    /// Whether to ask again, if there is a try left: by default after an error.
    fn should_retry(&self, outcome: Result<&Self::Results, &FunctionError>) -> bool {
        outcome.is_err()
    }

    /// What to say of a record for which there was no answer in time.
    ///
    /// # Errors
    ///
    /// Fails the job, which may be restarted. Without a function of one's own that is what happens.
    fn timeout(&self, record: T::View<'_>) -> Result<Self::Results, FunctionError> {
        let _ = record;
        Err("no answer came in time: allow more time, or say what to do with `AsyncFunction::timeout`".into())
    }
}

/// An [`AsyncFunction`] that is only a closure.
pub struct AsyncClosure<F, A> {
    function: F,
    types: PhantomData<fn() -> A>,
}

impl<F, A> AsyncClosure<F, A> {
    /// Asks with `function`.
    pub fn new(function: F) -> Self {
        Self { function, types: PhantomData }
    }
}

impl<F: Clone, A> Clone for AsyncClosure<F, A> {
    fn clone(&self) -> Self {
        Self { function: self.function.clone(), types: PhantomData }
    }
}

impl<T, F, A, I, E> AsyncFunction<T> for AsyncClosure<F, A>
where
    T: Record,
    F: for<'a> Fn(T::View<'a>) -> A + Clone + Send + 'static,
    A: Future<Output = Result<I, E>> + Send + 'static,
    I: IntoIterator<Item: Record> + Send + 'static,
    E: Into<FunctionError> + 'static,
{
    type Out = I::Item;
    type Results = I;

    fn invoke(&self, record: T::View<'_>) -> AsyncAnswer<I> {
        let future = (self.function)(record);
        Box::pin(async move { future.await.map_err(Into::into) })
    }
}

/// When to ask again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AsyncRetry {
    tries: u32,
    first: Duration,
    max: Duration,
    multiplier: f64,
}

impl AsyncRetry {
    /// Asks at most `tries` times in all, the first time included, with `delay` between. Flink's `FixedDelayRetryStrategy`, whose
    /// `maxAttempts` leaves out the first time: its 3 are `tries` of 4.
    pub fn fixed_delay(tries: u32, delay: Duration) -> Self {
        Self { tries, first: delay, max: delay, multiplier: 1.0 }
    }

    /// Asks at most `tries` times in all, the first time included; the first pause is `initial`, each later one `multiplier`
    /// times as long, up to `max`. Flink's `ExponentialBackoffDelayRetryStrategy`, whose `maxAttempts` leaves out the first time.
    ///
    /// ```
    /// use wiesel_core::{millis, seconds};
    /// use wiesel_operators::AsyncRetry;
    ///
    /// let retry = AsyncRetry::exponential_backoff(5, millis(100), seconds(1), 4.0);
    /// let pauses: Vec<_> = (1..=5).map(|tried| retry.pause_after(tried)).collect();
    /// assert_eq!(
    ///     pauses,
    ///     [Some(millis(100)), Some(millis(400)), Some(seconds(1)), Some(seconds(1)), None]
    /// );
    /// ```
    pub fn exponential_backoff(
        tries: u32,
        initial: Duration,
        max: Duration,
        multiplier: f64,
    ) -> Self {
        Self { tries, first: initial, max, multiplier }
    }

    /// How long to wait after the try with this number, from 1; `None` if it was the last.
    pub fn pause_after(&self, tried: u32) -> Option<Duration> {
        if tried >= self.tries {
            return None;
        }
        let factor = self.multiplier.max(1.0).powi(tried.saturating_sub(1).min(1_000) as i32);
        let pause = Duration::try_from_secs_f64(self.first.as_secs_f64() * factor);
        Some(pause.map_or(self.max, |pause| pause.min(self.max)))
    }
}

/// How many records to ask about at a time, how long, and how often.
#[derive(Clone, Copy, PartialEq)]
pub struct AsyncOptions {
    pub(crate) capacity: usize,
    pub(crate) timeout: Duration,
    pub(crate) retry: Option<AsyncRetry>,
}

impl AsyncOptions {
    /// Records that are asked about at a time, unless [`capacity`](Self::capacity) says otherwise. Flink's default.
    pub const CAPACITY: usize = 100;

    /// An answer is waited for so long, all tries together. If that is no time at all, the graph of the job is an error: Flink
    /// then waits for ever, and here a day is `hours(24)`.
    pub fn within(timeout: Duration) -> Self {
        Self { capacity: Self::CAPACITY, timeout, retry: None }
    }

    /// Asks about at most so many records at a time; while there are as many, the input waits. If it is none, the graph of
    /// the job is an error.
    #[must_use]
    pub fn capacity(self, capacity: usize) -> Self {
        Self { capacity, ..self }
    }

    /// Asks again when the function says so.
    #[must_use]
    pub fn retry(self, retry: AsyncRetry) -> Self {
        Self { retry: Some(retry), ..self }
    }

    /// What is wrong with them, whatever the data: a job with such options is refused.
    pub fn mistake(self) -> Option<String> {
        let what = match (self.capacity, self.timeout) {
            (0, _) => "with a capacity of 0 no record is ever asked about: give it 1 at least",
            (_, Duration::ZERO) => {
                "no answer comes within no time: allow some, and a long one, such as `hours(24)`, for Flink's 0"
            }
            _ => return None,
        };
        Some(what.to_owned())
    }
}

impl fmt::Debug for AsyncOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "up to {} at a time, {:?} each", self.capacity, self.timeout)
    }
}
