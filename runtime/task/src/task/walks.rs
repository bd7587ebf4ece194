//! The tables, timers and lists of a task in checkpoints: flipped at the cut, walked between turns, as an increment where that is possible.
//!
//! ```text
//!   flip(7) ─▶ each table: Base │ Increment ─▶ walk, walk, … ─▶ Done ─▶ completed(7) ─▶ flip(8): increments
//!                                                 └─ abort(7): the rest is discarded ─▶ flip(8): bases
//! ```
//!
//! Timers are tables here that do not track what changes: each of their walks gives them all. So does each walk of a list (what
//! an operator keeps without key groups); they come behind the tables.
//!
//! # What is always true
//!
//! 1. An increment is relative to a checkpoint that is complete, and the last one that the table was flipped for. Whatever
//!    else was tried in between, what comes next is a base.
//! 2. One walk at a time: a flip during another is refused.
//! 3. The increments of a key group are never much more than its base: then the group becomes a base again, the groups
//!    that need it most first, and no more of them at once than the last increment was long or a part of the base is.
//! 4. What cannot be written fails its checkpoint, not the task.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;

use wiesel_core::{CheckpointId, KeyGroup, KeyGroupRange, Mutant, TaskFailure};
use wiesel_operators::{
    Head, ListPart, ListPiece, Progress, TablePart, TaskContext, VisitList, VisitTable,
};
use wiesel_state::{Piece, Scope};

use super::Task;

/// A group with so many increments becomes a base again, however short they are: its parts are listed in every manifest.
const INCREMENTS_MAX: u32 = 32;

/// Bytes of bases that are always written again if they need it.
const REBASE_BYTES: u64 = 64 << 10;

/// What a walk gives.
#[derive(Clone, Copy, Debug)]
pub enum Walked<'w> {
    /// The table is part of the checkpoint. Once for each, before its pieces; also if none follow.
    Table {
        /// Of its parts.
        name: &'w str,
        /// What its parts begin with.
        header: &'w [u8],
    },
    /// Rows of one of its key groups. What the checkpoint before had of the group is still needed, unless it begins anew.
    Piece {
        /// As of the table.
        name: &'w str,
        /// As of the table.
        header: &'w [u8],
        /// The rows.
        piece: Piece<'w>,
    },
    /// What an operator keeps without key groups: all of it, in pieces that follow one another.
    List {
        /// Of the operator in its chain.
        position: usize,
        /// Of its parts.
        name: &'w str,
        /// Of a part.
        piece: ListPiece<'w>,
    },
    /// Something is longer than it may be: there can be no such checkpoint, and nothing more comes of it.
    Failed(&'w TaskFailure),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Walking(CheckpointId),
    /// Nobody wants it any more.
    Discarding,
}

/// What was written of a key group.
#[derive(Clone, Copy, Default)]
struct Written {
    base: u64,
    increments: u64,
    count: u32,
    /// By the walk at hand, or the last one.
    is_whole: bool,
    is_touched: bool,
}

/// What is known of a table.
struct Chain {
    name: String,
    header: Vec<u8>,
    first: u16,
    groups: Vec<Written>,
    /// What the last walk has written.
    last_bytes: u64,
    rebase: Vec<KeyGroup>,
    is_announced: bool,
}

/// The walks of one task.
pub(super) struct Walks {
    is_incremental: bool,
    state: State,
    /// The last flip.
    last: Option<CheckpointId>,
    /// It is complete.
    is_complete: bool,
    /// The tables of the last flip, in their order.
    chains: Vec<Chain>,
    buffer: Vec<u8>,
}

