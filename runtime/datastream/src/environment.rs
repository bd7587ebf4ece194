//! Where a program starts: sources on an empty graph, and the graph when everything is said.

use std::{collections::BTreeMap, marker::PhantomData, path};

use wiesel_connectors::{Collection, Source};
use wiesel_core::VertexId;
use wiesel_graph::{
    GraphDefaults, GraphError, JobGraph, Partitioning, SlotSharingGroup, StreamEdge, StreamGraph,
    StreamOperator, StreamVertex,
};
use wiesel_operators::Nothing;
use wiesel_record::Record;
use wiesel_task::TaskFactory;

use crate::{
    DataStream, Exchange, FrameStream, GraphBuilder, HandFedStart, HandFeed, VertexParts,
    builder::EdgeParts,
    source::{EnumeratorFactory, SourceStart},
};

/// The name of the side output of a source for lines that it could not read.
pub const BAD_LINES: &str = "bad-lines";

/// A stream right after its source.
pub type SourceStream<S> =
    DataStream<<S as Source>::Record, SourceStart<S>, Nothing<<S as Source>::Record>>;

/// The code behind a vertex: what the runtime builds from, opaque to the graph.
#[derive(Clone)]
pub struct VertexCode {
    /// Builds the chain of a subtask.
    pub task: Box<dyn TaskFactory>,
    /// Makes the enumerator, if the chain starts at a source.
    pub source: Option<Box<dyn EnumeratorFactory>>,
    /// Looks at the world before the job runs, if the chain ends in a sink that needs to.
    pub sink: Option<Box<dyn crate::sink::SinkPreparation>>,
    /// It starts futures, which a helper beside the shards polls.
    pub needs_helper: bool,
}

/// Collects what the program says. `wiesel::StreamExecutionEnvironment` is this with a configuration and a
/// cluster behind it.
#[derive(Clone, Default)]
pub struct Environment {
    builder: GraphBuilder,
}

impl Environment {
    /// An empty program.
    ///
    /// ```
    /// let env = wiesel_datastream::Environment::new();
    /// env.from_collection([1_u64, 2]).print();
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// A stream of what `source` reads.
    ///
    /// ```
    /// use wiesel_connectors::{DataGen, Lines};
    ///
    /// # let env = wiesel_datastream::Environment::new();
    /// env.source(Lines::files("logs/*.log.gz")).print();
    /// env.source(DataGen::new(|tick| tick.number).count(1_000)).print(); // 0 to 999
    /// ```
    pub fn source<S: Source>(&self, source: S) -> SourceStream<S> {
        let vertex = self.builder.open_vertex(format!("Source: {}", source.describe()));
        let slot = self.builder.declare_side::<String>(vertex, BAD_LINES);
        let is_unbounded = !source.is_bounded();
        let start = SourceStart::new(source, slot);
        self.builder.vertex(vertex, |vertex| {
            vertex.enumerator = Some(Box::new(start.clone()));
            vertex.is_unbounded = is_unbounded;
            vertex.keeps_state();
        });
        DataStream {
            builder: self.builder.clone(),
            vertex,
            start,
            chain: Nothing::new(),
            has_time: false,
            types: PhantomData,
        }
    }

    /// A stream of records that the program has in memory: for tests and first steps.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// env.from_collection([(7_u64, "be".to_owned()), (8, "or".to_owned())]).print();
    /// ```
    pub fn from_collection<T: Record + Clone>(
        &self,
        records: impl IntoIterator<Item = T>,
    ) -> SourceStream<Collection<T>>
    where
        Collection<T>: Source<Record = T>,
    {
        self.source(Collection::new(records))
    }

