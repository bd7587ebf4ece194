//! What a row looks like: its key, its cells, and where they lie.
//!
//! ```text
//!   group   │ word 0 │ word 1 │ word 2 │ word 3 │ area 0 │ area 1 │ area 2 │ area 3 │     four rows
//!   area    │ cells, each aligned to its size │ presence bits │ pad to 8 │ key block │ blocks… │     16 bytes a block
//!            └──────────── value() ──────────────────────────┘
//! ```
//!
//! # What is always true
//!
//! 1. `value()` never covers a block's pointer: no caller can write one.
//! 2. A row's inline part is at most [`ROW_BYTES_MAX`], so the first touch after a flip copies no more.
//! 3. A row with one cell has no presence bits: the row is there, so the cell is; nor has one of which that was said
//!    ([`RowLayoutBuilder::always`]). Otherwise, with several cells, each fixed cell has a bit; a block cell is there if
//!    its pointer is.
//!
//! An operator keeps all its value, reducing and aggregating states of one key in one row, a cell each.
//! A list or map element is a row of its own: see [`crate::namespaced`].

use std::{fmt, ops::Range, sync::Arc};

use crate::TableError;

/// The most that the cells of a row take together. Larger values are blocks.
pub const ROW_BYTES_MAX: usize = 4_096;

/// The most cells of a row: their presence bits are one word.
pub const CELLS_MAX: usize = 64;

/// The longest block: its length is a `u32` on disk, and two of them must fit into a checkpoint part.
pub const BLOCK_BYTES_MAX: usize = 1 << 30;

/// What a block takes in its row: a pointer, or all of a short one.
pub(crate) const BLOCK_IN_ROW_BYTES: usize = 16;

/// The hash of a key's canonical bytes.
///
/// It must give what the caller passes as `hash` beside the key: a table keeps no hashes, it computes
/// them again when a segment grows.
pub type KeyHash = fn(&[u8]) -> u64;

/// The hashes of the word keys in `words`, put in their place: as [`KeyHash`] of each one's bytes.
///
/// A segment that grows asks for four at a time, so that one call pays for four hashes.
pub type WordHash = fn(words: &mut [u64; 4]);

/// How a key is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyLayout {
    /// A key of exactly this many bytes, at most 8: it is the word, nothing else is compared.
    Word {
        /// Its length.
        bytes: u8,
    },
    /// Any key. The word is its hash; its bytes lie in a block and are compared when the word matches.
    Bytes,
}

/// A fixed-size cell of a row layout; from [`RowLayout::cell`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    pub(crate) offset: u16,
    pub(crate) bytes: u16,
    /// The presence bit, if the layout has them.
    pub(crate) bit: Option<u8>,
}

impl Cell {
    /// How long it is.
    #[inline]
    pub fn bytes(self) -> usize {
        usize::from(self.bytes)
    }
}

/// A variable-size cell of a row layout; from [`RowLayout::block`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockCell(pub(crate) u8);

/// Keys and cells of one table. Made once, shared by all tables of an operator.
///
/// ```
/// use wiesel_state::{KeyLayout, RowLayout};
///
/// # fn hash(key: &[u8]) -> u64 { key[0].into() }
/// let layout = RowLayout::build(KeyLayout::Word { bytes: 8 }, hash)
///     .cell("count", 8)
///     .cell("open", 1)
///     .block("last_text")
///     .finish()?;
/// assert_eq!(layout.to_string(), "8-byte keys; count: 8, open: 1, last_text: block");
/// assert_eq!(layout.value_bytes(), 10); // 8 + 1 + presence bits
/// assert!(layout.cell("count").is_some() && layout.block("last_text").is_some());
/// # Ok::<(), wiesel_state::TableError>(())
/// ```
pub struct RowLayout {
    key: KeyLayout,
    hash: KeyHash,
    word_hash: Option<WordHash>,
    is_always: bool,
    /// Name and size; no size is a block.
    names: Vec<(String, Option<u16>)>,
    cells: Vec<Cell>,
    value_bytes: usize,
    presence: Range<usize>,
    /// Offset in the area of the first pointer.
    pointers_at: usize,
    pointers: usize,
    stride: usize,
    /// As it is displayed.
    text: String,
}

