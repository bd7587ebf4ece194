//! Scripts of events and the effects that they have.
//!
//! ```text
//!   go                       started, all deployed, all running; its effects are not shown
//!   start cancel tick <ms>   deployed 0/1    running 0/1    finished 0/1    canceled 0/1
//!   fail 0/1    split 0/1    lost 1          old 0/1        foreign 0/1     at 0/1 <watermark>
//! ```

use std::fmt::Write;

use wiesel_connectors::{Assignment, SplitEnumerator, SplitPayload};
use wiesel_core::{
    AlignmentGroup, AlignmentReport, RuntimeExecutionMode, ShardId, SubtaskIndex, Timestamp,
    TriggerKind, millis,
};
use wiesel_graph::{
    GraphDefaults, JobGraph, Partitioning, StreamEdge, StreamGraph, StreamOperator, StreamVertex,
};
use wiesel_rpc::TaskManagerId;

use super::*;

/// Two splits, the second of them 100 ms late. (It has no clock: it counts how often it was asked.)
struct Splits(Vec<Assignment>);

impl SplitEnumerator for Splits {
    fn add_reader(&mut self, _: SubtaskIndex) {}
    fn request_split(&mut self, _: SubtaskIndex) -> Assignment {
        if self.0.is_empty() { Assignment::NoMoreSplits } else { self.0.remove(0) }
    }
    fn snapshot(&self) -> Vec<u8> {
        Vec::new()
    }
    fn restore(&mut self, _: &[u8]) -> Result<(), TaskFailure> {
        Ok(())
    }
}

pub(super) const JOB: JobId = JobId(7);

/// A source of 2 with a hash edge to a sink of 1: tasks 0/0 and 1/0 in shard 0, 0/1 in shard 1.
pub(super) fn graph() -> ExecutionGraph {
    let vertex = |name: &str| StreamVertex::new(vec![StreamOperator::new(name).uid(name)], ());
    let mut graph = StreamGraph::new();
    let source = graph.add_vertex(StreamVertex { is_source: true, ..vertex("posts") });
    let sink = StreamVertex { is_sink: true, parallelism: Some(1), ..vertex("out") };
    let sink = graph.add_vertex(sink);
    graph.add_edge(StreamEdge::new(source, sink, Some(Partitioning::Hash), "Post", 1));
    let defaults = GraphDefaults {
        parallelism: 2,
        max_parallelism: None,
        auto_generate_uids: true,
        runtime_mode: RuntimeExecutionMode::Streaming,
    };
    ExecutionGraph::expand(&JobGraph::translate("posts", &graph, &defaults).unwrap())
}

pub(super) fn locations(count: u32) -> Vec<Location> {
    let location = |shard| Location { task_manager: TaskManagerId(0), shard: ShardId(shard) };
    (0..count).map(location).collect()
}

pub(super) fn master() -> JobMaster {
    let split = |byte| Assignment::Split(SplitPayload(vec![byte]));
    let splits = Splits(vec![split(b'a'), Assignment::Later, Assignment::Later, split(b'b')]);
    let source = SourceEnumerator { vertex: VertexId(0), enumerator: Box::new(splits) };
    JobMaster::new(JOB, graph(), locations(2), vec![source]).unwrap()
}

/// `0/1` as an attempt.
pub(super) fn attempt(text: &str) -> Attempt {
    let (vertex, subtask) = text.split_once('/').unwrap();
    let (vertex, subtask) =
        (VertexId(vertex.parse().unwrap()), SubtaskIndex(subtask.parse().unwrap()));
    Attempt { task: TaskId { vertex, subtask }, number: 0 }
}

pub(super) fn failure(cause: &str) -> FailureReport {
    let failure = TaskFailure::new(Blame::Job, "map a record", cause.to_owned());
    FailureReport::from(&TaskFailure { retryable: true, ..failure })
}

pub(super) fn event(step: &str, now: &mut Nanos) -> Event {
    let (verb, object) = step.split_once(' ').unwrap_or((step, ""));
    let state = |state| ToJobMaster::State(attempt(object), state);
    let message = match verb {
        "start" => return Event::Start,
        "cancel" => return Event::Cancel,
        "tick" => {
            *now = *now + Duration::from_millis(object.parse().unwrap());
            return Event::Tick;
        }
        "lost" => {
            return Event::ShardLost(
                locations(9)[object.parse::<usize>().unwrap()],
                failure("lost"),
            );
        }
        "deployed" => ToJobMaster::Deployed(attempt(object)),
        "running" => state(TaskState::Running),
        "finished" => state(TaskState::Finished),
        "canceled" => state(TaskState::Canceled),
        "fail" => ToJobMaster::Failed(attempt(object), failure(object)),
        "split" => ToJobMaster::RequestSplit(attempt(object)),
        "at" => {
            let (task, ms) = object.split_once(' ').unwrap();
            let (max_drift, update_interval) = (millis(10), millis(20));
            let group = AlignmentGroup { name: "all".to_owned(), max_drift, update_interval };
            let watermark = Timestamp::from_millis(ms.parse().unwrap());
            ToJobMaster::Watermark(attempt(task), AlignmentReport { group, watermark })
        }
        "old" => ToJobMaster::Deployed(Attempt { number: 1, ..attempt(object) }),
        "foreign" => {
            let message = ToJobMaster::Failed(attempt(object), failure("foreign"));
            return Event::Message(Envelope { job: JobId(8), message });
        }
        other => panic!("no event {other}"),
    };
    Event::Message(Envelope { job: JOB, message })
}

