//! Checkpoints that were passed over: damaged ones, behind an older one that the job continues from.
//!
//! ```text
//!   chk-8/_metadata   chk-9/_metadata ✗  ──▶  chk-9/_metadata.damaged      9 is no checkpoint any more
//! ```
//!
//! # What is always true
//!
//! 1. What was passed over once is never continued from, even if it can be read again: the job has written anew what it
//!    stood for.
//! 2. As long as none newer than it is complete, it is known that it was passed over: what it has made visible can be
//!    taken back again, if a process ended while it did.
//! 3. Files of it that no other manifest names are leftovers.

use super::{CheckpointDirectory, METADATA, decode, folder_of, is_eio, manifest_path};
use crate::{CheckpointStorage, Damage, Kind, PutMode, StorageError};

/// What the name of a manifest ends with that was set aside.
const DAMAGED: &str = ".damaged";

/// Whether a file is a manifest that was set aside. It stays, for whoever wants to know what was wrong.
pub(super) fn is_aside(name: &str) -> bool {
    name.strip_suffix(DAMAGED) == Some(METADATA)
}

impl<S: CheckpointStorage> CheckpointDirectory<S> {
    /// Gives a manifest a name that is none: `_metadata.damaged`. It is deleted if the medium cannot give it back.
    ///
    /// # Errors
    ///
    /// When the disk fails. It is there under its own name then, or under both.
    pub fn set_aside(&self, checkpoint: u64) -> Result<(), StorageError> {
        let path = manifest_path(Kind::Checkpoint, checkpoint);
        let Some(len) = self.storage.len(&path)? else { return Ok(()) };
        let bytes = match self.storage.get(&path, 0, len) {
            Err(StorageError::Io(error)) if is_eio(&error) => Ok(Vec::new()),
            bytes => bytes,
        };
        self.storage.put(&format!("{path}{DAMAGED}"), &bytes?, PutMode::Replace)?;
        self.storage.delete(&path)?;
        self.storage.sync(&folder_of(checkpoint))
    }

    /// Sets aside what is no manifest, but for the newest: as long as it is there no file is removed. One that cannot be read
    /// now stays: the medium may give it back. Gives what is wrong with each.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn set_damaged_aside(&self) -> Result<Vec<(u64, Damage)>, StorageError> {
        let mut damaged = Vec::new();
        for id in self.list()?.into_iter().skip(1) {
            let path = manifest_path(Kind::Checkpoint, id);
            let Ok(bytes) = self.storage.get(&path, 0, u64::MAX) else { continue };
            if let Err(damage) = decode(id, &path, &bytes) {
                self.set_aside(id)?;
                damaged.push((id, damage));
            }
        }
        Ok(damaged)
    }

    /// Whether one newer than `checkpoint` was set aside.
    ///
    /// # Errors
    ///
    /// When the folder cannot be listed.
    pub fn is_behind(&self, checkpoint: u64) -> Result<bool, StorageError> {
        for newer in self.folders()?.into_iter().filter(|id| *id > checkpoint) {
            let name = format!("{}/{METADATA}{DAMAGED}", folder_of(newer));
            if self.storage.len(&name)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
