//! The rows of a key group one after the other, for loops over all of them: windows that fire, slices that are added up.
//!
//! ```text
//!   group   k . k k │ . . k . │ k k . .        half of the places are empty, at random
//!   block   k k k k k k …                      gathered without a branch, then given to the loop
//! ```
//!
//! A branch on each place would be mispredicted for every second row, and cost as much as what is done with it.
//!
//! `unsafe`: see `table.rs`. **What a block names are rows of the table, which is borrowed for as long.**

use std::{mem::MaybeUninit, ops::ControlFlow};

use super::*;
use crate::segment::ROWS;

/// Rows at which a block is given: as many as lines are fetched ahead of their use.
const BLOCK_ROWS: usize = AHEAD_MAX;

/// The most rows of a block: a group is taken as a whole.
pub const BLOCK_ROWS_MAX: usize = BLOCK_ROWS + ROWS - 1;

/// Some rows of a key group, in their order.
pub struct RowBlock<'t> {
    layout: &'t RowLayout,
    /// Word and area; the first `len` are there, and the first `done` of those are not given.
    rows: [MaybeUninit<(u64, *mut u8)>; BLOCK_ROWS_MAX + 1],
    len: usize,
    done: usize,
    /// How many rows of the key group come before these.
    before: usize,
}

impl<'t> RowBlock<'t> {
    fn new(layout: &'t RowLayout) -> Self {
        Self {
            layout,
            rows: [MaybeUninit::uninit(); BLOCK_ROWS_MAX + 1],
            len: 0,
            done: 0,
            before: 0,
        }
    }

    /// How many, at most [`BLOCK_ROWS_MAX`].
    #[inline]
    pub fn len(&self) -> usize {
        self.len - self.done
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Row<'t>> + '_ {
        let layout = self.layout;
        self.rows[self.done..self.len].iter().map(move |row| {
            // SAFETY: one of the first `len`, so written; the row's table is borrowed for `'t`.
            unsafe {
                let (word, area) = row.assume_init();
                Row::new(layout, word, area)
            }
        })
    }

    /// Its rows are done, and so many behind them.
    #[inline(always)]
    fn pass(&mut self, more: usize) {
        self.before += self.len + more;
        self.len = 0;
    }

    /// Adds the rows of a group.
    ///
    /// # Safety
    ///
    /// The group is of a live segment of the table, and there is room for [`ROWS`] more.
    #[inline(always)]
    unsafe fn gather(&mut self, shape: Shape, group: *mut u8, key_bits: u64) {
        #[cfg(test)]
        GATHERED.set(GATHERED.get() + 1);
        for row in 0..ROWS as u32 {
            let place = Place { group, at: 0, row, found: true };
            // SAFETY: a row of the group.
            let word = unsafe { place.word() } & key_bits;
            self.rows[self.len].write((word, place.area(shape)));
            self.len += usize::from(word != EMPTY);
        }
    }
}

impl Table {
    /// Calls `act` for the rows of a key group, in the order of [`Table::group`] and without the first `skip`, until it
    /// breaks.
    ///
    /// # Errors
    ///
    /// If it broke: how many rows of the group are done, the skipped ones too.
    #[inline]
    pub fn visit_group<'t>(
        &'t self,
        group: KeyGroup,
        skip: usize,
        mut act: impl FnMut(Row<'t>) -> ControlFlow<()>,
    ) -> Result<(), usize> {
        self.gathered(group, skip, |block| {
            for (at, row) in block.iter().enumerate() {
                if act(row).is_break() {
                    return Err(block.done + at + 1);
                }
            }
            Ok(())
        })
    }

