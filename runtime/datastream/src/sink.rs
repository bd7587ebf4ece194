//! Where a stream leaves the job: sinks as the last link of a chain.

use std::{
    marker::PhantomData,
    path::{Path, PathBuf},
    time::Duration,
};

use wiesel_connectors::{
    AsJson, AsLines, CollectSink, CollectedRecords, Discovery, Encode, EncodeError, FileSink,
    FolderOwner, Sink, SinkWriter, StdoutSink, WriterContext, WriterStatus,
};
use wiesel_core::{Blame, CheckpointId, Meta, Nanos, SubtaskIndex, TaskFailure, Timestamp};
use wiesel_operators::{
    COMMITTABLES, Chain, Control, Link, OutputPort, Progress, Snapshot, Start, Status, TaskContext,
    VisitList,
};
use wiesel_record::{Item, Record};
use wiesel_task::BuildContext;

use crate::DataStream;

/// What a task was doing when nobody read its output any more. Not an error of the job: it ends quietly.
pub const OUTPUT_CLOSED: &str = "write: nobody reads the output any more";

/// Prepares the ground for a sink, in the JobMaster, before any task runs.
pub trait SinkPreparation: Send {
    /// See [`Sink::check`].
    ///
    /// # Errors
    ///
    /// If the ground is not fit, with what to do.
    fn check(&self, discovery: &dyn Discovery) -> Result<(), TaskFailure>;

    /// See [`Sink::own`].
    ///
    /// # Errors
    ///
    /// If another sink has it.
    fn own(&self, discovery: &dyn Discovery) -> Result<Option<FolderOwner>, TaskFailure>;

    /// Looks at the world and makes what is missing.
    ///
    /// # Errors
    ///
    /// If the ground is not fit, with what to do.
    fn prepare(&self, discovery: &dyn Discovery) -> Result<(), TaskFailure>;

    /// See [`Sink::commit`].
    ///
    /// # Errors
    ///
    /// If it cannot be committed.
    fn commit(
        &self,
        committables: &[Vec<u8>],
        discovery: &dyn Discovery,
    ) -> Result<(), TaskFailure>;

    /// See [`Sink::pin`].
    ///
    /// # Errors
    ///
    /// If it cannot be kept.
    fn pin(&self, committables: &[Vec<u8>], discovery: &dyn Discovery) -> Result<(), TaskFailure>;

    /// See [`Sink::clean_up`].
    ///
    /// # Errors
    ///
    /// If something cannot be removed.
    fn clean_up(
        &self,
        subtasks: Option<&[SubtaskIndex]>,
        discovery: &dyn Discovery,
    ) -> Result<(), TaskFailure>;

    /// See [`Sink::newest_visible`].
    ///
    /// # Errors
    ///
    /// If what is visible cannot be listed.
    fn newest_visible(
        &self,
        discovery: &dyn Discovery,
    ) -> Result<Option<CheckpointId>, TaskFailure>;

    /// See [`Sink::take_back`].
    ///
    /// # Errors
    ///
    /// If something of it stays visible.
    fn take_back(
        &self,
        checkpoint: CheckpointId,
        discovery: &dyn Discovery,
    ) -> Result<(), TaskFailure>;

    /// See [`Sink::folder`].
    fn folder(&self) -> Option<&Path>;

    /// Another one like this.
    fn clone_box(&self) -> Box<dyn SinkPreparation>;
}

impl Clone for Box<dyn SinkPreparation> {
    fn clone(&self) -> Self {
        self.as_ref().clone_box()
    }
}

#[derive(Clone)]
struct Preparation<S>(S);

impl<S: Sink> SinkPreparation for Preparation<S> {
    fn check(&self, discovery: &dyn Discovery) -> Result<(), TaskFailure> {
        self.0.check(discovery)
    }

    fn own(&self, discovery: &dyn Discovery) -> Result<Option<FolderOwner>, TaskFailure> {
        self.0.own(discovery)
    }

    fn prepare(&self, discovery: &dyn Discovery) -> Result<(), TaskFailure> {
        self.0.prepare(discovery)
    }

    fn commit(
        &self,
        committables: &[Vec<u8>],
        discovery: &dyn Discovery,
    ) -> Result<(), TaskFailure> {
        self.0.commit(committables, discovery)
    }

    fn pin(&self, committables: &[Vec<u8>], discovery: &dyn Discovery) -> Result<(), TaskFailure> {
        self.0.pin(committables, discovery)
    }

