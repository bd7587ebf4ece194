//! The checkpoints of one job: which there are, which is the newest whole one, what may be deleted.
//!
//! ```text
//!   begin(9)  folder chk-9, durable ──▶ tasks write chk-9/*.data ──▶ store(manifest) ──▶ it is there
//!   newest()  9: byte 700 of chk-9/1-0.data ✗    8 ✓    ──▶ manifest of 8, and what is wrong with 9
//!   discard(7, in_use)   manifest, then the files that neither 8 nor 9 nor `in_use` name
//! ```
//!
//! # What is always true
//!
//! 1. An id is taken by its folder, before anybody hears of it; the folder of the highest id stays, so that the id is not
//!    given out again after all its files are gone.
//! 2. A manifest is deleted before its files: after a crash between there are leftovers, never a manifest without files.
//! 3. Nothing is deleted while a manifest cannot be read, since nobody knows what it names; but for manifests on demand.
//!    One that was passed over is set aside (`aside`), and in nobody's way.

mod aside;
mod read;

use std::collections::{BTreeMap, BTreeSet};

use read::{decode, is_eio, named};
pub(crate) use read::{load, named_error};
use wiesel_core::Mutant;
use wiesel_shard::in_parallel;

use crate::{
    CheckpointStorage, Damage, FileEntry, Kind, Manifest, PartEntry, PutMode, StorageError,
    read_part, storage::TEMPORARY, verify_file,
};

/// The socket of the job that owns the folder.
pub const CONTROL: &str = "_control";

/// The name of a manifest in its folder.
pub const METADATA: &str = "_metadata";

const FOLDER: &str = "chk-";
const DATA: &str = ".data";

/// The folder of a checkpoint: `chk-7`.
pub fn folder_of(checkpoint: u64) -> String {
    format!("{FOLDER}{checkpoint}")
}

/// The name of a data file in its folder: `1-0.data`. `number` tells the files of one subtask apart, from 0.
///
/// ```
/// assert_eq!(wiesel_storage::data_file_name(1, 0, 0), "1-0.data");
/// assert_eq!(wiesel_storage::data_file_name(1, 0, 2), "1-0-2.data");
/// ```
pub fn data_file_name(vertex: u32, subtask: u32, number: u32) -> String {
    match number {
        0 => format!("{vertex}-{subtask}{DATA}"),
        _ => format!("{vertex}-{subtask}-{number}{DATA}"),
    }
}

/// The name of the folder of a savepoint, as Flink's: `savepoint-<first of the job's id>-<number>`.
pub fn savepoint_folder(job: wiesel_core::JobId, checkpoint: u64) -> String {
    format!("savepoint-{}-{checkpoint}", &job.to_string()[..6])
}

/// Whether only this crate gives such names: data files, and what was being written when a process ended.
fn is_ours(name: &str) -> bool {
    let name = name.strip_suffix(TEMPORARY).unwrap_or(name);
    let is_data = name.strip_suffix(DATA).is_some_and(|stem| {
        let numbers: Vec<_> = stem.split('-').collect();
        let digits =
            |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        matches!(numbers.len(), 2 | 3) && numbers.iter().all(digits)
    });
    is_data || name == METADATA
}

/// The checkpoint whose folder has this name.
pub(crate) fn id_of(folder: &str) -> Option<u64> {
    let number = folder.strip_prefix(FOLDER)?;
    let id = number.parse().ok()?;
    // `chk-07` and `chk-+7` are somebody else's.
    (folder_of(id) == folder).then_some(id)
}

fn folder_and_name(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// The newest whole checkpoint, and what is wrong with newer ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// `None`: there is no checkpoint at all, whole or not.
    pub manifest: Option<Manifest>,
    /// One for each newer checkpoint that is not whole, newest first: the first thing wrong with it.
    pub damaged: Vec<(u64, Damage)>,
}

/// What a clean-up did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Files that were deleted.
    pub deleted: Vec<String>,
    /// Files that nobody knows. They stay.
    pub unknown: Vec<String>,
    /// Manifests that cannot be read: because of them nothing else was deleted.
    pub unreadable: Vec<Damage>,
    /// Files that were to be deleted, and stay because of them.
    pub kept: Vec<String>,
}

