//! The coordinator told a story a line: what it is told, and what it answers.
//!
//! Two sources `0/0`, `0/1` with an enumerator each for both, a count `1/0` that reads from both.

mod ends;

use std::collections::BTreeMap;

use wiesel_checkpoint::{
    CheckpointConfig, CheckpointCoordinator, CheckpointId, DeclineReason, Effect, Event, RequestId,
    Topology,
};
use wiesel_core::{Nanos, SubtaskIndex, TaskId, VertexId, millis};

fn task(text: &str) -> TaskId {
    let (vertex, subtask) = text.split_once('/').expect("vertex/subtask");
    let number = |text: &str| text.parse().expect("a number");
    TaskId { vertex: VertexId(number(vertex)), subtask: SubtaskIndex(number(subtask)) }
}

fn event(words: &[&str]) -> Event<String> {
    let id = |text: &str| CheckpointId(text.parse().expect("an id"));
    match words {
        ["tick"] => Event::Tick,
        ["running", finished @ ..] => {
            Event::Running { finished: finished.iter().map(|t| task(t)).collect() }
        }
        ["restart"] => Event::Restart,
        ["pause"] => Event::Pause,
        ["enumerators", n] => Event::Enumerators {
            checkpoint: id(n),
            states: BTreeMap::from([(VertexId(0), format!("e{n}"))]),
        },
        ["no-enumerators", n] => {
            Event::EnumeratorsFailed { checkpoint: id(n), reason: "lost".into() }
        }
        ["ack", n, t] => Event::Acknowledge {
            checkpoint: id(n),
            task: task(t),
            handle: format!("{n}:{t}"),
            bytes: 10,
        },
        ["decline", n, t] => {
            let reason = DeclineReason::Io("no space left".into());
            Event::Decline { checkpoint: id(n), task: task(t), reason }
        }
        ["not-ready", n, t] => {
            Event::Decline { checkpoint: id(n), task: task(t), reason: DeclineReason::NotReady }
        }
        ["ended", t] => Event::EndOfData { task: task(t) },
        ["finished", t] => Event::TaskFinished { task: task(t) },
        ["stored", n] => Event::Stored { checkpoint: id(n) },
        ["store-failed", n] => {
            Event::StoreFailed { checkpoint: id(n), reason: "full".into(), ambiguous: false }
        }
        ["store-unknown", n] => {
            Event::StoreFailed { checkpoint: id(n), reason: "lost".into(), ambiguous: true }
        }
        ["savepoint", n] => Event::Savepoint { request: RequestId(n.parse().expect("a number")) },
        ["stop", n] => Event::StopWithSavepoint {
            request: RequestId(n.parse().expect("a number")),
            drain: true,
        },
        other => panic!("no such event: {other:?}"),
    }
}

fn show(effect: Effect<String>) -> String {
    let tasks =
        |tasks: &[TaskId]| tasks.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    match effect {
        Effect::SnapshotEnumerators { checkpoint, kind } => {
            format!("enumerators {checkpoint} {kind:?}")
        }
        Effect::Trigger { checkpoint, tasks: heads, .. } => {
            format!("trigger {checkpoint} {}", tasks(&heads))
        }
        Effect::Store { checkpoint, handles, finished, .. } => {
            let finished = if finished.is_empty() {
                String::new()
            } else {
                format!(" without {}", tasks(&finished))
            };
            format!(
                "store {checkpoint} {}{finished}",
                handles.into_values().collect::<Vec<_>>().join(",")
            )
        }
        Effect::NotifyComplete { checkpoint, bytes, duration_ns, .. } => {
            format!("complete {checkpoint} {bytes} B {} ms", duration_ns / 1_000_000)
        }
        Effect::NotifyAbort { checkpoint, reason, .. } => format!("abort {checkpoint}: {reason}"),
        Effect::Discard { checkpoint } => format!("discard {checkpoint}"),
        Effect::DiscardState { handles, .. } => format!("discard {}", handles.join(",")),
        Effect::SavepointDone { request, checkpoint } => {
            format!("savepoint {}: {checkpoint}", request.0)
        }
        Effect::SavepointFailed { request, reason } => {
            format!("no savepoint {}: {reason}", request.0)
        }
        Effect::Skipped { reason } => format!("skipped: {reason}"),
        Effect::FailJob { checkpoint, failures, reason } => {
            format!("fail {checkpoint} ({failures}): {reason}")
        }
    }
}

