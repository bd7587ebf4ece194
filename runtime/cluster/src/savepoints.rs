//! Savepoints of a job on this machine: who asked for one, where it goes, and what a job is started from.
//!
//! ```text
//!   JobHandle::savepoint ─request─▶ control program ─▶ JobMaster … ─Store─▶ files copied, manifest ─answer─▶ its path
//!   execution.state-recovery.path ─▶ copied into the folder of the job, as its newest checkpoint ─▶ continued from
//! ```
//!
//! # What is always true
//!
//! 1. Every request is answered once: with the path of a savepoint that is whole and durable, or with the reason why
//!    there is none. When the job is over, the answer is that.
//! 2. A savepoint is in a folder of its own. A job that was started from one needs nothing of it any more.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
};

use wiesel_checkpoint::{CheckpointKind, RequestId};
use wiesel_connectors::MachineDiscovery;
use wiesel_core::{Timestamp, VertexId, config::RecoveryClaimMode};
use wiesel_jobmanager::{CompletedCheckpoint, Event};
use wiesel_shard::fs;
use wiesel_storage::{Ending, Manifest, Restorable, StorageError, write_savepoint};

use crate::{CheckpointSettings, ClusterError, checkpoints::JobCheckpoints};

/// Why there is no savepoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SavepointError {
    /// The job has no folder to write state to, or runs in batch mode.
    #[error(
        "the job takes no checkpoints, and so no savepoints: set `execution.checkpointing.dir` when it is started; in \
         batch mode there are none"
    )]
    NoCheckpoints,
    /// Nobody has said where it is to be.
    #[error(
        "a savepoint needs a folder: name one (`savepoint DIR`, `stop -p DIR`), or set \
         `execution.checkpointing.savepoint-dir`"
    )]
    NoFolder,
    /// Where it is to be is something else.
    #[error("no savepoint was taken: {} is not a folder", .folder.display())]
    NotAFolder {
        /// What was named.
        folder: PathBuf,
    },
    /// It was given up.
    #[error("no savepoint was taken: {0}")]
    Failed(String),
    /// The job was over before it was complete.
    #[error("the job is over")]
    JobOver,
}

pub(crate) type Answer = Result<PathBuf, SavepointError>;

/// Somebody wants a savepoint.
pub(crate) struct Request {
    /// Its folder is made in this one; else in that of the configuration.
    pub(crate) folder: Option<PathBuf>,
    /// Whether the job is to stop behind it, and whether it is drained then.
    pub(crate) stop: Option<bool>,
    pub(crate) answer: mpsc::Sender<Answer>,
}

impl Request {
    /// Nobody may be left to hear it.
    pub(crate) fn answer(self, answer: Answer) {
        let _ = self.answer.send(answer);
    }
}

/// Those that were asked for and are not answered.
#[derive(Default)]
pub(crate) struct Requests {
    next: u64,
    waiting: BTreeMap<RequestId, Waiting>,
}

struct Waiting {
    folder: PathBuf,
    answer: mpsc::Sender<Answer>,
    /// Where it is, once it is whole.
    path: Option<PathBuf>,
}

impl Requests {
    fn answer(&mut self, id: RequestId, answer: impl FnOnce(Option<PathBuf>) -> Answer) {
        if let Some(waiting) = self.waiting.remove(&id) {
            let _ = waiting.answer.send(answer(waiting.path));
        }
    }
}

impl JobCheckpoints {
    /// Takes a request: what the JobMaster is to be told.
    pub(crate) fn request(&mut self, request: Request) -> Option<Event> {
        let Some(folder) = request.folder.clone().or_else(|| self.savepoints.clone()) else {
            request.answer(Err(SavepointError::NoFolder));
            return None;
        };
        // Before tasks are held up for it. What else is wrong with the folder is found when it is written to.
        let is_file = match fs::metadata(&folder) {
            Ok(found) => !found.is_dir,
            Err(error) => error.kind() == std::io::ErrorKind::NotADirectory,
        };
        if is_file {
            request.answer(Err(SavepointError::NotAFolder { folder }));
            return None;
        }
        let requests = &mut self.requests;
        requests.next += 1;
        let (id, answer) = (RequestId(requests.next), request.answer);
        requests.waiting.insert(id, Waiting { folder, answer, path: None });
        Some(match request.stop {
            None => Event::Savepoint(id),
            Some(drain) => Event::StopWithSavepoint { request: id, drain },
        })
    }

