//! All rows, key group by key group. `unsafe`: see `table.rs`.

use super::*;
use crate::segment::ROWS;

/// The rows of some key groups, in order of the groups; within one, in an order that depends only on how
/// the table came to be.
pub struct Rows<'t> {
    table: &'t Table,
    segment: Segment,
    odd: bool,
    at: u32,
    row: u32,
    /// Where the current segment starts, the next one, and the end.
    here: u64,
    next: u64,
    end: u64,
}

/// How far a pass over a table has come; see [`Table::scan`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanCursor(u64);

impl Table {
    /// The next step of a pass over all rows, while the table is written in between: the rows of one segment, or none
    /// if the pass is over. A row that is there during the whole pass is given once.
    ///
    /// ```
    /// use wiesel_core::KeyGroupRange;
    /// use wiesel_state::{KeyLayout, RowLayout, ScanCursor, Table};
    ///
    /// let layout = RowLayout::of_value(KeyLayout::Word { bytes: 1 }, |key| key[0].into(), 8)?;
    /// let mut table = Table::new(layout, KeyGroupRange::all(4), 4);
    /// table.upsert(7, &[7]);
    /// let (mut cursor, mut seen) = (ScanCursor::default(), 0);
    /// while let Some(rows) = table.scan(&mut cursor) {
    ///     seen += rows.count();
    /// }
    /// assert_eq!(seen, 1);
    /// # Ok::<(), wiesel_state::TableError>(())
    /// ```
    pub fn scan(&self, cursor: &mut ScanCursor) -> Option<Rows<'_>> {
        if cursor.0 >= (self.range.len() as u64) << 32 {
            return None;
        }
        let (first, (_, next)) = (cursor.0, self.segment_and_next(cursor.0));
        cursor.0 = next;
        Some(self.rows_between(first, next))
    }

    /// All rows, in order of their key groups.
    pub fn iter(&self) -> Rows<'_> {
        self.rows_between(0, (self.range.len() as u64) << 32)
    }

    /// The rows of one key group; none if it is not of this table.
    pub fn group(&self, group: KeyGroup) -> Rows<'_> {
        if !self.range.contains(group) {
            return self.rows_between(0, 0);
        }
        let first = u64::from(group.0 - self.range.first) << 32;
        self.rows_between(first, first + (1 << 32))
    }

    fn rows_between(&self, first: u64, end: u64) -> Rows<'_> {
        let segment = Segment::none();
        Rows { table: self, segment, odd: false, at: 1, row: 0, here: first, next: first, end }
    }

    /// The segment at a spot, and where the next one starts.
    pub(super) fn segment_and_next(&self, spot: u64) -> (Segment, u64) {
        let segment = self.segment_at(spot);
        // SAFETY: in the directory, so live.
        let depth = if segment.is_none() { 0 } else { unsafe { segment.depth() } };
        let width = 32 - depth;
        (segment, ((spot >> width) + 1) << width)
    }

    /// The segment of the odd row, if it belongs to the group that ends at `end`.
    pub(super) fn odd_of(&self, end: u64) -> Option<Segment> {
        let (spot, segment) = self.odd?;
        (spot + 1 == end).then_some(segment)
    }
}

impl<'t> Iterator for Rows<'t> {
    type Item = (KeyGroup, Row<'t>);

    fn next(&mut self) -> Option<Self::Item> {
        let (table, shape) = (self.table, self.table.shape);
        loop {
            while self.at < self.segment.groups() {
                let group = self.segment.group(shape, self.at);
                let place = Place { group, at: self.at, row: self.row, found: true };
                self.row += 1;
                if self.row == ROWS as u32 {
                    (self.at, self.row) = (self.at + 1, 0);
                }
                // SAFETY: a row of a segment of the table, which is borrowed for `'t`.
                unsafe {
                    let word = place.word() & self.segment.key_bits();
                    if word != EMPTY {
                        let word = if self.odd { EMPTY } else { word };
                        let row = Row::new(&table.layout, word, place.area(shape));
                        return Some((table.group_of(self.here), row));
                    }
                }
            }
            match table.odd_of(self.next).filter(|_| !self.odd && self.next > self.here) {
                Some(segment) => (self.segment, self.odd) = (segment, true),
                None if self.next >= self.end => return None,
                None => {
                    self.here = self.next;
                    (self.segment, self.next) = table.segment_and_next(self.here);
                    self.odd = false;
                }
            }
            (self.at, self.row) = (0, 0);
        }
    }
}

impl<'t> IntoIterator for &'t Table {
    type Item = (KeyGroup, Row<'t>);
    type IntoIter = Rows<'t>;

    fn into_iter(self) -> Rows<'t> {
        self.iter()
    }
}
