//! q4, q6, q9: the winning bid of each auction, and what sellers and categories get on average.
//!
//! ```text
//!   auctions, bids ══ by auction ══▶ the best bid in time ─┬─▶ q9   at once, and again when a better one comes
//!                                                          └─ when it expires ─┬══ by category ══▶ q4
//!                                                                              └══ by seller ════▶ q6
//! ```
//!
//! # What is always true
//!
//! 1. A bid counts if it was made while its auction was open, both ends included, whichever of the two comes first.
//! 2. Of equal prices the earlier bid is the better one, then that of the lower bidder: the result is the same at every
//!    parallelism.
//! 3. When the watermark has passed an auction's end its state is gone. So is a bid for which no auction can come any more:
//!    that would have opened before it.

use wiesel::{
    Out,
    operators::{Chain, Start},
    prelude::*,
};

use super::{
    changes::{Change, ChangeView, RowKindView, check_rows, replace},
    time,
};
use crate::{
    generator::{Check, category_x, fields_x, fnv1a64},
    wiesel::{
        check_sink::Total,
        events::{Auction, AuctionView, Event, EventView},
        jobs::check_with,
    },
};

/// What is read of a bid.
#[derive(Clone, Record)]
pub struct Offer {
    pub price: u64,
    pub at: u64,
    pub bidder: u64,
    pub extra: String,
}

/// An auction, or a bid on one.
#[derive(Record)]
pub enum Lot {
    Auction(Auction),
    Offer { auction: u64, offer: Offer },
}

impl LotView<'_> {
    fn auction(self) -> u64 {
        match self {
            Self::Auction(auction) => auction.id,
            Self::Offer { auction, .. } => auction,
        }
    }

    fn at(self) -> u64 {
        match self {
            Self::Auction(auction) => auction.date_time,
            Self::Offer { offer, .. } => offer.at,
        }
    }
}

/// An auction and the best bid on it.
#[derive(Record)]
pub struct Won {
    pub auction: Auction,
    pub offer: Offer,
}

/// The winning bid of each auction.
///
/// ```sql
/// SELECT id, itemName, description, initialBid, reserve, dateTime, expires, seller, category, extra,
///        auction, bidder, price, bid_dateTime, bid_extra FROM (
///   SELECT A.*, B.auction, B.bidder, B.price, B.dateTime AS bid_dateTime, B.extra AS bid_extra,
///          ROW_NUMBER() OVER (PARTITION BY A.id ORDER BY B.price DESC, B.dateTime ASC) AS rownum
///   FROM auction A, bid B WHERE A.id = B.auction AND B.dateTime BETWEEN A.dateTime AND A.expires)
/// WHERE rownum <= 1
/// ```
///
/// A better bid takes the place of the one before: `-U` and `+U`.
pub fn q9<S, C>(events: DataStream<Event, S, C>) -> Total
where
    S: Start,
    C: Chain<S::Out, Out = Event>,
{
    let lots = events.filter_map::<Lot>(|event| match event {
        EventView::Auction(auction) => Some(LotView::Auction(auction)),
        EventView::Bid(bid) => Some(offer(bid.extra, bid)),
        EventView::Person(_) => None,
    });
    check_rows(winners(lots, Says::EachBetter), |won: WonView<'_>| {
        let (auction, offer) = (won.auction, won.offer);
        fields_x([
            auction.id,
            auction.date_time,
            auction.expires,
            auction.seller,
            auction.category,
            fnv1a64(auction.description.as_bytes()),
            offer.bidder,
            offer.price,
            offer.at,
            fnv1a64(offer.extra.as_bytes()),
        ])
    })
}

fn offer<'a>(extra: &'a str, bid: crate::wiesel::events::BidView<'a>) -> LotView<'a> {
    let offer = OfferView { price: bid.price, at: bid.date_time, bidder: bid.bidder, extra };
    LotView::Offer { auction: bid.auction, offer }
}

