//! The bytes of a manifest.
//!
//! ```text
//!   header    magic "WSLMETA1", version u32, sections u32, length of all u64, crc32c of these
//!   section   kind u8, length u32, fields, crc32c of its place, kind, length and fields
//!     job, then per vertex: vertex, enumerator if any, then per subtask: subtask, its files
//!   trailer   BLAKE3 of all before
//! ```
//!
//! # What is always true
//!
//! 1. `decode(encode(m)) == m`, and equal manifests have equal bytes.
//! 2. A wrong bit is found by the checksum of its section, which names the section.
//! 3. Bytes that have the right checksums and are not a manifest give an error too, never a panic.
//! 4. What has no room in its field is an error that names the section: sizes come from what users keep.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use wiesel_core::{JobId, KeyGroup, MAX_PARALLELISM_LIMIT, Timestamp};
use wiesel_wire::crc32c;

use super::{
    Ending, FileEntry, Hash, Kind, Manifest, PartEntry, PartKind, SubtaskState, VertexState,
};
use crate::{
    Damage, StorageError,
    bytes::{Reader, Writer},
};

/// The version of what is written. Others are refused: in version 1 a part did not say which operator of its vertex it was of.
pub const FORMAT_VERSION: u32 = 2;

const MAGIC: [u8; 8] = *b"WSLMETA1";
const HEADER_BYTES: usize = 28;
const SECTION_HEADER_BYTES: usize = 5;
const HASH_BYTES: usize = 32;

/// The most bytes of a section: its length has four.
const SECTION_BYTES_MAX: usize = u32::MAX as usize;

const JOB: u8 = 1;
const VERTEX: u8 = 2;
const ENUMERATOR: u8 = 3;
const SUBTASK: u8 = 4;
const FILE: u8 = 5;

/// The fewest bytes of a name in a file's section: those of the operator, and of its part.
const NAME_BYTES: usize = 4 + 4;

/// The fewest bytes of a part in a file's section: name, kind, group, and three lengths.
const PART_BYTES: usize = 4 + 1 + 2 + 3 * 8;

impl Manifest {
    /// As bytes.
    ///
    /// # Errors
    ///
    /// [`StorageError::TooLarge`] if something has no room in its field.
    pub fn encode(&self) -> Result<Vec<u8>, StorageError> {
        self.encode_within(SECTION_BYTES_MAX)
    }

    /// With at most so many bytes in a section.
    fn encode_within(&self, section_bytes_max: usize) -> Result<Vec<u8>, StorageError> {
        let mut out = Sections { bytes: vec![0; HEADER_BYTES], count: 0, section_bytes_max };
        out.section(
            JOB,
            || format!("job `{}`", self.job_name),
            |w| {
                w.raw(&self.job.0.to_le_bytes());
                w.text(&self.job_name);
                w.u64(self.checkpoint);
                w.u8(u8::from(self.kind == Kind::Savepoint));
                w.u64(self.triggered.as_millis() as u64);
                w.u64(self.completed.as_millis() as u64);
                w.u8(self.ending as u8);
                w.count(self.vertices.len());
            },
        )?;
        for vertex in &self.vertices {
            let name = || format!("vertex `{}`", vertex.name);
            out.section(VERTEX, name, |w| {
                w.text(&vertex.uid);
                w.text(&vertex.name);
                w.count(vertex.operators.len());
                vertex.operators.iter().for_each(|operator| w.text(operator));
                w.u32(vertex.parallelism);
                w.u32(vertex.max_parallelism);
                w.u8(u8::from(vertex.enumerator.is_some()));
                w.count(vertex.subtasks.len());
            })?;
            if let Some(enumerator) = &vertex.enumerator {
                let what = || format!("the enumerator of {}", name());
                out.section(ENUMERATOR, what, |w| w.raw(enumerator))?;
            }
            for (subtask, state) in vertex.subtasks.iter().enumerate() {
                let what = || format!("subtask {subtask} of {}", name());
                out.section(SUBTASK, what, |w| {
                    w.u8(u8::from(state.finished));
                    w.count(state.files.len());
                })?;
                for file in &state.files {
                    let what = || format!("the list of parts of {}", file.path);
                    out.section(FILE, what, |w| write_file(w, file))?;
                }
            }
        }
        out.finish()
    }

