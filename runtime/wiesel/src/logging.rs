//! The log: `tracing` to standard error, what `WIESEL_LOG` lets through. Nothing is logged per record.

use std::io;

use tracing_subscriber::{EnvFilter, filter::LevelFilter, fmt};

use crate::{UsageError, print};

/// The variable with the filter.
pub(crate) const VARIABLE: &str = "WIESEL_LOG";

/// Starts the log, unless the program has one of its own.
pub(crate) fn start() -> Result<(), UsageError> {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::WARN.into())
        .with_env_var(VARIABLE)
        .from_env()
        .map_err(|error| UsageError::LogFilter(error.to_string()))?;
    // What cannot be written is not: to complain of that on the same closed stream would panic.
    let log = fmt().with_env_filter(filter).log_internal_errors(false);
    let log = log.with_ansi(print::err_is_terminal());
    let _ = log.with_writer(io::stderr).try_init(); // An error: there is a log already.
    Ok(())
}
