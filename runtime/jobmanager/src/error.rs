//! Why a job cannot be deployed.

/// A job that does not fit what is there to run it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JobMasterError {
    /// Fewer slots than the job needs.
    #[error(
        "job `{job}` needs {needed} slots but there are {offered}: lower its parallelism or raise \
         `taskmanager.numberOfTaskSlots`"
    )]
    Slots {
        /// The name of the job.
        job: String,
        /// Its widest vertex, summed over the slot sharing groups.
        needed: u32,
        /// Slots of all TaskManagers.
        offered: usize,
    },
    /// A source without an enumerator, or an enumerator without a source: the program and the graph disagree.
    #[error("vertex `{vertex}` of job `{job}`: a source has one enumerator, others have none")]
    Enumerator {
        /// The name of the job.
        job: String,
        /// The chain.
        vertex: String,
    },
}
