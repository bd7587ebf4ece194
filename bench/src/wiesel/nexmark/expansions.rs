//! q20, q23: bids with all that is known of their auction, or of their bidder. Both sides are kept for ever.
//!
//! ```text
//!   q20   bids ══ by auction ══▶ join ◀══ by number ══ auctions of a category
//!   q23   bids ══ by bidder ══▶ join ◀══ people     ═▶ join ◀══ by seller ══ auctions
//! ```

use wiesel::{
    operators::{Chain, Start},
    prelude::*,
};

use crate::{
    generator::{fields_x, fnv1a64},
    wiesel::{
        check_sink::Total,
        events::{Auction, Bid, Event, EventView, Person},
        jobs::{bid, check},
    },
};

/// A bid and its auction.
#[derive(Record)]
pub struct BidOnAuction {
    pub bid: Bid,
    pub auction: Auction,
}

/// Bids on auctions of a category, with all that is known of the auction.
///
/// ```sql
/// SELECT auction, bidder, price, channel, url, B.dateTime, B.extra, itemName, description, initialBid, reserve,
///        A.dateTime, expires, seller, category, A.extra
/// FROM bid AS B INNER JOIN auction AS A ON B.auction = A.id WHERE A.category = 10
/// ```
pub fn q20<S, C>(events: DataStream<Event, S, C>) -> Total
where
    S: Start,
    C: Chain<S::Out, Out = Event>,
{
    let (bids, auctions) = events.split(
        |events| events.filter_map::<Bid>(bid),
        |events| {
            events.filter_map::<Auction>(|event| match event {
                EventView::Auction(auction) if auction.category == 10 => Some(auction),
                _ => None,
            })
        },
    );
    let expanded = bids
        .key_by::<u64>(|bid| bid.auction)
        .join(auctions.key_by::<u64>(|auction| auction.id))
        .unbounded()
        .apply::<BidOnAuction>(|bid, auction, out| out.emit(BidOnAuctionView { bid, auction }))
        .uid("bids with their auctions");
    check(expanded, |BidOnAuctionView { bid, auction }| {
        fields_x([
            bid.auction,
            bid.bidder,
            bid.price,
            bid.date_time,
            fnv1a64(bid.extra.as_bytes()),
            fnv1a64(auction.item_name.as_bytes()),
            auction.initial_bid,
            auction.reserve,
            auction.date_time,
            auction.expires,
            auction.seller,
            auction.category,
        ])
    })
}

/// A bid and who bids.
#[derive(Record)]
pub struct BidOfPerson {
    pub bid: Bid,
    pub person: Person,
}

/// A bid, who bids, and an auction of theirs.
#[derive(Record)]
pub struct BidOfSeller {
    pub bid: Bid,
    pub person: Person,
    pub auction: Auction,
}

/// Bids of people who sell something too, once for each of their auctions.
///
/// ```sql
/// SELECT bidder, price, channel, url, B.extra, P.id, name, emailAddress, creditCard, city, state, P.extra,
///        itemName, description, initialBid, reserve, A.dateTime, expires, seller, category, A.extra
/// FROM bid B JOIN person P ON P.id = B.bidder JOIN auction A ON A.seller = B.bidder
/// ```
///
/// Two joins, one behind the other: the second keeps what the first has made.
pub fn q23<S, C>(events: DataStream<Event, S, C>) -> Total
where
    S: Start,
    C: Chain<S::Out, Out = Event>,
{
    let events = events.share();
    let bids = events.stream().filter_map::<Bid>(bid);
    let people = events.stream().filter_map::<Person>(|event| match event {
        EventView::Person(person) => Some(person),
        _ => None,
    });
    let auctions = events.stream().filter_map::<Auction>(|event| match event {
        EventView::Auction(auction) => Some(auction),
        _ => None,
    });
    let expanded = bids
        .key_by::<u64>(|bid| bid.bidder)
        .join(people.key_by::<u64>(|person| person.id))
        .unbounded()
        .apply::<BidOfPerson>(|bid, person, out| out.emit(BidOfPersonView { bid, person }))
        .uid("bids with their bidders")
        .key_by::<u64>(|bid| bid.person.id)
        .join(auctions.key_by::<u64>(|auction| auction.seller))
        .unbounded()
        .apply::<BidOfSeller>(|BidOfPersonView { bid, person }, auction, out| {
            out.emit(BidOfSellerView { bid, person, auction });
        })
        .uid("bids of sellers");
    check(expanded, |BidOfSellerView { bid, person, auction }| {
        fields_x([
            bid.bidder,
            bid.price,
            fnv1a64(bid.channel.as_bytes()),
            fnv1a64(bid.extra.as_bytes()),
            person.id,
            fnv1a64(person.name.as_bytes()),
            fnv1a64(person.email.as_bytes()),
            fnv1a64(person.state.as_bytes()),
            fnv1a64(auction.item_name.as_bytes()),
            auction.initial_bid,
            auction.reserve,
            auction.date_time,
            auction.expires,
            auction.category,
        ])
    })
}