/// A line is a time in milliseconds, an event, and behind `=>` the effects, joined by `; `.
#[track_caller]
fn check(config: CheckpointConfig, story: &[&str]) {
    check_of(topology(), config, story);
}

fn topology() -> Topology {
    let mut topology = Topology::default();
    let sources = topology.add_source(2);
    topology.add_vertex(1, [(sources, std::iter::once(0..2).collect())]);
    topology
}

#[track_caller]
fn check_of(topology: Topology, config: CheckpointConfig, story: &[&str]) {
    let mut coordinator =
        CheckpointCoordinator::new(config, topology, CheckpointId(5), [CheckpointId(4)]);
    for line in story {
        let (told, expected) = line.split_once("=>").unwrap_or((line, ""));
        let mut words = told.split_whitespace();
        let ms: u64 = words.next().and_then(|ms| ms.parse().ok()).expect("a time");
        let effects = coordinator.handle(Nanos(ms * 1_000_000), event(&words.collect::<Vec<_>>()));
        let effects: Vec<_> = effects.into_iter().map(show).collect();
        assert_eq!(effects.join("; "), expected.trim(), "after `{}`", told.trim());
    }
}

fn config() -> CheckpointConfig {
    CheckpointConfig {
        interval: Some(millis(100)),
        timeout: millis(250),
        ..CheckpointConfig::default()
    }
}

#[test]
fn from_the_first_barrier_to_the_one_that_is_discarded() {
    check(
        config(),
        &[
            "0   running",
            "99  tick",
            "100 tick              => enumerators 5 Checkpoint",
            "101 enumerators 5     => trigger 5 0/0,0/1",
            "102 ack 5 0/0",
            "103 ack 5 0/0",
            "104 ack 5 1/0",
            "199 ack 5 0/1         => store 5 5:0/0,5:0/1,5:1/0",
            "200 tick",
            "201 stored 5          => complete 5 30 B 101 ms; discard 4; enumerators 6 Checkpoint",
            "202 ack 5 0/0",
            "203 enumerators 6     => trigger 6 0/0,0/1",
            "300 tick",
        ],
    );
}

#[test]
fn failures_in_a_row_fail_the_job_when_they_are_too_many() {
    let tolerant = CheckpointConfig { tolerable_failures: 1, ..config() };
    check(
        tolerant,
        &[
            "0   running",
            "100 tick              => enumerators 5 Checkpoint",
            "100 enumerators 5     => trigger 5 0/0,0/1",
            "110 ack 5 0/0",
            "120 decline 5 0/1     => abort 5: task 0/1 declined: no space left; discard 5:0/0,e5",
            "130 ack 5 1/0         => discard 5:1/0",
            "131 ack 5 1/0",
            "200 tick              => enumerators 6 Checkpoint",
            "200 enumerators 6     => trigger 6 0/0,0/1",
            "210 not-ready 6 0/0   => abort 6: task 0/0 declined: it does not run; discard e6",
            "300 tick              => enumerators 7 Checkpoint",
            "300 enumerators 7     => trigger 7 0/0,0/1",
            "301 ack 7 0/0",
            "549 tick",
            "550 tick              => abort 7: it expired: 2 of 3 tasks had not acknowledged, the first of them 0/1; \
         discard 7:0/0,e7; fail 7 (2): it expired: 2 of 3 tasks had not acknowledged, the first of them 0/1",
            "600 tick",
            "610 restart",
            "700 running",
            "800 tick              => enumerators 8 Checkpoint",
        ],
    );
    check(
        config(),
        &[
            "0   running",
            "100 tick              => enumerators 5 Checkpoint",
            "350 tick              => abort 5: it expired before its barriers: the enumerators were not snapshotted in time; \
         fail 5 (1): it expired before its barriers: the enumerators were not snapshotted in time",
            "351 enumerators 5     => discard e5",
        ],
    );
    check(
        config(),
        &[
            "0   running",
            "100 tick              => enumerators 5 Checkpoint",
            "101 no-enumerators 5  => abort 5: an enumerator could not be snapshotted: lost",
            "200 tick              => enumerators 6 Checkpoint",
        ],
    );
}

