//! Key groups as bytes, and back: what files of checkpoints hold, and how an operator is restored at another parallelism.
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

use super::*;
use crate::{TableError, reader::Reader};

const MAGIC: &[u8; 4] = b"WSLG";
const VERSION: u32 = 2;
const NO_BLOCK: u32 = u32::MAX;
/// Rows that are read before the first of them is taken in.
const ROWS_AHEAD: usize = 16;
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

    /// Takes in pieces. All bytes are checked before anything changes.
    ///
    /// # Errors
    ///
    /// If the bytes are no pieces, or those of another layout, max parallelism or a group of another subtask: then the
    /// table is as before. If a key that should be new is already in the table: then drop it.
    pub fn import(&mut self, bytes: &[u8]) -> Result<(), TableError> {
        for (group, rows) in self.check_pieces(bytes)? {
            self.reserve(group, rows);
        }
        let layout = Arc::clone(&self.layout);
        let mut reader = Reader { bytes, at: 0 };
        while reader.at < bytes.len() {
            let header = self.header(&mut reader)?;
            if header.flags & BEGINS != 0 && self.group(header.group).next().is_some() {
                return Err(reader.corrupt("a key group for the second time"));
            }
            for _ in 0..header.removed {
                let key = self.exported_key(&mut reader)?;
                self.remove(layout.hash(key), key);
            }
            let mut left = header.rows;
            while left > 0 {
                left -= self.import_rows(left, &header, &mut reader)?;
            }
        }
        Ok(())
    }

    /// Takes in some of the next rows, at most `rows`; says how many. Their lines are on their way while they are read.
    fn import_rows(
        &mut self,
        rows: u64,
        header: &Header,
        reader: &mut Reader<'_>,
    ) -> Result<u64, TableError> {
        let mut ahead = [const { None }; ROWS_AHEAD];
        let rows = rows.min(ROWS_AHEAD as u64);
        for place in &mut ahead[..rows as usize] {
            let row = self.exported_row(reader)?;
            let hash = self.layout.hash(row.key);
            let spot = self.spot(hash);
            self.prefetch(spot);
            *place = Some((row, hash, spot));
        }
        let block_cells = self.layout.blocks();
        for (exported, hash, spot) in ahead.into_iter().flatten() {
            let mut row = self.upsert_at(spot, hash, exported.key);
            let inserted = row.inserted();
            if header.flags & WHOLE != 0 && !inserted {
                let what = "a key for the second time";
                return Err(TableError::Corrupt { at: exported.at, what });
            }
            row.value_mut().copy_from_slice(exported.value);
            let mut blocks = Reader { bytes: exported.blocks, at: 0 };
            for index in 0..block_cells {
                let cell = crate::BlockCell(index as u8);
                match read_block(&mut blocks)? {
                    Some(block) => row.set_block(cell, block)?,
                    None if inserted => {}
                    None => row.clear_block(cell),
                }
            }
        }
        Ok(rows)
    }

    /// The groups of which all rows are here, with their numbers.
    fn check_pieces(&self, bytes: &[u8]) -> Result<Vec<(KeyGroup, u64)>, TableError> {
        let mut reader = Reader { bytes, at: 0 };
        let mut whole = Vec::<(KeyGroup, u64)>::new();
        while reader.at < bytes.len() {
            let header = self.header(&mut reader)?;
            let check = |at: usize, key: &[u8]| match self
                .group_of(self.spot(self.layout.hash(key)).0)
                == header.group
            {
                true => Ok(()),
                false => Err(TableError::Corrupt { at, what: "a key of another group" }),
            };
            for _ in 0..header.removed {
                let at = reader.at;
                check(at, self.exported_key(&mut reader)?)?;
            }
            for _ in 0..header.rows {
                let row = self.exported_row(&mut reader)?;
                check(row.at, row.key)?;
            }
            if reader.at != header.end {
                return Err(reader.corrupt("rows that are not as long as announced"));
            }
            if header.flags & WHOLE != 0 {
                match whole.last_mut().filter(|(group, _)| *group == header.group) {
                    Some((_, rows)) => *rows += header.rows,
                    None => whole.push((header.group, header.rows)),
                }
            }
        }
        Ok(whole)
    }

    fn header(&self, reader: &mut Reader<'_>) -> Result<Header, TableError> {
        if reader.take(4)? != MAGIC {
            reader.at -= 4;
            return Err(reader.corrupt("no key group starts here"));
        }
        let version = reader.u32()?;
        if version != VERSION {
            return Err(TableError::Version { found: version, known: VERSION });
        }
        let max_parallelism = reader.u32()?;
        if max_parallelism != self.max_parallelism {
            return Err(TableError::MaxParallelism {
                found: max_parallelism,
                expected: self.max_parallelism,
            });
        }
        let group = reader.u32()?;
        if group >= max_parallelism {
            return Err(reader.corrupt("a key group above max parallelism"));
        }
        let group = KeyGroup(group as u16);
        if !self.range.contains(group) {
            return Err(TableError::ForeignGroup { group, range: self.range });
        }
        let flags = reader.u32()?;
        if flags & !(BEGINS | WHOLE) != 0 || flags == BEGINS {
            return Err(reader.corrupt("a kind of piece that there is not"));
        }
        let (removed, rows, bytes) = (reader.u64()?, reader.u64()?, reader.u64()?);
        if flags != 0 && removed != 0 {
            return Err(reader.corrupt("removed keys of a group that begins anew"));
        }
        let len = reader.u32()? as usize;
        let layout = reader.take(len)?;
        if layout != self.layout.text().as_bytes() {
            return Err(TableError::LayoutMismatch {
                found: String::from_utf8_lossy(&layout[..len.min(200)]).escape_debug().to_string(),
                expected: self.layout.text().to_owned(),
            });
        }
        match usize::try_from(bytes) {
            Ok(bytes) if bytes <= reader.bytes.len() - reader.at => {
                Ok(Header { group, flags, removed, rows, end: reader.at + bytes })
            }
            _ => Err(reader.corrupt("fewer bytes than announced")),
        }
    }

    fn exported_key<'b>(&self, reader: &mut Reader<'b>) -> Result<&'b [u8], TableError> {
        let len = reader.u32()? as usize;
        if self.word_bytes != 0 && len != self.word_bytes as usize {
            return Err(reader.corrupt("a key of another length"));
        }
        reader.take(len)
    }

    fn exported_row<'b>(&self, reader: &mut Reader<'b>) -> Result<ExportedRow<'b>, TableError> {
        let at = reader.at;
        let key = self.exported_key(reader)?;
        let value = reader.take(self.shape.value_bytes)?;
        let blocks_at = reader.at;
        for _ in 0..self.layout.blocks() {
            read_block(reader)?;
        }
        Ok(ExportedRow { at, key, value, blocks: &reader.bytes[blocks_at..reader.at] })
    }
}

struct Header {
    group: KeyGroup,
    flags: u32,
    removed: u64,
    rows: u64,
    /// Where the rows end.
    end: usize,
}

struct ExportedRow<'b> {
    at: usize,
    key: &'b [u8],
    value: &'b [u8],
    blocks: &'b [u8],
}

/// A block's bytes, or none.
fn read_block<'b>(reader: &mut Reader<'b>) -> Result<Option<&'b [u8]>, TableError> {
    match reader.u32()? {
        NO_BLOCK => Ok(None),
        len if len as usize > crate::BLOCK_BYTES_MAX => {
            Err(reader.corrupt("a block over the limit"))
        }
        len => reader.take(len as usize).map(Some),
    }
}
