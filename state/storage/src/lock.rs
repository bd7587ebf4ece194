//! Whose a folder is: one process at a time.
//!
//! # What is always true
//!
//! 1. The system unlocks the folder when its owner is gone, however it went: no owner has to be declared dead.
//! 2. The file says who that is, or was: an owner that ended well leaves it empty.

use std::path::{Path, PathBuf};

use wiesel_shard::fs::{self, FileLock};

use crate::StorageError;

/// The file that is locked.
const OWNER: &str = "_owner";

/// The folder belongs to this process until this is dropped.
#[derive(Debug)]
pub struct OwnerLock {
    path: PathBuf,
    /// The owner before, if it did not end well.
    stale: Option<String>,
    _lock: FileLock,
}

impl OwnerLock {
    /// Takes the folder, which must exist.
    ///
    /// # Errors
    ///
    /// [`StorageError::Owned`] if another process has it, whose number it names.
    pub fn acquire(folder: impl AsRef<Path>) -> Result<Self, StorageError> {
        let path = folder.as_ref().join(OWNER);
        match fs::lock(&path, &format!("process {}\n", fs::process_id()))? {
            Ok((lock, before)) => {
                let before = before.trim();
                let stale = (!before.is_empty()).then(|| before.to_owned());
                Ok(Self { path, stale, _lock: lock })
            }
            Err(owner) => {
                let owner = owner.trim();
                // Between taking the lock and writing its name.
                let owner = if owner.is_empty() { "another process" } else { owner }.to_owned();
                Err(StorageError::Owned { folder: folder.as_ref().display().to_string(), owner })
            }
        }
    }

    /// The owner before, if it was killed or its machine went down: `process 4711`.
    pub fn stale_owner(&self) -> Option<&str> {
        self.stale.as_deref()
    }
}

impl Drop for OwnerLock {
    fn drop(&mut self) {
        // If it fails the next owner is told of a stale one, which is all that it is for.
        let _ = fs::write(&self.path, "");
    }
}
