//! q5: the auctions with the most bids of ten seconds, every two seconds. A timestamp is the end of a slide, and a window
//! is what five of them add up to.

use std::{
    collections::{BTreeMap, HashMap},
    process::ExitCode,
};

use peer::generator::{Q5_SLIDE_MS, Q5_WINDOW_MS, mix, window_x};
use rustc_hash::FxHashMap;
use timely::{
    container::CapacityContainerBuilder,
    dataflow::{
        StreamVec,
        channels::pact::Exchange,
        operators::{Operator, vec::Map},
    },
};

/// An auction and its bids.
type Counted = (u64, u64);

/// The auctions of this worker with the most bids, at the end of their window.
fn most_of_each(bids: StreamVec<'_, u64, u64>) -> StreamVec<'_, u64, Counted> {
    let by_auction = Exchange::new(|auction: &u64| mix(*auction));
    bids.unary_notify::<CapacityContainerBuilder<Vec<Counted>>, _, _>(by_auction, "Count", None, {
        let mut panes = BTreeMap::<u64, FxHashMap<u64, u64>>::new();
        move |input, output, notificator| {
            input.for_each(|time, auctions| {
                let pane = panes.entry(*time.time()).or_insert_with(|| {
                    let time = time.retain(0);
                    for later in (0..Q5_WINDOW_MS).step_by(Q5_SLIDE_MS as usize) {
                        notificator.notify_at(time.delayed(&(time.time() + later)));
                    }
                    FxHashMap::default()
                });
                for auction in auctions.drain(..) {
                    *pane.entry(auction).or_default() += 1;
                }
            });
            notificator.for_each(|time, _, _| {
                let end = *time.time();
                let first = end + Q5_SLIDE_MS - Q5_WINDOW_MS;
                let mut of_window = panes.range(first..=end).map(|(_, pane)| pane);
                let mut total = of_window.next().cloned().unwrap_or_default();
                for (auction, count) in of_window.flatten() {
                    *total.entry(*auction).or_default() += count;
                }
                // Only this worker's best can be the best of all.
                let most = total.values().copied().max().unwrap_or(0);
                let mut session = output.session(&time);
                session.give_iterator(total.into_iter().filter(|(_, count)| *count == most));
                panes = panes.split_off(&(first + Q5_SLIDE_MS));
            });
        }
    })
}

/// The auctions of all workers with the most bids, and the end of their window.
fn most_of_all(counts: StreamVec<'_, u64, Counted>) -> StreamVec<'_, u64, (u64, u64, u64)> {
    let to_one = Exchange::new(|_: &Counted| 0);
    counts.unary_notify::<CapacityContainerBuilder<Vec<_>>, _, _>(to_one, "Most", None, {
        let mut windows = HashMap::<u64, (u64, Vec<u64>)>::new();
        move |input, output, notificator| {
            input.for_each(|time, counts| {
                let (most, auctions) = windows.entry(*time.time()).or_insert_with(|| {
                    notificator.notify_at(time.retain(0));
                    (0, Vec::new())
                });
                for (auction, count) in counts.drain(..) {
                    if count > *most {
                        *most = count;
                        auctions.clear();
                    }
                    if count == *most {
                        auctions.push(auction);
                    }
                }
            });
            notificator.for_each(|time, _, _| {
                let end = *time.time();
                let (most, auctions) = windows.remove(&end).unwrap_or_default();
                let best = auctions.into_iter().map(|auction| (auction, most, end));
                output.session(&time).give_iterator(best);
            });
        }
    })
}

fn main() -> ExitCode {
    timely_peer::run("q5", [4_096, 4_096], |input, sink| {
        let bids =
            input.timed_events(Q5_SLIDE_MS).flat_map(|event| event.bid().map(|bid| bid.auction));
        sink.end(most_of_all(most_of_each(bids)), |(auction, count, end)| {
            window_x(auction, count, end)
        });
    })
}