/// Auctions and bids without their texts: what q4 and q6 read.
fn numbers<S, C>(
    events: DataStream<Event, S, C>,
) -> DataStream<Lot, S, impl Chain<S::Out, Out = Lot>>
where
    S: Start,
    C: Chain<S::Out, Out = Event>,
{
    events.filter_map::<Lot>(|event| match event {
        EventView::Auction(auction) => {
            let (item_name, description, extra) = ("", "", "");
            Some(LotView::Auction(AuctionView { item_name, description, extra, ..auction }))
        }
        EventView::Bid(bid) => Some(offer("", bid)),
        EventView::Person(_) => None,
    })
}

fn winners<S, C>(
    lots: DataStream<Lot, S, C>,
    says: Says,
) -> DataStream<
    Change<Won>,
    impl Start<Out = Change<Won>>,
    impl Chain<Change<Won>, Out = Change<Won>>,
>
where
    S: Start,
    C: Chain<S::Out, Out = Lot>,
{
    lots.watermarks(monotonous_timestamps(), |lot| time(lot.at()))
        .key_by::<u64>(|lot| lot.auction())
        .process(Winners {
            says,
            open: ValueState::new("open"),
            auction: ValueState::new("auction"),
            best: ValueState::new("best"),
            early: ListState::new("early"),
        })
        .uid("winning bids")
}

/// When a winner is said.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    /// Whenever there is a better bid.
    EachBetter,
    /// Once, when the auction is over.
    TheLast,
}

/// Keeps the best bid of each auction.
#[derive(Clone)]
struct Winners {
    says: Says,
    /// From and to when, of an auction that is not over.
    open: ValueState<(u64, u64)>,
    auction: ValueState<Auction>,
    best: ValueState<Offer>,
    /// Bids that came before their auction, or after its end.
    early: ListState<Offer>,
}

impl Winners {
    /// Takes a bid on an auction that is open `from` … `to`.
    fn take(
        &self,
        offer: OfferView<'_>,
        (from, to): (u64, u64),
        context: &mut KeyedContext<'_, u64, ()>,
        out: &mut dyn Out<Change<Won>>,
    ) {
        let is_better = |best: OfferView<'_>| {
            (offer.price, best.at, best.bidder, best.extra)
                > (best.price, offer.at, offer.bidder, offer.extra)
        };
        if offer.at < from || offer.at > to || !context.with(&self.best, is_better).unwrap_or(true)
        {
            return;
        }
        let before = match self.says {
            Says::EachBetter => context.get(&self.best),
            Says::TheLast => None,
        };
        context.set(&self.best, offer);
        if self.says == Says::EachBetter {
            context.with(&self.auction, |auction| {
                let old = before.as_ref().map(|best| WonView { auction, offer: best.view() });
                replace::<Won>(old, WonView { auction, offer }, out);
            });
        }
    }
}

impl KeyedProcessFunction<u64, Lot> for Winners {
    type Out = Change<Won>;
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.open);
        states.register(&mut self.auction);
        states.register(&mut self.best);
        states.register(&mut self.early);
    }

    fn process(
        &mut self,
        lot: LotView<'_>,
        context: &mut KeyedContext<'_, u64, ()>,
        out: &mut dyn Out<Change<Won>>,
    ) -> Result<(), FunctionError> {
        match lot {
            LotView::Auction(auction) => {
                let open = (auction.date_time, auction.expires);
                context.set(&self.open, open);
                context.set(&self.auction, auction);
                context.register_event_timer(time(auction.expires));
                let early = context.list(&self.early).to_vec();
                context.clear(&self.early);
                early.iter().for_each(|offer| self.take(offer.view(), open, context, out));
            }
            LotView::Offer { offer, .. } => match context.get(&self.open) {
                Some(open) => self.take(offer, open, context, out),
                None => {
                    context.add(&self.early, offer);
                    context.register_event_timer(time(offer.at));
                }
            },
        }
        Ok(())
    }

    fn on_timer(
        &mut self,
        now: Timestamp,
        _domain: TimeDomain,
        context: &mut KeyedContext<'_, u64, ()>,
        out: &mut dyn Out<Change<Won>>,
    ) -> Result<(), FunctionError> {
        match context.get(&self.open) {
            Some((_, to)) if time(to) > now => {} // The timer of a bid that came early.
            Some(_) => {
                if self.says == Says::TheLast {
                    context.with(&self.auction, |auction| {
                        context.with(&self.best, |offer| {
                            let row = WonView { auction, offer };
                            out.emit(ChangeView { kind: RowKindView::Insert, row });
                        });
                    });
                }
                context.clear(&self.open);
                context.clear(&self.auction);
                context.clear(&self.best);
            }
            None => {
                // What was bid by now waits in vain.
                let early = context.list(&self.early).to_vec();
                let waiting = early.iter().filter(|offer| time(offer.at) > now);
                context.update(&self.early, waiting.map(Offer::view));
            }
        }
        Ok(())
    }
}

