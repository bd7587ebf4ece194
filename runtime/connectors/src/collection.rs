//! Records that are in memory already: for tests and first steps.
//!
//! Each reader gets a run of the collection; the runs are handed out in order.

use std::{collections::VecDeque, sync::Arc};

use wiesel_core::{TaskFailure, Timestamp};
use wiesel_record::Record;
use wiesel_shard::Shard;

use crate::{
    Discovery, ReaderContext, ReaderStatus, Source, SourceOutput, SourceReader, SplitEnumerator,
    SplitPayload,
    codec::{Words, malformed, put_u64},
    enumerators::{Ordered, SplitPlan},
};

/// A source of records in memory. They are emitted by reference: none is cloned.
///
/// ```
/// use wiesel_connectors::Collection;
///
/// let source = Collection::new(vec![3_u64, 1, 2]);
/// # let _ = source;
/// ```
#[derive(Debug)]
pub struct Collection<T> {
    records: Arc<Vec<(T, Option<Timestamp>)>>,
}

impl<T> Collection<T> {
    /// These records.
    pub fn new(records: impl IntoIterator<Item = T>) -> Self {
        Self { records: Arc::new(records.into_iter().map(|record| (record, None)).collect()) }
    }

    /// These records, with their event times.
    pub fn with_times(records: impl IntoIterator<Item = (T, Timestamp)>) -> Self {
        let timed = records.into_iter().map(|(record, time)| (record, Some(time)));
        Self { records: Arc::new(timed.collect()) }
    }
}

impl<T> Clone for Collection<T> {
    fn clone(&self) -> Self {
        Self { records: Arc::clone(&self.records) }
    }
}

impl<T: Record + Sync> Source for Collection<T> {
    type Record = T;
    type Reader = CollectionReader<T>;

    fn enumerator(
        &self,
        parallelism: u32,
        _discovery: &dyn Discovery,
    ) -> Result<Box<dyn SplitEnumerator>, TaskFailure> {
        let (length, count) = (self.records.len() as u64, u64::from(parallelism));
        Ok(Box::new(Ordered::new(Runs { length, count })))
    }

    fn reader(&self, _context: &ReaderContext) -> CollectionReader<T> {
        CollectionReader {
            records: Arc::clone(&self.records),
            runs: VecDeque::new(),
            no_more_splits: false,
            last: None,
        }
    }

    fn describe(&self) -> String {
        format!("collection of {} records", self.records.len())
    }

    fn is_bounded(&self) -> bool {
        true
    }
}

/// So many runs of about the same length.
struct Runs {
    length: u64,
    count: u64,
}

impl SplitPlan for Runs {
    fn count(&self) -> u64 {
        self.count
    }

    fn split(&self, index: u64) -> SplitPayload {
        let at =
            |index| (u128::from(self.length) * u128::from(index) / u128::from(self.count)) as u64;
        encode(at(index)..at(index + 1))
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        put_u64(bytes, self.length);
        put_u64(bytes, self.count);
    }

    /// Only of a collection that is as long.
    fn read(&self, words: &mut Words<'_>) -> Option<Self> {
        let runs = Self { length: words.u64()?, count: words.u64()? };
        (runs.length == self.length && runs.count > 0).then_some(runs)
    }
}

fn encode(run: std::ops::Range<u64>) -> SplitPayload {
    let mut bytes = Vec::new();
    put_u64(&mut bytes, run.start);
    put_u64(&mut bytes, run.end);
    SplitPayload(bytes)
}

/// See [`Collection`].
pub struct CollectionReader<T> {
    records: Arc<Vec<(T, Option<Timestamp>)>>,
    runs: VecDeque<std::ops::Range<u64>>,
    no_more_splits: bool,
    last: Option<u64>,
}

impl<T: Record + Sync> SourceReader<T> for CollectionReader<T> {
    fn poll<S: SourceOutput<T>>(
        &mut self,
        _shard: &Shard,
        out: &mut S,
    ) -> Result<ReaderStatus, TaskFailure> {
        while let Some(run) = self.runs.front_mut() {
            while run.start < run.end {
                let (record, time) = &self.records[run.start as usize];
                self.last = Some(run.start);
                run.start += 1;
                if out.collect(record, *time) {
                    return Ok(ReaderStatus::MoreAvailable);
                }
            }
            self.runs.pop_front();
        }
        Ok(match self.no_more_splits {
            true => ReaderStatus::Finished,
            false => ReaderStatus::NeedSplit,
        })
    }

    fn add_split(&mut self, split: SplitPayload) -> Result<(), TaskFailure> {
        let mut words = Words(&split.0);
        let run = words.u64().zip(words.u64()).map(|(start, end)| start..end);
        let run = run.and_then(|run| words.end(run));
        let length = self.records.len() as u64;
        let run = run.filter(|run| run.start <= run.end && run.end <= length);
        self.runs.push_back(run.ok_or_else(|| malformed("a split"))?);
        Ok(())
    }

    fn sort(splits: &mut [SplitPayload]) {
        splits.sort_by_key(|split| Words(&split.0).u64());
    }

    fn no_more_splits(&mut self) {
        self.no_more_splits = true;
    }

    fn unread(&self) -> Vec<SplitPayload> {
        self.runs.iter().filter(|run| !run.is_empty()).cloned().map(encode).collect()
    }

    fn position(&self) -> Option<String> {
        self.last.map(|index| format!("record {index} of the collection"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        MachineDiscovery,
        testing::{Collected, context, read_all},
    };

    #[test]
    fn every_record_once_in_turns_of_any_length() {
        for length in [0, 1, 2, 10] {
            for (turn_records, restore) in [(0, false), (1, true), (3, true)] {
                let source = Collection::new(0..length);
                let mut out = Collected { turn_records, ..Collected::default() };
                let read = read_all(&source, &Arc::default(), &mut out, restore);
                assert!(read.is_ok());
                assert_eq!(out.records, Vec::from_iter(0..length));
            }
        }
    }

    #[test]
    fn runs_cover_the_collection() {
        let source = Collection::new(0..10_u32);
        let mut enumerator = source.enumerator(4, &MachineDiscovery).expect("in memory");
        let mut reader = source.reader(&context(&Arc::default()));
        let subtask = wiesel_core::SubtaskIndex(0);
        for _ in 0..4 {
            let crate::Assignment::Split(split) = enumerator.request_split(subtask) else {
                panic!("four runs");
            };
            reader.add_split(split).expect("a run");
        }
        assert_eq!(reader.runs, [0..2, 2..5, 5..7, 7..10]);
        let (last, end) = (10, 3);
        for bad in [vec![], vec![0; 15], encode(3..11).0, encode(last..end).0] {
            assert!(reader.add_split(SplitPayload(bad)).is_err());
        }
    }
}
