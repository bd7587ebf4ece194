//! Key groups as bytes, and back: how an operator is restored at another parallelism.
//!
//! ```text
//!   group   "WSLG" │ version u32 │ max parallelism u32 │ group u32 │ rows u64 │ bytes of rows u64
//!           │ layout: length u32, text │ row …
//!   row     key length u32, key │ fixed cells and presence bits │ per block cell: length u32, bytes
//! ```
//!
//! Numbers are little-endian; a block that is not there has length `u32::MAX`. Cells are copied as they are:
//! operators write them little-endian. Any number of groups follow one another.

use super::*;
use crate::{TableError, reader::Reader};

const MAGIC: &[u8; 4] = b"WSLG";
const VERSION: u32 = 1;
const NO_BLOCK: u32 = u32::MAX;

impl Row<'_> {
    /// Appends the row's bytes: the format of an export, and of snapshot files.
    pub fn write(&self, out: &mut Vec<u8>) {
        let (layout, key) = (self.layout(), self.key());
        out.extend_from_slice(&(key.len() as u32).to_le_bytes());
        out.extend_from_slice(key);
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
        out.extend_from_slice(MAGIC);
        for word in [VERSION, self.max_parallelism, group.0.into()] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        let sizes_at = out.len();
        out.extend_from_slice(&[0; 16]);
        let layout = self.layout.to_string();
        out.extend_from_slice(&(layout.len() as u32).to_le_bytes());
        out.extend_from_slice(layout.as_bytes());
        let rows_at = out.len();
        let mut rows = 0_u64;
        for (_, row) in self.group(group) {
            row.write(out);
            rows += 1;
        }
        let bytes = (out.len() - rows_at) as u64;
        out[sizes_at..sizes_at + 8].copy_from_slice(&rows.to_le_bytes());
        out[sizes_at + 8..sizes_at + 16].copy_from_slice(&bytes.to_le_bytes());
    }

    /// Adds the rows of exported key groups. All bytes are checked before the first row is added.
    ///
    /// # Errors
    ///
    /// If the bytes are not an export, or one of another layout, max parallelism or a group of another
    /// subtask: then the table is as before. If a key is there twice, or already in the table: then drop it.
    pub fn import(&mut self, bytes: &[u8]) -> Result<(), TableError> {
        self.each_exported(bytes, &mut |_, _| Ok(()))?;
        let layout = self.layout.clone();
        let mut rows: Vec<ExportedRow<'_>> = Vec::new();
        self.each_exported(bytes, &mut |_, row| {
            rows.push(row);
            Ok(())
        })?;
        for exported in rows {
            let mut row = self.upsert(layout.hash(exported.key), exported.key);
            if !row.inserted() {
                return Err(TableError::Corrupt {
                    at: exported.at,
                    what: "a key for the second time",
                });
            }
            row.value_mut().copy_from_slice(exported.value);
            let mut blocks = Reader { bytes: exported.blocks, at: 0 };
            for index in 0..layout.blocks() {
                if let Some(block) = read_block(&mut blocks)? {
                    row.set_block(crate::BlockCell(index as u8), block)?;
                }
            }
        }
        Ok(())
    }

    fn each_exported<'b>(
        &self,
        bytes: &'b [u8],
        out: &mut dyn FnMut(KeyGroup, ExportedRow<'b>) -> Result<(), TableError>,
    ) -> Result<(), TableError> {
        let mut reader = Reader { bytes, at: 0 };
        while reader.at < bytes.len() {
            let (group, rows, rows_end) = self.exported_header(&mut reader)?;
            for _ in 0..rows {
                let row = self.exported_row(&mut reader)?;
                if self.group_of(self.spot(self.layout.hash(row.key)).0) != group {
                    return Err(TableError::Corrupt { at: row.at, what: "a key of another group" });
                }
                out(group, row)?;
            }
            if reader.at != rows_end {
                return Err(reader.corrupt("rows that are not as long as announced"));
            }
        }
        Ok(())
    }

    /// Group, number of rows, and where they end.
    fn exported_header(
        &self,
        reader: &mut Reader<'_>,
    ) -> Result<(KeyGroup, u64, usize), TableError> {
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
        let (rows, rows_bytes) = (reader.u64()?, reader.u64()?);
        let len = reader.u32()? as usize;
        let layout = reader.take(len)?;
        if layout != self.layout.to_string().as_bytes() {
            return Err(TableError::LayoutMismatch {
                found: String::from_utf8_lossy(&layout[..len.min(200)]).escape_debug().to_string(),
                expected: self.layout.to_string(),
            });
        }
        match usize::try_from(rows_bytes) {
            Ok(rows_bytes) if rows_bytes <= reader.bytes.len() - reader.at => {
                Ok((group, rows, reader.at + rows_bytes))
            }
            _ => Err(reader.corrupt("fewer bytes than announced")),
        }
    }

    fn exported_row<'b>(&self, reader: &mut Reader<'b>) -> Result<ExportedRow<'b>, TableError> {
        let at = reader.at;
        let len = reader.u32()? as usize;
        if self.word_bytes != 0 && len != self.word_bytes as usize {
            return Err(reader.corrupt("a key of another length"));
        }
        let key = reader.take(len)?;
        let value = reader.take(self.shape.value_bytes)?;
        let blocks_at = reader.at;
        for _ in 0..self.layout.blocks() {
            read_block(reader)?;
        }
        Ok(ExportedRow { at, key, value, blocks: &reader.bytes[blocks_at..reader.at] })
    }
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
