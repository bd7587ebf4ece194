//! The head of a keyed chain: a frame in three passes, and records that wait for their row.
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
//!    later one is parked too.
//! 2. A watermark is applied only when nothing is parked (the task loop sees to that).
//! 3. What is parked is bounded: above [`PARKED_BYTES_MAX`] no further record is taken.

use std::{collections::VecDeque, marker::PhantomData};

use wiesel_core::{Meta, Nanos, TaskFailure, Timestamp};
use wiesel_record::{FnView, Item, Key, Record};
use wiesel_state::{AHEAD_MAX, KeyBatch, Spot, Spots};
use wiesel_wire::{BLOCK_RECORDS, Frame, FrameView};

use crate::{
    Head, KeyedOperator, KeyedStart, Link, Located, OutputPort, Pace, Polled, Progress, Snapshot,
    Stage, Start, Status, TaskContext,
};

/// Bytes of parked records of one task: as much as a task may take as overdraft for one expansion.
const PARKED_BYTES_MAX: usize = 4 << 20;

const _: () = assert!(AHEAD_MAX == BLOCK_RECORDS); // So the hashes of a block lie side by side.

/// Keys of a frame that are located together.
struct Block {
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
struct Parked<T> {
    hash: u64,
    key: Vec<u8>,
    value: T,
    bytes: usize,
    meta: Meta,
}

/// Drives a [`KeyedOperator`].
pub struct KeyedHead<T, K, F, P, D> {
    key_of: F,
    operator: P,
    next: D,
    spots: Spots,
    parked: VecDeque<Parked<T>>,
    parked_bytes: usize,
    keys: KeyBatch,
    missing: Vec<usize>,
    scratch: Vec<u8>,
    context: TaskContext,
    types: PhantomData<fn(T) -> K>,
}

/// A chain that starts at a keyed exchange.
pub struct KeyedHeadStart<T, K, F, P> {
    key_of: F,
    operator: P,
    types: PhantomData<fn(T) -> K>,
}

impl<T: Record, K, F, P> KeyedHeadStart<T, K, F, P> {
    /// Reads keys with `key_of` and applies `operator` to them.
    pub fn new(key_of: F, operator: P) -> Self {
        Self { key_of, operator, types: PhantomData }
    }
}

impl<T, K, F: Clone, P: Clone> Clone for KeyedHeadStart<T, K, F, P> {
    fn clone(&self) -> Self {
        Self { key_of: self.key_of.clone(), operator: self.operator.clone(), types: PhantomData }
    }
}

impl<T, K, F, P> Start for KeyedHeadStart<T, K, F, P>
where
    T: Record,
    K: Key,
    F: for<'a> FnView<'a, T::View<'a>, K::View<'a>> + Clone + Send + 'static,
    P: KeyedStart<T, K>,
{
    type Out = <P::Operator as KeyedOperator<T, K>>::Out;
    type Head<D: Link<Self::Out>> = KeyedHead<T, K, F, P::Operator, D>;

    fn head<D: Link<Self::Out>>(
        self,
        next: D,
        context: &TaskContext,
    ) -> Result<Self::Head<D>, TaskFailure> {
        Ok(KeyedHead {
            key_of: self.key_of,
            operator: self.operator.operator(context)?,
            next,
            spots: Spots::new(context.key_groups(), context.max_parallelism()),
            parked: VecDeque::new(),
            parked_bytes: 0,
            keys: KeyBatch::default(),
            missing: Vec::new(),
            scratch: Vec::new(),
            context: context.clone(),
            types: PhantomData,
        })
    }
}

impl<T, K, F, P, D> KeyedHead<T, K, F, P, D>
where
    T: Record,
    K: Key,
    F: for<'a> FnView<'a, T::View<'a>, K::View<'a>> + 'static,
    P: KeyedOperator<T, K>,
    D: Link<P::Out>,
{
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
            now.spots().iter().for_each(|spot| self.operator.prefetch(*spot));
        }
        while now.len > 0 {
            self.locate_block(view, *cursor + now.len, len, next);
            if P::FINDS_AHEAD {
                self.operator.begin_ahead();
                for index in 0..now.len {
                    let key = (self.key_of)(view.record(*cursor + index).get());
                    self.operator.find_ahead(index, key, now.located(index, None));
                }
            }
            let first = *cursor;
            for index in 0..now.len {
                if PREFETCHES && index < next.len {
                    self.operator.prefetch(next.spots[index]);
                }
                let ahead = if P::FINDS_AHEAD { Some(index) } else { None };
                self.apply_one(view, first + index, now.located(index, ahead));
                if pace.is_over() {
                    *cursor = first + index + 1;
                    return Progress::Stopped;
                }
            }
            if PREFETCHES && now.len < next.len {
                // Behind a first block that is not whole.
                next.spots()[now.len..].iter().for_each(|spot| self.operator.prefetch(*spot));
            }
            *cursor = first + now.len;
            std::mem::swap(&mut now, &mut next);
        }
        Progress::Done
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
                    *hash = K::key_hash((self.key_of)(view.record(first + index).get()));
                }
            }
        }
        self.spots.of_all(&block.hashes[..block.len], &mut block.spots);
    }

    #[inline(always)]
    fn locate(&self, view: &FrameView<'_, T>, at: usize) -> Located {
        let hash =
            view.hash(at).unwrap_or_else(|| K::key_hash((self.key_of)(view.record(at).get())));
        Located { hash, spot: self.spots.of(hash), ahead: None }
    }

    /// The last record of a frame, outside of the loop: it is timed.
    #[inline(never)]
    fn apply_timed(&mut self, view: &FrameView<'_, T>, cursor: &mut usize) {
        let started = self.context.stopwatch().read();
        self.apply_one(view, *cursor, self.locate(view, *cursor));
        self.context.stopwatch().count_since(started, Stage::State);
        *cursor += 1;
    }

    #[inline(always)]
    fn apply_one(&mut self, view: &FrameView<'_, T>, at: usize, located: Located) {
        let value = view.record(at).get();
        self.operator.apply((self.key_of)(value), located, value, view.meta(at), &mut self.next);
    }

    /// All three passes.
    fn apply_resident(
        &mut self,
        view: &FrameView<'_, T>,
        cursor: &mut usize,
        pace: &mut Pace,
    ) -> Progress {
        let (from, len) = (*cursor, view.len());
        if self.parked_bytes > PARKED_BYTES_MAX {
            return Progress::Stopped;
        }
        // What has come and was not told yet is told before keys are listed again: a key that has come is in memory
        // only until then.
        self.unpark(pace);
        self.keys.clear();
        for at in from..len {
            let hash = self.locate(view, at).hash;
            let (key, keys) = ((self.key_of)(view.record(at).get()), &mut self.keys);
            K::with_key_bytes(key, &mut self.scratch, |key| keys.push(hash, key));
        }
        self.missing.clear();
        self.operator.list_missing(&self.keys, &mut self.missing);
        let mut missing = self.missing.iter().copied().peekable();
        for at in from..len {
            let (hash, key) = self.keys.get(at - from);
            let is_missing = missing.next_if_eq(&(at - from)).is_some();
            if is_missing
                || self.parked.iter().any(|parked| parked.hash == hash && parked.key == key)
            {
                let record = view.record(at);
                let bytes = record.region().len() + key.len();
                self.parked_bytes += bytes;
                let (key, value, meta) = (key.to_vec(), record.into_owned(), view.meta(at));
                self.parked.push_back(Parked { hash, key, value, bytes, meta });
            } else {
                let value = view.record(at).get();
                let (key, located) = (
                    (self.key_of)(value),
                    Located { hash, spot: self.spots.of(hash), ahead: None },
                );
                self.operator.apply(key, located, value, view.meta(at), &mut self.next);
            }
            if pace.is_over() {
                return stopped_behind(at, len, cursor);
            }
        }
        *cursor = len;
        Progress::Done
    }
}

