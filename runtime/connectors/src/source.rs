//! The roles of a source: who finds the splits, who hands them out, who reads them (Flink's FLIP-27).
//!
//! ```text
//!   JobMaster                                        a shard
//!   Source::enumerator ─▶ SplitEnumerator            Source::reader ─▶ SourceReader ─records─▶ SourceOutput
//!      looks at the world   pure      ▲ request_split                    ▲ add_split, poll
//!      (Discovery)            └──────────── SplitPayload ────────────────┘
//! ```
//!
//! # What is always true
//!
//! 1. A source touches nothing in the world while the graph is built: files are looked at when the enumerator is
//!    made, in the JobMaster, and opened when their split is read.
//! 2. Splits are handed out in order, each to one reader. A reader that starts again gets its own again, from the JobMaster.
//! 3. A reader never waits, and returns soon after [`SourceOutput::collect`] said that the turn is over.
//! 4. [`SourceReader::unread`] are the splits that, read from their start, give exactly the records not yet
//!    collected.

use std::{fmt, sync::Arc};

use wiesel_core::{Nanos, SubtaskIndex, TaskFailure, Timestamp, metrics::TaskMetrics};
use wiesel_record::{Item, Record};
use wiesel_shard::Shard;

use crate::Discovery;

/// A part of a source's input, as its enumerator encoded it. Only readers of the same source understand it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitPayload(pub Vec<u8>);

/// An enumerator's answer to a reader without a split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assignment {
    /// Read this.
    Split(SplitPayload),
    /// There is nothing left for this reader, and will not be.
    NoMoreSplits,
    /// Nothing now: the enumerator answers when there is something.
    Later,
}

/// Where records come from. Part of the graph: plain data, cloned for every subtask.
pub trait Source: Clone + Send + 'static {
    /// What it reads.
    type Record: Record;

    /// What reads it, on a shard.
    type Reader: SourceReader<Self::Record>;

    /// Finds the splits for `parallelism` readers. Called in the JobMaster, once.
    ///
    /// # Errors
    ///
    /// If the input cannot be found or is not of a kind that can be read; the error names it.
    fn enumerator(
        &self,
        parallelism: u32,
        discovery: &dyn Discovery,
    ) -> Result<Box<dyn SplitEnumerator>, TaskFailure>;

    /// Makes the reader of one subtask, on its shard.
    fn reader(&self, context: &ReaderContext) -> Self::Reader;

    /// What `explain` calls it: `JSON lines of posts.jsonl`.
    fn describe(&self) -> String;

    /// Whether it ends by itself.
    fn is_bounded(&self) -> bool;

    /// Whether a split can be read again from where it was. What a source that cannot has read since the last checkpoint
    /// is lost when its job fails.
    fn can_rewind(&self) -> bool {
        true
    }
}

/// What a reader is told about the task it reads for.
#[derive(Clone, Debug)]
pub struct ReaderContext {
    /// Which subtask.
    pub subtask: SubtaskIndex,
    /// Of how many.
    pub parallelism: u32,
    /// Where skipped and replaced lines are counted.
    pub metrics: Arc<TaskMetrics>,
}

/// Hands out splits. Pure; lives in the JobMaster.
pub trait SplitEnumerator: Send {
    /// A reader is there. It will ask for splits.
    fn add_reader(&mut self, subtask: SubtaskIndex);

    /// A reader has nothing to read.
    fn request_split(&mut self, subtask: SubtaskIndex) -> Assignment;

    /// What has not been handed out, as bytes.
    fn snapshot(&self) -> Vec<u8>;

    /// Continues from a snapshot.
    ///
    /// # Errors
    ///
    /// If it is not a snapshot of this source.
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), TaskFailure>;
}

impl fmt::Debug for dyn SplitEnumerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SplitEnumerator")
    }
}

/// What a reader did with its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReaderStatus {
    /// It read something, or was stopped while it did: it wants another turn.
    MoreAvailable,
    /// Nothing to read until an I/O completion, or until this time.
    Waiting(Option<Nanos>),
    /// It has no split and wants one.
    NeedSplit,
    /// All its splits are read, and it was told that there are no more.
    Finished,
}

/// Reads splits, one after the other. A state machine that is polled; lives on a shard.
pub trait SourceReader<T: Record>: 'static {
    /// Reads until the output says stop, or nothing is there to read.
    ///
    /// # Errors
    ///
    /// If the input cannot be read, with its position. The reader must not be polled again.
    fn poll<S: SourceOutput<T>>(
        &mut self,
        shard: &Shard,
        out: &mut S,
    ) -> Result<ReaderStatus, TaskFailure>;

    /// A split to read after those it has.
    ///
    /// # Errors
    ///
    /// If it is not a split of this source.
    fn add_split(&mut self, split: SplitPayload) -> Result<(), TaskFailure>;

    /// Puts splits of several readers into the order in which they were handed out, as far as it matters to event time:
    /// after a restore a reader gets what several had begun.
    fn sort(splits: &mut [SplitPayload])
    where
        Self: Sized,
    {
        let _ = splits;
    }

    /// There will be no more splits.
    fn no_more_splits(&mut self);

    /// What is left to read, for a snapshot. Added to a fresh reader, it continues there.
    fn unread(&self) -> Vec<SplitPayload>;

    /// Where the record is that was collected last, for messages: `posts.jsonl, line 3, byte 512`.
    fn position(&self) -> Option<String>;
}

/// Where a reader puts records: the source head of a chain.
pub trait SourceOutput<T: Record> {
    /// Takes a record, with its event time if the source knows one. Returns whether the turn is over.
    fn collect<I: Item<T>>(&mut self, item: I, time: Option<Timestamp>) -> bool;

    /// Something was read that gave no record (a skipped line). Returns whether the turn is over.
    fn skip(&mut self) -> bool;

    /// The records that follow are of this split: for readers that read several at a time, which then have watermarks of
    /// their own each. Numbers are the reader's, below `u32::MAX`. A split holds the watermark back from when it is named
    /// first, so a reader names all its splits before it reads one.
    fn split(&mut self, split: u32) {
        let _ = split;
    }

    /// A split that was named is read to its end and holds the watermark back no longer.
    fn split_ended(&mut self, split: u32) {
        let _ = split;
    }

    /// Whether a split that was named is to be left alone for now, because it is ahead of others that it is aligned with.
    /// If all are, the reader is not polled.
    fn is_paused(&self, split: u32) -> bool {
        let _ = split;
        false
    }

    /// A line that could not be read, where such lines go to a side output ([`crate::BadLines::SideOutput`]).
    /// What is not UTF-8 in it is replaced. Returns whether the turn is over.
    fn bad_line(&mut self, line: &str) -> bool {
        let _ = line;
        self.skip()
    }
}
