//! What an operator on keyed state is: one record of one key at a time, and the state of the keys of a subtask.
//!
//! ```text
//!   KeyedHead ─▶ begin_ahead, find_ahead × 32 ─▶ apply × 32        a block of records
//!             ─▶ watermark, advance_time, snapshot, restore
//! ```
//!
//! # What is always true
//!
//! 1. The records of a key are applied in the order of their arrival.
//! 2. What is found ahead changes nothing: `apply` gives the same with it and without.

use wiesel_core::{Meta, TaskFailure, Timestamp};
use wiesel_record::{Key, Record};
use wiesel_state::{KeyBatch, Spot, StateDescriptor};

use crate::{Link, OutputPort, Pace, Progress, Snapshot, Status, TaskContext, VisitTable};

/// A key's hash, and where the tables of the task look for it. Found once per record, for the prefetch and the look-up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Located {
    /// Of the key; it came in the frame.
    pub hash: u64,
    /// Of the hash.
    pub spot: Spot,
    /// Which key of a block it is, if [`KeyedOperator::find_ahead`] was called for it.
    pub ahead: Option<usize>,
}

impl Located {
    /// The same, found ahead only if `is_there`: in the table in which the block was looked up.
    #[inline(always)]
    pub(crate) fn found_if(self, is_there: bool) -> Self {
        Self { ahead: self.ahead.filter(|_| is_there), ..self }
    }
}

/// What happens to the records of one key: the keyed part of a head.
pub trait KeyedOperator<T: Record, K: Key>: 'static {
    /// What comes out.
    type Out: Record;

    /// The key at this spot will be looked up soon.
    fn prefetch(&self, spot: Spot);

    /// Whether prefetching pays: whether the state is larger than a cache.
    fn wants_prefetch(&self) -> bool;

    /// Whether the operator looks up a block of keys before it applies them.
    const FINDS_AHEAD: bool = false;

    /// Begins a block of keys. Says whether its rows are marked when they are written, as [`Table::begin_ahead`](wiesel_state::Table::begin_ahead) does.
    fn begin_ahead(&mut self) -> bool {
        false
    }

    /// Looks up the `index`-th key of a block, below `AHEAD_MAX`, for [`apply`](Self::apply), which follows for all
    /// keys of the block or for the first ones.
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

    /// Applies one record whose row is resident.
    fn apply<D: Link<Self::Out>>(
        &mut self,
        key: K::View<'_>,
        at: Located,
        value: T::View<'_>,
        meta: Meta,
        next: &mut D,
    );

    /// Does what a watermark triggers; [`Progress::Stopped`] keeps a cursor. Does not pass it on.
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

    /// The watermark or status is passed on: side outputs want it too.
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
pub trait KeyedStart<T: Record, K: Key>: Clone + Send + 'static {
    /// The operator.
    type Operator: KeyedOperator<T, K>;

    /// Makes it.
    ///
    /// # Errors
    ///
    /// If its state cannot be laid out.
    fn operator(self, context: &TaskContext) -> Result<Self::Operator, TaskFailure>;
}
