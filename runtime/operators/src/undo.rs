//! What a store was at a barrier, while it is written and walked: for lists, maps and windows that have no key groups.
//!
//! ```text
//!   the store:  ── passed ──▶ cursor ── not passed ──▶ end      of the flip, and what was made behind it, in one order
//!   kept:                          ▓    ▓▓                      of the flip, taken away or replaced before it was passed
//!   a walk:     the first of both, again and again
//! ```
//!
//! # What is always true
//!
//! 1. The walk of a flip gives exactly the elements of the flip, as they were, each once, in their order.
//! 2. A flip costs the same for any number of elements. A step of a walk costs its budget and at most one element more.
//! 3. What is kept for a walk is what was taken away or replaced since the flip and is not given yet. It is moved here, not copied,
//!    unless it is changed where it is. An element that is made behind the flip costs the walk nothing but to pass it.
//! 4. A walk that nobody wants keeps nothing more, and frees what it has kept in steps as well.
//!
//! Why 1: an element of the flip leaves its store only through [`keep`](Undo::keep) or behind the cursor. So at any time those
//! that are not given are the kept ones and those of the flip that are in the store ahead of the cursor.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, btree_map::OccupiedEntry},
};

use crate::Progress;

/// What a step counts for an element beside its bytes: a line or two that nobody has had of late.
const ELEMENT_COST_BYTES: usize = 96;

/// Of a store of elements `E`, in the order of `Q`.
pub(crate) struct Undo<Q, E> {
    flips: u64,
    walk: Option<Walk<Q>>,
    kept: BTreeMap<Q, E>,
}

struct Walk<Q> {
    /// The elements up to here are given.
    passed: Option<Q>,
    /// Nobody wants the rest.
    is_discarded: bool,
}

impl<Q, E> Default for Undo<Q, E> {
    fn default() -> Self {
        Self { flips: 0, walk: None, kept: BTreeMap::new() }
    }
}

impl<Q: Ord + Clone, E> Undo<Q, E> {
    /// How many flips there were: what is made now was made behind so many.
    #[inline]
    pub(crate) fn flips(&self) -> u64 {
        self.flips
    }

    #[inline]
    pub(crate) fn is_walking(&self) -> bool {
        self.walk.is_some()
    }

    /// The barrier. The last walk is done.
    pub(crate) fn flip(&mut self) {
        assert!(self.walk.is_none() && self.kept.is_empty(), "one walk at a time");
        self.flips += 1;
        self.walk = Some(Walk { passed: None, is_discarded: false });
    }

    /// Nobody wants the rest of the walk.
    pub(crate) fn discard(&mut self) {
        if let Some(walk) = &mut self.walk {
            walk.is_discarded = true;
        }
    }

    /// Whether an element that was made behind so many flips is still to be given as it is: who changes it has to keep it first.
    #[inline]
    pub(crate) fn wants<B: Ord + ?Sized>(&self, at: &B, made: u64) -> bool
    where
        Q: Borrow<B>,
    {
        let Some(walk) = &self.walk else { return false };
        let is_ahead = walk.passed.as_ref().is_none_or(|passed| passed.borrow() < at);
        made < self.flips && is_ahead && !walk.is_discarded
    }

    /// Keeps an element that is [wanted](Self::wants).
    pub(crate) fn keep(&mut self, at: Q, element: E) {
        let before = self.kept.insert(at, element);
        debug_assert!(before.is_none(), "of the flip there is one");
    }

    /// Goes on until `budget_bytes` are counted, by one element at least, or until all are given. `ahead` is what the store has
    /// behind a place, in order, and whether that is of the flip; `give` says how many bytes an element took.
    ///
    /// # Errors
    ///
    /// What `give` says. Then nobody wants the rest.
    pub(crate) fn step<'s, I, X>(
        &mut self,
        budget_bytes: usize,
        ahead: impl FnOnce(Option<&Q>) -> I,
        mut give: impl FnMut(&Q, &E) -> Result<usize, X>,
    ) -> Result<Progress, X>
    where
        I: Iterator<Item = (&'s Q, &'s E, bool)>,
        Q: 's,
        E: 's,
    {
        let Some(walk) = &mut self.walk else { return Ok(Progress::Done) };
        let mut cost = 0;
        if walk.is_discarded {
            while self.kept.pop_first().is_some() {
                cost += ELEMENT_COST_BYTES;
                if cost >= budget_bytes {
                    return Ok(Progress::Stopped);
                }
            }
            self.walk = None;
            return Ok(Progress::Done);
        }
        let mut ahead = ahead(walk.passed.as_ref()).peekable();
        loop {
            let kept = self.kept.first_entry();
            let (passed, given) = match (ahead.peek(), kept) {
                // One that is in both was replaced.
                (Some((at, ..)), Some(kept)) if kept.key() <= *at => give_kept(kept, &mut give),
                (None, Some(kept)) => give_kept(kept, &mut give),
                (Some((at, element, is_of_flip)), _) => {
                    let given = if *is_of_flip { give(at, element) } else { Ok(0) };
                    let passed = Passed::InStore(*at);
                    ahead.next();
                    (passed, given)
                }
                (None, None) => {
                    self.walk = None;
                    return Ok(Progress::Done);
                }
            };
            match given {
                Ok(bytes) => cost += ELEMENT_COST_BYTES + bytes,
                Err(error) => {
                    walk.is_discarded = true;
                    return Err(error);
                }
            }
            if cost >= budget_bytes {
                walk.passed = Some(match passed {
                    Passed::InStore(at) => at.clone(),
                    Passed::Kept(at) => at,
                });
                return Ok(Progress::Stopped);
            }
        }
    }
}

/// The place of what was passed last.
enum Passed<'s, Q> {
    InStore(&'s Q),
    Kept(Q),
}

fn give_kept<'s, Q: Ord, E, X>(
    kept: OccupiedEntry<'_, Q, E>,
    give: &mut impl FnMut(&Q, &E) -> Result<usize, X>,
) -> (Passed<'s, Q>, Result<usize, X>) {
    let (at, element) = kept.remove_entry();
    let given = give(&at, &element);
    (Passed::Kept(at), given)
}
