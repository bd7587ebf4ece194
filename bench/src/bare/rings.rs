//! Threads by hand, one a core, and rings from each of them to each.
//!
//! ```text
//!   thread 0   to[1] ●── ring ──▶ from[0]   thread 1
//!              to[0] ●── ring ──▶ from[0]   thread 0: not used, but so an index is a thread
//! ```

use std::{panic::resume_unwind, sync::Barrier, thread};

use rtrb::{Consumer, Producer, RingBuffer};

/// The ends of the rings that are one thread's.
pub struct Ends<M> {
    /// To each thread.
    pub to: Vec<Producer<M>>,
    /// From each thread.
    pub from: Vec<Consumer<M>>,
}

/// Rings of so many items between so many threads: what each has of them.
pub fn rings<M>(threads: usize, items: usize) -> Vec<Ends<M>> {
    let mut all: Vec<Ends<M>> =
        (0..threads).map(|_| Ends { to: Vec::new(), from: Vec::new() }).collect();
    for sender in 0..threads {
        for receiver in 0..threads {
            let (to, from) = RingBuffer::new(items);
            all[sender].to.push(to);
            all[receiver].from.push(from);
        }
    }
    all
}

/// Runs `work(thread, part, barrier)` on a thread for each of `parts`, each on a core of its own if there are enough.
/// Whoever is ready waits at the barrier, so that all begin at once. Gives what the threads gave, in order.
pub fn on_cores<P: Send, R: Send>(
    parts: Vec<P>,
    work: impl Fn(usize, P, &Barrier) -> R + Sync,
) -> Vec<R> {
    let cores = wiesel_shard::available_cores();
    let threads = parts.len();
    let (work, start) = (&work, &Barrier::new(threads));
    thread::scope(|scope| {
        let spawn = |(own, part): (usize, P)| {
            let core = cores.get(own).copied().filter(|_| threads <= cores.len());
            scope.spawn(move || {
                pin(core);
                work(own, part, start)
            })
        };
        let running: Vec<_> = parts.into_iter().enumerate().map(spawn).collect();
        let results = running.into_iter().map(|thread| thread.join());
        results.map(|result| result.unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

/// Pins this thread to `core`, if there is one for it.
fn pin(core: Option<usize>) {
    if let Some(core) = core {
        let mut set = nix::sched::CpuSet::new();
        // A core that is not there was not listed; a thread that cannot be pinned runs unpinned.
        let _ = set
            .set(core)
            .and_then(|()| nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set));
    }
}
