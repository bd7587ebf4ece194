//! The translation: from what the user said to what will run, with every decision made and checked.
//!
//! ```text
//!   StreamGraph                        JobGraph
//!   parallelism?         ─────────▶    parallelism, key groups
//!   partitioning?        ─────────▶    FORWARD if equal, else REBALANCE
//!   uid?                 ─────────▶    uid of every operator
//!   who reads time?      ─────────▶    which edges carry the columns of time and hash
//!   group?               ─────────▶    slot sharing group, and what its slots need
//! ```
//!
//! # What is always true
//!
//! 1. Vertices and edges keep their order; edge `i` of the job is edge `i` of the program.
//! 2. `outputs` of a vertex are in the order in which its factory knows them, `inputs` in the order of its head.
//! 3. The graph is acyclic, every vertex is a source or has inputs 0..n with one edge each.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use wiesel_core::{MAX_PARALLELISM_LIMIT, VertexId, default_max_parallelism};

use crate::{
    Fingerprint, GraphDefaults, GraphError, Partitioning, ResourceProfile, StreamEdge, StreamGraph,
    StreamVertex, explain, resources, runtime_mode, slots, uids,
};

/// A job, ready to be expanded and deployed.
#[derive(Clone, Debug)]
pub struct JobGraph<F> {
    /// The name given to `execute`.
    pub name: String,
    /// Indexed by [`VertexId`].
    pub vertices: Vec<JobVertex<F>>,
    /// In the order of the program.
    pub edges: Vec<JobEdge>,
    /// Whether keyed operators see one key after the other.
    pub is_batch: bool,
    /// What a slot of each group needs, where the program says it.
    pub resources: BTreeMap<String, ResourceProfile>,
}

/// One chain, as it will run.
#[derive(Clone, Debug)]
pub struct JobVertex<F> {
    /// Its position.
    pub id: VertexId,
    /// From the head to the end of the chain.
    pub operators: Vec<JobOperator>,
    /// Subtasks.
    pub parallelism: u32,
    /// Key groups.
    pub max_parallelism: u32,
    /// Vertices of one group share slots.
    pub slot_sharing_group: String,
    /// Whether it has an enumerator instead of inputs.
    pub is_source: bool,
    /// Whether something leaves the job here.
    pub is_sink: bool,
    /// What the plan prints.
    pub parameters: Vec<(String, String)>,
    /// Builds the chain.
    pub factory: F,
}

/// One operator of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobOperator {
    /// Its name in plans.
    pub name: String,
    /// Its identity in snapshots.
    pub uid: String,
    /// Whether nobody gave it one.
    pub is_uid_generated: bool,
    /// Whether it keeps state.
    pub is_stateful: bool,
    /// Whether each of its subtasks is restored from the lists of all.
    pub has_union_state: bool,
}

/// One edge, as it will run.
#[derive(Clone, Debug)]
pub struct JobEdge {
    /// The chain that it leaves.
    pub source: VertexId,
    /// Which output of that chain.
    pub output: u32,
    /// The chain that it enters.
    pub target: VertexId,
    /// Which input of that chain.
    pub input: u32,
    /// How records are spread.
    pub partitioning: Partitioning,
    /// The side output that it carries; `None` is the main output.
    pub side_output: Option<String>,
    /// Whether frames have the column of event times.
    pub has_time: bool,
    /// Whether frames have the column of key hashes.
    pub has_hash: bool,
    /// The name of the record type.
    pub record: String,
    /// The hash of its schema.
    pub schema_hash: u64,
    /// The partitioner as the program names it, or `AUTO`: what was chosen for it depends on the parallelism.
    pub(crate) said: &'static str,
}

impl<F: Clone> JobGraph<F> {
    /// Translates what the user said.
    ///
    /// # Errors
    ///
    /// If it cannot run; the message says what to change in the program.
    pub fn translate(
        name: &str,
        graph: &StreamGraph<F>,
        defaults: &GraphDefaults,
    ) -> Result<Self, GraphError> {
        if !graph.vertices.iter().any(|vertex| vertex.is_sink) {
            return Err(GraphError::NoSink);
        }
        check_inputs(graph)?;
        let is_batch = runtime_mode::is_batch(graph, defaults.runtime_mode)?;
        let order = topological_order(graph)?;
        let groups = slot_sharing_groups(graph, &order);
        let mut resources = resources::profiles(&graph.groups)?;
        resources.retain(|group, _| groups.contains(group));
        let mut chains = uids::assign(graph, &order, defaults.auto_generate_uids)?;
        let mut vertices = Vec::with_capacity(graph.vertices.len());
        for (index, vertex) in graph.vertices.iter().enumerate() {
            let (parallelism, max_parallelism) = widths(vertex, defaults)?;
            vertices.push(JobVertex {
                id: VertexId(index as u32),
                operators: std::mem::take(&mut chains[index]),
                parallelism,
                max_parallelism,
                slot_sharing_group: groups[index].clone(),
                is_source: vertex.is_source,
                is_sink: vertex.is_sink,
                parameters: vertex.parameters.clone(),
                factory: vertex.factory.clone(),
            });
        }
        let timed = timed(graph, &order);
        let edges = graph.edges.iter().enumerate();
        let edges = edges
            .map(|(at, edge)| {
                let output = graph.edges[..at].iter().filter(|e| e.source == edge.source).count();
                let has_time = timed[edge.target.index()];
                job_edge(edge, output as u32, has_time, &vertices)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { name: name.to_owned(), vertices, edges, is_batch, resources })
    }
}

impl<F> JobGraph<F> {
    /// A vertex.
    ///
    /// # Panics
    ///
    /// If there is none with this id.
    pub fn vertex(&self, id: VertexId) -> &JobVertex<F> {
        &self.vertices[id.index()]
    }

