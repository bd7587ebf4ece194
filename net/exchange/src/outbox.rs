//! One channel of a partition: what waits for credit, and the way out.
//!
//! ```text
//!   frame, event ──▶ [ queue: only what cannot go yet ] ──▶ ChannelSender
//! ```
//!
//! # What is always true
//!
//! 1. Elements leave in the order they came. If anything waits, everything that comes later waits behind it.
//! 2. Between two frames, barriers or ends at most three watermarks and changes of status wait: of several, what
//!    is left is `Active`, the largest watermark, `Idle`, as far as they still say something.

use std::collections::VecDeque;

use crate::{
    ChannelSender,
    element::{Element, InputFrame},
};

#[derive(Debug)]
pub(crate) struct Outbox {
    sender: ChannelSender,
    queue: VecDeque<Element>,
    frames_queued: usize,
}

impl Outbox {
    pub fn new(sender: ChannelSender) -> Self {
        Self { sender, queue: VecDeque::new(), frames_queued: 0 }
    }

    /// Whether an ordinary frame would go out at once.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.queue.is_empty() && self.sender.has_credit(wiesel_wire::FRAME_BYTES)
    }

    /// Frames that wait for credit.
    #[inline]
    pub fn frames_queued(&self) -> usize {
        self.frames_queued
    }

    /// Whether nothing waits and every frame came back, or nobody is left to send it back.
    pub fn is_drained(&self) -> bool {
        self.queue.is_empty() && (self.sender.is_home() || self.sender.is_closed())
    }

    /// Whether the consumer is gone.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends `element`, now or when it can go.
    pub fn offer(&mut self, element: Element) {
        let element = match self.queue.is_empty() {
            true => match self.sender.send(element) {
                Ok(()) => return,
                Err(element) => element,
            },
            false => element,
        };
        self.frames_queued += usize::from(element.is_frame());
        let soft = element.is_soft();
        self.queue.push_back(element);
        if soft {
            self.coalesce();
        }
    }

    /// Sends what can go; says whether anything did.
    pub fn pump(&mut self) -> bool {
        let before = self.queue.len();
        while let Some(element) = self.queue.pop_front() {
            let frame = element.is_frame();
            if let Err(element) = self.sender.send(element) {
                self.queue.push_front(element);
                break;
            }
            self.frames_queued -= usize::from(frame);
        }
        self.queue.len() < before
    }

    /// A frame that came back.
    #[inline]
    pub fn take_return(&mut self) -> Option<InputFrame> {
        self.sender.take_return()
    }

    /// A frame that waits but has nowhere to go any more.
    pub fn take_queued(&mut self) -> Option<InputFrame> {
        while let Some(element) = self.queue.pop_front() {
            if let Ok(frame) = InputFrame::try_from(element) {
                self.frames_queued -= 1;
                return Some(frame);
            }
        }
        None
    }

    /// Invariant 2, for the run of watermarks and status at the end of the queue.
    fn coalesce(&mut self) {
        let run = self.queue.iter().rev().take_while(|element| element.is_soft()).count();
        let (mut first, mut last, mut watermark) = (None, None, None);
        for element in self.queue.drain(self.queue.len() - run..) {
            if let Element::Watermark(at) = element {
                watermark = watermark.max(Some(at));
            } else {
                let idle = matches!(element, Element::Idle);
                first = first.or(Some(idle));
                last = Some(idle);
            }
        }
        // What the consumer believes before the run is the opposite of the first change.
        let (wakes, sleeps) = (first == Some(false), last == Some(true));
        if wakes && !(sleeps && watermark.is_none()) {
            self.queue.push_back(Element::Active);
        }
        self.queue.extend(watermark.map(Element::Watermark));
        if sleeps && !(wakes && watermark.is_none()) {
            self.queue.push_back(Element::Idle);
        }
    }
}

#[cfg(test)]
mod tests {
    use wiesel_core::{CheckpointId, Timestamp};

    use super::*;
    use crate::channel;

    /// Offers a script of events to a channel whose consumer does not look: `5` a watermark, `-` idle, `+` active,
    /// `B` a barrier. Returns what waits at the producer once the ring takes no more.
    #[track_caller]
    fn check(script: &str, expected: &str) {
        let (sender, _receiver) = channel(1, None, None);
        let mut outbox = Outbox::new(sender);
        for at in 0..3 {
            outbox.offer(Element::Watermark(Timestamp::from_millis(at))); // These fit.
        }
        assert!(outbox.queue.is_empty());
        for step in script.split(' ') {
            outbox.offer(match step {
                "-" => Element::Idle,
                "+" => Element::Active,
                "B" => Element::Barrier(CheckpointId(1)),
                at => Element::Watermark(Timestamp::from_millis(at.parse().unwrap())),
            });
        }
        let waiting = outbox.queue.iter().map(|element| match element {
            Element::Watermark(at) => at.to_string(),
            Element::Idle => "-".to_owned(),
            Element::Active => "+".to_owned(),
            Element::Barrier(_) => "B".to_owned(),
            other => panic!("{other:?} was not offered"),
        });
        assert_eq!(waiting.collect::<Vec<_>>().join(" "), expected, "{script}");
    }

    #[test]
    fn what_waits_is_what_still_says_something() {
        check("5 6 7", "7");
        check("5 -", "5 -");
        check("- + 5", "5");
        check("5 - + 6 -", "6 -");
        check("- +", "");
        check("+ -", "");
        check("+ 5 -", "+ 5 -");
        check("+ 5 - + 6 - + 9 -", "+ 9 -");
        check("+ - +", "+");
        check("5 B 6 7", "5 B 7"); // A barrier is passed by nothing.
        check("B 5", "5"); // Nothing waited, so the barrier went out.
    }
}
