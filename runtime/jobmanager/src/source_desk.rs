//! Where the readers of one source ask for splits.
//!
//! ```text
//!   RequestSplit ──▶ enumerator ──▶ Split | NoMoreSplits      answered at once
//!                        └────────▶ Later                     the reader waits here and is asked for again
//! ```
//!
//! # What is always true
//!
//! 1. A request gets exactly one answer, unless its task is over before.
//! 2. Who waits is asked for in order of subtask.

use std::{collections::BTreeSet, time::Duration};

use wiesel_connectors::{Assignment, SplitEnumerator};
use wiesel_core::{SubtaskIndex, TaskFailure, VertexId};

/// How often an enumerator that said `Later` is asked again. A new file is then seen about as soon as a person
/// could notice, and asking costs nothing else.
pub const SPLIT_RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// The enumerator of one source vertex.
#[derive(Debug)]
pub struct SourceEnumerator {
    /// The source.
    pub vertex: VertexId,
    /// Hands out its splits.
    pub enumerator: Box<dyn SplitEnumerator>,
}

/// One source.
#[derive(Debug)]
pub(crate) struct SourceDesk {
    enumerator: Box<dyn SplitEnumerator>,
    waiting: BTreeSet<SubtaskIndex>,
}

/// What a reader is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Split(Vec<u8>),
    NoMoreSplits,
}

impl SourceDesk {
    pub(crate) fn new(enumerator: Box<dyn SplitEnumerator>) -> Self {
        Self { enumerator, waiting: BTreeSet::new() }
    }

    /// What has not been handed out, as bytes.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        self.enumerator.snapshot()
    }

    /// Starts again where `snapshot` was taken: nobody waits.
    pub(crate) fn restore(&mut self, snapshot: &[u8]) -> Result<(), TaskFailure> {
        self.waiting.clear();
        self.enumerator.restore(snapshot)
    }

    /// A reader runs.
    pub(crate) fn add_reader(&mut self, subtask: SubtaskIndex) {
        self.enumerator.add_reader(subtask);
    }

    /// A reader asks. `None`: it waits.
    pub(crate) fn request(&mut self, subtask: SubtaskIndex) -> Option<Answer> {
        match self.enumerator.request_split(subtask) {
            Assignment::Split(split) => Some(Answer::Split(split.0)),
            Assignment::NoMoreSplits => Some(Answer::NoMoreSplits),
            Assignment::Later => {
                self.waiting.insert(subtask);
                None
            }
        }
    }

    /// Asks again for all who wait.
    pub(crate) fn retry(&mut self) -> Vec<(SubtaskIndex, Answer)> {
        let waiting = std::mem::take(&mut self.waiting);
        let answers = waiting.into_iter().map(|subtask| (subtask, self.request(subtask)));
        answers.filter_map(|(subtask, answer)| Some((subtask, answer?))).collect()
    }

    /// A task that waits is over or must stop.
    pub(crate) fn forget(&mut self, subtask: SubtaskIndex) {
        self.waiting.remove(&subtask);
    }

    /// Whether somebody waits.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}
