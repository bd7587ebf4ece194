//! The state table: segments behind a directory, found by hash, probed a group at a time. `unsafe` lives
//! here and in `table/`: **every segment in the directory is live and owned by this table alone, a segment
//! leaves the directory before it is freed, and no row outlives the borrow of the table that it came from.**
//!
//! ```text
//!   hash ─┬─ upper half ─ fmix32, modulo ─▶ key group ─┐
//!         └─ lower half ──────────────────────────────┴▶ spot = (group - first) << 32 | lower half
//!                                                         │ top bits: directory ─▶ segment, one load, in L1
//!                                                         ▼ low bits: group of four rows in it
//!   a key of at most 8 bytes is the word;   else the word is the hash and the key a block of the row
//! ```
//!
//! # What is always true
//!
//! 1. The rows of a key group are a run of the directory, so iteration and walks go group by group; a group
//!    that never had rows has no segment.
//! 2. A segment starts with a few rows, grows fourfold up to 64 KiB, then splits. No rehash moves more, but when the
//!    low halves of hashes collide: where splitting would make the directory larger than an eighth of the
//!    rows, a segment goes on doubling. So hashes that are all equal cost linear probes, never memory.
//! 3. A row is touched before it is written: its old state is kept for a snapshot that runs (`walk`), and it
//!    is dirty for the next increment.
//!
//! The map from hash to spot is in `table/spot.rs`.

mod ahead;
mod bytes;
mod clear;
mod export;
mod grow;
mod hint;
mod iter;
mod remove;
mod spot;
mod undo;
mod visit;
mod walk;

use std::{collections::BTreeSet, sync::Arc};

use wiesel_core::{KeyGroup, KeyGroupRange, MAX_PARALLELISM_LIMIT};

pub use ahead::AHEAD_MAX;
pub use export::{Import, Piece};
pub use iter::{Rows, ScanCursor};
pub use spot::{Spot, Spots};
pub use visit::{BLOCK_ROWS_MAX, RowBlock};
pub use walk::{Progress, RowEvent, Scope};

use crate::{
    RowSource,
    arena::{Arena, LINE},
    blocks::{Block, Blocks},
    layout::{KeyLayout, RowLayout},
    pool::Pool,
    residency::KeyBatch,
    row::{Row, RowMut, block_at},
    segment::{self, DIRTY, EMPTY, NARROW, Place, Segment, Shape, Sought, TOUCHED},
};

/// The rows of one operator on one subtask, by key.
///
/// ```
/// use wiesel_core::KeyGroupRange;
/// use wiesel_state::{KeyLayout, RowLayout, Table};
///
/// fn hash(key: &[u8]) -> u64 {
///     key.iter().fold(7, |h, byte| (h ^ u64::from(*byte)).wrapping_mul(0x9E37_79B9_7F4A_7C15))
/// }
/// let layout = RowLayout::of_value(KeyLayout::Bytes, hash, 8)?;
/// let mut table = Table::new(layout, KeyGroupRange::all(128), 128);
/// for word in "to be or not to be".split(' ').map(str::as_bytes) {
///     let mut row = table.upsert(hash(word), word);
///     let count = u64::from_ne_bytes(row.value_mut().try_into().unwrap()) + 1;
///     row.value_mut().copy_from_slice(&count.to_ne_bytes());
/// }
/// assert_eq!(table.len(), 4);
/// assert_eq!(table.find(hash(b"be"), b"be").unwrap().value(), 2_u64.to_ne_bytes());
/// assert!(table.remove(hash(b"or"), b"or") && table.find(hash(b"or"), b"or").is_none());
/// # Ok::<(), wiesel_state::TableError>(())
/// ```
pub struct Table {
    directory: Vec<Segment>,
    /// 32 - the directory's bits within a key group.
    shift: u32,
    /// Bytes of a word key; 0 for keys in blocks.
    word_bytes: u32,
    shape: Shape,
    max_parallelism: u32,
    spots: Spots,
    range: KeyGroupRange,
    /// Rows whose spot is not below it are not walked yet. `u64::MAX` without a walk.
    cursor: u64,
    /// Rows found ahead of their use.
    ahead: ahead::Ahead,
    /// Whether a touch leaves a mark: a walk runs, or increments follow.
    marking: bool,
    /// Whether increments follow.
    tracking: bool,
    /// What words say of marks.
    hints: hint::Hints,
    layout: Arc<RowLayout>,
    len: usize,
    /// The row of the word key `u64::MAX`, which says "empty" elsewhere.
    odd: Option<(u64, Segment)>,
    arena: Arena,
    /// Bytes of segments that are not full-size.
    small_bytes: usize,
    blocks: Blocks,
    epoch: u64,
    walk: Option<Box<walk::Walk>>,
    /// Old rows, by key group, of a walk that runs.
    undo: undo::Undo,
    /// Keys removed since the last base or increment.
    removed: Option<Box<Table>>,
    /// Groups whose next increment gives all rows.
    rebase: BTreeSet<u16>,
    source: Option<Box<dyn RowSource>>,
}

