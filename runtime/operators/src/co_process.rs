//! Functions over two streams without keys: one method for each, one output.
//!
//! ```text
//!   first  ─▶ process1 ─┐
//!                       ├─▶ next       in no order between the two
//!   second ─▶ process2 ─┘
//! ```
//!
//! # What is always true
//!
//! 1. The records of one input and channel are taken in order.
//! 2. The watermark is that of both inputs together: the least of the two, without an idle one.

use std::marker::PhantomData;

use wiesel_core::{Blame, Meta, Nanos, TaskFailure, Timestamp};
use wiesel_record::{InFrame, Out, Record};
use wiesel_wire::Frame;

use crate::{
    FunctionError, Head, Link, OperatorStateRegistry, OutputPort, Pace, Polled, ProcessContext,
    Progress, Restoring, RuntimeContext, SideOutput, Snapshot, Start, Status, TaskContext,
    VisitList, flat_map::Emit, frame_head::FrameLoop, keyed_co_head::no_such_input,
    operator_state::OperatorStates,
};

/// A function over the records of two streams that may keep things of its own.
///
/// It is cloned once per subtask. What it keeps in fields is in no checkpoint: state belongs into an
/// [`OperatorListState`](crate::OperatorListState), or by key into a
/// [`KeyedCoProcessFunction`](crate::KeyedCoProcessFunction).
///
/// ```
/// use wiesel_operators::{FunctionError, CoProcessFunction, ProcessContext};
/// use wiesel_record::Out;
///
/// /// Numbers, in the unit that the other stream has named last.
/// #[derive(Clone)]
/// struct Scale {
///     factor: i64,
/// }
///
/// impl CoProcessFunction<i64, String> for Scale {
///     type Out = i64;
///     type Side = String;
///
///     fn process1(
///         &mut self,
///         number: i64,
///         _context: &mut ProcessContext<'_, String>,
///         out: &mut dyn Out<i64>,
///     ) -> Result<(), FunctionError> {
///         out.emit(number.checked_mul(self.factor).ok_or("too large")?);
///         Ok(())
///     }
///
///     fn process2(
///         &mut self,
///         unit: &str,
///         context: &mut ProcessContext<'_, String>,
///         _out: &mut dyn Out<i64>,
///     ) -> Result<(), FunctionError> {
///         match unit {
///             "s" => self.factor = 1_000,
///             "ms" => self.factor = 1,
///             unknown => context.side(unknown),
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait CoProcessFunction<T1: Record, T2: Record>: Clone + Send + 'static {
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

    /// Called once when the task ends, as [`ProcessFunction::close`](crate::ProcessFunction::close) says.
    ///
    /// # Errors
    ///
    /// As there.
    fn close(&mut self) -> Result<(), FunctionError> {
        Ok(())
    }

    /// Takes one record of the first stream.
    ///
    /// # Errors
    ///
    /// Whatever makes the record impossible to process; the job fails.
    fn process1(
        &mut self,
        value: T1::View<'_>,
        context: &mut ProcessContext<'_, Self::Side>,
        out: &mut dyn Out<Self::Out>,
    ) -> Result<(), FunctionError>;

    /// Takes one record of the second stream.
    ///
    /// # Errors
    ///
    /// As [`process1`](Self::process1).
    fn process2(
        &mut self,
        value: T2::View<'_>,
        context: &mut ProcessContext<'_, Self::Side>,
        out: &mut dyn Out<Self::Out>,
    ) -> Result<(), FunctionError>;
}

/// A pair of functions, each of which builds a value from a record of its stream.
pub struct CoMap<A, B, O> {
    first: A,
    second: B,
    types: PhantomData<fn() -> O>,
}

/// A pair of functions, each of which emits any number of views for a record of its stream.
pub struct CoFlatMap<A, B, O> {
    first: A,
    second: B,
    types: PhantomData<fn() -> O>,
}

macro_rules! pair {
    ($name:ident) => {
        impl<A, B, O> $name<A, B, O> {
            /// `first` for the first stream, `second` for the second.
            pub fn new(first: A, second: B) -> Self {
                Self { first, second, types: PhantomData }
            }
        }

        impl<A: Clone, B: Clone, O> Clone for $name<A, B, O> {
            fn clone(&self) -> Self {
                Self::new(self.first.clone(), self.second.clone())
            }
        }
    };
}
pair!(CoMap);
pair!(CoFlatMap);

