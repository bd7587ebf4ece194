//! For tests: an output that collects, and a loop that polls a reader to its end.

use std::sync::Arc;

use wiesel_core::{SubtaskIndex, TaskFailure, Timestamp, metrics::TaskMetrics};
use wiesel_record::{Item, Record};
use wiesel_shard::Shard;

use crate::{
    Assignment, MachineDiscovery, ReaderContext, ReaderStatus, Source, SourceOutput, SourceReader,
};

/// Collects what is read; the turn is over after every `turn_records` records (never, if 0).
pub(crate) struct Collected<T> {
    pub(crate) records: Vec<T>,
    pub(crate) bad: Vec<String>,
    pub(crate) turn_records: usize,
}

impl<T> Default for Collected<T> {
    fn default() -> Self {
        Self { records: Vec::new(), bad: Vec::new(), turn_records: 0 }
    }
}

impl<T: Record> SourceOutput<T> for Collected<T> {
    fn collect<I: Item<T>>(&mut self, item: I, _time: Option<Timestamp>) -> bool {
        self.records.push(item.into_owned());
        self.turn_records != 0 && self.records.len().is_multiple_of(self.turn_records)
    }

    fn skip(&mut self) -> bool {
        self.turn_records == 1
    }

    fn bad_line(&mut self, line: &str) -> bool {
        self.bad.push(line.to_owned());
        self.turn_records == 1
    }
}

pub(crate) fn context(metrics: &Arc<TaskMetrics>) -> ReaderContext {
    ReaderContext { subtask: SubtaskIndex(0), parallelism: 1, metrics: Arc::clone(metrics) }
}

/// Reads a source to its end with one reader. With `restore`, a fresh reader goes on from the unread splits after
/// every turn.
pub(crate) fn read_all<S: Source>(
    source: &S,
    metrics: &Arc<TaskMetrics>,
    out: &mut Collected<S::Record>,
    restore: bool,
) -> Result<Option<String>, TaskFailure> {
    let shard = Shard::detached();
    let mut enumerator = source.enumerator(1, &MachineDiscovery)?;
    let mut reader = source.reader(&context(metrics));
    let mut no_more_splits = false;
    loop {
        shard.look();
        match reader.poll(&shard, out)? {
            ReaderStatus::MoreAvailable if restore => {
                let unread = reader.unread();
                reader = source.reader(&context(metrics));
                unread.into_iter().try_for_each(|split| reader.add_split(split))?;
                if no_more_splits {
                    reader.no_more_splits();
                }
            }
            ReaderStatus::MoreAvailable | ReaderStatus::Waiting(_) => {}
            ReaderStatus::NeedSplit => match enumerator.request_split(SubtaskIndex(0)) {
                Assignment::Split(split) => reader.add_split(split)?,
                Assignment::NoMoreSplits | Assignment::Later => {
                    no_more_splits = true;
                    reader.no_more_splits();
                }
            },
            ReaderStatus::Finished => return Ok(reader.position()),
        }
    }
}
