//! What a naive observer remembers of each checkpoint, and the rules that each effect must keep.

use std::collections::{BTreeMap, BTreeSet};

use wiesel_checkpoint::{
    AbortReason, CheckpointConfig, CheckpointId, CheckpointKind, DeclineReason, Effect, RequestId,
};
use wiesel_core::{Nanos, TaskId, VertexId};

/// A generator of its own, so that a seed means the same for ever.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: impl IntoIterator<Item = T>) -> Option<T> {
        let all: Vec<T> = from.into_iter().collect();
        (!all.is_empty()).then(|| all[self.below(all.len() as u64) as usize])
    }
}

/// A state that was handed in: each is another one.
pub type Handle = u64;

/// What was seen of one id.
pub struct Seen {
    pub kind: CheckpointKind,
    pub began: Nanos,
    pub execution: u64,
    pub expected: BTreeSet<TaskId>,
    pub finished: BTreeSet<TaskId>,
    pub triggered: bool,
    /// Who has answered, whether in time or not.
    pub answered: BTreeSet<TaskId>,
    pub handles: BTreeMap<TaskId, Handle>,
    pub enumerators: BTreeMap<VertexId, Handle>,
    pub enumerators_answered: bool,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Pending,
    Storing,
    Stored,
    Unknown,
    Aborted,
}

pub struct Model {
    pub config: CheckpointConfig,
    pub sources: BTreeSet<VertexId>,
    pub has_enumerators: bool,
    pub all: BTreeSet<TaskId>,
    pub up: bool,
    /// Counts starts of the job.
    pub execution: u64,
    pub running: BTreeSet<TaskId>,
    pub finished: BTreeSet<TaskId>,
    pub ended: BTreeSet<TaskId>,
    pub seen: BTreeMap<CheckpointId, Seen>,
    pub retained: Vec<CheckpointId>,
    /// Handles whose fate is open.
    pub open: BTreeSet<Handle>,
    pub requests: BTreeSet<RequestId>,
    pub next_handle: Handle,
    pub next_request: u64,
    pub failures: u32,
    pub last_completed: Option<Nanos>,
    pub counts: BTreeMap<&'static str, u64>,
}

impl Model {
    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub fn pending(&self) -> impl Iterator<Item = (&CheckpointId, &Seen)> {
        let live = |seen: &Seen| matches!(seen.outcome, Outcome::Pending | Outcome::Storing);
        self.seen.iter().filter(move |(_, seen)| live(seen))
    }

    pub fn handle(&mut self) -> Handle {
        self.next_handle += 1;
        self.open.insert(self.next_handle);
        self.next_handle
    }

    pub fn began(&mut self, now: Nanos, checkpoint: CheckpointId, kind: CheckpointKind) {
        assert!(self.up, "{checkpoint} begins while the job is down");
        assert!(self.seen.keys().next_back().is_none_or(|last| *last < checkpoint), "ids grow");
        let pending: Vec<_> = self.pending().map(|(_, seen)| seen.kind).collect();
        assert!(pending.iter().all(|kind| !kind.is_savepoint()), "beside a savepoint");
        if kind.is_savepoint() {
            assert!(pending.is_empty(), "a savepoint beside others");
        } else {
            assert!(pending.len() < self.config.max_concurrent as usize, "too many at a time");
            let all_ended = self.ended == self.running;
            let pause = self.last_completed.map(|at| at + self.config.min_pause);
            assert!(all_ended || pause.is_none_or(|over| over <= now), "within the pause");
        }
        let seen = Seen {
            kind,
            began: now,
            execution: self.execution,
            expected: self.running.clone(),
            finished: self.finished.clone(),
            triggered: false,
            answered: BTreeSet::new(),
            handles: BTreeMap::new(),
            enumerators: BTreeMap::new(),
            enumerators_answered: false,
            outcome: Outcome::Pending,
        };
        assert!(!seen.expected.is_empty(), "a checkpoint of nobody");
        self.seen.insert(checkpoint, seen);
    }

