//! Why a job did not start.

use wiesel_core::{TaskFailure, config::ConfigError};
use wiesel_jobmanager::JobMasterError;
use wiesel_shard::{StartError, probe::Unfit};

/// The job did not start: no record was read or written. Its folder of checkpoints may have been made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// The machine cannot run shards.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// Two values of the configuration contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A source or a sink is not fit to run.
    #[error("{0}: {cause}", cause = .0.source)]
    Prepare(TaskFailure),
    /// There are too few slots, or the graph and its sources do not match.
    #[error(transparent)]
    JobMaster(#[from] JobMasterError),
    /// The profiles of its slot sharing groups come to more cores than there are.
    #[error(
        "the slots of the job need {need} cores ({slots}), and there are {available} for them: lower the parallelism or \
         cpu_cores, or `taskmanager.cpu.reserved`"
    )]
    TooFewCores {
        /// How many slots of which groups.
        slots: String,
        /// Cores that they need together.
        need: f64,
        /// Cores that they can have.
        available: usize,
    },
    /// The configuration leaves no core for shards.
    #[error(
        "`taskmanager.cpu.reserved` is {reserved}, and there are {available} cores: reserve fewer, so that one is left"
    )]
    Reserved {
        /// What is to get no shard.
        reserved: u32,
        /// What this process may use.
        available: usize,
    },
    /// The profiles of its slot sharing groups come to more memory than there is.
    #[error(
        "the slots of the job need {need} ({slots}), and there are {available_mb} mb for this process: lower the \
         parallelism or the memory of the group"
    )]
    TooLittleMemory {
        /// How many slots of which groups.
        slots: String,
        /// Memory that they need together.
        need: wiesel_core::config::MemorySize,
        /// What the machine, or the control group of this process, has.
        available_mb: u64,
    },
    /// The frames between its tasks take more than half of the memory there is.
    #[error(
        "the frames of the job's {channels} channels need {need_mb} mb, and may take {share_mb} mb, half of the memory of this \
         process: lower the parallelism, which is {parallelism} (their number is its square), or \
         `taskmanager.network.memory.buffers-per-channel`, which is {credits}"
    )]
    TooManyFrames {
        /// What they need.
        need_mb: u64,
        /// How many there are.
        channels: usize,
        /// Of the widest operator.
        parallelism: u32,
        /// Frames in flight of each channel.
        credits: usize,
        /// Half of what the machine, or the control group of this process, has.
        share_mb: u64,
    },
    /// A shard could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Checkpoints are on, and there is no folder for them.
    #[error(
        "checkpoints need a folder: set `execution.checkpointing.dir`, as in -D execution.checkpointing.dir=checkpoints"
    )]
    CheckpointFolder,
    /// The folder of the checkpoints cannot be used, or what is in it is damaged.
    #[error("the folder of the checkpoints cannot be used")]
    Storage(#[from] wiesel_storage::StorageError),
    /// What the job is to start from is not there, or is damaged.
    #[error("the job cannot start from {}", .path.display())]
    Savepoint {
        /// The folder that was named.
        path: std::path::PathBuf,
        /// What is wrong with it.
        source: wiesel_storage::StorageError,
    },
    /// The checkpoint is the last one of a job that has processed all its input.
    #[error(
        "it has finished: all its input was processed, by the checkpoint in {}; to begin anew, say --fresh",
        .folder.display()
    )]
    Finished {
        /// The folder of its checkpoints.
        folder: std::path::PathBuf,
    },
    /// The checkpoint is the last one of a job that was drained before all its input was read.
    #[error(
        "it was drained by the savepoint {savepoint}: to go on, start it from that with -s; to begin anew, say --fresh"
    )]
    Drained {
        /// The name of its folder.
        savepoint: String,
    },
    /// The checkpoints in the folder are those of a job with another name.
    #[error(
        "the checkpoints in {} are those of job `{was}`, and this is `{is}`: give one of them another name, or this one \
         another `execution.checkpointing.dir`",
        .folder.display()
    )]
    OtherJob {
        /// The folder.
        folder: std::path::PathBuf,
        /// Whose they are.
        was: String,
        /// Who wants to continue from them.
        is: String,
    },
    /// A name in the job's folder, or in that of a sink, leaves no numbers for checkpoints.
    #[error(
        "no numbers are left for checkpoints above {highest}, which a folder chk-{highest} or a file part-…-{highest} of a sink \
         has in its name: move that away"
    )]
    NoNumberLeft {
        /// The highest that is taken.
        highest: u64,
    },
    /// A job in batch mode is to be started from a savepoint.
    #[error(
        "a job in batch mode has no checkpoints and starts from none: leave out `execution.state-recovery.path` (-s), or \
         set `execution.runtime-mode` to `streaming`"
    )]
    BatchRecovery,
    /// The checkpoint has state of operators that the program has not.
    #[error(
        "the checkpoint has state that no operator of the program takes, of {0}: give the operators back their uids, or drop the \
         state with --allowNonRestoredState"
    )]
    NotRestored(crate::Unclaimed),
    /// The key groups of the state are others than those of the job.
    #[error(
        "the checkpoint has {was} key groups for operator `{uid}`, the job {is}: set `pipeline.max-parallelism` to {was}"
    )]
    MaxParallelism {
        /// The uid.
        uid: String,
        /// Of the checkpoint.
        was: u32,
        /// Of the job.
        is: u32,
    },
    /// The process has no file descriptors left.
    #[error("cannot make the doors of the shards: raise the limit on open files (ulimit -n)")]
    Doors(#[source] std::io::Error),
}
