//! The protocol of a chain: what a head, a link and an output promise each other.
//!
//! A *head* is what a task drives, a frame at a time, behind one vtable call. A *link* is what a head
//! pushes into, a record at a time, with no call left after inlining. An *output* is where a chain ends.
//!
//! # What is always true
//!
//! 1. Calls arrive in stream order and never overlap.
//! 2. A call that returns [`Progress::Stopped`] is made again with the same argument; the callee keeps its
//!    cursor. Links that are done pass the second call through.
//! 3. `push` never stops: what one record expands to is taken in full, and paid for from the overdraft.

use std::{pin::Pin, time::Duration};

use wiesel_core::{Blame, CheckpointId, Meta, Nanos, StopFlag, TaskFailure, Timestamp};
use wiesel_record::{Item, Record};
use wiesel_shard::Quantum;
use wiesel_wire::Frame;

use crate::{Snapshot, VisitList, VisitTable};

/// Whether a call did all that it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// All of it.
    Done,
    /// The turn has to end. Call again with the same argument.
    Stopped,
}

/// Whether a stream has records to expect, or should be left out of the watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It holds the watermark back.
    Active,
    /// It does not.
    Idle,
}

/// A split of a source, by the number that its reader gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SplitId(pub u32);

/// What a source says about its splits, for whatever makes watermarks behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitChange {
    /// The records that follow are of this split. From now on it holds the watermark back.
    Reads(SplitId),
    /// It is read to its end, and holds nothing back any more.
    Ended(SplitId),
}

/// What a source did with its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// It read something, or was stopped while it did: it wants another turn.
    Again,
    /// Nothing to read until an I/O completion, a message, or this time.
    Waiting(Option<Nanos>),
    /// It has no split and wants one from the enumerator.
    NeedsSplit,
    /// All its splits are read and there will be no more.
    Finished,
}

/// A message from the JobMaster to a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mail {
    /// A split to read, as its enumerator encoded it.
    Split(Vec<u8>),
    /// There will be no more.
    NoMoreSplits,
    /// Splits whose watermark is greater than this are to wait for the others of their group.
    WatermarkLimit(Timestamp),
}

/// What bounds a turn: the output's wish to stop, and the quantum.
#[derive(Debug)]
pub struct Pace {
    stop: StopFlag,
    quantum: Quantum,
}

impl Pace {
    /// A turn that ends when `stop` is set or `quantum` is spent.
    pub fn new(stop: StopFlag, quantum: Quantum) -> Self {
        Self { stop, quantum }
    }

    /// Whether the turn is over. Asked after every record and every timer.
    #[inline(always)]
    pub fn is_over(&mut self) -> bool {
        let is_over = self.stop.is_set() || self.quantum.spent();
        if is_over {
            // A compiler that takes this for every second record takes the loop for one of two, in which nothing is
            // worth fusing.
            std::hint::cold_path();
        }
        is_over
    }

    /// The first half of [`Pace::is_over`], for a loop that takes the record in between: counts it, and says whether
    /// [`Pace::look`] is to be asked behind it, else [`Pace::is_stopped`].
    #[inline(always)]
    pub fn counts_down(&mut self) -> bool {
        self.quantum.counts_down()
    }

    /// Whether the output wishes to stop.
    #[inline(always)]
    pub fn is_stopped(&self) -> bool {
        self.stop.is_set()
    }

    /// Whether the turn is over, behind a record at which the clock is to be read.
    pub fn look(&mut self) -> bool {
        self.quantum.look() || self.stop.is_set()
    }

    /// How many records were counted.
    pub fn counted(&self) -> u64 {
        self.quantum.counted()
    }

    /// See [`Quantum::halt`].
    pub fn halt(&mut self) -> u32 {
        self.quantum.halt()
    }

    /// See [`Quantum::resume`].
    pub fn resume(&mut self, records: u32) {
        self.quantum.resume(records);
    }
}

/// Where a chain ends, seen by the task loop: a result partition, or the writer of a sink.
pub trait OutputPort {
    /// Takes back what has come home and moves on what waits; says whether anything moved.
    fn poll(&mut self, now: Nanos) -> bool;

    /// Whether the task may be given data: no overdraft is outstanding and one more unit can be written.
    fn is_ready(&self) -> bool;

    /// Whether records are wanted. A link that waits for answers says no when it has taken as many as it may: barriers
    /// go by, and watermarks as far as no record comes of them.
    fn wants_records(&self) -> bool {
        true
    }

    /// Whether what was taken has gone on. The end of the input waits for it; barriers do not.
    fn is_settled(&self) -> bool {
        true
    }

    /// Hands over what is open. Called when the task has nothing else to do.
    fn flush(&mut self);

    /// Hands over what has been open for `age` or longer.
    fn flush_aged(&mut self, now: Nanos, age: Duration);

    /// Checkpoint `checkpoint` lies between what was appended and what will be: a partition sends the barrier, the
    /// writer of a sink pre-commits. By default it means nothing.
    fn barrier(&mut self, checkpoint: CheckpointId) {
        let _ = checkpoint;
    }

    /// Whether what was before the last barrier will survive, as far as it is this output's to see to: a partition's
    /// is its consumer's, a writer's is on its disk.
    fn is_pre_committed(&self) -> bool {
        true
    }

    /// `checkpoint` and all before it are complete: what they pre-committed is committed by the JobMaster.
    fn completed(&mut self, checkpoint: CheckpointId) {
        let _ = checkpoint;
    }

    /// Nothing will follow. Called once, after the chain has finished.
    fn end(&mut self);

    /// Whether nothing is under way any more: every frame home, every byte with its file.
    fn is_drained(&self) -> bool;

    /// What went wrong since the last call, if anything did.
    fn take_failure(&mut self) -> Option<TaskFailure>;
}

