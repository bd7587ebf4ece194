//! Records made from their number, as many as one likes or at a steady rate.
//!
//! ```text
//!   reader i of p makes the numbers i, i + p, i + 2p …      number n is due n / rate after the start
//! ```
//!
//! # What is always true
//!
//! 1. Open loop: when a record is due depends on its number alone. A job that falls behind finds all that is due
//!    waiting, and each record knows when it should have been sent; so a measured latency includes the waiting.
//! 2. No record is made before it is due.
//! 3. With the same function, the records are the same at every parallelism.

use std::{marker::PhantomData, time::Duration};

use wiesel_core::{Nanos, TaskFailure};
use wiesel_record::{Owned, Record};
use wiesel_shard::Shard;

use crate::{
    Discovery, Pinned, ReaderContext, ReaderStatus, Source, SourceOutput, SourceReader,
    SplitEnumerator, SplitPayload,
    codec::{Words, malformed, put_u64},
    enumerators::{Ordered, SplitPlan},
};

/// What a record is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Its number, from 0.
    pub number: u64,
    /// When it is due, on the shard's monotonic clock: its intended send time. Without a rate, when it was made.
    pub due: Nanos,
    /// When the turn began in which it is made, on the same clock: `now - due` is how late it is made.
    pub now: Nanos,
}

/// Makes the records of a [`DataGen`].
pub trait Generate<T: Record>: Clone + Send + 'static {
    /// Makes one and hands it to `out`. Returns what `out` said: whether the turn is over.
    fn generate<S: SourceOutput<T>>(&mut self, tick: Tick, out: &mut S) -> bool;
}

/// Makes each record anew.
#[derive(Clone, Debug)]
pub struct Making<F>(F);

impl<T: Record, F: Fn(Tick) -> T + Clone + Send + 'static> Generate<T> for Making<F> {
    #[inline]
    fn generate<S: SourceOutput<T>>(&mut self, tick: Tick, out: &mut S) -> bool {
        out.collect(Owned((self.0)(tick)), None)
    }
}

/// Makes each record in the memory of the one before.
#[derive(Clone, Debug)]
pub struct Filling<T, F>(T, F);

impl<T, F> Generate<T> for Filling<T, F>
where
    T: Record + Clone,
    F: Fn(Tick, &mut T) + Clone + Send + 'static,
{
    #[inline]
    fn generate<S: SourceOutput<T>>(&mut self, tick: Tick, out: &mut S) -> bool {
        (self.1)(tick, &mut self.0);
        out.collect(&self.0, None)
    }
}

/// A source of made records.
///
/// ```
/// use wiesel_connectors::DataGen;
///
/// let numbers = DataGen::new(|tick| tick.number).count(1_000);
/// let steady = DataGen::new(|tick| (tick.number % 10, tick.due.0)).per_second(100_000);
/// # let _ = (numbers, steady);
/// ```
#[derive(Debug)]
pub struct DataGen<T, G> {
    generate: G,
    count: u64,
    per_second: Option<u64>,
    split_records: Option<u64>,
    types: PhantomData<fn() -> T>,
}

impl<T: Record, F: Fn(Tick) -> T + Clone + Send + 'static> DataGen<T, Making<F>> {
    /// Records by `make`, without an end and without a rate.
    pub fn new(make: F) -> Self {
        Self::by(Making(make))
    }
}

impl<T, F> DataGen<T, Filling<T, F>>
where
    T: Record + Clone,
    F: Fn(Tick, &mut T) + Clone + Send + 'static,
{
    /// Records by `fill`, which is given the record before, `first` at the start: its strings keep their memory.
    pub fn filling(first: T, fill: F) -> Self {
        Self::by(Filling(first, fill))
    }
}

impl<T: Record, G: Generate<T>> DataGen<T, G> {
    /// Records by a generator of one's own.
    pub fn by(generate: G) -> Self {
        Self {
            generate,
            count: u64::MAX,
            per_second: None,
            split_records: None,
            types: PhantomData,
        }
    }

    /// Ends after `count` records.
    #[must_use]
    pub fn count(self, count: u64) -> Self {
        Self { count, ..self }
    }

    /// Hands out the records in splits of so many, in order, to whichever subtask has nothing left: one whose core is
    /// busy with other tasks then makes fewer. Without it each of `p` subtasks makes every `p`-th record, so that all
    /// are at about the same one. At least 1; not for sources with a rate, which nobody makes faster.
    #[must_use]
    pub fn in_splits_of(self, records: u64) -> Self {
        Self { split_records: Some(records.max(1)), ..self }
    }

    /// A steady rate, of all subtasks together, in records per second. At least 1.
    #[must_use]
    pub fn per_second(self, records: u64) -> Self {
        Self { per_second: Some(records.max(1)), ..self }
    }
}

impl<T, G: Clone> Clone for DataGen<T, G> {
    fn clone(&self) -> Self {
        Self { generate: self.generate.clone(), types: PhantomData, ..*self }
    }
}

