//! Timers of a key group as bytes, and back: what files of checkpoints hold, and how timers are restored at another
//! parallelism.
//!
//! ```text
//!   piece   "WSTQ" │ version u32 │ max parallelism u32 │ group u32 │ number u32 │ timer …
//!   timer   time i64 │ hash u64 │ length of the key u32 │ length of the namespace u32 │ key │ namespace
//! ```
//!
//! Numbers are little-endian. Any number of pieces follow one another, also several of one group, and their order does not
//! matter: a slice of a walk is a piece of each group that it comes by.

use wiesel_core::{KeyGroup, Timestamp, key_group_of};

use super::{
    TimerQueue,
    timer::{HasParts, Timer},
};
use crate::{TableError, reader::Reader};

const MAGIC: &[u8; 4] = b"WSTQ";
const VERSION: u32 = 1;
/// Magic, version, max parallelism, group.
const NUMBER_AT: usize = 16;

/// A piece without timers.
pub(super) fn begin_group(max_parallelism: u32, group: KeyGroup, out: &mut Vec<u8>) {
    out.extend_from_slice(MAGIC);
    for word in [VERSION, max_parallelism, group.0.into(), 0] {
        out.extend_from_slice(&word.to_le_bytes());
    }
}

/// Says how many timers are in a piece.
pub(super) fn finish_group(number: u32, piece: &mut [u8]) {
    piece[NUMBER_AT..][..4].copy_from_slice(&number.to_le_bytes());
}

pub(super) fn write_timer(timer: &Timer, out: &mut Vec<u8>) {
    let (time, hash, key, namespace) = timer.parts();
    out.extend_from_slice(&time.as_millis().to_le_bytes());
    out.extend_from_slice(&hash.to_le_bytes());
    out.extend_from_slice(&(key.len() as u32).to_le_bytes());
    out.extend_from_slice(&(namespace.len() as u32).to_le_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(namespace);
}

impl TimerQueue {
    /// Writes the timers of each key group that has some, in order of the groups.
    pub fn export(&self, out: &mut dyn FnMut(KeyGroup, &[u8])) {
        let mut bytes = Vec::new();
        let groups = (self.range.first..).map(KeyGroup).zip(&self.groups);
        for (group, timers) in groups.filter(|(_, timers)| !timers.set.is_empty()) {
            bytes.clear();
            begin_group(self.max_parallelism, group, &mut bytes);
            timers.set.iter().for_each(|timer| write_timer(timer, &mut bytes));
            finish_group(timers.set.len() as u32, &mut bytes);
            out(group, &bytes);
        }
    }

    /// Adds the timers of pieces, of any number of groups one after the other.
    ///
    /// # Errors
    ///
    /// If the bytes are no pieces, or those of another max parallelism or subtask; nothing is added then.
    pub fn import(&mut self, bytes: &[u8]) -> Result<(), TableError> {
        let mut reader = Reader { bytes, at: 0 };
        let mut timers = Vec::new();
        while reader.at < bytes.len() {
            self.import_group(&mut reader, &mut timers)?;
        }
        for (group, timer) in timers {
            self.insert(group, timer);
        }
        Ok(())
    }

    /// Reads a piece. With each timer comes the index of its group.
    fn import_group(
        &self,
        reader: &mut Reader<'_>,
        timers: &mut Vec<(usize, Timer)>,
    ) -> Result<(), TableError> {
        if reader.take(4)? != MAGIC {
            return Err(reader.corrupt("no timers of a key group start here"));
        }
        let found = reader.u32()?;
        if found != VERSION {
            return Err(TableError::Version { found, known: VERSION });
        }
        let found = reader.u32()?;
        if found != self.max_parallelism {
            return Err(TableError::MaxParallelism { found, expected: self.max_parallelism });
        }
        let group = reader.u32()?;
        if group >= self.max_parallelism {
            return Err(reader.corrupt("a key group above max parallelism"));
        }
        let group = KeyGroup(group as u16);
        let Some(index) = self.index_of(group) else {
            return Err(TableError::ForeignGroup { group, range: self.range });
        };
        for _ in 0..reader.u32()? {
            let time = Timestamp::from_millis(reader.u64()?.cast_signed());
            let hash = reader.u64()?;
            let (key_len, namespace_len) = (reader.u32()?, reader.u32()?);
            let (key, namespace) =
                (reader.take(key_len as usize)?, reader.take(namespace_len as usize)?);
            if key_group_of(hash, self.max_parallelism) != group {
                return Err(reader.corrupt("a timer of another group"));
            }
            timers.push((index, Timer::new((time, hash, key, namespace), self.flips)));
        }
        Ok(())
    }
}
