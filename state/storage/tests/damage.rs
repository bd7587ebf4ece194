//! Every bit of a checkpoint flipped, files missing, cut, swapped or old: each is found and named, and the checkpoint
//! before is used.

mod common;

use std::{collections::BTreeSet, path::PathBuf};

use common::{ModelDisk, ROOT, storage, write_checkpoint};
use wiesel_storage::{CheckpointDirectory, Damage, LocalStorage, StorageError};

type Directory = CheckpointDirectory<LocalStorage<ModelDisk>>;

fn with_checkpoints(count: u64) -> (ModelDisk, Directory) {
    let disk = ModelDisk::default();
    let directory = CheckpointDirectory::new(storage(&disk).expect("a disk"));
    for id in 1..=count {
        directory.begin(id).expect("a new id");
        let manifest = write_checkpoint(directory.storage(), id).expect("written");
        directory.store(&manifest).expect("stored");
    }
    (disk, directory)
}

/// What is wrong with checkpoint 2; 1 is found instead.
fn damage_of_2(directory: &Directory, about: &str) -> Damage {
    let found = directory.newest().unwrap_or_else(|error| panic!("{about}: {error}"));
    assert_eq!(found.manifest.map(|manifest| manifest.checkpoint), Some(1), "{about}");
    let [(2, damage)] = &found.damaged[..] else { panic!("{about}: {:?}", found.damaged) };
    damage.clone()
}

fn files_of(disk: &ModelDisk, checkpoint: u64) -> Vec<PathBuf> {
    let folder = PathBuf::from(format!("{ROOT}/chk-{checkpoint}"));
    disk.files().into_iter().filter(|path| path.starts_with(&folder)).collect()
}

#[test]
fn every_flipped_bit_is_found_and_named_and_the_checkpoint_before_is_used() {
    let (disk, directory) = with_checkpoints(2);
    let (mut fields, mut bits) = (BTreeSet::new(), 0);
    for path in files_of(&disk, 2) {
        let name = path.strip_prefix(ROOT).expect("below the root").display().to_string();
        for bit in 0..disk.bytes(&path).len() as u64 * 8 {
            disk.flip(&path, bit);
            let damage = damage_of_2(&directory, &format!("bit {bit} of {name}"));
            assert_eq!(damage.file, name, "bit {bit}: {damage}");
            assert!(damage.offset <= bit / 8 + 8, "bit {bit} of {name}: {damage}");
            fields.insert(damage.field.split(", key group").next().unwrap_or_default().to_owned());
            disk.flip(&path, bit);
            bits += 1;
        }
    }
    assert!(bits > 10_000, "{bits}");
    assert_eq!(directory.newest().expect("all bits are back").damaged, []);
    for field in [
        "header: magic",
        "header",
        "job",
        "vertex 0",
        "enumerator of vertex 0",
        "subtask 1 of vertex 0",
        "file 0 of subtask 0 of vertex 0",
        "hash of the manifest",
        "part `counts` of `counts`",
        "part `offsets` of `counts`, split",
    ] {
        assert!(fields.contains(field), "no bit damaged `{field}`: {fields:?}");
    }
}

#[test]
fn files_that_are_missing_cut_longer_swapped_or_old_are_found() {
    let check = |about: &str, change: &dyn Fn(&ModelDisk), expected: &str| {
        let (disk, directory) = with_checkpoints(2);
        change(&disk);
        assert_eq!(damage_of_2(&directory, about).to_string(), expected, "{about}");
    };
    let (a, b, m) = ("/jobs/7/chk-2/0-0.data", "/jobs/7/chk-2/0-1.data", "/jobs/7/chk-2/_metadata");
    let (a, b, m) = (PathBuf::from(a), PathBuf::from(b), PathBuf::from(m));
    check("missing", &|disk| disk.unset(&a), "chk-2/0-0.data is missing");
    let (disk, _) = with_checkpoints(2);
    let len = disk.bytes(&b).len();
    let cut = |disk: &ModelDisk| disk.set(&b, disk.bytes(&b)[..len - 1].to_vec());
    let text = format!(
        "chk-2/0-1.data is damaged at byte {0}: length: is {0} instead of {len} bytes",
        len - 1
    );
    check("cut", &cut, &text);
    let longer = |disk: &ModelDisk| disk.set(&b, [disk.bytes(&b), vec![0]].concat());
    let text =
        format!("chk-2/0-1.data is damaged at byte {len}: length: is longer than {len} bytes");
    check("longer", &longer, &text);
    check(
        "emptied",
        &|disk| disk.set(&m, Vec::new()),
        "chk-2/_metadata is damaged at byte 0: header: length: needs 28 bytes, 0 are left",
    );
    let old = |disk: &ModelDisk| disk.set(&m, disk.bytes("/jobs/7/chk-1/_metadata".as_ref()));
    check(
        "a manifest of another checkpoint",
        &old,
        "chk-2/_metadata is damaged at byte 0: job: checkpoint: is 1: it belongs into another folder",
    );
    let (disk, directory) = with_checkpoints(2);
    let (of_a, of_b) = (disk.bytes(&a), disk.bytes(&b));
    disk.set(&a, of_b);
    disk.set(&b, of_a);
    assert_eq!(damage_of_2(&directory, "swapped").file, "chk-2/0-0.data");
}

