//! A row, to read and to write. `unsafe` lives here: **a [`Row`]'s area is `stride` bytes of a live or
//! undone row that nothing writes for `'t`; a [`RowMut`]'s is a live row of the table that it borrows.**

use std::{marker::PhantomData, ops::Range, ptr};

use crate::{
    BLOCK_BYTES_MAX, TableError,
    arena::LINE,
    blocks::Block,
    layout::{BLOCK_IN_ROW_BYTES, BlockCell, Cell, KeyLayout, RowLayout},
    segment,
    table::Table,
};

/// A row as it stands, or stood when the table was flipped.
#[derive(Clone, Copy)]
pub struct Row<'t> {
    layout: &'t RowLayout,
    /// The key of a word layout.
    word: [u8; 8],
    area: *const u8,
    life: PhantomData<&'t [u8]>,
}

impl<'t> Row<'t> {
    /// # Safety
    ///
    /// See the module's first lines; `word` is as it is in the group, without its hint, and the layout is the row's.
    #[inline]
    pub(crate) unsafe fn new(layout: &'t RowLayout, word: u64, area: *const u8) -> Self {
        Self { layout, word: word.wrapping_sub(1).to_le_bytes(), area, life: PhantomData }
    }

    /// The key's canonical bytes.
    #[inline]
    pub fn key(&self) -> &[u8] {
        match self.layout.key() {
            KeyLayout::Word { bytes } => &self.word[..usize::from(bytes)],
            KeyLayout::Bytes => self.pointer(0).unwrap_or_default(),
        }
    }

    /// All fixed cells, and behind them their presence bits if there are any.
    #[inline(always)]
    pub fn value(&self) -> &'t [u8] {
        // SAFETY: the module's invariant; cells lie at the start of the area.
        unsafe { std::slice::from_raw_parts(self.area, self.layout.value_bytes()) }
    }

    /// A fixed cell, if it is there. `cell` is of this row's layout.
    #[inline(always)]
    pub fn get(&self, cell: Cell) -> Option<&'t [u8]> {
        is_present(self.layout, self.value(), cell).then(|| slice_of(self.value(), cell))
    }

    /// As [`Row::get`], for a caller that knows its length: with `bytes` a constant this is a load or two.
    #[inline(always)]
    pub fn get_sized(&self, cell: &Cell, bytes: usize) -> Option<&'t [u8]> {
        is_present(self.layout, self.value(), *cell).then(|| &self.value()[sized(cell, bytes)])
    }

    /// A block cell, if it is there. `cell` is of this row's layout.
    #[inline]
    pub fn block(&self, cell: BlockCell) -> Option<&'t [u8]> {
        self.pointer(self.layout.pointer_of(cell))
    }

    /// Whether a block cell is there: nothing but the row is read.
    #[inline(always)]
    pub fn has_block(&self, cell: BlockCell) -> bool {
        let at = block_at(self.layout, self.area.cast_mut(), self.layout.pointer_of(cell));
        // SAFETY: `block_at` checks the index; the row is live.
        unsafe { (*at).is_some() }
    }

    /// Brings a block cell closer that is about to be read, with what lies behind it. Nothing if it is not there, or
    /// lies in its row.
    #[inline(always)]
    pub fn prefetch_block(&self, cell: BlockCell) {
        let at = block_at(self.layout, self.area.cast_mut(), self.layout.pointer_of(cell));
        // SAFETY: `block_at` checks the index; the row is live.
        if let Some(heap) = unsafe { (*at).heap() } {
            segment::prefetch(heap.as_ptr());
            segment::prefetch(heap.as_ptr().wrapping_add(LINE));
        }
    }

    /// The row's layout.
    pub fn layout(&self) -> &'t RowLayout {
        self.layout
    }

    /// Bytes of the row with its key and blocks: what a walk counts against its budget.
    pub fn bytes(&self) -> usize {
        let blocks: usize =
            (0..self.layout.pointers().1).map(|at| self.pointer(at).map_or(0, <[u8]>::len)).sum();
        8 + self.layout.stride() + blocks
    }

    #[inline]
    pub(crate) fn pointer(&self, at: usize) -> Option<&'t [u8]> {
        // SAFETY: `block_at` checks the index; the row holds the block for `'t`.
        unsafe { (*block_at(self.layout, self.area.cast_mut(), at)).bytes() }
    }
}

/// Where a row keeps a block.
#[inline]
pub(crate) fn block_at(layout: &RowLayout, area: *mut u8, at: usize) -> *mut Block {
    let (offset, count) = layout.pointers();
    assert!(at < count, "a block cell of another layout");
    area.wrapping_add(offset + BLOCK_IN_ROW_BYTES * at).cast()
}

#[inline(always)]
fn is_present(layout: &RowLayout, value: &[u8], cell: Cell) -> bool {
    cell.bit.is_none_or(|bit| {
        let bits = &value[layout.presence()];
        bits[usize::from(bit / 8)] & (1 << (bit % 8)) != 0
    })
}

/// Where a cell of so many bytes lies.
#[inline(always)]
fn sized(cell: &Cell, bytes: usize) -> Range<usize> {
    debug_assert!(bytes == usize::from(cell.bytes));
    let offset = usize::from(cell.offset);
    offset..offset + bytes
}

#[inline(always)]
fn slice_of(value: &[u8], cell: Cell) -> &[u8] {
    &value[usize::from(cell.offset)..][..usize::from(cell.bytes)]
}

