//! The file system for `crate::fs`: the installed disk.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::disk::{Act, SimDisk, exists, missing, plain};

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

fn fault(act: Act) -> io::Result<()> {
    SimDisk::installed().lock().fault(act)
}

pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let content = SimDisk::installed().lock().open(path)?;
    fault(Act::Read)?;
    Ok(content.lock().to_vec())
}

pub(crate) fn read_to_string(path: &Path) -> io::Result<String> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    String::from_utf8(read(path)?).map_err(invalid)
}

pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let disk = SimDisk::installed();
    let mut disk = disk.lock();
    disk.fault(Act::Write)?;
    let content = disk.create(path, false, true)?;
    let failed = disk.fault(Act::Write);
    let count = if failed.is_ok() { bytes.len() } else { disk.half_of(bytes.len()) };
    content.lock().extend_from_slice(&bytes[..count]);
    failed
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
    fault(Act::Write)?;
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
    let disk = SimDisk::installed();
    let mut disk = disk.lock();
    let failed = disk.fault(Act::Sync);
    let content = disk.open(path)?;
    match failed {
        Ok(()) => content.lock().sync(),
        Err(_) => content.lock().fail_sync(),
    }
    failed
}

pub(crate) fn copy_synced(from: &Path, to: &Path, see: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let bytes = read(from)?;
    see(&bytes);
    write_synced(to, &bytes)
}

pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    fault(Act::Sync)?;
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

pub(crate) fn hard_link(from: &Path, to: &Path) -> io::Result<()> {
    SimDisk::installed().lock().link(from, to)
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
        assert_eq!(kind(crate::fs::create_dir_all("data/a.txt/x")), io::ErrorKind::AlreadyExists);
        crate::fs::rename("data/a.txt", "data/deep/c.txt").expect("renamed");
        assert_eq!(names("data/deep/*"), "data/deep/b.txt data/deep/c.txt");
        crate::fs::remove_dir_all("data/deep").expect("removed");
        assert!(crate::fs::read_dir("data").expect("a folder").is_empty());
    }
}
