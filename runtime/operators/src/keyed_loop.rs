//! The loop over a frame of keyed records, in three passes, and records that wait for their row. Written once for heads
//! of one input and of two: a head says what one record of an input is, and is inlined into the loop over it.
//!
//! ```text
//!   frame ─▶ 1 locate and prefetch the next block of keys   (hashes come in the frame: nothing is hashed again)
//!         ─▶ 2 list the rows that are not resident, ask for them in one batch   (memory: never)
//!         ─▶ 3 apply, in order; a record whose row is on its way is parked
//! ```
//!
//! # What is always true
//!
//! 1. Records of one key are applied in the order of their arrival: behind a parked record of its key every
//!    later one is parked too, from whatever input.
//! 2. What is parked is bounded: above [`PARKED_BYTES_MAX`] no further record is taken.

use std::collections::VecDeque;

use wiesel_core::Meta;
use wiesel_record::{Item, Key, Record};
use wiesel_state::{AHEAD_MAX, KeyBatch, Spot, Spots};
use wiesel_wire::{BLOCK_RECORDS, Frame, FrameView};

use crate::{Located, Pace, Progress, Stage, TaskContext};

/// Bytes of parked records of one task: as much as a task may take as overdraft for one expansion.
const PARKED_BYTES_MAX: usize = 4 << 20;

const _: () = assert!(AHEAD_MAX == BLOCK_RECORDS); // So the hashes of a block lie side by side.

/// Keys of a frame that are located together.
pub(crate) struct Block {
    len: usize,
    hashes: [u64; AHEAD_MAX],
    spots: [Spot; AHEAD_MAX],
}

impl Default for Block {
    fn default() -> Self {
        Self { len: 0, hashes: [0; AHEAD_MAX], spots: [Spot::default(); AHEAD_MAX] }
    }
}

impl Block {
    fn spots(&self) -> &[Spot] {
        &self.spots[..self.len]
    }

    #[inline(always)]
    fn located(&self, index: usize, ahead: Option<usize>) -> Located {
        Located { hash: self.hashes[index], spot: self.spots[index], ahead }
    }
}

/// A record that waits for its row.
pub(crate) struct Parked<R> {
    pub(crate) hash: u64,
    key: Vec<u8>,
    pub(crate) value: R,
    bytes: usize,
    pub(crate) meta: Meta,
}

/// Records that wait for their rows, in the order of their arrival.
pub(crate) struct Parking<R> {
    parked: VecDeque<Parked<R>>,
    bytes: usize,
    /// Those of a frame, or those that have come.
    keys: KeyBatch,
    missing: Vec<usize>,
    scratch: Vec<u8>,
}

impl<R> Parking<R> {
    pub(crate) fn new() -> Self {
        Self {
            parked: VecDeque::new(),
            bytes: 0,
            keys: KeyBatch::new(),
            missing: Vec::new(),
            scratch: Vec::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parked.is_empty()
    }

    /// For the bytes of a key.
    pub(crate) fn scratch(&mut self) -> &mut Vec<u8> {
        &mut self.scratch
    }

    /// Takes out what waits for the keys that `poll` adds, in order; nothing if it adds none.
    pub(crate) fn take_arrived(
        &mut self,
        poll: impl FnOnce(&mut KeyBatch),
    ) -> Option<VecDeque<Parked<R>>> {
        self.keys.clear();
        poll(&mut self.keys);
        if self.keys.is_empty() {
            return None;
        }
        let keys = &self.keys;
        let has_come =
            |parked: &Parked<R>| keys.iter().any(|key| key == (parked.hash, &parked.key[..]));
        let (arrived, waiting) = self.parked.drain(..).partition(has_come);
        self.parked = waiting;
        self.bytes -= arrived.iter().map(|parked: &Parked<R>| parked.bytes).sum::<usize>();
        Some(arrived)
    }

    fn holds(&self, hash: u64, key: &[u8]) -> bool {
        self.parked.iter().any(|parked| parked.hash == hash && parked.key == key)
    }
}

/// What the loop needs to know of a head: its input `INPUT`, with records of type `T`.
///
/// All but [`unpark_arrived`](Self::unpark_arrived) is called per record, and should be inlined.
pub(crate) trait KeyedLoop<T: Record, K: Key, const INPUT: usize> {
    /// Whether blocks of keys are looked up before they are applied.
    const FINDS_AHEAD: bool;

