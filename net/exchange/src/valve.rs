//! The watermark of several channels: the smallest of those that still promise something.
//!
//! ```text
//!   channel 0  active  ── 40 ──┐
//!   channel 1  active  ── 35 ──┼──▶ min = 35        goes out if it is above what went out before
//!   channel 2  idle       12   │                    (idle: promises nothing, holds nobody back)
//!   channel 3  active     20 ──┘ not aligned yet: it was idle while 30 went out; it must catch up first
//! ```
//!
//! # What is always true
//!
//! 1. Watermarks that go out only rise.
//! 2. What goes out is the minimum over the channels that are active, aligned and not finished. A channel that was
//!    idle is aligned again once its watermark is at least what has gone out; until then it holds nobody back.
//! 3. A watermark on an idle channel is ignored: `Active` has to come first.
//! 4. When the last active channel goes idle, the largest watermark of all goes out, then `Idle`. So the
//!    result does not depend on which channel went idle last.
//! 5. A channel whose watermark is [`Timestamp::MAX`] has *finished*. It holds nobody back, and it does not
//!    keep the valve active either: `MAX` goes out only when every channel has finished.
//!
//! The rules are Flink's (`StatusWatermarkValve`), but for the last: there a finished channel beside one that is
//! idle, or that catches up, makes `MAX` go out, and all that the other one sends later is late.

use wiesel_core::Timestamp;

/// Whether a channel takes part in event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatermarkStatus {
    /// It sends records or wateroutput.
    Active,
    /// It promises nothing for now; event time goes on without it.
    Idle,
}

/// What one event lets out of the valve: nothing, one, or both, the watermark first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ValveOutput {
    /// No record up to this time follows.
    pub watermark: Option<Timestamp>,
    /// All channels together went idle, or one became active again.
    pub status: Option<WatermarkStatus>,
}

impl ValveOutput {
    const NONE: Self = Self { watermark: None, status: None };
}

/// Merges the watermarks and the idleness of the channels of a gate.
///
/// ```
/// use wiesel_core::Timestamp;
/// use wiesel_exchange::WatermarkValve;
///
/// let mut valve = WatermarkValve::new(2);
/// let at = Timestamp::from_millis;
/// assert_eq!(valve.watermark(0, at(5)).watermark, None); // Channel 1 has said nothing yet.
/// assert_eq!(valve.watermark(1, at(3)).watermark, Some(at(3)));
/// ```
#[derive(Debug)]
pub struct WatermarkValve {
    channels: Box<[Channel]>,
    /// The last watermark that went out.
    last: Timestamp,
    status: WatermarkStatus,
}

#[derive(Clone, Copy, Debug)]
struct Channel {
    watermark: Timestamp,
    status: WatermarkStatus,
    aligned: bool,
}

impl Channel {
    fn is_finished(&self) -> bool {
        self.watermark == Timestamp::MAX
    }

    /// Whether it can hold the others back. One that has finished has the largest watermark.
    fn counts(&self) -> bool {
        self.aligned && self.status == WatermarkStatus::Active
    }
}

impl WatermarkValve {
    /// A valve over `channels` channels: all active, none with a watermark.
    pub fn new(channels: usize) -> Self {
        let channel =
            Channel { watermark: Timestamp::MIN, status: WatermarkStatus::Active, aligned: true };
        Self {
            channels: vec![channel; channels].into(),
            last: Timestamp::MIN,
            status: WatermarkStatus::Active,
        }
    }

    /// The same, after a restore: `watermark` went out before, so nothing up to it goes out again.
    pub fn restored(channels: usize, watermark: Timestamp) -> Self {
        Self { last: watermark, ..Self::new(channels) }
    }

    /// The last watermark that went out; [`Timestamp::MIN`] before the first.
    pub fn last(&self) -> Timestamp {
        self.last
    }

    /// Whether all channels together are idle.
    pub fn is_idle(&self) -> bool {
        self.status == WatermarkStatus::Idle
    }

    /// A watermark came on `channel`.
    pub fn watermark(&mut self, channel: usize, watermark: Timestamp) -> ValveOutput {
        let last = self.last;
        let state = &mut self.channels[channel];
        if state.status == WatermarkStatus::Idle || watermark <= state.watermark {
            return ValveOutput::NONE;
        }
        let held_back = state.watermark <= last;
        state.watermark = watermark;
        state.aligned |= watermark >= last;
        if watermark == Timestamp::MAX {
            return self.settle(); // One channel less that keeps the valve active.
        }
        // What was above the last minimum did not hold it; so neither does the new, larger one.
        if held_back { self.advance(self.minimum()) } else { ValveOutput::NONE }
    }

    /// `channel` went idle.
    pub fn idle(&mut self, channel: usize) -> ValveOutput {
        let state = &mut self.channels[channel];
        if state.status == WatermarkStatus::Idle {
            return ValveOutput::NONE;
        }
        state.status = WatermarkStatus::Idle;
        state.aligned = false;
        self.settle()
    }

    /// `channel` takes part again.
    pub fn active(&mut self, channel: usize) -> ValveOutput {
        let state = &mut self.channels[channel];
        if state.status == WatermarkStatus::Active {
            return ValveOutput::NONE;
        }
        state.status = WatermarkStatus::Active;
        state.aligned = state.watermark >= self.last;
        if self.status == WatermarkStatus::Active || state.is_finished() {
            return ValveOutput::NONE;
        }
        self.status = WatermarkStatus::Active;
        ValveOutput { watermark: None, status: Some(WatermarkStatus::Active) }
    }

