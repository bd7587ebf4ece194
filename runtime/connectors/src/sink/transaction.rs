//! Files that become visible with a checkpoint: their names, and how they are committed.
//!
//! ```text
//!   out/.part-0-4.inprogress        being written by subtask 0, its fourth file; hidden
//!        │ barrier 7: closed, synced; `.part-0-4.inprogress → part-0-7` is state of checkpoint 7
//!        ▼ checkpoint 7 is complete: renamed, the folder synced
//!   out/part-0-7
//! ```
//!
//! # What is always true
//!
//! 1. A visible file is whole, and no record of it is in another one: it is what subtask 0 wrote between two barriers.
//! 2. A commit may be made again, also after it was interrupted: a file that has its visible name is committed.
//! 3. What is cleaned up are hidden files with names of this form, and nothing else; where only some subtasks start again,
//!    those of these subtasks.
//! 4. What is taken back (its checkpoint is damaged, the job continues from an older one) is not removed but renamed:
//!    `part-0-7 → .part-0-7.undone`. Nobody reads it or cleans it up.
//! 5. What a savepoint has pending has a second name, `.part-0-7.pending`, until it is committed: a job that is restarted
//!    from an older checkpoint cleans up the first one, and gives it to another file.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use wiesel_core::{Blame, CheckpointId, Mutant, SubtaskIndex, TaskFailure};

use super::owner;
use crate::Discovery;

const IN_PROGRESS: &str = ".inprogress";
const UNDONE: &str = ".undone";
const PENDING: &str = ".pending";

/// The hidden name of the file `number` of a subtask.
pub(super) fn hidden_name(subtask: u32, number: u64) -> String {
    format!(".part-{subtask}-{number}{IN_PROGRESS}")
}

/// The name under which a file is visible.
fn visible_name(subtask: u32, checkpoint: CheckpointId) -> String {
    format!("part-{subtask}-{checkpoint}")
}

/// Whether numbers and nothing else follow `part-`, `least` to 2 of them.
fn is_numbered(name: &str, least: usize) -> bool {
    let Some(numbers) = name.strip_prefix("part-") else { return false };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let count = numbers.split('-').count();
    numbers.split('-').all(is_number) && (least..=2).contains(&count)
}

/// Whether a file is one that this sink makes visible, with checkpoints or without.
pub(super) fn is_visible(name: &str) -> bool {
    is_numbered(name, 1)
}

/// Whether a file is one that this sink hides.
pub(super) fn is_hidden(name: &str) -> bool {
    let name = name.strip_prefix('.').and_then(|name| name.strip_suffix(IN_PROGRESS));
    name.is_some_and(|name| is_numbered(name, 2))
}

/// Which subtask has written a hidden file.
fn subtask_of(hidden: &str) -> Option<SubtaskIndex> {
    let numbers = hidden.strip_prefix(".part-").filter(|_| is_hidden(hidden))?;
    numbers.split('-').next()?.parse().ok().map(SubtaskIndex)
}

/// Whether a file is one that this sink has hidden, or says whose the folder is, and in nobody's way.
pub(super) fn is_ours(name: &str) -> bool {
    is_hidden(name) || kept_name(name).is_some() || owner::is_owner(name)
}

/// The visible name of a hidden file that is kept: taken back, or pending for a savepoint.
pub(super) fn kept_name(name: &str) -> Option<&str> {
    let name = name.strip_prefix('.')?;
    let name = name.strip_suffix(UNDONE).or_else(|| name.strip_suffix(PENDING))?;
    is_numbered(name, 2).then_some(name)
}

/// With which checkpoint a visible file was committed.
fn checkpoint_of(name: &str) -> Option<CheckpointId> {
    let number = name.strip_prefix("part-").filter(|_| is_numbered(name, 2))?.split('-').nth(1)?;
    number.parse().ok().map(CheckpointId)
}

