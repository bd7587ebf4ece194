//! A key and a window together: where state and timers of windows are.
//!
//! ```text
//!   composed key   │ key │ start i64 │ end i64 │ length of the key u32 │      in the key group of its key
//! ```
//!
//! # What is always true
//!
//! 1. All windows of a key are in the key group of the key: they move together.
//! 2. Bytes of a snapshot that are no key, no window or none of this operator's are an error.

use wiesel_core::{TaskFailure, Timestamp};
use wiesel_record::{InvalidKey, Key, KeyArena, KeyHasher, Record};
use wiesel_shard::pause;
use wiesel_state::{Row, RowMut, Table, Timer, TimerQueue, namespaced};

use crate::{
    Snapshot, StateCell, TablePart, TaskContext, TimeDomain, TimeWindow, VisitTable,
    keyed_table::{self, table_failure},
};

/// The key of rows of windows.
#[derive(Clone, Debug, Record)]
#[record(crate = wiesel_record)]
pub struct OfWindow<K: Record> {
    key: K,
    start: i64,
    end: i64,
}

impl<K: Key> Key for OfWindow<K> {
    const FIXED: Option<usize> = None;

    fn hash_key(view: Self::View<'_>, hasher: &mut KeyHasher) {
        hasher.word(Self::key_hash(view));
    }

    fn append_key(view: Self::View<'_>, out: &mut Vec<u8>) {
        K::append_key(view.key, out);
        i64::append_key(view.start, out);
        i64::append_key(view.end, out);
    }

    fn read_key<'b>(
        bytes: &mut &'b [u8],
        arena: &'b KeyArena,
    ) -> Result<Self::View<'b>, InvalidKey> {
        let key = K::read_key(bytes, arena)?;
        let (start, end) = (i64::read_key(bytes, arena)?, i64::read_key(bytes, arena)?);
        Ok(OfWindowView { key, start, end })
    }

    fn key_hash(view: Self::View<'_>) -> u64 {
        let window = TimeWindow {
            start: Timestamp::from_millis(view.start),
            end: Timestamp::from_millis(view.end),
        };
        namespaced::hash_with(K::key_hash(view.key), &window.header())
    }

    fn with_key_bytes<R>(
        view: Self::View<'_>,
        scratch: &mut Vec<u8>,
        f: impl FnOnce(&[u8]) -> R,
    ) -> R {
        let window = TimeWindow {
            start: Timestamp::from_millis(view.start),
            end: Timestamp::from_millis(view.end),
        };
        let mut key_bytes = Vec::new();
        K::with_key_bytes(view.key, &mut key_bytes, |key| {
            namespaced::compose(key, &window.header(), scratch);
        });
        f(scratch)
    }

    fn try_with_key<R>(bytes: &[u8], f: impl FnOnce(Self::View<'_>) -> R) -> Result<R, InvalidKey> {
        let invalid = InvalidKey::of::<Self>();
        let (key, namespace) = namespaced::split(bytes).ok_or(invalid)?;
        let TimeWindow { start, end } = window_of(namespace).ok_or(invalid)?;
        K::try_with_key(key, |key| {
            f(OfWindowView { key, start: start.as_millis(), end: end.as_millis() })
        })
    }
}

/// The window that is the namespace of a row or a timer; nothing for bytes that are no window.
pub(super) fn window_of(bytes: &[u8]) -> Option<TimeWindow> {
    match TimeWindow::split_from(bytes) {
        Some((window, [])) if window.start <= window.end => Some(window),
        _ => None,
    }
}

/// A key and window, and where their row is.
#[derive(Clone, Copy)]
pub struct Place<'k> {
    /// The canonical bytes of the key.
    pub(crate) key: &'k [u8],
    /// Its hash.
    pub(crate) hash: u64,
    pub(crate) window: TimeWindow,
    /// The key of the row.
    pub(crate) row_key: &'k [u8],
    /// And its hash.
    pub(crate) row_hash: u64,
}

impl<'k> Place<'k> {
    /// `row_key` is memory for the key of the row.
    pub(super) fn new(
        key: &'k [u8],
        hash: u64,
        window: TimeWindow,
        row_key: &'k mut Vec<u8>,
    ) -> Self {
        let namespace = window.header();
        namespaced::compose(key, &namespace, row_key);
        Self { key, hash, window, row_key, row_hash: namespaced::hash_with(hash, &namespace) }
    }
}

/// What the trigger keeps of windows, and the timers of windows.
pub struct TriggerRows<S: Record> {
    table: Table,
    cell: StateCell<S>,
    pub(super) event_timers: TimerQueue,
    pub(super) processing_timers: TimerQueue,
}

/// The cell of the trigger, and the parts in snapshots.
const STATE: &str = "window.trigger";
const EVENT_TIMERS: &str = "window.event-timers";
const PROCESSING_TIMERS: &str = "window.processing-timers";