pub(super) fn show(effect: &Effect) -> String {
    match effect {
        Effect::Checkpoint(effect) => format!("{effect:?}"),
        Effect::Restart(planned) => format!("restart {planned}"),
        Effect::Job(status) => format!("job {status}"),
        Effect::Task(attempt, state) => format!("{} {state}", attempt.task),
        Effect::Send(to, Envelope { message, .. }) => {
            let text = match message {
                ToTaskManager::Deploy(task) => format!("deploy {}", task.attempt.task),
                ToTaskManager::Start(attempt) => format!("start {}", attempt.task),
                ToTaskManager::Split(attempt, split) => {
                    format!("split {} to {}", String::from_utf8_lossy(split), attempt.task)
                }
                ToTaskManager::NoMoreSplits(attempt) => format!("no more to {}", attempt.task),
                ToTaskManager::WatermarkLimit(attempt, limit) => {
                    format!("{} up to {}", attempt.task, limit.as_millis())
                }
                ToTaskManager::Cancel(attempt) => format!("cancel {}", attempt.task),
                ToTaskManager::Trigger(attempt, id, TriggerKind::Continue) => {
                    format!("trigger {id} at {}", attempt.task)
                }
                ToTaskManager::Trigger(attempt, id, kind) => {
                    format!("trigger {id} at {}, {kind:?}", attempt.task)
                }
                ToTaskManager::CheckpointCompleted(attempt, id) => {
                    format!("completed {id} to {}", attempt.task)
                }
                ToTaskManager::CheckpointAborted(attempt, id) => {
                    format!("aborted {id} to {}", attempt.task)
                }
            };
            format!("@{} {text}", to.shard)
        }
    }
}

const GO: &str =
    "start; deployed 0/0; deployed 0/1; deployed 1/0; running 0/0; running 0/1; running 1/0";

/// Runs `script`; a line for each of its steps that has effects, and one for the failure.
#[track_caller]
fn check(script: &str, expected: &str) {
    let (mut master, mut now, mut found) = (master(), Nanos(0), String::new());
    for step in script.split("; ") {
        if step == "go" {
            for step in GO.split("; ") {
                master.handle(now, event(step, &mut now));
            }
            continue;
        }
        let event = event(step, &mut now);
        let effects = master.handle(now, event);
        if !effects.is_empty() {
            let effects: Vec<_> = effects.iter().map(show).collect();
            writeln!(found, "{step}: {}", effects.join(", ")).unwrap();
        }
    }
    if let Some(failure) = master.failure() {
        writeln!(found, "{failure}").unwrap();
    }
    assert_eq!(found.trim_end(), expected);
}

#[test]
fn a_job_runs_to_its_end() {
    check(
        &GO.replace("; running 0/0", "; finished 9/9; running 0/0"),
        "\
start: job RUNNING, 0/0 DEPLOYING, @0 deploy 0/0, 0/1 DEPLOYING, @1 deploy 0/1, 1/0 DEPLOYING, @0 deploy 1/0
deployed 1/0: @0 start 0/0, @1 start 0/1, @0 start 1/0
running 0/0: 0/0 RUNNING
running 0/1: 0/1 RUNNING
running 1/0: 1/0 RUNNING",
    );
    check(
        "go; finished 0/1; finished 0/0; finished 1/0; finished 1/0; cancel; tick 1",
        "\
finished 0/1: 0/1 FINISHED
finished 0/0: 0/0 FINISHED
finished 1/0: 1/0 FINISHED, job FINISHED",
    );
}

#[test]
fn readers_pull_splits() {
    check(
        "go; split 0/0; split 0/1; tick 49; tick 1; tick 50; split 0/0",
        "\
split 0/0: @0 split a to 0/0
tick 50: @1 split b to 0/1
split 0/0: @0 no more to 0/0",
    );
    // Who waits when the job stops gets no answer.
    check(
        "go; split 0/0; split 0/1; cancel; tick 100",
        "\
split 0/0: @0 split a to 0/0
cancel: job CANCELLING, 0/0 CANCELING, @0 cancel 0/0, 0/1 CANCELING, @1 cancel 0/1, 1/0 CANCELING, @0 cancel 1/0",
    );
}

