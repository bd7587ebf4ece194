//! The head of a chain behind a keyed exchange and a broadcast one: runs a [`KeyedBroadcastProcessFunction`].
//!
//! # What is always true
//!
//! 1. The records of one key are applied in the order of their arrival, broadcast ones in that of theirs.
//! 2. A broadcast record does not wait for keyed ones that are parked.
//! 3. In batch mode broadcast records are processed as they come, and keyed ones when both inputs have ended: so every keyed
//!    record sees all that was broadcast, and a broadcast one finds no key.

use std::marker::PhantomData;

use wiesel_core::{Meta, Nanos, TaskFailure, Timestamp};
use wiesel_record::{FnView, InFrame, Invalid, Key, Record};
use wiesel_state::{KeyBatch, Spot, Spots};
use wiesel_wire::{Frame, FrameView};

use crate::{
    AlignedBytes, BatchHead, BroadcastStates, Either, Head, KeyedBroadcastContext,
    KeyedBroadcastProcessFunction, Link, Located, OperatorStateRegistry, OutputPort, Pace, Polled,
    Progress, Restoring, Snapshot, SortedHead, SortedRecord, Sorter, Start, StateRegistry, Status,
    TaskContext, TimeDomain, VisitList, VisitTable,
    flat_map::Emit,
    frame_head::FrameLoop,
    keyed_co_head::no_such_input,
    keyed_core::KeyedCore,
    keyed_loop::{KeyedLoop, Parking},
    operator_state::OperatorStates,
    rolling::CACHE_BYTES,
    sorted::sort_frame,
};

/// Runs a [`KeyedBroadcastProcessFunction`].
pub struct KeyedBroadcastHead<T, B, K, P, F, D>
where
    T: Record,
    B: Record,
    K: Key,
    F: KeyedBroadcastProcessFunction<K, T, B>,
{
    key_of: P,
    function: F,
    core: KeyedCore<K, F::Side>,
    states: BroadcastStates,
    next: D,
    spots: Spots,
    parking: Parking<T>,
    types: PhantomData<fn(B)>,
}

/// A chain that starts at a keyed exchange and a broadcast one.
pub struct KeyedBroadcastStart<T, B, K, P, F> {
    key_of: P,
    function: F,
    states: OperatorStateRegistry,
    side_slot: Option<usize>,
    types: PhantomData<fn(T, B) -> K>,
}

impl<T, B, K, P, F> KeyedBroadcastStart<T, B, K, P, F> {
    /// Reads the keys of the first input with `key_of` and processes with `function` and these states, which are
    /// broadcast ones. What it puts aside goes to the output in `side_slot`.
    pub fn new(
        key_of: P,
        function: F,
        states: OperatorStateRegistry,
        side_slot: Option<usize>,
    ) -> Self {
        Self { key_of, function, states, side_slot, types: PhantomData }
    }
}

impl<T, B, K, P: Clone, F: Clone> Clone for KeyedBroadcastStart<T, B, K, P, F> {
    fn clone(&self) -> Self {
        let Self { key_of, function, states, side_slot, .. } = self;
        Self::new(key_of.clone(), function.clone(), states.clone(), *side_slot)
    }
}

impl<T, B, K, P, F> Start for KeyedBroadcastStart<T, B, K, P, F>
where
    T: Record,
    B: Record,
    K: Key,
    P: for<'a> FnView<'a, T::View<'a>, K::View<'a>> + Clone + Send + 'static,
    F: KeyedBroadcastProcessFunction<K, T, B>,
{
    type Out = F::Out;
    type Head<D: Link<F::Out>> = Either<
        KeyedBroadcastHead<T, B, K, P, F, D>,
        SortedHead<KeyedBroadcastHead<T, B, K, P, F, D>>,
    >;

    fn head<D: Link<F::Out>>(
        mut self,
        next: D,
        context: &TaskContext,
    ) -> Result<Self::Head<D>, TaskFailure> {
        let mut registry = StateRegistry::new(context);
        self.function.open(&mut registry);
        let make = |context: &TaskContext| -> Result<_, TaskFailure> {
            Ok(KeyedBroadcastHead {
                key_of: self.key_of,
                function: self.function,
                core: KeyedCore::open(registry, self.side_slot, context)?,
                states: BroadcastStates { states: OperatorStates::new(self.states, context) },
                next,
                spots: Spots::new(context.key_groups(), context.max_parallelism()),
                parking: Parking::new(),
                types: PhantomData,
            })
        };
        Ok(match context.is_batch() {
            true => Either::Second(SortedHead::new(make(&context.of_one_key())?, context)?),
            false => Either::First(make(context)?),
        })
    }
}

