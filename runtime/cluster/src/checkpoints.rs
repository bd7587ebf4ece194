//! The checkpoints of a job on this machine: the folder, and what the JobMaster wants done.
//!
//! ```text
//!   <execution.checkpointing.dir>/<job>/     locked by this process while it runs
//!       chk-7/_metadata, chk-7/1-0.data …    `state/storage`
//!
//!   open ─▶ newest whole checkpoint ─by uid─▶ CheckpointPlan ─▶ JobMaster ─▶ CheckpointEffect ─▶ carry_out
//! ```
//!
//! # What is always true
//!
//! 1. A manifest is stored when all have acknowledged, that is when all files that it names are durable.
//! 2. A checkpoint has a number above all that were there, and above those in the names of visible output.
//! 3. These calls wait; they run on the control thread.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use wiesel_checkpoint::{CheckpointConfig, CheckpointKind, RestartConfig};
use wiesel_connectors::MachineDiscovery;
use wiesel_core::{
    CheckpointId, JobId, SubtaskIndex, TaskFailure, TaskId, Timestamp, VertexId,
    config::{
        CheckpointRetention, CheckpointingMode, Configuration, FailoverStrategy, RecoveryClaimMode,
        options,
    },
};
use wiesel_datastream::{SinkPreparation, VertexCode};
use wiesel_graph::JobGraph;
use wiesel_jobmanager::{CheckpointEffect, CheckpointPlan, CompletedCheckpoint, Event, JobStatus};
use wiesel_shard::fs;
use wiesel_storage::{
    CheckpointDirectory, Kind, LocalStorage, Manifest, OwnerLock, StorageError, SubtaskState,
    VertexState,
};
use wiesel_task::Checkpoints;

use crate::{ClusterError, savepoints::Requests};

/// What the configuration says of checkpoints and restarts.
#[derive(Clone, Debug)]
pub struct CheckpointSettings {
    /// The folder of all jobs; none if the job takes no checkpoints. Without an interval it takes savepoints and, when
    /// all is read, the final one.
    pub folder: Option<PathBuf>,
    /// When, and how many are kept.
    pub config: CheckpointConfig,
    /// What follows a failure.
    pub restart: RestartConfig,
    /// For whom.
    pub failover: FailoverStrategy,
    /// Begin without what is there, which is removed.
    pub fresh: bool,
    /// State that no operator takes is dropped.
    pub allow_non_restored: bool,
    /// The folder of savepoints that name none.
    pub savepoints: Option<PathBuf>,
    /// The savepoint, or the checkpoint, to start from, whatever else is there.
    pub recovery: Option<PathBuf>,
    /// Whose that is then.
    pub claim_mode: RecoveryClaimMode,
}

impl CheckpointSettings {
    /// Those of a job that takes no checkpoints and does not restart.
    pub fn off() -> Self {
        let config = CheckpointConfig::default();
        Self {
            folder: None,
            config,
            restart: RestartConfig::None,
            failover: FailoverStrategy::Region,
            fresh: false,
            allow_non_restored: false,
            savepoints: None,
            recovery: None,
            claim_mode: RecoveryClaimMode::NoClaim,
        }
    }

    /// The plan of a job that takes no checkpoints but may begin anew.
    pub(crate) fn restarts_only(&self) -> Option<CheckpointPlan> {
        let restarts = self.restart != RestartConfig::None;
        restarts.then(|| CheckpointPlan {
            config: CheckpointConfig { interval: None, ..self.config.clone() },
            restart: self.restart,
            failover: self.failover,
            first_id: CheckpointId(1),
            retained: Vec::new(),
            restored: None,
            seed: 0,
        })
    }

    /// What tasks are told.
    pub(crate) fn of_tasks(&self) -> Checkpoints {
        match self.config.mode {
            _ if self.folder.is_none() => Checkpoints::Off,
            CheckpointingMode::ExactlyOnce => Checkpoints::ExactlyOnce,
            CheckpointingMode::AtLeastOnce => Checkpoints::AtLeastOnce,
        }
    }

