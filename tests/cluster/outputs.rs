//! Whose a folder of output is: one sink's, of one job, in whichever process.

use std::{
    fs,
    path::{Path, PathBuf},
};

use wiesel_cluster::{ClusterError, JobClient, MiniCluster, SubmitOptions};
use wiesel_connectors::{DataGen, FileSink};
use wiesel_core::config::Configuration;
use wiesel_datastream::Environment;
use wiesel_graph::GraphDefaults;
use wiesel_jobmanager::JobStatus;

use crate::{checkpoints::checkpointed, config, watched};

/// Starts a job that writes numbers to these folders, for ever if `count` says nothing.
fn start(
    name: &str,
    outs: &[PathBuf],
    count: Option<u64>,
    config: &Configuration,
) -> Result<JobClient, ClusterError> {
    let env = Environment::new();
    for out in outs {
        let numbers = DataGen::new(|tick| tick.number);
        let numbers = count.map_or(numbers.clone(), |count| numbers.count(count));
        let numbers = env.source(numbers).map(|number| number.to_string());
        numbers.sink_to(FileSink::lines(out).overwrite(true));
    }
    let graph = env.job_graph(name, &GraphDefaults::from_config(config, 1));
    MiniCluster::submit(graph.expect("a whole graph"), config, SubmitOptions::default())
}

fn refusal(started: Result<JobClient, ClusterError>) -> String {
    started.map(|_| ()).expect_err("the folder is another's").to_string()
}

/// The job with checkpoints in a folder, and one without.
fn configs(folder: &Path) -> [Configuration; 2] {
    [checkpointed(folder), config(&[])]
}

const TAKEN: &str = "a sink of this process writes there, perhaps under another name of the folder: name another one";

#[test]
fn a_folder_that_a_job_writes_to_is_no_other_jobs() {
    watched(|| {
        for at in 0..4 {
            let folder = tempfile::tempdir().expect("a folder");
            let out = folder.path().join("out");
            let outs = [out.clone()];
            let configs = configs(folder.path());
            let first = start("first", &outs, None, &configs[at / 2]);
            let first = first.expect("it is free");
            let second = refusal(start("second", &outs, Some(9), &configs[at % 2]));
            assert!(second.contains(TAKEN), "{second}");
            first.cancel();
            assert_eq!(first.wait().status, JobStatus::Canceled);
            let left = fs::read_dir(&out).expect("a folder");
            let names: Vec<_> = left.map(|file| file.expect("a file").file_name()).collect();
            assert!(!names.iter().any(|name| name == ".wiesel-owner"), "{names:?}");
            let second = start("second", &outs, Some(9), &configs[at % 2]).expect("it is free");
            assert_eq!(second.wait().status, JobStatus::Finished);
        }
    });
}

/// Also if the folder is not there before.
#[test]
fn two_names_of_a_folder_are_one_folder() {
    watched(|| {
        for (is_there, at) in [(true, 0), (true, 1), (false, 0), (false, 1)] {
            let folder = tempfile::tempdir().expect("a folder");
            let out = folder.path().join("out");
            if is_there {
                fs::create_dir(&out).expect("a disk");
            }
            fs::create_dir(folder.path().join("x")).expect("a disk");
            let outs = [out.clone(), folder.path().join("x/../out")];
            let config = &configs(folder.path())[at];
            let refused = refusal(start("both", &outs, Some(9), config));
            assert!(refused.contains(TAKEN) && refused.contains("x/../out"), "{refused}");
            assert_eq!(fs::read_dir(&out).expect("a folder").count(), 0);
            let alone = start("both", &outs[..1], Some(9), config).expect("it is free");
            assert_eq!(alone.wait().status, JobStatus::Finished);
        }
    });
}

/// A file of an owner that was killed.
#[test]
fn an_owner_that_is_gone_is_in_nobodys_way() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        for config in configs(folder.path()) {
            fs::write(folder.path().join(".wiesel-owner"), "process 4711\n").expect("a disk");
            let outs = [folder.path().to_owned()];
            let job = start("test", &outs, Some(9), &config).expect("it is free");
            assert_eq!(job.wait().status, JobStatus::Finished);
            assert!(!folder.path().join(".wiesel-owner").exists());
        }
    });
}
