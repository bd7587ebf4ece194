//! What an operator on keyed state with two inputs is: records of two types, one type of key, one state.
//!
//! ```text
//!   input 0 ─▶ apply_first  ─┐
//!                            ├─▶ the rows of the key        watermark: the least of both inputs
//!   input 1 ─▶ apply_second ─┘
//! ```
//!
//! # What is always true
//!
//! 1. The records of a key are applied in the order of their arrival within an input. Between inputs there is no order.
//! 2. What is found ahead changes nothing: applying gives the same with it and without.

use wiesel_core::{Meta, TaskFailure, Timestamp};
use wiesel_record::{Key, Record};
use wiesel_state::{KeyBatch, Spot, StateDescriptor};

use crate::{Link, Located, OutputPort, Pace, Progress, Snapshot, Status, TaskContext, VisitTable};

/// What happens to the records of one key: the keyed part of a head with two inputs. The methods that are not about one
/// of them are those of [`KeyedOperator`](crate::KeyedOperator).
pub trait KeyedCoOperator<T1: Record, T2: Record, K: Key>: 'static {
    /// What comes out.
    type Out: Record;

    /// Whether the operator looks up a block of keys before it applies them.
    const FINDS_AHEAD: bool = false;

    /// The key at this spot will come on this input soon.
    fn prefetch(&self, input: usize, spot: Spot);

    /// Whether prefetching pays for this input.
    fn wants_prefetch(&self, input: usize) -> bool;

    /// Begins a block of keys of one input.
    fn begin_ahead(&mut self, input: usize) -> bool {
        let _ = input;
        false
    }

    /// Looks up the `index`-th key of a block.
    fn find_ahead(&mut self, index: usize, key: K::View<'_>, at: Located, marks: bool) {
        let _ = (index, key, at, marks);
    }

    /// Whether rows can be missing at all.
    fn may_miss(&self) -> bool {
        false
    }

    /// Lists, by index, the keys whose rows are not resident, and asks for them.
    fn list_missing(&mut self, keys: &KeyBatch, missing: &mut Vec<usize>) {
        let _ = (keys, missing);
    }

    /// Adds the keys whose rows have come.
    fn poll_arrivals(&mut self, arrived: &mut KeyBatch) {
        let _ = arrived;
    }

    /// Applies one record of the first input whose row is resident.
    fn apply_first<D: Link<Self::Out>>(
        &mut self,
        key: K::View<'_>,
        at: Located,
        value: T1::View<'_>,
        meta: Meta,
        next: &mut D,
    );

    /// Applies one record of the second input whose row is resident.
    fn apply_second<D: Link<Self::Out>>(
        &mut self,
        key: K::View<'_>,
        at: Located,
        value: T2::View<'_>,
        meta: Meta,
        next: &mut D,
    );

    /// Does what the watermark of both inputs triggers; [`Progress::Stopped`] keeps a cursor. Does not pass it on.
    fn watermark<D: Link<Self::Out>>(
        &mut self,
        watermark: Timestamp,
        next: &mut D,
        pace: &mut Pace,
    ) -> Progress;

    /// The earliest processing-time timer.
    fn next_timer(&self) -> Option<Timestamp> {
        None
    }

    /// Fires processing-time timers.
    fn advance_time<D: Link<Self::Out>>(
        &mut self,
        now: Timestamp,
        next: &mut D,
        pace: &mut Pace,
    ) -> Progress {
        let _ = (now, next, pace);
        Progress::Done
    }

    /// The key at hand has ended, in batch mode: fires its timers and windows up to the end of time, emits what is left of
    /// it, and becomes as if no record had ever come. Called again if it was stopped.
    ///
    /// Records come key after key then, and the tables are of [one key](TaskContext).
    fn end_key<D: Link<Self::Out>>(&mut self, next: &mut D, pace: &mut Pace) -> Progress;

    /// The task ends: functions of the program are closed.
    fn close(&mut self) {}

    /// Shows side outputs.
    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        let _ = visit;
    }

    /// The watermark is passed on: side outputs want it too.
    fn forward_watermark(&mut self, watermark: Timestamp) {
        let _ = watermark;
    }

    /// As [`forward_watermark`](Self::forward_watermark), for the status.
    fn forward_status(&mut self, status: Status) {
        let _ = status;
    }

    /// Adds keyed state that is in no table, by key group or by subtask.
    fn snapshot(&mut self, snapshot: &mut Snapshot) {
        let _ = snapshot;
    }

    /// What it keeps by key beside states that say themselves what they are, in words, for checkpoints.
    fn keeps() -> Vec<StateDescriptor>;

    /// Shows all tables with keyed state and all timers, in the same order as long as they live.
    fn tables(&mut self, visit: &mut VisitTable<'_>);

    /// Takes the state of the key groups of this subtask.
    ///
    /// # Errors
    ///
    /// If it is damaged, or has another schema.
    fn restore(&mut self, snapshot: &Snapshot) -> impl Future<Output = Result<(), TaskFailure>>;
}

/// Makes the operator of one subtask.
pub trait KeyedCoStart<T1: Record, T2: Record, K: Key>: Clone + Send + 'static {
    /// The operator.
    type Operator: KeyedCoOperator<T1, T2, K>;

    /// Makes it.
    ///
    /// # Errors
    ///
    /// If its state cannot be laid out.
    fn operator(self, context: &TaskContext) -> Result<Self::Operator, TaskFailure>;
}
