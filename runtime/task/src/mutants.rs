//! Seeded faults: what the simulator must find, if it is to be believed when it finds nothing.
//!
//! A simulated build chooses one at run time, for the current thread; every other build has none.

/// A fault that was once made, or could be.
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
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::UnreadyTurn,
        Self::FrameKept,
        Self::WatermarkFirst,
        Self::KnockLost,
        Self::EndedEarly,
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
