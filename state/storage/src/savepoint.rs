//! Savepoints: state that needs nothing but its own folder, made from a checkpoint and made into one again.
//!
//! ```text
//!   <job>/chk-6/1-0.data ─┐ write_savepoint                    Restorable::import ┌▶ <job>/chk-9/1-0.data
//!   <job>/chk-4/1-0.data ─┴─copy─▶ savepoint-0f1e2d-6/1-0.data ────────copy───────┤  <job>/chk-9/1-0-1.data
//!                                  savepoint-0f1e2d-6/1-0-1.data                  └▶ <job>/chk-9/_metadata
//!                                  savepoint-0f1e2d-6/_metadata, last
//! ```
//!
//! # What is always true
//!
//! 1. The manifest is written last, when all files are durable; after an error there is neither it nor they.
//! 2. A file that is copied is read to its last bit: what is damaged is found, and no copy of it stays.
//! 3. Names in a savepoint are below its folder, which can be moved.
//! 4. What is imported is a checkpoint like another: the job needs nothing of the savepoint any more.

use std::{
    collections::BTreeMap,
    io::ErrorKind::{NotADirectory, NotFound},
    path::{Path, PathBuf},
};

use wiesel_core::JobId;

use crate::{
    CheckpointDirectory, CheckpointStorage, Damage, Disk, Ending, FileEntry, Hash, Kind,
    LocalStorage, METADATA, Manifest, SeamDisk, StorageError, data_file_name,
    directory::{id_of, load, named_error, savepoint_folder},
    folder_of, store_savepoint,
};

/// Copies the files of `manifest`, which are below the folder of the job, into a new folder in `folder`, and stores it
/// there as a savepoint. Returns the new folder.
///
/// # Errors
///
/// If there is such a folder already, a file is damaged, or the disk fails. Then there is no savepoint.
pub fn write_savepoint<D: Disk + Clone>(
    job: &LocalStorage<D>,
    folder: &Path,
    manifest: &Manifest,
) -> Result<PathBuf, StorageError> {
    let parent = LocalStorage::with_disk(folder, job.disk().clone())?;
    let name = savepoint_folder(manifest.job, manifest.checkpoint);
    parent.make_folder(&name)?;
    let path = folder.join(&name);
    let savepoint = LocalStorage::at(&path, job.disk().clone());
    let mut manifest = Manifest { kind: Kind::Savepoint, ending: Ending::Open, ..manifest.clone() };
    let made = copy_files(job, &savepoint, "", &mut manifest)
        .and_then(|()| store_savepoint(&savepoint, &manifest));
    match made {
        Ok(()) => Ok(path),
        Err(error) => {
            // The first error says why. What stays of it has no manifest.
            let _ = remove_files(&savepoint, &manifest).and_then(|()| {
                parent.remove_empty_folder(&name)?;
                parent.sync("")
            });
            Err(error)
        }
    }
}

/// What a job can be started from: a savepoint, or a checkpoint that was retained.
#[derive(Clone, Debug)]
pub struct Restorable<D = SeamDisk> {
    storage: LocalStorage<D>,
    manifest: Manifest,
}

impl Restorable {
    /// That in a folder: `savepoints/savepoint-0f1e2d-6` or `checkpoints/job/chk-7`. Nothing is written.
    ///
    /// # Errors
    ///
    /// If there is none, or its manifest is not what was written. Its files are looked at when it is imported.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StorageError> {
        Self::with_disk(path, SeamDisk)
    }
}

impl<D: Disk + Clone> Restorable<D> {
    /// That in a folder of another disk.
    ///
    /// # Errors
    ///
    /// As [`open`](Restorable::open).
    pub fn with_disk(path: impl Into<PathBuf>, disk: D) -> Result<Self, StorageError> {
        let path = path.into();
        match disk.metadata(&path.join(METADATA)) {
            Err(error) if [NotFound, NotADirectory].contains(&error.kind()) => {
                return Err(StorageError::NoSavepoint);
            }
            _ => {} // What else is wrong is said when it is read.
        }
        let checkpoint = path.file_name().and_then(|name| id_of(name.to_str()?));
        if let (Some(id), Some(parent)) = (checkpoint, path.parent()) {
            let directory = CheckpointDirectory::new(LocalStorage::at(parent, disk));
            let manifest = directory.load(id)?;
            return Ok(Self { storage: directory.storage().clone(), manifest });
        }
        let storage = LocalStorage::at(path, disk);
        let manifest = load(&storage, METADATA, Kind::Savepoint)?;
        Ok(Self { storage, manifest })
    }

