//! Jobs of several regions whose tasks fail at random, on shards that answer in any order: every split is read once.
//!
//! ```text
//!   task    what it has read, what it has to read ──cut──▶ file ──Deploy──▶ another task: its own, or its share of all
//!   the end   what the tasks that have finished had read: each split of each source, once
//! ```

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use wiesel_connectors::{Assignment, SplitEnumerator, SplitPayload};
use wiesel_core::{
    Blame, CheckpointId, Nanos, SubtaskIndex, TaskFailure, TaskId, config::FailoverStrategy, millis,
};
use wiesel_rpc::{
    Attempt, Envelope, FailureReport, RestoredState, StateHandle, TaskDeployment, TaskState,
    ToJobMaster, ToTaskManager,
};
use wiesel_storage::{FileEntry, Hash};

use super::{
    super::{CheckpointEffect, CompletedCheckpoint, Effect, Event, JobStatus, tests::JOB},
    tests::{graph, master_of, plan},
};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// So many splits, from a first number on.
struct Numbers {
    next: u8,
    end: u8,
}

impl SplitEnumerator for Numbers {
    fn add_reader(&mut self, _: SubtaskIndex) {}
    fn request_split(&mut self, _: SubtaskIndex) -> Assignment {
        if self.next == self.end {
            return Assignment::NoMoreSplits;
        }
        self.next += 1;
        Assignment::Split(SplitPayload(vec![self.next - 1]))
    }
    fn snapshot(&self) -> Vec<u8> {
        vec![self.next]
    }
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), TaskFailure> {
        self.next = snapshot[0];
        Ok(())
    }
}

const FIRST: std::ops::Range<u8> = 0..60;
const SECOND: std::ops::Range<u8> = 100..130;

/// A task. Its state is what it has read, and what it has to read.
struct TaskModel {
    attempt: Attempt,
    region: u32,
    is_started: bool,
    has_asked: bool,
    knows_the_end: bool,
    has_ended: bool,
    read: Vec<u8>,
    unread: VecDeque<u8>,
    /// The first checkpoint behind its end.
    last: Option<CheckpointId>,
}

impl TaskModel {
    fn is_source(&self) -> bool {
        self.attempt.task.vertex.0 != 1
    }
}

#[derive(Default)]
struct Store {
    files: BTreeMap<String, (Vec<u8>, Vec<u8>)>,
    /// What tasks had read that the latest checkpoint says are over: it has no state of them, and their output is there.
    settled: BTreeMap<TaskId, Vec<u8>>,
}

#[derive(Default)]
struct ShardModel {
    inbox: VecDeque<ToTaskManager>,
    outbox: VecDeque<ToJobMaster>,
    tasks: Vec<TaskModel>,
    /// What tasks had read that are over.
    finished: BTreeMap<TaskId, Vec<u8>>,
}

impl ShardModel {
    fn deploy(&mut self, task: TaskDeployment, store: &Store) {
        let id = task.attempt.task;
        assert!(self.tasks.iter().all(|other| other.attempt.task != id), "two attempts of {id}");
        self.finished.remove(&id);
        let (mut read, unread) = restored(&task.restore, id, task.parallelism, store);
        read.extend(store.settled.get(&id).into_iter().flatten());
        self.tasks.push(TaskModel {
            attempt: task.attempt,
            region: task.region,
            is_started: false,
            has_asked: false,
            knows_the_end: id.vertex.0 == 1,
            has_ended: false,
            read,
            unread: unread.into(),
            last: None,
        });
        self.outbox.push_back(ToJobMaster::Deployed(task.attempt));
    }

