//! Scripts of failures in a job of three regions, and the effects that they have.
//!
//! ```text
//!   region 0   0/0 ── 1/0      a source of 2 and a sink of 2, joined subtask by subtask
//!   region 1   0/1 ── 1/1
//!   region 2   2/0             a source by itself
//! ```
//!
//! Steps are those of `job_master/tests.rs`; `go 0/1#2 …` deploys and starts these; `cut` takes a checkpoint, which all
//! acknowledge, up to its manifest; `stored` says that this is durable; `stop` asks for a savepoint with which the job stops;
//! `before …` is said by the attempt before the present one; `gone 1` says that the worker of shard 1 has ended.

use std::{collections::BTreeMap, fmt::Write};

use wiesel_checkpoint::{CheckpointConfig, RequestId, RestartConfig};
use wiesel_connectors::{Assignment, SplitEnumerator, SplitPayload};
use wiesel_core::{
    CheckpointId, Nanos, RuntimeExecutionMode, SubtaskIndex, TaskFailure, TaskId, VertexId,
    config::FailoverStrategy, millis,
};
use wiesel_graph::{
    ExecutionGraph, GraphDefaults, JobGraph, Partitioning, StreamEdge, StreamGraph, StreamOperator,
    StreamVertex,
};
use wiesel_rpc::{Attempt, Envelope, FailureReport, StateHandle, ToJobMaster, ToTaskManager};
use wiesel_storage::{FileEntry, Hash};

use super::super::{
    CheckpointPlan, Effect, Event, JobMaster,
    tests::{JOB, attempt, event, failure, locations, show},
};
use crate::SourceEnumerator;

/// Splits of one byte, `a` and so on.
struct Letters(u8);

impl SplitEnumerator for Letters {
    fn add_reader(&mut self, _: SubtaskIndex) {}
    fn request_split(&mut self, _: SubtaskIndex) -> Assignment {
        self.0 += 1;
        Assignment::Split(SplitPayload(vec![self.0 - 1]))
    }
    fn snapshot(&self) -> Vec<u8> {
        vec![self.0]
    }
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), TaskFailure> {
        self.0 = snapshot[0];
        Ok(())
    }
}

pub(super) fn graph() -> ExecutionGraph {
    let vertex = |name: &str, parallelism| StreamVertex {
        parallelism: Some(parallelism),
        ..StreamVertex::new(vec![StreamOperator::new(name).uid(name)], ())
    };
    let mut graph = StreamGraph::new();
    let source = graph.add_vertex(StreamVertex { is_source: true, ..vertex("posts", 2) });
    let sink = graph.add_vertex(StreamVertex { is_sink: true, ..vertex("out", 2) });
    graph.add_edge(StreamEdge::new(source, sink, Some(Partitioning::Forward), "Post", 1));
    graph.add_vertex(StreamVertex { is_source: true, ..vertex("others", 1) });
    let defaults = GraphDefaults {
        parallelism: 2,
        max_parallelism: None,
        auto_generate_uids: true,
        runtime_mode: RuntimeExecutionMode::Streaming,
    };
    ExecutionGraph::expand(&JobGraph::translate("posts", &graph, &defaults).unwrap())
}

/// So many restarts, each after 10 ms, and a checkpoint each 100 ms.
pub(super) fn plan(failover: FailoverStrategy, attempts: u32) -> CheckpointPlan {
    CheckpointPlan {
        config: CheckpointConfig { interval: Some(millis(100)), ..CheckpointConfig::default() },
        restart: RestartConfig::FixedDelay { attempts, delay: millis(10) },
        failover,
        first_id: CheckpointId(1),
        retained: Vec::new(),
        restored: None,
        seed: 0,
    }
}

pub(super) fn master_of(
    enumerators: [Box<dyn SplitEnumerator>; 2],
    plan: CheckpointPlan,
) -> JobMaster {
    let [first, second] = enumerators;
    let source = |vertex, enumerator| SourceEnumerator { vertex: VertexId(vertex), enumerator };
    let sources = vec![source(0, first), source(2, second)];
    let master = JobMaster::new(JOB, graph(), locations(2), sources).unwrap();
    master.with_checkpoints(plan).unwrap()
}

