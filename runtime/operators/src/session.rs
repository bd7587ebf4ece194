//! Session windows per key, in event time: they grow with each record, and end when none has come for a gap.
//!
//! ```text
//!   records of a key   ──x──x───x──────────────x──x──▶      gap ├──┤
//!   its sessions         [        )             [     )     in its row: the last one in cells, others in a block
//!   timers                    ▲   ▲ armed again: it had grown      at most one per session, moved when it comes out
//! ```
//!
//! A record that only makes the last session of its key longer is one look-up, a few comparisons and a fold.
//!
//! # What is always true
//!
//! 1. A record opens `[time, time + gap)`. Sessions of a key that overlap or touch are merged, whatever the order in which
//!    their records came; accumulators are merged in order of time.
//! 2. Whether a record is late is asked of what it has been merged into: it is if that is over, that is if its
//!    `max_timestamp + lateness <= watermark`. Then it touches no state.
//! 3. A session fires when the watermark has reached its last time, and from then on again with each record until it is
//!    over. One that bridges two that have fired fires their union, once.
//! 4. Sessions fire in order of their ends; results carry `max_timestamp` and leave before the watermark.
//! 5. A timer is never after what its session waits for. One whose session has gone elsewhere finds nothing to do.

mod gap;
mod kept;
mod row;

use std::{marker::PhantomData, mem};

use wiesel_core::{Blame, Meta, TaskFailure, Timestamp};
use wiesel_record::{Key, Record};
use wiesel_state::{NextTimer, Spot, StateDescriptor, Table, TimerWheel, WheelTimer};

use self::{
    kept::Kept,
    row::{SessionRow, damaged},
};
use crate::{
    Folding, KeyedOperator, KeyedStart, Link, Located, OutputPort, Pace, Progress, Snapshot,
    Status, TablePart, TaskContext, TimeWindow, VisitTable, WindowOptions, descriptors,
    flat_map::Emit,
    keyed_table,
    late::LateRecords,
    rolling::{CACHE_BYTES, fold_into},
};

pub use self::gap::{DynamicGap, FixedGap, Session, SessionGap};

/// The name of the parts in snapshots.
const STATE: &str = "sessions";

/// Timers of one time that come out between the one whose row is asked for and the one at hand.
const DUE_AHEAD: usize = 4;

/// Aggregates per key and session.
pub struct SessionWindows<A, G, K: Key, T: Record>
where
    A: Folding<K, T>,
{
    folding: A,
    options: WindowOptions<Session<G>>,
    table: Table,
    rows: SessionRow<A::Acc>,
    timers: TimerWheel,
    watermark: Timestamp,
    late: LateRecords<T>,
    /// The sessions of the key at hand.
    kept: Vec<Kept<A::Acc>>,
    scratch: Vec<u8>,
    context: TaskContext,
    types: PhantomData<fn(T) -> K>,
}

/// Makes [`SessionWindows`] per subtask.
#[derive(Clone)]
pub struct SessionStart<A, G> {
    folding: A,
    options: WindowOptions<Session<G>>,
}

impl<A, G> SessionStart<A, G> {
    /// Aggregates with `folding` in sessions by `options`.
    pub fn new(folding: A, options: WindowOptions<Session<G>>) -> Self {
        Self { folding, options }
    }
}

impl<K, T, A, G> KeyedStart<T, K> for SessionStart<A, G>
where
    K: Key,
    T: Record,
    A: Folding<K, T>,
    G: SessionGap<T>,
{
    type Operator = SessionWindows<A, G, K, T>;

    fn operator(self, context: &TaskContext) -> Result<SessionWindows<A, G, K, T>, TaskFailure> {
        const {
            assert!(
                A::CAN_MERGE,
                "sessions grow together, so their aggregate has to merge two accumulators: implement `merge` and set `CAN_MERGE`"
            );
        }
        let layout = keyed_table::layout::<K>(SessionRow::<A::Acc>::declare)?;
        let late = LateRecords::new(self.options.late_slot, context);
        Ok(SessionWindows {
            folding: self.folding,
            options: self.options,
            rows: SessionRow::of(&layout)?,
            table: keyed_table::table_of(&layout, context),
            timers: TimerWheel::new(),
            watermark: Timestamp::MIN,
            late,
            kept: Vec::new(),
            scratch: Vec::new(),
            context: context.clone(),
            types: PhantomData,
        })
    }
}

