//! Long work of a shard, a step at a time: a future without an executor, which its owner polls between the turns of others.
//!
//! ```text
//!   async { … pause().await … io.completed(token).await … }       steps end where the work says so, however deep in it
//!   turn: go_on(quantum) ─▶ More     turn: go_on ─▶ Waiting     a completion ─▶ turn: go_on ─▶ Done(result)
//! ```
//!
//! For work whose cursors would be spread over many loops in many places: reading state in. What has one cursor is better
//! off with a call that stops and is made again.
//!
//! # What is always true
//!
//! 1. The work runs on its shard's thread, in its owner's turns, and nowhere else. Nothing wakes it but the end of a pause and
//!    the completions of its shard, after which there is a turn anyway.
//! 2. Who goes on with it is held up for a quantum and one step, from one [`pause`] to the next.
//! 3. When it is dropped what it owned is given back, and nobody waits for its operations.

use std::{
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use crate::{Completion, Io, Quantum, Token};

/// How far work is.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Stepped<T> {
    /// It is over.
    Done(T),
    /// There is more to do at once.
    More,
    /// It waits for an operation of its shard.
    Waiting,
}

/// Work that is done in steps.
///
/// ```
/// use std::time::Duration;
/// use wiesel_shard::{Shard, Stepped, Steps, pause};
///
/// let mut sum = Steps::new(async {
///     let mut sum = 0;
///     for number in 1..=1_000_u32 {
///         sum += number;
///         pause().await;
///     }
///     sum
/// });
/// let shard = Shard::detached();
/// let total = loop {
///     // … turns of others
///     if let Stepped::Done(total) = sum.go_on(&mut shard.quantum(Duration::from_micros(1))) {
///         break total;
///     }
/// };
/// assert_eq!(total, 500_500);
/// ```
pub struct Steps<T> {
    work: Pin<Box<dyn Future<Output = T>>>,
    paused: Arc<Paused>,
}

/// Whether the work has stopped for no other reason than to let others run.
#[derive(Default)]
struct Paused(AtomicBool);

impl Wake for Paused {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<T> Steps<T> {
    /// Work that has not begun.
    pub fn new(work: impl Future<Output = T> + 'static) -> Self {
        Self { work: Box::pin(work), paused: Arc::default() }
    }

    /// Goes on until the quantum is spent, and for one step at least.
    ///
    /// # Panics
    ///
    /// If it was over.
    pub fn go_on(&mut self, quantum: &mut Quantum) -> Stepped<T> {
        let waker = Waker::from(Arc::clone(&self.paused));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(result) = self.work.as_mut().poll(&mut context) {
                return Stepped::Done(result);
            }
            if !self.paused.0.swap(false, Ordering::Relaxed) {
                return Stepped::Waiting;
            }
            if quantum.spent() {
                return Stepped::More;
            }
        }
    }
}

impl<T> fmt::Debug for Steps<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Steps")
    }
}

/// The end of a step: others may run.
pub async fn pause() {
    let mut has_paused = false;
    poll_fn(|context| match std::mem::replace(&mut has_paused, true) {
        true => Poll::Ready(()),
        false => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

/// All steps at once, for who has nothing else to run.
///
/// # Panics
///
/// If the work waits for an operation: nobody looks for completions.
pub fn at_once<T>(work: impl Future<Output = T>) -> T {
    let (mut work, paused) = (pin!(work), Arc::<Paused>::default());
    let waker = Waker::from(Arc::clone(&paused));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(result) = work.as_mut().poll(&mut context) {
            return result;
        }
        assert!(paused.0.swap(false, Ordering::Relaxed), "work without operations");
    }
}

impl Io {
    /// The completion of an operation, for work in [`Steps`].
    pub async fn completed(&self, token: Token) -> Completion {
        let waited_for = WaitedFor { io: self, token };
        let completion = poll_fn(|_| match self.take(token) {
            Some(completion) => Poll::Ready(completion),
            None => Poll::Pending,
        })
        .await;
        std::mem::forget(waited_for);
        completion
    }
}

/// An operation that is forgotten with the work that waits for it.
struct WaitedFor<'i> {
    io: &'i Io,
    token: Token,
}

impl Drop for WaitedFor<'_> {
    fn drop(&mut self) {
        self.io.forget(self.token);
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc, time::Duration};

    use super::*;
    use crate::Shard;

    fn counted(to: u32, count: &Rc<Cell<u32>>) -> impl Future<Output = u32> + 'static {
        let count = Rc::clone(count);
        async move {
            while count.get() < to {
                count.set(count.get() + 1);
                pause().await;
            }
            to
        }
    }

    #[test]
    fn others_run_between_two_steps() {
        let (count, shard) = (Rc::new(Cell::new(0)), Shard::detached());
        let mut work = Steps::new(counted(100_000, &count));
        let (mut turns, mut before) = (0_u32, 0);
        let result = loop {
            let stepped = work.go_on(&mut shard.quantum(Duration::from_nanos(1)));
            assert!(count.get() > before || before == 100_000, "a turn without a step");
            (before, turns) = (count.get(), turns + 1);
            match stepped {
                Stepped::Done(result) => break result,
                Stepped::More => {}
                Stepped::Waiting => panic!("it waits for nothing"),
            }
        };
        assert_eq!((result, count.get()), (100_000, 100_000));
        assert!(turns > 100, "{turns} turns");
        assert_eq!(at_once(counted(100_000, &Rc::default())), 100_000);
    }

    #[test]
    fn work_that_is_dropped_gives_back_what_it_owns() {
        let (count, shard) = (Rc::new(Cell::new(0)), Shard::detached());
        let mut work = Steps::new(counted(u32::MAX, &count));
        let _ = work.go_on(&mut shard.quantum(Duration::from_nanos(1)));
        assert_eq!(Rc::strong_count(&count), 2);
        drop(work);
        assert_eq!(Rc::strong_count(&count), 1);
    }

    #[cfg(not(sim))]
    #[test]
    fn a_completion_goes_on_with_what_waits_for_it() {
        let file = std::env::temp_dir().join(format!("wiesel-steps-{}", std::process::id()));
        std::fs::write(&file, "text").expect("a disk");
        let (shard, path) = (Shard::detached(), file.clone());
        let io = shard.io();
        let work = async move {
            let opened = io.completed(io.open_read(&path)).await?.into_file();
            let read = io.read(&opened, 0, Vec::with_capacity(16));
            let (bytes, count) = io.completed(read).await?.into_bytes();
            std::io::Result::Ok((String::from_utf8(bytes).expect("text"), count))
        };
        let mut work = Steps::new(work);
        let read = loop {
            match work.go_on(&mut shard.quantum(Duration::from_micros(1))) {
                Stepped::Done(read) => break read,
                Stepped::More => panic!("it pauses nowhere"),
                Stepped::Waiting => shard.look(),
            };
        };
        assert_eq!(read.expect("a disk"), ("text".to_owned(), 4));
        // One that nobody waits for any more.
        let (io, path) = (shard.io(), file.clone());
        let mut work = Steps::new(async move { io.completed(io.open_read(&path)).await.is_ok() });
        assert_eq!(work.go_on(&mut shard.quantum(Duration::from_micros(1))), Stepped::Waiting);
        drop(work);
        while shard.io().outstanding() > 0 {
            shard.look();
        }
        std::fs::remove_file(&file).expect("a disk");
    }
}
