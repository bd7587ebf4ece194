//! What travels in a channel.

use std::{ops::Deref, sync::Arc};

use wiesel_core::{CheckpointId, Timestamp};
use wiesel_wire::Frame;

/// One slot of a channel's ring: a frame, or an event that is in order with the frames.
#[derive(Debug)]
#[non_exhaustive]
pub enum Element {
    /// Records, and perhaps a watermark behind them.
    Data(Frame),
    /// Records that all channels of the producer get.
    Shared(Arc<Frame>),
    /// No record up to this time follows on this channel.
    Watermark(Timestamp),
    /// The channel promises nothing for now and holds nobody back.
    Idle,
    /// It takes part again.
    Active,
    /// Nothing follows.
    End,
    /// A checkpoint: what came before belongs to it.
    Barrier(CheckpointId),
}

impl Element {
    /// Whether it needs credit.
    pub(crate) fn is_frame(&self) -> bool {
        matches!(self, Self::Data(_) | Self::Shared(_))
    }

    /// Whether a newer one makes an older one needless, as long as both wait at the producer.
    pub(crate) fn is_soft(&self) -> bool {
        matches!(self, Self::Watermark(_) | Self::Idle | Self::Active)
    }
}

/// A frame on its way to a consumer or back: for one channel alone, or for all of its producer.
#[derive(Debug)]
pub(crate) enum InputFrame {
    Own(Frame),
    Shared(Arc<Frame>),
}

impl Deref for InputFrame {
    type Target = Frame;

    #[inline]
    fn deref(&self) -> &Frame {
        match self {
            Self::Own(frame) => frame,
            Self::Shared(frame) => frame,
        }
    }
}

impl TryFrom<Element> for InputFrame {
    type Error = Element;

    fn try_from(element: Element) -> Result<Self, Element> {
        match element {
            Element::Data(frame) => Ok(Self::Own(frame)),
            Element::Shared(frame) => Ok(Self::Shared(frame)),
            event => Err(event),
        }
    }
}
