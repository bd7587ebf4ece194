//! The records of a keyed head, sorted by key in bounded memory.
//!
//! ```text
//!   add ─▶ chunk of 1,024 ─sort─▶ pieces ─── they exceed the memory: merge ──▶ run in a file ─┐
//!                                   │                                                         │ more runs than can be
//!                                   │ all fit                             merge of many  ◀────┤ merged at once: merge
//!                                   └──▶ head, pop: in order ◀── merge ◀── the last runs ◀────┘ some into longer ones
//! ```
//!
//! # What is always true
//!
//! 1. Memory is that of the options, and a few blocks. What a block holds more is one record.
//! 2. Nothing waits and no call is long: work is done a record at a time, until the turn is over or a file has to answer.
//! 3. Files have no names: they are gone with this.

use std::{collections::VecDeque, io};

use wiesel_core::TaskFailure;
use wiesel_shard::{File, Io};

use super::{
    merge::Merge,
    record::{Chunk, SortedRecord},
};
use crate::{
    BatchOptions, Pace, TaskContext,
    spill::{self, BLOCK_BYTES_MIN, OverFiles, Run, RunReader, RunWriter, block_bytes_for},
};

/// Records that are sorted in one go: some tens of microseconds.
const CHUNK_RECORDS: usize = 1_024;
/// Bytes of them, or an eighth of the memory. A record that is larger is a chunk of its own.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// What a task does with a sorter.
const DOING: &str = "sort the input of a keyed operator by key";

/// What the sorter does next.
enum State {
    /// Takes records.
    Taking,
    /// Writes all pieces as a run; is it the last one?
    Spilling(Copying),
    /// Makes fewer runs of many.
    Passing { copying: Copying, left: VecDeque<Run>, done: Vec<Run> },
    /// Gives records.
    Giving(Merge),
}

/// What came of some work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worked {
    /// There is nothing left to do: records can be added, or the next one is known.
    Done,
    /// The turn is over.
    Stopped,
    /// A file has to answer.
    Waiting,
}

/// Sorts the records of one subtask.
pub struct Sorter {
    io: Io,
    /// Runs are in the first; fewer and longer ones are written to the second.
    files: [File; 2],
    bytes_max: usize,
    block_bytes: usize,
    chunk_bytes: usize,
    /// How many runs are merged at once.
    fan_in: usize,
    chunk: Chunk,
    pieces: Vec<Vec<u8>>,
    /// Of all pieces.
    bytes: usize,
    runs: Vec<Run>,
    state: State,
    has_ended: bool,
}

impl Sorter {
    /// An empty one, with files in the folder of the options.
    ///
    /// # Errors
    ///
    /// If no file can be made there.
    pub(super) fn new(options: &BatchOptions, context: &TaskContext) -> Result<Self, TaskFailure> {
        let file = || spill::file_in(options, DOING);
        let bytes_max = options.sort_bytes_max.max(2 * BLOCK_BYTES_MIN);
        let block_bytes = block_bytes_for(bytes_max);
        Ok(Self {
            io: context.shard().io(),
            files: [file()?, file()?],
            bytes_max,
            block_bytes,
            chunk_bytes: (bytes_max / 8).min(CHUNK_BYTES_MAX),
            // Each has a block in use and one on its way.
            fan_in: (bytes_max / (2 * block_bytes)).max(2),
            chunk: Chunk::default(),
            pieces: Vec::new(),
            bytes: 0,
            runs: Vec::new(),
            state: State::Taking,
            has_ended: false,
        })
    }

    /// Whether records can be added. If not, there is work to do.
    #[inline]
    pub(crate) fn takes(&self) -> bool {
        matches!(self.state, State::Taking)
    }

    /// Adds a record.
    #[inline]
    pub(crate) fn add(&mut self, record: &SortedRecord<'_>) {
        self.chunk.push(record);
        if self.chunk.records() >= CHUNK_RECORDS || self.chunk.bytes() >= self.chunk_bytes {
            self.close_chunk();
            if self.bytes + self.chunk_bytes > self.bytes_max {
                self.spill();
            }
        }
    }

    #[inline(never)]
    fn close_chunk(&mut self) {
        if self.chunk.records() > 0 {
            let piece = self.chunk.take_sorted();
            self.bytes += piece.len();
            self.pieces.push(piece);
        }
    }

    fn spill(&mut self) {
        self.bytes = 0;
        let merge = Merge::new(std::mem::take(&mut self.pieces), []);
        let start = self.runs.last().map_or(0, |run| run.end());
        self.state = State::Spilling(self.copying(merge, 0, start));
    }

    fn copying(&self, merge: Merge, file: usize, start: u64) -> Copying {
        let writer = RunWriter::new(&self.io, &self.files[file], start, self.block_bytes);
        Copying { merge, writer }
    }

