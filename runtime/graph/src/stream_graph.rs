//! What the user said.
//!
//! ```text
//!   env.source(..).uid("posts").map(..).filter(..)     one chain: vertex 0, three operators
//!      .key_by(..)                                     a break: an edge with HASH
//!      .window(..).count().uid("counts")               vertex 1
//! ```
//!
//! The API adds a vertex where a chain ends, and an edge where the next one begins.

use wiesel_core::{
    RuntimeExecutionMode, VertexId,
    config::{Configuration, options},
};

use crate::{Partitioning, SlotSharingGroup};

/// Chains and the edges between them. `F` builds a chain on its shard; nothing here looks into it.
///
/// ```
/// use wiesel_core::config::Configuration;
/// use wiesel_graph::{
///     ExecutionGraph, GraphDefaults, JobGraph, Partitioning, StreamEdge, StreamGraph, StreamOperator,
///     StreamVertex,
/// };
///
/// let mut graph = StreamGraph::new();
/// let posts = StreamOperator::new("Source: posts").uid("posts");
/// let source = StreamVertex::new(vec![posts, StreamOperator::new("Map")], "a factory");
/// let source = graph.add_vertex(StreamVertex { is_source: true, ..source });
/// let counts = StreamOperator::new("Count").uid("counts").stateful();
/// let sink = graph.add_vertex(StreamVertex { is_sink: true, ..StreamVertex::new(vec![counts], "another") });
/// graph.add_edge(StreamEdge::new(source, sink, Some(Partitioning::Hash), "Post", 7));
///
/// let defaults = GraphDefaults::from_config(&Configuration::new(), 4); // `auto` is one subtask per slot.
/// let job = JobGraph::translate("count posts", &graph, &defaults)?;
/// let expanded = ExecutionGraph::expand(&job);
/// assert_eq!((expanded.subtasks().len(), expanded.slot_count()), (8, 4));
/// # Ok::<(), wiesel_graph::GraphError>(())
/// ```
#[derive(Clone, Debug)]
pub struct StreamGraph<F> {
    pub(crate) vertices: Vec<StreamVertex<F>>,
    pub(crate) edges: Vec<StreamEdge>,
    pub(crate) groups: Vec<SlotSharingGroup>,
}

/// One chain.
#[derive(Clone, Debug)]
pub struct StreamVertex<F> {
    /// From the head to the end of the chain; at least one.
    pub operators: Vec<StreamOperator>,
    /// Subtasks, if the user said.
    pub parallelism: Option<u32>,
    /// Key groups, if the user said.
    pub max_parallelism: Option<u32>,
    /// The slot sharing group, if the user said. Else that of the inputs if they agree, else `default`.
    pub slot_sharing_group: Option<String>,
    /// Whether it makes records from nothing: it has no inputs and an enumerator.
    pub is_source: bool,
    /// Whether it is a source that does not end by itself.
    pub is_unbounded: bool,
    /// Whether something leaves the job here.
    pub is_sink: bool,
    /// Whether its operators look at the event time of a record. When in doubt, yes.
    pub reads_time: bool,
    /// Whether records leave it with the event time with which they came. Windows and watermark strategies set
    /// their own.
    pub forwards_time: bool,
    /// What the plan prints: options of the operators, parameters of the job that they use.
    pub parameters: Vec<(String, String)>,
    /// Builds the chain.
    pub factory: F,
}

/// One operator of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamOperator {
    /// Its name in plans: `Map`, `Source: posts`.
    pub name: String,
    /// Its identity in snapshots, if the user gave one.
    pub uid: Option<String>,
    /// Whether it keeps state that a snapshot must hold.
    pub is_stateful: bool,
    /// Whether each of its subtasks is restored from the lists of all.
    pub has_union_state: bool,
    /// The chain whose head it works for, if it is a part of what the program sees as one operator: a combiner in front of
    /// a window. Its uid follows from the one of that, wherever it is chained.
    pub serves: Option<VertexId>,
}

/// A break between two chains.
#[derive(Clone, Debug)]
pub struct StreamEdge {
    /// The chain that it leaves.
    pub source: VertexId,
    /// The chain that it enters.
    pub target: VertexId,
    /// Which input of the target's head, from 0. An input has one edge.
    pub input: u32,
    /// How records are spread. `None`: forward between equal parallelism, else rebalance, as in Flink.
    pub partitioning: Option<Partitioning>,
    /// The side output that it carries; `None` is the main output.
    pub side_output: Option<String>,
    /// Whether records carry the hash of their key: the target is keyed.
    pub needs_hash: bool,
    /// The name of the record type.
    pub record: String,
    /// The hash of its schema.
    pub schema_hash: u64,
}

