//! q0 with whole bids moved to another subtask.

use peer::event::MovedBid;
use renoir::{operator::ExchangeData, prelude::*};

use crate::{Input, Sink};

/// Sends every bid to the subtask of its auction.
pub fn shuffle<B: MovedBid + ExchangeData>(input: &Input<'_>, sink: Sink) {
    let bids = input.events().filter_map(|event| event.bid().map(B::from));
    sink.end(bids.repartition_by(Replication::Unlimited, |bid| bid.auction()), |bid| bid.x());
}
