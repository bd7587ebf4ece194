//! What can go wrong, and whose turn it is.

use std::{fmt, io, process::ExitCode};

use nix::errno::Errno;

/// Why a run gave nothing.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The command line is not what it should be.
    Args(lexopt::Error),
    /// There is no such workload.
    UnknownWorkload {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<&'static str>,
    },
    /// There is no such mode.
    UnknownMode(String),
    /// The program of a workload did not start.
    Program {
        /// Which one.
        workload: String,
        /// Why.
        source: io::Error,
    },
    /// The machine refused something.
    System {
        /// The call.
        call: &'static str,
        /// Its answer.
        source: Errno,
    },
    /// The engine gave up.
    Engine(String),
}

impl Error {
    /// 2 if another command line would help, 1 otherwise.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Args(_) | Self::UnknownWorkload { .. } | Self::UnknownMode(_) => {
                ExitCode::from(2)
            }
            Self::Program { .. } | Self::System { .. } | Self::Engine(_) => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Args(error) => write!(f, "{error}"),
            Self::UnknownWorkload { name, known } => {
                write!(f, "`{name}` is not a workload here: there is {}", known.join(", "))
            }
            Self::UnknownMode(mode) => write!(f, "`{mode}` is not a mode: there are spin and park"),
            Self::Program { workload, .. } => {
                write!(
                    f,
                    "the program for {workload} does not start: `cargo build` puts it next to this one"
                )
            }
            Self::System { call, .. } => write!(f, "{call} failed"),
            Self::Engine(text) => write!(f, "the engine failed: {text}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Program { source, .. } => Some(source),
            Self::System { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<lexopt::Error> for Error {
    fn from(error: lexopt::Error) -> Self {
        Self::Args(error)
    }
}
