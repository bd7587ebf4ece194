//! Frames that wait, in the order of their arrival: in memory as far as it goes, then in a file.
//!
//! ```text
//!   add ─▶ memory ─── is full: all that follow ──▶ file          as frames are on a socket: without their free middle
//!            │                                      │
//!            └──────────▶ take: in order ◀──────────┘
//! ```
//!
//! # What is always true
//!
//! 1. Memory is that of the options, and a few blocks. What a block holds more is one frame.
//! 2. What comes first is in memory: nothing is added to it any more when the file has a frame.
//! 3. What is read back is checked as bytes from outside are. The file has no name: it is gone with this.

use std::{collections::VecDeque, io, marker::PhantomData};

use wiesel_core::{Blame, TaskFailure};
use wiesel_record::Record;
use wiesel_shard::{File, Io};
use wiesel_wire::{
    Frame, FrameShape, FrameView, HEADER_BYTES, JUMBO_BYTES_LIMIT, WireError, from_wire, to_wire,
    wire_bytes,
};

use crate::{
    BatchOptions, TaskContext,
    spill::{self, OverFiles, RunReader, RunWriter, block_bytes_for},
};

/// What a task does with a spool.
const DOING: &str = "keep records until all that is broadcast was read";

/// What comes next.
pub(super) enum Next {
    /// A frame.
    Frame(Frame),
    /// Nobody knows before the file has answered.
    Waiting,
    /// Nothing.
    End,
}

/// What is not in memory.
enum Rest {
    Nothing,
    Writing(RunWriter),
    Reading { run: RunReader, bytes: Vec<u8>, at: usize },
}

/// The frames of one input, with records of type `T`. First all are added, then all are taken.
pub(super) struct Spool<T> {
    io: Io,
    file: File,
    bytes_max: usize,
    /// Frames, and their bytes together.
    memory: VecDeque<Vec<u8>>,
    bytes: usize,
    rest: Rest,
    /// Of all frames of the input; none before the first.
    shape: Option<FrameShape>,
    is_taken_from: bool,
    types: PhantomData<fn() -> T>,
}

impl<T: Record> Spool<T> {
    /// An empty one, with a file in the folder of the options.
    ///
    /// # Errors
    ///
    /// If no file can be made there.
    pub(super) fn new(options: &BatchOptions, context: &TaskContext) -> Result<Self, TaskFailure> {
        Ok(Self {
            io: context.shard().io(),
            file: spill::file_in(options, DOING)?,
            bytes_max: options.sort_bytes_max,
            memory: VecDeque::new(),
            bytes: 0,
            rest: Rest::Nothing,
            shape: None,
            is_taken_from: false,
            types: PhantomData,
        })
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.memory.is_empty() && matches!(self.rest, Rest::Nothing)
    }

