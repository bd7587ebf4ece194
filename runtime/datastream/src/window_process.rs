//! Windows of keyed streams with triggers, evictors and process functions: what the general operator does. Those of whole
//! streams are in `window_process_all.rs`.
//!
//! # What is always true
//!
//! 1. What is called here is done by the general operator, also for windows that have an operator of their own.
//! 2. Of several triggers the last holds, as in Flink. An evictor comes after the trigger, once; else it does not compile.
//! 3. Count windows are global windows with a trigger, as in Flink.

use wiesel_operators::{
    AggregateFunction, AggregateValue, AggregatingStart, Chain, ContentsStart, CountEvictor,
    CountTrigger, Evictor, Global, ListingStart, NoEvictor, ProcessWindowFunction, PurgingTrigger,
    Reduce, Start, Trigger, WindowOperatorStart, WindowOptions,
};
use wiesel_record::{FnView, Key, Record};

use crate::{
    Evicted, GeneralWindows, KeyedStream, OutputTag, Triggered, WindowedStream, Windowing,
    keyed::OperatedStream,
    windowing::{evicted, triggered},
};

/// Windows of so many records.
pub type CountWindows = Triggered<Global, PurgingTrigger<CountTrigger>>;

/// Windows of so many records that overlap.
pub type SlidingCountWindows = Evicted<Global, CountTrigger, CountEvictor>;

/// What the general operator makes of windows `W`, with contents that `B` makes.
pub(crate) type General<T, W, B> =
    WindowOperatorStart<B, <W as GeneralWindows<T>>::Windows, <W as GeneralWindows<T>>::Trigger>;

/// Windows `W` with an evictor.
pub(crate) type EvictedBy<T, W, E> =
    Evicted<<W as GeneralWindows<T>>::Windows, <W as GeneralWindows<T>>::Trigger, E>;

/// What a function `P` makes of all that windows `W` hold.
type Processed<T, K, F, W, P> =
    OperatedStream<T, K, F, General<T, W, ListingStart<<W as GeneralWindows<T>>::Evictor, P>>>;

/// What a function `P` makes of what windows `W` aggregate by `A`.
type AggregateProcessed<T, K, F, W, A, P> =
    OperatedStream<T, K, F, General<T, W, AggregatingStart<A, P>>>;

pub(crate) fn general<T: Record, W: GeneralWindows<T>, B>(
    options: WindowOptions<W>,
    contents: impl FnOnce(W::Evictor) -> B,
) -> General<T, W, B> {
    let (windows, options) = options.split();
    let (windows, trigger, evictor) = windows.into_parts();
    WindowOperatorStart::new(contents(evictor), trigger, options.with(windows))
}

impl<T, K, F, S, C> KeyedStream<T, K, F, S, C>
where
    T: Record,
    K: Key,
    F: for<'a> FnView<'a, T::View<'a>, K::View<'a>> + Clone + Send + 'static,
    S: Start,
    C: Chain<S::Out, Out = T>,
{
    /// Puts every `count` records of a key into a window. What is left at the end of the input is not emitted, as in
    /// Flink. Records need no event time.
    ///
    /// ```
    /// # use wiesel_datastream::Environment;
    /// # let env = Environment::new();
    /// // The sum of each three numbers that are odd, and of each three that are even.
    /// env.from_collection([1_u64, 2, 3, 4, 5, 6])
    ///     .key_by::<u64>(|n| n % 2)
    ///     .count_window(3)
    ///     .sum(|n| n)
    ///     .print();
    /// ```
    ///
    /// If `count` is 0, the graph of the job is an error.
    pub fn count_window(self, count: u64) -> WindowedStream<T, K, F, S, C, CountWindows> {
        self.window(Global).trigger(PurgingTrigger::of(CountTrigger::of(count)))
    }

    /// At every `slide`-th record of a key, its last `size` records.
    ///
    /// ```
    /// # use wiesel_datastream::Environment;
    /// # let env = Environment::new();
    /// // Each sensor's greatest of its last ten values, at every second.
    /// env.from_collection([(7_u64, 20_u64), (8, 30), (7, 21)])
    ///     .key_by::<u64>(|(sensor, _)| sensor)
    ///     .count_window_sliding(10, 2)
    ///     .max(|(_, value)| value)
    ///     .print();
    /// ```
    ///
    /// If one of both is 0, the graph of the job is an error.
    pub fn count_window_sliding(
        self,
        size: usize,
        slide: u64,
    ) -> WindowedStream<T, K, F, S, C, SlidingCountWindows> {
        if size == 0 {
            let what = "the last 0 records of a key are none: ask for 1 at least";
            self.builder().mistake("CountWindow", what);
        }
        self.window(Global).trigger(CountTrigger::of(slide)).evictor(CountEvictor::of(size))
    }
}

