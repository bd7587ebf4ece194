//! What an operator knows about the task it runs in.

use std::{
    any::Any,
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    rc::Rc,
    sync::Arc,
};

use wiesel_core::{Blame, KeyGroupRange, StopFlag, TaskFailure, TaskId, metrics::TaskMetrics};
use wiesel_record::Record;
use wiesel_shard::Shard;
use wiesel_state::RowSource;

use crate::{SideOutput, Stopwatch};

/// One per task, shared by its operators; never leaves the shard.
#[derive(Clone)]
pub struct TaskContext(Rc<Inner>);

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
    /// What stands behind the tables of this task, if rows can be missing.
    row_sources: RefCell<Option<RowSources>>,
    /// The names of operator states of all functions of the chain.
    operator_states: RefCell<BTreeSet<&'static str>>,
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
        Self(Rc::new(Inner {
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
            row_sources: RefCell::new(None),
            operator_states: RefCell::default(),
        }))
    }

    /// Which task this is.
    pub fn id(&self) -> TaskId {
        self.0.id
    }

    /// The uid of the vertex.
    pub fn uid(&self) -> &str {
        &self.0.uid
    }

    /// Subtasks of this vertex.
    pub fn parallelism(&self) -> u32 {
        self.0.parallelism
    }

    /// Key groups of the job.
    pub fn max_parallelism(&self) -> u32 {
        self.0.max_parallelism
    }

    /// The key groups of this subtask.
    pub fn key_groups(&self) -> KeyGroupRange {
        KeyGroupRange::of_subtask(self.0.id.subtask.0, self.0.parallelism, self.0.max_parallelism)
    }

    /// The services of the shard: clock, timers, randomness, files.
    pub fn shard(&self) -> &Shard {
        &self.0.shard
    }

    /// The flag that ends the turn.
    pub fn stop(&self) -> &StopFlag {
        &self.0.stop
    }

    /// What this task counts.
    pub fn metrics(&self) -> &Arc<TaskMetrics> {
        &self.0.metrics
    }

    /// What looks at one record of every turn.
    pub fn stopwatch(&self) -> &Stopwatch {
        &self.0.stopwatch
    }

    /// Fails the task after the record at hand. The first failure is kept.
    #[cold]
    pub fn fail(&self, failure: TaskFailure) {
        let failure = failure.uid(&self.0.uid).subtask(self.0.id.subtask);
        self.0.failure.borrow_mut().get_or_insert(failure);
        self.0.stop.set();
    }

    /// Fails the task because a user function returned an error.
    #[cold]
    pub fn fail_user(&self, doing: &str, error: Box<dyn std::error::Error + Send + Sync>) {
        self.fail(TaskFailure::new(Blame::Job, doing, error));
    }

    /// Fails the task because a record has no event time; `before` says what needs one.
    #[cold]
    pub(crate) fn fail_untimed(&self, doing: &str, before: &str) {
        let cause = format!("the record has no event time: call `watermarks` before the {before}");
        self.fail(TaskFailure::new(Blame::Job, doing, cause));
    }

    /// Fails the task because of something that should not be possible.
    #[cold]
    pub fn fail_runtime(&self, doing: &str, error: impl Display) {
        self.fail(TaskFailure::new(Blame::Runtime, doing, error.to_string()));
    }

    /// Takes the failure, if there is one.
    pub fn take_failure(&self) -> Option<TaskFailure> {
        self.0.failure.borrow_mut().take()
    }

    /// Whether a failure waits to be taken.
    pub fn has_failed(&self) -> bool {
        self.0.failure.borrow().is_some()
    }

    /// Leaves a side output for the operator that was promised slot `slot`.
    pub fn put_side<S: Record>(&self, slot: usize, output: Box<dyn SideOutput<S>>) {
        let taken = self.0.sides.borrow_mut().insert(slot, Box::new(output));
        debug_assert!(taken.is_none(), "two side outputs in slot {slot}");
    }

    /// Takes the side output in `slot`; none if nobody reads it.
    pub fn take_side<S: Record>(&self, slot: usize) -> Option<Box<dyn SideOutput<S>>> {
        let side = self.0.sides.borrow_mut().remove(&slot)?;
        side.downcast::<Box<dyn SideOutput<S>>>().ok().map(|side| *side)
    }

    /// Puts a backend behind the tables that this task will make.
    pub fn set_row_sources(&self, sources: RowSources) {
        *self.0.row_sources.borrow_mut() = Some(sources);
    }

    /// What stands behind a new table; nothing if all rows are in memory.
    pub fn row_source(&self) -> Option<Box<dyn RowSource>> {
        self.0.row_sources.borrow_mut().as_mut().map(|sources| sources())
    }

    /// Notes that a function of this chain has an operator state of this name; whether it is the first.
    pub(crate) fn claim_operator_state(&self, name: &'static str) -> bool {
        self.0.operator_states.borrow_mut().insert(name)
    }

    /// Whether a function of this chain has an operator state of this name.
    pub(crate) fn has_operator_state(&self, name: &str) -> bool {
        self.0.operator_states.borrow().contains(name)
    }
}