impl<T: Record, G: Generate<T>> Source for DataGen<T, G> {
    type Record = T;
    type Reader = DataGenReader<T, G>;

    fn enumerator(
        &self,
        parallelism: u32,
        _discovery: &dyn Discovery,
    ) -> Result<Box<dyn SplitEnumerator>, TaskFailure> {
        if let (Some(records), None) = (self.split_records, self.per_second) {
            return Ok(Box::new(Ordered::new(Chunks { count: self.count, records })));
        }
        let stride = u64::from(parallelism);
        let splits = (0..stride).map(|next| Split { next, stride, end: self.count }.encode());
        Ok(Box::new(Pinned::new(splits.collect())))
    }

    fn reader(&self, _context: &ReaderContext) -> DataGenReader<T, G> {
        DataGenReader {
            generate: self.generate.clone(),
            per_second: self.per_second,
            start: None,
            splits: Vec::new(),
            last: u64::MAX,
            no_more_splits: false,
            types: PhantomData,
        }
    }

    fn describe(&self) -> String {
        match self.per_second {
            Some(rate) => format!("generator, {rate} records/s"),
            None => "generator".to_owned(),
        }
    }

    fn is_bounded(&self) -> bool {
        self.count < u64::MAX
    }
}

/// Splits of so many of all numbers.
struct Chunks {
    count: u64,
    records: u64,
}

impl SplitPlan for Chunks {
    fn count(&self) -> u64 {
        self.count.div_ceil(self.records)
    }

    fn split(&self, index: u64) -> SplitPayload {
        let next = index * self.records;
        let end = next.saturating_add(self.records).min(self.count);
        Split { next, stride: 1, end }.encode()
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        put_u64(bytes, self.count);
        put_u64(bytes, self.records);
    }

    fn read(&self, words: &mut Words<'_>) -> Option<Self> {
        let chunks = Self { count: words.u64()?, records: words.u64()? };
        (chunks.records > 0).then_some(chunks)
    }
}

/// The numbers `next`, `next + stride` … below `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Split {
    next: u64,
    stride: u64,
    end: u64,
}

impl Split {
    fn is_over(self) -> bool {
        self.next >= self.end
    }

    fn encode(self) -> SplitPayload {
        let mut bytes = Vec::new();
        put_u64(&mut bytes, self.next);
        put_u64(&mut bytes, self.stride);
        put_u64(&mut bytes, self.end);
        SplitPayload(bytes)
    }
}

/// See [`DataGen`].
pub struct DataGenReader<T, G> {
    generate: G,
    per_second: Option<u64>,
    /// When number 0 was due.
    start: Option<Nanos>,
    /// The one with the smallest number is read next; usually there is one.
    splits: Vec<Split>,
    /// The number made last; `u64::MAX` if none was.
    last: u64,
    no_more_splits: bool,
    types: PhantomData<fn() -> T>,
}

/// How long after the start number `number` is due.
fn due_after(number: u64, per_second: u64) -> Duration {
    let ns = u128::from(number) * 1_000_000_000 / u128::from(per_second);
    Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
}

impl<T: Record, G: Generate<T>> DataGenReader<T, G> {
    /// The last number that is due at `now`, exclusive.
    fn due_end(&self, start: Nanos, now: Nanos) -> u64 {
        let Some(per_second) = self.per_second else { return u64::MAX };
        // Number n is due when floor(n * 10^9 / rate) <= elapsed.
        let elapsed_ns = now.since(start).as_nanos() + 1;
        let due = (elapsed_ns * u128::from(per_second)).div_ceil(1_000_000_000);
        u64::try_from(due).unwrap_or(u64::MAX)
    }

    /// The split with the smallest number, and the number at which another split has its turn, or all that is due is
    /// made. A reader that was not rescaled has one split: the whole turn is one run.
    fn next_run(&self, end: u64) -> Option<(usize, u64)> {
        let (at, first) = self.splits.iter().enumerate().min_by_key(|(_, split)| split.next)?;
        let others = self.splits.iter().enumerate().filter(|(other, _)| *other != at);
        let until = others
            .map(|(_, split)| split.next)
            .min()
            .map_or(end, |next| next.saturating_add(1).min(end))
            .min(first.end);
        (first.next < end).then_some((at, until))
    }