impl<T, B, K, P, F, D> KeyedLoop<T, K, 0> for KeyedBroadcastHead<T, B, K, P, F, D>
where
    T: Record,
    B: Record,
    K: Key,
    P: for<'a> FnView<'a, T::View<'a>, K::View<'a>> + 'static,
    F: KeyedBroadcastProcessFunction<K, T, B>,
    D: Link<F::Out>,
{
    const FINDS_AHEAD: bool = false;

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
        &self.core.task
    }

    #[inline(always)]
    fn prefetch(&self, spot: Spot) {
        self.core.keep.table.prefetch(spot);
    }

    #[inline(always)]
    fn wants_prefetch(&self) -> bool {
        self.core.keep.table.bytes_used() > CACHE_BYTES
    }

    fn begin_ahead(&mut self) -> bool {
        false
    }

    fn find_ahead(&mut self, _index: usize, _key: K::View<'_>, _at: Located, _marks: bool) {}

    #[inline(always)]
    fn may_miss(&self) -> bool {
        self.core.keep.table.may_miss()
    }

    fn list_missing(&mut self, keys: &KeyBatch, missing: &mut Vec<usize>) {
        self.core.keep.table.list_missing(keys, missing);
    }

    fn waiting(value: T) -> T {
        value
    }

    fn parking(&mut self) -> &mut Parking<T> {
        &mut self.parking
    }

    #[inline(always)]
    fn apply(&mut self, at: Located, value: T::View<'_>, meta: Meta) {
        let Self { key_of, function, core, states, next, .. } = self;
        core.call(key_of(value), at, meta, |context| {
            function.process(value, states, context, &mut Emit { next, meta })
        });
    }

    fn unpark_arrived(&mut self, pace: &mut Pace) -> bool {
        let core = &mut self.core;
        let Some(arrived) = self.parking.take_arrived(|keys| core.poll_arrivals(keys)) else {
            return false;
        };
        for parked in arrived {
            if self.core.task.has_failed() {
                break;
            }
            let at = Located { hash: parked.hash, spot: self.spots.of(parked.hash), ahead: None };
            self.apply(at, parked.value.view(), parked.meta);
            let _ = pace.is_over(); // A batch is one expansion: what it emits is paid from the overdraft.
        }
        true
    }
}

impl<T, B, K, P, F, D> FrameLoop<B, 1> for KeyedBroadcastHead<T, B, K, P, F, D>
where
    T: Record,
    B: Record,
    K: Key,
    P: 'static,
    F: KeyedBroadcastProcessFunction<K, T, B>,
    D: Link<F::Out>,
{
    fn context(&self) -> &TaskContext {
        &self.core.task
    }

    fn push_one(&mut self, record: InFrame<'_, B>, meta: Meta) {
        let Self { function, core, states, next, .. } = self;
        let mut context = KeyedBroadcastContext::new(core, meta);
        let emit = &mut Emit { next, meta };
        let processed = function.process_broadcast(record.get(), states, &mut context, emit);
        if let Err(error) = processed {
            core.task.fail_user("process a broadcast record", error);
        }
    }
}

impl<T, B, K, P, F, D> KeyedBroadcastHead<T, B, K, P, F, D>
where
    T: Record,
    B: Record,
    K: Key,
    F: KeyedBroadcastProcessFunction<K, T, B>,
    D: Link<F::Out>,
{
    fn fire(&mut self, now: Timestamp, domain: TimeDomain, pace: &mut Pace) -> Progress {
        let Self { function, core, states, next, .. } = self;
        core.fire(now, domain, pace, |time, context| {
            let emit = &mut Emit { next, meta: context.meta };
            function.on_timer(time, domain, states, context, emit)
        })
    }
}