    fn clean_up(
        &self,
        subtasks: Option<&[SubtaskIndex]>,
        discovery: &dyn Discovery,
    ) -> Result<(), TaskFailure> {
        self.0.clean_up(subtasks, discovery)
    }

    fn newest_visible(
        &self,
        discovery: &dyn Discovery,
    ) -> Result<Option<CheckpointId>, TaskFailure> {
        self.0.newest_visible(discovery)
    }

    fn take_back(
        &self,
        checkpoint: CheckpointId,
        discovery: &dyn Discovery,
    ) -> Result<(), TaskFailure> {
        self.0.take_back(checkpoint, discovery)
    }

    fn folder(&self) -> Option<&Path> {
        self.0.folder()
    }

    fn clone_box(&self) -> Box<dyn SinkPreparation> {
        Box::new(self.clone())
    }
}

/// The last link of a chain that ends in a sink.
pub struct SinkEnd<T: Record, W: SinkWriter<T>> {
    port: WriterPort<T, W>,
    /// In its chain.
    position: usize,
    /// Records since the last tick: counted here, so that a push touches nothing but the chain.
    pushed: u64,
}

/// A writer as the task loop sees it.
struct WriterPort<T, W> {
    writer: W,
    context: TaskContext,
    is_finished: bool,
    failure: Option<TaskFailure>,
    types: PhantomData<fn(T)>,
}

impl<T: Record, W: SinkWriter<T>> SinkEnd<T, W> {
    fn new(writer: W, position: usize, context: &TaskContext) -> Self {
        let context = context.clone();
        let port =
            WriterPort { writer, context, is_finished: false, failure: None, types: PhantomData };
        Self { port, position, pushed: 0 }
    }

    fn count(&mut self) {
        self.port.context.metrics().records_out.add(std::mem::take(&mut self.pushed));
    }
}

impl<T: Record, W: SinkWriter<T>> WriterPort<T, W> {
    /// Moves bytes; says whether any did.
    fn step(&mut self) -> bool {
        if self.is_finished || self.failure.is_some() {
            return false;
        }
        match self.writer.poll(self.context.shard()) {
            Ok(WriterStatus::Moved) => true,
            Ok(WriterStatus::Waiting | WriterStatus::Idle) => false,
            Ok(WriterStatus::Finished) => {
                self.is_finished = true;
                true
            }
            Ok(WriterStatus::Closed) => {
                // Nobody would read what the next try writes either.
                let closed = TaskFailure::new(Blame::Environment, OUTPUT_CLOSED, "broken pipe");
                self.failure = Some(TaskFailure { retryable: false, ..closed });
                false
            }
            Err(failure) => {
                self.failure = Some(failure);
                false
            }
        }
    }
}

impl<T: Record, W: SinkWriter<T>> OutputPort for WriterPort<T, W> {
    fn poll(&mut self, _now: Nanos) -> bool {
        self.step()
    }

    fn is_ready(&self) -> bool {
        !self.writer.wants_pause()
    }

    fn flush(&mut self) {
        self.writer.flush();
        self.step();
    }

    fn flush_aged(&mut self, _now: Nanos, _age: Duration) {
        self.flush();
    }

    fn barrier(&mut self, checkpoint: CheckpointId) {
        self.writer.pre_commit(checkpoint);
        self.step();
    }

    fn is_pre_committed(&self) -> bool {
        self.writer.is_pre_committed()
    }

    fn completed(&mut self, checkpoint: CheckpointId) {
        self.writer.completed(checkpoint);
    }

    fn end(&mut self) {
        self.writer.finish();
        self.step();
    }

    fn is_drained(&self) -> bool {
        self.is_finished
    }

    fn take_failure(&mut self) -> Option<TaskFailure> {
        self.failure.take()
    }
}

impl<T: Record, W: SinkWriter<T>> Control for SinkEnd<T, W> {
    fn open(&mut self) -> Result<(), TaskFailure> {
        Ok(())
    }

    fn close(&mut self) {}

    fn watermark(&mut self, _watermark: Timestamp) -> Progress {
        Progress::Done
    }

    fn status(&mut self, _status: Status) {}

    fn tick(&mut self, _now: Nanos, _is_idle: bool) {
        self.count();
    }

    fn finish(&mut self) -> Progress {
        self.count();
        Progress::Done
    }

    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        visit(&mut self.port);
    }

    fn snapshot(&mut self, snapshot: &mut Snapshot) {
        let own = snapshot.of_operator_mut(self.position);
        for committable in self.port.writer.committables() {
            own.put(COMMITTABLES, None, committable);
        }
    }

    fn lists(&mut self, _visit: &mut VisitList<'_>) {}

    async fn restore(&mut self, _snapshot: &Snapshot) -> Result<(), TaskFailure> {
        Ok(())
    }
}

