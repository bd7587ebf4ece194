//! The job from outside: submit it, look at it, cancel it, wait for it.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
};

use wiesel_core::{JobId, ShardId, config::Configuration};
use wiesel_datastream::{OUTPUT_CLOSED, VertexCode};
use wiesel_graph::JobGraph;
use wiesel_jobmanager::JobStatus;
use wiesel_rpc::FailureReport;
use wiesel_shard::{Door, Machine, Panicked, ShardCounters, local, signals};
use wiesel_taskmanager::{PoolMetrics, PoolReport};

use crate::{
    ClusterError, JobProgress, SavepointError, control_socket,
    launch::{Assembly, ClusterOptions, SubmitOptions, assemble},
    savepoints::Request,
};

/// A cluster of one process, for one job.
///
/// ```
/// use wiesel_cluster::{MiniCluster, SubmitOptions};
/// use wiesel_core::config::Configuration;
/// use wiesel_datastream::Environment;
/// use wiesel_graph::GraphDefaults;
///
/// let env = Environment::new();
/// let doubled = env.from_collection([1_u64, 2, 3]).map(|n| n * 2).collect();
/// let config = Configuration::new();
/// let graph = env.job_graph("double", &GraphDefaults::from_config(&config, 2))?;
/// let result = MiniCluster::submit(graph, &config, SubmitOptions::default())?.wait();
/// assert!(result.failure.is_none());
/// let mut doubled = doubled.take();
/// doubled.sort();
/// assert_eq!(doubled, [2, 4, 6]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MiniCluster;

/// A job that runs, or has run. It runs in this process, and ends with it.
#[must_use = "the job ends when `main` does: wait for it with `.wait()`"]
pub struct JobClient {
    job: JobId,
    shared: Arc<Shared>,
    control: Door,
    machine: Machine,
    /// There if the job has a folder of checkpoints.
    socket: Option<local::Listener>,
}

/// A job that runs, or has run, from any thread.
#[derive(Clone)]
pub struct JobHandle {
    shared: Arc<Shared>,
    control: Door,
}

/// How a job ended.
#[derive(Debug)]
pub struct JobResult {
    /// Finished, failed or canceled.
    pub status: JobStatus,
    /// Why it failed.
    pub failure: Option<FailureReport>,
    /// The signal that cancelled it.
    pub signal: Option<i32>,
    /// Nobody read its output any more; it was stopped, and that is not an error.
    pub output_closed: bool,
    /// What it had done by then.
    pub progress: JobProgress,
    /// Programs of the runtime that panicked. Report them: a panic in user code is a failure, not one of these.
    pub panics: Vec<Panicked>,
    /// The frames of each shard, when its worker ended.
    pub pools: Vec<PoolReport>,
}

/// What the control program tells and is told.
pub(crate) struct Shared {
    cancel: AtomicBool,
    /// None when the job is over.
    requests: Mutex<Option<Vec<Request>>>,
    pools: Vec<Arc<PoolMetrics>>,
    state: Mutex<State>,
}

struct State {
    status: JobStatus,
    failure: Option<FailureReport>,
    signal: Option<i32>,
    progress: Option<JobProgress>,
    /// Where a task did not stop.
    stuck: BTreeSet<ShardId>,
}

impl Shared {
    pub(crate) fn new(pools: Vec<Arc<PoolMetrics>>) -> Self {
        let state = State {
            status: JobStatus::Created,
            failure: None,
            signal: None,
            progress: None,
            stuck: BTreeSet::new(),
        };
        Self {
            cancel: AtomicBool::new(false),
            requests: Mutex::new(Some(Vec::new())),
            pools,
            state: Mutex::new(state),
        }
    }

