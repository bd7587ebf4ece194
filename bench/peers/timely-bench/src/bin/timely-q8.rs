//! q8: who signs up and sells within the same ten seconds. A timestamp is the end of a window.

use std::{collections::HashMap, process::ExitCode};

use peer::{
    event::Event,
    generator::{Q8_WINDOW_MS, mix, window_x},
};
use rustc_hash::FxHashMap;
use timely::{
    container::CapacityContainerBuilder,
    dataflow::{
        StreamVec,
        channels::pact::Exchange,
        operators::{
            Operator,
            vec::{Filter, Map},
        },
    },
};

/// Number, name.
type Person = (u64, String);
/// Seller, number.
type Auction = (u64, u64);
/// Person, name, auction, end of the window.
type Sold = (u64, String, u64, u64);
/// Names and auctions by person.
type Pairs = FxHashMap<u64, (Vec<String>, Vec<u64>)>;

fn join<'s>(
    people: StreamVec<'s, u64, Person>,
    auctions: StreamVec<'s, u64, Auction>,
) -> StreamVec<'s, u64, Sold> {
    let by_number = Exchange::new(|(id, _): &Person| mix(*id));
    let by_seller = Exchange::new(|(seller, _): &Auction| mix(*seller));
    people.binary_notify::<_, CapacityContainerBuilder<Vec<Sold>>, _, _, _>(
        auctions,
        by_number,
        by_seller,
        "Join",
        None,
        {
            let mut windows = HashMap::<u64, Pairs>::new();
            move |people, auctions, output, notificator| {
                people.for_each(|time, people| {
                    let pairs = windows.entry(*time.time()).or_insert_with(|| {
                        notificator.notify_at(time.retain(0));
                        Pairs::default()
                    });
                    for (id, name) in people.drain(..) {
                        pairs.entry(id).or_default().0.push(name);
                    }
                });
                auctions.for_each(|time, auctions| {
                    let pairs = windows.entry(*time.time()).or_insert_with(|| {
                        notificator.notify_at(time.retain(0));
                        Pairs::default()
                    });
                    for (seller, id) in auctions.drain(..) {
                        pairs.entry(seller).or_default().1.push(id);
                    }
                });
                notificator.for_each(|time, _, _| {
                    let end = *time.time();
                    let mut session = output.session(&time);
                    for (person, (names, auctions)) in windows.remove(&end).unwrap_or_default() {
                        for name in &names {
                            for auction in &auctions {
                                session.give((person, name.clone(), *auction, end));
                            }
                        }
                    }
                });
            }
        },
    )
}

fn main() -> ExitCode {
    timely_peer::run("q8", [1_024, 4_096], |input, sink| {
        let events = input.timed_events(Q8_WINDOW_MS);
        let events = events.filter(|event| !matches!(event, Event::Bid(_)));
        let people = events.clone().flat_map(|event| match event {
            Event::Person(person) => Some((person.id, person.name)),
            _ => None,
        });
        let auctions = events.flat_map(|event| match event {
            Event::Auction(auction) => Some((auction.seller, auction.id)),
            _ => None,
        });
        sink.end(join(people, auctions), |(person, _, auction, end)| {
            window_x(person, auction, end)
        });
    })
}
