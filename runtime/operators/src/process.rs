//! Process functions: a record in, anything out, with its event time at hand and a side output.

use std::marker::PhantomData;

use wiesel_core::{Meta, Nanos, TaskFailure, Timestamp};
use wiesel_record::{Item, Out, Record};

use crate::{
    Chain, Control, FunctionError, Link, OperatorList, OperatorListState, OperatorStateRegistry,
    OutputPort, Progress, RuntimeContext, SideOutput, Snapshot, SplitChange, Status, TaskContext,
    VisitList, flat_map::Emit, operator_state::OperatorStates,
};

/// A function over single records that may keep things of its own.
///
/// It is cloned once per subtask. What it keeps in fields is in no checkpoint: state belongs into an
/// [`OperatorListState`], or by key into a [`KeyedProcessFunction`](crate::KeyedProcessFunction).
///
/// ```
/// use wiesel_operators::{FunctionError, ProcessContext, ProcessFunction};
/// use wiesel_record::Out;
///
/// /// Words on, numbers aside.
/// #[derive(Clone)]
/// struct Sort;
///
/// impl ProcessFunction<String> for Sort {
///     type Out = String;
///     type Side = i64;
///     fn process(
///         &mut self,
///         word: &str,
///         context: &mut ProcessContext<'_, i64>,
///         out: &mut dyn Out<String>,
///     ) -> Result<(), FunctionError> {
///         match word.parse() {
///             Ok(number) => context.side(number),
///             Err(_) => out.emit(word),
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait ProcessFunction<T: Record>: Clone + Send + 'static {
    /// What goes on.
    type Out: Record;
    /// What is put aside; `()` if nothing is.
    type Side: Record;

    /// Registers the states of a subtask. Called once, before a checkpoint is read.
    fn initialize_state(&self, states: &mut OperatorStateRegistry) {
        let _ = states;
    }

    /// Called once, before the first record.
    ///
    /// # Errors
    ///
    /// If something that it needs is not there; the job fails.
    fn open(&mut self, runtime: &RuntimeContext) -> Result<(), FunctionError> {
        let _ = runtime;
        Ok(())
    }

    /// Called once for a subtask that was started, when its task ends: normally after the last watermark and all records,
    /// before its outputs end (with checkpoints before the last one); else when the task failed, was cancelled, or was held by
    /// `stop`. Not after a panic, and not if the process is killed: what must not be lost belongs into state.
    ///
    /// # Errors
    ///
    /// If what was kept open cannot be brought to its end: a task that ends normally fails with it, and is restarted if the job
    /// restarts at all. After a failure or a cancellation it is only logged.
    fn close(&mut self) -> Result<(), FunctionError> {
        Ok(())
    }

    /// Takes one record.
    ///
    /// # Errors
    ///
    /// Whatever makes the record impossible to process; the job fails with the record's position.
    fn process(
        &mut self,
        value: T::View<'_>,
        context: &mut ProcessContext<'_, Self::Side>,
        out: &mut dyn Out<Self::Out>,
    ) -> Result<(), FunctionError>;
}

/// What a process function may know of and do beside the record.
pub struct ProcessContext<'c, S: Record> {
    pub(crate) meta: Meta,
    pub(crate) watermark: Timestamp,
    pub(crate) states: &'c mut OperatorStates,
    pub(crate) side: Option<&'c mut (dyn SideOutput<S> + 'static)>,
    pub(crate) task: &'c TaskContext,
}

impl<S: Record> ProcessContext<'_, S> {
    /// The event time of the record, if it has one.
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.meta.time
    }

    /// The last watermark; [`Timestamp::MIN`] before the first.
    pub fn watermark(&self) -> Timestamp {
        self.watermark
    }

    /// The time of day.
    pub fn processing_time(&self) -> Timestamp {
        self.task.shard().wall_time()
    }

    /// Which of the operator's subtasks this is, from 0. Flink's `getIndexOfThisSubtask`.
    pub fn subtask(&self) -> u32 {
        self.task.id().subtask.0
    }

    /// How many subtasks the operator has.
    pub fn parallelism(&self) -> u32 {
        self.task.parallelism()
    }

    /// A list of this subtask, to read.
    ///
    /// # Panics
    ///
    /// If the state was not registered in `initialize_state`.
    pub fn list<V: Record>(&self, state: &OperatorListState<V>) -> OperatorList<'_, V> {
        self.states.list(state)
    }

    /// Adds a value at the end of a list of this subtask. A value that cannot be stored fails the task.
    ///
    /// # Panics
    ///
    /// If the state was not registered in `initialize_state`.
    pub fn add<V: Record>(&mut self, state: &OperatorListState<V>, value: V::View<'_>) {
        self.states.add(state, value);
    }

    /// Replaces a list of this subtask by these elements.
    ///
    /// # Panics
    ///
    /// If the state was not registered in `initialize_state`.
    pub fn update<'v, V: Record>(
        &mut self,
        state: &OperatorListState<V>,
        elements: impl IntoIterator<Item = V::View<'v>>,
    ) {
        self.clear(state);
        elements.into_iter().for_each(|element| self.add(state, element));
    }

    /// Keeps the elements of a list of this subtask for which `keeps` is true.
    ///
    /// # Panics
    ///
    /// If the state was not registered in `initialize_state`.
    pub fn retain<V: Record>(
        &mut self,
        state: &OperatorListState<V>,
        keeps: impl FnMut(V::View<'_>) -> bool,
    ) {
        self.states.retain(state, keeps);
    }

    /// Takes all elements out of a list of this subtask.
    ///
    /// # Panics
    ///
    /// If the state was not registered in `initialize_state`.
    pub fn clear<V: Record>(&mut self, state: &OperatorListState<V>) {
        self.states.retain(state, |_| false);
    }

    /// Puts a record aside. Without a reader of the side output it is gone.
    pub fn side(&mut self, value: S::View<'_>) {
        if let Some(side) = &mut self.side {
            side.emit(value, self.meta);
        }
    }
}

