//! q5, q7, trending.

use std::collections::BTreeMap;

use super::{bids, check, run_of};
use crate::{
    generator::{Check, hashtags, price_x, trend_x, window_x},
    workload::Workload,
};

/// The windows of `size_ms`, one every `slide_ms`, over a time: their ends.
fn ends(at: u64, size_ms: u64, slide_ms: u64) -> impl Iterator<Item = u64> {
    let first = at / slide_ms * slide_ms + slide_ms;
    (first..first + size_ms).step_by(slide_ms as usize).filter(move |end| end - size_ms <= at)
}

#[test]
fn q5_is_the_auctions_with_the_most_bids() {
    check(&run_of(Workload::Q5, 30_000, 1_500), |run, generator| {
        let mut counts = BTreeMap::<u64, BTreeMap<u64, u64>>::new();
        for bid in bids(run, generator) {
            for end in ends(bid.date_time, 10_000, 2_000) {
                *counts.entry(end).or_default().entry(bid.auction).or_default() += 1;
            }
        }
        let mut check = Check::default();
        for (end, of_window) in counts {
            let most = of_window.values().max().copied().unwrap_or(0);
            for (auction, _) in of_window.iter().filter(|(_, count)| **count == most) {
                check.add(window_x(*auction, most, end));
            }
        }
        check
    });
}

#[test]
fn q5_has_ties() {
    // So few events a window that many auctions have as many bids.
    check(&run_of(Workload::Q5, 400, 7), |run, generator| {
        let mut counts = BTreeMap::<(u64, u64), u64>::new();
        for bid in bids(run, generator) {
            for end in ends(bid.date_time, 10_000, 2_000) {
                *counts.entry((end, bid.auction)).or_default() += 1;
            }
        }
        let mut check = Check::default();
        for ((end, auction), count) in &counts {
            let more = |((other, _), n): (&(u64, u64), &u64)| other == end && n > count;
            if !counts.iter().any(more) {
                check.add(window_x(*auction, *count, *end));
            }
        }
        check
    });
}

#[test]
fn q7_is_the_highest_price() {
    check(&run_of(Workload::Q7, 30_000, 700), |run, generator| {
        let mut highest = BTreeMap::<u64, u64>::new();
        for bid in bids(run, generator) {
            for end in ends(bid.date_time, 10_000, 10_000) {
                let price = highest.entry(end).or_default();
                *price = bid.price.max(*price);
            }
        }
        let mut check = Check::default();
        highest.into_iter().for_each(|(end, price)| check.add(price_x(price, end)));
        check
    });
}

#[test]
fn trending_is_the_ten_most_frequent_hashtags() {
    for event_rate in [4_000, 90] {
        check(&run_of(Workload::Trending, 20_000, event_rate), |run, generator| {
            let mut counts = BTreeMap::<u64, BTreeMap<String, u64>>::new();
            let mut tweet = String::new();
            for number in 0..run.events {
                generator.tweet_into(number, &mut tweet);
                for end in ends(generator.time_ms(number), 1_000, 1_000) {
                    for tag in hashtags(&tweet) {
                        *counts.entry(end).or_default().entry(tag.to_owned()).or_default() += 1;
                    }
                }
            }
            let mut check = Check::default();
            for (end, of_window) in counts {
                let mut of_window: Vec<_> = of_window.into_iter().collect();
                of_window.sort_by(|(a, m), (b, n)| n.cmp(m).then(a.cmp(b)));
                for (tag, count) in of_window.iter().take(10) {
                    check.add(trend_x(tag.as_bytes(), *count, end));
                }
            }
            check
        });
    }
}
