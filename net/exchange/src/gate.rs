//! The consumer's side of an edge, for one subtask.
//!
//! ```text
//!   channel 0 ──┐
//!   channel 1 ──┼── round robin ──▶ poll: one frame or event at a time
//!   channel 2 ──┘        │
//!                        └ watermarks, status ──▶ valve ──▶ what all channels together say
//! ```
//!
//! # What is always true
//!
//! 1. A channel whose frame is out is not read: what follows a frame is seen after
//!    [`done_with`](InputGate::done_with).
//! 2. The watermark that rides in a frame counts when the task is done with the frame.
//! 3. [`GateEvent::End`] comes once, when every channel has ended. What may follow on a channel are barriers.
//! 4. A producer that is gone without an end is an event, so a consumer does not wait for it for ever.
//! 5. A blocked channel is not read. What its producer has sent waits in it and is paid for by its credit.

use std::ops::ControlFlow;

use wiesel_core::{CheckpointId, Timestamp};
use wiesel_wire::Frame;

use crate::{
    ChannelReceiver, WatermarkStatus, WatermarkValve,
    element::{Element, InputFrame},
    valve::ValveOutput,
};

/// What a gate has for its task.
#[derive(Debug, PartialEq)]
#[non_exhaustive]
pub enum GateEvent {
    /// A frame. It must come back by [`InputGate::done_with`].
    Data(GateElement),
    /// No record up to this time follows, on any channel.
    Watermark(Timestamp),
    /// All channels went idle.
    Idle,
    /// One of them is active again.
    Active,
    /// All channels have ended.
    End,
    /// A barrier came on one channel. Whoever aligns decides what it means, and may block the channel.
    Barrier {
        /// The channel.
        channel: usize,
        /// The checkpoint.
        id: CheckpointId,
    },
    /// The producer of this channel is gone and has not said that it ended.
    ProducerGone(usize),
}

/// A frame that a task reads.
#[derive(Debug)]
pub struct GateElement {
    channel: usize,
    frame: InputFrame,
}

impl GateElement {
    /// The records.
    #[inline]
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// The channel of the gate that it came on.
    pub fn channel(&self) -> usize {
        self.channel
    }
}

impl PartialEq for GateElement {
    /// The same frame, not only the same records.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.frame(), other.frame())
    }
}

/// One input edge of one subtask.
#[derive(Debug)]
pub struct InputGate {
    inputs: Box<[Input]>,
    valve: WatermarkValve,
    /// What the valve let out and `poll` has not given yet.
    waiting: ValveOutput,
    next: usize,
    ended: usize,
    end_given: bool,
    metrics: GateMetrics,
}

/// What a gate has taken, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GateMetrics {
    /// Frames.
    pub frames_in: u64,
    /// Records in them.
    pub records_in: u64,
    /// Header, record and index bytes of them.
    pub bytes_in: u64,
}

#[derive(Debug)]
struct Input {
    receiver: ChannelReceiver,
    /// Its frame is with the task.
    is_out: bool,
    is_blocked: bool,
    has_ended: bool,
    is_gone: bool,
}

impl InputGate {
    /// A gate over `channels`, in the order of the producing subtasks.
    pub fn new(channels: Vec<ChannelReceiver>) -> Self {
        let input = |receiver| Input {
            receiver,
            is_out: false,
            is_blocked: false,
            has_ended: false,
            is_gone: false,
        };
        Self {
            valve: WatermarkValve::new(channels.len()),
            inputs: channels.into_iter().map(input).collect(),
            waiting: ValveOutput::default(),
            next: 0,
            ended: 0,
            end_given: false,
            metrics: GateMetrics::default(),
        }
    }

    /// The next frame or event, if there is one. Channels take turns.
    pub fn poll(&mut self) -> Option<GateEvent> {
        if let Some(event) = self.take_waiting() {
            return Some(event);
        }
        for _ in 0..self.inputs.len() {
            let channel = self.next;
            self.next = if channel + 1 == self.inputs.len() { 0 } else { channel + 1 };
            if let ControlFlow::Break(event) = self.poll_channel(channel) {
                return Some(event);
            }
        }
        let ended = self.ended == self.inputs.len() && !self.end_given;
        self.end_given |= ended;
        ended.then_some(GateEvent::End)
    }