impl<S: Record> TriggerRows<S> {
    pub(super) fn new<K: Key>(task: &TaskContext) -> Result<Self, TaskFailure> {
        let layout =
            keyed_table::layout::<OfWindow<K>>(|layout| StateCell::<S>::declare(layout, STATE))?;
        let timers = || TimerQueue::new(task.key_groups(), task.max_parallelism());
        Ok(Self {
            table: keyed_table::table_of(&layout, task),
            cell: StateCell::of(&layout, STATE)?,
            event_timers: timers(),
            processing_timers: timers(),
        })
    }

    pub(crate) fn with<R>(&self, at: Place<'_>, read: impl FnOnce(S::View<'_>) -> R) -> Option<R> {
        self.cell.with(&self.table.find(at.row_hash, at.row_key)?, read)
    }

    pub(crate) fn set(&mut self, at: Place<'_>, state: S::View<'_>) -> Result<(), TaskFailure> {
        let mut row: RowMut<'_> = self.table.upsert(at.row_hash, at.row_key);
        self.cell.store(&mut row, state)
    }

    pub(crate) fn clear(&mut self, at: Place<'_>) {
        if !self.table.is_empty() {
            self.table.remove(at.row_hash, at.row_key);
        }
    }

    /// The timers that follow a clock.
    pub(super) fn timers(&mut self, domain: TimeDomain) -> &mut TimerQueue {
        match domain {
            TimeDomain::EventTime => &mut self.event_timers,
            TimeDomain::ProcessingTime => &mut self.processing_timers,
        }
    }

    pub(crate) fn change_timer(
        &mut self,
        domain: TimeDomain,
        time: Timestamp,
        at: Place<'_>,
        is_wanted: bool,
    ) {
        let (timers, namespace) = (self.timers(domain), at.window.header());
        match is_wanted {
            true => timers.register(time, at.hash, at.key, &namespace),
            false => timers.delete(time, at.hash, at.key, &namespace),
        };
    }

    /// Forgets everything.
    pub(super) fn reset(&mut self) {
        self.event_timers.clear();
        self.processing_timers.clear();
        keyed_table::drop_rows(&mut self.table);
    }

    pub(super) fn tables(&mut self, visit: &mut VisitTable<'_>) {
        visit(TablePart { name: STATE, header: &[], table: &mut self.table });
        let Self { event_timers, processing_timers, .. } = self;
        visit(TablePart { name: EVENT_TIMERS, header: &[], table: event_timers });
        visit(TablePart { name: PROCESSING_TIMERS, header: &[], table: processing_timers });
    }

    /// `check` is asked of each window that is spoken of.
    pub(super) async fn restore<K: Key>(
        &mut self,
        task: &TaskContext,
        snapshot: &Snapshot,
        check: impl Fn(TimeWindow) -> Result<(), TaskFailure>,
    ) -> Result<(), TaskFailure> {
        let groups = task.key_groups();
        for bytes in snapshot.keyed(STATE, groups) {
            let (table, cell) = (&mut self.table, &self.cell);
            import_rows::<K>(table, bytes, &check, |row| cell.check(row)).await?;
        }
        for bytes in snapshot.keyed(EVENT_TIMERS, groups) {
            self.event_timers.import(bytes).map_err(table_failure)?;
            pause().await;
        }
        for bytes in snapshot.keyed(PROCESSING_TIMERS, groups) {
            self.processing_timers.import(bytes).map_err(table_failure)?;
            pause().await;
        }
        let timers = self.event_timers.iter().chain(self.processing_timers.iter());
        for (index, timer) in timers.enumerate() {
            let key = (timer.key(), timer.hash());
            if K::try_with_key(key.0, |view| K::key_hash(view) == key.1) != Ok(true) {
                return Err(super::damaged("a timer is not of a key of the stream"));
            }
            let Some(window) = window_of(timer.namespace()) else {
                return Err(super::damaged("a timer is not of a window"));
            };
            check(window)?;
            keyed_table::pause_behind(index).await;
        }
        Ok(())
    }
}

/// Takes in rows of keys and windows; `check` is asked of the window of each, `check_row` of what it holds.
pub(super) async fn import_rows<K: Key>(
    table: &mut Table,
    bytes: &[u8],
    check: impl Fn(TimeWindow) -> Result<(), TaskFailure>,
    check_row: impl Fn(&Row<'_>) -> Result<(), TaskFailure>,
) -> Result<(), TaskFailure> {
    let import = keyed_table::import_checked::<OfWindow<K>>(table, bytes, |row| {
        let window = namespaced::split(row.key()).and_then(|(_, window)| window_of(window));
        window.map_or_else(|| Err(super::damaged("a row is not of a window")), &check)?;
        check_row(row)
    });
    import.await
}

/// The window of a timer.
pub(super) fn window_of_timer(timer: &Timer) -> Option<TimeWindow> {
    window_of(timer.namespace())
}
