//! Whose the parts of a task's state are: in a file by the uid of the operator, in a [`Snapshot`] by its place in the chain.
//!
//! ```text
//!   chain       posts ─▶ map-5d0c3f9a ─▶ held             a checkpoint of a chain that was cut elsewhere has the same uids
//!   position    0        1               2
//!   in files    posts/splits             held/operator.states       /watermark: the task's own, which is at 0 as well
//! ```
//!
//! # What is always true
//!
//! 1. A part comes to the operator whose uid it has, and to no other.
//! 2. What an operator does not ask for is an error, or is dropped because that was asked for; then it is named.

use std::sync::Arc;

use wiesel_core::{Blame, TaskFailure};
use wiesel_graph::JobVertex;
use wiesel_operators::Snapshot;
use wiesel_storage::PartEntry;
use wiesel_task::WATERMARK;

/// The uids of a chain's operators, front to back.
#[derive(Clone, Debug)]
pub(crate) struct Operators(Arc<[String]>);

impl Operators {
    pub(crate) fn of<F>(vertex: &JobVertex<F>) -> Self {
        Self(vertex.operators.iter().map(|operator| operator.uid.clone()).collect())
    }

    #[cfg(test)]
    pub(crate) fn named(uids: &[&str]) -> Self {
        Self(uids.iter().map(|uid| (*uid).to_owned()).collect())
    }

    /// The uid under which a part is written.
    pub(crate) fn uid_of(&self, position: usize, part: &str) -> &str {
        match part {
            WATERMARK if position == 0 => "",
            _ => self.0.get(position).map_or("", String::as_str),
        }
    }

    /// Where in the chain the operator of a part is.
    pub(crate) fn position_of(&self, part: &PartEntry) -> Option<usize> {
        match &*part.operator {
            "" => Some(0),
            uid => self.0.iter().position(|own| own == uid),
        }
    }

    /// Looks at what was left of a snapshot that the task has continued from.
    ///
    /// # Errors
    ///
    /// If something was and is not to be dropped: what an operator kept and the one that has its uid now does not.
    pub(crate) fn check_restored(
        &self,
        snapshot: &Snapshot,
        allow_non_restored: bool,
    ) -> Result<(), TaskFailure> {
        for (position, state) in snapshot.unread() {
            let uid = self.uid_of(position, state);
            if !allow_non_restored {
                let cause = format!(
                    "the checkpoint has state `{state}` of operator `{uid}`, and what has this uid now keeps no such state: \
                     give the uid back to the operator that it was of, or drop the state with --allowNonRestoredState"
                );
                let failure = TaskFailure::new(Blame::Job, "restore state", cause);
                return Err(failure.uid(uid));
            }
            tracing::warn!(uid, state, "its state is dropped: the operator keeps no such state");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wiesel_storage::{DataFileWriter, PartKind};

    use super::*;

    fn operators() -> Operators {
        Operators::named(&["src", "map-1", "held"])
    }

    #[test]
    fn a_part_is_written_for_its_operator_and_read_by_it() {
        let operators = operators();
        let mut writer = DataFileWriter::new();
        for (position, name) in [(0, "splits"), (0, WATERMARK), (2, WATERMARK), (2, "async-wait")] {
            writer.part(operators.uid_of(position, name), name, PartKind::List, b"");
        }
        writer.part("other", "splits", PartKind::List, b"");
        let parts = writer.finish("f").1.parts;
        let uids: Vec<&str> = parts.iter().map(|part| &*part.operator).collect();
        assert_eq!(uids, ["src", "", "held", "held", "other"]);
        let positions: Vec<_> = parts.iter().map(|part| operators.position_of(part)).collect();
        assert_eq!(positions, [Some(0), Some(0), Some(2), Some(2), None]);
    }

    #[test]
    fn what_nobody_asks_for_is_an_error_unless_it_is_dropped() {
        let mut snapshot = Snapshot::default();
        snapshot.put(WATERMARK, None, vec![0; 8]);
        snapshot.of_operator_mut(2).put("value", Some(wiesel_core::KeyGroup(3)), Vec::new());
        snapshot.of_operator_mut(2).put("types", None, Vec::new());
        let _ = snapshot.operator(WATERMARK);
        let held = snapshot.of_operator(2).expect("it has parts");
        let _ = held.operator("types");
        let failure = operators().check_restored(&snapshot, false).expect_err("nobody read it");
        assert_eq!(
            format!("{failure}: {}", failure.source),
            "could not restore state (operator `held`): the checkpoint has state `value` of operator `held`, and what has \
             this uid now keeps no such state: give the uid back to the operator that it was of, or drop the state with \
             --allowNonRestoredState"
        );
        operators().check_restored(&snapshot, true).expect("it may be dropped");
        let _ = held.operator("value");
        operators().check_restored(&snapshot, false).expect("all was read");
    }
}