    /// Sends a frame home. The watermark that rode in it counts from now on.
    pub fn done_with(&mut self, element: GateElement) {
        let GateElement { channel, frame } = element;
        let watermark = frame.watermark();
        let input = &mut self.inputs[channel];
        input.is_out = false;
        input.receiver.send_home(frame);
        if let Some(watermark) = watermark {
            let output = self.valve.watermark(channel, watermark);
            self.keep(output);
        }
    }

    /// Reads nothing from `channel` until it is unblocked: its barrier has come, those of others have not.
    pub fn block(&mut self, channel: usize) {
        self.inputs[channel].is_blocked = true;
    }

    /// Reads from `channel` again.
    pub fn unblock(&mut self, channel: usize) {
        self.inputs[channel].is_blocked = false;
    }

    /// Whether `channel` is blocked.
    pub fn is_blocked(&self, channel: usize) -> bool {
        self.inputs[channel].is_blocked
    }

    /// Whether `channel` has ended. No barrier comes from it.
    pub fn has_channel_ended(&self, channel: usize) -> bool {
        self.inputs[channel].has_ended
    }

    /// How many channels there are.
    pub fn channels(&self) -> usize {
        self.inputs.len()
    }

    /// Whether all channels have ended and [`GateEvent::End`] was given.
    pub fn has_ended(&self) -> bool {
        self.end_given
    }

    /// The watermarks of the channels.
    pub fn valve(&self) -> &WatermarkValve {
        &self.valve
    }

    /// What was taken so far.
    pub fn metrics(&self) -> GateMetrics {
        self.metrics
    }

    /// Reads one channel until there is something for the task.
    fn poll_channel(&mut self, channel: usize) -> ControlFlow<GateEvent> {
        loop {
            let input = &mut self.inputs[channel];
            if input.is_out || input.is_blocked || input.is_gone {
                return ControlFlow::Continue(());
            }
            let Some(element) = input.receiver.pop() else {
                if input.has_ended || !input.receiver.is_closed() {
                    return ControlFlow::Continue(());
                }
                input.is_gone = true;
                return ControlFlow::Break(GateEvent::ProducerGone(channel));
            };
            let output = match element {
                Element::Data(frame) => return self.data(channel, InputFrame::Own(frame)),
                Element::Shared(frame) => return self.data(channel, InputFrame::Shared(frame)),
                Element::Barrier(id) => {
                    return ControlFlow::Break(GateEvent::Barrier { channel, id });
                }
                Element::End => {
                    input.has_ended = true;
                    self.ended += 1;
                    return ControlFlow::Continue(());
                }
                Element::Watermark(watermark) => self.valve.watermark(channel, watermark),
                Element::Idle => self.valve.idle(channel),
                Element::Active => self.valve.active(channel),
            };
            self.keep(output);
            if let Some(event) = self.take_waiting() {
                return ControlFlow::Break(event);
            }
        }
    }

    fn data(&mut self, channel: usize, frame: InputFrame) -> ControlFlow<GateEvent> {
        self.inputs[channel].is_out = true;
        self.metrics.frames_in += 1;
        self.metrics.records_in += u64::from(frame.count());
        self.metrics.bytes_in += frame.payload_bytes() as u64;
        ControlFlow::Break(GateEvent::Data(GateElement { channel, frame }))
    }

    /// Keeps what the valve let out for the next poll. A task may be done with several frames in between, of which
    /// the last watermark says all; the valve never changes its mind on a status by watermarks alone.
    fn keep(&mut self, output: ValveOutput) {
        self.waiting.watermark = output.watermark.or(self.waiting.watermark);
        self.waiting.status = output.status.or(self.waiting.status);
    }

    fn take_waiting(&mut self) -> Option<GateEvent> {
        if let Some(watermark) = self.waiting.watermark.take() {
            return Some(GateEvent::Watermark(watermark));
        }
        self.waiting.status.take().map(|status| match status {
            WatermarkStatus::Active => GateEvent::Active,
            WatermarkStatus::Idle => GateEvent::Idle,
        })
    }
}
