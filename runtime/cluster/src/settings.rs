//! What the configuration says of the checkpoints of a job.

use std::path::PathBuf;

use wiesel_checkpoint::{CheckpointConfig, RestartConfig};
use wiesel_core::{
    CheckpointId,
    config::{CheckpointingMode, Configuration, FailoverStrategy, RecoveryClaimMode, options},
};
use wiesel_jobmanager::CheckpointPlan;
use wiesel_task::Checkpoints;

use crate::ClusterError;

/// What the configuration says of checkpoints and restarts.
#[derive(Clone, Debug)]
pub struct CheckpointSettings {
    /// The folder of all jobs; none if the job takes no checkpoints. Without an interval it takes savepoints and, when
    /// all is read, the final one.
    pub folder: Option<PathBuf>,
    /// When, and how many are kept.
    pub config: CheckpointConfig,
    /// What follows a failure.
    pub restart: RestartConfig,
    /// For whom.
    pub failover: FailoverStrategy,
    /// Begin without what is there, which is removed.
    pub fresh: bool,
    /// State that no operator takes is dropped.
    pub allow_non_restored: bool,
    /// The folder of savepoints that name none.
    pub savepoints: Option<PathBuf>,
    /// The savepoint, or the checkpoint, to start from, whatever else is there.
    pub recovery: Option<PathBuf>,
    /// Whose that is then.
    pub claim_mode: RecoveryClaimMode,
}

impl CheckpointSettings {
    /// Those of a job that takes no checkpoints and does not restart.
    pub fn off() -> Self {
        let config = CheckpointConfig::default();
        Self {
            folder: None,
            config,
            restart: RestartConfig::None,
            failover: FailoverStrategy::Region,
            fresh: false,
            allow_non_restored: false,
            savepoints: None,
            recovery: None,
            claim_mode: RecoveryClaimMode::NoClaim,
        }
    }

    /// The plan of a job that takes no checkpoints but may begin anew.
    pub(crate) fn restarts_only(&self) -> Option<CheckpointPlan> {
        let restarts = self.restart != RestartConfig::None;
        restarts.then(|| CheckpointPlan {
            config: CheckpointConfig { interval: None, ..self.config.clone() },
            restart: self.restart,
            failover: self.failover,
            first_id: CheckpointId(1),
            retained: Vec::new(),
            restored: None,
            seed: 0,
        })
    }

    /// What tasks are told.
    pub(crate) fn of_tasks(&self) -> Checkpoints {
        match self.config.mode {
            _ if self.folder.is_none() => Checkpoints::Off,
            CheckpointingMode::ExactlyOnce => Checkpoints::ExactlyOnce,
            CheckpointingMode::AtLeastOnce => Checkpoints::AtLeastOnce,
        }
    }

    /// What the configuration says of a job in batch mode: it has no barriers, and so no checkpoints. After a failure it
    /// begins anew, if it is told to.
    ///
    /// # Errors
    ///
    /// If it is to start from a savepoint.
    pub(crate) fn of_batch(config: &Configuration) -> Result<Self, ClusterError> {
        if config.get(&options::STATE_RECOVERY_PATH).is_some() {
            return Err(ClusterError::BatchRecovery);
        }
        if CheckpointConfig::of(config).interval.is_some() {
            tracing::warn!(
                "no checkpoints are taken in batch mode (`{}` is set): a job that is started again begins anew",
                options::CHECKPOINTING_INTERVAL.key()
            );
        }
        // `auto` is what a job without checkpoints does.
        let is_set = config.get(&options::RESTART_STRATEGY).is_some();
        let restart = if is_set { RestartConfig::of(config) } else { RestartConfig::None };
        let failover = config.get(&options::FAILOVER_STRATEGY);
        Ok(Self { restart, failover, ..Self::off() })
    }

    /// What the configuration says.
    ///
    /// # Errors
    ///
    /// If checkpoints are on, or the job is to start from a savepoint, and there is no folder for them.
    pub fn of(config: &Configuration) -> Result<Self, ClusterError> {
        let checkpoints = CheckpointConfig::of(config);
        let folder = config.get(&options::CHECKPOINTING_DIRECTORY).map(PathBuf::from);
        let recovery = config.get(&options::STATE_RECOVERY_PATH).map(PathBuf::from);
        if (checkpoints.interval.is_some() || recovery.is_some()) && folder.is_none() {
            return Err(ClusterError::CheckpointFolder);
        }
        Ok(Self {
            folder,
            savepoints: config.get(&options::SAVEPOINT_DIRECTORY).map(PathBuf::from),
            recovery,
            claim_mode: config.get(&options::STATE_RECOVERY_CLAIM_MODE),
            restart: RestartConfig::of(config),
            failover: config.get(&options::FAILOVER_STRATEGY),
            config: checkpoints,
            fresh: false,
            allow_non_restored: false,
        })
    }
}
