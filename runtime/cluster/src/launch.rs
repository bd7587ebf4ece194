//! From a job graph to programs that are ready to run: slots, channels, frames, mailboxes.
//!
//! # What is always true
//!
//! 1. The pools of a shard, one for each region, hold what their partitions reserve, and one frame more for every credit:
//!    `channels + 1` each that nobody else can take, and enough that every channel can be full at once.
//! 2. A job whose tasks start futures has one place more than shards: the helper's, behind them.
//! 3. Everything that can be wrong is found here, before a thread runs.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use wiesel_connectors::MachineDiscovery;
use wiesel_core::{
    JobId, Nanos, ShardId, TaskId, VertexId,
    config::{Configuration, options},
};
use wiesel_datastream::VertexCode;
use wiesel_graph::{EdgeId, ExecutionGraph, JobGraph, JobVertex};
use wiesel_jobmanager::{JobMaster, SourceEnumerator};
use wiesel_operators::RowSources;
use wiesel_rpc::{Location, TaskManagerId};
use wiesel_shard::{
    Door, Helper, HelperSeat, Launch, ShardSpec, available_cores, probe, ring::ring,
};
use wiesel_task::{TaskFactory, TaskOptions};
use wiesel_taskmanager::{
    ChannelEnds, ChannelId, LocalChannels, PoolMetrics, Worker, WorkerOptions, WorkerSpec,
};

use crate::{
    CheckpointSettings, ClusterError, JobHandle,
    checkpoints::JobCheckpoints,
    client::Shared,
    job_master_program::{JobMasterProgram, Observer, Peer},
    outputs::Outputs,
    recovery::of_sinks,
    resources::{self, Machine},
};

/// Messages of one shard that may wait for the other side: a deployment, a start and a split per task, with room.
const MAILBOX_SLOTS: usize = 256;

/// Figures twice a second, as often as a person reads them: some hundred bytes of each task, which no shard notices.
const HEARTBEAT_EVERY: Duration = Duration::from_millis(500);

/// How a job is watched.
pub struct SubmitOptions {
    /// Begin without the checkpoints that are there, which are removed.
    pub fresh: bool,
    /// State that no operator takes is dropped.
    pub allow_non_restored: bool,
    /// The first SIGINT or SIGTERM cancels the job, the second ends the process.
    pub handle_signals: bool,
    /// How often `observer` is called.
    pub observe_every: Duration,
    /// Called on the control thread with the job's progress, and once at the end.
    pub observer: Option<Observer>,
}

