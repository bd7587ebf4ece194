//! Somebody else who is asked about the records of a job that crashes: what was asked and not answered is asked again.

use std::{future::poll_fn, task::Poll};

use wiesel_core::{hours, millis};
use wiesel_datastream::DataStream;
use wiesel_operators::{
    AsyncAnswer, AsyncFunction, AsyncOptions, AsyncRetry, AsyncWaitTo, Chain, Start,
};

use crate::{case::Draw, crash::DRAW};

/// How somebody else is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asks {
    /// At a time.
    capacity: usize,
    is_ordered: bool,
    /// In the task behind the source, not in the source's.
    pub(crate) is_behind: bool,
}

impl Asks {
    pub(crate) fn of(draw: &mut Draw) -> Self {
        Self {
            capacity: draw.within(1, 20) as usize,
            is_ordered: draw.one_in(2),
            is_behind: draw.one_in(2),
        }
    }

    pub(crate) fn ask<S: Start, C: Chain<S::Out, Out = (u64, i64)>>(
        self,
        records: DataStream<(u64, i64), S, C>,
    ) -> DataStream<(u64, i64), S, AsyncWaitTo<C, Ask>> {
        // A pause is longer than most intervals: barriers go by what is asked about again.
        let retry = AsyncRetry::fixed_delay(50, millis(1));
        let options = AsyncOptions::within(hours(2)).capacity(self.capacity).retry(retry);
        match self.is_ordered {
            true => records.ordered_wait_with(options, Ask),
            false => records.unordered_wait_with(options, Ask),
        }
    }
}

/// Gives the record back after a while; often at a second try.
#[derive(Clone)]
pub(crate) struct Ask;

impl AsyncFunction<(u64, i64)> for Ask {
    type Out = (u64, i64);
    type Results = [(u64, i64); 1];

    fn invoke(&self, record: (u64, i64)) -> AsyncAnswer<Self::Results> {
        let (mut polls, fails) = DRAW.with_borrow_mut(|draw| (draw.within(0, 5), draw.one_in(5)));
        Box::pin(async move {
            poll_fn(|context| {
                context.waker().wake_by_ref();
                let is_ready = polls == 0;
                polls = polls.saturating_sub(1);
                if is_ready { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            if fails { Err("not yet".into()) } else { Ok([record]) }
        })
    }
}