/// The folder of a job's checkpoints.
#[derive(Clone, Debug)]
pub struct CheckpointDirectory<S> {
    storage: S,
}

impl<S: CheckpointStorage> CheckpointDirectory<S> {
    /// That of a storage whose top is the job's folder.
    pub fn new(storage: S) -> Self {
        Self { storage }
    }

    /// The storage.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// The id that was never given out: one above all folders.
    ///
    /// # Errors
    ///
    /// When the folder cannot be listed.
    pub fn next_id(&self) -> Result<u64, StorageError> {
        Ok(self.folders()?.last().map_or(1, |highest| highest.saturating_add(1)))
    }

    /// Takes the id, durably, and makes room for the files of its tasks.
    ///
    /// # Errors
    ///
    /// [`StorageError::Exists`] if it was taken before.
    pub fn begin(&self, checkpoint: u64) -> Result<(), StorageError> {
        self.storage.make_folder(&folder_of(checkpoint))
    }

    /// Stores a manifest whose files are durable: the checkpoint is there. An ambiguous outcome is settled by a second
    /// try, with the same bytes, or by [`CheckpointDirectory::take_back`].
    ///
    /// # Errors
    ///
    /// [`StorageError::Ambiguous`] if it may be there all the same: then no file of it may be deleted.
    pub fn store(&self, manifest: &Manifest) -> Result<(), StorageError> {
        let path = manifest_path(manifest.kind, manifest.checkpoint);
        match store(&self.storage, &path, manifest) {
            Err(StorageError::Ambiguous(error)) if self.take_back(manifest.checkpoint).is_ok() => {
                Err(error.into())
            }
            stored => stored,
        }
    }

    /// Takes a manifest away, durably, that may be there or not: nobody ever continues from it. Its files stay.
    ///
    /// # Errors
    ///
    /// When the disk fails. It may be there then.
    pub fn take_back(&self, checkpoint: u64) -> Result<(), StorageError> {
        self.storage.delete(&manifest_path(Kind::Checkpoint, checkpoint))?;
        self.storage.sync(&folder_of(checkpoint))
    }