    /// From the bytes of the file called `file`.
    ///
    /// # Errors
    ///
    /// When a bit is not what was written, or they are of a version that this build does not know.
    pub fn decode(file: &str, bytes: &[u8]) -> Result<Self, Damage> {
        let mut sections = Reading::begin(file, bytes)?;
        let mut r = sections.next(JOB, "job")?;
        let job = JobId(u128::from_le_bytes(r.array("id")?));
        let job_name = r.text("name")?.to_owned();
        let checkpoint = r.u64("checkpoint")?;
        let kind = if r.flag("kind")? { Kind::Savepoint } else { Kind::Checkpoint };
        let triggered = Timestamp::from_millis(r.i64("triggered")?);
        let completed = Timestamp::from_millis(r.i64("completed")?);
        let before = r.clone();
        let ending = match r.u8("ending")? {
            0 => Ending::Open,
            1 => Ending::AllRead,
            2 => Ending::Drained,
            other => return Err(before.damage("ending", format!("{other} is no ending"))),
        };
        let count = sections.count(&mut r, "vertices")?;
        r.end()?;
        let vertices = (0..count).map(|index| read_vertex(&mut sections, index));
        let vertices = vertices.collect::<Result<_, _>>()?;
        sections.end()?;
        Ok(Self { job, job_name, checkpoint, kind, triggered, completed, ending, vertices })
    }
}

impl SubtaskState {
    /// As bytes, for the message that acknowledges. The message has a checksum of its own.
    ///
    /// # Errors
    ///
    /// [`StorageError::TooLarge`] if something has no room in its field.
    pub fn encode(&self) -> Result<Vec<u8>, StorageError> {
        let mut w = Writer::default();
        w.u8(u8::from(self.finished));
        w.count(self.files.len());
        self.files.iter().for_each(|file| write_file(&mut w, file));
        match w.too_large {
            Some(size) => {
                Err(too_large("the list of files of a subtask".into(), size, u32::MAX as usize))
            }
            None => Ok(w.bytes),
        }
    }

    /// From the bytes of a message.
    ///
    /// # Errors
    ///
    /// When they are something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let mut r = Reader::new("acknowledgement", "subtask".to_owned(), bytes, 0);
        let finished = r.flag("finished")?;
        let files = r.count(PART_BYTES, "files")?;
        let files = (0..files).map(|_| read_file(&mut r)).collect::<Result<_, _>>()?;
        r.end()?;
        Ok(Self { finished, files })
    }
}

fn read_vertex(sections: &mut Reading, index: usize) -> Result<VertexState, Damage> {
    let mut r = sections.next(VERTEX, &format!("vertex {index}"))?;
    let uid = r.text("uid")?.to_owned();
    let name = r.text("name")?.to_owned();
    let operators = r.count(4, "operators")?;
    let operators = (0..operators).map(|_| r.text("operator").map(str::to_owned));
    let operators = operators.collect::<Result<_, _>>()?;
    let parallelism = r.u32("parallelism")?;
    let before = r.clone();
    let max_parallelism = r.u32("max parallelism")?;
    if !(1..=MAX_PARALLELISM_LIMIT).contains(&max_parallelism) {
        let what = format!("is {max_parallelism}, not between 1 and {MAX_PARALLELISM_LIMIT}");
        return Err(before.damage("max parallelism", what));
    }
    let has_enumerator = r.flag("has enumerator")?;
    let count = sections.count(&mut r, "subtasks")?;
    r.end()?;
    let enumerator = if has_enumerator {
        let mut r = sections.next(ENUMERATOR, &format!("enumerator of vertex {index}"))?;
        Some(r.take(r.rest(), "state")?.to_vec())
    } else {
        None
    };
    let mut subtasks = Vec::with_capacity(count);
    for subtask in 0..count {
        let mut r = sections.next(SUBTASK, &format!("subtask {subtask} of vertex {index}"))?;
        let finished = r.flag("finished")?;
        let files = sections.count(&mut r, "files")?;
        r.end()?;
        let files = (0..files).map(|file| {
            let about = format!("file {file} of subtask {subtask} of vertex {index}");
            let mut r = sections.next(FILE, &about)?;
            let file = read_file(&mut r)?;
            r.end()?;
            Ok(file)
        });
        let files = files.collect::<Result<_, Damage>>()?;
        subtasks.push(SubtaskState { finished, files });
    }
    Ok(VertexState { uid, name, operators, parallelism, max_parallelism, enumerator, subtasks })
}

