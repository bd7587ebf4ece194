//! A disk in memory, which tests fill before a simulation and look at after it.
//!
//! ```text
//!   write ─▶ bytes        create, rename, remove ─▶ names        what programs see
//!   fsync ─▶ synced       fsync of the folder ────▶ durable      what a crash of the machine leaves for certain
//! ```
//!
//! A crash leaves, of what was not synced, whatever it likes: bytes as they were, as they are, or torn; the names of a
//! folder as they were or as they are, all of them, as a journal does it. Folders themselves stay.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    ops::{Deref, DerefMut},
    path::{Component, Path, PathBuf},
    sync::MutexGuard,
};

use super::stream::{Shared, shared};

/// The bytes of a file, which an open file shares with its name.
pub(super) type Content = Shared<Body>;

/// The bytes of a file; they are what it dereferences to.
#[derive(Clone, Default)]
pub(super) struct Body {
    bytes: Vec<u8>,
    /// As of the last sync.
    synced: Vec<u8>,
}

impl Body {
    fn durable(bytes: Vec<u8>) -> Self {
        Self { synced: bytes.clone(), bytes }
    }

    /// Makes the bytes survive a crash.
    pub(super) fn sync(&mut self) {
        self.synced.clone_from(&self.bytes);
    }

    /// What a crash leaves.
    fn after_crash(&self, draw: &mut impl FnMut(u64) -> u64) -> Self {
        if self.bytes == self.synced {
            return self.clone();
        }
        Self::durable(match draw(3) {
            0 => self.bytes.clone(),
            1 => self.synced.clone(),
            _ => {
                // The length may be there without the bytes.
                let mut torn = self.bytes.clone();
                let common =
                    self.bytes.iter().zip(&self.synced).take_while(|(a, b)| a == b).count();
                let from = common + draw((torn.len() - common).max(1) as u64) as usize;
                match draw(2) {
                    0 => torn.truncate(from),
                    _ => torn.iter_mut().skip(from).for_each(|byte| *byte = 0),
                }
                torn
            }
        })
    }
}

impl Deref for Body {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Body {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

/// Files, folders and the standard streams of a simulation. Clones are the same disk.
///
/// Paths are plain: no links, no permissions, no current folder (`a` and `./a` are the same).
#[derive(Clone)]
pub struct SimDisk(Shared<Disk>);

#[derive(Default)]
pub(super) struct Disk {
    files: BTreeMap<PathBuf, Content>,
    /// As of the last sync of each folder.
    durable: BTreeMap<PathBuf, Content>,
    folders: BTreeSet<PathBuf>,
    locked: BTreeSet<PathBuf>,
    pub(super) stdin: VecDeque<u8>,
    /// Standard output and standard error.
    pub(super) out: [Vec<u8>; 2],
    pub(super) stdout_closed: bool,
}

thread_local! {
    static INSTALLED: RefCell<Option<SimDisk>> = const { RefCell::new(None) };
}

fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| !matches!(part, Component::CurDir)).collect()
}

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimDisk")
    }
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self(shared(Disk::default()))
    }

    /// Makes this the disk that [`crate::fs`] sees on this thread. A new simulation does it for its own.
    pub fn install(&self) {
        INSTALLED.with_borrow_mut(|installed| *installed = Some(self.clone()));
    }

    /// The disk that [`crate::fs`] sees on this thread; an empty one if none was installed.
    pub fn installed() -> Self {
        INSTALLED.with_borrow_mut(|installed| installed.get_or_insert_default().clone())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock()
    }

    /// Puts a file there, with the folders above it.
    pub fn put(&self, path: impl AsRef<Path>, bytes: impl Into<Vec<u8>>) {
        let path = plain(path.as_ref());
        let mut disk = self.lock();
        disk.folders.extend(path.ancestors().skip(1).map(Path::to_owned));
        let content = shared(Body::durable(bytes.into()));
        disk.durable.insert(path.clone(), content.clone());
        disk.files.insert(path, content);
    }

    /// The machine goes down and comes up again: what was not synced is there, or not, or half, as `seed` draws it.
    /// No program may be running; files that are open stay with what is lost.
    pub fn crash(&self, seed: u64) {
        let mut state = seed;
        let mut draw = |below: u64| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            (z ^ (z >> 27)) % below
        };
        let mut disk = self.lock();
        let names = disk.files.keys().chain(disk.durable.keys());
        let folders: BTreeSet<PathBuf> = names.map(|path| folder_of(path)).collect();
        let mut left = BTreeMap::new();
        for folder in folders {
            let names = if draw(2) == 0 { &disk.files } else { &disk.durable };
            for (path, content) in names.iter().filter(|(path, _)| folder_of(path) == folder) {
                left.insert(path.clone(), shared(content.lock().after_crash(&mut draw)));
            }
        }
        disk.durable.clone_from(&left);
        disk.files = left;
        disk.locked.clear();
    }

    /// What a file holds, if there is one.
    pub fn get(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        self.lock().files.get(&plain(path.as_ref())).map(|content| content.lock().to_vec())
    }

    /// The paths of all files, sorted.
    pub fn files(&self) -> Vec<PathBuf> {
        self.lock().files.keys().cloned().collect()
    }

    /// What programs will read from standard input, to its end.
    pub fn set_stdin(&self, bytes: impl Into<Vec<u8>>) {
        self.lock().stdin = bytes.into().into();
    }

    /// What programs wrote to standard output.
    pub fn stdout(&self) -> Vec<u8> {
        self.lock().out[0].clone()
    }

    /// What programs wrote to standard error.
    pub fn stderr(&self) -> Vec<u8> {
        self.lock().out[1].clone()
    }

    /// From now on writing to standard output fails: the reader of the pipe is gone.
    pub fn close_stdout(&self) {
        self.lock().stdout_closed = true;
    }
}

