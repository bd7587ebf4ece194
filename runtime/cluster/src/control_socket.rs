//! A job asked from another process: the socket in the folder of its checkpoints, on both ends.
//!
//! ```text
//!   my-job savepoint ──▶ <execution.checkpointing.dir>/<job>/_control ──▶ ControlSocket ─▶ JobHandle ─▶ control program
//! ```
//!
//! # What is always true
//!
//! 1. Whoever runs the job owns the folder, and with it the socket: one that a killed process has left is replaced.
//! 2. A job runs without the socket as well: that it cannot be opened is a warning.
//! 3. Who goes away before the answer changes nothing: a savepoint that was asked for is made.
//! 4. Who has asked for its end waits until it has ended, and its folder is free.

use std::path::{Path, PathBuf};

use wiesel_core::config::Configuration;
use wiesel_rpc::control::{Answer, Ask, CheckpointReport, ControlError, JobReport};
use wiesel_shard::{fs, local};
use wiesel_storage::CONTROL;

use crate::{CheckpointSettings, ClusterError, JobHandle, checkpoints::folder_of_job};

/// SIGTERM: what `cancel` is to a job.
const TERMINATE: i32 = 15;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ClusterError),
    /// The job has no folder, and so no socket.
    #[error(
        "it has no folder of checkpoints, in which it would listen: set `execution.checkpointing.dir` when it is started, and \
         now"
    )]
    NoFolder,
    /// Nobody listens.
    #[error(
        "it does not run: nobody answers in {}; if it runs, look whether its `execution.checkpointing.dir` is another one",
        .folder.display()
    )]
    NotRunning {
        /// Where it would.
        folder: PathBuf,
    },
    /// It was there, and is gone, or the system refused.
    #[error("it was asked, and did not answer: it may have ended")]
    NoAnswer(#[source] std::io::Error),
    /// It said something that this program does not understand.
    #[error(transparent)]
    Protocol(#[from] ControlError),
    /// It will not, or cannot.
    #[error("{0}")]
    Refused(String),
}

/// Asks the job of this name that runs with this configuration. `Stop` and `Cancel` return when it has ended.
///
/// # Errors
///
/// If it does not run, does not answer, or refuses.
pub fn ask_job(config: &Configuration, job: &str, ask: &Ask) -> Result<Answer, AskError> {
    let settings = CheckpointSettings::of(config)?;
    let folder = folder_of_job(&settings.folder.ok_or(AskError::NoFolder)?, job);
    let socket = folder.join(CONTROL);
    let line = local::ask(&socket, &ask.encode()).map_err(|error| {
        use std::io::ErrorKind::{ConnectionRefused, NotFound};
        match error.kind() {
            NotFound | ConnectionRefused => AskError::NotRunning { folder },
            _ => AskError::NoAnswer(error),
        }
    })?;
    match Answer::decode(&line)? {
        Answer::Refused { reason } => Err(AskError::Refused(reason)),
        answer => {
            if matches!(ask, Ask::Stop { .. } | Ask::Cancel) {
                // Whoever starts it again at once finds its folder free.
                local::wait_until_gone(&socket);
            }
            Ok(answer)
        }
    }
}

/// Answers in the folder of the job until it is dropped. None if it cannot, which is said in the log.
pub(crate) fn listen(folder: &Path, job: JobHandle) -> Option<local::Listener> {
    let path = folder.join(CONTROL);
    let answers = move |line: &str| {
        let answer = match Ask::decode(line) {
            Ok(ask) => answer(&job, ask),
            Err(error) => Answer::Refused { reason: error.to_string() },
        };
        answer.encode()
    };
    local::listen(&path, answers)
        .inspect_err(|error| tracing::warn!("the job cannot be asked from outside: {error}"))
        .ok()
}

fn answer(job: &JobHandle, ask: Ask) -> Answer {
    let made = match ask {
        Ask::Status => return Answer::Status(report(job)),
        Ask::Cancel => {
            job.terminate(TERMINATE);
            return Answer::Cancelling;
        }
        Ask::Savepoint { folder } => job.savepoint(folder.as_deref().map(Path::new)),
        Ask::Stop { folder, drain } => {
            job.stop_with_savepoint(folder.as_deref().map(Path::new), drain)
        }
    };
    match made {
        Ok(path) => Answer::Savepoint { path },
        Err(error) => Answer::Refused { reason: error.to_string() },
    }
}

fn report(job: &JobHandle) -> JobReport {
    let (status, process) = (job.status().to_string(), fs::process_id());
    let Some(progress) = job.progress() else {
        return JobReport { status, process, ..JobReport::default() };
    };
    let checkpoints = progress.checkpoints.map(|stats| CheckpointReport {
        completed: stats.completed,
        failed: stats.failed,
        last: (stats.completed > 0).then_some(stats.last.0),
        last_bytes: stats.last_bytes,
        last_duration: stats.last_duration,
        restarts: stats.restarts,
    });
    JobReport {
        status,
        process,
        uptime: progress.elapsed,
        tasks: progress.tasks.len() as u32,
        records_read: progress.records_read(),
        records_written: progress.records_written(),
        checkpoints,
        metrics: progress.function_metrics(),
    }
}
