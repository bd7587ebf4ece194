//! Where checkpoint files are: a place of named objects, and the local file system as one.
//!
//! ```text
//!   CheckpointDirectory        what is a checkpoint, which is the newest, what may go
//!          │
//!   CheckpointStorage          put, get, list, delete: atomic, durable, maybe ambiguous
//!          │
//!   LocalStorage ── Disk ── the seam (wiesel_shard::fs), or a disk of a test that crashes
//! ```
//!
//! # What is always true
//!
//! 1. An object is whole or not there: nobody sees a part of one.
//! 2. What `put` said is stored survives a crash of the machine.
//! 3. After an error that is not ambiguous the object is not there, and no leftover is.
//! 4. The same bytes may be put again under the same name: that is how an ambiguous outcome is settled.
//!
//! An object store fits: `put` with [`PutMode::IfAbsent`] is a conditional write, a time-out is
//! [`StorageError::Ambiguous`], and folders are prefixes.

use std::{
    io,
    path::{Path, PathBuf},
};

use wiesel_core::Mutant;

use crate::{
    StorageError,
    disk::{Disk, SeamDisk},
};

/// What happens to an object of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutMode {
    /// It stays, and the put is refused with [`StorageError::Exists`].
    IfAbsent,
    /// It is replaced.
    Replace,
}

/// A named object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// Its name: `chk-7/_metadata`.
    pub path: String,
    /// Its length in bytes.
    pub len: u64,
}

/// A place that keeps named objects. Names are plain: parts of letters, digits, `-`, `_` and `.`, joined by `/`.
pub trait CheckpointStorage: Sync {
    /// For messages: the folder, the bucket and prefix.
    fn describe(&self) -> String;

    /// Stores an object, durably and as a whole.
    ///
    /// # Errors
    ///
    /// See what is always true.
    fn put(&self, path: &str, bytes: &[u8], mode: PutMode) -> Result<(), StorageError>;

    /// `len` bytes from `offset`, or fewer where the object ends before.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`] of kind `NotFound` if there is no such object.
    fn get(&self, path: &str, offset: u64, len: u64) -> Result<Vec<u8>, StorageError>;

    /// The length of an object; `None` if there is none.
    ///
    /// # Errors
    ///
    /// When that cannot be known now.
    fn len(&self, path: &str) -> Result<Option<u64>, StorageError>;

    /// The objects in a folder (`""`: at the top), and the names of folders in it, each sorted.
    ///
    /// # Errors
    ///
    /// When that cannot be known now. A folder that does not exist is empty.
    fn list(&self, folder: &str) -> Result<(Vec<Object>, Vec<String>), StorageError>;

    /// Deletes an object. One that is not there is no error. Durable after [`sync`](Self::sync).
    ///
    /// # Errors
    ///
    /// When it may still be there.
    fn delete(&self, path: &str) -> Result<(), StorageError>;

    /// Makes a folder, durably, so that its name is taken.
    ///
    /// # Errors
    ///
    /// [`StorageError::Exists`] if there is one.
    fn make_folder(&self, folder: &str) -> Result<(), StorageError>;

    /// Removes a folder if it is empty; otherwise nothing happens.
    ///
    /// # Errors
    ///
    /// When that cannot be known now.
    fn remove_empty_folder(&self, folder: &str) -> Result<(), StorageError>;

    /// Makes deletions in a folder survive a crash of the machine.
    ///
    /// # Errors
    ///
    /// When they may not.
    fn sync(&self, folder: &str) -> Result<(), StorageError>;
}

/// The end of the name of a file that is being written.
pub(crate) const TEMPORARY: &str = ".tmp";

/// A folder of the local file system as a storage.
#[derive(Clone, Debug)]
pub struct LocalStorage<D = SeamDisk> {
    root: PathBuf,
    disk: D,
}

impl LocalStorage {
    /// The folder, which is made if there is none.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StorageError> {
        Self::with_disk(root, SeamDisk)
    }
}