impl<T, K, F, P, D> Head for KeyedHead<T, K, F, P, D>
where
    T: Record,
    K: Key,
    F: for<'a> FnView<'a, T::View<'a>, K::View<'a>> + 'static,
    P: KeyedOperator<T, K>,
    D: Link<P::Out>,
{
    fn open(&mut self) -> Result<(), TaskFailure> {
        self.next.open()
    }

    fn frame(
        &mut self,
        _input: usize,
        frame: &Frame,
        cursor: &mut usize,
        pace: &mut Pace,
    ) -> Progress {
        let view = FrameView::<T>::new(frame);
        let from = *cursor;
        let progress = if self.operator.may_miss() {
            self.apply_resident(&view, cursor, pace)
        } else {
            let progress = match self.operator.wants_prefetch() {
                true => self.apply_all::<true>(&view, cursor, pace),
                false => self.apply_all::<false>(&view, cursor, pace),
            };
            if progress == Progress::Done && *cursor < view.len() {
                self.apply_timed(&view, cursor);
            }
            progress
        };
        self.context.metrics().records_in.add((*cursor - from) as u64);
        progress
    }

    fn watermark(&mut self, watermark: Timestamp, pace: &mut Pace) -> Progress {
        if self.operator.watermark(watermark, &mut self.next, pace) == Progress::Stopped {
            return Progress::Stopped;
        }
        self.operator.forward_watermark(watermark);
        self.next.watermark(watermark)
    }

    fn status(&mut self, status: Status) {
        self.operator.forward_status(status);
        self.next.status(status);
    }

    fn poll(&mut self, _pace: &mut Pace) -> Polled {
        Polled::Finished
    }

    fn next_timer(&self) -> Option<Timestamp> {
        self.operator.next_timer()
    }

    fn advance_time(&mut self, now: Timestamp, pace: &mut Pace) -> Progress {
        self.operator.advance_time(now, &mut self.next, pace)
    }

    fn tick(&mut self, now: Nanos, is_idle: bool) {
        self.next.tick(now, is_idle);
    }

    fn finish(&mut self, _pace: &mut Pace) -> Progress {
        self.next.finish()
    }

    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        self.next.ports(visit);
        self.operator.ports(visit);
    }

    fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    fn unpark(&mut self, pace: &mut Pace) -> bool {
        self.keys.clear();
        self.operator.poll_arrivals(&mut self.keys);
        if self.keys.is_empty() {
            return false;
        }
        // Every parked record of an arrived key goes, in order: its row is resident from now on.
        let arrived = std::mem::take(&mut self.keys);
        let waiting = std::mem::take(&mut self.parked);
        for parked in waiting {
            let has_come =
                (0..arrived.len()).any(|at| arrived.get(at) == (parked.hash, &parked.key[..]));
            if !has_come || self.context.has_failed() {
                self.parked.push_back(parked);
                continue;
            }
            self.parked_bytes -= parked.bytes;
            let key = (self.key_of)(parked.value.view());
            let value = parked.value.view();
            let at = Located { hash: parked.hash, spot: self.spots.of(parked.hash), ahead: None };
            self.operator.apply(key, at, value, parked.meta, &mut self.next);
            let _ = pace.is_over(); // A batch is one expansion: what it emits is paid from the overdraft.
        }
        self.keys = arrived;
        true
    }

    fn snapshot(&mut self, snapshot: &mut Snapshot) {
        assert!(self.parked.is_empty(), "aligned barriers come behind parked records");
        self.operator.snapshot(snapshot);
        self.next.snapshot(snapshot);
    }

    fn restore(&mut self, snapshot: &Snapshot) -> Result<(), TaskFailure> {
        self.operator.restore(snapshot)?;
        self.next.restore(snapshot)
    }
}

/// The turn ended behind record `at`.
#[inline(always)]
fn stopped_behind(at: usize, len: usize, cursor: &mut usize) -> Progress {
    *cursor = at + 1;
    if at + 1 == len { Progress::Done } else { Progress::Stopped }
}
