//! Standard output: a line per record.
//!
//! Whole lines are written, at most 4 KiB of them at once, so that those of several subtasks and sinks do not mix. A line that
//! is longer may be mixed with others in a pipe. A file that standard output leads to is appended to. A closed pipe is no failure.

use std::{fmt, marker::PhantomData};

use wiesel_core::{Blame, CheckpointId, TaskFailure};
use wiesel_record::{Item, Record};
use wiesel_shard::{File, Shard};

use super::{
    AsDebug, AsLines, Encode, Formatted, Sink, SinkWriter, WriterContext, WriterStatus,
    outbox::Outbox,
};

/// A sink of lines on standard output.
///
/// ```
/// use wiesel_connectors::StdoutSink;
///
/// let words = StdoutSink::lines();
/// let counts = StdoutSink::<(String, u64), _>::formatted(|(word, count), out| {
///     write!(out, "{word} {count}")
/// });
/// # let _ = (words, counts);
/// ```
#[derive(Debug)]
pub struct StdoutSink<T, E> {
    encode: E,
    types: PhantomData<fn(T)>,
}

impl StdoutSink<String, AsLines> {
    /// Strings as lines.
    pub fn lines() -> Self {
        Self::new(AsLines)
    }
}

impl<T: Record> StdoutSink<T, AsDebug> {
    /// Records as `{:?}` writes their views.
    pub fn debug() -> Self {
        Self::new(AsDebug)
    }
}

impl<T: Record, F> StdoutSink<T, Formatted<F>>
where
    F: for<'a> Fn(T::View<'a>, &mut dyn fmt::Write) -> fmt::Result + Clone + Send + 'static,
{
    /// Records as `format` writes their views; the end of the line is added.
    pub fn formatted(format: F) -> Self {
        Self::new(Formatted(format))
    }
}

impl<T: Record, E: Encode<T>> StdoutSink<T, E> {
    /// Records as `encode` writes them.
    pub fn new(encode: E) -> Self {
        Self { encode, types: PhantomData }
    }
}

impl<T, E: Clone> Clone for StdoutSink<T, E> {
    fn clone(&self) -> Self {
        Self { encode: self.encode.clone(), types: PhantomData }
    }
}

impl<T: Record, E: Encode<T>> Sink for StdoutSink<T, E> {
    type Record = T;
    type Writer = StdoutWriter<E>;

    fn writer(&self, _context: &WriterContext) -> StdoutWriter<E> {
        let outbox = Outbox::stream(File::stdout());
        StdoutWriter { lines: LineWriter::new(self.encode.clone(), outbox) }
    }

    fn describe(&self) -> String {
        format!("{} to stdout", self.encode.name())
    }
}

/// See [`StdoutSink`].
pub struct StdoutWriter<E> {
    lines: LineWriter<E>,
}

/// An encoder in front of an outbox, and the first failure of the encoder.
pub(super) struct LineWriter<E> {
    encode: E,
    outbox: Outbox,
    failure: Option<TaskFailure>,
}

impl<E> LineWriter<E> {
    pub(super) fn new(encode: E, outbox: Outbox) -> Self {
        Self { encode, outbox, failure: None }
    }

    #[inline]
    pub(super) fn write<T: Record, I: Item<T>>(&mut self, item: I)
    where
        E: Encode<T>,
    {
        let bytes = self.outbox.open();
        let start = bytes.len();
        if let Err(error) = self.encode.encode(item, bytes) {
            bytes.truncate(start);
            let failure = TaskFailure::new(Blame::Job, "write a record as text", error);
            self.failure.get_or_insert(failure);
        }
    }

    #[inline]
    pub(super) fn wants_pause(&self) -> bool {
        self.outbox.wants_pause() || self.failure.is_some()
    }

    pub(super) fn flush(&mut self) {
        self.outbox.flush();
    }

    pub(super) fn poll(&mut self, shard: &Shard) -> Result<WriterStatus, TaskFailure> {
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => self.outbox.poll(shard),
        }
    }

    pub(super) fn finish(&mut self) {
        self.outbox.finish();
    }

    /// Whether nothing was ever written.
    pub(super) fn is_untouched(&self) -> bool {
        self.outbox.is_untouched() && self.failure.is_none()
    }

    /// What was written so far has to be where its reader can see it: at least once.
    pub(super) fn mark(&mut self) {
        self.outbox.mark();
    }

    pub(super) fn is_past_mark(&self) -> bool {
        self.outbox.is_past_mark()
    }
}

impl<T: Record, E: Encode<T>> SinkWriter<T> for StdoutWriter<E> {
    #[inline]
    fn write<I: Item<T>>(&mut self, item: I) {
        self.lines.write(item);
    }

    #[inline]
    fn wants_pause(&self) -> bool {
        self.lines.wants_pause()
    }

    fn flush(&mut self) {
        self.lines.flush();
    }

    fn pre_commit(&mut self, _checkpoint: CheckpointId) {
        self.lines.mark();
    }

    fn is_pre_committed(&self) -> bool {
        self.lines.is_past_mark()
    }

    fn poll(&mut self, shard: &Shard) -> Result<WriterStatus, TaskFailure> {
        self.lines.poll(shard)
    }

    fn finish(&mut self) {
        self.lines.finish();
    }
}
