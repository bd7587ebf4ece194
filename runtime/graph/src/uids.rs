//! The identity of every operator: the user's uid, or one made from the operator's place in the graph.
//!
//! ```text
//!   map-5d0c3f9a  =  name  -  hash(name, position in its chain, uid before it and on which edge)
//! ```
//!
//! # What is always true
//!
//! 1. No two operators of a job have the same uid.
//! 2. A generated uid depends on names and on what is upstream; not on parallelism, on vertex numbers or on
//!    what is downstream.
//! 3. An operator that serves another one has a uid that follows from the user's for that one: `counts-preaggregate`.
//!
//! Stateful operators need a uid of the user's, or `pipeline.auto-generate-uids`. That is on by default, as in Flink: a
//! program that is changed and started again from a checkpoint should give its own.

use std::collections::BTreeMap;

use wiesel_core::VertexId;

use crate::{Fingerprint, GraphError, JobOperator, StreamGraph, StreamOperator};

/// The operators of each vertex with their uids. `order` has sources before targets.
pub(crate) fn assign<F>(
    graph: &StreamGraph<F>,
    order: &[VertexId],
    auto_generate: bool,
) -> Result<Vec<Vec<JobOperator>>, GraphError> {
    let mut taken = given(graph)?;
    let mut chains: Vec<Vec<JobOperator>> = vec![Vec::new(); graph.vertices.len()];
    for vertex in order {
        let mut before = upstream(graph, *vertex, &chains);
        for operator in &graph.vertices[vertex.index()].operators {
            let uid = match &operator.uid {
                Some(uid) => uid.clone(),
                // That one is asked for its uid.
                None if operator.serves.is_some() => serving(graph, operator, &mut taken)
                    .unwrap_or_else(|| generate(&operator.name, &before, &mut taken)),
                None if operator.is_stateful && !auto_generate => {
                    return Err(GraphError::MissingUid { operator: operator.name.clone() });
                }
                None => generate(&operator.name, &before, &mut taken),
            };
            before.clone_from(&uid);
            chains[vertex.index()].push(JobOperator {
                name: operator.name.clone(),
                uid,
                is_uid_generated: operator.uid.is_none(),
                is_stateful: operator.is_stateful,
                has_union_state: operator.has_union_state,
            });
        }
    }
    Ok(chains)
}

/// The user's uids and who has them.
fn given<F>(graph: &StreamGraph<F>) -> Result<BTreeMap<String, String>, GraphError> {
    let mut taken = BTreeMap::new();
    for operator in graph.vertices.iter().flat_map(|vertex| &vertex.operators) {
        let Some(uid) = &operator.uid else { continue };
        let second = operator.name.clone();
        if uid.is_empty() {
            return Err(GraphError::EmptyUid { operator: second });
        }
        if let Some(first) = taken.insert(uid.clone(), second.clone()) {
            return Err(GraphError::DuplicateUid { uid: uid.clone(), first, second });
        }
    }
    Ok(taken)
}

/// The uid of an operator that serves another one with a uid of the user's, if nobody has it.
fn serving<F>(
    graph: &StreamGraph<F>,
    operator: &StreamOperator,
    taken: &mut BTreeMap<String, String>,
) -> Option<String> {
    let served = graph.vertices[operator.serves?.index()].operators[0].uid.as_ref()?;
    let name = operator.name.split('(').next().unwrap_or_default();
    let uid = format!("{served}-{}", words(name));
    (!taken.contains_key(&uid)).then(|| {
        taken.insert(uid.clone(), operator.name.clone());
        uid
    })
}

