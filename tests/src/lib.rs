//! Tests across crates: simulation, cluster, tidy.
