//! The tables and timers of keyed operators as snapshots know them: by the name of a part and a header.
//!
//! ```text
//!   barrier ─▶ flip each ─▶ walk, a slice per turn ─▶ pieces of bytes, by table and key group ─▶ a file
//!   whole   ─▶ export each, at once ─▶ the parts of a `Snapshot`
//! ```
//!
//! # What is always true
//!
//! 1. Name and header tell the tables of a task apart, its timers too, and a table keeps both as long as it lives: a slice of a window is
//!    its header. What changes (whether it has fired) is in a part of its own.
//! 2. A part is the header, then what `import` of a table or of timers takes. Both ways of a snapshot give the same state.
//! 3. A table that its operator is done with stays until its walk is: the operator lets go of it by
//!    [`TaskContext::retire`].

use wiesel_state::{Table, WalkedState};

use crate::{Snapshot, TaskContext};

/// A table of an operator, or its timers of one kind.
pub struct TablePart<'t> {
    /// Of the parts that it is in.
    pub name: &'t str,
    /// What those parts begin with.
    pub header: &'t [u8],
    /// The rows, or the timers.
    pub table: &'t mut dyn WalkedState,
}

/// Is shown tables.
pub type VisitTable<'v> = dyn FnMut(TablePart<'_>) + 'v;

/// A table that is only walked any more.
pub(crate) struct Retired {
    name: String,
    header: Vec<u8>,
    table: Table,
}

impl Snapshot {
    /// Adds all that is in the tables that are shown, unless they are walked.
    pub(crate) fn put_tables(&mut self, show: impl FnOnce(&mut VisitTable<'_>)) {
        if self.is_without_tables() {
            return;
        }
        show(&mut |part| {
            let TablePart { name, header, table } = part;
            table.export(&mut |group, bytes| self.put(name, Some(group), [header, bytes].concat()));
        });
    }
}

impl TaskContext {
    /// Takes a table that its operator has no use for any more: at once if no snapshot needs it.
    pub(crate) fn retire(&self, name: &str, header: &[u8], table: Table) {
        if table.is_walking() {
            let (name, header) = (name.to_owned(), header.to_vec());
            self.retired().borrow_mut().push(Retired { name, header, table });
        }
    }

    /// Shows the tables that are only walked any more, and drops those that are done.
    pub fn visit_retired(&self, visit: &mut VisitTable<'_>) {
        self.retired().borrow_mut().retain_mut(|Retired { name, header, table }| {
            visit(TablePart { name, header, table });
            table.is_walking()
        });
    }
}
