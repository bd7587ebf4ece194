//! Pre-aggregation before a keyed exchange: records of a key and slice are combined where they are produced.
//!
//! ```text
//!   a b a a c a ─▶ slots   │ a 4 │     │ b 1 │ c 1 │  ──watermark──▶ Partial(a, 4) Partial(b, 1) Partial(c, 1)
//!             d ─▶ slots   │ d 1 │     │ b 1 │ c 1 │  ──at once────▶ Partial(a, 4), whose slot d needs
//! ```
//!
//! A key has one slot, by its hash, and looks nowhere else: records that come close to each other are combined for the cost of
//! a look at one line, and what is held needs no more than a core's second-level cache.
//!
//! # What is always true
//!
//! 1. The partials of a slice leave before the watermark that closes it; a record that comes when its slice is closed here
//!    goes on as a partial of its own. So whether it is late is decided once, by the windows.
//! 2. A slot holds one key in one slice. Another one that needs it sends it on, so no record pays for more than one.
//! 3. Where combining does not pay (most partials are of one record) records pass by for a while, each as a partial.
//! 4. A snapshot has what has not left. A restored partial leaves with one of the next records, wherever it was restored: the
//!    windows merge it.

use std::{collections::VecDeque, marker::PhantomData};

use wiesel_core::{Blame, Meta, Nanos, TaskFailure, Timestamp};
use wiesel_record::{FnView, Item, Key, Record, RegionBuf, Viewed};

use crate::{
    Chain, Control, Folding, Link, OutputPort, Partial, PartialView, Progress, Snapshot, Status,
    TaskContext, TimeWindow, Tumbling, VisitList, chain::clone_builder, state_cell::decode,
};

/// The name of the partials in snapshots.
const STATE: &str = "combined";

/// Slots, if nothing else is said: with numbers for keys and accumulators some 200 KiB.
const SLOTS: usize = 4_096;

/// Combining fewer records than this for each partial does not pay.
const RATIO_MIN: u64 = 3;

/// Partials by which it is judged whether combining pays, as a share of the slots.
const JUDGED_SHARE: u64 = 8;

/// Records that pass by when it does not, for each slot.
const PASSING_PER_SLOT: u64 = 16;

/// All slots are looked at in so many calls.
const CALLS: usize = 4;

/// Restored partials that leave in one call.
const RESTORED_A_CALL: usize = 1_024;

/// Snapshot parts are about so long, or have one partial.
const PART_BYTES: usize = 1 << 20;

/// The longest partial that a snapshot takes.
const PARTIAL_BYTES_MAX: usize = 1 << 30;

/// What is combined of one key, in one slice.
struct Held<K: Record, A: Record> {
    hash: u64,
    /// Where its slice starts.
    start: Timestamp,
    partial: Partial<K, A>,
}

/// One slot for each of the keys whose hashes end alike.
type Slots<K, A> = Box<[Option<Held<K, A>>]>;

/// Combines records by key and slice.
pub struct PreAggregate<T, K, F, A, D>
where
    T: Record,
    K: Key,
    A: Folding<K, T>,
{
    key_of: F,
    folding: A,
    slices_of: Tumbling,
    /// A power of two of them.
    slots: Slots<K, A::Acc>,
    /// The slice of the last record, as long as it is open; else one without a time.
    recent: TimeWindow,
    /// No slice that is held ends before.
    earliest: Timestamp,
    /// How far calls that were stopped have looked, and for what watermark. Records may come in between, and a later one.
    looked: usize,
    closing: Timestamp,
    restored: VecDeque<(Timestamp, Partial<K, A::Acc>)>,
    /// Records and partials of what has left, to judge by.
    judged: (u64, u64),
    /// Records that still pass by.
    passing: u64,
    watermark: Timestamp,
    context: TaskContext,
    next: D,
    types: PhantomData<fn(T) -> K>,
}

/// It has no time.
const NO_SLICE: TimeWindow = TimeWindow { start: Timestamp::MAX, end: Timestamp::MIN };

