//! q15, q16, q17: counts of a day that change with every bid.
//!
//! ```text
//!   q15, q16   bids ─┬══ by channel, day, bidder ══▶ one more bid; a new bidder? ─┬══ by channel, day ══▶ report
//!                    └══ by channel, day, auction ══▶ a new auction? ──────────────┘
//!   q17        bids ══ by auction, day ══▶ statistics
//! ```
//!
//! `COUNT(DISTINCT …)` is two steps: who is new is found out on all subtasks, by a key that is no hot one, and only then
//! counted by day. Flink does the same if it is told to (`table.optimizer.distinct-agg.split.enabled`).

use wiesel::{
    Out,
    operators::{Chain, Start},
    prelude::*,
};

use super::changes::{Change, check_rows, replace};
use crate::{
    generator::{DAY_MS, fields_x, fnv1a64},
    wiesel::{
        check_sink::Total,
        events::{Event, EventView},
    },
};

/// Counts of a report: of bids, of bidders and of auctions, each in all and by rank of price.
const COUNTS: usize = 12;

/// The first count of bidders.
const BIDDERS: u32 = 4;

/// The first count of auctions.
const AUCTIONS: u32 = 8;

/// How dear a bid is: 0 below 100.00, 1 below 10,000.00, 2 above.
fn rank_of(price: u64) -> u8 {
    u8::from(price >= 10_000) + u8::from(price >= 1_000_000)
}

/// What a report reads of a bid.
#[derive(Record)]
pub struct Sighting {
    pub channel: String,
    pub day: u64,
    pub rank: u8,
    pub bidder: u64,
    pub auction: u64,
}

/// Counts of a report that go up by one: those whose bit is set.
#[derive(Record)]
pub struct Seen {
    pub channel: String,
    pub day: u64,
    pub counts: u16,
}

/// The counts of a channel and day.
#[derive(Record)]
pub struct Report {
    pub channel: String,
    pub day: u64,
    pub counts: [u64; COUNTS],
}

/// Counts of each day.
///
/// ```sql
/// SELECT DATE_FORMAT(dateTime, 'yyyy-MM-dd') AS day, count(*) AS total_bids,
///        count(*) FILTER (WHERE price < 10000) AS rank1_bids,
///        count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bids,
///        count(*) FILTER (WHERE price >= 1000000) AS rank3_bids,
///        count(DISTINCT bidder) AS total_bidders, …, count(DISTINCT auction) AS total_auctions, …
/// FROM bid GROUP BY DATE_FORMAT(dateTime, 'yyyy-MM-dd')
/// ```
///
/// (`…`: with the three filters of the bids.)
pub fn q15<S, C>(events: DataStream<Event, S, C>) -> Total
where
    S: Start,
    C: Chain<S::Out, Out = Event>,
{
    reports(events, false)
}

/// Counts of each channel and day.
///
/// ```sql
/// SELECT channel, DATE_FORMAT(dateTime, 'yyyy-MM-dd') AS day, … FROM bid
/// GROUP BY channel, DATE_FORMAT(dateTime, 'yyyy-MM-dd')
/// ```
///
/// (`…`: the counts of [`q15`].)
pub fn q16<S, C>(events: DataStream<Event, S, C>) -> Total
where
    S: Start,
    C: Chain<S::Out, Out = Event>,
{
    reports(events, true)
}

fn reports<S, C>(events: DataStream<Event, S, C>, by_channel: bool) -> Total
where
    S: Start,
    C: Chain<S::Out, Out = Event>,
{
    let sightings = events
        .filter_map::<Sighting>(move |event| match event {
            EventView::Bid(bid) => Some(SightingView {
                channel: if by_channel { bid.channel } else { "" },
                day: bid.date_time / DAY_MS,
                rank: rank_of(bid.price),
                bidder: bid.bidder,
                auction: bid.auction,
            }),
            _ => None,
        })
        .share();
    let bidders = sightings
        .stream()
        .key_by::<(String, u64, u64)>(|bid| (bid.channel, bid.day, bid.bidder))
        .process(First { counts_bids: true, first: BIDDERS, seen: ValueState::new("seen") })
        .uid("bids, new bidders");
    let auctions = sightings
        .stream()
        .key_by::<(String, u64, u64)>(|bid| (bid.channel, bid.day, bid.auction))
        .process(First { counts_bids: false, first: AUCTIONS, seen: ValueState::new("seen") })
        .uid("new auctions");
    let reports = bidders
        .union(auctions)
        .key_by::<(String, u64)>(|seen| (seen.channel, seen.day))
        .process(CountUp { counts: ValueState::new("counts") })
        .uid("report");
    check_rows(reports, |report: ReportView<'_>| {
        let mut fields = [0; 2 + COUNTS];
        fields[0] = fnv1a64(report.channel.as_bytes());
        fields[1] = report.day;
        fields[2..].iter_mut().zip(report.counts.iter()).for_each(|(field, count)| *field = count);
        fields_x(fields)
    })
}

/// Says which counts somebody is new for: all, and those of a rank.
#[derive(Clone)]
struct First {
    /// Whether the bid itself is counted here too.
    counts_bids: bool,
    /// The first of the counts.
    first: u32,
    seen: ValueState<u16>,
}

