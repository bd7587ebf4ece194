//! The head of a chain that starts at a source: it polls a reader and pushes what that collects.

use std::marker::PhantomData;

use wiesel_connectors::{
    Discovery, ReaderContext, ReaderStatus, Source, SourceOutput, SourceReader, SplitEnumerator,
    SplitPayload,
};
use wiesel_core::{Blame, Meta, Nanos, TaskFailure, Timestamp};
use wiesel_operators::{
    Head, Link, Mail, OutputPort, Pace, Polled, Progress, Restoring, SAMPLED_RECORD, SideOutput,
    Snapshot, SplitAlignment, SplitChange, SplitId, Stage, Start, Status, Stopwatch, TaskContext,
    VisitList,
};
use wiesel_record::{Item, Record};
use wiesel_wire::Frame;

/// The name of unread splits in snapshots.
const SPLITS: &str = "splits";

/// Makes the enumerator of a source, in the JobMaster.
pub trait EnumeratorFactory: Send {
    /// Finds the splits for `parallelism` readers.
    ///
    /// # Errors
    ///
    /// If the input is not there or cannot be read.
    fn enumerator(
        &self,
        parallelism: u32,
        discovery: &dyn Discovery,
    ) -> Result<Box<dyn SplitEnumerator>, TaskFailure>;

    /// See [`Source::can_rewind`].
    fn can_rewind(&self) -> bool;

    /// Another one like this.
    fn clone_box(&self) -> Box<dyn EnumeratorFactory>;
}

impl Clone for Box<dyn EnumeratorFactory> {
    fn clone(&self) -> Self {
        self.as_ref().clone_box()
    }
}

impl<S: Source> EnumeratorFactory for SourceStart<S> {
    fn enumerator(
        &self,
        parallelism: u32,
        discovery: &dyn Discovery,
    ) -> Result<Box<dyn SplitEnumerator>, TaskFailure> {
        self.source.enumerator(parallelism, discovery)
    }

    fn can_rewind(&self) -> bool {
        self.source.can_rewind()
    }

    fn clone_box(&self) -> Box<dyn EnumeratorFactory> {
        Box::new(self.clone())
    }
}

/// A chain that starts at a source.
#[derive(Clone)]
pub struct SourceStart<S> {
    source: S,
    /// The slot of the side output for lines that cannot be read.
    bad_lines_slot: usize,
}

impl<S: Source> SourceStart<S> {
    pub(crate) fn new(source: S, bad_lines_slot: usize) -> Self {
        Self { source, bad_lines_slot }
    }
}

impl<S: Source> Start for SourceStart<S> {
    type Out = S::Record;
    type Head<D: Link<S::Record>> = SourceHead<S::Record, S::Reader, D>;

    fn head<D: Link<S::Record>>(
        self,
        next: D,
        context: &TaskContext,
    ) -> Result<Self::Head<D>, TaskFailure> {
        let reader = self.source.reader(&ReaderContext {
            subtask: context.id().subtask,
            parallelism: context.parallelism(),
            metrics: context.metrics().clone(),
        });
        let bad_lines = context.take_side::<String>(self.bad_lines_slot);
        let context = context.clone();
        Ok(SourceHead { reader, bad_lines, context, next, types: PhantomData })
    }
}

/// Drives a reader.
pub struct SourceHead<T, R, D> {
    reader: R,
    bad_lines: Option<Box<dyn SideOutput<String>>>,
    context: TaskContext,
    next: D,
    types: PhantomData<fn() -> T>,
}

/// Pushes what the reader collects.
struct Push<'p, D> {
    next: &'p mut D,
    bad_lines: &'p mut Option<Box<dyn SideOutput<String>>>,
    pace: &'p mut Pace,
    /// Lines that were no records, counted by the pace all the same.
    skipped: u64,
    alignment: &'p SplitAlignment,
    timing: Timing<'p>,
}

/// The timing of one record of a turn. Apart from what pushes, so that a loop over records can hold that in registers.
struct Timing<'p> {
    stopwatch: &'p Stopwatch,
    reached: Reached,
}

/// How far it is.
enum Reached {
    /// No record was timed.
    Nothing,
    /// The next record is. The one before it had been pushed at `since`; behind it `left` may pass until the clock is
    /// looked at again.
    Next { since: Nanos, left: u32 },
    /// This one is. It had been made at `since`.
    This { since: Nanos, left: u32 },
    /// A record was timed.
    Done,
}

impl Timing<'_> {
    /// A record was made behind which the clock is looked at, or which is the one to be timed.
    #[cold]
    #[inline(never)]
    fn made(&mut self) {
        if let Reached::Next { since, left } = self.reached {
            let since = self.stopwatch.count_since(since, Stage::Source);
            self.reached = Reached::This { since, left };
        }
    }

    /// It was pushed. Says whether the turn is over.
    #[cold]
    #[inline(never)]
    fn pushed(&mut self, pace: &mut Pace) -> bool {
        if let Reached::This { since, left } = self.reached {
            self.stopwatch.count_since(since, Stage::Chain);
            self.reached = Reached::Done;
            if left > 0 {
                pace.resume(left);
                return pace.is_stopped();
            }
        }
        let is_over = pace.look();
        if !is_over && pace.counted() >= SAMPLED_RECORD && matches!(self.reached, Reached::Nothing)
        {
            let left = pace.halt();
            self.reached = Reached::Next { since: self.stopwatch.read(), left };
        }
        is_over
    }
}

