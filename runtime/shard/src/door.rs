//! The door of a shard: how a peer wakes it, and only when it sleeps.
//!
//! ```text
//!   producer's shard                          consumer's shard
//!   push into the ring                        asleep = true
//!   ──── full fence ────                      ──── full fence ────
//!   asleep? turn it off, ring the bell        last look at the rings; nothing? wait for the bell
//! ```
//!
//! # What is always true
//!
//! 1. A shard says `asleep` *before* its last look, and a peer reads `asleep` *after* its push. With a full fence on
//!    both sides one of the two sees the other: no wake-up is lost. (Loom checks it at the end of this file.)
//! 2. A bell rings at most once per sleep: whoever turns `asleep` off rings it.
//! 3. Knocking on a shard that is awake costs a fence and a load.

use std::fmt;

use crossbeam_utils::CachePadded;

use crate::{
    backend::Bell,
    sync::{Arc, AtomicBool, Ordering, fence},
};

/// What peers see of a shard. Clones are the same door.
#[derive(Clone)]
pub struct Door(Arc<Inner>);

struct Inner {
    asleep: CachePadded<AtomicBool>,
    bell: Bell,
}

impl Door {
    pub(crate) fn with_bell(bell: Bell) -> Self {
        Self(Arc::new(Inner { asleep: CachePadded::new(AtomicBool::new(false)), bell }))
    }

    /// Wakes the shard behind this door if it sleeps. Call it after a push into one of its rings.
    ///
    /// Safe to call from a signal handler: it is two atomics and one write.
    #[inline]
    pub fn knock(&self) {
        fence(Ordering::SeqCst); // Invariant 1: the push is visible before `asleep` is read.
        if self.0.asleep.load(Ordering::Relaxed) && self.0.asleep.swap(false, Ordering::AcqRel) {
            self.0.bell.ring();
        }
    }

    /// Rings whether the shard says that it sleeps or not: what the watchdog does.
    #[cfg(not(any(sim, loom)))]
    pub(crate) fn force(&self) {
        self.0.asleep.store(false, Ordering::Relaxed);
        self.0.bell.ring();
    }

    /// The shard goes to sleep: after this it looks at its rings once more, then waits for the bell.
    #[inline]
    pub(crate) fn fall_asleep(&self) {
        // A swap where a store would do: it costs a sleeper nothing that counts, and loom orders swaps totally, where
        // it lets a knock read a store that its own load has passed.
        self.0.asleep.swap(true, Ordering::AcqRel);
        fence(Ordering::SeqCst); // Invariant 1: `asleep` is visible before the last look.
    }

    /// The shard is awake, whatever woke it.
    #[inline]
    pub(crate) fn wake_up(&self) {
        self.0.asleep.swap(false, Ordering::AcqRel);
    }

    pub(crate) fn bell(&self) -> &Bell {
        &self.0.bell
    }
}

#[cfg(not(loom))]
impl Door {
    /// A door with nobody behind it: knocks go nowhere. For tests of what knocks.
    pub fn unattended() -> Self {
        Self::with_bell(Bell::silent())
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Door({})",
            if self.0.asleep.load(Ordering::Relaxed) { "asleep" } else { "awake" }
        )
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::ring::ring;

    /// A consumer that sleeps by the protocol gets `count` values from `producers` threads; a lost wake-up is a
    /// deadlock, which loom reports.
    fn check(producers: usize, count: usize) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(move || {
            let door = Door::with_bell(Bell::new());
            let mut rings = Vec::new();
            let mut threads = Vec::new();
            for _ in 0..producers {
                let (mut to, from) = ring(count);
                let door = door.clone();
                rings.push(from);
                threads.push(loom::thread::spawn(move || {
                    for value in 0..count {
                        assert!(to.push(value).is_ok());
                        door.knock();
                    }
                }));
            }
            let mut missing = producers * count;
            let mut look = |missing: &mut usize| {
                let before = *missing;
                rings.iter_mut().for_each(|from| {
                    while from.pop().is_some() {
                        *missing -= 1
                    }
                });
                *missing < before
            };
            while missing > 0 {
                if look(&mut missing) {
                    continue;
                }
                door.fall_asleep();
                if !look(&mut missing) {
                    door.bell().wait();
                }
                door.wake_up();
            }
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }

    #[test]
    fn one_knock() {
        check(1, 1);
    }

    #[test]
    fn two_knocks() {
        check(1, 2);
    }

    #[test]
    fn two_peers() {
        check(2, 1);
    }
}
