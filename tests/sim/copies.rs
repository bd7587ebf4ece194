//! The part of a crashing job that has many regions: numbers that are copied into files, in subtasks without channels. A task
//! that fails there starts again alone.
//!
//! ```text
//!   splits of a few numbers ─ as they are asked for ─▶ reader ─ map, which may fail ─ files     once for each subtask
//! ```
//!
//! # What is always true
//!
//! 1. There are more splits than a reader takes between two checkpoints: some were handed out before one, some behind it.

use std::collections::VecDeque;

use wiesel_connectors::{
    Assignment, Discovery, FileSink, ReaderContext, ReaderStatus, Source, SourceOutput,
    SourceReader, SplitEnumerator, SplitPayload,
};
use wiesel_core::{Blame, SubtaskIndex, TaskFailure};
use wiesel_datastream::Environment;
use wiesel_record::Owned;
use wiesel_shard::Shard;

use crate::case::Draw;

/// What a seed draws.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copies {
    splits: u64,
    numbers: u64,
}

impl Copies {
    pub(crate) fn of(draw: &mut Draw) -> Self {
        Self { splits: draw.within(1, 80), numbers: draw.of(&[1, 5, 40]) }
    }

    /// The lines that must be there, each once.
    pub(crate) fn expected(self) -> impl Iterator<Item = String> {
        (0..self.splits * self.numbers).map(line)
    }

    /// Copies the numbers into files in `folder`. `fail` is called for each of them.
    pub(crate) fn run(
        self,
        env: &Environment,
        folder: &str,
        fail: impl Fn() + Clone + Send + 'static,
    ) {
        env.source(self)
            .uid("copies")
            .map(move |number| {
                fail();
                line(number)
            })
            .sink_to(FileSink::lines(folder));
    }
}

fn line(number: u64) -> String {
    format!("copy of {number}")
}

impl Source for Copies {
    type Record = u64;
    type Reader = NumbersReader;

    fn enumerator(
        &self,
        _: u32,
        _: &dyn Discovery,
    ) -> Result<Box<dyn SplitEnumerator>, TaskFailure> {
        Ok(Box::new(NumberSplits { copies: *self, next: 0 }))
    }

    fn reader(&self, _: &ReaderContext) -> NumbersReader {
        NumbersReader { splits: VecDeque::new(), no_more_splits: false }
    }

    fn describe(&self) -> String {
        "numbers".to_owned()
    }

    fn is_bounded(&self) -> bool {
        true
    }
}

/// Hands out the splits in order.
struct NumberSplits {
    copies: Copies,
    next: u64,
}

impl SplitEnumerator for NumberSplits {
    fn add_reader(&mut self, _: SubtaskIndex) {}

    fn request_split(&mut self, _: SubtaskIndex) -> Assignment {
        if self.next == self.copies.splits {
            return Assignment::NoMoreSplits;
        }
        let first = self.next * self.copies.numbers;
        self.next += 1;
        Assignment::Split(split_of(first, first + self.copies.numbers))
    }

    fn snapshot(&self) -> Vec<u8> {
        self.next.to_le_bytes().to_vec()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), TaskFailure> {
        self.next = snapshot.try_into().map(u64::from_le_bytes).map_err(|_| malformed())?;
        Ok(())
    }
}

/// From the first number to before the last.
fn split_of(first: u64, end: u64) -> SplitPayload {
    SplitPayload([first.to_le_bytes(), end.to_le_bytes()].concat())
}

fn malformed() -> TaskFailure {
    TaskFailure::new(Blame::Environment, "read a split", "it is malformed")
}

/// Reads one split after the other.
pub(crate) struct NumbersReader {
    splits: VecDeque<(u64, u64)>,
    no_more_splits: bool,
}

impl SourceReader<u64> for NumbersReader {
    fn poll<S: SourceOutput<u64>>(
        &mut self,
        _: &Shard,
        out: &mut S,
    ) -> Result<ReaderStatus, TaskFailure> {
        while let Some((next, end)) = self.splits.front_mut() {
            if next == end {
                self.splits.pop_front();
                continue;
            }
            *next += 1;
            if out.collect(Owned(*next - 1), None) {
                return Ok(ReaderStatus::MoreAvailable);
            }
        }
        match self.no_more_splits {
            true => Ok(ReaderStatus::Finished),
            false => Ok(ReaderStatus::NeedSplit),
        }
    }

    fn add_split(&mut self, split: SplitPayload) -> Result<(), TaskFailure> {
        let (first, end) = split.0.split_first_chunk::<8>().ok_or_else(malformed)?;
        let end = end.try_into().map_err(|_| malformed())?;
        self.splits.push_back((u64::from_le_bytes(*first), u64::from_le_bytes(end)));
        Ok(())
    }

    fn no_more_splits(&mut self) {
        self.no_more_splits = true;
    }

    fn unread(&self) -> Vec<SplitPayload> {
        let left = self.splits.iter().filter(|(next, end)| next < end);
        left.map(|(next, end)| split_of(*next, *end)).collect()
    }

    fn position(&self) -> Option<String> {
        self.splits.front().map(|(next, _)| format!("number {next}"))
    }
}
