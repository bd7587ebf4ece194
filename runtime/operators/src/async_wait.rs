//! Async I/O: a link that asks the outside world about many records at a time, and passes on what it hears.
//!
//! ```text
//!   push ──▶ queue ──▶ start ──▶ helper ──▶ result ──▶ queue ──▶ next link
//!              ▲          ▲                 │ try again?
//!              │          └──── pause ◀─────┘
//!              └─ full: no records are wanted
//! ```
//!
//! # What is always true
//!
//! 1. Nothing here waits. A full queue is shown as an output that wants no records: the task has other turns, and lets
//!    barriers by.
//! 2. Watermarks and changes of status wait for the elements before them, and elements for the watermarks before them.
//! 3. What has not gone on is state: it is asked about again after a restore, at any parallelism.
//! 4. An answer that comes after its record has timed out is dropped.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use wiesel_core::{Blame, Meta, Nanos, TaskFailure, Timestamp};
use wiesel_record::{InFrame, Item, Owned, Record, Region, RegionBuf};
use wiesel_shard::Futures;

use crate::{
    AsyncFunction, AsyncOptions, Chain, Control, FunctionError, Link, OutputPort, Progress,
    RuntimeContext, Snapshot, Status, TaskContext, VisitList,
    async_queue::{AsyncQueue, Passing, Ready},
    chain::clone_builder,
};

/// Results that go on in one go; then the task has a turn again.
const EMIT_MAX: usize = 64;
/// The name of records that wait for an answer.
const STATE: &str = "async-wait";
/// Of a record in a snapshot: a byte that says whether it has a time, and the time.
const HEADER_BYTES: usize = 9;

/// Asks about records.
pub struct AsyncWait<T: Record, F: AsyncFunction<T>, D> {
    function: F,
    options: AsyncOptions,
    queue: AsyncQueue<T, F::Results>,
    futures: Futures<Result<F::Results, FunctionError>>,
    /// Elements by the future that runs for them.
    running: BTreeMap<u64, u64>,
    to_start: VecDeque<u64>,
    /// Those that are to be asked about again, and when.
    pauses: BTreeSet<(Nanos, u64)>,
    /// A watermark that the next link is not done with.
    stopped: Option<Timestamp>,
    /// The input has ended: the queue must be empty before the chain can.
    is_ending: bool,
    context: TaskContext,
    next: D,
}

impl<T: Record, F: AsyncFunction<T>, D: Link<F::Out>> AsyncWait<T, F, D> {
    fn is_done(&self) -> bool {
        self.queue.is_empty() && self.stopped.is_none()
    }

    fn take(&mut self, record: T, meta: Meta) {
        let deadline = self.context.shard().now() + self.options.timeout;
        let number = self.queue.push(record, meta, deadline);
        self.to_start.push_back(number);
        if self.queue.len() >= self.options.capacity {
            self.context.stop().set();
        }
    }

    /// Does all that can be done now; says whether anything was.
    fn advance(&mut self, now: Nanos) -> bool {
        if self.context.has_failed() {
            return false;
        }
        let mut worked = false;
        while let Some((future, answer)) = self.futures.poll() {
            worked = true;
            self.answer(now, future, answer);
        }
        self.time_out(now);
        while let Some((due, number)) = self.pauses.first().copied()
            && due <= now
        {
            self.pauses.pop_first();
            self.to_start.push_back(number);
        }
        worked |= self.start();
        worked |= self.emit();
        let pause = self.pauses.first().map(|(due, _)| *due);
        if let Some(wake) = self.queue.next_deadline().into_iter().chain(pause).min() {
            self.context.wake_at(wake);
        }
        worked
    }

    /// Asks about as many as may be asked about at a time.
    fn start(&mut self) -> bool {
        let mut started = false;
        while self.running.len() < self.options.capacity
            && let Some(number) = self.to_start.pop_front()
        {
            // One that has timed out before its turn came is not asked about.
            let Some(element) = self.queue.waiting(number) else { continue };
            element.tried += 1;
            let future = self.futures.start(self.function.invoke(element.record.view()));
            element.running = Some(future);
            self.running.insert(future, number);
            started = true;
        }
        started
    }

    fn answer(
        &mut self,
        now: Nanos,
        future: u64,
        answer: Result<Result<F::Results, FunctionError>, String>,
    ) {
        // Invariant 4.
        let Some(number) = self.running.remove(&future) else { return };
        let Some(element) = self.queue.waiting(number) else { return };
        element.running = None;
        let outcome = match answer {
            Ok(outcome) => outcome,
            Err(panic) => {
                let cause = format!("the future panicked: {panic}");
                return self.fail("ask about a record", cause.into());
            }
        };
        let pause = self.options.retry.and_then(|retry| retry.pause_after(element.tried));
        if let Some(pause) = pause
            && self.function.should_retry(outcome.as_ref())
        {
            self.pauses.insert((now + pause, number));
            return;
        }
        let tried = element.tried;
        self.settle(number, tried, outcome);
    }

