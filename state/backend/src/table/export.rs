//! Key groups as bytes: what files of checkpoints hold, and how an operator is restored at another parallelism. `import` is the way back.
//!
//! ```text
//!   piece   "WSLG" │ version u32 │ max parallelism u32 │ group u32 │ flags u32 │ removed u64 │ rows u64 │ bytes of both u64
//!           │ layout: length u32, text │ key … │ row …
//!   key     length u32, bytes                                                  flags: 1 the group begins anew
//!   row     key │ fixed cells and presence bits │ per block cell: length u32, bytes      2 all rows are new
//! ```
//!
//! Numbers are little-endian; a block that is not there has length `u32::MAX`. Cells are copied as they are:
//! operators write them little-endian. Any number of pieces follow one another. Of a group, first come those of its
//! base, whose rows are all new, then increments: their removed keys go, then their rows replace or join what is there.

mod import;

use super::*;

pub use import::Import;

const MAGIC: &[u8; 4] = b"WSLG";
const VERSION: u32 = 2;
const NO_BLOCK: u32 = u32::MAX;
/// Nothing of the group comes before this piece.
const BEGINS: u32 = 1;
/// No row of the piece is there yet.
const WHOLE: u32 = 2;
/// Magic, version, max parallelism, group.
const FLAGS_AT: usize = 16;

/// Bytes of one key group, from [`Table::walk_pieces`] or [`TimerQueue::walk_pieces`](crate::TimerQueue::walk_pieces).
#[derive(Clone, Copy, Debug)]
pub struct Piece<'p> {
    /// Which group.
    pub group: KeyGroup,
    /// What earlier snapshots say of the group is void. Its other pieces follow at once.
    pub begins: bool,
    /// For `import`. None if there is nothing to say but that the group is void.
    pub bytes: &'p [u8],
}

/// A piece under construction.
struct Encoder {
    layout: Arc<RowLayout>,
    max_parallelism: u32,
    group: Option<KeyGroup>,
    begins: bool,
    removed: u64,
    rows: u64,
    body_at: usize,
    bytes: Vec<u8>,
}

impl Encoder {
    fn start(&mut self, group: KeyGroup, flags: u32) {
        (self.group, self.begins) = (Some(group), flags & BEGINS != 0);
        (self.removed, self.rows) = (0, 0);
        write_header(&self.layout, self.max_parallelism, group, flags, &mut self.bytes);
        self.body_at = self.bytes.len();
    }

    fn finish(&mut self, out: &mut dyn FnMut(Piece<'_>)) {
        let Some(group) = self.group.take() else { return };
        if self.removed + self.rows == 0 {
            self.bytes.clear();
        } else {
            write_sizes(&mut self.bytes, 0, self.body_at, self.removed, self.rows);
        }
        if self.begins || !self.bytes.is_empty() {
            out(Piece { group, begins: self.begins, bytes: &self.bytes });
        }
        self.bytes.clear();
    }
}

/// A header whose sizes are zero.
fn write_header(
    layout: &RowLayout,
    max_parallelism: u32,
    group: KeyGroup,
    flags: u32,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(MAGIC);
    for word in [VERSION, max_parallelism, group.0.into(), flags] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(&[0; 24]);
    out.extend_from_slice(&(layout.text().len() as u32).to_le_bytes());
    out.extend_from_slice(layout.text().as_bytes());
}

fn write_sizes(out: &mut [u8], start: usize, body_at: usize, removed: u64, rows: u64) {
    let bytes = (out.len() - body_at) as u64;
    let at = start + FLAGS_AT + 4;
    for (index, size) in [removed, rows, bytes].into_iter().enumerate() {
        out[at + 8 * index..][..8].copy_from_slice(&size.to_le_bytes());
    }
}

/// A key of eight bytes, as [`write_key`] writes it.
#[inline]
fn long_key(word: [u8; 8]) -> [u8; 12] {
    let [a, b, c, d, e, f, g, h] = word;
    [8, 0, 0, 0, a, b, c, d, e, f, g, h]
}

fn write_key(key: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(key.len() as u32).to_le_bytes());
    out.extend_from_slice(key);
}

impl Row<'_> {
    /// Appends the row's bytes: the format of an export, and of snapshot files.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>) {
        let layout = self.layout();
        match self.key().first_chunk() {
            Some(word) if layout.key() == (KeyLayout::Word { bytes: 8 }) => {
                out.extend_from_slice(&long_key(*word));
            }
            _ => write_key(self.key(), out),
        }
        out.extend_from_slice(self.value());
        let pointers = layout.pointers().1;
        for at in pointers - layout.blocks()..pointers {
            let block = self.pointer(at);
            let len = block.map_or(NO_BLOCK, |block| block.len() as u32);
            out.extend_from_slice(&len.to_le_bytes());
            out.extend_from_slice(block.unwrap_or_default());
        }
    }
}

impl Table {
    /// Appends all rows of a key group, as bytes for [`Table::import`]. A group without rows appends a header
    /// only; a group that is not of this table nothing.
    pub fn export_group(&self, group: KeyGroup, out: &mut Vec<u8>) {
        if !self.range.contains(group) {
            return;
        }
        let (start, mut rows) = (out.len(), 0_u64);
        write_header(&self.layout, self.max_parallelism, group, BEGINS | WHOLE, out);
        let body_at = out.len();
        for (_, row) in self.group(group) {
            row.write(out);
            rows += 1;
        }
        write_sizes(out, start, body_at, 0, rows);
    }

    /// As [`Table::walk`], in bytes. `buffer` is memory for them.
    pub fn walk_pieces(
        &mut self,
        budget_bytes: usize,
        buffer: &mut Vec<u8>,
        out: &mut dyn FnMut(Piece<'_>),
    ) -> Progress {
        // The first group goes on where the last call has stopped.
        let Some(mut whole) = self.is_giving_whole() else { return Progress::Done };
        buffer.clear();
        let mut encoder = Encoder {
            layout: Arc::clone(&self.layout),
            max_parallelism: self.max_parallelism,
            group: None,
            begins: false,
            removed: 0,
            rows: 0,
            body_at: 0,
            bytes: std::mem::take(buffer),
        };
        let progress = self.walk_with(budget_bytes, &mut |group, event| {
            if let RowEvent::Whole = event {
                encoder.finish(out);
                whole = Some(group);
                return encoder.start(group, BEGINS | WHOLE);
            }
            if encoder.group != Some(group) {
                encoder.finish(out);
                encoder.start(group, if whole == Some(group) { WHOLE } else { 0 });
            }
            match event {
                RowEvent::Removed(key) => {
                    write_key(key, &mut encoder.bytes);
                    encoder.removed += 1;
                }
                RowEvent::Row(row) => {
                    row.write(&mut encoder.bytes);
                    encoder.rows += 1;
                }
                RowEvent::Whole => {}
            }
        });
        encoder.finish(out);
        *buffer = encoder.bytes;
        progress
    }
}