/// What has to be renamed, as bytes: the hidden and the visible name, and the folder, as the program calls it.
pub(super) fn committable(
    folder: &Path,
    hidden: &str,
    subtask: u32,
    checkpoint: CheckpointId,
) -> Vec<u8> {
    let visible = visible_name(subtask, checkpoint);
    format!("{hidden}\n{visible}\n{}", folder.display()).into_bytes()
}

/// A file that is to become visible.
#[derive(Debug, PartialEq)]
struct Committable<'a> {
    hidden: &'a str,
    visible: &'a str,
    /// Where it was written.
    folder: &'a Path,
}

impl<'a> Committable<'a> {
    /// None if the bytes name another file than this sink's.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (hidden, rest) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
        let (visible, folder) = rest.split_once('\n')?;
        let is_ours = is_hidden(hidden) && is_numbered(visible, 2) && !folder.is_empty();
        is_ours.then_some(Self { hidden, visible, folder: Path::new(folder) })
    }

    /// Makes it visible in `folder`; whether it is. `own`: the folder of the sink.
    fn commit(&self, folder: &Path, own: &Path, discovery: &dyn Discovery) -> io::Result<bool> {
        let (hidden, to) = (folder.join(self.hidden), folder.join(self.visible));
        let pinned = self.pinned(folder);
        let is_pinned = exists(discovery, &pinned)?;
        // The visible name first: a later process gives its files the hidden names of those that are committed.
        if exists(discovery, &to)? && !Mutant::CommitReplaced.is_chosen() {
            if is_pinned {
                discovery.remove_file(&pinned)?;
            }
            return Ok(true);
        }
        let is_hidden = exists(discovery, &hidden)?;
        if is_pinned {
            discovery.rename(&pinned, &to)?;
            if is_hidden && folder == own {
                discovery.remove_file(&hidden)?; // The same file, or one that nobody will commit.
            }
            return Ok(true);
        }
        if !is_hidden {
            return Ok(false);
        }
        discovery.rename(&hidden, &to).map(|()| true)
    }

    /// The name that a savepoint knows it by.
    fn pinned(&self, folder: &Path) -> PathBuf {
        folder.join(format!(".{}{PENDING}", self.visible))
    }
}

/// Refuses a folder without a name: that of no system is called so, and making it succeeds.
pub(super) fn check_name(folder: &Path) -> Result<(), TaskFailure> {
    if !folder.as_os_str().is_empty() {
        return Ok(());
    }
    let cause = "the name of its folder is empty; name one, as in out, or . for the one it runs in";
    Err(TaskFailure::new(Blame::Job, "write files", cause))
}

/// A folder that a job cannot write to.
pub(super) fn unfit(folder: &Path, error: &io::Error) -> TaskFailure {
    let cause = match error.kind() {
        io::ErrorKind::NotADirectory => {
            "it is not a folder; name one that is, or a new one".to_owned()
        }
        _ => error.to_string(),
    };
    TaskFailure::new(Blame::Job, format!("write to {}", folder.display()), cause)
}

fn failure(folder: &Path, blame: Blame, cause: impl Into<String>) -> TaskFailure {
    TaskFailure::new(blame, format!("commit files in {}", folder.display()), cause.into())
}

