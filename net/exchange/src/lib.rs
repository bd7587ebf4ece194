//! Partitioners, result partitions, input gates, credits.

mod partitioner;
mod valve;

pub use partitioner::{CustomPartitioner, Partitioner};
pub use valve::{Mark, Marks, WatermarkStatus, WatermarkValve};