    fn time_out(&mut self, now: Nanos) {
        while let Some(number) = self.queue.overdue(now) {
            let Some(element) = self.queue.waiting(number) else { continue };
            if let Some(future) = element.running.take() {
                self.running.remove(&future);
                self.futures.cancel(future);
            }
            let (tried, outcome) = (element.tried, self.function.timeout(element.record.view()));
            self.pauses.retain(|(_, paused)| *paused != number);
            self.settle(number, tried, outcome);
        }
    }

    fn settle(&mut self, number: u64, tried: u32, outcome: Result<F::Results, FunctionError>) {
        match outcome {
            Ok(results) => self.queue.complete(number, results),
            Err(error) if tried > 1 => {
                let doing = format!("ask about a record, in {tried} tries");
                self.fail(&doing, error);
            }
            Err(error) => self.fail("ask about a record", error),
        }
    }

    /// Whoever was asked may answer next time: a restart helps, unlike after other errors of functions.
    fn fail(&self, doing: &str, error: FunctionError) {
        let failure = TaskFailure::new(Blame::Job, doing, error);
        self.context.fail(TaskFailure { retryable: true, ..failure });
    }

    /// Passes on what may go, while the outputs have room.
    fn emit(&mut self) -> bool {
        let mut emitted = false;
        for _ in 0..EMIT_MAX {
            if !self.has_room() {
                break;
            }
            if let Some(watermark) = self.stopped {
                emitted = true;
                if self.next.watermark(watermark) == Progress::Stopped {
                    break;
                }
                self.stopped = None;
            }
            let Some(ready) = self.queue.next() else { break };
            emitted = true;
            match ready {
                Ready::Results(meta, results) => {
                    for result in results {
                        self.next.push(Owned(result), meta);
                    }
                }
                Ready::Passing(Passing::Watermark(watermark)) => self.stopped = Some(watermark),
                Ready::Passing(Passing::Status(status)) => self.next.status(status),
            }
        }
        emitted
    }

    fn has_room(&mut self) -> bool {
        let mut has_room = true;
        self.next.ports(&mut |port| has_room &= port.is_ready());
        has_room
    }
}

/// To the task a link that waits is an output that cannot be written to.
impl<T: Record, F: AsyncFunction<T>, D: Link<F::Out>> OutputPort for AsyncWait<T, F, D> {
    fn poll(&mut self, now: Nanos) -> bool {
        self.advance(now)
    }

    /// Not within a watermark of the next link, which a cut must not come between.
    fn is_ready(&self) -> bool {
        self.stopped.is_none() && (!self.is_ending || self.is_done())
    }

    fn wants_records(&self) -> bool {
        self.queue.len() < self.options.capacity
    }

    fn is_settled(&self) -> bool {
        self.is_done()
    }

    fn flush(&mut self) {}

    fn flush_aged(&mut self, _now: Nanos, _age: Duration) {}

    fn end(&mut self) {}

    fn is_drained(&self) -> bool {
        true
    }

    fn take_failure(&mut self) -> Option<TaskFailure> {
        None
    }
}

impl<T: Record, F: AsyncFunction<T>, D: Link<F::Out>> Control for AsyncWait<T, F, D> {
    fn open(&mut self) -> Result<(), TaskFailure> {
        self.next.open()?;
        let opened = self.function.open(&RuntimeContext::new(&self.context));
        opened.map_err(|error| TaskFailure::new(Blame::Job, "open an async function", error))
    }

    fn close(&mut self) {
        self.context.close_function(|| self.function.close());
        self.next.close();
    }

    fn watermark(&mut self, watermark: Timestamp) -> Progress {
        self.queue.pass(Passing::Watermark(watermark));
        Progress::Done
    }

    fn status(&mut self, status: Status) {
        self.queue.pass(Passing::Status(status));
    }

    fn tick(&mut self, now: Nanos, is_idle: bool) {
        self.next.tick(now, is_idle);
    }

