//! The parts wired: a whole cluster in one process.
//!
//! ```text
//!   MiniCluster::submit ── prepares sources and sinks, makes the channels ──▶ Launch
//!                                                                              │ Machine::start, or Simulation::run
//!      control thread: JobMasterProgram ◀── rings, doors ──▶ shard 0: Worker, shard 1: Worker, …
//!              │ status, progress
//!         JobClient, JobHandle (status, savepoint, stop, cancel; wait) ◀── _control, a socket for other processes
//! ```
//!
//! # What is always true
//!
//! 1. JobMaster and workers share nothing but rings of messages, and workers nothing but channels.
//! 2. The job is over when its JobMaster says so; then every mailbox is closed and every worker ends.
//! 3. The same launch runs on the machine and in simulation.

mod checkpoints;
mod claims;
mod client;
mod control_socket;
mod error;
mod job_master_program;
mod launch;
mod outputs;
mod progress;
mod recovery;
mod resources;
mod savepoints;
mod settings;

pub use claims::Unclaimed;
pub use client::{JobClient, JobHandle, JobResult, MiniCluster};
pub use control_socket::{AskError, ask_job};
pub use error::ClusterError;
pub use launch::{
    Assembly, AssemblyResult, ClusterOptions, SubmitOptions, assemble, slots_of, tasks_only,
};
pub use progress::{JobProgress, TaskProgress};
pub use savepoints::SavepointError;
pub use settings::CheckpointSettings;