impl<T: Record, W: SinkWriter<T>> Link<T> for SinkEnd<T, W> {
    #[inline]
    fn push<I: Item<T>>(&mut self, item: I, _meta: Meta) {
        self.port.writer.write(item);
        self.pushed += 1;
        if self.port.writer.wants_pause() {
            self.port.context.stop().set();
        }
    }
}

/// What `print` writes: text as it is, everything else as its view's `Debug`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Printed;

impl<T: Record> Encode<T> for Printed {
    fn encode<I: Item<T>>(&mut self, item: I, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        T::print(item.view(), out);
        out.push(b'\n');
        Ok(())
    }

    fn name(&self) -> &'static str {
        "print"
    }
}

impl<T: Record, S: Start, C: Chain<S::Out, Out = T>> DataStream<T, S, C> {
    /// Ends the stream in `sink`.
    ///
    /// ```
    /// # use wiesel_datastream::Environment;
    /// use wiesel_connectors::FileSink;
    ///
    /// # let env = Environment::new();
    /// let counts = env.from_collection([("be".to_owned(), 2_u64)]);
    /// counts.sink_to(FileSink::<(String, u64), _>::csv("out/counts", false));
    /// ```
    pub fn sink_to<K: Sink<Record = T>>(self, sink: K) {
        let name = format!("Sink: {}", sink.describe());
        let position = self.builder.chained(self.vertex, &name);
        self.builder.vertex(self.vertex, |vertex| {
            vertex.preparation = Some(Box::new(Preparation(sink.clone())));
        });
        self.close_in(move |build: &mut BuildContext| {
            let task = build.task();
            let context = WriterContext {
                subtask: task.id().subtask,
                parallelism: task.parallelism(),
                shard: task.shard().clone(),
                takes_checkpoints: task.takes_checkpoints(),
            };
            Ok(SinkEnd::new(sink.writer(&context), position, task))
        });
    }

    /// Prints every record on a line: text as it is, everything else as `Debug` shows its view.
    ///
    /// With more than one subtask the lines of different ones are in no order. Lines are written at least once: a job that
    /// continues from a checkpoint prints again what it had printed since. A [`FileSink`] writes exactly once.
    ///
    /// ```
    /// # use wiesel_datastream::Environment;
    /// # let env = Environment::new();
    /// env.from_collection(["be".to_owned()]).print(); // be
    /// env.from_collection([(7_u64, "be".to_owned())]).print(); // (7, "be")
    /// ```
    pub fn print(self) {
        self.sink_to(StdoutSink::<T, Printed>::new(Printed));
    }

    /// Keeps every record for the program to take after the job: for tests. At least once, as [`print`](Self::print).
    ///
    /// ```
    /// # use wiesel_datastream::Environment;
    /// # let env = Environment::new();
    /// let doubled = env.from_collection([1_u64, 2]).map(|n| n * 2).collect();
    /// // env.execute("double")?; then
    /// assert!(doubled.take().is_empty()); // The job has not run.
    /// ```
    pub fn collect(self) -> CollectedRecords<T> {
        let (sink, records) = CollectSink::new();
        self.sink_to(sink);
        records
    }
}

impl<S: Start, C: Chain<S::Out, Out = String>> DataStream<String, S, C> {
    /// Writes each string as a line into `part-*` files of a folder that is empty or not there: see [`FileSink`].
    ///
    /// ```
    /// # use wiesel_datastream::Environment;
    /// # let env = Environment::new();
    /// env.from_collection([1_u64, 2]).map(|n| format!("number {n}")).write_lines("out");
    /// ```
    pub fn write_lines(self, folder: impl Into<PathBuf>) {
        self.sink_to(FileSink::<String, AsLines>::lines(folder));
    }
}

impl<T, S, C> DataStream<T, S, C>
where
    T: Record + serde::Serialize,
    S: Start,
    C: Chain<S::Out, Out = T>,
{
    /// Writes each record as a line of JSON into `part-*` files of a folder that is empty or not there: see [`FileSink`].
    ///
    /// ```
    /// # use wiesel_datastream::Environment;
    /// # let env = Environment::new();
    /// env.from_collection([(7_u64, "be".to_owned())]).write_json("out"); // [7,"be"]
    /// ```
    pub fn write_json(self, folder: impl Into<PathBuf>) {
        self.sink_to(FileSink::<T, AsJson<T>>::json(folder));
    }
}
