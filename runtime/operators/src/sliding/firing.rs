//! How a window fires: in steps, each row by row, so that a turn can end behind any of them.
//!
//! ```text
//!   slices            put those in that are new ─▶ emit the total ─▶ take out those that the next window does not read
//!     that stay in    put all in ─▶ emit the total, and empty it
//!   one span          emit it
//! ```

use std::ops::{ControlFlow, Range};

use wiesel_core::{Blame, KeyGroup, Meta, TaskFailure};
use wiesel_record::{Key, Record};
use wiesel_state::{BLOCK_ROWS_MAX, Row, Table};

use super::{SlidingWindows, total::Total};
use crate::{Folding, Link, Pace, TimeWindow, flat_map::Emit};

/// What is done to fire a window, row by row of a table.
#[derive(Clone, Copy)]
pub(super) enum Step {
    /// Emit the keys of a span: the window reads no other.
    Alone(usize),
    /// Put a span into the total.
    Put(usize),
    /// Emit the total.
    Emit,
    /// Take a span out of it that the next window does not read.
    Take(usize),
}

/// Where the firing of a window was stopped: rows of `group` before `row` are done.
#[derive(Clone, Copy)]
pub(super) struct Firing {
    pub(super) window: TimeWindow,
    step: Step,
    group: KeyGroup,
    row: usize,
}

