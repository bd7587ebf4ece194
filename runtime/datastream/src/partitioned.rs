//! Where a chain breaks, and how its records get to the subtasks of the next one.
//!
//! ```text
//!   forward                     0 ──▶ 0    to the subtask of the same number
//!   start_new_chain             0 ──▶ 0    the same; one after the other where the numbers differ
//!   rebalance, shuffle          0 ──▶ any  one after the other, or at random
//!   rescale                     0 ──▶ 0 1  one after the other among those nearby
//!   key_by, partition_custom    0 ──▶ any  all of a key to the same one
//!   broadcast                   0 ──▶ all
//!   global                      0 ──▶ 0    from every subtask
//! ```
//!
//! # What is always true
//!
//! 1. Each of these methods is an edge of the graph, and what follows runs as tasks of their own.
//! 2. Records from one subtask to another keep their order.

use std::sync::Arc;

use wiesel_graph::CustomPartitioner;
use wiesel_operators::{Chain, FrameStart, KeyByTo, Start};
use wiesel_record::{FnView, Key, Record};

use crate::{
    DataStream, FrameStream, KeyedStream,
    builder::{EdgeParts, Exchange},
    stream::{forward_edge, frame_stream},
};

impl<T: Record, S: Start, C: Chain<S::Out, Out = T>> DataStream<T, S, C> {
    /// A new vertex `name` after an edge of this kind.
    fn exchanged(self, name: &str, exchange: Exchange) -> FrameStream<T> {
        let (builder, has_time) = (self.builder.clone(), self.has_time);
        let vertex = builder.open_vertex(name);
        self.close_to(exchange, vertex, 0);
        frame_stream(builder, vertex, has_time)
    }

    /// Breaks the chain: what follows runs as tasks of its own, on the same subtasks.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// env.from_collection([1_u64, 2]).start_new_chain().map(|n| n + 1).print(); // In tasks of its own.
    /// ```
    pub fn start_new_chain(self) -> FrameStream<T> {
        self.exchanged("Forward", Exchange::Auto)
    }

    /// Runs what `operators` adds as tasks of its own: a break before and a break after.
    ///
    /// ```
    /// # use wiesel_datastream::Environment;
    /// # let env = Environment::new();
    /// env.from_collection([1_u64]).disable_chaining(|n| n.map(|n| n + 1)).print();
    /// ```
    pub fn disable_chaining<O: Record, D: Chain<T, Out = O>>(
        self,
        operators: impl FnOnce(FrameStream<T>) -> DataStream<O, FrameStart<T>, D>,
    ) -> FrameStream<O> {
        operators(self.start_new_chain()).start_new_chain()
    }

    /// Breaks the chain: what follows runs on `parallelism` subtasks.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// env.from_collection([1_u64, 2]).parallelism(1).map(|n| n + 1).print(); // By one subtask.
    /// ```
    pub fn parallelism(self, parallelism: u32) -> FrameStream<T> {
        self.exchanged("Forward", Exchange::Auto).set_parallelism(parallelism)
    }

    /// Deals records out round robin.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// env.from_collection([1_u64, 2, 3]).rebalance().map(|n| n + 1).print();
    /// ```
    pub fn rebalance(self) -> FrameStream<T> {
        self.exchanged("Rebalance", Exchange::Rebalance)
    }

    /// Deals records out round robin among the subtasks nearby.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// // Each of two sources has two of the four subtasks of the map.
    /// let numbers = env.from_collection([1_u64, 2, 3]).set_parallelism(2);
    /// numbers.rescale().map(|n| n + 1).set_parallelism(4).print();
    /// ```
    pub fn rescale(self) -> FrameStream<T> {
        self.exchanged("Rescale", Exchange::Rescale)
    }

    /// Deals records out at random.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// env.from_collection([1_u64, 2, 3]).shuffle().map(|n| n + 1).print();
    /// ```
    pub fn shuffle(self) -> FrameStream<T> {
        self.exchanged("Shuffle", Exchange::Shuffle)
    }

    /// Gives every subtask every record.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// env.from_collection([1_u64, 2]).broadcast().print(); // Each as often as there are subtasks.
    /// ```
    pub fn broadcast(self) -> FrameStream<T> {
        self.exchanged("Broadcast", Exchange::Broadcast)
    }

    /// Gives all records to the first subtask.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// env.from_collection([1_u64, 2]).rebalance().map(|n| n + 1).global().print(); // By one subtask.
    /// ```
    pub fn global(self) -> FrameStream<T> {
        self.exchanged("Global", Exchange::Global)
    }

    /// Keeps records on the subtask of the same number. If the numbers of both sides differ, the graph of the job is an error.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// env.from_collection([1_u64, 2]).forward().map(|n| n + 1).print();
    /// ```
    pub fn forward(self) -> FrameStream<T> {
        self.exchanged("Forward", Exchange::Forward)
    }

    /// Partitions by key: everything after this sees the records of one key on one subtask, in order.
    ///
    /// ```
    /// # use wiesel_datastream::Environment;
    /// # let env = Environment::new();
    /// env.from_collection(["a".to_owned(), "b".to_owned()])
    ///     .key_by::<String>(|word| word) // the key is a `&str`: nothing is allocated to look it up
    ///     .count()
    ///     .print();
    /// ```
    pub fn key_by<K: Key>(
        self,
        key_of: impl for<'a> FnView<'a, T::View<'a>, K::View<'a>> + Clone + Send + 'static,
    ) -> KeyedStream<
        T,
        K,
        impl for<'a> FnView<'a, T::View<'a>, K::View<'a>> + Clone + Send + 'static,
        S,
        C,
    > {
        KeyedStream::new(self, key_of)
    }

    /// Partitions by a function of the key's hash and the number of subtasks.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// // Hashes in the lower half go to the first half of the subtasks.
    /// let scaled = |hash: u64, subtasks: u32| ((u128::from(hash) * u128::from(subtasks)) >> 64) as u32;
    /// env.from_collection([(7_u64, 1_u64), (8, 2)]).partition_custom::<u64>(scaled, |(user, _)| user).print();
    /// ```
    pub fn partition_custom<K: Key>(
        self,
        partitioner: impl Fn(u64, u32) -> u32 + Send + Sync + 'static,
        key_of: impl for<'a> FnView<'a, T::View<'a>, K::View<'a>> + Clone + Send + 'static,
    ) -> FrameStream<T> {
        let (builder, has_time) = (self.builder.clone(), self.has_time);
        let vertex = builder.open_vertex("Custom");
        let custom: CustomPartitioner = Arc::new(partitioner);
        let edge = forward_edge::<T>(self.vertex, vertex);
        builder.edge(EdgeParts { exchange: Exchange::Custom, custom: Some(custom), ..edge });
        let chain = KeyByTo::<C, K, _>::new(self.chain, key_of);
        Self::close(&builder, self.vertex, self.start, chain);
        frame_stream(builder, vertex, has_time)
    }
}
