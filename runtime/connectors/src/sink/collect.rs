//! Records kept for whoever started the job: for tests.

use std::{
    fmt, mem,
    sync::{Arc, Mutex, PoisonError},
};

use wiesel_core::TaskFailure;
use wiesel_record::{Item, Record};
use wiesel_shard::Shard;

use super::{Sink, SinkWriter, WriterContext, WriterStatus};

/// Records of a writer before they are shared with the others.
const BATCH_RECORDS: usize = 1024;

/// A sink that keeps its records in memory.
///
/// ```
/// use wiesel_connectors::CollectSink;
///
/// let (sink, collected) = CollectSink::<u64>::new();
/// // … a job with this sink has run …
/// assert!(collected.take().is_empty());
/// # let _ = sink;
/// ```
pub struct CollectSink<T> {
    shared: Arc<Mutex<Vec<T>>>,
}

/// What a [`CollectSink`] has collected.
pub struct CollectedRecords<T> {
    shared: Arc<Mutex<Vec<T>>>,
}

impl<T: Record> CollectSink<T> {
    /// A sink, and where its records will be.
    pub fn new() -> (Self, CollectedRecords<T>) {
        let shared = Arc::default();
        (Self { shared: Arc::clone(&shared) }, CollectedRecords { shared })
    }
}

impl<T> CollectedRecords<T> {
    /// Takes what there is: everything, once the job has finished. In the order of each subtask; of different ones,
    /// in any order.
    pub fn take(&self) -> Vec<T> {
        mem::take(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T> Clone for CollectSink<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> fmt::Debug for CollectSink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CollectSink")
    }
}

impl<T> fmt::Debug for CollectedRecords<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CollectedRecords")
    }
}

impl<T: Record> Sink for CollectSink<T> {
    type Record = T;
    type Writer = CollectWriter<T>;

    fn writer(&self, _context: &WriterContext) -> CollectWriter<T> {
        CollectWriter { shared: Arc::clone(&self.shared), batch: Vec::new(), finished: false }
    }

    fn describe(&self) -> String {
        "collect".to_owned()
    }
}

/// See [`CollectSink`].
pub struct CollectWriter<T> {
    shared: Arc<Mutex<Vec<T>>>,
    batch: Vec<T>,
    finished: bool,
}

impl<T: Record> SinkWriter<T> for CollectWriter<T> {
    fn write<I: Item<T>>(&mut self, item: I) {
        self.batch.push(item.into_owned());
        if self.batch.len() >= BATCH_RECORDS {
            self.flush();
        }
    }

    fn wants_pause(&self) -> bool {
        false
    }

    fn flush(&mut self) {
        if !self.batch.is_empty() {
            self.shared.lock().unwrap_or_else(PoisonError::into_inner).append(&mut self.batch);
        }
    }

    fn poll(&mut self, _shard: &Shard) -> Result<WriterStatus, TaskFailure> {
        match self.finished {
            true => Ok(WriterStatus::Finished),
            false => Ok(WriterStatus::Idle),
        }
    }

    fn finish(&mut self) {
        self.flush();
        self.finished = true;
    }
}

#[cfg(test)]
mod tests {
    use wiesel_core::SubtaskIndex;
    use wiesel_record::Owned;

    use super::*;

    #[test]
    fn everything_is_there_after_the_end() {
        let (sink, collected) = CollectSink::<u64>::new();
        let writer = |subtask| {
            sink.writer(&WriterContext {
                subtask: SubtaskIndex(subtask),
                parallelism: 2,
                shard: Shard::detached(),
                takes_checkpoints: false,
            })
        };
        let mut writers = [writer(0), writer(1)];
        for number in 0..5_000 {
            writers[(number % 2) as usize].write(Owned(number));
        }
        writers.iter_mut().for_each(SinkWriter::<u64>::finish);
        let shard = Shard::detached();
        assert!(writers.iter_mut().all(|w| w.poll(&shard).ok() == Some(WriterStatus::Finished)));
        let mut numbers = collected.take();
        numbers.sort_unstable();
        assert_eq!(numbers, Vec::from_iter(0..5_000));
        assert!(collected.take().is_empty());
    }
}
