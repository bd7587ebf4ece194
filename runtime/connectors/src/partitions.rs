//! Records in memory, in partitions that are read side by side, as those of a log: for tests of what partitions do.
//!
//! ```text
//!   partition 0   a b c d e f      reader 0   reads its partitions in turns, `visit` records of each:
//!   partition 1   g h                         a b m n c d o …
//!   partition 2   m n o p          reader 1   …
//! ```
//!
//! # What is always true
//!
//! 1. Partition `i` goes to reader `i % p`. A reader reads nothing before it has all of its partitions.
//! 2. Each partition is a split of its own: it has watermarks of its own, and is paused on its own by alignment.
//! 3. The records of a partition are read in their order, each once, also after a restart at another parallelism.

use std::{collections::VecDeque, sync::Arc};

use wiesel_core::TaskFailure;
use wiesel_record::Record;
use wiesel_shard::Shard;

use crate::{
    Discovery, Pinned, ReaderContext, ReaderStatus, Source, SourceOutput, SourceReader,
    SplitEnumerator, SplitPayload,
    codec::{Words, malformed, put_u64},
};

/// Records of one partition in a row, unless [`Partitions::visit`] says otherwise.
const VISIT_RECORDS: usize = 64;

/// A source of partitions in memory.
///
/// ```
/// use wiesel_connectors::Partitions;
///
/// // Two partitions whose times are an hour apart.
/// let clicks = Partitions::new([vec![1_u64, 2, 3], vec![3_600_001, 3_600_002]]).visit(1);
/// # let _ = clicks;
/// ```
#[derive(Debug)]
pub struct Partitions<T> {
    partitions: Arc<Vec<Vec<T>>>,
    visit: usize,
}

impl<T> Partitions<T> {
    /// One partition for each list.
    pub fn new(partitions: impl IntoIterator<Item = Vec<T>>) -> Self {
        let partitions = Arc::new(partitions.into_iter().collect());
        Self { partitions, visit: VISIT_RECORDS }
    }

    /// How many records of a partition are read before the next one has its turn. At least 1.
    #[must_use]
    pub fn visit(self, records: usize) -> Self {
        Self { visit: records.max(1), ..self }
    }
}

impl<T> Clone for Partitions<T> {
    fn clone(&self) -> Self {
        Self { partitions: Arc::clone(&self.partitions), visit: self.visit }
    }
}

impl<T: Record + Sync> Source for Partitions<T> {
    type Record = T;
    type Reader = PartitionsReader<T>;

    fn enumerator(
        &self,
        parallelism: u32,
        _discovery: &dyn Discovery,
    ) -> Result<Box<dyn SplitEnumerator>, TaskFailure> {
        let splits = (0..self.partitions.len()).map(|partition| encode(partition, 0));
        Ok(Box::new(Pinned::dealt(splits, parallelism)))
    }

    fn reader(&self, _context: &ReaderContext) -> PartitionsReader<T> {
        PartitionsReader {
            partitions: Arc::clone(&self.partitions),
            visit: self.visit,
            splits: VecDeque::new(),
            visited: 0,
            no_more_splits: false,
            is_named: false,
            last: None,
        }
    }

    fn describe(&self) -> String {
        format!("{} partitions in memory", self.partitions.len())
    }

    fn is_bounded(&self) -> bool {
        true
    }
}

fn encode(partition: usize, next: usize) -> SplitPayload {
    let mut bytes = Vec::new();
    put_u64(&mut bytes, partition as u64);
    put_u64(&mut bytes, next as u64);
    SplitPayload(bytes)
}

/// The rest of a partition.
#[derive(Clone, Copy, Debug)]
struct Rest {
    partition: usize,
    next: usize,
}

/// See [`Partitions`].
pub struct PartitionsReader<T> {
    partitions: Arc<Vec<Vec<T>>>,
    visit: usize,
    /// The first is read.
    splits: VecDeque<Rest>,
    /// Records that the first has had in a row.
    visited: usize,
    no_more_splits: bool,
    /// All splits were named.
    is_named: bool,
    last: Option<Rest>,
}

