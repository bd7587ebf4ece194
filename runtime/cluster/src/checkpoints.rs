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

use wiesel_checkpoint::CheckpointKind;
use wiesel_connectors::MachineDiscovery;
use wiesel_core::{
    Blame, CheckpointId, JobId, SubtaskIndex, TaskFailure, TaskId, Timestamp, VertexId,
    config::CheckpointRetention,
};
use wiesel_datastream::{SinkPreparation, VertexCode};
use wiesel_graph::JobGraph;
use wiesel_jobmanager::{CheckpointEffect, CheckpointPlan, CompletedCheckpoint, Event, JobStatus};
use wiesel_shard::fs;
use wiesel_storage::{
    CheckpointDirectory, Ending, Hash, Kind, Leftovers, LocalStorage, Manifest, OwnerLock,
    StorageError, SubtaskState, VertexState,
};

use crate::{
    CheckpointSettings, ClusterError, claims::Chain, outputs::Outputs, savepoints::Requests,
};

/// The highest number that the first checkpoint of a process may have: there are more behind it than anybody takes.
const FIRST_ID_MAX: u64 = u64::MAX / 2;

/// What is known of a vertex beside its state.
pub(crate) struct VertexName {
    pub(crate) uid: String,
    pub(crate) name: String,
    pub(crate) operators: Vec<String>,
    pub(crate) parallelism: u32,
    pub(crate) max_parallelism: u32,
    pub(crate) is_source: bool,
    pub(crate) sink: Option<Box<dyn SinkPreparation>>,
    /// What its last operator is called.
    last: String,
}

impl VertexName {
    /// What decides which state it continues with.
    pub(crate) fn chain(&self) -> Chain<'_> {
        Chain {
            operators: &self.operators,
            max_parallelism: self.max_parallelism,
            is_source: self.is_source,
            sink: self.sink.as_ref().map(|_| self.last.as_str()),
        }
    }
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
    /// Checkpoints that failed, and whose manifest may be there all the same.
    undecided: BTreeSet<CheckpointId>,
    _owner: OwnerLock,
}

/// Where a job has its checkpoints, below the folder of all jobs.
pub(crate) fn folder_of_job(folder: &Path, job: &str) -> PathBuf {
    folder.join(folder_name(job))
}

/// The name of a job as that of a folder. A hash tells those apart that differ in what a folder's name should not have.
fn folder_name(job: &str) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if !job.is_empty() && job.chars().all(is_plain) {
        return job.to_owned();
    }
    let plain = |c: char| Some(c.to_ascii_lowercase()).filter(|c| is_plain(*c)).unwrap_or('-');
    let name: String = job.chars().map(plain).collect();
    format!("{name}-{}", &Hash::of(job.as_bytes()).to_string()[..6])
}

