//! A channel: frames one way, the same frames empty the other way.
//!
//! ```text
//!   ResultPartition                                            InputGate
//!   ChannelSender ── Element ─▶ [ credits + EVENTS_MAX slots ] ─▶ ChannelReceiver
//!         ▲                                                            │
//!         └──────────────── [ credits slots ] ◀──── frame ─────────────┘
//! ```
//!
//! # What is always true
//!
//! 1. At most `credits` frames are out: in the forward ring, at the consumer, or on their way back. A jumbo
//!    frame counts as all the ordinary frames it is as large as, or as all credits.
//! 2. So the reverse ring, with one slot a credit, is never full.
//! 3. The forward ring always has a slot for a frame that has credit and for the end. Barriers use the slots beyond
//!    those, and watermarks and status the ones beyond the barriers'; what finds none waits with the producer.
//! 4. A frame goes home to the pool it came from, whoever drops what.

use wiesel_shard::{
    Door,
    ring::{Consumer, Producer, ring},
};
use wiesel_wire::FRAME_BYTES;

use crate::element::{Element, InputFrame};

/// Barriers that can be between a producer and its consumer: those of the checkpoints that run at once, and of some
/// that expired before the consumer read so far.
pub const BARRIERS_MAX: usize = 4;

/// Watermarks and changes of status that wait in a ring. More than that stay with the producer, where a newer
/// watermark replaces an older one.
const SOFT_MAX: usize = 3;

/// Slots of a ring that are not for data: barriers, one end, watermarks and status.
pub const EVENTS_MAX: usize = BARRIERS_MAX + 1 + SOFT_MAX;

/// Slots that watermarks and status must leave free beside those of the credits.
const HARD_MAX: usize = BARRIERS_MAX + 1;

/// Makes a channel with room for `credits` frames. The doors are those of the consumer's and the producer's
/// shard; `None` if both ends are on one shard, where nobody needs to be woken.
///
/// # Panics
///
/// If `credits` is zero.
pub fn channel(
    credits: usize,
    to_consumer: Option<Door>,
    to_producer: Option<Door>,
) -> (ChannelSender, ChannelReceiver) {
    assert!(credits > 0, "a channel without credit carries nothing");
    let (forward, elements) = ring(credits + EVENTS_MAX);
    let (reverse, returns) = ring(credits);
    let sender =
        ChannelSender { forward, returns, door: to_consumer, credits, credits_left: credits };
    (sender, ChannelReceiver { elements, reverse, door: to_producer })
}

/// The producer's end.
#[derive(Debug)]
pub struct ChannelSender {
    forward: Producer<Element>,
    returns: Consumer<InputFrame>,
    door: Option<Door>,
    credits: usize,
    credits_left: usize,
}

/// The consumer's end.
#[derive(Debug)]
pub struct ChannelReceiver {
    elements: Consumer<Element>,
    reverse: Producer<InputFrame>,
    door: Option<Door>,
}

impl ChannelSender {
    /// What a frame of `capacity` bytes costs.
    fn cost(&self, capacity: usize) -> usize {
        capacity.div_ceil(FRAME_BYTES).min(self.credits)
    }

    /// Whether a frame of `capacity` bytes may be sent now.
    #[inline]
    pub(crate) fn has_credit(&self, capacity: usize) -> bool {
        self.credits_left >= self.cost(capacity)
    }

    /// Whether frames are out.
    pub(crate) fn is_home(&self) -> bool {
        self.credits_left == self.credits
    }

    /// Whether the consumer is gone. What is sent then is lost.
    pub(crate) fn is_closed(&self) -> bool {
        self.forward.is_closed()
    }

    /// Sends an element if it can go now: a frame needs credit, a watermark, a status or a barrier a slot to spare,
    /// the end nothing.
    pub(crate) fn send(&mut self, element: Element) -> Result<(), Element> {
        let can_go = match &element {
            Element::Data(frame) => self.spend(frame.capacity()),
            Element::Shared(frame) => self.spend(frame.capacity()),
            event if event.is_soft() => self.forward.free_slots() > self.credits_left + HARD_MAX,
            Element::Barrier(_) => self.forward.free_slots() > self.credits_left + 1,
            _ => true,
        };
        if !can_go {
            return Err(element);
        }
        self.push(element);
        Ok(())
    }

    fn spend(&mut self, capacity: usize) -> bool {
        let cost = self.cost(capacity);
        let has_credit = self.credits_left >= cost;
        self.credits_left -= if has_credit { cost } else { 0 };
        has_credit
    }

    fn push(&mut self, element: Element) {
        // Invariant 3: credits bound the frames, and there is one end.
        assert!(self.forward.push(element).is_ok(), "a channel's ring holds all it may be sent");
        if let Some(door) = &self.door {
            door.knock();
        }
    }

    /// A frame that came back.
    pub(crate) fn take_return(&mut self) -> Option<InputFrame> {
        let frame = self.returns.pop()?;
        self.credits_left += self.cost(frame.capacity());
        debug_assert!(self.credits_left <= self.credits);
        Some(frame)
    }
}

impl ChannelReceiver {
    /// The next element. A producer whose watermark or status waits for a slot is told that there is one; a frame
    /// tells it when it comes home.
    pub(crate) fn pop(&mut self) -> Option<Element> {
        let element = self.elements.pop()?;
        if !element.is_frame()
            && let Some(door) = &self.door
        {
            door.knock();
        }
        Some(element)
    }

    /// Whether nothing waits and nothing will come: the producer is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.elements.is_closed()
    }

    /// Sends a frame home.
    pub(crate) fn send_home(&mut self, frame: InputFrame) {
        // Invariant 2. If the producer is gone the frame is freed with the ring.
        assert!(self.reverse.push(frame).is_ok(), "there is a slot for each credit");
        if let Some(door) = &self.door {
            door.knock();
        }
    }
}

impl Drop for ChannelReceiver {
    fn drop(&mut self) {
        // A task that failed or was canceled: its frames go home, read or not.
        while let Some(element) = self.elements.pop() {
            if let Ok(frame) = InputFrame::try_from(element) {
                self.send_home(frame);
            }
        }
    }
}
