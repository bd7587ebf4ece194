//! A crash before every change of the disk, and every change failing once: the newest complete checkpoint is found whole.

mod common;

use std::collections::BTreeSet;

use common::{ModelDisk, ROOT, Random, part_bytes, storage, write_checkpoint};
use wiesel_storage::{
    CheckpointDirectory, CheckpointStorage, Disk, LocalStorage, Manifest, PartKind, StorageError,
};

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

/// What a process knows when it goes down.
#[derive(Default)]
struct Progress {
    begun: u64,
    stored: u64,
}

type Directory = CheckpointDirectory<LocalStorage<ModelDisk>>;

/// Checkpoints 1 to 3, of which the newest one is kept, and one more that is aborted.
fn scenario(disk: &ModelDisk, progress: &mut Progress) -> Result<(), StorageError> {
    let directory = CheckpointDirectory::new(storage(disk)?);
    let first = directory.next_id()?;
    for checkpoint in first..first + 3 {
        directory.begin(checkpoint)?;
        progress.begun = checkpoint;
        let manifest = write_checkpoint(directory.storage(), checkpoint)?;
        directory.store(&manifest)?;
        progress.stored = checkpoint;
        for old in directory.list()?.into_iter().filter(|id| *id < checkpoint) {
            directory.discard(old, &BTreeSet::new())?;
        }
    }
    let aborted = first + 3;
    directory.begin(aborted)?;
    progress.begun = aborted;
    let manifest = write_checkpoint(directory.storage(), aborted)?;
    let files: Vec<_> = manifest.files().map(|(_, _, file)| file.path.clone()).collect();
    directory.discard_files(files.iter().map(String::as_str), &BTreeSet::new())?;
    Ok(())
}

/// Each part is that of this checkpoint, to the last byte.
fn assert_whole(directory: &Directory, manifest: &Manifest) {
    let id = manifest.checkpoint;
    for (vertex, subtask, file) in manifest.files() {
        assert_eq!(vertex.enumerator.as_deref(), Some(&id.to_le_bytes()[..]));
        for part in &file.parts {
            let group = match part.kind {
                PartKind::Keyed(group) => group.0,
                PartKind::Split => 3,
                _ => continue,
            };
            let read = directory.read(file, part).expect("it was verified");
            assert_eq!(read, part_bytes(id, subtask as u32, group), "a mix of checkpoints");
        }
    }
}

/// After a crash or failure: what must be found is, leftovers go, and the next process goes on.
fn assert_recovers(disk: &ModelDisk, progress: &Progress, about: &str) {
    let directory = CheckpointDirectory::new(storage(disk).expect("a disk that works"));
    let found = directory.newest().unwrap_or_else(|error| panic!("{about}: {error}"));
    let newest = found.manifest.as_ref().map_or(0, |manifest| manifest.checkpoint);
    assert!(
        newest >= progress.stored,
        "{about}: {} was stored, {newest} is found",
        progress.stored
    );
    assert!(newest <= progress.begun, "{about}: {newest} was never begun");
    assert!(found.damaged.is_empty(), "{about}: {:?}", found.damaged);
    if let Some(manifest) = &found.manifest {
        assert_whole(&directory, manifest);
    }
    assert!(directory.next_id().expect("listed") > progress.begun, "{about}: an id comes twice");

    let leftovers = directory.clean(&BTreeSet::new()).expect("cleaned");
    assert!(
        leftovers.unknown.is_empty() && leftovers.unreadable.is_empty(),
        "{about}: {leftovers:?}"
    );
    let again = directory.newest().expect("still found");
    assert_eq!(again.manifest, found.manifest, "{about}: cleaning changed what is found");
    let mut referenced = BTreeSet::new();
    for id in directory.list().expect("listed") {
        let manifest = directory.load(id).expect("whole");
        directory.verify(&manifest).expect("every retained checkpoint is whole");
        referenced.insert(format!("{ROOT}/chk-{id}/_metadata"));
        referenced.extend(manifest.files().map(|(_, _, file)| format!("{ROOT}/{}", file.path)));
    }
    let there: BTreeSet<_> = disk.files().iter().map(|path| path.display().to_string()).collect();
    assert_eq!(there, referenced, "{about}: exactly the referenced files are there");

    let mut next = Progress::default();
    scenario(disk, &mut next).unwrap_or_else(|error| panic!("{about}: the next process: {error}"));
    assert!(next.stored > newest);
}

