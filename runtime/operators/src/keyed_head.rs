//! The head of a keyed chain: a frame in three passes, and records that wait for their row.
//!
//! ```text
//!   frame ─▶ 1 prefetch the groups of the next keys   (hashes come in the frame: nothing is hashed again)
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
use wiesel_state::{KeyBatch, PREFETCH_AHEAD};
use wiesel_wire::{Frame, FrameView};

use crate::{Head, Link, OutputPort, Pace, Polled, Progress, Snapshot, Start, Status, TaskContext};

/// Bytes of parked records of one task: as much as a task may take as overdraft for one expansion.
const PARKED_BYTES_MAX: usize = 4 << 20;

/// What happens to the records of one key: the keyed part of a head.
pub trait KeyedOperator<T: Record, K: Key>: 'static {
    /// What comes out.
    type Out: Record;

    /// A key of this hash will be looked up soon.
    fn prefetch(&self, hash: u64);

    /// Whether prefetching pays: whether the state is larger than a cache.
    fn wants_prefetch(&self) -> bool;

    /// Whether rows can be missing at all.
    fn may_miss(&self) -> bool {
        false
    }

    /// Lists, by index, the keys whose rows are not resident, and asks for them.
    fn list_missing(&mut self, keys: &KeyBatch, missing: &mut Vec<usize>) {
        let _ = (keys, missing);
    }

    /// Adds the keys whose rows have come.
    fn poll_arrivals(&mut self, arrived: &mut KeyBatch) {
        let _ = arrived;
    }

    /// Applies one record whose row is resident.
    fn apply<D: Link<Self::Out>>(
        &mut self,
        key: K::View<'_>,
        hash: u64,
        value: T::View<'_>,
        meta: Meta,
        next: &mut D,
    );

    /// Does what a watermark triggers; [`Progress::Stopped`] keeps a cursor. Does not pass it on.
    fn watermark<D: Link<Self::Out>>(
        &mut self,
        watermark: Timestamp,
        next: &mut D,
        pace: &mut Pace,
    ) -> Progress;

    /// The earliest processing-time timer.
    fn next_timer(&self) -> Option<Timestamp> {
        None
    }

    /// Fires processing-time timers.
    fn advance_time<D: Link<Self::Out>>(
        &mut self,
        now: Timestamp,
        next: &mut D,
        pace: &mut Pace,
    ) -> Progress {
        let _ = (now, next, pace);
        Progress::Done
    }

    /// Shows side outputs.
    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        let _ = visit;
    }

    /// The watermark or status is passed on: side outputs want it too.
    fn forward_watermark(&mut self, watermark: Timestamp) {
        let _ = watermark;
    }

    /// As [`forward_watermark`](Self::forward_watermark), for the status.
    fn forward_status(&mut self, status: Status) {
        let _ = status;
    }

    /// Adds all keyed state, by key group.
    fn snapshot(&mut self, snapshot: &mut Snapshot);

    /// Takes the state of the key groups of this subtask.
    ///
    /// # Errors
    ///
    /// If it is damaged, or has another schema.
    fn restore(&mut self, snapshot: &Snapshot) -> Result<(), TaskFailure>;
}

/// Makes the operator of one subtask.
pub trait KeyedStart<T: Record, K: Key>: Clone + Send + 'static {
    /// The operator.
    type Operator: KeyedOperator<T, K>;

    /// Makes it.
    ///
    /// # Errors
    ///
    /// If its state cannot be laid out.
    fn operator(self, context: &TaskContext) -> Result<Self::Operator, TaskFailure>;
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
    /// Passes one and three, when every row is resident.
    #[inline]
    fn apply_all(
        &mut self,
        view: &FrameView<'_, T>,
        cursor: &mut usize,
        pace: &mut Pace,
    ) -> Progress {
        let (from, len) = (*cursor, view.len());
        let mut fetched = if self.operator.wants_prefetch() { from } else { len };
        for at in from..len {
            while fetched < len && fetched <= at + PREFETCH_AHEAD {
                if let Some(hash) = view.hash(fetched) {
                    self.operator.prefetch(hash);
                }
                fetched += 1;
            }
            let record = view.record(at);
            let key = (self.key_of)(record.get());
            let hash = hash_of::<K>(view.hash(at), key);
            self.operator.apply(key, hash, record.get(), view.meta(at), &mut self.next);
            if pace.is_over() {
                *cursor = at + 1;
                return if at + 1 == len { Progress::Done } else { Progress::Stopped };
            }
        }
        *cursor = len;
        Progress::Done
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
            let key = (self.key_of)(view.record(at).get());
            let hash = hash_of::<K>(view.hash(at), key);
            let keys = &mut self.keys;
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
                let record = view.record(at);
                let key = (self.key_of)(record.get());
                self.operator.apply(key, hash, record.get(), view.meta(at), &mut self.next);
            }
            if pace.is_over() {
                *cursor = at + 1;
                return if at + 1 == len { Progress::Done } else { Progress::Stopped };
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
            self.apply_all(&view, cursor, pace)
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
            self.operator.apply(key, parked.hash, value, parked.meta, &mut self.next);
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

/// The hash that came in the frame; computed only on an edge without that column.
#[inline]
fn hash_of<K: Key>(column: Option<u64>, key: K::View<'_>) -> u64 {
    column.unwrap_or_else(|| K::key_hash(key))
}
