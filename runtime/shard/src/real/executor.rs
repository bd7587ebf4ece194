//! One shard on glommio 0.9, without its hang.
//!
//! # What is always true
//!
//! 1. Glommio's preemption timer never fires (an hour). When it fires before the first queue runs, `run_task_queues`
//!    reports that nothing is runnable and the executor parks for ever (fixed upstream after 0.9.0). So nothing but the
//!    loop may be runnable for long, and the loop itself lets the reactor look (`sleep`, which really empties the queue;
//!    `yield_now` does not reach the reactor, and a sleep of zero is ready at once).
//! 2. The bell task waits for one read of the bell and never runs for long; it ends with the loop, since an executor
//!    that is dropped with a task leaks a descriptor.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    os::fd::{FromRawFd, IntoRawFd, OwnedFd},
    pin::pin,
    rc::Rc,
    task::{Poll, Waker},
    time::Duration,
};

use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, io::BufferedFile, task, timer};

use super::turns::Rest;
use crate::{Door, probe::IO_MEMORY_BYTES};

/// What `sleep` needs to be in order to reach the reactor.
const REACTOR_PASS: Duration = Duration::from_nanos(500);

/// EMFILE, as the system's errors end with.
const NO_DESCRIPTOR: &str = "os error 24";

/// Entries of each of glommio's rings: the bell, the timer and some room.
const RING_DEPTH: usize = 128;

/// Registers the process for the barriers that glommio uses. It would do so itself when it first sleeps, but in a process
/// with threads the kernel then waits until all processors have passed a quiet moment: 10 ms at the start of each job.
pub(super) fn register_barriers() {
    // SAFETY: a system call without pointers. Refused, it changes nothing, and glommio asks again.
    unsafe {
        libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
    }
}

pub(super) fn make(name: &str) -> Result<LocalExecutor, String> {
    LocalExecutorBuilder::new(Placement::Unbound) // The thread is pinned already.
        .name(name)
        .preempt_timer(Duration::from_secs(3_600)) // Invariant 1.
        .io_memory(IO_MEMORY_BYTES)
        .ring_depth(RING_DEPTH)
        .make()
        .map_err(|error| unmade(&error))
}

/// Why there is no executor and, if descriptors have run out, what to do.
pub(super) fn unmade(error: &impl std::fmt::Display) -> String {
    let said = error.to_string();
    match said.contains(NO_DESCRIPTOR) {
        true => said + ": raise the limit on open files (ulimit -n)",
        false => said,
    }
}

/// Rests inside an executor.
pub(super) struct Sleeper {
    ear: Rc<Ear>,
}

/// Between the bell task and the loop.
#[derive(Default)]
struct Ear {
    rung: Cell<bool>,
    closed: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

/// The task that reads the bell.
pub(super) struct BellTask {
    ear: Rc<Ear>,
    task: task::JoinHandle<()>,
}

impl Sleeper {
    /// Starts the task that reads `fd`, the bell of the shard. Runs inside its executor.
    pub(super) fn new(fd: OwnedFd) -> (Self, BellTask) {
        // SAFETY: a descriptor of our own, handed over.
        let bell = unsafe { BufferedFile::from_raw_fd(fd.into_raw_fd()) };
        let ear = Rc::new(Ear::default());
        let hears = Rc::clone(&ear);
        let task = glommio::spawn_local(async move {
            while bell.read_at(0, 8).await.is_ok() && !hears.closed.get() {
                hears.rung.set(true);
                if let Some(waker) = hears.waker.take() {
                    waker.wake();
                }
            }
            let _ = bell.close().await;
        })
        .detach();
        (Self { ear: Rc::clone(&ear) }, BellTask { ear, task })
    }
}

impl BellTask {
    /// Ends the task and waits for its end.
    pub(super) async fn close(self, door: &Door) {
        self.ear.closed.set(true);
        door.bell().ring();
        self.task.await;
    }
}

impl Rest for Sleeper {
    async fn pass(&mut self) {
        timer::sleep(REACTOR_PASS).await;
    }

    fn prepare(&mut self) {
        self.ear.rung.set(false);
    }

    async fn sleep(&mut self, at_most: Duration) -> bool {
        let mut timer = pin!(timer::sleep(at_most));
        poll_fn(|context| {
            if self.ear.rung.get() {
                return Poll::Ready(true);
            }
            self.ear.waker.set(Some(context.waker().clone()));
            timer.as_mut().poll(context).map(|_| self.ear.rung.get())
        })
        .await
    }
}
