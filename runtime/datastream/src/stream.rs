//! A stream of records: what the program chains operators on.
//!
//! ```text
//!   stream.filter(..).map(..)      grows the chain: one type, one vertex
//!   .key_by(..)  .rebalance()      breaks it: an edge, and a new vertex after it (partitioned.rs)
//! ```
//!
//! # What is always true
//!
//! 1. Where a chain breaks is in the text of the program: `key_by`, partitioners, `union`, `share`, windows,
//!    `start_new_chain`, `parallelism`. Nothing re-chains it later.
//! 2. A stream is used once. [`share`](DataStream::share) gives one that can be used several times.
//! 3. User functions are `Fn + Clone + Send + 'static`: each subtask has its own clone, and none has state.

use std::{error::Error, marker::PhantomData};

use wiesel_core::TaskFailure;
use wiesel_graph::SlotSharingGroup;
use wiesel_operators::{
    Chain, End, FanOut, FilterBy, FilterMapTo, FlatMapTo, FrameStart, Head, Link, MapTo, Nothing,
    ProjectTo, Start, Tee, TryFilterBy, TryFlatMapTo, TryMapTo,
};
use wiesel_record::{FnView, Out, Record};
use wiesel_task::BuildContext;

use crate::{
    OutputTag, SharedStream,
    builder::{EdgeParts, Exchange, GraphBuilder, short_type_name, wrong_outputs},
};

/// A stream of `T`, made by the chain `C` after the head `S`.
///
/// The two last parameters are never written: closures and chains infer them.
#[must_use = "a stream does nothing until it ends in a sink: `.print()`, `.collect()`, `.sink_to(..)`, `.write_lines(..)`"]
pub struct DataStream<T: Record, S: Start, C: Chain<S::Out, Out = T>> {
    pub(crate) builder: GraphBuilder,
    pub(crate) vertex: usize,
    pub(crate) start: S,
    pub(crate) chain: C,
    /// Whether records carry event times.
    pub(crate) has_time: bool,
    pub(crate) types: PhantomData<fn() -> T>,
}

/// A stream at the start of a vertex, right after an exchange.
pub type FrameStream<T> = DataStream<T, FrameStart<T>, Nothing<T>>;

impl<T: Record, S: Start, C: Chain<S::Out, Out = T>> DataStream<T, S, C> {
    /// Grows the chain.
    pub(crate) fn chained<O: Record, D: Chain<S::Out, Out = O>>(
        self,
        name: &str,
        grow: impl FnOnce(C) -> D,
    ) -> DataStream<O, S, D> {
        self.builder.chained(self.vertex, name);
        self.grown(grow)
    }

    /// The same vertex with a longer chain, whose last operator has been said.
    pub(crate) fn grown<O: Record, D: Chain<S::Out, Out = O>>(
        self,
        grow: impl FnOnce(C) -> D,
    ) -> DataStream<O, S, D> {
        DataStream {
            builder: self.builder,
            vertex: self.vertex,
            start: self.start,
            chain: grow(self.chain),
            has_time: self.has_time,
            types: PhantomData,
        }
    }

