//! From a subtask of the plan to the order to run it: both ends of every channel, by attempt and place.

use wiesel_core::TaskId;
use wiesel_graph::{EdgeId, ExecutionGraph};
use wiesel_rpc::{
    Attempt, ChannelDeployment, GateDeployment, Location, PartitionDeployment, RestoredState,
    TaskDeployment,
};

/// The order to run `task`. `attempts` is indexed like the subtasks of the graph, `locations` by slot.
pub(crate) fn deployment_of(
    graph: &ExecutionGraph,
    task: TaskId,
    attempts: &dyn Fn(TaskId) -> Attempt,
    locations: &[Location],
) -> TaskDeployment {
    let subtask = graph.subtask(task);
    let vertex = &graph.vertices()[task.vertex.index()];
    let location = |task| locations[graph.subtask(task).slot.0 as usize];
    let gate = |edge: EdgeId| {
        let channels = graph.channels_to(edge, task).map(|channel| ChannelDeployment {
            peer: attempts(channel.producer),
            peer_channel: channel.producer_channel,
            location: location(channel.producer),
        });
        GateDeployment { edge: edge.0, channels: channels.collect() }
    };
    let partition = |edge: EdgeId| {
        let channels = graph.channels_from(edge, task).map(|channel| ChannelDeployment {
            peer: attempts(channel.consumer),
            peer_channel: channel.consumer_channel,
            location: location(channel.consumer),
        });
        PartitionDeployment { edge: edge.0, channels: channels.collect() }
    };
    TaskDeployment {
        attempt: attempts(task),
        fingerprint: graph.fingerprint().0,
        location: location(task),
        parallelism: vertex.parallelism,
        max_parallelism: vertex.max_parallelism,
        key_groups: subtask.key_groups,
        region: subtask.region,
        restore: RestoredState::default(),
        gates: graph.inputs(task.vertex).into_iter().map(gate).collect(),
        partitions: graph.outputs(task.vertex).into_iter().map(partition).collect(),
    }
}
