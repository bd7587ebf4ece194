//! A file of parts: blocks, each with its checksum.
//!
//! ```text
//!   header       block                          block                     …
//!   magic, crc   len │ crc │ bytes of part 0    len │ crc │ part 0, on    one part never shares a block with another
//! ```
//!
//! # What is always true
//!
//! 1. The checksum of a block covers its place in the file too: a block that stands elsewhere is found.
//! 2. A part is read by its place, without the rest of the file; the hash covers all of it.
//! 3. The writer keeps bytes only until they are taken.

use std::sync::Arc;

use wiesel_wire::crc32c;

use crate::{Damage, FileEntry, Hash, PartEntry, PartKind, StorageError};

/// The first bytes of every data file.
const MAGIC: [u8; 8] = *b"WSLDATA1";

/// Magic and its checksum.
const HEADER_BYTES: usize = 12;

/// Length and checksum.
pub(crate) const BLOCK_HEADER_BYTES: usize = 8;

/// The most bytes of a part in one block: what is read in vain when one bit is wrong, and 0.01 % of overhead.
pub const BLOCK_BYTES: usize = 64 << 10;

/// Bytes that are hashed at once: as many as the hasher likes, and few enough that nobody waits long.
const HASH_BYTES: usize = 16 << 10;

fn header() -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..].copy_from_slice(&crc32c(0, &MAGIC).to_le_bytes());
    header
}

fn block_sum(offset: u64, len: [u8; 4], payload: &[u8]) -> u32 {
    crc32c(crc32c(crc32c(0, &offset.to_le_bytes()), &len), payload)
}

/// Makes the bytes of a data file, a part at a time.
///
/// ```
/// use wiesel_core::KeyGroup;
/// use wiesel_storage::{DataFileWriter, PartKind, read_part};
///
/// let mut writer = DataFileWriter::new();
/// writer.part("counts", "window", PartKind::Keyed(KeyGroup(3)), b"rows of group 3");
/// let mut file = writer.take();                     // written while the next part is made
/// writer.part("counts", "window", PartKind::Keyed(KeyGroup(4)), b"rows of group 4");
/// let (rest, entry) = writer.finish("chk-7/1-0.data");
/// file.extend(rest);
///
/// let part = &entry.parts[1];
/// let stored = &file[part.offset as usize..][..part.stored_len as usize];
/// assert_eq!(read_part(&entry.path, part, stored)?, b"rows of group 4");
/// # Ok::<(), wiesel_storage::Damage>(())
/// ```
#[derive(Debug)]
pub struct DataFileWriter {
    bytes: Vec<u8>,
    /// Where `bytes` begins in the file.
    base: u64,
    hasher: blake3::Hasher,
    parts: Vec<PartEntry>,
    /// How many of `bytes` the hasher has seen.
    hashed: usize,
}

impl Default for DataFileWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl DataFileWriter {
    /// A file without parts.
    pub fn new() -> Self {
        let bytes = header().to_vec();
        Self { bytes, base: 0, hasher: blake3::Hasher::new(), parts: Vec::new(), hashed: 0 }
    }

    /// Adds a part of the operator with this uid.
    pub fn part(&mut self, operator: &str, name: &str, kind: PartKind, bytes: &[u8]) {
        self.begin(operator, name, kind);
        self.append(bytes);
    }

    /// Begins a part; its bytes follow.
    pub fn begin(&mut self, operator: &str, name: &str, kind: PartKind) {
        // Most parts have the names of the part before.
        let of_last = |of: fn(&PartEntry) -> &Arc<str>, text: &str| {
            let last = self.parts.last().map(of).filter(|last| ***last == *text);
            last.map_or_else(|| Arc::from(text), Arc::clone)
        };
        let operator = of_last(|part| &part.operator, operator);
        let name = of_last(|part| &part.name, name);
        let offset = self.len();
        self.parts.push(PartEntry { operator, name, kind, offset, stored_len: 0, len: 0 });
    }

    /// Adds bytes to the part that was begun last, in blocks of their own.
    ///
    /// # Panics
    ///
    /// If none was begun.
    pub fn append(&mut self, bytes: &[u8]) {
        for payload in bytes.chunks(BLOCK_BYTES) {
            let at = self.len();
            // At most `BLOCK_BYTES`, however long the part is: that has eight bytes in the manifest.
            let len = (payload.len() as u32).to_le_bytes();
            self.bytes.extend(len);
            self.bytes.extend(block_sum(at, len, payload).to_le_bytes());
            self.bytes.extend_from_slice(payload);
        }
        if self.bytes.len() - self.hashed >= HASH_BYTES {
            self.hash();
        }
        let end = self.len();
        let part = self.parts.last_mut().expect("a part was begun");
        part.stored_len = end - part.offset;
        part.len += bytes.len() as u64;
    }

    fn hash(&mut self) {
        self.hasher.update(&self.bytes[self.hashed..]);
        self.hashed = self.bytes.len();
    }

    /// The parts so far.
    pub fn parts(&self) -> &[PartEntry] {
        &self.parts
    }