    /// What it consists of.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Copies it into the folder of a job, as its newest checkpoint, of which `job` is the id, `job_name` the name, and whose
    /// number is at least `least_id`. Returns that.
    ///
    /// # Errors
    ///
    /// [`StorageError::Damaged`] if a bit of a file is not what was written; or if the disk fails. Nothing stays then.
    pub fn import(
        &self,
        job: JobId,
        job_name: &str,
        directory: &CheckpointDirectory<LocalStorage<D>>,
        least_id: u64,
    ) -> Result<Manifest, StorageError> {
        // Above its own number too: names that sinks made of it are not used again.
        let id = directory.next_id()?.max(self.manifest.checkpoint.saturating_add(1)).max(least_id);
        directory.begin(id)?;
        let (kind, checkpoint) = (Kind::Checkpoint, id);
        let (job_name, ending) = (job_name.to_owned(), Ending::Open);
        let of_job = Manifest { job, job_name, kind, checkpoint, ..self.manifest.clone() };
        let mut manifest = Manifest { ending, ..of_job };
        let target = directory.storage();
        let stored = copy_files(&self.storage, target, &folder_of(id), &mut manifest)
            .and_then(|()| directory.store(&manifest));
        match stored {
            Ok(()) => Ok(manifest),
            Err(error) => {
                // Nobody has heard of the number.
                let _ = remove_files(target, &manifest)
                    .and_then(|()| target.remove_empty_folder(&folder_of(id)));
                Err(error)
            }
        }
    }

    /// Removes a savepoint, the manifest first. A checkpoint belongs to the folder of its job, and stays.
    ///
    /// # Errors
    ///
    /// When something of it may still be there.
    pub fn remove(self) -> Result<(), StorageError> {
        if self.manifest.kind == Kind::Checkpoint {
            return Ok(());
        }
        self.storage.delete(METADATA)?;
        self.storage.sync("")?;
        remove_files(&self.storage, &self.manifest)?;
        self.storage.remove_if_empty()
    }
}

/// Copies the files that `manifest` names to names of their own in a folder of `to`, and makes it name those.
fn copy_files<D: Disk>(
    from: &LocalStorage<D>,
    to: &LocalStorage<D>,
    folder: &str,
    manifest: &mut Manifest,
) -> Result<(), StorageError> {
    // Subtasks may share a file after a change of parallelism.
    let mut names = BTreeMap::<String, String>::new();
    let mut copied = Ok(());
    for (vertex, state) in (0..).zip(&mut manifest.vertices) {
        for (subtask, state) in (0..).zip(&mut state.subtasks) {
            for (number, file) in (0..).zip(&mut state.files) {
                let known = names.get(&file.path).cloned();
                let name = known.clone().unwrap_or_else(|| {
                    let name = data_file_name(vertex, subtask, number);
                    if folder.is_empty() { name } else { format!("{folder}/{name}") }
                });
                if known.is_none() && copied.is_ok() {
                    copied = copy_file(from, to, file, &name);
                    names.insert(file.path.clone(), name.clone());
                }
                file.path = name;
            }
        }
    }
    copied?;
    to.sync(folder)
}

fn copy_file<D: Disk>(
    from: &LocalStorage<D>,
    to: &LocalStorage<D>,
    file: &FileEntry,
    name: &str,
) -> Result<(), StorageError> {
    let (source, target) = (from.path_of(&file.path)?, to.path_of(name)?);
    let (mut hasher, mut len) = (blake3::Hasher::new(), 0);
    let copied = to.disk().copy_synced(&source, &target, &mut |bytes| {
        hasher.update(bytes);
        len += bytes.len() as u64;
    });
    copied.map_err(|error| named_error(&file.path, error))?;
    if (len, Hash(*hasher.finalize().as_bytes())) != (file.len, file.hash) {
        to.delete(name)?;
        return Err(Damage::of_file(&file.path, "is not what was written").into());
    }
    Ok(())
}

fn remove_files<D: Disk>(
    storage: &LocalStorage<D>,
    manifest: &Manifest,
) -> Result<(), StorageError> {
    manifest.files().try_for_each(|(_, _, file)| storage.delete(&file.path))
}