    /// What the configuration says.
    ///
    /// # Errors
    ///
    /// If checkpoints are on, or the job is to start from a savepoint, and there is no folder for them.
    pub fn of(config: &Configuration) -> Result<Self, ClusterError> {
        let checkpoints = CheckpointConfig::of(config);
        let folder = config.get(&options::CHECKPOINTING_DIRECTORY).map(PathBuf::from);
        let recovery = config.get(&options::STATE_RECOVERY_PATH).map(PathBuf::from);
        if (checkpoints.interval.is_some() || recovery.is_some()) && folder.is_none() {
            return Err(ClusterError::CheckpointFolder);
        }
        Ok(Self {
            folder,
            savepoints: config.get(&options::SAVEPOINT_DIRECTORY).map(PathBuf::from),
            recovery,
            claim_mode: config.get(&options::STATE_RECOVERY_CLAIM_MODE),
            restart: RestartConfig::of(config),
            failover: config.get(&options::FAILOVER_STRATEGY),
            config: checkpoints,
            fresh: false,
            allow_non_restored: false,
        })
    }
}

/// What is known of a vertex beside its state.
pub(crate) struct VertexName {
    pub(crate) uid: String,
    pub(crate) name: String,
    pub(crate) operators: Vec<String>,
    pub(crate) parallelism: u32,
    pub(crate) max_parallelism: u32,
    pub(crate) sink: Option<Box<dyn SinkPreparation>>,
}

/// The folder of one job, owned by this process.
pub(crate) struct JobCheckpoints {
    pub(crate) job: JobId,
    pub(crate) job_name: String,
    pub(crate) folder: PathBuf,
    pub(crate) directory: CheckpointDirectory<LocalStorage>,
    /// Where savepoints go that name no folder.
    pub(crate) savepoints: Option<PathBuf>,
    pub(crate) requests: Requests,
    pub(crate) vertices: Vec<VertexName>,
    /// When barriers were sent, by the wall clock.
    begun: BTreeMap<CheckpointId, Timestamp>,
    retention: CheckpointRetention,
    /// Sinks whose last commit has failed.
    uncommitted: BTreeSet<VertexId>,
    _owner: OwnerLock,
}

/// Where a job has its checkpoints, below the folder of all jobs.
pub(crate) fn folder_of_job(folder: &Path, job: &str) -> PathBuf {
    folder.join(folder_name(job))
}

/// The name of a job as that of a folder: `trending-hashtags`.
fn folder_name(job: &str) -> String {
    let plain =
        |c: char| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_lowercase() } else { '-' };
    let name: String = job.chars().map(plain).collect();
    if name.is_empty() { "job".to_owned() } else { name }
}