impl<T, K, F, A, D> PreAggregate<T, K, F, A, D>
where
    T: Record,
    K: Key,
    F: for<'a> FnView<'a, T::View<'a>, K::View<'a>> + 'static,
    A: Folding<K, T>,
    D: Link<Partial<K, A::Acc>>,
{
    /// A record that is not in the slice of the one before: whether its own is open.
    #[inline(never)]
    fn find_slice(&mut self, time: Timestamp) -> bool {
        let window = self.slices_of.window_of(time);
        let is_open = window.max_timestamp() > self.watermark;
        if is_open {
            self.recent = window;
        }
        is_open
    }

    /// Passes a record on as a partial of its own.
    #[inline(never)]
    fn pass(&mut self, value: T::View<'_>, key: K::View<'_>, hash: u64, time: Timestamp) {
        match self.folding.first(value) {
            Ok(acc) => {
                let view = PartialView { key: K::shrink(key), acc: acc.view(), weight: 1 };
                self.next.push(Viewed::<Partial<K, A::Acc>>(view), Meta::at(time).with_hash(hash));
            }
            Err(error) => self.context.fail_user("aggregate a record", error),
        }
    }

    /// Puts a record into a slot; what was there leaves.
    #[inline(never)]
    fn replace(&mut self, slot: usize, value: T::View<'_>, key: K::View<'_>, hash: u64) {
        let acc = match self.folding.first(value) {
            Ok(acc) => acc,
            Err(error) => return self.context.fail_user("aggregate a record", error),
        };
        let partial = Partial { key: K::from_view(key), acc, weight: 1 };
        let held = Held { hash, start: self.recent.start, partial };
        self.earliest = self.earliest.min(self.recent.max_timestamp());
        if let Some(old) = self.slots[slot].replace(held) {
            self.send(&old);
            self.judge();
        }
    }

    /// Sends what has left its slot.
    #[inline]
    fn send(&mut self, held: &Held<K, A::Acc>) {
        (self.judged.0, self.judged.1) = (self.judged.0 + held.partial.weight, self.judged.1 + 1);
        let meta = Meta::at(self.slices_of.window_of(held.start).max_timestamp());
        let view = Viewed::<Partial<K, A::Acc>>(held.partial.view());
        self.next.push(view, meta.with_hash(held.hash));
    }

    /// Whether records are to pass by for a while.
    #[inline]
    fn judge(&mut self) {
        let (records, partials) = self.judged;
        let slots = self.slots.len() as u64;
        if partials > slots / JUDGED_SHARE {
            self.judged = (0, 0);
            if records < RATIO_MIN * partials {
                self.passing = PASSING_PER_SLOT * slots;
            }
        }
    }

    fn send_restored(&mut self) {
        let Some((start, partial)) = self.restored.pop_front() else { return };
        let meta = Meta::at(self.slices_of.window_of(start).max_timestamp());
        let hash = K::key_hash(partial.key.view());
        self.next.push(Viewed::<Partial<K, A::Acc>>(partial.view()), meta.with_hash(hash));
    }

    /// Sends some of what a watermark closes, and says whether that was all.
    fn close_some(&mut self, watermark: Timestamp) -> Progress {
        self.recent = NO_SLICE;
        for _ in 0..RESTORED_A_CALL.min(self.restored.len()) {
            self.send_restored();
        }
        let is_last = self.close_slots(watermark);
        if is_last && self.restored.is_empty() { Progress::Done } else { Progress::Stopped }
    }

    /// Looks at some slots, and says whether they were the last.
    fn close_slots(&mut self, watermark: Timestamp) -> bool {
        if self.looked > 0 && watermark > self.closing {
            (self.looked, self.closing) = (0, watermark); // What was left may be over now.
        } else if self.looked == 0 {
            if self.earliest > watermark {
                return true;
            }
            (self.closing, self.earliest) = (watermark, Timestamp::MAX);
        }
        let from = self.looked;
        self.looked = self.slots.len().min(from + self.slots.len().div_ceil(CALLS));
        for slot in from..self.looked {
            let Some(held) = &self.slots[slot] else { continue };
            let end = self.slices_of.window_of(held.start).max_timestamp();
            if end > watermark {
                self.earliest = self.earliest.min(end);
            } else if let Some(held) = self.slots[slot].take() {
                self.send(&held);
            }
        }
        let is_last = self.looked == self.slots.len();
        if is_last {
            self.looked = 0;
            self.judge(); // With fewer keys than slots nothing leaves for another one.
        }
        is_last
    }
}