/// What holds where the program says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphDefaults {
    /// Subtasks of a chain.
    pub parallelism: u32,
    /// Key groups; `None` leaves each chain room to grow.
    pub max_parallelism: Option<u32>,
    /// Whether stateful operators may do without a uid.
    pub auto_generate_uids: bool,
    /// How the job is run.
    pub runtime_mode: RuntimeExecutionMode,
}

impl GraphDefaults {
    /// From the configuration, on a cluster of `slots`, which is the parallelism when it says `auto`.
    pub fn from_config(config: &Configuration, slots: u32) -> Self {
        Self {
            parallelism: config.get(&options::PARALLELISM_DEFAULT).unwrap_or(slots),
            max_parallelism: config.get(&options::MAX_PARALLELISM),
            auto_generate_uids: config.get(&options::AUTO_GENERATE_UIDS),
            runtime_mode: config.get(&options::RUNTIME_MODE),
        }
    }
}

impl<F> Default for StreamGraph<F> {
    fn default() -> Self {
        Self { vertices: Vec::new(), edges: Vec::new(), groups: Vec::new() }
    }
}

impl<F> StreamGraph<F> {
    /// Nothing was said yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a chain. Ids count from 0.
    ///
    /// # Panics
    ///
    /// If it has no operator.
    pub fn add_vertex(&mut self, vertex: StreamVertex<F>) -> VertexId {
        assert!(!vertex.operators.is_empty(), "a chain has an operator");
        let id = u32::try_from(self.vertices.len()).expect("fewer than 2^32 chains");
        self.vertices.push(vertex);
        VertexId(id)
    }

    /// Adds a break. Returns which output of its source it is: the factory finds its partition there.
    ///
    /// # Panics
    ///
    /// If one of its ends was not added before.
    pub fn add_edge(&mut self, edge: StreamEdge) -> usize {
        assert!(edge.source.index() < self.vertices.len(), "no vertex {}", edge.source);
        assert!(edge.target.index() < self.vertices.len(), "no vertex {}", edge.target);
        let output = self.edges.iter().filter(|other| other.source == edge.source).count();
        self.edges.push(edge);
        output
    }

    /// Says what the slots of a group need. One that no chain is in has no effect.
    pub fn register_slot_sharing_group(&mut self, group: SlotSharingGroup) {
        self.groups.push(group);
    }

    /// A chain, to say more about it.
    ///
    /// # Panics
    ///
    /// If it was not added.
    pub fn vertex_mut(&mut self, id: VertexId) -> &mut StreamVertex<F> {
        &mut self.vertices[id.index()]
    }

    /// How many chains there are.
    pub fn vertex_count(&self) -> usize {
        self.vertices.len()
    }
}

impl<F> StreamVertex<F> {
    /// A chain of `operators`, about which nothing else was said: not a source, not a sink, and with event times.
    pub fn new(operators: Vec<StreamOperator>, factory: F) -> Self {
        Self {
            operators,
            parallelism: None,
            max_parallelism: None,
            slot_sharing_group: None,
            is_source: false,
            is_unbounded: false,
            is_sink: false,
            reads_time: true,
            forwards_time: true,
            parameters: Vec::new(),
            factory,
        }
    }

    /// The name of the chain: its operators, joined by arrows as in Flink.
    pub fn name(&self) -> String {
        let names: Vec<_> = self.operators.iter().map(|operator| operator.name.as_str()).collect();
        names.join(" -> ")
    }
}

impl StreamOperator {
    /// An operator without state and without a uid.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { name, uid: None, is_stateful: false, has_union_state: false, serves: None }
    }

    /// The same with a uid.
    #[must_use]
    pub fn uid(self, uid: impl Into<String>) -> Self {
        Self { uid: Some(uid.into()), ..self }
    }

    /// The same, keeping state.
    #[must_use]
    pub fn stateful(self) -> Self {
        Self { is_stateful: true, ..self }
    }
}

impl StreamEdge {
    /// The main output of `source` into input 0 of `target`, with records of a named type and schema.
    pub fn new(
        source: VertexId,
        target: VertexId,
        partitioning: Option<Partitioning>,
        record: impl Into<String>,
        schema_hash: u64,
    ) -> Self {
        Self {
            source,
            target,
            input: 0,
            partitioning,
            side_output: None,
            needs_hash: false,
            record: record.into(),
            schema_hash,
        }
    }
}
