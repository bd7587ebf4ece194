//! Jobs against TaskManagers that answer in any order, fail, and cross messages: every job ends, and ends once.

use std::collections::VecDeque;

use wiesel_core::{AlignmentGroup, AlignmentReport, Timestamp, millis};
use wiesel_rpc::TaskManagerId;

use super::{
    tests::{JOB, failure, master},
    *,
};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }
}

/// Somewhere in a group.
fn report(random: &mut Random) -> AlignmentReport {
    let group = AlignmentGroup {
        name: "all".to_owned(),
        max_drift: millis(10),
        update_interval: millis(50),
    };
    let watermark = Timestamp::from_millis(random.below(100) as i64);
    AlignmentReport { group, watermark }
}

/// What a shard has been told and what it will report, each in order.
#[derive(Default)]
struct ShardModel {
    inbox: VecDeque<ToTaskManager>,
    outbox: VecDeque<ToJobMaster>,
    over: Vec<Attempt>,
}

impl ShardModel {
    /// Handles one message. One in `hazard` calls fails or finishes a task first.
    fn step(&mut self, random: &mut Random, hazard: usize) {
        let Some(message) = self.inbox.pop_front() else { return };
        let (attempt, answers) = match message {
            ToTaskManager::Deploy(task) => {
                (task.attempt, vec![ToJobMaster::Deployed(task.attempt)])
            }
            ToTaskManager::Start(attempt) => {
                let mut answers = vec![ToJobMaster::State(attempt, TaskState::Running)];
                if attempt.task.vertex.0 == 0 {
                    answers.push(ToJobMaster::Watermark(attempt, report(random)));
                }
                answers.push(match attempt.task.vertex.0 {
                    0 => ToJobMaster::RequestSplit(attempt),
                    _ => ToJobMaster::Heartbeat(TaskManagerId(0), Vec::new()),
                });
                if attempt.task.vertex.0 == 1 {
                    answers.push(ToJobMaster::State(attempt, TaskState::Finished));
                }
                (attempt, answers)
            }
            ToTaskManager::Split(attempt, _) => (attempt, vec![ToJobMaster::RequestSplit(attempt)]),
            ToTaskManager::NoMoreSplits(attempt) => {
                (attempt, vec![ToJobMaster::State(attempt, TaskState::Finished)])
            }
            ToTaskManager::WatermarkLimit(attempt, _) => (attempt, Vec::new()),
            ToTaskManager::Cancel(attempt) => {
                (attempt, vec![ToJobMaster::State(attempt, TaskState::Canceled)])
            }
            ToTaskManager::Trigger(attempt, ..)
            | ToTaskManager::CheckpointAborted(attempt, _)
            | ToTaskManager::CheckpointCompleted(attempt, _) => {
                panic!("{attempt} heard of a checkpoint of a job that takes none")
            }
        };
        if self.over.contains(&attempt) {
            return; // It was over when the message came.
        }
        let answers = match random.below(hazard) {
            0 => vec![ToJobMaster::Failed(attempt, failure("hazard"))],
            _ => answers,
        };
        for answer in answers {
            if let ToJobMaster::Failed(attempt, _) | ToJobMaster::State(attempt, _) = &answer
                && !matches!(&answer, ToJobMaster::State(_, TaskState::Running))
            {
                self.over.push(*attempt);
            }
            self.outbox.push_back(answer);
        }
    }
}

/// Runs one job; returns its end.
fn run(seed: u64) -> JobStatus {
    let mut random = Random(seed);
    let (mut master, mut now) = (master(), Nanos(0));
    let mut shards = [ShardModel::default(), ShardModel::default()];
    let (hazard, cancel_at) = ([12, 1_000][random.below(2)], random.below(400));
    let mut ends = Vec::new();
    for step in 0..2_000 {
        let shard = random.below(2);
        let event = match step {
            0 => Some(Event::Start),
            _ if step == cancel_at => Some(Event::Cancel),
            _ if random.below(2) == 0 => {
                shards[shard].step(&mut random, hazard);
                None
            }
            _ if random.below(4) == 0 => {
                now = now + Duration::from_millis(20); // In all far less than the time to stop.
                Some(Event::Tick)
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
            assert!(ends.is_empty(), "seed {seed}: {effect:?} after the end");
            match effect {
                Effect::Send(to, envelope) => {
                    shards[to.shard.index()].inbox.push_back(envelope.message);
                }
                Effect::Job(status) if status.is_terminal() => ends.push(status),
                _ => {}
            }
        }
    }
    assert_eq!(ends, [master.status()], "seed {seed}: it ended once");
    assert_eq!(master.next_deadline(), None, "seed {seed}");
    if let Some(failure) = master.failure() {
        assert_eq!(failure.blame, Blame::Job, "seed {seed}: {failure}");
    }
    master.status()
}

#[test]
fn every_job_ends_once_whatever_the_order_of_messages() {
    let mut ends = [0; 3];
    for seed in 0..2_000 {
        let end = [JobStatus::Finished, JobStatus::Failed, JobStatus::Canceled];
        let end = end.iter().position(|end| *end == run(seed)).expect("the end is terminal");
        ends[end] += 1;
    }
    assert!(ends.iter().all(|count| *count > 50), "all ends were reached: {ends:?}");
}
