//! What the coordinator knows of the job: tasks, and whose output each of them reads.
//!
//! # What is always true
//!
//! 1. A task without inputs is a source: barriers begin there.
//! 2. Sources of a task are a run of subtasks of the vertex before it, also where all read from all.

use std::{collections::BTreeSet, ops::Range};

use wiesel_core::{SubtaskIndex, TaskId, VertexId};
use wiesel_graph::ExecutionGraph;

/// The tasks of a job and their inputs.
///
/// ```
/// use wiesel_checkpoint::Topology;
/// use wiesel_core::VertexId;
///
/// // Two sources, each read by both of two counts.
/// let mut topology = Topology::default();
/// let posts = topology.add_source(2);
/// let counts = topology.add_vertex(2, [(posts, vec![0..2, 0..2])]);
/// assert_eq!(counts, VertexId(1));
/// assert_eq!(topology.tasks().count(), 4);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Topology {
    vertices: Vec<Vertex>,
}

#[derive(Clone, Debug)]
struct Vertex {
    parallelism: u32,
    has_enumerator: bool,
    has_union_state: bool,
    /// Per input the vertex before, and for each subtask here the subtasks there.
    inputs: Vec<(VertexId, Vec<Range<u32>>)>,
}

impl Topology {
    /// That of an expanded job.
    pub fn of(graph: &ExecutionGraph) -> Self {
        let mut topology = Self::default();
        for vertex in graph.vertices() {
            let inputs = graph.inputs(vertex.id).into_iter().filter_map(|edge| {
                let mut before = None;
                let subtasks = (0..vertex.parallelism).map(|subtask| {
                    let consumer = TaskId { vertex: vertex.id, subtask: SubtaskIndex(subtask) };
                    let mut run = None;
                    for channel in graph.channels_to(edge, consumer) {
                        before = Some(channel.producer.vertex);
                        let index = channel.producer.subtask.0;
                        let Range { start, end } = run.unwrap_or(index..index + 1);
                        run = Some(start.min(index)..end.max(index + 1));
                    }
                    run.unwrap_or(0..0)
                });
                let subtasks = subtasks.collect();
                Some((before?, subtasks))
            });
            topology.vertices.push(Vertex {
                parallelism: vertex.parallelism,
                has_enumerator: vertex.is_source,
                has_union_state: vertex.operators.iter().any(|operator| operator.has_union_state),
                inputs: inputs.collect(),
            });
        }
        topology
    }

    /// Adds a source with an enumerator.
    pub fn add_source(&mut self, parallelism: u32) -> VertexId {
        let id = self.add_vertex(parallelism, []);
        self.vertices[id.index()].has_enumerator = true;
        id
    }

    /// Adds a vertex that reads, per input, for each subtask here a run of subtasks there.
    ///
    /// # Panics
    ///
    /// If an input is not a vertex that was added before, or has not one run of its subtasks for each subtask.
    pub fn add_vertex(
        &mut self,
        parallelism: u32,
        inputs: impl IntoIterator<Item = (VertexId, Vec<Range<u32>>)>,
    ) -> VertexId {
        let inputs: Vec<_> = inputs.into_iter().collect();
        for (before, runs) in &inputs {
            let sources = self.vertices[before.index()].parallelism;
            assert_eq!(runs.len(), parallelism as usize, "one run of sources for each subtask");
            assert!(runs.iter().all(|run| run.end <= sources), "vertex {before} has {sources}");
        }
        let id = VertexId(u32::try_from(self.vertices.len()).expect("fewer than 2^32 vertices"));
        let has_enumerator = false;
        self.vertices.push(Vertex { parallelism, has_enumerator, has_union_state: false, inputs });
        id
    }

    /// Says that an operator of this vertex has union list state: a checkpoint is only taken when none or all of its
    /// subtasks have finished, since each of them would need the state of all.
    ///
    /// # Panics
    ///
    /// If there is no such vertex.
    #[must_use]
    pub fn with_union_state(mut self, vertex: VertexId) -> Self {
        self.vertices[vertex.index()].has_union_state = true;
        self
    }

    /// All tasks, by vertex and subtask.
    pub fn tasks(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.vertex_ids().flat_map(|vertex| self.tasks_of(vertex))
    }

    /// Whether there is a source with an enumerator.
    pub(crate) fn has_enumerators(&self) -> bool {
        self.vertices.iter().any(|vertex| vertex.has_enumerator)
    }

    /// Whether the job has this task.
    pub(crate) fn has(&self, task: TaskId) -> bool {
        let vertex = self.vertices.get(task.vertex.index());
        vertex.is_some_and(|vertex| task.subtask.0 < vertex.parallelism)
    }

    /// Where barriers begin: running tasks that read from no running task.
    pub(crate) fn heads(&self, running: &BTreeSet<TaskId>) -> Vec<TaskId> {
        let reads_running = |task: &TaskId| {
            self.vertices[task.vertex.index()].inputs.iter().any(|(vertex, runs)| {
                let (vertex, run) = (*vertex, runs[task.subtask.index()].clone());
                let first = TaskId { vertex, subtask: SubtaskIndex(run.start) };
                let end = TaskId { vertex, subtask: SubtaskIndex(run.end) };
                run.start < run.end && running.range(first..end).next().is_some()
            })
        };
        running.iter().filter(|task| !reads_running(task)).copied().collect()
    }

    /// A vertex with union list state of which some subtasks have finished, and others have not even read all. When all have
    /// read all, nobody needs the lists any more.
    pub(crate) fn union_partly_finished(
        &self,
        finished: &BTreeSet<TaskId>,
        ended: &BTreeSet<TaskId>,
    ) -> Option<VertexId> {
        self.vertex_ids().find(|vertex| {
            let is_over = |task: &TaskId| finished.contains(task) || ended.contains(task);
            self.vertices[vertex.index()].has_union_state
                && self.tasks_of(*vertex).any(|task| finished.contains(&task))
                && !self.tasks_of(*vertex).all(|task| is_over(&task))
        })
    }

    fn vertex_ids(&self) -> impl Iterator<Item = VertexId> + use<> {
        (0..self.vertices.len() as u32).map(VertexId)
    }

    fn tasks_of(&self, vertex: VertexId) -> impl Iterator<Item = TaskId> + use<> {
        let parallelism = self.vertices[vertex.index()].parallelism;
        (0..parallelism).map(move |subtask| TaskId { vertex, subtask: SubtaskIndex(subtask) })
    }
}
