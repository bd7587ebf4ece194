//! Seeded faults: what the simulator must find, if it is to be believed when it finds nothing.
//!
//! A simulated build chooses one at run time, for the current thread; every other build has none.

/// A fault that was once made, here or in another engine, or could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A task takes data although its outputs are not ready for any.
    UnreadyTurn,
    /// A frame that was read does not go home.
    FrameKept,
    /// A watermark passes records that wait for their rows.
    WatermarkFirst,
    /// A consumer is not woken for what is sent to it.
    KnockLost,
    /// A task that ends does not wait for its frames.
    EndedEarly,
    /// Data of a job in batch mode does not wait for what is broadcast.
    RulesUnread,
    /// A row that is written before the walk of a snapshot comes by is not kept as it was.
    OldRowLost,
    /// A row that was made behind the barrier is in its snapshot.
    NewRowGiven,
    /// A timer that fires before the walk of a snapshot comes by is not in it.
    FiredTimerLost,
    /// An entry of a broadcast map that is replaced before the walk of a snapshot comes by is not kept as it was.
    OldEntryLost,
    /// A row that was written during a walk is not in the next increment.
    MarkWiped,
    /// A key that was removed is not in the next increment.
    TombstoneLost,
    /// An increment is relative to a checkpoint that was given up (as in FLINK-25395).
    IncrementOfNothing,
    /// The bytes of a file are not synced before a checkpoint refers to it (FLINK-35217).
    FileUnsynced,
    /// A manifest counts before its name is durable.
    ManifestUnsynced,
    /// A checkpoint that is discarded takes files with it that others need (FLINK-29913, FLINK-26985).
    SharedDeleted,
    /// A job whose checkpoints are all damaged begins anew (FLINK-34518).
    StartedAnew,
    /// A sink takes part in a checkpoint before its file is durable.
    PreCommittedEarly,
    /// What a checkpoint has pending is not committed when a job continues from it (FLINK-38614).
    CommitForgotten,
    /// A commit that is made again replaces what it had committed by a later file of the same hidden name.
    CommitReplaced,
    /// A commit counts before its names are durable.
    CommitUnsynced,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::UnreadyTurn,
        Self::FrameKept,
        Self::WatermarkFirst,
        Self::KnockLost,
        Self::EndedEarly,
        Self::RulesUnread,
        Self::OldRowLost,
        Self::NewRowGiven,
        Self::FiredTimerLost,
        Self::OldEntryLost,
        Self::MarkWiped,
        Self::TombstoneLost,
        Self::IncrementOfNothing,
        Self::FileUnsynced,
        Self::ManifestUnsynced,
        Self::SharedDeleted,
        Self::StartedAnew,
        Self::PreCommittedEarly,
        Self::CommitForgotten,
        Self::CommitReplaced,
        Self::CommitUnsynced,
    ];

    /// Lets this fault, or none, happen on this thread from now on.
    #[cfg(sim)]
    pub fn choose(mutant: Option<Self>) {
        CHOSEN.set(mutant);
    }

    /// Whether this fault is to happen.
    #[inline]
    pub fn is_chosen(self) -> bool {
        #[cfg(sim)]
        return CHOSEN.get() == Some(self);
        #[cfg(not(sim))]
        false
    }
}

#[cfg(sim)]
thread_local! {
    static CHOSEN: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}