impl JobCheckpoints {
    /// Takes the job's folder, finds what the job continues from, and makes ready for it: commits and cleans up.
    pub(crate) fn open(
        settings: &CheckpointSettings,
        folder: &Path,
        job: JobId,
        graph: &JobGraph<VertexCode>,
    ) -> Result<(Self, CheckpointPlan), ClusterError> {
        let folder = folder_of_job(folder, &graph.name);
        fs::create_dir_all(&folder).map_err(StorageError::from)?;
        let owner = OwnerLock::acquire(&folder)?;
        if let Some(stale) = owner.stale_owner() {
            tracing::info!(folder = %folder.display(), "{stale} did not end by itself");
        }
        let directory = CheckpointDirectory::new(LocalStorage::open(&folder)?);
        let vertices = graph.vertices.iter().map(|vertex| VertexName {
            uid: vertex.uid().to_owned(),
            name: vertex.name().to_owned(),
            operators: vertex.operators.iter().map(|operator| operator.uid.clone()).collect(),
            parallelism: vertex.parallelism,
            max_parallelism: vertex.max_parallelism,
            sink: vertex.factory.sink.clone(),
        });
        let checkpoints = Self {
            job,
            job_name: graph.name.clone(),
            folder,
            directory,
            savepoints: settings.savepoints.clone(),
            requests: Requests::default(),
            vertices: vertices.collect(),
            begun: BTreeMap::new(),
            retention: settings.config.retention,
            uncommitted: BTreeSet::new(),
            _owner: owner,
        };
        let visible = checkpoints.of_sinks(|sink| sink.newest_visible(&MachineDiscovery))?;
        let above_visible = visible.into_iter().flatten().max().map_or(0, |newest| newest.0 + 1);
        let restored = checkpoints.find(settings, above_visible)?;
        let first_id = CheckpointId(checkpoints.directory.next_id()?.max(above_visible));
        let leftovers = checkpoints.directory.clean(&BTreeSet::new())?; // Behind the id: a folder holds its number.
        for unknown in leftovers.unknown {
            tracing::warn!(file = %unknown, "not a file of a checkpoint: it stays");
        }
        let mut retained = checkpoints.directory.list()?;
        retained.reverse();
        checkpoints.prepare_sinks(restored.as_ref())?;
        let plan = CheckpointPlan {
            config: settings.config.clone(),
            restart: settings.restart,
            failover: settings.failover,
            first_id,
            retained: retained.into_iter().map(CheckpointId).collect(),
            restored,
            seed: job.0 as u64 ^ first_id.0,
        };
        Ok((checkpoints, plan))
    }

    /// The folder of the job.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Does what the JobMaster wants done; what it has to be told about that.
    pub(crate) fn carry_out(&mut self, now: Timestamp, effect: CheckpointEffect) -> Option<Event> {
        match effect {
            CheckpointEffect::Begin(id) => {
                self.begun.insert(id, now);
                if let Err(error) = self.directory.begin(id.0) {
                    tracing::warn!(checkpoint = %id, "its folder cannot be made: {error}");
                }
                None
            }
            CheckpointEffect::Store(CheckpointKind::Checkpoint, completed) => {
                Some(self.store(now, &completed))
            }
            CheckpointEffect::Store(kind, completed) => {
                Some(self.store_savepoint(now, kind, &completed))
            }
            CheckpointEffect::SavepointDone(request, id) => {
                tracing::info!(savepoint = %id, "complete");
                self.savepoint_done(request);
                None
            }
            CheckpointEffect::SavepointFailed(request, reason) => {
                self.savepoint_failed(request, reason);
                None
            }
            CheckpointEffect::Commit(vertex, committables) => {
                let (id, vertex) = (vertex, &self.vertices[vertex.index()]);
                let committed = vertex.sink.as_ref()?.commit(&committables, &MachineDiscovery);
                match committed {
                    Ok(()) => self.uncommitted.remove(&id),
                    Err(_) => self.uncommitted.insert(id),
                };
                committed.err().map(|failure: TaskFailure| {
                    Event::CommitFailed((&failure.uid(&vertex.uid)).into())
                })
            }
            CheckpointEffect::Completed(id) => {
                tracing::debug!(checkpoint = %id, "complete");
                None
            }
            CheckpointEffect::Aborted { checkpoint, reason, has_failed } => {
                self.begun.remove(&checkpoint);
                if has_failed {
                    tracing::warn!(checkpoint = %checkpoint, "aborted: {reason}");
                } else {
                    tracing::info!(checkpoint = %checkpoint, "not completed: {reason}");
                }
                None
            }
            CheckpointEffect::Skipped(reason) => {
                tracing::info!("no checkpoint now: {reason}");
                None
            }
            CheckpointEffect::Discard(id) => {
                if let Err(error) = self.directory.discard(id.0, &BTreeSet::new()) {
                    tracing::warn!(checkpoint = %id, "not removed: {error}");
                }
                None
            }
            CheckpointEffect::DiscardState(id, handles) => {
                let files = handles.iter().flat_map(|handle| &handle.files);
                let files = files.map(|file| file.path.as_str());
                if let Err(error) = self.directory.discard_files(files, &BTreeSet::new()) {
                    tracing::warn!(checkpoint = %id, "its files are not removed: {error}");
                }
                None
            }
            CheckpointEffect::Rewire(tasks) => {
                let failed = self.clean_up(&tasks).err();
                failed.map(|failure| Event::CommitFailed((&failure).into()))
            }
        }
    }