struct Told {
    master: JobMaster,
    now: Nanos,
    /// Checkpoints so far.
    cuts: u64,
    numbers: BTreeMap<TaskId, u32>,
}

const ALL: [&str; 5] = ["0/0", "0/1", "1/0", "1/1", "2/0"];

impl Told {
    /// All run.
    fn started(plan: CheckpointPlan) -> Self {
        let letters = |first| -> Box<dyn SplitEnumerator> { Box::new(Letters(first)) };
        let master = master_of([letters(b'a'), letters(b'A')], plan);
        let mut told = Self { master, now: Nanos(0), cuts: 0, numbers: BTreeMap::new() };
        told.step("start");
        told.step(&format!("go {}", ALL.join(" ")));
        told
    }

    fn hear(&mut self, event: Event) -> Vec<Effect> {
        let effects = self.master.handle(self.now, event);
        for effect in &effects {
            if let Effect::Send(_, Envelope { message: ToTaskManager::Deploy(task), .. }) = effect {
                self.numbers.insert(task.attempt.task, task.attempt.number);
            }
        }
        effects
    }

    fn say(&mut self, message: ToJobMaster) -> Vec<Effect> {
        self.hear(Event::Message(Envelope { job: JOB, message }))
    }

    /// What a step has for effects, those of checkpoints left out but for what is committed, and of the rest some words.
    fn step(&mut self, step: &str) -> Vec<Effect> {
        let (verb, object) = step.split_once(' ').unwrap_or((step, ""));
        match verb {
            "start" => self.hear(Event::Start),
            "go" => {
                let mut effects = Vec::new();
                for verb in ["deployed", "running"] {
                    for task in object.split(' ') {
                        effects.extend(self.step(&format!("{verb} {task}")));
                    }
                }
                effects
            }
            "cut" => {
                self.cuts += 1;
                self.now = self.master.next_deadline().expect("a checkpoint is due");
                let mut effects = self.hear(Event::Tick);
                for task in ALL {
                    let path = format!("{}:{task}", self.cuts);
                    let file = FileEntry { path, len: 1, hash: Hash::of(b""), parts: Vec::new() };
                    let handle = StateHandle { files: vec![file], ..StateHandle::default() };
                    let attempt = self.present(task);
                    let id = CheckpointId(self.cuts);
                    effects.extend(self.say(ToJobMaster::Acknowledge(attempt, id, handle)));
                }
                effects
            }
            "stop" => {
                let request = RequestId(1);
                self.hear(Event::StopWithSavepoint { request, drain: false })
            }
            "stored" => self.hear(Event::Stored(CheckpointId(self.cuts))),
            "gone" => {
                let gone = FailureReport { retryable: false, ..failure("gone") };
                let shard = object.parse::<usize>().expect("a number");
                self.hear(Event::ShardLost(locations(2)[shard], gone))
            }
            // Of the attempt before.
            "before" => {
                let mut event = event(object, &mut self.now);
                if let Event::Message(Envelope { message, .. }) = &mut event
                    && let Some(attempt) = attempts_of(message)
                {
                    attempt.number = self.numbers[&attempt.task] - 1;
                }
                self.hear(event)
            }
            _ => {
                let at = step.find('/').and_then(|slash| step.get(slash - 1..slash + 2));
                let mut event = event(step, &mut self.now);
                if let (Some(task), Event::Message(Envelope { message, .. })) = (at, &mut event) {
                    let number = self.present(task).number;
                    if let Some(attempt) = attempts_of(message) {
                        attempt.number = number;
                    }
                }
                self.hear(event)
            }
        }
    }

    fn present(&self, task: &str) -> Attempt {
        let attempt = attempt(task);
        let number = self.numbers.get(&attempt.task).copied().unwrap_or(0);
        Attempt { number, ..attempt }
    }
}

fn attempts_of(message: &mut ToJobMaster) -> Option<&mut Attempt> {
    match message {
        ToJobMaster::Deployed(attempt)
        | ToJobMaster::State(attempt, _)
        | ToJobMaster::Failed(attempt, _)
        | ToJobMaster::EndOfData(attempt)
        | ToJobMaster::Watermark(attempt, _)
        | ToJobMaster::RequestSplit(attempt) => Some(attempt),
        _ => None,
    }
}