impl Walks {
    pub(super) fn new(is_incremental: bool) -> Self {
        Self {
            is_incremental,
            state: State::Idle,
            last: None,
            is_complete: false,
            chains: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// The cut of a checkpoint; says whether there can be one.
    pub(super) fn flip(&mut self, checkpoint: CheckpointId, head: &mut dyn Head) -> bool {
        if self.state != State::Idle {
            return false;
        }
        let is_complete = self.is_complete || Mutant::IncrementOfNothing.is_chosen();
        let may_increment = self.is_incremental && is_complete;
        let mut before = std::mem::take(&mut self.chains);
        let mut has_flipped = true;
        head.tables(&mut |TablePart { name, header, table }| {
            let known = before.iter().position(|chain| chain.is_of(name, header));
            // Both are in the order of the tables: those in between are gone.
            let known = known.and_then(|at| before.drain(..=at).next_back());
            let known = known.filter(|_| may_increment && table.is_tracking());
            let scope = match (&known, self.is_incremental) {
                (_, false) => Scope::Full,
                (None, true) => Scope::Base,
                (Some(_), true) => Scope::Increment,
            };
            let mut chain = known.unwrap_or_else(|| Chain::new(name, header, table.range()));
            chain.begin();
            chain.rebase.drain(..).for_each(|group| table.rebase(group));
            has_flipped &= table.flip(scope).is_ok();
            self.chains.push(chain);
        });
        head.lists(&mut |part| part.list.flip());
        debug_assert!(has_flipped, "no table is walked, and an increment has its base");
        self.state = State::Walking(checkpoint);
        (self.last, self.is_complete) = (Some(checkpoint), false);
        true
    }

    /// Gives the next part of the tables and lists.
    fn walk(
        &mut self,
        budget_bytes: usize,
        (head, context): (&mut dyn Head, &TaskContext),
        out: &mut dyn FnMut(Walked<'_>),
    ) -> Progress {
        let (mut left, mut is_over) = (budget_bytes, true);
        let is_wanted = matches!(self.state, State::Walking(_));
        let Self { chains, buffer, .. } = self;
        // All at once: who looked at each table in every step would look too often where windows have many slices.
        for chain in chains.iter_mut().filter(|_| is_wanted) {
            if !std::mem::replace(&mut chain.is_announced, true) {
                out(Walked::Table { name: &chain.name, header: &chain.header });
            }
        }
        let visit: &mut VisitTable<'_> = &mut |TablePart { name, header, table }| {
            if !table.is_walking() {
                return;
            }
            if left == 0 {
                is_over = false;
                return;
            }
            let chain = chains.iter_mut().find(|chain| chain.is_of(name, header));
            let Some(chain) = chain else { return };
            let mut given = 0;
            let progress = table.walk_pieces(left, buffer, &mut |piece| {
                given += piece.bytes.len();
                chain.note(&piece);
                out(Walked::Piece { name, header, piece });
            });
            match progress {
                wiesel_state::Progress::Done => left = left.saturating_sub(given + 1),
                wiesel_state::Progress::More => (left, is_over) = (0, false),
            }
        };
        context.visit_retired(visit);
        head.tables(visit);
        let mut failure = None;
        let visit: &mut VisitList<'_> = &mut |ListPart { position, name, list }| {
            if !list.is_walking() || failure.is_some() {
                return;
            }
            if left == 0 {
                is_over = false;
                return;
            }
            let mut given = 0;
            let progress = list.walk(left, buffer, &mut |piece| {
                given += piece.bytes.len();
                out(Walked::List { position, name, piece });
            });
            match progress {
                Ok(Progress::Done) => left = left.saturating_sub(given + 1),
                Ok(Progress::Stopped) => (left, is_over) = (0, false),
                Err(error) => failure = Some(error),
            }
        };
        // Behind the tables: when they are done, no piece of one comes between those of a list.
        head.lists(visit);
        if let (Some(failure), State::Walking(checkpoint)) = (failure, self.state) {
            self.discard(checkpoint, (head, context));
            out(Walked::Failed(&failure));
            return Progress::Stopped;
        }
        if !is_over {
            return Progress::Stopped;
        }
        self.state = State::Idle;
        self.chains.iter_mut().for_each(Chain::choose_rebase);
        Progress::Done
    }

    /// Nobody wants what is left of the walk for this checkpoint.
    fn discard(
        &mut self,
        checkpoint: CheckpointId,
        (head, context): (&mut dyn Head, &TaskContext),
    ) {
        if self.state == State::Walking(checkpoint) {
            self.state = State::Discarding;
            context.visit_retired(&mut |part| part.table.discard_walk());
            head.tables(&mut |part| part.table.discard_walk());
            head.lists(&mut |part| part.list.discard_walk());
        }
    }

    /// A checkpoint is complete.
    pub(super) fn completed(&mut self, checkpoint: CheckpointId) {
        self.is_complete |= self.last == Some(checkpoint);
    }
}

impl Chain {
    fn new(name: &str, header: &[u8], range: KeyGroupRange) -> Self {
        Self {
            name: name.to_owned(),
            header: header.to_vec(),
            first: range.first,
            groups: vec![Written::default(); range.len()],
            last_bytes: 0,
            rebase: Vec::new(),
            is_announced: false,
        }
    }

