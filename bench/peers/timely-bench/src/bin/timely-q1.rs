//! q1: every bid, its price converted.

use std::process::ExitCode;

use peer::event::{Event, euros, x_of};
use timely::dataflow::operators::vec::Map;

fn main() -> ExitCode {
    timely_peer::run("q1", [4_096, 4_096], |input, sink| {
        let bids = input.events().flat_map(Event::bid);
        sink.end(bids.map_in_place(|bid| bid.price = euros(bid.price)), |bid| x_of(&bid));
    })
}
