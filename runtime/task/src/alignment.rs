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
//! 3. A checkpoint that was aborted is over on its own: an older one may still be pending, and is aligned yet.
//! 4. A channel that has ended delivers no barrier and is not waited for.
//! 5. With at-least-once no channel is blocked, and a checkpoint that is aligned gives up all older ones.

use std::collections::{BTreeMap, BTreeSet};

use wiesel_core::CheckpointId;

/// How many aborted checkpoints are kept in mind. Flink's number, and more than are ever pending at once: whatever is older
/// than so many that were aborted is over.
const ABORTED_MAX: usize = 128;

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
    /// The newest checkpoint that was aligned or given up for a newer one: all up to it are over.
    over: CheckpointId,
    /// The newer ones that are over as well: the JobMaster has given them up.
    aborted: BTreeSet<CheckpointId>,
}

impl Alignment {
    /// For `channels` channels, before any barrier.
    pub(crate) fn new(channels: usize, is_exactly_once: bool) -> Self {
        Self {
            is_exactly_once,
            channels,
            arrived: BTreeMap::new(),
            over: CheckpointId(0),
            aborted: BTreeSet::new(),
        }
    }

    /// A barrier came on `channel`. If it says that an older checkpoint was given up, every channel that is blocked
    /// for that one is to be unblocked first: those are returned.
    pub(crate) fn arrive(&mut self, channel: usize, id: CheckpointId) -> (Vec<usize>, Arrival) {
        if id <= self.over {
            return (Vec::new(), Arrival::Pass); // Invariant 2.
        }
        let is_aborted = self.aborted.contains(&id);
        // Of a channel whose newest barrier this is, no older one comes any more, also if this one means nothing.
        let freed = match self.is_exactly_once {
            true => self.give_up_to(CheckpointId(id.0 - 1)),
            false => Vec::new(),
        };
        if is_aborted {
            return (freed, Arrival::Pass); // Invariant 3.
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

    /// The JobMaster has given `id` up, and no other one. Returns the channels that were blocked for it.
    pub(crate) fn abort(&mut self, id: CheckpointId) -> Vec<usize> {
        if id <= self.over {
            return Vec::new();
        }
        let arrived = self.arrived.remove(&id).filter(|_| self.is_exactly_once);
        let mut freed = arrived.map_or(Vec::new(), |arrived| channels_of(&arrived));
        self.aborted.insert(id);
        if self.aborted.len() > ABORTED_MAX
            && let Some(oldest) = self.aborted.first().copied()
        {
            freed.extend(self.give_up_to(oldest));
        }
        freed
    }

    /// Everything up to `id` is over. Returns the channels that were blocked for it.
    fn give_up_to(&mut self, id: CheckpointId) -> Vec<usize> {
        self.over = self.over.max(id);
        let next = CheckpointId(id.0 + 1);
        self.aborted = self.aborted.split_off(&next);
        let newer = self.arrived.split_off(&next);
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
    fn an_older_one_is_aligned_when_a_newer_one_is_aborted() {
        check(true, "a7 !8 b7 c7", "7 -a -b -c []");
        check(true, "a7 !8 b7 c7 a8 b8 c8 a9", "7 -a -b -c [a]");
        check(true, "a7 b7 !8 !7 a8 b8 c7 c8 a9", "-a -b [a]");
        check(false, "a7 a8 !8 b7 b8 c7", "7 []");
    }

    #[test]
    fn aborted_ones_are_kept_in_mind_within_bounds() {
        let mut alignment = Alignment::new(3, true);
        let (freed, arrival) = alignment.arrive(0, CheckpointId(1));
        assert_eq!((freed, arrival), (Vec::new(), Arrival::Block));
        let aborted = (2..1000).map(CheckpointId);
        let freed: Vec<_> = aborted.flat_map(|id| alignment.abort(id)).collect();
        assert_eq!(freed, [0], "the JobMaster has long given it up");
        assert_eq!(alignment.aborted.len(), ABORTED_MAX);
        for id in [1, 2, 871, 872, 999] {
            assert_eq!(alignment.arrive(1, CheckpointId(id)).1, Arrival::Pass, "{id}");
        }
    }

    #[test]
    fn at_least_once_blocks_nothing() {
        check(false, "a1 a2 b1 b2 c1 c2", "1 2 []");
        check(false, "a1 a2 b2 c2 b1 c1", "2 []");
    }
}