    /// Handles one message.
    fn hear(&mut self, store: &mut Store) {
        let Some(message) = self.inbox.pop_front() else { return };
        if let ToTaskManager::Deploy(task) = message {
            return self.deploy(*task, store);
        }
        let attempt = match &message {
            ToTaskManager::Deploy(task) => task.attempt,
            ToTaskManager::Start(attempt)
            | ToTaskManager::Split(attempt, _)
            | ToTaskManager::NoMoreSplits(attempt)
            | ToTaskManager::Trigger(attempt, ..)
            | ToTaskManager::CheckpointAborted(attempt, _)
            | ToTaskManager::CheckpointCompleted(attempt, _)
            | ToTaskManager::WatermarkLimit(attempt, _)
            | ToTaskManager::Cancel(attempt) => *attempt,
        };
        let Some(at) = self.tasks.iter().position(|task| task.attempt == attempt) else { return };
        let task = &mut self.tasks[at];
        match message {
            ToTaskManager::Start(_) => {
                task.is_started = true;
                self.outbox.push_back(ToJobMaster::State(attempt, TaskState::Running));
            }
            ToTaskManager::Split(_, split) => {
                task.has_asked = false;
                task.unread.push_back(split[0]);
            }
            ToTaskManager::NoMoreSplits(_) => task.knows_the_end = true,
            ToTaskManager::Trigger(_, id, _) => {
                assert!(task.is_started, "a barrier before the start");
                let region = task.region;
                for task in self.tasks.iter_mut().filter(|task| task.region == region) {
                    let path = format!("{}@{id}", task.attempt);
                    let state = (task.read.clone(), task.unread.iter().copied().collect());
                    store.files.insert(path.clone(), state);
                    if task.has_ended {
                        task.last.get_or_insert(id);
                    }
                    let file = FileEntry { path, len: 1, hash: Hash::of(b""), parts: Vec::new() };
                    let (files, has_ended) = (vec![file], task.has_ended);
                    let handle = StateHandle { files, has_ended, ..StateHandle::default() };
                    self.outbox.push_back(ToJobMaster::Acknowledge(task.attempt, id, handle));
                }
            }
            ToTaskManager::CheckpointCompleted(_, id)
                if task.last.is_some_and(|last| last <= id) =>
            {
                let task = self.tasks.remove(at);
                self.finished.insert(attempt.task, task.read);
                self.outbox.push_back(ToJobMaster::State(attempt, TaskState::Finished));
            }
            ToTaskManager::Cancel(_) => {
                self.tasks.remove(at);
                self.outbox.push_back(ToJobMaster::State(attempt, TaskState::Canceled));
            }
            _ => {}
        }
    }

    /// One task does something.
    fn turn(&mut self, random: &mut Random) {
        if self.tasks.is_empty() {
            return;
        }
        let at = random.below(self.tasks.len() as u64) as usize;
        let task = &mut self.tasks[at];
        if !task.is_started || task.has_ended {
            return;
        }
        if let Some(split) = task.unread.pop_front() {
            task.read.push(split);
        } else if !task.knows_the_end && !task.has_asked {
            task.has_asked = true;
            self.outbox.push_back(ToJobMaster::RequestSplit(task.attempt));
        } else if task.knows_the_end {
            let region = task.region;
            let is_source = task.is_source();
            let sources =
                self.tasks.iter().filter(|task| task.region == region && task.is_source());
            if is_source || sources.into_iter().all(|task| task.has_ended) {
                let task = &mut self.tasks[at];
                task.has_ended = true;
                self.outbox.push_back(ToJobMaster::EndOfData(task.attempt));
            }
        }
    }

    /// One task fails; of which region.
    fn fail(&mut self, random: &mut Random) -> Option<u32> {
        let at = random.below(self.tasks.len().max(1) as u64) as usize;
        let task = (at < self.tasks.len()).then(|| self.tasks.remove(at))?;
        let failure = TaskFailure::new(Blame::Environment, "read", "hazard");
        let failure = FailureReport::from(&failure);
        self.outbox.push_back(ToJobMaster::Failed(task.attempt, failure));
        Some(task.region)
    }
}

/// What a task continues from.
fn restored(
    state: &RestoredState,
    task: TaskId,
    parallelism: u32,
    store: &Store,
) -> (Vec<u8>, Vec<u8>) {
    let own = state.own.unwrap_or(state.files.len());
    let of = state.files[..own].iter().map(|file| store.files[&file.path].clone());
    let (mut read, mut unread) = (Vec::new(), Vec::new());
    for (was_read, was_unread) in of {
        read.extend(was_read);
        unread.extend(was_unread);
    }
    if state.own.is_none() {
        let deal = |mut splits: Vec<u8>| -> Vec<u8> {
            splits.sort_unstable();
            let (first, step) = (task.subtask.index(), parallelism as usize);
            splits.into_iter().skip(first).step_by(step).collect()
        };
        (read, unread) = (deal(read), deal(unread));
    }
    (read, unread)
}

