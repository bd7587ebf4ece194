//! What enumerators and sinks may ask of the world before a job runs, and committers while it does. In the JobMaster
//! only: these calls wait.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use wiesel_shard::{fs, net};

/// The world, as far as sources and sinks look at it before they run. An interface, so that enumerators stay pure.
pub trait Discovery {
    /// The paths that match a pattern (`*`, `**`, `?`, `[..]`), sorted. Hidden ones only if the pattern says so: see
    /// [`list`](fs::list).
    ///
    /// # Errors
    ///
    /// If the pattern is malformed or a folder cannot be read.
    fn list(&self, pattern: &str) -> io::Result<Vec<PathBuf>>;

    /// Length and kind of a path.
    ///
    /// # Errors
    ///
    /// If there is nothing, or it may not be looked at.
    fn metadata(&self, path: &Path) -> io::Result<fs::Metadata>;

    /// The paths in a folder, sorted.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<PathBuf>>;

    /// Makes a folder and those above it.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// If it cannot be removed.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Renames a file within its folder; what had the new name is gone.
    ///
    /// # Errors
    ///
    /// If it cannot be renamed.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name, which must be free.
    ///
    /// # Errors
    ///
    /// If it cannot have it.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes the names in a folder survive a crash of the machine.
    ///
    /// # Errors
    ///
    /// If they may not.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Locks a file, which is created if there is none, and writes `text` into it: see [`lock`](fs::lock).
    ///
    /// # Errors
    ///
    /// If it cannot be made or written. That another one has it locked is no error.
    fn lock(&self, path: &Path, text: &str) -> io::Result<Result<(fs::FileLock, String), String>>;

    /// The addresses of `host:port`.
    ///
    /// # Errors
    ///
    /// If the host is not known.
    fn resolve(&self, address: &str) -> io::Result<Vec<SocketAddr>>;
}

/// The machine's files and names, through the seam.
#[derive(Clone, Copy, Debug, Default)]
pub struct MachineDiscovery;

impl Discovery for MachineDiscovery {
    fn list(&self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        fs::list(pattern)
    }

    fn metadata(&self, path: &Path) -> io::Result<fs::Metadata> {
        fs::metadata(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::sync_dir(path)
    }

    fn lock(&self, path: &Path, text: &str) -> io::Result<Result<(fs::FileLock, String), String>> {
        fs::lock(path, text)
    }

    fn resolve(&self, address: &str) -> io::Result<Vec<SocketAddr>> {
        net::resolve(address)
    }
}
