//! Checkpoints as files.