    fn finish(&mut self) -> Progress {
        self.is_ending = true;
        if self.is_done() {
            return self.next.finish();
        }
        self.context.stop().set(); // Until the answers have come there is nothing to do.
        Progress::Stopped
    }

    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort)) {
        visit(self);
        self.next.ports(visit);
    }

    fn snapshot(&mut self, snapshot: &mut Snapshot) {
        let mut region = RegionBuf::new();
        let own = snapshot.of_operator_mut(self.context.position());
        for element in self.queue.iter() {
            if let Err(error) = region.write::<T>(element.record.view(), usize::MAX) {
                return self.context.fail_runtime("keep a record that is asked about", error);
            }
            let mut bytes = Vec::with_capacity(HEADER_BYTES + region.as_bytes().len());
            bytes.push(u8::from(element.meta.time.is_some()));
            let time = element.meta.time.map_or(0, Timestamp::as_millis);
            bytes.extend_from_slice(&time.to_le_bytes());
            bytes.extend_from_slice(region.as_bytes());
            own.put(STATE, None, bytes);
        }
        self.next.snapshot(snapshot);
    }

    fn lists(&mut self, visit: &mut VisitList<'_>) {
        self.next.lists(visit);
    }

    /// Elements are dealt out round robin: which subtask had them does not matter.
    async fn restore(&mut self, snapshot: &Snapshot) -> Result<(), TaskFailure> {
        if let Some(own) = snapshot.of_operator(self.context.position()) {
            let context = self.context.clone();
            for bytes in own.dealt(STATE, &context) {
                let (record, meta) = decode::<T>(bytes)?;
                self.take(record, meta);
            }
        }
        self.next.restore(snapshot).await
    }
}

fn decode<T: Record>(bytes: &[u8]) -> Result<(T, Meta), TaskFailure> {
    let damaged = |cause: String| {
        TaskFailure::new(Blame::Environment, "restore a record that is asked about", cause)
    };
    let Some((header, record)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Err(damaged(format!("it has {} bytes, its header {HEADER_BYTES}", bytes.len())));
    };
    let mut time = [0; 8];
    time.copy_from_slice(&header[1..]);
    let time = match header[0] {
        0 => None,
        1 => Some(Timestamp::from_millis(i64::from_le_bytes(time))),
        other => return Err(damaged(format!("whether it has a time is {other}, not 0 or 1"))),
    };
    // Regions begin at a multiple of 64, which a vector does not.
    let mut aligned = vec![0_u8; record.len() + 64];
    let start = aligned.as_ptr().align_offset(64).min(64);
    aligned[start..start + record.len()].copy_from_slice(record);
    let region = Region { start: start as u32, end: (start + record.len()) as u32 };
    let item =
        InFrame::<T>::checked(&aligned, region).map_err(|error| damaged(error.to_string()))?;
    Ok((Item::<T>::into_owned(item), Meta { time, hash: None }))
}

impl<T: Record, F: AsyncFunction<T>, D: Link<F::Out>> Link<T> for AsyncWait<T, F, D> {
    fn push<I: Item<T>>(&mut self, item: I, meta: Meta) {
        self.take(item.into_owned(), Meta { hash: None, ..meta });
    }
}

/// `ordered_wait` or `unordered_wait` at the end of `chain`.
pub struct AsyncWaitTo<C, F> {
    chain: C,
    function: F,
    options: AsyncOptions,
    is_ordered: bool,
    position: usize,
}

clone_builder!([C, F] AsyncWaitTo<C, F> { chain, function, options, is_ordered, position }
    where C: Clone, F: Clone);

impl<C, F> AsyncWaitTo<C, F> {
    /// Results come in the order of their records.
    pub fn ordered(chain: C, options: AsyncOptions, function: F) -> Self {
        Self { chain, function, options, is_ordered: true, position: 0 }
    }

    /// Results come when they are there, but on their side of every watermark.
    pub fn unordered(chain: C, options: AsyncOptions, function: F) -> Self {
        Self { chain, function, options, is_ordered: false, position: 0 }
    }

    /// It is so far from the head of its chain: whose its state is in a snapshot.
    #[must_use]
    pub fn at(self, position: usize) -> Self {
        Self { position, ..self }
    }
}

impl<T, C, F> Chain<T> for AsyncWaitTo<C, F>
where
    T: Record,
    C: Chain<T>,
    F: AsyncFunction<C::Out>,
{
    type Out = F::Out;
    type With<D: Link<F::Out>> = C::With<AsyncWait<C::Out, F, D>>;

    fn finish<D: Link<F::Out>>(self, next: D, context: &TaskContext) -> Self::With<D> {
        let link = AsyncWait {
            function: self.function,
            options: self.options,
            queue: AsyncQueue::new(self.is_ordered),
            futures: context.helper().futures(),
            running: BTreeMap::new(),
            to_start: VecDeque::new(),
            pauses: BTreeSet::new(),
            stopped: None,
            is_ending: false,
            context: context.of_operator(self.position),
            next,
        };
        self.chain.finish(link, context)
    }
}
