//! Frames and their pools.