impl<T1, T2, A, B, O> CoProcessFunction<T1, T2> for CoMap<A, B, O>
where
    T1: Record,
    T2: Record,
    O: Record,
    A: for<'a> Fn(T1::View<'a>) -> O + Clone + Send + 'static,
    B: for<'a> Fn(T2::View<'a>) -> O + Clone + Send + 'static,
{
    type Out = O;
    type Side = ();

    #[inline(always)]
    fn process1(
        &mut self,
        value: T1::View<'_>,
        _context: &mut ProcessContext<'_, ()>,
        out: &mut dyn Out<O>,
    ) -> Result<(), FunctionError> {
        out.emit((self.first)(value).view());
        Ok(())
    }

    #[inline(always)]
    fn process2(
        &mut self,
        value: T2::View<'_>,
        _context: &mut ProcessContext<'_, ()>,
        out: &mut dyn Out<O>,
    ) -> Result<(), FunctionError> {
        out.emit((self.second)(value).view());
        Ok(())
    }
}

impl<T1, T2, A, B, O> CoProcessFunction<T1, T2> for CoFlatMap<A, B, O>
where
    T1: Record,
    T2: Record,
    O: Record,
    A: for<'a, 'e> Fn(T1::View<'a>, &'e mut dyn Out<O>) + Clone + Send + 'static,
    B: for<'a, 'e> Fn(T2::View<'a>, &'e mut dyn Out<O>) + Clone + Send + 'static,
{
    type Out = O;
    type Side = ();

    #[inline(always)]
    fn process1(
        &mut self,
        value: T1::View<'_>,
        _context: &mut ProcessContext<'_, ()>,
        out: &mut dyn Out<O>,
    ) -> Result<(), FunctionError> {
        (self.first)(value, out);
        Ok(())
    }

    #[inline(always)]
    fn process2(
        &mut self,
        value: T2::View<'_>,
        _context: &mut ProcessContext<'_, ()>,
        out: &mut dyn Out<O>,
    ) -> Result<(), FunctionError> {
        (self.second)(value, out);
        Ok(())
    }
}

/// Runs a [`CoProcessFunction`] over the frames of two inputs.
pub struct CoHead<T1, T2, F, D>
where
    T1: Record,
    T2: Record,
    F: CoProcessFunction<T1, T2>,
{
    function: F,
    states: OperatorStates,
    side: Option<Box<dyn SideOutput<F::Side>>>,
    watermark: Timestamp,
    context: TaskContext,
    next: D,
    types: PhantomData<fn(T1, T2)>,
}

/// A chain that starts at two gates without keys.
pub struct CoStart<T1, T2, F> {
    function: F,
    side_slot: Option<usize>,
    types: PhantomData<fn(T1, T2)>,
}

impl<T1, T2, F> CoStart<T1, T2, F> {
    /// Processes with `function`; what it puts aside goes to the output in `side_slot`.
    pub fn new(function: F, side_slot: Option<usize>) -> Self {
        Self { function, side_slot, types: PhantomData }
    }
}

impl<T1, T2, F: Clone> Clone for CoStart<T1, T2, F> {
    fn clone(&self) -> Self {
        Self::new(self.function.clone(), self.side_slot)
    }
}

impl<T1: Record, T2: Record, F: CoProcessFunction<T1, T2>> Start for CoStart<T1, T2, F> {
    type Out = F::Out;
    type Head<D: Link<F::Out>> = CoHead<T1, T2, F, D>;

    fn head<D: Link<F::Out>>(
        self,
        next: D,
        context: &TaskContext,
    ) -> Result<CoHead<T1, T2, F, D>, TaskFailure> {
        let mut states = OperatorStateRegistry::default();
        self.function.initialize_state(&mut states);
        Ok(CoHead {
            function: self.function,
            states: OperatorStates::new(states, context),
            side: self.side_slot.and_then(|slot| context.take_side::<F::Side>(slot)),
            watermark: Timestamp::MIN,
            context: context.clone(),
            next,
            types: PhantomData,
        })
    }
}

