//! Bids, by hand.

use std::{collections::BTreeMap, hint::black_box};

use super::{
    threads::{self, Router, Work},
    windows::Windows,
};
use crate::{
    generator::{
        Bid, Check, Event, Generator, PersonText, Q5_SLIDE_MS, Q5_WINDOW_MS, Q7_WINDOW_MS,
        auction_price_x, bid_x, mix, price_x, window_end_ms, window_x,
    },
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
fn bids<W: Work<M> + Default + Send, M: Send>(
    run: &Run,
    generator: Generator,
    with: impl Fn(u32, &Bid, &mut Router<'_, M, W>) + Clone + Send,
) -> Check {
    let mut total = Check::default();
    let works = bids_to(run, generator, W::default, with);
    works.into_iter().for_each(|work| total.merge(work.check()));
    total
}

/// As [`bids`], with the work of each thread made by `work`; gives what they have become.
fn bids_to<W: Work<M> + Send, M: Send>(
    run: &Run,
    generator: Generator,
    work: impl Fn() -> W + Sync,
    with: impl Fn(u32, &Bid, &mut Router<'_, M, W>) + Clone + Send,
) -> Vec<W> {
    let threads = run.parallelism;
    let mut text = PersonText::default();
    threads::run_works(run, work, move |number, router| {
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

/// q5 on a thread: counts of its auctions, and the best of each window.
struct Hottest {
    windows: Windows<u64>,
    generator: Generator,
    /// Of each window: its end, the most bids, the auctions that have them.
    best: Vec<(u64, u64, Vec<u64>)>,
}

impl Work<(u64, u64)> for Hottest {
    #[inline(always)]
    fn take(&mut self, (auction, time_ms): (u64, u64)) {
        self.windows.add(auction, time_ms);
    }

    fn passed(&mut self, number: u64) {
        self.windows.close(self.generator.time_before(number), |end_ms, counts| {
            let most = counts.values().copied().max().unwrap_or(0);
            let have_most = counts.iter().filter(|(_, count)| **count == most);
            self.best.push((end_ms, most, have_most.map(|(auction, _)| *auction).collect()));
        });
    }

    fn check(self) -> Check {
        Check::default() // Only all threads together know which are the best.
    }
}

/// The auctions with the most bids of each window.
pub fn q5(run: &Run, generator: Generator) -> Check {
    let threads = u64::from(run.parallelism);
    let windows = || Windows::new(Q5_WINDOW_MS, Q5_SLIDE_MS);
    let work = || Hottest { windows: windows(), generator, best: Vec::new() };
    let works = bids_to(run, generator, work, move |_, bid, to| {
        let thread = ((mix(bid.auction) >> 32) % threads) as u32;
        to.send(thread, (bid.auction, bid.date_time));
    });
    let mut windows = BTreeMap::<u64, (u64, Vec<u64>)>::new();
    for (end_ms, most, auctions) in works.into_iter().flat_map(|work| work.best) {
        let best = windows.entry(end_ms).or_default();
        if most > best.0 {
            *best = (most, auctions);
        } else if most == best.0 {
            best.1.extend(auctions);
        }
    }
    let mut check = Check::default();
    for (end_ms, (most, auctions)) in windows {
        auctions.iter().for_each(|auction| check.add(window_x(*auction, most, end_ms)));
    }
    check
}

/// q7 on a thread: its highest price of each window. Nothing is sent.
#[derive(Default)]
struct Highest {
    /// Of the window of the last bid: its end and its highest price.
    current: (u64, u64),
    /// Of those before.
    past: Vec<(u64, u64)>,
}

impl Work<(u64, u64)> for Highest {
    #[inline(always)]
    fn take(&mut self, (price, time_ms): (u64, u64)) {
        if self.current.0.wrapping_sub(time_ms + 1) >= Q7_WINDOW_MS {
            self.past.push(self.current);
            self.current = (window_end_ms(time_ms, Q7_WINDOW_MS), 0);
        }
        self.current.1 = self.current.1.max(price);
    }

    fn check(self) -> Check {
        Check::default() // Only all threads together know which is the highest.
    }
}

/// The highest price of each window.
pub fn q7(run: &Run, generator: Generator) -> Check {
    let works = bids_to(run, generator, Highest::default, |own, bid, to| {
        to.send(own, (bid.price, bid.date_time));
    });
    let mut windows = BTreeMap::<u64, u64>::new();
    for Highest { current, past } in works {
        for (end_ms, price) in past.into_iter().chain([current]).filter(|window| window.0 > 0) {
            let highest = windows.entry(end_ms).or_default();
            *highest = price.max(*highest);
        }
    }
    let mut check = Check::default();
    windows.into_iter().for_each(|(end_ms, price)| check.add(price_x(price, end_ms)));
    check
}