    /// A channel stopped holding the others back: raises the watermark, and goes idle if nobody is left.
    fn settle(&mut self) -> ValveOutput {
        let unfinished = || self.channels.iter().filter(|channel| !channel.is_finished());
        if unfinished().next().is_none() {
            return self.advance(Some(Timestamp::MAX));
        }
        if unfinished().any(|channel| channel.status == WatermarkStatus::Active) {
            return self.advance(self.minimum());
        }
        if self.status == WatermarkStatus::Idle {
            return ValveOutput::NONE;
        }
        let flushed = unfinished().map(|channel| channel.watermark).max();
        self.status = WatermarkStatus::Idle;
        ValveOutput { status: Some(WatermarkStatus::Idle), ..self.advance(flushed) }
    }

    /// While some have not finished. `None` if all of those are idle or catching up: then nothing is known that was not before.
    fn minimum(&self) -> Option<Timestamp> {
        self.channels
            .iter()
            .filter(|channel| channel.counts())
            .map(|channel| channel.watermark)
            .min()
            .filter(|minimum| *minimum < Timestamp::MAX)
    }

    fn advance(&mut self, to: Option<Timestamp>) -> ValveOutput {
        let watermark = to.filter(|to| *to > self.last);
        self.last = watermark.unwrap_or(self.last);
        ValveOutput { watermark, status: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a script over channels `a`, `b`, `c`: `a5` is a watermark, `aM` the last one, `a-` idle, `a+`
    /// active. Returns what went out: `5`, `M`, `idle`, `active`; `|` after each step that let nothing out.
    #[track_caller]
    fn check(channels: usize, script: &str, expected: &str) {
        let mut valve = WatermarkValve::new(channels);
        let (mut out, mut last) = (Vec::new(), Timestamp::MIN);
        for step in script.split(' ') {
            let (channel, event) = step.split_at(1);
            let channel = usize::from(channel.as_bytes()[0] - b'a');
            let output = match event {
                "-" => valve.idle(channel),
                "+" => valve.active(channel),
                "M" => valve.watermark(channel, Timestamp::MAX),
                at => valve.watermark(channel, Timestamp::from_millis(at.parse().unwrap())),
            };
            let before = out.len();
            if let Some(at) = output.watermark {
                assert!(at > last && at == valve.last(), "{script}: {at} after {last}");
                last = at;
                out.push(if at == Timestamp::MAX { "M".to_owned() } else { at.to_string() });
            }
            if let Some(status) = output.status {
                let idle = status == WatermarkStatus::Idle;
                assert_eq!(idle, valve.is_idle());
                out.push(if idle { "idle" } else { "active" }.to_owned());
            }
            if out.len() == before {
                out.push("|".to_owned());
            }
        }
        assert_eq!(out.join(" "), expected, "{script}");
    }

    #[test]
    fn the_minimum_goes_out_when_it_rises() {
        check(1, "a1 a1 a0 a2", "1 | | 2");
        check(2, "a5 b3 b4 b9 a7", "| 3 4 5 7");
        check(2, "a5 b3 b2 a9", "| 3 | |");
        check(3, "a-5 b-9 c-7 b-8 b0 c0", "| | -9 -8 -7 -5");
    }

    #[test]
    fn an_idle_channel_holds_nobody_back() {
        check(2, "a5 b-", "| 5");
        check(2, "a5 b3 b- a6", "| 3 5 6");
        check(2, "a- b4 b5", "| 4 5");
        check(2, "a5 b- b9", "| 5 |"); // Its watermarks are ignored.
        check(2, "a5 b- b- b+ b+", "| 5 | | |"); // Only changes count.
    }

    #[test]
    fn the_largest_goes_out_before_all_are_idle() {
        check(2, "a5 b3 b- a-", "| 3 5 idle");
        check(2, "a5 b3 a- b-", "| 3 | 5 idle"); // The same, in the other order.
        check(3, "a9 b5 c3 a- b- c-", "| | 3 | | 9 idle");
        check(1, "a-", "idle"); // Nothing to flush.
        check(1, "a4 a- a5 a+ a5", "4 idle | active 5"); // An idle valve ignores wateroutput.
    }

    #[test]
    fn a_channel_that_was_idle_has_to_catch_up() {
        check(2, "a5 b3 b- a9 b+ a10 b7 b10 a12 b11", "| 3 5 9 | 10 | | | 11");
        check(2, "a5 b5 b- b+ a9 b8", "| 5 | | | 8"); // It kept up: aligned at once.
        check(2, "a5 b3 b- b+ a- b6", "| 3 5 | | 6");
    }

    #[test]
    fn activity_goes_out_before_anything_else() {
        check(2, "a5 b3 a- b- b+ b8 a+ a9 b10", "| 3 | 5 idle active 8 | | 9");
    }

    #[test]
    fn the_end_of_time_needs_all_channels() {
        check(2, "aM b3 bM", "| 3 M");
        check(2, "a- b- a+ aM b+ bM", "| idle active idle active M");
        // Flink lets the end of time out here, and then drops `b`'s records as late.
        check(2, "a5 b3 b- aM b+ b7 bM", "| 3 5 idle active 7 M");
        check(2, "aM b4 b- b+ b6 bM", "| 4 idle active 6 M");
        check(3, "aM b- cM b+ bM", "| | idle active M");
        // Nor does it go out while one catches up that has not finished.
        check(2, "a5 b3 b- aM b+ b4 b7 bM", "| 3 5 idle active | 7 M");
        check(2, "a5 b3 b- a9 b+ aM b4 b12 bM", "| 3 5 9 | | | 12 M");
        check(3, "a5 b3 c2 c- c+ aM b- c4 c9 cM", "| | 2 3 | | | 4 9 idle");
        check(1, "aM a- a+", "M | |"); // Nothing follows the end.
    }
}