/// An effect in words; what is logged, states of tasks, and most of what is done for checkpoints, are left out.
fn words(effect: &Effect) -> Option<String> {
    match effect {
        Effect::Restart(_) => None,
        Effect::Send(_, Envelope { message: ToTaskManager::Deploy(task), .. }) => {
            let files: Vec<_> = task.restore.files.iter().map(|file| file.path.clone()).collect();
            let restore = match (task.restore.own, files.is_empty()) {
                (None, true) => String::new(),
                (None, false) => format!(" of all [{}]", files.join(" ")),
                (Some(own), _) => {
                    format!(
                        " of its own [{}], others' [{}]",
                        files[..own].join(" "),
                        files[own..].join(" ")
                    )
                }
            };
            Some(format!("deploy {}{restore}", task.attempt))
        }
        Effect::Checkpoint(super::super::CheckpointEffect::Rewire(tasks)) => {
            let tasks: Vec<_> = tasks.iter().map(ToString::to_string).collect();
            Some(format!("rewire {}", tasks.join(" ")))
        }
        Effect::Checkpoint(_) | Effect::Task(..) => None,
        other => Some(show(other).split_once(' ').map_or_else(String::new, |(at, rest)| {
            if at.starts_with('@') { rest.to_owned() } else { show(other) }
        })),
    }
}

/// Starts the job and runs `script`; a line for each of its steps that has effects, and one for the failure.
#[track_caller]
fn check_with(failover: FailoverStrategy, attempts: u32, script: &str, expected: &str) {
    let mut told = Told::started(plan(failover, attempts));
    let mut found = String::new();
    for step in script.split("; ") {
        let effects = told.step(step);
        let words: Vec<_> = effects.iter().filter_map(words).collect();
        if !words.is_empty() && !["cut", "stored"].contains(&step) {
            writeln!(found, "{step}: {}", words.join(", ")).unwrap();
        }
    }
    if let Some(failure) = told.master.failure() {
        writeln!(found, "{failure}").unwrap();
    }
    assert_eq!(found.trim_end(), expected);
}

#[track_caller]
pub(super) fn check(script: &str, expected: &str) {
    check_with(FailoverStrategy::Region, 4, script, expected);
}

#[test]
fn the_region_of_a_task_that_fails_starts_again_and_the_others_run_on() {
    check(
        "split 0/0; split 0/1; fail 1/1; canceled 0/1; split 0/0; tick 9; tick 1; split 0/0; deployed 0/1; \
         deployed 1/1; running 1/1; running 0/1; split 0/1",
        "\
split 0/0: split a to 0/0
split 0/1: split b to 0/1
fail 1/1: job RESTARTING, cancel 0/1
split 0/0: split c to 0/0
tick 1: rewire 0/1 1/1, job RUNNING, deploy 0/1#1, split b to 0/1, deploy 1/1#1
split 0/0: split d to 0/0
deployed 1/1: start 0/1, start 1/1
split 0/1: split e to 0/1",
    );
}

#[test]
fn all_start_again_if_that_is_the_strategy_or_the_blame_is_nobodys() {
    let failed = "\
rewire 0/0 0/1 1/0 1/1 2/0, job RUNNING, deploy 0/0#1, deploy 0/1#1, deploy 1/0#1, deploy 1/1#1, deploy 2/0#1";
    check_with(
        FailoverStrategy::Full,
        1,
        "split 0/0; fail 2/0; canceled 0/0; canceled 0/1; canceled 1/0; tick 10; canceled 1/1; go 0/0 0/1 1/0 1/1 2/0; split 0/1",
        &format!(
            "\
split 0/0: split a to 0/0
fail 2/0: job RESTARTING, cancel 0/0, cancel 0/1, cancel 1/0, cancel 1/1
canceled 1/1: {failed}
go 0/0 0/1 1/0 1/1 2/0: start 0/0, start 0/1, start 1/0, start 1/1, start 2/0
split 0/1: split a to 0/1"
        ),
    );
    // One after the other: the last one makes it a restart of the job.
    check_with(
        FailoverStrategy::Region,
        3,
        "split 0/0; fail 2/0; fail 0/0; canceled 1/0; fail 0/1; canceled 1/1; tick 10; go 0/0 0/1 1/0 1/1 2/0; \
         split 0/1; fail 2/0",
        &format!(
            "\
split 0/0: split a to 0/0
fail 2/0: job RESTARTING
fail 0/0: cancel 1/0
fail 0/1: cancel 1/1
tick 10: {failed}
go 0/0 0/1 1/0 1/1 2/0: start 0/0, start 0/1, start 1/0, start 1/1, start 2/0
split 0/1: split a to 0/1
fail 2/0: job FAILING, cancel 0/0, cancel 0/1, cancel 1/0, cancel 1/1
could not map a record: 2/0"
        ),
    );
}

