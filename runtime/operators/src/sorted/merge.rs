//! Many sorted sources as one: a tournament, in which each record costs one comparison for each level.
//!
//! ```text
//!        winner                 a source is a sorted piece of memory, or a run in a file that is read a block ahead
//!       ╱      ╲
//!     loser    loser            the next record of the winner's source plays against the losers on its way up
//!    ╱    ╲   ╱    ╲
//! ```
//!
//! # What is always true
//!
//! 1. Equal records come in the order of their sources, which is the order of their arrival.
//! 2. While a source waits for its file nobody knows the next record: [`Merge::settle`] says so.
//! 3. A source that has ended holds no memory.

use std::io;

use wiesel_shard::Io;

use super::record::SortedRecord;
use crate::spill::RunReader;

/// In the tree before there was a first game: it wins.
const NOBODY: u32 = u32::MAX;

/// Where records come from, in order.
struct Source {
    bytes: Vec<u8>,
    /// Where the next record is.
    at: usize,
    /// Where more comes from.
    run: Option<RunReader>,
    has_ended: bool,
}

impl Source {
    fn head(&self) -> Option<(SortedRecord<'_>, usize)> {
        SortedRecord::read(self.bytes.get(self.at..)?)
    }

    /// Sees to it that the next record is there in full, or that there is none. Says whether that is so.
    fn fill(&mut self, io: &Io) -> io::Result<bool> {
        while self.head().is_none() {
            match &mut self.run {
                Some(run) if !run.is_read() => {
                    self.bytes.drain(..self.at);
                    self.at = 0;
                    if !run.poll(io, &mut self.bytes)? {
                        return Ok(false);
                    }
                }
                _ if self.at < self.bytes.len() => {
                    let cause = "a file for sorting holds something else than was written to it";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, cause));
                }
                _ => {
                    (self.has_ended, self.bytes, self.at) = (true, Vec::new(), 0);
                    return Ok(true);
                }
            }
        }
        Ok(true)
    }
}

/// Sources, merged.
pub(super) struct Merge {
    sources: Vec<Source>,
    /// Of the next record of each source; the largest if it has ended.
    hashes: Vec<u64>,
    /// The winner, then the losers of all games.
    tree: Vec<u32>,
    /// Sources that wait for their files.
    waiting: Vec<u32>,
    is_built: bool,
}

impl Merge {
    /// Of sorted pieces of memory, then of runs.
    pub(super) fn new(pieces: Vec<Vec<u8>>, runs: impl IntoIterator<Item = RunReader>) -> Self {
        let source = |bytes, run| Source { bytes, at: 0, run, has_ended: false };
        let pieces = pieces.into_iter().map(|piece| source(piece, None));
        let runs = runs.into_iter().map(|run| source(Vec::new(), Some(run)));
        let sources: Vec<_> = pieces.chain(runs).collect();
        let count = sources.len();
        Self {
            sources,
            hashes: vec![0; count],
            tree: vec![NOBODY; count],
            waiting: (0..count as u32).collect(),
            is_built: false,
        }
    }

    /// Takes what has come of files. Says whether the next record is known.
    #[inline]
    pub(super) fn settle(&mut self, io: &Io) -> io::Result<bool> {
        if self.waiting.is_empty() { Ok(true) } else { self.settle_waiting(io) }
    }

    #[inline(never)]
    fn settle_waiting(&mut self, io: &Io) -> io::Result<bool> {
        let mut still = 0;
        for index in 0..self.waiting.len() {
            let source = self.waiting[index];
            if self.sources[source as usize].fill(io)? {
                self.note(source);
                if self.is_built {
                    self.play(source);
                }
            } else {
                self.waiting[still] = source;
                still += 1;
            }
        }
        self.waiting.truncate(still);
        if still > 0 {
            return Ok(false);
        }
        if !self.is_built {
            self.is_built = true;
            (0..self.sources.len() as u32).for_each(|source| self.play(source));
        }
        Ok(true)
    }

    /// The next record and its bytes, after [`settle`](Self::settle) said that it is known; none at the end.
    #[inline]
    pub(super) fn head(&self) -> Option<(SortedRecord<'_>, &[u8])> {
        let source = &self.sources[*self.tree.first()? as usize];
        let (record, len) = source.head()?;
        let Source { bytes, at, .. } = source;
        Some((record, &bytes[*at..*at + len]))
    }

    /// Goes on behind the next record.
    #[inline]
    pub(super) fn pop(&mut self, io: &Io) -> io::Result<()> {
        let Some(&winner) = self.tree.first() else { return Ok(()) };
        let source = &mut self.sources[winner as usize];
        let Some((_, len)) = source.head() else { return Ok(()) };
        source.at += len;
        if source.head().is_none() && !source.fill(io)? {
            self.waiting.push(winner);
            return Ok(());
        }
        self.note(winner);
        self.play(winner);
        Ok(())
    }

    #[inline]
    fn note(&mut self, source: u32) {
        let head = self.sources[source as usize].head();
        self.hashes[source as usize] = head.map_or(u64::MAX, |(record, _)| record.hash);
    }

    /// The next record of a source plays its way up.
    #[inline]
    fn play(&mut self, source: u32) {
        let (mut winner, mut node) = (source, (source as usize + self.sources.len()) / 2);
        while node > 0 {
            if self.is_before(self.tree[node], winner) {
                std::mem::swap(&mut self.tree[node], &mut winner);
            }
            node /= 2;
        }
        self.tree[0] = winner;
    }

    #[inline]
    fn is_before(&self, a: u32, b: u32) -> bool {
        if a == NOBODY || b == NOBODY {
            return a == NOBODY;
        }
        let (hash, other) = (self.hashes[a as usize], self.hashes[b as usize]);
        if hash == other { self.is_before_by_key(a, b) } else { hash < other }
    }

    #[inline(never)]
    fn is_before_by_key(&self, a: u32, b: u32) -> bool {
        match (self.sources[a as usize].head(), self.sources[b as usize].head()) {
            (Some((of_a, _)), Some((of_b, _))) => of_a.order(&of_b).then(a.cmp(&b)).is_lt(),
            (of_a, of_b) => (of_a.is_none(), a) < (of_b.is_none(), b),
        }
    }
}