    /// As [`Table::visit_group`], some rows at a time: for who brings closer what each of them needs before it acts on
    /// the first.
    ///
    /// # Errors
    ///
    /// If `act` broke: how many rows of the group are done, the whole last block and the skipped ones too.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    ///
    /// use wiesel_core::{KeyGroup, KeyGroupRange};
    /// use wiesel_state::{KeyLayout, RowLayout, Table};
    ///
    /// let layout = RowLayout::of_value(KeyLayout::Word { bytes: 1 }, |key| key[0].into(), 8)?;
    /// let mut table = Table::new(layout, KeyGroupRange::all(1), 1);
    /// (0..100).for_each(|key| drop(table.upsert(key.into(), &[key])));
    /// let (mut sum, mut blocks) = (0, 0);
    /// let visited = table.visit_blocks(KeyGroup(0), 0, |block| {
    ///     sum += block.iter().map(|row| u32::from(row.key()[0])).sum::<u32>();
    ///     blocks += 1;
    ///     ControlFlow::Continue(())
    /// });
    /// assert!(visited.is_ok() && sum == 4_950 && blocks < 5);
    /// # Ok::<(), wiesel_state::TableError>(())
    /// ```
    #[inline]
    pub fn visit_blocks<'t>(
        &'t self,
        group: KeyGroup,
        skip: usize,
        mut act: impl FnMut(&RowBlock<'t>) -> ControlFlow<()>,
    ) -> Result<(), usize> {
        self.gathered(group, skip, |block| match !block.is_empty() && act(block).is_break() {
            true => Err(block.len),
            false => Ok(()),
        })
    }

    /// Calls `act` with each block; an error is how many of its rows are done, the skipped ones too. Segments of which all
    /// rows are skipped are not looked at: a visit that goes on costs no more than a segment.
    #[inline(always)]
    fn gathered<'t>(
        &'t self,
        group: KeyGroup,
        skip: usize,
        mut act: impl FnMut(&RowBlock<'t>) -> Result<(), usize>,
    ) -> Result<(), usize> {
        if !self.range.contains(group) {
            return Ok(());
        }
        let mut block = RowBlock::new(&self.layout);
        let mut spot = u64::from(group.0 - self.range.first) << 32;
        let end = spot + (1 << 32);
        let mut flush = |block: &mut RowBlock<'t>| {
            block.done = skip.saturating_sub(block.before).min(block.len);
            act(block).map_err(|done| block.before + done)?;
            block.pass(0);
            Ok(())
        };
        while spot < end {
            let (segment, next) = self.segment_and_next(spot);
            // SAFETY: in the directory, so live.
            let rows = unsafe { segment.len() } as usize;
            if block.before + block.len + rows <= skip {
                block.pass(rows);
                spot = next;
                continue;
            }
            let key_bits = segment.key_bits();
            for at in 0..segment.groups() {
                // SAFETY: a group of a segment in the directory, so live; a block that is full was just flushed.
                unsafe { block.gather(self.shape, segment.group(self.shape, at), key_bits) };
                if block.len >= BLOCK_ROWS {
                    flush(&mut block)?;
                }
            }
            spot = next;
        }
        if let Some(odd) = self.odd_of(end) {
            // Its row is the first of its segment, with another word. There is room: a full block was flushed.
            block.rows[block.len].write((EMPTY, segment::area(self.shape, odd.base(), 0)));
            block.len += 1;
        }
        if block.len > 0 { flush(&mut block) } else { Ok(()) }
    }
}

#[cfg(test)]
thread_local! {
    /// Groups that were looked at.
    static GATHERED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(key: u64) -> u64 {
        key.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    fn hash_of(key: &[u8]) -> u64 {
        hash(u64::from_le_bytes(key.try_into().unwrap()))
    }

    #[test]
    fn a_visit_that_goes_on_does_not_begin_anew() {
        let layout = RowLayout::of_value(KeyLayout::Word { bytes: 8 }, hash_of, 8).unwrap();
        let mut table = Table::new(layout, KeyGroupRange::all(1), 1);
        const ROWS: u64 = 100_000;
        for key in (0..ROWS - 1).chain([u64::MAX]) {
            table.upsert(hash(key), &key.to_le_bytes());
        }
        let (mut done, mut visits) = (0, 0);
        GATHERED.set(0);
        loop {
            let (from, mut left) = (done, 1_000);
            let visited = table.visit_group(KeyGroup(0), from, |_| {
                left -= 1;
                if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            visits += 1;
            match visited {
                Err(seen) => done = seen,
                Ok(()) => break,
            }
        }
        // All groups once, half full at least, and for each visit what is done of one segment, of at most 64 KiB.
        let most = ROWS as usize * 2 / crate::segment::ROWS + visits * (64 << 10) / 64;
        assert!(visits > 90 && GATHERED.get() < most, "{} of {most}", GATHERED.get());
    }
}
