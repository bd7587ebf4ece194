//! From a job graph to programs that are ready to run: slots, channels, frames, mailboxes.
//!
//! # What is always true
//!
//! 1. A shard's pool holds what its partitions reserve, and one frame more for every credit: `channels + 1` each that
//!    nobody else can take, and enough that every channel can be full at once.
//! 2. Everything that can be wrong is found here, before a thread runs.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use wiesel_connectors::MachineDiscovery;
use wiesel_core::{
    JobId, Nanos, ShardId, TaskId,
    config::{Configuration, options},
};
use wiesel_datastream::VertexCode;
use wiesel_graph::{EdgeId, ExecutionGraph, JobGraph, JobVertex};
use wiesel_jobmanager::{JobMaster, SourceEnumerator};
use wiesel_operators::RowSources;
use wiesel_rpc::{Location, TaskManagerId};
use wiesel_shard::{Launch, ShardSpec, available_cores, probe, ring::ring};
use wiesel_task::{TaskFactory, TaskOptions};
use wiesel_taskmanager::{
    ChannelId, LocalChannels, PoolMetrics, Worker, WorkerOptions, WorkerSpec,
};

use crate::{
    ClusterError,
    client::Shared,
    job_master_program::{JobMasterProgram, Observer, Peer},
};

/// Messages of one shard that may wait for the other side: a deployment, a start and a split per task, with room.
const MAILBOX_SLOTS: usize = 256;

/// How a job is watched.
pub struct SubmitOptions {
    /// The first SIGINT or SIGTERM cancels the job, the second ends the process.
    pub handle_signals: bool,
    /// How often `observer` is called.
    pub observe_every: Duration,
    /// Called on the control thread with the job's progress, and once at the end.
    pub observer: Option<Observer>,
}

impl Default for SubmitOptions {
    fn default() -> Self {
        Self { handle_signals: false, observe_every: Duration::from_millis(200), observer: None }
    }
}

/// The shards of a cluster and how they work.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// One per slot.
    pub shards: Vec<ShardSpec>,
    /// Frames in flight per channel.
    pub credits: usize,
    /// How workers run tasks.
    pub worker: WorkerOptions,
    /// What stands behind state tables, for tests with rows that are absent.
    pub row_sources: Option<fn(TaskId) -> RowSources>,
}

/// The slots that a local cluster offers by this configuration: the parallelism of a job that sets none.
pub fn slots_of(config: &Configuration) -> u32 {
    let cores = available_cores().len() as u32;
    let free = cores.saturating_sub(config.get(&options::CPU_RESERVED)).max(1);
    config.get(&options::NUMBER_OF_TASK_SLOTS).unwrap_or(free)
}

impl ClusterOptions {
    /// What the configuration says. With slots on `auto` there are as many as the job needs.
    ///
    /// # Errors
    ///
    /// If the configuration offers too few slots.
    pub fn from_config<F: Clone>(
        config: &Configuration,
        graph: &JobGraph<F>,
    ) -> Result<Self, ClusterError> {
        let needed = ExecutionGraph::expand(graph).slot_count();
        let slots = config.get(&options::NUMBER_OF_TASK_SLOTS).unwrap_or(needed).min(needed);
        let mut cores = available_cores();
        let reserved = config.get(&options::CPU_RESERVED) as usize;
        cores.truncate(cores.len().saturating_sub(reserved).max(1));
        if !config.get(&options::CPU_PIN) {
            cores.clear();
        }
        let mut shards = ShardSpec::spread(slots as usize, &cores);
        if let Some(spin) = config.get(&options::SHARD_SPIN) {
            shards.iter_mut().for_each(|shard| shard.spin = spin);
        }
        let worker = WorkerOptions {
            task: TaskOptions {
                quantum: config.get(&options::SHARD_QUANTUM),
                frame_age_max: config.get(&options::BUFFER_TIMEOUT),
            },
            overdraft_bytes_max: config.get(&options::MAX_OVERDRAFT_SIZE).bytes() as usize,
            record_bytes_max: config.get(&options::RECORD_BYTES_MAX).bytes() as usize,
            heartbeat_every: Duration::from_millis(500),
            sort_bytes_max: config.get(&options::SORTED_INPUTS_MEMORY).bytes() as usize,
            tmp_folders: config
                .get(&options::TMP_DIRS)
                .unwrap_or_else(|| std::env::temp_dir().into()),
        };
        let credits = config.get(&options::NETWORK_BUFFERS_PER_CHANNEL) as usize;
        Ok(Self { shards, credits, worker, row_sources: None })
    }

    /// Looks whether this machine can run these shards.
    ///
    /// # Errors
    ///
    /// If it cannot, with the command that changes it.
    pub fn probe(&self) -> Result<(), ClusterError> {
        let cores = self.shards.iter().filter_map(|shard| shard.core).collect();
        probe::check(&probe::ProbeSpec { shards: self.shards.len(), cores })?;
        Ok(())
    }
}

/// A job that is ready to run.
pub struct Assembly {
    /// Its id.
    pub job: JobId,
    /// What to run.
    pub launch: Launch,
    pub(crate) shared: Arc<Shared>,
}

impl Assembly {
    /// A handle to ask for the result after the launch has run: simulation takes the launch away.
    pub fn result_handle(&self) -> AssemblyResult {
        AssemblyResult(Arc::clone(&self.shared))
    }
}

/// Where the result of a launch will be.
pub struct AssemblyResult(Arc<Shared>);

impl AssemblyResult {
    /// How the job ended.
    pub fn get(&self) -> crate::JobResult {
        self.0.result(Vec::new())
    }
}

