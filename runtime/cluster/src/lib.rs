//! The parts wired: the MiniCluster and its client.