/// Names are written once.
fn write_file(w: &mut Writer, file: &FileEntry) {
    w.text(&file.path);
    w.u64(file.len);
    w.raw(&file.hash.0);
    let mut places = BTreeMap::new();
    let mut names = Vec::new();
    for part in &file.parts {
        let name = (&*part.operator, &*part.name);
        places.entry(name).or_insert_with(|| {
            names.push(name);
            names.len() - 1
        });
    }
    w.count(names.len());
    for (operator, name) in names {
        w.text(operator);
        w.text(name);
    }
    w.count(file.parts.len());
    for part in &file.parts {
        w.count(places[&(&*part.operator, &*part.name)]);
        let (kind, group) = match part.kind {
            PartKind::Keyed(group) => (0, group.0),
            PartKind::List => (1, 0),
            PartKind::Union => (2, 0),
            PartKind::Broadcast => (3, 0),
            PartKind::Split => (4, 0),
            PartKind::Committable => (5, 0),
        };
        w.u8(kind);
        w.u16(group);
        w.u64(part.offset);
        w.u64(part.stored_len);
        w.u64(part.len);
    }
}

fn read_file(r: &mut Reader) -> Result<FileEntry, Damage> {
    let path = r.text("path")?.to_owned();
    let len = r.u64("length")?;
    let hash = Hash(r.array("hash")?);
    let names = r.count(NAME_BYTES, "names")?;
    let names = (0..names).map(|_| {
        let operator = r.text("operator")?;
        Ok((Arc::from(operator), Arc::from(r.text("name")?)))
    });
    let names: Vec<(Arc<str>, Arc<str>)> = names.collect::<Result<_, Damage>>()?;
    let count = r.count(PART_BYTES, "parts")?;
    let mut parts = Vec::with_capacity(count);
    for _ in 0..count {
        let before = r.clone();
        let name = r.u32("name of a part")? as usize;
        let name = names.get(name).cloned();
        let (operator, name) =
            name.ok_or_else(|| before.damage("name of a part", "is none of the names"))?;
        let (kind, group) = (r.u8("kind of a part")?, KeyGroup(r.u16("key group")?));
        let kind = match kind {
            0 => PartKind::Keyed(group),
            1 => PartKind::List,
            2 => PartKind::Union,
            3 => PartKind::Broadcast,
            4 => PartKind::Split,
            5 => PartKind::Committable,
            other => return Err(before.damage("kind of a part", format!("{other} is no kind"))),
        };
        let (offset, stored_len) = (r.u64("offset")?, r.u64("stored length")?);
        let part_len = r.u64("length of a part")?;
        if offset.checked_add(stored_len).is_none_or(|end| end > len) || part_len > stored_len {
            return Err(before.damage("place of a part", "is outside of its file"));
        }
        parts.push(PartEntry { operator, name, kind, offset, stored_len, len: part_len });
    }
    Ok(FileEntry { path, len, hash, parts })
}

struct Sections {
    bytes: Vec<u8>,
    count: u32,
    section_bytes_max: usize,
}

fn too_large(what: String, size: usize, max: usize) -> StorageError {
    StorageError::TooLarge { what, size: size as u64, max: max as u64 }
}

impl Sections {
    /// Adds a section, about `what`.
    fn section(
        &mut self,
        kind: u8,
        what: impl Fn() -> String,
        fields: impl FnOnce(&mut Writer),
    ) -> Result<(), StorageError> {
        let at = self.bytes.len();
        let mut writer = Writer { bytes: std::mem::take(&mut self.bytes), too_large: None };
        writer.u8(kind);
        writer.u32(0);
        fields(&mut writer);
        if let Some(size) = writer.too_large {
            return Err(too_large(what(), size, u32::MAX as usize));
        }
        self.bytes = writer.bytes;
        let len = self.bytes.len() - at - SECTION_HEADER_BYTES;
        let field = u32::try_from(len).ok().filter(|_| len <= self.section_bytes_max);
        let Some(field) = field else { return Err(too_large(what(), len, self.section_bytes_max)) };
        self.bytes[at + 1..at + SECTION_HEADER_BYTES].copy_from_slice(&field.to_le_bytes());
        let sum = section_sum(at, &self.bytes[at..]);
        self.bytes.extend(sum.to_le_bytes());
        self.count = match self.count.checked_add(1) {
            Some(count) => count,
            None => return Err(too_large("the manifest".into(), 1 << 32, u32::MAX as usize)),
        };
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<u8>, StorageError> {
        let total = (self.bytes.len() + HASH_BYTES) as u64;
        let mut header = Writer::default();
        header.raw(&MAGIC);
        header.u32(FORMAT_VERSION);
        header.u32(self.count);
        header.u64(total);
        let sum = crc32c(0, &header.bytes);
        header.u32(sum);
        self.bytes[..HEADER_BYTES].copy_from_slice(&header.bytes);
        let hash = Hash::of(&self.bytes);
        self.bytes.extend(hash.0);
        Ok(self.bytes)
    }
}

fn section_sum(at: usize, section: &[u8]) -> u32 {
    crc32c(crc32c(0, &(at as u64).to_le_bytes()), section)
}

/// Reads sections in order.
struct Reading<'a> {
    file: &'a str,
    bytes: &'a [u8],
    hash: &'a [u8],
    at: usize,
    left: u32,
}

