//! Which slot runs a subtask.
//!
//! ```text
//!   slot       0            1            2          3
//!              src 0        src 1                            group `default`: widest vertex 2 -> slots 0, 1
//!              window 0     window 1
//!              sink 0
//!                                        io 0       io 1     group `io`: slots 2, 3
//! ```
//!
//! # What is always true
//!
//! 1. A slot runs at most one subtask of each vertex, all of one slot sharing group.
//! 2. A group has as many slots as its widest vertex has subtasks; the job as many as its groups together.
//! 3. The channels of a forward edge within a group stay in their slot; a rescale to fewer subtasks keeps one of
//!    each group of channels there. (A vertex with several such inputs follows the first.)

use std::{collections::BTreeMap, fmt, ops::Range};

use wiesel_core::VertexId;

use crate::{JobGraph, Partitioning};

/// A slot of the job, from 0. A TaskManager runs each in a shard of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotIndex(pub u32);

impl fmt::Display for SlotIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Slots by vertex and subtask, and how many there are.
pub(crate) fn assign<F>(job: &JobGraph<F>) -> (Vec<Vec<SlotIndex>>, u32) {
    let groups = by_group(job);
    let count = groups.last().map_or(0, |(_, slots)| slots.end);
    let first_slots = groups.into_iter().map(|(group, slots)| (group, slots.start)).collect();
    let mut slots: Vec<Option<Vec<SlotIndex>>> = vec![None; job.vertices.len()];
    for vertex in &job.vertices {
        place(job, vertex.id, &first_slots, &mut slots);
    }
    (slots.into_iter().map(|slots| slots.expect("every vertex was placed")).collect(), count)
}

/// The groups in order of appearance, each with its slots.
pub(crate) fn by_group<F>(job: &JobGraph<F>) -> Vec<(&str, Range<u32>)> {
    let (mut groups, mut count) = (Vec::new(), 0);
    for vertex in &job.vertices {
        let group = vertex.slot_sharing_group.as_str();
        if groups.iter().all(|(other, _)| *other != group) {
            let members = job.vertices.iter().filter(|other| other.slot_sharing_group == group);
            let width = members.map(|member| member.parallelism).max().unwrap_or(0);
            groups.push((group, count..count + width));
            count += width;
        }
    }
    groups
}

/// Places a vertex after the one that it follows. The graph is acyclic, so this ends.
fn place<F>(
    job: &JobGraph<F>,
    id: VertexId,
    first_slots: &BTreeMap<&str, u32>,
    slots: &mut [Option<Vec<SlotIndex>>],
) {
    if slots[id.index()].is_some() {
        return;
    }
    let vertex = job.vertex(id);
    let followed = job.inputs(id).into_iter().map(|(_, edge)| edge).find(|edge| {
        let source = job.vertex(edge.source);
        source.slot_sharing_group == vertex.slot_sharing_group
            && match edge.partitioning {
                Partitioning::Forward => true,
                Partitioning::Rescale => source.parallelism > vertex.parallelism,
                _ => false,
            }
    });
    let placed = match followed {
        Some(edge) => {
            place(job, edge.source, first_slots, slots);
            let sources = slots[edge.source.index()].as_ref().expect("it was just placed");
            let (from, to) = (sources.len() as u32, vertex.parallelism);
            // Runs of sources do not overlap, so neither do the slots of their first ones.
            let first = |subtask| edge.partitioning.sources(subtask, from, to).start as usize;
            (0..to).map(|subtask| sources[first(subtask)]).collect()
        }
        None => {
            let first = first_slots[vertex.slot_sharing_group.as_str()];
            (first..first + vertex.parallelism).map(SlotIndex).collect()
        }
    };
    slots[id.index()] = Some(placed);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::{TEXTBOOK, job};

    /// The number of slots, then for each vertex the slots of its subtasks.
    #[track_caller]
    fn check(script: &str, expected: &str) {
        let (slots, count) = assign(&job(script));
        for slots in &slots {
            assert_eq!(
                slots.iter().collect::<BTreeSet<_>>().len(),
                slots.len(),
                "one of each vertex a slot"
            );
            assert!(slots.iter().all(|slot| slot.0 < count));
        }
        let line = |slots: &Vec<SlotIndex>| {
            slots.iter().map(SlotIndex::to_string).collect::<Vec<_>>().join(" ")
        };
        let lines = slots.iter().map(line).collect::<Vec<_>>().join(" | ");
        assert_eq!(format!("{count}: {lines}"), expected);
    }

    #[test]
    fn a_job_needs_as_many_slots_as_its_widest_vertex() {
        check(TEXTBOOK, "2: 0 1 | 0 1 | 0");
        check("a / source p1; b / p5 from0; c / sink p3 from1", "5: 0 | 0 1 2 3 4 | 0 1 2");
    }

    #[test]
    fn groups_do_not_share() {
        check(
            "a / source; b / group=io p3 from0; c / sink group=default from1",
            "5: 0 1 | 2 3 4 | 0 1",
        );
    }

    #[test]
    fn forward_and_rescale_stay_where_their_input_is() {
        check(
            "a / source p4; b / p2 from0:RESCALE; c / sink p2 from1:FORWARD",
            "4: 0 1 2 3 | 0 2 | 0 2",
        );
        check("a / source p2; b / sink p4 from0:RESCALE", "4: 0 1 | 0 1 2 3");
        check("a / source p4; b / sink p2 from0:REBALANCE", "4: 0 1 2 3 | 0 1");
    }
}