    /// There are no more records to add.
    pub(super) fn end(&mut self) {
        if !self.has_ended {
            self.has_ended = true;
            self.close_chunk();
            if self.takes() {
                self.go_on();
            }
        }
    }

    /// What follows when the input has ended and nothing is on its way.
    fn go_on(&mut self) {
        if self.runs.is_empty() {
            self.state = State::Giving(Merge::new(std::mem::take(&mut self.pieces), []));
        } else if !self.pieces.is_empty() {
            self.spill(); // For the room: the blocks of the runs need it.
        } else if self.runs.len() <= self.fan_in {
            let runs = std::mem::take(&mut self.runs);
            self.state = State::Giving(self.merge_of(runs));
        } else {
            let mut left = VecDeque::from(std::mem::take(&mut self.runs));
            let copying = self.copying_of_next(&mut left, 0);
            self.state = State::Passing { copying, left, done: Vec::new() };
        }
    }

    fn merge_of(&self, runs: impl IntoIterator<Item = Run>) -> Merge {
        let reader = |run| RunReader::new(&self.io, &self.files[0], run, self.block_bytes);
        Merge::new(Vec::new(), runs.into_iter().map(reader))
    }

    fn copying_of_next(&self, left: &mut VecDeque<Run>, start: u64) -> Copying {
        let count = left.len().min(self.fan_in);
        self.copying(self.merge_of(left.drain(..count)), 1, start)
    }

    /// Works until there is nothing to do.
    ///
    /// # Errors
    ///
    /// If a file cannot be written or read.
    pub(super) fn work(&mut self, pace: &mut Pace) -> Result<Worked, TaskFailure> {
        loop {
            let (worked, run) = match &mut self.state {
                State::Taking => return Ok(Worked::Done),
                State::Giving(merge) => {
                    let is_known = merge.settle(&self.io).map_err(failure)?;
                    return Ok(if is_known { Worked::Done } else { Worked::Waiting });
                }
                State::Spilling(copying) | State::Passing { copying, .. } => {
                    copying.work(&self.io, pace).map_err(failure)?
                }
            };
            let Some(run) = run else { return Ok(worked) };
            match std::mem::replace(&mut self.state, State::Taking) {
                State::Passing { mut left, mut done, .. } => {
                    done.push(run);
                    if left.is_empty() {
                        self.files.swap(0, 1);
                        self.runs = done;
                    } else {
                        let copying = self.copying_of_next(&mut left, run.end());
                        self.state = State::Passing { copying, left, done };
                        continue;
                    }
                }
                _ => self.runs.push(run),
            }
            if self.has_ended {
                self.go_on();
            }
        }
    }

    /// The next record in order, when [`work`](Self::work) is done; none at the end.
    #[inline]
    pub(super) fn head(&self) -> Option<SortedRecord<'_>> {
        let State::Giving(merge) = &self.state else { return None };
        merge.head().map(|(record, _)| record)
    }

    /// Goes on behind the next record.
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    #[inline]
    pub(super) fn pop(&mut self) -> Result<(), TaskFailure> {
        let State::Giving(merge) = &mut self.state else { return Ok(()) };
        merge.pop(&self.io).map_err(failure)
    }
}

impl OverFiles for Sorter {
    fn poll(&mut self) -> Result<bool, TaskFailure> {
        let io = &self.io;
        let polled = match &mut self.state {
            State::Taking => Ok(true),
            State::Giving(merge) => merge.settle(io),
            State::Spilling(copying) | State::Passing { copying, .. } => copying.poll(io),
        };
        polled.map_err(failure)
    }
}

/// A merge on its way into a run.
struct Copying {
    merge: Merge,
    writer: RunWriter,
}

impl Copying {
    /// Copies records. Gives the run when it is whole.
    fn work(&mut self, io: &Io, pace: &mut Pace) -> io::Result<(Worked, Option<Run>)> {
        loop {
            if !self.merge.settle(io)? || !self.writer.has_room()? {
                return Ok((Worked::Waiting, None));
            }
            let Some((_, bytes)) = self.merge.head() else {
                let run = self.writer.finish()?;
                return Ok((Worked::Waiting, run));
            };
            self.writer.append(bytes);
            self.merge.pop(io)?;
            if pace.is_over() {
                return Ok((Worked::Stopped, None));
            }
        }
    }

    /// Whether there is something to do.
    fn poll(&mut self, io: &Io) -> io::Result<bool> {
        if !self.merge.settle(io)? || !self.writer.has_room()? {
            return Ok(false);
        }
        Ok(self.merge.head().is_some() || self.writer.finish()?.is_some())
    }
}

fn failure(error: io::Error) -> TaskFailure {
    spill::failure(DOING, &error)
}

#[cfg(all(test, not(sim)))]
mod tests {
    use std::{path::Path, sync::Arc, time::Duration};

    use wiesel_core::{StopFlag, SubtaskIndex, TaskId, VertexId};
    use wiesel_shard::{Shard, fs};

