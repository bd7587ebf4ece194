//! A failure that has left the process in which it happened.

use std::{error::Error, fmt};

use wiesel_core::{Blame, SubtaskIndex, TaskFailure};

/// A [`TaskFailure`] as data: what it says, not the error values that it was made of.
///
/// ```
/// use wiesel_core::{Blame, TaskFailure};
/// use wiesel_rpc::FailureReport;
///
/// let failure = TaskFailure::new(Blame::Job, "parse a record", "`x` is not a number").uid("posts");
/// assert_eq!(
///     FailureReport::from(&failure).to_string(),
///     "could not parse a record (operator `posts`): `x` is not a number"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureReport {
    /// What the task was doing, as a verb phrase.
    pub doing: String,
    /// The operator, if it is known.
    pub uid: Option<String>,
    /// The subtask, if it is known.
    pub subtask: Option<SubtaskIndex>,
    /// Where in the input, if the input has places.
    pub position: Option<String>,
    /// Who can fix it.
    pub blame: Blame,
    /// Whether the restart strategy may try again.
    pub retryable: bool,
    /// What went wrong, and what that came from, outermost first.
    pub causes: Vec<String>,
}

/// Causes that are reported. Chains are a handful long; one that refers to itself must end.
const CAUSES_MAX: usize = 16;

impl From<&TaskFailure> for FailureReport {
    fn from(failure: &TaskFailure) -> Self {
        let mut causes: Vec<String> = Vec::new();
        let mut next = failure.source();
        while let Some(cause) = next.filter(|_| causes.len() < CAUSES_MAX) {
            causes.push(cause.to_string());
            next = cause.source();
        }
        Self {
            doing: failure.doing.clone(),
            uid: failure.uid.clone(),
            subtask: failure.subtask,
            position: failure.position.clone(),
            blame: failure.blame,
            retryable: failure.retryable,
            causes,
        }
    }
}

impl fmt::Display for FailureReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {}", self.doing)?;
        let uid = self.uid.as_ref().map(|uid| format!("operator `{uid}`"));
        let subtask = self.subtask.map(|subtask| format!("subtask {subtask}"));
        let position = self.position.as_ref().map(|position| format!("at {position}"));
        let places: Vec<String> = [uid, subtask, position].into_iter().flatten().collect();
        if !places.is_empty() {
            write!(f, " ({})", places.join(", "))?;
        }
        self.causes.iter().try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl Error for FailureReport {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_the_failure_said() {
        let inner = TaskFailure::new(Blame::Environment, "open a file", "permission denied");
        let outer = TaskFailure::new(Blame::Environment, "read a split", inner)
            .uid("posts")
            .subtask(SubtaskIndex(1))
            .position("posts.jsonl, byte 512");
        let report = FailureReport::from(&outer);
        assert_eq!(
            report.to_string(),
            "could not read a split (operator `posts`, subtask 1, at posts.jsonl, byte 512): could not open a \
             file: permission denied"
        );
        assert!(report.to_string().starts_with(&outer.to_string()), "one voice for both");
        assert_eq!((report.blame, report.retryable), (Blame::Environment, true));
    }

    #[test]
    fn a_chain_of_causes_ends() {
        let mut failure = TaskFailure::new(Blame::Runtime, "step 0", "the end");
        for depth in 1..100 {
            failure = TaskFailure::new(Blame::Runtime, format!("step {depth}"), failure);
        }
        assert_eq!(FailureReport::from(&failure).causes.len(), CAUSES_MAX);
    }
}
