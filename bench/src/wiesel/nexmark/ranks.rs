//! q18, q19: the latest bid of each bidder on each auction, and the ten highest of each auction. Both change what they
//! have said.

use std::cmp::Reverse;

use wiesel::{
    Out,
    operators::{Chain, Start},
    prelude::*,
};

use super::changes::{Change, ChangeView, RowKindView, check_rows, replace};
use crate::{
    generator::{bid_x, fields_x},
    wiesel::{
        check_sink::Total,
        events::{Bid, BidView, Event},
        jobs::bid,
    },
};

/// The last bid of each bidder on each auction.
///
/// ```sql
/// SELECT auction, bidder, price, channel, url, dateTime, extra FROM (
///   SELECT *, ROW_NUMBER() OVER (PARTITION BY bidder, auction ORDER BY dateTime DESC) AS rank_number FROM bid)
/// WHERE rank_number <= 1
/// ```
///
/// A bid that is as late as the one that is kept replaces it. So with bids of the same millisecond the result depends on
/// the order in which they come, which parallelism changes: compare runs on one shard, or with an event rate of at most
/// a thousand.
pub fn q18<S, C>(events: DataStream<Event, S, C>) -> Total
where
    S: Start,
    C: Chain<S::Out, Out = Event>,
{
    let latest = events
        .filter_map::<Bid>(bid)
        .key_by::<(u64, u64)>(|bid| (bid.bidder, bid.auction))
        .process(Latest { kept: ValueState::new("kept") })
        .uid("latest bids");
    check_rows(latest, |bid: BidView<'_>| bid_x(bid.auction, bid.bidder, bid.price, bid.date_time))
}

/// Keeps the latest bid of a key.
#[derive(Clone)]
struct Latest {
    kept: ValueState<Bid>,
}

impl KeyedProcessFunction<(u64, u64), Bid> for Latest {
    type Out = Change<Bid>;
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.kept);
    }

    fn process(
        &mut self,
        bid: BidView<'_>,
        context: &mut KeyedContext<'_, (u64, u64), ()>,
        out: &mut dyn Out<Change<Bid>>,
    ) -> Result<(), FunctionError> {
        let kept = context.get(&self.kept);
        if kept.as_ref().is_some_and(|kept| kept.date_time > bid.date_time) {
            return Ok(());
        }
        context.set(&self.kept, bid);
        replace::<Bid>(kept.as_ref().map(Bid::view), bid, out);
        Ok(())
    }
}

/// A bid and its place among those on its auction.
#[derive(Record)]
pub struct PlacedBid {
    pub place: u64,
    pub bid: Bid,
}

/// The ten highest bids of each auction.
///
/// ```sql
/// SELECT * FROM (
///   SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC) AS rank_number FROM bid)
/// WHERE rank_number <= 10
/// ```
///
/// Of equal prices the earlier bid is the better one, and of these the one of the lower bidder, so that the result is the
/// same at every parallelism.
pub fn q19<S, C>(events: DataStream<Event, S, C>) -> Total
where
    S: Start,
    C: Chain<S::Out, Out = Event>,
{
    let highest = events
        .filter_map::<Bid>(bid)
        .key_by::<u64>(|bid| bid.auction)
        .process(Highest { best: ValueState::new("best"), least: ValueState::new("least") })
        .uid("highest bids");
    check_rows(highest, |placed: PlacedBidView<'_>| {
        let BidView { auction, bidder, price, date_time, .. } = placed.bid;
        fields_x([auction, bidder, price, date_time, placed.place])
    })
}

/// Places that q19 has.
const PLACES: usize = 10;

/// The lesser is the better one.
fn order(bid: BidView<'_>) -> (Reverse<u64>, u64, u64) {
    (Reverse(bid.price), bid.date_time, bid.bidder)
}

/// Keeps the ten highest bids of a key.
#[derive(Clone)]
struct Highest {
    /// Best first.
    best: ValueState<Vec<Bid>>,
    /// The price of the tenth: most bids are below it, and need no look at the ten.
    least: ValueState<u64>,
}

impl KeyedProcessFunction<u64, Bid> for Highest {
    type Out = Change<PlacedBid>;
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.best);
        states.register(&mut self.least);
    }

    fn process(
        &mut self,
        bid: BidView<'_>,
        context: &mut KeyedContext<'_, u64, ()>,
        out: &mut dyn Out<Change<PlacedBid>>,
    ) -> Result<(), FunctionError> {
        if context.get(&self.least).is_some_and(|least| bid.price < least) {
            return Ok(());
        }
        let mut best = context.get(&self.best).unwrap_or_default();
        let at = best.partition_point(|kept| order(kept.view()) <= order(bid));
        if at == PLACES {
            return Ok(());
        }
        best.insert(at, bid.into_owned());
        for place in at..best.len().min(PLACES) {
            // Who had this place has the next one now, or none.
            let mut say = |kind, bid: &Bid| {
                let row = PlacedBidView { place: place as u64 + 1, bid: bid.view() };
                out.emit(ChangeView { kind, row });
            };
            match best.get(place + 1) {
                Some(before) => {
                    say(RowKindView::UpdateBefore, before);
                    say(RowKindView::UpdateAfter, &best[place]);
                }
                None => say(RowKindView::Insert, &best[place]),
            }
        }
        best.truncate(PLACES);
        if let Some(tenth) = best.get(PLACES - 1) {
            context.set(&self.least, tenth.price);
        }
        context.set(&self.best, best.view());
        Ok(())
    }
}
