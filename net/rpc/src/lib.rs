//! Control messages between JobManager and TaskManager.