impl<T, K, F, A, D> Link<T> for PreAggregate<T, K, F, A, D>
where
    T: Record,
    K: Key,
    F: for<'a> FnView<'a, T::View<'a>, K::View<'a>> + 'static,
    A: Folding<K, T>,
    D: Link<Partial<K, A::Acc>>,
{
    #[inline]
    fn push<I: Item<T>>(&mut self, item: I, meta: Meta) {
        if !self.restored.is_empty() {
            self.send_restored();
        }
        let Some(time) = meta.time else {
            return self.context.fail_untimed("assign a record to a window", "window");
        };
        let value = item.view();
        let key = (self.key_of)(value);
        let hash = K::key_hash(key);
        if self.passing > 0 {
            self.passing -= 1;
            return self.pass(value, key, hash, time);
        }
        let is_recent = self.recent.start <= time && time < self.recent.end;
        if !is_recent && !self.find_slice(time) {
            return self.pass(value, key, hash, time);
        }
        let slot = hash as usize & (self.slots.len() - 1);
        match &mut self.slots[slot] {
            Some(held)
                if held.hash == hash
                    && held.start == self.recent.start
                    && held.partial.key.view() == K::shrink(key) =>
            {
                held.partial.weight += 1;
                if let Err(error) = self.folding.add(&mut held.partial.acc, value) {
                    self.context.fail_user("aggregate a record", error);
                }
            }
            _ => self.replace(slot, value, key, hash),
        }
    }
}

impl<T, K, F, A, D> Control for PreAggregate<T, K, F, A, D>
where
    T: Record,
    K: Key,
    F: for<'a> FnView<'a, T::View<'a>, K::View<'a>> + 'static,
    A: Folding<K, T>,
    D: Link<Partial<K, A::Acc>>,
{
    fn open(&mut self) -> Result<(), TaskFailure> {
        self.next.open()
    }

    fn close(&mut self) {
        self.next.close();
    }

    fn watermark(&mut self, watermark: Timestamp) -> Progress {
        self.watermark = watermark;
        match self.close_some(watermark) {
            Progress::Done => self.next.watermark(watermark),
            stopped @ Progress::Stopped => stopped,
        }
    }

    /// An idle input holds back no watermark, so everything leaves before. It has nothing else to do.
    fn status(&mut self, status: Status) {
        if status == Status::Idle {
            while self.close_some(Timestamp::MAX) == Progress::Stopped {}
        }
        self.next.status(status);
    }

    fn tick(&mut self, now: Nanos, is_idle: bool) {
        self.next.tick(now, is_idle);
    }

    fn finish(&mut self) -> Progress {
        match self.close_some(Timestamp::MAX) {
            Progress::Done => self.next.finish(),
            stopped @ Progress::Stopped => stopped,
        }
    }

    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        self.next.ports(visit);
    }

    /// Parts of partials: where the slice starts, the length of the region, the region.
    fn snapshot(&mut self, snapshot: &mut Snapshot) {
        let held = self.slots.iter().flatten().map(|held| (held.start, &held.partial));
        let restored = self.restored.iter().map(|(start, partial)| (*start, partial));
        let own = snapshot.of_operator_mut(self.context.position());
        let (mut region, mut part) = (RegionBuf::new(), Vec::new());
        for (start, partial) in restored.chain(held) {
            let written = region.write::<Partial<K, A::Acc>>(partial.view(), PARTIAL_BYTES_MAX);
            if let Err(error) = written {
                self.context.fail_runtime("snapshot combined records", error);
                return;
            }
            let bytes = region.as_bytes();
            part.extend(start.as_millis().to_le_bytes());
            part.extend((bytes.len() as u32).to_le_bytes()); // At most `PARTIAL_BYTES_MAX`.
            part.extend(bytes);
            if part.len() >= PART_BYTES {
                own.put(STATE, None, std::mem::take(&mut part));
            }
        }
        if !part.is_empty() {
            own.put(STATE, None, part);
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
        for mut part in parts {
            while !part.is_empty() {
                let Some((start, region, left)) = split_partial(part) else {
                    return Err(damaged("it ends within a partial"));
                };
                if self.slices_of.window_of(start).start != start {
                    return Err(damaged("its slices have another size: the program has changed"));
                }
                self.restored.push_back((start, decode::<Partial<K, A::Acc>>(region)?));
                part = left;
            }
        }
        self.next.restore(snapshot).await
    }
}