    /// Adds a frame. Says whether there is room for another; if not, the file has to answer first.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub(super) fn add(&mut self, frame: &Frame) -> Result<bool, TaskFailure> {
        self.shape.get_or_insert_with(|| FrameView::<T>::new(frame).shape());
        if matches!(self.rest, Rest::Nothing) {
            let len = frame.payload_bytes();
            if self.bytes + len <= self.bytes_max {
                let mut bytes = Vec::with_capacity(len);
                to_wire(frame, &mut bytes);
                self.bytes += len;
                self.memory.push_back(bytes);
                return Ok(true);
            }
            let block_bytes = block_bytes_for(self.bytes_max);
            self.rest = Rest::Writing(RunWriter::new(&self.io, &self.file, 0, block_bytes));
        }
        let Rest::Writing(writer) = &mut self.rest else {
            let cause = "a frame came behind the end of the broadcast input";
            return Err(TaskFailure::new(Blame::Runtime, DOING, cause));
        };
        writer.append_by(|block| to_wire(frame, block));
        writer.has_room().map_err(failure)
    }

    /// Takes the next frame. Nothing is added any more.
    ///
    /// # Errors
    ///
    /// If the file cannot be written or read, or is damaged.
    pub(super) fn take(&mut self) -> Result<Next, TaskFailure> {
        self.is_taken_from = true;
        let shape = self.shape.unwrap_or(FrameShape::of::<T>(false, false));
        let frame_of = |bytes: &[u8]| from_wire::<T>(bytes, shape, JUMBO_BYTES_LIMIT);
        if let Some(bytes) = self.memory.pop_front() {
            self.bytes -= bytes.len();
            return frame_of(&bytes).map(Next::Frame).map_err(damaged);
        }
        loop {
            match &mut self.rest {
                Rest::Nothing => return Ok(Next::End),
                Rest::Writing(writer) => {
                    let Some(run) = writer.finish().map_err(failure)? else {
                        return Ok(Next::Waiting);
                    };
                    let block_bytes = block_bytes_for(self.bytes_max);
                    let run = RunReader::new(&self.io, &self.file, run, block_bytes);
                    self.rest = Rest::Reading { run, bytes: Vec::new(), at: 0 };
                }
                Rest::Reading { run, bytes, at } => {
                    let left = &bytes[*at..];
                    if let Some(first) = left.first_chunk::<HEADER_BYTES>() {
                        let len = wire_bytes(first, JUMBO_BYTES_LIMIT).map_err(damaged)?;
                        if let Some(bytes) = left.get(..len) {
                            *at += len;
                            return frame_of(bytes).map(Next::Frame).map_err(damaged);
                        }
                    }
                    if !run.is_read() {
                        bytes.drain(..std::mem::take(at));
                        if !run.poll(&self.io, bytes).map_err(failure)? {
                            return Ok(Next::Waiting);
                        }
                    } else if left.is_empty() {
                        self.rest = Rest::Nothing;
                    } else {
                        return Err(damaged(WireError::Length {
                            found: left.len(),
                            expected: HEADER_BYTES,
                        }));
                    }
                }
            }
        }
    }
}

impl<T> OverFiles for Spool<T> {
    fn poll(&mut self) -> Result<bool, TaskFailure> {
        let polled = match &mut self.rest {
            Rest::Nothing => Ok(true),
            Rest::Writing(writer) if self.is_taken_from => writer.finish().map(|run| run.is_some()),
            Rest::Writing(writer) => writer.has_room(),
            Rest::Reading { run, bytes, .. } => run.poll(&self.io, bytes),
        };
        polled.map_err(failure)
    }
}

fn failure(error: io::Error) -> TaskFailure {
    spill::failure(DOING, &error)
}

fn damaged(error: WireError) -> TaskFailure {
    let cause = format!("a file of records that wait is damaged: {error}");
    TaskFailure::new(Blame::Environment, DOING, cause)
}

#[cfg(all(test, not(sim)))]
mod tests {
    use std::{path::Path, sync::Arc};

    use wiesel_core::{Meta, SubtaskIndex, TaskId, Timestamp, VertexId};
    use wiesel_record::{Scratch, Viewed};
    use wiesel_shard::Shard;
    use wiesel_wire::{FramePool, FrameWriter, LocalPool};

    use super::*;

    type Line = (u64, String);

    struct Place {
        shard: Shard,
        folder: tempfile::TempDir,
        pool: LocalPool,
    }

    impl Place {
        fn new() -> Self {
            let pool = FramePool::new(1, 0).reserve(1).expect("as many as there are");
            let folder = tempfile::tempdir().expect("a folder");
            Self { shard: Shard::detached(), folder, pool }
        }

        fn spool(&self, bytes_max: usize, folder: &Path) -> Result<Spool<Line>, TaskFailure> {
            let id = TaskId { vertex: VertexId(0), subtask: SubtaskIndex(0) };
            let shard = self.shard.clone();
            let context = TaskContext::new(id, "spool", 1, 128, shard, Arc::default());
            let options = BatchOptions { sort_bytes_max: bytes_max, folder: folder.to_owned() };
            Spool::new(&options, &context)
        }

        /// A frame of so many lines of so many bytes, the first of this number; a larger one for a line that needs it.
        fn frame(&mut self, first: u64, count: u64, len: usize) -> Frame {
            let shape = FrameShape::of::<Line>(true, false);
            let frame = match shape.frame_bytes_for(len + 64, JUMBO_BYTES_LIMIT) {
                Some(capacity) if count == 1 && capacity > wiesel_wire::FRAME_BYTES => {
                    self.pool.take_jumbo(capacity)
                }
                _ => self.pool.take().expect("the frame that was given back"),
            };
            let mut writer = FrameWriter::open(frame, shape);
            for number in first..first + count {
                let time = Some(Timestamp::from_millis(number as i64 * 3));
                let text = "x".repeat(len);
                let line = Viewed::<Line>((number, &text));
                let meta = Meta { time, hash: None };
                writer.append::<Line, _>(&line, meta, &mut Scratch::new()).expect("it fits");
            }
            writer.close()
        }

