//! The file system for the control plane and the time before a job runs: these calls wait. Never on a data path.
//!
//! Lists are sorted, so that what is decided by them is the same each time. Errors name the path.

use std::{
    io,
    path::{Path, PathBuf},
};

use wiesel_core::Timestamp;

use crate::{File, backend::files, hidden, io::with_context};

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
/// Hidden ones are left out, those with a part that begins with `.` and those whose name begins with `_`, unless the
/// pattern says so: `out/*` finds neither `out/.part-0-1.inprogress` nor `out/_SUCCESS`; `out/.part-*` and `out/_*` do.
///
/// # Errors
///
/// When the pattern is malformed or a folder on the way cannot be read.
pub fn list(pattern: &str) -> io::Result<Vec<PathBuf>> {
    let checked = glob::Pattern::new(pattern);
    let checked = checked.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error));
    let found = checked.and_then(|parsed| files::list(pattern, &parsed));
    let mut found = found.map_err(|error| with_context(format_args!("list {pattern}"), error))?;
    found.retain(|path| hidden::is_meant(pattern, path));
    found.sort();
    Ok(found)
}

/// What is known about a path. Links are followed.
///
/// # Errors
///
/// The system's, naming the path.
pub fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    on("find", path.as_ref(), files::metadata(path.as_ref()))
}

/// Whether there is something at this path.
pub fn exists(path: impl AsRef<Path>) -> bool {
    files::metadata(path.as_ref()).is_ok()
}

/// All bytes of a file.
///
/// # Errors
///
/// The system's, naming the path.
pub fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    on("read", path.as_ref(), files::read(path.as_ref()))
}

/// All text of a file.
///
/// # Errors
///
/// The system's, naming the path; [`io::ErrorKind::InvalidData`] if it is not UTF-8.
pub fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    on("read", path.as_ref(), files::read_to_string(path.as_ref()))
}

/// Replaces or creates a file.
///
/// # Errors
///
/// The system's, naming the path.
pub fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    on("write", path.as_ref(), files::write(path.as_ref(), bytes.as_ref()))
}

/// A new, empty file in `folder` that can be written and read, and has no name: it is gone with its last handle, however
/// the process ends. In messages it is called after the folder.
///
/// # Errors
///
/// The system's, naming the folder: it is not there, or nothing may be written to it.
pub fn unnamed_file(folder: impl AsRef<Path>) -> io::Result<File> {
    let folder = folder.as_ref();
    let handle = on("make a file in", folder, files::unnamed(folder))?;
    Ok(File::new(format!("a file in {}", folder.display()), handle))
}

/// Makes a folder and those above it. One that exists is not an error.
///
/// # Errors
///
/// The system's, naming the path.
pub fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    on("make folder", path.as_ref(), files::create_dir_all(path.as_ref()))
}

/// The paths in a folder, sorted.
///
/// # Errors
///
/// The system's, naming the path.
pub fn read_dir(path: impl AsRef<Path>) -> io::Result<Vec<PathBuf>> {
    let mut found = on("list", path.as_ref(), files::read_dir(path.as_ref()))?;
    found.sort();
    Ok(found)
}

/// Removes a file.
///
/// # Errors
///
/// The system's, naming the path.
pub fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    on("remove", path.as_ref(), files::remove_file(path.as_ref()))
}

/// Removes a folder and everything in it.
///
/// # Errors
///
/// The system's, naming the path.
pub fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    on("remove", path.as_ref(), files::remove_dir_all(path.as_ref()))
}

/// Renames a file; what had the new name is gone.
///
/// # Errors
///
/// The system's, naming the old path.
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    on("rename", from.as_ref(), files::rename(from.as_ref(), to.as_ref()))
}

/// Gives a file a second name, which must be free. Where the file system has no such names it is copied.
///
/// # Errors
///
/// The system's, naming the old path.
pub fn hard_link(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    on("link", from.as_ref(), files::hard_link(from.as_ref(), to.as_ref()))
}

/// Replaces or creates a file and makes its bytes, not its name, survive a crash of the machine. After an error there
/// is no such file: a full disk keeps nothing of it.
///
/// # Errors
///
/// The system's, naming the path.
pub fn write_synced(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    let written = files::write_synced(path.as_ref(), bytes.as_ref());
    if written.is_err() {
        // The first error is the one that says why.
        let _ = files::remove_file(path.as_ref());
    }
    on("write", path.as_ref(), written)
}

/// Copies a file, piece by piece, and makes the bytes of the copy, not its name, survive a crash of the machine. `see` is
/// shown all of them, in order. After an error there is no copy.
///
/// # Errors
///
/// The system's, naming the file that was copied.
pub fn copy_synced(
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
    see: &mut dyn FnMut(&[u8]),
) -> io::Result<()> {
    let copied = files::copy_synced(from.as_ref(), to.as_ref(), see);
    if copied.is_err() {
        let _ = files::remove_file(to.as_ref());
    }
    on("copy", from.as_ref(), copied)
}

/// Makes the names in a folder survive a crash of the machine.
///
/// # Errors
///
/// The system's, naming the path.
pub fn sync_dir(path: impl AsRef<Path>) -> io::Result<()> {
    on("sync", path.as_ref(), files::sync_dir(path.as_ref()))
}

/// `len` bytes of a file from `offset`, or fewer where it ends before. Nothing is reserved that the file does not have.
///
/// # Errors
///
/// The system's, naming the path.
pub fn read_at(path: impl AsRef<Path>, offset: u64, len: u64) -> io::Result<Vec<u8>> {
    on("read", path.as_ref(), files::read_at(path.as_ref(), offset, len))
}

/// Removes a folder, which must be empty.
///
/// # Errors
///
/// The system's, naming the path.
pub fn remove_dir(path: impl AsRef<Path>) -> io::Result<()> {
    on("remove", path.as_ref(), files::remove_dir(path.as_ref()))
}

/// A file that this process alone has locked, until this is dropped or the process is gone, however it goes.
#[derive(Debug)]
pub struct FileLock(#[expect(dead_code, reason = "dropping it unlocks")] files::Lock);

/// Locks a file, which is created if there is none, and writes `text` into it. `Ok(Err(text))`: another one has it
/// locked, and this is what that one wrote; `Ok(Ok((lock, text)))`: what stood there before, of a process that is gone. Who has
/// it locked may remove the file.
///
/// # Errors
///
/// The system's, naming the path.
pub fn lock(path: impl AsRef<Path>, text: &str) -> io::Result<Result<(FileLock, String), String>> {
    let locked = on("lock", path.as_ref(), files::lock(path.as_ref(), text))?;
    Ok(locked.map(|(lock, before)| (FileLock(lock), before)))
}

/// The number of this process; in a simulation 1.
pub fn process_id() -> u32 {
    files::process_id()
}