impl JobCheckpoints {
    /// Takes the job's folder, finds what the job continues from, and makes ready for it: commits and cleans up.
    pub(crate) fn open(
        settings: &CheckpointSettings,
        folder: &Path,
        job: JobId,
        graph: &JobGraph<VertexCode>,
        outputs: &mut Outputs,
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
            is_source: vertex.is_source,
            last: vertex.operators.last().map_or_else(String::new, |last| last.name.clone()),
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
            undecided: BTreeSet::new(),
            _owner: owner,
        };
        outputs.take_existing(checkpoints.sinks())?;
        let visible = checkpoints.of_sinks(|sink| sink.newest_visible(&MachineDiscovery))?;
        let newest = visible.into_iter().flatten().max();
        let above_visible = newest.map_or(0, |newest| newest.0.saturating_add(1));
        let free = |id: u64| {
            if id <= FIRST_ID_MAX {
                Ok(CheckpointId(id))
            } else {
                Err(ClusterError::NoNumberLeft { highest: id - 1 })
            }
        };
        free(checkpoints.directory.next_id()?.max(above_visible))?;
        let restored = checkpoints.find(settings, above_visible, outputs)?;
        checkpoints.set_damaged_aside()?;
        let first_id = free(checkpoints.directory.next_id()?.max(above_visible))?;
        let leftovers = checkpoints.directory.clean(&BTreeSet::new())?; // Behind the id: a folder holds its number.
        for unknown in leftovers.unknown {
            tracing::warn!(file = %unknown, "not a file of a checkpoint: it stays");
        }
        let mut retained = checkpoints.directory.list()?;
        retained.reverse();
        match &restored {
            None => checkpoints.agree(outputs)?,
            Some(_) => outputs.take(checkpoints.sinks())?,
        }
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
                self.discard(id.0);
                None
            }
            CheckpointEffect::DiscardState(id, handles) => {
                let files = handles.iter().flat_map(|handle| &handle.files);
                let files = files.map(|file| file.path.as_str());
                let discarded = self.directory.discard_files(files, &BTreeSet::new());
                if let Err(error) = discarded.and_then(|left| self.discard_kept(&left)) {
                    tracing::warn!(checkpoint = %id, "its files are not removed: {error}");
                }
                None
            }
            CheckpointEffect::Rewire(tasks) => {
                let failed = self.decide().and_then(|()| self.clean_up(&tasks)).err();
                failed.map(|failure| Event::CommitFailed((&failure).into()))
            }
        }
    }

    /// Takes back checkpoints that nobody knows to be there or not, before anything goes that they count on: a process that is
    /// started after this one would continue from them.
    fn decide(&mut self) -> Result<(), TaskFailure> {
        while let Some(id) = self.undecided.first().copied() {
            self.directory.take_back(id.0).map_err(|error| {
                let doing = format!("take back checkpoint {id}, which could not be stored");
                TaskFailure::new(Blame::Environment, doing, error)
            })?;
            self.undecided.remove(&id);
        }
        Ok(())
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
            self.discard(id);
        }
    }

    /// Removes a checkpoint and the files that it alone needs.
    fn discard(&self, id: u64) {
        let discarded = match self.directory.discard(id, &BTreeSet::new()) {
            Err(StorageError::Damaged(damage)) => {
                tracing::warn!(checkpoint = id, "not removed: {damage}");
                self.set_damaged_aside()
            }
            discarded => discarded.and_then(|left| self.discard_kept(&left)),
        };
        if let Err(error) = discarded {
            tracing::warn!(checkpoint = id, "not removed: {error}");
        }
    }

    /// Removes what stayed because nobody knew whether a damaged manifest names it.
    fn discard_kept(&self, left: &Leftovers) -> Result<(), StorageError> {
        if left.unreadable.is_empty() {
            return Ok(());
        }
        self.set_damaged_aside()?;
        let kept = left.kept.iter().map(String::as_str);
        self.directory.discard_files(kept, &BTreeSet::new()).map(drop)
    }

    fn store(&mut self, now: Timestamp, completed: &Arc<CompletedCheckpoint>) -> Event {
        let manifest = self.manifest_of(completed, now);
        let stored = self.directory.store(&manifest);
        if stored.is_ok() {
            self.undecided.retain(|other| *other > completed.id); // Nobody continues from older ones.
        }
        self.is_stored(completed.id, stored)
    }

    /// Whether a checkpoint is there, as the JobMaster is told.
    pub(crate) fn is_stored(
        &mut self,
        id: CheckpointId,
        stored: Result<(), StorageError>,
    ) -> Event {
        match stored {
            Ok(()) => Event::Stored(id),
            Err(error) => {
                let ambiguous = error.is_ambiguous();
                if ambiguous {
                    self.undecided.insert(id);
                }
                Event::StoreFailed { checkpoint: id, ambiguous, reason: error.to_string() }
            }
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
            ending: if completed.is_final { Ending::AllRead } else { Ending::Open },
            vertices: vertices.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_jobs_share_a_folder() {
        assert_eq!(folder_name("word-count_2"), "word-count_2");
        assert_eq!(folder_name("trends to files"), "trends-to-files-8ee203");
        let names = ["a b", "a-b", "a_b", "A b", "a.b", "a/b", "日本", "中国", "--", ""];
        let folders: BTreeSet<_> = names.into_iter().map(folder_name).collect();
        assert_eq!(folders.len(), names.len(), "{folders:?}");
        assert!(folders.iter().all(|name| !name.is_empty() && !name.contains(['/', '.'])));
    }
}
