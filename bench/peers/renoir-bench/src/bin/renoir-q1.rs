//! q1: every bid, its price converted.

use std::process::ExitCode;

use peer::event::{Event, euros, x_of};

fn main() -> ExitCode {
    renoir_peer::run("q1", [4_096, 4_096], |input, sink| {
        let bids = input.events().filter_map(Event::bid).map(|mut bid| {
            bid.price = euros(bid.price);
            bid
        });
        sink.end(bids, |bid| x_of(&bid));
    })
}
