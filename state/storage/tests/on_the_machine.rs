//! On the machine's own disk and rings: a task's file, the owner of a folder, a savepoint that is moved.

#![allow(clippy::disallowed_methods, reason = "it moves folders as a user does")]

use std::sync::{Arc, Mutex};

use wiesel_core::{JobId, KeyGroup, ShardId, Timestamp, seconds};
use wiesel_shard::{Launch, Machine, Next, Program, Shard, ShardSpec, Stepped, Steps};
use wiesel_storage::{
    CheckpointDirectory, DataFileWriter, Ending, FileEntry, Kind, LocalStorage, Manifest,
    OwnerLock, PartKind, RingFile, RingReader, StorageError, SubtaskState, VertexState, Written,
    load_savepoint, read_part, savepoint_folder, store_savepoint,
};

/// Writes a file of three parts through the ring, a part a turn.
struct Task {
    path: std::path::PathBuf,
    writer: Option<DataFileWriter>,
    file: Option<RingFile>,
    parts: u16,
    result: Arc<Mutex<Option<Result<FileEntry, String>>>>,
    entry: Option<FileEntry>,
    limit: Option<wiesel_core::Nanos>,
}

fn bytes_of(group: u16) -> Vec<u8> {
    (0..100_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8 ^ group as u8).collect()
}

impl Program for Task {
    fn turn(&mut self, shard: &Shard) -> Next {
        let limit = *self.limit.get_or_insert(shard.now() + seconds(60));
        assert!(shard.now() < limit, "nothing happened for a minute");
        let io = shard.io();
        let file = self.file.get_or_insert_with(|| RingFile::create(&io, &self.path));
        if let Some(writer) = &mut self.writer
            && file.queued_bytes() < 64 << 10
        {
            writer.part(
                "counts",
                "counts",
                PartKind::Keyed(KeyGroup(self.parts)),
                &bytes_of(self.parts),
            );
            file.push(writer.take());
            self.parts += 1;
            if self.parts == 3 {
                let (rest, entry) = self.writer.take().expect("just used").finish("0-0.data");
                file.push(rest);
                file.finish();
                self.entry = Some(entry);
            }
        }
        let result = match file.poll(&io) {
            Written::Pending if self.writer.is_some() => return Next::Again,
            Written::Pending => return Next::IDLE,
            Written::Durable => Ok(self.entry.take().expect("finished before it was durable")),
            Written::Failed(error) => Err(error.to_string()),
        };
        *self.result.lock().expect("one thread") = Some(result);
        Next::Done
    }
}

fn write(path: &std::path::Path) -> Result<FileEntry, String> {
    let result = Arc::new(Mutex::new(None));
    let (given, path) = (Arc::clone(&result), path.to_owned());
    let mut launch = Launch::new(ShardSpec::spread(1, &[])).expect("a descriptor for the bell");
    launch.program(ShardId(0), move |_| {
        let writer = Some(DataFileWriter::new());
        let (file, entry, limit) = (None, None, None);
        Box::new(Task { path, writer, file, parts: 0, result: given, entry, limit })
            as Box<dyn Program>
    });
    Machine::start(launch).expect("a fit machine").join();
    result.lock().expect("it is over").take().expect("a result")
}

#[test]
fn a_task_writes_its_file_through_the_ring_and_fails_without_a_trace() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("0-0.data");
    let entry = write(&path).expect("written");
    let bytes = std::fs::read(&path).expect("it is there");
    assert_eq!((entry.len, entry.parts.len()), (bytes.len() as u64, 3));
    for (group, part) in (0..3).zip(&entry.parts) {
        let stored = &bytes[part.offset as usize..][..part.stored_len as usize];
        assert_eq!(read_part(&entry.path, part, stored).expect("whole"), bytes_of(group));
    }
    let error = write(&path).expect_err("it exists");
    assert!(error.contains("0-0.data"), "{error}");
    assert_eq!(std::fs::read(&path).expect("untouched"), bytes);
    let error = write(&folder.path().join("none/0-0.data")).expect_err("no such folder");
    assert!(error.starts_with("create ") && error.contains("none/0-0.data"), "{error}");
}

/// A part, through the ring of a shard, as a task reads it.
fn ring_read(folder: &std::path::Path, entry: &FileEntry, at: usize) -> Result<Vec<u8>, String> {
    let shard = Shard::detached();
    let (mut reader, entry) = (RingReader::new(shard.io(), folder), entry.clone());
    let mut work = Steps::new(async move {
        let _before = reader.read(&entry, &entry.parts[0]).await;
        reader.read(&entry, &entry.parts[at]).await
    });
    loop {
        match work.go_on(&mut shard.quantum(wiesel_core::millis(1))) {
            Stepped::Done(read) => return read.map_err(|error| error.to_string()),
            Stepped::More | Stepped::Waiting => shard.look(),
        };
    }
}

