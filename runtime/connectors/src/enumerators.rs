//! The enumerators of all light sources: in order to whoever asks, or one for each reader.
//!
//! # What is always true
//!
//! 1. `Ordered`: at any time the splits handed out and not given back are the first ones of the order, but for those
//!    given back. So a reader that takes another split takes one that lies after all it has read, and the
//!    watermark that it kept still holds.
//! 2. `Pinned`: split `i` goes to reader `i`, or `i % readers` if there are more. For splits that run side by side in time.

use std::collections::{BTreeMap, VecDeque};

use wiesel_core::{SubtaskIndex, TaskFailure};

use crate::{
    Assignment, SplitEnumerator, SplitPayload,
    codec::{Words, malformed, put_bytes, put_u64},
};

/// Split number `index`, from 0.
type PayloadOf = Box<dyn Fn(u64) -> SplitPayload + Send>;

/// Hands out splits in order, to whoever asks. They are made when they are asked for: a replay of a large folder has
/// more of them than should lie in memory.
pub struct Ordered {
    payload_of: PayloadOf,
    count: u64,
    next: u64,
    back: VecDeque<SplitPayload>,
}

impl Ordered {
    /// `count` splits.
    pub fn new(count: u64, payload_of: impl Fn(u64) -> SplitPayload + Send + 'static) -> Self {
        Self { payload_of: Box::new(payload_of), count, next: 0, back: VecDeque::new() }
    }
}

impl SplitEnumerator for Ordered {
    fn add_reader(&mut self, _subtask: SubtaskIndex) {}

    fn request_split(&mut self, _subtask: SubtaskIndex) -> Assignment {
        if let Some(split) = self.back.pop_front() {
            return Assignment::Split(split);
        }
        if self.next == self.count {
            return Assignment::NoMoreSplits;
        }
        self.next += 1;
        Assignment::Split((self.payload_of)(self.next - 1))
    }

    fn add_splits_back(&mut self, _subtask: SubtaskIndex, splits: Vec<SplitPayload>) {
        self.back.extend(splits);
    }

    fn snapshot(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_u64(&mut bytes, self.next);
        put_u64(&mut bytes, self.back.len() as u64);
        self.back.iter().for_each(|split| put_bytes(&mut bytes, &split.0));
        bytes
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), TaskFailure> {
        let mut words = Words(snapshot);
        let mut read = || {
            let next = words.u64()?;
            let back = (0..words.u64()?).map(|_| Some(SplitPayload(words.bytes()?.to_vec())));
            Some((next, back.collect::<Option<VecDeque<_>>>()?))
        };
        let state = read().and_then(|state| words.end(state));
        let (next, back) = state
            .filter(|(next, _)| *next <= self.count)
            .ok_or_else(|| malformed("an enumerator's snapshot"))?;
        (self.next, self.back) = (next, back);
        Ok(())
    }
}

/// Hands split `i` to reader `i`.
pub struct Pinned {
    splits: BTreeMap<u32, VecDeque<SplitPayload>>,
}

impl Pinned {
    /// One split for each reader.
    pub fn new(splits: Vec<SplitPayload>) -> Self {
        Self {
            splits: (0..).zip(splits.into_iter().map(|split| VecDeque::from([split]))).collect(),
        }
    }

    /// Any number of splits, dealt out to `readers`: split `i` to reader `i % readers`.
    pub fn dealt(splits: impl IntoIterator<Item = SplitPayload>, readers: u32) -> Self {
        let mut dealt = BTreeMap::<u32, VecDeque<_>>::new();
        for (reader, split) in (0..readers.max(1)).cycle().zip(splits) {
            dealt.entry(reader).or_default().push_back(split);
        }
        Self { splits: dealt }
    }
}

impl SplitEnumerator for Pinned {
    fn add_reader(&mut self, _subtask: SubtaskIndex) {}