    /// How many bytes were not taken yet.
    pub fn pending_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The length of the file so far.
    pub fn len(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// Whether there is no part.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The bytes that were not taken yet: they follow those that were.
    pub fn take(&mut self) -> Vec<u8> {
        self.hash();
        self.hashed = 0;
        self.base = self.len();
        // The next bytes are about as many.
        let room = Vec::with_capacity(self.bytes.capacity());
        std::mem::replace(&mut self.bytes, room)
    }

    /// The last bytes, and what the manifest says of the file.
    pub fn finish(mut self, path: &str) -> (Vec<u8>, FileEntry) {
        let rest = self.take();
        let hash = Hash(*self.hasher.finalize().as_bytes());
        (rest, FileEntry { path: path.to_owned(), len: self.base, hash, parts: self.parts })
    }
}

/// The bytes of a part, from those of its blocks.
///
/// # Errors
///
/// When a bit is not what was written.
pub fn read_part(path: &str, part: &PartEntry, stored: &[u8]) -> Result<Vec<u8>, Damage> {
    let mut reader = PartReader::new(path, part)?;
    if stored.len() as u64 != part.stored_len {
        return reader.finish(stored);
    }
    let read = reader.blocks(stored)?;
    reader.finish(&stored[read..])
}

/// Memory that is taken for a part on the word of its manifest alone.
const TRUSTED_BYTES: u64 = 16 << 20;

/// The bytes of a part, from its blocks as they come.
pub(crate) struct PartReader<'p> {
    path: &'p str,
    part: &'p PartEntry,
    /// How much of what is stored was read.
    read: u64,
    bytes: Vec<u8>,
}

impl<'p> PartReader<'p> {
    /// Of a part of which nothing was read.
    pub(crate) fn new(path: &'p str, part: &'p PartEntry) -> Result<Self, Damage> {
        let mut reader = Self { path, part, read: 0, bytes: Vec::new() };
        if part.len > part.stored_len {
            let what = format!("{} bytes cannot be in {}", part.len, part.stored_len);
            return Err(reader.damage(0, what));
        }
        reader.bytes.reserve_exact(part.len.min(TRUSTED_BYTES) as usize);
        Ok(reader)
    }

    fn damage(&self, at: u64, what: String) -> Damage {
        let PartEntry { name, operator, kind, .. } = self.part;
        let field = format!("part `{name}` of `{operator}`, {kind}");
        Damage::new(self.path, self.part.offset + at, field, what)
    }

    /// How many of the stored bytes were not read.
    pub(crate) fn left(&self) -> u64 {
        self.part.stored_len - self.read
    }

    /// Reads whole blocks; says how many bytes they take. What is left of `stored` begins the next ones.
    pub(crate) fn blocks(&mut self, stored: &[u8]) -> Result<usize, Damage> {
        let mut at = 0;
        while let Some((head, tail)) = stored[at..].split_first_chunk::<BLOCK_HEADER_BYTES>() {
            let [a, b, c, d, sum @ ..] = *head;
            let len = u32::from_le_bytes([a, b, c, d]) as usize;
            let left = self.left().saturating_sub(BLOCK_HEADER_BYTES as u64);
            if len > BLOCK_BYTES || len as u64 > left {
                let what = format!("a block of {len} bytes, {left} are left");
                return Err(self.damage(self.read, what));
            }
            let Some(payload) = tail.get(..len) else { break };
            let offset = self.part.offset + self.read;
            if block_sum(offset, [a, b, c, d], payload) != u32::from_le_bytes(sum) {
                let what = format!("the checksum of a block of {len} bytes differs");
                return Err(self.damage(self.read, what));
            }
            self.bytes.extend_from_slice(payload);
            self.read += (BLOCK_HEADER_BYTES + len) as u64;
            at += BLOCK_HEADER_BYTES + len;
        }
        Ok(at)
    }

    /// All bytes, if there are no more of those that are stored than `rest`, which is not a block.
    pub(crate) fn finish(self, rest: &[u8]) -> Result<Vec<u8>, Damage> {
        let there = self.read + rest.len() as u64;
        if there != self.part.stored_len {
            let what = format!("{there} of {} bytes are there", self.part.stored_len);
            return Err(self.damage(there, what));
        }
        if !rest.is_empty() {
            return Err(self.damage(self.read, "its last block has no whole head".to_owned()));
        }
        if self.bytes.len() as u64 != self.part.len {
            let what = format!("has {} bytes instead of {}", self.bytes.len(), self.part.len);
            return Err(self.damage(0, what));
        }
        Ok(self.bytes)
    }
}

/// How much of a file is read at once while it is verified: it is still in the second-level cache when it is hashed.
const VERIFY_BYTES: u64 = 256 << 10;

/// Whether a file is the one that the manifest names. If not, the first place that is wrong. `read` gives so many bytes
/// (the second number) from a place (the first), or fewer at the end of the file.
///
/// # Errors
///
/// [`StorageError::Damaged`] when a bit is not what was written; what `read` says.
pub fn verify_file(
    entry: &FileEntry,
    mut read: impl FnMut(u64, u64) -> Result<Vec<u8>, StorageError>,
) -> Result<(), StorageError> {
    let mut hasher = blake3::Hasher::new();
    let mut at = 0;
    loop {
        // One byte more than there should be: a longer file is another one.
        let wanted = VERIFY_BYTES.min((entry.len + 1).saturating_sub(at));
        let bytes = read(at, wanted)?;
        hasher.update(&bytes);
        at += bytes.len() as u64;
        if bytes.is_empty() || at > entry.len {
            break;
        }
    }
    if at != entry.len {
        let what = if at > entry.len {
            "is longer than".to_owned()
        } else {
            format!("is {at} instead of")
        };
        let what = format!("{what} {} bytes", entry.len);
        return Err(Damage::new(&entry.path, at.min(entry.len), "length", what).into());
    }
    if *hasher.finalize().as_bytes() == entry.hash.0 {
        return Ok(());
    }
    // Which part it is says whose state it was.
    if read(0, HEADER_BYTES as u64)? != header() {
        return Err(Damage::new(&entry.path, 0, "header", "is not that of a data file").into());
    }
    for part in &entry.parts {
        read_part(&entry.path, part, &read(part.offset, part.stored_len)?)?;
    }
    Err(Damage::new(&entry.path, 0, "hash", "differs, though each part is as it was written")
        .into())
}