    /// Makes what is due at `now`.
    fn make<S: SourceOutput<T>>(&mut self, now: Nanos, out: &mut S) -> ReaderStatus {
        self.splits.retain(|split| !split.is_over());
        let Some(first) = self.splits.iter().map(|split| split.next).min() else {
            return match self.no_more_splits {
                true => ReaderStatus::Finished,
                false => ReaderStatus::NeedSplit,
            };
        };
        let per_second = self.per_second;
        let due_after = |number| per_second.map_or(Duration::ZERO, |rate| due_after(number, rate));
        // A reader that goes on from a snapshot does not catch up on the time before it.
        let start = *self.start.get_or_insert_with(|| match first / self.splits[0].stride {
            0 => now,
            _ => Nanos(now.0.saturating_sub(due_after(first).as_nanos() as u64)),
        });
        let end = self.due_end(start, now);
        while let Some((at, until)) = self.next_run(end) {
            let Split { next: mut number, stride, end: split_end } = self.splits[at];
            let mut is_over = false;
            while number < until && !is_over {
                self.last = number;
                let due = if per_second.is_some() { start + due_after(number) } else { now };
                is_over = self.generate.generate(Tick { number, due, now }, out);
                number = number.saturating_add(stride);
            }
            self.splits[at].next = number;
            if is_over || number >= split_end {
                return ReaderStatus::MoreAvailable; // The next turn finds out whether anything is left.
            }
        }
        let next = self.splits.iter().map(|split| split.next).min().unwrap_or(u64::MAX);
        ReaderStatus::Waiting(Some(start + due_after(next)))
    }
}

impl<T: Record, G: Generate<T>> SourceReader<T> for DataGenReader<T, G> {
    fn poll<S: SourceOutput<T>>(
        &mut self,
        shard: &Shard,
        out: &mut S,
    ) -> Result<ReaderStatus, TaskFailure> {
        Ok(self.make(shard.now(), out))
    }

    fn add_split(&mut self, split: SplitPayload) -> Result<(), TaskFailure> {
        let mut words = Words(&split.0);
        let mut read =
            || Some(Split { next: words.u64()?, stride: words.u64()?, end: words.u64()? });
        let split = read().and_then(|split| words.end(split)).filter(|split| split.stride > 0);
        self.splits.push(split.ok_or_else(|| malformed("a split"))?);
        Ok(())
    }

    fn no_more_splits(&mut self) {
        self.no_more_splits = true;
    }

    fn unread(&self) -> Vec<SplitPayload> {
        self.splits.iter().filter(|split| !split.is_over()).map(|split| split.encode()).collect()
    }

    fn position(&self) -> Option<String> {
        (self.last != u64::MAX).then(|| format!("record {} of the generator", self.last))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::{Collected, context, read_all};

    #[test]
    fn numbers_are_made_once_in_turns_of_any_length() {
        let turns = [(0, false), (1, true), (7, true)];
        let splits = [None, Some(1), Some(6), Some(100)];
        for (turn_records, restore, split) in
            turns.into_iter().flat_map(|(turn, restore)| splits.map(|split| (turn, restore, split)))
        {
            let source = DataGen::new(|tick| tick.number).count(20);
            let source = match split {
                Some(records) => source.in_splits_of(records),
                None => source,
            };
            let mut out = Collected { turn_records, ..Collected::default() };
            let read = read_all(&source, &Arc::default(), &mut out, restore);
            // A position is not part of a snapshot.
            let last = (!restore).then(|| "record 19 of the generator".to_owned());
            assert_eq!(read.ok(), Some(last));
            assert_eq!(out.records, Vec::from_iter(0..20));
        }
    }

    #[test]
    fn a_record_is_due_by_its_number() {
        let reader = |rate| {
            let source = DataGen::new(|tick| tick.number).per_second(rate);
            source.reader(&context(&Arc::default()))
        };
        for rate in [1, 3, 7, 100_000, 3_000_000_001] {
            let reader = reader(rate);
            let start = Nanos(77);
            for number in [0, 1, 2, 3, 100, 99_999, 1_000_000_007] {
                let due = start + due_after(number, rate);
                let before = Nanos(due.0 - 1);
                assert!(reader.due_end(start, due) > number, "{number} at {rate}/s");
                let end = if due == start { 1 } else { reader.due_end(start, before) };
                assert!(end <= number.max(1), "{number} at {rate}/s: {end}");
            }
        }
    }

    #[test]
    fn a_rate_waits_and_knows_until_when() {
        let source = DataGen::filling((0, 0), |tick: Tick, record: &mut (u64, u64)| {
            *record = (tick.number, tick.due.0);
        });
        let source = source.count(4).per_second(1_000);
        let mut reader = source.reader(&context(&Arc::default()));
        let mut out = Collected::default();
        assert_eq!(reader.make(Nanos(7), &mut out), ReaderStatus::NeedSplit);
        reader.add_split(Split { next: 1, stride: 2, end: 4 }.encode()).expect("a split");
        reader.no_more_splits();
        // When it is, how many records there are then, and what the reader wants.
        let waits = |until| ReaderStatus::Waiting(Some(Nanos(until)));
        for (now, count, status) in [
            (77, 0, waits(1_000_077)), // It starts here.
            (1_000_076, 0, waits(1_000_077)),
            (1_000_077, 1, waits(3_000_077)),
            (9_000_000, 2, ReaderStatus::MoreAvailable), // Late: due when it was due.
            (9_000_001, 2, ReaderStatus::Finished),
        ] {
            assert_eq!((reader.make(Nanos(now), &mut out), out.records.len()), (status, count));
        }
        assert_eq!(out.records, [(1, 1_000_077), (3, 3_000_077)]);
    }
}
