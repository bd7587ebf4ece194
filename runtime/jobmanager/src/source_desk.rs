//! Where the readers of one source ask for splits.
//!
//! ```text
//!   RequestSplit ──▶ enumerator ──▶ Split | NoMoreSplits      answered at once
//!                        └────────▶ Later                     the reader waits here and is asked for again
//!   cut(7): what is handed out from now on is not in checkpoint 7    completed(7): what came before is
//! ```
//!
//! # What is always true
//!
//! 1. A request gets exactly one answer, unless its task is over before.
//! 2. Who waits is asked for in order of subtask.
//! 3. What was handed to a reader since the latest checkpoint is known, in order: a reader that starts again while others read on
//!    gets it again, behind what it has in the checkpoint. It is not given back to the enumerator, as in Flink: another reader may
//!    be far behind it in event time. Of more than [`HANDED_BYTES_MAX`] it is only known that it was more.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use wiesel_connectors::{Assignment, SplitEnumerator};
use wiesel_core::{CheckpointId, SubtaskIndex, TaskFailure, VertexId};

/// How often an enumerator that said `Later` is asked again. A new file is then seen about as soon as a person
/// could notice, and asking costs nothing else.
pub const SPLIT_RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// Bytes of splits that are kept for one reader: a hundred thousand of some 160 bytes, the path of a file and a place in it. So
/// many files are read between two checkpoints only if there are none.
const HANDED_BYTES_MAX: usize = 16 << 20;

/// The enumerator of one source vertex.
#[derive(Debug)]
pub struct SourceEnumerator {
    /// The source.
    pub vertex: VertexId,
    /// Hands out its splits.
    pub enumerator: Box<dyn SplitEnumerator>,
}

/// One source.
#[derive(Debug)]
pub(crate) struct SourceDesk {
    enumerator: Box<dyn SplitEnumerator>,
    waiting: BTreeSet<SubtaskIndex>,
    /// The last checkpoint that the enumerator was read for.
    last_cut: Option<CheckpointId>,
    handed: BTreeMap<SubtaskIndex, Handed>,
}

/// What one reader was handed since the latest checkpoint.
#[derive(Debug, Default)]
struct Handed {
    /// With the last checkpoint before it.
    splits: Vec<(Option<CheckpointId>, Vec<u8>)>,
    bytes: usize,
    /// There was more: the last of it came behind this checkpoint.
    forgotten: Option<Option<CheckpointId>>,
}

impl Handed {
    fn note(&mut self, last_cut: Option<CheckpointId>, split: &[u8]) {
        self.bytes += split.len();
        self.splits.push((last_cut, split.to_vec()));
        if self.bytes > HANDED_BYTES_MAX {
            *self = Self { forgotten: Some(last_cut), ..Self::default() };
        }
    }

    /// What came before the cut of `checkpoint` is in it.
    fn completed(&mut self, checkpoint: CheckpointId) {
        self.splits.retain(|(cut, _)| *cut >= Some(checkpoint));
        self.bytes = self.splits.iter().map(|(_, split)| split.len()).sum();
        self.forgotten.take_if(|cut| *cut < Some(checkpoint));
    }
}

/// What a reader is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Split(Vec<u8>),
    NoMoreSplits,
}

impl SourceDesk {
    pub(crate) fn new(enumerator: Box<dyn SplitEnumerator>) -> Self {
        let (waiting, handed) = (BTreeSet::new(), BTreeMap::new());
        Self { enumerator, waiting, last_cut: None, handed }
    }

