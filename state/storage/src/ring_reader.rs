//! Parts of data files that a task reads through its shard's ring, between turns.
//!
//! ```text
//!   open ──▶ read, read, … ──▶ blocks, each checked when it is there ──▶ the bytes of the part
//! ```
//!
//! # What is always true
//!
//! 1. Nothing waits: what is read is [`Steps`](wiesel_shard::Steps). One operation at a time, of [`READ_BYTES`]: the kernel
//!    copies that much within the turn that asks for it.
//! 2. What is given is what was written, to the last bit.
//! 3. A file stays open for the parts that follow, and is read from front to back as far as they are in order.

use std::path::PathBuf;

use wiesel_shard::{File, Io};

use crate::{
    FileEntry, PartEntry, StorageError,
    data_file::{BLOCK_BYTES, BLOCK_HEADER_BYTES, PartReader},
    directory::named_error,
};

/// What is read at once: the longest block is whole then.
const READ_BYTES: usize = BLOCK_BYTES + BLOCK_HEADER_BYTES;

/// Reads parts of files below a folder.
#[derive(Debug)]
pub struct RingReader {
    io: Io,
    folder: PathBuf,
    /// The last file, by its name.
    open: Option<(String, File)>,
}

impl RingReader {
    /// For files below `folder`, the job's folder of checkpoints.
    pub fn new(io: Io, folder: impl Into<PathBuf>) -> Self {
        Self { io, folder: folder.into(), open: None }
    }

    /// The bytes of a part.
    ///
    /// # Errors
    ///
    /// [`StorageError::Damaged`] if a bit of it is not what was written, or the file is missing; [`StorageError::Io`] if the
    /// disk does not read it now.
    pub async fn read(
        &mut self,
        entry: &FileEntry,
        part: &PartEntry,
    ) -> Result<Vec<u8>, StorageError> {
        let file = self.file(&entry.path).await?;
        let mut reader = PartReader::new(&entry.path, part)?;
        let mut stored = Vec::new();
        loop {
            let wanted = reader.left() - stored.len() as u64;
            if wanted == 0 {
                return Ok(reader.finish(&stored)?);
            }
            let offset = part.offset + part.stored_len - wanted;
            let begun = stored.len();
            stored.reserve_exact(READ_BYTES.min(begun + wanted as usize) - begun);
            let read = self.io.completed(self.io.read(&file, offset, stored)).await;
            let (bytes, count) =
                read.map_err(|error| named_error(&entry.path, error))?.into_bytes();
            stored = bytes;
            stored.truncate(begun + wanted as usize); // The room may have been for more.
            if count == 0 {
                return Ok(reader.finish(&stored)?);
            }
            let taken = reader.blocks(&stored)?;
            stored.drain(..taken);
        }
    }

    async fn file(&mut self, path: &str) -> Result<File, StorageError> {
        if let Some((_, file)) = self.open.as_ref().filter(|(open, _)| open == path) {
            return Ok(file.clone());
        }
        let opened = self.io.completed(self.io.open_read(self.folder.join(path))).await;
        let file = opened.map_err(|error| named_error(path, error))?.into_file();
        self.open = Some((path.to_owned(), file.clone()));
        Ok(file)
    }
}
