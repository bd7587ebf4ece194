//! What a task is told about its turns, and what it says of one.

use std::time::Duration;

use wiesel_core::{Nanos, TaskFailure};

/// How a task is run.
#[derive(Clone, Copy, Debug)]
pub struct TaskOptions {
    /// How long a turn may last before the next task gets one.
    pub quantum: Duration,
    /// How long a frame may stay open while its task is busy.
    pub frame_age_max: Duration,
    /// Whether and how it takes part in checkpoints.
    pub checkpoints: Checkpoints,
    /// Whether a checkpoint holds of a table what has changed since the one before, where that can be.
    pub is_incremental: bool,
}

/// How a task takes part in checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpoints {
    /// Not at all: it is over when its data has ended.
    Off,
    /// Records behind a barrier are taken before the state is, and after a restart again.
    AtLeastOnce,
    /// Records behind a barrier wait until it has come on every channel.
    ExactlyOnce,
}

/// What a turn came to.
#[derive(Debug)]
pub enum Turn {
    /// Something was done; there may be more to do at once.
    Worked,
    /// Nothing to do until a frame, mail or an I/O completion arrives, or until this time.
    Idle(Option<Nanos>),
    /// The source wants a split. Reported once per need.
    NeedsSplit,
    /// All data has been processed; the task waits for a checkpoint to be complete that began after that. Reported
    /// once.
    EndOfData,
    /// Everything is done and every frame is home.
    Finished,
    /// The task failed; it must not be called again.
    Failed(TaskFailure),
}
