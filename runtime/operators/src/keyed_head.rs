//! The head of a keyed chain: drives an operator over keyed state, a frame at a time. The loop is in `keyed_loop`.
//!
//! # What is always true
//!
//! 1. Records of one key are applied in the order of their arrival.
//! 2. A watermark is applied only when nothing is parked (the task loop sees to that).

use std::marker::PhantomData;

use wiesel_core::{Meta, Nanos, TaskFailure, Timestamp};
use wiesel_record::{FnView, Invalid, Key, Record};
use wiesel_state::{KeyBatch, Spot, Spots};
use wiesel_wire::Frame;

use crate::{
    AlignedBytes, BatchHead, Either, Head, KeyedOperator, KeyedStart, Link, Located, OutputPort,
    Pace, Polled, Progress, Restoring, Snapshot, SortedHead, SortedRecord, Sorter, Start, Status,
    TaskContext, VisitList, VisitTable, descriptors,
    keyed_loop::{KeyedLoop, Parking},
    sorted::sort_frame,
};

/// Drives a [`KeyedOperator`].
pub struct KeyedHead<T, K, F, P, D> {
    key_of: F,
    operator: P,
    next: D,
    spots: Spots,
    parking: Parking<T>,
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
    type Head<D: Link<Self::Out>> =
        Either<KeyedHead<T, K, F, P::Operator, D>, SortedHead<KeyedHead<T, K, F, P::Operator, D>>>;

    fn head<D: Link<Self::Out>>(
        self,
        next: D,
        context: &TaskContext,
    ) -> Result<Self::Head<D>, TaskFailure> {
        let make = |context: &TaskContext| -> Result<_, TaskFailure> {
            Ok(KeyedHead {
                key_of: self.key_of,
                operator: self.operator.operator(context)?,
                next,
                spots: Spots::new(context.key_groups(), context.max_parallelism()),
                parking: Parking::new(),
                context: context.clone(),
                types: PhantomData,
            })
        };
        Ok(match context.is_batch() {
            true => Either::Second(SortedHead::new(make(&context.of_one_key())?, context)?),
            false => Either::First(make(context)?),
        })
    }
}

impl<T, K, F, P, D> KeyedLoop<T, K, 0> for KeyedHead<T, K, F, P, D>
where
    T: Record,
    K: Key,
    F: for<'a> FnView<'a, T::View<'a>, K::View<'a>> + 'static,
    P: KeyedOperator<T, K>,
    D: Link<P::Out>,
{
    const FINDS_AHEAD: bool = P::FINDS_AHEAD;

    type Waiting = T;

    #[inline(always)]
    fn key_of<'v>(&self, value: T::View<'v>) -> K::View<'v> {
        (self.key_of)(value)
    }

    #[inline(always)]
    fn spots(&self) -> &Spots {
        &self.spots
    }

    #[inline(always)]
    fn context(&self) -> &TaskContext {
        &self.context
    }

    #[inline(always)]
    fn prefetch(&self, spot: Spot) {
        self.operator.prefetch(spot);
    }

    #[inline(always)]
    fn wants_prefetch(&self) -> bool {
        self.operator.wants_prefetch()
    }

    #[inline(always)]
    fn begin_ahead(&mut self) -> bool {
        self.operator.begin_ahead()
    }

    #[inline(always)]
    fn find_ahead(&mut self, index: usize, key: K::View<'_>, at: Located, marks: bool) {
        self.operator.find_ahead(index, key, at, marks);
    }

    #[inline(always)]
    fn may_miss(&self) -> bool {
        self.operator.may_miss()
    }

    fn list_missing(&mut self, keys: &KeyBatch, missing: &mut Vec<usize>) {
        self.operator.list_missing(keys, missing);
    }

    fn waiting(value: T) -> T {
        value
    }

    fn parking(&mut self) -> &mut Parking<T> {
        &mut self.parking
    }

    #[inline(always)]
    fn apply(&mut self, at: Located, value: T::View<'_>, meta: Meta) {
        self.operator.apply((self.key_of)(value), at, value, meta, &mut self.next);
    }

    fn unpark_arrived(&mut self, pace: &mut Pace) -> bool {
        let operator = &mut self.operator;
        let Some(arrived) = self.parking.take_arrived(|keys| operator.poll_arrivals(keys)) else {
            return false;
        };
        // Every parked record of an arrived key goes, in order: its row is resident from now on.
        for parked in arrived {
            if self.context.has_failed() {
                break;
            }
            let at = Located { hash: parked.hash, spot: self.spots.of(parked.hash), ahead: None };
            self.apply(at, parked.value.view(), parked.meta);
            let _ = pace.is_over(); // A batch is one expansion: what it emits is paid from the overdraft.
        }
        true
    }
}

impl<T, K, F, P, D> BatchHead for KeyedHead<T, K, F, P, D>
where
    T: Record,
    K: Key,
    F: for<'a> FnView<'a, T::View<'a>, K::View<'a>> + 'static,
    P: KeyedOperator<T, K>,
    D: Link<P::Out>,
{
    fn sort_frame(
        &mut self,
        input: usize,
        frame: &Frame,
        cursor: &mut usize,
        sorter: &mut Sorter,
        pace: &mut Pace,
    ) -> Progress {
        let Self { key_of, parking, .. } = self;
        let scratch = parking.scratch();
        sort_frame::<T, K>(input, frame, cursor, &*key_of, sorter, scratch, pace)
    }

    fn apply_sorted(
        &mut self,
        record: &SortedRecord<'_>,
        place: &mut AlignedBytes,
    ) -> Result<(), Invalid> {
        let at = Located { hash: record.hash, spot: self.spots.of(record.hash), ahead: None };
        place.with::<T, ()>(record.region, |value| self.apply(at, value, record.meta()))
    }

    fn end_key(&mut self, pace: &mut Pace) -> Progress {
        self.operator.end_key(&mut self.next, pace)
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

    fn close(&mut self) {
        self.operator.close();
        self.next.close();
    }

    fn frame(
        &mut self,
        _input: usize,
        frame: &Frame,
        cursor: &mut usize,
        pace: &mut Pace,
    ) -> Progress {
        self.take_frame(frame, cursor, pace)
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
        !self.parking.is_empty()
    }

    fn unpark(&mut self, pace: &mut Pace) -> bool {
        self.unpark_arrived(pace)
    }

    fn snapshot(&mut self, snapshot: &mut Snapshot) {
        assert!(self.parking.is_empty(), "aligned barriers come behind parked records");
        if descriptors::has_rows(|visit| self.operator.tables(visit)) {
            descriptors::snapshot::<K>(&self.context, P::keeps(), snapshot);
        }
        self.operator.snapshot(snapshot);
        snapshot.put_tables(|visit| self.operator.tables(visit));
        self.next.snapshot(snapshot);
    }

    fn tables(&mut self, visit: &mut VisitTable<'_>) {
        self.operator.tables(visit);
    }

    fn lists(&mut self, visit: &mut VisitList<'_>) {
        self.next.lists(visit);
    }

    fn restore<'r>(&'r mut self, snapshot: &'r Snapshot) -> Restoring<'r> {
        Box::pin(async move {
            descriptors::check::<K>(&self.context, P::keeps(), snapshot)?;
            self.operator.restore(snapshot).await?;
            self.next.restore(snapshot).await
        })
    }
}