impl KeyedProcessFunction<(String, u64, u64), Sighting> for First {
    type Out = Seen;
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.seen);
    }

    fn process(
        &mut self,
        bid: SightingView<'_>,
        context: &mut KeyedContext<'_, (String, u64, u64), ()>,
        out: &mut dyn Out<Seen>,
    ) -> Result<(), FunctionError> {
        let SightingView { channel, day, rank, .. } = bid;
        let (seen, of_bid) = (context.get(&self.seen).unwrap_or(0), 1 | 2 << rank);
        let new = of_bid & !seen;
        if new != 0 {
            context.set(&self.seen, seen | new);
        }
        let counts = new << self.first | if self.counts_bids { of_bid } else { 0 };
        if counts != 0 {
            out.emit(SeenView { channel, day, counts });
        }
        Ok(())
    }
}

/// Keeps the counts of a report.
#[derive(Clone)]
struct CountUp {
    counts: ValueState<[u64; COUNTS]>,
}

impl KeyedProcessFunction<(String, u64), Seen> for CountUp {
    type Out = Change<Report>;
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.counts);
    }

    fn process(
        &mut self,
        seen: SeenView<'_>,
        context: &mut KeyedContext<'_, (String, u64), ()>,
        out: &mut dyn Out<Change<Report>>,
    ) -> Result<(), FunctionError> {
        let SeenView { channel, day, counts: more } = seen;
        let before = context.get(&self.counts);
        let mut counts = before.unwrap_or_default();
        for (at, count) in counts.iter_mut().enumerate() {
            *count += u64::from(more >> at & 1);
        }
        context.set(&self.counts, counts.view());
        let old = before.as_ref().map(|counts| ReportView { channel, day, counts: counts.view() });
        replace::<Report>(old, ReportView { channel, day, counts: counts.view() }, out);
        Ok(())
    }
}

/// What q17 says of an auction and day.
#[derive(Clone, Copy, Record)]
pub struct Statistics {
    pub auction: u64,
    pub day: u64,
    pub bids: u64,
    pub low_bids: u64,
    pub middle_bids: u64,
    pub high_bids: u64,
    pub min_price: u64,
    pub max_price: u64,
    pub sum_price: u64,
}

/// Statistics of each auction and day.
///
/// ```sql
/// SELECT auction, DATE_FORMAT(dateTime, 'yyyy-MM-dd') AS day, count(*) AS total_bids,
///        count(*) FILTER (WHERE price < 10000) AS rank1_bids,
///        count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bids,
///        count(*) FILTER (WHERE price >= 1000000) AS rank3_bids,
///        min(price) AS min_price, max(price) AS max_price, avg(price) AS avg_price, sum(price) AS sum_price
/// FROM bid GROUP BY auction, DATE_FORMAT(dateTime, 'yyyy-MM-dd')
/// ```
pub fn q17<S, C>(events: DataStream<Event, S, C>) -> Total
where
    S: Start,
    C: Chain<S::Out, Out = Event>,
{
    let statistics = events
        .filter_map::<(u64, u64, u64)>(|event| match event {
            EventView::Bid(bid) => Some((bid.auction, bid.date_time / DAY_MS, bid.price)),
            _ => None,
        })
        .key_by::<(u64, u64)>(|(auction, day, _)| (auction, day))
        .process(PriceStatistics { of_day: ValueState::new("of day") })
        .uid("statistics");
    check_rows(statistics, |s: StatisticsView<'_>| {
        let average = s.sum_price / s.bids;
        fields_x([
            s.auction,
            s.day,
            s.bids,
            s.low_bids,
            s.middle_bids,
            s.high_bids,
            s.min_price,
            s.max_price,
            average,
            s.sum_price,
        ])
    })
}

/// Keeps the statistics of a key.
#[derive(Clone)]
struct PriceStatistics {
    of_day: ValueState<Statistics>,
}

impl KeyedProcessFunction<(u64, u64), (u64, u64, u64)> for PriceStatistics {
    type Out = Change<Statistics>;
    type Side = ();

    fn open(&mut self, states: &mut StateRegistry) {
        states.register(&mut self.of_day);
    }

    fn process(
        &mut self,
        (auction, day, price): (u64, u64, u64),
        context: &mut KeyedContext<'_, (u64, u64), ()>,
        out: &mut dyn Out<Change<Statistics>>,
    ) -> Result<(), FunctionError> {
        let old = context.get(&self.of_day);
        let mut new = old.unwrap_or(Statistics {
            auction,
            day,
            bids: 0,
            low_bids: 0,
            middle_bids: 0,
            high_bids: 0,
            min_price: price,
            max_price: price,
            sum_price: 0,
        });
        new.bids += 1;
        match rank_of(price) {
            0 => new.low_bids += 1,
            1 => new.middle_bids += 1,
            _ => new.high_bids += 1,
        }
        new.min_price = new.min_price.min(price);
        new.max_price = new.max_price.max(price);
        new.sum_price += price;
        context.set(&self.of_day, new.view());
        replace::<Statistics>(old.as_ref().map(Statistics::view), new.view(), out);
        Ok(())
    }
}
