//! Whether a job runs in batch mode: what its mode comes to for its sources.
//!
//! # What is always true
//!
//! Batch mode has no source that does not end.

use wiesel_core::RuntimeExecutionMode;

use crate::{GraphError, StreamGraph};

/// What a mode comes to for these sources.
pub(crate) fn is_batch<F>(
    graph: &StreamGraph<F>,
    mode: RuntimeExecutionMode,
) -> Result<bool, GraphError> {
    let unbounded = graph.vertices.iter().find(|vertex| vertex.is_unbounded);
    match (mode, unbounded) {
        (RuntimeExecutionMode::Streaming, _) | (RuntimeExecutionMode::Automatic, Some(_)) => {
            Ok(false)
        }
        (RuntimeExecutionMode::Batch | RuntimeExecutionMode::Automatic, None) => Ok(true),
        (RuntimeExecutionMode::Batch, Some(source)) => {
            let operator = source.operators.first().map_or_else(String::new, |o| o.name.clone());
            Err(GraphError::UnboundedSource { operator })
        }
    }
}

#[cfg(test)]
mod tests {
    use wiesel_core::RuntimeExecutionMode::{Automatic, Batch, Streaming};

    use crate::{
        GraphDefaults, JobGraph,
        testing::{DEFAULTS, graph},
    };

    #[test]
    fn batch_is_for_sources_that_end() {
        let bounded = "a / source; b / sink from0";
        let unbounded = "a / source; c -> d / source unbounded; b / sink from0 from1::1";
        let outcome = |script, runtime_mode| {
            let defaults = GraphDefaults { runtime_mode, ..DEFAULTS };
            match JobGraph::translate("j", &graph(script), &defaults) {
                Ok(job) => job.explain().lines().next().unwrap_or_default().to_owned(),
                Err(error) => error.to_string(),
            }
        };
        let streams = "job `j`: 2 chains, 4 tasks, 2 slots, 2 regions";
        assert_eq!(outcome(bounded, Streaming), streams);
        assert_eq!(outcome(bounded, Automatic), format!("{streams}, batch"));
        assert_eq!(outcome(bounded, Batch), format!("{streams}, batch"));
        assert!(!outcome(unbounded, Streaming).contains("batch"));
        assert!(!outcome(unbounded, Automatic).contains("batch"));
        assert_eq!(
            outcome(unbounded, Batch),
            "`c` does not end, and in batch mode there are no results before the end: use a source that ends, or set \
             `execution.runtime-mode` to `streaming` or `automatic`"
        );
    }
}
