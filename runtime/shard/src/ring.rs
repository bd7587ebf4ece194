//! A bounded ring between one producer and one consumer, each on a shard of its own.
//!
//! ```text
//!   head: next to pop (consumer's)        tail: next to push (producer's, told to nobody)
//!          ▼                                  ▼
//!   ┌────┬────┬────┬────┬────┬────┬────┬────┐
//!   │    │ h  │ .. │ .. │ .. │ .. │ t  │    │   slot of index i: i & mask; a cache line of its own
//!   └────┴────┴────┴────┴────┴────┴────┴────┘
//!     slot: the value, and which index it was pushed as, plus one
//! ```
//!
//! # What is always true
//!
//! 1. `head <= tail <= head + slots`, as wrapping counters. Slots `head..tail` are initialised and say so, all others
//!    are not.
//! 2. Only the producer writes slots, outside `head..tail`; only the consumer writes `head` and reads slots inside. Each
//!    publishes with a release store what the other sees with an acquire load.
//! 3. A value and the word that publishes it travel in one cache line: with an index beside the slots a hand-over takes
//!    two, one after the other. The producer keeps the last `head` that it saw and looks again only when that is full.
//! 4. A side that is dropped is seen by the other ([`Consumer::is_closed`], [`Producer::is_closed`]). Nothing that was
//!    pushed before is lost. A ring wakes nobody: knock on the peer's [`crate::Door`] after a push.
//!
//! This is the only module of the ring that uses `unsafe`; loom checks it (`RUSTFLAGS="--cfg loom"`).

use std::{cell::Cell, fmt, marker::PhantomData, mem::MaybeUninit};

use crossbeam_utils::CachePadded;

use crate::sync::{Arc, AtomicBool, AtomicUsize, Ordering, UnsafeCell};

#[repr(align(64))]
struct Slot<T> {
    /// One more than the index of what was pushed here last.
    pushed: AtomicUsize,
    value: UnsafeCell<MaybeUninit<T>>,
}

struct Shared<T> {
    /// Next index to pop. Written by the consumer.
    head: CachePadded<AtomicUsize>,
    producer_gone: AtomicBool,
    consumer_gone: AtomicBool,
    slots: Box<[Slot<T>]>,
    mask: usize,
    capacity: usize,
}

// SAFETY: values of `T` are moved from one thread to the other, never shared (invariant 2).
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above; the indices are atomics, and a slot is touched by the one side that owns it.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let mut head = self.head.load(Ordering::Relaxed);
        while self.is_pushed(head) {
            // SAFETY: both sides are gone, and slots `head..tail` are initialised (invariant 1).
            self.slot(head).value.with_mut(|value| unsafe { (*value).assume_init_drop() });
            head = head.wrapping_add(1);
        }
    }
}

impl<T> Shared<T> {
    #[inline]
    fn slot(&self, index: usize) -> &Slot<T> {
        &self.slots[index & self.mask]
    }

    /// Whether the slot of `index`, which is not below `head`, is initialised.
    #[inline]
    fn is_pushed(&self, index: usize) -> bool {
        self.slot(index).pushed.load(Ordering::Acquire) == index.wrapping_add(1)
    }
}

/// Makes a ring that holds at most `slots` values.
///
/// ```
/// let (mut to, mut from) = wiesel_shard::ring::ring(2);
/// assert_eq!((to.push('a'), to.push('b'), to.push('c')), (Ok(()), Ok(()), Err('c')));
/// assert_eq!((from.pop(), from.pop(), from.pop()), (Some('a'), Some('b'), None));
/// drop(to);
/// assert!(from.is_closed());
/// ```
///
/// # Panics
///
/// If `slots` is zero.
pub fn ring<T>(slots: usize) -> (Producer<T>, Consumer<T>) {
    assert!(slots > 0, "a ring needs at least one slot");
    let length = slots.next_power_of_two();
    let shared = Arc::new(Shared {
        head: CachePadded::new(AtomicUsize::new(0)),
        producer_gone: AtomicBool::new(false),
        consumer_gone: AtomicBool::new(false),
        slots: (0..length)
            .map(|_| Slot {
                pushed: AtomicUsize::new(0),
                value: UnsafeCell::new(MaybeUninit::uninit()),
            })
            .collect(),
        mask: length - 1,
        capacity: slots,
    });
    let producer = Producer { shared: Arc::clone(&shared), tail: 0, head_seen: Cell::new(0) };
    let consumer = Consumer { shared, head: 0, not_sync: PhantomData };
    (producer, consumer)
}