/// Whether there is a file.
fn exists(discovery: &dyn Discovery, path: &Path) -> io::Result<bool> {
    match discovery.metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes the files visible: where they were written or, if that was moved, in the sink's folder.
pub(super) fn commit(
    folder: &Path,
    committables: &[Vec<u8>],
    discovery: &dyn Discovery,
) -> Result<(), TaskFailure> {
    let mut folders = BTreeSet::new();
    for bytes in committables {
        let committable = Committable::read(bytes).ok_or_else(|| {
            let shown = String::from_utf8_lossy(bytes);
            failure(folder, Blame::Runtime, format!("`{shown}` are not the names of a file"))
        })?;
        let system =
            |place: &Path, error: io::Error| failure(place, Blame::Environment, error.to_string());
        // In another folder its hidden name may be another file's: only one that was moved is looked for there.
        let is_there = exists(discovery, committable.folder);
        let is_there = is_there.map_err(|error| system(committable.folder, error))?;
        let place = if is_there { committable.folder } else { folder };
        let is_committed =
            committable.commit(place, folder, discovery).map_err(|error| system(place, error))?;
        if !is_committed {
            let Committable { hidden, visible, folder: written } = committable;
            let cause = format!(
                "neither {hidden} nor {visible} is in {}: somebody has removed output that a complete checkpoint \
                 counts on; bring the file back, or start anew with --fresh",
                written.display()
            );
            let lost = failure(folder, Blame::Environment, cause);
            return Err(TaskFailure { retryable: false, ..lost });
        }
        folders.insert(place);
    }
    if Mutant::CommitUnsynced.is_chosen() {
        return Ok(());
    }
    folders.into_iter().try_for_each(|folder| {
        let synced = discovery.sync_dir(folder);
        synced.map_err(|error| failure(folder, Blame::Environment, error.to_string()))
    })
}

/// Gives pending files the names that savepoints know them by.
pub(super) fn pin(
    folder: &Path,
    committables: &[Vec<u8>],
    discovery: &dyn Discovery,
) -> Result<(), TaskFailure> {
    let system = |error: io::Error| failure(folder, Blame::Environment, error.to_string());
    let mut is_pinned = false;
    for committable in committables.iter().filter_map(|bytes| Committable::read(bytes)) {
        let (hidden, pinned) = (folder.join(committable.hidden), committable.pinned(folder));
        // One that is committed meanwhile, or of a folder that the sink had before, needs none.
        if exists(discovery, &hidden).map_err(system)?
            && !exists(discovery, &pinned).map_err(system)?
            && committable.folder == folder
        {
            discovery.hard_link(&hidden, &pinned).map_err(system)?;
            is_pinned = true;
        }
    }
    if is_pinned { discovery.sync_dir(folder).map_err(system) } else { Ok(()) }
}

/// Removes hidden files that nobody will commit: of these subtasks, or all.
pub(super) fn clean_up(
    folder: &Path,
    subtasks: Option<&[SubtaskIndex]>,
    discovery: &dyn Discovery,
) -> Result<(), TaskFailure> {
    let system = |error: io::Error| failure(folder, Blame::Environment, error.to_string());
    if !exists(discovery, folder).map_err(system)? {
        return discovery.create_dir_all(folder).map_err(system);
    }
    let held = discovery.read_dir(folder).map_err(system)?;
    let is_meant = |name: &str| match subtasks {
        None => is_hidden(name),
        Some(subtasks) => subtask_of(name).is_some_and(|of| subtasks.contains(&of)),
    };
    let hidden = held.iter().filter(|path| name_of(path).is_some_and(is_meant));
    hidden.into_iter().try_for_each(|path| discovery.remove_file(path)).map_err(system)
}

/// The names in the folder that are text; none if there is no folder.
fn names(folder: &Path, discovery: &dyn Discovery) -> Result<Vec<String>, TaskFailure> {
    let held = match discovery.read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(unfit(folder, &error)); // Asked before `prepare` is.
        }
        held => held,
    };
    let held = held.map_err(|error| failure(folder, Blame::Environment, error.to_string()))?;
    Ok(held.iter().filter_map(|path| name_of(path).map(str::to_owned)).collect())
}

/// The newest checkpoint in the name of a file that is, was or may become visible.
pub(super) fn newest_visible(
    folder: &Path,
    discovery: &dyn Discovery,
) -> Result<Option<CheckpointId>, TaskFailure> {
    check_name(folder)?;
    let names = names(folder, discovery)?;
    Ok(names.iter().filter_map(|name| checkpoint_of(kept_name(name).unwrap_or(name))).max())
}

