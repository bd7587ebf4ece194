//! Windows of whole streams with triggers, evictors and process functions: what the general operator does, on one subtask.
//!
//! # What is always true
//!
//! 1. All that is true in `window_process.rs`; the key is nothing.

use wiesel_operators::{
    AggregateFunction, AggregateValue, AggregatingStart, Chain, ContentsStart, CountTrigger,
    Evictor, Global, KeyedHeadStart, ListingStart, NoEvictor, Nothing, ProcessWindowFunction,
    PurgingTrigger, Start, Trigger, WindowContents,
};
use wiesel_record::Record;

use crate::{
    AllWindowedStream, CountWindows, DataStream, GeneralWindows, NoKey, OutputTag, Triggered,
    Windowing,
    builder::Exchange,
    window_process::{EvictedBy, General, general},
    windowing::{evicted, no_key, triggered},
};

/// What comes out of contents that `B` makes.
type OutOf<K, T, B> = <<B as ContentsStart<K, T>>::Contents as WindowContents<K, T>>::Out;

/// What comes out of the windows of a whole stream.
type AllStream<T, W, B> = DataStream<
    OutOf<(), T, B>,
    KeyedHeadStart<T, (), NoKey<T>, General<T, W, B>>,
    Nothing<OutOf<(), T, B>>,
>;

impl<T: Record, S: Start, C: Chain<S::Out, Out = T>> DataStream<T, S, C> {
    /// Puts every `count` records into a window, on one subtask. What is left at the end of the input is not emitted.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// env.from_collection([1_u64, 2, 3, 4, 5]).count_window_all(2).sum(|n| n).print(); // 3, 7
    /// ```
    ///
    /// If `count` is 0, the graph of the job is an error.
    pub fn count_window_all(self, count: u64) -> AllWindowedStream<T, S, C, CountWindows> {
        self.window_all(Global).trigger(PurgingTrigger::of(CountTrigger::of(count)))
    }
}

