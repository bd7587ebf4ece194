//! Windows of event time over two keyed streams: the records of a key and window that came on either side meet when the
//! window fires. A table per open window, dropped whole when it is over.
//!
//! ```text
//!   left   ──3────7─────────12──▶      [0        10)[10         20)    one table per window:
//!   right  ────5────────14──────▶                                      (key) → left list, right list
//!   watermark   ────────▲ 9 fires [0, 10): a join takes each pair of a key, a co-group both lists
//! ```
//!
//! # What is always true
//!
//! 1. The watermark never moves backwards. Between calls every table's `max_timestamp + lateness` is above it.
//! 2. A record is put into all windows over its time that are not over. If there is none and `time + lateness` is not
//!    above the watermark it is late: it goes to its side's side output, or is counted (`numLateRecordsDropped`).
//! 3. A record whose window has fired but is not over yet fires its key again, at once, with all of its records.
//! 4. Windows fire in order of their end; results carry `max_timestamp` and leave before the watermark.
//! 5. There is no timer per key: one comparison per watermark and window.

mod pairing;

use std::ops::ControlFlow;

use wiesel_core::{KeyGroup, Meta, TaskFailure, Timestamp};
use wiesel_record::{Key, Record};
use wiesel_state::{Row, Spot, StateDescriptor};

use crate::{
    EventTimeWindows, KeyedCoOperator, KeyedCoStart, Link, Located, OutputPort, Pace, Progress,
    Sliding, Snapshot, Status, TaskContext, TimeWindow, Tumbling, Unstamped, VisitTable,
    WindowOptions, descriptors,
    fired::{self, Fired},
    flat_map::Emit,
    keyed_table,
    late::LateRecords,
    rolling::CACHE_BYTES,
    row_list::{Chunks, ListLayout, ListTable, RowList, damaged},
};

pub use pairing::{BothSides, EachPair, WindowPairing};

/// The names of the lists in rows.
const LISTS: [&str; 2] = ["left", "right"];

/// The names of the parts in snapshots.
const PARTS: [&str; 2] = ["window join", "window join.chunks"];
const FIRED: &str = "window join.fired";

/// Windows that two streams can be joined in.
pub trait JoinWindows: EventTimeWindows {
    /// Whether a time may be in several of them.
    const OVERLAP: bool;
}

impl JoinWindows for Tumbling {
    const OVERLAP: bool = false;
}

impl JoinWindows for Sliding {
    const OVERLAP: bool = true;
}

/// The records of one window.
struct Open {
    window: TimeWindow,
    table: ListTable,
    fired: bool,
}

/// Where the firing of a window was stopped: of `group`, rows before `row` are done, and of that row the first `left`.
#[derive(Clone, Copy)]
struct Firing {
    open: usize,
    group: KeyGroup,
    row: usize,
    left: usize,
}

/// Joins two keyed streams in windows.
pub struct WindowJoin<L: Record, R: Record, F, W> {
    pairing: F,
    options: WindowOptions<W>,
    layout: ListLayout,
    left: RowList<L, Unstamped>,
    right: RowList<R, Unstamped>,
    /// In order of their windows.
    open: Vec<Open>,
    /// The window of the last record of each side: its neighbours tend to share it.
    recent: [usize; 2],
    /// The one in whose table a block of keys was looked up. None if it may lie elsewhere by now.
    ahead: Option<usize>,
    watermark: Timestamp,
    firing: Option<Firing>,
    late_left: LateRecords<L>,
    late_right: LateRecords<R>,
    scratch: Vec<u8>,
    context: TaskContext,
}

/// Makes a [`WindowJoin`] per subtask.
#[derive(Clone)]
pub struct WindowJoinStart<F, W> {
    pairing: F,
    options: WindowOptions<W>,
    late_slot_right: Option<usize>,
}

impl<F, W> WindowJoinStart<F, W> {
    /// Pairs in windows by `options`, whose slot is for late records of the left side.
    pub fn new(pairing: F, options: WindowOptions<W>, late_slot_right: Option<usize>) -> Self {
        Self { pairing, options, late_slot_right }
    }
}

