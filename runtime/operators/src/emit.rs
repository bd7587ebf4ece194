//! Where a chain ends: in one output, or in several that each take every record.

use std::marker::PhantomData;

use wiesel_core::{Meta, Nanos, TaskFailure, Timestamp};
use wiesel_record::{Item, Record};

use crate::{
    Control, Link, Output, OutputPort, Progress, SAMPLED_RECORD, Snapshot, Stage, Status,
    TaskContext, VisitList,
};

/// The last link of a chain that ends in one output.
pub struct End<T, O> {
    output: O,
    /// Records since the last tick: counted here, so that a push touches nothing but the chain.
    pushed: u64,
    context: TaskContext,
    types: PhantomData<fn(T)>,
}

impl<T: Record, O: Output<T>> End<T, O> {
    /// Ends a chain in `output`.
    pub fn new(output: O, context: &TaskContext) -> Self {
        Self { output, pushed: 0, context: context.clone(), types: PhantomData }
    }

    fn count(&mut self) {
        self.context.metrics().records_out.add(std::mem::take(&mut self.pushed));
    }
}

impl<T: Record, O: Output<T>> Control for End<T, O> {
    fn open(&mut self) -> Result<(), TaskFailure> {
        Ok(())
    }

    fn close(&mut self) {}

    fn watermark(&mut self, watermark: Timestamp) -> Progress {
        self.output.watermark(watermark);
        Progress::Done
    }

    fn status(&mut self, status: Status) {
        self.output.status(status);
    }

    fn tick(&mut self, _now: Nanos, _is_idle: bool) {
        self.count();
    }

    fn finish(&mut self) -> Progress {
        self.count();
        Progress::Done
    }

    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        visit(&mut self.output);
    }

    fn snapshot(&mut self, _snapshot: &mut Snapshot) {}

    fn lists(&mut self, _visit: &mut VisitList<'_>) {}

    async fn restore(&mut self, _snapshot: &Snapshot) -> Result<(), TaskFailure> {
        Ok(())
    }
}

impl<T: Record, O: Output<T>> Link<T> for End<T, O> {
    // Always: a view that goes through a call is stored and loaded again.
    #[inline(always)]
    fn push<I: Item<T>>(&mut self, item: I, meta: Meta) {
        self.pushed += 1;
        let is_timed = self.pushed == SAMPLED_RECORD;
        let started = if is_timed { self.context.stopwatch().read() } else { Nanos(0) };
        self.output.append(item, meta);
        if is_timed {
            self.context.stopwatch().count_since(started, Stage::Serialise);
        }
    }
}

/// The last link of a chain whose stream is shared: each push is appended to every output.
pub struct FanOut<T, O> {
    outputs: Vec<O>,
    context: TaskContext,
    types: PhantomData<fn(T)>,
}

impl<T: Record, O: Output<T>> FanOut<T, O> {
    /// Ends a chain in all of `outputs`.
    pub fn new(outputs: Vec<O>, context: &TaskContext) -> Self {
        Self { outputs, context: context.clone(), types: PhantomData }
    }
}

impl<T: Record, O: Output<T>> Control for FanOut<T, O> {
    fn open(&mut self) -> Result<(), TaskFailure> {
        Ok(())
    }

    fn close(&mut self) {}

    fn watermark(&mut self, watermark: Timestamp) -> Progress {
        self.outputs.iter_mut().for_each(|output| output.watermark(watermark));
        Progress::Done
    }

    fn status(&mut self, status: Status) {
        self.outputs.iter_mut().for_each(|output| output.status(status));
    }

    fn tick(&mut self, _now: Nanos, _is_idle: bool) {}

    fn finish(&mut self) -> Progress {
        Progress::Done
    }

    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        self.outputs.iter_mut().for_each(|output| visit(output));
    }

    fn snapshot(&mut self, _snapshot: &mut Snapshot) {}

    fn lists(&mut self, _visit: &mut VisitList<'_>) {}

    async fn restore(&mut self, _snapshot: &Snapshot) -> Result<(), TaskFailure> {
        Ok(())
    }
}

/// An item lent to one of several outputs.
pub(crate) struct Lent<'i, I>(pub(crate) &'i I);

impl<T: Record, I: Item<T>> Item<T> for Lent<'_, I> {
    #[inline]
    fn view(&self) -> T::View<'_> {
        self.0.view()
    }

    #[inline]
    fn into_owned(self) -> T {
        T::from_view(self.0.view())
    }

    #[inline]
    fn write(
        &self,
        writer: &mut wiesel_record::RecordWriter<'_>,
    ) -> Result<wiesel_record::Region, wiesel_record::Full> {
        self.0.write(writer)
    }
}

impl<T: Record, O: Output<T>> Link<T> for FanOut<T, O> {
    #[inline]
    fn push<I: Item<T>>(&mut self, item: I, meta: Meta) {
        self.context.metrics().records_out.add(self.outputs.len() as u64);
        for output in &mut self.outputs {
            output.append(Lent(&item), meta);
        }
    }
}
