//! The roles of a sink: what prepares the ground, the writers on the shards, and what commits.
//!
//! ```text
//!   JobMaster                        a shard
//!   Sink::prepare ── once, before ─▶ Sink::writer ─▶ SinkWriter: write, write … ─▶ buffer ─poll─▶ file
//!      looks at the world                 │              wants_pause ◀── full ──┘
//!                          a barrier ──▶ pre_commit ─▶ committables, in the state of this checkpoint
//!   Sink::commit ◀── the checkpoint is complete ───────────┘
//! ```
//!
//! # What is always true
//!
//! 1. `write` never waits: it appends to a buffer. `poll` moves bytes, with one operation on its way.
//! 2. A writer that wants a pause still takes what it is given; whoever goes on regardless pays with memory.
//! 3. A job whose checkpoint is complete has committed all that was written before its barrier, or will when it is
//!    restored; nothing else of a sink that takes part in checkpoints is visible.
//! 4. After `finish`, `poll` says [`WriterStatus::Finished`] only when everything is where it belongs.

mod collect;
mod encode;
mod files;
mod outbox;
mod owner;
mod stdout;
mod transaction;

use std::path::Path;

use wiesel_core::{CheckpointId, SubtaskIndex, TaskFailure};
use wiesel_record::{Item, Record};
use wiesel_shard::Shard;

use crate::Discovery;

pub use collect::{CollectSink, CollectWriter, CollectedRecords};
pub use encode::{AsCsv, AsDebug, AsJson, AsLines, Encode, EncodeError, Formatted};
pub use files::{FileSink, FileWriter};
pub use owner::FolderOwner;
pub use stdout::{StdoutSink, StdoutWriter};

/// Where records go. Part of the graph: plain data, cloned for every subtask.
pub trait Sink: Clone + Send + 'static {
    /// What it takes.
    type Record: Record;

    /// What writes it, on a shard.
    type Writer: SinkWriter<Self::Record>;

    /// Looks whether the ground is fit for a job that begins anew, and changes nothing. Called in the JobMaster of all sinks
    /// before the first of them is prepared.
    ///
    /// # Errors
    ///
    /// If it is not; the error says what to do.
    fn check(&self, discovery: &dyn Discovery) -> Result<(), TaskFailure> {
        let _ = discovery;
        Ok(())
    }

    /// Takes what must be this sink's alone: its [`folder`](Self::folder), if it has one, which is made if it is not there. Called in
    /// the JobMaster before anything there is changed; it is held until the job is over.
    ///
    /// # Errors
    ///
    /// If another sink has it, of this job or another, in whichever process.
    fn own(&self, discovery: &dyn Discovery) -> Result<Option<FolderOwner>, TaskFailure> {
        self.folder().map(|folder| FolderOwner::take(folder, discovery)).transpose()
    }

    /// Prepares the ground for all writers. Called in the JobMaster, once, before any of them is made.
    ///
    /// # Errors
    ///
    /// If the ground is not fit; the error says what to do.
    fn prepare(&self, discovery: &dyn Discovery) -> Result<(), TaskFailure> {
        let _ = discovery;
        Ok(())
    }

    /// Makes the writer of one subtask, on its shard.
    fn writer(&self, context: &WriterContext) -> Self::Writer;

    /// Makes visible what writers have pre-committed. Called in the JobMaster when the checkpoint that holds it is
    /// complete, and again, with the same, whenever the job is restored from that checkpoint: what was committed
    /// before is committed. A sink whose writers hand in nothing is never asked.
    ///
    /// # Errors
    ///
    /// If it cannot be committed, or is neither pre-committed nor committed any more.
    fn commit(
        &self,
        committables: &[Vec<u8>],
        discovery: &dyn Discovery,
    ) -> Result<(), TaskFailure> {
        let _ = (committables, discovery);
        Ok(())
    }

    /// Keeps what writers have pre-committed until somebody commits it, whatever becomes of this job. Called in the JobMaster
    /// for a savepoint that commits nothing, before it is there.
    ///
    /// # Errors
    ///
    /// If it cannot be kept.
    fn pin(&self, committables: &[Vec<u8>], discovery: &dyn Discovery) -> Result<(), TaskFailure> {
        let _ = (committables, discovery);
        Ok(())
    }

    /// Removes what writers that are gone have left and nobody will commit: those of these subtasks, while others write on, or
    /// (`None`) of all that ever were. Called in the JobMaster before writers are made that continue from a checkpoint, behind
    /// its commits; then instead of `prepare`.
    ///
    /// # Errors
    ///
    /// If something that was left cannot be removed.
    fn clean_up(
        &self,
        subtasks: Option<&[SubtaskIndex]>,
        discovery: &dyn Discovery,
    ) -> Result<(), TaskFailure> {
        let _ = (subtasks, discovery);
        Ok(())
    }

    /// The newest checkpoint whose number is in the name of something visible, or that was or may be, by whichever job. Called in the
    /// JobMaster before the job has its first number: that is above it, so that nothing visible is taken for its own.
    ///
    /// # Errors
    ///
    /// If what is visible cannot be listed.
    fn newest_visible(
        &self,
        discovery: &dyn Discovery,
    ) -> Result<Option<CheckpointId>, TaskFailure> {
        let _ = discovery;
        Ok(None)
    }

    /// Makes invisible what was committed with checkpoints newer than `checkpoint`. Called in the JobMaster when those
    /// turn out to be damaged and the job continues from `checkpoint`: what they had committed is written again.
    ///
    /// # Errors
    ///
    /// If something of it stays visible.
    fn take_back(
        &self,
        checkpoint: CheckpointId,
        discovery: &dyn Discovery,
    ) -> Result<(), TaskFailure> {
        let _ = (checkpoint, discovery);
        Ok(())
    }

    /// The folder that must be this sink's alone, if there is one: two that name the same are refused. While the job runs a file
    /// `.wiesel-owner` is in it.
    fn folder(&self) -> Option<&Path> {
        None
    }

    /// What `explain` calls it: `CSV files in out/`.
    fn describe(&self) -> String;
}

