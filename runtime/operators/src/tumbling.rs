//! Tumbling event-time windows per key: a table per open window, dropped whole when it is over.
//!
//! ```text
//!   records     ──3────7─────12───────14──▶
//!   tables      [0        10)[10         20)       one per window: (key) → accumulator
//!   watermark   ────────────▲ 9 fires [0, 10): nothing on time can reach it any more
//!                             + lateness: the table is dropped
//! ```
//!
//! # What is always true
//!
//! 1. The watermark never moves backwards. Between calls every table's `max_timestamp + lateness` is above it.
//! 2. A record is late if its window's `max_timestamp + lateness <= watermark`: it goes to the side output, or
//!    is counted (`numLateRecordsDropped`), and touches no state.
//! 3. A record whose window has fired but is not over yet fires its key's result again, at once.
//! 4. Windows fire in order of their end; results carry `max_timestamp` and leave before the watermark.
//! 5. Timers are per window, not per key: there is one comparison per watermark and window.

use std::{marker::PhantomData, ops::ControlFlow, sync::Arc, time::Duration};

use wiesel_core::{Blame, KeyGroup, Meta, TaskFailure, Timestamp};
use wiesel_record::{Key, Record};
use wiesel_state::{RowLayout, Spot, StateDescriptor, Table};

use crate::{
    Folding, KeyedOperator, KeyedStart, Link, Located, OutputPort, Pace, Progress, Snapshot,
    StateCell, Status, TablePart, TaskContext, TimeWindow, Tumbling, VisitTable, descriptors,
    fired::{self, Fired},
    flat_map::Emit,
    keyed_table,
    late::LateRecords,
    rolling::{CACHE_BYTES, fold_into},
};

/// The name of the accumulator in rows and of the parts in snapshots.
const STATE: &str = "window";
const FIRED: &str = "window.fired";

/// How records are put into windows, and how long a window waits.
#[derive(Clone, Debug)]
pub struct WindowOptions<W = Tumbling> {
    /// The windows.
    pub windows: W,
    /// How long after it has fired a window takes late records.
    pub allowed_lateness: Duration,
    /// The slot of the side output for records that come later still.
    pub late_slot: Option<usize>,
}

impl<W> WindowOptions<W> {
    /// Windows that drop late records.
    pub fn new(windows: W) -> Self {
        Self { windows, allowed_lateness: Duration::ZERO, late_slot: None }
    }

    /// The same for other windows.
    pub fn with<V>(self, windows: V) -> WindowOptions<V> {
        let Self { allowed_lateness, late_slot, .. } = self;
        WindowOptions { windows, allowed_lateness, late_slot }
    }

    /// The windows, and all else.
    pub fn split(self) -> (W, WindowOptions<()>) {
        let Self { windows, allowed_lateness, late_slot } = self;
        (windows, WindowOptions { windows: (), allowed_lateness, late_slot })
    }

    /// The last watermark at which a window is still kept.
    pub(crate) fn over_at(&self, window: TimeWindow) -> Timestamp {
        window.max_timestamp() + self.allowed_lateness
    }
}

/// The accumulators of one window.
struct Slice {
    window: TimeWindow,
    table: Table,
    fired: bool,
}

/// Where the firing of a window was stopped: rows of `group` before `row` are emitted.
#[derive(Clone, Copy)]
struct Firing {
    slice: usize,
    group: KeyGroup,
    row: usize,
}

/// Aggregates per key and window.
pub struct TumblingWindows<A, K: Key, T: Record>
where
    A: Folding<K, T>,
{
    folding: A,
    options: WindowOptions,
    layout: Arc<RowLayout>,
    cell: StateCell<A::Acc>,
    /// In order of their windows.
    slices: Vec<Slice>,
    /// The slice of the last record: its neighbours tend to share it.
    recent: usize,
    /// The one in whose table a block of keys was looked up. None if it may lie elsewhere by now.
    ahead: Option<usize>,
    /// An empty table with room for as many keys as the last window had.
    spare: Option<Table>,
    watermark: Timestamp,
    firing: Option<Firing>,
    late: LateRecords<T>,
    scratch: Vec<u8>,
    context: TaskContext,
    types: PhantomData<fn(T) -> K>,
}

/// Makes [`TumblingWindows`] per subtask.
#[derive(Clone)]
pub struct TumblingStart<A> {
    folding: A,
    options: WindowOptions,
}

impl<A> TumblingStart<A> {
    /// Aggregates with `folding` in windows by `options`.
    pub fn new(folding: A, options: WindowOptions) -> Self {
        Self { folding, options }
    }
}