/// Hides what was committed with checkpoints behind `checkpoint`.
pub(super) fn take_back(
    folder: &Path,
    checkpoint: CheckpointId,
    discovery: &dyn Discovery,
) -> Result<(), TaskFailure> {
    let system = |error: io::Error| failure(folder, Blame::Environment, error.to_string());
    let mut newer = names(folder, discovery)?;
    newer.retain(|name| checkpoint_of(name) > Some(checkpoint));
    for name in &newer {
        let undone = folder.join(format!(".{name}{UNDONE}"));
        discovery.rename(&folder.join(name), &undone).map_err(system)?;
    }
    if newer.is_empty() { Ok(()) } else { discovery.sync_dir(folder).map_err(system) }
}

/// The last part of a path, if it is text.
pub(super) fn name_of(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_form_are_ours() {
        let hidden = hidden_name(3, 12);
        assert_eq!(hidden, ".part-3-12.inprogress");
        let bytes = committable("a/out".as_ref(), &hidden, 3, CheckpointId(7));
        let read = Committable::read(&bytes).expect("ours");
        assert_eq!((read.hidden, read.visible), (".part-3-12.inprogress", "part-3-7"));
        assert_eq!(read.folder, Path::new("a/out"));
        for ours in ["part-0", "part-12-7"] {
            assert!(is_visible(ours), "{ours}");
        }
        for other in
            ["part-", "part-x", "part-1-2-3", "part-1-", ".part-1-2", "part-1-2.inprogress"]
        {
            assert!(!is_visible(other) && !is_hidden(other), "{other}");
        }
    }

    #[test]
    #[cfg(not(sim))]
    #[allow(clippy::disallowed_methods)] // Files, behind the seam's back.
    fn what_is_committed_is_not_replaced() {
        use std::fs::{read_to_string, write};

        let folder = tempfile::tempdir().expect("a folder");
        let (hidden, path) = (hidden_name(0, 2), |name: &str| folder.path().join(name));
        let committables = [committable(folder.path(), &hidden, 0, CheckpointId(7))];
        let of_others = [hidden_name(10, 2), hidden_name(1, 0)];
        of_others.iter().for_each(|name| write(path(name), "being written").expect("a disk"));
        let commit = || commit(folder.path(), &committables, &crate::MachineDiscovery);
        let lost = commit().expect_err("nothing is there").source.to_string();
        assert!(lost.contains(&hidden) && lost.contains("part-0-7"), "{lost}");
        write(path(&hidden), "first").expect("a disk");
        commit().expect("the first time");
        // Another process, which was killed before its first checkpoint, has left a file of the same name.
        write(path(&hidden), "half").expect("a disk");
        commit().expect("again");
        assert_eq!(read_to_string(path("part-0-7")).ok().as_deref(), Some("first"));
        let of = [SubtaskIndex(0), SubtaskIndex(2)];
        clean_up(folder.path(), Some(&of), &crate::MachineDiscovery).expect("a folder");
        assert!(!path(&hidden).exists() && of_others.iter().all(|name| path(name).exists()));
        clean_up(folder.path(), None, &crate::MachineDiscovery).expect("a folder");
        assert!(of_others.iter().all(|name| !path(name).exists()));
    }

    #[test]
    #[cfg(not(sim))]
    #[allow(clippy::disallowed_methods)] // Files, behind the seam's back.
    fn what_is_taken_back_is_hidden_and_stays() {
        use std::fs::{read_to_string, write};

        let folder = tempfile::tempdir().expect("a folder");
        let disk = crate::MachineDiscovery;
        let newest = |path: &Path| newest_visible(path, &disk).expect("a folder");
        assert_eq!(newest(&folder.path().join("none")), None);
        for name in ["part-0-7", "part-1-12", "part-3", "part-0-13x", ".part-0-14.inprogress"] {
            write(folder.path().join(name), name).expect("a disk");
        }
        assert_eq!(newest(folder.path()), Some(CheckpointId(12)));
        take_back(folder.path(), CheckpointId(7), &disk).expect("a folder");
        assert_eq!(newest(folder.path()), Some(CheckpointId(12)), "its number is not used again");
        clean_up(folder.path(), None, &disk).expect("a folder");
        let undone = read_to_string(folder.path().join(".part-1-12.undone"));
        assert_eq!(undone.ok().as_deref(), Some("part-1-12"));
    }

    #[test]
    fn only_names_of_the_sink_are_taken_from_a_checkpoint() {
        for strange in [
            ".part-0-1.inprogress\n../part-0-1\nout",
            "/etc/passwd\npart-0-1\nout",
            ".part-0-1.inprogress\npart-0-1\n",
            ".part-0-1.inprogress\npart-0-1",
            "part-0-1",
            "\u{fffd}\n",
        ] {
            assert_eq!(Committable::read(strange.as_bytes()), None, "{strange}");
        }
        assert_eq!(Committable::read(&[0xff, b'\n']), None);
    }

    #[test]
    #[cfg(not(sim))]
    #[allow(clippy::disallowed_methods)] // Files, behind the seam's back.
    fn what_a_savepoint_has_pending_outlives_its_first_name() {
        use std::fs::{read_to_string, write};

        let (folder, disk) = (tempfile::tempdir().expect("a folder"), crate::MachineDiscovery);
        let (hidden, path) = (hidden_name(0, 2), |name: &str| folder.path().join(name));
        let committables = [committable(folder.path(), &hidden, 0, CheckpointId(7))];
        let commit = || commit(folder.path(), &committables, &disk).expect("it is there");
        write(path(&hidden), "first").expect("a disk");
        pin(folder.path(), &committables, &disk).expect("a disk");
        pin(folder.path(), &committables, &disk).expect("once more");
        // The job is restarted from an older checkpoint, and goes on.
        clean_up(folder.path(), None, &disk).expect("a folder");
        write(path(&hidden), "another").expect("a disk");
        commit();
        assert_eq!(read_to_string(path("part-0-7")).ok().as_deref(), Some("first"));
        assert!(!path(".part-0-7.pending").exists() && !path(&hidden).exists());
        // One that the job itself commits: the second name is in nobody's way.
        std::fs::remove_file(path("part-0-7")).expect("a disk");
        write(path(&hidden), "first").expect("a disk");
        pin(folder.path(), &committables, &disk).expect("a disk");
        std::fs::rename(path(&hidden), path("part-0-7")).expect("a disk");
        commit();
        assert!(!path(".part-0-7.pending").exists());
    }

    #[test]
    #[cfg(not(sim))]
    #[allow(clippy::disallowed_methods)] // Files, behind the seam's back.
    fn what_was_written_elsewhere_is_committed_there() {
        use std::fs::{create_dir, rename, write};

        let folder = tempfile::tempdir().expect("a folder");
        let [old, new] = ["old", "new"].map(|name| folder.path().join(name));
        create_dir(&old).expect("a disk");
        create_dir(&new).expect("a disk");
        let hidden = hidden_name(0, 2);
        let committables = [committable(&old, &hidden, 0, CheckpointId(7))];
        let commit = || commit(&new, &committables, &crate::MachineDiscovery);
        write(old.join(&hidden), "first").expect("a disk");
        write(new.join(&hidden), "another's, of the same name").expect("a disk");
        commit().expect("in the old folder");
        assert!(new.join(&hidden).exists());
        assert!(old.join("part-0-7").exists() && !new.join("part-0-7").exists());
        // The folder is called otherwise now, and the program knows.
        rename(&new, folder.path().join("other")).expect("a disk");
        rename(&old, &new).expect("a disk");
        commit().expect("in the new folder");
        std::fs::remove_file(new.join("part-0-7")).expect("a disk");
        let lost = commit().expect_err("nowhere").source.to_string();
        assert!(lost.contains("old") && lost.contains("part-0-7"), "{lost}");
    }
}
