//! Lists in the file of a task, on the machine's disk: as pieces of parts, and given up in the middle.

use std::sync::{Arc, Mutex};

use wiesel_core::{Blame, Nanos, ShardId, SubtaskIndex, TaskFailure, VertexId, seconds};
use wiesel_operators::ListPiece;
use wiesel_shard::{Launch, Machine, Next, Program, ShardSpec};
use wiesel_storage::read_part;

use super::*;

/// Longer than what is handed over at once.
const PIECE_BYTES: usize = 20_000;

/// Writes two lists of a task, or one until it turns out to be too long.
struct Write {
    folder: PathBuf,
    is_too_long: bool,
    writer: Option<StateWriter>,
    files: StateFiles,
    limit: Option<Nanos>,
    end: Arc<Mutex<Option<End>>>,
}

impl Write {
    fn begin(&mut self, shard: &Shard) -> StateWriter {
        let task = TaskId { vertex: VertexId(1), subtask: SubtaskIndex(0) };
        let (attempt, operators) =
            (Attempt { task, number: 0 }, Operators::named(&["src", "held"]));
        let (id, snapshot) = (CheckpointId(7), Snapshot::default());
        let mut writer = StateWriter::new(shard, &self.folder, attempt, id, &operators, &snapshot);
        let mut give = |position, name: &str, begins, byte| {
            let piece = ListPiece { begins, bytes: &[byte; PIECE_BYTES] };
            writer.take(Walked::List { position, name, piece }, &mut self.files);
        };
        give(0, "one", true, 1);
        give(0, "one", false, 2);
        if self.is_too_long {
            let failure = TaskFailure::new(Blame::Job, "store operator state", "it is too long");
            writer.take(Walked::Failed(&failure), &mut self.files);
            assert!(!writer.has_room(), "nothing more is wanted");
            return writer;
        }
        give(1, "two", true, 3);
        writer.has_all();
        writer
    }
}

impl Program for Write {
    fn turn(&mut self, shard: &Shard) -> Next {
        let limit = *self.limit.get_or_insert(shard.now() + seconds(60));
        assert!(shard.now() < limit, "nothing happened for a minute");
        if self.writer.is_none() {
            self.writer = Some(self.begin(shard));
        }
        let Some(writer) = &mut self.writer else { return Next::IDLE };
        match writer.poll(Some(&mut self.files)) {
            Some(end) => {
                *self.end.lock().expect("one thread") = Some(end);
                Next::Done
            }
            None if writer.goes_on() => Next::Again,
            None => Next::IDLE,
        }
    }
}

fn write(folder: &Path, is_too_long: bool) -> End {
    let end = Arc::new(Mutex::new(None));
    let (given, folder) = (Arc::clone(&end), folder.to_owned());
    let mut launch = Launch::new(ShardSpec::spread(1, &[])).expect("a descriptor for the bell");
    launch.program(ShardId(0), move |_| {
        let (files, writer) = (StateFiles::default(), None);
        Box::new(Write { folder, is_too_long, writer, files, limit: None, end: given })
            as Box<dyn Program>
    });
    Machine::start(launch).expect("a fit machine").join();
    end.lock().expect("it is over").take().expect("an end")
}

#[test]
#[allow(clippy::disallowed_methods, reason = "it looks at what is on the disk")]
fn pieces_of_a_list_are_one_part_and_what_is_too_long_declines_without_a_trace() {
    let folder = tempfile::tempdir().expect("a folder");
    let checkpoint = folder.path().join(folder_of(7));
    std::fs::create_dir(&checkpoint).expect("it is new");
    let files = || std::fs::read_dir(&checkpoint).expect("it is there").count();

    let End::Declined(declined) = write(folder.path(), true) else { panic!("it was written") };
    let cause = "could not store operator state: it is too long".to_owned();
    assert_eq!((declined, files()), (Declined::Io(cause), 0));

    let End::Acknowledged(handle) = write(folder.path(), false) else { panic!("it was not") };
    assert_eq!((handle.files.len(), files()), (1, 1));
    let entry = &handle.files[0];
    let bytes = std::fs::read(folder.path().join(&entry.path)).expect("it is there");
    let parts = entry.parts.iter().map(|part| {
        let stored = &bytes[part.offset as usize..][..part.stored_len as usize];
        let read = read_part(&entry.path, part, stored).expect("it is whole");
        let bytes = read.chunk_by(|a, b| a == b).map(|same| (same[0], same.len()));
        (&*part.operator, &*part.name, bytes.collect::<Vec<_>>())
    });
    let of = |bytes: &[u8]| bytes.iter().map(|byte| (*byte, PIECE_BYTES)).collect::<Vec<_>>();
    assert!(parts.eq([("src", "one", of(&[1, 2])), ("held", "two", of(&[3]))]));
}
