//! From what the user said to what runs where. Pure: no I/O, no clock, and factories are opaque.
//!
//! ```text
//!   StreamGraph<F>      what the user said: chains (already fused by the compiler) and the breaks between them
//!        │ translate    uids, parallelism, partitioners and columns are decided; everything is checked
//!        ▼
//!   JobGraph<F>         the job: the same in every process that ran the same program; its fingerprint says so
//!        │ expand       one task per subtask, key groups, slots, channels, regions
//!        ▼
//!   ExecutionGraph      what runs where
//! ```
//!
//! # What is always true
//!
//! 1. A vertex is one chain. The graph never splits or fuses one: chain breaks are in the text of the program.
//! 2. The same program gives the same job graph, uids and fingerprint included, in every process.
//! 3. A slot runs at most one subtask of each vertex, so a job needs as many slots as its highest parallelism,
//!    summed over its slot sharing groups.
//!
//! Read `job_graph` first.

mod error;
mod execution_graph;
mod explain;
mod fingerprint;
mod job_graph;
mod partitioning;
mod regions;
mod resources;
mod runtime_mode;
mod slots;
mod stream_graph;
#[cfg(test)]
mod testing;
mod uids;

pub use error::GraphError;
pub use execution_graph::{Channel, EdgeId, ExecutionGraph, ExecutionVertex, Subtask};
pub use fingerprint::Fingerprint;
pub use job_graph::{JobEdge, JobGraph, JobOperator, JobVertex};
pub use partitioning::{CustomPartitioner, Partitioning};
pub use resources::{ResourceProfile, SlotSharingGroup};
pub use slots::SlotIndex;
pub use stream_graph::{GraphDefaults, StreamEdge, StreamGraph, StreamOperator, StreamVertex};