    /// The edges into `vertex` with their positions in `edges`, in order of its inputs.
    pub fn inputs(&self, vertex: VertexId) -> Vec<(usize, &JobEdge)> {
        let edges = self.edges.iter().enumerate();
        let mut inputs: Vec<_> = edges.filter(|(_, edge)| edge.target == vertex).collect();
        inputs.sort_by_key(|(_, edge)| edge.input);
        inputs
    }

    /// The edges out of `vertex` with their positions in `edges`, in order of its outputs.
    pub fn outputs(&self, vertex: VertexId) -> Vec<(usize, &JobEdge)> {
        self.edges.iter().enumerate().filter(|(_, edge)| edge.source == vertex).collect()
    }

    /// The slot sharing groups in order of appearance, each with its slots.
    pub fn slots_by_group(&self) -> Vec<(&str, Range<u32>)> {
        slots::by_group(self)
    }

    /// The same for every process that ran the same program with the same arguments, at any parallelism.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.identity())
    }

    /// The text under the fingerprint. When two fingerprints differ, the difference of the texts says why.
    pub fn identity(&self) -> String {
        explain::identity(self)
    }

    /// The plan, to be read.
    pub fn explain(&self) -> String {
        explain::text(self)
    }

    /// The plan as JSON, with the names of Flink's `/jobs/:id/plan` where it has them. Keys are in order.
    pub fn explain_json(&self) -> String {
        explain::json(self)
    }
}

impl<F> JobVertex<F> {
    /// Its operators, joined by arrows as in Flink.
    pub fn name(&self) -> String {
        let names: Vec<_> = self.operators.iter().map(|operator| operator.name.as_str()).collect();
        names.join(" -> ")
    }

    /// What messages call it: the first uid that the user gave to one of its operators, else its head's.
    pub fn uid(&self) -> &str {
        let given = self.operators.iter().find(|operator| !operator.is_uid_generated);
        &given.unwrap_or(&self.operators[0]).uid
    }
}

/// Sources have no inputs, the others have inputs 0..n with one edge each.
fn check_inputs<F>(graph: &StreamGraph<F>) -> Result<(), GraphError> {
    for (index, vertex) in graph.vertices.iter().enumerate() {
        let operator = vertex.name();
        let edges = graph.edges.iter().filter(|edge| edge.target.index() == index);
        let inputs: Vec<_> = edges.map(|edge| edge.input).collect();
        match (vertex.is_source, inputs.len()) {
            (true, 0) => continue,
            (true, _) => return Err(GraphError::SourceWithInput { operator }),
            (false, 0) => return Err(GraphError::NoInput { operator }),
            (false, _) => {}
        }
        // Of n inputs numbered at random, one below n is missing or double, unless all are there.
        let count = |input| inputs.iter().filter(|other| **other == input).count();
        for input in 0..inputs.len() as u32 {
            if count(input) != 1 {
                return Err(GraphError::Inputs { operator, input, edges: count(input) });
            }
        }
    }
    Ok(())
}

/// Sources before targets; among equals, the order of the program.
fn topological_order<F>(graph: &StreamGraph<F>) -> Result<Vec<VertexId>, GraphError> {
    let count = graph.vertices.len();
    let mut missing = vec![0_usize; count];
    for edge in &graph.edges {
        missing[edge.target.index()] += 1;
    }
    let mut ready: BTreeSet<usize> = (0..count).filter(|vertex| missing[*vertex] == 0).collect();
    let mut order = Vec::with_capacity(count);
    while let Some(next) = ready.pop_first() {
        order.push(VertexId(next as u32));
        for edge in graph.edges.iter().filter(|edge| edge.source.index() == next) {
            let target = edge.target.index();
            missing[target] -= 1;
            if missing[target] == 0 {
                ready.insert(target);
            }
        }
    }
    match missing.iter().position(|missing| *missing > 0) {
        None => Ok(order),
        Some(stuck) => Err(GraphError::Cycle { operator: graph.vertices[stuck].name() }),
    }
}

