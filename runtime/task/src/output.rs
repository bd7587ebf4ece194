//! A result partition as the end of a chain sees it.

use std::{marker::PhantomData, time::Duration};

use wiesel_core::{Blame, CheckpointId, Meta, Nanos, TaskFailure, Timestamp};
use wiesel_exchange::ResultPartition;
use wiesel_operators::{Output, OutputPort, Status};
use wiesel_record::{Item, Record};

/// One output edge of a task, for records of type `T`.
pub struct PartitionOutput<T> {
    partition: ResultPartition,
    types: PhantomData<fn(T)>,
}

impl<T: Record> PartitionOutput<T> {
    /// Appends records of `T` to `partition`.
    pub fn new(partition: ResultPartition) -> Self {
        Self { partition, types: PhantomData }
    }
}

impl<T: Record> OutputPort for PartitionOutput<T> {
    fn poll(&mut self, _now: Nanos) -> bool {
        self.partition.poll()
    }

    fn is_ready(&self) -> bool {
        self.partition.may_take_data()
    }

    fn flush(&mut self) {
        self.partition.flush();
    }

    fn flush_aged(&mut self, now: Nanos, age: Duration) {
        self.partition.flush_older_than(now, age);
    }

    fn barrier(&mut self, checkpoint: CheckpointId) {
        self.partition.barrier(checkpoint);
    }

    fn end(&mut self) {
        self.partition.end();
    }

    fn is_drained(&self) -> bool {
        self.partition.is_drained()
    }

    fn take_failure(&mut self) -> Option<TaskFailure> {
        self.partition
            .take_failure()
            .map(|error| TaskFailure::new(Blame::Job, "append a record to its partition", error))
    }
}

impl<T: Record> Output<T> for PartitionOutput<T> {
    #[inline(always)]
    fn append<I: Item<T>>(&mut self, item: I, meta: Meta) {
        self.partition.append::<T, I>(&item, meta);
    }

    fn watermark(&mut self, watermark: Timestamp) {
        self.partition.watermark(watermark);
    }

    fn status(&mut self, status: Status) {
        match status {
            Status::Active => self.partition.active(),
            Status::Idle => self.partition.idle(),
        }
    }
}
