//! One subtask: gates, chain, partitions, and the loop that drives them.
