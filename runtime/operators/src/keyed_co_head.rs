//! The head of a chain behind two keyed exchanges: drives an operator over the state of their keys, which are of one
//! type. Either input goes through the loop of `keyed_loop`.
//!
//! # What is always true
//!
//! 1. Records of one key and input are applied in the order of their arrival.
//! 2. A record that waits for its row keeps back those of its key from both inputs.

use std::marker::PhantomData;

use wiesel_core::{Blame, Meta, Nanos, TaskFailure, Timestamp};
use wiesel_record::{FnView, Invalid, Key, Record};
use wiesel_state::{KeyBatch, Spot, Spots};
use wiesel_wire::Frame;

use crate::{
    AlignedBytes, BatchHead, Either, Head, KeyedCoOperator, KeyedCoStart, Link, Located,
    OutputPort, Pace, Polled, Progress, Restoring, Snapshot, SortedHead, SortedRecord, Sorter,
    Start, Status, TaskContext, VisitList, VisitTable, descriptors,
    keyed_loop::{KeyedLoop, Parking},
    sorted::sort_frame,
};

/// A record of either input.
pub(crate) enum OneOf<T1, T2> {
    First(T1),
    Second(T2),
}

/// Drives a [`KeyedCoOperator`].
pub struct KeyedCoHead<T1, T2, K, F1, F2, P, D> {
    first_key_of: F1,
    second_key_of: F2,
    operator: P,
    next: D,
    spots: Spots,
    parking: Parking<OneOf<T1, T2>>,
    context: TaskContext,
    types: PhantomData<fn() -> K>,
}

/// A chain that starts at two keyed exchanges.
pub struct KeyedCoHeadStart<T1, T2, K, F1, F2, P> {
    first_key_of: F1,
    second_key_of: F2,
    operator: P,
    types: PhantomData<fn(T1, T2) -> K>,
}

impl<T1: Record, T2: Record, K, F1, F2, P> KeyedCoHeadStart<T1, T2, K, F1, F2, P> {
    /// Reads the keys of each input with its function and applies `operator` to them.
    pub fn new(first_key_of: F1, second_key_of: F2, operator: P) -> Self {
        Self { first_key_of, second_key_of, operator, types: PhantomData }
    }
}

impl<T1, T2, K, F1: Clone, F2: Clone, P: Clone> Clone for KeyedCoHeadStart<T1, T2, K, F1, F2, P> {
    fn clone(&self) -> Self {
        Self {
            first_key_of: self.first_key_of.clone(),
            second_key_of: self.second_key_of.clone(),
            operator: self.operator.clone(),
            types: PhantomData,
        }
    }
}