/// Wires a job: prepares sources and sinks, makes channels and mailboxes, and one program per shard.
///
/// # Errors
///
/// If a source or a sink is not ready, or there are too few slots.
pub fn assemble(
    graph: JobGraph<VertexCode>,
    cluster: &ClusterOptions,
    options: SubmitOptions,
) -> Result<Assembly, ClusterError> {
    let execution = ExecutionGraph::expand(&graph);
    let shard_of = |slot: u32| Location { task_manager: TaskManagerId(0), shard: ShardId(slot) };
    let locations: Vec<_> = (0..cluster.shards.len() as u32).map(shard_of).collect();
    let mut enumerators = Vec::new();
    for vertex in &graph.vertices {
        let named =
            |failure: wiesel_core::TaskFailure| ClusterError::Prepare(failure.uid(vertex.uid()));
        if let Some(source) = &vertex.factory.source {
            let enumerator =
                source.enumerator(vertex.parallelism, &MachineDiscovery).map_err(named)?;
            enumerators.push(SourceEnumerator { vertex: vertex.id, enumerator });
        }
        if let Some(sink) = &vertex.factory.sink {
            sink.prepare(&MachineDiscovery).map_err(named)?;
        }
    }
    let job = JobId(execution.fingerprint().0);
    let sinks = graph.vertices.iter().map(|vertex| vertex.is_sink).collect();
    let mut launch = Launch::new(cluster.shards.clone()).map_err(ClusterError::Doors)?;
    let doors = launch.ids().into_iter().map(|id| launch.door(id)).collect();
    let brain = JobMaster::new(job, execution, locations.clone(), enumerators)?;
    let channels = connect(brain.graph(), &graph, cluster.credits, doors);
    let frames = frames_by_shard(brain.graph(), &graph, cluster);
    let graph = tasks_only(graph);
    let pools: Vec<_> = cluster.shards.iter().map(|_| Arc::new(PoolMetrics::default())).collect();
    let shared = Arc::new(Shared::new(pools.clone()));
    let mut peers = Vec::with_capacity(cluster.shards.len());
    let ends = channels.into_ends().into_iter().zip(frames).zip(pools);
    for (id, ((channels, frames), pool)) in launch.ids().into_iter().zip(ends) {
        let (to, mailbox) = ring(MAILBOX_SLOTS);
        let (outbox, from) = ring(MAILBOX_SLOTS);
        let spec = WorkerSpec {
            task_manager: TaskManagerId(0),
            job,
            graph: graph.clone(),
            channels,
            frames,
            mailbox,
            outbox,
            job_master: launch.control_door(),
            options: cluster.worker.clone(),
            row_sources: cluster.row_sources,
            pool,
        };
        peers.push(Peer { door: launch.door(id), to, from, waiting: VecDeque::new() });
        launch.program(id, move |shard| Box::new(Worker::new(spec, shard)));
    }
    let program = JobMasterProgram {
        brain,
        locations,
        peers,
        shared: Arc::clone(&shared),
        observer: options.observer,
        observe_every: options.observe_every,
        observe_at: Nanos::default(),
        sinks,
        started_at: None,
        handle_signals: options.handle_signals,
    };
    launch.control(move |_shard| Box::new(program));
    Ok(Assembly { job, launch, shared })
}

/// All channels of the job.
fn connect<F>(
    execution: &ExecutionGraph,
    graph: &JobGraph<F>,
    credits: usize,
    doors: Vec<wiesel_shard::Door>,
) -> LocalChannels {
    let mut channels = LocalChannels::new(credits, doors);
    let slot_of = |task| execution.subtask(task).slot.0 as usize;
    for (edge, job_edge) in (0..).zip(&graph.edges) {
        for subtask in execution.subtasks().iter().filter(|s| s.task.vertex == job_edge.source) {
            for channel in execution.channels_from(EdgeId(edge), subtask.task) {
                let (producer, consumer) = (channel.producer, channel.consumer);
                let id = ChannelId { edge, producer, consumer };
                channels.connect(id, slot_of(producer), slot_of(consumer));
            }
        }
    }
    channels
}

/// Frames per shard; invariant 1 has the sum.
fn frames_by_shard<F>(
    execution: &ExecutionGraph,
    graph: &JobGraph<F>,
    cluster: &ClusterOptions,
) -> Vec<usize> {
    let mut frames = vec![0; cluster.shards.len()];
    for (edge, job_edge) in (0..).zip(&graph.edges) {
        for subtask in execution.subtasks().iter().filter(|s| s.task.vertex == job_edge.source) {
            let channels = execution.channels_from(EdgeId(edge), subtask.task).count();
            frames[subtask.slot.0 as usize] += channels + 1 + channels * cluster.credits;
        }
    }
    frames
}

/// The graph as workers have it: without what only the JobMaster uses.
pub fn tasks_only(graph: JobGraph<VertexCode>) -> JobGraph<Box<dyn TaskFactory>> {
    let vertices = graph.vertices.into_iter().map(|vertex| JobVertex {
        id: vertex.id,
        operators: vertex.operators,
        parallelism: vertex.parallelism,
        max_parallelism: vertex.max_parallelism,
        slot_sharing_group: vertex.slot_sharing_group,
        is_source: vertex.is_source,
        is_sink: vertex.is_sink,
        parameters: vertex.parameters,
        factory: vertex.factory.task,
    });
    JobGraph {
        name: graph.name,
        vertices: vertices.collect(),
        edges: graph.edges,
        is_batch: graph.is_batch,
    }
}