/// Runs a [`ProcessFunction`].
pub struct Process<T, F: ProcessFunction<T>, D>
where
    T: Record,
{
    function: F,
    states: OperatorStates,
    side: Option<Box<dyn SideOutput<F::Side>>>,
    watermark: Timestamp,
    context: TaskContext,
    next: D,
    types: PhantomData<fn(T)>,
}

impl<T: Record, F: ProcessFunction<T>, D: Link<F::Out>> Control for Process<T, F, D> {
    fn open(&mut self) -> Result<(), TaskFailure> {
        self.next.open()?;
        self.states.open()?;
        self.function.open(&RuntimeContext::new(&self.context)).map_err(|error| {
            TaskFailure::new(wiesel_core::Blame::Job, "open a process function", error)
        })
    }

    fn close(&mut self) {
        self.context.close_function(|| self.function.close());
        self.next.close();
    }

    fn watermark(&mut self, watermark: Timestamp) -> Progress {
        self.watermark = watermark;
        if let Some(side) = &mut self.side {
            side.watermark(watermark);
        }
        self.next.watermark(watermark)
    }

    fn status(&mut self, status: Status) {
        if let Some(side) = &mut self.side {
            side.status(status);
        }
        self.next.status(status);
    }

    fn split(&mut self, change: SplitChange) {
        self.next.split(change);
    }

    fn tick(&mut self, now: Nanos, is_idle: bool) {
        self.next.tick(now, is_idle);
    }

    fn finish(&mut self) -> Progress {
        self.next.finish()
    }

    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        self.next.ports(visit);
        if let Some(side) = &mut self.side {
            visit(side.as_mut());
        }
    }

    fn snapshot(&mut self, snapshot: &mut Snapshot) {
        let own = snapshot.of_operator_mut(self.context.position());
        self.states.snapshot(&self.context, own);
        self.next.snapshot(snapshot);
    }

    fn lists(&mut self, visit: &mut VisitList<'_>) {
        self.states.lists(visit);
        self.next.lists(visit);
    }

    async fn restore(&mut self, snapshot: &Snapshot) -> Result<(), TaskFailure> {
        if let Some(own) = snapshot.of_operator(self.context.position()) {
            self.states.restore(&self.context, own).await?;
        }
        self.next.restore(snapshot).await
    }
}

impl<T: Record, F: ProcessFunction<T>, D: Link<F::Out>> Link<T> for Process<T, F, D> {
    #[inline]
    fn push<I: Item<T>>(&mut self, item: I, meta: Meta) {
        let mut context = ProcessContext {
            meta,
            watermark: self.watermark,
            states: &mut self.states,
            side: self.side.as_deref_mut(),
            task: &self.context,
        };
        let emit = &mut Emit { next: &mut self.next, meta };
        if let Err(error) = self.function.process(item.view(), &mut context, emit) {
            self.context.fail_user("process a record", error);
        }
    }
}

/// `process` at the end of `chain`.
#[derive(Clone)]
pub struct ProcessTo<C, F> {
    chain: C,
    function: F,
    side_slot: Option<usize>,
    position: usize,
}

impl<C, F> ProcessTo<C, F> {
    /// Processes with `function`; what it puts aside goes to the output in `side_slot`.
    pub fn new(chain: C, function: F, side_slot: Option<usize>) -> Self {
        Self { chain, function, side_slot, position: 0 }
    }

    /// It is so far from the head of its chain: whose its state is in a snapshot.
    #[must_use]
    pub fn at(self, position: usize) -> Self {
        Self { position, ..self }
    }
}

impl<T, C, F> Chain<T> for ProcessTo<C, F>
where
    T: Record,
    C: Chain<T>,
    F: ProcessFunction<C::Out>,
{
    type Out = F::Out;
    type With<D: Link<F::Out>> = C::With<Process<C::Out, F, D>>;

    fn finish<D: Link<F::Out>>(self, next: D, context: &TaskContext) -> Self::With<D> {
        let mut states = OperatorStateRegistry::default();
        self.function.initialize_state(&mut states);
        let own = context.of_operator(self.position);
        let link = Process {
            function: self.function,
            states: OperatorStates::new(states, &own),
            side: self.side_slot.and_then(|slot| context.take_side::<F::Side>(slot)),
            watermark: Timestamp::MIN,
            context: own,
            next,
            types: PhantomData,
        };
        self.chain.finish(link, context)
    }
}