impl<A, K, T> SlidingWindows<A, K, T>
where
    A: Folding<K, T>,
    K: Key,
    T: Record,
{
    /// The first step to fire a window.
    pub(super) fn begin(&self, window: TimeWindow) -> Firing {
        let step = match self.total {
            Some(_) => self.next_step(window, Step::Put(self.spans_of(window).start)),
            None => Some(Step::Alone(self.spans_of(window).start)),
        };
        let group = KeyGroup(self.context.key_groups().first);
        Firing { window, step: step.unwrap_or(Step::Emit), group, row: 0 }
    }

    /// `step`, or the first one behind it that has something to do.
    fn next_step(&self, window: TimeWindow, step: Step) -> Option<Step> {
        let spans = self.spans_of(window);
        match step {
            Step::Alone(at) => (at < spans.end).then_some(step),
            Step::Put(at) => {
                let next = (at..spans.end).find(|at| !self.spans[*at].is_in_total);
                Some(next.map_or(Step::Emit, Step::Put))
            }
            Step::Emit => Some(step),
            Step::Take(at) => {
                let next_start = self.options.windows.next_start(window);
                let leaves = |at: &usize| {
                    let kept = &self.spans[*at];
                    kept.is_in_total && i128::from(kept.span.start.as_millis()) < next_start
                };
                (at..spans.end).find(leaves).map(Step::Take)
            }
        }
    }

    /// Fires a window from where it was stopped.
    pub(super) fn fire<D: Link<A::Out>>(
        &mut self,
        mut from: Firing,
        next: &mut D,
        pace: &mut Pace,
    ) -> Result<(), Firing> {
        let window = from.window;
        loop {
            let mut total = self.total.take();
            let done = match (from.step, total.as_mut()) {
                (Step::Take(at), Some(total)) => self.take_out(total, from, pace, at),
                (Step::Emit, Some(total)) => self.emit(total, from, next, pace),
                (_, total) => self.run(total, from, next, pace),
            };
            self.total = total;
            done?;
            let following = match from.step {
                Step::Alone(at) => Step::Alone(at + 1),
                Step::Put(at) => {
                    self.spans[at].is_in_total = true;
                    Step::Put(at + 1)
                }
                Step::Emit if A::RETRACTS => Step::Take(self.spans_of(window).start),
                Step::Emit => {
                    let spans = self.spans_of(window);
                    self.spans[spans].iter_mut().for_each(|kept| kept.is_in_total = false);
                    return Ok(());
                }
                Step::Take(at) => {
                    self.spans[at].is_in_total = false;
                    Step::Take(at + 1)
                }
            };
            let Some(step) = self.next_step(window, following) else { return Ok(()) };
            from =
                Firing { window, step, group: KeyGroup(self.context.key_groups().first), row: 0 };
        }
    }

    /// One step.
    fn run<D: Link<A::Out>>(
        &self,
        total: Option<&mut Total<A, K, T>>,
        from: Firing,
        next: &mut D,
        pace: &mut Pace,
    ) -> Result<(), Firing> {
        let (window, folding) = (from.window, &self.folding);
        match (from.step, total) {
            (Step::Alone(at), _) => {
                let emit = &mut Emit { next, meta: Meta::at(window.max_timestamp()) };
                self.each_group(from, |from| {
                    each_row(from, pace, &self.spans[at].table, |row| {
                        K::with_key(row.key(), |key| {
                            self.cell.with(row, |acc| folding.emit(key, window, acc, emit));
                        });
                    })
                })
            }
            (Step::Put(at), Some(total)) => self.each_group(from, |from| {
                self.each_part_of(from, pace, at, total, |total, hash, key, part| {
                    total.put(folding, hash, key, part)
                })
            }),
            (Step::Emit | Step::Take(_), _) | (Step::Put(_), None) => Ok(()),
        }
    }

    /// Emits the total; it is emptied on the way if nothing can be taken out of it.
    fn emit<D: Link<A::Out>>(
        &self,
        total: &mut Total<A, K, T>,
        from: Firing,
        next: &mut D,
        pace: &mut Pace,
    ) -> Result<(), Firing> {
        let (window, folding) = (from.window, &self.folding);
        let emit = &mut Emit { next, meta: Meta::at(window.max_timestamp()) };
        self.each_group(from, |from| {
            each_row(from, pace, total.table(), |row| {
                K::with_key(row.key(), |key| {
                    total.with(row, |acc| folding.emit(key, window, acc, emit));
                });
            })?;
            if !A::RETRACTS {
                total.empty_group(from.group);
            }
            Ok(())
        })
    }

    /// Calls `act` for each key group, from where it was stopped.
    fn each_group(
        &self,
        from: Firing,
        mut act: impl FnMut(Firing) -> Result<(), Firing>,
    ) -> Result<(), Firing> {
        (from.group.0..self.context.key_groups().end).map(KeyGroup).try_for_each(|group| {
            act(if group == from.group { from } else { Firing { group, row: 0, ..from } })
        })
    }

    /// Calls `act` for what a span has of each key of a key group. A turn ends behind a block of them, since what the
    /// total has of all its keys is fetched together.
    #[inline]
    fn each_part_of(
        &self,
        from: Firing,
        pace: &mut Pace,
        at: usize,
        total: &mut Total<A, K, T>,
        mut act: impl FnMut(
            &mut Total<A, K, T>,
            u64,
            &[u8],
            <A::Acc as Record>::View<'_>,
        ) -> Result<(), TaskFailure>,
    ) -> Result<(), Firing> {
        let (mut hashes, mut is_over) = ([0; BLOCK_ROWS_MAX], false);
        let visited = self.spans[at].table.visit_blocks(from.group, from.row, |block| {
            for (row, hash) in block.iter().zip(&mut hashes) {
                *hash = K::with_key(row.key(), |view| K::key_hash(view));
                total.prefetch(*hash);
            }
            for (row, hash) in block.iter().zip(&hashes) {
                let acted = self.cell.with(&row, |part| act(total, *hash, row.key(), part));
                if let Some(Err(failure)) = acted {
                    self.context.fail(failure);
                }
                is_over = is_over || pace.is_over();
            }
            if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        visited.map_err(|row| Firing { row, ..from })
    }

    /// Takes a span out of the total. One that nobody will read is emptied on the way.
    fn take_out(
        &mut self,
        total: &mut Total<A, K, T>,
        from: Firing,
        pace: &mut Pace,
        at: usize,
    ) -> Result<(), Firing> {
        let is_over = self.options.allowed_lateness.is_zero();
        if is_over {
            self.spans[at].table.stop_tracking(); // No snapshot will have it any more.
        }
        for group in (from.group.0..self.context.key_groups().end).map(KeyGroup) {
            let from = if group == from.group { from } else { Firing { group, row: 0, ..from } };
            self.each_part_of(from, pace, at, total, |total, hash, key, part| {
                total.take(&self.folding, hash, key, part)
            })?;
            if is_over {
                self.spans[at].table.empty_group(group);
            }
        }
        Ok(())
    }

    /// Fires a key again in all windows over a slice that have fired and are not over.
    #[cold]
    pub(super) fn fire_again<D: Link<A::Out>>(
        &mut self,
        at: usize,
        key: K::View<'_>,
        hash: u64,
        next: &mut D,
    ) {
        let mut scratch = std::mem::take(&mut self.scratch);
        for window in self.readers(self.spans[at].span) {
            if self.is_over(window) || !self.has_fired(window) {
                continue;
            }
            let spans = self.spans_of(window);
            let merged =
                K::with_key_bytes(key, &mut scratch, |bytes| self.merged(None, spans, hash, bytes));
            match merged {
                Ok(acc) => {
                    let emit = &mut Emit { next, meta: Meta::at(window.max_timestamp()) };
                    acc.iter().for_each(|acc| self.folding.emit(key, window, acc.view(), emit));
                }
                Err(failure) => self.context.fail(failure),
            }
        }
        self.scratch = scratch;
    }

    /// The accumulator of a key in all of `spans` that have it; none if none has.
    fn merged(
        &self,
        mut acc: Option<A::Acc>,
        spans: Range<usize>,
        hash: u64,
        key: &[u8],
    ) -> Result<Option<A::Acc>, TaskFailure> {
        for kept in &self.spans[spans] {
            let Some(row) = kept.table.find(hash, key) else { continue };
            let merged = match &mut acc {
                None => {
                    acc = self.cell.load(&row);
                    None
                }
                Some(acc) => self.cell.with(&row, |other| self.folding.merge(acc, other)),
            };
            if let Some(Err(error)) = merged {
                return Err(TaskFailure::new(Blame::Job, "aggregate a record", error));
            }
        }
        Ok(acc)
    }
}

/// Calls `act` for each row of a key group, from where it was stopped.
fn each_row(
    from: Firing,
    pace: &mut Pace,
    table: &Table,
    mut act: impl FnMut(&Row<'_>),
) -> Result<(), Firing> {
    let visited = table.visit_group(from.group, from.row, |row| {
        act(&row);
        if pace.is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    visited.map_err(|row| Firing { row, ..from })
}