/// A name as a part of a uid: `sink-lines-in-out`.
fn words(name: &str) -> String {
    let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let words: String = name.chars().map(word).collect();
    words.split('-').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

/// What feeds the head of `vertex`: the last uid of each source, with the edge between.
fn upstream<F>(graph: &StreamGraph<F>, vertex: VertexId, chains: &[Vec<JobOperator>]) -> String {
    let edges = graph.edges.iter().filter(|edge| edge.target == vertex);
    let mut inputs: Vec<String> = edges
        .map(|edge| {
            let source = chains[edge.source.index()].last().map_or("", |last| &last.uid);
            let partitioning = edge.partitioning.as_ref().map_or("AUTO", |kind| kind.name());
            let side = edge.side_output.as_deref().unwrap_or("");
            format!("{} {source} {partitioning} {side}", edge.input)
        })
        .collect();
    inputs.sort();
    inputs.join("\n")
}

/// A uid that nobody has. Twins (equal operators on equal inputs) are numbered in the order of the program.
fn generate(name: &str, before: &str, taken: &mut BTreeMap<String, String>) -> String {
    let words = words(name);
    for twin in 0_u32.. {
        let hash = Fingerprint::of(&format!("{name}\n{twin}\n{before}")).0 as u32;
        let uid = format!("{words}-{hash:08x}");
        if !taken.contains_key(&uid) {
            taken.insert(uid.clone(), name.to_owned());
            return uid;
        }
    }
    unreachable!("fewer than 2^32 operators")
}

#[cfg(test)]
mod tests {
    use wiesel_core::VertexId;

    use crate::{GraphError, StreamGraph, testing::graph};

    /// The uids of `graph`, a line per vertex.
    #[track_caller]
    fn uids(graph: &StreamGraph<()>, auto_generate: bool) -> Result<String, GraphError> {
        let order: Vec<_> = (0..graph.vertex_count() as u32).map(VertexId).collect();
        let chains = super::assign(graph, &order, auto_generate)?;
        let chain = |operators: &Vec<crate::JobOperator>| {
            operators.iter().map(|operator| operator.uid.clone()).collect::<Vec<_>>().join(" ")
        };
        Ok(chains.iter().map(chain).collect::<Vec<_>>().join(" | "))
    }

    #[track_caller]
    fn check(script: &str, auto_generate: bool, expected: &str) {
        let found = uids(&graph(script), auto_generate);
        assert_eq!(found.unwrap_or_else(|error| error.to_string()), expected);
    }

    #[test]
    fn a_uid_is_the_users_or_made_from_the_place() {
        check(
            "src#posts -> Map -> Sink: out / source sink",
            false,
            "posts map-c1720802 sink-out-361baafe",
        );
        // Another operator upstream gives another uid; a wider vertex does not.
        check(
            "src#other -> Map -> Sink: out / source sink",
            false,
            "other map-95b78157 sink-out-924f0843",
        );
        check(
            "src#posts -> Map -> Sink: out / source sink p7",
            false,
            "posts map-c1720802 sink-out-361baafe",
        );
        check("src#a / source; Map / from0; Map / from0", false, "a | map-7df17a5f | map-a18c433c");
    }

    #[test]
    fn state_needs_a_name() {
        check(
            "src#a / source; Window* / from0:HASH",
            false,
            "`Window` keeps state but has no uid: add `.uid(\"...\")` after it, or set `pipeline.auto-generate-uids = true`",
        );
        check("src#a / source; Window*#w / from0:HASH", false, "a | w");
    }

    #[test]
    fn who_serves_another_is_called_after_it() {
        let script = "src#a -> PreAggregate(10 ms)*@1 / source; Window*#w / from0:HASH";
        check(script, false, "a w-preaggregate | w");
        // Wherever it is chained.
        let script =
            "src#a / source; Map -> PreAggregate(10 ms)*@2 / from0; Window*#w / from1:HASH";
        check(script, false, "a | map-7df17a5f w-preaggregate | w");
        check(
            "src#a -> PreAggregate(10 ms)*@1 / source; Window* / from0:HASH",
            false,
            "`Window` keeps state but has no uid: add `.uid(\"...\")` after it, or set `pipeline.auto-generate-uids = true`",
        );
    }

    #[test]
    fn names_are_not_shared() {
        check(
            "src#a -> Map#a",
            true,
            "uid `a` is used twice, by `src` and by `Map`: give each operator its own",
        );
        check("src# -> Map", true, "the uid of `src` is empty: give it a name, or none");
    }
}
