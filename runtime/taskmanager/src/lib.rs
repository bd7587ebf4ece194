//! The worker: slots, deployment, the tasks of a shard.