/// What a writer is told about the task it writes for.
#[derive(Clone, Debug)]
pub struct WriterContext {
    /// Which subtask.
    pub subtask: SubtaskIndex,
    /// Of how many.
    pub parallelism: u32,
    /// The shard that it writes on: its clock.
    pub shard: Shard,
    /// Whether the job takes checkpoints: what is written is committed with them.
    pub takes_checkpoints: bool,
}

/// What a writer did when it was polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriterStatus {
    /// Something moved.
    Moved,
    /// A completion will come.
    Waiting,
    /// Nothing is on its way, and nothing has to be.
    Idle,
    /// It was told to finish, and everything is written.
    Finished,
    /// Nobody reads what is written any more (a closed pipe). Not a failure: the job should end quietly.
    Closed,
}

/// Writes records, on a shard.
pub trait SinkWriter<T: Record>: 'static {
    /// Takes a record. A failure is kept for the next `poll`.
    fn write<I: Item<T>>(&mut self, item: I);

    /// Whether it should be given nothing for now. Asked after every record.
    fn wants_pause(&self) -> bool;

    /// Nothing else will come for a while: what is in the buffer should be on its way.
    fn flush(&mut self);

    /// Moves bytes, without waiting.
    ///
    /// # Errors
    ///
    /// If a record could not be encoded or bytes not be written. The writer must not be used again.
    fn poll(&mut self, shard: &Shard) -> Result<WriterStatus, TaskFailure>;

    /// A checkpoint lies between what was written and what will be. By default what was written is flushed.
    fn pre_commit(&mut self, checkpoint: CheckpointId) {
        let _ = checkpoint;
        self.flush();
    }

    /// Whether all that was written before the last `pre_commit` is where it survives.
    fn is_pre_committed(&self) -> bool {
        true
    }

    /// What is pre-committed and, as far as the writer has heard, not committed: state of the checkpoint.
    fn committables(&self) -> Vec<Vec<u8>> {
        Vec::new()
    }

    /// `checkpoint` and all before it are complete, and committed.
    fn completed(&mut self, checkpoint: CheckpointId) {
        let _ = checkpoint;
    }

    /// Nothing will follow but checkpoints, if the job takes any. To be polled until it is [`WriterStatus::Finished`].
    fn finish(&mut self);
}
