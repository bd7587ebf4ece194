//! The graph while the program says it: vertices that are open, edges between them.
//!
//! A stream holds a handle to this and the number of its vertex. Operators that are chained only leave their
//! name here; where a chain breaks, its factory is left as well and an edge leads to the next vertex.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use wiesel_core::{Blame, TaskFailure};
use wiesel_graph::{GraphError, SlotSharingGroup};
use wiesel_operators::{Head, OperatorStateRegistry, side_output};
use wiesel_record::Record;
use wiesel_task::{BuildContext, TaskFactory};

use crate::{sink::SinkPreparation, source::EnumeratorFactory};

/// A handle to the graph under construction.
#[derive(Clone, Default)]
pub struct GraphBuilder(Rc<RefCell<GraphParts>>);

/// What has been said so far.
#[derive(Default)]
pub struct GraphParts {
    /// Vertices, by number.
    pub vertices: Vec<VertexParts>,
    /// Edges, in the order in which they were made.
    pub edges: Vec<EdgeParts>,
    /// Slot sharing groups, as often as one was named.
    pub groups: Vec<SlotSharingGroup>,
    /// What was said that cannot be, first.
    pub(crate) mistake: Option<GraphError>,
}

/// One operator of a chain, for names, uids and plans.
#[derive(Clone, Debug)]
pub struct OperatorParts {
    /// What it is: `Map`, `Source: posts`.
    pub name: String,
    /// What the program calls it.
    pub uid: Option<String>,
    /// It keeps state that a restart has to bring back.
    pub is_stateful: bool,
    /// A restart brings the lists of all its subtasks to each.
    pub has_union_state: bool,
    /// The vertex whose first operator it works for, if it is no operator of the program's.
    pub serves: Option<usize>,
}

impl OperatorParts {
    fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { name, uid: None, is_stateful: false, has_union_state: false, serves: None }
    }
}

/// One vertex: a chain.
#[derive(Default)]
pub struct VertexParts {
    /// Its operators, front to back.
    pub operators: Vec<OperatorParts>,
    /// Subtasks, if the program says so; else the job's default.
    pub parallelism: Option<u32>,
    /// Key groups, if the program says so; else the job's.
    pub max_parallelism: Option<u32>,
    /// Runs at one subtask whatever the default is.
    pub single: bool,
    /// Which slots it may share.
    pub slot_sharing_group: Option<String>,
    /// It is a source that does not end by itself.
    pub is_unbounded: bool,
    /// The chain ends in a sink.
    pub is_sink: bool,
    /// Its operators look at event times.
    pub reads_time: bool,
    /// Its operators start futures, which a helper polls.
    pub needs_helper: bool,
    /// It is no vertex of the graph any more: its edges lead to another one, or its job was started.
    pub is_gone: bool,
    /// Makes the enumerator, if this is a source.
    pub enumerator: Option<Box<dyn EnumeratorFactory>>,
    /// Looks at the world before the job runs, if this ends in a sink that needs to.
    pub preparation: Option<Box<dyn SinkPreparation>>,
    /// Makes the chain, once its end is known.
    pub factory: Option<Box<dyn TaskFactory>>,
    side_wirings: Vec<SideWiring>,
    /// Side outputs that its operators have declared, by tag.
    sides: BTreeMap<String, SideParts>,
}

struct SideParts {
    slot: usize,
    type_name: &'static str,
}

/// How records find their subtask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// To the subtask of the same number; round robin where the numbers differ.
    Auto,
    /// To the subtask of the same number; both sides have as many.
    Forward,
    /// By key group.
    Hash,
    /// Round robin.
    Rebalance,
    /// Round robin among the subtasks nearby.
    Rescale,
    /// At random.
    Shuffle,
    /// To every subtask.
    Broadcast,
    /// To the first subtask.
    Global,
    /// By a function of the program.
    Custom,
}

/// One edge.
pub struct EdgeParts {
    /// The producer.
    pub source: usize,
    /// The consumer.
    pub target: usize,
    /// Which of the consumer's inputs.
    pub input: usize,
    /// How records find their subtask.
    pub exchange: Exchange,
    /// Whether records carry the hash of their key, for the consumer.
    pub needs_hash: bool,
    /// The function behind [`Exchange::Custom`].
    pub custom: Option<wiesel_graph::CustomPartitioner>,
    /// The side output that feeds it, if it is not the main one.
    pub tag: Option<String>,
    /// The record type, for plans.
    pub type_name: String,
    /// The hash of its schema.
    pub schema_hash: u64,
}

/// Wires one side output: which edge, which slot, and how for its type.
#[derive(Clone, Copy)]
struct SideWiring {
    edge: usize,
    slot: usize,
    put: fn(&mut BuildContext, usize, usize) -> Result<(), TaskFailure>,
}

fn put_side<S: Record>(
    build: &mut BuildContext,
    edge: usize,
    slot: usize,
) -> Result<(), TaskFailure> {
    let output = build.output::<S>(edge)?;
    build.task().put_side::<S>(slot, side_output(output));
    Ok(())
}