    fn is_of(&self, name: &str, header: &[u8]) -> bool {
        self.header == header && self.name == name
    }

    /// A walk begins.
    fn begin(&mut self) {
        (self.last_bytes, self.is_announced) = (0, false);
        for group in &mut self.groups {
            (group.is_whole, group.is_touched) = (false, false);
        }
    }

    fn note(&mut self, piece: &Piece<'_>) {
        let Some(group) = self.groups.get_mut(usize::from(piece.group.0 - self.first)) else {
            return;
        };
        let bytes = piece.bytes.len() as u64;
        if piece.begins {
            *group = Written { is_whole: true, is_touched: true, ..Written::default() };
        }
        if group.is_whole {
            group.base += bytes;
        } else {
            group.increments += bytes;
            group.count += u32::from(!std::mem::replace(&mut group.is_touched, true));
            self.last_bytes += bytes;
        }
    }

    /// Invariant 3.
    fn choose_rebase(&mut self) {
        let total: u64 = self.groups.iter().map(|group| group.base).sum();
        let share = total / u64::from(INCREMENTS_MAX);
        let mut room = self.last_bytes.max(share).max(REBASE_BYTES);
        let needs = |group: &Written| {
            group.increments > group.base / 2 || group.count >= INCREMENTS_MAX / 2
        };
        let groups = (self.first..).zip(&self.groups).filter(|(_, group)| needs(group));
        let mut groups: Vec<(u16, Written)> = groups.map(|(at, group)| (at, *group)).collect();
        groups.sort_by_key(|(_, group)| {
            let share = group.increments * 64 / group.base.max(1);
            Reverse(share.max(u64::from(group.count) * 64 / u64::from(INCREMENTS_MAX)))
        });
        for (at, group) in groups {
            let Some(left) = room.checked_sub(group.base) else { break };
            room = left;
            self.rebase.push(KeyGroup(at));
        }
    }
}

impl Task {
    /// Whether tables and lists are still walked, for a checkpoint that has been cut or for one that nobody wants any more.
    pub fn is_walking(&self) -> bool {
        self.walks.state != State::Idle
    }

    /// Whether what is walked goes nowhere: the checkpoint was given up.
    pub fn is_discarding(&self) -> bool {
        self.walks.state == State::Discarding
    }

    /// Gives the next part of the tables and lists of the last cut, until `budget_bytes` are passed.
    pub fn walk(&mut self, budget_bytes: usize, out: &mut dyn FnMut(Walked<'_>)) -> Progress {
        let Self { walks, head, context, .. } = self;
        walks.walk(budget_bytes, (head.as_mut(), context), out)
    }

    pub(super) fn discard_walk(&mut self, checkpoint: CheckpointId) {
        let Self { walks, head, context, .. } = self;
        walks.discard(checkpoint, (head.as_mut(), context));
    }
}
