//! The shell around the JobMaster: carries its messages and sleeps until its next deadline.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use wiesel_core::{Nanos, ShardId, TaskId};
use wiesel_graph::ExecutionGraph;
use wiesel_jobmanager::{CheckpointEffect, Effect, Event, JobMaster};
use wiesel_rpc::{Envelope, Location, ToJobMaster, ToTaskManager};
use wiesel_shard::{
    Door, Next, Program, Shard,
    ring::{Consumer, Producer},
    signals,
};

use wiesel_taskmanager::ChannelEnds;

use crate::{
    SavepointError,
    checkpoints::JobCheckpoints,
    client::Shared,
    outputs::Outputs,
    progress::{JobProgress, TaskProgress},
};

/// How soon messages are sent again that a ring had no room for: its worker takes all at once, and does not say so. That is as
/// many messages a millisecond as a ring has slots.
const RESEND_EVERY: Duration = Duration::from_millis(1);

/// What is called with the progress of the job.
pub(crate) type Observer = Box<dyn FnMut(&JobProgress) + Send>;

/// Makes the channels of these tasks of a job and sorts their ends by shard.
pub(crate) type Connect = Box<dyn Fn(&ExecutionGraph, &[TaskId]) -> Vec<ChannelEnds> + Send>;

/// One shard, seen from the JobMaster.
pub(crate) struct Peer {
    pub(crate) door: Door,
    pub(crate) to: Producer<Envelope<ToTaskManager>>,
    /// For its channels after a restart, of all regions or some.
    pub(crate) rewired: Producer<ChannelEnds>,
    pub(crate) from: Consumer<Envelope<ToJobMaster>>,
    /// What the ring did not take.
    pub(crate) waiting: VecDeque<Envelope<ToTaskManager>>,
}

impl Peer {
    /// Sends what waits; says whether anything went.
    fn send(&mut self) -> bool {
        let mut sent = false;
        while let Some(envelope) = self.waiting.pop_front() {
            if let Err(envelope) = self.to.push(envelope) {
                self.waiting.push_front(envelope);
                break;
            }
            sent = true;
        }
        if sent {
            self.door.knock();
        }
        if self.to.is_closed() {
            self.waiting.clear(); // Nobody will read it.
        }
        sent
    }

    /// When it is to be tried again, if something is left.
    fn resend_at(&self, now: Nanos) -> Option<Nanos> {
        (!self.waiting.is_empty()).then(|| now + RESEND_EVERY)
    }
}

/// The control program of a local cluster.
pub(crate) struct JobMasterProgram {
    pub(crate) brain: JobMaster,
    pub(crate) locations: Vec<Location>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) observer: Option<Observer>,
    pub(crate) observe_every: Duration,
    pub(crate) observe_at: Nanos,
    pub(crate) sinks: Vec<bool>,
    pub(crate) started_at: Option<Nanos>,
    pub(crate) handle_signals: bool,
    /// There if the job takes checkpoints.
    pub(crate) checkpoints: Option<JobCheckpoints>,
    /// Held until the job is over.
    pub(crate) _outputs: Outputs,
    /// Makes channels of the job.
    pub(crate) connect: Connect,
}

impl JobMasterProgram {
    /// Tells the brain and does what it wants, and what it wants because of that, in order.
    fn apply(&mut self, shard: &Shard, now: Nanos, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let effects = self.brain.handle(now, event);
            self.carry_out(shard, effects, &mut events);
        }
    }

    fn carry_out(&mut self, shard: &Shard, effects: Vec<Effect>, events: &mut VecDeque<Event>) {
        for effect in effects {
            match effect {
                Effect::Checkpoint(effect) => {
                    if let CheckpointEffect::Rewire(tasks) = &effect {
                        self.rewire(tasks);
                    }
                    let wall = shard.wall_time();
                    let checkpoints = self.checkpoints.as_mut();
                    events.extend(checkpoints.and_then(|c| c.carry_out(wall, effect)));
                }
                Effect::Send(location, envelope) => {
                    let shard = location.shard;
                    self.peers[shard.index()].waiting.push_back(envelope);
                }
                Effect::Task(attempt, state) => {
                    tracing::debug!(task = %attempt, name = %self.brain.graph().task_name(attempt.task), %state);
                }
                Effect::Restart(planned) => {
                    tracing::warn!(job = %self.brain.graph().name(), "{planned}");
                }
                Effect::Job(status) => {
                    tracing::info!(job = %self.brain.graph().name(), %status);
                    self.shared.set_status(status);
                }
            }
        }
    }

    /// New channels for these tasks, to the shards that have one of them.
    fn rewire(&mut self, tasks: &[TaskId]) {
        let graph = self.brain.graph();
        let mut ends = (self.connect)(graph, tasks);
        let slots = tasks.iter().map(|task| graph.subtask(*task).slot.0 as usize);
        for shard in slots.collect::<BTreeSet<_>>() {
            let peer = &mut self.peers[shard];
            // One slot a region, and the worker has emptied it when the region was deployed before.
            let full = peer.rewired.push(std::mem::take(&mut ends[shard])).is_err();
            debug_assert!(
                !full || peer.rewired.is_closed(),
                "a region is deployed before it fails again"
            );
        }
    }

    fn progress(&self, now: Nanos) -> JobProgress {
        let graph = self.brain.graph();
        let reports: Vec<_> = self.brain.metrics().collect();
        let tasks = graph.subtasks().iter().map(|subtask| {
            let vertex = subtask.task.vertex;
            TaskProgress {
                task: subtask.task,
                name: graph.task_name(subtask.task),
                operators: Arc::clone(&graph.vertices()[vertex.index()].operators),
                shard: self.locations[subtask.slot.0 as usize].shard,
                is_source: graph.vertices()[vertex.index()].is_source,
                is_sink: self.sinks[vertex.index()],
                metrics: reports.iter().find(|r| r.attempt.task == subtask.task).copied().cloned(),
            }
        });
        let elapsed = self.started_at.map_or(Duration::ZERO, |started| now.since(started));
        let (status, checkpoints) = (self.brain.status(), self.brain.checkpoint_stats());
        JobProgress { status, elapsed, tasks: tasks.collect(), checkpoints }
    }

    fn observe(&mut self, now: Nanos) {
        let progress = self.progress(now);
        if let Some(observer) = &mut self.observer {
            observer(&progress);
        }
        self.shared.set_progress(progress);
    }

    /// A worker whose ring is gone has ended, by a panic of its own: what ran there is lost.
    fn find_lost_shards(&mut self, shard: &Shard, now: Nanos) {
        for index in 0..self.peers.len() {
            if self.peers[index].from.is_closed() && self.peers[index].from.is_empty() {
                let location = self.locations.iter().find(|l| l.shard == ShardId(index as u32));
                let Some(location) = location.copied() else { continue };
                let failure = wiesel_core::TaskFailure::new(
                    wiesel_core::Blame::Runtime,
                    format!("run shard {index}"),
                    "its worker has ended",
                );
                self.apply(shard, now, Event::ShardLost(location, (&failure).into()));
            }
        }
    }
}

