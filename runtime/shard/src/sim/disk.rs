//! A disk in memory, which tests fill before a simulation and look at after it.
//!
//! ```text
//!   write ─▶ bytes        create, rename, remove ─▶ names        what programs see
//!   fsync ─▶ synced       fsync of the folder ────▶ durable      what a crash of the machine leaves for certain
//! ```
//!
//! Operations on files fail at random, if a test wants it ([`SimDisk::fail`]): reads, writes (half done, if the disk is full),
//! syncs (what was not synced then never is), files and folders that cannot be made.
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
    /// A sync has failed: the system has dropped what was not written, and a later sync knows nothing of it.
    is_lost: bool,
}

impl Body {
    fn durable(bytes: Vec<u8>) -> Self {
        Self { synced: bytes.clone(), bytes, is_lost: false }
    }

    /// Makes the bytes survive a crash.
    pub(super) fn sync(&mut self) {
        if !self.is_lost {
            self.synced.clone_from(&self.bytes);
        }
    }

    /// A sync that fails.
    pub(super) fn fail_sync(&mut self) {
        self.is_lost = self.bytes != self.synced;
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
    pub(super) files: BTreeMap<PathBuf, Content>,
    /// As of the last sync of each folder.
    durable: BTreeMap<PathBuf, Content>,
    pub(super) folders: BTreeSet<PathBuf>,
    pub(super) locked: BTreeSet<PathBuf>,
    pub(super) stdin: VecDeque<u8>,
    /// Standard output and standard error.
    pub(super) out: [Vec<u8>; 2],
    pub(super) stdout_closed: bool,
    faults: Faults,
}

/// Which operations fail.
#[derive(Default)]
struct Faults {
    /// One in so many; none if zero.
    one_in: u64,
    /// What is left of them.
    left: u64,
    state: u64,
    /// How many there were.
    count: u64,
}

/// What an operation does, as far as faults care.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// It reads.
    Read,
    /// It needs room.
    Write,
    /// It makes something durable.
    Sync,
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

thread_local! {
    static INSTALLED: RefCell<Option<SimDisk>> = const { RefCell::new(None) };
}

pub(super) fn plain(path: &Path) -> PathBuf {
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
            mixed(state) % below
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

    /// From now on one operation on a file in `one_in` fails, drawn from `seed`, until `most` have: none, if either is 0.
    /// The standard streams and sockets are left alone.
    pub fn fail(&self, seed: u64, one_in: u64, most: u64) {
        let faults = &mut self.lock().faults;
        *faults = Faults { one_in, left: most, state: seed, count: faults.count };
    }

    /// How many operations have failed.
    pub fn faults(&self) -> u64 {
        self.lock().faults.count
    }

    /// Flips a bit of a file, for good; whether it has that many.
    pub fn flip(&self, path: impl AsRef<Path>, bit: u64) -> bool {
        let disk = self.lock();
        let Some(content) = disk.files.get(&plain(path.as_ref())) else { return false };
        let mut body = content.lock();
        let (at, mask) = ((bit / 8) as usize, 1 << (bit % 8));
        let Some(byte) = body.bytes.get_mut(at) else { return false };
        *byte ^= mask;
        if let Some(byte) = body.synced.get_mut(at) {
            *byte ^= mask;
        }
        true
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

impl Faults {
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed(self.state)
    }
}

fn mixed(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z ^ (z >> 27)
}

impl Disk {
    /// Whether an operation fails now, and how.
    pub(super) fn fault(&mut self, act: Act) -> io::Result<()> {
        let faults = &mut self.faults;
        if faults.one_in == 0 || faults.left == 0 || faults.draw() % faults.one_in != 0 {
            return Ok(());
        }
        faults.left -= 1;
        faults.count += 1;
        let is_full = act == Act::Write && faults.draw() % 2 == 0;
        Err(io::Error::from_raw_os_error(if is_full { ENOSPC } else { EIO }))
    }

    /// How many of `count` bytes a write that fails has written.
    pub(super) fn half_of(&mut self, count: usize) -> usize {
        (self.faults.draw() % (count as u64 + 1)) as usize
    }

    fn parent_exists(&self, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() && !self.is_folder(parent) => {
                Err(missing())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn is_folder(&self, path: &Path) -> bool {
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

    pub(super) fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (content, to) = (self.open(from)?, plain(to));
        self.parent_exists(&to)?;
        if self.is_folder(&to) || self.files.contains_key(&to) {
            return Err(exists());
        }
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

pub(super) fn missing() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "No such file or directory")
}

pub(super) fn exists() -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, "File exists")
}