    /// What is parked of a record.
    type Waiting;

    fn key_of<'v>(&self, value: T::View<'v>) -> K::View<'v>;
    fn spots(&self) -> &Spots;
    fn context(&self) -> &TaskContext;
    fn prefetch(&self, spot: Spot);
    fn wants_prefetch(&self) -> bool;
    fn begin_ahead(&mut self) -> bool;
    fn find_ahead(&mut self, index: usize, key: K::View<'_>, at: Located, marks: bool);
    fn may_miss(&self) -> bool;
    fn list_missing(&mut self, keys: &KeyBatch, missing: &mut Vec<usize>);
    fn waiting(value: T) -> Self::Waiting;
    fn parking(&mut self) -> &mut Parking<Self::Waiting>;

    /// Applies one record whose row is resident.
    fn apply(&mut self, at: Located, value: T::View<'_>, meta: Meta);

    /// Applies what is parked, of any input, whose rows have come; says whether any had.
    fn unpark_arrived(&mut self, pace: &mut Pace) -> bool;

    /// Takes records `*cursor..` of a frame: what [`Head::frame`](crate::Head::frame) does.
    #[inline(always)]
    fn take_frame(&mut self, frame: &Frame, cursor: &mut usize, pace: &mut Pace) -> Progress {
        let view = FrameView::<T>::new(frame);
        let from = *cursor;
        let progress = if self.may_miss() {
            self.apply_resident(&view, cursor, pace)
        } else {
            let progress = match self.wants_prefetch() {
                true => self.apply_all::<true>(&view, cursor, pace),
                false => self.apply_all::<false>(&view, cursor, pace),
            };
            if progress == Progress::Done && *cursor < view.len() {
                self.apply_timed(&view, cursor);
            }
            progress
        };
        self.context().metrics().records_in.add((*cursor - from) as u64);
        progress
    }

    /// Passes one and three of all records but the last, when every row is resident. While a block is applied, the
    /// lines of the next one are on their way.
    #[inline]
    fn apply_all<const PREFETCHES: bool>(
        &mut self,
        view: &FrameView<'_, T>,
        cursor: &mut usize,
        pace: &mut Pace,
    ) -> Progress {
        let len = view.len().saturating_sub(1);
        let mut blocks = [Block::default(), Block::default()];
        let [now, next] = &mut blocks;
        let (mut now, mut next) = (now, next);
        self.locate_block(view, *cursor, len, now);
        if PREFETCHES {
            now.spots().iter().for_each(|spot| self.prefetch(*spot));
        }
        while now.len > 0 {
            self.locate_block(view, *cursor + now.len, len, next);
            if Self::FINDS_AHEAD {
                // Twice the loop, so that who leaves no marks does not ask for them.
                if self.begin_ahead() {
                    self.find_block(view, *cursor, now, true);
                } else {
                    self.find_block(view, *cursor, now, false);
                }
            }
            let first = *cursor;
            for index in 0..now.len {
                if PREFETCHES && index < next.len {
                    self.prefetch(next.spots[index]);
                }
                let ahead = if Self::FINDS_AHEAD { Some(index) } else { None };
                self.apply_one(view, first + index, now.located(index, ahead));
                if pace.is_over() {
                    *cursor = first + index + 1;
                    return Progress::Stopped;
                }
            }
            if PREFETCHES && now.len < next.len {
                // Behind a first block that is not whole.
                next.spots()[now.len..].iter().for_each(|spot| self.prefetch(*spot));
            }
            *cursor = first + now.len;
            std::mem::swap(&mut now, &mut next);
        }
        Progress::Done
    }

    /// Looks up the keys of a block.
    #[inline(always)]
    fn find_block(&mut self, view: &FrameView<'_, T>, first: usize, block: &Block, marks: bool) {
        for index in 0..block.len {
            let key = self.key_of(view.record(first + index).get());
            self.find_ahead(index, key, block.located(index, None), marks);
        }
    }

    /// Fills `block` with what is left of the block at `first`, below `end`.
    #[inline(always)]
    fn locate_block(&self, view: &FrameView<'_, T>, first: usize, end: usize, block: &mut Block) {
        block.len = (AHEAD_MAX - first % AHEAD_MAX).min(end - first);
        match view.hashes(first, block.len) {
            Some(hashes) => {
                for (hash, bytes) in block.hashes.iter_mut().zip(hashes) {
                    *hash = u64::from_le_bytes(*bytes);
                }
            }
            // It is computed only on an edge without that column.
            None => {
                for (index, hash) in block.hashes[..block.len].iter_mut().enumerate() {
                    *hash = K::key_hash(self.key_of(view.record(first + index).get()));
                }
            }
        }
        self.spots().of_all(&block.hashes[..block.len], &mut block.spots);
    }

    #[inline(always)]
    fn locate(&self, view: &FrameView<'_, T>, at: usize) -> Located {
        let hash = view.hash(at).unwrap_or_else(|| K::key_hash(self.key_of(view.record(at).get())));
        Located { hash, spot: self.spots().of(hash), ahead: None }
    }

    /// The last record of a frame, outside of the loop: it is timed.
    #[inline(never)]
    fn apply_timed(&mut self, view: &FrameView<'_, T>, cursor: &mut usize) {
        let started = self.context().stopwatch().read();
        self.apply_one(view, *cursor, self.locate(view, *cursor));
        self.context().stopwatch().count_since(started, Stage::State);
        *cursor += 1;
    }

    #[inline(always)]
    fn apply_one(&mut self, view: &FrameView<'_, T>, at: usize, located: Located) {
        self.apply(located, view.record(at).get(), view.meta(at));
    }

    /// All three passes.
    fn apply_resident(
        &mut self,
        view: &FrameView<'_, T>,
        cursor: &mut usize,
        pace: &mut Pace,
    ) -> Progress {
        let (from, len) = (*cursor, view.len());
        if self.parking().bytes > PARKED_BYTES_MAX {
            return Progress::Stopped;
        }
        // What has come and was not told yet is told before keys are listed again: a key that has come is in memory
        // only until then.
        self.unpark_arrived(pace);
        let mut keys = std::mem::take(&mut self.parking().keys);
        let mut missing = std::mem::take(&mut self.parking().missing);
        let mut scratch = std::mem::take(&mut self.parking().scratch);
        keys.clear();
        for at in from..len {
            let hash = self.locate(view, at).hash;
            let key = self.key_of(view.record(at).get());
            K::with_key_bytes(key, &mut scratch, |key| keys.push(hash, key));
        }
        missing.clear();
        self.list_missing(&keys, &mut missing);
        let mut absent = missing.iter().copied().peekable();
        let mut progress = Progress::Done;
        for at in from..len {
            let (hash, key) = keys.get(at - from);
            let is_absent = absent.next_if_eq(&(at - from)).is_some();
            if is_absent || self.parking().holds(hash, key) {
                let record = view.record(at);
                let bytes = record.region().len() + key.len();
                let (key, value) = (key.to_vec(), Self::waiting(record.into_owned()));
                let parking = self.parking();
                parking.bytes += bytes;
                parking.parked.push_back(Parked { hash, key, value, bytes, meta: view.meta(at) });
            } else {
                let located = Located { hash, spot: self.spots().of(hash), ahead: None };
                self.apply_one(view, at, located);
            }
            *cursor = at + 1;
            if pace.is_over() && *cursor < len {
                progress = Progress::Stopped;
                break;
            }
        }
        let parking = self.parking();
        (parking.keys, parking.missing, parking.scratch) = (keys, missing, scratch);
        progress
    }
}
