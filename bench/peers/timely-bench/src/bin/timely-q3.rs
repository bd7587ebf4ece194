//! q3: auctions of a category with their sellers in some states. Both sides are kept.

use std::process::ExitCode;

use peer::{
    event::{Event, Text},
    generator::{keyed_x, mix},
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

/// Number, name, city, state.
type Person = (u64, String, Text, Text);
/// Seller, number.
type Auction = (u64, u64);
/// Name, city, state, auction, seller.
type Sold = (String, Text, Text, u64, u64);

fn join<'s>(
    people: StreamVec<'s, u64, Person>,
    auctions: StreamVec<'s, u64, Auction>,
) -> StreamVec<'s, u64, Sold> {
    let by_number = Exchange::new(|(id, ..): &Person| mix(*id));
    let by_seller = Exchange::new(|(seller, _): &Auction| mix(*seller));
    people.binary::<_, CapacityContainerBuilder<Vec<Sold>>, _, _, _, _>(
        auctions,
        by_number,
        by_seller,
        "Join",
        |_, _| {
            let mut kept_people = FxHashMap::<u64, Vec<(String, Text, Text)>>::default();
            let mut kept_auctions = FxHashMap::<u64, Vec<u64>>::default();
            move |people, auctions, output| {
                people.for_each(|time, people| {
                    let mut session = output.session(&time);
                    for (seller, name, city, state) in people.drain(..) {
                        for auction in kept_auctions.get(&seller).into_iter().flatten() {
                            session.give((name.clone(), city, state, *auction, seller));
                        }
                        kept_people.entry(seller).or_default().push((name, city, state));
                    }
                });
                auctions.for_each(|time, auctions| {
                    let mut session = output.session(&time);
                    for (seller, auction) in auctions.drain(..) {
                        for (name, city, state) in kept_people.get(&seller).into_iter().flatten() {
                            session.give((name.clone(), *city, *state, auction, seller));
                        }
                        kept_auctions.entry(seller).or_default().push(auction);
                    }
                });
            }
        },
    )
}

fn person(event: Event) -> Option<Person> {
    let Event::Person(p) = event else { return None };
    let person = (p.id, p.name, p.city.into(), p.state.into());
    matches!(p.state, "OR" | "ID" | "CA").then_some(person)
}

fn auction(event: Event) -> Option<Auction> {
    let Event::Auction(a) = event else { return None };
    (a.category == 10).then_some((a.seller, a.id))
}

fn main() -> ExitCode {
    timely_peer::run("q3", [4_096, 16_384], |input, sink| {
        let events = input.events().filter(|event| !matches!(event, Event::Bid(_)));
        let people = events.clone().flat_map(person);
        let sold = join(people, events.flat_map(auction));
        sink.end(sold, |(.., auction, seller)| keyed_x(auction, seller));
    })
}
