//! q7: the highest price of ten seconds: first of each worker, then of all.

use std::{collections::HashMap, process::ExitCode};

use peer::generator::{Q7_WINDOW_MS, price_x};
use timely::{
    container::CapacityContainerBuilder,
    dataflow::{
        StreamVec,
        channels::pact::{Exchange, ParallelizationContract, Pipeline},
        operators::{Operator, vec::Map},
    },
};

type Prices = Vec<(u64, u64)>;

/// The highest price of each timestamp, with it.
fn highest<'s>(
    prices: StreamVec<'s, u64, (u64, u64)>,
    pact: impl ParallelizationContract<u64, Prices>,
) -> StreamVec<'s, u64, (u64, u64)> {
    prices.unary_notify::<CapacityContainerBuilder<Prices>, _, _>(pact, "Highest", None, {
        let mut windows = HashMap::<u64, u64>::new();
        move |input, output, notificator| {
            input.for_each(|time, prices| {
                let highest = windows.entry(*time.time()).or_insert_with(|| {
                    notificator.notify_at(time.retain(0));
                    0
                });
                for (price, _) in prices.drain(..) {
                    *highest = price.max(*highest);
                }
            });
            notificator.for_each(|time, _, _| {
                if let Some(price) = windows.remove(time.time()) {
                    output.session(&time).give((price, *time.time()));
                }
            });
        }
    })
}

fn main() -> ExitCode {
    timely_peer::run("q7", [4_096, 4_096], |input, sink| {
        let prices = input
            .timed_events(Q7_WINDOW_MS)
            .flat_map(|event| event.bid().map(|bid| (bid.price, 0)));
        let of_each = highest(prices, Pipeline);
        let of_all = highest(of_each, Exchange::new(|_: &(u64, u64)| 0));
        sink.end(of_all, |(price, end)| price_x(price, end));
    })
}
