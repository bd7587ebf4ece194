//! What is remembered: descriptors, row layout, the segmented table, timers.
//!
//! ```text
//!   descriptor  what a program says of its states; compared on restore
//!   layout      keys and cells: what a row looks like
//!   table       rows by key ── arena, segment, blocks: their memory;  row: one of them
//!               flip and walk: snapshots while it is written;  export, import: key groups as bytes
//!   residency   rows that are not in memory, and a double that makes them absent in tests
//!   timers      what is to be done at a time, as programs say;  timer_wheel: as operators derive it from their state
//!   walked_state  what a checkpoint walks: a table, or timers
//! ```
//!
//! # What is always true
//!
//! 1. There is one table type. What stands behind it (memory, RocksDB) is asked once per frame, never per
//!    record, so a chain is compiled once and the backend is chosen when the job starts.
//! 2. Everything is held per key group and can be written and read back per key group.
//! 3. Nothing here does I/O, reads a clock or awaits.

mod arena;
mod blocks;
mod descriptor;
mod error;
mod layout;
pub mod namespaced;
mod pool;
mod reader;
mod residency;
mod row;
mod segment;
mod table;
mod timer_wheel;
mod timers;
mod walked_state;

pub use descriptor::{OperatorStateSchema, StateDescriptor, StateKind, StateSchema};
pub use error::TableError;
pub use layout::{
    BLOCK_BYTES_MAX, BlockCell, CELLS_MAX, Cell, KeyHash, KeyLayout, ROW_BYTES_MAX, RowLayout,
    RowLayoutBuilder, WordHash,
};
pub use residency::{AbsentRows, KeyBatch, RowSource};
pub use row::{Row, RowMut};
pub use table::{
    AHEAD_MAX, BLOCK_ROWS_MAX, Import, Piece, Progress, RowBlock, RowEvent, Rows, ScanCursor,
    Scope, Spot, Spots, Table,
};
pub use timer_wheel::{MOVES_MAX, NextTimer, TimerWheel, WheelTimer};
pub use timers::{Timer, TimerQueue};
pub use walked_state::WalkedState;