    /// A stream of what a test feeds into it, and what feeds it. Its source has one subtask; what follows has as many as
    /// the job.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// # use wiesel_core::Timestamp;
    /// let (numbers, feed) = env.hand_fed::<u64>();
    /// let doubled = numbers.map(|n| n * 2).collect();
    /// // When the job runs:
    /// feed.record(7, Some(Timestamp::from_millis(1_000)));
    /// feed.watermark(Timestamp::from_millis(1_000));
    /// feed.end();
    /// # drop(doubled);
    /// ```
    pub fn hand_fed<T: Record>(&self) -> (FrameStream<T>, HandFeed<T>) {
        let feed = HandFeed::new();
        let vertex = self.builder.open_vertex("Source: fed by hand");
        let start = HandFedStart(feed.clone());
        self.builder.vertex(vertex, |vertex| {
            vertex.single = true;
            vertex.enumerator = Some(Box::new(start.clone()));
        });
        let stream = DataStream {
            builder: self.builder.clone(),
            vertex,
            start,
            chain: Nothing::new(),
            has_time: true,
            types: PhantomData,
        };
        (stream.start_new_chain(), feed)
    }

    /// Says what each slot of a group needs; operators are in the group by its name. Flink's
    /// `registerSlotSharingGroup`.
    ///
    /// ```
    /// # use wiesel_datastream::Environment;
    /// use wiesel_graph::SlotSharingGroup;
    ///
    /// # let env = Environment::new();
    /// let joins = SlotSharingGroup::new("joins").cpu_cores(1.0).task_heap_memory("512 mb");
    /// env.register_slot_sharing_group(joins);
    /// env.from_collection([1_u64]).rebalance().map(|n| n + 1).slot_sharing_group("joins").print();
    /// ```
    ///
    /// Plans show it. A job that needs more cores or more memory than the machine has is refused; a slot that needs a
    /// whole core has one to itself. Once the job runs nothing limits what a slot takes.
    ///
    /// Two profiles for one name, one that is not positive, and one of more than a core (a slot is one thread) are errors of
    /// [`job_graph`](Self::job_graph).
    pub fn register_slot_sharing_group(&self, group: SlotSharingGroup) {
        self.builder.with(|graph| graph.groups.push(group));
    }

    /// The graph of all that was said.
    ///
    /// ```
    /// use wiesel_core::config::Configuration;
    /// use wiesel_graph::GraphDefaults;
    ///
    /// # let env = wiesel_datastream::Environment::new();
    /// env.from_collection([1_u64, 2]).map(|n| n * 2).print();
    /// let graph = env.job_graph("double", &GraphDefaults::from_config(&Configuration::new(), 2))?;
    /// assert!(graph.explain().contains("Map"));
    /// # Ok::<(), wiesel_graph::GraphError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If a stream does not end in a sink, or the graph cannot be run as it is: also the first of the mistakes that methods of
    /// streams could not return, such as a window of no length.
    pub fn job_graph(
        &self,
        name: &str,
        defaults: &GraphDefaults,
    ) -> Result<JobGraph<VertexCode>, GraphError> {
        let graph = self.builder.with(|parts| -> Result<_, GraphError> {
            if let Some(mistake) = &parts.mistake {
                return Err(mistake.clone());
            }
            if let Some(edge) = parts.edges.iter().find(|e| parts.vertices[e.source].is_gone) {
                let operators = &parts.vertices[edge.source].operators;
                let operator = operators.last().map_or("", |operator| &operator.name).to_owned();
                let what = "its job was started already: make the streams of the next one from sources of its own";
                return Err(GraphError::Mistake { operator, what: what.to_owned() });
            }
            check_folders(&parts.vertices)?;
            let mut graph = StreamGraph::new();
            let mut ids = Vec::with_capacity(parts.vertices.len());
            let mut next = 0;
            for vertex in &parts.vertices {
                // One that is gone has no edge: nobody asks for its number.
                ids.push(VertexId(next));
                next += u32::from(!vertex.is_gone);
            }
            for vertex in parts.vertices.iter().filter(|vertex| !vertex.is_gone) {
                graph.add_vertex(stream_vertex(vertex, &ids)?);
            }
            for edge in &parts.edges {
                graph.add_edge(stream_edge(edge, &ids));
            }
            for group in &parts.groups {
                graph.register_slot_sharing_group(group.clone());
            }
            Ok(graph)
        })?;
        JobGraph::translate(name, &graph, defaults)
    }

