//! q3: auctions of a category with their sellers in some states, joined by renoir's hash join.

use std::process::ExitCode;

use peer::{
    event::{Event, Text},
    generator::keyed_x,
};

/// Number, name, city, state.
type Person = (u64, String, Text, Text);
/// Seller, number.
type Auction = (u64, u64);

/// What the query reads of an event. Routes need records that could be serialised.
fn side(event: Event) -> Option<Result<Person, Auction>> {
    match event {
        Event::Person(p) if matches!(p.state, "OR" | "ID" | "CA") => {
            Some(Ok((p.id, p.name, p.city.into(), p.state.into())))
        }
        Event::Auction(a) if a.category == 10 => Some(Err((a.seller, a.id))),
        _ => None,
    }
}

fn main() -> ExitCode {
    renoir_peer::run("q3", [1_024, 8_192], |input, sink| {
        let sides = input.events().filter_map(side).route();
        let routes = sides.add_route(Result::is_ok).add_route(Result::is_err).build();
        let Ok([people, auctions]) = <[_; 2]>::try_from(routes) else {
            unreachable!("there are as many streams as routes")
        };
        let sold = people
            .filter_map(Result::ok)
            .join(auctions.filter_map(Result::err), |(id, ..)| *id, |(seller, _)| *seller)
            .drop_key()
            .map(|((seller, name, city, state), (_, auction))| {
                (name, city, state, auction, seller)
            });
        sink.end(sold, |(.., auction, seller)| keyed_x(auction, seller));
    })
}