    /// What has not been handed out, as bytes.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        self.enumerator.snapshot()
    }

    /// The same, for a checkpoint whose barriers go out now.
    pub(crate) fn cut(&mut self, checkpoint: CheckpointId) -> Vec<u8> {
        self.last_cut = Some(checkpoint);
        self.snapshot()
    }

    /// This is the latest checkpoint now.
    pub(crate) fn completed(&mut self, checkpoint: CheckpointId) {
        self.handed.values_mut().for_each(|handed| handed.completed(checkpoint));
    }

    /// What a reader was handed since the latest checkpoint, in order.
    pub(crate) fn handed_to(&self, subtask: SubtaskIndex) -> Vec<Vec<u8>> {
        let handed = self.handed.get(&subtask);
        handed
            .into_iter()
            .flat_map(|handed| &handed.splits)
            .map(|(_, split)| split.clone())
            .collect()
    }

    /// Whether that is all.
    pub(crate) fn knows_all(&self, subtask: SubtaskIndex) -> bool {
        self.handed.get(&subtask).is_none_or(|handed| handed.forgotten.is_none())
    }

    /// Starts again where `snapshot` was taken: nobody waits, and nothing was handed out since.
    pub(crate) fn restore(&mut self, snapshot: &[u8]) -> Result<(), TaskFailure> {
        self.waiting.clear();
        self.handed.clear();
        self.enumerator.restore(snapshot)
    }

    /// A reader runs.
    pub(crate) fn add_reader(&mut self, subtask: SubtaskIndex) {
        self.enumerator.add_reader(subtask);
    }

    /// A reader asks. `None`: it waits.
    pub(crate) fn request(&mut self, subtask: SubtaskIndex) -> Option<Answer> {
        match self.enumerator.request_split(subtask) {
            Assignment::Split(split) => {
                self.handed.entry(subtask).or_default().note(self.last_cut, &split.0);
                Some(Answer::Split(split.0))
            }
            Assignment::NoMoreSplits => Some(Answer::NoMoreSplits),
            Assignment::Later => {
                self.waiting.insert(subtask);
                None
            }
        }
    }

    /// Asks again for all who wait.
    pub(crate) fn retry(&mut self) -> Vec<(SubtaskIndex, Answer)> {
        let waiting = std::mem::take(&mut self.waiting);
        let answers = waiting.into_iter().map(|subtask| (subtask, self.request(subtask)));
        answers.filter_map(|(subtask, answer)| Some((subtask, answer?))).collect()
    }

    /// A task that waits is over or must stop.
    pub(crate) fn forget(&mut self, subtask: SubtaskIndex) {
        self.waiting.remove(&subtask);
    }

    /// Whether somebody waits.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use wiesel_connectors::SplitPayload;

    use super::*;

    /// Splits of so many bytes, for ever; each begins with its number.
    struct Endless(u8, usize);

    impl SplitEnumerator for Endless {
        fn add_reader(&mut self, _: SubtaskIndex) {}
        fn request_split(&mut self, _: SubtaskIndex) -> Assignment {
            self.0 += 1;
            let mut split = vec![0; self.1];
            split[0] = self.0;
            Assignment::Split(SplitPayload(split))
        }
        fn snapshot(&self) -> Vec<u8> {
            vec![self.0]
        }
        fn restore(&mut self, snapshot: &[u8]) -> Result<(), TaskFailure> {
            self.0 = snapshot[0];
            Ok(())
        }
    }

    /// Steps: `?0` reader 0 asks, `|7` checkpoint 7 is cut, `=7` complete, `<1` all start again, where the enumerator had handed
    /// out 1. Expected is what each of two readers would get again; `..` if that is not all.
    fn check(split_bytes: usize, script: &str, expected: [&str; 2]) {
        let mut desk = SourceDesk::new(Box::new(Endless(0, split_bytes)));
        for step in script.split_whitespace() {
            let number: u64 = step[1..].parse().unwrap();
            match &step[..1] {
                "?" => drop(desk.request(SubtaskIndex(number as u32))),
                "|" => drop(desk.cut(CheckpointId(number))),
                "=" => desk.completed(CheckpointId(number)),
                _ => desk.restore(&[number as u8]).unwrap(),
            }
        }
        let again = [0, 1].map(|subtask| {
            let subtask = SubtaskIndex(subtask);
            let handed = desk.handed_to(subtask).into_iter().map(|split| split[0].to_string());
            let unknown = (!desk.knows_all(subtask)).then(|| "..".to_owned());
            unknown.into_iter().chain(handed).collect::<Vec<_>>().join(" ")
        });
        assert_eq!(again, expected, "{script}");
    }

    #[test]
    fn what_was_handed_out_since_the_latest_checkpoint_is_known() {
        check(1, "?0 ?1 ?0", ["1 3", "2"]);
        check(1, "?0 |1 ?1 ?0", ["1 3", "2"]);
        check(1, "?0 |1 ?1 ?0 =1", ["3", "2"]);
        // The one that was aborted says nothing, and neither does one that is complete when another has been cut.
        check(1, "?0 |1 ?1 |2 ?0 =2 ?1", ["3", "4"]);
        check(1, "?0 |1 ?1 |2 ?0 =1 ?1", ["3", "2 4"]);
        check(1, "?0 |1 ?1 <1 ?1", ["", "2"]);
    }

    #[test]
    fn what_is_too_much_is_not_known() {
        let quarter = HANDED_BYTES_MAX / 4;
        check(quarter, "?0 ?0 ?0 ?0 ?1", ["1 2 3 4", "5"]);
        check(quarter, "?0 ?0 ?0 ?0 ?0 ?1", ["..", "6"]);
        check(quarter, "?0 ?0 ?0 ?0 |1 ?0 =1", ["..", ""]);
        check(quarter, "?0 ?0 ?0 ?0 |1 ?0 ?0 |2 =1 =2", ["", ""]);
        check(quarter, "?0 ?0 ?0 ?0 ?0 <0", ["", ""]);
    }
}