impl<L, R, K, F, W> KeyedCoStart<L, R, K> for WindowJoinStart<F, W>
where
    L: Record,
    R: Record,
    K: Key,
    F: WindowPairing<L, R>,
    W: JoinWindows,
{
    type Operator = WindowJoin<L, R, F, W>;

    fn operator(self, context: &TaskContext) -> Result<Self::Operator, TaskFailure> {
        let layout = ListLayout::new::<K>(&LISTS)?;
        Ok(WindowJoin {
            pairing: self.pairing,
            late_left: LateRecords::new(self.options.late_slot, context),
            late_right: LateRecords::new(self.late_slot_right, context),
            options: self.options,
            left: layout.list(LISTS[0], 0)?,
            right: layout.list(LISTS[1], 1)?,
            layout,
            open: Vec::new(),
            recent: [0; 2],
            ahead: None,
            watermark: Timestamp::MIN,
            firing: None,
            scratch: Vec::new(),
            context: context.clone(),
        })
    }
}

/// Emits what a row makes.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "parts of the operator, of which others are borrowed")]
fn pair_up<L: Record, R: Record, F: WindowPairing<L, R>, D: Link<F::Out>>(
    pairing: &F,
    (left, right): (&RowList<L, Unstamped>, &RowList<R, Unstamped>),
    (row, chunks, hash): (&Row<'_>, &Chunks, u64),
    from: usize,
    window: TimeWindow,
    next: &mut D,
    is_over: &mut dyn FnMut() -> bool,
) -> ControlFlow<usize> {
    let left = left.elements(row, chunks, hash);
    let right = right.elements(row, chunks, hash);
    let meta = Meta::at(window.max_timestamp());
    pairing.emit(&left, &right, from, &mut Emit { next, meta }, is_over)
}

impl<L, R, F, W> WindowJoin<L, R, F, W>
where
    L: Record,
    R: Record,
    F: WindowPairing<L, R>,
    W: JoinWindows,
{
    /// The place of a window, opened if it was not.
    fn open(&mut self, input: usize, window: TimeWindow) -> usize {
        let at = self.open.partition_point(|open| open.window < window);
        if self.open.get(at).is_none_or(|open| open.window != window) {
            // Of times in order: a late window has few records.
            let before = self.open.last().filter(|_| at == self.open.len()).map(|last| &last.table);
            let table = self.layout.table_after(before, &self.context);
            let fired = window.max_timestamp() <= self.watermark;
            self.open.insert(at, Open { window, table, fired });
            self.ahead = None;
        }
        self.recent[input] = at;
        at
    }

    /// Calls `put` with the place of each window that takes a record of this time; says whether there is one.
    #[inline(always)]
    fn each_window(
        &mut self,
        input: usize,
        time: Timestamp,
        mut put: impl FnMut(&mut Self, usize),
    ) -> bool {
        if !W::OVERLAP
            && let Some(Open { window, .. }) = self.open.get(self.recent[input])
            && window.start <= time
            && time < window.end
        {
            put(self, self.recent[input]);
            return true;
        }
        let mut is_taken = false;
        for window in self.options.windows.assign(time) {
            if self.options.over_at(window) > self.watermark {
                let at = self.open(input, window);
                put(self, at);
                is_taken = true;
            }
        }
        is_taken
    }

    fn is_late(&self, time: Timestamp) -> bool {
        time + self.options.allowed_lateness <= self.watermark
    }

    /// Emits the rows of a window from where it was stopped.
    fn fire<K: Key, D: Link<F::Out>>(
        &mut self,
        from: Firing,
        next: &mut D,
        pace: &mut Pace,
    ) -> Result<(), Firing> {
        let Open { window, table, .. } = &self.open[from.open];
        let lists = (&self.left, &self.right);
        for group in (from.group.0..table.rows.range().end).map(KeyGroup) {
            let mut stopped = match group == from.group {
                true => from,
                false => Firing { group, row: 0, left: 0, ..from },
            };
            let fired = table.rows.visit_blocks(group, stopped.row, |rows| {
                let both = |row: &Row<'_>| lists.0.is_in(row) && lists.1.is_in(row);
                let makes = |row: &Row<'_>| !F::NEEDS_BOTH || both(row);
                // Lists lie in the order in which they were made, and not in that of the rows.
                for row in rows.iter().filter(makes) {
                    lists.0.prefetch(&row);
                    lists.1.prefetch(&row);
                }
                for row in rows.iter() {
                    if makes(&row) {
                        let is_long = lists.0.has_chunks(&row) || lists.1.has_chunks(&row);
                        let hash = if is_long { K::with_key(row.key(), K::key_hash) } else { 0 };
                        let (pairing, row) = (&self.pairing, (&row, &table.chunks, hash));
                        let (done, is_over) = (stopped.left, &mut || pace.is_over());
                        let paired = pair_up(pairing, lists, row, done, *window, next, is_over);
                        if let ControlFlow::Break(left) = paired {
                            stopped.left = left;
                            return ControlFlow::Break(());
                        }
                    }
                    (stopped.row, stopped.left) = (stopped.row + 1, 0);
                    if pace.is_over() {
                        return ControlFlow::Break(());
                    }
                }
                ControlFlow::Continue(())
            });
            if fired.is_err() {
                return Err(stopped);
            }
        }
        Ok(())
    }
}

/// Puts a record of one side into its windows.
macro_rules! apply {
    ($self:ident, $input:literal, $list:ident, $late:ident, $key:ident, $at:ident, $value:ident, $meta:ident,
     $next:ident) => {{
        let Some(time) = $meta.time else {
            return $self.context.fail_untimed("assign a record to a window", "join");
        };
        let is_taken = $self.each_window($input, time, |join, open| {
            let Open { window, table, fired } = &mut join.open[open];
            let ListTable { rows, chunks } = table;
            let at = $at.found_if(join.ahead == Some(open));
            let mut row = keyed_table::upsert::<K>(rows, at, $key, &mut join.scratch);
            if let Err(failure) = join.$list.push(&mut row, chunks, $at.hash, $value, 0) {
                join.context.fail(failure);
            } else if *fired {
                let (lists, row) = ((&join.left, &join.right), (&row.row(), &*chunks, $at.hash));
                let is_over = &mut || false; // One key is one expansion.
                let _ = pair_up(&join.pairing, lists, row, 0, *window, $next, is_over);
            }
        });
        if !is_taken && $self.is_late(time) {
            $self.$late.take($value, $meta, 1);
        }
    }};
}

impl<L, R, K, F, W> KeyedCoOperator<L, R, K> for WindowJoin<L, R, F, W>
where
    L: Record,
    R: Record,
    K: Key,
    F: WindowPairing<L, R>,
    W: JoinWindows,
{
    type Out = F::Out;

    const FINDS_AHEAD: bool = keyed_table::finds_ahead::<K>();

    #[inline]
    fn prefetch(&self, input: usize, spot: Spot) {
        if let Some(open) = self.open.get(self.recent[input]) {
            open.table.rows.prefetch(spot);
        }
    }

    #[inline]
    fn wants_prefetch(&self, input: usize) -> bool {
        self.open.get(self.recent[input]).is_some_and(|open| open.table.bytes_used() > CACHE_BYTES)
    }

    #[inline]
    fn begin_ahead(&mut self, input: usize) -> bool {
        let recent = self.recent[input];
        let open = self.open.get_mut(recent);
        self.ahead = open.is_some().then_some(recent);
        open.is_some_and(|open| open.table.rows.begin_ahead())
    }

    #[inline(always)]
    fn find_ahead(&mut self, index: usize, key: K::View<'_>, at: Located, marks: bool) {
        if let Some(open) = self.ahead.and_then(|ahead| self.open.get_mut(ahead)) {
            let (rows, scratch) = (&mut open.table.rows, &mut self.scratch);
            keyed_table::find_ahead::<K>(rows, index, at, key, scratch, marks);
        }
    }

    #[inline]
    fn apply_first<D: Link<F::Out>>(
        &mut self,
        key: K::View<'_>,
        at: Located,
        value: L::View<'_>,
        meta: Meta,
        next: &mut D,
    ) {
        apply!(self, 0, left, late_left, key, at, value, meta, next);
    }

    #[inline]
    fn apply_second<D: Link<F::Out>>(
        &mut self,
        key: K::View<'_>,
        at: Located,
        value: R::View<'_>,
        meta: Meta,
        next: &mut D,
    ) {
        apply!(self, 1, right, late_right, key, at, value, meta, next);
    }

    fn watermark<D: Link<F::Out>>(
        &mut self,
        watermark: Timestamp,
        next: &mut D,
        pace: &mut Pace,
    ) -> Progress {
        assert!(watermark >= self.watermark, "watermark moved backwards");
        self.watermark = watermark;
        loop {
            let firing = self.firing.take().or_else(|| {
                let due = |open: &Open| !open.fired && open.window.max_timestamp() <= watermark;
                let open = self.open.iter().position(due)?;
                let group = KeyGroup(self.context.key_groups().first);
                Some(Firing { open, group, row: 0, left: 0 })
            });
            let Some(firing) = firing else { break };
            if let Err(stopped) = self.fire::<K, D>(firing, next, pace) {
                self.firing = Some(stopped);
                return Progress::Stopped;
            }
            self.open[firing.open].fired = true;
        }
        let options = &self.options;
        let over = |open: &mut Open| options.over_at(open.window) <= watermark;
        for open in self.open.extract_if(.., over) {
            open.table.retire(PARTS, &open.window.header(), &self.context);
        }
        self.recent = [0; 2];
        self.ahead = None;
        Progress::Done
    }

    fn end_key<D: Link<F::Out>>(&mut self, next: &mut D, pace: &mut Pace) -> Progress {
        let fired = KeyedCoOperator::<L, R, K>::watermark(self, Timestamp::MAX, next, pace);
        if fired == Progress::Done {
            self.watermark = Timestamp::MIN;
        }
        fired
    }

    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        self.late_left.ports(visit);
        self.late_right.ports(visit);
    }

    fn forward_watermark(&mut self, watermark: Timestamp) {
        self.late_left.watermark(watermark);
        self.late_right.watermark(watermark);
    }

    fn forward_status(&mut self, status: Status) {
        self.late_left.status(status);
        self.late_right.status(status);
    }

    fn snapshot(&mut self, snapshot: &mut Snapshot) {
        assert!(self.firing.is_none(), "aligned barriers come behind the watermark at hand");
        if !self.open.is_empty() {
            let up_to = Some((self.watermark, Timestamp::MAX));
            fired::put(snapshot, FIRED, self.context.key_groups(), up_to);
        }
    }

    fn keeps() -> Vec<StateDescriptor> {
        vec![descriptors::records::<L>("left"), descriptors::records::<R>("right")]
    }

    fn tables(&mut self, visit: &mut VisitTable<'_>) {
        for Open { window, table, .. } in &mut self.open {
            table.visit(PARTS, &window.header(), visit);
        }
    }

    async fn restore(&mut self, snapshot: &Snapshot) -> Result<(), TaskFailure> {
        let groups = self.context.key_groups();
        for (is_chunks, part) in [(false, PARTS[0]), (true, PARTS[1])] {
            for bytes in snapshot.keyed(part, groups) {
                let Some((window, rows)) = TimeWindow::split_from(bytes) else {
                    return Err(damaged("a window ends within its header"));
                };
                if !self.options.windows.assign(window.start).any(|known| known == window) {
                    let cause = "its windows have another size: the program has changed";
                    return Err(damaged(cause));
                }
                let at = self.open(0, window);
                keyed_table::import(self.open[at].table.table_mut(is_chunks), rows).await?;
            }
        }
        let Some(fired) = Fired::read(snapshot, FIRED) else {
            return Err(damaged("how far its windows have fired cannot be read"));
        };
        for Open { window, table, fired: has_fired } in &mut self.open {
            let up_to = fired.up_to(groups, |group| table.rows.group(group).next().is_some());
            *has_fired = up_to.is_some_and(|(up_to, _)| window.max_timestamp() <= up_to);
        }
        let Self { open, left, right, .. } = self;
        for Open { table, .. } in open {
            let check = table.check::<K>(|row, chunks, hash| {
                Ok(left.check(row, chunks, hash)? + right.check(row, chunks, hash)?)
            });
            check.await?;
        }
        Ok(())
    }
}