/// What the auctions of a category went for on average, and the auction that was the last to change it.
#[derive(Clone, Copy, Record)]
pub struct CategoryAverage {
    pub category: u64,
    pub average: u64,
    pub auction: u64,
    pub price: u64,
}

/// The average of the winning bids of each category.
///
/// ```sql
/// SELECT category, avg(final) FROM (
///   SELECT max(B.price) AS final, A.category FROM auction A, bid B
///   WHERE A.id = B.auction AND B.dateTime BETWEEN A.dateTime AND A.expires GROUP BY A.id, A.category)
/// GROUP BY category
/// ```
///
/// An auction counts once it is over, so the average changes by one price at a time. The check sum is that of the
/// specification: of what each `+I` and `+U` has come from.
pub fn q4<S, C>(events: DataStream<Event, S, C>) -> Total
where
    S: Start,
    C: Chain<S::Out, Out = Event>,
{
    check_with(averages(events), |change: ChangeView<'_, CategoryAverage>, check: &mut Check| {
        if matches!(change.kind, RowKindView::Insert | RowKindView::UpdateAfter) {
            let CategoryAverageView { category, auction, price, .. } = change.row;
            check.add(category_x(auction, price, category));
        }
    })
}

/// The changes of q4.
fn averages<S, C>(
    events: DataStream<Event, S, C>,
) -> DataStream<
    Change<CategoryAverage>,
    impl Start<Out = Change<CategoryAverage>>,
    impl Chain<Change<CategoryAverage>, Out = Change<CategoryAverage>>,
>
where
    S: Start,
    C: Chain<S::Out, Out = Event>,
{
    winners(numbers(events), Says::TheLast)
        .project::<(u64, u64, u64)>(|won| {
            (won.row.auction.category, won.row.auction.id, won.row.offer.price)
        })
        .key_by::<u64>(|(category, ..)| category)
        .process(Averages { sum: ValueState::new("sum"), last: ValueState::new("last") })
        .uid("averages")
}

/// Averages prices of a category.
#[derive(Clone)]
struct Averages {
    /// Sum and count.
    sum: ValueState<(u64, u64)>,
    last: ValueState<CategoryAverage>,
}

impl KeyedProcessFunction<u64, (u64, u64, u64)> for Averages {
    type Out = Change<CategoryAverage>;
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.sum);
        states.register(&mut self.last);
    }

    fn process(
        &mut self,
        (category, auction, price): (u64, u64, u64),
        context: &mut KeyedContext<'_, u64, ()>,
        out: &mut dyn Out<Change<CategoryAverage>>,
    ) -> Result<(), FunctionError> {
        let (sum, count) = context.get(&self.sum).unwrap_or_default();
        let (sum, count) = (sum + price, count + 1);
        context.set(&self.sum, (sum, count));
        let last = context.get(&self.last);
        let average = CategoryAverage { category, average: sum / count, auction, price };
        context.set(&self.last, average.view());
        let last = last.as_ref().map(CategoryAverage::view);
        replace::<CategoryAverage>(last, average.view(), out);
        Ok(())
    }
}