    /// Nobody panics while holding the lock, and if somebody did the values are still whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_cancel_wanted(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    fn requests(&self) -> MutexGuard<'_, Option<Vec<Request>>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that have come since.
    pub(crate) fn take_requests(&self) -> Vec<Request> {
        self.requests().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The job is over: whoever asks is told so.
    pub(crate) fn close(&self) {
        *self.requests() = None;
    }

    pub(crate) fn set_status(&self, status: JobStatus) {
        self.state().status = status;
    }

    pub(crate) fn set_failure(&self, failure: Option<FailureReport>) {
        self.state().failure = failure;
    }

    pub(crate) fn set_stuck(&self, shards: BTreeSet<ShardId>) {
        self.state().stuck = shards;
    }

    /// Whether this shard, or the helper's (behind those of the workers), is not to be waited for. The helper ends when all
    /// workers have.
    fn is_stuck(&self, shard: ShardId) -> bool {
        let stuck = &self.state().stuck;
        let is_helper = shard.index() >= self.pools.len();
        stuck.contains(&shard) || (is_helper && !stuck.is_empty())
    }

    pub(crate) fn set_progress(&self, progress: JobProgress) {
        self.state().progress = Some(progress);
    }

    /// Keeps the first signal; says whether this was it.
    pub(crate) fn note_signal(&self, signal: i32) -> bool {
        let mut state = self.state();
        let first = state.signal.is_none();
        state.signal.get_or_insert(signal);
        first
    }

    pub(crate) fn result(&self, panics: Vec<Panicked>) -> JobResult {
        let state = self.state();
        let output_closed =
            state.failure.as_ref().is_some_and(|failure| failure.doing == OUTPUT_CLOSED);
        let empty = JobProgress {
            status: state.status,
            elapsed: Default::default(),
            tasks: Vec::new(),
            checkpoints: None,
        };
        JobResult {
            status: state.status,
            failure: state.failure.clone(),
            signal: state.signal,
            output_closed,
            progress: state.progress.clone().unwrap_or(empty),
            panics,
            pools: self.pools.iter().map(|pool| pool.read()).collect(),
        }
    }
}

impl MiniCluster {
    /// Starts a job on this machine: as many shards as it needs, pinned if there is a core for each.
    ///
    /// # Errors
    ///
    /// If the machine is not fit, a source or sink is not ready, or there are too few slots. Nothing runs then.
    pub fn submit(
        graph: JobGraph<VertexCode>,
        config: &Configuration,
        options: SubmitOptions,
    ) -> Result<JobClient, ClusterError> {
        let mut cluster = ClusterOptions::from_config(config, &graph)?;
        cluster.checkpoints.fresh = options.fresh;
        cluster.checkpoints.allow_non_restored = options.allow_non_restored;
        cluster.worker.allow_non_restored = options.allow_non_restored;
        cluster.probe()?;
        let handle_signals = options.handle_signals;
        let Assembly { job, launch, shared, folder } = assemble(graph, &cluster, options)?;
        let control = launch.control_door();
        if handle_signals {
            signals::install(control.clone()).map_err(ClusterError::Doors)?;
        }
        let machine = Machine::start(launch)?;
        let handle = JobHandle { shared: Arc::clone(&shared), control: control.clone() };
        let socket = folder.and_then(|folder| control_socket::listen(&folder, handle));
        Ok(JobClient { job, shared, control, machine, socket })
    }
}

impl JobHandle {
    pub(crate) fn new(shared: Arc<Shared>, control: Door) -> Self {
        Self { shared, control }
    }

    /// What the JobMaster last said.
    pub fn status(&self) -> JobStatus {
        self.shared.state().status
    }

    /// What the job has done; none before the first heartbeat.
    pub fn progress(&self) -> Option<JobProgress> {
        self.shared.state().progress.clone()
    }

    /// Asks the job to stop. It does so within a turn.
    pub fn cancel(&self) {
        self.shared.cancel.store(true, Ordering::Relaxed);
        self.control.knock();
    }

    /// The same, as if this signal had come.
    pub(crate) fn terminate(&self, signal: i32) {
        self.shared.note_signal(signal);
        self.cancel();
    }

    /// Takes a savepoint while the job goes on, and waits for it: a folder of its own, made in `folder` or in
    /// `execution.checkpointing.savepoint-dir`, that needs no other file and can be moved. It belongs to whoever asked:
    /// the job neither removes it nor falls back to it, and its sinks commit nothing for it.
    ///
    /// # Errors
    ///
    /// If the job takes no checkpoints, does not run now, is at another savepoint, or cannot write it.
    pub fn savepoint(&self, folder: Option<&Path>) -> Result<PathBuf, SavepointError> {
        self.ask(folder, None)
    }

