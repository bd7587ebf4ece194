//! One subtask: its gates, its chain, its partitions, and the loop that drives them.
//!
//! ```text
//!              ┌───────────────────────── Task ─────────────────────────┐
//!   channels ─▶│ InputGate ─▶ merge watermarks ─▶ Head (one chain) ─▶ ports │─▶ channels
//!   mail ─────▶│ splits         a turn: frames until `stop` or the quantum  │
//!              └─────────────────────────────────────────────────────────┘
//! ```
//!
//! # What is always true
//!
//! 1. A task whose outputs are not ready gets no data; mail and returned frames it always gets.
//! 2. A frame goes home as soon as its last record is pushed; its watermark is applied after that.
//! 3. The end of a task is: watermark at the end of time, `finish`, `end` on every output, all frames home.
//!
//! This crate stands between the DataStream API, which builds factories, and the TaskManager, which runs tasks.

mod alignment;
mod factory;
mod output;
mod task;
mod turn;

pub use factory::{BuildContext, PartitionPlan, TaskFactory, TaskWiring};
pub use output::PartitionOutput;
pub use task::{Cut, Task, WATERMARK, Walked};
pub use turn::{Checkpoints, TaskOptions, Turn};
