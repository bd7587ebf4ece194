//! The benchmark: ours against a hand-written loop.
