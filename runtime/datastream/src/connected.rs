//! Two streams of different types into one operator: what remains to be said is what happens to the records of each.
//!
//! ```text
//!   first  ── edge to input 0 ─┐
//!                              ├─▶ one vertex, whose watermark is the least of both
//!   second ── edge to input 1 ─┘
//! ```
//!
//! # What is always true
//!
//! 1. Between the records of two streams there is no order.
//!
//! Keyed streams are connected in `keyed_connected.rs`.

use std::marker::PhantomData;

use wiesel_operators::{
    Chain, CoFlatMap, CoMap, CoProcessFunction, CoStart, Nothing, OperatorStateRegistry, Start,
};
use wiesel_record::{Out, Record};

use crate::{
    DataStream, OutputTag,
    builder::{Exchange, GraphBuilder},
};

/// What comes out of a function over two streams.
pub type CoStream<T1, T2, F> = DataStream<
    <F as CoProcessFunction<T1, T2>>::Out,
    CoStart<T1, T2, F>,
    Nothing<<F as CoProcessFunction<T1, T2>>::Out>,
>;

/// Two streams into one operator without keys.
#[must_use = "connected streams do nothing until a function is applied to them: `.map(.., ..)`, `.flat_map::<O>(.., ..)`, `.process(..)`"]
pub struct ConnectedStreams<T1: Record, T2: Record> {
    pub(crate) builder: GraphBuilder,
    pub(crate) vertex: usize,
    has_time: bool,
    types: PhantomData<fn(T1, T2)>,
}

impl<T: Record, S: Start, C: Chain<S::Out, Out = T>> DataStream<T, S, C> {
    /// This stream and another, of another type, into one operator.
    ///
    /// ```
    /// # use wiesel_datastream::Environment;
    /// # let env = Environment::new();
    /// let numbers = env.from_collection([1_u64, 2]);
    /// let words = env.from_collection(["three".to_owned()]);
    /// numbers.connect(words).map(|n| n, |word| word.len() as u64).print();
    /// ```
    pub fn connect<T2, S2, C2>(self, other: DataStream<T2, S2, C2>) -> ConnectedStreams<T, T2>
    where
        T2: Record,
        S2: Start,
        C2: Chain<S2::Out, Out = T2>,
    {
        self.connect_by(other, Exchange::Auto)
    }

    /// As [`connect`](Self::connect), with another way for the records of the other stream.
    pub(crate) fn connect_by<T2, S2, C2>(
        self,
        other: DataStream<T2, S2, C2>,
        exchange: Exchange,
    ) -> ConnectedStreams<T, T2>
    where
        T2: Record,
        S2: Start,
        C2: Chain<S2::Out, Out = T2>,
    {
        let (builder, has_time) = (self.builder.clone(), self.has_time && other.has_time);
        let vertex = builder.open_vertex("Connect");
        builder.can_take(&other.builder, "Connect");
        self.close_to(Exchange::Auto, vertex, 0);
        other.close_to(exchange, vertex, 1);
        ConnectedStreams { builder, vertex, has_time, types: PhantomData }
    }
}

impl<T1: Record, T2: Record> ConnectedStreams<T1, T2> {
    fn start<F: CoProcessFunction<T1, T2>>(
        self,
        name: &str,
        function: F,
        side_slot: Option<usize>,
        reads_time: bool,
    ) -> CoStream<T1, T2, F> {
        let mut states = OperatorStateRegistry::default();
        function.initialize_state(&mut states);
        self.start_with(name, &states, reads_time, CoStart::new(function, side_slot))
    }

    /// Starts the chain behind both exchanges.
    pub(crate) fn start_with<S: Start>(
        self,
        name: &str,
        states: &OperatorStateRegistry,
        reads_time: bool,
        start: S,
    ) -> DataStream<S::Out, S, Nothing<S::Out>> {
        self.builder.name_first(self.vertex, name);
        self.builder.vertex(self.vertex, |vertex| {
            vertex.reads_time |= reads_time;
            vertex.keeps(states);
        });
        DataStream {
            builder: self.builder,
            vertex: self.vertex,
            start,
            chain: Nothing::new(),
            has_time: self.has_time,
            types: PhantomData,
        }
    }