/// A type's name without paths: `Counted<String>` for `my::Counted<alloc::string::String>`.
pub(crate) fn short_type_name<T>() -> String {
    let full = std::any::type_name::<T>();
    let mut short = String::with_capacity(full.len());
    for part in full.split_inclusive(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | ':'))) {
        let word_end = part.trim_end_matches(|c: char| !(c.is_alphanumeric() || c == '_')).len();
        let word = &part[..word_end];
        short.push_str(word.rsplit("::").next().unwrap_or(word));
        short.push_str(&part[word_end..]);
    }
    short
}

impl VertexParts {
    /// The operator that was chained last keeps state.
    pub(crate) fn keeps_state(&mut self) {
        if let Some(operator) = self.operators.last_mut() {
            operator.is_stateful = true;
        }
    }

    /// The operator that was chained last keeps what its function has registered.
    pub(crate) fn keeps(&mut self, states: &OperatorStateRegistry) {
        if let Some(operator) = self.operators.last_mut() {
            operator.is_stateful |= !states.is_empty();
            operator.has_union_state |= states.has_union();
        }
    }
}

impl GraphBuilder {
    /// An empty graph.
    ///
    /// ```
    /// let builder = wiesel_datastream::GraphBuilder::new();
    /// builder.with(|graph| assert!(graph.vertices.is_empty()));
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads or changes the parts.
    ///
    /// ```
    /// # let builder = wiesel_datastream::GraphBuilder::new();
    /// builder.with(|graph| assert!(graph.edges.is_empty()));
    /// ```
    pub fn with<R>(&self, change: impl FnOnce(&mut GraphParts) -> R) -> R {
        change(&mut self.0.borrow_mut())
    }

    /// Leaves of what was said only the names, for whoever goes on with a stream of it. Numbers go on.
    pub(crate) fn clear(&self) {
        self.with(|graph| {
            for vertex in &mut graph.vertices {
                let operators = std::mem::take(&mut vertex.operators);
                *vertex = VertexParts { operators, is_gone: true, ..VertexParts::default() };
            }
            graph.edges.clear();
            graph.mistake = None;
        });
    }

    /// Opens a vertex whose first operator is `name`.
    pub(crate) fn open_vertex(&self, name: impl Into<String>) -> usize {
        self.with(|graph| {
            let operators = vec![OperatorParts::new(name)];
            graph.vertices.push(VertexParts { operators, ..VertexParts::default() });
            graph.vertices.len() - 1
        })
    }

    /// Keeps what cannot be, for whoever asks for the graph: a method of a stream returns no error. The first is kept.
    pub(crate) fn mistake(&self, operator: impl Into<String>, what: impl Into<String>) {
        let mistake = GraphError::Mistake { operator: operator.into(), what: what.into() };
        self.with(|graph| graph.mistake.get_or_insert(mistake).clone());
    }

    /// The same, if there is anything to say.
    pub(crate) fn mistake_of(&self, operator: impl Into<String>, what: Option<String>) {
        if let Some(what) = what {
            self.mistake(operator, what);
        }
    }

    /// Whether a stream of the other can be an input of `operator`: whether both are of one graph. If not, neither can be had.
    pub(crate) fn can_take(&self, other: &Self, operator: &str) -> bool {
        let is_one = Rc::ptr_eq(&self.0, &other.0);
        if !is_one {
            let what = "its inputs are of two environments: make all sources of a job in one";
            [self, other].iter().for_each(|builder| builder.mistake(operator, what));
        }
        is_one
    }

    /// What the operator that was chained last to `vertex` is.
    pub(crate) fn last_name(&self, vertex: usize) -> String {
        self.vertex(vertex, |vertex| {
            vertex.operators.last().map_or("", |last| &last.name).to_owned()
        })
    }

    /// Changes vertex `vertex`.
    pub(crate) fn vertex<R>(&self, vertex: usize, change: impl FnOnce(&mut VertexParts) -> R) -> R {
        self.with(|graph| change(&mut graph.vertices[vertex]))
    }

    /// Chains an operator to `vertex`; gives its position there.
    pub(crate) fn chained(&self, vertex: usize, name: &str) -> usize {
        self.vertex(vertex, |vertex| {
            vertex.operators.push(OperatorParts::new(name));
            vertex.operators.len() - 1
        })
    }

    /// Chains what combines records for the operator of vertex `served`, in slices of this size; gives its position.
    pub(crate) fn combiner(&self, vertex: usize, size_ms: i64, served: usize) -> usize {
        let position = self.chained(vertex, &format!("PreAggregate({size_ms} ms)"));
        self.vertex(vertex, |vertex| {
            vertex.reads_time = true;
            vertex.keeps_state();
            vertex.operators[position].serves = Some(served);
        });
        position
    }

    /// Says what the first operator of `vertex` is called.
    pub(crate) fn name_first(&self, vertex: usize, name: &str) {
        self.vertex(vertex, |vertex| {
            if let Some(operator) = vertex.operators.first_mut() {
                operator.name = name.to_owned();
            }
        });
    }

