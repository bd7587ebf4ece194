//! Which windows of a key have grown together, and where what they hold is. Flink's `MergingWindowSet`.
//!
//! ```text
//!   windows of a key       [3        17)   [30   40)        they grow and move
//!   their state is under   [3   13)        [30   40)        the window that one of their parts was first: nothing is moved
//! ```
//!
//! # What is always true
//!
//! 1. Windows of a key are in order of time, and neither overlap nor touch.
//! 2. The state of a merged window is that of its first part; those of the others are merged into it.
//! 3. A key without windows has no row.

use wiesel_core::{Blame, TaskFailure};
use wiesel_record::Key;
use wiesel_state::{BlockCell, RowMut, Table};

use crate::{Snapshot, TablePart, TaskContext, TimeWindow, VisitTable, keyed_table};

/// The block of a key's windows, and the parts in snapshots.
const STATE: &str = "window.merged";

/// A window, and the one that its state is under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Merged {
    pub(super) window: TimeWindow,
    pub(super) state: TimeWindow,
}

/// What adding a window has led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// It is a window of its own.
    Alone,
    /// It is in one that was there, which it does not change.
    Within(Merged),
    /// It is part of a new one, as these are.
    Grown(Merged),
}

/// The windows of all keys.
pub(super) struct MergingWindows {
    table: Table,
    cell: BlockCell,
    bytes: Vec<u8>,
}

/// Adds a window to those of a key, in order. Those that it is merged with are put into `merged`.
pub(super) fn add(kept: &mut Vec<Merged>, window: TimeWindow, merged: &mut Vec<Merged>) -> Added {
    let first = kept.partition_point(|other| other.window.end < window.start);
    let touching = kept[first..].partition_point(|other| other.window.start <= window.end);
    let Some(last) = (first + touching).checked_sub(1).filter(|_| touching > 0) else {
        kept.insert(first, Merged { window, state: window });
        return Added::Alone;
    };
    let grown = Merged {
        window: TimeWindow {
            start: window.start.min(kept[first].window.start),
            end: window.end.max(kept[last].window.end),
        },
        state: kept[first].state,
    };
    if grown == kept[first] {
        return Added::Within(grown);
    }
    merged.extend(kept.splice(first..=last, [grown]));
    Added::Grown(grown)
}

impl MergingWindows {
    pub(super) fn new<K: Key>(task: &TaskContext) -> Result<Self, TaskFailure> {
        let layout = keyed_table::layout::<K>(|layout| layout.block(STATE))?;
        Ok(Self {
            cell: layout.block(STATE).unwrap_or_default(),
            table: keyed_table::table_of(&layout, task),
            bytes: Vec::new(),
        })
    }

    /// Reads the windows of a key.
    pub(super) fn load(&self, hash: u64, key: &[u8], kept: &mut Vec<Merged>) {
        kept.clear();
        let row = self.table.find(hash, key);
        // What was restored has been checked.
        kept.extend(row.and_then(|row| row.block(self.cell)).and_then(read).into_iter().flatten());
    }

    /// Replaces the windows of a key.
    pub(super) fn store(
        &mut self,
        hash: u64,
        key: &[u8],
        kept: &[Merged],
    ) -> Result<(), TaskFailure> {
        if kept.is_empty() {
            self.table.remove(hash, key);
            return Ok(());
        }
        self.bytes.clear();
        for merged in kept {
            self.bytes.extend_from_slice(&merged.window.header());
            self.bytes.extend_from_slice(&merged.state.header());
        }
        let mut row: RowMut<'_> = self.table.upsert(hash, key);
        row.set_block(self.cell, &self.bytes)
            .map_err(|error| TaskFailure::new(Blame::Job, "keep the windows of a key", error))
    }

    pub(super) fn reset(&mut self) {
        keyed_table::drop_rows(&mut self.table);
    }

    pub(super) fn tables(&mut self, visit: &mut VisitTable<'_>) {
        visit(TablePart { name: STATE, header: &[], table: &mut self.table });
    }

    pub(super) async fn restore<K: Key>(
        &mut self,
        task: &TaskContext,
        snapshot: &Snapshot,
    ) -> Result<(), TaskFailure> {
        for bytes in snapshot.keyed(STATE, task.key_groups()) {
            let Self { table, cell, .. } = self;
            keyed_table::import_checked::<K>(table, bytes, |row| check(row.block(*cell))).await?;
        }
        Ok(())
    }
}

/// Whether the windows of a key lie apart.
fn check(block: Option<&[u8]>) -> Result<(), TaskFailure> {
    let kept: Option<Vec<Merged>> = block.and_then(read).map(Iterator::collect);
    let is_sound = |merged: &Merged| merged.window.start <= merged.window.end;
    let is_apart = |pair: &[Merged]| pair[0].window.end < pair[1].window.start;
    match kept {
        Some(kept) if kept.iter().all(is_sound) && kept.windows(2).all(is_apart) => Ok(()),
        _ => Err(super::damaged("the windows of a key overlap")),
    }
}

/// The windows in a block; none if it is no such block.
fn read(block: &[u8]) -> Option<impl Iterator<Item = Merged>> {
    let (windows, []) = block.as_chunks::<32>() else { return None };
    Some(windows.iter().filter_map(|bytes| {
        let (window, rest) = TimeWindow::split_from(bytes)?;
        let (state, _) = TimeWindow::split_from(rest)?;
        Some(Merged { window, state })
    }))
}

#[cfg(test)]
mod tests {
    use wiesel_core::Timestamp;

    use super::*;

    fn window((start, end): (i64, i64)) -> TimeWindow {
        let [start, end] = [start, end].map(Timestamp::from_millis);
        TimeWindow { start, end }
    }

    /// Adds windows one by one; each row says what is kept then, with what its state is under.
    fn check(windows: &[(i64, i64)], expected: &[(i64, i64, i64, i64)]) {
        let (mut kept, mut merged) = (Vec::new(), Vec::new());
        for added in windows {
            merged.clear();
            let before = kept.len();
            let result = add(&mut kept, window(*added), &mut merged);
            assert_eq!(matches!(result, Added::Grown(_)), !merged.is_empty());
            assert_eq!(
                kept.len() + merged.len(),
                before + usize::from(kept.len() != before || !merged.is_empty())
            );
        }
        let times = |Merged { window, state }: &Merged| {
            let [a, b, c, d] = [window.start, window.end, state.start, state.end];
            (a.as_millis(), b.as_millis(), c.as_millis(), d.as_millis())
        };
        assert_eq!(kept.iter().map(times).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn windows_grow_together_and_keep_the_state_of_the_first() {
        check(&[(3, 13)], &[(3, 13, 3, 13)]);
        check(&[(3, 13), (5, 9)], &[(3, 13, 3, 13)]);
        check(&[(3, 13), (7, 17)], &[(3, 17, 3, 13)]);
        check(&[(3, 13), (13, 23)], &[(3, 23, 3, 13)]);
        check(&[(3, 13), (14, 24)], &[(3, 13, 3, 13), (14, 24, 14, 24)]);
        check(&[(14, 24), (3, 13), (12, 22)], &[(3, 24, 3, 13)]);
        check(&[(3, 13), (-7, 3)], &[(-7, 13, 3, 13)]);
        check(&[(0, 1), (4, 5), (8, 9), (1, 8)], &[(0, 9, 0, 1)]);
    }
}
