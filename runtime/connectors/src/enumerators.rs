//! The enumerators of all light sources: in order to whoever asks, or one for each reader.
//!
//! # What is always true
//!
//! 1. `Ordered`: at any time the splits handed out are the first ones of the order, and none comes back: a reader that starts
//!    again has them. So a reader that takes another split takes one that lies after all it has read, and the watermark
//!    that it kept still holds.
//! 2. `Pinned`: split `i` goes to reader `i`, or `i % readers` if there are more. For splits that run side by side in time.
//! 3. A snapshot says what the splits were, and a restored enumerator hands out those: whatever the parallelism is now,
//!    and whatever has been put beside the files since.

use std::collections::{BTreeMap, VecDeque};

use wiesel_core::{SubtaskIndex, TaskFailure};

use crate::{
    Assignment, SplitEnumerator, SplitPayload,
    codec::{Words, malformed, put_bytes, put_u64},
};

/// All splits of a source, in order, without lying in memory: a replay of a large folder has many.
pub(crate) trait SplitPlan: Sized + Send + 'static {
    /// How many there are.
    fn count(&self) -> u64;

    /// Number `index`, from 0.
    fn split(&self, index: u64) -> SplitPayload;

    /// Appends the plan to a snapshot.
    fn write(&self, bytes: &mut Vec<u8>);

    /// The plan of a snapshot. `None` if it is not one of this source.
    fn read(&self, words: &mut Words<'_>) -> Option<Self>;
}

/// Hands out splits in order, to whoever asks. They are made when they are asked for.
pub(crate) struct Ordered<P> {
    plan: P,
    next: u64,
}

impl<P: SplitPlan> Ordered<P> {
    /// All splits of `plan`.
    pub(crate) fn new(plan: P) -> Self {
        Self { plan, next: 0 }
    }
}

impl<P: SplitPlan> SplitEnumerator for Ordered<P> {
    fn add_reader(&mut self, _subtask: SubtaskIndex) {}

    fn request_split(&mut self, _subtask: SubtaskIndex) -> Assignment {
        if self.next == self.plan.count() {
            return Assignment::NoMoreSplits;
        }
        self.next += 1;
        Assignment::Split(self.plan.split(self.next - 1))
    }

    fn snapshot(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_u64(&mut bytes, self.next);
        self.plan.write(&mut bytes);
        bytes
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), TaskFailure> {
        let mut words = Words(snapshot);
        let mut read = || {
            let next = words.u64()?;
            let plan = self.plan.read(&mut words).filter(|plan| next <= plan.count())?;
            Some(Self { plan, next })
        };
        let state = read();
        *self = state
            .and_then(|state| words.end(state))
            .ok_or_else(|| malformed("an enumerator's snapshot"))?;
        Ok(())
    }
}

/// Hands split `i` to reader `i`.
pub struct Pinned {
    readers: u32,
    splits: BTreeMap<u32, VecDeque<SplitPayload>>,
}

impl Pinned {
    /// One split for each reader.
    pub fn new(splits: Vec<SplitPayload>) -> Self {
        Self {
            readers: splits.len() as u32,
            splits: (0..).zip(splits.into_iter().map(|split| VecDeque::from([split]))).collect(),
        }
    }

    /// Any number of splits, dealt out to `readers`: split `i` to reader `i % readers`.
    pub fn dealt(splits: impl IntoIterator<Item = SplitPayload>, readers: u32) -> Self {
        let mut dealt = BTreeMap::<u32, VecDeque<_>>::new();
        for (reader, split) in (0..readers.max(1)).cycle().zip(splits) {
            dealt.entry(reader).or_default().push_back(split);
        }
        Self { readers: readers.max(1), splits: dealt }
    }
}

impl SplitEnumerator for Pinned {
    fn add_reader(&mut self, _subtask: SubtaskIndex) {}

