//! The file system for `crate::fs`: the standard library's.

pub(crate) use std::fs::{
    create_dir_all, read, read_to_string, remove_dir, remove_dir_all, remove_file, rename, write,
};
use std::{
    fs,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
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

pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// What is copied at once.
const COPY_BYTES: usize = 1 << 20;

pub(crate) fn copy_synced(from: &Path, to: &Path, see: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let (mut source, mut target) = (fs::File::open(from)?, fs::File::create(to)?);
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        let count = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        see(&buffer[..count]);
        target.write_all(&buffer[..count])?;
    }
    target.sync_all()
}

pub(crate) fn hard_link(from: &Path, to: &Path) -> io::Result<()> {
    use io::ErrorKind::{PermissionDenied, Unsupported};
    match fs::hard_link(from, to) {
        Err(error) if matches!(error.kind(), Unsupported | PermissionDenied) => {
            copy_synced(from, to, &mut |_| {})
        }
        linked => linked,
    }
}

pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

pub(crate) fn read_at(path: &Path, offset: u64, len: u64) -> io::Result<Vec<u8>> {
    let mut file = fs::File::open(path)?;
    let there = file.metadata()?.len().saturating_sub(offset).min(len);
    let mut bytes = Vec::with_capacity(usize::try_from(there).unwrap_or(0));
    file.seek(SeekFrom::Start(offset))?;
    file.take(len).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The system unlocks it when the last descriptor is closed.
pub(crate) type Lock = fs::File;

pub(crate) fn lock(path: &Path, text: &str) -> io::Result<Result<(Lock, String), String>> {
    let mut options = fs::File::options();
    options.read(true).write(true).create(true).truncate(false);
    let (mut file, locked) = loop {
        let file = options.open(path)?;
        let locked = file.try_lock();
        // An owner may remove the file before it unlocks it: then the next one makes another.
        let is_there = fs::metadata(path).is_ok_and(|found| {
            let opened = file.metadata();
            opened.is_ok_and(|opened| (opened.dev(), opened.ino()) == (found.dev(), found.ino()))
        });
        if is_there || locked.is_err() {
            break (file, locked);
        }
    };
    let mut before = Vec::new();
    // Whatever is there is for a message.
    (&file).take(LOCK_TEXT_MAX).read_to_end(&mut before)?;
    let before = String::from_utf8_lossy(&before).into_owned();
    match locked {
        Err(fs::TryLockError::WouldBlock) => return Ok(Err(before)),
        Err(fs::TryLockError::Error(error)) => return Err(error),
        Ok(()) => {}
    }
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(text.as_bytes())?;
    Ok(Ok((file, before)))
}

/// A line or two.
const LOCK_TEXT_MAX: u64 = 4_096;

pub(crate) fn process_id() -> u32 {
    std::process::id()
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