impl<T: Record, D: Link<T>> SourceOutput<T> for Push<'_, D> {
    // Nothing else per record is measured or counted here: what is, is in the countdown of the pace.
    #[inline(always)]
    fn collect<I: Item<T>>(&mut self, item: I, time: Option<Timestamp>) -> bool {
        let meta = Meta { time, hash: None };
        let is_looked_at = self.pace.counts_down();
        if is_looked_at {
            self.timing.made();
        }
        self.next.push(item, meta);
        if is_looked_at { self.timing.pushed(self.pace) } else { self.pace.is_stopped() }
    }

    fn skip(&mut self) -> bool {
        self.skipped += 1;
        self.pace.is_over()
    }

    fn bad_line(&mut self, line: &str) -> bool {
        if let Some(bad_lines) = self.bad_lines {
            bad_lines.emit(line, Meta::NONE);
        }
        self.skip()
    }

    fn split(&mut self, split: u32) {
        self.next.split(SplitChange::Reads(SplitId(split)));
    }

    fn split_ended(&mut self, split: u32) {
        self.next.split(SplitChange::Ended(SplitId(split)));
    }

    fn is_paused(&self, split: u32) -> bool {
        self.alignment.is_paused(SplitId(split))
    }
}

impl<T: Record, R: SourceReader<T>, D: Link<T>> Head for SourceHead<T, R, D> {
    fn open(&mut self) -> Result<(), TaskFailure> {
        self.next.open()
    }

    fn close(&mut self) {
        self.next.close();
    }

    fn frame(
        &mut self,
        _input: usize,
        _frame: &Frame,
        _cursor: &mut usize,
        _pace: &mut Pace,
    ) -> Progress {
        unreachable!("a source has no inputs")
    }

    fn watermark(&mut self, watermark: Timestamp, _pace: &mut Pace) -> Progress {
        if let Some(bad_lines) = &mut self.bad_lines {
            bad_lines.watermark(watermark);
        }
        self.next.watermark(watermark)
    }

    fn status(&mut self, status: Status) {
        self.next.status(status);
    }

    fn poll(&mut self, pace: &mut Pace) -> Polled {
        if self.context.alignment().are_all_paused() {
            return Polled::Waiting(None); // Until the limit is raised: that is mail.
        }
        let before = pace.counted();
        let mut push = Push {
            next: &mut self.next,
            bad_lines: &mut self.bad_lines,
            pace,
            skipped: 0,
            alignment: self.context.alignment(),
            timing: Timing { stopwatch: self.context.stopwatch(), reached: Reached::Nothing },
        };
        let polled = self.reader.poll(self.context.shard(), &mut push);
        let records = push.pace.counted() - before - push.skipped;
        self.context.metrics().records_in.add(records);
        match polled {
            Ok(ReaderStatus::MoreAvailable) => Polled::Again,
            Ok(ReaderStatus::Waiting(until)) => Polled::Waiting(until),
            Ok(ReaderStatus::NeedSplit) => Polled::NeedsSplit,
            Ok(ReaderStatus::Finished) => Polled::Finished,
            Err(failure) => {
                self.context.fail(failure);
                Polled::Again
            }
        }
    }

    fn mail(&mut self, mail: Mail) -> Result<(), TaskFailure> {
        match mail {
            Mail::Split(split) => self.reader.add_split(SplitPayload(split)),
            Mail::NoMoreSplits => {
                self.reader.no_more_splits();
                Ok(())
            }
            Mail::WatermarkLimit(limit) => {
                self.context.alignment().set_limit(limit);
                Ok(())
            }
        }
    }

    fn next_timer(&self) -> Option<Timestamp> {
        None
    }

    fn advance_time(&mut self, _now: Timestamp, _pace: &mut Pace) -> Progress {
        Progress::Done
    }

    fn tick(&mut self, now: Nanos, is_idle: bool) {
        self.next.tick(now, is_idle);
    }

    fn finish(&mut self, _pace: &mut Pace) -> Progress {
        self.next.finish()
    }

    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        self.next.ports(visit);
        if let Some(bad_lines) = &mut self.bad_lines {
            visit(bad_lines.as_mut());
        }
    }

    fn snapshot(&mut self, snapshot: &mut Snapshot) {
        for split in self.reader.unread() {
            snapshot.put(SPLITS, None, split.0);
        }
        self.next.snapshot(snapshot);
    }

    fn lists(&mut self, visit: &mut VisitList<'_>) {
        self.next.lists(visit);
    }

    /// Splits are dealt out round robin, in order: which reader had them does not matter, but each has to read them in
    /// the order of their event times. If the other readers run on, each goes on with its own.
    fn restore<'r>(&'r mut self, snapshot: &'r Snapshot) -> Restoring<'r> {
        Box::pin(async move {
            let (first, step) = snapshot.share(&self.context);
            let splits = snapshot.operator(SPLITS).map(|split| SplitPayload(split.to_vec()));
            let mut splits: Vec<_> = splits.collect();
            R::sort(&mut splits);
            for split in splits.into_iter().skip(first).step_by(step) {
                self.reader
                    .add_split(split)
                    .map_err(|failure| TaskFailure { blame: Blame::Environment, ..failure })?;
            }
            self.next.restore(snapshot).await
        })
    }

    fn position(&self) -> Option<String> {
        self.reader.position()
    }
}
