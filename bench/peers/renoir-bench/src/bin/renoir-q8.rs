//! q8: who signs up and sells within the same ten seconds, joined by renoir's join of windows.

use std::process::ExitCode;

use peer::{
    event::Event,
    generator::{Q8_WINDOW_MS, window_end_ms, window_x},
};
use renoir_peer::{Aligned, watermarks_every};

/// Records between two watermarks: of every fifty events the four that are no bids come here.
const WATERMARK_EVERY: u64 = 1 << 14;

/// Number, name.
type Person = (u64, String);
/// Seller, number, end of the window.
type Auction = (u64, u64, u64);

/// What the query reads of an event, and its time. Routes need records that could be serialised.
fn side(event: Event) -> Option<(Result<Person, Auction>, u64)> {
    match event {
        Event::Person(p) => Some((Ok((p.id, p.name)), p.date_time)),
        Event::Auction(a) => {
            let end = window_end_ms(a.date_time, Q8_WINDOW_MS);
            Some((Err((a.seller, a.id, end)), a.date_time))
        }
        Event::Bid(_) => None,
    }
}

fn main() -> ExitCode {
    renoir_peer::run("q8", [8_192, 8_192], |input, sink| {
        let sides = input
            .events()
            .filter_map(side)
            .add_timestamps(|(_, time)| *time as i64, watermarks_every(WATERMARK_EVERY))
            .map(|(side, _)| side)
            .route();
        let routes = sides.add_route(Result::is_ok).add_route(Result::is_err).build();
        let Ok([people, auctions]) = <[_; 2]>::try_from(routes) else {
            unreachable!("there are as many streams as routes")
        };
        let people = people.filter_map(Result::ok).group_by(|(id, _)| *id);
        let auctions = auctions.filter_map(Result::err).group_by(|(seller, ..)| *seller);
        let windows = Aligned { size: Q8_WINDOW_MS as i64, slide: Q8_WINDOW_MS as i64 };
        let sold = people
            .window_join(windows, auctions)
            .drop_key()
            .map(|((person, name), (_, auction, end))| (person, name, auction, end));
        sink.end(sold, |(person, _, auction, end)| window_x(person, auction, end));
    })
}