/// However it ends: whoever waits for an answer gets one.
impl Drop for JobMasterProgram {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Program for JobMasterProgram {
    fn turn(&mut self, shard: &Shard) -> Next {
        let now = shard.now();
        if self.started_at.is_none() {
            self.started_at = Some(now);
            self.observe_at = now + self.observe_every;
            self.apply(shard, now, Event::Start);
        }
        if self.handle_signals
            && let Some(signal) = signals::raised()
            && self.shared.note_signal(signal)
        {
            self.apply(shard, now, Event::Cancel);
        }
        if self.shared.is_cancel_wanted() {
            self.apply(shard, now, Event::Cancel);
        }
        for request in self.shared.take_requests() {
            match &mut self.checkpoints {
                None => request.answer(Err(SavepointError::NoCheckpoints)),
                Some(checkpoints) => {
                    if let Some(event) = checkpoints.request(request) {
                        self.apply(shard, now, event);
                    }
                }
            }
        }
        let mut worked = false;
        for index in 0..self.peers.len() {
            while let Some(envelope) = self.peers[index].from.pop() {
                worked = true;
                self.apply(shard, now, Event::Message(envelope));
            }
        }
        self.find_lost_shards(shard, now);
        if self.brain.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.apply(shard, now, Event::Tick);
        }
        for peer in &mut self.peers {
            worked |= peer.send();
        }
        if self.brain.status().is_terminal() {
            self.shared.set_failure(self.brain.failure().cloned());
            self.shared.set_stuck(self.brain.stuck_shards().clone());
            if let Some(checkpoints) = &self.checkpoints {
                checkpoints.close(self.brain.status());
            }
            self.observe(now);
            // Dropping this program closes every mailbox, and the machine knocks on every door.
            return Next::Done;
        }
        if now >= self.observe_at {
            self.observe_at = now + self.observe_every;
            self.observe(now);
        }
        if worked {
            return Next::Again;
        }
        let resend_at = self.peers.iter().filter_map(|peer| peer.resend_at(now));
        let deadlines = self.brain.next_deadline().into_iter().chain(resend_at);
        Next::Idle { until: deadlines.chain([self.observe_at]).min() }
    }
}

#[cfg(test)]
mod tests {
    use wiesel_core::{JobId, SubtaskIndex, VertexId};
    use wiesel_rpc::Attempt;
    use wiesel_shard::ring::ring;

    use super::*;

    #[test]
    fn what_a_ring_has_no_room_for_is_sent_soon_again() {
        let ((to, mut mailbox), (_outbox, from)) = (ring(2), ring(1));
        let (door, rewired) = (Door::unattended(), ring(1).0);
        let mut peer = Peer { door, to, rewired, from, waiting: VecDeque::new() };
        let message = |number| {
            let task = TaskId { vertex: VertexId(0), subtask: SubtaskIndex(0) };
            let message = ToTaskManager::Cancel(Attempt { task, number });
            Envelope { job: JobId(1), message }
        };
        let (now, soon) = (Nanos(5), Some(Nanos(5) + RESEND_EVERY));
        peer.waiting.extend((0..5).map(message));
        assert_eq!((peer.send(), peer.resend_at(now)), (true, soon));
        assert_eq!((peer.send(), peer.resend_at(now)), (false, soon), "nobody has taken any");
        assert_eq!((mailbox.pop(), mailbox.pop()), (Some(message(0)), Some(message(1))));
        assert_eq!((peer.send(), peer.resend_at(now)), (true, soon));
        assert_eq!(
            (mailbox.pop(), peer.send(), peer.resend_at(now)),
            (Some(message(2)), true, None)
        );
        peer.waiting.push_back(message(5));
        drop(mailbox);
        assert_eq!((peer.send(), peer.resend_at(now)), (false, None), "nobody will");
    }
}