impl Default for SubmitOptions {
    fn default() -> Self {
        Self {
            fresh: false,
            allow_non_restored: false,
            handle_signals: false,
            observe_every: Duration::from_millis(200),
            observer: None,
        }
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
    /// Whether the job takes checkpoints, and whether it restarts.
    pub checkpoints: CheckpointSettings,
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
    /// If the slots need more than this machine has, or a value of the configuration cannot be used.
    pub fn from_config<F: Clone>(
        config: &Configuration,
        graph: &JobGraph<F>,
    ) -> Result<Self, ClusterError> {
        config.validate()?; // A program may have set what its command line could not have.
        let execution = ExecutionGraph::expand(graph);
        let needed = execution.slot_count();
        let slots = config.get(&options::NUMBER_OF_TASK_SLOTS).unwrap_or(needed).min(needed);
        let mut cores = available_cores();
        let reserved = config.get(&options::CPU_RESERVED);
        let available = cores.len();
        // Where the system does not tell there are none, and none is pinned.
        if reserved as usize >= available.max(1) {
            return Err(ClusterError::Reserved { reserved, available });
        }
        cores.truncate(available.saturating_sub(reserved as usize).max(1));
        let machine = Machine { cores: cores.len(), memory_bytes: probe::memory_bytes() };
        resources::check(graph, &machine)?;
        let credits = config.get(&options::NETWORK_BUFFERS_PER_CHANNEL) as usize;
        resources::check_frames(graph, credits, &machine)?;
        if !config.get(&options::CPU_PIN) {
            cores.clear();
        }
        let mut shards = ShardSpec::spread(slots as usize, &cores);
        resources::pin(graph, &mut shards, &cores);
        if let Some(spin) = config.get(&options::SHARD_SPIN) {
            shards.iter_mut().for_each(|shard| shard.spin = spin);
        }
        let checkpoints = match graph.is_batch {
            true => CheckpointSettings::of_batch(config)?,
            false => CheckpointSettings::of(config)?,
        };
        let worker = WorkerOptions {
            task: TaskOptions {
                quantum: config.get(&options::SHARD_QUANTUM),
                frame_age_max: config.get(&options::BUFFER_TIMEOUT),
                checkpoints: checkpoints.of_tasks(),
                is_incremental: checkpoints.config.is_incremental,
            },
            overdraft_bytes_max: config.get(&options::MAX_OVERDRAFT_SIZE).bytes() as usize,
            record_bytes_max: config.get(&options::RECORD_BYTES_MAX).bytes() as usize,
            heartbeat_every: HEARTBEAT_EVERY,
            sort_bytes_max: config.get(&options::SORTED_INPUTS_MEMORY).bytes() as usize,
            tmp_folders: config
                .get(&options::TMP_DIRS)
                .unwrap_or_else(|| std::env::temp_dir().into()),
            allow_non_restored: checkpoints.allow_non_restored,
        };
        Ok(Self { shards, credits, worker, row_sources: None, checkpoints })
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
    /// Of its checkpoints, if it has one.
    pub(crate) folder: Option<PathBuf>,
}

impl Assembly {
    /// A handle to ask for the result after the launch has run: simulation takes the launch away.
    pub fn result_handle(&self) -> AssemblyResult {
        AssemblyResult(Arc::clone(&self.shared))
    }

    /// A handle to the job, for whoever runs the launch himself.
    pub fn handle(&self) -> JobHandle {
        JobHandle::new(Arc::clone(&self.shared), self.launch.control_door())
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
    let enumerators = enumerators(&graph, cluster)?;
    let job = JobId(execution.fingerprint().0);
    let sinks = graph.vertices.iter().map(|vertex| vertex.is_sink).collect();
    let (mut launch, seats) = launch_of(&graph, cluster)?;
    let brain = JobMaster::new(job, execution, locations.clone(), enumerators)?;
    // What is refused until here has changed nothing: neither output nor checkpoints.
    let (brain, checkpoints, outputs) = with_checkpoints(brain, job, &graph, cluster)?;
    let folder = checkpoints.as_ref().map(|checkpoints| checkpoints.folder().to_owned());
    let doors: Vec<_> = cluster.shards.iter().map(|shard| launch.door(shard.id)).collect();
    let (edges, credits) =
        (graph.edges.iter().map(|edge| edge.source).collect::<Vec<_>>(), cluster.credits);
    let connect = move |execution: &ExecutionGraph, tasks: &[TaskId]| {
        connect(execution, tasks, &edges, credits, &doors)
    };
    let pools: Vec<_> = cluster.shards.iter().map(|_| Arc::new(PoolMetrics::default())).collect();
    let shared = Arc::new(Shared::new(pools.clone()));
    let wiring = Wiring { job, graph, cluster, folder: folder.as_ref(), pools, seats };
    let peers = wiring.workers(brain.graph(), &connect, &mut launch);
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
        checkpoints,
        _outputs: outputs,
        connect: Box::new(connect),
    };
    launch.control(move |_shard| Box::new(program));
    Ok(Assembly { job, launch, shared, folder })
}

/// What hands out the splits of each source.
fn enumerators(
    graph: &JobGraph<VertexCode>,
    cluster: &ClusterOptions,
) -> Result<Vec<SourceEnumerator>, ClusterError> {
    let mut enumerators = Vec::new();
    for vertex in &graph.vertices {
        let Some(source) = &vertex.factory.source else { continue };
        if cluster.checkpoints.folder.is_some() && !source.can_rewind() {
            let name = vertex.name();
            tracing::warn!(
                "{name} cannot be read again: what it read since a checkpoint is lost if the job fails"
            );
        }
        let enumerator = source
            .enumerator(vertex.parallelism, &MachineDiscovery)
            .map_err(|failure| ClusterError::Prepare(failure.uid(vertex.uid())))?;
        enumerators.push(SourceEnumerator { vertex: vertex.id, enumerator });
    }
    Ok(enumerators)
}

/// The shards, with the helper's place and program if tasks start futures, and a seat there for each shard then.
fn launch_of(
    graph: &JobGraph<VertexCode>,
    cluster: &ClusterOptions,
) -> Result<(Launch, Vec<HelperSeat>), ClusterError> {
    let needs_helper = graph.vertices.iter().any(|vertex| vertex.factory.needs_helper);
    let mut specs = cluster.shards.clone();
    specs.extend(needs_helper.then(|| helper_spec(specs.len())));
    let mut launch = Launch::new(specs).map_err(ClusterError::Doors)?;
    if !needs_helper {
        return Ok((launch, Vec::new()));
    }
    let doors = cluster.shards.iter().map(|shard| launch.door(shard.id)).collect();
    let id = ShardId(cluster.shards.len() as u32);
    let (helper, seats) = Helper::new(&launch.door(id), doors);
    launch.program(id, move |_shard| Box::new(helper));
    Ok((launch, seats))
}

/// Opens the folder of the job's checkpoints, if it takes any, and prepares its sinks.
fn with_checkpoints(
    brain: JobMaster,
    job: JobId,
    graph: &JobGraph<VertexCode>,
    cluster: &ClusterOptions,
) -> Result<(JobMaster, Option<JobCheckpoints>, Outputs), ClusterError> {
    let mut outputs = Outputs::default();
    let folder = cluster.checkpoints.folder.as_ref();
    let opened = folder
        .map(|folder| JobCheckpoints::open(&cluster.checkpoints, folder, job, graph, &mut outputs));
    let (checkpoints, plan) = opened.transpose()?.unzip();
    if checkpoints.is_none() {
        // All agree before one of them replaces anything, or makes a folder.
        let sinks = || graph.vertices.iter().map(|v| (v.uid(), v.factory.sink.as_deref()));
        outputs.take_existing(sinks())?;
        of_sinks(sinks(), |sink| sink.check(&MachineDiscovery))?;
        outputs.take(sinks())?;
        of_sinks(sinks(), |sink| sink.prepare(&MachineDiscovery))?;
    }
    let brain = match plan.or_else(|| cluster.checkpoints.restarts_only()) {
        Some(plan) => brain.with_checkpoints(plan).map_err(ClusterError::Prepare)?,
        None => brain,
    };
    Ok((brain, checkpoints, outputs))
}

/// What the workers of a job have in common, and what each gets.
struct Wiring<'c> {
    job: JobId,
    graph: JobGraph<VertexCode>,
    cluster: &'c ClusterOptions,
    folder: Option<&'c PathBuf>,
    pools: Vec<Arc<PoolMetrics>>,
    seats: Vec<HelperSeat>,
}

impl Wiring<'_> {
    /// Puts a worker on each shard, with its channels, its frames and its mailbox; gives the JobMaster's ends.
    fn workers(
        self,
        execution: &ExecutionGraph,
        connect: &dyn Fn(&ExecutionGraph, &[TaskId]) -> Vec<ChannelEnds>,
        launch: &mut Launch,
    ) -> Vec<Peer> {
        let Self { job, graph, cluster, folder, pools, seats } = self;
        let tasks: Vec<_> = execution.subtasks().iter().map(|subtask| subtask.task).collect();
        let channels = connect(execution, &tasks);
        // Each is rewired at most once before its tasks are deployed, and then the ring is empty.
        let regions = execution.subtasks().iter().map(|subtask| subtask.region as usize + 1);
        let regions = regions.max().unwrap_or(1);
        let frames = frames_by_shard(execution, &graph, cluster);
        let graph = tasks_only(graph);
        let mut seats = seats.into_iter();
        let mut peers = Vec::with_capacity(cluster.shards.len());
        let ends = channels.into_iter().zip(frames).zip(pools);
        for (id, ((channels, frames), pool)) in
            cluster.shards.iter().map(|shard| shard.id).zip(ends)
        {
            let (to, mailbox) = ring(MAILBOX_SLOTS);
            let (outbox, from) = ring(MAILBOX_SLOTS);
            let (rewires, rewired) = ring(regions);
            let spec = WorkerSpec {
                task_manager: TaskManagerId(0),
                job,
                graph: graph.clone(),
                channels,
                rewired,
                checkpoints: folder.cloned(),
                frames,
                mailbox,
                outbox,
                job_master: launch.control_door(),
                options: cluster.worker.clone(),
                row_sources: cluster.row_sources,
                helper: seats.next(),
                pool,
            };
            let (door, waiting) = (launch.door(id), VecDeque::new());
            peers.push(Peer { door, to, rewired: rewires, from, waiting });
            launch.program(id, move |shard| Box::new(Worker::new(spec, shard)));
        }
        peers
    }
}

