//! The producer's side of an edge, for one subtask.
//!
//! ```text
//!              ┌ route ┐   ┌─ lane 0: open frame ─┐ full, flush   ┌─ outbox 0 ─┐
//!   append ───▶│  hash │──▶│  lane 1: open frame  │──────────────▶│  outbox 1  │──▶ channels
//!              └───────┘   └─ …  (broadcast: one) ┘               └────────────┘
//!                               ▲ take                                  │ returns
//!                          LocalPool ◀──────────────────────────────────┘ poll
//! ```
//!
//! # What is always true
//!
//! 1. `append` never waits. Without credit or frames it borrows from the task's overdraft and sets `stop`; the head
//!    then ends its turn, and gets none until what was borrowed is repaid.
//! 2. Each channel gets its records, watermarks and events in the order they were given. A watermark rides in the
//!    header of the frame that was open; nothing is appended to that frame any more.
//! 3. The partition owns one frame a channel and one more. So when all frames in flight are home, one is free even
//!    if every channel has a frame open: a task that waits for frames does not wait for itself.
//! 4. Memory: its pool's frames, the overdraft, and jumbo frames within the pool's allowance.

mod slow;

use std::{sync::Arc, time::Duration};

use wiesel_core::{CheckpointId, Meta, Nanos, StopFlag, Timestamp};
use wiesel_record::{Full, Item, Record, Scratch};
use wiesel_wire::{
    FRAME_BYTES, Frame, FrameShape, FrameWriter, JUMBO_BYTES_LIMIT, JUMBO_BYTES_MIN, LocalPool,
};

use crate::{
    ChannelSender, ExchangeError, Overdraft, PartitionMetrics, PartitionOptions, RetiredPartition,
    element::{Element, InputFrame},
    lane::Lane,
    outbox::Outbox,
    partitioner::Route,
};

/// One output edge of one subtask.
///
/// ```
/// use wiesel_core::{Meta, StopFlag, Timestamp};
/// use wiesel_exchange::{
///     GateEvent, InputGate, Overdraft, PartitionOptions, Partitioner, ResultPartition, channel,
/// };
/// use wiesel_record::Viewed;
/// use wiesel_wire::{FramePool, FrameShape, FrameView};
///
/// let pool = FramePool::new(8, 0);
/// let (sender, receiver) = channel(2, None, None);
/// let options = PartitionOptions {
///     partitioner: Partitioner::Forward,
///     shape: FrameShape::of::<String>(true, false),
///     subtask: 0,
///     seed: 0,
///     record_bytes_max: 1 << 20,
/// };
/// let (stop, overdraft) = (StopFlag::new(), Overdraft::new(1 << 20));
/// let mut partition =
///     ResultPartition::new(&options, vec![sender], pool.reserve(2)?, stop, overdraft);
/// let mut gate = InputGate::new(vec![receiver]);
///
/// let at = Timestamp::from_millis(7);
/// partition.append::<String, _>(&Viewed("weasel"), Meta::at(at));
/// partition.watermark(at);
/// partition.flush();
///
/// let Some(GateEvent::Data(element)) = gate.poll() else { panic!("one frame was sent") };
/// let (record, meta) = FrameView::<String>::new(element.frame()).iter().next().expect("one record");
/// assert_eq!((record.get(), meta.time), ("weasel", Some(at)));
/// gate.done_with(element);
/// assert_eq!(gate.poll(), Some(GateEvent::Watermark(at)));
/// # Ok::<(), wiesel_wire::PoolError>(())
/// ```
#[derive(Debug)]
pub struct ResultPartition {
    route: Route,
    lanes: Box<[Lane]>,
    outboxes: Box<[Outbox]>,
    shape: FrameShape,
    broadcast: bool,
    frames: LocalPool,
    stop: StopFlag,
    overdraft: Overdraft,
    /// The part of the overdraft that is jumbo frames of this partition.
    jumbo_borrowed: usize,
    frame_bytes_max: usize,
    scratch: Scratch,
    idle: bool,
    ended: bool,
    failure: Option<ExchangeError>,
    failed: bool,
    metrics: PartitionMetrics,
}

