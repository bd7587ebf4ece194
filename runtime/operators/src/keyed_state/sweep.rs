//! Passes over what is kept, for expired state of keys that never come again.
//!
//! ```text
//!   pass:  segment │ segment │ segment │ …      a step every millisecond, then nothing until something can expire
//!             └ expired rows are listed, then taken away
//! ```
//!
//! # What is always true
//!
//! 1. A step looks at [`STEP_ROWS`] rows and one segment of a table (64 KiB) at most.
//! 2. Nothing is looked for while nothing is there that could expire. Between two passes lies a quarter of the time to
//!    live, so a row is looked at at most five times in its life without need.
//! 3. Rows that are not in memory are left alone until they are.

use wiesel_core::Timestamp;
use wiesel_state::{KeyBatch, ScanCursor, namespaced::split};

use super::{At, Declared, Keep, Store};
use crate::{Pace, TaskContext};

/// Rows of a step: at 20 ns each about 10 us, a fifth of a turn.
const STEP_ROWS: usize = 512;
/// What an empty segment counts, of a table with thousands of empty key groups.
const EMPTY_SEGMENT_ROWS: usize = 4;
/// How far two steps of a pass are apart: so records are never kept waiting by a pass.
const STEP_EVERY_MS: i64 = 1;
/// Expired rows are there for a quarter of their time to live at most, and the length of a pass.
const PASSES_PER_TTL: i64 = 4;

/// The passes of an operator: one over the rows of the keys, and one for each list and map.
pub(crate) struct Sweeps {
    /// In the order of the states; the last one is over the rows of the keys.
    passes: Vec<Pass>,
    batch: KeyBatch,
    missing: Vec<usize>,
}

/// A pass over one table.
#[derive(Clone, Copy, Default)]
struct Pass {
    /// The shortest time to live of what is in the table; nothing is to be done without one.
    ttl_ms: i64,
    cursor: ScanCursor,
    /// When the next step is.
    due: Option<Timestamp>,
    started: Option<Timestamp>,
    /// When the first of the rows that stay expires.
    first_expiry: Option<Timestamp>,
}

impl Sweeps {
    pub(super) fn new(declared: &[Declared], cells: &[Box<dyn Store>]) -> Self {
        let mut passes = vec![Pass::default(); declared.len() + 1];
        for (index, (state, cell)) in declared.iter().zip(cells).enumerate() {
            let Some(ttl) = state.ttl else { continue };
            let pass = match cell.expires_in_row() {
                true => passes.len() - 1,
                false => index,
            };
            let shortest = match passes[pass].ttl_ms {
                0 => ttl.ttl_ms(),
                other => other.min(ttl.ttl_ms()),
            };
            passes[pass].ttl_ms = shortest;
        }
        Self { passes, batch: KeyBatch::new(), missing: Vec::new() }
    }

    /// The pass that looks at a state.
    fn pass_of(&mut self, index: usize) -> &mut Pass {
        let of_rows = self.passes.len() - 1;
        let pass = if self.passes[index].ttl_ms == 0 { of_rows } else { index };
        &mut self.passes[pass]
    }

    /// A state was written: then something will expire.
    #[inline]
    pub(super) fn note_write(&mut self, index: usize, now: Timestamp) {
        let pass = self.pass_of(index);
        if pass.due.is_none() {
            pass.due = Some(now.offset_millis(pass.ttl_ms));
        }
    }

    /// State was restored: what of it has expired is not known.
    fn note_restore(&mut self, pass: usize, now: Timestamp) {
        if self.passes[pass].ttl_ms > 0 {
            self.passes[pass].due = Some(now.offset_millis(STEP_EVERY_MS));
        }
    }

    /// When the next step is.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.passes.iter().filter_map(|pass| pass.due).min()
    }
}

impl Pass {
    /// The pass goes on, or begins.
    fn begin(&mut self, now: Timestamp) {
        if self.started.is_none() {
            self.started = Some(now);
            self.first_expiry = None;
        }
        self.due = Some(now.offset_millis(STEP_EVERY_MS));
    }

    fn note_expiry(&mut self, expiry: Timestamp) {
        self.first_expiry = Some(self.first_expiry.map_or(expiry, |first| first.min(expiry)));
    }

    /// The pass is over.
    fn end(&mut self, now: Timestamp, is_empty: bool) {
        let started = self.started.take().unwrap_or(now);
        self.cursor = ScanCursor::default();
        // What was written behind the cursor expires after this.
        let of_new = started.offset_millis(self.ttl_ms);
        let first = self.first_expiry.map_or(of_new, |first| first.min(of_new));
        let pause = now.offset_millis((self.ttl_ms / PASSES_PER_TTL).max(STEP_EVERY_MS));
        self.due = (!is_empty).then_some(first.max(pause));
    }
}