    /// Removes what the writers of these tasks have left. Not that of a sink whose last commit has failed: it is tried again
    /// with the next restart, which that failure leads to.
    fn clean_up(&self, tasks: &[TaskId]) -> Result<(), TaskFailure> {
        for (index, vertex) in (0..).zip(&self.vertices) {
            let of_vertex = tasks.iter().filter(|task| task.vertex == VertexId(index));
            let subtasks: Vec<_> = of_vertex.map(|task| task.subtask).collect();
            let Some(sink) = vertex.sink.as_ref().filter(|_| !subtasks.is_empty()) else {
                continue;
            };
            if self.uncommitted.contains(&VertexId(index)) {
                continue;
            }
            // Nobody writes there: what others have left as well goes with it.
            let are_all = subtasks.len() == vertex.parallelism as usize;
            let subtasks = (!are_all).then_some(subtasks.as_slice());
            sink.clean_up(subtasks, &MachineDiscovery)
                .map_err(|failure| failure.uid(&vertex.uid))?;
        }
        Ok(())
    }

    /// The job is over: what is to be deleted then goes.
    pub(crate) fn close(&self, status: JobStatus) {
        let keeps = match self.retention {
            // A job that has finished keeps its last one, which says so.
            _ if status == JobStatus::Finished => true,
            CheckpointRetention::RetainOnCancellation => true,
            CheckpointRetention::DeleteOnCancellation => status != JobStatus::Canceled,
            CheckpointRetention::NoExternalizedCheckpoints => false,
        };
        if keeps {
            return;
        }
        let ids = self.directory.list().unwrap_or_default();
        for id in ids {
            if let Err(error) = self.directory.discard(id, &BTreeSet::new()) {
                tracing::warn!(checkpoint = id, "not removed: {error}");
            }
        }
    }

    fn store(&mut self, now: Timestamp, completed: &Arc<CompletedCheckpoint>) -> Event {
        let checkpoint = completed.id;
        let manifest = self.manifest_of(completed, now);
        match self.directory.store(&manifest) {
            Ok(()) => Event::Stored(checkpoint),
            Err(error) => Event::StoreFailed {
                checkpoint,
                ambiguous: error.is_ambiguous(),
                reason: error.to_string(),
            },
        }
    }

    /// The manifest of what all tasks have acknowledged now.
    pub(crate) fn manifest_of(
        &mut self,
        completed: &CompletedCheckpoint,
        now: Timestamp,
    ) -> Manifest {
        let triggered = self.begun.remove(&completed.id).unwrap_or(now);
        let vertices = (0..).zip(&self.vertices).map(|(index, vertex)| {
            let id = VertexId(index);
            let subtasks = (0..vertex.parallelism).map(|subtask| {
                let task = TaskId { vertex: id, subtask: SubtaskIndex(subtask) };
                let handle = completed.tasks.get(&task);
                SubtaskState {
                    finished: completed.finished.contains(&task),
                    files: handle.map(|handle| handle.files.clone()).unwrap_or_default(),
                }
            });
            VertexState {
                uid: vertex.uid.clone(),
                name: vertex.name.clone(),
                operators: vertex.operators.clone(),
                parallelism: vertex.parallelism,
                max_parallelism: vertex.max_parallelism,
                enumerator: completed.enumerators.get(&id).cloned(),
                subtasks: subtasks.collect(),
            }
        });
        Manifest {
            job: self.job,
            job_name: self.job_name.clone(),
            checkpoint: completed.id.0,
            kind: Kind::Checkpoint,
            triggered,
            completed: now,
            is_final: completed.is_final,
            vertices: vertices.collect(),
        }
    }
}
