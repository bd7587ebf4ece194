//! q4, q6, q9, q10, q20, q23.

use std::collections::BTreeMap;

use super::{bids, check, each_event, run_of};
use crate::{
    generator::{Auction, Bid, Check, Event, Generator, bid_x, category_x, fields_x, fnv1a64},
    measure::Run,
    workload::Workload,
};

fn text_x(text: &str) -> u64 {
    fnv1a64(text.as_bytes())
}

fn auctions(run: &Run, generator: Generator) -> Vec<Auction> {
    let mut auctions = Vec::new();
    each_event(run, generator, |event| {
        if let Event::Auction(auction) = event {
            auctions.push(auction);
        }
    });
    auctions
}

/// The winning bid of each auction that has one, in the order of the auctions.
fn winners(run: &Run, generator: Generator) -> Vec<(Auction, Bid)> {
    let mut by_auction = BTreeMap::<u64, Vec<Bid>>::new();
    bids(run, generator).into_iter().for_each(|b| by_auction.entry(b.auction).or_default().push(b));
    let mut winners = Vec::new();
    for auction in auctions(run, generator) {
        let mut offers = by_auction.remove(&auction.id).unwrap_or_default();
        offers.retain(|b| (auction.date_time..=auction.expires).contains(&b.date_time));
        offers.sort_by(|a, b| {
            let prices = b.price.cmp(&a.price).then(a.date_time.cmp(&b.date_time));
            prices.then(a.bidder.cmp(&b.bidder)).then(a.extra.cmp(b.extra))
        });
        winners.extend(offers.first().map(|offer| (auction, *offer)));
    }
    assert!(winners.len() > 100, "{} winners", winners.len());
    winners
}

#[test]
fn q4_comes_from_each_winning_bid() {
    check(&run_of(Workload::Q4, 20_000, 1_000), |run, generator| {
        let mut check = Check::default();
        for (auction, bid) in winners(run, generator) {
            check.add(category_x(auction.id, bid.price, auction.category));
        }
        check
    });
}

#[test]
fn q6_is_the_last_ten_auctions_of_each_seller() {
    check(&run_of(Workload::Q6, 20_000, 1_000), |run, generator| {
        let mut by_seller = BTreeMap::<u64, Vec<(u64, u64, u64)>>::new();
        for (auction, bid) in winners(run, generator) {
            let sold = (auction.expires, auction.id, bid.price);
            by_seller.entry(auction.seller).or_default().push(sold);
        }
        assert!(by_seller.values().any(|sold| sold.len() > 10));
        let mut check = Check::default();
        for (seller, mut sold) in by_seller {
            sold.sort_unstable();
            let last = &sold[sold.len().saturating_sub(10)..];
            let sum: u64 = last.iter().map(|(.., price)| price).sum();
            check.add(fields_x([seller, sum / last.len() as u64]));
        }
        check
    });
}

#[test]
fn q9_is_the_winning_bid_of_each_auction() {
    // With a few events of a millisecond, so that bids are of equal times.
    for event_rate in [1_000, 20_000] {
        check(&run_of(Workload::Q9, 20_000, event_rate), |run, generator| {
            let mut check = Check::default();
            for (a, b) in winners(run, generator) {
                check.add(fields_x([
                    a.id,
                    a.date_time,
                    a.expires,
                    a.seller,
                    a.category,
                    text_x(a.description),
                    b.bidder,
                    b.price,
                    b.date_time,
                    text_x(b.extra),
                ]));
            }
            check
        });
    }
}

#[test]
fn q10_logs_every_bid() {
    check(&run_of(Workload::Q10, 10_000, 100), |run, generator| {
        let mut check = Check::default();
        for b in bids(run, generator) {
            check.add(bid_x(b.auction, b.bidder, b.price, b.date_time));
        }
        check
    });
}

#[test]
fn q20_is_bids_with_auctions_of_a_category() {
    check(&run_of(Workload::Q20, 20_000, 1_000), |run, generator| {
        let (mut check, bids) = (Check::default(), bids(run, generator));
        for a in auctions(run, generator).iter().filter(|auction| auction.category == 10) {
            for b in bids.iter().filter(|bid| bid.auction == a.id) {
                check.add(fields_x([
                    b.auction,
                    b.bidder,
                    b.price,
                    b.date_time,
                    text_x(b.extra),
                    text_x(a.item_name),
                    a.initial_bid,
                    a.reserve,
                    a.date_time,
                    a.expires,
                    a.seller,
                    a.category,
                ]));
            }
        }
        check
    });
}

#[test]
fn q23_is_bids_with_bidders_and_what_they_sell() {
    check(&run_of(Workload::Q23, 10_000, 1_000), |run, generator| {
        let (bids, auctions) = (bids(run, generator), auctions(run, generator));
        let mut check = Check::default();
        each_event(run, generator, |event| {
            let Event::Person(p) = event else { return };
            for a in auctions.iter().filter(|auction| auction.seller == p.id) {
                for b in bids.iter().filter(|bid| bid.bidder == p.id) {
                    check.add(fields_x([
                        b.bidder,
                        b.price,
                        text_x(b.channel),
                        text_x(b.extra),
                        p.id,
                        text_x(p.name),
                        text_x(p.email),
                        text_x(p.state),
                        text_x(a.item_name),
                        a.initial_bid,
                        a.reserve,
                        a.date_time,
                        a.expires,
                        a.category,
                    ]));
                }
            }
        });
        check
    });
}