/// Runs one job; its end, and how many of its restarts were of some regions.
fn run(seed: u64) -> (JobStatus, u64) {
    let mut random = Random(seed);
    let strategy = match random.below(4) {
        0 => FailoverStrategy::Full,
        _ => FailoverStrategy::Region,
    };
    let numbers = |range: std::ops::Range<u8>| -> Box<dyn SplitEnumerator> {
        Box::new(Numbers { next: range.start, end: range.end })
    };
    let mut plan = plan(strategy, 1_000);
    plan.config.tolerable_failures = 1_000; // Or the whole job fails.
    let mut master = master_of([numbers(FIRST), numbers(SECOND)], plan);
    let mut shards = [ShardModel::default(), ShardModel::default()];
    let (mut store, mut stored) = (Store::default(), VecDeque::new());
    let (mut now, mut end, mut of_some) = (Nanos(0), None, 0);
    let (hazard, mut hazards) = (20 + random.below(300), random.below(12));
    let cancel_at = if random.below(8) == 0 { random.below(4_000) } else { u64::MAX };
    let mut failed = BTreeSet::new();
    for step in 0..60_000 {
        let shard = random.below(2) as usize;
        let event = match random.below(9) {
            _ if step == 0 => Some(Event::Start),
            _ if step == cancel_at => Some(Event::Cancel),
            0..=2 => {
                shards[shard].hear(&mut store);
                None
            }
            3 | 4 => {
                if hazards > 0 && random.below(hazard) == 0 {
                    hazards -= 1;
                    failed.extend(shards[shard].fail(&mut random));
                } else {
                    shards[shard].turn(&mut random);
                }
                None
            }
            5 => {
                now = now + millis(random.below(6));
                Some(Event::Tick)
            }
            6 if !stored.is_empty() => {
                stored.pop_front().map(|completed: Arc<CompletedCheckpoint>| {
                    let checkpoint = completed.id;
                    if random.below(6) == 0 {
                        return Event::StoreFailed {
                            checkpoint,
                            reason: "full".into(),
                            ambiguous: false,
                        };
                    }
                    let read =
                        |task: &TaskId| shards.iter().find_map(|shard| shard.finished.get(task));
                    let finished = completed.finished.iter();
                    store.settled = finished
                        .map(|task| (*task, read(task).expect("it is over").clone()))
                        .collect();
                    Event::Stored(checkpoint)
                })
            }
            _ => shards[shard]
                .outbox
                .pop_front()
                .map(|message| Event::Message(Envelope { job: JOB, message })),
        };
        let has_ticked = matches!(event, Some(Event::Tick));
        let effects = event.map(|event| master.handle(now, event)).unwrap_or_default();
        let next = master.next_deadline().filter(|_| has_ticked);
        assert!(next.is_none_or(|next| next > now), "seed {seed}: {next:?} is over at {now:?}");
        for effect in effects {
            assert_eq!(end, None, "seed {seed}: {effect:?} after the end");
            match effect {
                Effect::Send(to, Envelope { message, .. }) => {
                    if let (ToTaskManager::Cancel(attempt), FailoverStrategy::Region) =
                        (&message, strategy)
                        && master.status() == JobStatus::Restarting
                    {
                        let region = graph().subtask(attempt.task).region;
                        let is_meant = failed.contains(&region);
                        assert!(is_meant, "seed {seed}: {attempt} is disturbed");
                    }
                    shards[to.shard.index()].inbox.push_back(message);
                }
                Effect::Checkpoint(CheckpointEffect::Store(_, completed)) => {
                    stored.push_back(completed);
                }
                Effect::Checkpoint(CheckpointEffect::Rewire(tasks)) => {
                    of_some += u64::from(tasks.len() < graph().subtasks().len());
                    for task in tasks {
                        failed.remove(&graph().subtask(task).region);
                    }
                }
                Effect::Job(status) if status.is_terminal() => end = Some(status),
                _ => {}
            }
        }
        if end.is_some() {
            break;
        }
    }
    let end = end.unwrap_or_else(|| panic!("seed {seed}: it is {} for ever", master.status()));
    assert_eq!(master.next_deadline(), None, "seed {seed}");
    if end == JobStatus::Finished {
        let read = shards.iter().flat_map(|shard| shard.finished.values().flatten().copied());
        let mut read: Vec<u8> = read.collect();
        read.sort_unstable();
        assert_eq!(read, Vec::from_iter(FIRST.chain(SECOND)), "seed {seed}: lost, or read twice");
    }
    (end, of_some)
}

#[test]
fn every_split_is_read_once_whoever_fails() {
    let (mut finished, mut of_some) = (0, 0);
    for seed in 0..1_500 {
        let (end, restarts) = run(seed);
        finished += u64::from(end == JobStatus::Finished);
        of_some += restarts;
    }
    assert!(finished > 1_000 && of_some > 1_000, "{finished} finished, {of_some} restarts");
}
