//! The windows of a whole stream with their accumulators, written while they are walked.
//!
//! # What is always true
//!
//! 1. They are in the order of their windows.
//! 2. A part of a snapshot is a window: start, end, whether it has fired, and the accumulator's region.
//! 3. An accumulator is copied before it is changed, if a walk has still to give it: once for each flip.

use wiesel_core::{Blame, TaskFailure, Timestamp};
use wiesel_record::{Record, RegionBuf};

use crate::{ListPiece, Progress, TimeWindow, WalkedList, state_cell::decode, undo::Undo};

/// The longest accumulator that a snapshot takes.
const ACC_BYTES_MAX: usize = 1 << 30;

pub(super) struct Slice<Acc> {
    pub(super) window: TimeWindow,
    pub(super) acc: Acc,
    pub(super) fired: bool,
    /// Behind so many flips it was made, or changed.
    made: u64,
}

pub(super) struct Slices<Acc> {
    all: Vec<Slice<Acc>>,
    undo: Undo<TimeWindow, Slice<Acc>>,
    region: RegionBuf,
}

impl<Acc: Record> Slices<Acc> {
    pub(super) fn new() -> Self {
        Self { all: Vec::new(), undo: Undo::default(), region: RegionBuf::new() }
    }

    pub(super) fn all(&self) -> &[Slice<Acc>] {
        &self.all
    }

    /// Where a window is or would be.
    #[inline]
    pub(super) fn place_of(&self, window: TimeWindow) -> usize {
        self.all.partition_point(|slice| slice.window < window)
    }

    pub(super) fn insert(&mut self, at: usize, window: TimeWindow, acc: Acc, fired: bool) {
        self.all.insert(at, Slice { window, acc, fired, made: self.undo.flips() });
    }

    /// One that is to be changed.
    #[inline]
    pub(super) fn change(&mut self, at: usize) -> &mut Slice<Acc> {
        if self.undo.is_walking() {
            self.keep_copy(at);
        }
        &mut self.all[at]
    }

    #[cold]
    fn keep_copy(&mut self, at: usize) {
        let Self { all, undo, .. } = self;
        let slice = &mut all[at];
        if undo.wants(&slice.window, slice.made) {
            let Slice { window, fired, made, .. } = *slice;
            undo.keep(window, Slice { window, acc: Acc::from_view(slice.acc.view()), fired, made });
            slice.made = undo.flips();
        }
    }

    /// Lets go of those that are over.
    pub(super) fn retain(&mut self, mut keeps: impl FnMut(TimeWindow) -> bool) {
        let Self { all, undo, .. } = self;
        for slice in all.extract_if(.., |slice| !keeps(slice.window)) {
            if undo.wants(&slice.window, slice.made) {
                undo.keep(slice.window, slice);
            }
        }
    }

    /// All parts, at once.
    pub(super) fn export(&mut self, out: &mut dyn FnMut(Vec<u8>)) -> Result<(), TaskFailure> {
        for slice in &self.all {
            let mut bytes = Vec::new();
            write(slice, &mut self.region, &mut bytes)?;
            out(bytes);
        }
        Ok(())
    }

    /// Takes a part.
    pub(super) fn import(
        &mut self,
        part: &[u8],
        is_ours: impl FnOnce(TimeWindow) -> bool,
    ) -> Result<(), TaskFailure> {
        let header = TimeWindow::split_from(part);
        let header = header.and_then(|(window, rest)| Some((window, rest.split_first_chunk()?)));
        let Some((window, (fired, acc))) = header else {
            return Err(damaged("it ends within its header"));
        };
        if !is_ours(window) {
            let cause = "its windows have another size or slide: the program has changed";
            return Err(damaged(cause));
        }
        let acc = decode::<Acc>(acc)?;
        self.insert(self.place_of(window), window, acc, u64::from_le_bytes(*fired) != 0);
        Ok(())
    }
}

fn write<Acc: Record>(
    slice: &Slice<Acc>,
    region: &mut RegionBuf,
    out: &mut Vec<u8>,
) -> Result<(), TaskFailure> {
    region.write::<Acc>(slice.acc.view(), ACC_BYTES_MAX).map_err(|error| {
        let doing = "write the accumulator of a window into a checkpoint";
        TaskFailure::new(Blame::Job, doing, error)
    })?;
    out.extend(slice.window.header());
    out.extend(u64::from(slice.fired).to_le_bytes());
    out.extend(region.as_bytes());
    Ok(())
}

impl<Acc: Record> WalkedList for Slices<Acc> {
    fn flip(&mut self) {
        self.undo.flip();
    }

    fn is_walking(&self) -> bool {
        self.undo.is_walking()
    }

    fn walk(
        &mut self,
        budget_bytes: usize,
        buffer: &mut Vec<u8>,
        out: &mut dyn FnMut(ListPiece<'_>),
    ) -> Result<Progress, TaskFailure> {
        let Self { all, undo, region } = self;
        let flips = undo.flips();
        let ahead = |passed: Option<&TimeWindow>| {
            let of_window = |passed: &TimeWindow| all.partition_point(|at| at.window <= *passed);
            let ahead = &all[passed.map_or(0, of_window)..];
            ahead.iter().map(move |slice| (&slice.window, slice, slice.made < flips))
        };
        undo.step(budget_bytes, ahead, |_, slice| {
            buffer.clear();
            write(slice, region, buffer)?;
            out(ListPiece { begins: true, bytes: buffer });
            Ok(buffer.len())
        })
    }

    fn discard_walk(&mut self) {
        self.undo.discard();
    }
}

fn damaged(what: &str) -> TaskFailure {
    TaskFailure::new(Blame::Environment, "restore window state", what.to_owned())
}

/// Whether the watermark has come to the end of a window.
pub(super) fn is_due<Acc>(slice: &Slice<Acc>, watermark: Timestamp) -> bool {
    !slice.fired && slice.window.max_timestamp() <= watermark
}
