//! A disk of a test that loses what was not synced, fails when told to, and stops at any point; and a checkpoint to put
//! on it.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use wiesel_core::{JobId, KeyGroup, Timestamp};
use wiesel_storage::{
    CheckpointStorage, DataFileWriter, Disk, Ending, FileEntry, Kind, LocalStorage, Manifest,
    PartKind, PutMode, StorageError, SubtaskState, VertexState, data_file_name, folder_of,
};

/// A generator of its own, so that a seed means the same for ever.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// What a crash tears writes at.
const SECTOR: usize = 512;

#[derive(Clone, Debug, Default)]
struct Content {
    durable: Vec<u8>,
    current: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
struct State {
    inodes: Vec<Content>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    folders: BTreeSet<PathBuf>,
    durable_folders: BTreeSet<PathBuf>,
    /// Changes so far; the power goes before the one of this number.
    changes: u64,
    crash_before: Option<u64>,
    /// Changes with these numbers fail with these errors of the system.
    fail: Vec<(Range<u64>, i32)>,
}

/// The disk. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct ModelDisk(Arc<Mutex<State>>);

impl ModelDisk {
    pub fn crash_before(&self, change: u64) {
        self.0.lock().unwrap().crash_before = Some(change);
    }

    pub fn fail(&self, changes: Range<u64>, errno: i32) {
        self.0.lock().unwrap().fail.push((changes, errno));
    }

    pub fn changes(&self) -> u64 {
        self.0.lock().unwrap().changes
    }

    pub fn heal(&self) {
        self.0.lock().unwrap().fail.clear();
    }

    /// The disk after the power came back: of what was not synced anything may be there.
    pub fn after_crash(&self, random: &mut Random) -> Self {
        let before = self.0.lock().unwrap();
        let mut after = State::default();
        let all: BTreeSet<&PathBuf> =
            before.folders.iter().chain(&before.durable_folders).collect();
        for folder in all {
            let (is, was) =
                (before.folders.contains(folder), before.durable_folders.contains(folder));
            let above = folder.parent();
            let can_be = above.is_none_or(|above| after.folders.contains(above));
            let lasts = above.is_none() || (is && was) || (is != was && random.below(2) == 0);
            if can_be && lasts {
                after.folders.insert(folder.clone());
            }
        }
        let all: BTreeSet<&PathBuf> =
            before.names.keys().chain(before.durable_names.keys()).collect();
        for path in all {
            let (is, was) = (before.names.get(path), before.durable_names.get(path));
            let kept = if is == was || random.below(2) == 0 { is } else { was };
            let folder_is_there = path.parent().is_none_or(|folder| after.folders.contains(folder));
            if let (Some(inode), true) = (kept, folder_is_there) {
                let content = torn(&before.inodes[*inode], random);
                after.inodes.push(Content { durable: content.clone(), current: content });
                after.names.insert(path.clone(), after.inodes.len() - 1);
            }
        }
        after.durable_names.clone_from(&after.names);
        after.durable_folders.clone_from(&after.folders);
        Self(Arc::new(Mutex::new(after)))
    }

    /// One bit of a file is another one.
    pub fn flip(&self, path: &Path, bit: u64) {
        let mut state = self.0.lock().unwrap();
        let inode = state.names[path];
        state.inodes[inode].current[(bit / 8) as usize] ^= 1 << (bit % 8);
    }

    pub fn files(&self) -> Vec<PathBuf> {
        self.0.lock().unwrap().names.keys().cloned().collect()
    }

    pub fn bytes(&self, path: &Path) -> Vec<u8> {
        let state = self.0.lock().unwrap();
        state.inodes[state.names[path]].current.clone()
    }

    pub fn set(&self, path: &Path, bytes: Vec<u8>) {
        let mut state = self.0.lock().unwrap();
        state.inodes.push(Content { durable: bytes.clone(), current: bytes });
        let inode = state.inodes.len() - 1;
        state.names.insert(path.to_owned(), inode);
        state.durable_names.insert(path.to_owned(), inode);
    }