impl<T, K, F, S, C, W> WindowedStream<T, K, F, S, C, W>
where
    T: Record,
    K: Key,
    F: for<'a> FnView<'a, T::View<'a>, K::View<'a>> + Clone + Send + 'static,
    S: Start,
    C: Chain<S::Out, Out = T>,
    W: GeneralWindows<T>,
{
    /// Fires the windows when `trigger` says so, in the place of the trigger that they have by themselves. The general
    /// operator does it: it keeps an entry per key and window, and costs more than windows that fire by themselves.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, hours, minutes};
    /// # use wiesel_datastream::Environment;
    /// # use wiesel_operators::{ContinuousEventTimeTrigger, Tumbling, monotonous_timestamps};
    /// # let env = Environment::new();
    /// // Each hour's sum so far, every minute.
    /// env.from_collection([(7_u64, 1_000_i64, 3_u64), (8, 2_000, 4)])
    ///     .watermarks(monotonous_timestamps(), |(_, at, _)| Timestamp::from_millis(at))
    ///     .key_by::<u64>(|(shop, ..)| shop)
    ///     .window(Tumbling::event_time(hours(1)))
    ///     .trigger(ContinuousEventTimeTrigger::of(minutes(1)))
    ///     .sum(|(_, _, price)| price)
    ///     .print();
    /// ```
    ///
    /// A trigger that cannot merge does not compile with sessions, once the job is built.
    pub fn trigger<R: Trigger<T>>(
        self,
        trigger: R,
    ) -> WindowedStream<T, K, F, S, C, Triggered<W::Windows, R>>
    where
        W: GeneralWindows<T, Evictor = NoEvictor>,
        W::Windows: Windowing<T>,
    {
        let Self { keyed, options, pre_aggregates } = self;
        let options = triggered::<T, W, R>(keyed.builder(), options, trigger);
        WindowedStream { keyed, options, pre_aggregates }
    }

    /// Lets windows forget elements when they fire. They keep all elements then, and aggregate when they fire.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, hours, minutes};
    /// # use wiesel_datastream::Environment;
    /// # use wiesel_operators::{CountTrigger, Global, TimeEvictor, monotonous_timestamps};
    /// # let env = Environment::new();
    /// // At every tenth trade, the highest price of the last five minutes.
    /// env.from_collection([(7_u64, 1_000_i64, 3_u64), (8, 2_000, 4)])
    ///     .watermarks(monotonous_timestamps(), |(_, at, _)| Timestamp::from_millis(at))
    ///     .key_by::<u64>(|(share, ..)| share)
    ///     .window(Global)
    ///     .trigger(CountTrigger::of(10))
    ///     .evictor(TimeEvictor::of(minutes(5)))
    ///     .max(|(_, _, price)| price)
    ///     .print();
    /// ```
    pub fn evictor<E: Evictor<T>>(
        self,
        evictor: E,
    ) -> WindowedStream<T, K, F, S, C, EvictedBy<T, W, E>>
    where
        W: GeneralWindows<T, Evictor = NoEvictor>,
        W::Windows: Windowing<T>,
    {
        let Self { keyed, options, pre_aggregates } = self;
        WindowedStream { keyed, options: evicted::<T, W, E>(options, evictor), pre_aggregates }
    }

    fn general<B: ContentsStart<K, T>>(
        self,
        what: &str,
        contents: impl FnOnce(W::Evictor) -> B,
    ) -> OperatedStream<T, K, F, General<T, W, B>> {
        let name = format!("{}.{what}", self.options.windows.name());
        self.keyed.operate(name, general::<T, W, B>(self.options, contents), true)
    }

    fn declare_side<D: Record>(&self, tag: &OutputTag<D>) -> Option<usize> {
        Some(self.keyed.builder().declare_side::<D>(self.keyed.vertex, tag.id()))
    }

    /// Gives all elements of a window to a function when it fires. The general operator keeps them until the window is over:
    /// where a part can be aggregated before, [`aggregate_process`](Self::aggregate_process) keeps less.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes};
    /// # use wiesel_datastream::Environment;
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// use wiesel_operators::{
    ///     FunctionError, ProcessWindowFunction, WindowContext, WindowElements,
    /// };
    /// use wiesel_record::Out;
    ///
    /// /// How far apart the prices of a share are.
    /// #[derive(Clone)]
    /// struct Spread;
    ///
    /// impl ProcessWindowFunction<u64, (u64, i64, u64)> for Spread {
    ///     type Out = (u64, i64, u64);
    ///     type Side = ();
    ///
    ///     fn process(
    ///         &mut self,
    ///         share: u64,
    ///         trades: WindowElements<'_, (u64, i64, u64)>,
    ///         context: &mut WindowContext<'_, ()>,
    ///         out: &mut dyn Out<(u64, i64, u64)>,
    ///     ) -> Result<(), FunctionError> {
    ///         let (mut low, mut high) = (u64::MAX, 0);
    ///         trades.for_each(|(.., price)| (low, high) = (low.min(price), high.max(price)));
    ///         out.emit((share, context.window().end.as_millis(), high - low));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # let env = Environment::new();
    /// env.from_collection([(7_u64, 1_000_i64, 3_u64), (8, 2_000, 4)])
    ///     .watermarks(monotonous_timestamps(), |(_, at, _)| Timestamp::from_millis(at))
    ///     .key_by::<u64>(|(share, ..)| share)
    ///     .window(Tumbling::event_time(minutes(1)))
    ///     .process(Spread)
    ///     .print();
    /// ```
    pub fn process<P: ProcessWindowFunction<K, T>>(self, function: P) -> Processed<T, K, F, W, P> {
        self.general("Process", |evictor| ListingStart::new(evictor, function, None))
    }

    /// As [`process`](Self::process); what the function puts aside is in
    /// [`get_side_output`](crate::DataStream::get_side_output) of what this returns.
    ///
    /// ```
    /// # use wiesel_datastream::OutputTag;
    /// # use wiesel_operators::{FunctionError, ProcessWindowFunction, WindowContext, WindowElements};
    /// # use wiesel_record::Out;
    /// /// The orders of users with several; single ones are put aside.
    /// #[derive(Clone)]
    /// struct Several;
    ///
    /// impl ProcessWindowFunction<u64, (u64, u64, i64)> for Several {
    ///     type Out = (u64, u64, i64);
    ///     type Side = (u64, u64, i64);
    ///
    ///     fn process(
    ///         &mut self,
    ///         _user: u64,
    ///         orders: WindowElements<'_, (u64, u64, i64)>,
    ///         context: &mut WindowContext<'_, (u64, u64, i64)>,
    ///         out: &mut dyn Out<(u64, u64, i64)>,
    ///     ) -> Result<(), FunctionError> {
    ///         let mut count = 0;
    ///         orders.for_each(|_| count += 1);
    ///         orders.for_each(|order| if count > 1 { out.emit(order) } else { context.side(order) });
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let orders = orders.key_by::<u64>(|(user, ..)| user).window(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), by user and in windows of a minute.
    /// let single = OutputTag::new("single");
    /// let several = orders.process_with_side(Several, &single);
    /// several.get_side_output(&single).print();
    /// several.print();
    /// ```
    pub fn process_with_side<P: ProcessWindowFunction<K, T>>(
        self,
        function: P,
        tag: &OutputTag<P::Side>,
    ) -> Processed<T, K, F, W, P> {
        let side = self.declare_side(tag);
        self.general("Process", |evictor| ListingStart::new(evictor, function, side))
    }
}