/// The helper's thread: not pinned, and asleep unless a future wants to be polled. It is counted as a shard is, in figures of
/// CPU too.
fn helper_spec(shards: usize) -> ShardSpec {
    ShardSpec {
        id: ShardId(shards as u32),
        core: None,
        spin: Duration::ZERO,
        name: "helper".to_owned(),
    }
}

/// The channels of these tasks, which are whole regions, sorted as the graph has them; by shard. `edges`: the source of each
/// edge.
fn connect(
    execution: &ExecutionGraph,
    tasks: &[TaskId],
    edges: &[VertexId],
    credits: usize,
    doors: &[Door],
) -> Vec<ChannelEnds> {
    let mut channels = LocalChannels::new(credits, doors.to_vec());
    let slot_of = |task| execution.subtask(task).slot.0 as usize;
    for (edge, source) in (0..).zip(edges) {
        for task in tasks.iter().filter(|task| task.vertex == *source) {
            for channel in execution.channels_from(EdgeId(edge), *task) {
                let (producer, consumer) = (channel.producer, channel.consumer);
                let id = ChannelId { edge, producer, consumer };
                channels.connect(id, slot_of(producer), slot_of(consumer));
            }
        }
    }
    channels.into_ends()
}

/// Frames per shard and region; invariant 1 has the sum.
fn frames_by_shard<F>(
    execution: &ExecutionGraph,
    graph: &JobGraph<F>,
    cluster: &ClusterOptions,
) -> Vec<BTreeMap<u32, usize>> {
    let mut frames = vec![BTreeMap::new(); cluster.shards.len()];
    for (edge, job_edge) in (0..).zip(&graph.edges) {
        for subtask in execution.subtasks().iter().filter(|s| s.task.vertex == job_edge.source) {
            let channels = execution.channels_from(EdgeId(edge), subtask.task).count();
            let of_shard = &mut frames[subtask.slot.0 as usize];
            *of_shard.entry(subtask.region).or_default() +=
                resources::frames_of(channels, cluster.credits);
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
        resources: graph.resources,
    }
}
