//! Key groups out of bytes, in steps: what `export` has written.
//!
//! ```text
//!   bytes ─▶ all pieces checked, some rows a step ─▶ room for whole groups ─▶ pieces taken in, some rows a step ─▶ Done
//! ```
//!
//! # What is always true
//!
//! 1. Nothing of the bytes is taken in before all of them were checked: damaged ones leave the table as it is.
//! 2. Who asks is shown each row just behind its import, while its lines are in the cache: a look at all of them
//!    afterwards costs as much as the import.
//! 3. A step is of [`ROWS_AHEAD`] rows, however many a group has.

use super::*;
use crate::{TableError, reader::Reader};

/// Rows that are read before the first of them is taken in.
const ROWS_AHEAD: usize = 16;

/// Bytes on their way into a table, of which [`Table::import_some`] takes some.
pub struct Import<'b> {
    reader: Reader<'b>,
    /// The piece at hand, with what is left of it.
    piece: Option<Header>,
    /// The bytes were read before, to the end.
    is_checked: bool,
    /// The groups of which all rows are here, with their numbers.
    whole: Vec<(KeyGroup, u64)>,
}

impl<'b> Import<'b> {
    /// Pieces of which nothing was taken in.
    pub fn new(bytes: &'b [u8]) -> Self {
        let reader = Reader { bytes, at: 0 };
        Self { reader, piece: None, is_checked: false, whole: Vec::new() }
    }
}

impl Table {
    /// Takes in pieces. All bytes are checked before anything changes.
    ///
    /// # Errors
    ///
    /// If the bytes are no pieces, or those of another layout, max parallelism or a group of another subtask: then the
    /// table is as before. If a key that should be new is already in the table: then drop it.
    pub fn import(&mut self, bytes: &[u8]) -> Result<(), TableError> {
        let mut import = Import::new(bytes);
        while self.import_some(&mut import, &mut |_| Ok::<(), TableError>(()))? == Progress::More {}
        Ok(())
    }

    /// The next step of an import, over some rows; `see` is shown those that were taken in.
    ///
    /// # Errors
    ///
    /// As for [`Table::import`]; what `see` says.
    pub fn import_some<E: From<TableError>>(
        &mut self,
        import: &mut Import<'_>,
        see: &mut impl FnMut(&Row<'_>) -> Result<(), E>,
    ) -> Result<Progress, E> {
        let Import { reader, piece, is_checked, whole } = import;
        let Some(header) = piece else {
            if reader.at < reader.bytes.len() {
                *piece = Some(self.next_piece(reader, *is_checked, whole)?);
                return Ok(Progress::More);
            }
            if std::mem::replace(is_checked, true) {
                return Ok(Progress::Done);
            }
            for (group, rows) in whole.drain(..) {
                self.reserve(group, rows);
            }
            reader.at = 0;
            return Ok(Progress::More);
        };
        let step = |left: u64| left.min(ROWS_AHEAD as u64);
        match (header.removed, *is_checked) {
            (0, true) => header.rows -= self.import_rows(step(header.rows), header, reader, see)?,
            (0, false) => {
                for _ in 0..step(header.rows) {
                    let row = self.exported_row(reader)?;
                    self.check_group(row.at, row.key, header.group)?;
                    header.rows -= 1;
                }
            }
            (removed, _) => {
                for _ in 0..step(removed) {
                    let at = reader.at;
                    let key = self.exported_key(reader)?;
                    match *is_checked {
                        true => drop(self.remove(self.layout.hash(key), key)),
                        false => self.check_group(at, key, header.group)?,
                    }
                    header.removed -= 1;
                }
            }
        }
        if (header.removed, header.rows) == (0, 0) {
            if reader.at != header.end {
                return Err(reader.corrupt("rows that are not as long as announced").into());
            }
            *piece = None;
        }
        Ok(Progress::More)
    }

    /// The piece that begins here.
    fn next_piece(
        &self,
        reader: &mut Reader<'_>,
        is_checked: bool,
        whole: &mut Vec<(KeyGroup, u64)>,
    ) -> Result<Header, TableError> {
        let header = self.header(reader)?;
        if is_checked {
            if header.flags & BEGINS != 0 && self.group(header.group).next().is_some() {
                return Err(reader.corrupt("a key group for the second time"));
            }
        } else if header.flags & WHOLE != 0 {
            match whole.last_mut().filter(|(group, _)| *group == header.group) {
                Some((_, rows)) => *rows = rows.saturating_add(header.rows),
                None => whole.push((header.group, header.rows)),
            }
        }
        Ok(header)
    }

    fn check_group(&self, at: usize, key: &[u8], group: KeyGroup) -> Result<(), TableError> {
        match self.group_of(self.spot(self.layout.hash(key)).0) == group {
            true => Ok(()),
            false => Err(TableError::Corrupt { at, what: "a key of another group" }),
        }
    }

    /// Takes in the next rows, at most [`ROWS_AHEAD`]; says how many. Their lines are on their way while they are read.
    fn import_rows<E: From<TableError>>(
        &mut self,
        rows: u64,
        header: &Header,
        reader: &mut Reader<'_>,
        see: &mut impl FnMut(&Row<'_>) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut ahead = [const { None }; ROWS_AHEAD];
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
                return Err(TableError::Corrupt { at: exported.at, what }.into());
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
            see(&row.row())?;
        }
        Ok(rows)
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
        if len > crate::BLOCK_BYTES_MAX {
            return Err(reader.corrupt("a key over the limit"));
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