impl<T, K, F, S, C, W> WindowedStream<T, K, F, S, C, W>
where
    T: Record,
    K: Key,
    F: for<'a> FnView<'a, T::View<'a>, K::View<'a>> + Clone + Send + 'static,
    S: Start,
    C: Chain<S::Out, Out = T>,
    W: GeneralWindows<T, Evictor = NoEvictor>,
{
    /// Aggregates as records come, and gives the result to a function when the window fires. Flink's
    /// `aggregate(function, windowFunction)`.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes};
    /// # use wiesel_datastream::Environment;
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// use wiesel_operators::{
    ///     FunctionError, AggregateFunction, ProcessWindowFunction, WindowContext, WindowElements,
    /// };
    /// use wiesel_record::Out;
    ///
    /// #[derive(Clone)]
    /// struct Mean;
    ///
    /// impl AggregateFunction<(u64, i64)> for Mean {
    ///     type Acc = (i64, i64);
    ///     type Out = i64;
    ///     fn create_accumulator(&self) -> (i64, i64) {
    ///         (0, 0)
    ///     }
    ///     fn add(&self, acc: &mut (i64, i64), (_, at): (u64, i64)) {
    ///         *acc = (acc.0 + at, acc.1 + 1);
    ///     }
    ///     fn get_result(&self, (sum, count): (i64, i64)) -> i64 {
    ///         sum / count
    ///     }
    /// }
    ///
    /// /// Says of which window a mean is.
    /// #[derive(Clone)]
    /// struct WithStart;
    ///
    /// impl ProcessWindowFunction<u64, i64> for WithStart {
    ///     type Out = (u64, i64, i64);
    ///     type Side = ();
    ///
    ///     fn process(
    ///         &mut self,
    ///         key: u64,
    ///         mean: WindowElements<'_, i64>,
    ///         context: &mut WindowContext<'_, ()>,
    ///         out: &mut dyn Out<(u64, i64, i64)>,
    ///     ) -> Result<(), FunctionError> {
    ///         let start = context.window().start.as_millis();
    ///         mean.for_each(|mean| out.emit((key, start, mean)));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # let env = Environment::new();
    /// env.from_collection([(7_u64, 1_000_i64), (8, 2_000)])
    ///     .watermarks(monotonous_timestamps(), |(_, at)| Timestamp::from_millis(at))
    ///     .key_by::<u64>(|(key, _)| key)
    ///     .window(Tumbling::event_time(minutes(1)))
    ///     .aggregate_process(Mean, WithStart)
    ///     .print();
    /// ```
    pub fn aggregate_process<A, P>(
        self,
        aggregate: A,
        function: P,
    ) -> AggregateProcessed<T, K, F, W, AggregateValue<A>, P>
    where
        A: AggregateFunction<T>,
        P: ProcessWindowFunction<K, A::Out>,
    {
        let contents = AggregatingStart::new(AggregateValue(aggregate), function, None);
        self.general("AggregateProcess", |_| contents)
    }

    /// As [`aggregate_process`](Self::aggregate_process), with a side output as in
    /// [`process_with_side`](Self::process_with_side).
    ///
    /// ```
    /// # use wiesel_datastream::OutputTag;
    /// # use wiesel_operators::{FunctionError, ProcessWindowFunction, WindowContext, WindowElements};
    /// # use wiesel_record::Out;
    /// # use wiesel_operators::AggregateFunction;
    /// # #[derive(Clone)]
    /// # struct Mean;
    /// # impl AggregateFunction<(u64, u64, i64)> for Mean {
    /// #     type Acc = (u64, u64);
    /// #     type Out = u64;
    /// #     fn create_accumulator(&self) -> (u64, u64) { (0, 0) }
    /// #     fn add(&self, acc: &mut (u64, u64), (_, cents, _): (u64, u64, i64)) { *acc = (acc.0 + cents, acc.1 + 1); }
    /// #     fn get_result(&self, (sum, count): (u64, u64)) -> u64 { sum / count }
    /// # }
    /// /// Means of at least 25; lower ones are put aside.
    /// #[derive(Clone)]
    /// struct High;
    ///
    /// impl ProcessWindowFunction<u64, u64> for High {
    ///     type Out = (u64, u64);
    ///     type Side = (u64, u64);
    ///
    ///     fn process(
    ///         &mut self,
    ///         user: u64,
    ///         mean: WindowElements<'_, u64>,
    ///         context: &mut WindowContext<'_, (u64, u64)>,
    ///         out: &mut dyn Out<(u64, u64)>,
    ///     ) -> Result<(), FunctionError> {
    ///         mean.for_each(|mean| {
    ///             if mean < 25 { context.side((user, mean)) } else { out.emit((user, mean)) }
    ///         });
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let orders = orders.key_by::<u64>(|(user, ..)| user).window(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), by user and in windows of a minute.
    /// let low = OutputTag::new("low");
    /// let high = orders.aggregate_process_with_side(Mean, High, &low);
    /// high.get_side_output(&low).print();
    /// high.print();
    /// ```
    pub fn aggregate_process_with_side<A, P>(
        self,
        aggregate: A,
        function: P,
        tag: &OutputTag<P::Side>,
    ) -> AggregateProcessed<T, K, F, W, AggregateValue<A>, P>
    where
        A: AggregateFunction<T>,
        P: ProcessWindowFunction<K, A::Out>,
    {
        let side = self.declare_side(tag);
        let contents = AggregatingStart::new(AggregateValue(aggregate), function, side);
        self.general("AggregateProcess", |_| contents)
    }

    /// Combines records two by two as they come, and gives the one that is left to a function when the window fires.
    /// Flink's `reduce(function, windowFunction)`.
    ///
    /// ```
    /// # use wiesel_operators::{FunctionError, ProcessWindowFunction, WindowContext, WindowElements};
    /// # use wiesel_record::Out;
    /// /// The sum of a window, with its end.
    /// #[derive(Clone)]
    /// struct WithEnd;
    ///
    /// impl ProcessWindowFunction<u64, (u64, u64, i64)> for WithEnd {
    ///     type Out = (u64, u64, i64);
    ///     type Side = ();
    ///
    ///     fn process(
    ///         &mut self,
    ///         user: u64,
    ///         sum: WindowElements<'_, (u64, u64, i64)>,
    ///         context: &mut WindowContext<'_, ()>,
    ///         out: &mut dyn Out<(u64, u64, i64)>,
    ///     ) -> Result<(), FunctionError> {
    ///         let end = context.window().end.as_millis();
    ///         sum.for_each(|(_, cents, _)| out.emit((user, cents, end)));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let orders = orders.key_by::<u64>(|(user, ..)| user).window(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), by user and in windows of a minute.
    /// orders.reduce_process(|(user, sum, _), (_, cents, at)| (user, sum + cents, at), WithEnd).print();
    /// ```
    pub fn reduce_process<R, P>(
        self,
        reduce: R,
        function: P,
    ) -> AggregateProcessed<T, K, F, W, Reduce<R>, P>
    where
        R: for<'a, 'b> Fn(T::View<'a>, T::View<'b>) -> T + Clone + Send + 'static,
        P: ProcessWindowFunction<K, T>,
    {
        let contents = AggregatingStart::new(Reduce(reduce), function, None);
        self.general("ReduceProcess", |_| contents)
    }
}
