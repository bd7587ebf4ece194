//! The folders that the sinks of a job write to: the job's alone until it is over.
//!
//! # What is always true
//!
//! 1. Nothing in a folder is changed before it is taken.
//! 2. One that is not there is made, and taken, when all sinks have agreed: a job that is refused leaves none behind.

use std::collections::BTreeMap;

use wiesel_connectors::{Discovery, FolderOwner, MachineDiscovery};
use wiesel_datastream::SinkPreparation;

use crate::ClusterError;

/// What has been taken, by the place of the sink among the vertices.
#[derive(Debug, Default)]
pub(crate) struct Outputs(BTreeMap<usize, FolderOwner>);

impl Outputs {
    /// Takes the folders that are there.
    pub(crate) fn take_existing<'v>(
        &mut self,
        vertices: impl Iterator<Item = (&'v str, Option<&'v dyn SinkPreparation>)>,
    ) -> Result<(), ClusterError> {
        let is_there = |sink: &dyn SinkPreparation| {
            let found = sink.folder().map(|folder| MachineDiscovery.metadata(folder));
            found.is_some_and(|found| found.is_ok_and(|found| found.is_dir))
        };
        self.take(vertices.map(|(uid, sink)| (uid, sink.filter(|sink| is_there(*sink)))))
    }

    /// Takes what is not taken yet.
    pub(crate) fn take<'v>(
        &mut self,
        vertices: impl Iterator<Item = (&'v str, Option<&'v dyn SinkPreparation>)>,
    ) -> Result<(), ClusterError> {
        for (at, (uid, sink)) in vertices.enumerate() {
            let Some(sink) = sink.filter(|_| !self.0.contains_key(&at)) else { continue };
            let owner = sink.own(&MachineDiscovery);
            let owner = owner.map_err(|failure| ClusterError::Prepare(failure.uid(uid)))?;
            self.0.extend(owner.map(|owner| (at, owner)));
        }
        Ok(())
    }
}
