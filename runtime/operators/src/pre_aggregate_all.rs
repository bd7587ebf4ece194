//! Pre-aggregation before windows over a whole stream: one accumulator per slice where the records are produced.
//!
//! # What is always true
//!
//! The rules of `pre_aggregate` hold, with one accumulator in the place of a table. It is small, so nothing leaves early and
//! nothing passes by.

use std::marker::PhantomData;

use wiesel_core::{Blame, Meta, Nanos, TaskFailure, Timestamp};
use wiesel_record::{Item, Record, RegionBuf, Viewed};

use crate::{
    Chain, Control, Folding, Link, OutputPort, Partial, PartialView, Progress, Snapshot, Status,
    TaskContext, TimeWindow, Tumbling, VisitList, chain::clone_builder, state_cell::decode,
};

/// The name of the accumulators in snapshots.
const STATE: &str = "combined all";

/// The longest accumulator that a snapshot takes.
const ACC_BYTES_MAX: usize = 1 << 30;

/// What is combined of one slice.
struct Slice<Acc> {
    window: TimeWindow,
    acc: Acc,
    weight: u64,
}

/// Combines records by slice.
pub struct PreAggregateAll<T, A, D>
where
    T: Record,
    A: Folding<(), T>,
{
    folding: A,
    slices_of: Tumbling,
    /// Open slices, in order; then what was restored.
    slices: Vec<Slice<A::Acc>>,
    /// The slice of the last record.
    recent: usize,
    restored: Vec<Slice<A::Acc>>,
    watermark: Timestamp,
    context: TaskContext,
    next: D,
    types: PhantomData<fn(T)>,
}

impl<T, A, D> PreAggregateAll<T, A, D>
where
    T: Record,
    A: Folding<(), T>,
    D: Link<Partial<(), A::Acc>>,
{
    /// Where the slice of a time is, or belongs; none if it is closed.
    #[inline(never)]
    fn find(&self, time: Timestamp) -> Option<(TimeWindow, usize)> {
        let window = self.slices_of.window_of(time);
        let is_open = window.max_timestamp() > self.watermark;
        is_open.then(|| (window, self.slices.partition_point(|slice| slice.window < window)))
    }

    /// A record that is not in the slice of the one before.
    #[inline(never)]
    fn take(&mut self, value: T::View<'_>, time: Timestamp) {
        let folded = match self.find(time) {
            Some((window, at)) => {
                self.recent = at;
                match self.slices.get_mut(at) {
                    Some(slice) if slice.window == window => {
                        slice.weight += 1;
                        self.folding.add(&mut slice.acc, value)
                    }
                    _ => self.folding.first(value).map(|acc| {
                        self.slices.insert(at, Slice { window, acc, weight: 1 });
                    }),
                }
            }
            None => self.folding.first(value).map(|acc| {
                let view = PartialView { key: (), acc: acc.view(), weight: 1 };
                self.next.push(Viewed::<Partial<(), A::Acc>>(view), Meta::at(time));
            }),
        };
        if let Err(error) = folded {
            self.context.fail_user("aggregate a record", error);
        }
    }

    /// Sends the slices that `watermark` closes, and what was restored.
    fn send(&mut self, watermark: Timestamp) {
        let closed = self.slices.partition_point(|slice| slice.window.max_timestamp() <= watermark);
        self.recent = 0;
        for slice in self.restored.drain(..).chain(self.slices.drain(..closed)) {
            let view = PartialView { key: (), acc: slice.acc.view(), weight: slice.weight };
            let meta = Meta::at(slice.window.max_timestamp());
            self.next.push(Viewed::<Partial<(), A::Acc>>(view), meta);
        }
    }
}

impl<T, A, D> Link<T> for PreAggregateAll<T, A, D>
where
    T: Record,
    A: Folding<(), T>,
    D: Link<Partial<(), A::Acc>>,
{
    #[inline]
    fn push<I: Item<T>>(&mut self, item: I, meta: Meta) {
        let Some(time) = meta.time else {
            return self.context.fail_untimed("assign a record to a window", "window");
        };
        match self.slices.get_mut(self.recent) {
            Some(slice) if slice.window.start <= time && time < slice.window.end => {
                slice.weight += 1;
                if let Err(error) = self.folding.add(&mut slice.acc, item.view()) {
                    self.context.fail_user("aggregate a record", error);
                }
            }
            _ => self.take(item.view(), time),
        }
    }
}