impl<A, G, K, T> SessionWindows<A, G, K, T>
where
    A: Folding<K, T>,
    G: SessionGap<T>,
    K: Key,
    T: Record,
{
    /// What a session waits for.
    fn deadline(&self, window: TimeWindow, fired: bool) -> Timestamp {
        if fired { self.options.over_at(window) } else { window.max_timestamp() }
    }

    /// A record that opens a session, merges some, or fires one again.
    #[inline(never)]
    fn take<D: Link<A::Out>>(
        &mut self,
        key: K::View<'_>,
        hash: u64,
        is_new: bool,
        value: T::View<'_>,
        window: TimeWindow,
        next: &mut D,
    ) -> Result<bool, TaskFailure> {
        let mut scratch = mem::take(&mut self.scratch);
        let mut kept = mem::take(&mut self.kept);
        let taken = K::with_key_bytes(key, &mut scratch, |bytes| {
            let at = self.take_into(&mut kept, bytes, hash, is_new, value, window)?;
            let Some(session) = at.map(|at| &mut kept[at]) else {
                if is_new {
                    self.table.remove(hash, bytes); // It was made to be looked for.
                }
                return Ok(false);
            };
            if session.fired {
                let (window, acc) = (session.window, session.acc(&self.rows.loaded)?.view());
                let emit = &mut Emit { next, meta: Meta::at(window.max_timestamp()) };
                self.folding.emit(key, window, acc, emit);
            }
            let deadline = self.deadline(session.window, session.fired);
            if deadline < session.armed {
                session.armed = deadline;
                self.timers.arm(deadline, hash, bytes);
            }
            let mut row = self.table.upsert(hash, bytes);
            self.rows.store(&mut row, &mut kept).map(|()| true)
        });
        kept.clear();
        (self.kept, self.scratch) = (kept, scratch);
        taken
    }

    /// Loads the sessions of a key and takes a record into them; gives the place of the one that has it.
    fn take_into(
        &mut self,
        kept: &mut Vec<Kept<A::Acc>>,
        key: &[u8],
        hash: u64,
        is_new: bool,
        value: T::View<'_>,
        window: TimeWindow,
    ) -> Result<Option<usize>, TaskFailure> {
        if !is_new && let Some(row) = self.table.find(hash, key) {
            self.rows.load(&row, kept)?;
        }
        let (folding, loaded, watermark) = (&self.folding, &self.rows.loaded, self.watermark);
        let is_over = |window| self.options.over_at(window) <= watermark;
        kept::take::<K, T, A>(folding, kept, loaded, window, value, watermark, is_over)
    }

    /// A timer has come out.
    fn on_timer<D: Link<A::Out>>(
        &mut self,
        timer: WheelTimer,
        next: &mut D,
    ) -> Result<(), TaskFailure> {
        let (hash, time) = (timer.hash(), timer.time());
        let Some(row) = self.table.find(hash, timer.key()) else { return Ok(()) };
        let Some(last) = self.rows.last(&row) else { return Ok(()) };
        if last.armed != time.as_millis() {
            // Of another session of the key, or of one that is no more.
            return if last.others() == 0 { Ok(()) } else { self.on_timer_of_another(timer, next) };
        }
        let (window, fired) = (last.window(), last.has_fired());
        let fires = !fired && window.max_timestamp() <= time;
        if fires {
            let emit = &mut Emit { next, meta: Meta::at(window.max_timestamp()) };
            self.rows.acc.with(&row, |acc| {
                K::with_key(timer.key(), |key| self.folding.emit(key, window, acc, emit));
            });
        }
        let deadline = self.deadline(window, fired || fires);
        if deadline > time {
            let Some(mut row) = self.table.find_mut(hash, timer.key()) else { return Ok(()) };
            self.rows.store_last(&mut row, last.waiting(deadline, fired || fires));
            self.arm_again(timer, deadline);
            return Ok(());
        }
        if last.others() == 0 {
            self.table.remove(hash, timer.key());
            return Ok(());
        }
        // The one before it is the last one now.
        self.change(hash, timer.key(), |_, kept| {
            kept.truncate(kept.len() - 1);
            Ok(())
        })
    }

    /// As [`on_timer`](Self::on_timer), if it is not of the last session of its key.
    fn on_timer_of_another<D: Link<A::Out>>(
        &mut self,
        timer: WheelTimer,
        next: &mut D,
    ) -> Result<(), TaskFailure> {
        let time = timer.time();
        let mut again = None;
        self.change(timer.hash(), timer.key(), |this, kept| {
            let Some(at) = kept.iter().position(|session| session.armed == time) else {
                return Ok(());
            };
            let session = &mut kept[at];
            if !session.fired && session.window.max_timestamp() <= time {
                session.fired = true;
                let emit = &mut Emit { next, meta: Meta::at(time) };
                let (window, acc) = (session.window, session.acc(&this.rows.loaded)?.view());
                K::with_key(timer.key(), |key| this.folding.emit(key, window, acc, emit));
            }
            session.armed = this.deadline(session.window, session.fired);
            match session.armed {
                armed if armed > time => again = Some(armed),
                _ => drop(kept.remove(at)),
            }
            Ok(())
        })?;
        if let Some(deadline) = again {
            self.arm_again(timer, deadline);
        }
        Ok(())
    }

    /// What waits for the end of time needs no timer.
    fn arm_again(&mut self, timer: WheelTimer, deadline: Timestamp) {
        if deadline < Timestamp::MAX {
            self.timers.arm_again(timer, deadline);
        }
    }

    /// Changes all sessions of a key that has some.
    fn change(
        &mut self,
        hash: u64,
        key: &[u8],
        change: impl FnOnce(&Self, &mut Vec<Kept<A::Acc>>) -> Result<(), TaskFailure>,
    ) -> Result<(), TaskFailure> {
        let mut kept = mem::take(&mut self.kept);
        if let Some(row) = self.table.find(hash, key) {
            self.rows.load(&row, &mut kept)?;
        }
        change(self, &mut kept)?;
        if let Some(mut row) = self.table.find_mut(hash, key) {
            self.rows.store(&mut row, &mut kept)?;
        }
        kept.clear();
        self.kept = kept;
        Ok(())
    }

    /// Checks the sessions of all rows, and arms their timers.
    async fn arm_restored(&mut self) -> Result<(), TaskFailure> {
        let (mut kept, mut shortened) = (Vec::new(), Vec::new());
        for (index, (_, row)) in self.table.iter().enumerate() {
            self.rows.acc.check(&row)?;
            self.rows.load(&row, &mut kept)?;
            let is_sound = |session: &Kept<A::Acc>| session.window.start <= session.window.end;
            let is_apart = |pair: &[Kept<A::Acc>]| pair[0].window.end < pair[1].window.start;
            if !kept.iter().all(is_sound) || !kept.windows(2).all(is_apart) {
                return Err(damaged("the sessions of a key overlap"));
            }
            let hash = K::with_key(row.key(), |key| K::key_hash(key));
            let mut is_shortened = false;
            for session in &mut kept {
                session.acc(&self.rows.loaded)?;
                let deadline = self.deadline(session.window, session.fired);
                // It can be later if the program now allows less lateness.
                is_shortened |= deadline < session.armed;
                session.armed = session.armed.min(deadline);
                if session.armed < Timestamp::MAX {
                    self.timers.arm(session.armed, hash, row.key());
                }
            }
            if is_shortened {
                shortened.push((hash, row.key().to_vec()));
            }
            keyed_table::pause_behind(index).await;
        }
        for (index, (hash, key)) in shortened.into_iter().enumerate() {
            self.change(hash, &key, |this, kept| {
                for session in kept {
                    let deadline = this.deadline(session.window, session.fired);
                    session.armed = session.armed.min(deadline);
                }
                Ok(())
            })?;
            keyed_table::pause_behind(index).await;
        }
        Ok(())
    }
}

