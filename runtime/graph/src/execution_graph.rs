//! What runs where: every subtask with its slot, its key groups and its channels.
//!
//! ```text
//!   JobEdge  HASH, 2 -> 2        producer 0 ──0──▶ consumer 0      channel = position among the producer's targets
//!                                         ╲──1──▶ consumer 1      gate    = position among the consumer's sources
//!                                producer 1 …
//! ```
//!
//! # What is always true
//!
//! 1. Tasks are numbered by vertex, then by subtask.
//! 2. Both ends of an edge list the same channels. They are computed, not stored: a wide job has millions.
//! 3. A channel is local if both ends are in one slot: then it is a queue and no handle crosses a core.

use std::sync::Arc;

use wiesel_core::{ChannelIndex, KeyGroupRange, SubtaskIndex, TaskId, VertexId};

use crate::{Fingerprint, JobGraph, JobOperator, Partitioning, SlotIndex, regions, slots};

/// An edge, as its position in the job graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EdgeId(pub u32);

/// A job, expanded. It has no factories: whoever deploys tasks does not build them.
#[derive(Clone, Debug)]
pub struct ExecutionGraph {
    name: String,
    fingerprint: Fingerprint,
    vertices: Vec<ExecutionVertex>,
    subtasks: Vec<Subtask>,
    edges: Vec<ExecutionEdge>,
    slot_count: u32,
    region_count: u32,
}

/// What the subtasks of a vertex have in common.
#[derive(Clone, Debug)]
pub struct ExecutionVertex {
    /// Its position.
    pub id: VertexId,
    /// Its operators, front to back.
    pub operators: Arc<[JobOperator]>,
    /// Their names, joined by arrows.
    pub name: String,
    /// What messages call it.
    pub uid: String,
    /// Subtasks.
    pub parallelism: u32,
    /// Key groups.
    pub max_parallelism: u32,
    /// Whether it has an enumerator.
    pub is_source: bool,
    first_task: usize,
}

/// One task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subtask {
    /// Its name.
    pub task: TaskId,
    /// Where it runs.
    pub slot: SlotIndex,
    /// Its key groups.
    pub key_groups: KeyGroupRange,
    /// The tasks of a region fail and restart together.
    pub region: u32,
}

/// The way of records from one task to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel {
    /// The edge that it is part of.
    pub edge: EdgeId,
    /// Who fills frames.
    pub producer: TaskId,
    /// Its position in the producer's result partition.
    pub producer_channel: ChannelIndex,
    /// Who reads them.
    pub consumer: TaskId,
    /// Its position in the consumer's input gate.
    pub consumer_channel: ChannelIndex,
    /// Whether both are in one slot.
    pub is_local: bool,
}

#[derive(Clone, Debug)]
struct ExecutionEdge {
    source: VertexId,
    target: VertexId,
    input: u32,
    partitioning: Partitioning,
}

impl ExecutionGraph {
    /// Expands a job.
    pub fn expand<F>(job: &JobGraph<F>) -> Self {
        let mut task_count = 0;
        let mut vertices = Vec::with_capacity(job.vertices.len());
        for vertex in &job.vertices {
            vertices.push(ExecutionVertex {
                id: vertex.id,
                operators: vertex.operators.as_slice().into(),
                name: vertex.name(),
                uid: vertex.uid().to_owned(),
                parallelism: vertex.parallelism,
                max_parallelism: vertex.max_parallelism,
                is_source: vertex.is_source,
                first_task: task_count,
            });
            task_count += vertex.parallelism as usize;
        }
        let (slots, slot_count) = slots::assign(job);
        let first_tasks: Vec<_> = vertices.iter().map(|vertex| vertex.first_task).collect();
        let regions = regions::assign(job, &first_tasks, task_count);
        let subtasks: Vec<_> = vertices
            .iter()
            .flat_map(|vertex| {
                let (slots, regions) = (&slots[vertex.id.index()], &regions[vertex.first_task..]);
                (0..vertex.parallelism).map(|subtask| Subtask {
                    task: TaskId { vertex: vertex.id, subtask: SubtaskIndex(subtask) },
                    slot: slots[subtask as usize],
                    key_groups: KeyGroupRange::of_subtask(
                        subtask,
                        vertex.parallelism,
                        vertex.max_parallelism,
                    ),
                    region: regions[subtask as usize],
                })
            })
            .collect();
        let edges = job.edges.iter().map(|edge| ExecutionEdge {
            source: edge.source,
            target: edge.target,
            input: edge.input,
            partitioning: edge.partitioning.clone(),
        });
        Self {
            name: job.name.clone(),
            fingerprint: job.fingerprint(),
            edges: edges.collect(),
            region_count: regions.iter().max().map_or(0, |last| last + 1),
            vertices,
            subtasks,
            slot_count,
        }
    }

