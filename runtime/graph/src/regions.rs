//! Pipelined regions: the tasks that exchange records while they run, so that they fail and restart together.
//!
//! ```text
//!   src 0 ── map 0     src 1 ── map 1        two regions: nothing crosses
//!   src 0 ═╳═ window 0 … src 1               one region: a hash edge connects all
//! ```

use crate::JobGraph;

/// The region of every task; tasks are numbered by vertex and then by subtask, regions by their first task.
pub(crate) fn assign<F>(job: &JobGraph<F>, first_tasks: &[usize], task_count: usize) -> Vec<u32> {
    let mut parents: Vec<usize> = (0..task_count).collect();
    for edge in &job.edges {
        let (source, target) = (edge.source.index(), edge.target.index());
        let (p, q) = (job.vertices[source].parallelism, job.vertices[target].parallelism);
        for subtask in 0..p {
            let from = first_tasks[source] + subtask as usize;
            let targets = edge.partitioning.targets(subtask, p, q);
            // All to all: the first source joins the targets, and the other sources join one of them.
            let is_joined = !edge.partitioning.is_pointwise() && subtask > 0;
            for to in targets.take(if is_joined { 1 } else { usize::MAX }) {
                join(&mut parents, from, first_tasks[target] + to as usize);
            }
        }
    }
    let mut regions = Vec::with_capacity(task_count);
    let mut count = 0;
    for task in 0..task_count {
        let root = root(&mut parents, task);
        // The root is the smallest task of its region, so it was numbered before.
        let region = if root == task { count } else { regions[root] };
        count += u32::from(root == task);
        regions.push(region);
    }
    regions
}

/// The smallest task of the region so far.
fn root(parents: &mut [usize], mut task: usize) -> usize {
    while parents[task] != task {
        parents[task] = parents[parents[task]];
        task = parents[task];
    }
    task
}

fn join(parents: &mut [usize], a: usize, b: usize) {
    let (a, b) = (root(parents, a), root(parents, b));
    parents[a.max(b)] = a.min(b);
}

#[cfg(test)]
mod tests {
    use crate::{ExecutionGraph, testing::job};

    #[track_caller]
    fn check(script: &str, expected: &[u32]) {
        let graph = ExecutionGraph::expand(&job(script));
        let regions: Vec<_> = graph.subtasks().iter().map(|subtask| subtask.region).collect();
        assert_eq!(regions, expected);
    }

    #[test]
    fn what_is_connected_fails_together() {
        check("a / source; b / sink from0:FORWARD", &[0, 1, 0, 1]);
        check("a / source; b / sink from0:HASH", &[0, 0, 0, 0]);
        check("a / source p4; b / sink p2 from0:RESCALE", &[0, 0, 1, 1, 0, 1]);
        check("a / source; b / sink from0; c / source p1; d / sink p1 from2", &[0, 1, 0, 1, 2, 2]);
    }
}