    /// The ids that have a manifest, whole or not, newest first.
    ///
    /// # Errors
    ///
    /// When the folder cannot be listed.
    pub fn list(&self) -> Result<Vec<u64>, StorageError> {
        let mut ids = Vec::new();
        for id in self.folders()?.into_iter().rev() {
            if self.storage.len(&manifest_path(Kind::Checkpoint, id))?.is_some() {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    /// The manifest of a checkpoint. Its files are not looked at.
    ///
    /// # Errors
    ///
    /// [`StorageError::Damaged`] if it is not what was written, or is missing.
    pub fn load(&self, checkpoint: u64) -> Result<Manifest, StorageError> {
        let path = manifest_path(Kind::Checkpoint, checkpoint);
        let bytes = named(&path, self.storage.get(&path, 0, u64::MAX))?;
        Ok(decode(checkpoint, &path, &bytes)?)
    }

    /// Whether all files of a checkpoint are there, to the last bit.
    ///
    /// # Errors
    ///
    /// [`StorageError::Damaged`]: the first thing that is wrong.
    pub fn verify(&self, manifest: &Manifest) -> Result<(), StorageError> {
        verify(&self.storage, manifest)
    }

    /// The newest checkpoint that is whole to the last bit. Files that the medium cannot give back are damaged; those
    /// that may not be read, or not now, are an error: falling back without need would do work twice.
    ///
    /// # Errors
    ///
    /// [`StorageError::NoneWhole`] if there are checkpoints, but all are damaged.
    pub fn newest(&self) -> Result<Found, StorageError> {
        let mut damaged = Vec::new();
        for id in self.list()? {
            let whole =
                self.load(id).and_then(|manifest| self.verify(&manifest).map(|()| manifest));
            match whole {
                Ok(manifest) => return Ok(Found { manifest: Some(manifest), damaged }),
                Err(StorageError::Damaged(damage)) => damaged.push((id, damage)),
                Err(other) => return Err(other),
            }
        }
        if damaged.is_empty() || Mutant::StartedAnew.is_chosen() {
            return Ok(Found::default());
        }
        let (folder, damaged) =
            (self.storage.describe(), damaged.into_iter().map(|(_, damage)| damage).collect());
        Err(StorageError::NoneWhole { folder, damaged })
    }

    /// The bytes of a part.
    ///
    /// # Errors
    ///
    /// [`StorageError::Damaged`] if a bit of it is not what was written.
    pub fn read(&self, file: &FileEntry, part: &PartEntry) -> Result<Vec<u8>, StorageError> {
        let stored = named(&file.path, self.storage.get(&file.path, part.offset, part.stored_len))?;
        Ok(read_part(&file.path, part, &stored)?)
    }

    /// Forgets a checkpoint: its manifest, then those of its files that no other manifest and not `in_use` (files of
    /// pending checkpoints) names. One that is not there is no error.
    ///
    /// # Errors
    ///
    /// [`StorageError::Damaged`] if its manifest cannot be read: then nothing is deleted.
    pub fn discard(
        &self,
        checkpoint: u64,
        in_use: &BTreeSet<String>,
    ) -> Result<Leftovers, StorageError> {
        let path = manifest_path(Kind::Checkpoint, checkpoint);
        if self.storage.len(&path)?.is_none() {
            return Ok(Leftovers::default());
        }
        let manifest = self.load(checkpoint)?;
        self.take_back(checkpoint)?;
        let files = manifest.files().map(|(_, _, file)| file.path.as_str());
        let mut leftovers = self.discard_files(files, in_use)?;
        leftovers.deleted.insert(0, path);
        Ok(leftovers)
    }

    /// Deletes files of a checkpoint that was aborted, those that no manifest and not `in_use` names.
    ///
    /// # Errors
    ///
    /// When one may still be there.
    pub fn discard_files<'a>(
        &self,
        files: impl IntoIterator<Item = &'a str>,
        in_use: &BTreeSet<String>,
    ) -> Result<Leftovers, StorageError> {
        let (referenced, unreadable) = self.referenced()?;
        let mut leftovers = Leftovers { unreadable, ..Leftovers::default() };
        if !leftovers.unreadable.is_empty() {
            leftovers.kept.extend(files.into_iter().map(str::to_owned));
        } else {
            let is_needed = |path: &str| referenced.contains(path) || in_use.contains(path);
            let is_free = |path: &&str| !is_needed(path) || Mutant::SharedDeleted.is_chosen();
            let free: BTreeSet<&str> = files.into_iter().filter(is_free).collect();
            self.delete(&free, &mut leftovers)?;
        }
        Ok(leftovers)
    }

    /// Deletes what earlier processes left behind: before anything runs, and by the owner of the folder.
    ///
    /// # Errors
    ///
    /// When a folder cannot be listed, or a leftover may still be there.
    pub fn clean(&self, in_use: &BTreeSet<String>) -> Result<Leftovers, StorageError> {
        let (referenced, unreadable) = self.referenced()?;
        let mut leftovers = Leftovers { unreadable, ..Leftovers::default() };
        let (top, folders) = self.storage.list("")?;
        let unknown = top.into_iter().map(|object| object.path);
        let unknown = unknown.filter(|name| name != "_owner" && !name.starts_with(CONTROL));
        leftovers.unknown.extend(unknown);
        let mut free = BTreeSet::new();
        for folder in folders {
            if id_of(&folder).is_none() {
                leftovers.unknown.push(folder);
                continue;
            }
            for object in self.storage.list(&folder)?.0 {
                let name = folder_and_name(&object.path).1;
                if referenced.contains(&object.path) || in_use.contains(&object.path) {
                    continue;
                }
                if is_ours(name) && name != METADATA {
                    free.insert(object.path);
                } else if name != METADATA && !aside::is_aside(name) {
                    leftovers.unknown.push(object.path);
                }
            }
        }
        if leftovers.unreadable.is_empty() {
            self.delete(&free.iter().map(String::as_str).collect(), &mut leftovers)?;
            self.remove_empty_folders(self.folders()?.into_iter())?;
        }
        Ok(leftovers)
    }

    fn delete(
        &self,
        paths: &BTreeSet<&str>,
        leftovers: &mut Leftovers,
    ) -> Result<(), StorageError> {
        let mut folders = BTreeSet::new();
        for path in paths {
            let (folder, name) = folder_and_name(path);
            if id_of(folder).is_none() || !is_ours(name) {
                leftovers.unknown.push((*path).to_owned());
                continue;
            }
            self.storage.delete(path)?;
            leftovers.deleted.push((*path).to_owned());
            folders.insert(folder);
        }
        for folder in &folders {
            self.storage.sync(folder)?;
        }
        self.remove_empty_folders(folders.into_iter().filter_map(id_of))
    }

    fn remove_empty_folders(&self, ids: impl Iterator<Item = u64>) -> Result<(), StorageError> {
        let highest = self.folders()?.last().copied();
        for id in ids.filter(|id| Some(*id) != highest) {
            self.storage.remove_empty_folder(&folder_of(id))?;
        }
        Ok(())
    }

    /// All files that manifests name, and the manifests that cannot be read.
    fn referenced(&self) -> Result<(BTreeSet<String>, Vec<Damage>), StorageError> {
        let (mut referenced, mut unreadable) = (BTreeSet::new(), Vec::new());
        for id in self.list()? {
            match self.load(id) {
                Ok(manifest) => {
                    referenced.extend(manifest.files().map(|(_, _, file)| file.path.clone()));
                }
                Err(StorageError::Damaged(damage)) => unreadable.push(damage),
                Err(other) => return Err(other),
            }
        }
        Ok((referenced, unreadable))
    }

    /// The ids of all folders, lowest first.
    fn folders(&self) -> Result<Vec<u64>, StorageError> {
        let (_, folders) = self.storage.list("")?;
        let mut ids: Vec<_> = folders.iter().filter_map(|folder| id_of(folder)).collect();
        ids.sort_unstable();
        Ok(ids)
    }
}

/// Stores the manifest of a savepoint whose files are durable; the storage's top is its folder.
///
/// # Errors
///
/// As for [`CheckpointDirectory::store`]; [`StorageError::Exists`] if there is one already.
pub fn store_savepoint(
    storage: &impl CheckpointStorage,
    manifest: &Manifest,
) -> Result<(), StorageError> {
    store(storage, METADATA, manifest)
}

/// The savepoint, or the retained checkpoint, in a folder, whole to the last bit. The storage's top is the folder of the
/// savepoint, or of the job with the checkpoint's folder named.
///
/// # Errors
///
/// [`StorageError::Damaged`] if it is not what was written, or is missing.
pub fn load_savepoint(storage: &impl CheckpointStorage) -> Result<Manifest, StorageError> {
    let manifest = load(storage, METADATA, Kind::Savepoint)?;
    verify(storage, &manifest)?;
    Ok(manifest)
}

fn manifest_path(kind: Kind, checkpoint: u64) -> String {
    match kind {
        Kind::Checkpoint => format!("{}/{METADATA}", folder_of(checkpoint)),
        Kind::Savepoint => METADATA.to_owned(),
    }
}

fn store(
    storage: &impl CheckpointStorage,
    path: &str,
    manifest: &Manifest,
) -> Result<(), StorageError> {
    let bytes = manifest.encode()?;
    match storage.put(path, &bytes, PutMode::IfAbsent) {
        Err(StorageError::Ambiguous(_)) => match storage.put(path, &bytes, PutMode::Replace) {
            // The first try may be there; that the second surely is not does not change that.
            Err(StorageError::Io(error)) => Err(StorageError::Ambiguous(error)),
            settled => settled,
        },
        decided => decided,
    }
}

fn verify(storage: &impl CheckpointStorage, manifest: &Manifest) -> Result<(), StorageError> {
    let mut files: BTreeMap<&str, &FileEntry> = BTreeMap::new();
    for (_, _, file) in manifest.files() {
        // The same file may be shared by subtasks after a change of parallelism: each says what it is.
        if files.insert(&file.path, file).is_some_and(|other| other != file) {
            let path = manifest_path(manifest.kind, manifest.checkpoint);
            let what = format!("`{}` is named twice with different contents", file.path);
            return Err(Damage::new(path, 0, "path of a file", what).into());
        }
    }
    let files: Vec<_> = files.into_values().collect();
    let verified = in_parallel(&files, |file| {
        verify_file(file, |offset, len| named(&file.path, storage.get(&file.path, offset, len)))
    });
    verified.into_iter().collect()
}
