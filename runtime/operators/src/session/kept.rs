//! The sessions of one key, and how a record changes them. No state and no clock is met here.
//!
//! # What is always true
//!
//! Sessions of a key are in order of time, and neither overlap nor touch.

use std::ops::Range;

use wiesel_core::{Blame, TaskFailure, Timestamp};
use wiesel_record::{Key, Record};

use crate::{Folding, FunctionError, TimeWindow, state_cell::decode};

/// The accumulator of a session: a value, or where its bytes are among those that were loaded. Most are never looked at.
pub(super) enum Held<Acc> {
    Value(Acc),
    Bytes(Range<usize>),
}

/// One session.
pub(super) struct Kept<Acc> {
    pub(super) window: TimeWindow,
    /// The timer that will look at it: never after what it waits for. [`Timestamp::MAX`] is none.
    pub(super) armed: Timestamp,
    /// Whether the watermark has reached its last time.
    pub(super) fired: bool,
    pub(super) held: Held<Acc>,
}

impl<Acc: Record> Kept<Acc> {
    /// The accumulator; `loaded` are the bytes that it was loaded with.
    pub(super) fn acc(&mut self, loaded: &[u8]) -> Result<&mut Acc, TaskFailure> {
        if let Held::Bytes(range) = &self.held {
            self.held = Held::Value(decode(loaded.get(range.clone()).unwrap_or_default())?);
        }
        match &mut self.held {
            Held::Value(acc) => Ok(acc),
            Held::Bytes(_) => {
                let cause = "a session without an accumulator";
                Err(TaskFailure::new(Blame::Runtime, "aggregate a record", cause.to_owned()))
            }
        }
    }
}

/// Merges a record's window into the sessions that it touches, and adds the record; gives the place of the session that
/// has it then. Nothing, and nothing is changed, if there is none and `is_over` says that it would come too late.
pub(super) fn take<K: Key, T: Record, A: Folding<K, T>>(
    folding: &A,
    kept: &mut Vec<Kept<A::Acc>>,
    loaded: &[u8],
    window: TimeWindow,
    value: T::View<'_>,
    watermark: Timestamp,
    is_over: impl FnOnce(TimeWindow) -> bool,
) -> Result<Option<usize>, TaskFailure> {
    let first = kept.partition_point(|session| session.window.end < window.start);
    let touching = kept[first..].partition_point(|session| session.window.start <= window.end);
    if touching == 0 {
        // What is kept is not over, nor is what it becomes part of: only a session of its own can be late.
        if is_over(window) {
            return Ok(None);
        }
        let fired = window.max_timestamp() <= watermark;
        let held = Held::Value(folding.first(value).map_err(failed)?);
        kept.insert(first, Kept { window, armed: Timestamp::MAX, fired, held });
        return Ok(Some(first));
    }
    let (before, others) = kept.split_at_mut(first + 1);
    let merged = &mut before[first];
    let fired_end = |session: &Kept<A::Acc>| session.fired.then_some(session.window.end);
    let mut fired_until = fired_end(merged);
    for other in &mut others[..touching - 1] {
        fired_until = fired_until.max(fired_end(other));
        merged.window.end = other.window.end;
        merged.armed = merged.armed.min(other.armed);
        folding.merge(merged.acc(loaded)?, other.acc(loaded)?.view()).map_err(failed)?;
    }
    merged.window.start = merged.window.start.min(window.start);
    merged.window.end = merged.window.end.max(window.end);
    // The second half: one that was restored, and whose watermark has not come again.
    merged.fired =
        merged.window.max_timestamp() <= watermark || fired_until == Some(merged.window.end);
    folding.add(merged.acc(loaded)?, value).map_err(failed)?;
    kept.drain(first + 1..first + touching);
    Ok(Some(first))
}

fn failed(error: FunctionError) -> TaskFailure {
    TaskFailure::new(Blame::Job, "aggregate a record", error)
}
