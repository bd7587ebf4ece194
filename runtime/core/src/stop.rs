//! The flag by which the end of a chain asks its head to end the turn.

use std::{cell::Cell, rc::Rc};

/// Set by whoever cannot take more (a result partition on overdraft, a failed user function), read by the
/// head's loop after every record. One per task; it never leaves its shard.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Rc<Cell<bool>>);

impl StopFlag {
    /// A flag that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the head to end its turn after the record at hand.
    #[inline]
    pub fn set(&self) {
        self.0.set(true);
    }

    /// Whether the turn should end.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.0.get()
    }

    /// Forgets the request; the task loop does so before a turn.
    #[inline]
    pub fn clear(&self) {
        self.0.set(false);
    }
}