/// Auctions of a seller that q6 averages.
const LAST_AUCTIONS: usize = 10;

/// What the last ten auctions of each seller went for on average.
///
/// ```sql
/// SELECT seller, avg(final) OVER (PARTITION BY seller ORDER BY expires, id ROWS BETWEEN 9 PRECEDING AND CURRENT ROW)
/// FROM (
///   SELECT A.id, A.seller, A.expires, max(B.price) AS final FROM auction A, bid B
///   WHERE A.id = B.auction AND B.dateTime BETWEEN A.dateTime AND A.expires GROUP BY A.id, A.seller, A.expires)
/// ```
///
/// Of each seller the last row: `-U` and `+U` when another auction is over. Those that end at once may come in any order;
/// the last ten are by their ends, and then by number.
pub fn q6<S, C>(events: DataStream<Event, S, C>) -> Total
where
    S: Start,
    C: Chain<S::Out, Out = Event>,
{
    let averages = winners(numbers(events), Says::TheLast)
        .project::<(u64, u64, u64, u64)>(|won| {
            let auction = won.row.auction;
            (auction.seller, auction.expires, auction.id, won.row.offer.price)
        })
        .key_by::<u64>(|(seller, ..)| seller)
        .process(LastTen { last: ValueState::new("last") })
        .uid("averages");
    check_rows(averages, |(seller, average)| fields_x([seller, average]))
}

/// Averages the prices of a seller's last auctions.
#[derive(Clone)]
struct LastTen {
    /// End, auction, price; in this order.
    last: ValueState<Vec<(u64, u64, u64)>>,
}

fn average(last: &[(u64, u64, u64)]) -> u64 {
    let sum: u64 = last.iter().map(|(.., price)| price).sum();
    sum / last.len() as u64
}

impl KeyedProcessFunction<u64, (u64, u64, u64, u64)> for LastTen {
    type Out = Change<(u64, u64)>;
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.last);
    }

    fn process(
        &mut self,
        (seller, expires, auction, price): (u64, u64, u64, u64),
        context: &mut KeyedContext<'_, u64, ()>,
        out: &mut dyn Out<Self::Out>,
    ) -> Result<(), FunctionError> {
        let mut last = context.get(&self.last).unwrap_or_default();
        let old = (!last.is_empty()).then(|| (seller, average(&last)));
        let at = last.partition_point(|kept| *kept < (expires, auction, price));
        last.insert(at, (expires, auction, price));
        if last.len() > LAST_AUCTIONS {
            last.remove(0);
        }
        replace::<(u64, u64)>(old, (seller, average(&last)), out);
        context.set(&self.last, last.view());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use wiesel::Configuration;

    use super::*;
    use crate::{
        generator::{Generator, SEED},
        wiesel::{events::Events, nexmark::changes::RowKind},
    };

    #[test]
    fn averages_are_those_of_what_they_come_from() {
        let mut env = StreamExecutionEnvironment::new(Configuration::new());
        env.set_parallelism(3).unwrap();
        let events = Events::source(Generator::new(SEED, 1_000), 20_000);
        let changes = averages(env.source(events)).collect();
        env.execute("q4").unwrap();
        let mut prices = BTreeMap::<u64, Vec<u64>>::new();
        let mut averages = BTreeMap::<u64, u64>::new();
        for change in changes.take() {
            let CategoryAverage { category, average, price, .. } = change.row;
            match change.kind {
                RowKind::Insert => assert_eq!(averages.insert(category, average), None),
                RowKind::UpdateBefore => {
                    assert_eq!(averages.remove(&category), Some(average));
                    continue;
                }
                RowKind::UpdateAfter => assert_eq!(averages.insert(category, average), None),
                RowKind::Delete => panic!("no category goes away"),
            }
            prices.entry(category).or_default().push(price);
        }
        assert_eq!(averages.len(), 5);
        for (category, prices) in prices {
            let expected = prices.iter().sum::<u64>() / prices.len() as u64;
            assert_eq!(averages[&category], expected, "of {} prices", prices.len());
        }
    }
}