/// Takes a partial off the front of a part: where its slice starts, its region, and what follows.
fn split_partial(part: &[u8]) -> Option<(Timestamp, &[u8], &[u8])> {
    let (start, rest) = part.split_first_chunk()?;
    let (bytes, rest) = rest.split_first_chunk()?;
    let (region, rest) = rest.split_at_checked(u32::from_le_bytes(*bytes) as usize)?;
    Some((Timestamp::from_millis(i64::from_le_bytes(*start)), region, rest))
}

/// Pre-aggregation at the end of `chain`.
pub struct PreAggregateTo<C, K, F, A> {
    chain: C,
    key_of: F,
    folding: A,
    slices_of: Tumbling,
    slots: usize,
    position: usize,
    types: PhantomData<fn() -> K>,
}

impl<C, K, F, A> PreAggregateTo<C, K, F, A> {
    /// Combines with `folding` what is in one slice and has one key.
    pub fn new(chain: C, key_of: F, folding: A, slices_of: Tumbling) -> Self {
        let (slots, position) = (SLOTS, 0);
        Self { chain, key_of, folding, slices_of, slots, position, types: PhantomData }
    }

    /// It is so far from the head of its chain: whose its state is in a snapshot.
    #[must_use]
    pub fn at(self, position: usize) -> Self {
        Self { position, ..self }
    }

    /// Has so many slots, rounded up to a power of two.
    #[must_use]
    pub fn slots(self, slots: usize) -> Self {
        Self { slots: slots.next_power_of_two(), ..self }
    }
}

clone_builder!([C, K, F, A] PreAggregateTo<C, K, F, A> {
        chain, key_of, folding, slices_of, slots, position, types
    }
    where C: Clone, F: Clone, A: Clone);

impl<T, C, K, F, A> Chain<T> for PreAggregateTo<C, K, F, A>
where
    T: Record,
    C: Chain<T>,
    K: Key,
    F: for<'a> FnView<'a, <C::Out as Record>::View<'a>, K::View<'a>> + Clone + Send + 'static,
    A: Folding<K, C::Out>,
{
    type Out = Partial<K, A::Acc>;
    type With<D: Link<Self::Out>> = C::With<PreAggregate<C::Out, K, F, A, D>>;

    fn finish<D: Link<Self::Out>>(self, next: D, context: &TaskContext) -> Self::With<D> {
        let link = PreAggregate {
            key_of: self.key_of,
            folding: self.folding,
            slices_of: self.slices_of,
            slots: (0..self.slots).map(|_| None).collect(),
            recent: NO_SLICE,
            earliest: Timestamp::MAX,
            looked: 0,
            closing: Timestamp::MIN,
            restored: VecDeque::new(),
            judged: (0, 0),
            passing: 0,
            watermark: Timestamp::MIN,
            context: context.of_operator(self.position),
            next,
            types: PhantomData,
        };
        self.chain.finish(link, context)
    }
}
