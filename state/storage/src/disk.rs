//! What [`LocalStorage`](crate::LocalStorage) asks of a disk: the seam's, or one of a test that crashes.

use std::{
    io,
    path::{Path, PathBuf},
};

use wiesel_shard::fs;

/// A file system. Calls wait; their errors name the path.
pub trait Disk: Sync {
    /// Creates or replaces a file, and makes its bytes durable (not its name). After an error there is no file.
    fn write_synced(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Copies a file to a new one and makes its bytes durable (not its name); `see` is shown all of them, in order. After
    /// an error there is no new file.
    fn copy_synced(&self, from: &Path, to: &Path, see: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let bytes = self.read_at(from, 0, u64::MAX)?;
        see(&bytes);
        self.write_synced(to, &bytes)
    }
    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Gives a file another name; what had it is gone. Atomic.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Makes a folder, and those above it.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder, which must be empty.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// `len` bytes from `offset`, or fewer at the end of the file.
    fn read_at(&self, path: &Path, offset: u64, len: u64) -> io::Result<Vec<u8>>;
    /// Length and whether it is a folder.
    fn metadata(&self, path: &Path) -> io::Result<(u64, bool)>;
    /// The paths in a folder, sorted.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<PathBuf>>;
}

/// The machine's disk, through the seam.
#[derive(Clone, Copy, Debug, Default)]
pub struct SeamDisk;

impl Disk for SeamDisk {
    fn write_synced(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        fs::write_synced(path, bytes)
    }

    fn copy_synced(&self, from: &Path, to: &Path, see: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        fs::copy_synced(from, to, see)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::sync_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn read_at(&self, path: &Path, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        fs::read_at(path, offset, len)
    }

    fn metadata(&self, path: &Path) -> io::Result<(u64, bool)> {
        fs::metadata(path).map(|found| (found.len, found.is_dir))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(path)
    }
}