    use super::*;

    fn context() -> TaskContext {
        let id = TaskId { vertex: VertexId(0), subtask: SubtaskIndex(0) };
        TaskContext::new(id, "sort", 1, 128, Shard::detached(), Arc::default())
    }

    fn sorter(bytes: usize, folder: &Path) -> Result<Sorter, TaskFailure> {
        let options = BatchOptions { sort_bytes_max: bytes, folder: folder.to_owned() };
        Sorter::new(&options, &context())
    }

    /// Works until there is nothing to do, as a task does; says in how many turns.
    fn work(sorter: &mut Sorter, shard: &Shard) -> usize {
        for turns in 1.. {
            let quantum = shard.quantum(Duration::from_micros(50));
            let mut pace = Pace::new(StopFlag::new(), quantum);
            match sorter.work(&mut pace).expect("a disk") {
                Worked::Done => return turns,
                Worked::Stopped => {}
                Worked::Waiting => {
                    while !sorter.poll().expect("a disk") {
                        shard.look();
                    }
                }
            }
        }
        unreachable!()
    }

    fn random(state: &mut u64) -> u64 {
        *state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state >> 33
    }

    /// Key, hash, time, input, number.
    type Row = (u64, Vec<u8>, i64, usize, u32);

    /// So few hashes that keys share them, keys and regions of any length.
    fn rows(seed: u64, count: u32, keys: u64) -> Vec<Row> {
        let state = &mut seed.wrapping_add(1);
        let row = |number| {
            let key = random(state) % keys;
            let (time, input) = (random(state) % 50, random(state) % 2);
            let length = (key % 7) as usize;
            (key % 64, vec![key as u8; length], time as i64, input as usize, number)
        };
        (0..count).map(row).collect()
    }

    fn check(bytes: usize, rows: &[Row], regions: usize) -> (usize, usize) {
        let folder = tempfile::tempdir().expect("a folder");
        let shard = Shard::detached();
        let context = TaskContext::new(
            TaskId { vertex: VertexId(0), subtask: SubtaskIndex(0) },
            "sort",
            1,
            128,
            shard.clone(),
            Arc::default(),
        );
        let options = BatchOptions { sort_bytes_max: bytes, folder: folder.path().to_owned() };
        let mut sorter = Sorter::new(&options, &context).expect("a folder to write to");
        let (mut runs, mut most) = (0, 0);
        for (hash, key, time, input, number) in rows {
            let mut region = number.to_le_bytes().to_vec();
            region.resize(4 + *number as usize * 37 % regions, 0xEE);
            if !sorter.takes() {
                runs += 1;
                work(&mut sorter, &shard);
            }
            let (hash, time, input) = (*hash, *time, *input);
            sorter.add(&SortedRecord { hash, time, input, key, region: &region });
            most = most.max(sorter.bytes);
        }
        let fan_in = sorter.fan_in;
        sorter.end();
        let mut expected: Vec<&Row> = rows.iter().collect();
        expected.sort();
        for row in expected {
            work(&mut sorter, &shard);
            let found = sorter.head().expect("as many as were added");
            let number = found.region.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes));
            assert_eq!(
                (found.hash, found.key, found.time, found.input, number),
                (row.0, &row.1[..], row.2, row.3, Some(row.4))
            );
            sorter.pop().expect("a disk");
        }
        work(&mut sorter, &shard);
        assert!(sorter.head().is_none() && most <= sorter.bytes_max.max(regions));
        (runs, fan_in)
    }

    #[test]
    fn records_come_by_key_time_input_and_arrival_whatever_the_memory() {
        for seed in 0..4 {
            assert_eq!(check(1 << 20, &rows(seed, 9_000, 300), 20).0, 0, "all of it in memory");
            assert!(check(64 << 10, &rows(seed, 9_000, 300), 60).0 > 2);
            let (runs, fan_in) = check(8 << 10, &rows(seed, 9_000, 7), 60);
            assert!(runs > fan_in * fan_in, "{runs} runs are merged {fan_in} at a time, in passes");
        }
        check(8 << 10, &rows(9, 300, 40), 50_000); // Records larger than a block and than the memory.
        check(8 << 10, &[], 1);
        check(8 << 10, &rows(7, 1, 1), 1);
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_is_told_with_what_to_do() {
        let Err(failure) = sorter(1 << 20, Path::new("/no/such/folder")) else {
            panic!("there is no such folder")
        };
        let text = format!("{failure}: {}", failure.source);
        for word in ["/no/such/folder", "No such file", "io.tmp.dirs", "by key"] {
            assert!(text.contains(word), "no `{word}` in: {text}");
        }
    }

    #[test]
    fn files_have_no_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let sorter = sorter(1 << 20, folder.path()).expect("a folder");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder"), [] as [std::path::PathBuf; 0]);
        drop(sorter);
    }
}