impl Keep {
    /// State was restored: it is looked through soon.
    pub(super) fn sweep_restored(&mut self, now: Timestamp) {
        let Self { table, cells, sweeps, .. } = self;
        for (index, cell) in cells.iter_mut().enumerate() {
            if cell.elements().is_some_and(|elements| !elements.table().is_empty()) {
                sweeps.note_restore(index, now);
            }
        }
        if !table.is_empty() {
            sweeps.note_restore(cells.len(), now);
        }
    }

    /// Does the steps that are due.
    pub(crate) fn sweep(&mut self, now: Timestamp, task: &TaskContext, pace: &mut Pace) {
        for index in 0..self.sweeps.passes.len() {
            if self.sweeps.passes[index].due.is_none_or(|due| due > now) {
                continue;
            }
            self.sweeps.passes[index].begin(now);
            let mut batch = std::mem::take(&mut self.sweeps.batch);
            batch.clear();
            if index < self.cells.len() {
                self.sweep_elements(index, now, task, &mut batch);
            } else {
                self.sweep_rows(index, now, task, &mut batch);
            }
            self.sweeps.batch = batch;
            if pace.is_over() {
                return;
            }
        }
    }

    fn sweep_rows(
        &mut self,
        pass: usize,
        now: Timestamp,
        task: &TaskContext,
        batch: &mut KeyBatch,
    ) {
        let Self { table, cells, sweeps, .. } = self;
        let pass = &mut sweeps.passes[pass];
        let mut looked_at = 0;
        let is_over = loop {
            let Some(rows) = table.scan(&mut pass.cursor) else { break true };
            looked_at += EMPTY_SEGMENT_ROWS;
            for (_, row) in rows {
                looked_at += 1;
                let expiries = cells.iter().filter_map(|cell| cell.expiry(&row));
                match expiries.min() {
                    Some(expiry) if expiry <= now => {
                        batch.push(table.layout().hash(row.key()), row.key());
                    }
                    Some(expiry) => pass.note_expiry(expiry),
                    None => {}
                }
            }
            if looked_at >= STEP_ROWS {
                break false;
            }
        };
        self.list_missing(batch);
        for (at, (hash, key)) in batch.iter().enumerate() {
            if self.sweeps.missing.contains(&at) {
                continue;
            }
            let at = At { hash, key, task };
            for cell in 0..self.cells.len() {
                let expiry =
                    self.table.find(hash, key).and_then(|row| self.cells[cell].expiry(&row));
                if expiry.is_some_and(|expiry| expiry <= now) {
                    self.clear(cell, at);
                }
            }
        }
        if is_over {
            self.sweeps.passes[self.cells.len()].end(now, self.table.is_empty());
        }
    }

    fn sweep_elements(
        &mut self,
        state: usize,
        now: Timestamp,
        task: &TaskContext,
        batch: &mut KeyBatch,
    ) {
        let Self { table: keys, cells, sweeps, .. } = self;
        let pass = &mut sweeps.passes[state];
        let Some(elements) = cells[state].elements() else { return };
        let mut composed = Vec::new();
        let mut looked_at = 0;
        let is_over = loop {
            let Some(rows) = elements.table().scan(&mut pass.cursor) else { break true };
            looked_at += EMPTY_SEGMENT_ROWS;
            for (_, row) in rows {
                looked_at += 1;
                match elements.expiry(&row) {
                    Some(expiry) if expiry <= now => {
                        let Some((key, namespace)) = split(row.key()) else { continue };
                        batch.push(keys.layout().hash(key), key);
                        composed.push(namespace.to_vec());
                    }
                    Some(expiry) => pass.note_expiry(expiry),
                    None => {}
                }
            }
            if looked_at >= STEP_ROWS {
                break false;
            }
        };
        self.list_missing(batch);
        for (at, (hash, key)) in batch.iter().enumerate() {
            if self.sweeps.missing.contains(&at) {
                continue;
            }
            let place = At { hash, key, task };
            let Some(elements) = self.cells[state].elements() else { return };
            if elements.expire(&mut self.table, place, &composed[at], now) {
                self.forget_blank(place);
            }
        }
        if is_over {
            let is_empty =
                self.cells[state].elements().is_none_or(|elements| elements.table().is_empty());
            self.sweeps.passes[state].end(now, is_empty);
        }
    }

    /// Which rows of a batch are not in memory; what has not come until the next pass stays until then.
    fn list_missing(&mut self, batch: &KeyBatch) {
        self.sweeps.missing.clear();
        if self.table.may_miss() {
            self.table.list_missing(batch, &mut self.sweeps.missing);
        }
    }
}
