//! Event-time windows over a whole stream: one accumulator per window, one subtask.
//!
//! # What is always true
//!
//! The rules of `tumbling` hold, and of `sliding` where windows overlap, with one accumulator in the place of a table.

use std::marker::PhantomData;

use wiesel_core::{Blame, Meta, Nanos, TaskFailure, Timestamp};
use wiesel_record::{Record, RegionBuf};
use wiesel_wire::{Frame, FrameView};

use crate::{
    EventTimeWindows, Folding, Head, Link, OutputPort, Pace, Polled, Progress, Restoring, Snapshot,
    Start, Status, TaskContext, TimeWindow, WindowOptions, descriptors, flat_map::Emit,
    late::LateRecords, state_cell::decode,
};

/// The name of the accumulators in snapshots.
const STATE: &str = "window_all";

/// The longest accumulator that a snapshot takes.
const ACC_BYTES_MAX: usize = 1 << 30;

struct Slice<Acc> {
    window: TimeWindow,
    acc: Acc,
    fired: bool,
}

/// Aggregates all records of a window.
pub struct AllWindows<A, T: Record, W, D>
where
    A: Folding<(), T>,
{
    folding: A,
    options: WindowOptions<W>,
    /// In order of their windows.
    slices: Vec<Slice<A::Acc>>,
    watermark: Timestamp,
    late: LateRecords<T>,
    context: TaskContext,
    next: D,
    types: PhantomData<fn(T)>,
}

/// Makes [`AllWindows`].
pub struct AllWindowsStart<A, T, W> {
    folding: A,
    options: WindowOptions<W>,
    types: PhantomData<fn(T)>,
}

impl<A, T, W> AllWindowsStart<A, T, W> {
    /// Aggregates with `folding` in windows by `options`.
    pub fn new(folding: A, options: WindowOptions<W>) -> Self {
        Self { folding, options, types: PhantomData }
    }
}

impl<A: Clone, T, W: Clone> Clone for AllWindowsStart<A, T, W> {
    fn clone(&self) -> Self {
        Self::new(self.folding.clone(), self.options.clone())
    }
}

impl<A: Folding<(), T>, T: Record, W: EventTimeWindows> Start for AllWindowsStart<A, T, W> {
    type Out = A::Out;
    type Head<D: Link<A::Out>> = AllWindows<A, T, W, D>;

    fn head<D: Link<A::Out>>(
        self,
        next: D,
        context: &TaskContext,
    ) -> Result<AllWindows<A, T, W, D>, TaskFailure> {
        let late = LateRecords::new(self.options.late_slot, context);
        Ok(AllWindows {
            folding: self.folding,
            options: self.options,
            slices: Vec::new(),
            watermark: Timestamp::MIN,
            late,
            context: context.clone(),
            next,
            types: PhantomData,
        })
    }
}

impl<A, T, W, D> AllWindows<A, T, W, D>
where
    A: Folding<(), T>,
    T: Record,
    W: EventTimeWindows,
    D: Link<A::Out>,
{
    fn take(&mut self, value: T::View<'_>, meta: Meta) {
        let Some(time) = meta.time else {
            return self.context.fail_untimed("assign a record to a window", "window");
        };
        let (mut is_in_gap, mut is_taken) = (true, false);
        for window in self.options.windows.assign(time) {
            is_in_gap = false;
            if self.options.over_at(window) > self.watermark {
                is_taken = true;
                self.take_into(window, value);
            }
        }
        let is_over = time + self.options.allowed_lateness <= self.watermark;
        if !is_taken && (!is_in_gap || is_over) {
            self.late.take(value, meta, self.folding.weight(value));
        }
    }

    /// Takes a record into one of its windows.
    fn take_into(&mut self, window: TimeWindow, value: T::View<'_>) {
        let at = self.slices.partition_point(|slice| slice.window < window);
        let folded = match self.slices.get_mut(at) {
            Some(slice) if slice.window == window => self.folding.add(&mut slice.acc, value),
            _ => self.folding.first(value).map(|acc| {
                let fired = window.max_timestamp() <= self.watermark;
                self.slices.insert(at, Slice { window, acc, fired });
            }),
        };
        match folded {
            Ok(()) if self.slices[at].fired => self.fire(at),
            Ok(()) => {}
            Err(error) => self.context.fail_user("aggregate a record", error),
        }
    }

    fn fire(&mut self, at: usize) {
        let Slice { window, acc, .. } = &self.slices[at];
        let meta = Meta::at(window.max_timestamp());
        self.folding.emit((), *window, acc.view(), &mut Emit { next: &mut self.next, meta });
    }
}