#[test]
fn a_part_is_read_through_the_ring_as_it_is_read_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("0-0.data");
    let entry = write(&path).expect("a disk");
    let directory =
        CheckpointDirectory::new(LocalStorage::open(folder.path()).expect("a folder to open"));
    let check = |expected: [&str; 3]| {
        for (at, expected) in expected.into_iter().enumerate() {
            let read = ring_read(folder.path(), &entry, at);
            let at_once = directory.read(&entry, &entry.parts[at]);
            assert_eq!(read, at_once.map_err(|error| error.to_string()), "part {at}");
            match read {
                Ok(bytes) => assert!(expected.is_empty() && bytes == bytes_of(at as u16)),
                Err(error) => assert_eq!(error, expected, "part {at}"),
            }
        }
    };
    check(["", "", ""]);
    let whole = std::fs::read(&path).expect("a file");
    let mut damaged = whole.clone();
    damaged[150_000] ^= 1;
    std::fs::write(&path, &damaged).expect("a disk");
    let flipped = "0-0.data is damaged at byte 100028: part `counts` of `counts`, key group 1: the checksum of a block of 65536 bytes differs";
    check(["", flipped, ""]);
    std::fs::write(&path, &whole[..whole.len() - 10]).expect("a disk");
    let cut = "0-0.data is damaged at byte 300050: part `counts` of `counts`, key group 2: 100006 of 100016 bytes are there";
    check(["", "", cut]);
    std::fs::remove_file(&path).expect("a disk");
    check(["0-0.data is missing"; 3]);
}

#[test]
fn a_full_disk_keeps_nothing_of_a_file() {
    // Where the machine has a device that is always full.
    if !std::path::Path::new("/dev/full").exists() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let link = folder.path().join("full.data");
    std::os::unix::fs::symlink("/dev/full", &link).expect("a link");
    let error = wiesel_shard::fs::write_synced(&link, [7; 1_000]).expect_err("it is full");
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{error}");
    assert!(std::fs::symlink_metadata(&link).is_err(), "nothing is left");
}

#[test]
fn a_folder_has_one_owner_and_a_dead_one_is_seen() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = OwnerLock::acquire(folder.path()).expect("free");
    assert_eq!(first.stale_owner(), None);
    let error = OwnerLock::acquire(folder.path()).expect_err("owned");
    let (path, pid) = (folder.path().display(), std::process::id());
    let expected =
        format!("{path} is in use by process {pid}: stop it first, or use another folder");
    assert!(matches!(error, StorageError::Owned { .. }));
    assert_eq!(error.to_string(), expected);
    drop(first);
    assert_eq!(OwnerLock::acquire(folder.path()).expect("free again").stale_owner(), None);
    // As a process that was killed leaves it: the name stands, the lock is gone.
    std::fs::write(folder.path().join("_owner"), "process 4711\n").expect("written");
    let next = OwnerLock::acquire(folder.path()).expect("nobody holds it");
    assert_eq!(next.stale_owner(), Some("process 4711"));
}

#[test]
fn a_savepoint_is_whole_where_it_is_moved_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let name = savepoint_folder(JobId(0xab12_cdef << 96), 9);
    assert_eq!(name, "savepoint-ab12cd-9");
    let storage = LocalStorage::open(folder.path().join("deep").join(&name)).expect("made");
    let entry = write(&storage.path_of("0-0.data").expect("a plain name")).expect("written");
    let subtask = SubtaskState { finished: false, files: vec![entry] };
    let vertex = VertexState {
        uid: "counts".into(),
        name: "Count".into(),
        operators: vec!["counts".into()],
        parallelism: 1,
        max_parallelism: 128,
        enumerator: None,
        subtasks: vec![subtask],
    };
    let manifest = Manifest {
        job: JobId(0xab12_cdef << 96),
        job_name: "trending".into(),
        checkpoint: 9,
        kind: Kind::Savepoint,
        triggered: Timestamp::from_millis(0),
        completed: Timestamp::from_millis(5),
        ending: Ending::Open,
        vertices: vec![vertex],
    };
    store_savepoint(&storage, &manifest).expect("stored");
    assert!(matches!(store_savepoint(&storage, &manifest), Err(StorageError::Exists { .. })));
    let moved = folder.path().join("moved");
    std::fs::rename(storage.root(), &moved).expect("moved");
    let storage = LocalStorage::open(&moved).expect("there");
    assert_eq!(load_savepoint(&storage).expect("whole"), manifest);
    std::fs::remove_file(moved.join("0-0.data")).expect("removed");
    assert_eq!(load_savepoint(&storage).expect_err("not whole").to_string(), "0-0.data is missing");
}