impl<T, S, C, W> AllWindowedStream<T, S, C, W>
where
    T: Record,
    S: Start,
    C: Chain<S::Out, Out = T>,
    W: GeneralWindows<T>,
{
    /// Fires the windows when `trigger` says so, as [`WindowedStream::trigger`](crate::WindowedStream::trigger).
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let orders = orders.window_all(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), in windows of a minute.
    /// # use wiesel_operators::ContinuousEventTimeTrigger;
    /// orders.trigger(ContinuousEventTimeTrigger::of(seconds(10))).count().print();
    /// ```
    pub fn trigger<R: Trigger<T>>(
        self,
        trigger: R,
    ) -> AllWindowedStream<T, S, C, Triggered<W::Windows, R>>
    where
        W: GeneralWindows<T, Evictor = NoEvictor>,
        W::Windows: Windowing<T>,
    {
        let Self { producer, vertex, options, pre_aggregates } = self;
        let options = triggered::<T, W, R>(&producer.builder, options, trigger);
        AllWindowedStream { producer, vertex, options, pre_aggregates }
    }

    /// Lets windows forget elements when they fire, as [`WindowedStream::evictor`](crate::WindowedStream::evictor).
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let orders = orders.window_all(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), in windows of a minute.
    /// # use wiesel_operators::CountEvictor;
    /// orders.evictor(CountEvictor::of(100)).max(|(_, cents, _)| cents).print(); // Of the last hundred.
    /// ```
    pub fn evictor<E: Evictor<T>>(
        self,
        evictor: E,
    ) -> AllWindowedStream<T, S, C, EvictedBy<T, W, E>>
    where
        W: GeneralWindows<T, Evictor = NoEvictor>,
        W::Windows: Windowing<T>,
    {
        let Self { producer, vertex, options, pre_aggregates } = self;
        let options = evicted::<T, W, E>(options, evictor);
        AllWindowedStream { producer, vertex, options, pre_aggregates }
    }

    fn general<B: ContentsStart<(), T>>(
        self,
        what: &str,
        contents: impl FnOnce(W::Evictor) -> B,
    ) -> AllStream<T, W, B> {
        let Self { producer, vertex, options, .. } = self;
        let name = format!("{}All.{what}", options.windows.name());
        let builder = producer.builder.clone();
        builder.name_first(vertex, &name);
        builder.vertex(vertex, |vertex| {
            vertex.keeps_state();
            vertex.reads_time = true;
        });
        producer.close_to(Exchange::Global, vertex, 0);
        DataStream {
            builder,
            vertex,
            start: KeyedHeadStart::new(no_key::<T>, general::<T, W, B>(options, contents)),
            chain: Nothing::new(),
            has_time: true,
            types: std::marker::PhantomData,
        }
    }

    /// Gives all elements of a window to a function when it fires, as [`WindowedStream::process`](crate::WindowedStream::process); its key is nothing.
    ///
    /// ```
    /// use wiesel_operators::{
    ///     FunctionError, ProcessWindowFunction, WindowContext, WindowElements,
    /// };
    /// use wiesel_record::Out;
    ///
    /// /// How many orders a window has, with its end.
    /// #[derive(Clone)]
    /// struct Many;
    ///
    /// impl ProcessWindowFunction<(), (u64, u64, i64)> for Many {
    ///     type Out = (i64, u64);
    ///     type Side = ();
    ///
    ///     fn process(
    ///         &mut self,
    ///         _no_key: (),
    ///         orders: WindowElements<'_, (u64, u64, i64)>,
    ///         context: &mut WindowContext<'_, ()>,
    ///         out: &mut dyn Out<(i64, u64)>,
    ///     ) -> Result<(), FunctionError> {
    ///         let mut count = 0;
    ///         orders.for_each(|_| count += 1);
    ///         out.emit((context.window().end.as_millis(), count));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let orders = orders.window_all(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), in windows of a minute.
    /// orders.process(Many).print();
    /// ```
    pub fn process<P: ProcessWindowFunction<(), T>>(
        self,
        function: P,
    ) -> AllStream<T, W, ListingStart<W::Evictor, P>> {
        self.general("Process", |evictor| ListingStart::new(evictor, function, None))
    }

    /// As [`process`](Self::process), with a side output.
    ///
    /// ```
    /// # use wiesel_datastream::OutputTag;
    /// use wiesel_operators::{
    ///     FunctionError, ProcessWindowFunction, WindowContext, WindowElements,
    /// };
    /// use wiesel_record::Out;
    ///
    /// /// Large orders go on, small ones are put aside.
    /// #[derive(Clone)]
    /// struct Large;
    ///
    /// impl ProcessWindowFunction<(), (u64, u64, i64)> for Large {
    ///     type Out = (u64, u64, i64);
    ///     type Side = (u64, u64, i64);
    ///
    ///     fn process(
    ///         &mut self,
    ///         _no_key: (),
    ///         orders: WindowElements<'_, (u64, u64, i64)>,
    ///         context: &mut WindowContext<'_, (u64, u64, i64)>,
    ///         out: &mut dyn Out<(u64, u64, i64)>,
    ///     ) -> Result<(), FunctionError> {
    ///         orders.for_each(|order| if order.1 < 25 { context.side(order) } else { out.emit(order) });
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let orders = orders.window_all(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), in windows of a minute.
    /// let small = OutputTag::new("small");
    /// let large = orders.process_with_side(Large, &small);
    /// large.get_side_output(&small).print();
    /// large.print();
    /// ```
    pub fn process_with_side<P: ProcessWindowFunction<(), T>>(
        self,
        function: P,
        tag: &OutputTag<P::Side>,
    ) -> AllStream<T, W, ListingStart<W::Evictor, P>> {
        let side = Some(self.producer.builder.declare_side::<P::Side>(self.vertex, tag.id()));
        self.general("Process", |evictor| ListingStart::new(evictor, function, side))
    }

    /// Aggregates as records come, and gives the result to a function when the window fires, as
    /// [`WindowedStream::aggregate_process`](crate::WindowedStream::aggregate_process).
    ///
    /// ```
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
    /// /// Says of which window a mean is.
    /// #[derive(Clone)]
    /// struct WithEnd;
    ///
    /// impl ProcessWindowFunction<(), u64> for WithEnd {
    ///     type Out = (i64, u64);
    ///     type Side = ();
    ///
    ///     fn process(
    ///         &mut self,
    ///         _no_key: (),
    ///         mean: WindowElements<'_, u64>,
    ///         context: &mut WindowContext<'_, ()>,
    ///         out: &mut dyn Out<(i64, u64)>,
    ///     ) -> Result<(), FunctionError> {
    ///         let end = context.window().end.as_millis();
    ///         mean.for_each(|mean| out.emit((end, mean)));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # let orders = orders.window_all(Tumbling::event_time(minutes(1)));
    /// // Orders are (user, cents, time), in windows of a minute.
    /// orders.aggregate_process(Mean, WithEnd).print(); // `Mean` as in `KeyedStream::aggregate`
    /// ```
    pub fn aggregate_process<A, P>(
        self,
        aggregate: A,
        function: P,
    ) -> AllStream<T, W, AggregatingStart<AggregateValue<A>, P>>
    where
        W: GeneralWindows<T, Evictor = NoEvictor>,
        A: AggregateFunction<T>,
        P: ProcessWindowFunction<(), A::Out>,
    {
        let contents = AggregatingStart::new(AggregateValue(aggregate), function, None);
        self.general("AggregateProcess", |_| contents)
    }
}