    fn request_split(&mut self, subtask: SubtaskIndex) -> Assignment {
        let split = self.splits.get_mut(&subtask.0).and_then(VecDeque::pop_front);
        split.map_or(Assignment::NoMoreSplits, Assignment::Split)
    }

    fn add_splits_back(&mut self, subtask: SubtaskIndex, splits: Vec<SplitPayload>) {
        self.splits.entry(subtask.0).or_default().extend(splits);
    }

    fn snapshot(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (subtask, splits) in &self.splits {
            for split in splits {
                put_u64(&mut bytes, u64::from(*subtask));
                put_bytes(&mut bytes, &split.0);
            }
        }
        bytes
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), TaskFailure> {
        let mut words = Words(snapshot);
        let mut splits = BTreeMap::<u32, VecDeque<_>>::new();
        while !words.0.is_empty() {
            let subtask = words.u64().and_then(|subtask| u32::try_from(subtask).ok());
            let (Some(subtask), Some(split)) = (subtask, words.bytes()) else {
                return Err(malformed("an enumerator's snapshot"));
            };
            splits.entry(subtask).or_default().push_back(SplitPayload(split.to_vec()));
        }
        self.splits = splits;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(byte: u8) -> SplitPayload {
        SplitPayload(vec![byte])
    }

    /// Each step: `?n` reader n asks, and what it got; `n<b` reader n gives b back. Restored before every step.
    fn check(make: impl Fn() -> Box<dyn SplitEnumerator>, script: &[(&str, &str)]) {
        let mut enumerator = make();
        for (step, expected) in script {
            let snapshot = enumerator.snapshot();
            enumerator = make();
            enumerator.restore(&snapshot).expect("its own snapshot");
            let words: Vec<u32> =
                step.split(['?', '<']).filter_map(|word| word.parse().ok()).collect();
            let subtask = SubtaskIndex(words[0]);
            let got = if step.starts_with('?') {
                match enumerator.request_split(subtask) {
                    Assignment::Split(SplitPayload(bytes)) => bytes[0].to_string(),
                    other => format!("{other:?}"),
                }
            } else {
                enumerator.add_splits_back(subtask, vec![split(words[1] as u8)]);
                String::new()
            };
            assert_eq!(got, *expected, "at {step}");
        }
    }

    #[test]
    fn ordered_hands_out_in_order() {
        check(
            || Box::new(Ordered::new(3, |index| split(index as u8))),
            &[
                ("?0", "0"),
                ("?1", "1"),
                ("1<1", ""),
                ("?0", "1"),
                ("?0", "2"),
                ("?1", "NoMoreSplits"),
                ("0<2", ""),
                ("?1", "2"),
                ("?0", "NoMoreSplits"),
            ],
        );
    }

    #[test]
    fn pinned_hands_out_by_reader() {
        check(
            || Box::new(Pinned::new(vec![split(0), split(1)])),
            &[
                ("?1", "1"),
                ("?1", "NoMoreSplits"),
                ("?2", "NoMoreSplits"),
                ("1<1", ""),
                ("?0", "0"),
                ("?1", "1"),
            ],
        );
    }

    #[test]
    fn more_splits_than_readers_are_dealt_out() {
        check(
            || Box::new(Pinned::dealt((0..5).map(split), 2)),
            &[
                ("?1", "1"),
                ("?1", "3"),
                ("?1", "NoMoreSplits"),
                ("?0", "0"),
                ("?0", "2"),
                ("?0", "4"),
                ("?0", "NoMoreSplits"),
            ],
        );
    }

    #[test]
    fn a_strange_snapshot_is_refused() {
        let mut ordered = Ordered::new(1, |_| split(0));
        assert!(ordered.restore(&[1, 2, 3]).is_err());
        let mut beyond = Vec::new();
        put_u64(&mut beyond, 2);
        put_u64(&mut beyond, 0);
        assert!(ordered.restore(&beyond).is_err());
        assert!(Pinned::new(Vec::new()).restore(&[0; 9]).is_err());
    }
}