/// A row to write: its old state is already kept for a snapshot that runs.
pub struct RowMut<'t> {
    table: &'t mut Table,
    word: u64,
    area: *mut u8,
    inserted: bool,
}

impl<'t> RowMut<'t> {
    /// # Safety
    ///
    /// See the module's first lines; `word` is as it is in the group, without its hint. The row was touched.
    #[inline]
    pub(crate) unsafe fn new(
        table: &'t mut Table,
        word: u64,
        area: *mut u8,
        inserted: bool,
    ) -> Self {
        Self { table, word, area, inserted }
    }

    /// The whole area, and whether the row was not there before.
    #[inline(always)]
    pub(crate) fn into_parts(self) -> (*mut u8, bool) {
        (self.area, self.inserted)
    }

    /// Whether the row was not there before. Then all its cells are zero and absent.
    #[inline]
    pub fn inserted(&self) -> bool {
        self.inserted
    }

    /// The row, to read.
    #[inline(always)]
    pub fn row(&self) -> Row<'_> {
        // SAFETY: a live row of the table, which is borrowed as long as `self`.
        unsafe { Row::new(self.table.layout(), self.word, self.area) }
    }

    /// All fixed cells, and behind them their presence bits if there are any.
    #[inline(always)]
    pub fn value_mut(&mut self) -> &mut [u8] {
        // SAFETY: the area is a live row's, and borrowed from the table through `self`.
        unsafe { std::slice::from_raw_parts_mut(self.area, self.table.shape().value_bytes) }
    }

    /// As [`RowMut::value_mut`], for as long as the table was borrowed.
    #[inline]
    pub fn into_value(self) -> &'t mut [u8] {
        // SAFETY: as above; `self`, the only one who has it, is consumed.
        unsafe { std::slice::from_raw_parts_mut(self.area, self.table.shape().value_bytes) }
    }

    /// A fixed cell, if it is there.
    #[inline]
    pub fn get(&self, cell: Cell) -> Option<&[u8]> {
        self.row().get(cell)
    }

    /// A fixed cell to edit; it is there from now on, zero if it was absent.
    #[inline(always)]
    pub fn cell_mut(&mut self, cell: Cell) -> &mut [u8] {
        self.set_present(cell, true);
        &mut self.value_mut()[usize::from(cell.offset)..][..usize::from(cell.bytes)]
    }

    /// As [`RowMut::cell_mut`], for a caller that knows its length; says whether the cell was there before.
    #[inline(always)]
    pub fn entry_sized(&mut self, cell: &Cell, bytes: usize) -> (&mut [u8], bool) {
        let mut was_present = !self.inserted;
        if cell.bit.is_some() {
            was_present &= is_present(self.table.layout(), self.row().value(), *cell);
            self.set_present(*cell, true);
        }
        (&mut self.value_mut()[sized(cell, bytes)], was_present)
    }

    /// Takes a fixed cell away. The only cell of a layout goes with its row: `Table::remove`.
    pub fn clear(&mut self, cell: Cell) {
        self.set_present(cell, false);
        self.value_mut()[usize::from(cell.offset)..][..usize::from(cell.bytes)].fill(0);
    }

    /// A block cell, if it is there.
    pub fn block(&self, cell: BlockCell) -> Option<&[u8]> {
        self.row().block(cell)
    }

    /// Replaces a block cell.
    ///
    /// # Errors
    ///
    /// If `bytes` is longer than [`BLOCK_BYTES_MAX`]; nothing is changed then.
    pub fn set_block(&mut self, cell: BlockCell, bytes: &[u8]) -> Result<(), TableError> {
        if bytes.len() > BLOCK_BYTES_MAX {
            return Err(TableError::BlockTooLong {
                cell: self.table.layout().block_name(cell).to_owned(),
                bytes: bytes.len(),
                limit: BLOCK_BYTES_MAX,
            });
        }
        let block = self.table.blocks().make(bytes);
        self.replace(cell, block);
        Ok(())
    }

    /// Takes a block cell away.
    pub fn clear_block(&mut self, cell: BlockCell) {
        self.replace(cell, Block::NONE);
    }

    /// Whether no cell is there: then the row can go. Never so for a layout with a single fixed cell.
    pub fn is_blank(&self) -> bool {
        let row = self.row();
        let layout = row.layout();
        let first = layout.pointers().1 - layout.blocks();
        let blocks = (first..layout.pointers().1).all(|at| row.pointer(at).is_none());
        let bits = &row.value()[layout.presence()];
        let always = bits.is_empty() && layout.value_bytes() > 0;
        blocks && !always && bits.iter().all(|byte| *byte == 0)
    }

    #[inline(always)]
    fn set_present(&mut self, cell: Cell, present: bool) {
        if let Some(bit) = cell.bit {
            let presence = self.table.layout().presence();
            let byte = &mut self.value_mut()[presence][usize::from(bit / 8)];
            *byte = *byte & !(1 << (bit % 8)) | (u8::from(present) << (bit % 8));
        }
    }

    fn replace(&mut self, cell: BlockCell, block: Block) {
        let layout = self.table.layout();
        let at = block_at(layout, self.area, layout.pointer_of(cell));
        // SAFETY: the pointer of a live row. The row lets go of the old block and holds the new one.
        unsafe {
            let old = ptr::replace(at, block);
            self.table.blocks().release(old);
        }
    }
}
