//! Threads that make events, send some to each other, and work off what they get.

use std::{
    hint::spin_loop,
    sync::atomic::{AtomicU64, Ordering},
};

use rtrb::{Consumer, Producer};

use super::rings::{Ends, on_cores, rings};
use crate::{generator::Check, measure::Run};

/// Items of a ring: what a frame of an engine would hold.
const RING_ITEMS: usize = 4_096;

/// Events between two looks at the rings.
const BATCH_EVENTS: u64 = 512;

/// What a thread does with the items that are its own.
pub trait Work<M> {
    /// Takes one item.
    fn take(&mut self, item: M);

    /// All items of the events before `number`, of every thread, have been taken; `u64::MAX` once there is no more.
    fn passed(&mut self, number: u64) {
        let _ = number;
    }

    /// The outputs.
    fn check(self) -> Check;
}

/// How far a thread is, on cache lines of its own: the items of its events before this number are in the rings.
#[derive(Default)]
#[repr(align(128))]
struct Sent(AtomicU64);

/// Sends an item to a thread.
pub struct Router<'r, M, W> {
    own: u32,
    work: &'r mut W,
    outgoing: &'r mut [Vec<M>],
}

impl<M, W: Work<M>> Router<'_, M, W> {
    /// To thread `to`, which is below the number of threads.
    #[inline(always)]
    pub fn send(&mut self, to: u32, item: M) {
        if to == self.own { self.work.take(item) } else { self.outgoing[to as usize].push(item) }
    }
}

/// Runs `make(number, router)` for every event of the run, thread `i` of `p` for `i, i + p, i + 2p …`
pub fn run<M, W, F>(run: &Run, make: F) -> Check
where
    M: Send,
    W: Work<M> + Default + Send,
    F: FnMut(u64, &mut Router<'_, M, W>) + Clone + Send,
{
    let mut total = Check::default();
    run_works(run, W::default, make).into_iter().for_each(|work| total.merge(work.check()));
    total
}

/// As [`run`], with the work of each thread made by `work`; gives what they have become.
pub fn run_works<M, W, F>(run: &Run, work: impl Fn() -> W + Sync, make: F) -> Vec<W>
where
    M: Send,
    W: Work<M> + Send,
    F: FnMut(u64, &mut Router<'_, M, W>) + Clone + Send,
{
    let all = rings(run.parallelism as usize, RING_ITEMS).into_iter();
    let parts: Vec<_> = all.map(|ends| (ends, make.clone())).collect();
    let sent: &Vec<Sent> = &parts.iter().map(|_| Sent::default()).collect();
    on_cores(parts, |own, (Ends { to, from }, make), start| {
        start.wait();
        Thread { own, to, from, work: work(), run, sent }.drive(make)
    })
}

struct Thread<'t, M, W> {
    own: usize,
    to: Vec<Producer<M>>,
    from: Vec<Consumer<M>>,
    work: W,
    run: &'t Run,
    sent: &'t [Sent],
}

impl<M, W: Work<M>> Thread<'_, M, W> {
    fn drive<F: FnMut(u64, &mut Router<'_, M, W>)>(mut self, mut make: F) -> W {
        let stride = u64::from(self.run.parallelism);
        let mut outgoing: Vec<Vec<M>> =
            self.to.iter().map(|_| Vec::with_capacity(8 * BATCH_EVENTS as usize)).collect();
        let mut number = self.own as u64;
        while number < self.run.events {
            let end = self.run.events.min(number.saturating_add(BATCH_EVENTS * stride));
            let mut router =
                Router { own: self.own as u32, work: &mut self.work, outgoing: &mut outgoing };
            while number < end {
                make(number, &mut router);
                number += stride;
            }
            self.send(&mut outgoing);
            self.take_all_before(number);
        }
        // All has been sent: what is left in the rings when every thread has said so is the rest.
        while self.take_all_before(u64::MAX) < u64::MAX {
            spin_loop();
        }
        self.work
    }

    /// Says that what is before `number` was sent here, and takes what has come. Gives how far all threads are.
    fn take_all_before(&mut self, number: u64) -> u64 {
        self.sent[self.own].0.store(number, Ordering::Release);
        // In this order: what was sent before a thread said so is in the rings.
        let passed = self.sent.iter().map(|sent| sent.0.load(Ordering::Acquire));
        let passed = passed.min().unwrap_or(number);
        self.take();
        self.work.passed(passed);
        passed
    }

    /// Sends a batch; where a ring is full, takes what has come meanwhile.
    fn send(&mut self, outgoing: &mut [Vec<M>]) {
        for (to, items) in outgoing.iter_mut().enumerate() {
            let mut items = items.drain(..);
            while items.len() > 0 {
                let ring = &mut self.to[to];
                let slots = ring.slots().min(items.len());
                match ring.write_chunk_uninit(slots) {
                    Ok(chunk) if slots > 0 => {
                        chunk.fill_from_iter(&mut items);
                    }
                    _ => {
                        self.take();
                        spin_loop();
                    }
                }
            }
        }
    }

    fn take(&mut self) {
        let Self { from, work, .. } = self;
        for ring in from.iter_mut() {
            let slots = ring.slots();
            if let Ok(chunk) = ring.read_chunk(slots) {
                chunk.into_iter().for_each(|item| work.take(item));
            }
        }
    }
}
