//! When a checkpoint begins, and what becomes of it.
//!
//! ```text
//!   interval, min-pause, max-concurrent        acknowledgements         Stored            num-retained
//!   ──────────── begin ───────────────▶ pending ──────────▶ stored one at a time ─▶ completed ─▶ discarded
//!        savepoint ▲ waits until none is pending    └─ decline, expiry, newer one complete ─▶ aborted
//!        end of data ▲ the final checkpoint, at once               └─ counted: FailJob
//! ```
//!
//! # What is always true
//!
//! 1. Ids grow. One that was given out is never given out again.
//! 2. At most `max-concurrent-checkpoints` are pending, and while a savepoint waits or is pending nothing else begins.
//! 3. At most one manifest is being written, the lowest that is acknowledged by all.
//! 4. Of completed checkpoints the newest `num-retained` are kept. A savepoint is not one of them: it deletes nothing and
//!    nothing deletes it.
//! 5. State that was handed in is in a stored checkpoint, or in one `DiscardState`, or its store's outcome is unknown.
//! 6. What a task of an earlier execution says changes nothing.
//!
//! The rules are Flink's (`CheckpointCoordinator`, `CheckpointFailureManager`). Differences: the first checkpoint begins
//! after one whole interval, not at a random moment in it; a savepoint waits for pending checkpoints instead of
//! overtaking them, since a task snapshots one at a time.

mod requests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use wiesel_core::{Nanos, TaskId};

use crate::{
    AbortReason, CheckpointConfig, CheckpointId, CheckpointKind, DeclineReason, Effect, Event,
    RequestId, Topology,
    pending::{Pending, Phase},
};

/// Aborted checkpoints whose late acknowledgements are still recognised. A task that is told in time answers nothing, so
/// entries stay until they are pushed out; a late answer is one that crossed the order to abort, so it is of one of the
/// newest. What is forgotten all the same is found as a leftover at the next start.
const ABORTED_MAX: usize = 1_024;

/// From when a task is over to the final checkpoint of those that are not.
const FINAL_PAUSE: Duration = Duration::from_millis(5);

/// The coordinator of one job. `H` is what a task hands in: where its state is.
///
/// ```
/// use wiesel_checkpoint::*;
/// use wiesel_core::{Nanos, SubtaskIndex, TaskId, seconds};
///
/// let mut topology = Topology::default();
/// let vertex = topology.add_vertex(1, []);
/// let task = TaskId { vertex, subtask: SubtaskIndex(0) };
/// let config = CheckpointConfig { interval: Some(seconds(1)), ..CheckpointConfig::default() };
/// let mut coordinator = CheckpointCoordinator::<&str>::new(config, topology, CheckpointId(1), []);
///
/// let now = Nanos(0);
/// assert!(coordinator.handle(now, Event::Running { finished: vec![] }).is_empty());
/// let now = coordinator.next_deadline().expect("the first checkpoint");
/// let (checkpoint, kind) = (CheckpointId(1), CheckpointKind::Checkpoint);
/// let trigger = Effect::Trigger { checkpoint, kind, tasks: vec![task] };
/// assert_eq!(coordinator.handle(now, Event::Tick), [trigger]);
///
/// let event = Event::Acknowledge { checkpoint, task, handle: "0-0.data", bytes: 8 };
/// assert!(matches!(coordinator.handle(now, event)[..], [Effect::Store { .. }]));
/// let effects = coordinator.handle(now, Event::Stored { checkpoint });
/// assert!(matches!(effects[..], [Effect::NotifyComplete { bytes: 8, .. }]));
/// assert_eq!(coordinator.latest_completed(), Some(checkpoint));
/// ```
#[derive(Clone, Debug)]
pub struct CheckpointCoordinator<H> {
    config: CheckpointConfig,
    topology: Topology,
    next_id: CheckpointId,
    status: Status,
    /// Counts starts of the job.
    execution: u64,
    running: BTreeSet<TaskId>,
    finished: BTreeSet<TaskId>,
    /// Those that wait for the final checkpoint.
    ended: BTreeSet<TaskId>,
    /// All tasks have ended, and the final checkpoint is to begin at this time.
    final_due: Option<Nanos>,
    /// The first one that began behind the end of all data. If it fails the interval brings the next one.
    final_from: Option<CheckpointId>,
    pending: BTreeMap<CheckpointId, Pending<H>>,
    /// Who had not answered when it was aborted; nobody if no barrier was sent, and then the enumerators had not.
    aborted: BTreeMap<CheckpointId, BTreeSet<TaskId>>,
    completed: VecDeque<CheckpointId>,
    /// Their manifests may be there.
    unknown: Vec<CheckpointId>,
    /// A savepoint that waits until nothing is pending.
    waiting: Option<(RequestId, CheckpointKind)>,
    next_trigger: Option<Nanos>,
    last_completed: Option<Nanos>,
    /// Failures in a row that count.
    failures: u32,
    effects: Vec<Effect<H>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// No task runs, or none will soon.
    Down,
    /// Some tasks are started again, while the others run.
    Paused,
    /// Checkpoints may begin.
    Up,
    /// The job is told to fail, or is stopping: nothing begins any more.
    Closing,
}