#[test]
fn each_subtask_goes_on_with_its_own_state_and_what_it_was_handed_since() {
    check(
        "split 0/0; split 0/1; cut; split 0/1; stored; split 0/1; fail 0/1; canceled 1/1; tick 10; go 0/1 1/1",
        "\
split 0/0: split a to 0/0
split 0/1: split b to 0/1
split 0/1: split c to 0/1
split 0/1: split d to 0/1
fail 0/1: job RESTARTING, cancel 1/1
tick 10: rewire 0/1 1/1, job RUNNING, deploy 0/1#1 of its own [1:0/1], others' [1:0/0], split c to 0/1, split d to 0/1, \
deploy 1/1#1 of its own [1:1/1], others' [1:1/0]
go 0/1 1/1: start 0/1, start 1/1",
    );
    // What was dealt out at the last restart of all is dealt out again.
    let failed = "\
fail 2/0: job RESTARTING
fail 0/0: cancel 1/0
fail 0/1: cancel 1/1
tick 10: rewire 0/0 0/1 1/0 1/1 2/0, job RUNNING, deploy 0/0#1 of all [1:0/0 1:0/1], deploy 0/1#1 of all [1:0/0 1:0/1], \
deploy 1/0#1 of all [1:1/0 1:1/1], deploy 1/1#1 of all [1:1/0 1:1/1], deploy 2/0#1 of all [1:2/0]
go 0/0 0/1 1/0 1/1 2/0: start 0/0, start 0/1, start 1/0, start 1/1, start 2/0";
    check(
        "cut; stored; fail 2/0; fail 0/0; fail 0/1; canceled 1/0; canceled 1/1; tick 10; go 0/0 0/1 1/0 1/1 2/0; \
         split 0/1; fail 1/1; canceled 0/1; tick 10",
        &format!(
            "\
{failed}
split 0/1: split a to 0/1
fail 1/1: job RESTARTING, cancel 0/1
tick 10: rewire 0/1 1/1, job RUNNING, deploy 0/1#2 of all [1:0/0 1:0/1], split a to 0/1, \
deploy 1/1#2 of all [1:1/0 1:1/1]"
        ),
    );
}

#[test]
fn a_manifest_that_is_being_written_is_waited_for_and_the_others_hear_of_it() {
    check(
        "split 2/0; cut; split 2/0; fail 2/0; tick 10",
        "\
split 2/0: split A to 2/0
split 2/0: split B to 2/0
fail 2/0: job RESTARTING
could not map a record: 2/0",
    );
    let mut told = Told::started(plan(FailoverStrategy::Region, 1));
    for step in ["split 2/0", "cut", "split 2/0", "fail 2/0", "tick 10"] {
        told.step(step);
    }
    let effects = told.step("stored");
    let found: Vec<_> = effects.iter().filter_map(words).collect();
    assert_eq!(
        found.join(", "),
        "completed 1 to 0/0, completed 1 to 0/1, completed 1 to 1/0, completed 1 to 1/1, rewire 2/0, job RUNNING, \
         deploy 2/0#1 of its own [1:2/0], others' [], split B to 2/0"
    );
}

