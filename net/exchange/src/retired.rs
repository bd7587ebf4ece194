//! What is left of a partition whose task is gone: frames that are still with its consumers.

use crate::ResultPartition;

/// A partition that only waits for its frames. Drop it when it is drained.
#[derive(Debug)]
pub struct RetiredPartition(ResultPartition);

impl RetiredPartition {
    pub(crate) fn new(partition: ResultPartition) -> Self {
        Self(partition)
    }

    /// Takes frames that came back. Says whether there were any.
    pub fn poll(&mut self) -> bool {
        self.0.poll()
    }

    /// Whether every frame is home, or its holder is gone.
    pub fn is_drained(&self) -> bool {
        self.0.is_drained()
    }
}