    /// Checks one effect and remembers it.
    pub fn see(&mut self, now: Nanos, event: &str, effect: Effect<Handle>) {
        match effect {
            Effect::SnapshotEnumerators { checkpoint, kind } => {
                assert!(self.has_enumerators);
                self.began(now, checkpoint, kind);
            }
            Effect::Trigger { checkpoint, kind, tasks } => {
                if !self.has_enumerators {
                    self.began(now, checkpoint, kind);
                }
                let (sources, running) = (self.sources.clone(), self.running.clone());
                let seen = self.seen.get_mut(&checkpoint).expect("it has begun");
                assert!(!seen.triggered && seen.outcome == Outcome::Pending && seen.kind == kind);
                assert!(seen.enumerators_answered || !self.has_enumerators);
                seen.triggered = true;
                assert!(
                    tasks.iter().all(|task| running.contains(task)),
                    "not to those that are over"
                );
                let is_running_source = |task: &&TaskId| sources.contains(&task.vertex);
                assert!(running.iter().filter(is_running_source).all(|task| tasks.contains(task)));
                assert!(!tasks.is_empty());
                self.count("triggered");
            }
            Effect::Store { checkpoint, kind, handles, enumerators, finished } => {
                let storing = self.pending().any(|(_, seen)| seen.outcome == Outcome::Storing);
                assert!(!storing, "two manifests at a time");
                let seen = self.seen.get_mut(&checkpoint).expect("it has begun");
                assert_eq!((seen.outcome, seen.kind), (Outcome::Pending, kind));
                assert!(handles.keys().eq(seen.expected.iter()), "a state of each that ran");
                assert_eq!((&handles, &enumerators), (&seen.handles, &seen.enumerators));
                assert!(finished.iter().eq(seen.finished.iter()));
                seen.outcome = Outcome::Storing;
            }
            Effect::NotifyComplete { checkpoint, kind, bytes, .. } => {
                let seen = &self.seen[&checkpoint];
                assert_eq!(
                    (seen.outcome, seen.kind),
                    (Outcome::Stored, kind),
                    "before it is stored"
                );
                assert_eq!(bytes, seen.handles.len() as u64);
                self.count("complete");
            }
            Effect::NotifyAbort { checkpoint, kind, reason } => {
                self.aborted(now, event, checkpoint, kind, &reason);
            }
            Effect::Discard { checkpoint } => {
                let unknown =
                    self.seen.get(&checkpoint).is_some_and(|seen| seen.outcome == Outcome::Unknown);
                if !unknown {
                    assert_eq!(self.retained.first(), Some(&checkpoint), "the oldest goes first");
                    self.retained.remove(0);
                    assert!(self.retained.len() >= self.config.num_retained as usize);
                }
                self.count("discarded");
            }
            Effect::DiscardState { checkpoint, handles } => {
                assert_eq!(
                    self.seen[&checkpoint].outcome,
                    Outcome::Aborted,
                    "{checkpoint} is needed"
                );
                for handle in handles {
                    assert!(
                        self.open.remove(&handle),
                        "{handle} is discarded twice, or was stored"
                    );
                }
            }
            Effect::SavepointDone { request, checkpoint } => {
                assert!(self.requests.remove(&request), "one answer each");
                assert_eq!(self.seen[&checkpoint].outcome, Outcome::Stored);
                self.count("savepoint");
            }
            Effect::SavepointFailed { request, .. } => {
                assert!(self.requests.remove(&request), "one answer each");
                self.count("savepoint failed");
            }
            Effect::Skipped { reason } => {
                let whole = matches!(
                    reason,
                    AbortReason::TasksFinished | AbortReason::UnionPartlyFinished { .. }
                );
                assert!(whole && !self.finished.is_empty());
                self.count("skipped");
            }
            Effect::FailJob { checkpoint, reason, .. } => {
                let kind = self.seen[&checkpoint].kind;
                assert!(
                    kind.is_terminal() || self.failures == self.config.tolerable_failures + 1,
                    "{} failures: {reason}",
                    self.failures
                );
                self.failures = 0;
                self.up = false;
                self.count("job failed");
            }
        }
    }

    pub fn aborted(
        &mut self,
        now: Nanos,
        event: &str,
        checkpoint: CheckpointId,
        kind: CheckpointKind,
        reason: &AbortReason,
    ) {
        let up = self.up;
        let timeout = self.config.timeout;
        let seen = self.seen.get_mut(&checkpoint).expect("it has begun");
        assert_eq!(seen.kind, kind);
        match reason {
            AbortReason::Store { .. } => {
                assert!(matches!(seen.outcome, Outcome::Storing | Outcome::Unknown))
            }
            _ => assert_eq!(seen.outcome, Outcome::Pending, "{checkpoint} ends twice: {reason}"),
        }
        match reason {
            AbortReason::Expired { .. } | AbortReason::ExpiredInEnumerators => {
                assert!(seen.began + timeout <= now, "{checkpoint} expires too early");
            }
            AbortReason::Subsumed { by } => assert!(*by > checkpoint && event == "stored"),
            AbortReason::TaskFinished { task } => assert!(seen.expected.contains(task)),
            AbortReason::Restart => assert_eq!(event, "restart"),
            _ => {}
        }
        if seen.outcome == Outcome::Unknown {
            for handle in seen.handles.values().chain(seen.enumerators.values()) {
                self.open.remove(handle);
            }
        } else {
            seen.outcome = Outcome::Aborted;
        }
        let counted = match reason {
            AbortReason::Expired { .. } => true,
            AbortReason::Declined { reason, .. } => {
                matches!(reason, DeclineReason::Busy | DeclineReason::Io(_))
            }
            AbortReason::Store { .. } | AbortReason::ExpiredInEnumerators => !kind.is_savepoint(),
            _ => false,
        };
        if up && event != "restart" {
            self.failures += u32::from(counted);
        }
        self.count("aborted");
    }

    pub fn stored(&mut self, now: Nanos, checkpoint: CheckpointId) {
        let seen = self.seen.get_mut(&checkpoint).expect("it has begun");
        seen.outcome = Outcome::Stored;
        for handle in seen.handles.values().chain(seen.enumerators.values()) {
            self.open.remove(handle);
        }
        if seen.kind == CheckpointKind::Checkpoint {
            self.retained.push(checkpoint);
        }
        if self.up && seen.execution == self.execution {
            self.failures = 0;
        }
        self.last_completed = Some(now);
    }
}