impl ResultPartition {
    /// A partition over `channels`, which owns `frames`. `stop` and `overdraft` are the task's.
    ///
    /// # Panics
    ///
    /// If there are no channels, or fewer frames are reserved than [`PartitionOptions::frames_reserved`] says.
    pub fn new(
        options: &PartitionOptions,
        channels: Vec<ChannelSender>,
        frames: LocalPool,
        stop: StopFlag,
        overdraft: Overdraft,
    ) -> Self {
        let needed = PartitionOptions::frames_reserved(&options.partitioner, channels.len());
        assert!(frames.reserved() >= needed, "{needed} frames are a partition's own");
        let route =
            Route::new(&options.partitioner, channels.len() as u32, options.subtask, options.seed);
        let broadcast = options.partitioner.is_broadcast();
        let lane_count = if broadcast { 1 } else { channels.len() };
        let max = options.record_bytes_max.clamp(FRAME_BYTES, JUMBO_BYTES_LIMIT);
        Self {
            route,
            lanes: (0..lane_count).map(|_| Lane::new(options.shape)).collect(),
            outboxes: channels.into_iter().map(Outbox::new).collect(),
            shape: options.shape,
            broadcast,
            frames,
            stop,
            overdraft,
            jumbo_borrowed: 0,
            frame_bytes_max: 1 << max.ilog2(),
            scratch: Scratch::new(),
            idle: false,
            ended: false,
            failure: None,
            failed: false,
            metrics: PartitionMetrics::default(),
        }
    }

    /// Appends a record to the frame of its channel.
    ///
    /// What goes wrong (the record is too large, the overdraft used up) sets `stop` and is kept for
    /// [`take_failure`](Self::take_failure).
    #[inline(always)]
    pub fn append<T: Record, I: Item<T>>(&mut self, item: &I, meta: Meta) {
        let index = self.route.channel(meta) as usize;
        if let Some(lane) = self.lanes.get_mut(index)
            && lane.writer.append::<T, I>(item, meta, &mut self.scratch).is_ok()
        {
            return;
        }
        std::hint::cold_path();
        // In parts, which travel in registers: as a whole it would be written to the stack for every record.
        self.append_slow::<T, I>(index, item, meta.time, meta.hash);
    }

    /// Lets a watermark follow what was appended, on all channels.
    pub fn watermark(&mut self, watermark: Timestamp) {
        assert!(!self.ended, "nothing follows the end of an edge");
        if watermark == Timestamp::MAX && self.idle {
            self.active(); // The end of time counts on idle channels too, so they have to listen.
        }
        for index in 0..self.lanes.len() {
            if !self.lanes[index].carry(watermark) {
                self.offer(index, &|| Element::Watermark(watermark));
            }
        }
    }

    /// Tells the consumers not to wait for this producer's watermarks.
    pub fn idle(&mut self) {
        if !self.idle {
            self.idle = true;
            self.event(&|| Element::Idle);
        }
    }

    /// Tells the consumers that watermarks follow again.
    pub fn active(&mut self) {
        if self.idle {
            self.idle = false;
            self.event(&|| Element::Active);
        }
    }

    /// Lets a barrier follow what was appended, on all channels. The only thing that may come after the end: a task
    /// that has ended still takes part in the last checkpoint.
    pub fn barrier(&mut self, id: CheckpointId) {
        for index in 0..self.lanes.len() {
            self.send_behind(index, &|| Element::Barrier(id));
        }
    }

    /// Nothing follows. A bounded input that was read to its end sends the watermark [`Timestamp::MAX`] before.
    ///
    /// # Panics
    ///
    /// If it was called before, as do events that come after it, but for barriers.
    pub fn end(&mut self) {
        self.event(&|| Element::End);
        self.ended = true;
        self.release_open(); // An empty frame, opened for a record that then needed a larger one.
    }

    /// Sends the open frames whose channel has credit; the others go as soon as it has. Says whether one went.
    pub fn flush(&mut self) -> bool {
        self.flush_if(|_| true)
    }