impl<T, A, D> Control for PreAggregateAll<T, A, D>
where
    T: Record,
    A: Folding<(), T>,
    D: Link<Partial<(), A::Acc>>,
{
    fn open(&mut self) -> Result<(), TaskFailure> {
        self.next.open()
    }

    fn close(&mut self) {
        self.next.close();
    }

    fn watermark(&mut self, watermark: Timestamp) -> Progress {
        self.watermark = watermark;
        self.send(watermark);
        self.next.watermark(watermark)
    }

    /// An idle input holds back no watermark, so everything leaves before.
    fn status(&mut self, status: Status) {
        if status == Status::Idle {
            self.send(Timestamp::MAX);
        }
        self.next.status(status);
    }

    fn tick(&mut self, now: Nanos, is_idle: bool) {
        self.next.tick(now, is_idle);
    }

    fn finish(&mut self) -> Progress {
        self.send(Timestamp::MAX);
        self.next.finish()
    }

    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        self.next.ports(visit);
    }

    /// A part for each slice: a time of it, how many records, and the accumulator's region.
    fn snapshot(&mut self, snapshot: &mut Snapshot) {
        let mut region = RegionBuf::new();
        let own = snapshot.of_operator_mut(self.context.position());
        for slice in self.restored.iter().chain(&self.slices) {
            if let Err(error) = region.write::<A::Acc>(slice.acc.view(), ACC_BYTES_MAX) {
                self.context.fail_runtime("snapshot combined records", error);
                return;
            }
            let mut bytes = slice.window.start.as_millis().to_le_bytes().to_vec();
            bytes.extend(slice.weight.to_le_bytes());
            bytes.extend(region.as_bytes());
            own.put(STATE, None, bytes);
        }
        self.next.snapshot(snapshot);
    }

    fn lists(&mut self, visit: &mut VisitList<'_>) {
        self.next.lists(visit);
    }

    /// Parts are dealt out round robin: what is done with them is the same everywhere.
    async fn restore(&mut self, snapshot: &Snapshot) -> Result<(), TaskFailure> {
        let damaged = |what: &str| {
            TaskFailure::new(Blame::Environment, "restore combined records", what.to_owned())
        };
        let own = snapshot.of_operator(self.context.position());
        let parts = own.into_iter().flat_map(|own| own.dealt(STATE, &self.context));
        for part in parts {
            let words = part.split_first_chunk::<8>();
            let words =
                words.and_then(|(start, rest)| Some((start, rest.split_first_chunk::<8>()?)));
            let Some((start, (weight, acc))) = words else {
                return Err(damaged("it ends within its header"));
            };
            let start = Timestamp::from_millis(i64::from_le_bytes(*start));
            let window = self.slices_of.window_of(start);
            if window.start != start {
                return Err(damaged("its slices have another size: the program has changed"));
            }
            let (acc, weight) = (decode::<A::Acc>(acc)?, u64::from_le_bytes(*weight));
            self.restored.push(Slice { window, acc, weight });
        }
        self.next.restore(snapshot).await
    }
}

/// Pre-aggregation of a whole stream at the end of `chain`.
pub struct PreAggregateAllTo<C, A> {
    chain: C,
    folding: A,
    slices_of: Tumbling,
    position: usize,
}

impl<C, A> PreAggregateAllTo<C, A> {
    /// Combines with `folding` what is in one slice.
    pub fn new(chain: C, folding: A, slices_of: Tumbling) -> Self {
        Self { chain, folding, slices_of, position: 0 }
    }

    /// It is so far from the head of its chain: whose its state is in a snapshot.
    #[must_use]
    pub fn at(self, position: usize) -> Self {
        Self { position, ..self }
    }
}

clone_builder!([C, A] PreAggregateAllTo<C, A> { chain, folding, slices_of, position }
    where C: Clone, A: Clone);

impl<T, C, A> Chain<T> for PreAggregateAllTo<C, A>
where
    T: Record,
    C: Chain<T>,
    A: Folding<(), C::Out>,
{
    type Out = Partial<(), A::Acc>;
    type With<D: Link<Self::Out>> = C::With<PreAggregateAll<C::Out, A, D>>;

    fn finish<D: Link<Self::Out>>(self, next: D, context: &TaskContext) -> Self::With<D> {
        let link = PreAggregateAll {
            folding: self.folding,
            slices_of: self.slices_of,
            slices: Vec::new(),
            recent: 0,
            restored: Vec::new(),
            watermark: Timestamp::MIN,
            context: context.of_operator(self.position),
            next,
            types: PhantomData,
        };
        self.chain.finish(link, context)
    }
}
