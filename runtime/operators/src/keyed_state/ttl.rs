//! State that expires: how long a value lives after it was last used, and what of it is seen afterwards.
//!
//! ```text
//!   written ──────────── time to live ────────────▶ expired ─── hidden ───▶ gone: when the key comes again,
//!      └ with `OnReadAndWrite` a read starts anew                          or when a pass over the table finds it
//! ```
//!
//! # What is always true
//!
//! 1. The clock is processing time, as in Flink: state without a time of its own has no other.
//! 2. What is written at `t` is expired from `t + ttl` on.
//! 3. A cell of a time lies beside every value that can expire, and is there exactly when the value is.

use std::time::Duration;

use wiesel_core::{Blame, TaskFailure, Timestamp};
use wiesel_record::Record;
use wiesel_state::{Cell, Row, RowLayout, RowLayoutBuilder, RowMut};

use crate::{StateCell, TaskContext, window::whole_ms};

/// What makes a value live longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TtlUpdate {
    /// Writing it.
    #[default]
    OnCreateAndWrite,
    /// Reading it too.
    OnReadAndWrite,
}

/// What a read gives of a value that has expired and is still there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TtlVisibility {
    /// Nothing.
    #[default]
    NeverReturnExpired,
    /// The value; it goes afterwards.
    ReturnExpiredIfNotCleanedUp,
}

/// How long a state lives: Flink's `StateTtlConfig`. Elements of lists and entries of maps each live for themselves.
///
/// Expired state goes when its key comes again, and else in passes over the state of the subtask, of which a step is
/// done every millisecond: at the latest a quarter of the time to live after it expired, and the length of a pass.
///
/// ```
/// use std::time::Duration;
/// use wiesel_operators::{StateTtl, TtlUpdate, ValueState};
///
/// let ttl = StateTtl::new(Duration::from_secs(3_600)).with_update(TtlUpdate::OnReadAndWrite);
/// let last_seen: ValueState<u64> = ValueState::new("last_seen").with_ttl(ttl);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateTtl {
    ttl_ms: i64,
    update: TtlUpdate,
    visibility: TtlVisibility,
}

impl StateTtl {
    /// State lives for `ttl` after it was last written, and is not seen afterwards. Under a millisecond, the job fails when
    /// it opens the state.
    pub fn new(ttl: Duration) -> Self {
        Self {
            ttl_ms: whole_ms(ttl),
            update: TtlUpdate::OnCreateAndWrite,
            visibility: TtlVisibility::NeverReturnExpired,
        }
    }

    /// What makes it live longer.
    #[must_use]
    pub const fn with_update(self, update: TtlUpdate) -> Self {
        Self { update, ..self }
    }

    /// What is seen of it when it has expired.
    #[must_use]
    pub const fn with_visibility(self, visibility: TtlVisibility) -> Self {
        Self { visibility, ..self }
    }

    pub(super) const fn ttl_ms(self) -> i64 {
        self.ttl_ms
    }

    /// Says that the state `name` cannot live as long as that.
    ///
    /// # Errors
    ///
    /// If it would be gone at once.
    pub(super) fn check(self, name: &str) -> Result<(), TaskFailure> {
        if self.ttl_ms > 0 {
            return Ok(());
        }
        let cause = format!(
            "`{name}` would be gone as soon as it is written: let it live for a millisecond at least, or without a limit"
        );
        Err(TaskFailure::new(Blame::Job, "open state", cause))
    }
}

/// When a value was last used: a cell beside it.
#[derive(Clone, Copy)]
pub(crate) struct TimeCell {
    ttl: StateTtl,
    cell: Cell,
}

const TIME_BYTES: usize = size_of::<i64>();

/// The name of the cell of a time beside the cell `name`.
pub(super) fn time_name(name: &str) -> String {
    format!("{name} (time)")
}

/// Adds the cell of a time beside the cell `name`.
pub(super) fn declare_time(layout: RowLayoutBuilder, name: &str) -> RowLayoutBuilder {
    layout.cell(&time_name(name), TIME_BYTES)
}

impl TimeCell {
    /// The time of a row's value, if there is one.
    fn time(&self, row: &Row<'_>) -> Option<Timestamp> {
        let bytes = row.get(self.cell)?;
        Some(Timestamp::from_millis(i64::from_le_bytes(bytes.try_into().ok()?)))
    }

    /// From when on the row's value is expired.
    pub(super) fn expiry(&self, row: &Row<'_>) -> Option<Timestamp> {
        Some(self.time(row)?.offset_millis(self.ttl.ttl_ms))
    }

    fn is_expired(&self, row: &Row<'_>, now: Timestamp) -> bool {
        self.expiry(row).is_some_and(|expiry| expiry <= now)
    }

    fn stamp(&self, row: &mut RowMut<'_>, now: Timestamp) {
        row.cell_mut(self.cell).copy_from_slice(&now.as_millis().to_le_bytes());
    }
}

/// What a read found, to be done when the call of the function is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterRead {
    Nothing,
    Stamp,
    Remove,
}

/// A value in a row, and the time beside it if it can expire.
pub(crate) struct TimedCell<S> {
    value: StateCell<S>,
    time: Option<TimeCell>,
}

impl<S: Record> TimedCell<S> {
    /// Adds the cells to a layout.
    pub(crate) fn declare(layout: RowLayoutBuilder, name: &str, expires: bool) -> RowLayoutBuilder {
        let layout = StateCell::<S>::declare(layout, name);
        if expires { declare_time(layout, name) } else { layout }
    }

