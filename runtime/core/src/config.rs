//! Options (to be filled).