impl Table {
    /// An empty table for the key groups of one subtask.
    ///
    /// # Panics
    ///
    /// If `max_parallelism` is 0 or above its limit, or the range is not below it.
    pub fn new(layout: Arc<RowLayout>, range: KeyGroupRange, max_parallelism: u32) -> Self {
        assert!((1..=MAX_PARALLELISM_LIMIT).contains(&max_parallelism));
        assert!(range.first <= range.end && u32::from(range.end) <= max_parallelism);
        let shape = Shape::of(&layout);
        Self {
            directory: vec![Segment::none(); range.len()],
            shift: 32,
            word_bytes: match layout.key() {
                KeyLayout::Word { bytes } => bytes.into(),
                KeyLayout::Bytes => 0,
            },
            shape,
            max_parallelism,
            spots: Spots::new(range, max_parallelism),
            range,
            cursor: u64::MAX,
            ahead: ahead::Ahead::NONE,
            marking: false,
            tracking: false,
            hints: hint::Hints::NONE,
            layout,
            len: 0,
            odd: None,
            arena: Arena::new(shape.span(shape.bits_full), Pool::of_thread()),
            small_bytes: 0,
            blocks: Blocks::new(Pool::of_thread()),
            epoch: 0,
            walk: None,
            undo: undo::Undo::default(),
            removed: None,
            rebase: BTreeSet::new(),
            source: None,
        }
    }

    /// Keys and cells.
    #[inline]
    pub fn layout(&self) -> &Arc<RowLayout> {
        &self.layout
    }

    /// The key groups of this table.
    pub fn range(&self) -> KeyGroupRange {
        self.range
    }

    /// The job's number of key groups.
    pub fn max_parallelism(&self) -> u32 {
        self.max_parallelism
    }

    /// How many rows.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes held: rows, directory, blocks, and what a running walk and the next increment keep.
    pub fn bytes_used(&self) -> usize {
        size_of::<Self>()
            + self.directory.capacity() * size_of::<Segment>()
            + self.arena.touched()
            + self.small_bytes
            + self.blocks.reserved()
            + self.undo.bytes_used()
            + self.removed.as_ref().map_or(0, |removed| removed.bytes_used())
            + self.walk.as_ref().map_or(0, |walk| walk.bytes_used())
    }

    /// Brings a key's group closer: its first line, or the first two of a group of wider rows, and its mark where it
    /// is asked for. Call it about [`AHEAD_MAX`] records before the key is looked up. One key in twenty lies in the group
    /// behind, which is not fetched: look-ups that only read overlap.
    #[inline(always)]
    pub fn prefetch(&self, spot: Spot) {
        let segment = self.segment_at(spot.0);
        let at = spot.0 as u32 & (segment.groups() - 1);
        let group = segment.group(self.shape, at);
        segment::prefetch(group);
        if self.shape.group_bytes > LINE {
            segment::prefetch(group.wrapping_add(LINE));
        }
        if self.hints.marks_asked {
            self.prefetch_mark(segment, at);
        }
    }