    /// Says on how many subtasks `vertex` runs. A chain has one number.
    pub(crate) fn set_parallelism(&self, vertex: usize, parallelism: u32) {
        let said = self.vertex(vertex, |vertex| {
            let said = if vertex.single { Some(1) } else { vertex.parallelism };
            vertex.parallelism = Some(said.unwrap_or(parallelism));
            said.filter(|said| *said != parallelism).map(|said| (said, vertex.single))
        });
        let what = match said {
            None => return,
            Some((_, true)) => format!(
                "one subtask has a window of all records, and what is chained to it: break the chain behind the window \
                 with `.parallelism({parallelism})`"
            ),
            Some((said, false)) => format!(
                "a chain has one parallelism, and this one has {said} already: leave one out, or break the chain between them \
                 with `.parallelism({parallelism})`"
            ),
        };
        self.mistake(self.last_name(vertex), what);
    }

    /// Leads the edge into `other`, which was just opened, to input `input` of `vertex` instead.
    pub(crate) fn absorb(&self, vertex: usize, other: usize, input: usize) {
        self.with(|graph| {
            for edge in graph.edges.iter_mut().filter(|edge| edge.target == other) {
                (edge.target, edge.input) = (vertex, input);
            }
            graph.vertices[other].is_gone = true;
        });
        if let Some(said) = self.vertex(other, |other| other.parallelism) {
            self.set_parallelism(vertex, said);
        }
    }

    /// Adds an edge; gives its number among the outputs of its producer.
    pub(crate) fn edge(&self, edge: EdgeParts) -> usize {
        self.with(|graph| {
            let of_source = graph.edges.iter().filter(|other| other.source == edge.source);
            let number = of_source.count();
            graph.edges.push(edge);
            number
        })
    }

    /// Declares a side output of `vertex` and gives its slot. Each has one writer, and a name of its own.
    pub(crate) fn declare_side<S: Record>(&self, vertex: usize, tag: &str) -> usize {
        let (slot, other) = self.vertex(vertex, |vertex| {
            let slot = vertex.sides.len();
            let side = SideParts { slot, type_name: std::any::type_name::<S>() };
            (slot, vertex.sides.insert(tag.to_owned(), side))
        });
        if other.is_some() {
            let what = format!(
                "its chain has a side output `{tag}` already: give each a name of its own, and `union` them if they are one"
            );
            self.mistake(self.last_name(vertex), what);
        }
        slot
    }

    /// The slot of side output `tag`, if `vertex` declared it with this type.
    pub(crate) fn side_slot<S: Record>(&self, vertex: usize, tag: &str) -> Option<usize> {
        self.vertex(vertex, |vertex| {
            let side = vertex.sides.get(tag)?;
            (side.type_name == std::any::type_name::<S>()).then_some(side.slot)
        })
    }

    /// Names the side outputs of `vertex`, for messages.
    pub(crate) fn side_names(&self, vertex: usize) -> Vec<String> {
        self.vertex(vertex, |vertex| vertex.sides.keys().cloned().collect())
    }

    /// Connects side output `tag` of `vertex` to the new vertex `target`.
    pub(crate) fn connect_side<S: Record>(
        &self,
        vertex: usize,
        slot: usize,
        tag: &str,
        target: usize,
    ) {
        if self.vertex(vertex, |vertex| vertex.side_wirings.iter().any(|side| side.slot == slot)) {
            let what =
                format!("its side output `{tag}` is taken twice: take it once, and `share` it");
            self.mistake(self.last_name(vertex), what);
        }
        let edge = self.edge(EdgeParts {
            source: vertex,
            target,
            input: 0,
            exchange: Exchange::Auto,
            needs_hash: false,
            custom: None,
            tag: Some(tag.to_owned()),
            type_name: short_type_name::<S>(),
            schema_hash: S::SCHEMA.hash,
        });
        let wiring = SideWiring { edge, slot, put: put_side::<S> };
        self.vertex(vertex, |vertex| vertex.side_wirings.push(wiring));
    }

    /// Closes `vertex`: `make` builds its chain once the side outputs are wired.
    pub(crate) fn close_vertex<F>(&self, vertex: usize, make: F)
    where
        F: Fn(&mut BuildContext) -> Result<Box<dyn Head>, TaskFailure> + Clone + Send + 'static,
    {
        self.vertex(vertex, |vertex| {
            let wirings = vertex.side_wirings.clone();
            vertex.factory = Some(Box::new(move |build: &mut BuildContext| {
                for wiring in &wirings {
                    (wiring.put)(build, wiring.edge, wiring.slot)?;
                }
                make(build)
            }));
        });
    }
}

/// The error of a chain whose graph promised another number of outputs.
pub(crate) fn wrong_outputs(found: usize) -> TaskFailure {
    let cause = format!("the chain ends in one output, the graph has {found}");
    TaskFailure::new(Blame::Runtime, "wire a chain", cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_names_lose_their_paths() {
        assert_eq!(short_type_name::<String>(), "String");
        assert_eq!(short_type_name::<(u64, Vec<Option<String>>)>(), "(u64, Vec<Option<String>>)");
        assert_eq!(short_type_name::<[std::time::Duration; 2]>(), "[Duration; 2]");
    }
}
