//! What a job continues from when its program is started: the newest whole checkpoint, or a savepoint.
//!
//! ```text
//!   chk-9 damaged, chk-8 whole ─▶ output of 9 is taken back, 8 by uid ─▶ committed again ─▶ leftovers removed
//!   no checkpoint at all       ─▶ sinks prepare the ground
//! ```
//!
//! # What is always true
//!
//! 1. State is found again by the uid of its operator. What no operator takes is an error, unless it is allowed to be dropped.
//! 2. Where checkpoints were and none is whole, nothing is started.
//! 3. What a checkpoint that is passed over has made visible is hidden before the job writes it again.
//! 4. Checkpoints are removed for `--fresh` when nothing can be refused any more: no sink, and not the savepoint.
//! 5. Those of a job with another name are left alone.

use std::collections::BTreeSet;

use wiesel_connectors::MachineDiscovery;
use wiesel_core::{CheckpointId, Mutant, TaskFailure, VertexId};
use wiesel_datastream::SinkPreparation;
use wiesel_jobmanager::CompletedCheckpoint;
use wiesel_rpc::StateHandle;
use wiesel_storage::{Ending, FileEntry, Manifest, PartKind, StorageError, savepoint_folder};

use crate::{
    CheckpointSettings, ClusterError,
    checkpoints::{JobCheckpoints, VertexName},
    claims::{self, Claims},
    outputs::Outputs,
};

/// Asks every sink of these vertices; a failure is that of the vertex with this uid.
pub(crate) fn of_sinks<'v, T>(
    vertices: impl Iterator<Item = (&'v str, Option<&'v dyn SinkPreparation>)>,
    ask: impl Fn(&dyn SinkPreparation) -> Result<T, TaskFailure>,
) -> Result<Vec<T>, ClusterError> {
    let sinks = vertices.filter_map(|(uid, sink)| Some((uid, sink?)));
    let asked = |(uid, sink)| ask(sink).map_err(|failure| ClusterError::Prepare(failure.uid(uid)));
    sinks.map(asked).collect()
}

impl JobCheckpoints {
    /// Asks every sink; a failure is the operator's.
    pub(crate) fn of_sinks<T>(
        &self,
        ask: impl Fn(&dyn SinkPreparation) -> Result<T, TaskFailure>,
    ) -> Result<Vec<T>, ClusterError> {
        of_sinks(self.sinks(), ask)
    }

    /// The vertices: their uids, and their sinks.
    pub(crate) fn sinks(&self) -> impl Iterator<Item = (&str, Option<&dyn SinkPreparation>)> {
        self.vertices.iter().map(|vertex| (&*vertex.uid, vertex.sink.as_deref()))
    }

    /// The sinks of a job that begins anew agree, all of them before one replaces anything, and take what is theirs.
    pub(crate) fn agree(&self, outputs: &mut Outputs) -> Result<(), ClusterError> {
        self.of_sinks(|sink| sink.check(&MachineDiscovery))?;
        outputs.take(self.sinks())
    }

    /// What the job continues from; a savepoint gets a number of at least `above_visible`.
    pub(crate) fn find(
        &self,
        settings: &CheckpointSettings,
        above_visible: u64,
        outputs: &mut Outputs,
    ) -> Result<Option<CompletedCheckpoint>, ClusterError> {
        self.refuse_others()?;
        if let Some(path) = &settings.recovery {
            let restored = self.restore_savepoint(settings, path, above_visible)?;
            if settings.fresh {
                self.remove_all_but(Some(restored.id))?;
            }
            return Ok(Some(restored));
        }
        if settings.fresh {
            self.agree(outputs)?;
            self.remove_all_but(None)?;
            return Ok(None);
        }
        let found = self.directory.newest()?;
        for (id, damage) in &found.damaged {
            tracing::warn!(checkpoint = id, "damaged, falling back to the one before: {damage}");
        }
        let Some(manifest) = found.manifest else { return Ok(None) };
        // Set aside first: what is taken back, now or by the next start, must not be counted on again.
        found.damaged.iter().try_for_each(|(id, _)| self.directory.set_aside(*id))?;
        if self.directory.is_behind(manifest.checkpoint)? {
            let older = CheckpointId(manifest.checkpoint);
            self.of_sinks(|sink| sink.take_back(older, &MachineDiscovery))?;
        }
        let restored = self.completed_of(&manifest, settings.allow_non_restored)?;
        if manifest.ending != Ending::Open {
            // It may have been killed before its last commit, or the machine before its last removal was durable.
            self.prepare_sinks(Some(&restored))?;
            self.directory.clean(&BTreeSet::new())?;
            let folder = self.folder.clone();
            let savepoint = savepoint_folder(manifest.job, manifest.checkpoint);
            return Err(match manifest.ending {
                Ending::Drained => ClusterError::Drained { savepoint },
                _ => ClusterError::Finished { folder },
            });
        }
        tracing::info!(checkpoint = manifest.checkpoint, "continuing");
        Ok(Some(restored))
    }