impl<T: Record + Sync> PartitionsReader<T> {
    /// Puts the next partition that may be read in front; says whether there is one.
    fn choose<S: SourceOutput<T>>(&mut self, out: &mut S) -> bool {
        for _ in 0..self.splits.len() {
            let Some(first) = self.splits.front() else { break };
            let is_paused = out.is_paused(first.partition as u32);
            if self.visited < self.visit && !is_paused {
                return true;
            }
            self.splits.rotate_left(1);
            self.visited = 0;
            if let Some(first) = self.splits.front() {
                out.split(first.partition as u32);
            }
        }
        self.splits.front().is_some_and(|first| !out.is_paused(first.partition as u32))
    }
}

impl<T: Record + Sync> SourceReader<T> for PartitionsReader<T> {
    fn poll<S: SourceOutput<T>>(
        &mut self,
        _shard: &Shard,
        out: &mut S,
    ) -> Result<ReaderStatus, TaskFailure> {
        if !self.no_more_splits {
            return Ok(ReaderStatus::NeedSplit);
        }
        if !std::mem::replace(&mut self.is_named, true) {
            // The last to be named is the one that is read.
            self.splits.iter().rev().for_each(|rest| out.split(rest.partition as u32));
        }
        while !self.splits.is_empty() {
            if !self.choose(out) {
                return Ok(ReaderStatus::Waiting(None));
            }
            let Some(rest) = self.splits.front_mut() else { break };
            let partition = &self.partitions[rest.partition];
            if let Some(record) = partition.get(rest.next) {
                self.last = Some(*rest);
                rest.next += 1;
                self.visited += 1;
                if out.collect(record, None) {
                    return Ok(ReaderStatus::MoreAvailable);
                }
                continue;
            }
            out.split_ended(rest.partition as u32);
            self.splits.pop_front();
            self.visited = 0;
            if let Some(first) = self.splits.front() {
                out.split(first.partition as u32);
            }
        }
        Ok(ReaderStatus::Finished)
    }

    fn add_split(&mut self, split: SplitPayload) -> Result<(), TaskFailure> {
        let mut words = Words(&split.0);
        let split = words.u64().zip(words.u64()).and_then(|split| words.end(split));
        let rest = split.and_then(|(partition, next)| {
            let (partition, next) = (usize::try_from(partition).ok()?, usize::try_from(next).ok()?);
            let length = self.partitions.get(partition)?.len();
            (next <= length).then_some(Rest { partition, next })
        });
        self.splits.push_back(rest.ok_or_else(|| malformed("a split"))?);
        self.is_named = false;
        Ok(())
    }

    fn no_more_splits(&mut self) {
        self.no_more_splits = true;
    }

    fn unread(&self) -> Vec<SplitPayload> {
        self.splits.iter().map(|rest| encode(rest.partition, rest.next)).collect()
    }

    fn position(&self) -> Option<String> {
        self.last.map(|Rest { partition, next }| format!("partition {partition}, record {next}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Collected, context, read_all};

    fn source() -> Partitions<u32> {
        Partitions::new([(0..7).collect(), Vec::new(), (100..103).collect()]).visit(2)
    }

    #[test]
    fn partitions_are_read_in_turns() {
        let mut out = Collected::default();
        let last = read_all(&source(), &Arc::default(), &mut out, false);
        assert_eq!(out.records, [0, 1, 100, 101, 2, 3, 102, 4, 5, 6]);
        assert_eq!(last.ok().flatten().as_deref(), Some("partition 0, record 6"));
    }

    #[test]
    fn every_record_once_in_turns_of_any_length() {
        for (turn_records, restore) in [(1, false), (1, true), (3, true), (4, false)] {
            let mut out = Collected { turn_records, ..Collected::default() };
            let read = read_all(&source(), &Arc::default(), &mut out, restore);
            assert!(read.is_ok());
            out.records.sort_unstable();
            assert_eq!(out.records, [0, 1, 2, 3, 4, 5, 6, 100, 101, 102]);
        }
    }

    #[test]
    fn a_strange_split_is_refused() {
        let mut reader = source().reader(&context(&Arc::default()));
        for bad in [vec![], vec![0; 15], encode(3, 0).0, encode(0, 8).0] {
            assert!(reader.add_split(SplitPayload(bad)).is_err());
        }
        assert!(reader.add_split(encode(0, 7)).is_ok());
    }
}