#[test]
fn who_is_ahead_hears_how_far_it_may_go() {
    check(
        "go; at 0/0 5; tick 10; at 0/1 90; tick 9; tick 1; finished 0/0; tick 0; finished 0/1; tick 20",
        "\
tick 1: @0 0/0 up to 15, @1 0/1 up to 15
finished 0/0: 0/0 FINISHED
tick 0: @1 0/1 up to 100
finished 0/1: 0/1 FINISHED",
    );
    // A report that crossed a `Cancel` changes nothing.
    check(
        "go; cancel; at 0/0 5; tick 20",
        "cancel: job CANCELLING, 0/0 CANCELING, @0 cancel 0/0, 0/1 CANCELING, @1 cancel 0/1, 1/0 CANCELING, @0 cancel 1/0",
    );
}

#[test]
fn the_first_failure_stops_the_others_and_is_the_jobs() {
    check(
        "go; finished 0/0; fail 0/1; running 1/0; split 1/0; fail 1/0; fail 0/1",
        "\
finished 0/0: 0/0 FINISHED
fail 0/1: 0/1 FAILED, job FAILING, 1/0 CANCELING, @0 cancel 1/0
fail 1/0: 1/0 FAILED, job FAILED
could not map a record: 0/1",
    );
    check(
        "start; deployed 0/0; fail 1/0; deployed 0/1; cancel; canceled 0/0; canceled 0/1",
        "\
start: job RUNNING, 0/0 DEPLOYING, @0 deploy 0/0, 0/1 DEPLOYING, @1 deploy 0/1, 1/0 DEPLOYING, @0 deploy 1/0
fail 1/0: 1/0 FAILED, job FAILING, 0/0 CANCELING, @0 cancel 0/0, 0/1 CANCELING, @1 cancel 0/1
canceled 0/0: 0/0 CANCELED
canceled 0/1: 0/1 CANCELED, job FAILED
could not map a record: 1/0",
    );
}

#[test]
fn a_job_is_canceled_from_any_state() {
    check(
        "cancel; cancel",
        "cancel: job CANCELLING, 0/0 CANCELED, 0/1 CANCELED, 1/0 CANCELED, job CANCELED",
    );
    // One ends by itself and one fails before `Cancel` arrives: the job is canceled all the same.
    check(
        "go; cancel; finished 0/0; fail 0/1; canceled 1/0",
        "\
cancel: job CANCELLING, 0/0 CANCELING, @0 cancel 0/0, 0/1 CANCELING, @1 cancel 0/1, 1/0 CANCELING, @0 cancel 1/0
finished 0/0: 0/0 FINISHED
fail 0/1: 0/1 FAILED
canceled 1/0: 1/0 CANCELED, job CANCELED",
    );
}

#[test]
fn what_does_not_stop_is_given_up() {
    check(
        "go; cancel; canceled 0/0; canceled 1/0; tick 179999; tick 1; canceled 0/1",
        "\
cancel: job CANCELLING, 0/0 CANCELING, @0 cancel 0/0, 0/1 CANCELING, @1 cancel 0/1, 1/0 CANCELING, @0 cancel 1/0
canceled 0/0: 0/0 CANCELED
canceled 1/0: 1/0 CANCELED
tick 1: 0/1 FAILED, job FAILED
could not stop a task (operator `posts`, subtask 1): posts (2/2) did not stop within 180 s: does a function of it \
ever return?",
    );
    let mut master = master();
    master.handle(Nanos(0), Event::Start);
    assert!(master.stuck_shards().is_empty());
    master.handle(Nanos(0), Event::Cancel);
    for stopped in ["0/0", "1/0"] {
        let message = ToJobMaster::State(attempt(stopped), TaskState::Canceled);
        master.handle(Nanos(0), Event::Message(Envelope { job: JOB, message }));
    }
    master.handle(Nanos(0) + CANCEL_TIMEOUT, Event::Tick);
    assert_eq!(Vec::from_iter(master.stuck_shards()), [&ShardId(1)], "that of 0/1");
}