impl<'a> Reading<'a> {
    fn begin(file: &'a str, bytes: &'a [u8]) -> Result<Self, Damage> {
        let damage =
            |at: usize, field: &str, what: String| Damage::new(file, at as u64, field, what);
        let mut r = Reader::new(file, "header".to_owned(), bytes, 0);
        let header = r.clone().take(HEADER_BYTES, "length")?;
        if r.array::<8>("magic")? != MAGIC {
            return Err(damage(0, "header: magic", "is not that of a manifest".to_owned()));
        }
        let (version, left, total) = (r.u32("version")?, r.u32("sections")?, r.u64("length")?);
        if r.u32("checksum")? != crc32c(0, &header[..HEADER_BYTES - 4]) {
            return Err(damage(8, "header", "the checksum differs".to_owned()));
        }
        if version != FORMAT_VERSION {
            let what = format!(
                "is {version}, this build reads {FORMAT_VERSION}: use the build that wrote it, or begin anew"
            );
            return Err(damage(8, "header: version", what));
        }
        if total != bytes.len() as u64 || bytes.len() < HEADER_BYTES + HASH_BYTES {
            let what = format!("is {total}, the file has {} bytes", bytes.len());
            return Err(damage(16, "header: length", what));
        }
        let (bytes, hash) = bytes.split_at(bytes.len() - HASH_BYTES);
        // What is counted in sections is made room for before it is read.
        let room = (bytes.len() - HEADER_BYTES) / (SECTION_HEADER_BYTES + 4);
        if left as usize > room {
            let what = format!("is {left}, but the file has room for {room}");
            return Err(damage(12, "header: sections", what));
        }
        Ok(Self { file, bytes, hash, at: HEADER_BYTES, left })
    }

    /// The next section, whose checksum is right. What is wrong is said to be in `about`.
    fn next(&mut self, kind: u8, about: &str) -> Result<Reader<'a>, Damage> {
        let at = self.at;
        let mut r = Reader::new(self.file, about.to_owned(), &self.bytes[at..], at as u64);
        let damage = r.clone();
        if self.left == 0 {
            return Err(damage.damage("section", "there are no more sections"));
        }
        let (found, len) = (r.u8("section kind")?, r.u32("section length")? as usize);
        if len.saturating_add(4) > r.rest() {
            let what = format!("is {len}, but {} bytes are left", r.rest());
            return Err(damage.damage("section length", what));
        }
        let base = r.offset();
        let fields = r.take(len, "fields")?;
        let sum = r.u32("checksum")?;
        if sum != section_sum(at, &self.bytes[at..at + SECTION_HEADER_BYTES + len]) {
            let what = format!("the checksum of its {len} bytes differs");
            return Err(Damage::new(self.file, at as u64, about, what));
        }
        if found != kind {
            return Err(damage.damage("section kind", format!("is {found} instead of {kind}")));
        }
        self.at += SECTION_HEADER_BYTES + len + 4;
        self.left -= 1;
        Ok(Reader::new(self.file, about.to_owned(), fields, base))
    }

    /// A number of things with a section each.
    fn count(&self, r: &mut Reader, field: &str) -> Result<usize, Damage> {
        let before = r.clone();
        let count = r.u32(field)?;
        if count > self.left {
            let what = format!("is {count}, but only {} sections are left", self.left);
            return Err(before.damage(field, what));
        }
        Ok(count as usize)
    }

    /// Nothing is left, and the hash is right: it sees what no checksum of a section can.
    fn end(self) -> Result<(), Damage> {
        let at = self.at as u64;
        if self.left > 0 || self.at != self.bytes.len() {
            return Err(Damage::new(self.file, at, "end", "there is more than the vertices"));
        }
        if Hash::of(self.bytes).0 != self.hash {
            return Err(Damage::new(self.file, at, "hash of the manifest", "differs"));
        }
        Ok(())
    }
}
