//! What a case must put out, computed from its input in the plainest way.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    case::{Between, Case, Stage},
    job::Tally,
};

/// What the sinks must hold, sorted.
pub(crate) struct Expected {
    pub(crate) first: Vec<Tally>,
    pub(crate) second: Vec<Tally>,
}

impl Case {
    /// Whether the second stage adds up the counts of the first. Only those of windows do not depend on the order in
    /// which subtasks were heard.
    pub(crate) fn weighs(&self) -> bool {
        !self.first.is_rolling() && !self.second.is_rolling()
    }

    /// The results of both stages.
    pub(crate) fn expected(&self) -> Expected {
        let first = self.stage(self.first, self.first_input());
        let second = self.stage(self.second, self.second_input(&first));
        Expected { first: comparable(self.first, first), second: comparable(self.second, second) }
    }

    /// The same with gaps so wide that no two records of a key are exactly one apart. Whether those are one session depends
    /// on whether the watermark between them comes before the second, in Flink too.
    pub(crate) fn without_touching_sessions(mut self) -> Self {
        let input = self.first_input();
        self.first = widened(self.first, &input);
        let input = self.second_input(&self.stage(self.first, input));
        self.second = widened(self.second, &input);
        self
    }

    /// The results of a stage. A rolling one of a job in batch mode gives the last of each key.
    fn stage(&self, stage: Stage, tallies: Vec<Tally>) -> Vec<Tally> {
        let mut results = results(stage, tallies);
        if self.batch_kib.is_some() && stage == Stage::Rolling {
            results.sort_by_key(|tally| (tally.key, tally.count));
            // The sum of all, with the time of the latest.
            let last = |of_key: &[Tally]| Tally {
                at_ms: of_key.iter().map(|tally| tally.at_ms).max().unwrap_or(0),
                ..of_key[of_key.len() - 1]
            };
            results = results.chunk_by(|a, b| a.key == b.key).map(last).collect();
        }
        results
    }

    fn first_input(&self) -> Vec<Tally> {
        let events = self.input_events();
        let copies = events.iter().flat_map(|event| {
            (0..event.copies).map(|copy| Tally {
                key: (event.key + copy) % self.keys as u32,
                at_ms: event.at_ms,
                count: 1,
            })
        });
        copies.collect()
    }

    /// What the second stage is given of the results of the first.
    fn second_input(&self, first: &[Tally]) -> Vec<Tally> {
        let times = match self.between {
            Between::Broadcast => self.parallelism[2] as usize,
            _ => 1,
        };
        let passed = first.iter().flat_map(|tally| {
            let count = if self.weighs() { tally.count } else { 1 };
            let passed = Tally { key: tally.key % self.modulus, count, ..*tally };
            std::iter::repeat_n(passed, times)
        });
        passed.collect()
    }
}

/// Sessions with the next gap at which none touch.
fn widened(stage: Stage, input: &[Tally]) -> Stage {
    let Stage::Sessions(gap_ms) = stage else { return stage };
    let mut times: Vec<(u32, i64)> = input.iter().map(|tally| (tally.key, tally.at_ms)).collect();
    times.sort_unstable();
    let apart = times.windows(2).filter(|pair| pair[0].0 == pair[1].0);
    let distances: BTreeSet<i64> = apart.map(|pair| pair[1].1 - pair[0].1).collect();
    let next = (gap_ms..).find(|gap_ms| !distances.contains(gap_ms));
    Stage::Sessions(next.unwrap_or(gap_ms))
}

/// Which record of a key came when depends on the schedule; how many, and what they add up to, does not.
pub(crate) fn comparable(stage: Stage, mut tallies: Vec<Tally>) -> Vec<Tally> {
    if stage.is_rolling() {
        tallies.iter_mut().for_each(|tally| tally.at_ms = 0);
    }
    tallies.sort();
    tallies
}

fn results(stage: Stage, tallies: Vec<Tally>) -> Vec<Tally> {
    match stage {
        Stage::Rolling | Stage::States => {
            let mut sums = BTreeMap::<u32, u64>::new();
            let rolling = tallies.into_iter().map(|tally| {
                let sum = sums.entry(tally.key).or_default();
                *sum += tally.count;
                Tally { count: *sum, ..tally }
            });
            rolling.collect()
        }
        Stage::Windows(size_ms) => windows(size_ms, size_ms, tallies),
        Stage::Sliding(size_ms, slide_ms) => windows(size_ms, slide_ms, tallies),
        Stage::Sessions(gap_ms) => sessions(gap_ms, tallies),
    }
}

fn sessions(gap_ms: i64, mut tallies: Vec<Tally>) -> Vec<Tally> {
    tallies.sort();
    // A record of the same key that is not further away than the gap is of the same session.
    let is_near = |a: &Tally, b: &Tally| a.key == b.key && b.at_ms - a.at_ms <= gap_ms;
    let sum = |session: &[Tally]| {
        let last = &session[session.len() - 1];
        let count = session.iter().map(|tally| tally.count).sum();
        Tally { at_ms: last.at_ms + gap_ms - 1, count, ..*last }
    };
    tallies.chunk_by(is_near).map(sum).collect()
}

fn windows(size_ms: i64, slide_ms: i64, tallies: Vec<Tally>) -> Vec<Tally> {
    let mut sums = BTreeMap::<(u32, i64), u64>::new();
    for tally in tallies {
        let last = tally.at_ms.div_euclid(slide_ms) * slide_ms;
        let starts = (0..).map(|back| last - back * slide_ms);
        for start in starts.take_while(|start| tally.at_ms < start + size_ms) {
            // The event time of a window's result is the last one that is in the window.
            *sums.entry((tally.key, start + size_ms - 1)).or_default() += tally.count;
        }
    }
    let windows = sums.into_iter();
    windows.map(|((key, at_ms), count)| Tally { key, at_ms, count }).collect()
}
