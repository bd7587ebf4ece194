//! Whose the folder of a sink is: one sink's of one job.
//!
//! # What is always true
//!
//! 1. Who has the folder has its file `.wiesel-owner` locked, and its number is in there. The system unlocks it when the process is
//!    gone, however it went.
//! 2. It is the folder that is owned, whatever it is called: a second name of it (`x/../out`, a link) is refused in one job as well.
//! 3. An owner that ends well leaves no file.

use std::path::{Path, PathBuf};

use wiesel_core::{Blame, TaskFailure};
use wiesel_shard::fs::{self, FileLock};

use super::transaction;
use crate::Discovery;

/// The file that is locked.
const OWNER: &str = ".wiesel-owner";

/// Whether a file of a folder says whose that is.
pub(super) fn is_owner(name: &str) -> bool {
    name == OWNER
}

/// A folder that is one sink's until this is dropped.
#[derive(Debug)]
pub struct FolderOwner {
    path: PathBuf,
    _lock: FileLock,
}

impl FolderOwner {
    /// Takes a folder, and makes it if it is not there.
    ///
    /// # Errors
    ///
    /// If it is taken, by a process whose number the error has, or by another sink of this one; or if nothing can be written there.
    pub fn take(folder: &Path, discovery: &dyn Discovery) -> Result<Self, TaskFailure> {
        let unfit = |error: std::io::Error| transaction::unfit(folder, &error);
        transaction::check_name(folder)?;
        discovery.create_dir_all(folder).map_err(unfit)?;
        let (path, us) = (folder.join(OWNER), format!("process {}", fs::process_id()));
        match discovery.lock(&path, &format!("{us}\n")).map_err(unfit)? {
            Ok((lock, _)) => Ok(Self { path, _lock: lock }),
            Err(owner) => {
                let cause = match owner.trim() {
                    owner if owner == us => "a sink of this process writes there, perhaps under another name of the folder: \
                                             name another one"
                        .to_owned(),
                    // Between taking the lock and writing its name.
                    "" => "another process writes there: end it, or name another folder".to_owned(),
                    owner => format!("{owner} writes there: end it, or name another folder"),
                };
                Err(TaskFailure::new(Blame::Job, format!("write to {}", folder.display()), cause))
            }
        }
    }
}

impl Drop for FolderOwner {
    fn drop(&mut self) {
        // Still locked. If it fails the next owner finds a file that nobody has locked, which is in nobody's way.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(all(test, not(sim)))]
mod tests {
    use wiesel_shard::fs::exists;

    use super::*;
    use crate::{FileSink, MachineDiscovery, Sink};

    #[test]
    fn a_folder_has_one_owner_whatever_it_is_called() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("a/out");
        let sink = FileSink::lines(&out);
        let owner = sink.own(&MachineDiscovery).expect("it is free").expect("it has one");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&out, &link).expect("a disk");
        for name in [out.clone(), out.join("../out"), link] {
            let refused = FileSink::lines(&name).own(&MachineDiscovery).expect_err("it is taken");
            let text = format!("{refused}: {}", refused.source);
            assert!(text.contains("a sink of this process writes there"), "{text}");
            assert!(text.contains(&name.display().to_string()) && !refused.retryable, "{text}");
        }
        sink.check(&MachineDiscovery).expect("the owner's file does not count");
        sink.prepare(&MachineDiscovery).expect("nor now");
        assert!(exists(out.join(OWNER)));
        drop(owner);
        assert!(!exists(out.join(OWNER)));
        drop(sink.own(&MachineDiscovery).expect("it is free again"));
    }

    #[test]
    fn another_process_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let sink = FileSink::lines(folder.path());
        for (text, expected) in [
            ("process 4711\n", "process 4711 writes there: end it, or name another folder"),
            ("", "another process writes there: end it, or name another folder"),
        ] {
            let held = fs::lock(folder.path().join(OWNER), text).expect("a disk");
            let held = held.expect("it is free");
            let refused = sink.own(&MachineDiscovery).expect_err("it is taken").source.to_string();
            assert_eq!(refused, expected);
            drop(held);
        }
        // The file of one that was killed is there.
        drop(sink.own(&MachineDiscovery).expect("it is free"));
    }
}