    /// Finds the cells in a layout that they were declared in.
    pub(crate) fn of(
        layout: &RowLayout,
        name: &str,
        ttl: Option<StateTtl>,
    ) -> Result<Self, TaskFailure> {
        let value = StateCell::of(layout, name)?;
        let Some(ttl) = ttl else { return Ok(Self { value, time: None }) };
        let Some(cell) = layout.cell(&time_name(name)) else {
            let cause = format!("the row `{layout}` has no time for `{name}`");
            return Err(TaskFailure::new(Blame::Runtime, "open state", cause));
        };
        Ok(Self { value, time: Some(TimeCell { ttl, cell }) })
    }

    /// Whether the value can expire.
    #[inline(always)]
    pub(crate) fn expires(&self) -> bool {
        self.time.is_some()
    }

    pub(super) fn expiry(&self, row: &Row<'_>) -> Option<Timestamp> {
        self.time.as_ref()?.expiry(row)
    }

    /// Whether a read at `now` gives nothing, though there is a value.
    #[inline(always)]
    pub(super) fn hides(&self, row: &Row<'_>, now: impl FnOnce() -> Timestamp) -> bool {
        self.time.as_ref().is_some_and(|time| {
            time.ttl.visibility == TtlVisibility::NeverReturnExpired && time.is_expired(row, now())
        })
    }

    /// Calls `read` with the value, if there is one to be seen.
    #[inline(always)]
    pub(super) fn with<R>(
        &self,
        row: &Row<'_>,
        now: impl FnOnce() -> Timestamp,
        read: impl FnOnce(S::View<'_>) -> R,
    ) -> Option<R> {
        if self.hides(row, now) { None } else { self.value.with(row, read) }
    }

    /// Replaces the value.
    #[inline(always)]
    pub(super) fn store(
        &mut self,
        row: &mut RowMut<'_>,
        task: &TaskContext,
        value: S::View<'_>,
    ) -> Result<(), TaskFailure> {
        self.value.store(row, value)?;
        if let Some(time) = &self.time {
            time.stamp(row, now_of(task));
        }
        Ok(())
    }

    /// Replaces the value by what `change` makes of it, or of none.
    #[inline(always)]
    pub(super) fn update(
        &mut self,
        row: &mut RowMut<'_>,
        task: &TaskContext,
        change: impl FnOnce(Option<S>) -> Result<S, TaskFailure>,
    ) -> Result<(), TaskFailure> {
        let Some(time) = self.time else { return self.value.update(row, change).map(|_| ()) };
        let now = now_of(task);
        let is_hidden = !row.inserted() && self.hides(&row.row(), || now);
        self.value.update(row, |old| change(old.filter(|_| !is_hidden)))?;
        time.stamp(row, now);
        Ok(())
    }

    /// Takes the value away.
    pub(super) fn clear(&self, row: &mut RowMut<'_>) {
        self.value.clear(row);
        if let Some(time) = &self.time {
            row.clear(time.cell);
        }
    }

    /// What a read at `now` leaves to be done.
    pub(super) fn after_read(&self, row: &Row<'_>, now: Timestamp) -> AfterRead {
        let Some(time) = &self.time else { return AfterRead::Nothing };
        match time.expiry(row) {
            Some(expiry) if expiry <= now => AfterRead::Remove,
            Some(_) if time.ttl.update == TtlUpdate::OnReadAndWrite => AfterRead::Stamp,
            _ => AfterRead::Nothing,
        }
    }

    /// The value was used now.
    pub(super) fn stamp(&self, row: &mut RowMut<'_>, now: Timestamp) {
        if let Some(time) = &self.time {
            time.stamp(row, now);
        }
    }

    /// A value without a time, from a snapshot of a state that did not expire, was written now.
    pub(super) fn stamp_missing(&self, row: &mut RowMut<'_>, now: Timestamp) {
        if let Some(time) = &self.time
            && row.get(time.cell).is_none()
            && self.value.with(&row.row(), |_| ()).is_some()
        {
            time.stamp(row, now);
        }
    }

    /// Checks cells that came from a snapshot.
    pub(super) fn check(&self, row: &Row<'_>) -> Result<(), TaskFailure> {
        self.value.check(row)?;
        let has_value = self.value.is_in(row);
        if self.time.is_some_and(|time| time.time(row).is_some() != has_value) {
            let cause = "a value without its time, or a time without a value";
            return Err(TaskFailure::new(Blame::Environment, "restore state", cause));
        }
        Ok(())
    }

    /// Whether there is a value, expired or not.
    pub(super) fn is_in(&self, row: &Row<'_>) -> bool {
        self.value.is_in(row)
    }
}

/// The time of day that state lives by.
pub(super) fn now_of(task: &TaskContext) -> Timestamp {
    task.shard().wall_time()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_lives_for_some_time() {
        assert!(StateTtl::new(Duration::from_micros(1_000)).check("count").is_ok());
        let failure =
            StateTtl::new(Duration::from_micros(999)).check("count").expect_err("no time");
        assert_eq!((failure.blame, failure.retryable), (Blame::Job, false));
        assert!(failure.source.to_string().starts_with("`count` would be gone"), "{failure:?}");
    }

    #[test]
    fn the_longest_life_does_not_overflow() {
        assert_eq!(StateTtl::new(Duration::MAX).ttl_ms(), i64::MAX);
    }
}
