//! Jobs to start from.
