//! The row of a key: its last session in cells, the others, which it seldom has, in a block.
//!
//! ```text
//!   session   start i64 │ end i64 │ state u64: bit 0 fired, above: how many are in `more`
//!   acc       the accumulator of the last session
//!   armed     i64
//!   more      per session, in order: start, end, armed i64 │ fired u32 │ length of the accumulator u32 │ its region
//! ```
//!
//! # What is always true
//!
//! 1. A row has at least one session. It has no presence bits ([`RowLayoutBuilder::always`]), so nothing is read of a new
//!    one before it was stored, or removed again.
//! 2. What a record looks at that makes the last session longer lies at the start of a row: with a key of up to eight
//!    bytes and an accumulator of eight, in one cache line.

use wiesel_core::{Blame, TaskFailure, Timestamp};
use wiesel_record::{Record, RegionBuf};
use wiesel_state::{BLOCK_BYTES_MAX, BlockCell, Cell, Row, RowLayout, RowLayoutBuilder, RowMut};

use super::kept::{Held, Kept};
use crate::{StateCell, TimeWindow};

/// Names of the cells.
const SESSION: &str = "session";
const ARMED: &str = "armed";
const ACC: &str = "accumulator";
const MORE: &str = "more";

const SESSION_BYTES: usize = 24;
const ARMED_BYTES: usize = 8;
/// Before the accumulator of one in `more`.
const HEAD_BYTES: usize = 32;
const FIRED: u64 = 1;

/// The last session of a key, without its accumulator, and how many others there are.
#[derive(Clone, Copy)]
pub(super) struct Last {
    start: i64,
    end: i64,
    pub(super) armed: i64,
    state: u64,
}

impl Last {
    /// What is in one of several sessions.
    fn read(bytes: &[u8; HEAD_BYTES]) -> Self {
        let [start, end, armed, state] = words(bytes);
        Self { start, end, armed, state: state as u64 }
    }

    fn bytes(self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        put(&mut bytes, &[self.start, self.end, self.armed, self.state as i64]);
        bytes
    }

    /// Both cells of a row.
    #[inline(always)]
    fn of_cells(session: &[u8], armed: &[u8]) -> Self {
        let ([start, end, state], [armed]) = (words(session), words(armed));
        Self { start, end, armed, state: state as u64 }
    }

    /// Whether a record with the window `[time, end)` becomes part of this session, and of no other, and nothing fires.
    #[inline(always)]
    fn takes(&self, time: i64, end: i64) -> bool {
        // Others are before it: only a record before its start can touch them.
        self.state & FIRED == 0
            && time <= self.end
            && (time >= self.start || self.state == 0 && end >= self.start)
    }

    pub(super) fn window(&self) -> TimeWindow {
        let (start, end) = (Timestamp::from_millis(self.start), Timestamp::from_millis(self.end));
        TimeWindow { start, end }
    }

    pub(super) fn has_fired(&self) -> bool {
        self.state & FIRED != 0
    }

    /// The same, waiting for another time.
    pub(super) fn waiting(self, armed: Timestamp, fired: bool) -> Self {
        let state = self.state & !FIRED | u64::from(fired);
        Self { armed: armed.as_millis(), state, ..self }
    }

    pub(super) fn others(&self) -> u64 {
        self.state >> 1
    }

    fn of(window: TimeWindow, armed: Timestamp, fired: bool, others: usize) -> Self {
        Self {
            start: window.start.as_millis(),
            end: window.end.as_millis(),
            armed: armed.as_millis(),
            state: (others as u64) << 1 | u64::from(fired),
        }
    }
}

/// The numbers at the start of `bytes`.
#[inline(always)]
fn words<const N: usize>(bytes: &[u8]) -> [i64; N] {
    let (words, _) = bytes.as_chunks::<8>();
    std::array::from_fn(|at| i64::from_le_bytes(words[at]))
}