#[test]
fn while_some_tasks_start_again_nothing_begins_and_the_others_hear_what_is_stored() {
    check(
        CheckpointConfig { max_concurrent: 2, ..config() },
        &[
            "0   running",
            "100 tick              => enumerators 5 Checkpoint",
            "100 enumerators 5     => trigger 5 0/0,0/1",
            "101 ack 5 0/0",
            "101 ack 5 0/1",
            "101 ack 5 1/0         => store 5 5:0/0,5:0/1,5:1/0",
            "200 tick              => enumerators 6 Checkpoint",
            "200 enumerators 6     => trigger 6 0/0,0/1",
            "201 ack 6 0/0",
            "210 pause             => abort 6: the job restarts or ends; discard 6:0/0,e6",
            "220 stored 5          => complete 5 30 B 120 ms; discard 4",
            "221 ack 6 0/1         => discard 6:0/1",
            "222 savepoint 1       => no savepoint 1: the job does not run now: ask again when it is RUNNING",
            "230 finished 0/1",
            "400 tick",
            "410 running 0/1",
            "509 tick",
            "510 tick              => enumerators 7 Checkpoint",
            "510 enumerators 7     => trigger 7 0/0",
            "511 ack 7 0/0",
            "511 ack 7 1/0         => store 7 7:0/0,7:1/0 without 0/1",
        ],
    );
}

#[test]
fn what_is_stored_while_the_job_restarts_counts_and_what_is_unknown_is_kept() {
    let two = CheckpointConfig { num_retained: 1, tolerable_failures: 9, ..config() };
    check(
        two,
        &[
            "0   running",
            "100 tick              => enumerators 5 Checkpoint",
            "100 enumerators 5     => trigger 5 0/0,0/1",
            "101 ack 5 0/0",
            "101 ack 5 0/1",
            "101 ack 5 1/0         => store 5 5:0/0,5:0/1,5:1/0",
            "110 restart",
            "120 stored 5          => discard 4",
            "200 running",
            "300 tick              => enumerators 6 Checkpoint",
            "300 enumerators 6     => trigger 6 0/0,0/1",
            "301 ack 6 0/0",
            "301 ack 6 0/1",
            "301 ack 6 1/0         => store 6 6:0/0,6:0/1,6:1/0",
            "302 store-unknown 6   => abort 6: its manifest could not be stored: lost",
            "400 tick              => enumerators 7 Checkpoint",
            "400 enumerators 7     => trigger 7 0/0,0/1",
            "401 ack 7 0/0",
            "401 ack 7 0/1",
            "401 ack 7 1/0         => store 7 7:0/0,7:0/1,7:1/0",
            "402 store-failed 7    => abort 7: its manifest could not be stored: full; discard 7:0/0,7:0/1,7:1/0,e7",
            "500 tick              => enumerators 8 Checkpoint",
            "500 enumerators 8     => trigger 8 0/0,0/1",
            "501 ack 8 0/0",
            "501 ack 8 0/1",
            "501 ack 8 1/0         => store 8 8:0/0,8:0/1,8:1/0",
            "502 stored 8          => complete 8 30 B 2 ms; discard 6; discard 5",
        ],
    );
}