    pub(crate) fn savepoint_done(&mut self, id: RequestId) {
        let lost = || SavepointError::Failed("it was stored for another request".to_owned());
        self.requests.answer(id, |path| path.ok_or_else(lost));
    }

    pub(crate) fn savepoint_failed(&mut self, id: RequestId, reason: String) {
        self.requests.answer(id, |_| Err(SavepointError::Failed(reason)));
    }

    /// Stores a savepoint whose files are durable: in its own folder and, if the job stops behind it, as a checkpoint.
    pub(crate) fn store_savepoint(
        &mut self,
        now: Timestamp,
        kind: CheckpointKind,
        completed: &Arc<CompletedCheckpoint>,
    ) -> Event {
        let mut manifest = self.manifest_of(completed, now);
        if matches!(kind, CheckpointKind::Terminal { drain: true }) {
            manifest.ending = Ending::Drained;
        }
        if !kind.is_terminal()
            && let Err(failure) = self.pin(completed)
        {
            let (checkpoint, reason) = (completed.id, failure.to_string());
            return Event::StoreFailed { checkpoint, ambiguous: false, reason };
        }
        let stored = self.write_savepoint(kind, &manifest);
        self.is_stored(completed.id, stored)
    }

    /// What sinks have pending stays, for whoever continues from the savepoint.
    fn pin(&self, completed: &CompletedCheckpoint) -> Result<(), ClusterError> {
        for (index, vertex) in (0..).zip(&self.vertices) {
            let Some(sink) = &vertex.sink else { continue };
            let pinned = sink.pin(&completed.committables_of(VertexId(index)), &MachineDiscovery);
            pinned.map_err(|failure| ClusterError::Prepare(failure.uid(&vertex.uid)))?;
        }
        Ok(())
    }

    fn write_savepoint(
        &mut self,
        kind: CheckpointKind,
        manifest: &Manifest,
    ) -> Result<(), StorageError> {
        // One at a time: the others were refused when they came.
        let waiting = self.requests.waiting.first_entry().map(|entry| entry.into_mut());
        let Some(waiting) = waiting else { return Ok(()) };
        let path = write_savepoint(self.directory.storage(), &waiting.folder, manifest)?;
        if kind.is_terminal()
            && let Err(error) = self.directory.store(manifest)
        {
            // The job does not stop then; a savepoint that nobody hears of would be in the way.
            if !error.is_ambiguous() {
                Restorable::open(&path).and_then(Restorable::remove).ok();
            }
            return Err(error);
        }
        waiting.path = Some(path);
        if !kind.is_terminal() {
            // The copies are whole: what was written for it alone goes.
            let files = manifest.files().map(|(_, _, file)| file.path.as_str());
            if let Err(error) = self.directory.discard_files(files, &Default::default()) {
                tracing::warn!(
                    savepoint = manifest.checkpoint,
                    "its files are not removed: {error}"
                );
            }
        }
        Ok(())
    }

    /// What the job continues from, if it is to be started from a savepoint: that, as its newest checkpoint.
    pub(crate) fn restore_savepoint(
        &self,
        settings: &CheckpointSettings,
        path: &Path,
        least_id: u64,
    ) -> Result<CompletedCheckpoint, ClusterError> {
        let named = |source| ClusterError::Savepoint { path: path.to_owned(), source };
        let savepoint = Restorable::open(path).map_err(named)?;
        let manifest =
            savepoint.import(self.job, &self.job_name, &self.directory, least_id).map_err(named)?;
        let restored = self.completed_of(&manifest, settings.allow_non_restored);
        if restored.is_err() {
            self.directory.discard(manifest.checkpoint, &Default::default())?;
        }
        let restored = restored?;
        tracing::info!(savepoint = %path.display(), checkpoint = %restored.id, "continuing");
        if settings.claim_mode == RecoveryClaimMode::Claim
            && let Err(error) = savepoint.remove()
        {
            tracing::warn!(savepoint = %path.display(), "claimed, but not removed: {error}");
        }
        Ok(restored)
    }
}
