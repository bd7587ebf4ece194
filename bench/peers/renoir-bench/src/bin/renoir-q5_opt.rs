//! q5 with an operator of our own: a map per slide, and a window is what five of them add up to, as by hand.

use std::{
    collections::{BTreeMap, VecDeque},
    process::ExitCode,
};

use peer::generator::{Q5_SLIDE_MS, Q5_WINDOW_MS, window_x};
use renoir::{Replication, operator::StreamElement};
use renoir_peer::{best_of_each_window, keep_most, timed_bids};
use rustc_hash::FxHashMap;

const SIZE: i64 = Q5_WINDOW_MS as i64;
const SLIDE: i64 = Q5_SLIDE_MS as i64;

/// Counts per pane, by its end.
#[derive(Clone, Default)]
struct Panes {
    open: BTreeMap<i64, FxHashMap<u64, usize>>,
    /// The pane of the last bid.
    recent: (i64, FxHashMap<u64, usize>),
    /// The end of the next window.
    next: i64,
}

impl Panes {
    #[inline(always)]
    fn add(&mut self, auction: u64, time: i64) {
        let end = time - time.rem_euclid(SLIDE) + SLIDE;
        if end != self.recent.0 {
            self.keep_recent();
            self.recent = (end, self.open.remove(&end).unwrap_or_default());
            self.next = if self.next == 0 { end } else { self.next.min(end) };
        }
        *self.recent.1.entry(auction).or_default() += 1;
    }

    fn keep_recent(&mut self) {
        let (end, counts) = std::mem::take(&mut self.recent);
        if end != 0 {
            self.open.insert(end, counts);
        }
    }

    /// The best of the next window, if it is over at `time`.
    fn close(&mut self, time: i64) -> Option<(i64, Vec<(u64, usize)>)> {
        if self.next == 0 || self.next - 1 > time {
            return None;
        }
        self.keep_recent();
        if self.open.is_empty() {
            self.next = 0;
            return None;
        }
        let end = self.next;
        let mut panes = self.open.range(end - SIZE + SLIDE..=end).map(|(_, pane)| pane);
        let mut total = panes.next().cloned().unwrap_or_default();
        for (auction, count) in panes.flatten() {
            *total.entry(*auction).or_default() += count;
        }
        let mut best = Vec::new();
        total.into_iter().for_each(|count| keep_most(&mut best, count));
        self.next = end + SLIDE;
        self.open = self.open.split_off(&(self.next - SIZE + SLIDE));
        Some((end, best))
    }
}

fn main() -> ExitCode {
    renoir_peer::run("q5_opt", [1_024, 4_096], |input, sink| {
        let by_auction = timed_bids(input, |bid| bid.auction)
            .repartition_by(Replication::Unlimited, |auction| peer::generator::mix(*auction));
        let counts = by_auction.rich_map_custom({
            let mut panes = Panes::default();
            let mut ready = VecDeque::<StreamElement<(u64, usize)>>::new();
            move |mut input| {
                loop {
                    if let Some(element) = ready.pop_front() {
                        return element;
                    }
                    let (until, then) = match input.next() {
                        StreamElement::Timestamped(auction, time) => {
                            panes.add(auction, time);
                            continue;
                        }
                        StreamElement::Item(_) => unreachable!("bids have a time"),
                        StreamElement::Watermark(time) => (time, StreamElement::Watermark(time)),
                        StreamElement::FlushAndRestart => {
                            (i64::MAX, StreamElement::FlushAndRestart)
                        }
                        StreamElement::FlushBatch => return StreamElement::FlushBatch,
                        StreamElement::Terminate => return StreamElement::Terminate,
                    };
                    while let Some((end, best)) = panes.close(until) {
                        let best = best.into_iter();
                        ready.extend(best.map(|count| StreamElement::Timestamped(count, end)));
                    }
                    ready.push_back(then);
                }
            }
        });
        let best = best_of_each_window(counts, keep_most, |best| best);
        sink.end(best, |((auction, count), end)| window_x(auction, count as u64, end));
    })
}
