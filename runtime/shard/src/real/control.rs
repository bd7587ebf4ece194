//! The control thread: the same loop without an executor, asleep on its bell until the next deadline.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::turns::Rest;
use crate::Door;

/// Rests by blocking the thread, so none of its futures is ever pending.
pub(super) struct Blocking(pub(super) Door);

impl Rest for Blocking {
    async fn pass(&mut self) {}

    fn prepare(&mut self) {}

    async fn sleep(&mut self, at_most: Duration) -> bool {
        self.0.bell().wait(at_most)
    }
}

/// The result of a future whose waits block.
pub(super) fn run<R>(future: impl Future<Output = R>) -> R {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => unreachable!("it rests by blocking"),
    }
}
