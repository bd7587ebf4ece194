//! What a task may write beyond its credits, and the errors of those who exceed it.
//!
//! # What is always true
//!
//! 1. One budget a task: the expansion of one record or one timer goes to any of its outputs.
//! 2. It is borrowed before memory is allocated and repaid when a frame comes home.

use std::{cell::Cell, rc::Rc};

use wiesel_record::{Record, RegionBuf};
use wiesel_wire::RECORD_BYTES_MAX_OPTION;

/// The option that a user raises for records that expand into more.
pub const OVERDRAFT_BYTES_MAX_OPTION: &str = "taskmanager.network.memory.max-overdraft-size";

/// Why a record could not be appended. The task knows the operator's uid and adds it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// The record fits no frame.
    #[error(
        "a record of type {record} has {} bytes and a frame may have {frame_bytes_max}: make it smaller, or raise \
         `{RECORD_BYTES_MAX_OPTION}`",
        at_least(*.record_bytes, *.exact)
    )]
    RecordTooLarge {
        /// The name of its type.
        record: &'static str,
        /// Its size in bytes, or a lower bound.
        record_bytes: usize,
        /// Whether the size is exact.
        exact: bool,
        /// The largest frame.
        frame_bytes_max: usize,
    },
    /// One record or timer expanded into too many.
    #[error(
        "one record expanded into more than {overdraft_bytes_max} bytes that its consumers have no room for: emit \
         less per record, or raise `{OVERDRAFT_BYTES_MAX_OPTION}`"
    )]
    OverdraftTooLarge {
        /// The budget of the task.
        overdraft_bytes_max: usize,
    },
    /// A user's partitioner named a channel that does not exist.
    #[error(
        "the custom partitioner chose channel {channel} of {channels}: return a number below {channels}"
    )]
    NoSuchChannel {
        /// What it returned.
        channel: u32,
        /// How many channels there are.
        channels: u32,
    },
}

impl ExchangeError {
    /// The error for a record that fits no frame. Measures it, up to twice the limit: its memory is needed only here.
    pub(crate) fn too_large<T: Record>(view: T::View<'_>, frame_bytes_max: usize) -> Self {
        let mut region = RegionBuf::new();
        let exact = region.write::<T>(view, 2 * frame_bytes_max).is_ok();
        Self::RecordTooLarge {
            record: T::SCHEMA.name,
            record_bytes: if exact { region.as_bytes().len() } else { 2 * frame_bytes_max },
            exact,
            frame_bytes_max,
        }
    }
}

fn at_least(bytes: usize, exact: bool) -> String {
    if exact { bytes.to_string() } else { format!("more than {bytes}") }
}

/// The overdraft of one task: shared by its result partitions, never leaves its shard.
#[derive(Clone, Debug)]
pub struct Overdraft {
    bytes: Rc<Cell<usize>>,
    bytes_max: usize,
}

impl Overdraft {
    /// A budget of `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes: Rc::default(), bytes_max }
    }

    /// What is borrowed now.
    pub fn bytes(&self) -> usize {
        self.bytes.get()
    }

    pub(crate) fn borrow(&self, bytes: usize) -> Result<(), ExchangeError> {
        let sum = self.bytes.get() + bytes;
        if sum > self.bytes_max {
            return Err(ExchangeError::OverdraftTooLarge { overdraft_bytes_max: self.bytes_max });
        }
        self.bytes.set(sum);
        Ok(())
    }

    pub(crate) fn repay(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() - bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_the_size_and_the_option() {
        for (error, expected) in [
            (
                ExchangeError::RecordTooLarge {
                    record: "Post",
                    record_bytes: 99,
                    exact: true,
                    frame_bytes_max: 64,
                },
                "a record of type Post has 99 bytes and a frame may have 64: make it smaller, or raise \
                 `taskmanager.network.record-bytes-max`",
            ),
            (
                ExchangeError::RecordTooLarge {
                    record: "Post",
                    record_bytes: 128,
                    exact: false,
                    frame_bytes_max: 64,
                },
                "a record of type Post has more than 128 bytes and a frame may have 64: make it smaller, or raise \
                 `taskmanager.network.record-bytes-max`",
            ),
            (
                ExchangeError::OverdraftTooLarge { overdraft_bytes_max: 7 },
                "one record expanded into more than 7 bytes that its consumers have no room for: emit less per \
                 record, or raise `taskmanager.network.memory.max-overdraft-size`",
            ),
            (
                ExchangeError::NoSuchChannel { channel: 4, channels: 4 },
                "the custom partitioner chose channel 4 of 4: return a number below 4",
            ),
        ] {
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn a_budget_is_shared_and_bounded() {
        let task = Overdraft::new(10);
        let partition = task.clone();
        assert!(partition.borrow(7).is_ok());
        assert!(task.borrow(4).is_err());
        assert_eq!(task.bytes(), 7);
        partition.repay(7);
        assert!(task.borrow(10).is_ok());
    }
}