/// As said; else as the inputs, if they agree; else `default`. As in Flink.
fn slot_sharing_groups<F>(graph: &StreamGraph<F>, order: &[VertexId]) -> Vec<String> {
    let mut groups: Vec<String> = vec![String::new(); graph.vertices.len()];
    for vertex in order {
        let edges = graph.edges.iter().filter(|edge| edge.target == *vertex);
        let inputs: BTreeSet<_> = edges.map(|edge| groups[edge.source.index()].clone()).collect();
        let agreed = if inputs.len() == 1 { inputs.into_iter().next() } else { None };
        let said = graph.vertices[vertex.index()].slot_sharing_group.clone();
        groups[vertex.index()] = said.or(agreed).unwrap_or_else(|| "default".to_owned());
    }
    groups
}

/// Which vertices want the event time of their input: for themselves, or for who comes after them.
fn timed<F>(graph: &StreamGraph<F>, order: &[VertexId]) -> Vec<bool> {
    let mut timed = vec![false; graph.vertices.len()];
    for id in order.iter().rev() {
        let vertex = &graph.vertices[id.index()];
        let wanted = |edge: &StreamEdge| edge.source == *id && timed[edge.target.index()];
        let behind = vertex.forwards_time && graph.edges.iter().any(wanted);
        timed[id.index()] = vertex.reads_time || behind;
    }
    timed
}

/// Parallelism and max parallelism.
fn widths<F>(vertex: &StreamVertex<F>, defaults: &GraphDefaults) -> Result<(u32, u32), GraphError> {
    let operator = vertex.name();
    let parallelism = vertex.parallelism.unwrap_or(defaults.parallelism);
    if parallelism == 0 {
        return Err(GraphError::ZeroParallelism { operator });
    }
    let max_parallelism = vertex
        .max_parallelism
        .or(defaults.max_parallelism)
        .unwrap_or_else(|| default_max_parallelism(parallelism));
    if !(1..=MAX_PARALLELISM_LIMIT).contains(&max_parallelism) {
        return Err(GraphError::MaxParallelism { operator, max_parallelism });
    }
    if parallelism > max_parallelism {
        return Err(GraphError::AboveMaxParallelism { operator, parallelism, max_parallelism });
    }
    Ok((parallelism, max_parallelism))
}