#[inline(always)]
fn put(bytes: &mut [u8], words: &[i64]) {
    for (bytes, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
}

/// Reads and writes rows of sessions.
pub(super) struct SessionRow<Acc: Record> {
    session: Cell,
    armed: Cell,
    pub(super) acc: StateCell<Acc>,
    more: BlockCell,
    region: RegionBuf,
    bytes: Vec<u8>,
    /// What was loaded last of `more`.
    pub(super) loaded: Vec<u8>,
}

impl<Acc: Record> SessionRow<Acc> {
    /// Adds the cells to a layout.
    pub(super) fn declare(layout: RowLayoutBuilder) -> RowLayoutBuilder {
        let layout = layout.always().cell(SESSION, SESSION_BYTES);
        StateCell::<Acc>::declare(layout, ACC).cell(ARMED, ARMED_BYTES).block(MORE)
    }

    /// Finds them.
    pub(super) fn of(layout: &RowLayout) -> Result<Self, TaskFailure> {
        let cells = (layout.cell(SESSION), layout.cell(ARMED), layout.block(MORE));
        let (Some(session), Some(armed), Some(more)) = cells else {
            let cause = format!("the row `{layout}` has no cells for sessions");
            return Err(TaskFailure::new(Blame::Runtime, "open state", cause));
        };
        let acc = StateCell::of(layout, ACC)?;
        Ok(Self {
            session,
            armed,
            acc,
            more,
            region: RegionBuf::new(),
            bytes: Vec::new(),
            loaded: Vec::new(),
        })
    }

    /// Extends the last session by the window of a record, if that is all that the record does.
    #[inline(always)]
    pub(super) fn extend(&self, row: &mut RowMut<'_>, time: i64, end: i64) -> bool {
        let (bytes, is_there) = row.entry_sized(&self.session, SESSION_BYTES);
        let last = Last::of_cells(bytes, &[0; ARMED_BYTES]); // Nobody asks what it waits for.
        if !is_there || !last.takes(time, end) {
            return false;
        }
        if end > last.end {
            bytes[8..16].copy_from_slice(&end.to_le_bytes());
        }
        if time < last.start {
            bytes[..8].copy_from_slice(&time.to_le_bytes());
        }
        true
    }

    /// The last session.
    pub(super) fn last(&self, row: &Row<'_>) -> Option<Last> {
        let session = row.get_sized(&self.session, SESSION_BYTES)?;
        Some(Last::of_cells(session, row.get_sized(&self.armed, ARMED_BYTES)?))
    }

    /// Replaces all of the last session but its accumulator.
    pub(super) fn store_last(&self, row: &mut RowMut<'_>, last: Last) {
        let session = row.entry_sized(&self.session, SESSION_BYTES).0;
        put(session, &[last.start, last.end, last.state as i64]);
        put(row.entry_sized(&self.armed, ARMED_BYTES).0, &[last.armed]);
    }

    /// Puts the sessions of a row into `kept`, in order.
    ///
    /// # Errors
    ///
    /// If the bytes are not those of sessions.
    pub(super) fn load(
        &mut self,
        row: &Row<'_>,
        kept: &mut Vec<Kept<Acc>>,
    ) -> Result<(), TaskFailure> {
        kept.clear();
        self.loaded.clear();
        self.loaded.extend_from_slice(row.block(self.more).unwrap_or_default());
        let mut at = 0;
        while at < self.loaded.len() {
            let Some(head) = self.loaded[at..].first_chunk::<HEAD_BYTES>() else {
                return Err(damaged("one of several sessions ends within its header"));
            };
            let head = Last::read(head);
            let (fired, len) = (head.has_fired(), (head.state >> 32) as usize);
            let range = at + HEAD_BYTES..at + HEAD_BYTES + len;
            if range.end > self.loaded.len() {
                return Err(damaged("one of several sessions ends within its accumulator"));
            }
            at = range.end;
            let armed = Timestamp::from_millis(head.armed);
            kept.push(Kept { window: head.window(), armed, fired, held: Held::Bytes(range) });
        }
        let (Some(last), Some(acc)) = (self.last(row), self.acc.load(row)) else {
            return Err(damaged("a key without a session"));
        };
        if last.others() != kept.len() as u64 {
            return Err(damaged("a key with another number of sessions than it says"));
        }
        let (armed, fired) = (Timestamp::from_millis(last.armed), last.has_fired());
        kept.push(Kept { window: last.window(), armed, fired, held: Held::Value(acc) });
        Ok(())
    }

    /// Replaces the sessions of a row; there is at least one.
    pub(super) fn store(
        &mut self,
        row: &mut RowMut<'_>,
        kept: &mut [Kept<Acc>],
    ) -> Result<(), TaskFailure> {
        let Some((last, others)) = kept.split_last_mut() else { return Ok(()) };
        self.bytes.clear();
        for Kept { window, armed, fired, held } in &*others {
            let region = match held {
                Held::Bytes(range) => &self.loaded[range.clone()],
                Held::Value(acc) => {
                    self.region
                        .write::<Acc>(acc.view(), BLOCK_BYTES_MAX)
                        .map_err(|error| TaskFailure::new(Blame::Job, "store a session", error))?;
                    self.region.as_bytes()
                }
            };
            let state = (region.len() as u64) << 32 | u64::from(*fired);
            let head = Last { state, ..Last::of(*window, *armed, *fired, 0) }.bytes();
            self.bytes.extend_from_slice(&head);
            self.bytes.extend_from_slice(region);
        }
        if !others.is_empty() {
            row.set_block(self.more, &self.bytes)
                .map_err(|error| TaskFailure::new(Blame::Job, "store a session", error))?;
        } else if row.block(self.more).is_some() {
            row.clear_block(self.more);
        }
        self.store_last(row, Last::of(last.window, last.armed, last.fired, others.len()));
        self.acc.store(row, last.acc(&self.loaded)?.view())
    }
}

pub(super) fn damaged(what: &str) -> TaskFailure {
    TaskFailure::new(Blame::Environment, "restore window state", what.to_owned())
}