/// A typed output. `append` always succeeds; see [`OutputPort::is_ready`] for who pays.
pub trait Output<T: Record>: OutputPort + 'static {
    /// Takes one record.
    fn append<I: Item<T>>(&mut self, item: I, meta: Meta);

    /// Takes a watermark; never smaller than the one before.
    fn watermark(&mut self, watermark: Timestamp);

    /// Takes a change of status.
    fn status(&mut self, status: Status);
}

/// Everything that travels along a chain but records. Implemented by every link, front to back.
pub trait Control: 'static {
    /// Gets ready. Runs back to front: a link opens what follows it before itself.
    ///
    /// # Errors
    ///
    /// If what the link needs from outside is not to be had.
    fn open(&mut self) -> Result<(), TaskFailure>;

    /// The task ends: functions of the program are closed, front to back. What goes wrong fails the task.
    fn close(&mut self);

    /// No record at or below `watermark` will arrive on time.
    fn watermark(&mut self, watermark: Timestamp) -> Progress;

    /// The input has become idle or active.
    fn status(&mut self, status: Status);

    /// The records that follow are of another split, or a split has ended. Links that do not make watermarks pass it on;
    /// behind one that does, and behind one that changes the order of records, it is not told any more.
    fn split(&mut self, change: SplitChange) {
        let _ = change;
    }

    /// A turn is ending: whatever is emitted per turn and not per record is emitted now, at the latest if the task
    /// is idle, that is has nothing left to do.
    fn tick(&mut self, now: Nanos, is_idle: bool);

    /// The input has ended: pushes what is left. Nothing is pushed after it is done.
    fn finish(&mut self) -> Progress;

    /// Shows every output of the chain, in the order in which they were declared.
    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort));

    /// Adds the state of this link and of those after it to `snapshot`; lists only if it takes them.
    fn snapshot(&mut self, snapshot: &mut Snapshot);

    /// Shows all lists of this link and of those after it, in the same order as long as they live.
    fn lists(&mut self, visit: &mut VisitList<'_>);

    /// Continues from `snapshot`, in steps ([`pause`](wiesel_shard::pause)): others have turns meanwhile.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    fn restore(&mut self, snapshot: &Snapshot) -> impl Future<Output = Result<(), TaskFailure>>;
}

/// A step of a chain that takes records of type `T`.
pub trait Link<T: Record>: Control {
    /// Takes one record.
    fn push<I: Item<T>>(&mut self, item: I, meta: Meta);
}

/// State on its way into what is behind a vtable.
pub type Restoring<'r> = Pin<Box<dyn Future<Output = Result<(), TaskFailure>> + 'r>>;

/// What a task drives. Object-safe: one call per frame, watermark or turn.
pub trait Head {
    /// Gets ready, back to front.
    ///
    /// # Errors
    ///
    /// If what an operator needs from outside is not to be had.
    fn open(&mut self) -> Result<(), TaskFailure>;

    /// The task ends, as [`Control::close`] says. The last call, if there is one.
    fn close(&mut self);

    /// Takes records `*cursor..` of `frame` from input `input`, and moves the cursor past those taken.
    fn frame(
        &mut self,
        input: usize,
        frame: &Frame,
        cursor: &mut usize,
        pace: &mut Pace,
    ) -> Progress;

    /// Input `input` has ended: no frame of it follows. Others may be open.
    fn end_input(&mut self, input: usize) {
        let _ = input;
    }

    /// The merged watermark of all inputs has reached `watermark`.
    fn watermark(&mut self, watermark: Timestamp, pace: &mut Pace) -> Progress;

    /// The merged inputs have become idle or active.
    fn status(&mut self, status: Status);

    /// Reads, if this head is a source; others are never polled.
    fn poll(&mut self, pace: &mut Pace) -> Polled;

    /// Takes a message, if this head is a source.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or this is not a source.
    fn mail(&mut self, mail: Mail) -> Result<(), TaskFailure> {
        let cause = format!("this operator takes no {mail:?}");
        Err(TaskFailure::new(Blame::Runtime, "take a message", cause))
    }

    /// The time of the earliest processing-time timer, if there is one.
    fn next_timer(&self) -> Option<Timestamp>;

    /// Fires processing-time timers up to `now`.
    fn advance_time(&mut self, now: Timestamp, pace: &mut Pace) -> Progress;

    /// A turn is ending.
    fn tick(&mut self, now: Nanos, is_idle: bool);

    /// All inputs have ended.
    fn finish(&mut self, pace: &mut Pace) -> Progress;

    /// Shows every output.
    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn OutputPort));

    /// Whether records wait for rows that are not resident, or for a file; they hold back watermarks and the end.
    fn has_parked(&self) -> bool {
        false
    }

    /// Applies parked records whose rows have come; says whether any had.
    fn unpark(&mut self, pace: &mut Pace) -> bool {
        let _ = pace;
        false
    }

    /// Appends all operator and keyed state to `snapshot`; but tables, timers and lists only if it takes them.
    fn snapshot(&mut self, snapshot: &mut Snapshot);

    /// Shows all tables and timers that are in a snapshot, in the same order as long as they live.
    fn tables(&mut self, visit: &mut VisitTable<'_>) {
        let _ = visit;
    }

    /// Shows all lists that are in a snapshot, those of the links as well, in the same order as long as they live. There is no
    /// default: a head that forgets those behind it would lose them.
    fn lists(&mut self, visit: &mut VisitList<'_>);

    /// Continues from `snapshot`, which may come from another parallelism, in steps.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or belongs to another operator.
    fn restore<'r>(&'r mut self, snapshot: &'r Snapshot) -> Restoring<'r>;

    /// Where in its input the head is, for error messages.
    fn position(&self) -> Option<String> {
        None
    }
}
