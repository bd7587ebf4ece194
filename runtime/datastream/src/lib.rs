//! The DataStream API: builds the graph and the task factories.
