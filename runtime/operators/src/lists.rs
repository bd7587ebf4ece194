//! State without key groups, as checkpoints see it: the lists and maps of a subtask, and windows of a whole stream.
//!
//! ```text
//!   barrier ─▶ flip each ─▶ walk, a slice per turn ─▶ pieces of bytes, one list after the other ─▶ parts of a file
//!   whole   ─▶ written at once ─▶ the parts of a `Snapshot`
//! ```
//!
//! # What is always true
//!
//! 1. A walk gives the state of its flip, all of it, in pieces that follow one another; one walk at a time.
//! 2. Both ways of a snapshot give the same parts.
//! 3. A flip costs nothing that grows with what is kept; a step of a walk costs about its budget, or one element if that is longer.

use wiesel_core::TaskFailure;

use crate::Progress;

/// Something of an operator that has no key groups.
pub struct ListPart<'l> {
    /// Of the operator in its chain.
    pub position: usize,
    /// Of the parts that it is in.
    pub name: &'l str,
    /// It.
    pub list: &'l mut dyn WalkedList,
}

/// Is shown lists.
pub type VisitList<'v> = dyn FnMut(ListPart<'_>) + 'v;

/// What a walk gives.
#[derive(Clone, Copy, Debug)]
pub struct ListPiece<'p> {
    /// A part begins with it. If not, it goes on with the last one.
    pub begins: bool,
    /// Of the part.
    pub bytes: &'p [u8],
}

/// State that is marked at a barrier, and written between turns.
pub trait WalkedList {
    /// The barrier: what is kept at this moment is kept for the walk. The last walk is done.
    fn flip(&mut self);

    /// Whether the last flip's walk is unfinished.
    fn is_walking(&self) -> bool;

    /// Gives the next part of what it was. `buffer` is memory for that.
    ///
    /// # Errors
    ///
    /// If an element is longer than it may be. Then the rest is discarded.
    fn walk(
        &mut self,
        budget_bytes: usize,
        buffer: &mut Vec<u8>,
        out: &mut dyn FnMut(ListPiece<'_>),
    ) -> Result<Progress, TaskFailure>;

    /// Nobody wants the rest of the walk: it gives nothing more.
    fn discard_walk(&mut self);
}