    /// As [`flush`](Self::flush), for frames that have been open for at least `age`: since a call of this first saw
    /// them, so that no append reads a clock.
    pub fn flush_older_than(&mut self, now: Nanos, age: Duration) -> bool {
        self.flush_if(|lane| now.since(*lane.seen_at.get_or_insert(now)) >= age)
    }

    /// Takes frames that came back, and sends what now has credit. Says whether it did either.
    pub fn poll(&mut self) -> bool {
        let mut moved = false;
        for index in 0..self.outboxes.len() {
            while let Some(frame) = self.outboxes[index].take_return() {
                self.take_home(frame);
                moved = true;
            }
            let outbox = &mut self.outboxes[index];
            if outbox.is_closed() {
                moved |= self.discard(index);
            } else {
                moved |= outbox.pump();
            }
        }
        for index in 0..self.lanes.len() {
            if self.lanes[index].flush_wanted && self.has_credit(index) {
                self.close(index);
                moved = true;
            }
        }
        moved
    }

    /// Whether the task may have a turn for data: nothing is borrowed, nothing waits for credit, and there is a
    /// frame to write to, whatever the channel of the next record.
    pub fn may_take_data(&self) -> bool {
        self.frames.overdraft() == 0
            && self.jumbo_borrowed == 0
            && self.outboxes.iter().all(|outbox| outbox.frames_queued() == 0)
            && (self.frames.can_take() || self.lanes.iter().all(|lane| lane.writer.is_writable()))
            && !self.failed
    }

    /// Whether everything was sent and every frame is home. After [`end`](Self::end) the task polls until then.
    pub fn is_drained(&self) -> bool {
        self.lanes.iter().all(|lane| !lane.writer.has_frame())
            && self.outboxes.iter().all(Outbox::is_drained)
    }

    /// What went wrong, once.
    pub fn take_failure(&mut self) -> Option<ExchangeError> {
        self.failure.take()
    }

    /// What was sent so far.
    pub fn metrics(&self) -> PartitionMetrics {
        self.metrics
    }

    /// Records appended so far.
    pub fn records_out(&self) -> u64 {
        let open = self.lanes.iter().map(|lane| u64::from(lane.writer.count()));
        self.metrics.records_closed + open.sum::<u64>()
    }

    /// Forgets what was not sent, and only collects frames from here on.
    pub fn retire(mut self) -> RetiredPartition {
        self.give_up();
        RetiredPartition::new(self)
    }

    /// Gives a lane an empty frame: the partition's, a floating one, or borrowed.
    fn open(&mut self, index: usize) -> Result<(), ExchangeError> {
        let taken = if self.is_blocked(index) { None } else { self.frames.take() };
        let frame = match taken {
            Some(frame) => frame,
            None => {
                self.overdraft.borrow(FRAME_BYTES)?;
                self.set_stop();
                self.frames.take_overdraft()
            }
        };
        self.lanes[index].writer = FrameWriter::open(frame, self.shape);
        Ok(())
    }

    /// Sends a lane's frame, now or when there is credit.
    fn close(&mut self, index: usize) {
        if let Some(frame) = self.lanes[index].take(self.shape) {
            self.send(index, frame);
        }
    }

    fn send(&mut self, index: usize, mut frame: Frame) {
        let lane = &mut self.lanes[index];
        frame.address(if self.broadcast { u32::MAX } else { index as u32 }, lane.sequence);
        lane.sequence += 1;
        self.metrics.frames_out += 1;
        self.metrics.bytes_out += frame.payload_bytes() as u64;
        self.metrics.records_closed += u64::from(frame.count());
        if self.broadcast {
            let frame = Arc::new(frame);
            self.offer(index, &|| Element::Shared(Arc::clone(&frame)));
            // Nobody may have wanted it. (Else its last holder is the last channel that sends it back.)
            self.take_home(InputFrame::Shared(frame));
        } else if self.outboxes[index].is_closed() {
            self.take_frame_home(frame);
        } else {
            self.outboxes[index].offer(Element::Data(frame));
        }
        if self.is_blocked(index) {
            self.set_stop();
        }
    }