fn job_edge<F>(
    edge: &StreamEdge,
    output: u32,
    has_time: bool,
    vertices: &[JobVertex<F>],
) -> Result<JobEdge, GraphError> {
    let (source, target) = (&vertices[edge.source.index()], &vertices[edge.target.index()]);
    let is_equal = source.parallelism == target.parallelism;
    let partitioning = match &edge.partitioning {
        None if is_equal => Partitioning::Forward,
        None => Partitioning::Rebalance,
        Some(Partitioning::Forward) if !is_equal => {
            return Err(GraphError::UnequalForward {
                source_name: source.name(),
                source_parallelism: source.parallelism,
                target_name: target.name(),
                target_parallelism: target.parallelism,
            });
        }
        Some(partitioning) => partitioning.clone(),
    };
    Ok(JobEdge {
        source: edge.source,
        output,
        target: edge.target,
        input: edge.input,
        has_hash: edge.needs_hash,
        partitioning,
        side_output: edge.side_output.clone(),
        has_time,
        record: edge.record.clone(),
        schema_hash: edge.schema_hash,
        said: edge.partitioning.as_ref().map_or("AUTO", Partitioning::name),
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        GraphDefaults, JobGraph,
        testing::{DEFAULTS, TEXTBOOK, graph, job, translate},
    };

    /// The edges of the job that `script` describes, or the error.
    #[track_caller]
    fn check(script: &str, expected: &str) {
        let found = translate(script).map(|job| {
            let edge = |edge: &crate::JobEdge| {
                let columns = match (edge.has_time, edge.has_hash) {
                    (true, true) => "time hash",
                    (true, false) => "time",
                    (false, true) => "hash",
                    (false, false) => "-",
                };
                let partitioning = edge.partitioning.name();
                format!(
                    "{}.{} {partitioning} {}.{} {columns}",
                    edge.source, edge.output, edge.target, edge.input
                )
            };
            job.edges.iter().map(edge).collect::<Vec<_>>().join(", ")
        });
        assert_eq!(found.unwrap_or_else(|error| error.to_string()), expected);
    }

    #[test]
    fn an_edge_without_a_partitioner_forwards_if_it_can() {
        check("a / source; b / sink from0", "0.0 FORWARD 1.0 time");
        check("a / source; b / sink p1 from0", "0.0 REBALANCE 1.0 time");
        check("a / source; b / sink p1 from0:RESCALE", "0.0 RESCALE 1.0 time");
    }

    #[test]
    fn outputs_are_numbered_as_the_program_makes_them() {
        check(
            "a / source; b / sink from0:HASH; c / source; d / sink from0:BROADCAST:1 from2::0",
            "0.0 HASH 1.0 time hash, 0.1 BROADCAST 3.1 time, 2.0 FORWARD 3.0 time",
        );
    }

    #[test]
    fn edges_carry_event_time_only_where_somebody_behind_them_reads_it() {
        check("a / source; b / sink untimed from0", "0.0 FORWARD 1.0 -");
        check(
            "a / source; b / untimed from0; c / sink from1",
            "0.0 FORWARD 1.0 time, 1.0 FORWARD 2.0 time",
        );
        check(
            "a / source; b / untimed restamps from0; c / sink from1",
            "0.0 FORWARD 1.0 -, 1.0 FORWARD 2.0 time",
        );
        check(TEXTBOOK, "0.0 HASH 1.0 time hash, 1.0 REBALANCE 2.0 -");
    }

    #[test]
    fn what_cannot_run_says_what_to_change() {
        check("a / source", "nothing to run: no sink (end a stream with a sink such as `print()`)");
        check(
            "a / source; b / sink p0 from0",
            "the parallelism of `b` is 0: it must be at least 1",
        );
        check(
            "a / source; b / sink max40000 from0",
            "the max parallelism of `b` is 40000: it must be between 1 and 32768",
        );
        check(
            "a / source; b -> c / sink p9 max8 from0",
            "the parallelism of `b -> c` is 9, above its max parallelism of 8: lower one or raise the other",
        );
        check(
            "a / source; b / sink p1 from0:FORWARD",
            "`a` (parallelism 2) cannot forward to `b` (parallelism 1): use `rebalance()` or `rescale()` between \
             them, or make them equal",
        );
        check(
            "a / source; b / sink",
            "`b` has no input and is not a source: connect a stream to it",
        );
        check(
            "a / source; b / source sink from0",
            "`b` is a source but has an input: remove the edge into it",
        );
        check(
            "a / source; b / sink from0 from0",
            "input 0 of `b` has 2 edges instead of one: merge streams with `union()`",
        );
        check(
            "a / source; b / sink from0::1",
            "input 0 of `b` has 0 edges instead of one: merge streams with `union()`",
        );
        check(
            "a / source; b / from0 from2::1; c / from1; d / sink from2",
            "`b` is part of a cycle: a stream cannot flow back into itself",
        );
    }

    #[test]
    fn defaults_hold_where_the_program_says_nothing() {
        let defaults = GraphDefaults { parallelism: 3, max_parallelism: Some(64), ..DEFAULTS };
        let widths = |defaults: &GraphDefaults| {
            let job =
                JobGraph::translate("j", &graph("a / source p1; b / sink max9 from0"), defaults);
            job.unwrap()
                .vertices
                .iter()
                .map(|v| (v.parallelism, v.max_parallelism))
                .collect::<Vec<_>>()
        };
        assert_eq!(widths(&defaults), [(1, 64), (3, 9)]);
        assert_eq!(widths(&DEFAULTS), [(1, 128), (2, 9)]);
    }

    #[test]
    fn a_group_is_inherited_where_the_inputs_agree() {
        let job = job("a / source group=x; b / from0; c / source; d / sink from1::0 from2::1");
        let groups: Vec<_> = job.vertices.iter().map(|v| v.slot_sharing_group.as_str()).collect();
        assert_eq!(groups, ["x", "x", "default", "default"]);
    }

    #[test]
    fn the_fingerprint_is_the_programs_and_not_the_clusters() {
        let textbook = job(TEXTBOOK).fingerprint();
        assert_eq!(textbook, job(TEXTBOOK).fingerprint());
        assert_eq!(textbook, job(&TEXTBOOK.replace("p1", "p7")).fingerprint());
        for other in ["clicks#posts", "10 s->11 s", "Filter->Reject", "HASH->REBALANCE"] {
            let (from, to) = other.split_once("->").unwrap_or(("clicks#clicks", other));
            let changed = job(&TEXTBOOK.replacen(from, to, 1)).fingerprint();
            assert_ne!(textbook, changed, "{other}");
        }
    }

    #[test]
    fn messages_name_a_chain_by_a_uid_that_its_user_gave() {
        let job = job("Source: clicks -> Map#mapped / source; Sink / sink from0");
        assert_eq!(job.vertices[0].uid(), "mapped");
        assert!(job.vertices[1].uid().starts_with("sink-"));
    }
}