    /// The same, and after it the job is over, `FINISHED`: sources have read nothing more, and sinks have committed what
    /// came before. With `drain` event time ends first, so that all windows fire: the results are whole, and there is
    /// nothing to go on with but what sources have not read. Without, windows stay open and go on from the savepoint.
    ///
    /// # Errors
    ///
    /// As [`savepoint`](Self::savepoint). One that fails half way fails the job, since its sources hold still; a restart
    /// strategy starts it again.
    pub fn stop_with_savepoint(
        &self,
        folder: Option<&Path>,
        drain: bool,
    ) -> Result<PathBuf, SavepointError> {
        self.ask(folder, Some(drain))
    }

    /// As [`savepoint`](Self::savepoint), or with `stop` as [`stop_with_savepoint`](Self::stop_with_savepoint), whose
    /// `drain` it says; but returns at once. The answer comes over the channel; none does if the job is over before.
    pub fn request_savepoint(
        &self,
        folder: Option<&Path>,
        stop: Option<bool>,
    ) -> mpsc::Receiver<Result<PathBuf, SavepointError>> {
        let (answer, answered) = mpsc::channel();
        let request = Request { folder: folder.map(Path::to_owned), stop, answer };
        if let Some(requests) = self.shared.requests().as_mut() {
            requests.push(request);
        }
        self.control.knock();
        answered
    }

    fn ask(&self, folder: Option<&Path>, stop: Option<bool>) -> Result<PathBuf, SavepointError> {
        let answered = self.request_savepoint(folder, stop);
        answered.recv().unwrap_or(Err(SavepointError::JobOver))
    }
}

impl JobClient {
    /// The id of the job.
    pub fn job_id(&self) -> JobId {
        self.job
    }

    /// What the JobMaster last said.
    pub fn status(&self) -> JobStatus {
        self.shared.state().status
    }

    /// What the job has done; none before the first heartbeat.
    pub fn progress(&self) -> Option<JobProgress> {
        self.shared.state().progress.clone()
    }

    /// What each shard counts about itself, in order of the shards.
    pub fn counters(&self) -> &[Arc<ShardCounters>] {
        self.machine.counters()
    }

    /// The frames of each shard, as of its worker's last heartbeat.
    pub fn pools(&self) -> Vec<PoolReport> {
        self.shared.pools.iter().map(|pool| pool.read()).collect()
    }

    /// The job, for other threads.
    pub fn handle(&self) -> JobHandle {
        JobHandle { shared: Arc::clone(&self.shared), control: self.control.clone() }
    }

    /// Asks the job to stop. It does so within a turn.
    pub fn cancel(&self) {
        self.handle().cancel();
    }

    /// See [`JobHandle::savepoint`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn savepoint(&self, folder: Option<&Path>) -> Result<PathBuf, SavepointError> {
        self.handle().savepoint(folder)
    }

    /// See [`JobHandle::stop_with_savepoint`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn stop_with_savepoint(
        &self,
        folder: Option<&Path>,
        drain: bool,
    ) -> Result<PathBuf, SavepointError> {
        self.handle().stop_with_savepoint(folder, drain)
    }

    /// Waits until the job is over and every shard has ended, but for those where a task did not stop in time: the function that
    /// it is in may never return. That is the job's failure then, and what runs there goes on until the process ends.
    pub fn wait(self) -> JobResult {
        let shared = Arc::clone(&self.shared);
        let report = self.machine.join_but(move |shard| shared.is_stuck(shard));
        drop(self.socket);
        let panics = report.shards.into_iter().chain([report.control]).filter_map(Result::err);
        self.shared.result(panics.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_stuck_shard_nor_the_helper_behind_it_is_waited_for() {
        let shared = Shared::new(vec![Arc::default(), Arc::default()]);
        let stuck = || [0, 1, 2].map(|at| shared.is_stuck(ShardId(at)));
        assert_eq!(stuck(), [false; 3], "all are joined");
        shared.set_stuck([ShardId(1)].into());
        assert_eq!(stuck(), [false, true, true]);
    }
}
