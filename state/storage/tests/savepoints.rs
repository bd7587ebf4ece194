//! A savepoint is whole or not there, whatever happens to the disk, and needs nothing but its folder.

mod common;

use std::path::{Path, PathBuf};

use common::{ModelDisk, ROOT, Random, part_bytes, storage, write_checkpoint};
use wiesel_core::JobId;
use wiesel_storage::{
    CheckpointDirectory, Kind, LocalStorage, Manifest, PartKind, Restorable, StorageError,
    write_savepoint,
};

const ENOSPC: i32 = 28;
const SAVEPOINTS: &str = "/savepoints";
const OTHER: &str = "/jobs/8";

type Directory = CheckpointDirectory<LocalStorage<ModelDisk>>;

fn directory(disk: &ModelDisk, root: &str) -> Result<Directory, StorageError> {
    Ok(CheckpointDirectory::new(LocalStorage::with_disk(root, disk.clone())?))
}

/// Checkpoint 1, of which a savepoint is made.
fn make(disk: &ModelDisk) -> Result<PathBuf, StorageError> {
    let job = CheckpointDirectory::new(storage(disk)?);
    job.begin(1)?;
    let manifest = write_checkpoint(job.storage(), 1)?;
    job.store(&manifest)?;
    write_savepoint(job.storage(), Path::new(SAVEPOINTS), &manifest)
}

/// Takes it into the folder of another job.
fn import(disk: &ModelDisk, path: &Path) -> Result<Manifest, StorageError> {
    let savepoint = Restorable::with_disk(path, disk.clone())?;
    savepoint.import(JobId(8), "other", &directory(disk, OTHER)?, 0)
}

/// Every part is that of checkpoint 1, to the last byte.
fn assert_whole(disk: &ModelDisk, root: &str, manifest: &Manifest) {
    let directory = directory(disk, root).expect("a disk that works");
    directory.verify(manifest).expect("whole");
    let mut parts = 0;
    for (_, subtask, file) in manifest.files() {
        for part in &file.parts {
            let group = match part.kind {
                PartKind::Keyed(group) => group.0,
                PartKind::Split => 3,
                _ => continue,
            };
            let read = directory.read(file, part).expect("it was verified");
            assert_eq!(read, part_bytes(1, subtask as u32, group));
            parts += 1;
        }
    }
    assert_eq!(parts, 8);
}

fn files_in(disk: &ModelDisk, folder: &str) -> Vec<PathBuf> {
    disk.files().into_iter().filter(|path| path.starts_with(folder)).collect()
}

#[test]
fn it_needs_nothing_but_its_folder_and_is_a_checkpoint_again() {
    let disk = ModelDisk::default();
    let path = make(&disk).expect("a disk that works");
    assert!(path.starts_with(SAVEPOINTS) && path.to_string_lossy().ends_with("-1"), "{path:?}");
    let again = make(&disk).expect_err("its name is taken");
    assert!(matches!(again, StorageError::Exists { .. }), "{again}");
    files_in(&disk, ROOT).iter().for_each(|file| disk.unset(file));
    let imported = import(&disk, &path).expect("it is whole");
    assert_eq!((imported.job, imported.checkpoint, imported.kind), (JobId(8), 2, Kind::Checkpoint));
    assert_eq!(imported.job_name, "other", "whatever it was called before");
    assert_whole(&disk, OTHER, &imported);
    let newest = directory(&disk, OTHER).and_then(|other| other.newest()).expect("whole");
    assert_eq!(newest.manifest.as_ref(), Some(&imported));
    // A checkpoint can be started from as well; it stays where it is.
    let retained = Path::new(OTHER).join("chk-2");
    let again = import(&disk, &retained).expect("it is whole");
    assert_eq!(again.checkpoint, 3);
    assert_whole(&disk, OTHER, &again);
    let count = disk.files().len();
    Restorable::with_disk(&retained, disk.clone()).and_then(Restorable::remove).expect("refused");
    assert_eq!(disk.files().len(), count);
    Restorable::with_disk(&path, disk.clone()).and_then(Restorable::remove).expect("removed");
    assert!(files_in(&disk, SAVEPOINTS).is_empty());
    assert!(Restorable::with_disk(&path, disk).is_err());
}

#[test]
fn whenever_the_power_goes_it_is_whole_or_not_there() {
    let mut points = 0;
    for at in 1.. {
        let mut is_over = false;
        for seed in 0..20 {
            let disk = ModelDisk::default();
            disk.crash_before(at);
            let made = make(&disk);
            is_over = made.as_ref().is_ok_and(|path| import(&disk, path).is_ok());
            let after = disk.after_crash(&mut Random(at << 32 | seed));
            let about = format!("power gone before change {at}, seed {seed}");
            let path = Path::new(SAVEPOINTS).join("savepoint-000000-1");
            let found = import(&after, &path);
            assert!(found.is_ok() || made.is_err(), "{about}: {:?}", found.err());
            if let Ok(found) = found {
                assert_whole(&after, OTHER, &found);
            }
        }
        if is_over {
            break;
        }
        points += 1;
    }
    assert!(points > 40, "only {points} points: the protocol was not walked");
}

#[test]
fn a_disk_that_is_full_keeps_nothing_of_it() {
    for at in 1.. {
        let disk = ModelDisk::default();
        disk.fail(at..at + 1, ENOSPC);
        match make(&disk) {
            Ok(path) => {
                assert!(import(&disk, &path).is_ok() || disk.changes() >= at);
            }
            Err(error) => {
                let held = files_in(&disk, SAVEPOINTS);
                assert!(held.is_empty() || error.is_ambiguous(), "change {at}: {held:?}: {error}");
            }
        }
        if disk.changes() < at {
            break;
        }
    }
}

#[test]
fn every_bit_of_it_counts() {
    let disk = ModelDisk::default();
    let path = make(&disk).expect("a disk that works");
    for file in files_in(&disk, SAVEPOINTS) {
        let bits = disk.bytes(&file).len() as u64 * 8;
        for bit in 0..bits {
            disk.flip(&file, bit);
            let wrong = import(&disk, &path).expect_err("one bit is wrong");
            assert!(matches!(wrong, StorageError::Damaged(_)), "{}: {wrong}", file.display());
            disk.flip(&file, bit);
            assert!(files_in(&disk, OTHER).is_empty(), "{} bit {bit}", file.display());
        }
    }
    assert!(import(&disk, &path).is_ok(), "all is as it was");
}