    /// The name of the job.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The fingerprint of the job graph.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The edges into a vertex, in order of its inputs.
    pub fn inputs(&self, vertex: VertexId) -> Vec<EdgeId> {
        let mut inputs = self.edges_where(|edge| edge.target == vertex);
        inputs.sort_by_key(|edge| self.edges[edge.0 as usize].input);
        inputs
    }

    /// The edges out of a vertex, in order of its outputs.
    pub fn outputs(&self, vertex: VertexId) -> Vec<EdgeId> {
        self.edges_where(|edge| edge.source == vertex)
    }

    fn edges_where(&self, is_wanted: impl Fn(&ExecutionEdge) -> bool) -> Vec<EdgeId> {
        let edges = self.edges.iter().zip(0..).filter(|(edge, _)| is_wanted(edge));
        edges.map(|(_, index)| EdgeId(index)).collect()
    }

    /// Indexed by [`VertexId`].
    pub fn vertices(&self) -> &[ExecutionVertex] {
        &self.vertices
    }

    /// All tasks, by vertex and then by subtask.
    pub fn subtasks(&self) -> &[Subtask] {
        &self.subtasks
    }

    /// How many slots the job needs.
    pub fn slot_count(&self) -> u32 {
        self.slot_count
    }

    /// How many regions fail independently.
    pub fn region_count(&self) -> u32 {
        self.region_count
    }

    /// Position of a task in [`subtasks`](Self::subtasks); `None` if the job has no such task.
    pub fn task_index(&self, task: TaskId) -> Option<usize> {
        let vertex = self.vertices.get(task.vertex.index())?;
        (task.subtask.0 < vertex.parallelism).then(|| vertex.first_task + task.subtask.index())
    }

    /// One task.
    ///
    /// # Panics
    ///
    /// If the job has no such task.
    pub fn subtask(&self, task: TaskId) -> &Subtask {
        &self.subtasks[self.task_index(task).expect("the task is one of this job")]
    }

    /// What messages call a task: `Window (2/4)`, counted from 1 as in Flink.
    pub fn task_name(&self, task: TaskId) -> String {
        let vertex = &self.vertices[task.vertex.index()];
        format!("{} ({}/{})", vertex.name, task.subtask.0 + 1, vertex.parallelism)
    }