    /// The row of a key.
    ///
    /// # Panics
    ///
    /// If the key is not of the layout's length, or its group not of this table.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Row<'_>> {
        self.check_resident(hash, key);
        if self.word_bytes != 0 {
            return self.find_word(self.spot(hash), self.word_of(key));
        }
        let (_, _, place) = self.locate_bytes(hash, key);
        let word = word_from(bytes_hash(hash));
        // SAFETY: a found place is a live row, and the row borrows the table.
        place.found.then(|| unsafe { Row::new(&self.layout, word, place.area(self.shape)) })
    }

    /// As [`Table::find`], for a word layout: the key's bytes as a little-endian word.
    #[inline]
    pub fn find_word(&self, spot: Spot, key: u64) -> Option<Row<'_>> {
        let (_, _, place) = self.locate_word(spot.0, key)?;
        // SAFETY: a found place is a live row, and the row borrows the table.
        place
            .found
            .then(|| unsafe { Row::new(&self.layout, word_from(key), place.area(self.shape)) })
    }

    /// The row of a key, made if it is not there.
    ///
    /// # Panics
    ///
    /// As [`Table::find`]; and if a key in a block is longer than [`crate::BLOCK_BYTES_MAX`].
    #[inline]
    pub fn upsert(&mut self, hash: u64, key: &[u8]) -> RowMut<'_> {
        self.upsert_at(self.spot(hash), hash, key)
    }

    /// As [`Table::upsert`], with the spot of the hash.
    #[inline]
    pub fn upsert_at(&mut self, spot: Spot, hash: u64, key: &[u8]) -> RowMut<'_> {
        if self.word_bytes != 0 {
            self.check_resident(hash, key);
            return self.upsert_word(spot, self.word_of(key));
        }
        self.upsert_bytes(spot, hash, key)
    }

    /// As [`Table::upsert`], for a word layout: the key's bytes as a little-endian word.
    #[inline(always)]
    pub fn upsert_word(&mut self, spot: Spot, key: u64) -> RowMut<'_> {
        let (area, inserted) = match self.locate_word(spot.0, key) {
            Some((spot, segment, place)) if place.found => {
                self.touch(spot, segment, place);
                (place.area(self.shape), false)
            }
            _ => (self.insert(spot.0, word_from(key), None).area(self.shape), true),
        };
        // SAFETY: the area is a live row's, touched or just inserted.
        unsafe { RowMut::new(self, word_from(key), area, inserted) }
    }

    /// The row of a key, to write, if it is there.
    ///
    /// # Panics
    ///
    /// As [`Table::find`].
    #[inline]
    pub fn find_mut(&mut self, hash: u64, key: &[u8]) -> Option<RowMut<'_>> {
        self.check_resident(hash, key);
        let (spot, segment, place) = self.locate(hash, key)?;
        if !place.found {
            return None;
        }
        self.touch(spot, segment, place);
        let word = if self.word_bytes != 0 {
            word_from(self.word_of(key))
        } else {
            word_from(bytes_hash(hash))
        };
        // SAFETY: a found place is a live row, and was touched.
        Some(unsafe { RowMut::new(self, word, place.area(self.shape), false) })
    }

    /// Puts a backend that may lack rows behind the table. Without one all rows are in memory.
    pub fn set_source(&mut self, source: Box<dyn RowSource>) {
        self.source = Some(source);
    }

    /// Whether rows may be missing: if not, a head need not list the keys of its frame.
    #[inline]
    pub fn may_miss(&self) -> bool {
        self.source.is_some()
    }

    /// Lists the keys (by index) whose rows are not in memory and asks for them in one batch. A record with
    /// such a key has to wait until [`Table::poll_arrivals`] names it.
    pub fn list_missing(&mut self, keys: &KeyBatch, missing: &mut Vec<usize>) {
        if let Some(source) = &mut self.source {
            source.request(keys, missing);
        }
    }

    /// The keys whose rows came since the last call. They stay until they are looked up.
    pub fn poll_arrivals(&mut self, arrived: &mut KeyBatch) {
        if let Some(mut source) = self.source.take() {
            source.poll(self, arrived);
            self.source = Some(source);
        }
    }

    /// Debug builds refuse to touch a row that was said to be missing. Part of whatever takes a key as bytes; who has
    /// it as a word calls this.
    ///
    /// # Panics
    ///
    /// In debug builds, if the row of the key is not in memory.
    #[inline(always)]
    pub fn check_resident(&self, hash: u64, key: &[u8]) {
        if cfg!(debug_assertions)
            && let Some(source) = &self.source
        {
            assert!(source.is_resident(hash, key), "a missing row was touched before it arrived");
        }
    }

    #[inline(always)]
    fn segment_at(&self, spot: u64) -> Segment {
        match self.directory.get((spot >> self.shift) as usize) {
            Some(segment) => *segment,
            None => self.foreign(spot),
        }
    }

    #[cold]
    #[inline(never)]
    fn foreign(&self, spot: u64) -> ! {
        let group = (spot >> 32) as u32;
        let group = group.wrapping_add(self.range.first.into());
        panic!(
            "a key of group {group} in a table of groups {}..{}: it was routed to the wrong subtask",
            self.range.first, self.range.end
        )
    }

    /// A word key from its bytes.
    #[inline(always)]
    fn word_of(&self, key: &[u8]) -> u64 {
        match <[u8; 8]>::try_from(key) {
            Ok(bytes) if self.word_bytes == 8 => u64::from_le_bytes(bytes),
            _ => short_word(key, self.word_bytes),
        }
    }

    #[inline(always)]
    fn locate(&self, hash: u64, key: &[u8]) -> Option<(u64, Segment, Place)> {
        if self.word_bytes != 0 {
            self.locate_word(self.spot(hash).0, self.word_of(key))
        } else {
            Some(self.locate_bytes(hash, key))
        }
    }

    /// Where a word key is, or belongs. `None` for the odd key if it is not there.
    #[inline(always)]
    fn locate_word(&self, spot: u64, key: u64) -> Option<(u64, Segment, Place)> {
        debug_assert!(self.word_bytes != 0 && key & !(u64::MAX >> (64 - 8 * self.word_bytes)) == 0);
        if key >= self.hints.apart_from {
            return self.locate_apart(spot, key);
        }
        let segment = self.segment_at(spot);
        // SAFETY: in the directory, so live; the word is not empty.
        let place = unsafe { segment.find(self.shape, spot, self.hints.sought(key), |_| true) };
        if !place.found && self.hints.any {
            return self.locate_apart(spot, key);
        }
        Some((spot, segment, place))
    }

    #[cold]
    fn locate_odd(&self) -> Option<(u64, Segment, Place)> {
        let (spot, segment) = self.odd?;
        let group = segment.group(self.shape, 0);
        Some((spot, segment, Place { group, at: 0, row: 0, found: true }))
    }

    /// Before a row is written.
    #[inline(always)]
    fn touch(&mut self, spot: u64, segment: Segment, place: Place) {
        // SAFETY: a live row.
        if self.hints.words_asked && !self.hints.knows(unsafe { place.word() }) {
            self.mark(spot, segment, place);
        }
    }

    /// Before a row is written of which no hint says that it is marked, where writes leave marks; where they do not, it gets
    /// its hint.
    // Never: with hints it is once for each row and snapshot.
    #[inline(never)]
    fn mark(&mut self, spot: u64, segment: Segment, place: Place) {
        if self.marking {
            let mark = segment.mark(self.shape, place.at);
            // SAFETY: the mark of a group of a live segment.
            unsafe {
                if spot < self.cursor {
                    *mark |= DIRTY << place.row;
                } else if *mark & TOUCHED << place.row == 0 {
                    self.keep(spot, segment, *mark & DIRTY << place.row != 0, place);
                    *mark |= TOUCHED << place.row;
                }
            }
        }
        self.give_hint(segment, place);
    }

    #[inline]
    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    pub(crate) fn blocks(&mut self) -> &mut Blocks {
        &mut self.blocks
    }
}

/// How a key, or a hash, is kept: fresh memory, zero, is no key.
#[inline(always)]
fn word_from(key: u64) -> u64 {
    key.wrapping_add(1)
}

/// What is kept of the hash of a key in a block: less than the bits of a word that is not wide.
#[inline(always)]
fn bytes_hash(hash: u64) -> u64 {
    hash & NARROW >> 1
}

#[inline(never)]
fn short_word(key: &[u8], word_bytes: u32) -> u64 {
    assert!(key.len() == word_bytes as usize, "a key of {} bytes, not {word_bytes}", key.len());
    let mut word = [0; 8];
    word[..key.len()].copy_from_slice(key);
    u64::from_le_bytes(word)
}
