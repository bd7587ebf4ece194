//! The file system for the control plane and the time before a job runs: these calls wait. Never on a data path.
//!
//! Lists are sorted, so that what is decided by them is the same each time. Errors name the path.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::io::with_context;
use wiesel_core::Timestamp;

/// What is known about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Its length in bytes.
    pub len: u64,
    /// Whether it is a regular file.
    pub is_file: bool,
    /// Whether it is a folder.
    pub is_dir: bool,
    /// When it was last changed, if the file system knows.
    pub modified: Option<Timestamp>,
}

fn on<T>(verb: &str, path: &Path, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| with_context(format_args!("{verb} {}", path.display()), error))
}

/// The paths that match a pattern (`*`, `**`, `?`, `[..]`), sorted. None is not an error.
///
/// # Errors
///
/// When the pattern is malformed or a folder on the way cannot be read.
pub fn list(pattern: &str) -> io::Result<Vec<PathBuf>> {
    let paths = glob::glob(pattern)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, format!("pattern {pattern}: {error}")))?;
    let mut found = paths
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| with_context(format_args!("list {pattern}"), error.into()))?;
    found.sort();
    Ok(found)
}

/// What is known about a path. Links are followed.
///
/// # Errors
///
/// The system's, naming the path.
pub fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    let found = on("look at", path.as_ref(), fs::metadata(path.as_ref()))?;
    let modified = found.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    Ok(Metadata {
        len: found.len(),
        is_file: found.is_file(),
        is_dir: found.is_dir(),
        modified: modified.map(|since| Timestamp::from_millis(since.as_millis() as i64)),
    })
}

/// Whether there is something at this path.
pub fn exists(path: impl AsRef<Path>) -> bool {
    path.as_ref().exists()
}

/// All bytes of a file.
///
/// # Errors
///
/// The system's, naming the path.
pub fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    on("read", path.as_ref(), fs::read(path.as_ref()))
}

/// All text of a file.
///
/// # Errors
///
/// The system's, naming the path; [`io::ErrorKind::InvalidData`] if it is not UTF-8.
pub fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    on("read", path.as_ref(), fs::read_to_string(path.as_ref()))
}

/// Replaces or creates a file.
///
/// # Errors
///
/// The system's, naming the path.
pub fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    on("write", path.as_ref(), fs::write(path.as_ref(), bytes))
}

/// Makes a folder and those above it. One that exists is not an error.
///
/// # Errors
///
/// The system's, naming the path.
pub fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    on("make folder", path.as_ref(), fs::create_dir_all(path.as_ref()))
}

/// The paths in a folder, sorted.
///
/// # Errors
///
/// The system's, naming the path.
pub fn read_dir(path: impl AsRef<Path>) -> io::Result<Vec<PathBuf>> {
    let path = path.as_ref();
    let entries = on("list", path, fs::read_dir(path))?;
    let mut found =
        on("list", path, entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>())?;
    found.sort();
    Ok(found)
}

/// Removes a file.
///
/// # Errors
///
/// The system's, naming the path.
pub fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    on("remove", path.as_ref(), fs::remove_file(path.as_ref()))
}

/// Removes a folder and everything in it.
///
/// # Errors
///
/// The system's, naming the path.
pub fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    on("remove", path.as_ref(), fs::remove_dir_all(path.as_ref()))
}

/// Renames a file; what had the new name is gone.
///
/// # Errors
///
/// The system's, naming the old path.
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    on("rename", from.as_ref(), fs::rename(from.as_ref(), to.as_ref()))
}