    /// Builds a value from each record, by the function of its stream.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// let numbers = env.from_collection([1_u64, 2]);
    /// let words = env.from_collection(["three".to_owned()]);
    /// numbers.connect(words).map(|n| n.to_string(), |word| word.to_owned()).print(); // 1, 2, three
    /// ```
    pub fn map<O, A, B>(self, first: A, second: B) -> CoStream<T1, T2, CoMap<A, B, O>>
    where
        O: Record,
        A: for<'a> Fn(T1::View<'a>) -> O + Clone + Send + 'static,
        B: for<'a> Fn(T2::View<'a>) -> O + Clone + Send + 'static,
    {
        self.start("CoMap", CoMap::new(first, second), None, false)
    }

    /// Any number of views out of each record, by the function of its stream.
    ///
    /// ```
    /// # use wiesel_datastream::Environment;
    /// # let env = Environment::new();
    /// let lines = env.from_collection(["to be or".to_owned()]);
    /// let pairs = env.from_collection([("not".to_owned(), "to be".to_owned())]);
    /// lines
    ///     .connect(pairs)
    ///     .flat_map::<String>(
    ///         |line, out| line.split(' ').for_each(|word| out.emit(word)),
    ///         |(a, b), out| {
    ///             out.emit(a);
    ///             out.emit(b);
    ///         },
    ///     )
    ///     .print();
    /// ```
    pub fn flat_map<O: Record>(
        self,
        first: impl for<'a, 'e> Fn(T1::View<'a>, &'e mut dyn Out<O>) + Clone + Send + 'static,
        second: impl for<'a, 'e> Fn(T2::View<'a>, &'e mut dyn Out<O>) + Clone + Send + 'static,
    ) -> CoStream<T1, T2, impl CoProcessFunction<T1, T2, Out = O>> {
        self.start("CoFlatMap", CoFlatMap::new(first, second), None, false)
    }

    /// Processes record by record, with the event time at hand.
    ///
    /// ```
    /// use wiesel_operators::{FunctionError, CoProcessFunction, ProcessContext};
    /// use wiesel_record::Out;
    ///
    /// /// Numbers, and how long words are.
    /// #[derive(Clone)]
    /// struct Lengths;
    ///
    /// impl CoProcessFunction<u64, String> for Lengths {
    ///     type Out = u64;
    ///     type Side = ();
    ///
    ///     fn process1(
    ///         &mut self,
    ///         number: u64,
    ///         _context: &mut ProcessContext<'_, ()>,
    ///         out: &mut dyn Out<u64>,
    ///     ) -> Result<(), FunctionError> {
    ///         out.emit(number);
    ///         Ok(())
    ///     }
    ///
    ///     fn process2(
    ///         &mut self,
    ///         word: &str,
    ///         _context: &mut ProcessContext<'_, ()>,
    ///         out: &mut dyn Out<u64>,
    ///     ) -> Result<(), FunctionError> {
    ///         out.emit(word.len() as u64);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # let env = wiesel_datastream::Environment::new();
    /// let words = env.from_collection(["three".to_owned()]);
    /// env.from_collection([1_u64, 2]).connect(words).process(Lengths).print();
    /// ```
    pub fn process<F: CoProcessFunction<T1, T2>>(self, function: F) -> CoStream<T1, T2, F> {
        self.start("CoProcess", function, None, true)
    }

    /// As [`process`](Self::process); what the function puts aside is in
    /// [`get_side_output`](DataStream::get_side_output) of what this returns.
    ///
    /// ```
    /// # use wiesel_datastream::OutputTag;
    /// use wiesel_operators::{FunctionError, CoProcessFunction, ProcessContext};
    /// use wiesel_record::Out;
    ///
    /// /// Numbers; words that are none are put aside.
    /// #[derive(Clone)]
    /// struct Numbers;
    ///
    /// impl CoProcessFunction<u64, String> for Numbers {
    ///     type Out = u64;
    ///     type Side = String;
    ///
    ///     fn process1(
    ///         &mut self,
    ///         number: u64,
    ///         _context: &mut ProcessContext<'_, String>,
    ///         out: &mut dyn Out<u64>,
    ///     ) -> Result<(), FunctionError> {
    ///         out.emit(number);
    ///         Ok(())
    ///     }
    ///
    ///     fn process2(
    ///         &mut self,
    ///         word: &str,
    ///         context: &mut ProcessContext<'_, String>,
    ///         out: &mut dyn Out<u64>,
    ///     ) -> Result<(), FunctionError> {
    ///         word.parse().map_or_else(|_| context.side(word), |number| out.emit(number));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # let env = wiesel_datastream::Environment::new();
    /// let words = env.from_collection(["3".to_owned(), "four".to_owned()]);
    /// let others = OutputTag::new("others");
    /// let numbers = env.from_collection([1_u64, 2]).connect(words).process_with_side(Numbers, &others);
    /// numbers.get_side_output(&others).print(); // four
    /// numbers.print(); // 1, 2, 3
    /// ```
    pub fn process_with_side<F: CoProcessFunction<T1, T2>>(
        self,
        function: F,
        tag: &OutputTag<F::Side>,
    ) -> CoStream<T1, T2, F> {
        let slot = self.builder.declare_side::<F::Side>(self.vertex, tag.id());
        self.start("CoProcess", function, Some(slot), true)
    }

    /// How many subtasks run the operator.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// let words = env.from_collection(["three".to_owned()]);
    /// let both = env.from_collection([1_u64, 2]).connect(words).set_parallelism(1);
    /// both.map(|n| n, |word| word.len() as u64).print();
    /// ```
    pub fn set_parallelism(self, parallelism: u32) -> Self {
        self.builder.set_parallelism(self.vertex, parallelism);
        self
    }
}
