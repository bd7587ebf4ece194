//! Partitioners, result partitions, input gates, credits.