impl<T1, T2, K, F1, F2, P> Start for KeyedCoHeadStart<T1, T2, K, F1, F2, P>
where
    T1: Record,
    T2: Record,
    K: Key,
    F1: for<'a> FnView<'a, T1::View<'a>, K::View<'a>> + Clone + Send + 'static,
    F2: for<'a> FnView<'a, T2::View<'a>, K::View<'a>> + Clone + Send + 'static,
    P: KeyedCoStart<T1, T2, K>,
{
    type Out = <P::Operator as KeyedCoOperator<T1, T2, K>>::Out;
    type Head<D: Link<Self::Out>> = Either<
        KeyedCoHead<T1, T2, K, F1, F2, P::Operator, D>,
        SortedHead<KeyedCoHead<T1, T2, K, F1, F2, P::Operator, D>>,
    >;

    fn head<D: Link<Self::Out>>(
        self,
        next: D,
        context: &TaskContext,
    ) -> Result<Self::Head<D>, TaskFailure> {
        let make = |context: &TaskContext| -> Result<_, TaskFailure> {
            Ok(KeyedCoHead {
                first_key_of: self.first_key_of,
                second_key_of: self.second_key_of,
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

/// The loop over one of both inputs.
macro_rules! keyed_loop {
    ($input:literal, $record:ident, $key_of:ident, $apply:ident, $waiting:path) => {
        impl<T1, T2, K, F1, F2, P, D> KeyedLoop<$record, K, $input>
            for KeyedCoHead<T1, T2, K, F1, F2, P, D>
        where
            T1: Record,
            T2: Record,
            K: Key,
            F1: for<'a> FnView<'a, T1::View<'a>, K::View<'a>> + 'static,
            F2: for<'a> FnView<'a, T2::View<'a>, K::View<'a>> + 'static,
            P: KeyedCoOperator<T1, T2, K>,
            D: Link<P::Out>,
        {
            const FINDS_AHEAD: bool = P::FINDS_AHEAD;

            type Waiting = OneOf<T1, T2>;

            #[inline(always)]
            fn key_of<'v>(&self, value: $record::View<'v>) -> K::View<'v> {
                (self.$key_of)(value)
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
                self.operator.prefetch($input, spot);
            }

            #[inline(always)]
            fn wants_prefetch(&self) -> bool {
                self.operator.wants_prefetch($input)
            }

            #[inline(always)]
            fn begin_ahead(&mut self) -> bool {
                self.operator.begin_ahead($input)
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

            fn waiting(value: $record) -> OneOf<T1, T2> {
                $waiting(value)
            }

            fn parking(&mut self) -> &mut Parking<OneOf<T1, T2>> {
                &mut self.parking
            }

            #[inline(always)]
            fn apply(&mut self, at: Located, value: $record::View<'_>, meta: Meta) {
                self.operator.$apply((self.$key_of)(value), at, value, meta, &mut self.next);
            }

            fn unpark_arrived(&mut self, pace: &mut Pace) -> bool {
                self.unpark_both(pace)
            }
        }
    };
}

keyed_loop!(0, T1, first_key_of, apply_first, OneOf::First);
keyed_loop!(1, T2, second_key_of, apply_second, OneOf::Second);

impl<T1, T2, K, F1, F2, P, D> KeyedCoHead<T1, T2, K, F1, F2, P, D>
where
    T1: Record,
    T2: Record,
    K: Key,
    F1: for<'a> FnView<'a, T1::View<'a>, K::View<'a>> + 'static,
    F2: for<'a> FnView<'a, T2::View<'a>, K::View<'a>> + 'static,
    P: KeyedCoOperator<T1, T2, K>,
    D: Link<P::Out>,
{
    fn unpark_both(&mut self, pace: &mut Pace) -> bool {
        let operator = &mut self.operator;
        let Some(arrived) = self.parking.take_arrived(|keys| operator.poll_arrivals(keys)) else {
            return false;
        };
        for parked in arrived {
            if self.context.has_failed() {
                break;
            }
            let at = Located { hash: parked.hash, spot: self.spots.of(parked.hash), ahead: None };
            match parked.value {
                OneOf::First(value) => {
                    KeyedLoop::<T1, K, 0>::apply(self, at, value.view(), parked.meta);
                }
                OneOf::Second(value) => {
                    KeyedLoop::<T2, K, 1>::apply(self, at, value.view(), parked.meta);
                }
            }
            let _ = pace.is_over(); // A batch is one expansion: what it emits is paid from the overdraft.
        }
        true
    }
}

impl<T1, T2, K, F1, F2, P, D> BatchHead for KeyedCoHead<T1, T2, K, F1, F2, P, D>
where
    T1: Record,
    T2: Record,
    K: Key,
    F1: for<'a> FnView<'a, T1::View<'a>, K::View<'a>> + 'static,
    F2: for<'a> FnView<'a, T2::View<'a>, K::View<'a>> + 'static,
    P: KeyedCoOperator<T1, T2, K>,
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
        let Self { first_key_of, second_key_of, parking, context, .. } = self;
        let scratch = parking.scratch();
        match input {
            0 => sort_frame::<T1, K>(0, frame, cursor, &*first_key_of, sorter, scratch, pace),
            1 => sort_frame::<T2, K>(1, frame, cursor, &*second_key_of, sorter, scratch, pace),
            _ => no_such_input(context, input, frame, cursor),
        }
    }

    fn apply_sorted(
        &mut self,
        record: &SortedRecord<'_>,
        place: &mut AlignedBytes,
    ) -> Result<(), Invalid> {
        let at = Located { hash: record.hash, spot: self.spots.of(record.hash), ahead: None };
        let meta = record.meta();
        match record.input {
            0 => place.with::<T1, ()>(record.region, |value| {
                KeyedLoop::<T1, K, 0>::apply(self, at, value, meta);
            }),
            _ => place.with::<T2, ()>(record.region, |value| {
                KeyedLoop::<T2, K, 1>::apply(self, at, value, meta);
            }),
        }
    }

    fn end_key(&mut self, pace: &mut Pace) -> Progress {
        self.operator.end_key(&mut self.next, pace)
    }
}

impl<T1, T2, K, F1, F2, P, D> Head for KeyedCoHead<T1, T2, K, F1, F2, P, D>
where
    T1: Record,
    T2: Record,
    K: Key,
    F1: for<'a> FnView<'a, T1::View<'a>, K::View<'a>> + 'static,
    F2: for<'a> FnView<'a, T2::View<'a>, K::View<'a>> + 'static,
    P: KeyedCoOperator<T1, T2, K>,
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
        input: usize,
        frame: &Frame,
        cursor: &mut usize,
        pace: &mut Pace,
    ) -> Progress {
        match input {
            0 => KeyedLoop::<T1, K, 0>::take_frame(self, frame, cursor, pace),
            1 => KeyedLoop::<T2, K, 1>::take_frame(self, frame, cursor, pace),
            _ => no_such_input(&self.context, input, frame, cursor),
        }
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
        self.unpark_both(pace)
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

/// The graph gave a head with two inputs a third one.
#[cold]
pub(crate) fn no_such_input(
    context: &TaskContext,
    input: usize,
    frame: &Frame,
    cursor: &mut usize,
) -> Progress {
    let cause = format!("records came on input {input} of two");
    context.fail(TaskFailure::new(Blame::Runtime, "read a frame", cause));
    *cursor = frame.count() as usize;
    Progress::Done
}