        /// Waits for the file, as a task does.
        fn wait(&self, spool: &mut Spool<Line>) {
            while !spool.poll().expect("a disk") {
                self.shard.look();
            }
        }

        /// Adds frames of all sizes; says how many lines there are.
        fn fill(&mut self, spool: &mut Spool<Line>, frames: u64) -> u64 {
            let mut lines = 0;
            for number in 0..frames {
                // Most are neither full nor empty; each ninth has one line that fits no block.
                let (count, len) = match number % 9 {
                    8 => (1, 150_000),
                    rest => (1 + rest * 7, number as usize * 31 % 400),
                };
                let frame = self.frame(lines, count, len);
                lines += count;
                let has_room = spool.add(&frame).expect("a disk");
                self.pool.give(frame);
                if !has_room {
                    self.wait(spool);
                }
            }
            lines
        }
    }

    /// Whether frames come as they were, from memory of so many bytes; how many of them were in no file.
    fn check(bytes_max: usize, frames: u64) -> usize {
        let mut place = Place::new();
        let folder = place.folder.path().to_owned();
        let mut spool = place.spool(bytes_max, &folder).expect("a folder to write to");
        let lines = place.fill(&mut spool, frames);
        let in_memory = spool.memory.len();
        assert!(spool.bytes <= bytes_max && spool.is_empty() == (frames == 0));
        let mut number = 0;
        loop {
            match spool.take().expect("a disk") {
                Next::Waiting => place.wait(&mut spool),
                Next::End => break,
                Next::Frame(frame) => {
                    for (line, meta) in FrameView::<Line>::new(&frame) {
                        let (found, text) = line.get();
                        assert!(found == number && text.bytes().all(|byte| byte == b'x'));
                        assert_eq!(meta.time, Some(Timestamp::from_millis(number as i64 * 3)));
                        number += 1;
                    }
                }
            }
        }
        assert_eq!((number, spool.is_empty()), (lines, true));
        in_memory
    }

    #[test]
    fn frames_come_in_the_order_of_their_arrival_whatever_the_memory() {
        assert_eq!(check(64 << 20, 300), 300, "all of it in memory");
        let in_memory = check(64 << 10, 300);
        assert!((1..100).contains(&in_memory), "{in_memory} frames are in memory");
        assert_eq!(check(0, 300), 0, "none is");
        for frames in [0, 1, 2, 9] {
            check(0, frames);
        }
    }

    #[test]
    fn what_was_not_written_is_told() {
        let mut place = Place::new();
        let folder = place.folder.path().to_owned();
        // Of a frame: the length that its header says, and a byte of a record.
        for (at, byte) in [(24, 0x7F), (100, 0xEE)] {
            let mut spool = place.spool(0, &folder).expect("a folder");
            place.fill(&mut spool, 7);
            assert!(matches!(spool.take(), Ok(Next::Waiting)), "it is written first");
            place.wait(&mut spool);
            let token = spool.io.write(&spool.file, at, vec![byte]);
            while spool.io.take(token).is_none() {
                place.shard.look();
            }
            let failure = loop {
                match spool.take() {
                    Ok(Next::Waiting) => place.wait(&mut spool),
                    Ok(_) => panic!("a byte of the first frame is another"),
                    Err(failure) => break failure,
                }
            };
            assert_eq!(failure.blame, Blame::Environment);
            let text = format!("{failure}: {}", failure.source);
            assert!(text.contains("a file of records that wait is damaged: a frame"), "{text}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_is_told_with_what_to_do() {
        let place = Place::new();
        let Err(failure) = place.spool(1 << 20, Path::new("/no/such/folder")) else {
            panic!("there is no such folder")
        };
        let text = format!("{failure}: {}", failure.source);
        for word in ["/no/such/folder", "No such file", "io.tmp.dirs", "broadcast"] {
            assert!(text.contains(word), "no `{word}` in: {text}");
        }
    }
}
