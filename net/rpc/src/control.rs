//! What somebody outside asks a job that runs, and what it answers: a line each.
//!
//! ```text
//!   1 {"ask":"savepoint","folder":"/data/savepoints"}   ──▶
//!   ◀── 1 {"answer":"savepoint","path":"/data/savepoints/savepoint-0f1e2d-6"}
//!   │ └ JSON
//!   └ the version of this protocol
//! ```
//!
//! # What is always true
//!
//! 1. A line that is not understood is answered with why, never with what was not asked for.
//! 2. Who asks and who answers are the same program: other versions are refused, with both numbers.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::OperatorMetric;

/// The version of the protocol.
pub const CONTROL_VERSION: u32 = 1;

/// What is asked.
///
/// ```
/// use wiesel_rpc::control::Ask;
///
/// let ask = Ask::Stop { folder: None, drain: true };
/// assert_eq!(ask.encode(), r#"1 {"ask":"stop","folder":null,"drain":true}"#);
/// assert_eq!(Ask::decode(&ask.encode()), Ok(ask));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ask {
    /// What it does.
    Status,
    /// A savepoint while it goes on.
    Savepoint {
        /// Where, as an absolute path; else where the configuration says.
        folder: Option<String>,
    },
    /// A savepoint, and the end of the job behind it.
    Stop {
        /// Where, as an absolute path; else where the configuration says.
        folder: Option<String>,
        /// Whether event time ends first.
        drain: bool,
    },
    /// Its end, at once.
    Cancel,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Answer {
    /// What the job does.
    Status(JobReport),
    /// The savepoint is there.
    Savepoint {
        /// Its folder.
        path: PathBuf,
    },
    /// The job will end.
    Cancelling,
    /// It cannot be done.
    Refused {
        /// Why, and what to do.
        reason: String,
    },
}

/// A job at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobReport {
    /// `RUNNING`, …
    pub status: String,
    /// The process that runs it.
    pub process: u32,
    /// Since it was started.
    pub uptime: Duration,
    /// Its tasks.
    pub tasks: u32,
    /// Records that the sources have read.
    pub records_read: u64,
    /// Records that the sinks have written.
    pub records_written: u64,
    /// Its checkpoints, if it takes any.
    pub checkpoints: Option<CheckpointReport>,
    /// What its functions count.
    pub metrics: Vec<OperatorMetric>,
}

/// What checkpoints have come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointReport {
    /// Those that are complete.
    pub completed: u64,
    /// Those that failed.
    pub failed: u64,
    /// The number of the last one that is complete; none before the first.
    pub last: Option<u64>,
    /// Its size in bytes.
    pub last_bytes: u64,
    /// How long it took.
    pub last_duration: Duration,
    /// How often the job was restarted.
    pub restarts: u64,
}

/// A line that is not one of this protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// It is of another version.
    #[error(
        "it speaks version {theirs} of the control protocol, this program version {CONTROL_VERSION}: use the program that runs the job"
    )]
    Version {
        /// Of the other side.
        theirs: u32,
    },
    /// It is nothing that is said here.
    #[error("not a message of the control protocol: {0}")]
    Malformed(String),
}

fn encode(message: &impl Serialize) -> String {
    // Numbers, texts and absolute paths; a path that is not text is the one thing that cannot be written.
    match serde_json::to_string(message) {
        Ok(json) => format!("{CONTROL_VERSION} {json}"),
        Err(error) => encode(&Answer::Refused { reason: error.to_string() }),
    }
}

fn decode<T: DeserializeOwned>(line: &str) -> Result<T, ControlError> {
    let malformed = |cause: &str| ControlError::Malformed(cause.to_owned());
    let (version, json) =
        line.split_once(' ').ok_or_else(|| malformed("it has no version and a space"))?;
    let theirs = version.parse().map_err(|_| malformed("its version is no number"))?;
    if theirs != CONTROL_VERSION {
        return Err(ControlError::Version { theirs });
    }
    serde_json::from_str(json).map_err(|error| malformed(&error.to_string()))
}

impl Ask {
    /// As a line, without its end.
    pub fn encode(&self) -> String {
        encode(self)
    }

    /// From a line, without its end.
    ///
    /// # Errors
    ///
    /// If it is none of these.
    pub fn decode(line: &str) -> Result<Self, ControlError> {
        decode(line)
    }
}

impl Answer {
    /// As a line, without its end.
    pub fn encode(&self) -> String {
        encode(self)
    }

    /// From a line, without its end.
    ///
    /// # Errors
    ///
    /// If it is none of these.
    pub fn decode(line: &str) -> Result<Self, ControlError> {
        decode(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_what_is_heard() {
        let folder = Some("/data/\"save\npoints\"".to_owned());
        let asks = [
            Ask::Status,
            Ask::Cancel,
            Ask::Savepoint { folder: folder.clone() },
            Ask::Stop { folder, drain: false },
        ];
        for ask in asks {
            let line = ask.encode();
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(Ask::decode(&line), Ok(ask));
        }
        let checkpoints = Some(CheckpointReport { last: Some(7), ..Default::default() });
        let report = JobReport { status: "RUNNING".to_owned(), checkpoints, ..Default::default() };
        let answers = [
            Answer::Status(report),
            Answer::Savepoint { path: "/data/savepoint-1".into() },
            Answer::Cancelling,
            Answer::Refused { reason: "two\nlines".to_owned() },
        ];
        for answer in answers {
            let line = answer.encode();
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(Answer::decode(&line), Ok(answer));
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let check = |line: &str, expected: &str| {
            let error = Ask::decode(line).expect_err(line).to_string();
            assert!(error.contains(expected), "{line}: {error}");
        };
        check("", "no version");
        check("hello", "no version");
        check("GET / HTTP/1.1", "no number");
        check("2 {}", "speaks version 2 of the control protocol, this program version 1");
        check("1 {}", "missing field `ask`");
        check(r#"1 {"ask":"reboot"}"#, "unknown variant `reboot`");
        check(r#"1 {"ask":"stop","folder":null}"#, "missing field `drain`");
        check(r#"1 {"ask":"stop","folder":null,"drain":true,"now":1}"#, "unknown field `now`");
        check(r#"1 {"ask":"status"} and more"#, "trailing characters");
    }
}