/// Collects the cells of a [`RowLayout`].
pub struct RowLayoutBuilder {
    key: KeyLayout,
    hash: KeyHash,
    word_hash: Option<WordHash>,
    is_always: bool,
    names: Vec<(String, Option<usize>)>,
}

impl RowLayoutBuilder {
    /// A cell of `bytes` bytes, aligned to the largest power of two that divides `bytes`, at most 8.
    #[must_use]
    pub fn cell(mut self, name: &str, bytes: usize) -> Self {
        self.names.push((name.to_owned(), Some(bytes)));
        self
    }

    /// A cell of any size, replaced as a whole.
    #[must_use]
    pub fn block(mut self, name: &str) -> Self {
        self.names.push((name.to_owned(), None));
        self
    }

    /// A row has all its fixed cells as long as it is there, so none needs a presence bit. Those of a new row are zero.
    #[must_use]
    pub fn always(self) -> Self {
        Self { is_always: true, ..self }
    }

    /// How word keys are hashed four at a time. Without it each is hashed by its bytes.
    #[must_use]
    pub fn word_hash(self, word_hash: WordHash) -> Self {
        Self { word_hash: Some(word_hash), ..self }
    }

    /// Places the cells.
    ///
    /// # Errors
    ///
    /// If a word key is not 1 to 8 bytes, the cells are too many or too wide, or two have one name.
    pub fn finish(self) -> Result<Arc<RowLayout>, TableError> {
        if let KeyLayout::Word { bytes } = self.key
            && !(1..=8).contains(&bytes)
        {
            return Err(TableError::KeyTooWide { bytes });
        }
        if self.names.len() > CELLS_MAX {
            return Err(TableError::TooManyCells { limit: CELLS_MAX });
        }
        for (at, (name, _)) in self.names.iter().enumerate() {
            if self.names[..at].iter().any(|(other, _)| other == name) {
                return Err(TableError::NameTwice { name: name.clone() });
            }
        }
        let sum = self.names.iter().fold(0_usize, |sum, (_, b)| sum.saturating_add(b.unwrap_or(0)));
        if sum > ROW_BYTES_MAX {
            return Err(TableError::RowTooWide { bytes: sum, limit: ROW_BYTES_MAX });
        }
        let fixed = self.names.iter().filter(|(_, bytes)| bytes.is_some()).count();
        let has_bits = fixed > 0 && self.names.len() > 1 && !self.is_always;
        let (mut at, mut cells) = (0, Vec::with_capacity(fixed));
        for (index, bytes) in self.names.iter().filter_map(|(_, bytes)| *bytes).enumerate() {
            at = usize::next_multiple_of(at, 1 << bytes.trailing_zeros().min(3));
            // Below `ROW_BYTES_MAX`, and indices below `CELLS_MAX`: they fit.
            let bit = has_bits.then_some(index as u8);
            cells.push(Cell { offset: at as u16, bytes: bytes as u16, bit });
            at += bytes;
        }
        let presence = at..at + if has_bits { fixed.div_ceil(8) } else { 0 };
        let value_bytes = presence.end;
        if value_bytes > ROW_BYTES_MAX {
            return Err(TableError::RowTooWide { bytes: value_bytes, limit: ROW_BYTES_MAX });
        }
        let pointers_at = value_bytes.next_multiple_of(8);
        let pointers = self.names.len() - fixed + usize::from(self.key == KeyLayout::Bytes);
        let text = text_of(self.key, self.is_always, &self.names);
        Ok(Arc::new(RowLayout {
            text,
            key: self.key,
            hash: self.hash,
            word_hash: self.word_hash,
            is_always: self.is_always,
            names: self.names.into_iter().map(|(n, b)| (n, b.map(|b| b as u16))).collect(),
            cells,
            value_bytes,
            presence,
            pointers_at,
            pointers,
            stride: pointers_at + BLOCK_IN_ROW_BYTES * pointers,
        }))
    }
}

