//! Process functions over a stream and a broadcast one: the records of the one see what those of the other have said, in
//! every subtask.
//!
//! ```text
//!   data       ─▶ process(value, &states, context, out)                  of this subtask alone
//!   broadcast  ─▶ process_broadcast(value, &mut states, context, out)    in every subtask
//! ```
//!
//! # What is always true
//!
//! 1. Only a broadcast record writes broadcast state; that is in the types.
//! 2. Between data and broadcast records there is no order: which rules a record sees depends on what came first. In batch
//!    mode each sees all of them.
//! 3. What it is otherwise is a [`CoProcessFunction`]: the watermark is the least of both inputs.

use std::marker::PhantomData;

use wiesel_core::TaskFailure;
use wiesel_record::{Out, Record};

use crate::{
    BroadcastStates, CoHead, CoProcessFunction, CoStart, Either, FunctionError, Link,
    OperatorStateRegistry, ProcessContext, RuntimeContext, Start, TaskContext,
    spooled::SpooledHead,
};

/// A function over the records of a stream, and over those of a broadcast stream, which every subtask gets.
///
/// It is cloned once per subtask. What it keeps in fields is in no checkpoint.
///
/// ```
/// use wiesel_operators::{
///     FunctionError, BroadcastProcessFunction, BroadcastState, BroadcastStates, ProcessContext,
/// };
/// use wiesel_record::Out;
///
/// const NAMES: BroadcastState<u64, String> = BroadcastState::new("names");
///
/// /// Names for numbers, as the broadcast stream has said them last; numbers without a name go aside.
/// #[derive(Clone)]
/// struct Named;
///
/// impl BroadcastProcessFunction<u64, (u64, String)> for Named {
///     type Out = String;
///     type Side = u64;
///
///     fn process(
///         &mut self,
///         number: u64,
///         states: &BroadcastStates,
///         context: &mut ProcessContext<'_, u64>,
///         out: &mut dyn Out<String>,
///     ) -> Result<(), FunctionError> {
///         match states.map(&NAMES).get(number) {
///             Some(name) => out.emit(name),
///             None => context.side(number),
///         }
///         Ok(())
///     }
///
///     fn process_broadcast(
///         &mut self,
///         (number, name): (u64, &str),
///         states: &mut BroadcastStates,
///         _context: &mut ProcessContext<'_, u64>,
///         _out: &mut dyn Out<String>,
///     ) -> Result<(), FunctionError> {
///         states.put(&NAMES, number, name);
///         Ok(())
///     }
/// }
/// ```
///
/// The data side cannot write:
///
/// ```compile_fail,E0596
/// # use wiesel_operators::{BroadcastState, BroadcastStates};
/// # const NAMES: BroadcastState<u64, String> = BroadcastState::new("names");
/// fn process(states: &BroadcastStates) {
///     states.put(&NAMES, 7, "seven"); // Takes `&mut BroadcastStates`.
/// }
/// ```
pub trait BroadcastProcessFunction<T: Record, B: Record>: Clone + Send + 'static {
    /// What goes on.
    type Out: Record;
    /// What is put aside; `()` if nothing is.
    type Side: Record;

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

    /// Takes one record; it sees the broadcast states.
    ///
    /// # Errors
    ///
    /// Whatever makes the record impossible to process; the job fails.
    fn process(
        &mut self,
        value: T::View<'_>,
        states: &BroadcastStates,
        context: &mut ProcessContext<'_, Self::Side>,
        out: &mut dyn Out<Self::Out>,
    ) -> Result<(), FunctionError>;

    /// Takes one broadcast record, in every subtask; it may change the broadcast states, in each subtask to the same.
    ///
    /// # Errors
    ///
    /// As [`process`](Self::process).
    fn process_broadcast(
        &mut self,
        value: B::View<'_>,
        states: &mut BroadcastStates,
        context: &mut ProcessContext<'_, Self::Side>,
        out: &mut dyn Out<Self::Out>,
    ) -> Result<(), FunctionError>;
}

/// The function as one over two streams.
pub struct BroadcastProcess<F, T, B> {
    function: F,
    states: OperatorStateRegistry,
    types: PhantomData<fn(T, B)>,
}

impl<F, T, B> BroadcastProcess<F, T, B> {
    fn new(function: F, states: OperatorStateRegistry) -> Self {
        Self { function, states, types: PhantomData }
    }
}

impl<F: Clone, T, B> Clone for BroadcastProcess<F, T, B> {
    fn clone(&self) -> Self {
        Self::new(self.function.clone(), self.states.clone())
    }
}

/// Calls `call` with the states of `context`, which go back there.
fn with_states<S: Record, R>(
    context: &mut ProcessContext<'_, S>,
    call: impl FnOnce(&mut BroadcastStates, &mut ProcessContext<'_, S>) -> R,
) -> R {
    let mut states = BroadcastStates { states: std::mem::take(context.states) };
    let result = call(&mut states, context);
    *context.states = states.states;
    result
}

impl<T, B, F> CoProcessFunction<T, B> for BroadcastProcess<F, T, B>
where
    T: Record,
    B: Record,
    F: BroadcastProcessFunction<T, B>,
{
    type Out = F::Out;
    type Side = F::Side;

    fn initialize_state(&self, states: &mut OperatorStateRegistry) {
        *states = self.states.clone();
    }

    fn open(&mut self, runtime: &RuntimeContext) -> Result<(), FunctionError> {
        self.function.open(runtime)
    }

    fn close(&mut self) -> Result<(), FunctionError> {
        self.function.close()
    }

    fn process1(
        &mut self,
        value: T::View<'_>,
        context: &mut ProcessContext<'_, F::Side>,
        out: &mut dyn Out<F::Out>,
    ) -> Result<(), FunctionError> {
        with_states(context, |states, context| self.function.process(value, states, context, out))
    }

    fn process2(
        &mut self,
        value: B::View<'_>,
        context: &mut ProcessContext<'_, F::Side>,
        out: &mut dyn Out<F::Out>,
    ) -> Result<(), FunctionError> {
        with_states(context, |states, context| {
            self.function.process_broadcast(value, states, context, out)
        })
    }
}

/// A chain that starts at a gate with data and one with what is broadcast.
pub struct BroadcastStart<T, B, F>(CoStart<T, B, BroadcastProcess<F, T, B>>);

impl<T, B, F> BroadcastStart<T, B, F> {
    /// Processes with `function` and these states, which are broadcast ones; what it puts aside goes to the output in
    /// `side_slot`.
    pub fn new(function: F, states: OperatorStateRegistry, side_slot: Option<usize>) -> Self {
        Self(CoStart::new(BroadcastProcess::new(function, states), side_slot))
    }
}

impl<T, B, F: Clone> Clone for BroadcastStart<T, B, F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

type BroadcastHead<T, B, F, D> = CoHead<T, B, BroadcastProcess<F, T, B>, D>;

impl<T: Record, B: Record, F: BroadcastProcessFunction<T, B>> Start for BroadcastStart<T, B, F> {
    type Out = F::Out;
    type Head<D: Link<F::Out>> =
        Either<BroadcastHead<T, B, F, D>, SpooledHead<T, BroadcastHead<T, B, F, D>>>;

    fn head<D: Link<F::Out>>(
        self,
        next: D,
        context: &TaskContext,
    ) -> Result<Self::Head<D>, TaskFailure> {
        let head = self.0.head(next, context)?;
        Ok(match context.batch() {
            Some(options) => Either::Second(SpooledHead::new(head, options, context)?),
            None => Either::First(head),
        })
    }
}