    /// The channels of an edge that `producer` fills, in order of its result partition.
    ///
    /// # Panics
    ///
    /// If the edge does not leave the producer's vertex.
    pub fn channels_from(
        &self,
        edge: EdgeId,
        producer: TaskId,
    ) -> impl Iterator<Item = Channel> + '_ {
        let ExecutionEdge { source, target, .. } = self.edges[edge.0 as usize];
        assert_eq!(source, producer.vertex, "edge {} leaves another vertex", edge.0);
        let targets = self.targets(edge, producer.subtask.0);
        targets.map(move |subtask| {
            self.channel(edge, producer, TaskId { vertex: target, subtask: SubtaskIndex(subtask) })
        })
    }

    /// The channels of an edge that `consumer` reads, in order of its input gate.
    ///
    /// # Panics
    ///
    /// If the edge does not enter the consumer's vertex.
    pub fn channels_to(
        &self,
        edge: EdgeId,
        consumer: TaskId,
    ) -> impl Iterator<Item = Channel> + '_ {
        let ExecutionEdge { source, target, .. } = self.edges[edge.0 as usize];
        assert_eq!(target, consumer.vertex, "edge {} enters another vertex", edge.0);
        let sources = self.sources(edge, consumer.subtask.0);
        sources.map(move |subtask| {
            self.channel(edge, TaskId { vertex: source, subtask: SubtaskIndex(subtask) }, consumer)
        })
    }

    /// All channels of the job, by edge and producer.
    pub fn channels(&self) -> impl Iterator<Item = Channel> + '_ {
        (0..self.edges.len() as u32).map(EdgeId).flat_map(move |edge| {
            let vertex = self.edges[edge.0 as usize].source;
            let producers = (0..self.vertices[vertex.index()].parallelism).map(SubtaskIndex);
            producers.flat_map(move |subtask| self.channels_from(edge, TaskId { vertex, subtask }))
        })
    }

    fn channel(&self, edge: EdgeId, producer: TaskId, consumer: TaskId) -> Channel {
        let first_target = self.targets(edge, producer.subtask.0).start;
        let first_source = self.sources(edge, consumer.subtask.0).start;
        Channel {
            edge,
            producer,
            producer_channel: ChannelIndex(consumer.subtask.0 - first_target),
            consumer,
            consumer_channel: ChannelIndex(producer.subtask.0 - first_source),
            is_local: self.subtask(producer).slot == self.subtask(consumer).slot,
        }
    }

    fn targets(&self, edge: EdgeId, source: u32) -> std::ops::Range<u32> {
        let (edge, p, q) = self.ends(edge);
        edge.partitioning.targets(source, p, q)
    }

    fn sources(&self, edge: EdgeId, target: u32) -> std::ops::Range<u32> {
        let (edge, p, q) = self.ends(edge);
        edge.partitioning.sources(target, p, q)
    }

    /// An edge and the parallelism of its two ends.
    fn ends(&self, edge: EdgeId) -> (&ExecutionEdge, u32, u32) {
        let edge = &self.edges[edge.0 as usize];
        let parallelism = |vertex: VertexId| self.vertices[vertex.index()].parallelism;
        (edge, parallelism(edge.source), parallelism(edge.target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TEXTBOOK, job};

    /// The tasks and the channels of the job that `script` describes.
    fn expanded(script: &str) -> String {
        let graph = ExecutionGraph::expand(&job(script));
        let mut lines = Vec::new();
        for subtask in graph.subtasks() {
            let KeyGroupRange { first, end } = subtask.key_groups;
            let name = graph.task_name(subtask.task);
            lines.push(format!(
                "{} slot {} groups {first}..{end}  {name}",
                subtask.task, subtask.slot
            ));
        }
        for channel in graph.channels() {
            let Channel { producer, producer_channel, consumer, consumer_channel, .. } = channel;
            let local = if channel.is_local { " local" } else { "" };
            lines.push(format!(
                "{producer}.{producer_channel} > {consumer}.{consumer_channel}{local}"
            ));
        }
        lines.join("\n")
    }

    #[test]
    fn the_textbook_pipeline_is_five_tasks_in_two_slots() {
        assert_eq!(
            expanded(TEXTBOOK),
            "\
0/0 slot 0 groups 0..64  Source: clicks -> Map -> Filter (1/2)
0/1 slot 1 groups 64..128  Source: clicks -> Map -> Filter (2/2)
1/0 slot 0 groups 0..64  Window(10 s) (1/2)
1/1 slot 1 groups 64..128  Window(10 s) (2/2)
2/0 slot 0 groups 0..128  Sink: print (1/1)
0/0.0 > 1/0.0 local
0/0.1 > 1/1.0
0/1.0 > 1/0.1
0/1.1 > 1/1.1 local
1/0.0 > 2/0.0 local
1/1.0 > 2/0.1"
        );
    }

    #[test]
    fn both_ends_list_the_same_channels() {
        for kind in ["HASH", "RESCALE", "BROADCAST"] {
            for (p, q) in (1..7).flat_map(|p| (1..7).map(move |q| (p, q))) {
                let script = format!("a / source p{p}; b / sink p{q} from0:{kind}");
                let graph = ExecutionGraph::expand(&job(&script));
                let consumers =
                    graph.subtasks().iter().filter(|subtask| subtask.task.vertex.0 == 1);
                let mut seen: Vec<_> = consumers
                    .flat_map(|consumer| graph.channels_to(EdgeId(0), consumer.task))
                    .collect();
                seen.sort_by_key(|channel| (channel.producer, channel.consumer));
                assert_eq!(seen, graph.channels().collect::<Vec<_>>(), "{script}");
            }
        }
    }

    #[test]
    fn edges_are_in_the_order_of_heads_and_of_factories() {
        let graph = ExecutionGraph::expand(&job(
            "a / source; b / source; c / sink from1::1 from0::0 from0::2",
        ));
        assert_eq!(graph.inputs(VertexId(2)), [EdgeId(1), EdgeId(0), EdgeId(2)]);
        assert_eq!(graph.outputs(VertexId(0)), [EdgeId(1), EdgeId(2)]);
        assert_eq!(graph.inputs(VertexId(0)), []);
    }

    #[test]
    fn a_rescale_keeps_to_its_group() {
        let channels = expanded("a / source p4; b / sink p2 from0:RESCALE");
        let channels: Vec<_> = channels.lines().skip(6).collect();
        assert_eq!(
            channels,
            ["0/0.0 > 1/0.0 local", "0/1.0 > 1/0.1", "0/2.0 > 1/1.0 local", "0/3.0 > 1/1.1"]
        );
    }

    #[test]
    fn tasks_of_other_jobs_are_not_found() {
        let graph = ExecutionGraph::expand(&job(TEXTBOOK));
        let index = |vertex, subtask| {
            graph.task_index(TaskId { vertex: VertexId(vertex), subtask: SubtaskIndex(subtask) })
        };
        assert_eq!(
            [index(0, 1), index(2, 0), index(2, 1), index(3, 0)],
            [Some(1), Some(4), None, None]
        );
    }
}
