//! What is wrong in a job fails it with operator, subtask and place, and harms nobody else.

use std::sync::mpsc;

use wiesel_cluster::{JobResult, SubmitOptions};
use wiesel_connectors::DataGen;
use wiesel_core::Blame;
use wiesel_datastream::Environment;
use wiesel_jobmanager::JobStatus;

use crate::{assert_sound, config, run, submit, watched};

/// The job failed by its own fault, every shard ended well, and the report holds these words.
#[track_caller]
fn assert_failed(result: &JobResult, words: &[&str]) {
    assert_eq!(result.status, JobStatus::Failed);
    assert_eq!(result.panics, [], "a shard died");
    let failure = result.failure.as_ref().expect("a job that failed says why");
    let text = failure.to_string();
    for word in words {
        assert!(text.contains(word), "no `{word}` in: {text}");
    }
    assert_eq!(failure.blame, Blame::Job, "{text}");
    assert!(!text.contains('\n'), "{text}");
}

#[test]
fn a_panic_fails_its_job_and_the_next_one_runs() {
    watched(|| {
        let environment = Environment::new();
        let source =
            environment.source(DataGen::new(|tick| tick.number).count(100_000)).uid("numbers");
        let _ = source
            .map(|number| {
                assert!(number != 4_243, "four two four three");
                number
            })
            .key_by::<u64>(|number| number % 10)
            .count()
            .collect();
        let result = run(&environment, 2, &config(&[]));
        assert_failed(
            &result,
            &["`numbers`", "subtask 1", "record 4243 of the generator", "four two four three"],
        );

        let environment = Environment::new();
        let numbers = environment.from_collection(0..100_u64).rebalance().collect();
        assert_sound(&run(&environment, 2, &config(&[])));
        assert_eq!(numbers.take().len(), 100);
    });
}

#[test]
fn a_panic_behind_an_exchange_names_its_operator() {
    watched(|| {
        let environment = Environment::new();
        let numbers =
            environment.source(DataGen::new(|tick| tick.number).count(100_000)).rebalance();
        let _ = numbers.map(|number| 1_000 / (number - number / 2 * 2)).uid("divide").collect();
        let result = run(&environment, 3, &config(&[]));
        assert_failed(&result, &["`divide`", "subtask", "divide by zero"]);
    });
}

#[test]
fn an_error_of_a_user_function_names_operator_subtask_and_place() {
    watched(|| {
        let environment = Environment::new();
        let words = ["1", "2", "drei", "4"].map(str::to_owned);
        let words = environment.from_collection(words).set_parallelism(1);
        let _ = words.try_map(str::parse::<u64>).uid("parse").collect();
        let result = run(&environment, 2, &config(&[]));
        assert_failed(
            &result,
            &[
                "`parse`",
                "subtask 0",
                "record 2 of the collection",
                "invalid digit found in string",
            ],
        );
    });
}

#[test]
fn a_record_over_the_limit_fails_with_its_size() {
    watched(|| {
        let environment = Environment::new();
        let lengths = environment.from_collection([10_u64, 100, 200_000]).set_parallelism(1);
        let _ = lengths.map(|length| "x".repeat(length as usize)).uid("text").rebalance().collect();
        let config = config(&[("taskmanager.network.record-bytes-max", "128 kb")]);
        let result = run(&environment, 2, &config);
        assert_failed(
            &result,
            &["`text`", "subtask 0", "has 2000", "131072", "taskmanager.network.record-bytes-max"],
        );
    });
}

#[test]
fn an_expansion_over_the_overdraft_fails_with_the_option() {
    watched(|| {
        let environment = Environment::new();
        let numbers = environment.from_collection(0..10_u64).set_parallelism(1);
        let _ = numbers
            .flat_map::<u64>(|number, out| (0..1_000_000).for_each(|copy| out.emit(number + copy)))
            .uid("expand")
            .rebalance()
            .filter(|_| false)
            .collect();
        let config = config(&[
            ("taskmanager.network.memory.max-overdraft-size", "256 kb"),
            ("taskmanager.network.record-bytes-max", "256 kb"),
        ]);
        let result = run(&environment, 2, &config);
        assert_failed(
            &result,
            &["`expand`", "262144 bytes", "taskmanager.network.memory.max-overdraft-size"],
        );
    });
}

#[test]
fn a_job_that_has_no_end_is_cancelled_while_it_runs() {
    watched(|| {
        let environment = Environment::new();
        let numbers = environment.source(DataGen::new(|tick| tick.number));
        let _ = numbers.key_by::<u64>(|number| number % 100).count().filter(|_| false).collect();
        let (seen, is_seen) = mpsc::channel();
        let options = SubmitOptions {
            observe_every: std::time::Duration::from_millis(10),
            observer: Some(Box::new(move |progress| {
                if progress.records_read() > 0 {
                    let _ = seen.send(());
                }
            })),
            ..SubmitOptions::default()
        };
        let client = submit(&environment, 2, &config(&[]), options);
        is_seen.recv().expect("it reads before it ends");
        assert_eq!(client.status(), JobStatus::Running);
        client.cancel();
        let result = client.wait();
        assert_eq!((result.status, result.failure), (JobStatus::Canceled, None));
        assert_eq!(result.panics, []);
        assert!(result.progress.records_read() > 0);
    });
}