impl<T, B, K, P, F, D> BatchHead for KeyedBroadcastHead<T, B, K, P, F, D>
where
    T: Record,
    B: Record,
    K: Key,
    P: for<'a> FnView<'a, T::View<'a>, K::View<'a>> + 'static,
    F: KeyedBroadcastProcessFunction<K, T, B>,
    D: Link<F::Out>,
{
    fn sort_frame(
        &mut self,
        input: usize,
        frame: &Frame,
        cursor: &mut usize,
        sorter: &mut Sorter,
        pace: &mut Pace,
    ) -> Progress {
        let Self { key_of, parking, core, .. } = self;
        let scratch = parking.scratch();
        match input {
            0 => sort_frame::<T, K>(0, frame, cursor, &*key_of, sorter, scratch, pace),
            1 => {
                let view = FrameView::<B>::new(frame);
                FrameLoop::<B, 1>::push_all(self, &view, cursor, pace)
            }
            _ => no_such_input(&core.task, input, frame, cursor),
        }
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
        self.core.watermark = Timestamp::MAX;
        for domain in [TimeDomain::EventTime, TimeDomain::ProcessingTime] {
            if self.fire(Timestamp::MAX, domain, pace) == Progress::Stopped {
                return Progress::Stopped;
            }
        }
        self.core.keep.drop_rows();
        self.core.watermark = Timestamp::MIN;
        Progress::Done
    }
}

impl<T, B, K, P, F, D> Head for KeyedBroadcastHead<T, B, K, P, F, D>
where
    T: Record,
    B: Record,
    K: Key,
    P: for<'a> FnView<'a, T::View<'a>, K::View<'a>> + 'static,
    F: KeyedBroadcastProcessFunction<K, T, B>,
    D: Link<F::Out>,
{
    fn open(&mut self) -> Result<(), TaskFailure> {
        self.next.open()?;
        self.states.states.open()
    }

    fn close(&mut self) {
        let Self { function, core, .. } = self;
        core.task.close_function(|| function.close());
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
            0 => KeyedLoop::<T, K, 0>::take_frame(self, frame, cursor, pace),
            1 => FrameLoop::<B, 1>::take_frame(self, frame, cursor, pace),
            _ => no_such_input(&self.core.task, input, frame, cursor),
        }
    }

    fn watermark(&mut self, watermark: Timestamp, pace: &mut Pace) -> Progress {
        self.core.watermark = watermark; // Before the timers: they see the new one.
        if self.fire(watermark, TimeDomain::EventTime, pace) == Progress::Stopped {
            return Progress::Stopped;
        }
        self.core.forward_watermark(watermark);
        self.next.watermark(watermark)
    }

    fn status(&mut self, status: Status) {
        self.core.forward_status(status);
        self.next.status(status);
    }

    fn poll(&mut self, _pace: &mut Pace) -> Polled {
        Polled::Finished
    }

    fn next_timer(&self) -> Option<Timestamp> {
        self.core.keep.next_timer()
    }

    fn advance_time(&mut self, now: Timestamp, pace: &mut Pace) -> Progress {
        let progress = self.fire(now, TimeDomain::ProcessingTime, pace);
        if progress == Progress::Done {
            self.core.sweep(now, pace);
        }
        progress
    }

    fn tick(&mut self, now: Nanos, is_idle: bool) {
        self.next.tick(now, is_idle);
    }

    fn finish(&mut self, _pace: &mut Pace) -> Progress {
        self.next.finish()
    }

    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        self.next.ports(visit);
        self.core.ports(visit);
    }

    fn has_parked(&self) -> bool {
        !self.parking.is_empty()
    }

    fn unpark(&mut self, pace: &mut Pace) -> bool {
        self.unpark_arrived(pace)
    }

    fn snapshot(&mut self, snapshot: &mut Snapshot) {
        assert!(self.parking.is_empty(), "aligned barriers come behind parked records");
        self.core.snapshot(snapshot);
        snapshot.put_tables(|visit| self.core.tables(visit));
        let Self { core, states, .. } = self;
        states.states.snapshot(&core.task, snapshot);
        self.next.snapshot(snapshot);
    }

    fn tables(&mut self, visit: &mut VisitTable<'_>) {
        self.core.tables(visit);
    }

    fn lists(&mut self, visit: &mut VisitList<'_>) {
        self.states.states.lists(visit);
        self.next.lists(visit);
    }

    fn restore<'r>(&'r mut self, snapshot: &'r Snapshot) -> Restoring<'r> {
        Box::pin(async move {
            self.core.restore(snapshot).await?;
            let Self { core, states, .. } = self;
            states.states.restore(&core.task, snapshot).await?;
            self.next.restore(snapshot).await
        })
    }
}
