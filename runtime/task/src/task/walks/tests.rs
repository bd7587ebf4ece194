//! Walks of a task that has timers and a list: what a barrier copies, how much comes at once, and what a failure leaves.

use std::time::Duration;

use wiesel_core::Blame;
use wiesel_core::{Nanos, SubtaskIndex, TaskFailure, TaskId, Timestamp, TriggerKind, VertexId};
use wiesel_operators::{OutputPort, Pace, Polled, Restoring, Snapshot, Status, WalkedList};
use wiesel_shard::Shard;
use wiesel_state::TimerQueue;
use wiesel_wire::Frame;

use super::*;
use crate::{Checkpoints, TaskOptions, Turn};

/// Registers one timer and lets another fire whenever it is polled.
struct Alarms {
    timers: TimerQueue,
    next: u64,
    bytes: Bytes,
}

/// A list without elements, of which a walk gives as many bytes as it may.
struct Bytes {
    len: usize,
    left: Option<usize>,
    is_too_long: bool,
}

impl WalkedList for Bytes {
    fn flip(&mut self) {
        assert_eq!(self.left.replace(self.len), None, "one walk at a time");
    }

    fn is_walking(&self) -> bool {
        self.left.is_some()
    }

    fn walk(
        &mut self,
        budget_bytes: usize,
        _buffer: &mut Vec<u8>,
        out: &mut dyn FnMut(ListPiece<'_>),
    ) -> Result<Progress, TaskFailure> {
        let Some(left) = self.left.take() else { return Ok(Progress::Done) };
        if self.is_too_long {
            return Err(TaskFailure::new(Blame::Job, "store bytes", "they are too long"));
        }
        let given = left.min(budget_bytes);
        out(ListPiece { begins: left == self.len, bytes: &vec![0; given] });
        self.left = Some(left - given).filter(|left| *left > 0);
        Ok(if self.left.is_some() { Progress::Stopped } else { Progress::Done })
    }

    fn discard_walk(&mut self) {
        self.left = None;
    }
}

const GROUPS: u32 = 16;
const NAME: &str = "timers";

impl Alarms {
    fn register(&mut self) {
        let hash = self.next.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let (time, key) = (self.next as i64, self.next.to_le_bytes());
        self.timers.register(Timestamp::from_millis(time), hash, &key, &[]);
        self.next += 1;
    }
}

impl Head for Alarms {
    fn open(&mut self) -> Result<(), TaskFailure> {
        Ok(())
    }
    fn close(&mut self) {}
    fn frame(&mut self, _: usize, _: &Frame, _: &mut usize, _: &mut Pace) -> Progress {
        Progress::Done
    }
    fn watermark(&mut self, _: Timestamp, _: &mut Pace) -> Progress {
        Progress::Done
    }
    fn status(&mut self, _: Status) {}
    fn poll(&mut self, _: &mut Pace) -> Polled {
        self.timers.pop(Timestamp::MAX).expect("a timer");
        self.register();
        Polled::Waiting(None)
    }
    fn next_timer(&self) -> Option<Timestamp> {
        None
    }
    fn advance_time(&mut self, _: Timestamp, _: &mut Pace) -> Progress {
        Progress::Done
    }
    fn tick(&mut self, _: Nanos, _: bool) {}
    fn finish(&mut self, _: &mut Pace) -> Progress {
        Progress::Done
    }
    fn ports(&mut self, _: &mut dyn FnMut(&mut dyn OutputPort)) {}
    fn snapshot(&mut self, _: &mut Snapshot) {}
    fn lists(&mut self, visit: &mut VisitList<'_>) {
        visit(ListPart { position: 3, name: "bytes", list: &mut self.bytes });
    }
    fn tables(&mut self, visit: &mut VisitTable<'_>) {
        visit(TablePart { name: NAME, header: &[], table: &mut self.timers });
    }
    fn restore<'r>(&'r mut self, _: &'r Snapshot) -> Restoring<'r> {
        Box::pin(async { Ok(()) })
    }
}

/// A task with so many timers.
fn task(number: u64) -> Task {
    task_with(number, Bytes { len: 10, left: None, is_too_long: false })
}

fn task_with(number: u64, bytes: Bytes) -> Task {
    let id = TaskId { vertex: VertexId(1), subtask: SubtaskIndex(0) };
    let shard = Shard::detached();
    let context = TaskContext::new(id, "alarms", 1, GROUPS, shard, Default::default());
    let timers = TimerQueue::new(KeyGroupRange::all(GROUPS), GROUPS);
    let mut alarms = Alarms { timers, next: 0, bytes };
    (0..number).for_each(|_| alarms.register());
    let options = TaskOptions {
        quantum: Duration::from_secs(3_600),
        frame_age_max: Duration::ZERO,
        checkpoints: Checkpoints::ExactlyOnce,
        is_incremental: true,
    };
    Task::new(context, Box::new(alarms), Vec::new(), options)
}

fn turn(task: &mut Task) {
    let turn = task.turn();
    assert!(matches!(turn, Turn::Worked | Turn::Idle(_)), "{turn:?}");
}

/// The barrier of a checkpoint; bytes that were copied at it.
fn cut(task: &mut Task, checkpoint: u64) -> usize {
    assert!(task.trigger(CheckpointId(checkpoint), TriggerKind::Continue));
    turn(task);
    let cut = task.take_cut().expect("a cut");
    assert!(task.is_walking());
    cut.snapshot.expect("it takes part").parts().map(|(_, _, bytes)| bytes.len()).sum()
}

/// Walks to the end, with a turn of the task between two slices: the timers that come, how many slices there were, and
/// the most bytes in one.
fn walk(task: &mut Task, budget: usize) -> (Vec<u64>, usize, usize) {
    let mut found = TimerQueue::new(KeyGroupRange::all(GROUPS), GROUPS);
    let (mut slices, mut most, mut begun) = (0, 0, 0);
    loop {
        let mut bytes = 0;
        let progress = task.walk(budget, &mut |walked| {
            if let Walked::Piece { name, header, piece } = walked {
                assert_eq!((name, header), (NAME, &[][..]));
                bytes += piece.bytes.len();
                begun += u32::from(piece.begins);
                found.import(piece.bytes).expect("bytes that were written just now");
            }
        });
        (slices, most) = (slices + 1, most.max(bytes));
        if progress == Progress::Done {
            break;
        }
        turn(task);
    }
    assert!(!task.is_walking());
    assert_eq!(begun, GROUPS, "what earlier checkpoints have of the timers is void");
    let mut times: Vec<u64> = found.iter().map(|timer| timer.time().as_millis() as u64).collect();
    times.sort_unstable();
    (times, slices, most)
}

#[test]
fn a_barrier_copies_no_timer_and_what_follows_comes_in_slices() {
    const BUDGET: usize = 1 << 10;
    for number in [1_000, 50_000] {
        let mut task = task(number);
        // Timers that fired and were registered meanwhile are in the next one.
        let mut first = 0;
        for checkpoint in 1..4 {
            let copied = cut(&mut task, checkpoint);
            assert_eq!(copied, 0, "{number} timers");
            // The turn of the cut went on behind it: the source was polled, but that is no part of the snapshot.
            let (times, slices, most) = walk(&mut task, BUDGET);
            assert!(times.into_iter().eq(first..first + number), "checkpoint {checkpoint}");
            let bytes = number as usize * 32;
            assert!(slices > bytes / (2 * BUDGET), "{slices} slices of {bytes} bytes");
            assert!(most < BUDGET + 500, "{most} bytes in a slice");
            task.completed(CheckpointId(checkpoint));
            first += slices as u64;
        }
    }
}

#[test]
fn timers_of_a_checkpoint_that_was_given_up_are_walked_no_further() {
    let mut task = task(10_000);
    cut(&mut task, 1);
    assert_eq!(task.walk(1 << 10, &mut |_| {}), Progress::Stopped);
    task.abort(CheckpointId(1)).expect("nothing waited");
    assert!(task.is_walking() && task.is_discarding());
    while task.walk(1 << 10, &mut |_| panic!("nobody wants it")) == Progress::Stopped {}
    assert!(!task.is_walking());
    // All of them are in the next one.
    cut(&mut task, 2);
    assert_eq!(walk(&mut task, 1 << 20).0.len(), 10_000);
}

#[test]
fn a_barrier_waits_until_what_was_given_up_is_gone() {
    let mut task = task(10_000);
    cut(&mut task, 1);
    task.abort(CheckpointId(1)).expect("nothing waited");
    assert!(task.trigger(CheckpointId(2), TriggerKind::Continue));
    let mut slices = 0;
    loop {
        turn(&mut task);
        assert!(task.take_cut().is_none(), "the table is still walked");
        slices += 1;
        if task.walk(1 << 7, &mut |_| panic!("nobody wants it")) == Progress::Done {
            break;
        }
    }
    assert!(slices > 1, "it takes a while");
    turn(&mut task);
    let cut = task.take_cut().expect("a cut");
    assert!(cut.checkpoint == CheckpointId(2) && cut.snapshot.is_some());
    assert_eq!(walk(&mut task, 1 << 20).0.len(), 10_000);
    // One that is given up while its barrier waits does not come back.
    cut_and_abort(&mut task, 3);
    assert!(task.trigger(CheckpointId(4), TriggerKind::Continue));
    turn(&mut task);
    task.abort(CheckpointId(4)).expect("nothing waited");
    while task.walk(1 << 10, &mut |_| {}) == Progress::Stopped {}
    turn(&mut task);
    assert!(task.take_cut().is_none() && !task.is_walking());
}

fn cut_and_abort(task: &mut Task, checkpoint: u64) {
    cut(task, checkpoint);
    task.abort(CheckpointId(checkpoint)).expect("nothing waited");
}

#[test]
fn a_list_comes_behind_the_tables_in_pieces_that_follow_one_another() {
    const LEN: usize = 10_000;
    let mut task = task_with(100, Bytes { len: LEN, left: None, is_too_long: false });
    for checkpoint in 1..3 {
        assert_eq!(cut(&mut task, checkpoint), 0, "bytes that are copied at the barrier");
        let (mut pieces, mut bytes, mut progress) = (0, 0, Progress::Stopped);
        while progress == Progress::Stopped {
            progress = task.walk(1 << 10, &mut |walked| match walked {
                Walked::List { position, name, piece } => {
                    assert_eq!((position, name), (3, "bytes"));
                    assert_eq!(piece.begins, pieces == 0);
                    (pieces, bytes) = (pieces + 1, bytes + piece.bytes.len());
                }
                other => assert_eq!(pieces, 0, "{other:?}"),
            });
            turn(&mut task);
        }
        assert_eq!(bytes, LEN);
        assert!(pieces >= 10, "{pieces} pieces");
    }
}

#[test]
fn a_list_that_cannot_be_written_fails_its_checkpoint_and_not_the_task() {
    let mut task = task_with(100, Bytes { len: 10, left: None, is_too_long: true });
    for checkpoint in 1..3 {
        cut(&mut task, checkpoint);
        let mut failures = Vec::new();
        while task.walk(1 << 10, &mut |walked| match walked {
            Walked::Failed(failure) => failures.push(failure.source.to_string()),
            other => assert!(failures.is_empty(), "{other:?}"),
        }) == Progress::Stopped
        {}
        assert_eq!(failures, ["they are too long"]);
        assert!(!task.is_walking());
        // Its worker has told the JobMaster, who gives it up.
        task.abort(CheckpointId(checkpoint)).expect("nothing waited");
        turn(&mut task);
    }
}
