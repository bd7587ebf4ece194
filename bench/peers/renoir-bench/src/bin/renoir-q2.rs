//! q2: the bids on every 123rd auction.

use std::process::ExitCode;

use peer::{
    event::{Event, q2_wants},
    generator::auction_price_x,
};

fn main() -> ExitCode {
    renoir_peer::run("q2", [4_096, 4_096], |input, sink| {
        let bids = input
            .events()
            .filter_map(Event::bid)
            .filter(|bid| q2_wants(bid.auction))
            .map(|bid| (bid.auction, bid.price));
        sink.end(bids, |(auction, price)| auction_price_x(auction, price));
    })
}