impl<H: Clone> CheckpointCoordinator<H> {
    /// A coordinator whose first checkpoint is `first_id`, above all ids ever given out in this directory.
    /// `retained`: completed checkpoints of earlier runs that are the engine's own now, oldest first.
    pub fn new(
        config: CheckpointConfig,
        topology: Topology,
        first_id: CheckpointId,
        retained: impl IntoIterator<Item = CheckpointId>,
    ) -> Self {
        let running = BTreeSet::new();
        Self {
            config,
            topology,
            next_id: first_id,
            status: Status::Down,
            execution: 0,
            running,
            finished: BTreeSet::new(),
            ended: BTreeSet::new(),
            final_due: None,
            final_from: None,
            pending: BTreeMap::new(),
            aborted: BTreeMap::new(),
            completed: retained.into_iter().collect(),
            unknown: Vec::new(),
            waiting: None,
            next_trigger: None,
            last_completed: None,
            failures: 0,
            effects: Vec::new(),
        }
    }

    /// Takes an event; what is to be done, in this order.
    pub fn handle(&mut self, now: Nanos, event: Event<H>) -> Vec<Effect<H>> {
        match event {
            Event::Tick => {}
            Event::Running { finished } => self.start(now, finished),
            Event::Restart => self.stop(Status::Down),
            Event::Pause => self.stop(Status::Paused),
            Event::Enumerators { checkpoint, states } => {
                if let Some(pending) = self.in_phase(checkpoint, Phase::Enumerators) {
                    pending.enumerators = states;
                    self.send_barriers(checkpoint);
                } else if self.aborted.remove(&checkpoint).is_some() {
                    let handles = states.into_values().collect();
                    self.effects.push(Effect::DiscardState { checkpoint, handles });
                }
            }
            Event::EnumeratorsFailed { checkpoint, reason } => {
                if self.in_phase(checkpoint, Phase::Enumerators).is_some() {
                    self.abort(checkpoint, AbortReason::Enumerators { reason }, true);
                }
                self.aborted.remove(&checkpoint); // They have answered.
            }
            Event::Acknowledge { checkpoint, task, handle, bytes } => {
                self.acknowledge(checkpoint, task, handle, bytes);
            }
            Event::Decline { checkpoint, task, reason } => self.decline(checkpoint, task, reason),
            Event::EndOfData { task } => {
                if self.running.contains(&task) {
                    self.ended.insert(task);
                    self.look_for_the_end(now);
                }
            }
            Event::TaskFinished { task } => self.finish(now, task),
            Event::Stored { checkpoint } => self.stored(now, checkpoint),
            Event::StoreFailed { checkpoint, reason, ambiguous } => {
                if self.in_phase(checkpoint, Phase::Storing).is_some() {
                    if ambiguous {
                        self.unknown.push(checkpoint);
                    }
                    self.abort(checkpoint, AbortReason::Store { reason }, !ambiguous);
                }
            }
            Event::Savepoint { request } => self.request(request, CheckpointKind::Savepoint),
            Event::StopWithSavepoint { request, drain } => {
                self.request(request, CheckpointKind::Terminal { drain });
            }
        }
        self.advance(now);
        std::mem::take(&mut self.effects)
    }

