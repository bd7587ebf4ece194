//! q0 with whole bids moved to another worker.

use peer::{event::MovedBid, generator::mix};
use timely::{
    ExchangeData,
    dataflow::operators::{Exchange, vec::Map},
};

use crate::{Input, Sink};

/// Sends every bid to the worker of its auction.
pub fn shuffle<B: MovedBid + ExchangeData>(input: &Input<'_>, sink: Sink) {
    let bids = input.events().flat_map(|event| event.bid().map(B::from));
    sink.end(bids.exchange(|bid| mix(bid.auction())), |bid| bid.x());
}
