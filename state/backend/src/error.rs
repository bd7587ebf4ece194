//! What can go wrong with state, and what to do about it.
//!
//! A wrong argument (a key of the wrong length, a cell of another layout) is a programming error and
//! panics; what comes from a user's declaration or from bytes is one of these.

use wiesel_core::{KeyGroup, KeyGroupRange};

/// What a table, a descriptor or a timer queue refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// A word key is 1 to 8 bytes long.
    #[error("a word key of {bytes} bytes: it holds 1 to 8, use a bytes key")]
    KeyTooWide {
        /// As asked for.
        bytes: u8,
    },
    /// The cells of a row are more than is copied on a first touch.
    #[error(
        "the cells of a row take {bytes} bytes of at most {limit}: keep the large ones in blocks"
    )]
    RowTooWide {
        /// What the cells take together, with their presence bits.
        bytes: usize,
        /// [`crate::ROW_BYTES_MAX`].
        limit: usize,
    },
    /// Presence bits and block pointers of a row are limited.
    #[error("a row with more than {limit} cells: split the operator's state over two tables")]
    TooManyCells {
        /// [`crate::CELLS_MAX`].
        limit: usize,
    },
    /// Two cells, or two states of an operator, with one name.
    #[error("two states named `{name}` in one operator: rename one")]
    NameTwice {
        /// The name.
        name: String,
    },
    /// A block is longer than its length field may say.
    #[error(
        "a value of {bytes} bytes in cell `{cell}`, of at most {limit}: split it over list or map entries"
    )]
    BlockTooLong {
        /// The cell's name.
        cell: String,
        /// As asked for.
        bytes: usize,
        /// [`crate::BLOCK_BYTES_MAX`].
        limit: usize,
    },
    /// A flip while the last one's walk is not done.
    #[error("the snapshot of epoch {epoch} is still being written: decline this barrier")]
    WalkUnfinished {
        /// The epoch of the unfinished walk.
        epoch: u64,
    },
    /// An increment needs something that it is relative to.
    #[error("an increment without a base: take a base snapshot first")]
    NoBase,
    /// Bytes that were not written by `export_group`, or were changed since.
    #[error("state bytes are corrupt at byte {at}: {what}; restore an earlier checkpoint")]
    Corrupt {
        /// Offset in the bytes given.
        at: usize,
        /// What was found there.
        what: &'static str,
    },
    /// Written by a newer or foreign build.
    #[error(
        "state bytes have format version {found}, this build reads {known}: restore with the build that wrote them"
    )]
    Version {
        /// As found.
        found: u32,
        /// What this build writes.
        known: u32,
    },
    /// Rows of other cells or another kind of key.
    #[error(
        "state bytes hold rows of another layout (of a table with {found}; this one has {expected}): restore with the states and key type they were written with"
    )]
    LayoutMismatch {
        /// Cells and key as written.
        found: String,
        /// Cells and key of this table.
        expected: String,
    },
    /// The job's max parallelism is part of its state.
    #[error(
        "state was written with max parallelism {found}, the job has {expected}: set max parallelism to {found}"
    )]
    MaxParallelism {
        /// As written.
        found: u32,
        /// The table's.
        expected: u32,
    },
    /// A group that belongs to another subtask.
    #[error("key group {group} is outside of this subtask's {}..{}: hand it to its owner", range.first, range.end)]
    ForeignGroup {
        /// The group in the bytes.
        group: KeyGroup,
        /// The table's range.
        range: KeyGroupRange,
    },
    /// A state that the checkpoint has and the program does not, or with another shape.
    #[error("operator `{operator}`, state `{state}`: {what}; {fix}")]
    SchemaMismatch {
        /// The operator's uid.
        operator: String,
        /// The state's name.
        state: String,
        /// What differs.
        what: String,
        /// What to do.
        fix: String,
    },
}
