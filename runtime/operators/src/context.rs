//! What an operator knows about the task it runs in.

use std::{
    any::Any,
    cell::{Cell, OnceCell, RefCell},
    collections::BTreeMap,
    fmt::Display,
    path::PathBuf,
    rc::Rc,
    sync::Arc,
};

use wiesel_core::{
    Blame, KeyGroupRange, Nanos, StopFlag, TaskFailure, TaskId, metrics::TaskMetrics,
};
use wiesel_record::Record;
use wiesel_shard::{HelperClient, Shard};
use wiesel_state::RowSource;

use crate::{FunctionError, SideOutput, SplitAlignment, Stopwatch, tables::Retired};

/// One per task, shared by its operators; never leaves the shard.
#[derive(Clone)]
pub struct TaskContext {
    inner: Rc<Inner>,
    /// Tables hold one key at a time: they have one key group.
    is_of_one_key: bool,
    /// Of the operator in its chain.
    position: usize,
}

/// What a task in batch mode works with.
#[derive(Clone, Debug)]
pub struct BatchOptions {
    /// Memory to sort the inputs of a keyed operator in, or for what waits until all that is broadcast was read.
    pub sort_bytes_max: usize,
    /// The folder for what is more.
    pub folder: PathBuf,
}

struct Inner {
    id: TaskId,
    uid: String,
    parallelism: u32,
    max_parallelism: u32,
    shard: Shard,
    stop: StopFlag,
    metrics: Arc<TaskMetrics>,
    stopwatch: Stopwatch,
    failure: RefCell<Option<TaskFailure>>,
    /// Side outputs by slot, until the operators that own them are built.
    sides: RefCell<BTreeMap<usize, Box<dyn Any>>>,
    takes_checkpoints: Cell<bool>,
    /// What stands behind the tables of this task, if rows can be missing.
    row_sources: RefCell<Option<RowSources>>,
    /// When an operator wants a turn at the latest.
    wake_at: Cell<Option<Nanos>>,
    alignment: SplitAlignment,
    batch: OnceCell<BatchOptions>,
    retired: RefCell<Vec<Retired>>,
    /// What polls the futures of this task's operators; made when it is first asked for.
    helper: RefCell<Option<HelperClient>>,
}

/// Makes what stands behind a table whose rows are not all in memory.
pub type RowSources = Box<dyn FnMut() -> Box<dyn RowSource>>;

impl TaskContext {
    /// The context of subtask `id.subtask` of `parallelism`.
    pub fn new(
        id: TaskId,
        uid: &str,
        parallelism: u32,
        max_parallelism: u32,
        shard: Shard,
        metrics: Arc<TaskMetrics>,
    ) -> Self {
        let inner = Inner {
            id,
            uid: uid.to_owned(),
            parallelism,
            max_parallelism,
            stopwatch: Stopwatch::new(&shard, &metrics),
            shard,
            stop: StopFlag::new(),
            metrics,
            failure: RefCell::new(None),
            sides: RefCell::default(),
            takes_checkpoints: Cell::new(false),
            row_sources: RefCell::new(None),
            wake_at: Cell::new(None),
            alignment: SplitAlignment::default(),
            batch: OnceCell::new(),
            retired: RefCell::default(),
            helper: RefCell::new(None),
        };
        Self { inner: Rc::new(inner), is_of_one_key: false, position: 0 }
    }

    /// That of the operator at `position` of the chain; the head is at 0. Its state is found by that in a snapshot.
    #[must_use]
    pub fn of_operator(&self, position: usize) -> Self {
        Self { position, ..self.clone() }
    }

    /// Where in its chain the operator is that this was given to.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Which task this is.
    pub fn id(&self) -> TaskId {
        self.inner.id
    }

    /// The uid of the vertex.
    pub fn uid(&self) -> &str {
        &self.inner.uid
    }

    /// Subtasks of this vertex.
    pub fn parallelism(&self) -> u32 {
        self.inner.parallelism
    }

    /// Key groups of the job.
    pub fn max_parallelism(&self) -> u32 {
        if self.is_of_one_key { 1 } else { self.inner.max_parallelism }
    }

    /// The key groups of this subtask.
    pub fn key_groups(&self) -> KeyGroupRange {
        if self.is_of_one_key {
            return KeyGroupRange::all(1);
        }
        KeyGroupRange::of_subtask(
            self.inner.id.subtask.0,
            self.inner.parallelism,
            self.inner.max_parallelism,
        )
    }

    /// Tables that operators are done with, and snapshots are not.
    pub(crate) fn retired(&self) -> &RefCell<Vec<Retired>> {
        &self.inner.retired
    }

    /// The task runs in batch mode. Said once, before its chain is built.
    pub fn set_batch(&self, options: BatchOptions) {
        let unset = self.inner.batch.set(options).is_ok();
        debug_assert!(unset, "the mode of a task is said once");
    }

    /// How it works in batch mode; none in streaming mode.
    pub fn batch(&self) -> Option<&BatchOptions> {
        self.inner.batch.get()
    }

    /// Whether the task runs in batch mode.
    pub fn is_batch(&self) -> bool {
        self.batch().is_some()
    }

    /// The same task, for an operator whose tables hold one key at a time.
    #[must_use]
    pub(crate) fn of_one_key(&self) -> Self {
        Self { is_of_one_key: true, ..self.clone() }
    }

