//! Whole jobs on this machine: they end, with the right results, in bounded memory, and fail as they should.
//!
//! No time is asserted that other work of the machine could change, but for a bound on hanging. What takes long is
//! ignored here: `cargo test --release -p wiesel-tests --test cluster -- --ignored --nocapture --test-threads=1`.
#![allow(
    clippy::disallowed_methods,
    reason = "the watchdog is a thread, slow functions read a clock, and the resident set is a file"
)]

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use wiesel_cluster::{JobClient, JobResult, MiniCluster, SubmitOptions};
use wiesel_core::config::Configuration;
use wiesel_datastream::Environment;
use wiesel_graph::GraphDefaults;
use wiesel_jobmanager::JobStatus;

mod async_io;
mod batch;
mod broadcasts;
mod checkpoints;
mod failures;
mod fallbacks;
mod floods;
mod functions;
mod lists;
mod memory;
mod migrations;
mod outputs;
mod recut;
mod regions;
mod restores;
mod savepoints;
mod sessions;
mod shapes;
mod sinks;
mod states;
mod textbook;
mod turns;
mod two_inputs;
mod watermarks;
mod window_operator;
mod windows;

/// What no test takes even on a machine that does other work: hanging.
const HANGS_AFTER: Duration = Duration::from_secs(180);

/// Runs `test` and ends the process if it hangs.
fn watched<R: Send + 'static>(test: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, is_done) = mpsc::channel();
    let runs = thread::spawn(move || {
        let result = test();
        let _ = done.send(());
        result
    });
    if is_done.recv_timeout(HANGS_AFTER) == Err(mpsc::RecvTimeoutError::Timeout) {
        eprintln!("a test hangs: not done after {HANGS_AFTER:?}");
        std::process::abort();
    }
    runs.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A configuration with these keys set.
fn config(pairs: &[(&str, &str)]) -> Configuration {
    let mut config = Configuration::new();
    for (key, value) in pairs {
        config.set_text(key, value).expect("a known key and a good value");
    }
    config
}

/// Starts what `environment` says.
fn submit(
    environment: &Environment,
    parallelism: u32,
    config: &Configuration,
    options: SubmitOptions,
) -> JobClient {
    let defaults = GraphDefaults::from_config(config, parallelism);
    let graph = environment.job_graph("test", &defaults).expect("a whole graph");
    MiniCluster::submit(graph, config, options).expect("this machine is fit")
}

/// Runs what `environment` says to its end.
fn run(environment: &Environment, parallelism: u32, config: &Configuration) -> JobResult {
    submit(environment, parallelism, config, SubmitOptions::default()).wait()
}

/// The job finished, no program panicked, nothing was late, and every frame is home.
#[track_caller]
fn assert_sound(result: &JobResult) {
    assert_eq!(result.status, JobStatus::Finished, "{:?}", result.failure);
    assert_eq!(result.panics, []);
    assert_eq!(result.progress.late_records(), 0);
    for pool in &result.pools {
        assert_eq!((pool.outstanding, pool.lost), (0, 0), "frames are missing: {pool:?}");
    }
}

/// Records that the tasks of sinks have read.
fn records_into_sinks(result: &JobResult) -> u64 {
    let sinks = result.progress.tasks.iter().filter(|task| task.is_sink);
    sinks.filter_map(|task| task.metrics.as_ref()).map(|metrics| metrics.records_in).sum()
}

/// Computes for this long.
fn compute(duration: Duration) {
    let started = Instant::now();
    while started.elapsed() < duration {
        std::hint::black_box(started);
    }
}
