//! What a program says of its checkpoints: Flink's `CheckpointConfig`.
//!
//! Each method sets one option in the layer of the program. What is not here is set by
//! [`configure`](StreamExecutionEnvironment::configure).

use std::time::Duration;

use wiesel_core::config::{CheckpointRetention, CheckpointingMode, options};

use crate::{Result, StreamExecutionEnvironment};

/// Checkpoints of the jobs of an environment; from [`StreamExecutionEnvironment::checkpoint_config`].
///
/// ```
/// use wiesel::{
///     Configuration,
///     config::{CheckpointRetention, CheckpointingMode, options},
///     prelude::*,
/// };
///
/// let mut env = StreamExecutionEnvironment::new(Configuration::new());
/// env.enable_checkpointing(seconds(10))?;
/// env.checkpoint_config()
///     .set_checkpoint_storage("checkpoints")?
///     .set_checkpointing_mode(CheckpointingMode::ExactlyOnce)?
///     .set_checkpoint_timeout(minutes(2))?
///     .set_min_pause_between_checkpoints(seconds(5))?
///     .set_max_concurrent_checkpoints(1)?
///     .set_tolerable_checkpoint_failure_number(3)?
///     .set_externalized_checkpoint_retention(CheckpointRetention::RetainOnCancellation)?;
/// assert_eq!(env.configuration().get(&options::CHECKPOINTING_TIMEOUT), minutes(2));
/// # Ok::<(), wiesel::Error>(())
/// ```
///
/// # Errors
///
/// Of every method: if the option does not take the value. A command then ends with 2.
pub struct CheckpointConfig<'e>(pub(crate) &'e mut StreamExecutionEnvironment);

impl CheckpointConfig<'_> {
    /// In which folder each job has one for its checkpoints.
    pub fn set_checkpoint_storage(&mut self, folder: &str) -> Result<&mut Self> {
        self.0.configure(&options::CHECKPOINTING_DIRECTORY, Some(folder.to_owned()))?;
        Ok(self)
    }

    /// Whether records wait for barriers.
    pub fn set_checkpointing_mode(&mut self, mode: CheckpointingMode) -> Result<&mut Self> {
        self.0.configure(&options::CHECKPOINTING_MODE, mode)?;
        Ok(self)
    }

    /// How long a checkpoint may take before it is aborted.
    pub fn set_checkpoint_timeout(&mut self, timeout: Duration) -> Result<&mut Self> {
        self.0.configure(&options::CHECKPOINTING_TIMEOUT, timeout)?;
        Ok(self)
    }

    /// From the end of a checkpoint to the beginning of the next, at least.
    pub fn set_min_pause_between_checkpoints(&mut self, pause: Duration) -> Result<&mut Self> {
        self.0.configure(&options::CHECKPOINTING_MIN_PAUSE, pause)?;
        Ok(self)
    }

    /// How many checkpoints may be under way.
    pub fn set_max_concurrent_checkpoints(&mut self, count: u32) -> Result<&mut Self> {
        self.0.configure(&options::CHECKPOINTING_MAX_CONCURRENT, count)?;
        Ok(self)
    }

    /// How many checkpoints in a row may fail before the job does.
    pub fn set_tolerable_checkpoint_failure_number(&mut self, count: u32) -> Result<&mut Self> {
        self.0.configure(&options::CHECKPOINTING_TOLERABLE_FAILURES, count)?;
        Ok(self)
    }

    /// What is left of the checkpoints of a job that is cancelled.
    pub fn set_externalized_checkpoint_retention(
        &mut self,
        retention: CheckpointRetention,
    ) -> Result<&mut Self> {
        self.0.configure(&options::CHECKPOINTING_RETENTION, retention)?;
        Ok(self)
    }
}
