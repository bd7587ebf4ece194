//! What can go wrong with a job, from its command line to its end, and the exit code that says so.

use std::{error, fmt, io};

use wiesel_cluster::{AskError, ClusterError, JobResult};
use wiesel_core::config::ConfigError;
use wiesel_graph::GraphError;
use wiesel_jobmanager::JobMasterError;
use wiesel_rpc::FailureReport;

use crate::UsageError;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The exit codes of a job.
pub mod exit_code {
    /// The job finished, or nobody wanted to read its output any more.
    pub const FINISHED: i32 = 0;
    /// The job failed, or its input is not there.
    pub const FAILED: i32 = 1;
    /// The command line, the configuration or the graph cannot be used.
    pub const USAGE: i32 = 2;
    /// The job that was asked something does not run.
    pub const NOT_RUNNING: i32 = 3;
    /// The machine, as it is set up, cannot run shards, or not those that the job needs.
    pub const UNFIT: i32 = 7;
    /// Added to the number of the signal that cancelled the job: 130 for Ctrl-C, 143 for SIGTERM.
    pub const SIGNAL: i32 = 128;
}

/// Why a job cannot be run, or did not finish.
///
/// `main` may return it: `Debug`, which `main` prints, is written for people and has the causes as well.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The command line cannot be understood.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// A key or a value of the configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration file cannot be read.
    #[error("cannot read the configuration ({named_by})")]
    ConfigFile {
        /// The flag or the variable that names it.
        named_by: &'static str,
        /// What the system said; it has the path.
        source: io::Error,
    },
    /// The program says something that cannot be run.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The job does not fit into the slots that the configuration offers.
    #[error(transparent)]
    Refused(JobMasterError),
    /// The job did not start: no record was read or written.
    #[error("job `{job}` did not start")]
    Start {
        /// Its name.
        job: String,
        /// Why.
        source: Box<ClusterError>,
    },
    /// The job that runs was asked something, and there is no good answer.
    #[error("job `{job}`")]
    Ask {
        /// Its name.
        job: String,
        /// Why.
        source: Box<AskError>,
    },
    /// The job failed.
    #[error("job `{job}` failed")]
    Failed {
        /// Its name.
        job: String,
        /// Which operator, which subtask, where in the input, and why.
        #[source]
        failure: Box<FailureReport>,
        /// What was done until then.
        result: Box<JobResult>,
    },
    /// A part of the runtime panicked. That is a bug of ours; please report it.
    #[error("job `{job}` was lost: {panic}; this is a bug in wiesel, please report it")]
    Lost {
        /// Its name.
        job: String,
        /// Which part, and what it said.
        panic: String,
    },
}

impl Error {
    /// Why `job` did not start.
    pub(crate) fn start(job: &str, source: ClusterError) -> Self {
        match source {
            ClusterError::JobMaster(error) => Self::Refused(error), // It names the job itself.
            ClusterError::Config(error) => Self::Config(error),
            source => Self::Start { job: job.to_owned(), source: Box::new(source) },
        }
    }

    /// Why `job` has not answered as it was meant to.
    pub(crate) fn ask(job: &str, source: AskError) -> Self {
        Self::Ask { job: job.to_owned(), source: Box::new(source) }
    }

    /// The code that a process should end with.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Usage(_)
            | Self::Config(_)
            | Self::ConfigFile { .. }
            | Self::Graph(_)
            | Self::Refused(_) => exit_code::USAGE,
            Self::Start { source, .. } => match &**source {
                ClusterError::Unfit(_)
                | ClusterError::TooFewCores { .. }
                | ClusterError::TooLittleMemory { .. }
                | ClusterError::TooManyFrames { .. }
                | ClusterError::Reserved { .. }
                | ClusterError::Start(_)
                | ClusterError::Doors(_) => exit_code::UNFIT,
                ClusterError::CheckpointFolder | ClusterError::BatchRecovery => exit_code::USAGE,
                _ => exit_code::FAILED,
            },
            Self::Ask { source, .. } => match &**source {
                AskError::NotRunning { .. } => exit_code::NOT_RUNNING,
                AskError::NoFolder | AskError::Config(_) => exit_code::USAGE,
                _ => exit_code::FAILED,
            },
            Self::Failed { .. } | Self::Lost { .. } => exit_code::FAILED,
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut next = error::Error::source(self);
        while let Some(cause) = next {
            write!(f, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wiesel_core::{Blame, TaskFailure, config::Configuration};
    use wiesel_shard::probe::Unfit;

    use super::*;

    #[track_caller]
    fn check(error: Error, code: i32, printed: &str) {
        assert_eq!((error.exit_code(), format!("{error:?}").as_str()), (code, printed));
    }

    #[test]
    fn every_error_is_one_line_and_has_a_code() {
        check(
            UsageError::Unexpected { argument: "x".into() }.into(),
            2,
            "unexpected argument `x`: the program's own arguments follow `--`, as in `-- x`",
        );
        let unknown = Configuration::new().set_argument("shard.sping=1");
        check(
            unknown.err().map(Error::from).expect("there is no such key"),
            2,
            "unknown key `shard.sping` (from -D on the command line): did you mean `shard.spin`?",
        );
        check(
            Error::start("trends", Unfit::IoUringDisabled.into()),
            7,
            "job `trends` did not start: io_uring is disabled: sysctl -w kernel.io_uring_disabled=0",
        );
        let cores =
            ClusterError::TooFewCores { slots: "3 of group `x`".into(), need: 3.0, available: 2 };
        check(
            Error::start("trends", cores),
            7,
            "job `trends` did not start: the slots of the job need 3 cores (3 of group `x`), and there are 2 for them: \
             lower the parallelism or cpu_cores, or `taskmanager.cpu.reserved`",
        );
        let missing = TaskFailure::new(Blame::Job, "read posts.jsonl", "no such file").uid("posts");
        check(
            Error::start("trends", ClusterError::Prepare(missing)),
            1,
            "job `trends` did not start: could not read posts.jsonl (operator `posts`): no such file",
        );
        check(
            Error::ask("trends", AskError::NoFolder),
            2,
            &format!("job `trends`: {}", AskError::NoFolder),
        );
        let mut config = Configuration::new();
        config.set_text("taskmanager.network.record-bytes-max", "128 mb").expect("a size");
        let contradiction = config.validate().expect_err("the overdraft is smaller");
        let printed = contradiction.to_string();
        check(Error::start("trends", contradiction.into()), 2, &printed);
        check(Error::Graph(GraphError::NoSink), 2, &GraphError::NoSink.to_string());
    }
}
