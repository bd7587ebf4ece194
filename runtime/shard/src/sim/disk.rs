//! A disk in memory, which tests fill before a simulation and look at after it.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    path::{Component, Path, PathBuf},
    sync::MutexGuard,
};

use super::stream::{Shared, shared};

/// The bytes of a file, which an open file shares with its name.
pub(super) type Content = Shared<Vec<u8>>;

/// Files, folders and the standard streams of a simulation. Clones are the same disk.
///
/// Paths are plain: no links, no permissions, no current folder (`a` and `./a` are the same).
#[derive(Clone)]
pub struct SimDisk(Shared<Disk>);

#[derive(Default)]
pub(super) struct Disk {
    files: BTreeMap<PathBuf, Content>,
    folders: BTreeSet<PathBuf>,
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
        disk.files.insert(path, shared(bytes.into()));
    }

    /// What a file holds, if there is one.
    pub fn get(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        self.lock().files.get(&plain(path.as_ref())).map(|content| content.lock().clone())
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
        let content = shared(Vec::new());
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

    pub(super) fn folder(&self, path: &Path) -> io::Result<()> {
        self.is_folder(&plain(path)).then_some(()).ok_or_else(missing)
    }
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
        Ok(content.lock().clone())
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
