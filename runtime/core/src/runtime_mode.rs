//! How a job is run: record by record, or key after key.

use std::fmt;

/// Flink's `RuntimeExecutionMode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RuntimeExecutionMode {
    /// Results are updated with every record, time goes on with the input. For inputs that end and for those that do not.
    #[default]
    Streaming,
    /// A keyed operator sees one key after the other, each with all its records, and gives final results only. Every
    /// source has to end.
    Batch,
    /// `Batch` if every source ends, else `Streaming`.
    Automatic,
}

impl fmt::Display for RuntimeExecutionMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Streaming => "streaming",
            Self::Batch => "batch",
            Self::Automatic => "automatic",
        })
    }
}
