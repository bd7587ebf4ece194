//! Where the records go that came too late for all of their windows.

use std::sync::Arc;

use wiesel_core::{Meta, Timestamp, metrics::TaskMetrics};
use wiesel_record::Record;

use crate::{OutputPort, SideOutput, Status, TaskContext};

/// The side output for late records; without one they are counted (`numLateRecordsDropped`).
pub(crate) struct LateRecords<T: Record> {
    side: Option<Box<dyn SideOutput<T>>>,
    metrics: Arc<TaskMetrics>,
}

impl<T: Record> LateRecords<T> {
    /// To the side output in `slot`, if one was asked for and somebody reads it.
    pub(crate) fn new(slot: Option<usize>, context: &TaskContext) -> Self {
        let side = slot.and_then(|slot| context.take_side::<T>(slot));
        Self { side, metrics: Arc::clone(context.metrics()) }
    }

    /// Takes one that stands for `weight` records.
    #[cold]
    pub(crate) fn take(&mut self, value: T::View<'_>, meta: Meta, weight: u64) {
        match &mut self.side {
            Some(side) => side.emit(value, meta),
            None => self.metrics.late_records_dropped.add(weight),
        }
    }

    /// Shows the side output.
    pub(crate) fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        if let Some(side) = &mut self.side {
            visit(side.as_mut());
        }
    }

    /// What goes on goes there too.
    pub(crate) fn watermark(&mut self, watermark: Timestamp) {
        if let Some(side) = &mut self.side {
            side.watermark(watermark);
        }
    }

    /// As [`watermark`](Self::watermark), for the status.
    pub(crate) fn status(&mut self, status: Status) {
        if let Some(side) = &mut self.side {
            side.status(status);
        }
    }
}