impl<A, G, K, T> KeyedOperator<T, K> for SessionWindows<A, G, K, T>
where
    A: Folding<K, T>,
    G: SessionGap<T>,
    K: Key,
    T: Record,
{
    type Out = A::Out;

    const FINDS_AHEAD: bool = keyed_table::finds_ahead::<K>();

    #[inline]
    fn prefetch(&self, spot: Spot) {
        self.table.prefetch(spot);
    }

    #[inline]
    fn wants_prefetch(&self) -> bool {
        self.table.bytes_used() > CACHE_BYTES
    }

    #[inline]
    fn begin_ahead(&mut self) -> bool {
        self.table.begin_ahead()
    }

    #[inline(always)]
    fn find_ahead(&mut self, index: usize, key: K::View<'_>, at: Located, marks: bool) {
        keyed_table::find_ahead::<K>(&mut self.table, index, at, key, &mut self.scratch, marks);
    }

    #[inline(always)]
    fn apply<D: Link<A::Out>>(
        &mut self,
        key: K::View<'_>,
        located: Located,
        value: T::View<'_>,
        meta: Meta,
        next: &mut D,
    ) {
        let (Some(time), gap_ms) = (meta.time, self.options.windows.gap.gap_ms(value)) else {
            return self.context.fail_untimed("assign a record to a window", "window");
        };
        if gap_ms <= 0 {
            return no_gap(&self.context);
        }
        let window = TimeWindow { start: time, end: time.offset_millis(gap_ms) };
        let (start, end) = (time.as_millis(), window.end.as_millis());
        let mut row = keyed_table::upsert::<K>(&mut self.table, located, key, &mut self.scratch);
        let taken = if self.rows.extend(&mut row, start, end) {
            fold_into(&self.folding, &mut self.rows.acc, &mut row, value).map(|_| true)
        } else {
            let is_new = row.inserted();
            self.take(key, located.hash, is_new, value, window, next)
        };
        match taken {
            Ok(true) => {}
            Ok(false) => self.late.take(value, meta, 1),
            Err(failure) => self.context.fail(failure),
        }
    }

    fn watermark<D: Link<A::Out>>(
        &mut self,
        watermark: Timestamp,
        next: &mut D,
        pace: &mut Pace,
    ) -> Progress {
        assert!(watermark >= self.watermark, "watermark moved backwards");
        self.watermark = watermark;
        loop {
            match self.timers.next(watermark) {
                NextTimer::Due(timer) => {
                    if let Some(hash) = self.timers.due_ahead(DUE_AHEAD) {
                        self.table.prefetch(self.table.spot(hash));
                    }
                    if let Err(failure) = self.on_timer(timer, next) {
                        self.context.fail(failure);
                    }
                }
                NextTimer::NotYet => {}
                NextTimer::None => break,
            }
            if pace.is_over() {
                return Progress::Stopped;
            }
        }
        if watermark == Timestamp::MAX {
            self.table.clear(); // What had no timer.
        }
        Progress::Done
    }

    fn end_key<D: Link<A::Out>>(&mut self, next: &mut D, pace: &mut Pace) -> Progress {
        let progress = self.watermark(Timestamp::MAX, next, pace);
        if progress == Progress::Done {
            self.watermark = Timestamp::MIN;
            self.timers.begin_anew();
        }
        progress
    }

    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        self.late.ports(visit);
    }

    fn forward_watermark(&mut self, watermark: Timestamp) {
        self.late.watermark(watermark);
    }

    fn forward_status(&mut self, status: Status) {
        self.late.status(status);
    }

    fn keeps() -> Vec<StateDescriptor> {
        vec![descriptors::accumulator::<A::Acc>(STATE)]
    }

    fn tables(&mut self, visit: &mut VisitTable<'_>) {
        visit(TablePart { name: STATE, header: &[], table: &mut self.table });
    }

    async fn restore(&mut self, snapshot: &Snapshot) -> Result<(), TaskFailure> {
        for bytes in snapshot.keyed(STATE, self.context.key_groups()) {
            keyed_table::import_checked::<K>(&mut self.table, bytes, |_| Ok(())).await?;
        }
        self.arm_restored().await
    }
}

#[cold]
pub(crate) fn no_gap(context: &TaskContext) {
    let cause = "the gap of its session is under a millisecond: the function given to `with_dynamic_gap` has to give more";
    context.fail(TaskFailure::new(Blame::Job, "assign a record to a session", cause));
}