#[test]
fn behind_the_barrier_of_a_savepoint_that_stops_the_job_all_start_again() {
    check(
        "stop; fail 0/0",
        "\
stop: trigger 1 at 0/0, Stop, trigger 1 at 0/1, Stop, trigger 1 at 2/0, Stop
fail 0/0: aborted 1 to 0/1, aborted 1 to 1/0, aborted 1 to 1/1, aborted 1 to 2/0, job RESTARTING, cancel 0/1, cancel 1/0, \
cancel 1/1, cancel 2/0
could not map a record: 0/0",
    );
    // One that waits for another checkpoint has sent nothing yet.
    check(
        "cut; stop; fail 0/0; stop; canceled 1/0; stored; tick 10",
        "\
fail 0/0: job RESTARTING, cancel 1/0
tick 10: rewire 0/0 1/0, job RUNNING, deploy 0/0#1 of its own [1:0/0], others' [1:0/1], \
deploy 1/0#1 of its own [1:1/0], others' [1:1/1]",
    );
}

#[test]
fn a_job_is_canceled_while_a_region_waits() {
    check(
        "fail 2/0; cancel; canceled 0/0; canceled 0/1; canceled 1/0; canceled 1/1; tick 20",
        "\
fail 2/0: job RESTARTING
cancel: job CANCELLING, cancel 0/0, cancel 0/1, cancel 1/0, cancel 1/1
canceled 1/1: job CANCELED",
    );
}

#[test]
fn a_region_that_does_not_stop_is_the_end_of_the_job() {
    check(
        "fail 1/0; tick 179999; tick 1; canceled 0/1; canceled 1/1; canceled 2/0",
        "\
fail 1/0: job RESTARTING, cancel 0/0
tick 1: job FAILING, cancel 0/1, cancel 1/1, cancel 2/0
canceled 2/0: job FAILED
could not map a record: 1/0",
    );
}

#[test]
fn what_is_over_stays_so_and_the_job_ends_with_the_last_region() {
    check(
        "finished 2/0; fail 0/0; canceled 1/0; tick 10; go 0/0 1/0; finished 0/0; finished 1/0; finished 0/1; finished 1/1",
        "\
fail 0/0: job RESTARTING, cancel 1/0
tick 10: rewire 0/0 1/0, job RUNNING, deploy 0/0#1, deploy 1/0#1
go 0/0 1/0: start 0/0, start 1/0
finished 1/1: job FINISHED",
    );
}

#[test]
fn what_starts_again_is_told_with_the_failure() {
    let told = |told: &mut Told, step: &str| -> Vec<String> {
        let restarts = told.step(step).into_iter().filter_map(|effect| match effect {
            Effect::Restart(planned) => Some(planned.to_string()),
            _ => None,
        });
        restarts.collect()
    };
    let mut regions = Told::started(plan(FailoverStrategy::Region, 2));
    assert_eq!(
        told(&mut regions, "fail 1/0"),
        ["could not map a record: 1/0: 1 of 3 regions start again in 0.0 s"]
    );
    assert!(told(&mut regions, "fail 0/0").is_empty(), "it is being followed already");
    assert_eq!(told(&mut regions, "fail 2/0").len(), 1);
    assert!(told(&mut regions, "fail 0/1").is_empty(), "there is no third try");
    let mut full = Told::started(plan(FailoverStrategy::Full, 2));
    assert_eq!(
        told(&mut full, "fail 2/0"),
        ["could not map a record: 2/0: the job starts again in 0.0 s"]
    );
}

#[test]
fn a_worker_that_has_ended_is_the_end_of_the_job() {
    check(
        "gone 1; canceled 0/0; canceled 1/0; canceled 2/0",
        "\
gone 1: job FAILING, cancel 0/0, cancel 1/0, cancel 2/0
canceled 2/0: job FAILED
could not map a record: gone",
    );
    // As well if all that it had was to start again: it is seen when they are deployed there.
    check(
        "fail 0/1; gone 1; tick 10; gone 1; canceled 0/0; canceled 1/0; canceled 2/0",
        "\
fail 0/1: job RESTARTING, cancel 1/1
tick 10: rewire 0/1 1/1, job RUNNING, deploy 0/1#1, deploy 1/1#1
gone 1: job FAILING, cancel 0/0, cancel 1/0, cancel 2/0
canceled 2/0: job FAILED
could not map a record: gone",
    );
}