impl<A, T, W, D> Head for AllWindows<A, T, W, D>
where
    A: Folding<(), T>,
    T: Record,
    W: EventTimeWindows,
    D: Link<A::Out>,
{
    fn open(&mut self) -> Result<(), TaskFailure> {
        self.next.open()
    }

    fn close(&mut self) {
        self.next.close();
    }

    fn frame(
        &mut self,
        _input: usize,
        frame: &Frame,
        cursor: &mut usize,
        pace: &mut Pace,
    ) -> Progress {
        let view = FrameView::<T>::new(frame);
        while *cursor < view.len() {
            self.take(view.record(*cursor).get(), view.meta(*cursor));
            self.context.metrics().records_in.add(1);
            *cursor += 1;
            if pace.is_over() && *cursor < view.len() {
                return Progress::Stopped;
            }
        }
        Progress::Done
    }

    fn watermark(&mut self, watermark: Timestamp, pace: &mut Pace) -> Progress {
        assert!(watermark >= self.watermark, "watermark moved backwards");
        self.watermark = watermark;
        for at in 0..self.slices.len() {
            if !self.slices[at].fired && self.slices[at].window.max_timestamp() <= watermark {
                self.fire(at);
                self.slices[at].fired = true;
                if pace.is_over() {
                    return Progress::Stopped;
                }
            }
        }
        let options = &self.options;
        self.slices.retain(|slice| options.over_at(slice.window) > watermark);
        self.late.watermark(watermark);
        self.next.watermark(watermark)
    }

    fn status(&mut self, status: Status) {
        self.late.status(status);
        self.next.status(status);
    }

    fn poll(&mut self, _pace: &mut Pace) -> Polled {
        Polled::Finished
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
        self.late.ports(visit);
    }

    /// A part per window: start, end, fired, and the accumulator's region.
    fn snapshot(&mut self, snapshot: &mut Snapshot) {
        if !self.slices.is_empty() {
            descriptors::snapshot::<()>(
                &self.context,
                vec![descriptors::accumulator::<A::Acc>(STATE)],
                snapshot,
            );
        }
        let mut region = RegionBuf::new();
        for slice in &self.slices {
            let written = region.write::<A::Acc>(slice.acc.view(), ACC_BYTES_MAX);
            if let Err(error) = written {
                self.context.fail_runtime("snapshot a window", error);
                return;
            }
            let mut bytes = Vec::new();
            bytes.extend(slice.window.header());
            bytes.extend(u64::from(slice.fired).to_le_bytes());
            bytes.extend(region.as_bytes());
            snapshot.put(STATE, None, bytes);
        }
        self.next.snapshot(snapshot);
    }

    fn restore<'r>(&'r mut self, snapshot: &'r Snapshot) -> Restoring<'r> {
        Box::pin(async move {
            descriptors::check::<()>(
                &self.context,
                vec![descriptors::accumulator::<A::Acc>(STATE)],
                snapshot,
            )?;
            for part in snapshot.operator(STATE) {
                let header = TimeWindow::split_from(part);
                let header =
                    header.and_then(|(window, rest)| Some((window, rest.split_first_chunk()?)));
                let Some((window, (fired, acc))) = header else {
                    return Err(damaged("it ends within its header"));
                };
                if !self.options.windows.assign(window.start).any(|ours| ours == window) {
                    let cause = "its windows have another size or slide: the program has changed";
                    return Err(damaged(cause));
                }
                let acc = decode::<A::Acc>(acc)?;
                let at = self.slices.partition_point(|slice| slice.window < window);
                self.slices
                    .insert(at, Slice { window, acc, fired: u64::from_le_bytes(*fired) != 0 });
            }
            self.next.restore(snapshot).await
        })
    }
}

fn damaged(what: &str) -> TaskFailure {
    TaskFailure::new(Blame::Environment, "restore window state", what.to_owned())
}