    pub fn unset(&self, path: &Path) {
        self.0.lock().unwrap().names.remove(path);
    }
}

/// Sectors of what was written, or of what was there, or nothing.
fn torn(content: &Content, random: &mut Random) -> Vec<u8> {
    let Content { durable, current } = content;
    if durable == current {
        return current.clone();
    }
    let len = match random.below(3) {
        0 => durable.len(),
        1 => current.len(),
        _ => random.below(current.len() as u64 + 1) as usize,
    };
    let mut bytes = vec![0; len];
    for (index, sector) in bytes.chunks_mut(SECTOR).enumerate() {
        let from = if random.below(2) == 0 { durable } else { current };
        let there = from.get(index * SECTOR..).unwrap_or_default();
        let count = there.len().min(sector.len());
        sector[..count].copy_from_slice(&there[..count]);
    }
    bytes
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl State {
    /// Before each change.
    fn change(&mut self) -> io::Result<()> {
        self.changes += 1;
        if self.crash_before.is_some_and(|at| self.changes >= at) {
            return Err(io::Error::other("the power is gone"));
        }
        match self.fail.iter().find(|(changes, _)| changes.contains(&self.changes)) {
            Some((_, errno)) => Err(io::Error::from_raw_os_error(*errno)),
            None => Ok(()),
        }
    }
}

impl Disk for ModelDisk {
    fn write_synced(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.change()?;
        if path.parent().is_some_and(|folder| !state.folders.contains(folder)) {
            return Err(missing());
        }
        state.inodes.push(Content::default());
        let inode = state.inodes.len() - 1;
        state.names.insert(path.to_owned(), inode);
        let mut written = Ok(());
        for piece in bytes.chunks(bytes.len().div_ceil(2).max(1)) {
            written = written.and_then(|()| state.change());
            if written.is_ok() {
                state.inodes[inode].current.extend_from_slice(piece);
            }
        }
        written = written.and_then(|()| state.change());
        if written.is_ok() {
            state.inodes[inode].durable = state.inodes[inode].current.clone();
        } else if state.change().is_ok() {
            // As the seam does: a file that could not be written is removed.
            state.names.remove(path);
        }
        written
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.change()?;
        let State { names, durable_names, folders, durable_folders, .. } = &mut *state;
        let is_in = |entry: &PathBuf| entry.parent() == Some(path);
        durable_names.retain(|entry, _| !is_in(entry));
        durable_names
            .extend(names.iter().filter(|(entry, _)| is_in(entry)).map(|(p, i)| (p.clone(), *i)));
        durable_folders.retain(|entry| !is_in(entry));
        durable_folders.extend(folders.iter().filter(|entry| is_in(entry)).cloned());
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.change()?;
        let inode = state.names.remove(from).ok_or_else(missing)?;
        state.names.insert(to.to_owned(), inode);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.change()?;
        state.names.remove(path).map(|_| ()).ok_or_else(missing)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        for folder in path.ancestors().collect::<Vec<_>>().into_iter().rev() {
            if !state.folders.contains(folder) {
                state.change()?;
                state.folders.insert(folder.to_owned());
            }
        }
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.change()?;
        assert!(state.names.keys().all(|file| file.parent() != Some(path)), "only empty folders");
        state.folders.remove(path).then_some(()).ok_or_else(missing)
    }

    fn read_at(&self, path: &Path, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let state = self.0.lock().unwrap();
        let inode = state.names.get(path).ok_or_else(missing)?;
        let bytes = &state.inodes[*inode].current;
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        Ok(bytes[place(offset)..place(offset.saturating_add(len))].to_vec())
    }

    fn metadata(&self, path: &Path) -> io::Result<(u64, bool)> {
        let state = self.0.lock().unwrap();
        match state.names.get(path) {
            Some(inode) => Ok((state.inodes[*inode].current.len() as u64, false)),
            None if state.folders.contains(path) => Ok((0, true)),
            None => Err(missing()),
        }
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.0.lock().unwrap();
        if !state.folders.contains(path) {
            return Err(missing());
        }
        let all = state.names.keys().chain(&state.folders);
        let mut entries: Vec<_> =
            all.filter(|entry| entry.parent() == Some(path)).cloned().collect();
        entries.sort();
        Ok(entries)
    }
}

/// The bytes of a part of a checkpoint: others for each.
pub fn part_bytes(checkpoint: u64, subtask: u32, group: u16) -> Vec<u8> {
    let mut random = Random(checkpoint << 32 | u64::from(subtask) << 16 | u64::from(group));
    let len = random.below(180) as usize;
    (0..len).map(|_| random.next() as u8).collect()
}

/// The parts of a subtask of the small checkpoint.
fn data_file(checkpoint: u64, path: &str, subtask: u32) -> (Vec<u8>, FileEntry) {
    let mut writer = DataFileWriter::new();
    for group in 0..3 {
        let kind = PartKind::Keyed(KeyGroup(group));
        writer.part("counts", "counts", kind, &part_bytes(checkpoint, subtask, group));
    }
    writer.part("counts", "offsets", PartKind::Split, &part_bytes(checkpoint, subtask, 3));
    writer.part("counts", "nothing", PartKind::List, b"");
    writer.finish(path)
}

/// A small checkpoint of two subtasks and a finished one. What can go wrong comes from the storage.
pub fn write_checkpoint(
    storage: &LocalStorage<ModelDisk>,
    checkpoint: u64,
) -> Result<Manifest, StorageError> {
    let mut subtasks = Vec::new();
    for subtask in 0..2 {
        let path = format!("{}/{}", folder_of(checkpoint), data_file_name(0, subtask, 0));
        let (bytes, entry) = data_file(checkpoint, &path, subtask);
        storage.put(&path, &bytes, PutMode::Replace)?;
        subtasks.push(SubtaskState { finished: false, files: vec![entry] });
    }
    subtasks.push(SubtaskState { finished: true, files: Vec::new() });
    let vertex = VertexState {
        uid: "counts".to_owned(),
        name: "Source -> Count".to_owned(),
        operators: vec!["source".to_owned(), "counts".to_owned()],
        parallelism: 3,
        max_parallelism: 128,
        enumerator: Some(checkpoint.to_le_bytes().to_vec()),
        subtasks,
    };
    Ok(Manifest {
        job: JobId(7),
        job_name: "trending".to_owned(),
        checkpoint,
        kind: Kind::Checkpoint,
        triggered: Timestamp::from_millis(1_000),
        completed: Timestamp::from_millis(1_010),
        ending: Ending::Open,
        vertices: vec![vertex],
    })
}

pub const ROOT: &str = "/jobs/7";

pub fn storage(disk: &ModelDisk) -> Result<LocalStorage<ModelDisk>, StorageError> {
    LocalStorage::with_disk(ROOT, disk.clone())
}
