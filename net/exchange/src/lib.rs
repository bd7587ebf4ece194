//! Between two tasks: partitioners, result partitions, channels with credits, input gates.
//!
//! ```text
//!   chain ─append─▶ ResultPartition ──▶ channel ──▶ InputGate ─frame─▶ chain
//!                     ▲    one per output edge          │   one per input
//!                     └──────── frames, empty ◀─────────┘
//! ```
//!
//! # What is always true
//!
//! 1. Nothing here waits. Who cannot go on says so, and the task loop gives others a turn.
//! 2. Memory is bounded whatever the load: frames of the pool, the overdraft of each task, one largest record.
//! 3. Every record given to `append` comes out of one gate (of each, for a broadcast) once, in order per channel.
//! 4. No clock, no I/O, no thread: only rings and doors. So the same code runs in the simulator.
//!
//! The credit protocol is in `net/README.md`.

mod channel;
mod element;
mod gate;
mod lane;
mod outbox;
mod overdraft;
mod partition;
mod partition_options;
mod partitioner;
mod retired;
mod valve;

pub use channel::{BARRIERS_MAX, ChannelReceiver, ChannelSender, EVENTS_MAX, channel};
pub use element::Element;
pub use gate::{GateElement, GateEvent, GateMetrics, InputGate};
pub use overdraft::{ExchangeError, OVERDRAFT_BYTES_MAX_OPTION, Overdraft};
pub use partition::ResultPartition;
pub use partition_options::{PartitionMetrics, PartitionOptions};
pub use partitioner::{CustomPartitioner, Partitioner};
pub use retired::RetiredPartition;
pub use valve::{ValveOutput, WatermarkStatus, WatermarkValve};