    /// Begins the next job: what was said so far is not in its graph.
    ///
    /// ```
    /// # let env = wiesel_datastream::Environment::new();
    /// env.from_collection([1_u64, 2]).print();
    /// env.clear();
    /// env.from_collection([3_u64]).print(); // The only pipeline.
    /// ```
    pub fn clear(&self) {
        self.builder.clear();
    }
}

/// A folder of output is one sink's alone: two would give their files the same names. Here by its name: the graph is made
/// without a look at the disk. What has two names is refused when the job starts, see `Sink::own`.
fn check_folders(vertices: &[VertexParts]) -> Result<(), GraphError> {
    let mut folders = BTreeMap::new();
    for vertex in vertices {
        let Some(folder) = vertex.preparation.as_ref().and_then(|sink| sink.folder()) else {
            continue;
        };
        let name = vertex.operators.last().map_or("", |operator| &operator.name);
        let absolute = path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        if let Some(first) = folders.insert(absolute, name) {
            let (first, second) = (first.to_owned(), name.to_owned());
            let folder = folder.display().to_string();
            return Err(GraphError::SharedFolder { folder, first, second });
        }
    }
    Ok(())
}

fn stream_vertex(
    vertex: &VertexParts,
    ids: &[VertexId],
) -> Result<StreamVertex<VertexCode>, GraphError> {
    let last = vertex.operators.last().map_or("", |operator| &operator.name);
    let Some(task) = vertex.factory.clone() else {
        return Err(GraphError::OpenStream { operator: last.to_owned() });
    };
    let code = VertexCode {
        task,
        source: vertex.enumerator.clone(),
        sink: vertex.preparation.clone(),
        needs_helper: vertex.needs_helper,
    };
    let operators: Vec<StreamOperator> = vertex
        .operators
        .iter()
        .map(|operator| StreamOperator {
            name: operator.name.clone(),
            uid: operator.uid.clone(),
            is_stateful: operator.is_stateful,
            has_union_state: operator.has_union_state,
            serves: operator.serves.map(|vertex| ids[vertex]),
        })
        .collect();
    let mut stream_vertex = StreamVertex::new(operators, code);
    stream_vertex.parallelism = if vertex.single { Some(1) } else { vertex.parallelism };
    stream_vertex.max_parallelism = vertex.max_parallelism;
    stream_vertex.slot_sharing_group.clone_from(&vertex.slot_sharing_group);
    stream_vertex.is_source = vertex.enumerator.is_some();
    stream_vertex.is_unbounded = vertex.is_unbounded;
    stream_vertex.is_sink = vertex.is_sink;
    stream_vertex.reads_time = vertex.reads_time;
    Ok(stream_vertex)
}

fn stream_edge(edge: &EdgeParts, ids: &[VertexId]) -> StreamEdge {
    let partitioning = match edge.exchange {
        Exchange::Auto => None,
        Exchange::Forward => Some(Partitioning::Forward),
        Exchange::Hash => Some(Partitioning::Hash),
        Exchange::Rebalance => Some(Partitioning::Rebalance),
        Exchange::Rescale => Some(Partitioning::Rescale),
        Exchange::Shuffle => Some(Partitioning::Shuffle),
        Exchange::Broadcast => Some(Partitioning::Broadcast),
        Exchange::Global => Some(Partitioning::Global),
        Exchange::Custom => edge.custom.clone().map(Partitioning::Custom),
    };
    StreamEdge {
        source: ids[edge.source],
        target: ids[edge.target],
        input: edge.input as u32,
        partitioning,
        side_output: edge.tag.clone(),
        needs_hash: edge.needs_hash,
        record: edge.type_name.clone(),
        schema_hash: edge.schema_hash,
    }
}

#[cfg(test)]
mod tests;
