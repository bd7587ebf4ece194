//! What can be set about checkpoints: Flink's `execution.checkpointing.*` with its defaults.

use std::time::Duration;

use wiesel_core::config::{
    CheckpointRetention, CheckpointingMode, Configuration, RestartStrategyType, options,
};

use crate::RestartConfig;

/// The coordinator's numbers.
///
/// ```
/// use wiesel_checkpoint::CheckpointConfig;
/// use wiesel_core::config::Configuration;
///
/// let mut config = Configuration::new();
/// assert_eq!(CheckpointConfig::of(&config).interval, None);
/// config.set_text("execution.checkpointing.interval", "1 s")?;
/// assert_eq!(CheckpointConfig::of(&config).interval, Some(std::time::Duration::from_secs(1)));
/// # Ok::<(), wiesel_core::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointConfig {
    /// `execution.checkpointing.interval`: from one trigger to the next; `None` is off.
    pub interval: Option<Duration>,
    /// `execution.checkpointing.timeout`.
    pub timeout: Duration,
    /// `execution.checkpointing.min-pause`: from the end of one to the trigger of the next.
    pub min_pause: Duration,
    /// `execution.checkpointing.max-concurrent-checkpoints`.
    pub max_concurrent: u32,
    /// `execution.checkpointing.tolerable-failed-checkpoints`: failures in a row before the job fails.
    pub tolerable_failures: u32,
    /// `execution.checkpointing.num-retained`: completed ones that are kept.
    pub num_retained: u32,
    /// `execution.checkpointing.mode`.
    pub mode: CheckpointingMode,
    /// `execution.checkpointing.externalized-checkpoint-retention`: what is left when the job is cancelled.
    pub retention: CheckpointRetention,
    /// `execution.checkpointing.checkpoints-after-tasks-finish`.
    pub after_tasks_finish: bool,
    /// `execution.checkpointing.incremental`: what has changed since the last checkpoint is written, where that can be.
    pub is_incremental: bool,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self::of(&Configuration::new())
    }
}

impl CheckpointConfig {
    /// What the configuration says.
    pub fn of(config: &Configuration) -> Self {
        Self {
            interval: Some(config.get(&options::CHECKPOINTING_INTERVAL))
                .filter(|interval| !interval.is_zero()),
            timeout: config.get(&options::CHECKPOINTING_TIMEOUT),
            min_pause: config.get(&options::CHECKPOINTING_MIN_PAUSE),
            max_concurrent: config.get(&options::CHECKPOINTING_MAX_CONCURRENT),
            tolerable_failures: config.get(&options::CHECKPOINTING_TOLERABLE_FAILURES),
            num_retained: config.get(&options::CHECKPOINTING_NUM_RETAINED),
            mode: config.get(&options::CHECKPOINTING_MODE),
            retention: config.get(&options::CHECKPOINTING_RETENTION),
            after_tasks_finish: config.get(&options::CHECKPOINTING_AFTER_TASKS_FINISH),
            is_incremental: config.get(&options::CHECKPOINTING_INCREMENTAL),
        }
    }
}

impl RestartConfig {
    /// What the configuration says. By default there is no restart without checkpoints, and exponential delay with them.
    pub fn of(config: &Configuration) -> Self {
        let checkpoints = !config.get(&options::CHECKPOINTING_INTERVAL).is_zero();
        let by_default = if checkpoints {
            RestartStrategyType::ExponentialDelay
        } else {
            RestartStrategyType::None
        };
        match config.get(&options::RESTART_STRATEGY).unwrap_or(by_default) {
            RestartStrategyType::None => Self::None,
            RestartStrategyType::FixedDelay => Self::FixedDelay {
                attempts: config.get(&options::RESTART_FIXED_ATTEMPTS),
                delay: config.get(&options::RESTART_FIXED_DELAY),
            },
            RestartStrategyType::ExponentialDelay => Self::ExponentialDelay {
                initial_backoff: config.get(&options::RESTART_INITIAL_BACKOFF),
                max_backoff: config.get(&options::RESTART_MAX_BACKOFF),
                backoff_multiplier: config.get(&options::RESTART_BACKOFF_MULTIPLIER),
                reset_backoff_threshold: config.get(&options::RESTART_RESET_THRESHOLD),
                jitter_factor: config.get(&options::RESTART_JITTER_FACTOR),
                attempts: config.get(&options::RESTART_EXPONENTIAL_ATTEMPTS),
            },
            RestartStrategyType::FailureRate => Self::FailureRate {
                max_failures: config.get(&options::RESTART_RATE_MAX_FAILURES),
                interval: config.get(&options::RESTART_RATE_INTERVAL),
                delay: config.get(&options::RESTART_RATE_DELAY),
            },
        }
    }
}