impl RowLayout {
    /// Starts a layout.
    pub fn build(key: KeyLayout, hash: KeyHash) -> RowLayoutBuilder {
        RowLayoutBuilder { key, hash, word_hash: None, is_always: false, names: Vec::new() }
    }

    /// One fixed cell named `value`: what a rolling reduce keeps.
    ///
    /// # Errors
    ///
    /// As [`RowLayoutBuilder::finish`].
    pub fn of_value(
        key: KeyLayout,
        hash: KeyHash,
        bytes: usize,
    ) -> Result<Arc<RowLayout>, TableError> {
        Self::build(key, hash).cell("value", bytes).finish()
    }

    /// Starts a layout of the same keys.
    pub fn with_other_cells(&self) -> RowLayoutBuilder {
        let Self { key, hash, word_hash, is_always, .. } = *self;
        RowLayoutBuilder { key, hash, word_hash, is_always, names: Vec::new() }
    }

    /// The names of its cells, fixed ones and blocks, as declared.
    pub fn cell_names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|(name, _)| name.as_str())
    }

    /// The same keys without cells.
    pub(crate) fn keys_of(other: &Self) -> Arc<Self> {
        Arc::new(Self {
            text: text_of(other.key, false, &[]),
            key: other.key,
            hash: other.hash,
            word_hash: other.word_hash,
            is_always: false,
            names: Vec::new(),
            cells: Vec::new(),
            value_bytes: 0,
            presence: 0..0,
            pointers_at: 0,
            pointers: usize::from(other.key == KeyLayout::Bytes),
            stride: BLOCK_IN_ROW_BYTES * usize::from(other.key == KeyLayout::Bytes),
        })
    }

    /// How keys are kept.
    pub fn key(&self) -> KeyLayout {
        self.key
    }

    /// The hash of a key's canonical bytes.
    pub fn hash(&self, key: &[u8]) -> u64 {
        (self.hash)(key)
    }

    /// The hashes of four word keys of `bytes` bytes, in their place.
    #[inline]
    pub(crate) fn hash_words(&self, words: &mut [u64; 4], bytes: usize) {
        match self.word_hash {
            Some(word_hash) => word_hash(words),
            None => {
                words.iter_mut().for_each(|word| *word = self.hash(&word.to_le_bytes()[..bytes]))
            }
        }
    }

    /// The fixed cell of this name.
    pub fn cell(&self, name: &str) -> Option<Cell> {
        let at = self.names.iter().position(|(other, _)| other == name)?;
        self.names[at].1?;
        let before = self.names[..at].iter().filter(|(_, bytes)| bytes.is_some()).count();
        Some(self.cells[before])
    }

    /// The block cell of this name.
    pub fn block(&self, name: &str) -> Option<BlockCell> {
        let at = self.names.iter().position(|(other, _)| other == name)?;
        if self.names[at].1.is_some() {
            return None;
        }
        let before = self.names[..at].iter().filter(|(_, bytes)| bytes.is_none()).count();
        Some(BlockCell(before as u8))
    }

    /// Length of a row's `value()`: its fixed cells and their presence bits.
    pub fn value_bytes(&self) -> usize {
        self.value_bytes
    }

    /// How many cells are blocks.
    pub fn blocks(&self) -> usize {
        self.names.iter().filter(|(_, bytes)| bytes.is_none()).count()
    }

    /// The name of a block cell.
    pub(crate) fn block_name(&self, cell: BlockCell) -> &str {
        let mut blocks = self.names.iter().filter(|(_, bytes)| bytes.is_none());
        blocks.nth(usize::from(cell.0)).map_or("", |(name, _)| name)
    }

    /// As it is displayed.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Bytes of a row's area.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// Offset in the area of the first pointer, and how many there are. A bytes key is the first.
    pub(crate) fn pointers(&self) -> (usize, usize) {
        (self.pointers_at, self.pointers)
    }

    /// Which pointer a block cell is.
    pub(crate) fn pointer_of(&self, cell: BlockCell) -> usize {
        usize::from(cell.0) + usize::from(self.key == KeyLayout::Bytes)
    }

    /// Where the presence bits lie in `value()`.
    pub(crate) fn presence(&self) -> Range<usize> {
        self.presence.clone()
    }
}

