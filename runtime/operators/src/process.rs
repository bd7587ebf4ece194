//! Process functions: a record in, anything out, with its event time at hand and a side output.

use std::marker::PhantomData;

use wiesel_core::{Meta, Nanos, TaskFailure, Timestamp};
use wiesel_record::{Item, Out, Record};

use crate::{
    AggregateError, Chain, Control, Link, OutputPort, Progress, SideOutput, Snapshot, SplitChange,
    Status, TaskContext, flat_map::Emit,
};

/// A function over single records that may keep things of its own.
///
/// It is cloned once per subtask. What it keeps is in no checkpoint: state belongs into a
/// [`KeyedProcessFunction`](crate::KeyedProcessFunction).
///
/// ```
/// use wiesel_operators::{AggregateError, ProcessContext, ProcessFunction};
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
///     ) -> Result<(), AggregateError> {
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

    /// Called once, before the first record.
    ///
    /// # Errors
    ///
    /// If something that it needs is not there; the job fails.
    fn open(&mut self) -> Result<(), AggregateError> {
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
    ) -> Result<(), AggregateError>;
}

/// What a process function may know of and do beside the record.
pub struct ProcessContext<'c, S: Record> {
    pub(crate) meta: Meta,
    pub(crate) watermark: Timestamp,
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
    side: Option<Box<dyn SideOutput<F::Side>>>,
    watermark: Timestamp,
    context: TaskContext,
    next: D,
    types: PhantomData<fn(T)>,
}

impl<T: Record, F: ProcessFunction<T>, D: Link<F::Out>> Control for Process<T, F, D> {
    fn open(&mut self) -> Result<(), TaskFailure> {
        self.next.open()?;
        self.function.open().map_err(|error| {
            TaskFailure::new(wiesel_core::Blame::Job, "open a process function", error)
        })
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
        self.next.snapshot(snapshot);
    }

    fn restore(&mut self, snapshot: &Snapshot) -> Result<(), TaskFailure> {
        self.next.restore(snapshot)
    }
}

impl<T: Record, F: ProcessFunction<T>, D: Link<F::Out>> Link<T> for Process<T, F, D> {
    #[inline]
    fn push<I: Item<T>>(&mut self, item: I, meta: Meta) {
        let mut context = ProcessContext {
            meta,
            watermark: self.watermark,
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
}

impl<C, F> ProcessTo<C, F> {
    /// Processes with `function`; what it puts aside goes to the output in `side_slot`.
    pub fn new(chain: C, function: F, side_slot: Option<usize>) -> Self {
        Self { chain, function, side_slot }
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
        let link = Process {
            function: self.function,
            side: self.side_slot.and_then(|slot| context.take_side::<F::Side>(slot)),
            watermark: Timestamp::MIN,
            context: context.clone(),
            next,
            types: PhantomData,
        };
        self.chain.finish(link, context)
    }
}