/// The pushing end of a ring.
pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    tail: usize,
    /// The last `shared.head` that was seen (invariant 3).
    head_seen: Cell<usize>,
}

impl<T> Producer<T> {
    /// Puts `value` in, or gives it back when the ring is full. It is visible to the consumer at once.
    #[inline]
    pub fn push(&mut self, value: T) -> Result<(), T> {
        let full = |head: usize| self.tail.wrapping_sub(head) == self.shared.capacity;
        if full(self.head_seen.get()) {
            self.head_seen.set(self.shared.head.load(Ordering::Acquire));
            if full(self.head_seen.get()) {
                return Err(value);
            }
        }
        let slot = self.shared.slot(self.tail);
        slot.value.with_mut(|place| {
            // SAFETY: the slot is outside `head..tail`, so it is this side's and holds nothing (invariants 1, 2).
            unsafe { (*place).write(value) };
        });
        self.tail = self.tail.wrapping_add(1);
        slot.pushed.store(self.tail, Ordering::Release);
        Ok(())
    }

    /// How many values can be pushed now. The consumer may make more room at any time.
    #[inline]
    pub fn free_slots(&self) -> usize {
        self.slots() - self.len()
    }

    /// How many values wait in the ring.
    #[inline]
    pub fn len(&self) -> usize {
        self.head_seen.set(self.shared.head.load(Ordering::Acquire));
        self.tail.wrapping_sub(self.head_seen.get())
    }

    /// Whether nothing waits in the ring.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values the ring holds at most.
    #[inline]
    pub fn slots(&self) -> usize {
        self.shared.capacity
    }

    /// Whether the consumer is gone: nothing that is pushed will ever be taken.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.shared.consumer_gone.load(Ordering::Acquire)
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.shared.producer_gone.store(true, Ordering::Release);
    }
}

/// The popping end of a ring. It may be sent to another thread, but not shared with one, since it lends its values:
///
/// ```compile_fail,E0277
/// fn is_sync<T: Sync>(_: T) {}
/// let (_, consumer) = wiesel_shard::ring::ring::<std::cell::Cell<u32>>(1);
/// is_sync(consumer);
/// ```
pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    /// The value of `shared.head`, which only this side changes.
    head: usize,
    not_sync: PhantomData<Cell<()>>,
}

