//! When a checkpoint begins, when it is complete, which are kept, and what follows a failure.
//!
//! ```text
//!   events                         CheckpointCoordinator                       effects
//!   Running, Tick ────────────────▶ pending: who has not acknowledged ───────▶ SnapshotEnumerators, Trigger
//!   Acknowledge, Decline ─────────▶ one is stored at a time ─────────────────▶ Store, NotifyAbort, DiscardState
//!   Stored, StoreFailed ──────────▶ completed: the newest `num-retained` ────▶ NotifyComplete, Discard, FailJob
//!
//!   a failure ─────────────────────▶ RestartStrategy ────────────────────────▶ a delay, or the end
//! ```
//!
//! # What is always true
//!
//! 1. Nothing here does I/O, reads a clock or starts a thread: events and a time go in, effects come out, in the order
//!    in which they must be carried out.
//! 2. An id is used once, also across restarts, so that a late message of an aborted checkpoint matches nothing.
//! 3. A checkpoint is complete when its manifest is stored, never before; only then is anybody told so.
//!
//! Who gets which part of it at a restore is each operator's to say: a task is given those of its vertex.

mod config;
mod coordinator;
mod event;
mod pending;
mod restart;
mod topology;

pub use config::CheckpointConfig;
pub use coordinator::CheckpointCoordinator;
pub use event::{AbortReason, CheckpointKind, DeclineReason, Effect, Event, RequestId};
pub use restart::{RestartConfig, RestartStrategy};
pub use topology::Topology;
pub use wiesel_core::CheckpointId;
