//! A distributed stream processor with Flink's semantics, thread-per-core on io_uring.
