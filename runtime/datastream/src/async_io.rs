//! Async I/O: streams that ask the outside world about their records.
//!
//! ```text
//!   stream.ordered_wait(options, |record| async { … })      results in the order of their records
//!   stream.unordered_wait(…)                                results as they come, between two watermarks
//!   …_with(options, function)                               an `AsyncFunction`: what to try again, what after a time-out
//! ```
//!
//! # What is always true
//!
//! 1. The task never waits: it goes on with other records until as many are asked about as the options allow.
//! 2. Records that wait for an answer are in every checkpoint, and are asked about again after a restart: whoever is asked
//!    may hear of a record twice.

use std::future::Future;

use wiesel_operators::{
    AsyncClosure, AsyncFunction, AsyncOptions, AsyncWaitTo, Chain, FunctionError, Start,
};
use wiesel_record::Record;

use crate::DataStream;

impl<T: Record, S: Start, C: Chain<S::Out, Out = T>> DataStream<T, S, C> {
    /// Asks about each record and goes on with what it hears, in the order of the records. Flink's
    /// `AsyncDataStream.orderedWait`.
    ///
    /// The closure gets a view of the record, and its future keeps what it needs of it. What the future gives is any number
    /// of records: an array, an `Option`, a `Vec`. An error fails the job, once there is no try left.
    ///
    /// Futures run beside the shards, on one thread of the process: they must not block. Those of tokio are made with
    /// `Handle::spawn` of a runtime of one's own, and waited for here.
    ///
    /// ```
    /// # use wiesel_datastream::Environment;
    /// # use wiesel_core::{millis, seconds};
    /// use wiesel_operators::{AsyncOptions, AsyncRetry};
    ///
    /// async fn country_of(user: u64) -> Result<String, std::io::Error> {
    ///     Ok(if user % 2 == 0 { "AT".to_owned() } else { "NZ".to_owned() })
    /// }
    ///
    /// # let env = Environment::new();
    /// let options = AsyncOptions::within(seconds(5)).capacity(50);
    /// env.from_collection([1_u64, 2, 3])
    ///     .ordered_wait(options.retry(AsyncRetry::fixed_delay(3, millis(100))), |user| async move {
    ///         country_of(user).await.map(|country| [(user, country)])
    ///     })
    ///     .print();
    /// ```
    pub fn ordered_wait<F, A, I, E>(
        self,
        options: AsyncOptions,
        function: F,
    ) -> DataStream<I::Item, S, AsyncWaitTo<C, AsyncClosure<F, A>>>
    where
        F: for<'a> Fn(T::View<'a>) -> A + Clone + Send + 'static,
        A: Future<Output = Result<I, E>> + Send + 'static,
        I: IntoIterator<Item: Record> + Send + 'static,
        E: Into<FunctionError> + 'static,
    {
        self.ordered_wait_with(options, AsyncClosure::new(function))
    }

    /// As [`ordered_wait`](Self::ordered_wait), but results go on as they come; only watermarks keep their place between the
    /// records. Flink's `AsyncDataStream.unorderedWait`.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// # use wiesel_core::seconds;
    /// use wiesel_operators::AsyncOptions;
    ///
    /// let options = AsyncOptions::within(seconds(5)).capacity(50);
    /// env.from_collection([1_u64, 2])
    ///     .unordered_wait(options, |user| async move { Ok::<_, std::io::Error>([user]) })
    ///     .print();
    /// ```
    pub fn unordered_wait<F, A, I, E>(
        self,
        options: AsyncOptions,
        function: F,
    ) -> DataStream<I::Item, S, AsyncWaitTo<C, AsyncClosure<F, A>>>
    where
        F: for<'a> Fn(T::View<'a>) -> A + Clone + Send + 'static,
        A: Future<Output = Result<I, E>> + Send + 'static,
        I: IntoIterator<Item: Record> + Send + 'static,
        E: Into<FunctionError> + 'static,
    {
        self.unordered_wait_with(options, AsyncClosure::new(function))
    }

    /// As [`ordered_wait`](Self::ordered_wait), with a function that chooses what to try again and what to say after a
    /// time-out.
    ///
    /// ```
    /// # use wiesel_core::seconds;
    /// use wiesel_operators::{FunctionError, AsyncAnswer, AsyncFunction, AsyncOptions};
    ///
    /// /// The name of a user; without an answer in time, none.
    /// #[derive(Clone)]
    /// struct NameOf;
    ///
    /// impl AsyncFunction<u64> for NameOf {
    ///     type Out = String;
    ///     type Results = Option<String>;
    ///
    ///     fn invoke(&self, user: u64) -> AsyncAnswer<Option<String>> {
    ///         Box::pin(async move { Ok(Some(format!("user {user}"))) })
    ///     }
    ///
    ///     fn timeout(&self, _user: u64) -> Result<Option<String>, FunctionError> {
    ///         Ok(None)
    ///     }
    /// }
    ///
    /// # let env = wiesel_datastream::Environment::new();
    /// let options = AsyncOptions::within(seconds(5));
    /// env.from_collection([1_u64, 2]).ordered_wait_with(options, NameOf).print();
    /// ```
    pub fn ordered_wait_with<F: AsyncFunction<T>>(
        self,
        options: AsyncOptions,
        function: F,
    ) -> DataStream<F::Out, S, AsyncWaitTo<C, F>> {
        let position = self.waits("OrderedWait", options);
        self.grown(|chain| AsyncWaitTo::ordered(chain, options, function).at(position))
    }

    /// As [`unordered_wait`](Self::unordered_wait), with a function that chooses what to try again and what to say after a
    /// time-out.
    ///
    /// ```
    /// # use wiesel_core::seconds;
    /// # use wiesel_operators::{FunctionError, AsyncAnswer, AsyncFunction, AsyncOptions};
    /// # #[derive(Clone)]
    /// # struct NameOf;
    /// # impl AsyncFunction<u64> for NameOf {
    /// #     type Out = String;
    /// #     type Results = Option<String>;
    /// #     fn invoke(&self, user: u64) -> AsyncAnswer<Option<String>> {
    /// #         Box::pin(async move { Ok(Some(format!("user {user}"))) })
    /// #     }
    /// # }
    /// # let env = wiesel_datastream::Environment::new();
    /// let options = AsyncOptions::within(seconds(5)); // `NameOf` as in `ordered_wait_with`.
    /// env.from_collection([1_u64, 2]).unordered_wait_with(options, NameOf).print();
    /// ```
    pub fn unordered_wait_with<F: AsyncFunction<T>>(
        self,
        options: AsyncOptions,
        function: F,
    ) -> DataStream<F::Out, S, AsyncWaitTo<C, F>> {
        let position = self.waits("UnorderedWait", options);
        self.grown(|chain| AsyncWaitTo::unordered(chain, options, function).at(position))
    }

    /// Chains an operator whose records wait for answers; gives its position.
    fn waits(&self, name: &str, options: AsyncOptions) -> usize {
        self.builder.mistake_of(name, options.mistake());
        let position = self.builder.chained(self.vertex, name);
        self.builder.vertex(self.vertex, |vertex| {
            vertex.needs_helper = true;
            vertex.keeps_state();
        });
        position
    }
}
