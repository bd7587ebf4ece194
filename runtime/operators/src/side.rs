//! Side outputs: a second, typed way out of a vertex, for late records, bad lines, and what a process
//! function puts aside. Rare by nature, so one dynamic call per record is paid here.

use std::time::Duration;

use wiesel_core::{CheckpointId, Meta, Nanos, TaskFailure, Timestamp};
use wiesel_record::{Record, Viewed};

use crate::{Output, OutputPort, Status};

/// An output whose type is only known by its records.
pub trait SideOutput<S: Record>: OutputPort {
    /// Takes one record.
    fn emit(&mut self, view: S::View<'_>, meta: Meta);

    /// Takes a watermark.
    fn watermark(&mut self, watermark: Timestamp);

    /// Takes a change of status.
    fn status(&mut self, status: Status);
}

/// A side output that erases `O`.
struct Erased<O>(O);

impl<O: OutputPort> OutputPort for Erased<O> {
    fn poll(&mut self, now: Nanos) -> bool {
        self.0.poll(now)
    }
    fn is_ready(&self) -> bool {
        self.0.is_ready()
    }
    fn flush(&mut self) {
        self.0.flush();
    }
    fn flush_aged(&mut self, now: Nanos, age: Duration) {
        self.0.flush_aged(now, age);
    }
    fn barrier(&mut self, checkpoint: CheckpointId) {
        self.0.barrier(checkpoint);
    }
    fn is_pre_committed(&self) -> bool {
        self.0.is_pre_committed()
    }
    fn completed(&mut self, checkpoint: CheckpointId) {
        self.0.completed(checkpoint);
    }
    fn end(&mut self) {
        self.0.end();
    }
    fn is_drained(&self) -> bool {
        self.0.is_drained()
    }
    fn take_failure(&mut self) -> Option<TaskFailure> {
        self.0.take_failure()
    }
}

impl<S: Record, O: Output<S>> SideOutput<S> for Erased<O> {
    fn emit(&mut self, view: S::View<'_>, meta: Meta) {
        self.0.append(Viewed::<S>(view), meta);
    }
    fn watermark(&mut self, watermark: Timestamp) {
        self.0.watermark(watermark);
    }
    fn status(&mut self, status: Status) {
        self.0.status(status);
    }
}

/// `output` as a side output.
pub fn side_output<S: Record>(output: impl Output<S>) -> Box<dyn SideOutput<S>> {
    Box::new(Erased(output))
}
