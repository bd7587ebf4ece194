//! Graphs written as a line, for the tests of this crate.
//!
//! ```text
//!   src#posts -> Map / source p2; Window*#counts / from0:HASH; Print / sink p1 from1
//!   ───────────────  ─────────
//!   operators         attributes: source sink pN maxN group=G untimed restamps from<vertex>[:<kind>[:<input>]]
//!   Name*#uid         `*` keeps state
//! ```

use wiesel_core::{RuntimeExecutionMode, VertexId};

use crate::{
    GraphDefaults, GraphError, JobGraph, Partitioning, StreamEdge, StreamGraph, StreamOperator,
    StreamVertex,
};

pub(crate) const DEFAULTS: GraphDefaults = GraphDefaults {
    parallelism: 2,
    max_parallelism: None,
    auto_generate_uids: true,
    runtime_mode: RuntimeExecutionMode::Streaming,
};

/// Flink's textbook pipeline, with parallelism 2 and a sink of 1.
pub(crate) const TEXTBOOK: &str = "Source: clicks#clicks -> Map -> Filter / source; \
     Window(10 s)*#counts / from0:HASH restamps; Sink: print / sink p1 untimed from1";

/// The graph that `script` describes.
pub(crate) fn graph(script: &str) -> StreamGraph<()> {
    let mut graph = StreamGraph::new();
    let mut edges = Vec::new();
    for (target, vertex) in script.split(';').enumerate() {
        let (chain, attributes) = vertex.split_once('/').unwrap_or((vertex, ""));
        let mut vertex = StreamVertex::new(chain.split("->").map(operator).collect(), ());
        for attribute in attributes.split_whitespace() {
            if let Some(from) = attribute.strip_prefix("from") {
                edges.push(edge(from, VertexId(target as u32)));
            } else {
                apply(&mut vertex, attribute);
            }
        }
        graph.add_vertex(vertex);
    }
    for edge in edges {
        graph.add_edge(edge);
    }
    graph
}

/// What `script` translates to.
pub(crate) fn translate(script: &str) -> Result<JobGraph<()>, GraphError> {
    JobGraph::translate("clicks", &graph(script), &DEFAULTS)
}

/// The job graph of a script that is right.
pub(crate) fn job(script: &str) -> JobGraph<()> {
    translate(script).unwrap()
}

fn operator(text: &str) -> StreamOperator {
    let (text, serves) = text.split_once('@').map_or((text, None), |(t, v)| (t, Some(v)));
    let (name, uid) =
        text.trim().split_once('#').map_or((text.trim(), None), |(n, u)| (n, Some(u)));
    let operator = StreamOperator::new(name.trim_end_matches('*'));
    let mut operator = if name.ends_with('*') { operator.stateful() } else { operator };
    operator.serves = serves.map(|vertex| VertexId(vertex.trim().parse().unwrap()));
    match uid {
        Some(uid) => operator.uid(uid),
        None => operator,
    }
}

fn apply(vertex: &mut StreamVertex<()>, attribute: &str) {
    match attribute {
        "source" => vertex.is_source = true,
        "unbounded" => vertex.is_unbounded = true,
        "sink" => vertex.is_sink = true,
        "untimed" => vertex.reads_time = false,
        "restamps" => vertex.forwards_time = false,
        _ => {
            if let Some(group) = attribute.strip_prefix("group=") {
                vertex.slot_sharing_group = Some(group.to_owned());
            } else if let Some(max) = attribute.strip_prefix("max") {
                vertex.max_parallelism = Some(max.parse().unwrap());
            } else {
                vertex.parallelism = Some(attribute.strip_prefix('p').unwrap().parse().unwrap());
            }
        }
    }
}

fn edge(from: &str, target: VertexId) -> StreamEdge {
    let mut parts = from.split(':');
    let source = VertexId(parts.next().unwrap().parse().unwrap());
    let partitioning = parts.next().filter(|kind| !kind.is_empty());
    let partitioning = partitioning.map(|kind| match kind {
        "FORWARD" => Partitioning::Forward,
        "HASH" => Partitioning::Hash,
        "REBALANCE" => Partitioning::Rebalance,
        "RESCALE" => Partitioning::Rescale,
        "BROADCAST" => Partitioning::Broadcast,
        "GLOBAL" => Partitioning::Global,
        other => panic!("no partitioning {other}"),
    });
    let input = parts.next().map_or(0, |input| input.parse().unwrap());
    let needs_hash = matches!(partitioning, Some(Partitioning::Hash));
    StreamEdge {
        input,
        needs_hash,
        ..StreamEdge::new(source, target, partitioning, "Click", 0xc11c)
    }
}