    /// When [`Event::Tick`] is due, if nothing else comes before.
    pub fn next_deadline(&self) -> Option<Nanos> {
        let expiring = self.pending.values().filter(|pending| pending.can_expire());
        let expiry = expiring.map(|pending| pending.deadline).min();
        let trigger = if self.has_room() { self.trigger_time() } else { None };
        [expiry, trigger].into_iter().flatten().min()
    }

    /// The newest completed checkpoint: what the job is restored from.
    pub fn latest_completed(&self) -> Option<CheckpointId> {
        self.completed.iter().max().copied()
    }

    /// The completed checkpoints that are kept, oldest first.
    pub fn retained(&self) -> impl Iterator<Item = CheckpointId> + '_ {
        self.completed.iter().copied()
    }

    /// Whether a manifest is being written. A restart waits for its answer before it chooses what to restore.
    pub fn is_storing(&self) -> bool {
        self.pending.values().any(|pending| pending.phase == Phase::Storing)
    }

    /// Whether a savepoint is under way with which the job stops: tasks behind its barrier read nothing more.
    pub fn is_stopping(&self) -> bool {
        self.pending.values().any(|pending| pending.kind.is_terminal())
    }

    /// How many are pending.
    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// The id that comes next.
    pub fn next_id(&self) -> CheckpointId {
        self.next_id
    }

    fn in_phase(&mut self, checkpoint: CheckpointId, phase: Phase) -> Option<&mut Pending<H>> {
        self.pending.get_mut(&checkpoint).filter(|pending| pending.phase == phase)
    }

    /// All tasks run.
    fn start(&mut self, now: Nanos, finished: Vec<TaskId>) {
        self.execution += 1;
        self.finished = finished.into_iter().filter(|task| self.topology.has(*task)).collect();
        self.running = self.topology.tasks().filter(|task| !self.finished.contains(task)).collect();
        self.ended.clear();
        (self.final_due, self.final_from) = (None, None);
        self.failures = 0;
        self.status = Status::Up;
        self.next_trigger = self.config.interval.map(|interval| now + interval);
    }

    /// Not all tasks run any more: nothing begins until they do.
    fn stop(&mut self, status: Status) {
        self.status = status;
        if let Some((request, _)) = self.waiting.take() {
            self.effects.push(Effect::SavepointFailed { request, reason: AbortReason::Restart });
        }
        let ids: Vec<_> = self.pending.keys().copied().collect();
        for checkpoint in ids {
            // What is being written may come to be there whatever is said now: its answer decides.
            if self.pending[&checkpoint].phase != Phase::Storing {
                self.abort(checkpoint, AbortReason::Restart, true);
            }
        }
        self.running.clear();
        self.ended.clear();
        self.final_due = None;
        self.next_trigger = None;
    }

    fn acknowledge(&mut self, checkpoint: CheckpointId, task: TaskId, handle: H, bytes: u64) {
        if let Some(pending) = self.pending.get_mut(&checkpoint) {
            pending.acknowledge(task, handle, bytes);
            return;
        }
        if self.take_missing(checkpoint, task) {
            self.effects.push(Effect::DiscardState { checkpoint, handles: vec![handle] });
        }
    }

    /// A task answers a checkpoint that was aborted; says whether it had not before.
    fn take_missing(&mut self, checkpoint: CheckpointId, task: TaskId) -> bool {
        let Some(missing) = self.aborted.get_mut(&checkpoint) else { return false };
        let was_missing = missing.remove(&task);
        if missing.is_empty() {
            self.aborted.remove(&checkpoint);
        }
        was_missing
    }

    fn decline(&mut self, checkpoint: CheckpointId, task: TaskId, reason: DeclineReason) {
        let Some(pending) = self.in_phase(checkpoint, Phase::Tasks) else {
            self.take_missing(checkpoint, task);
            return;
        };
        // It will not hand in anything any more.
        if pending.waiting.remove(&task) {
            self.abort(checkpoint, AbortReason::Declined { task, reason }, true);
        }
    }

    /// A task is over.
    fn finish(&mut self, now: Nanos, task: TaskId) {
        if !self.running.remove(&task) {
            return;
        }
        self.ended.remove(&task);
        self.finished.insert(task);
        let waiting =
            |pending: &Pending<H>| pending.can_expire() && pending.waiting.contains(&task);
        let ids: Vec<_> = self.pending.iter().filter(|(_, pending)| waiting(pending)).collect();
        let ids: Vec<_> = ids.into_iter().map(|(id, _)| *id).collect();
        for checkpoint in ids {
            self.abort(checkpoint, AbortReason::TaskFinished { task }, true);
        }
        // With the checkpoint before, more of them may be over: those say so first.
        self.look_for_the_end(now + FINAL_PAUSE);
    }

    /// When all that run have processed all their input, the final checkpoint is due.
    fn look_for_the_end(&mut self, at: Nanos) {
        let all = !self.running.is_empty() && self.ended == self.running;
        if all && self.final_from.is_none() {
            self.final_due = Some(at);
        }
    }

    fn stored(&mut self, now: Nanos, checkpoint: CheckpointId) {
        if self.in_phase(checkpoint, Phase::Storing).is_none() {
            return;
        }
        let Some(pending) = self.pending.remove(&checkpoint) else { return };
        let kind = pending.kind;
        self.last_completed = Some(now);
        if pending.execution == self.execution && self.status != Status::Down {
            self.failures = 0;
            let duration = now.since(pending.triggered).as_nanos();
            self.effects.push(Effect::NotifyComplete {
                checkpoint,
                kind,
                duration_ns: u64::try_from(duration).unwrap_or(u64::MAX),
                bytes: pending.bytes,
            });
            // Behind it the tasks go.
            let is_final = self.final_from.is_some_and(|first| first <= checkpoint);
            if (kind.is_terminal() || kind.commits() && is_final) && self.status == Status::Up {
                self.status = Status::Closing;
            }
        }
        if let Some(request) = pending.request {
            self.effects.push(Effect::SavepointDone { request, checkpoint });
        }
        if kind.is_savepoint() {
            return;
        }
        let older = self.pending.iter().filter(|(id, pending)| {
            **id < checkpoint && pending.kind == CheckpointKind::Checkpoint
        });
        let older: Vec<_> = older.map(|(id, _)| *id).collect();
        for older in older {
            self.abort(older, AbortReason::Subsumed { by: checkpoint }, true);
        }
        self.completed.push_back(checkpoint);
        let unknown = std::mem::take(&mut self.unknown);
        let (older, newer) = unknown.into_iter().partition(|id| *id < checkpoint);
        self.unknown = newer;
        let discarded = Vec::into_iter(older).map(|checkpoint| Effect::Discard { checkpoint });
        self.effects.extend(discarded);
        while self.completed.len() > self.config.num_retained.max(1) as usize {
            let oldest = self.completed.pop_front().expect("there is at least one");
            self.effects.push(Effect::Discard { checkpoint: oldest });
        }
    }

    /// Ends a pending checkpoint. `discard`: nothing can refer to its state.
    fn abort(&mut self, checkpoint: CheckpointId, reason: AbortReason, discard: bool) {
        let Some(pending) = self.pending.remove(&checkpoint) else { return };
        let (kind, request) = (pending.kind, pending.request);
        if self.final_from == Some(checkpoint) {
            let mut later = self.pending.range(checkpoint..);
            self.final_from = later.find(|(_, pending)| pending.kind.commits()).map(|(id, _)| *id);
        }
        self.effects.push(Effect::NotifyAbort { checkpoint, kind, reason: reason.clone() });
        if pending.can_expire() {
            let was_sent = pending.phase == Phase::Tasks;
            let missing = if was_sent { pending.waiting.clone() } else { BTreeSet::new() };
            self.aborted.insert(checkpoint, missing);
            while self.aborted.len() > ABORTED_MAX {
                self.aborted.pop_first();
            }
        }
        let handles = pending.into_state();
        if discard && !handles.is_empty() {
            self.effects.push(Effect::DiscardState { checkpoint, handles });
        }
        if let Some(request) = request {
            self.effects.push(Effect::SavepointFailed { request, reason: reason.clone() });
        }
        if self.status != Status::Up {
            return;
        }
        let counts = reason.counts(kind);
        self.failures += u32::from(counts);
        // Tasks that hold still for the end would do so for ever.
        let must_fail =
            kind.is_terminal() || counts && self.failures > self.config.tolerable_failures;
        if must_fail {
            let failures = std::mem::take(&mut self.failures);
            self.status = Status::Closing;
            self.effects.push(Effect::FailJob { checkpoint, failures, reason });
        }
    }
}
