//! The checkpoints of a job on this machine: the folder, what is continued from, and what the JobMaster wants done.
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
//! 1. A vertex is found again by its uid. State that no vertex takes is an error, unless it is allowed to be dropped.
//! 2. A manifest is stored when all have acknowledged, that is when all files that it names are durable.
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
    config::{CheckpointRetention, CheckpointingMode, Configuration, RecoveryClaimMode, options},
};
use wiesel_datastream::{SinkPreparation, VertexCode};
use wiesel_graph::JobGraph;
use wiesel_jobmanager::{CheckpointEffect, CheckpointPlan, CompletedCheckpoint, Event, JobStatus};
use wiesel_rpc::StateHandle;
use wiesel_shard::fs;
use wiesel_storage::{
    CheckpointDirectory, FileEntry, Kind, LocalStorage, Manifest, OwnerLock, PartKind,
    StorageError, SubtaskState, VertexState,
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
            config: checkpoints,
            fresh: false,
            allow_non_restored: false,
        })
    }
}

/// What is known of a vertex beside its state.
struct VertexName {
    uid: String,
    name: String,
    operators: Vec<String>,
    parallelism: u32,
    max_parallelism: u32,
    sink: Option<Box<dyn SinkPreparation>>,
}

/// The folder of one job, owned by this process.
pub(crate) struct JobCheckpoints {
    pub(crate) job: JobId,
    job_name: String,
    folder: PathBuf,
    pub(crate) directory: CheckpointDirectory<LocalStorage>,
    /// Where savepoints go that name no folder.
    pub(crate) savepoints: Option<PathBuf>,
    pub(crate) requests: Requests,
    vertices: Vec<VertexName>,
    /// When barriers were sent, by the wall clock.
    begun: BTreeMap<CheckpointId, Timestamp>,
    retention: CheckpointRetention,
    _owner: OwnerLock,
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
        let folder = folder.join(folder_name(&graph.name));
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
            _owner: owner,
        };
        let restored = checkpoints.find(settings)?;
        let first_id = CheckpointId(checkpoints.directory.next_id()?);
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

    /// What the job continues from.
    fn find(
        &self,
        settings: &CheckpointSettings,
    ) -> Result<Option<CompletedCheckpoint>, ClusterError> {
        if settings.fresh {
            for id in self.directory.list()? {
                self.directory.discard(id, &BTreeSet::new())?;
            }
        }
        if let Some(path) = &settings.recovery {
            return self.restore_savepoint(settings, path).map(Some);
        }
        if settings.fresh {
            return Ok(None);
        }
        let found = self.directory.newest()?;
        for (id, damage) in &found.damaged {
            tracing::warn!(checkpoint = id, "damaged, falling back to the one before: {damage}");
        }
        let Some(manifest) = found.manifest else { return Ok(None) };
        let restored = self.completed_of(&manifest, settings.allow_non_restored)?;
        if manifest.is_final {
            // It may have been killed before its last commit, or the machine before its last removal was durable.
            self.prepare_sinks(Some(&restored))?;
            self.directory.clean(&BTreeSet::new())?;
            let folder = self.folder.clone();
            return Err(ClusterError::Finished { job: self.job_name.clone(), folder });
        }
        tracing::info!(checkpoint = manifest.checkpoint, "continuing");
        Ok(Some(restored))
    }

    /// A manifest as the JobMaster knows it: vertices by position.
    pub(crate) fn completed_of(
        &self,
        manifest: &Manifest,
        allow_non_restored: bool,
    ) -> Result<CompletedCheckpoint, ClusterError> {
        let mut completed =
            CompletedCheckpoint { id: CheckpointId(manifest.checkpoint), ..Default::default() };
        for state in &manifest.vertices {
            let found = (0_u32..).zip(&self.vertices).find(|(_, vertex)| vertex.uid == state.uid);
            let Some((index, vertex)) = found else {
                let has_state = state.subtasks.iter().any(|subtask| !subtask.files.is_empty());
                if has_state && !allow_non_restored {
                    let (uid, name) = (state.uid.clone(), state.name.clone());
                    return Err(ClusterError::NotRestored { uid, name });
                }
                tracing::warn!(uid = %state.uid, "its state is dropped: no operator has this uid");
                continue;
            };
            let is_keyed = |file: &FileEntry| {
                file.parts.iter().any(|part| matches!(part.kind, PartKind::Keyed(_)))
            };
            let mut files = state.subtasks.iter().flat_map(|subtask| &subtask.files);
            if vertex.max_parallelism != state.max_parallelism && files.any(is_keyed) {
                return Err(ClusterError::MaxParallelism {
                    uid: state.uid.clone(),
                    was: state.max_parallelism,
                    is: vertex.max_parallelism,
                });
            }
            let vertex = VertexId(index);
            if let Some(enumerator) = &state.enumerator {
                completed.enumerators.insert(vertex, enumerator.clone());
            }
            for (subtask, state) in (0..).zip(&state.subtasks) {
                let task = TaskId { vertex, subtask: SubtaskIndex(subtask) };
                if state.finished {
                    completed.finished.insert(task);
                }
                let committables = self.committables(&state.files)?;
                let files = state.files.clone();
                completed
                    .tasks
                    .insert(task, StateHandle { files, committables, ..Default::default() });
            }
        }
        Ok(completed)
    }

    fn committables(&self, files: &[FileEntry]) -> Result<Vec<Vec<u8>>, StorageError> {
        let mut committables = Vec::new();
        for file in files {
            for part in file.parts.iter().filter(|part| part.kind == PartKind::Committable) {
                committables.push(self.directory.read(file, part)?);
            }
        }
        Ok(committables)
    }

    /// Commits what the checkpoint holds and removes what nobody will commit; of a fresh job, prepares the ground.
    fn prepare_sinks(&self, restored: Option<&CompletedCheckpoint>) -> Result<(), ClusterError> {
        for (index, vertex) in (0..).zip(&self.vertices) {
            let Some(sink) = &vertex.sink else { continue };
            let prepared = match restored {
                None => sink.prepare(&MachineDiscovery),
                Some(completed) => {
                    let of_vertex =
                        completed.tasks.iter().filter(|(task, _)| task.vertex == VertexId(index));
                    let committables: Vec<_> = of_vertex
                        .flat_map(|(_, handle)| handle.committables.iter().cloned())
                        .collect();
                    // Of a sink that is new there is nothing, and its folder is made by the clean-up.
                    let committed = match committables.is_empty() {
                        true => Ok(()),
                        false => sink.commit(&committables, &MachineDiscovery),
                    };
                    committed.and_then(|()| sink.clean_up(&MachineDiscovery))
                }
            };
            prepared.map_err(|failure| ClusterError::Prepare(failure.uid(&vertex.uid)))?;
        }
        Ok(())
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
                let vertex = &self.vertices[vertex.index()];
                let committed = vertex.sink.as_ref()?.commit(&committables, &MachineDiscovery);
                committed.err().map(|failure: TaskFailure| {
                    Event::CommitFailed((&failure.uid(&vertex.uid)).into())
                })
            }
            CheckpointEffect::Completed(id) => {
                tracing::debug!(checkpoint = %id, "complete");
                None
            }
            CheckpointEffect::Aborted(id, reason) => {
                self.begun.remove(&id);
                tracing::warn!(checkpoint = %id, "aborted: {reason}");
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
            CheckpointEffect::Rewire => {
                for vertex in &self.vertices {
                    let cleaned = vertex.sink.as_ref().map(|sink| sink.clean_up(&MachineDiscovery));
                    if let Some(Err(failure)) = cleaned {
                        return Some(Event::CommitFailed((&failure.uid(&vertex.uid)).into()));
                    }
                }
                None
            }
        }
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
                    watermark: Timestamp::MIN,
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
