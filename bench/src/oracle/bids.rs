//! q12 to q19, q21, q22: what is said of bids, one by one or by key.

use std::collections::{BTreeMap, BTreeSet};

use super::{bids, check, run_of};
use crate::{
    generator::{Bid, Check, bid_x, fields_x, fnv1a64, mix},
    workload::Workload,
};

/// Milliseconds of an hour.
const HOUR: u64 = 3_600_000;

fn text_x(text: &str) -> u64 {
    fnv1a64(text.as_bytes())
}

#[test]
fn q12_counts_every_bid_of_each_bidder() {
    check(&run_of(Workload::Q12, 20_000, 1_000), |run, generator| {
        let mut check = Check::default();
        bids(run, generator).iter().for_each(|bid| check.add(bid.bidder));
        check
    });
}

#[test]
fn q13_looks_auctions_up() {
    check(&run_of(Workload::Q13, 20_000, 1_000), |run, generator| {
        let mut check = Check::default();
        for b in bids(run, generator) {
            let value = mix(b.auction % 10_000);
            check.add(fields_x([b.auction, b.bidder, b.price, b.date_time, value]));
        }
        check
    });
}

#[test]
fn q14_is_bids_of_a_medium_price() {
    // An event a second, so that all times of the day come up.
    check(&run_of(Workload::Q14, 90_000, 1), |run, generator| {
        let (mut check, mut times) = (Check::default(), BTreeSet::new());
        for b in bids(run, generator) {
            let price = b.price as f64 * 0.908;
            if price <= 1_000_000.0 || price >= 50_000_000.0 {
                continue;
            }
            let hour = b.date_time % (24 * HOUR) / HOUR;
            let time = if (8..=18).contains(&hour) {
                "dayTime"
            } else if hour <= 6 || hour >= 20 {
                "nightTime"
            } else {
                "otherTime"
            };
            times.insert(time);
            check.add(fields_x([
                b.auction,
                b.bidder,
                b.price * 908 / 1_000,
                text_x(time),
                b.date_time,
                text_x(b.extra),
                b.extra.matches('c').count() as u64,
            ]));
        }
        assert_eq!(times.len(), 3, "{times:?}");
        check
    });
}

/// The counts of q15 and q16, by what `channel_of` says.
fn reports(bids: &[Bid], channel_of: impl Fn(&Bid) -> &'static str) -> Check {
    let mut groups = BTreeMap::<(&str, u64), Vec<&Bid>>::new();
    for bid in bids {
        groups.entry((channel_of(bid), bid.date_time / (24 * HOUR))).or_default().push(bid);
    }
    let mut check = Check::default();
    for ((channel, day), bids) in groups {
        let mut fields = vec![text_x(channel), day];
        let ranks = &[0..u64::MAX, 0..10_000, 10_000..1_000_000, 1_000_000..u64::MAX];
        let of_rank = |rank: usize| bids.iter().filter(move |b| ranks[rank].contains(&b.price));
        fields.extend((0..4).map(|rank| of_rank(rank).count() as u64));
        let distinct = |bids: BTreeSet<u64>| bids.len() as u64;
        fields.extend((0..4).map(|rank| distinct(of_rank(rank).map(|b| b.bidder).collect())));
        fields.extend((0..4).map(|rank| distinct(of_rank(rank).map(|b| b.auction).collect())));
        let fields: [u64; 14] = fields.try_into().expect("two, and three times four");
        check.add(fields_x(fields));
    }
    check
}

#[test]
fn q15_counts_days() {
    // An event a second: two days.
    check(&run_of(Workload::Q15, 90_000, 1), |run, generator| {
        reports(&bids(run, generator), |_| "")
    });
}

#[test]
fn q16_counts_channels_and_days() {
    check(&run_of(Workload::Q16, 20_000, 1), |run, generator| {
        reports(&bids(run, generator), |bid| bid.channel)
    });
}

#[test]
fn q17_is_statistics_of_auctions_and_days() {
    check(&run_of(Workload::Q17, 20_000, 1), |run, generator| {
        let mut groups = BTreeMap::<(u64, u64), Vec<u64>>::new();
        for bid in bids(run, generator) {
            groups.entry((bid.auction, bid.date_time / (24 * HOUR))).or_default().push(bid.price);
        }
        let mut check = Check::default();
        for ((auction, day), prices) in groups {
            let count = |is: &dyn Fn(u64) -> bool| prices.iter().filter(|p| is(**p)).count() as u64;
            let sum: u64 = prices.iter().sum();
            check.add(fields_x([
                auction,
                day,
                prices.len() as u64,
                count(&|p| p < 10_000),
                count(&|p| (10_000..1_000_000).contains(&p)),
                count(&|p| p >= 1_000_000),
                prices.iter().copied().min().unwrap_or(0),
                prices.iter().copied().max().unwrap_or(0),
                sum / prices.len() as u64,
                sum,
            ]));
        }
        check
    });
}

#[test]
fn q18_is_the_last_bid_of_each_bidder_on_each_auction() {
    // No two events of a millisecond: see the query.
    check(&run_of(Workload::Q18, 20_000, 1_000), |run, generator| {
        let mut last = BTreeMap::new();
        for bid in bids(run, generator) {
            last.insert((bid.bidder, bid.auction), bid); // In order of time.
        }
        let mut check = Check::default();
        last.values().for_each(|b| check.add(bid_x(b.auction, b.bidder, b.price, b.date_time)));
        check
    });
}

#[test]
fn q19_is_the_ten_highest_bids_of_each_auction() {
    check(&run_of(Workload::Q19, 20_000, 1_000), |run, generator| {
        let mut by_auction = BTreeMap::<u64, Vec<Bid>>::new();
        for bid in bids(run, generator) {
            by_auction.entry(bid.auction).or_default().push(bid);
        }
        let mut check = Check::default();
        for mut bids in by_auction.into_values() {
            bids.sort_by(|a, b| {
                let prices = b.price.cmp(&a.price);
                prices.then(a.date_time.cmp(&b.date_time)).then(a.bidder.cmp(&b.bidder))
            });
            for (b, place) in bids.iter().zip(1..=10) {
                check.add(fields_x([b.auction, b.bidder, b.price, b.date_time, place]));
            }
        }
        check
    });
}

#[test]
fn q21_is_the_number_of_the_channel() {
    check(&run_of(Workload::Q21, 20_000, 1_000), |run, generator| {
        let mut check = Check::default();
        for b in bids(run, generator) {
            let id = match b.channel {
                "Apple" => "0",
                "Google" => "1",
                "Facebook" => "2",
                "Baidu" => "3",
                // The generator's URLs end in it.
                _ => b.url.rsplit('=').next().expect("a split has a part"),
            };
            let fields = [b.auction, b.bidder, b.price, text_x(b.channel), text_x(id)];
            check.add(fields_x(fields));
        }
        check
    });
}

#[test]
fn q22_is_the_folders_of_the_url() {
    check(&run_of(Workload::Q22, 20_000, 1_000), |run, generator| {
        let mut check = Check::default();
        for b in bids(run, generator) {
            let parts: Vec<&str> = b.url.split('/').collect();
            check.add(fields_x([
                b.auction,
                b.bidder,
                b.price,
                text_x(b.channel),
                text_x(parts[3]),
                text_x(parts[4]),
                text_x(parts[5]),
            ]));
        }
        check
    });
}