    /// Puts an element into the outbox of a lane, or of all channels if they share the lane.
    fn offer(&mut self, lane: usize, element: &dyn Fn() -> Element) {
        let outboxes =
            if self.broadcast { &mut self.outboxes[..] } else { &mut self.outboxes[lane..=lane] };
        for outbox in outboxes.iter_mut().filter(|outbox| !outbox.is_closed()) {
            outbox.offer(element());
        }
    }

    /// Sends an event on all channels, behind all that was appended.
    fn event(&mut self, event: &dyn Fn() -> Element) {
        assert!(!self.ended, "nothing follows the end of an edge");
        for index in 0..self.lanes.len() {
            self.send_behind(index, event);
        }
    }

    /// Sends an event on one channel, behind all that was appended to it.
    fn send_behind(&mut self, index: usize, event: &dyn Fn() -> Element) {
        if !self.lanes[index].writer.is_empty() {
            self.close(index);
        }
        self.offer(index, event);
    }

    fn flush_if(&mut self, mut wanted: impl FnMut(&mut Lane) -> bool) -> bool {
        let mut moved = false;
        for index in 0..self.lanes.len() {
            let lane = &mut self.lanes[index];
            if lane.writer.is_empty() || !wanted(lane) {
                continue;
            }
            if self.has_credit(index) {
                self.close(index);
                moved = true;
            } else {
                // It may still be filled, which is better than to queue it.
                self.lanes[index].flush_wanted = true;
            }
        }
        moved
    }

    /// Whether a frame of this lane would leave at once.
    fn has_credit(&self, lane: usize) -> bool {
        self.outboxes_of(lane).iter().all(|outbox| outbox.is_open() || outbox.is_closed())
    }

    fn is_blocked(&self, lane: usize) -> bool {
        self.outboxes_of(lane).iter().any(|outbox| outbox.frames_queued() > 0)
    }

    fn outboxes_of(&self, lane: usize) -> &[Outbox] {
        if self.broadcast { &self.outboxes } else { &self.outboxes[lane..=lane] }
    }

    fn set_stop(&mut self) {
        self.metrics.stops += u64::from(!self.stop.is_set());
        self.stop.set();
    }

    fn fail(&mut self, error: ExchangeError) {
        self.stop.set();
        if !self.failed {
            self.failed = true;
            self.failure = Some(error);
        }
    }

    fn take_home(&mut self, frame: InputFrame) {
        match frame {
            InputFrame::Own(frame) => self.take_frame_home(frame),
            // The last channel that returns a shared frame is the one that brings it home.
            InputFrame::Shared(frame) => {
                if let Some(frame) = Arc::into_inner(frame) {
                    self.take_frame_home(frame);
                }
            }
        }
    }

    fn take_frame_home(&mut self, frame: Frame) {
        let (jumbo, capacity) = (frame.is_jumbo(), frame.capacity());
        let borrowed = self.frames.overdraft();
        self.frames.give(frame);
        if self.frames.overdraft() < borrowed {
            self.overdraft.repay(FRAME_BYTES);
        }
        if jumbo {
            let repaid = capacity.min(self.jumbo_borrowed);
            self.jumbo_borrowed -= repaid;
            self.overdraft.repay(repaid);
        }
    }

    /// Takes home what waits for a consumer that is gone.
    fn discard(&mut self, channel: usize) -> bool {
        let queued = self.outboxes[channel].frames_queued();
        while let Some(frame) = self.outboxes[channel].take_queued() {
            self.take_home(frame);
        }
        queued > 0
    }

    /// Takes the frames of the lanes home, with what is in them.
    fn release_open(&mut self) {
        for index in 0..self.lanes.len() {
            if let Some(frame) = self.lanes[index].take(self.shape) {
                self.take_frame_home(frame);
            }
        }
    }

    fn give_up(&mut self) {
        self.release_open();
        for channel in 0..self.outboxes.len() {
            self.discard(channel);
        }
    }
}

impl Drop for ResultPartition {
    fn drop(&mut self) {
        self.give_up();
        self.poll();
        // What is still out is freed by whoever has it; the pool replaces it, and the budget forgets it.
        self.overdraft.repay(self.jumbo_borrowed + self.frames.overdraft() * FRAME_BYTES);
    }
}