impl<D: Disk> LocalStorage<D> {
    /// The folder on another disk.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn with_disk(root: impl Into<PathBuf>, disk: D) -> Result<Self, StorageError> {
        let root = root.into();
        disk.create_dir_all(&root)?;
        // A folder survives a crash when the one above knows it; who made these may have gone down before saying so.
        let above: Vec<_> = root.ancestors().skip(1).map(or_here).collect();
        for (depth, folder) in above.into_iter().enumerate() {
            match disk.sync_dir(folder) {
                // Further up are folders of others, which this process need not be allowed to open.
                Err(error) if depth > 0 && error.kind() == io::ErrorKind::PermissionDenied => break,
                synced => synced?,
            }
        }
        Ok(Self { root, disk })
    }

    /// The folder, which must exist if anything of it is asked for. Nothing is made.
    pub(crate) fn at(root: impl Into<PathBuf>, disk: D) -> Self {
        Self { root: root.into(), disk }
    }

    pub(crate) fn disk(&self) -> &D {
        &self.disk
    }

    /// Removes the folder itself, if it is empty.
    pub(crate) fn remove_if_empty(&self) -> Result<(), StorageError> {
        if self.disk.read_dir(&self.root)?.is_empty() {
            self.disk.remove_dir(&self.root)?;
            self.disk.sync_dir(self.root.parent().map_or(Path::new("."), or_here))?;
        }
        Ok(())
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where an object is. Files that tasks write themselves go there.
    ///
    /// # Errors
    ///
    /// [`StorageError::Name`] if the name could lead elsewhere.
    pub fn path_of(&self, path: &str) -> Result<PathBuf, StorageError> {
        if is_plain(path) {
            return Ok(self.root.join(path));
        }
        Err(StorageError::Name { path: path.to_owned() })
    }

    fn folder(&self, folder: &str) -> Result<PathBuf, StorageError> {
        if folder.is_empty() { Ok(self.root.clone()) } else { self.path_of(folder) }
    }
}

/// Whether a name stays below its folder: names from a manifest are not trusted.
pub(crate) fn is_plain(path: &str) -> bool {
    let is_part = |part: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        !matches!(part, "" | "." | "..") && part.bytes().all(plain)
    };
    path.split('/').all(is_part)
}

fn or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

impl<D: Disk> CheckpointStorage for LocalStorage<D> {
    fn describe(&self) -> String {
        self.root.display().to_string()
    }

    fn put(&self, path: &str, bytes: &[u8], mode: PutMode) -> Result<(), StorageError> {
        let target = self.path_of(path)?;
        if mode == PutMode::IfAbsent && self.len(path)?.is_some() {
            return Err(StorageError::Exists { path: target.display().to_string() });
        }
        let temporary = self.path_of(&format!("{path}{TEMPORARY}"))?;
        self.disk.write_synced(&temporary, bytes)?;
        if let Err(error) = self.disk.rename(&temporary, &target) {
            // As long as the old name is there the new one is not, and the other way round.
            let renamed = self.disk.metadata(&temporary).is_err();
            let _ = self.disk.remove_file(&temporary);
            return Err(if renamed { StorageError::Ambiguous(error) } else { error.into() });
        }
        if Mutant::ManifestUnsynced.is_chosen() {
            return Ok(());
        }
        let folder = target.parent().map_or(Path::new("."), or_here);
        self.disk.sync_dir(folder).map_err(StorageError::Ambiguous)
    }

    fn get(&self, path: &str, offset: u64, len: u64) -> Result<Vec<u8>, StorageError> {
        Ok(self.disk.read_at(&self.path_of(path)?, offset, len)?)
    }

    fn len(&self, path: &str) -> Result<Option<u64>, StorageError> {
        match self.disk.metadata(&self.path_of(path)?) {
            Ok((len, _)) => Ok(Some(len)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn list(&self, folder: &str) -> Result<(Vec<Object>, Vec<String>), StorageError> {
        let entries = match self.disk.read_dir(&self.folder(folder)?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            entries => entries?,
        };
        let (mut objects, mut folders) = (Vec::new(), Vec::new());
        for entry in entries {
            let Some(name) = entry.file_name().map(|name| name.to_string_lossy().into_owned())
            else {
                continue;
            };
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            match self.disk.metadata(&entry)? {
                (_, true) => folders.push(name),
                (len, false) => objects.push(Object { path, len }),
            }
        }
        objects.sort();
        folders.sort();
        Ok((objects, folders))
    }

    fn delete(&self, path: &str) -> Result<(), StorageError> {
        match self.disk.remove_file(&self.path_of(path)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn make_folder(&self, folder: &str) -> Result<(), StorageError> {
        let path = self.path_of(folder)?;
        if self.disk.metadata(&path).is_ok() {
            return Err(StorageError::Exists { path: path.display().to_string() });
        }
        self.disk.create_dir_all(&path)?;
        Ok(self.disk.sync_dir(path.parent().map_or(Path::new("."), or_here))?)
    }

    fn remove_empty_folder(&self, folder: &str) -> Result<(), StorageError> {
        let path = self.path_of(folder)?;
        match self.disk.read_dir(&path) {
            Ok(entries) if entries.is_empty() => Ok(self.disk.remove_dir(&path)?),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn sync(&self, folder: &str) -> Result<(), StorageError> {
        Ok(self.disk.sync_dir(or_here(&self.folder(folder)?))?)
    }
}