#[test]
fn whenever_the_power_goes_the_newest_complete_checkpoint_is_found_whole() {
    let rounds: u64 = std::env::var("SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
    let mut points = 0;
    for at in 1.. {
        let mut is_over = false;
        for seed in 0..rounds {
            let disk = ModelDisk::default();
            disk.crash_before(at);
            let mut progress = Progress::default();
            is_over = scenario(&disk, &mut progress).is_ok();
            let after = disk.after_crash(&mut Random(at << 32 | seed));
            assert_recovers(
                &after,
                &progress,
                &format!("power gone before change {at}, seed {seed}"),
            );
        }
        if is_over {
            break;
        }
        points += 1;
    }
    assert!(points > 60, "only {points} points: the protocol was not walked");
}

#[test]
fn the_power_goes_again_during_the_recovery() {
    for at in 1..40 {
        for seed in 0..20 {
            let disk = ModelDisk::default();
            disk.crash_before(30 + seed);
            let mut progress = Progress::default();
            let _ = scenario(&disk, &mut progress);
            let mut random = Random(at << 32 | seed);
            let disk = disk.after_crash(&mut random);
            disk.crash_before(at);
            let mut next = Progress::default();
            let recovery = || {
                let directory = CheckpointDirectory::new(storage(&disk)?);
                let found = directory.newest()?;
                assert!(
                    found.manifest.map_or(0, |manifest| manifest.checkpoint) >= progress.stored
                );
                directory.clean(&BTreeSet::new())?;
                scenario(&disk, &mut next)
            };
            let _ = { recovery }();
            let progress = Progress {
                begun: progress.begun.max(next.begun),
                stored: progress.stored.max(next.stored),
            };
            let after = disk.after_crash(&mut random);
            assert_recovers(&after, &progress, &format!("twice: {at}, seed {seed}"));
        }
    }
}

#[test]
fn whatever_fails_once_nothing_is_lost_and_a_full_disk_keeps_nothing() {
    for errno in [ENOSPC, EIO] {
        for at in 1.. {
            let disk = ModelDisk::default();
            disk.fail(at..at + 1, errno);
            let mut progress = Progress::default();
            let outcome = scenario(&disk, &mut progress);
            let is_over = disk.changes() < at;
            if let Err(error) = &outcome {
                let text = error.to_string();
                assert!(text.contains(&format!("os error {errno}")), "{text}");
            }
            let temporary = disk.files().into_iter().find(|path| path.ends_with(".tmp"));
            assert_eq!(temporary, None, "change {at} failed and left a file");
            disk.heal();
            assert_recovers(&disk, &progress, &format!("change {at} failed with {errno}"));
            if is_over {
                break;
            }
        }
    }
}

#[test]
fn an_outcome_that_is_not_known_is_settled_or_said() {
    let disk = ModelDisk::default();
    let directory = CheckpointDirectory::new(storage(&disk).expect("a disk"));
    directory.begin(1).expect("the first");
    let manifest = write_checkpoint(directory.storage(), 1).expect("written");
    // The folder's sync after the rename is change number 6 of a put: create, two writes, sync, rename, sync.
    let before = disk.changes();
    disk.fail(before + 6..before + 7, EIO);
    directory.store(&manifest).expect("the second try settles it");
    disk.heal();
    assert!(matches!(directory.store(&manifest), Err(StorageError::Exists { .. })));

    directory.begin(2).expect("the second");
    let manifest = write_checkpoint(directory.storage(), 2).expect("written");
    disk.fail(disk.changes() + 6..u64::MAX, EIO);
    let error = directory.store(&manifest).expect_err("both tries fail");
    assert!(error.is_ambiguous(), "{error}");
    disk.heal();
    let newest = || {
        let found = directory.newest().expect("readable");
        found.manifest.map(|manifest| manifest.checkpoint)
    };
    assert_eq!(newest(), Some(2), "it is there all the same, and whole");
    directory.take_back(2).expect("a disk");
    assert_eq!(newest(), Some(1));
}

#[test]
fn what_is_said_not_to_be_stored_does_not_come_back() {
    let mut random = Random(41);
    for second in 7..13 {
        let disk = ModelDisk::default();
        let directory = CheckpointDirectory::new(storage(&disk).expect("a disk"));
        directory.begin(1).expect("the first");
        let manifest = write_checkpoint(directory.storage(), 1).expect("written");
        directory.store(&manifest).expect("a disk");
        directory.begin(2).expect("the second");
        let manifest = write_checkpoint(directory.storage(), 2).expect("written");
        // The sync behind the first rename, and something of the second try.
        for failing in [6, second].map(|at| disk.changes() + at) {
            disk.fail(failing..failing + 1, EIO);
        }
        let stored = directory.store(&manifest);
        let is_there = |disk: &ModelDisk| {
            let directory = CheckpointDirectory::new(storage(disk).expect("a disk"));
            let found = directory.newest().expect("readable");
            found.manifest.is_some_and(|manifest| manifest.checkpoint == 2)
        };
        match stored {
            Err(error) if !error.is_ambiguous() => {
                assert!(!is_there(&disk), "{second}: {error}");
                for _ in 0..50 {
                    assert!(!is_there(&disk.after_crash(&mut random)), "{second}: {error}");
                }
            }
            stored => panic!("{second}: {stored:?}"),
        }
    }
}

#[test]
fn a_name_from_a_manifest_cannot_lead_out_of_the_folder() {
    let disk = ModelDisk::default();
    let storage = storage(&disk).expect("a disk");
    disk.set("/jobs/8".as_ref(), b"another job's".to_vec());
    for name in ["../8", "/jobs/8", "chk-1/../../8", "", "a//b", "a/", "ü"] {
        let refused =
            |result: Result<(), StorageError>| matches!(result, Err(StorageError::Name { .. }));
        assert!(refused(storage.get(name, 0, 1).map(drop)), "{name}");
        assert!(refused(storage.delete(name)), "{name}");
    }
    assert!(disk.metadata("/jobs/8".as_ref()).is_ok());
}