#[test]
fn a_lost_shard_fails_what_ran_there() {
    check(
        "go; finished 0/0; lost 0; canceled 0/1",
        "\
finished 0/0: 0/0 FINISHED
lost 0: 1/0 FAILED, job FAILING, 0/1 CANCELING, @1 cancel 0/1
canceled 0/1: 0/1 CANCELED, job FAILED
could not map a record: lost",
    );
    check("go; lost 5; cancel; lost 0; lost 1", "\
cancel: job CANCELLING, 0/0 CANCELING, @0 cancel 0/0, 0/1 CANCELING, @1 cancel 0/1, 1/0 CANCELING, @0 cancel 1/0
lost 0: 0/0 FAILED, 1/0 FAILED
lost 1: 0/1 FAILED, job CANCELED");
}

#[test]
fn what_is_fenced_changes_nothing() {
    check("go; old 0/0; foreign 0/1; fail 5/0; split 0/9", "");
}

#[test]
fn a_report_that_cannot_be_fails_the_job() {
    let reported = |script: &str| {
        let (mut master, mut now) = (master(), Nanos(0));
        for step in script.split("; ") {
            let event = event(step, &mut now);
            master.handle(now, event);
        }
        assert_eq!(master.status(), JobStatus::Failing, "{script}");
        assert_eq!(master.failure().unwrap().blame, Blame::Runtime);
        master.failure().unwrap().causes.join(": ")
    };
    assert_eq!(
        reported("start; running 0/0"),
        "posts (1/2) reported RUNNING while it was DEPLOYING"
    );
    assert_eq!(
        reported("start; split 0/1"),
        "posts (2/2) reported a request for a split while it was DEPLOYING"
    );
    assert_eq!(
        reported(&format!("{GO}; split 1/0")),
        "out (1/1) reported a request for a split while it was RUNNING"
    );
    assert_eq!(
        reported(&format!("{GO}; canceled 1/0")),
        "out (1/1) reported CANCELED while it was RUNNING"
    );
    assert_eq!(
        reported("start; deployed 0/0; deployed 0/0"),
        "posts (1/2) reported DEPLOYED while it was DEPLOYING"
    );
}

#[test]
fn a_deployment_names_both_ends_of_every_channel() {
    let effects = master().handle(Nanos(0), Event::Start);
    let deployment = |task: &str| {
        let task = attempt(task);
        let deploy = |effect: &Effect| match effect {
            Effect::Send(_, Envelope { message: ToTaskManager::Deploy(deployment), .. }) => {
                (deployment.attempt == task).then(|| deployment.clone())
            }
            _ => None,
        };
        effects.iter().find_map(deploy).unwrap()
    };
    let ends = |channels: &[wiesel_rpc::ChannelDeployment]| {
        let end = |end: &wiesel_rpc::ChannelDeployment| {
            format!("{}.{} @{}", end.peer, end.peer_channel, end.location.shard)
        };
        channels.iter().map(end).collect::<Vec<_>>()
    };
    let (source, sink) = (deployment("0/1"), deployment("1/0"));
    assert_eq!(ends(&source.partitions[0].channels), ["1/0#0.1 @0"]);
    assert_eq!(ends(&sink.gates[0].channels), ["0/0#0.0 @0", "0/1#0.0 @1"]);
    assert!(source.gates.is_empty() && sink.partitions.is_empty());
    assert_eq!((source.location.shard, source.parallelism), (ShardId(1), 2));
    assert_eq!(source.fingerprint, graph().fingerprint().0);
}

#[test]
fn a_job_that_does_not_fit_is_refused() {
    let new =
        |slots, enumerators| JobMaster::new(JOB, graph(), locations(slots), enumerators).err();
    let source = |vertex| SourceEnumerator {
        vertex: VertexId(vertex),
        enumerator: Box::new(Splits(Vec::new())),
    };
    assert_eq!(
        new(1, vec![source(0)]).unwrap().to_string(),
        "job `posts` needs 2 slots but there are 1: lower its parallelism or raise `taskmanager.numberOfTaskSlots`"
    );
    assert_eq!(
        new(2, vec![]).unwrap().to_string(),
        "vertex `posts` of job `posts`: a source has one enumerator, others have none"
    );
    assert!(new(2, vec![source(0), source(1)]).is_some());
    assert!(new(3, vec![source(0)]).is_none(), "more slots than it needs are fine");
}

#[test]
fn metrics_are_those_of_the_last_heartbeat() {
    let mut master = master();
    let cells = wiesel_core::metrics::TaskMetrics::default();
    for (task, count) in [("0/0", 3), ("0/0", 4), ("1/0", 5)] {
        cells.records_in.add(count);
        let report = TaskMetricsReport::read(attempt(task), &cells);
        let other = Attempt { number: 9, ..attempt("0/1") };
        let old = TaskMetricsReport { attempt: other, ..report.clone() };
        let message = ToJobMaster::Heartbeat(TaskManagerId(0), vec![report, old]);
        assert!(master.handle(Nanos(0), Event::Message(Envelope { job: JOB, message })).is_empty());
    }
    let counts: Vec<_> = master.metrics().map(|report| report.records_in).collect();
    assert_eq!(counts, [7, 12]);
}