    /// Builds a value from each record.
    ///
    /// ```
    /// # use wiesel_datastream::Environment;
    /// # let env = Environment::new();
    /// env.from_collection([1_u64, 2]).map(|n| n * 10).print();
    /// ```
    pub fn map<O: Record, F>(self, function: F) -> DataStream<O, S, MapTo<C, F, O>>
    where
        F: for<'a> Fn(T::View<'a>) -> O + Clone + Send + 'static,
    {
        self.chained("Map", |chain| MapTo::new(chain, function))
    }

    /// Builds a value from each record; an error fails the job with operator, subtask and source position.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// let lines = env.from_collection(["1".to_owned(), "two".to_owned()]);
    /// lines.try_map(|line| line.parse::<u64>()).print(); // `two` fails the job.
    /// ```
    pub fn try_map<O: Record, E, F>(self, function: F) -> DataStream<O, S, TryMapTo<C, F, O, E>>
    where
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
        F: for<'a> Fn(T::View<'a>) -> Result<O, E> + Clone + Send + 'static,
    {
        self.chained("TryMap", |chain| TryMapTo::new(chain, function))
    }

    /// Passes on a view of each record: nothing is built. `O` is named, since a view does not tell its record.
    ///
    /// ```
    /// # use wiesel_datastream::Environment;
    /// # let env = Environment::new();
    /// env.from_collection([(1_u64, "a".to_owned())]).project::<String>(|(_, name)| name).print();
    /// ```
    pub fn project<O: Record>(
        self,
        function: impl for<'a> FnView<'a, T::View<'a>, O::View<'a>> + Clone + Send + 'static,
    ) -> DataStream<O, S, impl Chain<S::Out, Out = O>> {
        self.chained("Project", |chain| ProjectTo::new(chain, function))
    }

    /// Passes on a view of some records, and drops the others: [`filter`](Self::filter) and [`project`](Self::project) with one
    /// look at the record, for instance one kind of an enum. Where at most one record comes out it costs less than `flat_map`.
    ///
    /// ```
    /// # use wiesel_datastream::Environment;
    /// # let env = Environment::new();
    /// let named = env.from_collection([(1_u64, "a".to_owned()), (2, String::new())]);
    /// named.filter_map::<String>(|(_, name)| (!name.is_empty()).then_some(name)).print(); // a
    /// ```
    pub fn filter_map<O: Record>(
        self,
        function: impl for<'a> FnView<'a, T::View<'a>, Option<O::View<'a>>> + Clone + Send + 'static,
    ) -> DataStream<O, S, impl Chain<S::Out, Out = O>> {
        self.chained("FilterMap", |chain| FilterMapTo::new(chain, function))
    }

    /// Keeps the records for which `function` is true.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// env.from_collection([1_u64, 2, 3]).filter(|n| n % 2 == 1).print(); // 1, 3
    /// ```
    pub fn filter<F>(self, function: F) -> DataStream<T, S, FilterBy<C, F>>
    where
        F: for<'a> Fn(T::View<'a>) -> bool + Clone + Send + 'static,
    {
        self.chained("Filter", |chain| FilterBy::new(chain, function))
    }

    /// Keeps the records for which `function` is true; an error fails the job.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// let lines = env.from_collection(["1".to_owned(), "20".to_owned()]);
    /// lines.try_filter(|line| line.parse::<u64>().map(|n| n > 9)).print(); // 20
    /// ```
    pub fn try_filter<E, F>(self, function: F) -> DataStream<T, S, TryFilterBy<C, F, E>>
    where
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
        F: for<'a> Fn(T::View<'a>) -> Result<bool, E> + Clone + Send + 'static,
    {
        self.chained("TryFilter", |chain| TryFilterBy::new(chain, function))
    }

    /// Any number of views out of each record.
    ///
    /// ```
    /// # use wiesel_datastream::Environment;
    /// # let env = Environment::new();
    /// env.from_collection(["to be or".to_owned()])
    ///     .flat_map::<String>(|line, out| line.split(' ').for_each(|word| out.emit(word)))
    ///     .print();
    /// ```
    pub fn flat_map<O: Record>(
        self,
        function: impl for<'a, 'e> Fn(T::View<'a>, &'e mut dyn Out<O>) + Clone + Send + 'static,
    ) -> DataStream<O, S, impl Chain<S::Out, Out = O>> {
        self.chained("FlatMap", |chain| FlatMapTo::new(chain, function))
    }

    /// Any number of views out of each record; an error fails the job.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// let lines = env.from_collection(["1 2".to_owned(), "3".to_owned()]);
    /// lines
    ///     .try_flat_map::<u64, _>(|line, out| {
    ///         line.split(' ').try_for_each(|word| word.parse().map(|n| out.emit(n)))
    ///     })
    ///     .print(); // 1, 2, 3
    /// ```
    pub fn try_flat_map<O: Record, E>(
        self,
        function: impl for<'a, 'e> Fn(T::View<'a>, &'e mut dyn Out<O>) -> Result<(), E>
        + Clone
        + Send
        + 'static,
    ) -> DataStream<O, S, impl Chain<S::Out, Out = O>>
    where
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        self.chained("TryFlatMap", |chain| TryFlatMapTo::new(chain, function))
    }

    /// Names the last operator: its state is found by this after the program has changed, also if the operator is in another
    /// chain then. State whose uid no operator has, or another one, is an error when the job starts, unless `-n` drops it.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// let words = env.from_collection(["to".to_owned(), "be".to_owned()]).uid("words");
    /// words.key_by::<String>(|word| word).count().uid("counts").print();
    /// ```
    pub fn uid(self, uid: &str) -> Self {
        self.builder.vertex(self.vertex, |vertex| {
            if let Some(operator) = vertex.operators.last_mut() {
                operator.uid = Some(uid.to_owned());
            }
        });
        self
    }

    /// Says what the last operator is called in plans and messages.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// env.from_collection([1_u64]).map(|n| n * 60).name("minutes as seconds").print();
    /// ```
    pub fn name(self, name: &str) -> Self {
        self.builder.vertex(self.vertex, |vertex| {
            if let Some(operator) = vertex.operators.last_mut() {
                operator.name = name.to_owned();
            }
        });
        self
    }

    /// How many subtasks run the chain that this operator is in: all of it, back to the last break.
    ///
    /// Flink gives each operator its own number, and breaks chains where they differ; here
    /// [`parallelism`](Self::parallelism) does. Two numbers for one chain, or any but 1 for a window of all records, are an
    /// error of the graph.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// env.from_collection([1_u64, 2]).rebalance().map(|n| n + 1).set_parallelism(2).print();
    /// ```
    pub fn set_parallelism(self, parallelism: u32) -> Self {
        self.builder.set_parallelism(self.vertex, parallelism);
        self
    }

    /// Key groups of the chain that this operator is in.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// let counts = env.from_collection([1_u64, 2]).key_by::<u64>(|n| n % 2).count();
    /// counts.set_max_parallelism(720).print();
    /// ```
    pub fn set_max_parallelism(self, max_parallelism: u32) -> Self {
        self.builder.vertex(self.vertex, |vertex| vertex.max_parallelism = Some(max_parallelism));
        self
    }

    /// Operators of different groups do not share slots. What follows is in the group of its input, if nobody says
    /// otherwise.
    ///
    /// The group may say what its slots need, here or in
    /// [`register_slot_sharing_group`](crate::Environment::register_slot_sharing_group).
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// // The map has slots of its own; the source stays in the group `default`.
    /// env.from_collection([1_u64]).rebalance().map(|n| n + 1).slot_sharing_group("maps").print();
    /// ```
    pub fn slot_sharing_group(self, group: impl Into<SlotSharingGroup>) -> Self {
        let group = group.into();
        let name = group.name().to_owned();
        self.builder.vertex(self.vertex, |vertex| vertex.slot_sharing_group = Some(name));
        self.builder.with(|graph| graph.groups.push(group));
        self
    }

    /// Ends the vertex in the single output edge that was or will be made for it.
    pub(crate) fn close<D: Chain<S::Out, Out = T>>(
        builder: &GraphBuilder,
        vertex: usize,
        start: S,
        chain: D,
    ) {
        builder.close_vertex(vertex, move |build: &mut BuildContext| {
            let mut outputs = build.rest::<T>();
            let (Some(output), true) = (outputs.pop(), outputs.is_empty()) else {
                return Err(wrong_outputs(outputs.len()));
            };
            let end = End::new(output, build.task());
            let link = chain.clone().finish(end, build.task());
            Ok(Box::new(start.clone().head(link, build.task())?) as Box<dyn Head>)
        });
    }

    /// Ends the vertex in links of another kind: a sink.
    pub(crate) fn close_in<D: Link<T>>(
        self,
        make: impl Fn(&mut BuildContext) -> Result<D, TaskFailure> + Clone + Send + 'static,
    ) {
        let Self { builder, vertex, start, chain, .. } = self;
        builder.vertex(vertex, |vertex| vertex.is_sink = true);
        builder.close_vertex(vertex, move |build: &mut BuildContext| {
            let end = make(build)?;
            let link = chain.clone().finish(end, build.task());
            Ok(Box::new(start.clone().head(link, build.task())?) as Box<dyn Head>)
        });
    }

    /// Ends the vertex in an edge to input `input` of `target`.
    pub(crate) fn close_to(self, exchange: Exchange, target: usize, input: usize) {
        let edge = forward_edge::<T>(self.vertex, target);
        self.builder.edge(EdgeParts { input, exchange, ..edge });
        Self::close(&self.builder, self.vertex, self.start, self.chain);
    }

    /// The records of both streams, in no order between them.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// let (ours, theirs) = (env.from_collection([1_u64, 2]), env.from_collection([3_u64]));
    /// ours.union(theirs).print(); // 1, 2 and 3, in some order
    /// ```
    pub fn union<S2: Start, C2: Chain<S2::Out, Out = T>>(
        self,
        other: DataStream<T, S2, C2>,
    ) -> FrameStream<T> {
        let (builder, has_time) = (self.builder.clone(), self.has_time && other.has_time);
        let vertex = builder.open_vertex("Union");
        builder.can_take(&other.builder, "Union");
        // Both edges carry the columns that the merged stream has.
        DataStream { has_time, ..self }.close_to(Exchange::Auto, vertex, 0);
        DataStream { has_time, ..other }.close_to(Exchange::Auto, vertex, 1);
        frame_stream(builder, vertex, has_time)
    }

    /// A stream that can be used several times: each use is a vertex of its own.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// let numbers = env.from_collection([1_u64, 2, 3]).share();
    /// numbers.stream().filter(|n| n % 2 == 0).print();
    /// numbers.stream().map(|n| n * 10).print();
    /// ```
    pub fn share(self) -> SharedStream<T> {
        let Self { builder, vertex, start, chain, has_time, .. } = self;
        builder.close_vertex(vertex, move |build: &mut BuildContext| {
            let outputs = build.rest::<T>();
            let end = FanOut::new(outputs, build.task());
            let link = chain.clone().finish(end, build.task());
            Ok(Box::new(start.clone().head(link, build.task())?) as Box<dyn Head>)
        });
        SharedStream { builder, vertex, has_time, types: PhantomData }
    }

    /// Two branches, fused into this vertex: each is a chain of its own over every record.
    ///
    /// A branch is a chain without breaks; what comes out of it goes on as a stream.
    ///
    /// ```
    /// # use wiesel_datastream::Environment;
    /// # let env = Environment::new();
    /// let numbers = env.from_collection([1_u64, 2, 3]);
    /// let (even, odd) = numbers.split(|n| n.filter(|n| n % 2 == 0), |n| n.filter(|n| n % 2 == 1));
    /// even.print();
    /// odd.map(|n| n + 1).print();
    /// ```
    ///
    /// A branch cannot break the chain (`rebalance`, `start_new_chain`, …): do that with what `split` returns. Else the graph of
    /// the job is an error.
    pub fn split<A: Record, CA: Chain<T, Out = A>, B: Record, CB: Chain<T, Out = B>>(
        self,
        first: impl FnOnce(FrameStream<T>) -> DataStream<A, FrameStart<T>, CA>,
        second: impl FnOnce(FrameStream<T>) -> DataStream<B, FrameStart<T>, CB>,
    ) -> (FrameStream<A>, FrameStream<B>) {
        let Self { builder, vertex, start, chain, has_time, .. } = self;
        let branch = || frame_stream::<T>(builder.clone(), vertex, has_time);
        let name = builder.last_name(vertex);
        let (first, second) = (first(branch()), second(branch()));
        if first.vertex != vertex || second.vertex != vertex {
            let what = "a branch of `split` breaks the chain behind it: break it after the split";
            builder.mistake(name, what);
        }
        let (target_a, target_b) = (builder.open_vertex("Split"), builder.open_vertex("Split"));
        let edge_a = builder.edge(forward_edge::<A>(vertex, target_a));
        let edge_b = builder.edge(forward_edge::<B>(vertex, target_b));
        let (time_a, time_b) = (first.has_time, second.has_time);
        let (chain_a, chain_b) = (first.chain, second.chain);
        builder.close_vertex(vertex, move |build: &mut BuildContext| {
            let end_a = End::new(build.output::<A>(edge_a)?, build.task());
            let end_b = End::new(build.output::<B>(edge_b)?, build.task());
            let link_a = chain_a.clone().finish(end_a, build.task());
            let link_b = chain_b.clone().finish(end_b, build.task());
            let link = chain.clone().finish(Tee::new(link_a, link_b), build.task());
            Ok(Box::new(start.clone().head(link, build.task())?) as Box<dyn Head>)
        });
        (frame_stream(builder.clone(), target_a, time_a), frame_stream(builder, target_b, time_b))
    }

    /// What the last vertex put aside under `tag`.
    ///
    /// ```
    /// # use wiesel_core::{Timestamp, minutes, seconds};
    /// # use wiesel_operators::{Tumbling, monotonous_timestamps};
    /// # let env = wiesel_datastream::Environment::new();
    /// # let orders = env.from_collection([(7_u64, 30_u64, 1_000_i64), (8, 20, 2_000)]);
    /// # let orders = orders.watermarks(monotonous_timestamps(), |(.., at)| Timestamp::from_millis(at));
    /// # use wiesel_datastream::OutputTag;
    /// let late = OutputTag::<(u64, u64, i64)>::new("late");
    /// let counts = orders
    ///     .key_by::<u64>(|(user, ..)| user)
    ///     .window(Tumbling::event_time(minutes(1)))
    ///     .side_output_late_data(&late)
    ///     .count();
    /// counts.get_side_output(&late).print();
    /// counts.print();
    /// ```
    ///
    /// If no operator of this chain declared `tag` with this type, or it is taken twice instead of
    /// [shared](Self::share), the graph of the job is an error.
    pub fn get_side_output<O: Record>(&self, tag: &OutputTag<O>) -> FrameStream<O> {
        let slot = self.builder.side_slot::<O>(self.vertex, tag.id()).unwrap_or_else(|| {
            let known = self.builder.side_names(self.vertex).join("`, `");
            let known = if known.is_empty() { "none".to_owned() } else { format!("`{known}`") };
            let (id, of) = (tag.id(), short_type_name::<O>());
            let what = format!(
                "no operator of its chain has a side output `{id}` of {of}; it has {known}"
            );
            self.builder.mistake(self.builder.last_name(self.vertex), what);
            usize::MAX
        });
        let target = self.builder.open_vertex(format!("SideOutput: {}", tag.id()));
        self.builder.connect_side::<O>(self.vertex, slot, tag.id(), target);
        frame_stream(self.builder.clone(), target, self.has_time)
    }
}

/// A stream that starts at the exchange in front of `vertex`.
pub(crate) fn frame_stream<T: Record>(
    builder: GraphBuilder,
    vertex: usize,
    has_time: bool,
) -> FrameStream<T> {
    DataStream {
        builder,
        vertex,
        start: FrameStart::new(),
        chain: Nothing::new(),
        has_time,
        types: PhantomData,
    }
}

/// An edge to the subtask of the same number, if both sides have as many.
pub(crate) fn forward_edge<T: Record>(source: usize, target: usize) -> EdgeParts {
    EdgeParts {
        source,
        target,
        input: 0,
        exchange: Exchange::Auto,
        needs_hash: false,
        custom: None,
        tag: None,
        type_name: short_type_name::<T>(),
        schema_hash: T::SCHEMA.hash,
    }
}
