//! q3 and q8 by hand: people and their auctions in hash maps, each side sent to the thread of the person.

use std::{collections::BTreeMap, hint::black_box};

use rustc_hash::FxHashMap;

use super::threads::{self, Router, Work};
use crate::{
    generator::{
        Check, Event, Generator, PersonText, Q8_WINDOW_MS, keyed_x, mix, window_end_ms, window_x,
    },
    measure::Run,
};

/// Goes through the people and the auctions of the input on each thread.
fn sides<W: Work<M> + Send, M: Send>(
    run: &Run,
    generator: Generator,
    work: impl Fn() -> W + Sync,
    with: impl Fn(&Event<'_>, &mut Router<'_, M, W>) + Clone + Send,
) -> Check {
    let mut text = PersonText::default();
    let works = threads::run_works(run, work, move |number, router| {
        let event = generator.event(number, &mut text);
        let event = black_box(&event);
        if !matches!(event, Event::Bid(_)) {
            with(event, router);
        }
    });
    let mut total = Check::default();
    works.into_iter().for_each(|work| total.merge(work.check()));
    total
}

fn thread_of(person: u64, threads: u64) -> u32 {
    ((mix(person) >> 32) % threads) as u32
}

/// What q3 sends of a person or an auction.
enum Side {
    Person { id: u64, name: String, city: &'static str, state: &'static str },
    Auction { seller: u64, id: u64 },
}

/// q3 on a thread.
#[derive(Default)]
struct Sellers {
    people: FxHashMap<u64, (String, &'static str, &'static str)>,
    auctions: FxHashMap<u64, Vec<u64>>,
    check: Check,
}

impl Work<Side> for Sellers {
    #[inline(always)]
    fn take(&mut self, side: Side) {
        match side {
            Side::Person { id, name, city, state } => {
                let person = self.people.entry(id).insert_entry((name, city, state));
                for auction in self.auctions.get(&id).into_iter().flatten() {
                    black_box(person.get());
                    self.check.add(keyed_x(*auction, id));
                }
            }
            Side::Auction { seller, id } => {
                if let Some(person) = self.people.get(&seller) {
                    black_box(person);
                    self.check.add(keyed_x(id, seller));
                }
                self.auctions.entry(seller).or_default().push(id);
            }
        }
    }

    fn check(self) -> Check {
        self.check
    }
}

/// Auctions of a category with their sellers in some states. Both sides are kept.
pub fn q3(run: &Run, generator: Generator) -> Check {
    let threads = u64::from(run.parallelism);
    sides(run, generator, Sellers::default, move |event, to| match event {
        Event::Person(person) if matches!(person.state, "OR" | "ID" | "CA") => {
            let (id, name) = (person.id, person.name.to_owned());
            let (city, state) = (person.city, person.state);
            to.send(thread_of(id, threads), Side::Person { id, name, city, state });
        }
        Event::Auction(auction) if auction.category == 10 => {
            let (seller, id) = (auction.seller, auction.id);
            to.send(thread_of(seller, threads), Side::Auction { seller, id });
        }
        _ => {}
    })
}

/// What q8 sends of a person or an auction, and the end of its window.
enum TimedSide {
    Person { end_ms: u64, id: u64, name: String },
    Auction { end_ms: u64, seller: u64, id: u64 },
}

/// The person and the auctions of a key.
type Pairs = (Option<String>, Vec<u64>);

/// q8 on a thread.
struct NewSellers {
    generator: Generator,
    windows: BTreeMap<u64, FxHashMap<u64, Pairs>>,
    check: Check,
}

impl NewSellers {
    #[inline(always)]
    fn pairs(&mut self, end_ms: u64, person: u64) -> &mut Pairs {
        self.windows.entry(end_ms).or_default().entry(person).or_default()
    }
}

impl Work<TimedSide> for NewSellers {
    #[inline(always)]
    fn take(&mut self, side: TimedSide) {
        match side {
            TimedSide::Person { end_ms, id, name } => self.pairs(end_ms, id).0 = Some(name),
            TimedSide::Auction { end_ms, seller, id } => self.pairs(end_ms, seller).1.push(id),
        }
    }

    fn passed(&mut self, number: u64) {
        let time_ms = self.generator.time_before(number);
        while let Some(first) = self.windows.first_entry()
            && *first.key() <= time_ms
        {
            let (end_ms, pairs) = first.remove_entry();
            for (person, (name, auctions)) in pairs {
                let Some(name) = name else { continue };
                for auction in auctions {
                    black_box(name.as_str());
                    self.check.add(window_x(person, auction, end_ms));
                }
            }
        }
    }

    fn check(self) -> Check {
        self.check
    }
}

/// Who signs up and sells within the same ten seconds.
pub fn q8(run: &Run, generator: Generator) -> Check {
    let threads = u64::from(run.parallelism);
    let work = || NewSellers { generator, windows: BTreeMap::new(), check: Check::default() };
    sides(run, generator, work, move |event, to| match event {
        Event::Person(person) => {
            let end_ms = window_end_ms(person.date_time, Q8_WINDOW_MS);
            let (id, name) = (person.id, person.name.to_owned());
            to.send(thread_of(id, threads), TimedSide::Person { end_ms, id, name });
        }
        Event::Auction(auction) => {
            let end_ms = window_end_ms(auction.date_time, Q8_WINDOW_MS);
            let (seller, id) = (auction.seller, auction.id);
            to.send(thread_of(seller, threads), TimedSide::Auction { end_ms, seller, id });
        }
        Event::Bid(_) => {}
    })
}