impl Disk {
    fn parent_exists(&self, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() && !self.is_folder(parent) => {
                Err(missing())
            }
            _ => Ok(()),
        }
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.as_os_str().is_empty() || path == Path::new("/") || self.folders.contains(path)
    }

    pub(super) fn open(&self, path: &Path) -> io::Result<Content> {
        let path = plain(path);
        if self.is_folder(&path) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        self.files.get(&path).cloned().ok_or_else(missing)
    }

    pub(super) fn create(&mut self, path: &Path, new: bool, truncate: bool) -> io::Result<Content> {
        let path = plain(path);
        self.parent_exists(&path)?;
        if self.is_folder(&path) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if let Some(content) = self.files.get(&path) {
            if new {
                return Err(exists());
            }
            if truncate {
                content.lock().clear();
            }
            return Ok(content.clone());
        }
        let content = shared(Body::default());
        self.files.insert(path, content.clone());
        Ok(content)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (plain(from), plain(to));
        self.parent_exists(&to)?;
        if self.is_folder(&to) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let content = self.files.remove(&from).ok_or_else(missing)?;
        self.files.insert(to, content);
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.files.remove(&plain(path)).map(|_| ()).ok_or_else(missing)
    }

    pub(super) fn make_folder(&mut self, path: &Path) -> io::Result<()> {
        let path = plain(path);
        self.parent_exists(&path)?;
        if self.is_folder(&path) || self.files.contains_key(&path) {
            return Err(exists());
        }
        self.folders.insert(path);
        Ok(())
    }

    /// Makes the names in a folder survive a crash.
    pub(super) fn sync_folder(&mut self, path: &Path) -> io::Result<()> {
        self.folder(path)?;
        let folder = plain(path);
        let Self { files, durable, .. } = self;
        durable.retain(|path, _| folder_of(path) != folder);
        let now = files.iter().filter(|(path, _)| folder_of(path) == folder);
        durable.extend(now.map(|(path, content)| (path.clone(), content.clone())));
        Ok(())
    }

    pub(super) fn folder(&self, path: &Path) -> io::Result<()> {
        self.is_folder(&plain(path)).then_some(()).ok_or_else(missing)
    }
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).to_owned()
}

fn missing() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "No such file or directory")
}

fn exists() -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, "File exists")
}

/// The file system for `crate::fs`: the installed disk.
pub(crate) mod files {
    use std::path::{Path, PathBuf};

    use super::{SimDisk, exists, io, missing, plain};

    use crate::{fs::Metadata, sim::Handle};

    #[expect(clippy::unnecessary_wraps, reason = "the real one asks the system")]
    pub(crate) fn list(_pattern: &str, parsed: &glob::Pattern) -> io::Result<Vec<PathBuf>> {
        let disk = SimDisk::installed();
        let disk = disk.lock();
        // As in a shell, `*` does not cross a `/`.
        let options = glob::MatchOptions { require_literal_separator: true, ..Default::default() };
        let all = disk.files.keys().chain(disk.folders.iter());
        Ok(all.filter(|path| parsed.matches_path_with(path, options)).cloned().collect())
    }

    pub(crate) fn metadata(path: &Path) -> io::Result<Metadata> {
        let disk = SimDisk::installed();
        let disk = disk.lock();
        let path = plain(path);
        let (len, is_dir) = match disk.files.get(&path) {
            Some(content) => (content.lock().len() as u64, false),
            None if disk.is_folder(&path) => (0, true),
            None => return Err(missing()),
        };
        Ok(Metadata { len, is_file: !is_dir, is_dir, modified: None })
    }

    pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
        let content = SimDisk::installed().lock().open(path)?;
        Ok(content.lock().to_vec())
    }

    pub(crate) fn read_to_string(path: &Path) -> io::Result<String> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        String::from_utf8(read(path)?).map_err(invalid)
    }

    pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
        let content = SimDisk::installed().lock().create(path, false, true)?;
        content.lock().extend_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn unnamed(folder: &Path) -> io::Result<Handle> {
        let disk = SimDisk::installed();
        let mut disk = disk.lock();
        let path = folder.join(".unnamed");
        let content = disk.create(&path, true, false)?;
        disk.remove(&path)?;
        Ok(Handle::of_content(content))
    }

    pub(crate) fn create_dir_all(path: &Path) -> io::Result<()> {
        let disk = SimDisk::installed();
        let mut disk = disk.lock();
        let path = plain(path);
        if path.ancestors().any(|above| disk.files.contains_key(above)) {
            return Err(exists());
        }
        disk.folders.extend(path.ancestors().map(Path::to_owned));
        Ok(())
    }

    pub(crate) fn read_dir(path: &Path) -> io::Result<Vec<PathBuf>> {
        let disk = SimDisk::installed();
        let disk = disk.lock();
        disk.folder(path)?;
        let path = plain(path);
        let all = disk.files.keys().chain(disk.folders.iter());
        Ok(all.filter(|entry| entry.parent() == Some(&path)).cloned().collect())
    }

    pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
        SimDisk::installed().lock().remove(path)
    }

    pub(crate) fn remove_dir_all(path: &Path) -> io::Result<()> {
        let disk = SimDisk::installed();
        let mut disk = disk.lock();
        disk.folder(path)?;
        let path = plain(path);
        disk.files.retain(|file, _| !file.starts_with(&path));
        disk.folders.retain(|folder| !folder.starts_with(&path));
        Ok(())
    }

    pub(crate) fn remove_dir(path: &Path) -> io::Result<()> {
        if !read_dir(path)?.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        remove_dir_all(path)
    }

    pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
        write(path, bytes)?;
        SimDisk::installed().lock().open(path)?.lock().sync();
        Ok(())
    }

    pub(crate) fn copy_synced(
        from: &Path,
        to: &Path,
        see: &mut dyn FnMut(&[u8]),
    ) -> io::Result<()> {
        let bytes = read(from)?;
        see(&bytes);
        write_synced(to, &bytes)
    }

    pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
        SimDisk::installed().lock().sync_folder(path)
    }

    pub(crate) fn read_at(path: &Path, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let bytes = read(path)?;
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        Ok(bytes[place(offset)..place(offset.saturating_add(len))].to_vec())
    }

    /// Unlocks when it is dropped.
    #[derive(Debug)]
    pub(crate) struct Lock {
        disk: SimDisk,
        path: PathBuf,
    }

    impl Drop for Lock {
        fn drop(&mut self) {
            self.disk.lock().locked.remove(&self.path);
        }
    }

    pub(crate) fn lock(path: &Path, text: &str) -> io::Result<Result<(Lock, String), String>> {
        let disk = SimDisk::installed();
        let path = plain(path);
        let content = disk.lock().create(&path, false, false)?;
        let before = String::from_utf8_lossy(&content.lock()).into_owned();
        if !disk.lock().locked.insert(path.clone()) {
            return Ok(Err(before));
        }
        **content.lock() = text.as_bytes().to_vec();
        Ok(Ok((Lock { disk, path }, before)))
    }

    pub(crate) fn process_id() -> u32 {
        1
    }

    pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
        SimDisk::installed().lock().rename(from, to)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_disk_behaves_like_a_small_file_system() {
            let disk = SimDisk::new();
            disk.install();
            disk.put("data/a.txt", "A");
            disk.put("data/deep/b.txt", "B");
            let names = |pattern: &str| {
                let found = crate::fs::list(pattern).expect("a pattern");
                found.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
            };
            assert_eq!(names("data/*.txt"), "data/a.txt");
            assert_eq!(names("data/**/*.txt"), "data/a.txt data/deep/b.txt");
            assert_eq!(names("none*"), "");
            assert_eq!(crate::fs::metadata("./data/a.txt").expect("a file").len, 1);
            assert!(crate::fs::metadata("data").expect("a folder").is_dir);
            let kind = |result: io::Result<()>| result.expect_err("refused").kind();
            assert_eq!(kind(crate::fs::write("no/x", "")), io::ErrorKind::NotFound);
            assert_eq!(kind(crate::fs::read("data").map(drop)), io::ErrorKind::IsADirectory);
            assert_eq!(
                kind(crate::fs::create_dir_all("data/a.txt/x")),
                io::ErrorKind::AlreadyExists
            );
            crate::fs::rename("data/a.txt", "data/deep/c.txt").expect("renamed");
            assert_eq!(names("data/deep/*"), "data/deep/b.txt data/deep/c.txt");
            crate::fs::remove_dir_all("data/deep").expect("removed");
            assert!(crate::fs::read_dir("data").expect("a folder").is_empty());
        }
    }
}