fn text_of(key: KeyLayout, is_always: bool, names: &[(String, Option<usize>)]) -> String {
    let mut text = match key {
        KeyLayout::Word { bytes } => format!("{bytes}-byte keys"),
        KeyLayout::Bytes => "keys of any length".to_owned(),
    };
    text.push_str(if is_always { ", whole rows;" } else { ";" });
    for (at, (name, bytes)) in names.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let bytes = bytes.map_or_else(|| "block".to_owned(), |bytes| bytes.to_string());
        text.push_str(&format!("{comma} {name}: {bytes}"));
    }
    text
}

/// Names and sizes: `8-byte keys; count: 8, text: block`. Also what an export says of its layout.
impl fmt::Display for RowLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for RowLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowLayout({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cells: &[(&str, Option<usize>)], expected: Result<(usize, usize, &[u16]), &str>) {
        check_of(RowLayout::build(KeyLayout::Bytes, |_| 0), cells, expected);
    }

    fn check_of(
        mut builder: RowLayoutBuilder,
        cells: &[(&str, Option<usize>)],
        expected: Result<(usize, usize, &[u16]), &str>,
    ) {
        for (name, bytes) in cells {
            builder = match bytes {
                Some(bytes) => builder.cell(name, *bytes),
                None => builder.block(name),
            };
        }
        match (builder.finish(), expected) {
            (Ok(layout), Ok((value_bytes, stride, offsets))) => {
                let found: Vec<u16> = layout.cells.iter().map(|cell| cell.offset).collect();
                assert_eq!((layout.value_bytes, layout.stride), (value_bytes, stride), "{cells:?}");
                assert_eq!(found, offsets, "{cells:?}");
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, _) => panic!("{cells:?} gave {found:?}"),
        }
    }

    #[test]
    fn cells_lie_aligned_and_in_order() {
        check(&[], Ok((0, 16, &[])));
        check(&[("a", Some(8))], Ok((8, 24, &[0])));
        check(&[("a", None)], Ok((0, 32, &[])));
        check(&[("a", Some(1)), ("b", Some(8)), ("c", Some(12))], Ok((29, 48, &[0, 8, 16])));
        check(&[("a", Some(8)), ("b", None)], Ok((9, 48, &[0])));
        check(&[("a", Some(0)), ("b", Some(3))], Ok((4, 24, &[0, 0])));
        check(&[("a", Some(4_096))], Ok((4_096, 4_112, &[0])));
        check(&[("a", Some(4_097))], Err("4097 bytes of at most 4096"));
        check(&[("a", Some(4_096)), ("b", None)], Err("4097 bytes of at most 4096"));
        check(&[("a", Some(usize::MAX)), ("b", Some(9))], Err("blocks"));
        check(&[("a", Some(1)), ("a", None)], Err("named `a`"));
        let always = || RowLayout::build(KeyLayout::Bytes, |_| 0).always();
        check_of(always(), &[("a", Some(4_096)), ("b", None)], Ok((4_096, 4_128, &[0])));
        let three = [("a", Some(24)), ("b", Some(8)), ("c", None)];
        check_of(always(), &three, Ok((32, 64, &[0, 24])));
        assert_eq!(
            always().cell("a", 8).finish().unwrap().to_string(),
            "keys of any length, whole rows; a: 8"
        );
    }

    #[test]
    fn word_keys_have_a_word() {
        for (bytes, fits) in [(0, false), (1, true), (8, true), (9, false)] {
            let layout = RowLayout::of_value(KeyLayout::Word { bytes }, |_| 0, 8);
            assert_eq!(layout.is_ok(), fits, "{bytes}");
        }
    }
}