#[test]
fn several_at_a_time_are_stored_in_order_and_the_older_is_subsumed() {
    let concurrent = CheckpointConfig { max_concurrent: 2, ..config() };
    check(
        concurrent,
        &[
            "0   running",
            "100 tick              => enumerators 5 Checkpoint",
            "100 enumerators 5     => trigger 5 0/0,0/1",
            "101 ack 5 0/0",
            "200 tick              => enumerators 6 Checkpoint",
            "200 enumerators 6     => trigger 6 0/0,0/1",
            "300 tick",
            "310 ack 6 0/0",
            "310 ack 6 0/1",
            "310 ack 6 1/0         => store 6 6:0/0,6:0/1,6:1/0",
            "311 ack 5 0/1",
            "320 stored 6          => complete 6 30 B 120 ms; abort 5: checkpoint 6 is complete; discard 5:0/0,5:0/1,e5; \
         discard 4; enumerators 7 Checkpoint",
            "330 ack 5 1/0         => discard 5:1/0",
        ],
    );
}

#[test]
fn a_savepoint_waits_for_what_is_pending_and_is_alone() {
    check(
        config(),
        &[
            "0   savepoint 1       => no savepoint 1: the job does not run now: ask again when it is RUNNING",
            "0   running",
            "100 tick              => enumerators 5 Checkpoint",
            "100 enumerators 5     => trigger 5 0/0,0/1",
            "110 savepoint 2",
            "111 savepoint 3       => no savepoint 3: another savepoint is under way: ask again when it is done",
            "120 ack 5 0/0",
            "120 ack 5 0/1",
            "120 ack 5 1/0         => store 5 5:0/0,5:0/1,5:1/0",
            "130 stored 5          => complete 5 30 B 30 ms; discard 4; enumerators 6 Savepoint",
            "130 enumerators 6     => trigger 6 0/0,0/1",
            "200 tick",
            "210 ack 6 0/0",
            "210 ack 6 0/1",
            "210 ack 6 1/0         => store 6 6:0/0,6:0/1,6:1/0",
            "220 stored 6          => complete 6 30 B 90 ms; savepoint 2: 6; enumerators 7 Checkpoint",
            "230 savepoint 4",
            "240 restart           => no savepoint 4: the job restarts or ends; abort 7: the job restarts or ends",
        ],
    );
}

#[test]
fn a_job_that_stops_takes_no_other_checkpoint_and_fails_if_it_cannot() {
    check(
        config(),
        &[
            "0   running",
            "10  stop 1            => enumerators 5 Terminal { drain: true }",
            "10  enumerators 5     => trigger 5 0/0,0/1",
            "100 tick",
            "110 ack 5 0/0",
            "110 ack 5 0/1",
            "110 ack 5 1/0         => store 5 5:0/0,5:0/1,5:1/0",
            "120 stored 5          => complete 5 30 B 110 ms; savepoint 1: 5",
            "200 tick",
            "210 finished 0/0",
            "211 savepoint 2       => no savepoint 2: the job does not run now: ask again when it is RUNNING",
        ],
    );
    let tolerant = CheckpointConfig { tolerable_failures: 9, ..config() };
    check(
        tolerant,
        &[
            "0   running",
            "10  stop 1            => enumerators 5 Terminal { drain: true }",
            "10  enumerators 5     => trigger 5 0/0,0/1",
            "20  decline 5 1/0     => abort 5: task 1/0 declined: no space left; discard e5; \
         no savepoint 1: task 1/0 declined: no space left; fail 5 (1): task 1/0 declined: no space left",
        ],
    );
}

#[test]
fn the_pause_is_kept_after_one_that_is_complete() {
    let paused = CheckpointConfig { min_pause: millis(90), ..config() };
    check(
        paused,
        &[
            "0   running",
            "100 tick              => enumerators 5 Checkpoint",
            "100 enumerators 5     => trigger 5 0/0,0/1",
            "180 ack 5 0/0",
            "180 ack 5 0/1",
            "180 ack 5 1/0         => store 5 5:0/0,5:0/1,5:1/0",
            "190 stored 5          => complete 5 30 B 90 ms; discard 4",
            "200 tick",
            "279 tick",
            "280 tick              => enumerators 6 Checkpoint",
        ],
    );
}
