//! Operator lists while some subtasks have finished and others run.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use wiesel_cluster::{MiniCluster, SubmitOptions};
use wiesel_connectors::{DataGen, FileSink};
use wiesel_datastream::Environment;
use wiesel_graph::GraphDefaults;
use wiesel_jobmanager::JobStatus;
use wiesel_operators::{
    FunctionError, OperatorListState, OperatorStateRegistry, ProcessContext, ProcessFunction,
};
use wiesel_record::Out;

use crate::{checkpoints::checkpointed, watched};

/// Of both subtasks.
const NUMBERS: u64 = 2_000;

/// Keeps its numbers. One subtask has those of the first half at once; the other one goes on as long as it is told to.
#[derive(Clone)]
struct Keeps {
    list: OperatorListState<u64>,
    first_half: Arc<AtomicU64>,
    goes_on: Arc<AtomicU64>,
}

impl ProcessFunction<u64> for Keeps {
    type Out = u64;
    type Side = ();

    fn initialize_state(&self, states: &mut OperatorStateRegistry) {
        states.register(&self.list);
    }

    fn process(
        &mut self,
        number: u64,
        context: &mut ProcessContext<'_, ()>,
        out: &mut dyn Out<u64>,
    ) -> Result<(), FunctionError> {
        context.add(&self.list, number);
        out.emit(number);
        if number < NUMBERS / 2 {
            self.first_half.fetch_add(1, Ordering::Relaxed);
        } else if self.goes_on.load(Ordering::Relaxed) != 0 {
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

/// How many checkpoints are completed while one of two subtasks has finished.
fn completed_with_one(list: OperatorListState<u64>) -> u64 {
    let folder = tempfile::tempdir().expect("a folder");
    let (first_half, goes_on) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(1)));
    let function =
        Keeps { list, first_half: Arc::clone(&first_half), goes_on: Arc::clone(&goes_on) };
    let env = Environment::new();
    let sink = FileSink::lines(folder.path().join("out"));
    let numbers = DataGen::new(|tick| tick.number).count(NUMBERS).in_splits_of(NUMBERS / 2);
    env.source(numbers)
        .uid("numbers")
        .process(function)
        .uid("keeps")
        .map(|n| n.to_string())
        .sink_to(sink);
    let config = checkpointed(folder.path());
    let graph = env.job_graph("keeps", &GraphDefaults::from_config(&config, 2));
    let client = MiniCluster::submit(graph.expect("whole"), &config, SubmitOptions::default());
    let client = client.expect("fit");
    while first_half.load(Ordering::Relaxed) < NUMBERS / 2 {
        thread::sleep(Duration::from_millis(1));
    }
    let completed = || {
        let checkpoints = client.progress().and_then(|progress| progress.checkpoints);
        checkpoints.map_or(0, |checkpoints| checkpoints.completed)
    };
    thread::sleep(Duration::from_millis(200)); // It has finished.
    let before = completed();
    thread::sleep(Duration::from_millis(300));
    let after = completed();
    goes_on.store(0, Ordering::Relaxed);
    let result = client.wait();
    assert_eq!(result.status, JobStatus::Finished, "{:?}", result.failure);
    after - before
}

#[test]
fn a_union_list_waits_for_all_its_subtasks_or_none() {
    watched(|| {
        assert!(completed_with_one(OperatorListState::new("numbers")) > 0);
        // One may have been under way.
        assert!(completed_with_one(OperatorListState::union("numbers")) <= 1);
    });
}
