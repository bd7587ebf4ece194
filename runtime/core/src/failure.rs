//! The failure of a task, as the JobMaster and then the user see it.
//!
//! Crates keep their own error enums. They meet here, where three questions are answered once: where was
//! it, who can fix it, and may a restart help?

use std::{error, fmt};

use crate::SubtaskIndex;

/// Who can make the failure go away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The job: its code, its configuration, or a record it cannot read.
    Job,
    /// Something outside: a file, a disk, a peer.
    Environment,
    /// Us. Report it.
    Runtime,
}

/// A task stopped.
///
/// ```
/// use wiesel_core::{Blame, SubtaskIndex, TaskFailure};
///
/// let failure = TaskFailure::new(Blame::Job, "parse a record", "`x` is not a number")
///     .uid("posts")
///     .subtask(SubtaskIndex(1))
///     .position("posts.jsonl, byte 512");
/// assert_eq!(
///     failure.to_string(),
///     "could not parse a record (operator `posts`, subtask 1, at posts.jsonl, byte 512)"
/// );
/// ```
#[derive(Debug)]
pub struct TaskFailure {
    /// What the task was doing, as a verb phrase: `restore window state`.
    pub doing: String,
    /// The operator, once it is known.
    pub uid: Option<String>,
    /// The subtask, once it is known.
    pub subtask: Option<SubtaskIndex>,
    /// Where in the input, if the input has places: `posts.jsonl, byte 512`.
    pub position: Option<String>,
    /// Who can fix it.
    pub blame: Blame,
    /// Whether the restart strategy may try again.
    pub retryable: bool,
    /// What went wrong.
    pub source: Box<dyn error::Error + Send + Sync>,
}

impl TaskFailure {
    /// A failure that a restart does not cure unless the environment is to blame.
    pub fn new(
        blame: Blame,
        doing: impl Into<String>,
        source: impl Into<Box<dyn error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            doing: doing.into(),
            uid: None,
            subtask: None,
            position: None,
            blame,
            retryable: blame == Blame::Environment,
            source: source.into(),
        }
    }

    /// Names the operator, unless an inner layer has.
    #[must_use]
    pub fn uid(mut self, uid: &str) -> Self {
        self.uid.get_or_insert_with(|| uid.to_owned());
        self
    }

    /// Names the subtask, unless an inner layer has.
    #[must_use]
    pub fn subtask(mut self, subtask: SubtaskIndex) -> Self {
        self.subtask.get_or_insert(subtask);
        self
    }

    /// Names the place in the input, unless an inner layer has.
    #[must_use]
    pub fn position(mut self, position: impl Into<String>) -> Self {
        self.position.get_or_insert_with(|| position.into());
        self
    }
}

impl fmt::Display for TaskFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {}", self.doing)?; // The cause is in `source`, and printed from there.
        let uid = self.uid.as_ref().map(|uid| format!("operator `{uid}`"));
        let subtask = self.subtask.map(|subtask| format!("subtask {subtask}"));
        let position = self.position.as_ref().map(|position| format!("at {position}"));
        let places: Vec<String> = [uid, subtask, position].into_iter().flatten().collect();
        if places.is_empty() { Ok(()) } else { write!(f, " ({})", places.join(", ")) }
    }
}

impl error::Error for TaskFailure {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&*self.source)
    }
}
