//! What a run costs: time, the time of all cores, memory, and how often it was disturbed.

use std::time::Instant;

use nix::sys::{
    resource::{Usage, UsageWho, getrusage},
    time::TimeValLike,
};

/// The cost of one run.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// From before the engine starts its threads until it has ended.
    pub seconds: f64,
    /// User and system time of all threads in between.
    pub cpu_seconds: f64,
    /// The most memory the process has had so far, so with the tables of the generator.
    pub peak_rss_bytes: u64,
    /// How often a thread was taken off its core while it had work: 0 on a machine of one's own.
    pub involuntary_switches: u64,
}

fn usage() -> Usage {
    getrusage(UsageWho::RUSAGE_SELF).expect("a process may always ask for its own usage")
}

fn cpu_microseconds(usage: &Usage) -> i64 {
    usage.user_time().num_microseconds() + usage.system_time().num_microseconds()
}

impl Cost {
    /// Does the work and says what it cost.
    pub fn of<R>(work: impl FnOnce() -> R) -> (R, Self) {
        let (before, start) = (usage(), Instant::now());
        let result = work();
        let (seconds, after) = (start.elapsed().as_secs_f64(), usage());
        let switches = |usage: &Usage| usage.involuntary_context_switches();
        let cost = Self {
            seconds,
            cpu_seconds: (cpu_microseconds(&after) - cpu_microseconds(&before)) as f64 / 1e6,
            peak_rss_bytes: after.max_rss().unsigned_abs() * 1_024, // Linux counts kibibytes.
            involuntary_switches: (switches(&after) - switches(&before)).unsigned_abs(),
        };
        (result, cost)
    }
}
