//! Batch mode: a keyed head that sees one key after the other.
//!
//! ```text
//!   frames of all inputs ─▶ Sorter ─── the inputs have ended ───▶ a a a ┊ b ┊ c c ─▶ the keyed head
//!                          memory, files                                ▲   ▲     ▲
//!                                          each key's end: its timers and windows fire up to the end of time, what is
//!                                          left of it is emitted, its state is dropped, and time begins anew
//! ```
//!
//! Flink's rules (`execution_mode.md`): a key's records come in the order of their times, those without a time first;
//! of equal times, of the first input first, and in the order of their arrival.
//!
//! # What is always true
//!
//! 1. The head holds the state of one key.
//! 2. No watermark of an input is passed on: the only one is the last, behind all results.
//! 3. A key's end is told once, behind its last record, in as many calls as its timers need.

mod merge;
mod record;
mod sorter;

use wiesel_core::{Blame, Meta, Nanos, TaskFailure, Timestamp};
use wiesel_record::{FnView, InFrame, Invalid, Key, Record, Region};
use wiesel_wire::{Frame, FrameView};

use crate::{
    Head, OutputPort, Pace, Polled, Progress, Restoring, Snapshot, Status, TaskContext, VisitList,
    spill::FilePort,
};

pub use record::SortedRecord;
pub use sorter::Sorter;
use sorter::Worked;

/// A head whose records can come key after key.
pub trait BatchHead: Head {
    /// Puts records `*cursor..` of `frame` into `sorter` as long as that takes them, and moves the cursor past them.
    fn sort_frame(
        &mut self,
        input: usize,
        frame: &Frame,
        cursor: &mut usize,
        sorter: &mut Sorter,
        pace: &mut Pace,
    ) -> Progress;

    /// Applies a record of the key at hand.
    ///
    /// # Errors
    ///
    /// If its region is no record of the type of its input.
    fn apply_sorted(
        &mut self,
        record: &SortedRecord<'_>,
        place: &mut AlignedBytes,
    ) -> Result<(), Invalid>;

    /// The key at hand has ended: fires its timers and windows, emits what is left of it, and drops its state. Called
    /// again if it was stopped.
    fn end_key(&mut self, pace: &mut Pace) -> Progress;
}

/// What [`BatchHead::sort_frame`] does for an input of records `T` with keys `K`.
pub(crate) fn sort_frame<T: Record, K: Key>(
    input: usize,
    frame: &Frame,
    cursor: &mut usize,
    key_of: impl for<'v> FnView<'v, T::View<'v>, K::View<'v>>,
    sorter: &mut Sorter,
    scratch: &mut Vec<u8>,
    pace: &mut Pace,
) -> Progress {
    let view = FrameView::<T>::new(frame);
    while *cursor < view.len() {
        if !sorter.takes() {
            return Progress::Stopped;
        }
        let record = view.record(*cursor);
        let key = key_of(record.get());
        let Meta { hash, time } = view.meta(*cursor);
        let hash = hash.unwrap_or_else(|| K::key_hash(key));
        let time = Meta { hash: None, time }.time_column();
        K::with_key_bytes(key, scratch, |key| {
            sorter.add(&SortedRecord { input, hash, time, key, region: record.region() });
        });
        *cursor += 1;
        if pace.is_over() {
            break;
        }
    }
    if *cursor < view.len() { Progress::Stopped } else { Progress::Done }
}

/// Where a region is copied to that does not lie as its record wants it.
#[derive(Debug, Default)]
pub struct AlignedBytes(Vec<u8>);

/// The largest alignment of a record.
const ALIGN_MAX: usize = 16;

impl AlignedBytes {
    /// Calls `f` with the record that has this region.
    ///
    /// # Errors
    ///
    /// If the bytes are no record of this type: they may have been in a file.
    #[inline]
    pub(crate) fn with<T: Record, R>(
        &mut self,
        region: &[u8],
        f: impl FnOnce(T::View<'_>) -> R,
    ) -> Result<R, Invalid> {
        let Self(bytes) = self;
        let whole =
            |start: usize| Region { start: start as u32, end: (start + region.len()) as u32 };
        if (region.as_ptr() as usize).is_multiple_of(T::ALIGN) {
            return InFrame::<T>::checked(region, whole(0)).map(|record| f(record.get()));
        }
        bytes.clear();
        bytes.reserve(region.len() + ALIGN_MAX);
        let start = bytes.as_ptr().align_offset(ALIGN_MAX).min(ALIGN_MAX);
        bytes.resize(start, 0);
        bytes.extend_from_slice(region);
        InFrame::<T>::checked(bytes, whole(start)).map(|record| f(record.get()))
    }
}

/// The key at hand.
#[derive(Default)]
struct CurrentKey {
    hash: u64,
    bytes: Vec<u8>,
    is_open: bool,
}

impl CurrentKey {
    fn is_of(&self, record: &SortedRecord<'_>) -> bool {
        self.hash == record.hash && self.bytes == record.key
    }