impl<T1, T2, F, D> CoHead<T1, T2, F, D>
where
    T1: Record,
    T2: Record,
    F: CoProcessFunction<T1, T2>,
    D: Link<F::Out>,
{
    #[inline(always)]
    fn call(
        &mut self,
        meta: Meta,
        process: impl FnOnce(
            &mut F,
            &mut ProcessContext<'_, F::Side>,
            &mut Emit<'_, D>,
        ) -> Result<(), FunctionError>,
    ) {
        let mut context = ProcessContext {
            meta,
            watermark: self.watermark,
            states: &mut self.states,
            side: self.side.as_deref_mut(),
            task: &self.context,
        };
        let emit = &mut Emit { next: &mut self.next, meta };
        if let Err(error) = process(&mut self.function, &mut context, emit) {
            self.context.fail_user("process a record", error);
        }
    }
}

impl<T1, T2, F, D> FrameLoop<T1, 0> for CoHead<T1, T2, F, D>
where
    T1: Record,
    T2: Record,
    F: CoProcessFunction<T1, T2>,
    D: Link<F::Out>,
{
    #[inline(always)]
    fn context(&self) -> &TaskContext {
        &self.context
    }

    #[inline(always)]
    fn push_one(&mut self, record: InFrame<'_, T1>, meta: Meta) {
        self.call(meta, |function, context, emit| function.process1(record.get(), context, emit));
    }
}

impl<T1, T2, F, D> FrameLoop<T2, 1> for CoHead<T1, T2, F, D>
where
    T1: Record,
    T2: Record,
    F: CoProcessFunction<T1, T2>,
    D: Link<F::Out>,
{
    #[inline(always)]
    fn context(&self) -> &TaskContext {
        &self.context
    }

    #[inline(always)]
    fn push_one(&mut self, record: InFrame<'_, T2>, meta: Meta) {
        self.call(meta, |function, context, emit| function.process2(record.get(), context, emit));
    }
}

impl<T1, T2, F, D> Head for CoHead<T1, T2, F, D>
where
    T1: Record,
    T2: Record,
    F: CoProcessFunction<T1, T2>,
    D: Link<F::Out>,
{
    fn open(&mut self) -> Result<(), TaskFailure> {
        self.next.open()?;
        self.states.open()?;
        let opened = self.function.open(&RuntimeContext::new(&self.context));
        opened.map_err(|error| TaskFailure::new(Blame::Job, "open a process function", error))
    }

    fn close(&mut self) {
        self.context.close_function(|| self.function.close());
        self.next.close();
    }

    fn frame(
        &mut self,
        input: usize,
        frame: &Frame,
        cursor: &mut usize,
        pace: &mut Pace,
    ) -> Progress {
        match input {
            0 => FrameLoop::<T1, 0>::take_frame(self, frame, cursor, pace),
            1 => FrameLoop::<T2, 1>::take_frame(self, frame, cursor, pace),
            _ => no_such_input(&self.context, input, frame, cursor),
        }
    }

    fn watermark(&mut self, watermark: Timestamp, _pace: &mut Pace) -> Progress {
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

    fn poll(&mut self, _pace: &mut Pace) -> Polled {
        Polled::Finished
    }

    fn next_timer(&self) -> Option<Timestamp> {
        None
    }

    fn advance_time(&mut self, _now: Timestamp, _pace: &mut Pace) -> Progress {
        Progress::Done
    }

    fn tick(&mut self, now: Nanos, is_idle: bool) {
        self.next.tick(now, is_idle);
    }

    fn finish(&mut self, _pace: &mut Pace) -> Progress {
        self.next.finish()
    }

    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        self.next.ports(visit);
        if let Some(side) = &mut self.side {
            visit(side.as_mut());
        }
    }

    fn snapshot(&mut self, snapshot: &mut Snapshot) {
        self.states.snapshot(&self.context, snapshot);
        self.next.snapshot(snapshot);
    }

    fn lists(&mut self, visit: &mut VisitList<'_>) {
        self.states.lists(visit);
        self.next.lists(visit);
    }

    fn restore<'r>(&'r mut self, snapshot: &'r Snapshot) -> Restoring<'r> {
        Box::pin(async move {
            self.states.restore(&self.context, snapshot).await?;
            self.next.restore(snapshot).await
        })
    }
}
