//! Bids, by hand.

use std::hint::black_box;

use super::threads::{self, Router, Work};
use crate::{
    generator::{Bid, Check, Event, Generator, PersonText, auction_price_x, bid_x, mix},
    measure::Run,
};

/// Adds up outputs.
#[derive(Default)]
struct Sum(Check);

impl Work<u64> for Sum {
    #[inline(always)]
    fn take(&mut self, x: u64) {
        self.0.add(x);
    }

    fn check(self) -> Check {
        self.0
    }
}

/// Adds up whole bids.
#[derive(Default)]
struct Bids(Check);

impl Work<Bid> for Bids {
    #[inline(always)]
    fn take(&mut self, bid: Bid) {
        self.0.add(x_of(&bid));
    }

    fn check(self) -> Check {
        self.0
    }
}

fn x_of(bid: &Bid) -> u64 {
    bid_x(bid.auction, bid.bidder, bid.price, bid.date_time)
}

/// Goes through the bids of the input on each thread.
fn bids<W: Work<M>, M: Send>(
    run: &Run,
    generator: Generator,
    with: impl Fn(u32, &Bid, &mut Router<'_, M, W>) + Clone + Send,
) -> Check {
    let threads = run.parallelism;
    let mut text = PersonText::default();
    threads::run(run, move |number, router| {
        let event = generator.event(number, &mut text);
        if let Event::Bid(bid) = black_box(&event) {
            with((number % u64::from(threads)) as u32, bid, router);
        }
    })
}

/// Makes the events and drops them.
pub fn gen_only(run: &Run, generator: Generator) -> Check {
    bids(run, generator, |_, _, _: &mut Router<'_, u64, Sum>| {})
}

/// Every bid.
pub fn q0(run: &Run, generator: Generator) -> Check {
    bids(run, generator, |own, bid, to: &mut Router<'_, u64, Sum>| to.send(own, x_of(bid)))
}

/// Every bid, its price converted.
pub fn q1(run: &Run, generator: Generator) -> Check {
    bids(run, generator, |own, bid, to: &mut Router<'_, u64, Sum>| {
        let bid = Bid { price: bid.price * 908 / 1_000, ..*bid };
        to.send(own, x_of(black_box(&bid)));
    })
}

/// The bids on every 123rd auction.
pub fn q2(run: &Run, generator: Generator) -> Check {
    bids(run, generator, |own, bid, to: &mut Router<'_, u64, Sum>| {
        if bid.auction.is_multiple_of(123) {
            to.send(own, auction_price_x(bid.auction, bid.price));
        }
    })
}

/// Every bid to the thread of its auction. Its texts are pointers into tables: a loop by hand copies none.
pub fn q0_shuffle(run: &Run, generator: Generator) -> Check {
    let threads = u64::from(run.parallelism);
    bids(run, generator, move |_, bid, to: &mut Router<'_, Bid, Bids>| {
        to.send(((mix(bid.auction) >> 32) % threads) as u32, *bid);
    })
}
