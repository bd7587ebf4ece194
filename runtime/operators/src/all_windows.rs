//! Event-time windows over a whole stream: one accumulator per window, one subtask.
//!
//! # What is always true
//!
//! The rules of `tumbling` hold, and of `sliding` where windows overlap, with one accumulator in the place of a table.

mod slices;

use std::marker::PhantomData;

use wiesel_core::{Meta, Nanos, TaskFailure, Timestamp};
use wiesel_record::Record;
use wiesel_wire::{Frame, FrameView};

use crate::{
    EventTimeWindows, Folding, Head, Link, ListPart, OutputPort, Pace, Polled, Progress, Restoring,
    Snapshot, Start, Status, TaskContext, TimeWindow, VisitList, WindowOptions, descriptors,
    flat_map::Emit, late::LateRecords,
};
use slices::{Slice, Slices, is_due};

/// The name of the accumulators in snapshots.
const STATE: &str = "window_all";

/// Aggregates all records of a window.
pub struct AllWindows<A, T: Record, W, D>
where
    A: Folding<(), T>,
{
    folding: A,
    options: WindowOptions<W>,
    slices: Slices<A::Acc>,
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
            slices: Slices::new(),
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
        let at = self.slices.place_of(window);
        let folded = match self.slices.all().get(at) {
            Some(slice) if slice.window == window => {
                self.folding.add(&mut self.slices.change(at).acc, value)
            }
            _ => self.folding.first(value).map(|acc| {
                let fired = window.max_timestamp() <= self.watermark;
                self.slices.insert(at, window, acc, fired);
            }),
        };
        match folded {
            Ok(()) if self.slices.all()[at].fired => self.fire(at),
            Ok(()) => {}
            Err(error) => self.context.fail_user("aggregate a record", error),
        }
    }

    fn fire(&mut self, at: usize) {
        let Slice { window, acc, .. } = &self.slices.all()[at];
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
        for at in 0..self.slices.all().len() {
            if is_due(&self.slices.all()[at], watermark) {
                self.fire(at);
                self.slices.change(at).fired = true;
                if pace.is_over() {
                    return Progress::Stopped;
                }
            }
        }
        let options = &self.options;
        self.slices.retain(|window| options.over_at(window) > watermark);
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

    fn snapshot(&mut self, snapshot: &mut Snapshot) {
        if !self.slices.all().is_empty() {
            descriptors::snapshot::<()>(
                &self.context,
                vec![descriptors::accumulator::<A::Acc>(STATE)],
                snapshot,
            );
        }
        if snapshot.takes_lists()
            && let Err(failure) = self.slices.export(&mut |part| snapshot.put(STATE, None, part))
        {
            return self.context.fail(failure);
        }
        self.next.snapshot(snapshot);
    }

    fn lists(&mut self, visit: &mut VisitList<'_>) {
        let (position, name) = (self.context.position(), STATE);
        visit(ListPart { position, name, list: &mut self.slices });
        self.next.lists(visit);
    }

    fn restore<'r>(&'r mut self, snapshot: &'r Snapshot) -> Restoring<'r> {
        Box::pin(async move {
            descriptors::check::<()>(
                &self.context,
                vec![descriptors::accumulator::<A::Acc>(STATE)],
                snapshot,
            )?;
            let windows = self.options.windows;
            for part in snapshot.operator(STATE) {
                let is_ours =
                    |window: TimeWindow| windows.assign(window.start).any(|ours| ours == window);
                self.slices.import(part, is_ours)?;
            }
            self.next.restore(snapshot).await
        })
    }
}