    fn open(&mut self, record: &SortedRecord<'_>) {
        (self.hash, self.is_open) = (record.hash, true);
        self.bytes.clear();
        self.bytes.extend_from_slice(record.key);
    }
}

/// Sorts the inputs of a keyed head, then drives it key after key.
pub struct SortedHead<H> {
    head: H,
    port: FilePort<Sorter>,
    key: CurrentKey,
    place: AlignedBytes,
    /// All keys are done.
    is_drained: bool,
    /// The last watermark has been passed on.
    has_told_end: bool,
    context: TaskContext,
}

impl<H: BatchHead> SortedHead<H> {
    /// In front of `head`, whose operator was made for [one key](TaskContext) at a time.
    pub(crate) fn new(head: H, context: &TaskContext) -> Result<Self, TaskFailure> {
        let Some(options) = context.batch() else {
            let cause = "the task is not in batch mode";
            return Err(TaskFailure::new(Blame::Runtime, "sort an input", cause));
        };
        Ok(Self {
            head,
            port: FilePort::new(Sorter::new(options, context)?),
            key: CurrentKey::default(),
            place: AlignedBytes::default(),
            is_drained: false,
            has_told_end: false,
            context: context.clone(),
        })
    }

    /// Lets the sorter work. If it is not done, the turn is over.
    fn work(&mut self, pace: &mut Pace) -> Progress {
        let worked = self.port.inner.work(pace).unwrap_or_else(|failure| {
            self.context.fail(failure);
            Worked::Stopped
        });
        match worked {
            Worked::Done => return Progress::Done,
            Worked::Stopped => {}
            Worked::Waiting => self.port.wait(&self.context),
        }
        Progress::Stopped
    }

    /// Gives the head its records.
    fn drain(&mut self, pace: &mut Pace) -> Progress {
        self.port.inner.end();
        while self.work(pace) == Progress::Done {
            let Self { head, port: FilePort { inner: sorter, .. }, key, place, .. } = self;
            let record = sorter.head();
            if key.is_open && !record.is_some_and(|record| key.is_of(&record)) {
                if head.end_key(pace) == Progress::Stopped {
                    return Progress::Stopped;
                }
                key.is_open = false;
            } else if let Some(record) = record {
                if !key.is_open {
                    key.open(&record);
                }
                let applied = head.apply_sorted(&record, place).map_err(|error| {
                    let cause = format!("a file of the sort is damaged: {error}");
                    TaskFailure::new(Blame::Environment, "read a sorted record", cause)
                });
                if let Err(failure) = applied.and_then(|()| sorter.pop()) {
                    self.context.fail(failure);
                }
            } else {
                self.is_drained = true;
                return Progress::Done;
            }
            if pace.is_over() || self.context.has_failed() {
                return Progress::Stopped;
            }
        }
        Progress::Stopped
    }
}

impl<H: BatchHead> Head for SortedHead<H> {
    fn open(&mut self) -> Result<(), TaskFailure> {
        self.head.open()
    }

    fn close(&mut self) {
        self.head.close();
    }

    fn frame(
        &mut self,
        input: usize,
        frame: &Frame,
        cursor: &mut usize,
        pace: &mut Pace,
    ) -> Progress {
        let from = *cursor;
        let progress = self.head.sort_frame(input, frame, cursor, &mut self.port.inner, pace);
        self.context.metrics().records_in.add((*cursor - from) as u64);
        progress
    }

    fn watermark(&mut self, _watermark: Timestamp, _pace: &mut Pace) -> Progress {
        Progress::Done // Invariant 2.
    }

    fn status(&mut self, _status: Status) {}

    fn poll(&mut self, _pace: &mut Pace) -> Polled {
        Polled::Finished
    }

    fn next_timer(&self) -> Option<Timestamp> {
        None // They fire at the end of their key.
    }

    fn advance_time(&mut self, _now: Timestamp, _pace: &mut Pace) -> Progress {
        Progress::Done
    }

    fn tick(&mut self, now: Nanos, is_idle: bool) {
        self.head.tick(now, is_idle);
    }

    fn finish(&mut self, pace: &mut Pace) -> Progress {
        if !self.is_drained && self.drain(pace) == Progress::Stopped {
            return Progress::Stopped;
        }
        if !self.has_told_end {
            if self.head.watermark(Timestamp::MAX, pace) == Progress::Stopped {
                return Progress::Stopped;
            }
            self.has_told_end = true;
        }
        self.head.finish(pace)
    }

    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        self.head.ports(visit);
        visit(&mut self.port);
    }

    /// Whether records have to wait until there is room for them.
    fn has_parked(&self) -> bool {
        !self.is_drained && !self.port.inner.takes()
    }

    fn unpark(&mut self, pace: &mut Pace) -> bool {
        let _ = self.work(pace);
        true
    }

    fn snapshot(&mut self, _snapshot: &mut Snapshot) {
        self.context.fail_runtime("take a snapshot", "a job in batch mode takes none");
    }

    fn lists(&mut self, visit: &mut VisitList<'_>) {
        self.head.lists(visit);
    }

    fn restore<'r>(&'r mut self, snapshot: &'r Snapshot) -> Restoring<'r> {
        self.head.restore(snapshot)
    }
}
