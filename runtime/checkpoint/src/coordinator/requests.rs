//! What begins, and when: periodic, final and asked for; what expires; what is stored next.

use std::time::Duration;

use wiesel_core::Nanos;

use super::{CheckpointCoordinator, Status};
use crate::{
    AbortReason, CheckpointId, CheckpointKind, Effect, RequestId,
    pending::{Pending, Phase},
};

/// From one try of the final checkpoint to the next, in a job without an interval.
const FINAL_RETRY: Duration = Duration::from_secs(1);

impl<H: Clone> CheckpointCoordinator<H> {
    /// Somebody wants a savepoint.
    pub(super) fn request(&mut self, request: RequestId, kind: CheckpointKind) {
        let under_way = self.pending.values().any(|pending| pending.kind.is_savepoint());
        let refusal = if self.status != Status::Up || self.running.is_empty() {
            Some(AbortReason::NotRunning)
        } else if self.waiting.is_some() || under_way {
            Some(AbortReason::SavepointUnderWay)
        } else {
            self.obstacle()
        };
        match refusal {
            Some(reason) => self.effects.push(Effect::SavepointFailed { request, reason }),
            None => self.waiting = Some((request, kind)),
        }
    }

    /// What is due now.
    pub(super) fn advance(&mut self, now: Nanos) {
        self.expire(now);
        self.store_next();
        if self.status != Status::Up {
            if let Some((request, _)) = self.waiting.take() {
                let reason = AbortReason::NotRunning;
                self.effects.push(Effect::SavepointFailed { request, reason });
            }
            return;
        }
        if self.pending.is_empty()
            && let Some((request, kind)) = self.waiting.take()
        {
            // Tasks may have finished since it was asked for.
            let ended = self.running.is_empty().then_some(AbortReason::NotRunning);
            match ended.or_else(|| self.obstacle()) {
                Some(reason) => self.effects.push(Effect::SavepointFailed { request, reason }),
                None => self.begin(now, kind, Some(request)),
            }
        }
        if self.has_room() && self.trigger_time().is_some_and(|at| at <= now) {
            self.trigger_due(now);
        }
    }

    /// A checkpoint is due and there is room for it.
    fn trigger_due(&mut self, now: Nanos) {
        self.final_due = None;
        // Without an interval only the final one is due by itself, and until it is complete.
        let interval = self.config.interval.unwrap_or(FINAL_RETRY);
        // On time: in step with the interval. Late: a whole interval from now, so that delays do not pile up.
        let in_step = self.next_trigger.map(|scheduled| scheduled + interval);
        self.next_trigger = in_step.filter(|next| *next > now).or(Some(now + interval));
        match self.obstacle() {
            Some(reason) => self.effects.push(Effect::Skipped { reason }),
            None => self.begin(now, CheckpointKind::Checkpoint, None),
        }
    }

    fn begin(&mut self, now: Nanos, kind: CheckpointKind, request: Option<RequestId>) {
        let checkpoint = self.next_id;
        self.next_id = CheckpointId(checkpoint.0 + 1);
        if kind.commits() && self.ended == self.running {
            self.final_from.get_or_insert(checkpoint);
        }
        let pending = Pending::new(kind, request, &self.running, &self.finished);
        let pending = pending.began(self.execution, now, self.config.timeout);
        self.pending.insert(checkpoint, pending);
        if self.topology.has_enumerators() {
            self.effects.push(Effect::SnapshotEnumerators { checkpoint, kind });
        } else {
            self.send_barriers(checkpoint);
        }
    }

    pub(super) fn send_barriers(&mut self, checkpoint: CheckpointId) {
        // A task that has finished since has aborted it.
        let tasks = self.topology.heads(&self.running);
        let Some(pending) = self.pending.get_mut(&checkpoint) else { return };
        pending.phase = Phase::Tasks;
        self.effects.push(Effect::Trigger { checkpoint, kind: pending.kind, tasks });
    }

    fn expire(&mut self, now: Nanos) {
        let due = |pending: &Pending<H>| pending.can_expire() && pending.deadline <= now;
        let due = self.pending.iter().filter(|(_, pending)| due(pending));
        let due: Vec<_> = due.map(|(id, pending)| (*id, pending.expiry())).collect();
        for (checkpoint, reason) in due {
            self.abort(checkpoint, reason, true);
        }
    }

    /// The lowest that all have acknowledged, if none is being stored.
    fn store_next(&mut self) {
        if self.is_storing() {
            return;
        }
        let ready =
            self.pending.iter_mut().find(|(_, pending)| pending.phase == Phase::Acknowledged);
        let Some((checkpoint, pending)) = ready else { return };
        pending.phase = Phase::Storing;
        self.effects.push(Effect::Store {
            checkpoint: *checkpoint,
            kind: pending.kind,
            handles: pending.handles.clone(),
            enumerators: pending.enumerators.clone(),
            finished: pending.finished.clone(),
        });
    }

    /// Whether a checkpoint could begin now if it were due.
    pub(super) fn has_room(&self) -> bool {
        self.status == Status::Up
            && self.waiting.is_none()
            && !self.running.is_empty()
            && self.pending.len() < self.config.max_concurrent.max(1) as usize
            && !self.pending.values().any(|pending| pending.kind.is_savepoint())
    }

    /// When the next one is due.
    pub(super) fn trigger_time(&self) -> Option<Nanos> {
        if let Some(at) = self.final_due {
            // The tasks do nothing but wait for it, and hold what they have until then.
            return self.pending.is_empty().then_some(at);
        }
        let pause_over = self.last_completed.map(|at| at + self.config.min_pause);
        self.next_trigger.map(|at| pause_over.map_or(at, |pause_over| at.max(pause_over)))
    }

    /// What stands in the way of any checkpoint now.
    fn obstacle(&self) -> Option<AbortReason> {
        // The final one has to be: what sinks hold is committed with it, and the tasks wait for it.
        let is_final = self.ended == self.running;
        if !self.finished.is_empty() && !self.config.after_tasks_finish && !is_final {
            return Some(AbortReason::TasksFinished);
        }
        let union = self.topology.union_partly_finished(&self.finished, &self.ended);
        union.map(|vertex| AbortReason::UnionPartlyFinished { vertex })
    }
}
