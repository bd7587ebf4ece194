//! How long a shard did nothing for its records at once.

/// The longest of some pauses, by two clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pause {
    /// By the clock on the wall, in nanoseconds.
    pub elapsed_ns: u64,
    /// By the thread's own clock, in nanoseconds: without the time in which the machine ran something else on its core.
    pub running_ns: u64,
}

impl Pause {
    /// One that took so long by both clocks.
    pub fn of(elapsed_ns: u64, running_ns: u64) -> Self {
        Self { elapsed_ns, running_ns: running_ns.min(elapsed_ns) }
    }

    /// The longer of both, by each clock.
    #[must_use]
    pub fn or_longer(self, other: Self) -> Self {
        Self {
            elapsed_ns: self.elapsed_ns.max(other.elapsed_ns),
            running_ns: self.running_ns.max(other.running_ns),
        }
    }
}