impl<K: Key, T: Record, A: Folding<K, T>> KeyedStart<T, K> for TumblingStart<A> {
    type Operator = TumblingWindows<A, K, T>;

    fn operator(self, context: &TaskContext) -> Result<TumblingWindows<A, K, T>, TaskFailure> {
        let layout =
            keyed_table::layout::<K>(|layout| StateCell::<A::Acc>::declare(layout, STATE))?;
        let late = LateRecords::new(self.options.late_slot, context);
        Ok(TumblingWindows {
            folding: self.folding,
            options: self.options,
            cell: StateCell::of(&layout, STATE)?,
            layout,
            slices: Vec::new(),
            recent: 0,
            ahead: None,
            spare: None,
            watermark: Timestamp::MIN,
            firing: None,
            late,
            scratch: Vec::new(),
            context: context.clone(),
            types: PhantomData,
        })
    }
}

impl<A, K, T> TumblingWindows<A, K, T>
where
    A: Folding<K, T>,
    K: Key,
    T: Record,
{
    /// The slice of a time; none if its window is over.
    #[inline]
    fn slice_of(&mut self, time: Timestamp) -> Option<usize> {
        if let Some(slice) = self.slices.get(self.recent)
            && slice.window.start <= time
            && time < slice.window.end
        {
            return Some(self.recent);
        }
        self.find_slice(time)
    }

    fn find_slice(&mut self, time: Timestamp) -> Option<usize> {
        let window = self.options.windows.window_of(time);
        if self.options.over_at(window) <= self.watermark {
            return None;
        }
        let at = self.slices.partition_point(|slice| slice.window < window);
        if self.slices.get(at).is_none_or(|slice| slice.window != window) {
            // Of times in order: a late slice has few records.
            let before =
                self.slices.last().filter(|_| at == self.slices.len()).map(|last| &last.table);
            let new = || keyed_table::table_after(before, &self.layout, &self.context);
            let table = self.spare.take().unwrap_or_else(new);
            let fired = window.max_timestamp() <= self.watermark;
            self.slices.insert(at, Slice { window, table, fired });
            self.ahead = None;
        }
        self.recent = at;
        Some(at)
    }

    /// Emits the rows of a slice from where it was stopped. One that is over then is emptied on the way.
    fn fire<D: Link<A::Out>>(
        &mut self,
        from: Firing,
        next: &mut D,
        pace: &mut Pace,
    ) -> Result<(), Firing> {
        let (folding, cell) = (&self.folding, &self.cell);
        let is_over = self.options.allowed_lateness.is_zero();
        let Slice { window, table, .. } = &mut self.slices[from.slice];
        if is_over {
            table.stop_tracking(); // No snapshot will have it any more.
        }
        let emit = &mut Emit { next, meta: Meta::at(window.max_timestamp()) };
        for group in (from.group.0..table.range().end).map(KeyGroup) {
            let skip = if group == from.group { from.row } else { 0 };
            let emitted = table.visit_group(group, skip, |row| {
                cell.with(&row, |acc| {
                    K::with_key(row.key(), |key| folding.emit(key, *window, acc, emit));
                });
                if pace.is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            if let Err(row) = emitted {
                return Err(Firing { group, row, ..from });
            }
            if is_over {
                table.empty_group(group);
            }
        }
        Ok(())
    }

    /// Drops the slices that are over, and keeps one of their tables while there are others.
    fn drop_over(&mut self) {
        let (options, watermark) = (&self.options, self.watermark);
        let over = |slice: &mut Slice| options.over_at(slice.window) <= watermark;
        for Slice { window, table, .. } in self.slices.extract_if(.., over) {
            if table.is_empty() && !table.is_walking() {
                self.spare = Some(table);
            } else {
                self.context.retire(STATE, &window.header(), table);
            }
        }
        if self.slices.is_empty() && !self.context.is_batch() {
            self.spare = None;
        }
        self.recent = 0;
        self.ahead = None;
    }
}

impl<A, K, T> KeyedOperator<T, K> for TumblingWindows<A, K, T>
where
    A: Folding<K, T>,
    K: Key,
    T: Record,
{
    type Out = A::Out;

    const FINDS_AHEAD: bool = keyed_table::finds_ahead::<K>();

    #[inline]
    fn prefetch(&self, spot: Spot) {
        if let Some(slice) = self.slices.get(self.recent) {
            slice.table.prefetch(spot);
        }
    }

    #[inline]
    fn wants_prefetch(&self) -> bool {
        self.slices.get(self.recent).is_some_and(|slice| slice.table.bytes_used() > CACHE_BYTES)
    }

    #[inline]
    fn begin_ahead(&mut self) -> bool {
        let recent = self.slices.get_mut(self.recent);
        self.ahead = recent.is_some().then_some(self.recent);
        recent.is_some_and(|slice| slice.table.begin_ahead())
    }

    #[inline(always)]
    fn find_ahead(&mut self, index: usize, key: K::View<'_>, at: Located, marks: bool) {
        if let Some(slice) = self.ahead.and_then(|ahead| self.slices.get_mut(ahead)) {
            keyed_table::find_ahead::<K>(
                &mut slice.table,
                index,
                at,
                key,
                &mut self.scratch,
                marks,
            );
        }
    }

    // Always: what is located and the meta of a record are in registers then, and not in memory.
    #[inline(always)]
    fn apply<D: Link<A::Out>>(
        &mut self,
        key: K::View<'_>,
        located: Located,
        value: T::View<'_>,
        meta: Meta,
        next: &mut D,
    ) {
        let Some(time) = meta.time else {
            return self.context.fail_untimed("assign a record to a window", "window");
        };
        let Some(at) = self.slice_of(time) else {
            self.late.take(value, meta, self.folding.weight(value));
            return;
        };
        let located = located.found_if(self.ahead == Some(at));
        let (slice, cell, folding) = (&mut self.slices[at], &mut self.cell, &self.folding);
        let mut row = keyed_table::upsert::<K>(&mut slice.table, located, key, &mut self.scratch);
        match fold_into(folding, cell, &mut row, value) {
            Ok(acc) if slice.fired => {
                let meta = Meta::at(slice.window.max_timestamp());
                folding.emit(key, slice.window, acc.view(), &mut Emit { next, meta });
            }
            Ok(_) => {}
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
            let firing = self.firing.take().or_else(|| {
                let due = |slice: &Slice| !slice.fired && slice.window.max_timestamp() <= watermark;
                let slice = self.slices.iter().position(due)?;
                let group = KeyGroup(self.slices[slice].table.range().first);
                Some(Firing { slice, group, row: 0 })
            });
            let Some(firing) = firing else { break };
            if let Err(stopped) = self.fire(firing, next, pace) {
                self.firing = Some(stopped);
                return Progress::Stopped;
            }
            self.slices[firing.slice].fired = true;
        }
        self.drop_over();
        Progress::Done
    }

    fn end_key<D: Link<A::Out>>(&mut self, next: &mut D, pace: &mut Pace) -> Progress {
        let progress = self.watermark(Timestamp::MAX, next, pace);
        if progress == Progress::Done {
            self.watermark = Timestamp::MIN;
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

    fn snapshot(&mut self, snapshot: &mut Snapshot) {
        assert!(self.firing.is_none(), "aligned barriers come behind the watermark at hand");
        if !self.slices.is_empty() {
            let up_to = Some((self.watermark, Timestamp::MAX));
            fired::put(snapshot, FIRED, self.context.key_groups(), up_to);
        }
    }

    fn keeps() -> Vec<StateDescriptor> {
        vec![descriptors::accumulator::<A::Acc>(STATE)]
    }

    fn tables(&mut self, visit: &mut VisitTable<'_>) {
        for Slice { window, table, .. } in &mut self.slices {
            visit(TablePart { name: STATE, header: &window.header(), table });
        }
    }

    async fn restore(&mut self, snapshot: &Snapshot) -> Result<(), TaskFailure> {
        let groups = self.context.key_groups();
        for part in snapshot.keyed(STATE, groups) {
            let Some((window, rows)) = TimeWindow::split_from(part) else {
                return Err(damaged("it ends within its header"));
            };
            if window != self.options.windows.window_of(window.start) {
                return Err(damaged("its windows have another size: the program has changed"));
            }
            let at = self.slices.partition_point(|slice| slice.window < window);
            if self.slices.get(at).is_none_or(|slice| slice.window != window) {
                let table = keyed_table::table_of(&self.layout, &self.context);
                self.slices.insert(at, Slice { window, table, fired: false });
            }
            let (table, cell) = (&mut self.slices[at].table, &self.cell);
            keyed_table::import_checked::<K>(table, rows, |row| cell.check(row)).await?;
        }
        let Some(fired) = Fired::read(snapshot, FIRED) else {
            return Err(damaged("how far its windows have fired cannot be read"));
        };
        for Slice { window, table, fired: has_fired } in &mut self.slices {
            let up_to = fired.up_to(groups, |group| table.group(group).next().is_some());
            *has_fired = up_to.is_some_and(|(up_to, _)| window.max_timestamp() <= up_to);
        }
        Ok(())
    }
}

fn damaged(what: &str) -> TaskFailure {
    TaskFailure::new(Blame::Environment, "restore window state", what.to_owned())
}
