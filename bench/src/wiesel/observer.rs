//! What the writers of the jobs have in common: they write nothing, and hand over once what they saw.
//!
//! ```text
//!   write, write … ─▶ Observe::see      finish ─▶ Observe::end, the first time; from then on it is finished
//! ```

use wiesel::{
    Item, Record, TaskFailure,
    connectors::{SinkWriter, WriterStatus},
    shard::Shard,
};

/// What one subtask does with its outputs.
pub trait Observe<T: Record>: 'static {
    /// Looks at one.
    fn see(&mut self, output: T::View<'_>);

    /// Hands over what it saw. There are no more outputs, and this is called once.
    fn end(&mut self);
}

/// The writer of a subtask that only looks.
pub struct Observer<O> {
    observe: O,
    is_finished: bool,
}

impl<O> Observer<O> {
    /// A writer that has seen nothing.
    pub fn new(observe: O) -> Self {
        Self { observe, is_finished: false }
    }
}

impl<T: Record, O: Observe<T>> SinkWriter<T> for Observer<O> {
    #[inline(always)]
    fn write<I: Item<T>>(&mut self, item: I) {
        self.observe.see(item.view());
    }

    #[inline(always)]
    fn wants_pause(&self) -> bool {
        false
    }

    fn flush(&mut self) {}

    fn poll(&mut self, _shard: &Shard) -> Result<WriterStatus, TaskFailure> {
        Ok(if self.is_finished { WriterStatus::Finished } else { WriterStatus::Idle })
    }

    fn finish(&mut self) {
        if !self.is_finished {
            self.is_finished = true;
            self.observe.end();
        }
    }
}
