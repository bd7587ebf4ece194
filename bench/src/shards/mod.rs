//! What is measured below the level of a job: programs on shards, connected as tasks are.

pub mod handoff;