    /// Whether the job takes checkpoints. Sinks commit with them.
    pub fn takes_checkpoints(&self) -> bool {
        self.inner.takes_checkpoints.get()
    }

    /// Says that the job takes checkpoints.
    pub fn set_takes_checkpoints(&self) {
        self.inner.takes_checkpoints.set(true);
    }

    /// The services of the shard: clock, timers, randomness, files.
    pub fn shard(&self) -> &Shard {
        &self.inner.shard
    }

    /// The flag that ends the turn.
    pub fn stop(&self) -> &StopFlag {
        &self.inner.stop
    }

    /// What this task counts.
    pub fn metrics(&self) -> &Arc<TaskMetrics> {
        &self.inner.metrics
    }

    /// What looks at one record of every turn.
    pub fn stopwatch(&self) -> &Stopwatch {
        &self.inner.stopwatch
    }

    /// Fails the task after the record at hand. The first failure is kept.
    #[cold]
    pub fn fail(&self, failure: TaskFailure) {
        let failure = failure.uid(&self.inner.uid).subtask(self.inner.id.subtask);
        self.inner.failure.borrow_mut().get_or_insert(failure);
        self.inner.stop.set();
    }

    /// Fails the task because a user function returned an error.
    #[cold]
    pub fn fail_user(&self, doing: &str, error: FunctionError) {
        self.fail(TaskFailure::new(Blame::Job, doing, error));
    }

    /// Closes a function of the program, which may fail the task. What it could not bring to its end may be there next time: a
    /// restart helps, unlike after other errors of functions.
    pub(crate) fn close_function(&self, close: impl FnOnce() -> Result<(), FunctionError>) {
        if let Err(error) = close() {
            let failure = TaskFailure::new(Blame::Job, "close a function", error);
            self.fail(TaskFailure { retryable: true, ..failure });
        }
    }

    /// Fails the task because a record has no event time; `before` says what needs one.
    #[cold]
    pub(crate) fn fail_untimed(&self, doing: &str, before: &str) {
        let cause = format!("the record has no event time: call `watermarks` before the {before}");
        self.fail(TaskFailure::new(Blame::Job, doing, cause));
    }

    /// Fails the task because a record was given an event time that no record can have.
    #[cold]
    pub(crate) fn fail_before_time(&self) {
        let cause = "the event time of the record is Timestamp::MIN, which is before all of time: give it another one, or \
                     filter the record out before `watermarks`";
        self.fail(TaskFailure::new(Blame::Job, "assign an event time", cause));
    }

    /// Fails the task because of something that should not be possible.
    #[cold]
    pub fn fail_runtime(&self, doing: &str, error: impl Display) {
        self.fail(TaskFailure::new(Blame::Runtime, doing, error.to_string()));
    }

    /// Takes the failure, if there is one.
    pub fn take_failure(&self) -> Option<TaskFailure> {
        self.inner.failure.borrow_mut().take()
    }

    /// Whether a failure waits to be taken.
    pub fn has_failed(&self) -> bool {
        self.inner.failure.borrow().is_some()
    }

    /// Asks for a turn at `time` at the latest. It is asked anew in every turn.
    pub fn wake_at(&self, time: Nanos) {
        let earlier = self.inner.wake_at.get().map_or(time, |other| other.min(time));
        self.inner.wake_at.set(Some(earlier));
    }

    /// The earliest time that an operator asked for since the last call.
    pub fn take_wake(&self) -> Option<Nanos> {
        self.inner.wake_at.take()
    }

    /// Which splits of this task's source wait for others.
    pub fn alignment(&self) -> &SplitAlignment {
        &self.inner.alignment
    }

    /// Puts the shard's helper behind the futures that this task will start.
    pub fn set_helper(&self, helper: HelperClient) {
        *self.inner.helper.borrow_mut() = Some(helper);
    }

    /// What polls futures: the shard's helper, or the task itself where there is none.
    pub fn helper(&self) -> HelperClient {
        self.inner.helper.borrow_mut().get_or_insert_with(HelperClient::in_place).clone()
    }

    /// Leaves a side output for the operator that was promised slot `slot`.
    pub fn put_side<S: Record>(&self, slot: usize, output: Box<dyn SideOutput<S>>) {
        let taken = self.inner.sides.borrow_mut().insert(slot, Box::new(output));
        debug_assert!(taken.is_none(), "two side outputs in slot {slot}");
    }

    /// Takes the side output in `slot`; none if nobody reads it.
    pub fn take_side<S: Record>(&self, slot: usize) -> Option<Box<dyn SideOutput<S>>> {
        let side = self.inner.sides.borrow_mut().remove(&slot)?;
        side.downcast::<Box<dyn SideOutput<S>>>().ok().map(|side| *side)
    }

    /// Puts a backend behind the tables that this task will make.
    pub fn set_row_sources(&self, sources: RowSources) {
        *self.inner.row_sources.borrow_mut() = Some(sources);
    }

    /// What stands behind a new table; nothing if all rows are in memory.
    pub fn row_source(&self) -> Option<Box<dyn RowSource>> {
        self.inner.row_sources.borrow_mut().as_mut().map(|sources| sources())
    }
}