#[test]
fn where_no_checkpoint_is_whole_nothing_starts_from_empty_state() {
    let (disk, directory) = with_checkpoints(2);
    for path in ["/jobs/7/chk-1/_metadata", "/jobs/7/chk-2/0-1.data"] {
        disk.flip(path.as_ref(), 400);
    }
    let error = directory.newest().expect_err("none is whole");
    let StorageError::NoneWhole { damaged, .. } = &error else { panic!("{error}") };
    assert_eq!(
        damaged.iter().map(|damage| damage.file.as_str()).collect::<Vec<_>>(),
        ["chk-2/0-1.data", "chk-1/_metadata"]
    );
    let text = error.to_string();
    assert!(
        text.starts_with(
            "none of the 2 checkpoints in /jobs/7 is whole: chk-2/0-1.data is damaged at byte "
        ),
        "{text}"
    );
    assert!(
        text.ends_with("start from a savepoint with -s, or give up the state with --fresh"),
        "{text}"
    );
    let (disk, directory) = with_checkpoints(1);
    disk.flip("/jobs/7/chk-1/_metadata".as_ref(), 400);
    let one = directory.newest().expect_err("it is not whole").to_string();
    let start = "the only checkpoint in /jobs/7 is not whole: chk-1/_metadata is damaged at byte 28: job: the \
                 checksum of its ";
    assert!(one.starts_with(start), "{one}");
    let (_, empty) = with_checkpoints(0);
    assert_eq!(empty.newest().expect("nothing was there").manifest, None);
}

#[test]
fn unknown_files_stay_and_nothing_goes_while_a_manifest_cannot_be_read() {
    let (disk, directory) = with_checkpoints(3);
    let mine = [
        "/jobs/7/chk-2/notes.txt",
        "/jobs/7/readme",
        "/jobs/7/chk-2/0-x.data",
        "/jobs/7/chk-2/_metadata.old",
    ];
    mine.iter().for_each(|path| disk.set(path.as_ref(), b"mine".to_vec()));
    disk.set("/jobs/7/chk-2/0-7.data".as_ref(), b"of an aborted one".to_vec());
    disk.set("/jobs/7/chk-2/_metadata.tmp".as_ref(), b"half".to_vec());

    disk.flip("/jobs/7/chk-3/_metadata".as_ref(), 300);
    let before = disk.files();
    let leftovers = directory.clean(&BTreeSet::new()).expect("nothing is done");
    assert_eq!((leftovers.deleted.len(), leftovers.unreadable.len()), (0, 1));
    assert!(directory.discard(3, &BTreeSet::new()).is_err(), "nobody knows what it names");
    assert_eq!(disk.files(), before);
    disk.flip("/jobs/7/chk-3/_metadata".as_ref(), 300);

    let leftovers = directory.clean(&BTreeSet::new()).expect("cleaned");
    assert_eq!(leftovers.deleted, ["chk-2/0-7.data", "chk-2/_metadata.tmp"]);
    assert_eq!(
        leftovers.unknown,
        ["readme", "chk-2/0-x.data", "chk-2/_metadata.old", "chk-2/notes.txt"]
    );
    let leftovers = directory.discard(2, &["chk-2/0-1.data".to_owned()].into()).expect("discarded");
    assert_eq!(leftovers.deleted, ["chk-2/_metadata", "chk-2/0-0.data"], "one is in use");
    assert!(mine.iter().all(|path| disk.files().contains(&PathBuf::from(path))));
    assert_eq!(directory.list().expect("listed"), [3, 1]);
}

#[test]
fn a_file_that_another_checkpoint_names_stays() {
    let (disk, directory) = with_checkpoints(1);
    directory.begin(2).expect("the second");
    let first = directory.load(1).expect("whole");
    let mut second = write_checkpoint(directory.storage(), 2).expect("written");
    // An increment: the base is a file of checkpoint 1.
    let base = first.vertices[0].subtasks[0].files[0].clone();
    second.vertices[0].subtasks[0].files.insert(0, base);
    directory.store(&second).expect("stored");
    let leftovers = directory.discard(1, &BTreeSet::new()).expect("discarded");
    assert_eq!(leftovers.deleted, ["chk-1/_metadata", "chk-1/0-1.data"]);
    assert_eq!(directory.newest().expect("whole").manifest, Some(second));
    directory.begin(3).expect("the third");
    let third = write_checkpoint(directory.storage(), 3).expect("written");
    directory.store(&third).expect("stored");
    directory.discard(2, &BTreeSet::new()).expect("discarded");
    let folders = files_of(&disk, 1).len() + files_of(&disk, 2).len();
    assert_eq!(folders, 0, "now nobody names it");
}

#[test]
fn a_checkpoint_that_is_set_aside_is_none_any_more() {
    let (disk, directory) = with_checkpoints(2);
    let manifest = PathBuf::from(format!("{ROOT}/chk-2/_metadata"));
    disk.flip(&manifest, 300);
    let damaged = disk.bytes(&manifest);
    assert!(directory.clean(&BTreeSet::new()).expect("listed").deleted.is_empty());
    assert!(!directory.is_behind(1).expect("listed"));
    directory.set_aside(2).expect("a disk");
    directory.set_aside(2).expect("nothing is left to do");
    assert_eq!(disk.bytes(format!("{ROOT}/chk-2/_metadata.damaged").as_ref()), damaged);
    assert!(directory.is_behind(1).expect("listed") && !directory.is_behind(2).expect("listed"));
    assert_eq!(directory.list().expect("listed"), [1]);
    let cleaned = directory.clean(&BTreeSet::new()).expect("listed");
    assert_eq!(cleaned.deleted, ["chk-2/0-0.data", "chk-2/0-1.data"]);
    assert_eq!(cleaned.unknown, [""; 0]);
    assert_eq!(disk.bytes(format!("{ROOT}/chk-2/_metadata.damaged").as_ref()), damaged);
    assert!(directory.newest().expect("whole").damaged.is_empty());
    assert_eq!(directory.next_id().expect("listed"), 3);
}