    /// Sets damaged manifests aside, of older checkpoints than the newest.
    pub(crate) fn set_damaged_aside(&self) -> Result<(), StorageError> {
        for (id, damage) in self.directory.set_damaged_aside()? {
            tracing::warn!(checkpoint = id, "damaged, and set aside: {damage}");
        }
        Ok(())
    }

    /// The folder may be another job's all the same: it was renamed, or was given the name of ours.
    fn refuse_others(&self) -> Result<(), ClusterError> {
        for id in self.directory.list()? {
            // What is wrong with one is said by whoever reads it next.
            let Ok(manifest) = self.directory.load(id) else { continue };
            if manifest.job_name != self.job_name {
                let (was, is) = (manifest.job_name, self.job_name.clone());
                return Err(ClusterError::OtherJob { folder: self.folder.clone(), was, is });
            }
            break;
        }
        Ok(())
    }

    /// Removes the checkpoints that are there.
    fn remove_all_but(&self, kept: Option<CheckpointId>) -> Result<(), StorageError> {
        for id in self.directory.list()?.into_iter().filter(|id| kept != Some(CheckpointId(*id))) {
            match self.directory.discard(id, &BTreeSet::new()) {
                // Nobody knows what it names; what it leaves is cleaned up.
                Err(StorageError::Damaged(_)) => self.directory.set_aside(id)?,
                discarded => drop(discarded?),
            }
        }
        Ok(())
    }

    /// A manifest as the JobMaster knows it: state by the vertices that go on with it.
    pub(crate) fn completed_of(
        &self,
        manifest: &Manifest,
        allow_non_restored: bool,
    ) -> Result<CompletedCheckpoint, ClusterError> {
        let mut completed =
            CompletedCheckpoint { id: CheckpointId(manifest.checkpoint), ..Default::default() };
        let chains: Vec<_> = self.vertices.iter().map(VertexName::chain).collect();
        let Claims { tasks, enumerators, finished, unclaimed } = claims::claim(manifest, &chains)?;
        if !unclaimed.is_empty() {
            if !allow_non_restored {
                return Err(ClusterError::NotRestored(unclaimed));
            }
            tracing::warn!("state that no operator of the program takes is dropped: {unclaimed}");
        }
        (completed.enumerators, completed.finished) = (enumerators, finished);
        for (task, files) in tasks {
            let committables = self.committables(&files)?;
            let handle = StateHandle { files, committables, ..Default::default() };
            completed.tasks.insert(task, handle);
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
    pub(crate) fn prepare_sinks(
        &self,
        restored: Option<&CompletedCheckpoint>,
    ) -> Result<(), ClusterError> {
        for (index, vertex) in (0..).zip(&self.vertices) {
            let Some(sink) = &vertex.sink else { continue };
            let prepared = match restored {
                None => sink.prepare(&MachineDiscovery),
                Some(completed) => {
                    let committables = completed.committables_of(VertexId(index));
                    // Of a sink that is new there is nothing, and its folder is made by the clean-up.
                    let committed =
                        match committables.is_empty() || Mutant::CommitForgotten.is_chosen() {
                            true => Ok(()),
                            false => sink.commit(&committables, &MachineDiscovery),
                        };
                    committed.and_then(|()| sink.clean_up(None, &MachineDiscovery))
                }
            };
            prepared.map_err(|failure| ClusterError::Prepare(failure.uid(&vertex.uid)))?;
        }
        Ok(())
    }
}
