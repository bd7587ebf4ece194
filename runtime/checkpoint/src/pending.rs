//! A checkpoint that has begun and is not complete.
//!
//! ```text
//!   Enumerators ──states──▶ Tasks ──last acknowledgement──▶ Acknowledged ──its turn──▶ Storing ──▶ complete
//!        └──────────────────────┴──decline, timeout──▶ aborted ◀──subsumed──┘             └─ failed ─▶ aborted
//! ```
//!
//! # What is always true
//!
//! 1. The tasks that must acknowledge are fixed when it begins: those that run then.
//! 2. Each hands in one state. A second one of the same task is not looked at.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use wiesel_core::{Nanos, TaskId, VertexId};

use crate::{AbortReason, CheckpointKind, RequestId};

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Enumerators are asked; no barrier was sent.
    Enumerators,
    /// Barriers travel.
    Tasks,
    /// All have acknowledged; another one is being stored.
    Acknowledged,
    /// Its manifest is being written.
    Storing,
}

#[derive(Clone, Debug)]
pub(crate) struct Pending<H> {
    pub(crate) kind: CheckpointKind,
    pub(crate) request: Option<RequestId>,
    pub(crate) phase: Phase,
    /// Which start of the job it belongs to.
    pub(crate) execution: u64,
    pub(crate) triggered: Nanos,
    pub(crate) deadline: Nanos,
    /// Who has not acknowledged.
    pub(crate) waiting: BTreeSet<TaskId>,
    tasks: usize,
    pub(crate) finished: Vec<TaskId>,
    pub(crate) handles: BTreeMap<TaskId, H>,
    pub(crate) enumerators: BTreeMap<VertexId, H>,
    pub(crate) bytes: u64,
}

impl<H> Pending<H> {
    pub(crate) fn new(
        kind: CheckpointKind,
        request: Option<RequestId>,
        running: &BTreeSet<TaskId>,
        finished: &BTreeSet<TaskId>,
    ) -> Self {
        Self {
            kind,
            request,
            phase: Phase::Enumerators,
            execution: 0,
            triggered: Nanos(0),
            deadline: Nanos(0),
            waiting: running.clone(),
            tasks: running.len(),
            finished: finished.iter().copied().collect(),
            handles: BTreeMap::new(),
            enumerators: BTreeMap::new(),
            bytes: 0,
        }
    }

    pub(crate) fn began(mut self, execution: u64, now: Nanos, timeout: Duration) -> Self {
        (self.execution, self.triggered, self.deadline) = (execution, now, now + timeout);
        self
    }

    /// Whether time can still end it: what is being stored is no longer the tasks' doing.
    pub(crate) fn can_expire(&self) -> bool {
        matches!(self.phase, Phase::Enumerators | Phase::Tasks)
    }

    /// Why it expires.
    pub(crate) fn expiry(&self) -> AbortReason {
        match self.waiting.first() {
            Some(first) if self.phase == Phase::Tasks => AbortReason::Expired {
                waiting: self.waiting.len(),
                tasks: self.tasks,
                first: *first,
            },
            _ => AbortReason::ExpiredInEnumerators,
        }
    }

    /// Takes a task's state. Whether it was waited for.
    pub(crate) fn acknowledge(&mut self, task: TaskId, handle: H, bytes: u64) -> bool {
        if self.phase != Phase::Tasks || !self.waiting.remove(&task) {
            return false;
        }
        self.handles.insert(task, handle);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.waiting.is_empty() {
            self.phase = Phase::Acknowledged;
        }
        true
    }

    /// All state that was handed in.
    pub(crate) fn into_state(self) -> Vec<H> {
        self.handles.into_values().chain(self.enumerators.into_values()).collect()
    }
}
