//! Why a job did not start.

use wiesel_core::TaskFailure;
use wiesel_jobmanager::JobMasterError;
use wiesel_shard::{StartError, probe::Unfit};

/// The job did not start; nothing was read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// The machine cannot run shards.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// A source or a sink is not fit to run.
    #[error("{0}: {cause}", cause = .0.source)]
    Prepare(TaskFailure),
    /// There are too few slots, or the graph and its sources do not match.
    #[error(transparent)]
    JobMaster(#[from] JobMasterError),
    /// A shard could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The process has no file descriptors left.
    #[error("cannot make the doors of the shards: raise the limit on open files (ulimit -n)")]
    Doors(#[source] std::io::Error),
}
