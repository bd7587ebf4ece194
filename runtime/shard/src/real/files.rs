//! The file system for `crate::fs`: the standard library's.

pub(crate) use std::fs::{
    create_dir_all, read, read_to_string, remove_dir_all, remove_file, rename, write,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
    time::UNIX_EPOCH,
};

use wiesel_core::Timestamp;

use super::Handle;
use crate::fs::Metadata;

pub(crate) fn list(pattern: &str, _parsed: &glob::Pattern) -> io::Result<Vec<PathBuf>> {
    let paths =
        glob::glob(pattern).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    Ok(paths.collect::<Result<Vec<_>, _>>()?)
}

pub(crate) fn metadata(path: &Path) -> io::Result<Metadata> {
    let found = fs::metadata(path)?;
    let modified = found.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let millis = modified.and_then(|since| i64::try_from(since.as_millis()).ok());
    Ok(Metadata {
        len: found.len(),
        is_file: found.is_file(),
        is_dir: found.is_dir(),
        modified: millis.map(Timestamp::from_millis),
    })
}

pub(crate) fn read_dir(path: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect()
}

/// A file that is only a descriptor. Its name lives between two system calls (not every file system has `O_TMPFILE`).
pub(crate) fn unnamed(folder: &Path) -> io::Result<Handle> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".wiesel-{}-{number}", process::id()));
        match fs::OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
            Ok(file) => {
                fs::remove_file(&path)?;
                return Ok(Handle::owned(file.into()));
            }
            // Of a process with this number that died between the two.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}
