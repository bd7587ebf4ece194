//! Which channels have delivered a checkpoint's barrier, and when all have. Pure.
//!
//! ```text
//!   channel 0 ── a b │1│ c d          read until its barrier, then blocked: c and d are behind the checkpoint
//!   channel 1 ── e f g h │1│          read on
//!                          └──▶ all are there: aligned
//! ```
//!
//! # What is always true
//!
//! 1. With exactly-once at most one checkpoint is being aligned: a barrier of a newer one means that the older one
//!    was given up where it came from, so it is given up here as well.
//! 2. A checkpoint that was aligned or given up is never aligned again: barriers of it that are still on their way
//!    are taken and mean nothing.
//! 3. A channel that has ended delivers no barrier and is not waited for.
//! 4. With at-least-once no channel is blocked, and a checkpoint that is aligned gives up all older ones.

use std::collections::BTreeMap;

use wiesel_core::CheckpointId;

/// What a barrier means for the channel that it came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Nothing is read from it until the checkpoint is aligned.
    Block,
    /// It is read on.
    Pass,
}

/// The barriers of the inputs of one task. Channels are counted over all its gates.
#[derive(Debug)]
pub(crate) struct Alignment {
    is_exactly_once: bool,
    channels: usize,
    /// Per checkpoint, which channels have delivered its barrier.
    arrived: BTreeMap<CheckpointId, Box<[bool]>>,
    /// The newest checkpoint that was aligned or given up.
    over: CheckpointId,
}

impl Alignment {
    /// For `channels` channels, before any barrier.
    pub(crate) fn new(channels: usize, is_exactly_once: bool) -> Self {
        Self { is_exactly_once, channels, arrived: BTreeMap::new(), over: CheckpointId(0) }
    }

    /// A barrier came on `channel`. If it says that an older checkpoint was given up, every channel that is blocked
    /// for that one is to be unblocked first: those are returned.
    pub(crate) fn arrive(&mut self, channel: usize, id: CheckpointId) -> (Vec<usize>, Arrival) {
        if id <= self.over {
            return (Vec::new(), Arrival::Pass); // Invariant 2.
        }
        let mut freed = Vec::new();
        if self.is_exactly_once {
            while let Some(older) = self.arrived.first_entry().filter(|first| *first.key() < id) {
                self.over = *older.key();
                freed.extend(channels_of(&older.remove()));
            }
        }
        let channels = self.channels;
        let arrived = self.arrived.entry(id).or_insert_with(|| vec![false; channels].into());
        arrived[channel] = true;
        let arrival = if self.is_exactly_once { Arrival::Block } else { Arrival::Pass };
        (freed, arrival)
    }

    /// Whether barriers are being waited for.
    pub(crate) fn is_under_way(&self) -> bool {
        !self.arrived.is_empty()
    }

    /// The newest checkpoint whose barrier has come on every channel that has not `ended`; it is over then. With it
    /// the channels that were blocked.
    pub(crate) fn take_aligned(
        &mut self,
        ended: impl Fn(usize) -> bool,
    ) -> Option<(CheckpointId, Vec<usize>)> {
        let is_aligned = |arrived: &[bool]| (0..arrived.len()).all(|at| arrived[at] || ended(at));
        let (id, _) = self.arrived.iter().rev().find(|(_, arrived)| is_aligned(arrived))?;
        let id = *id;
        Some((id, self.give_up_to(id)))
    }

    /// The JobMaster has given `id` up. Returns the channels that were blocked.
    pub(crate) fn abort(&mut self, id: CheckpointId) -> Vec<usize> {
        match self.arrived.contains_key(&id) || id > self.over {
            true => self.give_up_to(id),
            false => Vec::new(),
        }
    }

    /// Everything up to `id` is over.
    fn give_up_to(&mut self, id: CheckpointId) -> Vec<usize> {
        self.over = self.over.max(id);
        let newer = self.arrived.split_off(&CheckpointId(id.0 + 1));
        let older = std::mem::replace(&mut self.arrived, newer);
        let blocked = older.values().filter(|_| self.is_exactly_once);
        blocked.flat_map(|arrived| channels_of(arrived)).collect()
    }
}

fn channels_of(arrived: &[bool]) -> Vec<usize> {
    (0..arrived.len()).filter(|channel| arrived[*channel]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a script over channels `a`, `b`, `c`: `a1` barrier 1 on a, `aE` its end, `!1` checkpoint 1 is aborted.
    /// Returns what came of it: `1` aligned, `-a` unblocked, and at the end which are blocked: `[ab]`.
    #[track_caller]
    fn check(is_exactly_once: bool, script: &str, expected: &str) {
        let mut alignment = Alignment::new(3, is_exactly_once);
        let (mut ended, mut blocked, mut out) = ([false; 3], [false; 3], Vec::new());
        let name = |channel: usize| char::from(b'a' + channel as u8);
        for step in script.split(' ') {
            let (channel, event) = step.split_at(1);
            let number = event.parse().map(CheckpointId);
            let freed = match (channel, number) {
                ("!", Ok(id)) => alignment.abort(id),
                (channel, number) => {
                    let channel = usize::from(channel.as_bytes()[0] - b'a');
                    assert!(!blocked[channel], "{script}: nothing is read from a blocked channel");
                    match number {
                        Ok(id) => {
                            let (freed, arrival) = alignment.arrive(channel, id);
                            blocked[channel] = arrival == Arrival::Block;
                            freed
                        }
                        Err(_) => {
                            ended[channel] = true;
                            Vec::new()
                        }
                    }
                }
            };
            let mut free = |freed: Vec<usize>, out: &mut Vec<String>| {
                for channel in freed {
                    assert!(std::mem::take(&mut blocked[channel]), "{script}");
                    out.push(format!("-{}", name(channel)));
                }
            };
            free(freed, &mut out);
            if let Some((id, freed)) = alignment.take_aligned(|channel| ended[channel]) {
                out.push(id.to_string());
                free(freed, &mut out);
            }
        }
        let blocked: String = (0..3).filter(|at| blocked[*at]).map(name).collect();
        out.push(format!("[{blocked}]"));
        assert_eq!(out.join(" "), expected, "{script}");
    }

    #[test]
    fn a_checkpoint_is_aligned_when_every_open_channel_has_delivered_its_barrier() {
        check(true, "a1 b1", "[ab]");
        check(true, "a1 b1 c1", "1 -a -b -c []");
        check(true, "aE b1 c1 b2 c2", "1 -b -c 2 -b -c []");
        check(true, "a1 bE cE", "1 -a []");
    }

    #[test]
    fn an_older_checkpoint_is_given_up_for_a_newer_one() {
        // Channel b never delivers barrier 1: its producer was told that 1 is aborted before it sent it.
        check(true, "a1 b2 a2 c2", "-a 2 -a -b -c []");
        check(true, "a1 b2 a1", "-a [b]");
    }

    #[test]
    fn what_is_aborted_stays_over() {
        check(true, "a1 b1 !1 c1 a2 b2 c2", "-a -b 2 -a -b -c []");
        // The order to abort comes before any barrier.
        check(true, "!1 a1 b1 c1", "[]");
        check(true, "a1 b1 c1 !1 a2", "1 -a -b -c [a]");
    }

    #[test]
    fn at_least_once_blocks_nothing() {
        check(false, "a1 a2 b1 b2 c1 c2", "1 2 []");
        check(false, "a1 a2 b2 c2 b1 c1", "2 []");
    }
}