    fn request_split(&mut self, subtask: SubtaskIndex) -> Assignment {
        let split = self.splits.get_mut(&subtask.0).and_then(VecDeque::pop_front);
        split.map_or(Assignment::NoMoreSplits, Assignment::Split)
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
            // What nobody had asked for goes to those who are there now.
            let subtask = subtask % self.readers.max(1);
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

    /// So many splits of a byte.
    struct Bytes(u64);

    impl SplitPlan for Bytes {
        fn count(&self) -> u64 {
            self.0
        }
        fn split(&self, index: u64) -> SplitPayload {
            split(index as u8)
        }
        fn write(&self, bytes: &mut Vec<u8>) {
            put_u64(bytes, self.0);
        }
        fn read(&self, words: &mut Words<'_>) -> Option<Self> {
            words.u64().map(Self)
        }
    }

    /// Readers that ask, and what they get. Restored before every step.
    fn check(make: impl Fn() -> Box<dyn SplitEnumerator>, script: &[(u32, &str)]) {
        let mut enumerator = make();
        for (reader, expected) in script {
            let snapshot = enumerator.snapshot();
            enumerator = make();
            enumerator.restore(&snapshot).expect("its own snapshot");
            let got = match enumerator.request_split(SubtaskIndex(*reader)) {
                Assignment::Split(SplitPayload(bytes)) => bytes[0].to_string(),
                other => format!("{other:?}"),
            };
            assert_eq!(got, *expected, "of reader {reader}");
        }
    }

    #[test]
    fn ordered_hands_out_in_order() {
        check(
            || Box::new(Ordered::new(Bytes(3))),
            &[(0, "0"), (1, "1"), (0, "2"), (1, "NoMoreSplits"), (0, "NoMoreSplits")],
        );
    }

    #[test]
    fn pinned_hands_out_by_reader() {
        check(
            || Box::new(Pinned::new(vec![split(0), split(1)])),
            &[(1, "1"), (1, "NoMoreSplits"), (2, "NoMoreSplits"), (0, "0"), (0, "NoMoreSplits")],
        );
    }

    #[test]
    fn what_the_splits_were_is_in_the_snapshot() {
        let mut before = Ordered::new(Bytes(3));
        before.request_split(SubtaskIndex(0));
        let mut after = Ordered::new(Bytes(7));
        after.restore(&before.snapshot()).expect("a snapshot of the same source");
        let rest = (0..2).map(|_| after.request_split(SubtaskIndex(0)));
        assert_eq!(Vec::from_iter(rest), [1, 2].map(|byte| Assignment::Split(split(byte))));
        assert_eq!(after.request_split(SubtaskIndex(0)), Assignment::NoMoreSplits);
        // Nobody has number 3 any more.
        let mut pinned = Pinned::new(vec![split(0)]);
        pinned
            .restore(&Pinned::new((0..4).map(split).collect()).snapshot())
            .expect("a snapshot of the same source");
        let all = (0..4).map(|_| pinned.request_split(SubtaskIndex(0)));
        assert_eq!(Vec::from_iter(all), [0, 1, 2, 3].map(|byte| Assignment::Split(split(byte))));
    }

    #[test]
    fn more_splits_than_readers_are_dealt_out() {
        check(
            || Box::new(Pinned::dealt((0..5).map(split), 2)),
            &[
                (1, "1"),
                (1, "3"),
                (1, "NoMoreSplits"),
                (0, "0"),
                (0, "2"),
                (0, "4"),
                (0, "NoMoreSplits"),
            ],
        );
    }

    #[test]
    fn a_strange_snapshot_is_refused() {
        let mut ordered = Ordered::new(Bytes(1));
        assert!(ordered.restore(&[1, 2, 3]).is_err());
        let mut beyond = Vec::new();
        put_u64(&mut beyond, 2);
        put_u64(&mut beyond, 1);
        assert!(ordered.restore(&beyond).is_err());
        assert!(Pinned::new(Vec::new()).restore(&[0; 9]).is_err());
    }
}