impl<T> Consumer<T> {
    /// Takes the oldest value, if there is one.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if !self.has_next() {
            return None;
        }
        let value = self.shared.slot(self.head).value.with_mut(|value| {
            // SAFETY: the slot is inside `head..tail`: initialised, and this side's (invariants 1, 2). Moving `head`
            // below gives it back, so it is read once.
            unsafe { (*value).assume_init_read() }
        });
        self.head = self.head.wrapping_add(1);
        self.shared.head.store(self.head, Ordering::Release);
        Some(value)
    }

    /// Looks at the oldest value without taking it.
    #[inline]
    #[cfg(not(loom))]
    pub fn peek(&self) -> Option<&T> {
        self.has_next().then(|| {
            let value = self.shared.slot(self.head).value.get();
            // SAFETY: the slot is inside `head..tail`, and it stays there while `self` is borrowed.
            unsafe { (*value).assume_init_ref() }
        })
    }

    #[inline]
    fn has_next(&self) -> bool {
        self.shared.is_pushed(self.head)
    }

    /// How many values wait in the ring.
    #[inline]
    pub fn len(&self) -> usize {
        let waiting = |ahead: &usize| self.shared.is_pushed(self.head.wrapping_add(*ahead));
        (0..self.slots()).take_while(waiting).count()
    }

    /// Whether nothing waits in the ring.
    #[inline]
    pub fn is_empty(&self) -> bool {
        !self.has_next()
    }

    /// How many values the ring holds at most.
    #[inline]
    pub fn slots(&self) -> usize {
        self.shared.capacity
    }

    /// Whether nothing waits and nothing will ever come: the producer is gone and the ring is empty.
    #[inline]
    pub fn is_closed(&self) -> bool {
        // In this order: what was pushed before the producer went is visible after this load.
        self.shared.producer_gone.load(Ordering::Acquire) && self.is_empty()
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        self.shared.consumer_gone.store(true, Ordering::Release);
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Producer({}/{})", self.len(), self.slots())
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Consumer({}/{})", self.len(), self.slots())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::rc::Rc;

    use super::*;

    /// `script`: `+` pushes the next number, `-` pops; `expected`: what each step gave (`f`ull, `e`mpty, or a number).
    fn check(slots: usize, script: &str, expected: &str) {
        let (mut to, mut from) = ring(slots);
        let (mut next, mut seen) = (0, String::new());
        for step in script.chars() {
            match step {
                '+' => match to.push(next) {
                    Ok(()) => {
                        next += 1;
                        seen.push('.');
                    }
                    Err(back) => {
                        assert_eq!(back, next);
                        seen.push('f');
                    }
                },
                '-' => {
                    let peeked = from.peek().copied();
                    let popped = from.pop();
                    assert_eq!(peeked, popped);
                    seen.push_str(&popped.map_or("e".into(), |value: u32| value.to_string()));
                }
                _ => unreachable!("a script is made of + and -"),
            }
            assert_eq!(to.len(), from.len());
            assert_eq!(to.free_slots(), slots - to.len());
            assert_eq!(to.is_empty(), from.is_empty());
        }
        assert_eq!(seen, expected, "{slots} slots, {script}");
    }

    #[test]
    fn a_ring_is_a_bounded_queue() {
        check(1, "-++-+-", "e.f0.1");
        check(2, "+++--+-", "..f01.2");
        check(3, "++++----", "...f012e");
        check(3, "+-+-+-+-+-", ".0.1.2.3.4");
        check(8, "+++++++++-", "........f0");
    }

    #[test]
    fn what_is_left_is_dropped_once() {
        let value = Rc::new(());
        let (mut to, mut from) = ring(4);
        for _ in 0..3 {
            assert!(to.push(Rc::clone(&value)).is_ok());
        }
        drop(from.pop());
        assert_eq!(Rc::strong_count(&value), 3);
        drop(to);
        assert!(!from.is_closed(), "two values still wait");
        drop(from);
        assert_eq!(Rc::strong_count(&value), 1);
    }

    #[test]
    fn a_side_that_goes_is_seen() {
        let (mut to, from) = ring(2);
        assert!(to.push(1).is_ok() && !to.is_closed());
        drop(from);
        assert!(to.is_closed());
        let (mut to, mut from) = ring(2);
        assert!(to.push(1).is_ok() && !from.is_closed());
        drop(to);
        assert!(!from.is_closed());
        assert_eq!(from.pop(), Some(1));
        assert!(from.is_closed());
    }

    #[cfg(not(sim))]
    #[test]
    fn two_threads_see_every_value_in_order() {
        for slots in [1, 2, 3, 64] {
            let (mut to, mut from) = ring(slots);
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    for value in 0..20_000_u64 {
                        while to.push(value).is_err() {
                            std::thread::yield_now();
                        }
                    }
                });
                let mut expected = 0;
                while !from.is_closed() {
                    match from.pop() {
                        Some(value) => {
                            assert_eq!(value, expected);
                            expected += 1;
                        }
                        None => std::thread::yield_now(),
                    }
                }
                assert_eq!(expected, 20_000);
            });
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;

    fn check(slots: usize, count: usize) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(4);
        model.check(move || {
            let (mut to, mut from) = ring(slots);
            let pusher = loom::thread::spawn(move || {
                for value in 0..count {
                    while to.push(Box::new(value)).is_err() {
                        loom::thread::yield_now();
                    }
                }
            });
            let mut expected = 0;
            while !from.is_closed() {
                match from.pop() {
                    Some(value) => {
                        assert_eq!(*value, expected);
                        expected += 1;
                    }
                    None => loom::thread::yield_now(),
                }
            }
            assert_eq!(expected, count);
            pusher.join().unwrap();
        });
    }

    #[test]
    fn every_value_arrives_once_and_in_order() {
        check(1, 2);
        check(2, 3);
    }

    #[test]
    fn a_consumer_may_go_while_values_wait() {
        loom::model(|| {
            let (mut to, mut from) = ring(2);
            let value = std::sync::Arc::new(());
            let pushed = std::sync::Arc::clone(&value);
            let pusher = loom::thread::spawn(move || {
                for _ in 0..3 {
                    let _ = to.push(std::sync::Arc::clone(&pushed));
                }
            });
            drop(from.pop());
            drop(from);
            pusher.join().unwrap();
            assert_eq!(std::sync::Arc::strong_count(&value), 1);
        });
    }
}
